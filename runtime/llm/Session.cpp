//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/Session.h"
#include "runtime/core/Cpus.h"
#include "runtime/llm/RankTeam.h"

#include <algorithm>

namespace mlc {

Session::Session() = default;
Session::~Session() = default;

Result<Session *> Session::create(const Model &model, const SessionOptions &options) {
  if (model.isNetwork())
    return Error(ErrorCode::InvalidArgument, "is a network; sessions are of language models");
  MLC_ASSIGN(Session * made, createRank(model, options, 0));
  Owned<Session> session(made);
  if (model.ranks() > 1) {
    MLC_ASSIGN(RankTeam * others, RankTeam::create(model, options, session->allocator));
    session->team.reset(others);
  }
  return session.release();
}

Result<Session *> Session::createRank(const Model &model, const SessionOptions &options, unsigned rank) {
  const Allocator &allocator = options.allocator ? *options.allocator : systemAllocator();
  void *memory = allocator.allocate(allocator.context, sizeof(Session), alignof(Session));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "no memory for a session");
  Owned<Session> session(new (memory) Session);
  session->allocator = allocator;
  session->rank = rank;
  MLC_TRY(session->build(model, options));
  return session.release();
}

void Session::destroy(Session *session) {
  Allocator allocator = session->allocator;
  session->~Session();
  allocator.release(allocator.context, session, sizeof(Session));
}

/// `wanted` or, when 0, `bound`; never above it.
static Status lower(uint64_t &wanted, uint64_t bound, const char *option) {
  if (wanted > bound)
    return Error(ErrorCode::OutOfRange, "%s %llu is above the artifact's %llu; compile it with a larger %s", option,
                 (unsigned long long)wanted, (unsigned long long)bound, option);
  if (!wanted)
    wanted = bound;
  return {};
}

Status Session::build(const Model &model, const SessionOptions &options) {
  theModel = &model;
  limits = options;
  MLC_TRY(lower(limits.context, model.bounds().context, "--context"));
  MLC_TRY(lower(limits.sequences, model.bounds().sequences, "--sequences"));
  MLC_TRY(lower(limits.batch, model.bounds().batch, "--batch"));
  // Handles hold a slot in 16 bits.
  if (limits.sequences + limits.snapshots > 0xffff)
    return Error(ErrorCode::OutOfRange, "%llu sequences and %u snapshots are more than 65535; lower --sequences",
                 (unsigned long long)limits.sequences, limits.snapshots);
  limits.threads = options.pool ? options.pool->size() : limits.threads ? limits.threads : usableCores();
  KvStoreOptions kvOptions;
  kvOptions.slots = uint32_t(limits.sequences) + limits.snapshots;
  kvOptions.sequences = uint32_t(limits.sequences);
  kvOptions.imports = limits.imports;
  kvOptions.context = int64_t(limits.context);
  kvOptions.batch = int64_t(limits.batch);
  kvOptions.memory = limits.kvMemory;
  const TargetRegistry &target = model.target();
  Device *device = model.device(rank);
  if (target.open && !device)
    return Error(ErrorCode::InvalidArgument, "its GPU was not opened");
  MLC_ASSIGN(plan, planMemory(model.metadata(), model.fileBytes(), model.executionPlan().scratch(limits.threads),
                              target, kvOptions, limits.threads));
  if (limits.maxMemory)
    MLC_TRY(checkMemory(plan, limits.maxMemory));
  pool = options.pool;
  if (!pool) {
    MLC_ASSIGN(pool, WorkerPool::create(limits.threads, allocator));
    ownPool.reset(pool);
  }
  auto *states = model.metadata().states();
  uint32_t stateCount = states ? states->size() : 0;
  if (device) {
    MLC_TRY(checkRoom(plan, *device));
    StreamBounds bounds{int64_t(limits.batch),
                        int64_t(maxRows()),
                        int64_t(limits.sequences),
                        stateCount,
                        ceilDiv(int64_t(limits.context), kPagePositions),
                        stateCount && std::any_of(states->begin(), states->end(),
                                                  [](const fb::State *state) { return isRecurrent(*state); })};
    MLC_ASSIGN(Executor * made, Executor::create(model.executionPlan(), *pool, *device, bounds, allocator));
    executor.reset(made);
    const Model::Entry &entry = model.entry();
    MLC_TRY(executor->stage(entry.ids, true));
    MLC_TRY(executor->stage(entry.rows, true));
    MLC_TRY(executor->stage(entry.logits, false));
    if (int64_t(model.bounds().vocab) <= kMostDrawnVocabulary) {
      MLC_ASSIGN(drawnTokens, OwnedArray<int32_t>::create(allocator, maxRows(), "drawn tokens"));
    }
  } else {
    MLC_ASSIGN(Executor * made, Executor::create(model.executionPlan(), *pool, allocator, options.sessionClass));
    executor.reset(made);
  }

  MLC_ASSIGN(auto stateList, OwnedArray<const fb::State *>::create(allocator, stateCount, "states"));
  for (uint32_t i = 0; i < stateCount; ++i)
    stateList[i] = states->Get(i);
  PageMemory memory = device ? PageMemory{&device->memory(), executor->deviceStream()} : PageMemory{};
  MLC_ASSIGN(KvStore * madeStore, KvStore::create(stateList.span(), target.kvLayout, kvOptions, allocator, memory));
  kv.reset(madeStore);
  RecurrentStoreOptions recurrentLimits = recurrentOptions(model.metadata(), kvOptions);
  recurrentLimits.pool = pool;
  recurrentLimits.sessionClass = options.sessionClass;
  MLC_ASSIGN(RecurrentStore * madeRecurrent,
             RecurrentStore::create(stateList.span(), target.recurrentLayout, recurrentLimits, allocator, memory));
  recurrent.reset(madeRecurrent);
  stores[0] = madeStore;
  stores[1] = madeRecurrent;
  for (uint32_t i = 0; i < stateCount; ++i) {
    executor->bindKvState(i, kv->view(i));
    executor->bindRecurrentState(i, recurrent->view(i));
  }

  MLC_ASSIGN(slots, OwnedArray<Slot>::create(allocator, kvOptions.slots, "sequences"));
  MLC_ASSIGN(segmentArray, OwnedArray<BatchSegment>::create(allocator, limits.sequences, "segments"));
  return buildTransfer();
}

