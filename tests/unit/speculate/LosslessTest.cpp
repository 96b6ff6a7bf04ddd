//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Sampled texts have the target's distribution: a G-test over pairs of neighbouring tokens, which must also notice a
// rule that is wrong.
//
#include "tests/unit/speculate/SpeculateSupport.h"
#include "tests/unit/support/Sanitized.h"

#include <algorithm>
#include <cmath>
#include <map>

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

/// P(X >= statistic) of a chi-square variable: E. B. Wilson and M. M. Hilferty, "The distribution of chi-square", 1931.
double chiSquareTail(double statistic, double freedom) {
  double spread = 2 / (9 * freedom);
  return 0.5 * std::erfc((std::cbrt(statistic / freedom) - (1 - spread)) / std::sqrt(2 * spread));
}

using Pairs = std::map<std::pair<int32_t, int32_t>, double>;

/// p of the G-test; pairs that are expected less than 5 times count together.
double gTest(const Pairs &expected, const Pairs &seen) {
  double g = 0, rest = 0, restSeen = kSamples;
  unsigned cells = 0;
  auto add = [&](double wanted, double got) {
    g += got > 0 ? 2 * got * std::log(got / wanted) : 0;
    ++cells;
  };
  for (auto [pair, probability] : expected) {
    double wanted = probability * kSamples;
    if (wanted < 5) {
      rest += wanted;
      continue;
    }
    auto found = seen.find(pair);
    double got = found == seen.end() ? 0 : found->second;
    restSeen -= got;
    add(wanted, got);
  }
  if (rest > 0)
    add(rest, restSeen);
  else if (restSeen > 0)
    return 0; // Something that cannot be.
  return chiSquareTail(g, cells - 1);
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

/// The distribution behind `text`, whose tokens past the prompt were generated.
Pairs::mapped_type chanceOf(std::span<const Sampler::Candidate> distribution, int32_t token) {
  for (const Sampler::Candidate &candidate : distribution)
    if (candidate.token == token)
      return double(candidate.probability);
  return 0;
}

/// P(t1, t2) and P(t2, t3) of the target alone, from the logits of every beginning.
struct Truth {
  Pairs first, second;
  Truth(const Model &model, const SamplingOptions &sampling) {
    auto vocab = int32_t(model.bounds().vocab);
    auto behind = [&](std::vector<int32_t> more) {
      std::vector<int32_t> text = kStart;
      text.insert(text.end(), more.begin(), more.end());
      std::vector<float> logits = plainLogits(model, text);
      Sampler sampler = must(Sampler::create(size_t(vocab), sampling));
      sampler.acceptPrompt(kStart);
      for (int32_t token : more)
        sampler.accept(token);
      auto distribution = must(sampler.distribution(std::span(logits).last(size_t(vocab))));
      std::vector<double> chances;
      for (int32_t token = 0; token < vocab; ++token)
        chances.push_back(chanceOf(distribution, token));
      return chances;
    };
    std::vector<double> one = behind({});
    for (int32_t a = 0; a < vocab; ++a) {
      if (one[size_t(a)] == 0)
        continue;
      std::vector<double> two = behind({a});
      for (int32_t b = 0; b < vocab; ++b) {
        double ab = one[size_t(a)] * two[size_t(b)];
        if (ab == 0)
          continue;
        first[{a, b}] += ab;
        std::vector<double> three = behind({a, b});
        for (int32_t c = 0; c < vocab; ++c)
          if (three[size_t(c)] > 0)
            second[{b, c}] += ab * three[size_t(c)];
      }
    }
  }
};

struct Tested {
  double first, second; // p of (t1, t2), (t2, t3)
  SpeculationStats stats;
};

Tested measure(Session &target, std::span<Drafter *const> drafters, const Setting &setting,
               const SpeculationOptions &options) {
  Speculator speculator = must(Speculator::create(target, drafters, options));
  Truth truth(target.model(), samplingOf(setting));
  Pairs first, second;
  for (unsigned i = 0; i < kSamples; ++i) {
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
  return {gTest(truth.first, first), gTest(truth.second, second), speculator.stats()};
}

const Setting kSettings[] = {{0.7f, 0.9f, 0, 0, 1}, {1.0f, 1, 7, 0.02f, 1.3f}, {1.5f, 0.95f, 8, 0, 1}};

} // namespace

TEST(Lossless, SampledPairsHaveTheTargetsDistribution) {
  TestModel targetModel(smallOptions());
  NoisyModel draftModel(smallOptions(), 0.9f);
  for (const Setting &setting : kSettings)
    for (unsigned tokens : {3u, 0u}) {
      SCOPED_TRACE(testing::Message() << "temperature " << setting.temperature << ", draft tokens " << tokens);
      Owned<Session> target = makeSession(*targetModel.model), draft = makeSession(*draftModel.model);
      Owned<ModelDrafter> drafter(must(ModelDrafter::create(*draft, *target)));
      Drafter *drafters[] = {drafter.get()};
      Tested tested = measure(*target, drafters, setting, fixedDraft(tokens));
      printf("  temperature %g, draft tokens %u: p = %.3f, %.3f\n", double(setting.temperature), tokens, tested.first,
             tested.second);
      // Lengths that follow the clock give another sample each time: a bound that chance does not miss.
      double bound = tokens ? 0.01 : 1e-5;
      EXPECT_GT(tested.first, bound);
      EXPECT_GT(tested.second, bound);
      // Drafts stay and fail often enough for this to mean something.
      if (tokens) {
        EXPECT_GT(tested.stats.accepted, tested.stats.drafted / 4);
        EXPECT_GT(tested.stats.rollbacks, tested.stats.rounds / 10);
      }
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
  // From p, not from the residual.
  wrong.redraw = [](std::span<const Sampler::Candidate> target, const Draft &, double uniform) {
    return Sampler::drawFrom(target, uniform);
  };
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
