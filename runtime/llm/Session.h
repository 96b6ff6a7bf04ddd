//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A session: a pool of sequences over one model. step() takes a ragged batch, a few tokens of any number of sequences,
// and gives logits of the rows asked for. What a sequence remembers is only in declared states, so every model has the
// same operations: create, fork, snapshot, rollback, export, import, destroy.
//
// Everything is allocated by create(). A session is used by one thread at a time, except requestCancel(), which any
// thread may call. Results are bitwise independent of how tokens are split into steps, of the other sequences and of
// the threads, and of what else runs on the pool.
//
#pragma once

#include "runtime/exec/Executor.h"
#include "runtime/exec/states/KvStore.h"
#include "runtime/exec/states/RecurrentStore.h"
#include "runtime/llm/MemoryPlan.h"
#include "runtime/llm/Model.h"

namespace mlc {

/// Bounds of a session; 0 takes the model's. A bound above the model's is refused.
struct SessionOptions {
  uint64_t context = 0;
  uint64_t sequences = 0;
  uint64_t batch = 0;
  /// Bytes of all KV pages; 0: enough for `sequences` sequences of `context` positions.
  uint64_t kvMemory = 0;
  /// Most bytes of weights, states, arena and scratch together; 0: no limit. A plan above it is refused with its
  /// figures.
  uint64_t maxMemory = 0;
  uint32_t snapshots = 8;
  uint32_t imports = 1;
  /// Of the session's own pool; 0: usableCores().
  unsigned threads = 1;
  /// A pool to share with other sessions, which outlives this one; null: an own one.
  WorkerPool *pool = nullptr;
  /// On a shared pool, batch steps take turns and a realtime step stops them at the next chunk of their work.
  SessionClass sessionClass = SessionClass::batch;
  const Allocator *allocator = nullptr; // null: systemAllocator()
};

/// Handles carry a generation: one that was destroyed is refused, never mistaken for its successor.
enum class SequenceId : uint32_t { none = ~0u };
enum class SnapshotId : uint32_t { none = ~0u };

/// One sequence's tokens of a step.
struct StepSegment {
  SequenceId sequence;
  std::span<const int32_t> tokens;
};

/// Logits of the rows asked for, in that order, or the tokens that a device drew of them; valid until the next step.
struct LogitsView {
  const float *data = nullptr;
  size_t rows = 0, vocab = 0;
  const int32_t *tokens = nullptr; // Null: none was drawn.

  /// Of a row that was not drawn.
  std::span<const float> row(size_t i) const { return {data + i * vocab, vocab}; }
  bool drawn(size_t i) const { return tokens && tokens[i] != kLogits; }
  /// Of a row that was drawn; an error when no logit is left, as Sampler::sample() has it.
  Result<int32_t> token(size_t i) const;
  /// The view of one row.
  LogitsView at(size_t i) const { return {data + i * vocab, 1, vocab, tokens ? tokens + i : nullptr}; }

  /// In the place of a token: the row's logits came.
  static constexpr int32_t kLogits = -2;
};

/// Receives an exported state: whole chunks, each described by its own header (docs/runtime.md), the commit record
/// last.
struct ExportSink {
  Status (*write)(void *context, std::span<const uint8_t> chunk);
  void *context;
};

class RankTeam;

class Session {
public:
  static Result<Session *> create(const Model &model, const SessionOptions &options = {});
  static void destroy(Session *session);

  /// An empty sequence. `promptLength`: tokens of the complete prompt, which fixes a RoPE form that depends on length;
  /// 0 takes the length of its first segment.
  Result<SequenceId> createSequence(int64_t promptLength = 0);
  /// Sets promptLength of a sequence that holds no position yet.
  Status setPromptLength(SequenceId sequence, int64_t promptLength);
  Status destroySequence(SequenceId sequence);
  /// A new sequence with the same positions; memory is shared until one of them writes.
  Result<SequenceId> fork(SequenceId sequence);
  /// Positions the sequence holds.
  Result<int64_t> length(SequenceId sequence) const;

  /// The sequence as it stands, kept until released, at no cost but the pages it shares.
  Result<SnapshotId> snapshot(SequenceId sequence);
  /// Makes `sequence` equal to the snapshot, which stays.
  Status restore(SequenceId sequence, SnapshotId snapshot);
  Status releaseSnapshot(SnapshotId snapshot);
  /// Drops all positions from `position` on. Each of the last kRollbackTokens positions works, and further ones as long
  /// as no state has let go of what is needed: all from rollbackLimit on, and the checkpoints of recurrent states.
  Status rollback(SequenceId sequence, int64_t position);
  Result<int64_t> rollbackLimit(SequenceId sequence) const;
  /// The highest position up to `position` that rollback takes; -1: none. How much of a prompt a sequence that began
  /// like it can keep.
  Result<int64_t> reachable(SequenceId sequence, int64_t position) const;
  /// The same of a sequence that is restored from `snapshot`.
  Result<int64_t> reachable(SnapshotId snapshot, int64_t position) const;

