//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A session's order of work on a GPU. Everything that changes from step to step (positions, pages, ids) goes into one
// block in pinned memory, which is copied to the device first; so a step of a shape that came before is one graph.
//
#pragma once

#include "targets/cuda/Gpu.h"
#include "targets/cuda/device/Args.h"

#include <optional>

namespace mlc::cuda {

/// Where the parts of a step's block lie, in bytes.
struct StepLayout {
  uint64_t positions, segmentOfRow, segments, tables, stateSegments, statePages, bytes;
};
/// Of a step of `tokens` over `segments`, with tables of `pages` pages for each of `states`; `recurrent`: with the
/// blocks of recurrent states.
constexpr StepLayout stepLayout(uint64_t tokens, uint64_t segments, uint64_t states, uint64_t pages, bool recurrent) {
  StepLayout layout{};
  layout.segmentOfRow = layout.positions + tokens * sizeof(int32_t);
  layout.segments = (layout.segmentOfRow + tokens * sizeof(int32_t) + 15) / 16 * 16;
  layout.tables = layout.segments + segments * sizeof(StepSegment);
  layout.stateSegments = layout.tables + states * segments * pages * sizeof(uint32_t);
  layout.statePages = layout.stateSegments + (recurrent ? segments * sizeof(StateSegment) : 0);
  uint64_t statePages = recurrent ? uint64_t(mostRecurrentPages(int64_t(tokens), int64_t(segments))) : 0;
  layout.bytes = layout.statePages + statePages * sizeof(StatePage);
  return layout;
}

/// Where the parts of a step's draws lie: RowDraw, one for each row, then TokenAdjustment.
constexpr uint64_t drawBytes(uint64_t rows, uint64_t adjustments) {
  return rows * sizeof(RowDraw) + adjustments * sizeof(TokenAdjustment);
}

/// Pages that the tables of a step have room for: a power of two, so that few graphs serve a growing sequence.
constexpr int64_t pageBucket(int64_t pages, int64_t most) {
  int64_t bucket = 4;
  while (bucket < pages)
    bucket *= 2;
  return bucket < most ? bucket : most;
}

class Stream final : public DeviceStream {
public:
  static Result<DeviceStream *> create(const Gpu &gpu, const StreamBounds &bounds, const Allocator &allocator);

  Status copy(uint8_t *to, const uint8_t *from, size_t bytes) override;
  Status read(void *to, const uint8_t *from, size_t bytes) override;
  Status write(uint8_t *to, const void *from, size_t bytes) override;
  Result<bool> begin(const DeviceStep &step) override;
  void call(uint32_t code, std::span<void *const> buffers, std::span<const int64_t> dims, int64_t rows) override;
  void fetch(void *to, const uint8_t *from, size_t bytes) override;
  void abandon() override;
  Status end() override;

  // For kernels' launches.
  struct Grid {
    uint64_t x = 1, y = 1, z = 1;
  };
  /// Enqueues `function`, whose blocks have `sharedBytes` of dynamic shared memory; an empty grid does nothing. The
  /// first failure ends the step.
  template <typename Args>
  void launch(Function function, const Grid &grid, unsigned threads, const Args &args, unsigned sharedBytes = 0) {
    enqueue(function, grid, threads, &args, sharedBytes);
  }
  /// Enqueues: `count` floats of every rank, in their order, at `to`.
  void gather(const float *from, float *to, uint64_t count);
  StepView step() const;
  KvView kv(const KvStateView &state) const;
  StateView recurrent(const RecurrentStateView &state) const;
  const Gpu &device() const { return gpu; }
  /// Pages that the step's tables hold.
  int64_t pages() const { return key.pages; }

private:
  struct Key {
    int64_t tokens = 0, shape = 0, segments = 0, pages = 0;
    uint32_t watched = 0;
    bool operator==(const Key &) const = default;
  };
  /// A shape of a step that came before; its graph once it has come twice.
  struct Captured {
    Key key;
    CuGraphExec graph = nullptr;
    uint64_t used = 0;
  };
  // Shapes of decoding steps, of which one graph each is kept.
  static constexpr int64_t kGraphTokens = 64;
  static constexpr unsigned kGraphs = 32;

  Stream(const Gpu &gpu, const StreamBounds &bounds, const Allocator &allocator)
      : gpu(gpu), calls(gpu.driver()), bounds(bounds), allocator(allocator) {}
  ~Stream();
  void release() override;
  Status build();
  void enqueue(Function function, const Grid &grid, unsigned threads, const void *args, unsigned sharedBytes);
  void fill(const DeviceStep &step);
  void note(CuResult result, const char *what);
  Captured &captured();
  Status finishCapture();
  Status enqueueDraws();
  Status enqueueTransfers(std::span<const DeviceTransfer> transfers, bool toDevice);

  const Gpu &gpu;
  const Driver &calls;
  StreamBounds bounds;
  Allocator allocator;
  CuStream stream = nullptr;
  OwnedArray<uint8_t> block, staged; // On the device; pinned.
  OwnedArray<uint8_t> drawBlock, stagedDraws;
  OwnedArray<int32_t> drawn, stagedDrawn; // The tokens.
  StepLayout layout{};
  Key key;
  std::span<const DeviceTransfer> outputs; // Of the step in progress, as `draws`.
  const DeviceDraws *draws = nullptr;
  Captured graphs[kGraphs];
  Captured *capturing = nullptr;
  uint64_t steps = 0;
  std::optional<Error> failure; // The first of the step.
};

} // namespace mlc::cuda
