//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Sampled texts have the target's distribution: a G-test over pairs of neighbouring tokens, which must also notice a
// rule that is wrong.
//
#include "tests/unit/speculate/PairStatistics.h"
#include "tests/unit/speculate/SpeculateSupport.h"
#include "tests/unit/support/Sanitized.h"

#include <algorithm>

using namespace mlc;
using namespace mlc::test;

namespace {

// AddressSanitizer is ten times as slow.
constexpr unsigned kSamples = kAddressSanitized ? 4000 : 20000;
const std::vector<int32_t> kStart{5, 2, 9};

TinyOptions smallOptions() {
  TinyOptions options = smallestOptions();
  options.hidden = 16;
  options.inner = 24;
  return options;
}

struct Setting {
  float temperature, topP;
  uint32_t topK;
  float minP, repetition;
};

SamplingOptions samplingOf(const Setting &setting) {
  SamplingOptions sampling;
  sampling.temperature = setting.temperature;
  sampling.topP = setting.topP;
  sampling.topK = setting.topK;
  sampling.minP = setting.minP;
  sampling.repetitionPenalty = setting.repetition;
  return sampling;
}

struct Tested {
  double first, second; // p of (t1, t2), (t2, t3)
  SpeculationStats stats;
};

Tested measure(Session &target, std::span<Drafter *const> drafters, const Setting &setting,
               const SpeculationOptions &options, unsigned samples = kSamples) {
  Speculator speculator = must(Speculator::create(target, drafters, options));
  Truth truth(target.model(), kStart, samplingOf(setting));
  Pairs first, second;
  for (unsigned i = 0; i < samples; ++i) {
    SequenceId sequence = must(target.createSequence());
    Answer answer;
    // Longer than what is looked at, so that drafts of the whole length are made.
    GenerateOptions generation = answer.options(5);
    generation.sampling = samplingOf(setting);
    generation.sampling.seed = i;
    must(speculator.generate(sequence, kStart, generation));
    must(target.destroySequence(sequence));
    ++first[{answer.tokens[0], answer.tokens[1]}];
    ++second[{answer.tokens[1], answer.tokens[2]}];
  }
  return {gTest(truth.first, first, samples), gTest(truth.second, second, samples), speculator.stats()};
}

/// A planted bug: what is drawn where a token did not stay comes from p, not from the residual.
int32_t fromTarget(std::span<const Sampler::Candidate> target, const Draft &, double uniform) {
  return Sampler::drawFrom(target, uniform);
}

/// Milliseconds by what was computed and not by the clock, so that lengths which are chosen repeat: a kernel call of
/// the target takes one, a drafted token a tenth.
double workMs = 0;

/// Costs little, so that drafts are worth their while: what follows a token lies in a table, of peaks of all heights.
struct TableDrafter final : Drafter {
  explicit TableDrafter(size_t vocab) : vocab(vocab), table(vocab * vocab) {
    for (size_t last = 0; last < vocab; ++last) {
      double sum = 0;
      for (size_t token = 0; token < vocab; ++token)
        sum += row(last)[token] = float(std::exp(double(last % 4) * uniformDraw(7, last * vocab + token)));
      for (float &q : row(last))
        q /= float(sum);
    }
  }
  std::span<float> row(size_t last) { return std::span(table).subspan(last * vocab, vocab); }
  Status start(const GenerateOptions &, std::span<const int32_t>) override { return {}; }
  bool begin(std::span<const int32_t> text) override {
    last = text.back();
    return true;
  }
  Result<bool> next(double uniform, Draft &draft) override {
    draft.distribution = row(size_t(last));
    draft.confidence = unsigned(last % 4) * 2;
    size_t token = 0;
    for (double reached = 0; token + 1 < vocab && (reached += draft.distribution[token]) <= uniform;)
      ++token;
    draft.token = last = int32_t(token);
    workMs += 0.1;
    return true;
  }
  size_t vocab;
  std::vector<float> table;
  int32_t last = 0;
};

const Setting kSettings[] = {{0.7f, 0.9f, 0, 0, 1}, {1.0f, 1, 7, 0.02f, 1.3f}, {1.5f, 0.95f, 8, 0, 1}};

} // namespace

