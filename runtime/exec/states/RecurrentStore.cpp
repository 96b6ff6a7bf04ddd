//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/exec/states/RecurrentStore.h"
#include "runtime/exec/Device.h"

#include <algorithm>
#include <cstring>

namespace mlc {

Result<RecurrentStore *> RecurrentStore::create(std::span<const fb::State *const> states, const RecurrentLayout &layout,
                                                const RecurrentStoreOptions &options, const Allocator &allocator,
                                                const PageMemory &memoryOfPages) {
  void *memory = allocator.allocate(allocator.context, sizeof(RecurrentStore), alignof(RecurrentStore));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "no memory for recurrent states");
  Owned<RecurrentStore> store(new (memory) RecurrentStore);
  store->allocator = allocator;
  store->layout = layout;
  store->options = options;
  store->pageMemory = memoryOfPages;
  MLC_TRY(store->build(states));
  return store.release();
}

void RecurrentStore::destroy(RecurrentStore *store) {
  Allocator allocator = store->allocator;
  store->~RecurrentStore();
  allocator.release(allocator.context, store, sizeof(RecurrentStore));
}

Status RecurrentStore::build(std::span<const fb::State *const> all) {
  MLC_ASSIGN(RecurrentPlan plan, planRecurrent(all, layout, options));
  MLC_ASSIGN(states, OwnedArray<Recurrent>::create(allocator, plan.states, "recurrent states"));
  if (!plan.states)
    return {};
  size_t next = 0;
  uint64_t baseOffset = 0, logOffset = 0, largestPiece = 0;
  for (uint32_t i = 0; i < all.size(); ++i) {
    if (!isRecurrent(*all[i]))
      continue;
    states[next++] = {all[i], i, baseOffset, logOffset, recurrentLogStride(*all[i])};
    uint64_t base = layout.baseBytes(*all[i]), log = recurrentLogStride(*all[i]) * kRecurrentPage * sizeof(float);
    baseOffset += alignUp(base, uint64_t(64));
    logOffset += log;
    largestPiece = std::max({largestPiece, base, log});
  }
  basesPerSlot = plan.basesPerSlot;
  if (plan.baseBytes > kMaxObjectBytes || plan.logBytes > kMaxObjectBytes)
    return Error(ErrorCode::OutOfMemory, "recurrent states of %llu bytes overflow the address space",
                 (unsigned long long)plan.baseBytes);
  const Allocator &pools = pageMemory.allocator ? *pageMemory.allocator : allocator;
  MLC_ASSIGN(basePool, PagePool::create(allocator, pools, size_t(plan.baseBytes), plan.bases, "recurrent states"));
  MLC_ASSIGN(logPool, PagePool::create(allocator, pools, size_t(plan.logBytes), plan.logs, "logs of recurrent states"));
  MLC_ASSIGN(hostPiece, OwnedArray<uint8_t>::create(allocator, pageMemory.stream ? largestPiece : 0, "a state"));
  const char *tables = "tables of recurrent states";
  uint64_t slots = options.slots, entries = basesPerSlot + kLogsPerSlot;
  MLC_ASSIGN(baseTable, OwnedArray<RecurrentHeld>::create(allocator, slots * basesPerSlot, tables));
  MLC_ASSIGN(logTable, OwnedArray<RecurrentHeld>::create(allocator, slots * kLogsPerSlot, tables));
  MLC_ASSIGN(counts, OwnedArray<Counts>::create(allocator, slots, tables));
  MLC_ASSIGN(owners, OwnedArray<uint32_t>::create(allocator, plan.logs, tables));
  MLC_ASSIGN(promised, OwnedArray<uint32_t>::create(allocator, plan.logs, tables));
  MLC_ASSIGN(importMarks, OwnedArray<uint16_t>::create(allocator, options.imports * entries * states.size(), tables));
  MLC_ASSIGN(importOwners, OwnedArray<uint32_t>::create(allocator, options.imports, tables));
  MLC_ASSIGN(segments, OwnedArray<RecurrentSegment>::create(allocator, options.sequences, tables));
  MLC_ASSIGN(pages, OwnedArray<RecurrentPage>::create(allocator, stepPages(options), tables));
  std::fill(owners.begin(), owners.end(), kNoSlot);
  std::fill(importOwners.begin(), importOwners.end(), kNoSlot);
  return {};
}

