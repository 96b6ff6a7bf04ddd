//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Choices against sums over plain logits; what is shared is fed once.
//
#include "runtime/llm/Choices.h"
#include "runtime/llm/RowNorm.h"
#include "tests/unit/session/SessionSupport.h"

using namespace mlc;
using namespace mlc::test;

namespace {

double plainScore(const Model &model, const Choice &choice) {
  std::vector<float> logits = plainLogits(model, choice.tokens);
  size_t vocab = model.bounds().vocab;
  double sum = 0;
  for (size_t i = choice.scored; i < choice.tokens.size(); ++i) {
    std::span<const float> row(logits.data() + (i - 1) * vocab, vocab);
    sum += double(row[size_t(choice.tokens[i])]) - normOf(row).logSum;
  }
  return sum;
}

/// Texts that begin with `shared` and go on differently.
struct Texts {
  std::vector<std::vector<int32_t>> tokens;
  std::vector<Choice> choices;
  Texts(std::mt19937 &random, const std::vector<int32_t> &shared, std::span<const size_t> lengths, unsigned vocab) {
    for (size_t length : lengths) {
      tokens.push_back(shared);
      // The first own token tells them apart, so that exactly `shared` is shared.
      tokens.back().push_back(int32_t(tokens.size()));
      for (size_t i = 1; i < length; ++i)
        tokens.back().push_back(int32_t(random() % vocab));
    }
    for (const std::vector<int32_t> &text : tokens)
      choices.push_back({text, shared.size()});
  }
};

} // namespace

TEST(Choices, AreTheSumsOfPlainLogits) {
  for (unsigned window : {0u, 20u}) {
    TinyOptions options;
    options.window = window;
    TestModel plain(options);
    std::mt19937 random(7 + window);
    std::vector<int32_t> shared = randomTokens(random, 90, options.vocab);
    std::vector<Texts> questions;
    std::vector<std::vector<double>> expected(4);
    for (size_t question = 0; question < expected.size(); ++question) {
      // The next one keeps a part of the one before.
      shared.resize(60 - 15 * question);
      for (int32_t token : randomTokens(random, 11, options.vocab))
        shared.push_back(token);
      size_t lengths[] = {1, 5, 40, 1, 2, 17, 3};
      questions.emplace_back(random, shared, lengths, options.vocab);
      questions.back().choices[5].scored += 4; // Its first own tokens are not counted.
      for (const Choice &choice : questions.back().choices)
        expected[question].push_back(plainScore(*plain.model, choice));
    }
    for (unsigned sequences : {1u, 2u, 4u}) {
      options.sequences = sequences;
      TestModel test(options);
      Owned<Session> session = makeSession(*test.model);
      ChoiceScorer scorer = must(ChoiceScorer::create(*session));
      for (size_t question = 0; question < questions.size(); ++question) {
        std::vector<double> scores(expected[question].size());
        must(scorer.score(questions[question].choices, scores));
        EXPECT_EQ(scores, expected[question]) << sequences << " " << question;
      }
    }
  }
}

TEST(Choices, FeedWhatIsSharedOnce) {
  TestModel test;
  Owned<Session> session = makeSession(*test.model);
  ChoiceScorer scorer = must(ChoiceScorer::create(*session));
  std::mt19937 random(3);
  std::vector<int32_t> shared = randomTokens(random, 100, 67);
  size_t lengths[] = {4, 1, 9};
  Texts first(random, shared, lengths, 67);
  double scores[3];
  must(scorer.score(first.choices, scores));
  // A choice's last token predicts nothing.
  EXPECT_EQ(scorer.tokensFed(), 100u + 3 + 0 + 8);
  shared[90] = (shared[90] + 1) % 67;
  Texts second(random, shared, lengths, 67);
  must(scorer.score(second.choices, scores));
  EXPECT_EQ(scorer.tokensFed(), 111u + 10 + 11);
  must(scorer.score(second.choices, scores));
  EXPECT_EQ(scorer.tokensFed(), 132u + 1 + 11);
}

TEST(Choices, RefuseWhatDoesNotFit) {
  TestModel test;
  Owned<Session> session = makeSession(*test.model);
  ChoiceScorer scorer = must(ChoiceScorer::create(*session));
  std::vector<int32_t> tokens(257, 1), tooMany(258, 1), unknown{1, 67};
  double score;
  Choice choice{tokens, 200};
  must(scorer.score({&choice, 1}, {&score, 1}));
  for (Choice bad : {Choice{tooMany, 200}, Choice{tokens, 0}, Choice{tokens, 257}, Choice{unknown, 1}})
    EXPECT_FALSE(bool(scorer.score({&bad, 1}, {&score, 1})));
  must(scorer.score({&choice, 1}, {&score, 1}));
}
