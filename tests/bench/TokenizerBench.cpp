//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Bytes of text encoded per second on one core: real vocabularies and texts of ../shared/data, and inputs made to be
// slow.
//
#include "compiler/Tokenizer/SourceParts.h"
#include "compiler/Tokenizer/Sources.h"
#include "runtime/llm/tokenizer/Tokenizer.h"

#include <benchmark/benchmark.h>
#include <filesystem>

using namespace mlc;

namespace {

std::string dataRoot() {
  const char *root = getenv("MLC_SHARED_DATA");
  return root ? root : MLC_SOURCE_DIR "/../shared/data";
}

std::string textOf(const std::string &name) {
  auto repeat = [](llvm::StringRef part) {
    std::string text;
    while (text.size() < 1000000)
      text += part;
    return text;
  };
  if (name == "aaaa")
    return repeat("a");
  if (name == "spaces")
    return repeat(" ");
  if (name == "newlines")
    return repeat("\n");
  if (name == "emoji")
    return repeat("\xf0\x9f\x98\x80");
  if (name == "marks")
    return repeat("\xcc\x81\xcc\xa3");
  if (name == "alternating")
    return repeat(" '");
  if (name == "digits")
    return repeat("7");
  auto text = readWhole(dataRoot() + "/text/" + name);
  return text ? *text : (llvm::consumeError(text.takeError()), std::string());
}

void encodeText(benchmark::State &state, const std::string &vocabulary, const std::string &textName) {
  auto model = readHuggingFaceTokenizer(dataRoot() + "/" + vocabulary);
  std::string text = textOf(textName);
  if (!model || text.empty()) {
    if (!model)
      llvm::consumeError(model.takeError());
    state.SkipWithError("needs the shared data (set MLC_SHARED_DATA)");
    return;
  }
  std::vector<uint8_t> buffer = llvm::cantFail(buildTokenizerBuffer(*model));
  auto tokenizer = Tokenizer::create(*flatbuffers::GetRoot<fb::Tokenizer>(buffer.data()), 1 << 26);
  auto encoder = Encoder::create(*tokenizer);
  size_t tokens = 0;
  for (auto _ : state) {
    auto ids = encoder->encode(text);
    if (!ids) {
      state.SkipWithError(ids.error().message());
      return;
    }
    tokens = ids->size();
    benchmark::DoNotOptimize(ids->data());
  }
  state.SetBytesProcessed(int64_t(state.iterations()) * int64_t(text.size()));
  state.counters["MB/s"] =
      benchmark::Counter(double(state.iterations()) * double(text.size()) * 1e-6, benchmark::Counter::kIsRate);
  state.counters["tokens"] = double(tokens);
}

} // namespace

int main(int argc, char **argv) {
  for (const char *vocabulary : {"tokenizers/gpt2", "tokenizers/qwen2.5", "stories260k/hf"})
    for (const char *text : {"wikitext-2.valid.txt", "hi-xquad.txt", "aaaa", "spaces", "newlines", "emoji", "marks",
                             "alternating", "digits"})
      benchmark::RegisterBenchmark((std::string(vocabulary) + "/" + text).c_str(), [=](benchmark::State &state) {
        encodeText(state, vocabulary, text);
      })->Unit(benchmark::kMillisecond);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
