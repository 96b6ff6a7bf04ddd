//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What a kind of state must offer so that every model has the same operations on a sequence: fork, snapshot, rollback,
// export, import, evict. A store holds the states of its kind for every slot (a live sequence, a snapshot or a pending
// import). Paged KV is KvStore; RecurrentStore has states that only some positions can be rolled back to, which is why
// a rollback may be refused.
//
#pragma once

#include "runtime/exec/Kernel.h"

namespace mlc {

/// Every sequence can be rolled back to any of the last so many positions, whatever its states.
constexpr int64_t kRollbackTokens = 16;

/// One exported piece of one state. `payload` is the canonical form (docs/runtime.md).
struct StateChunk {
  uint32_t state = 0;        // Index in the artifact; the name travels with it.
  int64_t firstPosition = 0; // Positions [firstPosition, firstPosition + positions).
  uint32_t positions = 0;    // 0: a state as it stands before firstPosition.
  std::span<const uint8_t> payload;
};

/// Takes chunks as they become final; an error ends the export and is handed back.
struct StateChunkSink {
  Status (*take)(void *context, const StateChunk &chunk);
  void *context;
};

class StateStore {
public:
  /// Makes positions [length, length + count) of `slot` writable, or changes nothing (OutOfMemory: pool exhausted).
  virtual Status reserve(uint32_t slot, int64_t length, int64_t count) = 0;
  /// The slot now holds `length` positions: drops what was reserved past them and what no window can see again.
  virtual void commit(uint32_t slot, int64_t length) = 0;
  /// `to`, an empty slot, becomes equal to the first `length` positions of `from`. Never fails: memory is shared.
  virtual void share(uint32_t from, uint32_t to, int64_t length) = 0;
  /// The lowest position from which on `slot`, which holds `length`, can be rolled back to any.
  virtual int64_t rollbackLimit(uint32_t slot, int64_t length) const = 0;
  /// The highest position up to `position` that the slot can be rolled back to; -1: none. It may lie below
  /// rollbackLimit, at a checkpoint.
  virtual int64_t reachable(uint32_t slot, int64_t length, int64_t position) const = 0;
  /// Drops all from `position` on; the caller has asked reachable.
  virtual void rollback(uint32_t slot, int64_t position) = 0;
  /// Frees all that the slot holds.
  virtual void clear(uint32_t slot) = 0;

  /// Bytes of the largest chunk's payload.
  virtual size_t maxPayload() const = 0;
  /// Hands over every piece of positions [0, length) that is still held. `buffer` holds maxPayload() bytes.
  virtual Status exportChunks(uint32_t slot, int64_t length, std::span<uint8_t> buffer,
                              const StateChunkSink &sink) const = 0;
  /// Whether the store owns `state` (then importChunk takes its chunks).
  virtual bool owns(uint32_t state) const = 0;
  /// Writes one chunk into a slot that is being imported; every field is untrusted.
  virtual Status importChunk(uint32_t slot, const StateChunk &chunk) = 0;
  /// Ok when the chunks received make up a whole state of `length` positions, else what is missing.
  virtual Status importComplete(uint32_t slot, int64_t length) = 0;

protected:
  ~StateStore() = default;
};

} // namespace mlc