Result<uint32_t> Session::sequenceSlot(SequenceId id, bool importing) const {
  uint32_t slot = uint32_t(id) & 0xffff;
  if (slot >= limits.sequences || slots[slot].state == SlotState::free || handle(slot) != uint32_t(id))
    return Error(ErrorCode::NotFound, "sequence %#x does not exist", uint32_t(id));
  if ((slots[slot].state == SlotState::importing) != importing)
    return Error(ErrorCode::InvalidArgument,
                 importing ? "sequence %#x is not being imported" : "sequence %#x is being imported", uint32_t(id));
  return slot;
}

Result<uint32_t> Session::snapshotSlot(SnapshotId id) const {
  uint32_t slot = uint32_t(id) & 0xffff;
  if (slot < limits.sequences || slot >= slots.size() || slots[slot].state == SlotState::free ||
      handle(slot) != uint32_t(id))
    return Error(ErrorCode::NotFound, "snapshot %#x does not exist", uint32_t(id));
  return slot;
}

/// `end` when no slot of [begin, end) is free.
uint32_t Session::takeSlot(uint32_t begin, uint32_t end, SlotState state) {
  while (begin < end && slots[begin].state != SlotState::free)
    ++begin;
  if (begin < end) {
    // Generations 1 to 65534: no handle is ever 0 or `none`.
    auto generation = uint16_t(slots[begin].generation % 0xfffe + 1);
    slots[begin] = {};
    slots[begin].generation = generation;
    slots[begin].state = state;
  }
  return begin;
}

void Session::freeSlot(uint32_t slot) {
  for (StateStore *store : stores)
    store->clear(slot);
  slots[slot].state = SlotState::free;
}

void Session::copySlot(uint32_t from, uint32_t to) {
  for (StateStore *store : stores)
    store->share(from, to, slots[from].length);
  slots[to].length = slots[from].length;
  slots[to].formLength = slots[from].formLength;
}

/// The same on the other ranks, whose handles are this one's.
template <typename F> static Status follow(RankTeam *team, const F &f) { return team ? team->follow(f) : Status(); }

static Error noSequence(uint64_t sequences) {
  return Error(ErrorCode::OutOfMemory, "all %llu sequences are in use; end one or raise --sequences",
               (unsigned long long)sequences);
}

/// A prompt length that the context holds.
static Status checkPromptLength(int64_t length, uint64_t context) {
  if (length < 0 || uint64_t(length) > context)
    return Error(ErrorCode::OutOfRange, "a prompt of %lld tokens is longer than the context of %llu", (long long)length,
                 (unsigned long long)context);
  return {};
}

