//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/engine/EngineImpl.h"

#include "runtime/llm/tokenizer/Utf8.h"

#include <algorithm>
#include <cmath>

namespace mlc::server {

namespace {

/// One line for a client; `format` as printf.
__attribute__((format(printf, 2, 3))) Submission refuse(const char *field, const char *format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return {Submission::Outcome::invalid, RequestId::none, field, text, 0};
}

using Ull = unsigned long long;

bool badLogprobs(int32_t count) { return count < -1 || count > int32_t(kMaxLogprobs); }

/// The field of the first token outside of the vocabulary, or null.
const char *badToken(const Request &request, uint64_t vocab) {
  auto outside = [&](int32_t token) { return token < 0 || uint64_t(token) >= vocab; };
  if (std::any_of(request.prompt.begin(), request.prompt.end(), outside))
    return "prompt";
  if (std::any_of(request.stopTokens.begin(), request.stopTokens.end(), outside))
    return "stopTokens";
  if (std::any_of(request.bias.begin(), request.bias.end(), [&](const LogitBias &b) { return outside(b.token); }))
    return "bias";
  return nullptr;
}

} // namespace

Submission validate(const Request &request, const Session &session, const Status &embeddings) {
  const ModelBounds &bounds = session.model().bounds();
  if (request.prompt.empty())
    return refuse("prompt", "the prompt is empty; it needs at least one token");
  if (request.prompt.size() > session.context()) {
    Submission beyond = refuse("prompt", "the prompt has %zu tokens, the context %llu; shorten it",
                               request.prompt.size(), Ull(session.context()));
    beyond.outcome = Submission::Outcome::contextExceeded;
    return beyond;
  }
  if (const char *field = badToken(request, bounds.vocab))
    return refuse(field, "a token id is outside the vocabulary of %llu", Ull(bounds.vocab));
  if (std::isnan(request.deadlineMs) || request.deadlineMs < 0)
    return refuse("deadlineMs", "must be 0 or more milliseconds");
  if (request.kind == RequestKind::embed) {
    if (embeddings)
      return {};
    Submission unsupported = refuse("kind", "%s", embeddings.error().message());
    unsupported.outcome = Submission::Outcome::unsupported;
    return unsupported;
  }
  if (Status sampling = Sampler::checkOptions(request.sampling); !sampling)
    return refuse("sampling", "%s", sampling.error().message());
  for (const LogitBias &bias : request.bias)
    if (std::isnan(bias.bias))
      return refuse("bias", "the bias of token %d is not a number", bias.token);
  if (!request.n || request.n > kMaxCandidates)
    return refuse("n", "%u: choose 1 to %u", request.n, kMaxCandidates);
  if (request.bestOf && (request.bestOf < request.n || request.bestOf > kMaxCandidates))
    return refuse("bestOf", "%u: choose n (%u) to %u", request.bestOf, request.n, kMaxCandidates);
  if (badLogprobs(request.logprobs))
    return refuse("logprobs", "%d: choose 0 to %u", request.logprobs, kMaxLogprobs);
  if (badLogprobs(request.promptLogprobs))
    return refuse("promptLogprobs", "%d: choose 0 to %u", request.promptLogprobs, kMaxLogprobs);
  if (request.stops.size() > kMaxStops)
    return refuse("stops", "%zu stop texts: at most %zu", request.stops.size(), kMaxStops);
  for (const std::string &stop : request.stops) {
    if (stop.empty() || stop.size() > kMaxStopBytes)
      return refuse("stops", "a stop text of %zu bytes: choose 1 to %zu", stop.size(), kMaxStopBytes);
    if (validUtf8(stop) != stop.size())
      return refuse("stops", "a stop text is not UTF-8");
  }
  if (!request.stops.empty() && !session.model().tokenizer())
    return refuse("stops", "the artifact has no tokenizer, so it has no text to stop at; use stop tokens");
  return {};
}

} // namespace mlc::server