const RecurrentHeld *RecurrentStore::Blocks::find(uint32_t page) const {
  const RecurrentHeld *end = entries + count;
  const RecurrentHeld *at =
      std::lower_bound(static_cast<const RecurrentHeld *>(entries), end, page,
                       [](const RecurrentHeld &held, uint32_t wanted) { return held.page < wanted; });
  return at != end && at->page == page ? at : nullptr;
}

void RecurrentStore::Blocks::insert(uint32_t page, uint32_t block) {
  uint32_t at = count++;
  for (; at && entries[at - 1].page > page; --at)
    entries[at] = entries[at - 1];
  entries[at] = {page, block};
}

Error RecurrentStore::exhausted(const PagePool &pool, const char *what) const {
  return Error(ErrorCode::OutOfMemory,
               "pool of recurrent states exhausted: all %u %s of %zu bytes are in use; end a sequence or release a "
               "snapshot",
               pool.size(), what, pool.pageBytes());
}

/// The rollback that a log block's sharers rely on: entries that were promised to another slot are never written.
bool RecurrentStore::mayAppend(uint32_t slot, uint32_t block, uint32_t entry) const {
  if (!logPool.shared(block))
    return true;
  return (owners[block] == slot || owners[block] == kNoSlot) && entry >= promised[block];
}

uint32_t RecurrentStore::takeLog(uint32_t slot) {
  uint32_t block = 0;
  logPool.take(block);
  owners[block] = slot;
  promised[block] = 0;
  return block;
}

void RecurrentStore::releaseLog(uint32_t slot, uint32_t block) {
  if (owners[block] == slot)
    owners[block] = kNoSlot;
  logPool.release(block);
}

Status RecurrentStore::copyEntries(uint32_t from, uint32_t to, uint32_t entries) {
  auto bytesOf = [&](const Recurrent &state) { return size_t(entries * state.logStride * sizeof(float)); };
  if (pageMemory.stream) {
    for (const Recurrent &state : states)
      MLC_TRY(pageMemory.stream->copy(reinterpret_cast<uint8_t *>(logOf(state, to, 0)),
                                      reinterpret_cast<const uint8_t *>(logOf(state, from, 0)), bytesOf(state)));
    return {};
  }
  auto some = [&](int64_t begin, int64_t end, unsigned) {
    for (const Recurrent &state : states.span().subspan(size_t(begin), size_t(end - begin)))
      memcpy(logOf(state, to, 0), logOf(state, from, 0), bytesOf(state));
  };
  if (!options.pool) {
    some(0, int64_t(states.size()), 0);
    return {};
  }
  // Megabytes of a large model, for which one thread has a fraction of memory's speed.
  WorkerPool::Turn turn(*options.pool, options.sessionClass);
  options.pool->parallelFor(int64_t(states.size()), 1, some);
  return {};
}