Result<SequenceId> Session::createSequence(int64_t promptLength) {
  MLC_TRY(checkPromptLength(promptLength, limits.context));
  uint32_t slot = takeSlot(0, uint32_t(limits.sequences), SlotState::live);
  if (slot == limits.sequences)
    return noSequence(limits.sequences);
  slots[slot].formLength = promptLength;
  MLC_TRY(follow(team.get(), [&](Session &other) { return other.createSequence(promptLength); }));
  return SequenceId(handle(slot));
}

Status Session::setPromptLength(SequenceId sequence, int64_t promptLength) {
  MLC_ASSIGN(uint32_t slot, sequenceSlot(sequence));
  MLC_TRY(checkPromptLength(promptLength, limits.context));
  if (slots[slot].length)
    return Error(ErrorCode::InvalidArgument, "sequence %#x holds %lld positions: its prompt length is fixed",
                 uint32_t(sequence), (long long)slots[slot].length);
  slots[slot].formLength = promptLength;
  return follow(team.get(), [&](Session &other) { return other.setPromptLength(sequence, promptLength); });
}

Status Session::destroySequence(SequenceId sequence) {
  uint32_t slot = uint32_t(sequence) & 0xffff;
  bool importing = slot < limits.sequences && slots[slot].state == SlotState::importing;
  MLC_ASSIGN(slot, sequenceSlot(sequence, importing));
  freeSlot(slot);
  return follow(team.get(), [&](Session &other) { return other.destroySequence(sequence); });
}

Result<SequenceId> Session::fork(SequenceId sequence) {
  MLC_ASSIGN(uint32_t from, sequenceSlot(sequence));
  uint32_t slot = takeSlot(0, uint32_t(limits.sequences), SlotState::live);
  if (slot == limits.sequences)
    return noSequence(limits.sequences);
  copySlot(from, slot);
  MLC_TRY(follow(team.get(), [&](Session &other) { return other.fork(sequence); }));
  return SequenceId(handle(slot));
}

Result<int64_t> Session::length(SequenceId sequence) const {
  MLC_ASSIGN(uint32_t slot, sequenceSlot(sequence));
  return slots[slot].length;
}

Result<SnapshotId> Session::snapshot(SequenceId sequence) {
  MLC_ASSIGN(uint32_t from, sequenceSlot(sequence));
  uint32_t slot = takeSlot(uint32_t(limits.sequences), uint32_t(slots.size()), SlotState::live);
  if (slot == slots.size())
    return Error(ErrorCode::OutOfMemory, "all %u snapshots are in use; release one", limits.snapshots);
  copySlot(from, slot);
  MLC_TRY(follow(team.get(), [&](Session &other) { return other.snapshot(sequence); }));
  return SnapshotId(handle(slot));
}

Status Session::restore(SequenceId sequence, SnapshotId snapshot) {
  MLC_ASSIGN(uint32_t to, sequenceSlot(sequence));
  MLC_ASSIGN(uint32_t from, snapshotSlot(snapshot));
  for (StateStore *store : stores)
    store->clear(to);
  copySlot(from, to);
  return follow(team.get(), [&](Session &other) { return other.restore(sequence, snapshot); });
}

Status Session::releaseSnapshot(SnapshotId snapshot) {
  MLC_ASSIGN(uint32_t slot, snapshotSlot(snapshot));
  freeSlot(slot);
  return follow(team.get(), [&](Session &other) { return other.releaseSnapshot(snapshot); });
}

Result<int64_t> Session::rollbackLimit(SequenceId sequence) const {
  MLC_ASSIGN(uint32_t slot, sequenceSlot(sequence));
  int64_t limit = 0;
  for (const StateStore *store : stores)
    limit = std::max(limit, store->rollbackLimit(slot, slots[slot].length));
  return limit;
}

Result<int64_t> Session::reachable(SequenceId sequence, int64_t position) const {
  MLC_ASSIGN(uint32_t slot, sequenceSlot(sequence));
  return reachableIn(slot, position);
}

Result<int64_t> Session::reachable(SnapshotId snapshot, int64_t position) const {
  MLC_ASSIGN(uint32_t slot, snapshotSlot(snapshot));
  return reachableIn(slot, position);
}

int64_t Session::reachableIn(uint32_t slot, int64_t position) const {
  // Down until every store agrees.
  position = std::min(position, slots[slot].length);
  for (int64_t before = -1; position >= 0 && position != before;) {
    before = position;
    for (const StateStore *store : stores)
      position = position < 0 ? position : store->reachable(slot, slots[slot].length, position);
  }
  return position;
}

