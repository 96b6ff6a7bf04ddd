//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Recurrent states. The positions of a sequence are cut into pages of kRecurrentPage. A base is the state before a
// page, a log page the small inputs of the page's tokens; a token's result is a function of its page's base and the
// entries up to it. A sequence of `length` positions, in page k = length / 16, holds the bases of pages k and k - 1 and
// the log from page k - 1 on, so a rollback within them drops entries and copies nothing. Bases at the checkpoints stay
// too.
//
// Slots share blocks by reference count. A base is never written again. Log entries are only appended: a slot appends
// in place to a block that others share while none of them was promised the entries it writes, else it first copies
// what it keeps of the page.
//
#pragma once

#include "runtime/exec/states/PagePool.h"
#include "runtime/exec/states/RecurrentPlan.h"
#include "runtime/exec/states/StateStore.h"

namespace mlc {

static_assert(kRollbackTokens <= kRecurrentPage);

/// A block that a slot holds, and its page: of a base, the page that it stands before.
struct RecurrentHeld {
  uint32_t page, block;
};

class RecurrentStore final : public StateStore {
public:
  /// Two that are kept, and two that a step adds.
  static constexpr uint32_t kLogsPerSlot = 4;

  /// `states`: the artifact's; those that are not recurrent are left to other stores.
  static Result<RecurrentStore *> create(std::span<const fb::State *const> states, const RecurrentLayout &layout,
                                         const RecurrentStoreOptions &options,
                                         const Allocator &allocator = systemAllocator(), const PageMemory &memory = {});
  static void destroy(RecurrentStore *store);

  Status reserve(uint32_t slot, int64_t length, int64_t count) override;
  void commit(uint32_t slot, int64_t length) override;
  void share(uint32_t from, uint32_t to, int64_t length) override;
  int64_t rollbackLimit(uint32_t slot, int64_t length) const override;
  int64_t reachable(uint32_t slot, int64_t length, int64_t position) const override;
  void rollback(uint32_t slot, int64_t position) override;
  void clear(uint32_t slot) override;
  size_t maxPayload() const override;
  Status exportChunks(uint32_t slot, int64_t length, std::span<uint8_t> buffer,
                      const StateChunkSink &sink) const override;
  bool owns(uint32_t state) const override;
  Status importChunk(uint32_t slot, const StateChunk &chunk) override;
  Status importComplete(uint32_t slot, int64_t length) override;

  /// What kernels see of `state`: segment s of a step is what selectSegment put there.
  RecurrentStateView view(uint32_t state);
  /// After reserve(slot, length, count); segments in order from 0.
  void selectSegment(uint32_t segment, uint32_t slot, int64_t length, int64_t count);

  /// Bytes of both pools, and of the blocks in use.
  uint64_t poolBytes() const;
  uint64_t usedBytes() const;

  /// Pages that the segments of one step touch at most.
  static uint64_t stepPages(const RecurrentStoreOptions &options) {
    return uint64_t(mostRecurrentPages(options.batch, options.sequences));
  }

private:
  RecurrentStore() = default;
  ~RecurrentStore() = default;
  /// One recurrent state of the artifact, and where it lies in a block.
  struct Recurrent {
    const fb::State *schema;
    uint32_t state;
    uint64_t baseOffset, logOffset; // Bytes.
    uint64_t logStride;             // Values.
  };
  static constexpr uint32_t kNoSlot = ~0u, kNoBlock = RecurrentStateView::kNoBlock;
  /// Blocks by rising page.
  struct Blocks {
    RecurrentHeld *entries;
    uint32_t &count;
    const RecurrentHeld *find(uint32_t page) const;
    void insert(uint32_t page, uint32_t block);
  };
  Blocks bases(uint32_t slot) const { return {baseTable.data() + size_t(slot) * basesPerSlot, counts[slot].bases}; }
  Blocks logs(uint32_t slot) const { return {logTable.data() + size_t(slot) * kLogsPerSlot, counts[slot].logs}; }
  struct Counts {
    uint32_t bases, logs;
  };
  Status build(std::span<const fb::State *const> states);
  bool isCheckpoint(uint32_t page) const {
    return options.checkpointEvery && int64_t(page) * kRecurrentPage % options.checkpointEvery == 0;
  }
  bool mayAppend(uint32_t slot, uint32_t block, uint32_t entry) const;
  Status copyEntries(uint32_t from, uint32_t to, uint32_t entries);
  /// `bytes` at `from` of a pool as the host can read them, until the next call.
  Result<const uint8_t *> readPiece(const uint8_t *from, size_t bytes) const;
  uint32_t takeLog(uint32_t slot);
  void releaseLog(uint32_t slot, uint32_t block);
  template <typename Keep> void retainBases(uint32_t slot, const Keep &keep);
  template <typename Keep> void retainLogs(uint32_t slot, const Keep &keep);
  Error exhausted(const PagePool &pool, const char *what) const;
  uint8_t *baseOf(const Recurrent &state, uint32_t block) const { return basePool.page(block) + state.baseOffset; }
  float *logOf(const Recurrent &state, uint32_t block, int64_t entry) const {
    return reinterpret_cast<float *>(logPool.page(block) + state.logOffset) + size_t(entry) * state.logStride;
  }
  /// What a slot that is being imported has received; null when too many slots are. One mark for each state of each
  /// entry of its tables: the entries of a log page, bit 0 of a base.
  uint16_t *marks(uint32_t slot);
  uint16_t *receivedOf(uint16_t *marks, const Blocks &blocks, const RecurrentHeld *held, bool log) const;
  Result<const RecurrentHeld *> importBlock(uint32_t slot, uint16_t *marks, uint32_t page, bool log);
  Status checkImport(uint32_t slot, uint16_t *marks, int64_t length) const;

  Allocator allocator{};
  PageMemory pageMemory;
  mutable OwnedArray<uint8_t> hostPiece; // A copy of one state's base or log page of a device.
  RecurrentLayout layout{};
  RecurrentStoreOptions options;
  uint32_t basesPerSlot = 0;
  OwnedArray<Recurrent> states;
  mutable PagePool basePool, logPool;
  mutable OwnedArray<RecurrentHeld> baseTable, logTable; // [slot][entry]
  mutable OwnedArray<Counts> counts;                     // [slot]
  // Of each log block: the slot that appends to it, and the entries that others were promised.
  OwnedArray<uint32_t> owners;
  OwnedArray<uint32_t> promised;
  OwnedArray<uint16_t> importMarks; // [import][entry of the tables][state]
  OwnedArray<uint32_t> importOwners;
  OwnedArray<RecurrentSegment> segments;
  OwnedArray<RecurrentPage> pages;
  size_t usedPages = 0;
};

} // namespace mlc
