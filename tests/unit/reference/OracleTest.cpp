//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Every case of tests/oracles: the imported graph, interpreted, gives the logits and the greedy tokens of transformers.
//
#include "compiler/Import/Importer.h"
#include "compiler/Reference/CheckpointWeights.h"
#include "compiler/Support/Json.h"
#include "tests/unit/reference/ReferenceTest.h"

#include "llvm/Support/MemoryBuffer.h"

#include <filesystem>

using namespace mlc;
using namespace mlc::test;
using reference::ReferenceModel;
namespace fs = std::filesystem;

namespace {

std::string read(const fs::path &path) {
  auto buffer = llvm::MemoryBuffer::getFile(path.string());
  return buffer ? (*buffer)->getBuffer().str() : std::string();
}

/// The values of a little-endian f32 .npy.
std::vector<float> readNpy(const fs::path &path) {
  std::string bytes = read(path);
  if (bytes.size() < 10)
    return {};
  size_t begin = 10 + uint8_t(bytes[8]) + 256 * uint8_t(bytes[9]);
  std::vector<float> values((bytes.size() - begin) / 4);
  memcpy(values.data(), bytes.data() + begin, values.size() * 4);
  return values;
}

/// Feeds prompt and tokens at once, as `expected.json` has them, and compares.
void checkRun(ReferenceModel &model, const nlohmann::json &run, const fs::path &folder) {
  auto prompt = run["prompt"].get<std::vector<int32_t>>(), tokens = run["tokens"].get<std::vector<int32_t>>();
  std::vector<int32_t> all = prompt, rows;
  all.insert(all.end(), tokens.begin(), tokens.end());
  for (size_t row = 0; row < all.size(); ++row)
    rows.push_back(int32_t(row));
  auto logits = model.step({{model.createSequence(int64_t(prompt.size())), all}}, rows);
  ASSERT_TRUE(bool(logits)) << llvm::toString(logits.takeError());

  size_t vocabulary = size_t(model.vocabulary());
  std::vector<float> expected = readNpy(folder / run["logits"].get<std::string>());
  auto kept = run["rows"].get<std::vector<size_t>>();
  ASSERT_EQ(expected.size(), kept.size() * vocabulary);
  float tolerance = 1e-4f * run["largest_logit"].get<float>(), worst = 0;
  for (size_t i = 0; i < kept.size(); ++i)
    for (size_t v = 0; v < vocabulary; ++v)
      worst = std::max(worst, std::abs((*logits)[kept[i] * vocabulary + v] - expected[i * vocabulary + v]));
  EXPECT_LE(worst, tolerance);
  std::vector<int32_t> greedy;
  for (size_t row = prompt.size() - 1; row + 1 < all.size(); ++row) {
    auto begin = logits->begin() + row * vocabulary;
    greedy.push_back(int32_t(std::max_element(begin, begin + vocabulary) - begin));
  }
  EXPECT_EQ(greedy, tokens);
}

TEST(Oracle, InterpreterEqualsTransformers) {
  unsigned count = 0;
  const fs::path root = MLC_SOURCE_DIR;
  for (const auto &entry : fs::directory_iterator(root / "tests/oracles")) {
    if (!fs::exists(entry.path() / "expected.json"))
      continue;
    auto expected = nlohmann::json::parse(read(entry.path() / "expected.json"));
    std::vector<fs::path> sources;
    if (!expected["configs"].empty())
      sources.push_back(expected.contains("checkpoint") ? root / expected["checkpoint"].get<std::string>()
                                                        : entry.path());
    for (const auto &gguf : expected["ggufs"])
      sources.push_back(entry.path() / gguf.get<std::string>());
    for (const fs::path &source : sources) {
      SCOPED_TRACE(source.string());
      ++count;
      mlir::MLIRContext context;
      loadDialects(context);
      auto imported = importCheckpoint(source.string(), context);
      if (!imported) {
        ADD_FAILURE() << llvm::toString(imported.takeError());
        continue;
      }
      reference::CheckpointWeights weights(imported->checkpoint);
      auto model = ReferenceModel::create(*imported->module, weights);
      if (!model) {
        ADD_FAILURE() << llvm::toString(model.takeError());
        continue;
      }
      for (const auto &run : expected["runs"])
        checkRun(**model, run, entry.path());
    }
  }
  EXPECT_GE(count, 35u);
}

} // namespace
