//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Chunks of an exported state in any order and content: refused or taken, never out of bounds, and what was taken runs.
// The input is a script: each byte picks a chunk of a real export, then how it is changed. Digests are put right, so
// the checks behind them are reached.
//
#include "runtime/artifact/Header.h"
#include "runtime/llm/Session.h"
#include "runtime/llm/Transfer.h"
#include "tests/unit/support/TinyArtifact.h"

#include <cstddef>
#include <iterator>

using namespace mlc;
using namespace mlc::test;

namespace {

struct Fixture {
  AlignedBytes bytes;
  Owned<Model> model;
  Owned<Session> session;
  std::vector<std::vector<uint8_t>> chunks;

  explicit Fixture(TinyOptions options) {
    options.layers = 1;
    bytes = modelBytes(makeTinyModel(options));
    auto opened = Model::fromMemory(bytes.span());
    if (!opened)
      abort();
    model.reset(*opened);
    SessionOptions sessionOptions;
    sessionOptions.sequences = 2;
    session.reset(*Session::create(*model, sessionOptions));
    SequenceId sequence = *session->createSequence();
    std::vector<int32_t> tokens(16, 1);
    for (int i = 0; i < 9; ++i) {
      StepSegment segment{sequence, tokens};
      (void)session->step({&segment, 1}, {});
    }
    ExportSink sink{[](void *context, std::span<const uint8_t> chunk) -> Status {
                      static_cast<Fixture *>(context)->chunks.emplace_back(chunk.begin(), chunk.end());
                      return {};
                    },
                    this};
    if (!session->exportSequence(sequence, sink))
      abort();
    (void)session->destroySequence(sequence);
  }
};

void seal(std::vector<uint8_t> &chunk) {
  if (chunk.size() < sizeof(TransferHeader))
    return;
  TransferHeader head;
  memcpy(&head, chunk.data(), sizeof head);
  head.bodyDigest = digest64(std::span<const uint8_t>(chunk).subspan(sizeof head));
  head.headDigest = digest64({reinterpret_cast<const uint8_t *>(&head), offsetof(TransferHeader, headDigest)});
  memcpy(chunk.data(), &head, sizeof head);
}

/// Takes bytes off the script; zeros when it is over.
struct Script {
  const uint8_t *data;
  size_t size;
  uint8_t next() { return size ? --size, *data++ : 0; }
  template <typename T> T value() {
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i)
      value = T(value | T(next()) << (8 * i));
    return value;
  }
};

void change(std::vector<uint8_t> &chunk, Script &script) {
  switch (script.next() % 6) {
  case 0: // As it is.
    break;
  case 1: { // One small field of the head.
    size_t at = size_t(script.next()) % sizeof(TransferHeader);
    chunk[at] = script.next();
    break;
  }
  case 2: { // One wide field.
    size_t at = size_t(script.next() % 12) * 8;
    uint64_t value = script.value<uint64_t>();
    memcpy(chunk.data() + at, &value, sizeof value);
    break;
  }
  case 3: // Cut.
    chunk.resize(script.value<uint16_t>() % (chunk.size() + 1));
    break;
  case 4: { // Another part of a page, with the size that belongs to it; the state before it when there is no position.
    TransferHeader head;
    memcpy(&head, chunk.data(), sizeof head);
    head.firstPosition = script.value<uint16_t>() % 300;
    uint64_t positions = script.next() % 70, before = head.positions;
    if (before && positions) // A base keeps its size.
      chunk.resize(sizeof head + head.nameBytes + positions * (head.payloadBytes / before), 0x3f);
    head.positions = positions;
    head.payloadBytes = chunk.size() - sizeof head - head.nameBytes;
    memcpy(chunk.data(), &head, sizeof head);
    break;
  }
  case 5: // Any content.
    for (size_t i = sizeof(TransferHeader); i < chunk.size(); i += 1 + script.next())
      chunk[i] ^= script.next();
    break;
  }
}

TinyOptions windowed(unsigned window) {
  TinyOptions options;
  options.window = window;
  return options;
}
/// One layer without attention.
TinyOptions recurrent(fb::DType type, unsigned checkpointEvery) {
  TinyOptions options = hybridOptions();
  options.attention = false;
  options.ssm = type;
  options.checkpointEvery = checkpointEvery;
  return options;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static Fixture fixtures[] = {Fixture(windowed(0)), Fixture(windowed(20)), Fixture(recurrent(fb::DType::f32, 0)),
                               Fixture(recurrent(fb::DType::bf16, 32))};
  Script script{data, size};
  Fixture &fixture = fixtures[script.next() % std::size(fixtures)];
  Session &session = *fixture.session;
  SequenceId sequence = *session.beginImport();
  bool complete = false;
  for (unsigned i = 0; i < 16 && script.size && !complete; ++i) {
    std::vector<uint8_t> chunk = fixture.chunks[script.next() % fixture.chunks.size()];
    change(chunk, script);
    seal(chunk);
    auto taken = session.importChunk(sequence, chunk);
    complete = taken && *taken;
  }
  if (complete) {
    std::vector<int32_t> tokens(16, 3);
    int32_t row = 15;
    StepSegment segment{sequence, tokens};
    (void)session.step({&segment, 1}, {&row, 1});
    (void)session.rollback(sequence, *session.rollbackLimit(sequence));
    (void)session.rollback(sequence, *session.reachable(sequence, 40));
    (void)session.step({&segment, 1}, {&row, 1});
  }
  (void)session.destroySequence(sequence);
  if (session.kvBytesUsed() || session.recurrentBytesUsed())
    abort();
  return 0;
}
