//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A tiny model opened from memory, its plain logits, and shorthands around a session.
//
#pragma once

#include "runtime/artifact/Header.h"
#include "runtime/llm/Session.h"
#include "runtime/llm/Transfer.h"
#include "tests/unit/support/TinyArtifact.h"

#include <gtest/gtest.h>
#include <random>

namespace mlc::test {

/// The value of a Result, or a failed test with its message.
template <typename T> T must(Result<T> result) {
  if (!result) {
    ADD_FAILURE() << result.error().message();
    abort();
  }
  return std::move(*result);
}
inline void must(const Status &status) { ASSERT_TRUE(bool(status)) << status.error().message(); }

/// The message of a failure with this code.
template <typename T> std::string failure(const Result<T> &result, ErrorCode code) {
  if (result)
    return "no error";
  EXPECT_EQ(result.error().code(), code) << result.error().message();
  return result.error().message();
}

inline std::vector<int32_t> zeros(size_t count) { return std::vector<int32_t>(count, 0); }

/// Recomputes the digests of a chunk that a test has changed.
inline void reseal(std::vector<uint8_t> &chunk) {
  TransferHeader head;
  memcpy(&head, chunk.data(), sizeof head);
  head.bodyDigest = digest64(std::span<const uint8_t>(chunk).subspan(sizeof head));
  head.headDigest = digest64({reinterpret_cast<const uint8_t *>(&head), offsetof(TransferHeader, headDigest)});
  memcpy(chunk.data(), &head, sizeof head);
}

/// A tiny model; its bytes stay as long as it does.
struct TestModel {
  explicit TestModel(const TinyOptions &options = {})
      : bytes(modelBytes(makeTinyModel(options))), model(must(Model::fromMemory(bytes.span()))) {}
  AlignedBytes bytes;
  Owned<Model> model;
};

inline Owned<Session> makeSession(const Model &model, SessionOptions options = {}) {
  return Owned<Session>(must(Session::create(model, options)));
}

inline std::vector<int32_t> randomTokens(std::mt19937 &random, size_t count, unsigned vocab) {
  std::vector<int32_t> tokens(count);
  for (int32_t &token : tokens)
    token = int32_t(random() % vocab);
  return tokens;
}

/// Feeds `tokens` in one step and gives all rows' logits, one after the other.
inline std::vector<float> feedAll(Session &session, SequenceId sequence, std::span<const int32_t> tokens) {
  std::vector<int32_t> rows(tokens.size());
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = int32_t(i);
  StepSegment segment{sequence, tokens};
  LogitsView logits = must(session.step({&segment, 1}, rows));
  return {logits.data, logits.data + logits.rows * logits.vocab};
}

/// The logits of every position when the tokens are fed alone, one a step, by one thread.
inline std::vector<float> plainLogits(const Model &model, std::span<const int32_t> tokens) {
  SessionOptions options;
  options.sequences = 1;
  Owned<Session> session = makeSession(model, options);
  SequenceId sequence = must(session->createSequence(int64_t(tokens.size())));
  std::vector<float> all;
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::vector<float> row = feedAll(*session, sequence, tokens.subspan(i, 1));
    all.insert(all.end(), row.begin(), row.end());
  }
  return all;
}

/// What an export wrote, chunk by chunk.
struct Exported {
  std::vector<std::vector<uint8_t>> chunks;
  ExportSink sink() {
    return {[](void *context, std::span<const uint8_t> chunk) -> Status {
              static_cast<Exported *>(context)->chunks.emplace_back(chunk.begin(), chunk.end());
              return {};
            },
            this};
  }
};

} // namespace mlc::test
