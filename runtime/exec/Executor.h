//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The plan interpreter: one activation arena, one view per operand, resolved at creation and patched only where an
// extent changed. A run allocates nothing. Not thread-safe: one run at a time.
//
#pragma once

#include "runtime/exec/Device.h"
#include "runtime/exec/Plan.h"

namespace mlc {

/// Sees kernel calls of a run: what calibration and taps are made of. `call` is its index in Plan::kernelCalls().
struct KernelObserver {
  using See = void (*)(void *user, uint32_t call, const KernelContext &context);
  /// Just before it runs: the outputs still hold what was there before. On a device behind the run, as `after`, with
  /// operands that are copies; those that are constant are null.
  See before = nullptr;
  void *user = nullptr;
  See after = nullptr; // Just behind it.
  /// Those that it sees, rising; empty: all. A device's are named.
  std::span<const uint32_t> calls = {};

  bool sees(uint32_t call) const;
};

/// Time of one op of a plan, those that it runs included.
struct OpTime {
  uint64_t nanoseconds = 0, runs = 0;
};

/// Rows of a step's logits that do not come to the host as they are.
struct StepDraws {
  std::span<const RowDraw> rows; // One for each row; empty: all come.
  std::span<const TokenAdjustment> adjustments;
};

class Executor {
public:
  /// `pool` and `plan` outlive the executor; each run is one turn of `sessionClass` on the pool. A view for
  /// each state of the artifact is bound later.
  static Result<Executor *> create(const Plan &plan, WorkerPool &pool, const Allocator &allocator = systemAllocator(),
                                   SessionClass sessionClass = SessionClass::batch);
  /// The same on a device, which outlives it: a run enqueues its kernels there and waits for the last.
  static Result<Executor *> create(const Plan &plan, WorkerPool &pool, Device &device, const StreamBounds &bounds,
                                   const Allocator &allocator = systemAllocator());
  static void destroy(Executor *executor);

  /// What kernels see as state `state` from now on.
  void bindKvState(uint32_t state, const KvStateView &view);
  void bindRecurrentState(uint32_t state, const RecurrentStateView &view);

  /// Of the next runs; costs one comparison a kernel call where there is none. `watcher.calls` lives as long. On a
  /// device memory of the host is kept for the operands.
  Status observe(const KernelObserver &watcher);

  /// Adds up the time of every op of the next runs, by its index in Plan::ops(); an empty span ends it.
  void timeOps(std::span<OpTime> times) { opTimes = times; }

  // The movable ranges of a network (Program::ranges). What lies in one goes with it; nothing is allocated.
  /// The range that begins with the port or state `slot`, or -1.
  int32_t rangeOf(uint32_t slot) const;
  /// From now on the range begins at `base`, which is aligned for its slot's elements; null: in the arena again.
  void moveRange(uint32_t range, uint8_t *base);
  /// The two, of one size, change places.
  void swapRanges(uint32_t a, uint32_t b);
  uint8_t *rangeBase(uint32_t range) const { return rangeBases[range]; }
  /// Bytes of it that ops can touch at the extents set.
  uint64_t rangeReach(uint32_t range) const;
  /// Whether a kernel or a loop writes into it; of code objects this is not known.
  bool rangeWritten(uint32_t range) const;

  /// Sets an extent of the next runs, and those that follow from it; 0 <= value <= its bound.
  Status setExtent(uint32_t extent, int64_t value);
  int64_t extent(uint32_t extent) const { return extents[extent]; }
  const Plan &executedPlan() const { return *plan; }

  /// The slot's memory at the extents set.
  TensorView slot(uint32_t slot) const;
  /// The same as the host writes it before a run, or reads it behind one: on a device, the copy of a slot that was
  /// staged.
  TensorView hostSlot(uint32_t slot) const;
  /// On a device: `slot` goes there with every run, or comes back.
  Status stage(uint32_t slot, bool input);
  /// Null on the host.
  DeviceStream *deviceStream() const { return stream.get(); }

  /// On a device: the next run draws tokens from the rows of `slot`, a staged output, of which only those from the
  /// first to the last come that nothing is drawn from. `tokens`: one for each row.
  void drawFrom(uint32_t slot, const StepDraws &draws, std::span<int32_t> tokens);

