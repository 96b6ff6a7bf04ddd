//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Whole models: against transformers, f32 against f64, and however the tokens are split into steps.
//
#include "tests/unit/reference/ReferenceTest.h"

using namespace mlc;
using namespace mlc::test;
using reference::ReferenceModel;

namespace {

class ReferenceModelTest : public testing::Test {
protected:
  ReferenceModelTest() { loadDialects(context); }

  std::unique_ptr<ReferenceModel> make(const GraphModel &model, bool f64 = false) {
    for (auto &[name, values] : model.weights)
      source.values[name] = values;
    module = mlir::parseSourceString<mlir::ModuleOp>(model.text, &context);
    EXPECT_TRUE(module) << model.text;
    if (!module)
      return nullptr;
    auto made = ReferenceModel::create(*module, source, f64);
    if (!made)
      ADD_FAILURE() << llvm::toString(made.takeError());
    return made ? std::move(*made) : nullptr;
  }
  static std::vector<float> step(ReferenceModel &model, std::vector<reference::StepTokens> segments,
                                 std::vector<int32_t> rows) {
    auto logits = model.step(segments, rows);
    EXPECT_TRUE(bool(logits)) << llvm::toString(logits.takeError());
    return logits ? *logits : std::vector<float>();
  }
  static std::vector<float> prompt(ReferenceModel &model, const std::vector<int32_t> &tokens,
                                   std::vector<int32_t> rows) {
    return step(model, {{model.createSequence(tokens.size()), tokens}}, rows);
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  reference::MapWeightSource source;
};

const std::vector<int32_t> kTokens = {1, 5, 18, 0, 7, 7, 3};

TEST_F(ReferenceModelTest, TinyLlamaEqualsTransformers) {
  // oracle.py prints these.
  const std::vector<float> expected = {
      -0.06636062f, 2.793052f,    0.6561568f,  -2.06955f,   -5.18796f,  -0.0784899f,  -0.2089771f, -0.6606095f,
      3.285801f,    0.1275575f,   1.81777f,    -0.2637964f, 0.8598037f, -2.847812f,   -1.674617f,  3.648303f,
      -2.405644f,   2.912225f,    -5.014338f,  0.6146242f,  0.2637776f, -3.609745f,   1.175161f,   1.772622f,
      -2.013628f,   0.8024755f,   0.05797854f, 1.595428f,   -4.774611f, 0.666526f,    -0.5473136f, -3.352237f,
      0.1500287f,   -0.2970768f,  -1.694061f,  -1.74892f,   -1.339474f, 2.112951f,    -3.785357f,  -3.003278f,
      0.6707953f,   -0.02551532f, 1.473515f,   -1.393719f,  3.464977f,  2.976024f,    3.205332f,   -3.846022f,
      0.6233788f,   2.402593f,    -4.3449f,    -0.0139735f, 1.19771f,   -0.01281989f, -0.7672302f, -1.570783f,
      -1.098578f};
  for (bool f64 : {false, true}) {
    auto model = make(buildModel(Geometry()), f64);
    ASSERT_TRUE(model);
    EXPECT_THAT(prompt(*model, kTokens, {0, 3, 6}), testing::Pointwise(testing::FloatNear(2e-5f), expected));
  }
}

TEST_F(ReferenceModelTest, SplittingAndRaggedBatchesChangeNothing) {
  Geometry geometry;
  geometry.window = 3;
  geometry.rope = "theta = 10000.0, scaling = #graph<rope_scaling dynamic>, factor = 2.0, original_context = 4";
  auto model = make(buildModel(geometry));
  ASSERT_TRUE(model);
  std::vector<float> whole = prompt(*model, kTokens, {6});

  llvm::ArrayRef<int32_t> tokens(kTokens);
  std::vector<int32_t> other = {2, 2, 9};
  uint64_t a = model->createSequence(7), b = model->createSequence(3);
  step(*model, {{a, tokens.take_front(4)}}, {});
  // Rolled back and fed again, beside another sequence.
  ASSERT_FALSE(bool(model->rollback(a, 2)));
  step(*model, {{b, other}, {a, tokens.slice(2, 3)}}, {});
  uint64_t c = model->fork(a);
  EXPECT_EQ(step(*model, {{a, tokens.drop_front(5)}}, {1}), whole);
  std::vector<float> both = step(*model, {{b, other}, {c, tokens.drop_front(5)}}, {4});
  EXPECT_EQ(both, whole);
}

TEST_F(ReferenceModelTest, RandomGeometriesAgreeInBothFloatTypes) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    Geometry geometry = randomGeometry(seed);
    GraphModel built = buildModel(geometry, 0.4f);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 12; ++i)
      tokens.push_back(int32_t((seed * 7 + i * i * 5) % geometry.vocabulary));
    auto model = make(built);
    ASSERT_TRUE(model) << seed;
    std::vector<float> single = prompt(*model, tokens, {11});
    auto precise = make(built, true);
    std::vector<float> exact = prompt(*precise, tokens, {11});
    ASSERT_EQ(single.size(), size_t(geometry.vocabulary));
    float largest = 1e-3f;
    for (float value : exact)
      largest = std::max(largest, std::abs(value));
    EXPECT_THAT(single, testing::Pointwise(testing::FloatNear(2e-4f * largest), exact)) << seed << "\n" << built.text;
  }
}