Status RecurrentStore::reserve(uint32_t slot, int64_t length, int64_t count) {
  if (!states.size())
    return {};
  auto page = uint32_t(length / kRecurrentPage), entry = uint32_t(length % kRecurrentPage);
  auto lastPage = uint32_t((length + count) / kRecurrentPage),
       endLog = uint32_t(ceilDiv(length + count, kRecurrentPage));
  uint32_t firstKept = lastPage ? lastPage - 1 : 0, firstLog = std::max(page, firstKept);
  Blocks heldBases = bases(slot), heldLogs = logs(slot);
  auto keepsBase = [&](uint32_t p) { return p >= firstKept || isCheckpoint(p); };
  // Blocks needed are counted first, so that a refusal changes nothing.
  uint32_t basesNeeded = 0, logsNeeded = endLog - firstLog;
  for (uint32_t p = page + 1; p <= lastPage; ++p)
    basesNeeded += keepsBase(p);
  const RecurrentHeld *partial = entry ? heldLogs.find(page) : nullptr;
  bool appends = partial && firstLog == page, copies = appends && !mayAppend(slot, partial->block, entry);
  logsNeeded -= appends && !copies;
  if (basesNeeded > basePool.free())
    return exhausted(basePool, "states");
  if (logsNeeded > logPool.free())
    return exhausted(logPool, "log pages");
  if (copies) {
    uint32_t old = partial->block, copy = takeLog(slot);
    if (Status copied = copyEntries(old, copy, entry); !copied) {
      releaseLog(slot, copy);
      return copied;
    }
    releaseLog(slot, old);
    const_cast<RecurrentHeld *>(partial)->block = copy;
  } else if (appends) {
    owners[partial->block] = slot;
  }
  for (uint32_t p = firstLog + appends; p < endLog; ++p)
    heldLogs.insert(p, takeLog(slot));
  for (uint32_t p = page + 1; p <= lastPage; ++p) {
    uint32_t block;
    if (keepsBase(p) && basePool.take(block))
      heldBases.insert(p, block);
  }
  return {};
}

template <typename Keep> void RecurrentStore::retainBases(uint32_t slot, const Keep &keep) {
  Blocks held = bases(slot);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < held.count; ++i) {
    if (keep(held.entries[i].page))
      held.entries[kept++] = held.entries[i];
    else
      basePool.release(held.entries[i].block);
  }
  held.count = kept;
}

template <typename Keep> void RecurrentStore::retainLogs(uint32_t slot, const Keep &keep) {
  Blocks held = logs(slot);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < held.count; ++i) {
    if (keep(held.entries[i].page))
      held.entries[kept++] = held.entries[i];
    else
      releaseLog(slot, held.entries[i].block);
  }
  held.count = kept;
}

void RecurrentStore::commit(uint32_t slot, int64_t length) {
  if (!states.size())
    return;
  auto page = uint32_t(length / kRecurrentPage), endLog = uint32_t(ceilDiv(length, kRecurrentPage));
  uint32_t first = page ? page - 1 : 0;
  retainBases(slot, [&](uint32_t p) { return p <= page && (p >= first || isCheckpoint(p)); });
  retainLogs(slot, [&](uint32_t p) { return p >= first && p < endLog; });
}

void RecurrentStore::share(uint32_t from, uint32_t to, int64_t length) {
  if (!states.size())
    return;
  auto page = uint32_t(length / kRecurrentPage), endLog = uint32_t(ceilDiv(length, kRecurrentPage));
  Blocks baseSource = bases(from), baseTarget = bases(to), logSource = logs(from), logTarget = logs(to);
  for (uint32_t i = 0; i < baseSource.count && baseSource.entries[i].page <= page; ++i) {
    baseTarget.entries[baseTarget.count++] = baseSource.entries[i];
    basePool.addReference(baseSource.entries[i].block);
  }
  for (uint32_t i = 0; i < logSource.count && logSource.entries[i].page < endLog; ++i) {
    const RecurrentHeld &held = logSource.entries[i];
    // A promise of former sharers is over when none is left.
    uint32_t before = logPool.shared(held.block) ? promised[held.block] : 0;
    auto entries = uint32_t(std::min(kRecurrentPage, length - int64_t(held.page) * kRecurrentPage));
    promised[held.block] = std::max(before, entries);
    logTarget.entries[logTarget.count++] = held;
    logPool.addReference(held.block);
  }
}

