//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/Bench.h"
#include "runtime/llm/Generate.h"

#include <algorithm>

namespace mlc {

Spread spreadOf(std::span<double> values) {
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  double median = values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back()};
}

namespace {

constexpr unsigned kMaxRounds = 64;
constexpr unsigned kBandwidthPasses = 6;

/// What a step reads and multiplies, from the plan: weight bytes that one generated token reads, recurrent states
/// likewise, and multiply-adds that one prompt token needs (rows of logits left out).
struct Work {
  uint64_t weightBytes = 0, stateBytes = 0, promptMacs = 0;
};

/// What one token takes of the experts' weight of moe_up or moe_down: chosen of `experts`, and multiply-adds.
struct ExpertWork {
  uint64_t chosen = 1, experts = 1, macs = 0;
};
ExpertWork expertWorkOf(const Plan::KernelCall &call) {
  if (call.attrsType == fb::KernelAttrs::MoeUpAttrs) {
    const auto &attrs = *static_cast<const fb::MoeUpAttrs *>(call.attrs);
    uint64_t matrices = uint64_t(attrs.top_k()) * (attrs.gate_distance() ? 2 : 1);
    return {attrs.top_k(), attrs.experts(), matrices * attrs.weight().n() * attrs.weight().k()};
  }
  if (call.attrsType == fb::KernelAttrs::MoeDownAttrs) {
    const auto &attrs = *static_cast<const fb::MoeDownAttrs *>(call.attrs);
    return {attrs.top_k(), attrs.experts(), attrs.top_k() * attrs.weight().n() * attrs.weight().k()};
  }
  return {};
}

const fb::LinearAttrs *linearOf(const Plan::KernelCall &call) {
  if (call.attrsType == fb::KernelAttrs::NormLinearAttrs)
    return &static_cast<const fb::NormLinearAttrs *>(call.attrs)->linear();
  return call.attrsType == fb::KernelAttrs::LinearAttrs ? static_cast<const fb::LinearAttrs *>(call.attrs) : nullptr;
}

Work workOf(const Model &model) {
  Work work;
  const Plan &plan = model.executionPlan();
  const fb::Artifact &metadata = model.metadata();
  for (const Plan::KernelCall &call : plan.kernelCalls()) {
    if (call.attrsType == fb::KernelAttrs::EmbeddingAttrs)
      continue; // One row of the table a token.
    ExpertWork expertWork = expertWorkOf(call);
    auto slotOf = [&](uint32_t i) { return metadata.slots()->Get(plan.viewSlots()[call.firstView + i]); };
    for (uint32_t i = 0; i < call.inputs; ++i) {
      const fb::Slot &slot = *slotOf(i);
      if (slot.space() != fb::Space::segment)
        continue;
      uint64_t bytes = dtypeSize(slot.dtype());
      if (slot.dims())
        for (const fb::Dim *dim : *slot.dims())
          bytes *= uint64_t(dim->value());
      work.weightBytes += bytes / expertWork.experts * expertWork.chosen;
    }
    const fb::LinearAttrs *linear = linearOf(call);
    if (!call.inputs || (!linear && !expertWork.macs))
      continue;
    auto *dims = slotOf(0)->dims();
    if (dims && dims->size() && dims->Get(0)->extent() == int64_t(model.entry().tokensExtent)) {
      work.promptMacs += linear ? linear->weight().n() * linear->weight().k() : expertWork.macs;
    }
  }
  if (auto *states = metadata.states())
    for (const fb::State *state : *states)
      if (isRecurrent(*state)) {
        uint64_t base = plan.target().recurrentLayout.baseBytes(*state);
        work.stateBytes += base + base / kRecurrentPage;
      }
  return work;
}

/// A sequence that ends with its scope.
struct BenchSequence {
  Session &session;
  SequenceId id = SequenceId::none;
  ~BenchSequence() {
    if (id != SequenceId::none)
      (void)session.destroySequence(id);
  }
};

/// Feeds `count` tokens of a fixed pseudo-random text in steps of the session's batch. `wantLogits`: the last one's, or
/// on a device the likeliest token, as a text that goes on has it.
Status feedText(Session &session, SequenceId sequence, uint64_t from, uint64_t count, std::span<int32_t> buffer,
                bool wantLogits) {
  const RowDraw greedy{};
  uint64_t vocab = session.model().bounds().vocab;
  while (count) {
    auto part = size_t(std::min(count, session.batch()));
    for (size_t i = 0; i < part; ++i)
      buffer[i] = int32_t(double(vocab) * uniformDraw(1, from + i));
    StepSegment segment{sequence, buffer.first(part)};
    auto last = int32_t(part - 1);
    bool wanted = wantLogits && part == count;
    StepDraws draws;
    if (wanted && session.draws())
      draws.rows = {&greedy, 1};
    MLC_TRY(session.step({&segment, 1}, {&last, wanted ? 1u : 0u}, draws));
    from += part;
    count -= part;
  }
  return {};
}

/// What it costs to go back: each token is decoded, taken back behind a snapshot, and decoded again.
Status benchSnapshots(Session &session, SequenceId sequence, uint64_t depth, unsigned rounds, std::span<int32_t> buffer,
                      BenchResult &result) {
  double longer[kMaxRounds], bookkeeping[kMaxRounds];
  for (unsigned i = 0; i < rounds; ++i) {
    double begin = monotonicMs();
    MLC_TRY(feedText(session, sequence, depth + i, 1, buffer, true));
    double plain = monotonicMs() - begin;
    begin = monotonicMs();
    MLC_ASSIGN(SnapshotId snapshot, session.snapshot(sequence));
    MLC_TRY(session.rollback(sequence, int64_t(depth + i)));
    bookkeeping[i] = monotonicMs() - begin;
    MLC_TRY(feedText(session, sequence, depth + i, 1, buffer, true));
    double release = monotonicMs();
    MLC_TRY(session.releaseSnapshot(snapshot));
    double end = monotonicMs();
    bookkeeping[i] = (bookkeeping[i] + end - release) * 1e3;
    // Pair by pair: a machine's pace changes from step to step.
    longer[i] = (end - begin) / plain - 1;
  }
  result.snapshotUs = spreadOf({bookkeeping, rounds});
  result.snapshotStepFraction = spreadOf({longer, rounds}).median;
  return {};
}

} // namespace

