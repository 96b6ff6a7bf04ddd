//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Random small graphs, compiled and interpreted: the artifact's logits are those of the reference interpreter on the
// graph after the transforms, every rounding in it.
//
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/CompileOptions.h"
#include "compiler/Driver/Registry.h"
#include "compiler/Reference/CheckpointWeights.h"
#include "compiler/Reference/ReferenceModel.h"
#include "runtime/core/Owned.h"
#include "runtime/llm/Session.h"
#include "tests/unit/reference/GraphText.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

using namespace mlc;
using namespace mlc::test;
namespace fs = std::filesystem;

namespace {

/// One draw: a geometry, the options of mlc compile, tokens and how they are cut into steps.
struct Case {
  Geometry geometry;
  std::vector<std::string> options;
  /// Of the largest logit. Rounded values that lie next to a border may round the other way: a unit of the coarsest
  /// rounding, diluted by the layers that follow.
  float tolerance = 1e-4f;
  std::vector<int32_t> tokens;
  std::vector<size_t> steps;
};

Case drawCase(uint32_t seed) {
  Case drawn;
  drawn.geometry = randomGeometry(seed);
  std::mt19937 random(seed + 1000003);
  auto pick = [&](uint32_t count) { return random() % count; };
  auto option = [&](const char *name, std::string value) { drawn.options.insert(drawn.options.end(), {name, value}); };
  const char *quant = std::vector<const char *>{"none", "keep", "int8", "int4"}[pick(4)];
  option("--quant", quant);
  bool quantized = quant[0] == 'i', fast = pick(2);
  if (quantized) {
    option("--group", std::vector<const char *>{"32", "64", "128"}[pick(3)]);
    if (quant == std::string("int4") && pick(2))
      drawn.options.push_back("--asymmetric");
    if (pick(2))
      option("--head", std::vector<const char *>{"int4", "int8", "keep"}[pick(3)]);
  }
  option("--math", fast ? "fast" : "exact");
  const char *kv = std::vector<const char *>{"f32", "f32", "f16", "bf16", "int8"}[pick(5)];
  option("--kv", kv);
  if (kv == std::string("f16"))
    drawn.tolerance = 1e-3f;
  if (kv == std::string("bf16"))
    drawn.tolerance = 8e-3f;
  if (fast) // Products of values rounded to bf16.
    drawn.tolerance = 2e-2f;
  if ((quantized && fast) || kv == std::string("int8"))
    drawn.tolerance = 4e-2f;

  size_t length = 9 + pick(12);
  // Every other case has Mamba mixers; its own source of numbers leaves the draws above as they are.
  if (seed % 2) {
    addRandomMixers(drawn.geometry, seed + 2000003);
    const bool rounded = seed % 4 == 3;
    option("--ssm", rounded ? "bf16" : "f32");
    if (rounded)
      drawn.tolerance = std::max(drawn.tolerance, 2e-2f);
    // A recurrence passes one flipped int8 on to the positions behind it.
    if (quantized && fast)
      drawn.tolerance = 8e-2f;
    length += 30; // Several pages of 16 positions.
  }
  for (size_t left = length; left;) {
    size_t count = std::min<size_t>(left, 1 + pick(7));
    drawn.steps.push_back(count);
    for (size_t i = 0; i < count; ++i)
      drawn.tokens.push_back(int32_t(pick(uint32_t(drawn.geometry.vocabulary))));
    left -= count;
  }
  return drawn;
}

class Differential : public testing::TestWithParam<uint32_t> {
protected:
  void SetUp() override {
    folder =
        fs::temp_directory_path() / ("mlc-differential-" + std::to_string(getpid()) + "-" + std::to_string(GetParam()));
    fs::create_directory(folder);
    drawn = drawCase(GetParam());
    GraphModel built = buildModel(drawn.geometry, 0.4f);
    std::ofstream(folder / "model.mlir") << built.text;
    std::ofstream(folder / "model.safetensors", std::ios::binary) << safetensors(built, drawn.geometry.storage);
  }
  void TearDown() override {
    if (!HasFailure())
      fs::remove_all(folder);
  }

  std::vector<std::string> commandLine() const {
    std::vector<std::string> words = {"mlc compile", folder / "model.mlir", "--weights", folder / "model.safetensors",
                                      "-o",          folder / "model.mlca", "--threads", "1"};
    words.insert(words.end(), drawn.options.begin(), drawn.options.end());
    return words;
  }
  static std::vector<char *> pointers(std::vector<std::string> &words) {
    std::vector<char *> argv;
    for (std::string &word : words)
      argv.push_back(word.data());
    return argv;
  }