Status Session::rollback(SequenceId sequence, int64_t position) {
  MLC_ASSIGN(uint32_t slot, sequenceSlot(sequence));
  if (position > slots[slot].length || position < 0)
    return Error(ErrorCode::OutOfRange, "rollback to position %lld of a sequence of %lld", (long long)position,
                 (long long)slots[slot].length);
  MLC_ASSIGN(int64_t found, reachable(sequence, position));
  if (found != position) {
    MLC_ASSIGN(int64_t limit, rollbackLimit(sequence));
    return Error(ErrorCode::OutOfRange,
                 "rollback to position %lld: the states reach back to %lld only; restore a snapshot instead",
                 (long long)position, (long long)limit);
  }
  for (StateStore *store : stores)
    store->rollback(slot, position);
  slots[slot].length = position;
  return follow(team.get(), [&](Session &other) { return other.rollback(sequence, position); });
}

uint64_t Session::kvBytes() const { return kv->poolBytes(); }
uint64_t Session::kvBytesUsed() const { return kv->usedBytes(); }

Result<int64_t> Session::checkStep(std::span<const StepSegment> segments, std::span<const int32_t> rows) {
  if (segments.empty())
    return Error(ErrorCode::InvalidArgument, "a step needs at least one segment");
  if (segments.size() > limits.sequences)
    return Error(ErrorCode::OutOfRange, "a step of %zu segments is more than the %llu sequences", segments.size(),
                 (unsigned long long)limits.sequences);
  uint64_t tokens = 0;
  for (const StepSegment &segment : segments) {
    MLC_ASSIGN(uint32_t slot, sequenceSlot(segment.sequence));
    if (segment.tokens.empty())
      return Error(ErrorCode::InvalidArgument, "sequence %#x: a segment without tokens", uint32_t(segment.sequence));
    tokens += segment.tokens.size();
    if (segment.tokens.size() > limits.batch || tokens > limits.batch)
      return Error(ErrorCode::OutOfRange, "a step of %llu or more tokens is above the batch of %llu",
                   (unsigned long long)tokens, (unsigned long long)limits.batch);
    if (slots[slot].length + int64_t(segment.tokens.size()) > int64_t(limits.context))
      return Error(ErrorCode::OutOfRange, "position %llu is beyond the context of %llu",
                   (unsigned long long)slots[slot].length + segment.tokens.size() - 1,
                   (unsigned long long)limits.context);
    for (int32_t token : segment.tokens)
      if (token < 0 || uint64_t(token) >= theModel->bounds().vocab)
        return Error(ErrorCode::OutOfRange, "token id %d is outside the vocabulary of %llu", token,
                     (unsigned long long)theModel->bounds().vocab);
  }
  if (rows.size() > maxRows())
    return Error(ErrorCode::OutOfRange, "logits of %zu rows are more than the %llu of a step", rows.size(),
                 (unsigned long long)maxRows());
  for (int32_t row : rows)
    if (row < 0 || uint64_t(row) >= tokens)
      return Error(ErrorCode::OutOfRange, "logits of row %d of a step of %llu tokens", row, (unsigned long long)tokens);
  // Marks find a sequence that comes twice; they are always taken back.
  const StepSegment *twice = nullptr;
  for (const StepSegment &segment : segments) {
    bool &marked = slots[uint32_t(segment.sequence) & 0xffff].inStep;
    if (marked)
      twice = &segment;
    marked = true;
  }
  for (const StepSegment &segment : segments)
    slots[uint32_t(segment.sequence) & 0xffff].inStep = false;
  if (twice)
    return Error(ErrorCode::InvalidArgument, "sequence %#x comes twice in a step", uint32_t(twice->sequence));
  return int64_t(tokens);
}

Status Session::checkDraws(const StepDraws &draws, size_t rows) const {
  if (!this->draws() || draws.rows.size() != rows)
    return Error(ErrorCode::InvalidArgument, "draws of %zu rows in a step of %zu; %s", draws.rows.size(), rows,
                 this->draws() ? "give one for each" : "the host draws its tokens itself");
  if (draws.adjustments.size() > kMostStepAdjustments)
    return Error(ErrorCode::OutOfRange, "%zu penalties in a step; at most %u", draws.adjustments.size(),
                 kMostStepAdjustments);
  for (size_t i = 0; i < rows; ++i) {
    const RowDraw &draw = draws.rows[i];
    if (draw.row >= 0 && (draw.row != int32_t(i) || draw.firstAdjustment > draws.adjustments.size() ||
                          draw.adjustments > draws.adjustments.size() - draw.firstAdjustment))
      return Error(ErrorCode::InvalidArgument, "draw %zu names row %d and penalties %u to %u of %zu", i, draw.row,
                   draw.firstAdjustment, draw.firstAdjustment + draw.adjustments, draws.adjustments.size());
  }
  for (const TokenAdjustment &each : draws.adjustments)
    if (each.token < 0 || uint64_t(each.token) >= theModel->bounds().vocab)
      return Error(ErrorCode::OutOfRange, "a penalty of token id %d, outside the vocabulary of %llu", each.token,
                   (unsigned long long)theModel->bounds().vocab);
  return {};
}