int64_t RecurrentStore::reachable(uint32_t slot, int64_t length, int64_t position) const {
  if (!states.size() || position >= length)
    return std::min(position, length);
  // Inside a page that its log covers any position; else the border of a page with a base; else 0.
  auto page = uint32_t(position / kRecurrentPage);
  Blocks heldBases = bases(slot);
  bool base = !page || heldBases.find(page);
  if (base && (position % kRecurrentPage == 0 || logs(slot).find(page)))
    return position;
  int64_t border = 0;
  for (uint32_t i = 0; i < heldBases.count && heldBases.entries[i].page <= page; ++i)
    border = int64_t(heldBases.entries[i].page) * kRecurrentPage;
  return border;
}

int64_t RecurrentStore::rollbackLimit(uint32_t slot, int64_t length) const {
  if (!states.size())
    return 0;
  // Page by page down from the last position, while base and log are there.
  for (int64_t limit = length; limit > 0;) {
    auto page = uint32_t((limit - 1) / kRecurrentPage);
    if ((page && !bases(slot).find(page)) || !logs(slot).find(page))
      return limit;
    limit = int64_t(page) * kRecurrentPage;
  }
  return 0;
}

void RecurrentStore::rollback(uint32_t slot, int64_t position) {
  if (!states.size())
    return;
  auto page = uint32_t(position / kRecurrentPage), endLog = uint32_t(ceilDiv(position, kRecurrentPage));
  retainBases(slot, [&](uint32_t p) { return p <= page; });
  retainLogs(slot, [&](uint32_t p) { return p < endLog; });
}

void RecurrentStore::clear(uint32_t slot) {
  if (!states.size())
    return;
  retainBases(slot, [](uint32_t) { return false; });
  retainLogs(slot, [](uint32_t) { return false; });
  for (uint32_t &owner : importOwners)
    if (owner == slot)
      owner = kNoSlot;
}

RecurrentStateView RecurrentStore::view(uint32_t state) {
  RecurrentStateView view;
  for (const Recurrent &own : states) {
    if (own.state != state)
      continue;
    view.bases = baseOf(own, 0);
    view.baseStride = basePool.pageBytes();
    view.logs = reinterpret_cast<uint8_t *>(logOf(own, 0, 0));
    view.logBlockStride = logPool.pageBytes();
    view.logStride = size_t(own.logStride);
    view.segments = segments.data();
    view.state = own.schema;
  }
  return view;
}

void RecurrentStore::selectSegment(uint32_t segment, uint32_t slot, int64_t length, int64_t count) {
  if (!states.size())
    return;
  if (!segment)
    usedPages = 0;
  auto page = uint32_t(length / kRecurrentPage), endPage = uint32_t(ceilDiv(length + count, kRecurrentPage));
  Blocks heldBases = bases(slot), heldLogs = logs(slot);
  auto blockOf = [](const RecurrentHeld *held) { return held ? held->block : kNoBlock; };
  auto firstKept = uint32_t(std::max<int64_t>(1, (length + count) / kRecurrentPage) - 1);
  segments[segment] = {page ? blockOf(heldBases.find(page)) : kNoBlock,
                       length % kRecurrentPage ? blockOf(heldLogs.find(page)) : kNoBlock, pages.data() + usedPages};
  for (uint32_t p = page; p < endPage; ++p)
    // A first page that is not kept is only read.
    pages[usedPages++] = {p >= firstKept ? blockOf(heldLogs.find(p)) : kNoBlock, blockOf(heldBases.find(p + 1))};
}

uint64_t RecurrentStore::poolBytes() const {
  return uint64_t(basePool.pageBytes()) * basePool.size() + uint64_t(logPool.pageBytes()) * logPool.size();
}

uint64_t RecurrentStore::usedBytes() const {
  return uint64_t(basePool.pageBytes()) * (basePool.size() - basePool.free()) +
         uint64_t(logPool.pageBytes()) * (logPool.size() - logPool.free());
}

} // namespace mlc
