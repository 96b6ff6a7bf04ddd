//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The ids and texts that the libraries of each tokenizer gave (data/make.py), and the shared vocabulary tests.
//
#include "compiler/Tokenizer/SourceParts.h"
#include "tests/unit/tokenizer/Support.h"

#include <filesystem>
#include <gtest/gtest.h>

using namespace mlc;
using namespace mlc::test;

namespace {

class Oracle : public testing::TestWithParam<std::string> {};

TEST_P(Oracle, AnswersAsTheLibraryDoes) {
  std::string folder = GetParam();
  Compiled compiled = compileOrDie(readHuggingFaceTokenizer(folder));
  auto cases = llvm::cantFail(parseJson("cases.json", llvm::cantFail(readWhole(folder + "/cases.json"))));
  ASSERT_GT(cases.size(), 50u);
  size_t wrong = 0;
  for (const auto &one : cases) {
    std::string text = one["text"];
    std::vector<uint32_t> expected = one["ids"];
    auto ids = compiled.encode(text, {one["special"], true});
    if (ids != expected && ++wrong <= 3) {
      size_t at = 0;
      while (at < ids.size() && at < expected.size() && ids[at] == expected[at])
        ++at;
      std::string before = compiled.decode({ids.begin(), ids.begin() + long(at)}, false);
      ADD_FAILURE() << folder << ": " << text.substr(0, 200) << "\n first difference at token " << at << " after ..."
                    << before.substr(before.size() > 60 ? before.size() - 60 : 0) << "\n ours "
                    << testing::PrintToString(
                           std::vector(ids.begin() + long(at), ids.begin() + long(std::min(ids.size(), at + 8))))
                    << "\n theirs "
                    << testing::PrintToString(std::vector(expected.begin() + long(at),
                                                          expected.begin() + long(std::min(expected.size(), at + 8))));
    }
    std::string decoded = one["decoded"];
    if (ids == expected && compiled.decode(expected, true) != decoded && ++wrong <= 3)
      ADD_FAILURE() << folder << " decodes " << text.substr(0, 200) << "\n to     "
                    << compiled.decode(expected, true).substr(0, 200) << "\n theirs " << decoded.substr(0, 200);
  }
  EXPECT_EQ(wrong, 0u) << "of " << cases.size();
}

/// The checked-in folders, or those of a folder that make.py wrote beside real vocabularies.
std::vector<std::string> folders() {
  std::vector<std::string> list;
  const char *other = getenv("MLC_TOKENIZER_CASES");
  for (const auto &entry : std::filesystem::directory_iterator(other ? other : MLC_TOKENIZER_DATA))
    if (std::filesystem::exists(entry.path() / "cases.json"))
      list.push_back(entry.path());
  std::sort(list.begin(), list.end());
  return list;
}
INSTANTIATE_TEST_SUITE_P(Data, Oracle, testing::ValuesIn(folders()), [](const auto &info) {
  std::string name = std::filesystem::path(info.param).filename();
  std::replace_if(name.begin(), name.end(), [](char c) { return !isalnum(c); }, '_');
  return name;
});

/// cases.inp and cases.out of the shared vocabularies: texts and their ids, nothing added.
void sharedCases(const std::string &name) {
  std::string folder = sharedData("tokenizers/" + name);
  if (folder.empty())
    GTEST_SKIP() << "needs shared/data/tokenizers/" << name << " (set MLC_SHARED_DATA)";
  Compiled compiled = compileOrDie(readHuggingFaceTokenizer(folder));
  std::string input = llvm::cantFail(readWhole(folder + "/cases.inp"));
  std::string output = llvm::cantFail(readWhole(folder + "/cases.out"));
  llvm::SmallVector<llvm::StringRef> texts, lines;
  llvm::StringRef(input).split(texts, "\n__ggml_vocab_test__\n");
  llvm::StringRef(output).split(lines, '\n');
  ASSERT_GE(texts.size(), 40u);
  ASSERT_GE(lines.size() + 1, texts.size());
  size_t checked = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    // The last separator ends the file.
    if (i + 1 == texts.size() && i >= lines.size())
      break;
    std::vector<uint32_t> expected;
    llvm::SmallVector<llvm::StringRef> numbers;
    lines[i].split(numbers, ' ', -1, false);
    for (llvm::StringRef number : numbers)
      expected.push_back(uint32_t(std::stoul(number.str())));
    EXPECT_EQ(compiled.encode(texts[i], {false, false}), expected) << "case " << i << ": " << texts[i].str();
    EXPECT_EQ(compiled.decode(expected, false), name == "gpt2" ? texts[i].str() : compiled.decode(expected, false));
    ++checked;
  }
  EXPECT_GE(checked, 40u);
}
TEST(SharedVocabulary, Gpt2) { sharedCases("gpt2"); }
TEST(SharedVocabulary, Qwen25) { sharedCases("qwen2.5"); }

TEST(SharedVocabulary, Whisper) {
  std::string folder = sharedData("tokenizers/whisper");
  if (folder.empty())
    GTEST_SKIP() << "needs shared/data/tokenizers/whisper (set MLC_SHARED_DATA)";
  Compiled compiled = compileOrDie(readHuggingFaceTokenizer(folder));
  EXPECT_EQ(compiled.encode("", {true, true}), (std::vector<uint32_t>{50258, 50363, 50257}));
  EXPECT_EQ(compiled.encode("<|en|><|transcribe|>", {false, true}), (std::vector<uint32_t>{50259, 50359}));
  EXPECT_EQ(compiled.tokenizer->findToken("<|en|>"), 50259u);
  std::string text = "And so my fellow Americans, ask not what your country can do for you.";
  EXPECT_EQ(compiled.decode(compiled.encode(text, {true, true}), true), text);
}

} // namespace
