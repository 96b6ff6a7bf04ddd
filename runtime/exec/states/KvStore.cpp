//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/exec/states/KvStore.h"
#include "runtime/exec/Device.h"

#include <algorithm>

namespace mlc {

/// The lowest position that a query of a windowed state at `length` or kRollbackTokens before it can see.
static int64_t firstVisible(const fb::KvSpec &spec, int64_t length) {
  return std::max<int64_t>(0, length - kRollbackTokens - int64_t(spec.window()) + 1);
}

Result<KvStore *> KvStore::create(std::span<const fb::State *const> states, const KvLayout &layout,
                                  const KvStoreOptions &options, const Allocator &allocator,
                                  const PageMemory &memoryOfPages) {
  void *memory = allocator.allocate(allocator.context, sizeof(KvStore), alignof(KvStore));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "no memory for the KV store");
  Owned<KvStore> store(new (memory) KvStore);
  store->allocator = allocator;
  store->layout = layout;
  store->options = options;
  store->pageMemory = memoryOfPages;
  MLC_TRY(store->build(states));
  return store.release();
}

void KvStore::destroy(KvStore *store) {
  Allocator allocator = store->allocator;
  store->~KvStore();
  allocator.release(allocator.context, store, sizeof(KvStore));
}

Status KvStore::build(std::span<const fb::State *const> states) {
  MLC_ASSIGN(KvPlan plan, planKv(states, layout, options));
  MLC_ASSIGN(kvs, OwnedArray<Kv>::create(allocator, plan.states, "KV states"));
  size_t next = 0;
  for (uint32_t i = 0; i < states.size(); ++i)
    if (const fb::State &state = *states[i]; state.kind() == fb::StateKind::kv)
      kvs[next++] = {i, plan.poolOf(kvPageBytes(layout, *state.kv())), *state.kv(), state.name()->c_str()};
  poolCount = plan.poolCount;
  uint64_t largestPage = 0;
  for (uint32_t i = 0; i < poolCount; ++i) {
    if (plan.pageBytes[i] > kMaxObjectBytes)
      return Error(ErrorCode::OutOfMemory, "a KV page of %llu bytes overflows the address space",
                   (unsigned long long)plan.pageBytes[i]);
    MLC_ASSIGN(pools[i], PagePool::create(allocator, pageMemory.allocator ? *pageMemory.allocator : allocator,
                                          size_t(plan.pageBytes[i]), plan.pages[i],
                                          "KV pool (lower --context, --sequences or --kv-memory)"));
    largestPage = std::max(largestPage, plan.pageBytes[i]);
  }
  MLC_ASSIGN(hostPage, OwnedArray<uint8_t>::create(allocator, pageMemory.stream ? largestPage : 0, "a page"));

  pagesPerSlot = plan.pagesPerSlot;
  size_t heldCount, tableCount, maskCount, segmentCount;
  if (!checkedMul(size_t(options.slots), kvs.size(), heldCount) ||
      !checkedMul(heldCount, size_t(pagesPerSlot), tableCount) ||
      !checkedMul(kvs.size() * pagesPerSlot, size_t(options.imports), maskCount) ||
      !checkedMul(kvs.size(), size_t(options.sequences), segmentCount))
    return Error(ErrorCode::OutOfMemory, "page tables overflow the address space");
  MLC_ASSIGN(heldPages, OwnedArray<Held>::create(allocator, heldCount, "page tables"));
  MLC_ASSIGN(tables, OwnedArray<uint32_t>::create(allocator, tableCount, "page tables"));
  MLC_ASSIGN(importMasks, OwnedArray<uint64_t>::create(allocator, maskCount, "import tables"));
  MLC_ASSIGN(importOwners, OwnedArray<uint32_t>::create(allocator, options.imports, "import tables"));
  MLC_ASSIGN(segmentTables, OwnedArray<const uint32_t *>::create(allocator, segmentCount, "page tables"));
  // Also what a reader finds in place of pages that were let go.
  std::fill(tables.begin(), tables.end(), KvStateView::kNoPage);
  std::fill(importOwners.begin(), importOwners.end(), kNoSlot);
  return {};
}

Status KvStore::exhausted(uint32_t kv) const {
  const PagePool &pool = pools[kvs[kv].pool];
  return Error(ErrorCode::OutOfMemory,
               "KV pool exhausted: all %u pages of %zu bytes are in use; end a sequence or raise --kv-memory",
               pool.size(), pool.pageBytes());
}

