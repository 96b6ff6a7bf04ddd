//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The graphs of the oracle checkpoints and of the stories model: every one imports, and damage to one is refused.
//
#include "compiler/Import/Importer.h"
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "tests/unit/import/TestFiles.h"

#include "mlir/IR/MLIRContext.h"

#include <gmock/gmock.h>

#include <set>

using namespace mlc;
using namespace mlc::test;
using testing::HasSubstr;
namespace fs = std::filesystem;

namespace {

const fs::path kOracles = fs::path(MLC_SOURCE_DIR) / "tests/oracles";

std::string textOf(ImportedModel &model) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  model.module->print(stream);
  return text;
}

std::string import(const std::string &path, std::string *text = nullptr, const std::string &rope = "") {
  mlir::MLIRContext context;
  auto model = importCheckpoint(path, context, {rope});
  if (!model)
    return llvm::toString(model.takeError());
  if (text)
    *text = textOf(*model);
  return "";
}

TEST(Importer, ImportsEveryOracleCheckpoint) {
  unsigned count = 0;
  for (const auto &entry : fs::directory_iterator(kOracles)) {
    if (!entry.is_directory())
      continue;
    SCOPED_TRACE(entry.path().filename().string());
    if (fs::exists(entry.path() / "config.json")) {
      ++count;
      std::string now;
      EXPECT_EQ(import(entry.path().string(), &now), "");
      if (!fs::exists(entry.path() / "config-v4.json"))
        continue;
      // The spelling of transformers 4 makes the same graph.
      TemporaryDirectory copy;
      for (const auto &file : fs::directory_iterator(entry.path()))
        if (file.path().filename().string().rfind("model", 0) == 0)
          fs::copy(file.path(), copy.path / file.path().filename());
      for (const char *name : {"generation_config.json"})
        if (fs::exists(entry.path() / name))
          fs::copy(entry.path() / name, copy.path / name);
      fs::copy(entry.path() / "config-v4.json", copy.path / "config.json");
      std::string old;
      EXPECT_EQ(import(copy.path.string(), &old), "");
      EXPECT_EQ(now, old);
    }
    for (const auto &file : fs::directory_iterator(entry.path())) {
      std::string name = file.path().filename().string();
      bool laterPart = name.find("-of-") != std::string::npos && name.find("-00001-of-") == std::string::npos;
      if (file.path().extension() == ".gguf" && !laterPart) {
        ++count;
        EXPECT_EQ(import(file.path().string()), "");
      }
    }
  }
  EXPECT_GE(count, 35u);
}

TEST(Importer, BothFormsOfTheStoriesModel) {
  const char *data = std::getenv("MLC_SHARED_DATA");
  fs::path folder = data ? fs::path(data) : fs::path(MLC_SOURCE_DIR) / "../shared/data";
  folder /= "stories260k";
  if (!fs::exists(folder))
    GTEST_SKIP() << folder << " is absent";
  std::string directory, file;
  EXPECT_EQ(import((folder / "hf").string(), &directory), "");
  EXPECT_EQ(import((folder / "stories260K-f32.gguf").string(), &file), "");
  EXPECT_THAT(directory, HasSubstr("graph.model \"llama\""));
  EXPECT_THAT(file, HasSubstr("interleaved"));
  EXPECT_EQ(directory.find("interleaved"), std::string::npos);
}

/// A copy of an oracle checkpoint whose files a test damages.
struct Copy {
  explicit Copy(const std::string &name) {
    for (const auto &file : fs::directory_iterator(kOracles / name))
      if (file.path().extension() != ".npy")
        fs::copy(file.path(), directory.path / file.path().filename());
  }
  std::string path() const { return directory.path.string(); }
  void replace(const std::string &file, const std::string &from, const std::string &to) {
    std::ifstream in(directory.path / file, std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(in)), {});
    size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    directory.write(file, text.replace(at, from.size(), to));
  }
  TemporaryDirectory directory;
};

TEST(Importer, RefusesByName) {
  {
    Copy copy("llama");
    copy.replace("model.safetensors", "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.xp_proj.weight");
    std::string message = import(copy.path());
    EXPECT_THAT(message, HasSubstr("tensor \"model.layers.0.mlp.up_proj.weight\" of shape [44, 36] is missing"));
    expectOneLine(message, copy.path());
  }
  {
    Copy copy("llama");
    copy.replace("config.json", "\"intermediate_size\": 44", "\"intermediate_size\": 48");
    EXPECT_THAT(import(copy.path()), HasSubstr("has shape [44, 36], expected is [48, 36] by"));
  }
  {
    Copy copy("llama-bias");
    copy.replace("config.json", "\"mlp_bias\": true", "\"mlp_bias\": false");
    EXPECT_THAT(import(copy.path()), HasSubstr("mlp.down_proj.bias\" at byte"));
  }
  {
    // An untied checkpoint whose configuration claims to be tied.
    Copy copy("llama");
    copy.replace("config.json", "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
    EXPECT_THAT(import(copy.path()), HasSubstr("\"lm_head.weight\" differs from \"model.embed_tokens.weight\""));
  }
  {
    Copy copy("llama");
    copy.replace("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    EXPECT_THAT(import(copy.path()), HasSubstr("tensor \"model.layers.1."));
    EXPECT_THAT(import(copy.path()), HasSubstr("is not part of a llama model"));
  }
  EXPECT_THAT(import("/no/such/model.gguf"), HasSubstr("/no/such/model.gguf: cannot be opened"));
  TemporaryDirectory empty;
  EXPECT_THAT(import(empty.path.string()), HasSubstr("config.json: cannot be opened"));
}

TEST(Importer, RopeOverrideChangesTheForm) {
  std::string path = (kOracles / "llama").string(), text;
  EXPECT_EQ(import(path, &text, "yarn:4"), "");
  EXPECT_THAT(text, HasSubstr("yarn"));
  EXPECT_THAT(text, HasSubstr("trained_context = 1280"));
  EXPECT_THAT(import(path, &text, "ntk:4"), HasSubstr("--rope ntk:4: "));
  // A form given on the command line is the one that config.json would state.
  std::string stated, given;
  EXPECT_EQ(import((kOracles / "llama-yarn").string(), &stated), "");
  EXPECT_EQ(import((kOracles / "llama-yarn").string(), &given, "yarn:8,original=40"), "");
  EXPECT_EQ(stated, given);
  EXPECT_THAT(stated, HasSubstr("scaling = #graph<rope_scaling"));
}

// Deterministic header damage to a whole checkpoint: read or refused in one line.
TEST(Importer, SurvivesMutatedFiles) {
  std::ifstream in(kOracles / "gguf-q4_0" / "model.gguf", std::ios::binary);
  const std::string original((std::istreambuf_iterator<char>(in)), {});
  ASSERT_FALSE(original.empty());
  TemporaryDirectory directory;
  Random random{3};
  mlir::MLIRContext context;
  for (int i = 0; i < 400; ++i) {
    std::string bytes = original;
    for (int changes = 0; changes < 2; ++changes)
      bytes[random.next() % 2000] = char(random.next());
    auto model = importCheckpoint(directory.write("m.gguf", bytes), context);
    if (!model)
      expectOneLine(llvm::toString(model.takeError()), directory.path.string());
  }
}

} // namespace