  /// Writes everything the sequence remembers to the caller's sink.
  Status exportSequence(SequenceId sequence, const ExportSink &sink);
  /// A sequence that takes no step until its commit record and every piece have arrived, in any order.
  Result<SequenceId> beginImport();
  /// Takes one exported chunk; true when the sequence is complete and live. Refused chunks change nothing.
  Result<bool> importChunk(SequenceId sequence, std::span<const uint8_t> chunk);

  /// Processes the segments, each sequence at most once, and computes logits of `rows`, row numbers in the order of the
  /// concatenated tokens. `draws`, where draws() is true: which of them the device draws a token from instead
  /// (StepDrawing). On any error no sequence has changed.
  Result<LogitsView> step(std::span<const StepSegment> segments, std::span<const int32_t> rows,
                          const StepDraws &draws = {});
  /// Whether there is a device that draws tokens.
  bool draws() const { return drawnTokens.size() > 0; }

  /// Ends the step in progress, or the next one, with Cancelled, also while it waits for its turn on a shared pool. Any
  /// thread, also a signal handler.
  void requestCancel() {
    cancelled.store(true, std::memory_order_seq_cst);
    pool->wake();
  }
  void clearCancel() { cancelled.store(false, std::memory_order_relaxed); }
  const std::atomic<bool> &cancelFlag() const { return cancelled; }

  /// Sees the kernel calls of the next steps. Errors are a device's, where calls are named.
  Status observeKernels(const KernelObserver &observer) { return executor->observe(observer); }

  const Model &model() const { return *theModel; }
  uint64_t context() const { return limits.context; }
  uint64_t batch() const { return limits.batch; }
  uint64_t maxRows() const { return theModel->bounds().rows; }
  uint64_t sequences() const { return limits.sequences; }
  WorkerPool &workers() { return *pool; }
  /// Bytes of all KV pools, and of their pages in use.
  uint64_t kvBytes() const;
  uint64_t kvBytesUsed() const;
  /// The same of recurrent states.
  uint64_t recurrentBytes() const { return recurrent->poolBytes(); }
  uint64_t recurrentBytesUsed() const { return recurrent->usedBytes(); }
  uint64_t arenaBytes() const { return executor->arenaBytes(); }
  /// What the session was planned to take.
  const MemoryPlan &memoryPlan() const { return plan; }

private:
  friend class RankTeam;
  Session();
  ~Session();
  static Result<Session *> createRank(const Model &model, const SessionOptions &options, unsigned rank);
  Result<LogitsView> stepOfRank(std::span<const StepSegment> segments, std::span<const int32_t> rows,
                                const StepDraws &draws);
  enum class SlotState : uint8_t { free, live, importing };
  struct Slot {
    int64_t length = 0;
    int64_t formLength = 0;
    // Of a pending import: what has arrived, and what its commit record says (length -1: not here yet).
    uint64_t chunks = 0, chunksExpected = 0;
    int64_t importLength = -1;
    uint16_t generation = 0;
    SlotState state = SlotState::free;
    bool inStep = false;
  };
  Status build(const Model &model, const SessionOptions &options);
  Status buildTransfer();
  Status writeChunk(const StateChunk &chunk, const ExportSink &sink);
  Result<uint32_t> sequenceSlot(SequenceId id, bool importing = false) const;
  Result<uint32_t> snapshotSlot(SnapshotId id) const;
  int64_t reachableIn(uint32_t slot, int64_t position) const;
  uint32_t takeSlot(uint32_t begin, uint32_t end, SlotState state);
  void freeSlot(uint32_t slot);
  void copySlot(uint32_t from, uint32_t to);
  uint32_t handle(uint32_t slot) const { return uint32_t(slots[slot].generation) << 16 | slot; }
  Result<int64_t> checkStep(std::span<const StepSegment> segments, std::span<const int32_t> rows);
  Status checkDraws(const StepDraws &draws, size_t rows) const;
  Status reserveStep(std::span<const StepSegment> segments);
  StateStore *storeOf(uint32_t state);

  const Model *theModel = nullptr;
  unsigned rank = 0;
  Owned<RankTeam> team; // Of the first rank; null: there is one.
  Allocator allocator{};
  SessionOptions limits;
  MemoryPlan plan;
  Owned<WorkerPool> ownPool;
  WorkerPool *pool = nullptr;
  Owned<KvStore> kv;
  Owned<RecurrentStore> recurrent;
  Owned<Executor> executor;
  OwnedArray<Slot> slots;     // Sequences (imports among them), then snapshots.
  StateStore *stores[2] = {}; // Every store of the artifact's states.
  OwnedArray<BatchSegment> segmentArray;
  OwnedArray<int32_t> drawnTokens; // Of each row of a step; empty: the host draws.
  OwnedArray<uint8_t> chunkBuffer;
  size_t payloadOffset = 0;
  std::atomic<bool> cancelled{false};
};

} // namespace mlc
