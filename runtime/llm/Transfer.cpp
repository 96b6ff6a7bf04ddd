//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

// Session's export and import.
//
#include "runtime/llm/Transfer.h"
#include "runtime/llm/Session.h"

#include <algorithm>

namespace mlc {

Status Session::buildTransfer() {
  size_t payload = 0, name = 0;
  for (const StateStore *store : stores)
    payload = std::max(payload, store->maxPayload());
  if (auto *states = theModel->metadata().states())
    for (const fb::State *state : *states)
      name = std::max<size_t>(name, state->name()->size());
  // The payload is made in place behind the longest head, each chunk's head and name are put right before it.
  payloadOffset = alignUp(sizeof(TransferHeader) + name, size_t(64));
  MLC_ASSIGN(chunkBuffer, OwnedArray<uint8_t>::create(allocator, payloadOffset + payload, "export buffer"));
  return {};
}

static void seal(TransferHeader &head, const uint8_t *body, size_t size) {
  head.bodyDigest = digest64({body, size});
  head.headDigest = digest64({reinterpret_cast<const uint8_t *>(&head), offsetof(TransferHeader, headDigest)});
}

static TransferHeader headOf(TransferKind kind, uint64_t artifact) {
  TransferHeader head{};
  memcpy(head.magic, kTransferMagic, sizeof head.magic);
  head.version = kTransferVersion;
  head.kind = kind;
  head.artifact = artifact;
  return head;
}

/// The verifier has bounded every dimension below 2^32.
static void formatOf(const fb::State &state, uint32_t (&format)[4]) {
  if (!isRecurrent(state)) {
    const fb::KvSpec &kv = *state.kv();
    format[0] = kv.kv_heads(), format[1] = kv.head_dim(), format[2] = uint32_t(kv.dtype()), format[3] = kv.window();
    return;
  }
  const fb::RecurrentSpec &spec = *state.recurrent();
  format[0] = uint32_t(spec.dims()->Get(0));
  format[1] = uint32_t(spec.dims()->Get(1));
  format[2] = uint32_t(spec.dtype());
  format[3] = spec.dims()->size() > 2 ? uint32_t(spec.dims()->Get(2)) : 0;
}

/// A rank has some heads of a sequence alone.
static Status checkOneRank(const Model &model) {
  if (model.ranks() == 1)
    return {};
  return Error(ErrorCode::Unsupported, "sequences of a model on %u GPUs are neither exported nor imported",
               model.ranks());
}

Status Session::exportSequence(SequenceId sequence, const ExportSink &sink) {
  MLC_TRY(checkOneRank(*theModel));
  MLC_ASSIGN(uint32_t slot, sequenceSlot(sequence));
  struct Writer {
    Session &session;
    const ExportSink &sink;
    uint64_t chunks = 0;
  } writer{*this, sink};
  StateChunkSink chunkSink{[](void *context, const StateChunk &chunk) {
                             Writer &writer = *static_cast<Writer *>(context);
                             ++writer.chunks;
                             return writer.session.writeChunk(chunk, writer.sink);
                           },
                           &writer};
  std::span<uint8_t> payload = chunkBuffer.span().subspan(payloadOffset);
  for (const StateStore *store : stores)
    MLC_TRY(store->exportChunks(slot, slots[slot].length, payload, chunkSink));
  TransferHeader commit = headOf(TransferKind::commit, theModel->digest());
  commit.positions = uint64_t(slots[slot].length);
  commit.formLength = uint64_t(slots[slot].formLength);
  commit.chunks = writer.chunks;
  seal(commit, nullptr, 0);
  return sink.write(sink.context, {reinterpret_cast<const uint8_t *>(&commit), sizeof commit});
}

Status Session::writeChunk(const StateChunk &chunk, const ExportSink &sink) {
  const fb::State &state = *theModel->metadata().states()->Get(chunk.state);
  TransferHeader head = headOf(TransferKind::data, theModel->digest());
  head.firstPosition = uint64_t(chunk.firstPosition);
  head.positions = chunk.positions;
  head.state = chunk.state;
  head.nameBytes = state.name()->size();
  head.payloadBytes = chunk.payload.size();
  formatOf(state, head.format);
  uint8_t *name = chunkBuffer.data() + payloadOffset - head.nameBytes;
  memcpy(name, state.name()->data(), head.nameBytes);
  seal(head, name, head.nameBytes + chunk.payload.size());
  uint8_t *start = name - sizeof head;
  memcpy(start, &head, sizeof head);
  return sink.write(sink.context, {start, sizeof head + head.nameBytes + chunk.payload.size()});
}

Result<SequenceId> Session::beginImport() {
  MLC_TRY(checkOneRank(*theModel));
  uint32_t pending = 0;
  for (const Slot &slot : slots)
    pending += slot.state == SlotState::importing;
  if (pending >= limits.imports)
    return Error(ErrorCode::OutOfMemory, "%u imports are in progress; end one first", pending);
  uint32_t slot = takeSlot(0, uint32_t(limits.sequences), SlotState::importing);
  if (slot == limits.sequences)
    return Error(ErrorCode::OutOfMemory, "all %llu sequences are in use; end one or raise --sequences",
                 (unsigned long long)limits.sequences);
  return SequenceId(handle(slot));
}

StateStore *Session::storeOf(uint32_t state) {
  for (StateStore *store : stores)
    if (store->owns(state))
      return store;
  return nullptr;
}

/// Everything about a chunk that does not depend on the sequence.
static Status checkChunk(const Model &model, const TransferHeader &head, std::span<const uint8_t> body) {
  auto corrupt = [](const char *what) { return Error(ErrorCode::Corrupt, "state chunk: %s", what); };
  if (memcmp(head.magic, kTransferMagic, sizeof head.magic))
    return corrupt("it does not begin with MLCS");
  if (head.headDigest != digest64({reinterpret_cast<const uint8_t *>(&head), offsetof(TransferHeader, headDigest)}))
    return corrupt("the digest of its head does not hold");
  if (head.version != kTransferVersion)
    return Error(ErrorCode::Unsupported, "state chunk: version %u, this runtime reads %u", head.version,
                 kTransferVersion);
  if (head.kind != TransferKind::data && head.kind != TransferKind::commit)
    return corrupt("unknown kind");
  if (head.artifact != model.digest())
    return Error(ErrorCode::Unsupported, "state chunk: of artifact %016llx, not of this one (%016llx)",
                 (unsigned long long)head.artifact, (unsigned long long)model.digest());
  if (head.payloadBytes > body.size() || head.nameBytes != body.size() - head.payloadBytes)
    return corrupt("its size is not that of its parts");
  if (head.bodyDigest != digest64(body))
    return corrupt("the digest of its content does not hold");
  return {};
}

/// The state that a data chunk names, its format checked.
static Status checkFormat(const fb::Artifact &metadata, const TransferHeader &head, std::span<const uint8_t> body) {
  auto *states = metadata.states();
  if (!states || head.state >= states->size())
    return Error(ErrorCode::Corrupt, "state chunk: state %u of %u", head.state, states ? states->size() : 0);
  const fb::State &state = *states->Get(head.state);
  if (head.nameBytes != state.name()->size() || memcmp(body.data(), state.name()->data(), head.nameBytes))
    return Error(ErrorCode::Corrupt, "state chunk: its name is not that of state %u, %s", head.state,
                 state.name()->c_str());
  uint32_t format[4];
  formatOf(state, format);
  if (memcmp(head.format, format, sizeof format))
    return Error(ErrorCode::Unsupported, "state chunk of %s: its format is not that of this artifact",
                 state.name()->c_str());
  return {};
}

Result<bool> Session::importChunk(SequenceId sequence, std::span<const uint8_t> chunk) {
  MLC_ASSIGN(uint32_t index, sequenceSlot(sequence, /*importing=*/true));
  Slot &slot = slots[index];
  TransferHeader head;
  if (chunk.size() < sizeof head)
    return Error(ErrorCode::Corrupt, "state chunk: %zu bytes are no chunk", chunk.size());
  memcpy(&head, chunk.data(), sizeof head);
  std::span<const uint8_t> body = chunk.subspan(sizeof head);
  MLC_TRY(checkChunk(*theModel, head, body));
  if (head.kind == TransferKind::commit) {
    if (slot.importLength >= 0)
      return Error(ErrorCode::Corrupt, "state chunk: a second commit record");
    if (head.positions > limits.context || head.formLength > theModel->bounds().context || !body.empty())
      return Error(ErrorCode::OutOfRange, "state chunk: a sequence of %llu positions is beyond the context of %llu",
                   (unsigned long long)head.positions, (unsigned long long)limits.context);
    if (head.chunks < slot.chunks)
      return Error(ErrorCode::Corrupt, "state chunk: a commit of %llu chunks after %llu",
                   (unsigned long long)head.chunks, (unsigned long long)slot.chunks);
    slot.importLength = int64_t(head.positions);
    slot.formLength = int64_t(head.formLength);
    slot.chunksExpected = head.chunks;
  } else {
    if (slot.importLength >= 0 && slot.chunks == slot.chunksExpected)
      return Error(ErrorCode::Corrupt, "state chunk: one more than the commit record's %llu",
                   (unsigned long long)slot.chunksExpected);
    MLC_TRY(checkFormat(theModel->metadata(), head, body));
    if (head.firstPosition > uint64_t(INT64_MAX) || head.positions > UINT32_MAX)
      return Error(ErrorCode::OutOfRange, "state chunk: position %llu is beyond the context",
                   (unsigned long long)head.firstPosition);
    MLC_TRY(storeOf(head.state)
                ->importChunk(index, {head.state, int64_t(head.firstPosition), uint32_t(head.positions),
                                      body.subspan(head.nameBytes)}));
    ++slot.chunks;
  }
  if (slot.importLength < 0 || slot.chunks != slot.chunksExpected)
    return false;
  for (StateStore *store : stores)
    MLC_TRY(store->importComplete(index, slot.importLength));
  slot.length = slot.importLength;
  slot.state = SlotState::live;
  return true;
}

} // namespace mlc