Result<BenchResult> bench(Session &session, const BenchOptions &options) {
  if (options.repetitions < 1 || options.repetitions > kMaxBenchRepetitions)
    return Error(ErrorCode::InvalidArgument, "-r %u: choose 1 to %u repetitions", options.repetitions,
                 kMaxBenchRepetitions);
  if (!options.prompt && !options.tokens)
    return Error(ErrorCode::InvalidArgument, "-p 0 -n 0: nothing to measure");
  uint64_t context = session.context();
  if (options.depth > context || options.prompt > context - options.depth || options.tokens > context - options.depth)
    return Error(ErrorCode::OutOfRange, "-d %llu with -p %llu or -n %llu does not fit the context of %llu",
                 (unsigned long long)options.depth, (unsigned long long)options.prompt,
                 (unsigned long long)options.tokens, (unsigned long long)context);
  MLC_ASSIGN(auto buffer, OwnedArray<int32_t>::create(systemAllocator(), session.batch(), "tokens"));
  BenchResult result;
  BandwidthMeter meter;
  const Device *device = session.model().device();
  if (device) {
    MLC_ASSIGN(result.ceilings.readBandwidthGbS, device->measureBandwidth());
    MLC_ASSIGN(result.ceilings.bf16PeakGflopS, device->measurePeak());
  } else {
    result.ceilings = measurePeaks(session.workers());
    MLC_ASSIGN(meter, BandwidthMeter::create(session.workers()));
    // Else beside each repetition.
    if (!options.tokens)
      result.ceilings.readBandwidthGbS = meter.measure(kBandwidthPasses);
  }

  BenchSequence sequence{session};
  MLC_ASSIGN(sequence.id, session.createSequence(int64_t(options.depth)));
  MLC_TRY(feedText(session, sequence.id, 0, options.depth, buffer.span(), false));
  // One snapshot is the start of every repetition.
  MLC_ASSIGN(SnapshotId start, session.snapshot(sequence.id));
  double promptRates[kMaxBenchRepetitions], tokenRates[kMaxBenchRepetitions], bandwidths[kMaxBenchRepetitions];
  // Repetition 0 warms caches and pages and is not counted.
  for (unsigned r = 0; r <= options.repetitions; ++r) {
    if (options.prompt) {
      MLC_TRY(session.restore(sequence.id, start));
      double begin = monotonicMs();
      MLC_TRY(feedText(session, sequence.id, options.depth, options.prompt, buffer.span(), true));
      if (r)
        promptRates[r - 1] = double(options.prompt) * 1e3 / (monotonicMs() - begin);
    }
    if (options.tokens) {
      MLC_TRY(session.restore(sequence.id, start));
      if (r)
        bandwidths[r - 1] = device ? result.ceilings.readBandwidthGbS : meter.measure(kBandwidthPasses);
      double begin = monotonicMs();
      for (uint64_t i = 0; i < options.tokens; ++i)
        MLC_TRY(feedText(session, sequence.id, options.depth + i, 1, buffer.span(), true));
      if (r)
        tokenRates[r - 1] = double(options.tokens) * 1e3 / (monotonicMs() - begin);
    }
  }
  if (options.tokens) {
    MLC_TRY(session.restore(sequence.id, start));
    auto rounds = unsigned(std::min<uint64_t>(options.tokens, kMaxRounds));
    MLC_TRY(benchSnapshots(session, sequence.id, options.depth, rounds, buffer.span(), result));
  }
  MLC_TRY(session.releaseSnapshot(start));
  Work work = workOf(session.model());
  result.weightBytesPerToken = work.weightBytes;
  result.stateBytesPerToken = work.stateBytes;
  if (options.prompt) {
    result.promptTokensPerSecond = spreadOf({promptRates, options.repetitions});
    const double peak = device ? result.ceilings.bf16PeakGflopS : result.ceilings.int8PeakGopS;
    if (peak > 0)
      result.fractionOfPeak = 2 * double(work.promptMacs) * result.promptTokensPerSecond.median / (peak * 1e9);
  }
  if (options.tokens) {
    // Repetition by repetition: a machine's bandwidth changes, too.
    double fractions[kMaxBenchRepetitions];
    for (unsigned r = 0; r < options.repetitions; ++r)
      fractions[r] = double(work.weightBytes + work.stateBytes) * tokenRates[r] / (bandwidths[r] * 1e9);
    result.fractionOfBandwidth = spreadOf({fractions, options.repetitions}).median;
    result.ceilings.readBandwidthGbS = spreadOf({bandwidths, options.repetitions}).median;
    result.tokensPerSecond = spreadOf({tokenRates, options.repetitions});
  }
  return result;
}

} // namespace mlc
