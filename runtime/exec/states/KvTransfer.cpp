//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

// Export and import of paged KV states in the canonical form.
//
#include "runtime/exec/Device.h"
#include "runtime/exec/states/KvStore.h"

#include <algorithm>

namespace mlc {

bool KvStore::owns(uint32_t state) const {
  return std::any_of(kvs.begin(), kvs.end(), [&](const Kv &kv) { return kv.state == state; });
}

size_t KvStore::maxPayload() const {
  size_t most = 0;
  for (const Kv &kv : kvs)
    most = std::max(most, kvCanonicalBytes(kv.spec, kPagePositions));
  return most;
}

Status KvStore::exportChunks(uint32_t slot, int64_t length, std::span<uint8_t> buffer,
                             const StateChunkSink &sink) const {
  for (uint32_t kv = 0; kv < kvs.size(); ++kv) {
    const Held &have = held(slot, kv);
    for (uint32_t page = have.first; page < have.end; ++page) {
      int64_t begin = int64_t(page) * kPagePositions;
      auto positions = unsigned(std::min(length - begin, kPagePositions));
      size_t bytes = kvCanonicalBytes(kvs[kv].spec, positions);
      MLC_ASSIGN(const uint8_t *data, readPage(pools[kvs[kv].pool], table(slot, kv)[page]));
      layout.toCanonical(kvs[kv].spec, data, 0, positions, buffer.data());
      MLC_TRY(sink.take(sink.context, {kvs[kv].state, begin, positions, buffer.first(bytes)}));
    }
  }
  return {};
}

Result<const uint8_t *> KvStore::readPage(const PagePool &pool, uint32_t page) const {
  if (!pageMemory.stream)
    return pool.page(page);
  MLC_TRY(pageMemory.stream->read(hostPage.data(), pool.page(page), pool.pageBytes()));
  return const_cast<const uint8_t *>(hostPage.data());
}

/// Bits [begin, end) of a page's positions.
static uint64_t positionMask(unsigned begin, unsigned end) {
  uint64_t below = end == 64 ? ~uint64_t(0) : (uint64_t(1) << end) - 1;
  return below & ~((uint64_t(1) << begin) - 1);
}

uint64_t *KvStore::masks(uint32_t slot, uint32_t kv) {
  uint32_t place = 0;
  while (place < options.imports && importOwners[place] != slot)
    ++place;
  if (place == options.imports) {
    place = uint32_t(std::find(importOwners.begin(), importOwners.end(), kNoSlot) - importOwners.begin());
    if (place == options.imports)
      return nullptr;
    importOwners[place] = slot;
    size_t entries = kvs.size() * pagesPerSlot;
    std::fill_n(importMasks.data() + place * entries, entries, 0);
  }
  return importMasks.data() + (size_t(place) * kvs.size() + kv) * pagesPerSlot;
}

void KvStore::dropImport(uint32_t slot) {
  for (uint32_t place = 0; place < options.imports; ++place) {
    if (importOwners[place] != slot)
      continue;
    for (uint32_t kv = 0; kv < kvs.size(); ++kv)
      for (uint32_t page = 0; page < pagesPerSlot; ++page)
        if (masks(slot, kv)[page]) {
          pools[kvs[kv].pool].release(table(slot, kv)[page]);
          table(slot, kv)[page] = KvStateView::kNoPage;
        }
    importOwners[place] = kNoSlot;
  }
}

Status KvStore::importChunk(uint32_t slot, const StateChunk &chunk) {
  uint32_t kv = 0;
  while (kv < kvs.size() && kvs[kv].state != chunk.state)
    ++kv;
  if (kv == kvs.size())
    return Error(ErrorCode::Internal, "state %u is not a KV state", chunk.state);
  const char *name = kvs[kv].name;
  if (chunk.positions < 1 || chunk.positions > kPagePositions || chunk.firstPosition < 0 ||
      chunk.firstPosition > options.context - int64_t(chunk.positions))
    return Error(ErrorCode::OutOfRange, "import of state %s: positions %lld + %u are outside the context of %lld", name,
                 (long long)chunk.firstPosition, chunk.positions, (long long)options.context);
  auto page = uint32_t(chunk.firstPosition / kPagePositions);
  auto begin = unsigned(chunk.firstPosition % kPagePositions), end = begin + chunk.positions;
  if (end > kPagePositions)
    return Error(ErrorCode::Corrupt, "import of state %s: positions %lld + %u cross a page of %lld", name,
                 (long long)chunk.firstPosition, chunk.positions, (long long)kPagePositions);
  if (chunk.payload.size() != kvCanonicalBytes(kvs[kv].spec, chunk.positions))
    return Error(ErrorCode::Corrupt, "import of state %s: %zu bytes for %u positions, not %zu", name,
                 chunk.payload.size(), chunk.positions, kvCanonicalBytes(kvs[kv].spec, chunk.positions));
  uint64_t *received = masks(slot, kv);
  if (!received)
    return Error(ErrorCode::OutOfMemory, "more than %u imports at a time", options.imports);
  uint64_t mask = positionMask(begin, end);
  if (received[page] & mask)
    return Error(ErrorCode::Corrupt, "import of state %s: positions %lld + %u arrive twice", name,
                 (long long)chunk.firstPosition, chunk.positions);
  PagePool &pool = pools[kvs[kv].pool];
  uint32_t &entry = table(slot, kv)[page];
  if (!received[page] && !pool.take(entry))
    return exhausted(kv);
  uint8_t *data = pool.page(entry);
  if (pageMemory.stream) {
    data = hostPage.data();
    if (Status held = pageMemory.stream->read(data, pool.page(entry), pool.pageBytes()); !held) {
      if (!received[page])
        pool.release(entry);
      return held;
    }
  }
  layout.fromCanonical(kvs[kv].spec, data, begin, end, chunk.payload.data());
  if (pageMemory.stream)
    if (Status sent = pageMemory.stream->write(pool.page(entry), data, pool.pageBytes()); !sent) {
      if (!received[page])
        pool.release(entry);
      return sent;
    }
  received[page] |= mask;
  return {};
}

Status KvStore::importComplete(uint32_t slot, int64_t length) {
  auto endPage = uint32_t(ceilDiv(length, kPagePositions));
  auto tail = unsigned(length - int64_t(endPage ? endPage - 1 : 0) * kPagePositions);
  // Every state is checked before any becomes held.
  for (bool checking : {true, false}) {
    for (uint32_t kv = 0; kv < kvs.size(); ++kv) {
      uint64_t *received = masks(slot, kv);
      if (!received)
        return Error(ErrorCode::OutOfMemory, "more than %u imports at a time", options.imports);
      uint32_t first = 0;
      while (first < endPage && !received[first])
        ++first;
      if (!checking) {
        held(slot, kv) = first < endPage ? Held{first, endPage} : Held{0, 0};
        continue;
      }
      for (uint32_t page = endPage; page < pagesPerSlot; ++page)
        if (received[page])
          return Error(ErrorCode::Corrupt, "import of state %s: positions from %lld on lie past its end %lld",
                       kvs[kv].name, (long long)page * kPagePositions, (long long)length);
      // A state without a window needs all; one with a window what its next query can see.
      int64_t window = kvs[kv].spec.window();
      int64_t needed = window ? std::max<int64_t>(0, length - window + 1) / kPagePositions : 0;
      for (uint32_t page = std::min(first, uint32_t(needed)); page < endPage; ++page) {
        uint64_t whole = positionMask(0, page + 1 == endPage ? tail : unsigned(kPagePositions));
        if (received[page] != whole)
          return Error(ErrorCode::NotFound, "import of state %s: positions %lld to %lld are incomplete", kvs[kv].name,
                       (long long)page * kPagePositions,
                       (long long)std::min(length, int64_t(page + 1) * kPagePositions));
      }
    }
  }
  for (uint32_t &owner : importOwners)
    if (owner == slot)
      owner = kNoSlot;
  return {};
}

} // namespace mlc