Result<int32_t> LogitsView::token(size_t i) const {
  if (tokens[i] < 0)
    return Error(ErrorCode::Internal, "no logit is a number above -infinity");
  return tokens[i];
}

Status Session::reserveStep(std::span<const StepSegment> segments) {
  for (const StepSegment &segment : segments) {
    uint32_t slot = uint32_t(segment.sequence) & 0xffff;
    for (StateStore *store : stores)
      MLC_TRY(store->reserve(slot, slots[slot].length, int64_t(segment.tokens.size())));
  }
  return {};
}

Result<LogitsView> Session::step(std::span<const StepSegment> segments, std::span<const int32_t> rows,
                                 const StepDraws &draws) {
  if (!team)
    return stepOfRank(segments, rows, draws);
  // All ranks take the step, or none.
  if (cancelled.load(std::memory_order_seq_cst))
    return Error(ErrorCode::Cancelled, "cancelled");
  if (!draws.rows.empty())
    MLC_TRY(checkDraws(draws, rows.size()));
  return team->step(segments, rows, [&] { return stepOfRank(segments, rows, draws); });
}

Result<LogitsView> Session::stepOfRank(std::span<const StepSegment> segments, std::span<const int32_t> rows,
                                       const StepDraws &draws) {
  MLC_ASSIGN(int64_t tokens, checkStep(segments, rows));
  bool drawing = !draws.rows.empty();
  if (drawing)
    MLC_TRY(checkDraws(draws, rows.size()));
  // Whatever goes wrong from here on, committing the old lengths drops what the step added.
  auto commit = [&](bool advance) {
    for (const StepSegment &segment : segments) {
      uint32_t slot = uint32_t(segment.sequence) & 0xffff;
      if (advance)
        slots[slot].length += int64_t(segment.tokens.size());
      for (StateStore *store : stores)
        store->commit(slot, slots[slot].length);
    }
  };
  if (Status reserved = reserveStep(segments); !reserved) {
    commit(false);
    return reserved.error();
  }
  const Model::Entry &entry = theModel->entry();
  MLC_TRY(executor->setExtent(entry.tokensExtent, tokens));
  MLC_TRY(executor->setExtent(entry.rowsExtent, int64_t(rows.size())));
  int32_t *ids = executor->hostSlot(entry.ids).as<int32_t>();
  BatchView batch;
  for (size_t i = 0; i < segments.size(); ++i) {
    const StepSegment &segment = segments[i];
    uint32_t slot = uint32_t(segment.sequence) & 0xffff;
    auto count = int32_t(segment.tokens.size());
    int64_t form = slots[slot].formLength ? slots[slot].formLength : count;
    segmentArray[i] = {slot, int32_t(batch.tokens), count, slots[slot].length, form};
    memcpy(ids + batch.tokens, segment.tokens.data(), segment.tokens.size_bytes());
    kv->selectSegment(uint32_t(i), slot);
    recurrent->selectSegment(uint32_t(i), slot, slots[slot].length, count);
    batch.tokens += count;
  }
  if (!rows.empty())
    memcpy(executor->hostSlot(entry.rows).as<int32_t>(), rows.data(), rows.size_bytes());
  batch.segments = {segmentArray.data(), segments.size()};
  if (drawing)
    executor->drawFrom(entry.logits, draws, drawnTokens.span().first(rows.size()));
  const bool alone = theModel->ranks() == 1;
  if (Status ran = executor->run(entry.function, batch, alone ? &cancelled : nullptr); !ran) {
    // The others would wait for what this one does not send.
    if (!alone)
      theModel->device(rank)->leave();
    commit(false);
    return ran.error();
  }
  for (size_t i = 0; i < segments.size(); ++i)
    slots[segmentArray[i].sequence].formLength = segmentArray[i].formLength;
  commit(true);
  for (size_t i = 0; drawing && i < rows.size(); ++i)
    if (draws.rows[i].row < 0)
      drawnTokens[i] = LogitsView::kLogits;
  return LogitsView{executor->hostSlot(entry.logits).as<const float>(), rows.size(), size_t(theModel->bounds().vocab),
                    drawing ? drawnTokens.data() : nullptr};
}

} // namespace mlc
