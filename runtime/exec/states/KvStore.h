//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Paged KV states. Pages of kPagePositions positions hold K and V of all heads of one state in the target's layout;
// states whose pages have the same size share a pool. Slots share pages by reference count; whoever writes into a
// shared page first copies the positions it keeps. A state with a window frees the pages that no query can see again,
// less kRollbackTokens positions of slack.
//
#pragma once

#include "runtime/exec/states/KvPlan.h"
#include "runtime/exec/states/PagePool.h"
#include "runtime/exec/states/StateStore.h"

namespace mlc {

class KvStore final : public StateStore {
public:
  /// `states`: the artifact's; those that are not KV are left to other stores.
  static Result<KvStore *> create(std::span<const fb::State *const> states, const KvLayout &layout,
                                  const KvStoreOptions &options, const Allocator &allocator = systemAllocator(),
                                  const PageMemory &memory = {});
  static void destroy(KvStore *store);

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

  /// The pages of `state` that kernels see: segment s of a step is the slot that selectSegment put there.
  KvStateView view(uint32_t state);
  void selectSegment(uint32_t segment, uint32_t slot);

  /// Bytes of all pools, and of the pages in use.
  uint64_t poolBytes() const;
  uint64_t usedBytes() const;

private:
  KvStore() = default;
  ~KvStore() = default;
  /// One KV state of the artifact.
  struct Kv {
    uint32_t state;
    uint32_t pool;
    fb::KvSpec spec;
    const char *name;
  };
  /// Pages [first, end) of a state that a slot holds.
  struct Held {
    uint32_t first, end;
  };
  uint32_t *table(uint32_t slot, uint32_t kv) {
    return tables.data() + (size_t(slot) * kvs.size() + kv) * pagesPerSlot;
  }
  const uint32_t *table(uint32_t slot, uint32_t kv) const {
    return tables.data() + (size_t(slot) * kvs.size() + kv) * pagesPerSlot;
  }
  Held &held(uint32_t slot, uint32_t kv) { return heldPages[size_t(slot) * kvs.size() + kv]; }
  const Held &held(uint32_t slot, uint32_t kv) const { return heldPages[size_t(slot) * kvs.size() + kv]; }
  static constexpr uint32_t kNoSlot = ~0u;
  Status build(std::span<const fb::State *const> states);
  /// Positions received by the pages of a slot that is being imported; null when too many slots are.
  uint64_t *masks(uint32_t slot, uint32_t kv);
  void dropImport(uint32_t slot);
  void dropFrom(uint32_t slot, uint32_t kv, uint32_t page);
  void dropBelow(uint32_t slot, uint32_t kv, uint32_t page);
  Status exhausted(uint32_t kv) const;
  Status copyPage(PagePool &pool, uint32_t to, uint32_t from);
  /// A page as the host can read it, until the next call; null after an error.
  Result<const uint8_t *> readPage(const PagePool &pool, uint32_t page) const;

  Allocator allocator{};
  PageMemory pageMemory;
  mutable OwnedArray<uint8_t> hostPage; // A copy of one page of a device.
  KvLayout layout{};
  KvStoreOptions options;
  uint32_t pagesPerSlot = 0;
  OwnedArray<Kv> kvs;
  PagePool pools[KvPlan::kMaxPageSizes];
  uint32_t poolCount = 0;
  OwnedArray<uint32_t> tables;
  OwnedArray<Held> heldPages;
  OwnedArray<uint64_t> importMasks; // [import][kv][page]: the positions received, one bit each.
  OwnedArray<uint32_t> importOwners;
  OwnedArray<const uint32_t *> segmentTables; // [kv][segment]
};

} // namespace mlc