TEST_F(ReferenceModelTest, EveryFeatureChangesTheAnswer) {
  const std::vector<int32_t> tokens = {1, 5, 18, 0, 7, 7, 3, 2, 9, 11, 4, 4};
  auto answer = [&](const Geometry &geometry) {
    auto model = make(buildModel(geometry));
    return model ? prompt(*model, tokens, {11}) : std::vector<float>();
  };
  std::vector<float> plain = answer({});
  std::vector<std::pair<const char *, void (*)(Geometry &)>> features = {
      {"window", [](Geometry &g) { g.window = 4; }},
      {"attention cap", [](Geometry &g) { g.attentionCap = 5; }},
      {"logit cap", [](Geometry &g) { g.logitCap = 5; }},
      {"scale", [](Geometry &g) { g.attentionScale = 0.2f; }},
      {"query and key norms", [](Geometry &g) { g.qkNorm = true; }},
      {"biases", [](Geometry &g) { g.biases = true; }},
      {"post norms", [](Geometry &g) { g.postNorms = true; }},
      {"partial rotary", [](Geometry &g) { g.rotaryDim = 4; }},
      {"interleaved", [](Geometry &g) { g.interleaved = true; }},
      {"no rope", [](Geometry &g) { g.nopeEvery = 2; }},
      {"activation", [](Geometry &g) { g.activation = "gelu_tanh"; }},
      {"embedding scale", [](Geometry &g) { g.embeddingScale = 2; }},
      {"storage", [](Geometry &g) { g.storage = "bf16"; }},
      {"kv f16", [](Geometry &g) { g.kvType = "f16"; }},
      {"kv bf16", [](Geometry &g) { g.kvType = "bf16"; }},
      {"kv int8", [](Geometry &g) { g.kvType = "i8"; }},
      {"int8", [](Geometry &g) { g.quant = "bits = 8, group = 32"; }},
      {"int4", [](Geometry &g) { g.quant = "bits = 4, group = 32"; }},
      {"int4 asymmetric", [](Geometry &g) { g.quant = "bits = 4, group = 32, asymmetric = true"; }},
      {"int8 weights alone", [](Geometry &g) { g.quant = "bits = 8, group = 32", g.quantizeInputs = false; }}};
  std::vector<std::vector<float>> answers = {plain};
  for (auto &[name, change] : features) {
    Geometry geometry;
    change(geometry);
    answers.push_back(answer(geometry));
    ASSERT_EQ(answers.back().size(), plain.size()) << name;
    EXPECT_THAT(answers.back(), testing::Not(testing::ElementsAreArray(plain))) << name;
  }
  // The offset of a norm is part of its weight: the same answer with both moved.
  Geometry shifted;
  shifted.normOffset = 1;
  EXPECT_THAT(answer(shifted), testing::Pointwise(testing::FloatNear(1e-4f), plain));
}

TEST_F(ReferenceModelTest, BadStepsAreRefused) {
  auto model = make(buildModel({}));
  ASSERT_TRUE(model);
  uint64_t sequence = model->createSequence(1);
  auto problem = [&](std::vector<reference::StepTokens> segments, std::vector<int32_t> rows) {
    auto logits = model->step(segments, rows);
    return logits ? std::string() : llvm::toString(logits.takeError());
  };
  std::vector<int32_t> good = {1}, outside = {19}, negative = {-1};
  EXPECT_THAT(problem({{sequence, outside}}, {}), testing::HasSubstr("token 19 lies outside"));
  EXPECT_THAT(problem({{sequence, negative}}, {}), testing::HasSubstr("token -1 lies outside"));
  EXPECT_THAT(problem({{sequence, good}}, {1}), testing::HasSubstr("row 1 lies outside"));
  EXPECT_THAT(problem({{sequence, good}, {sequence, good}}, {}), testing::HasSubstr("each once"));
  EXPECT_THAT(problem({{sequence + 1, good}}, {}), testing::HasSubstr("live sequences"));
  EXPECT_THAT(problem({{sequence, {}}}, {}), testing::HasSubstr("at least one token"));
  EXPECT_EQ(problem({{sequence, good}}, {0}), "");
}

} // namespace
