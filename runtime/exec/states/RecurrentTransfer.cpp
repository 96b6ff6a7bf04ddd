//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

// Export and import of recurrent states: a chunk for each base (no positions) and each log page of each state.
//
#include "runtime/exec/Device.h"
#include "runtime/exec/states/RecurrentStore.h"

#include <algorithm>
#include <cstring>

namespace mlc {

bool RecurrentStore::owns(uint32_t state) const {
  return std::any_of(states.begin(), states.end(), [&](const Recurrent &own) { return own.state == state; });
}

static size_t entryBytes(const fb::State &state) { return size_t(state.recurrent()->log_columns()) * sizeof(float); }

size_t RecurrentStore::maxPayload() const {
  size_t most = 0;
  for (const Recurrent &own : states)
    most = std::max(
        {most, size_t(recurrentCanonicalBytes(*own.schema)), size_t(kRecurrentPage) * entryBytes(*own.schema)});
  return most;
}

Result<const uint8_t *> RecurrentStore::readPiece(const uint8_t *from, size_t bytes) const {
  if (!pageMemory.stream)
    return from;
  MLC_TRY(pageMemory.stream->read(hostPiece.data(), from, bytes));
  return const_cast<const uint8_t *>(hostPiece.data());
}

Status RecurrentStore::exportChunks(uint32_t slot, int64_t length, std::span<uint8_t> buffer,
                                    const StateChunkSink &sink) const {
  for (const Recurrent &own : states) {
    Blocks heldBases = bases(slot), heldLogs = logs(slot);
    for (uint32_t i = 0; i < heldBases.count; ++i) {
      const RecurrentHeld &held = heldBases.entries[i];
      MLC_ASSIGN(const uint8_t *base, readPiece(baseOf(own, held.block), layout.baseBytes(*own.schema)));
      layout.toCanonical(*own.schema, base, buffer.data());
      MLC_TRY(sink.take(sink.context, {own.state, int64_t(held.page) * kRecurrentPage, 0,
                                       buffer.first(size_t(recurrentCanonicalBytes(*own.schema)))}));
    }
    size_t bytes = entryBytes(*own.schema);
    for (uint32_t i = 0; i < heldLogs.count; ++i) {
      const RecurrentHeld &held = heldLogs.entries[i];
      int64_t begin = int64_t(held.page) * kRecurrentPage;
      auto entries = uint32_t(std::min(kRecurrentPage, length - begin));
      size_t stride = size_t(own.logStride) * sizeof(float);
      MLC_ASSIGN(const uint8_t *log,
                 readPiece(reinterpret_cast<const uint8_t *>(logOf(own, held.block, 0)), entries * stride));
      for (uint32_t e = 0; e < entries; ++e)
        memcpy(buffer.data() + e * bytes, log + e * stride, bytes);
      MLC_TRY(sink.take(sink.context, {own.state, begin, entries, buffer.first(entries * bytes)}));
    }
  }
  return {};
}

uint16_t *RecurrentStore::marks(uint32_t slot) {
  size_t entries = (basesPerSlot + kLogsPerSlot) * states.size();
  uint32_t place = uint32_t(std::find(importOwners.begin(), importOwners.end(), slot) - importOwners.begin());
  if (place == importOwners.size()) {
    place = uint32_t(std::find(importOwners.begin(), importOwners.end(), kNoSlot) - importOwners.begin());
    if (place == importOwners.size())
      return nullptr;
    importOwners[place] = slot;
    std::fill_n(importMarks.data() + place * entries, entries, uint16_t(0));
  }
  return importMarks.data() + place * entries;
}

/// Marks follow the order in which blocks arrive: the block of a base or log page that is being imported names its row.
uint16_t *RecurrentStore::receivedOf(uint16_t *marks, const Blocks &blocks, const RecurrentHeld *held, bool log) const {
  return marks + ((log ? basesPerSlot : 0) + size_t(held - blocks.entries)) * states.size();
}

/// The block of `page`, taken when it is the page's first chunk. Rows of marks move with the entries of the table.
Result<const RecurrentHeld *> RecurrentStore::importBlock(uint32_t slot, uint16_t *marks, uint32_t page, bool log) {
  Blocks blocks = log ? logs(slot) : bases(slot);
  if (const RecurrentHeld *held = blocks.find(page))
    return held;
  if (blocks.count == (log ? kLogsPerSlot : basesPerSlot))
    return Error(ErrorCode::Corrupt, "import of recurrent states: more than the %u %s of a sequence", blocks.count,
                 log ? "log pages" : "bases");
  PagePool &pool = log ? logPool : basePool;
  if (!pool.free())
    return exhausted(pool, log ? "log pages" : "states");
  uint32_t block = 0;
  if (log)
    block = takeLog(slot);
  else
    pool.take(block);
  blocks.insert(page, block);
  const RecurrentHeld *held = blocks.find(page);
  uint16_t *row = receivedOf(marks, blocks, held, log);
  memmove(row + states.size(), row, size_t(blocks.entries + blocks.count - 1 - held) * states.size() * sizeof *row);
  std::fill_n(row, states.size(), uint16_t(0));
  return held;
}

Status RecurrentStore::importChunk(uint32_t slot, const StateChunk &chunk) {
  const Recurrent *own =
      std::find_if(states.begin(), states.end(), [&](const Recurrent &state) { return state.state == chunk.state; });
  if (own == states.end())
    return Error(ErrorCode::Internal, "state %u is not a recurrent state", chunk.state);
  const char *name = own->schema->name()->c_str();
  bool log = chunk.positions;
  if (chunk.positions > kRecurrentPage || chunk.firstPosition < 0 ||
      chunk.firstPosition > options.context - int64_t(chunk.positions))
    return Error(ErrorCode::OutOfRange, "import of state %s: positions %lld + %u are outside the context of %lld", name,
                 (long long)chunk.firstPosition, chunk.positions, (long long)options.context);
  auto page = uint32_t(chunk.firstPosition / kRecurrentPage), begin = uint32_t(chunk.firstPosition % kRecurrentPage);
  if (log ? begin + chunk.positions > kRecurrentPage : begin || !page)
    return Error(ErrorCode::Corrupt, "import of state %s: positions %lld + %u are no part of a page of %lld", name,
                 (long long)chunk.firstPosition, chunk.positions, (long long)kRecurrentPage);
  size_t bytes = log ? chunk.positions * entryBytes(*own->schema) : size_t(recurrentCanonicalBytes(*own->schema));
  if (chunk.payload.size() != bytes)
    return Error(ErrorCode::Corrupt, "import of state %s: %zu bytes for %u positions, not %zu", name,
                 chunk.payload.size(), chunk.positions, bytes);
  uint16_t *received = marks(slot);
  if (!received)
    return Error(ErrorCode::OutOfMemory, "more than %u imports at a time", options.imports);
  MLC_ASSIGN(const RecurrentHeld *held, importBlock(slot, received, page, log));
  uint16_t &mark = receivedOf(received, log ? logs(slot) : bases(slot), held, log)[own - states.begin()];
  auto mask = uint16_t(log ? ((1u << chunk.positions) - 1) << begin : 1u);
  if (mark & mask)
    return Error(ErrorCode::Corrupt, "import of state %s: positions %lld + %u arrive twice", name,
                 (long long)chunk.firstPosition, chunk.positions);
  uint8_t *target = log ? reinterpret_cast<uint8_t *>(logOf(*own, held->block, begin)) : baseOf(*own, held->block);
  uint8_t *piece = pageMemory.stream ? hostPiece.data() : target;
  size_t stride = size_t(own->logStride) * sizeof(float), entry = entryBytes(*own->schema);
  if (!log)
    layout.fromCanonical(*own->schema, piece, chunk.payload.data());
  for (uint32_t e = 0; e < chunk.positions; ++e)
    memcpy(piece + e * stride, chunk.payload.data() + e * entry, entry);
  if (pageMemory.stream)
    MLC_TRY(pageMemory.stream->write(target, piece, log ? chunk.positions * stride : layout.baseBytes(*own->schema)));
  mark |= mask;
  return {};
}

/// A base or a log page that some state has and another does not, that no sequence of this length holds, or that it
/// cannot do without.
Status RecurrentStore::checkImport(uint32_t slot, uint16_t *received, int64_t length) const {
  auto page = uint32_t(length / kRecurrentPage), endLog = uint32_t(ceilDiv(length, kRecurrentPage));
  for (bool log : {false, true}) {
    Blocks blocks = log ? logs(slot) : bases(slot);
    for (uint32_t i = 0; i < blocks.count; ++i) {
      const RecurrentHeld &held = blocks.entries[i];
      bool recent = held.page + 1 >= page && (log ? held.page < endLog : held.page <= page);
      if (!recent && !(!log && held.page < page && isCheckpoint(held.page)))
        return Error(ErrorCode::Corrupt, "import of recurrent states: a sequence of %lld keeps no %s of position %lld",
                     (long long)length, log ? "log" : "base", (long long)held.page * kRecurrentPage);
      auto entries = unsigned(std::min(kRecurrentPage, length - int64_t(held.page) * kRecurrentPage));
      auto whole = uint16_t(log ? (1u << entries) - 1 : 1u);
      const uint16_t *row = receivedOf(received, blocks, &held, log);
      for (size_t s = 0; s < states.size(); ++s)
        if (row[s] != whole)
          return Error(ErrorCode::NotFound, "import of state %s: the %s of position %lld is incomplete",
                       states[s].schema->name()->c_str(), log ? "log" : "base", (long long)held.page * kRecurrentPage);
    }
  }
  if ((page && !bases(slot).find(page)) || (endLog > page && !logs(slot).find(page)))
    return Error(ErrorCode::NotFound, "import of recurrent states: the state at position %lld is missing",
                 (long long)page * kRecurrentPage);
  return {};
}

Status RecurrentStore::importComplete(uint32_t slot, int64_t length) {
  if (!states.size())
    return {};
  uint16_t *received = marks(slot);
  if (!received)
    return Error(ErrorCode::OutOfMemory, "more than %u imports at a time", options.imports);
  MLC_TRY(checkImport(slot, received, length));
  for (uint32_t &owner : importOwners)
    if (owner == slot)
      owner = kNoSlot;
  return {};
}

} // namespace mlc