  /// Logits of every position by the compiled artifact, fed in the drawn steps beside a second sequence.
  std::vector<float> compiled() {
    std::vector<std::string> words = commandLine();
    std::vector<char *> argv = pointers(words);
    EXPECT_EQ(cli::compileCommand(int(argv.size()), argv.data()), 0);
    auto opened = Model::open((folder / "model.mlca").c_str());
    if (!opened) {
      ADD_FAILURE() << opened.error().message();
      return {};
    }
    Owned<Model> model(*opened);
    SessionOptions options;
    options.sequences = 2;
    auto created = Session::create(*model, options);
    if (!created) {
      ADD_FAILURE() << created.error().message();
      return {};
    }
    Owned<Session> session(*created);
    auto sequence = session->createSequence(int64_t(drawn.tokens.size())), other = session->createSequence(3);
    EXPECT_TRUE(sequence && other);
    std::vector<float> logits;
    std::span<const int32_t> tokens = drawn.tokens;
    const int32_t beside[] = {1, 0, 2};
    for (size_t count : drawn.steps) {
      std::vector<int32_t> rows;
      bool second = tokens.size() == drawn.tokens.size();
      for (size_t i = 0; i < count; ++i)
        rows.push_back(int32_t(i + (second ? 3 : 0)));
      StepSegment segments[] = {{*other, beside}, {*sequence, tokens.first(count)}};
      auto step = session->step(std::span(segments).subspan(second ? 0 : 1), rows);
      if (!step) {
        ADD_FAILURE() << step.error().message();
        return {};
      }
      for (size_t i = 0; i < rows.size(); ++i)
        logits.insert(logits.end(), step->row(i).begin(), step->row(i).end());
      tokens = tokens.subspan(count);
    }
    return logits;
  }

  /// The same by the interpreter, in one step.
  std::vector<float> interpreted() {
    CompileOptions options;
    std::vector<std::string> words = commandLine();
    std::vector<char *> argv = pointers(words);
    EXPECT_FALSE(parseCompileOptions(int(argv.size()), argv.data(), options).leave);
    mlir::DialectRegistry registry;
    registerDialects(registry);
    mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
    context.loadAllAvailableDialects();
    auto source = openSource(options.source, context);
    if (!source) {
      ADD_FAILURE() << llvm::toString(source.takeError());
      return {};
    }
    llvm::Error error = chooseMath(*source->module, options);
    if (!error)
      error =
          runPasses(*source->module, "model.mlir", [&](auto &passes) { buildTransforms(passes, options.pipeline); });
    if (error) {
      ADD_FAILURE() << llvm::toString(std::move(error));
      return {};
    }
    reference::CheckpointWeights weights(*source->checkpoint);
    auto model = reference::ReferenceModel::create(*source->module, weights);
    if (!model) {
      ADD_FAILURE() << llvm::toString(model.takeError());
      return {};
    }
    std::vector<int32_t> rows;
    for (size_t i = 0; i < drawn.tokens.size(); ++i)
      rows.push_back(int32_t(i));
    auto logits = (*model)->step({{(*model)->createSequence(int64_t(rows.size())), drawn.tokens}}, rows);
    if (!logits) {
      ADD_FAILURE() << llvm::toString(logits.takeError());
      return {};
    }
    return *logits;
  }

  /// A value next to a border is rare: most runs agree as closely as those without roundings.
  static void TearDownTestSuite() {
    if (rounded >= 10)
      EXPECT_GE(close * 4, rounded * 3);
  }

  fs::path folder;
  Case drawn;
  static inline unsigned rounded = 0, close = 0;
};

TEST_P(Differential, ArtifactEqualsInterpreter) {
  std::string line;
  for (const std::string &word : commandLine())
    line += word + " ";
  SCOPED_TRACE(line);
  std::vector<float> artifact = compiled(), reference = interpreted();
  ASSERT_EQ(artifact.size(), drawn.tokens.size() * size_t(drawn.geometry.vocabulary));
  ASSERT_EQ(reference.size(), artifact.size());
  float largest = 0, worst = 0;
  for (size_t i = 0; i < artifact.size(); ++i) {
    largest = std::max(largest, std::abs(reference[i]));
    float difference = std::abs(artifact[i] - reference[i]);
    worst = difference <= worst ? worst : difference; // NaN stays.
  }
  RecordProperty("difference", std::to_string(worst / largest));
  rounded += drawn.tolerance > 1e-4f;
  close += drawn.tolerance > 1e-4f && worst <= 1e-4f * largest;
  EXPECT_LE(worst, drawn.tolerance * largest) << "relative " << worst / largest;
}

INSTANTIATE_TEST_SUITE_P(Seeds, Differential, testing::Range(0u, 60u));

} // namespace
