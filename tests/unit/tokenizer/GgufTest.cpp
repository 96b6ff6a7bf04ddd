//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Real GGUF vocabularies: the same ids as the Hugging Face form of the same tokenizer.
//
#include "compiler/Driver/GgufTokenizer.h"
#include "compiler/Tokenizer/SourceParts.h"
#include "tests/unit/tokenizer/RandomText.h"
#include "tests/unit/tokenizer/Support.h"

#include <gtest/gtest.h>

using namespace mlc;
using namespace mlc::test;

namespace {

void compareForms(const char *ggufName, const char *folderName, const char *text) {
  std::string file = sharedData(ggufName), folder = sharedData(folderName), corpus = sharedData(text);
  if (file.empty() || folder.empty() || corpus.empty())
    GTEST_SKIP() << "needs shared/data/" << ggufName << " (set MLC_SHARED_DATA)";
  auto opened = gguf::open(file);
  ASSERT_TRUE(bool(opened));
  auto fields = ggufTokenizerFields(opened->metadata);
  ASSERT_TRUE(bool(fields) && *fields);
  Compiled gguf = compileOrDie(fromGguf(**fields, file)), directory = compileOrDie(readHuggingFaceTokenizer(folder));
  ASSERT_EQ(gguf.tokenizer->vocabSize(), directory.tokenizer->vocabSize());
  EXPECT_EQ(gguf.tokenizer->eos(), directory.tokenizer->eos());
  for (uint32_t id = 0; id < gguf.tokenizer->vocabSize(); ++id)
    ASSERT_EQ(gguf.tokenizer->tokenText(id), directory.tokenizer->tokenText(id)) << id;
  auto whole = readWhole(corpus);
  ASSERT_TRUE(bool(whole));
  auto ids = gguf.encode(*whole, {false, true});
  EXPECT_EQ(ids, directory.encode(*whole, {false, true}));
  EXPECT_EQ(gguf.decode(ids, true), directory.decode(ids, true));
  Random random(11);
  for (int i = 0; i < 500; ++i) {
    std::string part = randomText(random, 10);
    EXPECT_EQ(gguf.encode(part, {false, true}), directory.encode(part, {false, true})) << part;
  }
}

TEST(GgufVocabulary, Gpt2EqualsItsDirectory) {
  compareForms("tokenizers/gpt2/ggml-vocab-gpt-2.gguf", "tokenizers/gpt2", "text/hi-pud.txt");
}
TEST(GgufVocabulary, Stories260kEqualsItsDirectory) {
  compareForms("stories260k/stories260K-f32.gguf", "stories260k/hf", "text/wikitext-2.valid.txt");
}

} // namespace