TEST(Lossless, SampledPairsHaveTheTargetsDistribution) {
  TestModel targetModel(smallOptions());
  NoisyModel draftModel(smallOptions(), 0.9f);
  for (const Setting &setting : kSettings) {
    SCOPED_TRACE(testing::Message() << "temperature " << setting.temperature);
    Owned<Session> target = makeSession(*targetModel.model), draft = makeSession(*draftModel.model);
    Owned<ModelDrafter> drafter(must(ModelDrafter::create(*draft, *target)));
    Drafter *drafters[] = {drafter.get()};
    Tested tested = measure(*target, drafters, setting, fixedDraft(3));
    printf("  temperature %g: p = %.3f, %.3f\n", double(setting.temperature), tested.first, tested.second);
    EXPECT_GT(tested.first, 0.01);
    EXPECT_GT(tested.second, 0.01);
    // Drafts stay and fail often enough for this to mean something.
    EXPECT_GT(tested.stats.accepted, tested.stats.drafted / 4);
    EXPECT_GT(tested.stats.rollbacks, tested.stats.rounds / 10);
  }
}

TEST(Lossless, LengthsThatAreChosenToo) {
  TestModel targetModel(smallOptions());
  for (const Setting &setting : kSettings)
    for (bool bug : {false, true}) {
      SCOPED_TRACE(testing::Message() << "temperature " << setting.temperature << (bug ? ", the bug planted" : ""));
      Owned<Session> target = makeSession(*targetModel.model);
      TableDrafter table(target->model().bounds().vocab);
      Drafter *drafters[] = {&table};
      must(target->observeKernels({[](void *, uint32_t, const KernelContext &) { ++workMs; }}));
      SpeculationOptions options;
      options.clock = [] { return workMs; };
      if (bug)
        options.redraw = fromTarget;
      Tested tested = measure(*target, drafters, setting, options, bug ? kSamples : 5 * kSamples);
      printf("  temperature %g, chosen lengths%s: p = %.3g, %.3g\n", double(setting.temperature),
             bug ? ", the bug planted" : "", tested.first, tested.second);
      double least = std::min(tested.first, tested.second);
      if (bug)
        EXPECT_LT(least, 1e-4);
      else
        EXPECT_GT(least, 1e-4); // Another ISA, whose sums differ in the last bit, draws other samples.
      // Drafts were made, stayed and failed.
      EXPECT_GT(tested.stats.rounds, kSamples / 10);
      EXPECT_GT(tested.stats.accepted, tested.stats.drafted / 10);
      EXPECT_GT(tested.stats.rollbacks, tested.stats.rounds / 20);
    }
}

TEST(Lossless, PromptLookupToo) {
  TestModel targetModel(smallOptions());
  Owned<Session> target = makeSession(*targetModel.model);
  /// Always has a guess: the token one above the last one.
  struct Guesser final : Drafter {
    Status start(const GenerateOptions &, std::span<const int32_t>) override { return {}; }
    bool begin(std::span<const int32_t> text) override {
      last = text.back();
      return true;
    }
    Result<bool> next(double, Draft &draft) override {
      draft = {last = (last + 1) % 11, {}, 0};
      return true;
    }
    int32_t last = 0;
  } guesser;
  Drafter *drafters[] = {&guesser};
  Tested tested = measure(*target, drafters, kSettings[2], fixedDraft(2));
  EXPECT_GT(tested.first, 0.01);
  EXPECT_GT(tested.second, 0.01);
  EXPECT_GT(tested.stats.accepted, 0u);
}

TEST(Lossless, APlantedBugIsFound) {
  TestModel targetModel(smallOptions());
  NoisyModel draftModel(smallOptions(), 0.9f);
  SpeculationOptions wrong = fixedDraft(3);
  wrong.redraw = fromTarget;
  for (const Setting &setting : kSettings) {
    Owned<Session> target = makeSession(*targetModel.model), draft = makeSession(*draftModel.model);
    Owned<ModelDrafter> drafter(must(ModelDrafter::create(*draft, *target)));
    Drafter *drafters[] = {drafter.get()};
    Tested tested = measure(*target, drafters, setting, wrong);
    printf("  temperature %g, the bug planted: p = %.2g, %.2g\n", double(setting.temperature), tested.first,
           tested.second);
    EXPECT_LT(std::min(tested.first, tested.second), 1e-4) << "temperature " << setting.temperature;
  }
}