Status KvStore::reserve(uint32_t slot, int64_t length, int64_t count) {
  auto firstPage = uint32_t(length / kPagePositions);
  auto endPage = uint32_t(ceilDiv(length + count, kPagePositions));
  // Pages needed of each pool are counted first, so that a refusal changes nothing.
  uint32_t needed[KvPlan::kMaxPageSizes] = {};
  for (uint32_t kv = 0; kv < kvs.size(); ++kv) {
    PagePool &pool = pools[kvs[kv].pool];
    const Held &have = held(slot, kv);
    bool copies = firstPage < have.end && pool.shared(table(slot, kv)[firstPage]);
    needed[kvs[kv].pool] += endPage - std::min(endPage, std::max(have.end, firstPage)) + copies;
    if (needed[kvs[kv].pool] > pool.free())
      return exhausted(kv);
  }
  for (uint32_t kv = 0; kv < kvs.size(); ++kv) {
    PagePool &pool = pools[kvs[kv].pool];
    uint32_t *pages = table(slot, kv);
    Held &have = held(slot, kv);
    if (firstPage < have.end && pool.shared(pages[firstPage])) {
      uint32_t copy = 0;
      pool.take(copy);
      if (Status copied = copyPage(pool, copy, pages[firstPage]); !copied) {
        pool.release(copy);
        return copied;
      }
      pool.release(pages[firstPage]);
      pages[firstPage] = copy;
    }
    if (have.first == have.end)
      have.first = have.end = firstPage;
    for (; have.end < endPage; ++have.end)
      pool.take(pages[have.end]);
  }
  return {};
}

Status KvStore::copyPage(PagePool &pool, uint32_t to, uint32_t from) {
  if (pageMemory.stream)
    return pageMemory.stream->copy(pool.page(to), pool.page(from), pool.pageBytes());
  memcpy(pool.page(to), pool.page(from), pool.pageBytes());
  return {};
}

void KvStore::dropFrom(uint32_t slot, uint32_t kv, uint32_t page) {
  Held &have = held(slot, kv);
  uint32_t *pages = table(slot, kv);
  for (; have.end > std::max(page, have.first); pages[have.end] = KvStateView::kNoPage)
    pools[kvs[kv].pool].release(pages[--have.end]);
  if (have.first == have.end)
    have = {0, 0};
}

void KvStore::dropBelow(uint32_t slot, uint32_t kv, uint32_t page) {
  Held &have = held(slot, kv);
  uint32_t *pages = table(slot, kv);
  for (; have.first < std::min(page, have.end); ++have.first) {
    pools[kvs[kv].pool].release(pages[have.first]);
    pages[have.first] = KvStateView::kNoPage;
  }
}

void KvStore::commit(uint32_t slot, int64_t length) {
  for (uint32_t kv = 0; kv < kvs.size(); ++kv) {
    dropFrom(slot, kv, uint32_t(ceilDiv(length, kPagePositions)));
    if (kvs[kv].spec.window())
      dropBelow(slot, kv, uint32_t(firstVisible(kvs[kv].spec, length) / kPagePositions));
  }
}

void KvStore::share(uint32_t from, uint32_t to, int64_t length) {
  auto endPage = uint32_t(ceilDiv(length, kPagePositions));
  for (uint32_t kv = 0; kv < kvs.size(); ++kv) {
    const Held &source = held(from, kv);
    Held &target = held(to, kv);
    target = {source.first, std::max(source.first, std::min(source.end, endPage))};
    for (uint32_t page = target.first; page < target.end; ++page) {
      table(to, kv)[page] = table(from, kv)[page];
      pools[kvs[kv].pool].addReference(table(from, kv)[page]);
    }
  }
}

int64_t KvStore::rollbackLimit(uint32_t slot, int64_t length) const {
  int64_t limit = 0;
  for (uint32_t kv = 0; kv < kvs.size(); ++kv)
    if (int64_t first = held(slot, kv).first) // The next query at p sees (p - window, p].
      limit = std::max(limit, first * kPagePositions + int64_t(kvs[kv].spec.window()) - 1);
  return std::min(limit, length);
}

int64_t KvStore::reachable(uint32_t slot, int64_t length, int64_t position) const {
  position = std::min(position, length);
  return position >= rollbackLimit(slot, length) ? position : -1;
}

void KvStore::rollback(uint32_t slot, int64_t position) {
  for (uint32_t kv = 0; kv < kvs.size(); ++kv)
    dropFrom(slot, kv, uint32_t(ceilDiv(position, kPagePositions)));
}

void KvStore::clear(uint32_t slot) {
  for (uint32_t kv = 0; kv < kvs.size(); ++kv)
    dropFrom(slot, kv, 0);
  dropImport(slot);
}

KvStateView KvStore::view(uint32_t state) {
  KvStateView view;
  for (uint32_t kv = 0; kv < kvs.size(); ++kv) {
    if (kvs[kv].state != state)
      continue;
    PagePool &pool = pools[kvs[kv].pool];
    view.pool = pool.base();
    view.pageBytes = pool.pageBytes();
    view.pages = segmentTables.data() + size_t(kv) * options.sequences;
    view.state = state;
    view.spec = kvs[kv].spec;
  }
  return view;
}

void KvStore::selectSegment(uint32_t segment, uint32_t slot) {
  for (uint32_t kv = 0; kv < kvs.size(); ++kv)
    segmentTables[size_t(kv) * options.sequences + segment] = table(slot, kv);
}

uint64_t KvStore::poolBytes() const {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < poolCount; ++i)
    bytes += uint64_t(pools[i].pageBytes()) * pools[i].size();
  return bytes;
}

uint64_t KvStore::usedBytes() const {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < poolCount; ++i)
    bytes += uint64_t(pools[i].pageBytes()) * (pools[i].size() - pools[i].free());
  return bytes;
}

} // namespace mlc
