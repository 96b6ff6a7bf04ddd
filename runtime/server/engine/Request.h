//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A request to the engine and what its client is told: the sink gets events as they happen.
//
#pragma once

#include "runtime/llm/Sampler.h"
#include "runtime/llm/TokenConstraint.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mlc::server {

/// Never used twice in the life of an engine.
enum class RequestId : uint64_t { none = 0 };

enum class RequestKind : uint8_t { generate, embed };
/// Of the final hidden states of all positions, behind the last norm: their mean, or the last position's.
enum class Pooling : uint8_t { mean, last };

/// Bounds of what a request may ask for; submit() refuses what is beyond them, naming the field.
constexpr uint32_t kMaxCandidates = 128;
constexpr uint32_t kMaxLogprobs = 20;
constexpr size_t kMaxStops = 16;
constexpr size_t kMaxStopBytes = 1024;

struct Request {
  RequestKind kind = RequestKind::generate;
  /// Taken verbatim: no BOS is added. At least one token.
  std::vector<int32_t> prompt;
  /// 0 generates nothing: with `echo` the prompt is scored. The context ends an answer earlier, with `length`.
  uint64_t maxTokens = 16;
  /// Candidate i draws by candidateSeed(sampling.seed, i); candidate 0 by the seed itself.
  SamplingOptions sampling;
  std::vector<LogitBias> bias;
  /// Answers, and the candidates they are the best of by mean log-probability (0: n). All share the prompt's state.
  uint32_t n = 1, bestOf = 0;
  /// Alternatives reported with each generated token, the likeliest first; -1: no log-probabilities at all.
  int32_t logprobs = -1;
  /// Whether onPrompt() is called, and the same for the prompt's tokens. Scoring the prompt takes no cached state.
  bool echo = false;
  int32_t promptLogprobs = -1;
  /// The answer ends before the first of these texts to be complete. Not empty, at most kMaxStopBytes each.
  std::vector<std::string> stops;
  /// End the answer beside the model's end tokens; not part of its text. `ignoreEnd`: the model's do not.
  std::vector<int32_t> stopTokens;
  bool ignoreEnd = false;
  /// Special tokens have no text. false: they have the text that they are spelt with.
  bool skipSpecial = true;
  /// Makes the constraint of one candidate, by submit() and once for each. An answer whose constraint fails ends with
  /// FinishReason::error; where the text may end and nothing can follow, with `stop`.
  std::function<Result<std::shared_ptr<TokenConstraint>>()> constraint;
  Pooling pooling = Pooling::mean;
  /// From submit() to the end of the answer, in ms; 0: EngineOptions::deadlineMs. Ends with FinishReason::deadline.
  double deadlineMs = 0;
  /// Waiting requests of different keys (a client, an API key) take turns.
  uint64_t fairnessKey = 0;
  /// false: neither takes from the prefix cache nor adds to it.
  bool usePrefixCache = true;
};

uint64_t candidateSeed(uint64_t seed, uint32_t candidate);

/// A token and its natural log-probability.
struct TokenScore {
  int32_t token;
  float logprob;
};

/// A token of a prompt or an answer. What it points to is valid during the call.
struct TokenInfo {
  int32_t token = 0;
  /// False without log-probabilities, and for a prompt's first token.
  bool scored = false;
  /// The model's own: before bias, penalties, temperature and grammar.
  float logprob = 0;
  /// The bytes it decodes to, not always whole characters. Of a token that reaches into a stop text, those before it.
  std::string_view bytes;
  /// Characters (code points) of the choice's text before this token; an echoed prompt counts.
  uint64_t textOffset = 0;
  std::span<const TokenScore> top;
};

struct PromptEvent {
  /// The prompt's text.
  std::string_view text;
  std::span<const TokenInfo> tokens;
};

struct TokensEvent {
  /// 0 .. n - 1.
  uint32_t choice = 0;
  /// Whole UTF-8 characters that follow the earlier ones, never a part of a stop text; may be empty.
  std::string_view text;
  /// Tokens of which all text has come, in order over all events: never one that may belong to a stop text. The last
  /// byte of a character may come later than the tokens of its first.
  std::span<const TokenInfo> tokens;
};

enum class FinishReason : uint8_t { stop, length, cancelled, deadline, error };
const char *finishReasonName(FinishReason reason);

struct FinishEvent {
  uint32_t choice = 0;
  FinishReason reason = FinishReason::stop;
  /// What ended it, when the reason is `stop`: one of Request::stops (its index) or a token; else -1.
  int32_t stopIndex = -1, stopToken = -1;
  /// Mean of the log-probabilities of the choice's tokens.
  double meanLogprob = 0;
};

struct Usage {
  uint64_t promptTokens = 0;
  /// Of them, those whose state was there already.
  uint64_t cachedTokens = 0;
  /// Of all candidates; the end token and tokens of a stop text count.
  uint64_t completionTokens = 0;
};

/// In ms from submit().
struct Timings {
  double queued = 0, firstToken = 0, total = 0;
};

struct DoneEvent {
  RequestId id = RequestId::none;
  /// That of the first choice; error: `message` says why, and `code` of what kind.
  FinishReason reason = FinishReason::stop;
  ErrorCode code = ErrorCode::Ok;
  std::string_view message;
  Usage usage;
  Timings timings;
};

/// Where a request's events go. Calls come one at a time, from the engine's thread, which runs all requests: none may
/// block or call the engine, but for cancel(). After onDone, which comes exactly once for every accepted request, the
/// sink is let go.
class Sink {
public:
  virtual ~Sink() = default;
  /// With Request::echo, once, before every other event.
  virtual void onPrompt(const PromptEvent &) {}
  /// False: the client has gone or cannot keep up; the request is cancelled.
  virtual bool onTokens(const TokensEvent &event) = 0;
  virtual void onFinish(const FinishEvent &) {}
  /// With RequestKind::embed.
  virtual void onEmbedding(std::span<const float>) {}
  virtual void onDone(const DoneEvent &event) = 0;
};

} // namespace mlc::server
