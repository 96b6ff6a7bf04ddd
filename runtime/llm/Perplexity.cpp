//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/Perplexity.h"

#include "runtime/llm/RowNorm.h"

#include <algorithm>

namespace mlc {

namespace {

/// KL(reference || model) of one position, in nats.
double divergence(std::span<const float> reference, const RowNorm &referenceNorm, std::span<const float> model,
                  const RowNorm &modelNorm) {
  double sum = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    double logP = double(reference[i]) - referenceNorm.logSum, logQ = double(model[i]) - modelNorm.logSum;
    double p = std::exp(logP);
    if (p > 0)
      sum += p * (logP - logQ);
  }
  // Rounding can make it a little negative.
  return std::max(sum, 0.0);
}

/// The running sums over all windows.
struct Scores {
  uint64_t tokens = 0, agreed = 0;
  double nll = 0, kl = 0;
  OwnedArray<float> divergences;
};

/// One model's sequence of the window.
struct Feeder {
  Session *session = nullptr;
  SequenceId sequence = SequenceId::none;

  Status begin(int64_t length) {
    MLC_ASSIGN(sequence, session->createSequence(length));
    return {};
  }
  Result<LogitsView> feed(std::span<const int32_t> tokens, std::span<const int32_t> rows) {
    StepSegment segment{sequence, tokens};
    return session->step({&segment, 1}, rows);
  }
  void end() {
    if (sequence != SequenceId::none)
      (void)session->destroySequence(sequence);
    sequence = SequenceId::none;
  }
  ~Feeder() { end(); }
};

} // namespace

/// Feeds one window and scores its tokens from `scored` on (index in the window, >= 1).
static Status scoreWindow(Feeder &model, Feeder *reference, std::span<const int32_t> window, size_t scored,
                          std::span<int32_t> rows, Scores &scores) {
  MLC_TRY(model.begin(int64_t(window.size())));
  if (reference)
    MLC_TRY(reference->begin(int64_t(window.size())));
  auto mostTokens = size_t(model.session->batch()), mostRows = size_t(model.session->maxRows());
  if (reference) {
    mostTokens = std::min(mostTokens, size_t(reference->session->batch()));
    mostRows = std::min(mostRows, size_t(reference->session->maxRows()));
  }
  // The logits after token i predict token i + 1, so rows begin at scored - 1 and the last token is never fed.
  for (size_t at = 0; at + 1 < window.size();) {
    size_t left = window.size() - 1 - at;
    bool wanted = at + 1 >= scored;
    size_t count = std::min(left, wanted ? std::min(mostTokens, mostRows) : std::min(mostTokens, scored - 1 - at));
    for (size_t i = 0; i < count; ++i)
      rows[i] = int32_t(i);
    std::span<const int32_t> tokens = window.subspan(at, count), rowsWanted = rows.first(wanted ? count : 0);
    MLC_ASSIGN(LogitsView logits, model.feed(tokens, rowsWanted));
    LogitsView referenceLogits;
    if (reference) {
      MLC_ASSIGN(referenceLogits, reference->feed(tokens, rowsWanted));
    }
    for (size_t i = 0; i < rowsWanted.size(); ++i) {
      std::span<const float> row = logits.row(i);
      RowNorm norm = normOf(row);
      double nll = norm.logSum - double(row[size_t(window[at + i + 1])]);
      if (!std::isfinite(nll))
        return Error(ErrorCode::Internal, "the logits at position %zu of a window are not finite", at + i);
      scores.nll += nll;
      if (reference) {
        RowNorm referenceNorm = normOf(referenceLogits.row(i));
        double kl = divergence(referenceLogits.row(i), referenceNorm, row, norm);
        scores.kl += kl;
        scores.divergences[size_t(scores.tokens)] = float(kl);
        scores.agreed += referenceNorm.best == norm.best;
      }
      ++scores.tokens;
    }
    at += count;
  }
  model.end();
  if (reference)
    reference->end();
  return {};
}

Result<PerplexityResult> perplexity(Session &session, Session *reference, std::span<const int32_t> tokens,
                                    const PerplexityOptions &options) {
  uint64_t context = options.context ? options.context : session.context();
  uint64_t stride = options.stride ? options.stride : context;
  if (context < 2 || context > session.context() || (reference && context > reference->context()))
    return Error(ErrorCode::OutOfRange, "--context %llu: choose 2 to %llu", (unsigned long long)context,
                 (unsigned long long)std::min(session.context(), reference ? reference->context() : UINT64_MAX));
  if (stride > context)
    return Error(ErrorCode::OutOfRange, "--stride %llu is above --context %llu", (unsigned long long)stride,
                 (unsigned long long)context);
  if (tokens.size() < 2)
    return Error(ErrorCode::InvalidArgument, "a text of %zu tokens has nothing to predict; give at least 2",
                 tokens.size());
  if (reference && reference->model().bounds().vocab != session.model().bounds().vocab)
    return Error(ErrorCode::InvalidArgument, "%s: its vocabulary of %llu is not that of %s (%llu)",
                 reference->model().name(), (unsigned long long)reference->model().bounds().vocab,
                 session.model().name(), (unsigned long long)session.model().bounds().vocab);
  Scores scores;
  if (reference) {
    MLC_ASSIGN(scores.divergences, OwnedArray<float>::create(systemAllocator(), tokens.size(), "divergences"));
  }
  MLC_ASSIGN(auto rows, OwnedArray<int32_t>::create(systemAllocator(), session.batch(), "rows"));
  Feeder model{&session}, referenceFeeder{reference};
  uint64_t done = 1; // Tokens before it are scored; the first has nothing before it.
  for (uint64_t begin = 0; done < tokens.size(); begin += stride) {
    uint64_t end = std::min<uint64_t>(begin + context, tokens.size());
    uint64_t scored = std::max(done, begin + 1);
    if (scored < end)
      MLC_TRY(scoreWindow(model, reference ? &referenceFeeder : nullptr,
                          tokens.subspan(size_t(begin), size_t(end - begin)), size_t(scored - begin), rows.span(),
                          scores));
    done = std::max(done, end);
    if (options.progress)
      options.progress(options.user, done, tokens.size());
  }
  PerplexityResult result;
  result.tokens = scores.tokens;
  result.nll = scores.nll / double(scores.tokens);
  result.perplexity = std::exp(result.nll);
  if (reference) {
    result.meanKl = scores.kl / double(scores.tokens);
    result.topAgreement = double(scores.agreed) / double(scores.tokens);
    float *at = scores.divergences.data();
    uint64_t rank = (scores.tokens - 1) * 99 / 100;
    std::nth_element(at, at + rank, at + scores.tokens);
    result.p99Kl = double(at[rank]);
  }
  return result;
}

} // namespace mlc
