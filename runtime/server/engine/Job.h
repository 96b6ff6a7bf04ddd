//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// An accepted request and its candidates, as the engine's thread works on them.
//
#pragma once

#include "runtime/server/engine/AnswerText.h"

#include <atomic>
#include <optional>

namespace mlc::server {

struct Job;
struct DraftSlot;

/// One candidate, from when it has a slot. Its sequence holds the first `held` of its tokens; what is left is fed in
/// pieces, and the logits of the last one give the next token.
struct Lane {
  Lane(Job &job, uint32_t index, const Tokenizer *tokenizer);

  Job &job;
  uint32_t index;
  std::vector<int32_t> tokens; // The prompt and the answer.
  SequenceId sequence = SequenceId::none;
  size_t held = 0;
  /// Whether its prompt has been fed once: from then on somebody waits for each token.
  bool answering = false;
  bool finished = false;
  /// Gave its memory up; goes on when another lane has ended.
  bool parked = false;
  std::optional<Sampler> sampler;
  std::shared_ptr<TokenConstraint> constraint;
  DraftSlot *draft = nullptr; // Null: nothing drafts for it.
  AnswerText text;
  FinishEvent end;
  double logprobs = 0; // Sum over the answer.
  double lastTokenMs = 0;
  uint64_t round = 0; // The engine's, when it last took part in a step.

  size_t remaining() const { return tokens.size() - held; }
  size_t generated() const;
  uint64_t seed() const;
  /// The request's, with the candidate's seed.
  SamplingOptions samplingOptions() const;
  /// Whether each row of its prompt is wanted: then no state of others can stand for them.
  bool needsAllRows() const;
};

/// What a request has come to. Made by submit(), then the engine thread's alone, but for `cancelled`.
struct Job {
  RequestId id = RequestId::none;
  Request request;
  std::shared_ptr<Sink> sink;
  uint64_t fairnessKey = 0;
  double submittedMs = 0, deadlineMs = 0; // The latter on the same clock; 0: none.
  std::atomic<bool> cancelled{false};

  uint64_t form = 0;    // Of RoPE: prefixes are shared within it.
  uint64_t mostNew = 0; // Tokens of an answer.
  uint32_t candidates = 1;
  std::vector<std::shared_ptr<TokenConstraint>> constraints; // One a candidate, or none.

  uint32_t started = 0, finished = 0; // Candidates.
  bool promptDone = false;
  std::vector<std::unique_ptr<Lane>> lanes;
  std::string promptText; // With echo, as the next.
  std::vector<TokenRecord> promptRecords;
  std::vector<Release> logs;  // Of every candidate, when they are ranked at the end.
  std::vector<double> pooled; // Sums of an embedding.
  Usage usage;
  double startedMs = 0, firstTokenMs = 0;
  bool done = false;

  bool ranked() const { return candidates > request.n; }
  bool scoresPrompt() const { return request.echo && request.promptLogprobs >= 0; }
  bool embeds() const { return request.kind == RequestKind::embed; }
  bool sharesPrefixes() const { return request.usePrefixCache; }
  bool scoresAnswer() const { return request.logprobs >= 0 || ranked(); }
};

inline Lane::Lane(Job &job, uint32_t index, const Tokenizer *tokenizer)
    : job(job), index(index), tokens(job.request.prompt), text(tokenizer, job.request.skipSpecial, job.request.stops) {
  end.choice = index;
}

inline bool Lane::needsAllRows() const {
  return !answering && !index && (job.embeds() ? job.request.pooling == Pooling::mean : job.scoresPrompt());
}

inline uint64_t Lane::seed() const { return candidateSeed(job.request.sampling.seed, index); }

inline SamplingOptions Lane::samplingOptions() const {
  SamplingOptions sampling = job.request.sampling;
  sampling.seed = seed();
  return sampling;
}

inline size_t Lane::generated() const { return tokens.size() - job.request.prompt.size(); }

} // namespace mlc::server