  /// Runs a function of the plan over `batch`. Between ops, and between the chunks of an op, it looks at `cancel` (may
  /// be null): when set the run ends with Cancelled, and what it had written to states past the committed positions is
  /// to be dropped. Who sets it calls WorkerPool::wake() then, for a run that waits for its turn.
  Status run(uint32_t function, const BatchView &batch, const std::atomic<bool> *cancel = nullptr);

  WorkerPool &workers() { return *pool; }
  size_t arenaBytes() const { return arena.size(); }

private:
  Executor() = default;
  ~Executor();
  /// An operand whose dimensions follow an extent.
  struct Patch {
    uint32_t view, slot;
  };
  /// A slot, operand or code buffer that lies `offset` bytes behind the start of a range.
  struct Member {
    uint32_t index;
    uint64_t offset;
  };
  struct Members {
    uint32_t slots, views, buffers; // Where a range's begin; they end where the next one's begin.
  };
  static Result<Executor *> make(const Plan &plan, WorkerPool &pool, SessionClass sessionClass, Device *device,
                                 const StreamBounds &bounds, const Allocator &allocator);
  Status build();
  Status runOnDevice(uint32_t function);
  Status listPatches();
  void patch(uint32_t extent);
  Error outsideError() const;
  Status listMembers();
  void resolveView(TensorView &view, uint32_t slot) const;
  Status runOps(Plan::Range range);
  Status runOp(const Plan::Op &op);
  Status timeOp(const Plan::Op &op);
  Status runLoop(const Plan::Loop &loop);
  Status runCode(const Plan::CodeCall &call, const char *location);
  Status prepareCalls();
  Status runKernel(uint32_t index, const char *location);
  Status watch(std::span<const uint32_t> calls);
  void fetchOperands(uint32_t call, bool outputs);
  void showWatched();

  /// A slot with a copy on the host.
  struct Staged {
    uint32_t slot;
    bool input;
    OwnedArray<uint8_t> memory;
  };
  // The step of a language model has two inputs and an output.
  static constexpr unsigned kMostStaged = 4;

  const Plan *plan = nullptr;
  WorkerPool *pool = nullptr;
  Allocator allocator{};
  Device *device = nullptr;
  Owned<DeviceStream> stream;
  Staged staged[kMostStaged];
  unsigned stagedCount = 0;
  uint32_t drawnSlot = 0;
  StepDraws stepDraws; // Of the next run.
  std::span<int32_t> drawnTokens;
  OwnedArray<KvStateView> stateViews;                  // Of a device: by state of the artifact.
  const RecurrentSegment *recurrentSegments = nullptr; // Of each segment of a step; null: no recurrent states.
  OwnedArray<uint8_t> arena, sharedScratch, workerScratch;
  size_t workerStride = 0;
  OwnedArray<int64_t> extents;
  OwnedArray<uint8_t *> slotData;                // Of every slot.
  OwnedArray<void *> prepared;                   // Of every kernel call, where its kernel prepares any.
  OwnedArray<TensorView> views;                  // One per operand of a kernel call.
  OwnedArray<KvStateView> kvViews;               // One per state operand of a kernel call; of another kind: empty.
  OwnedArray<RecurrentStateView> recurrentViews; // The same.
  OwnedArray<Patch> patches;                     // By extent:
  OwnedArray<uint32_t> patchBegin;               // patches of extent e are [patchBegin[e], patchBegin[e + 1]).
  OwnedArray<void *> codeBuffers;                // One per slot of a code call.
  OwnedArray<uint8_t *> rangeBases;              // Of every movable range.
  OwnedArray<Members> rangeMembers;              // One more than ranges.
  OwnedArray<Member> slotMembers, viewMembers, bufferMembers;
  KernelObserver observer;
  // Of a device: copies of the operands of the calls that are watched.
  struct Operand {
    uint32_t call, view; // View of the call's operands.
    uint8_t *copy;
  };
  OwnedArray<Operand> watchedOperands;
  OwnedArray<uint8_t> watchedMemory;
  OwnedArray<uint32_t> watchedCalls;
  uint32_t watchCount = 0; // How often the calls that are watched have changed.
  std::span<OpTime> opTimes;
  const BatchView *batch = nullptr;
  const WorkerPool::Turn *turn = nullptr; // Of the run in progress.
  SessionClass sessionClass = SessionClass::batch;
  // Of extents that follow from others:
  bool ruled = false;   // There are some.
  int32_t outside = -1; // The first that the values set leave no value inside its bounds, or -1.
};

} // namespace mlc
