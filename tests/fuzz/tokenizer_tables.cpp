//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Compiled tables with bytes changed: refused, or encoding and decoding stay in bounds. The input is a byte that
// chooses the tables, the text's length, patches of 4 bytes of place and 1 of value, and the text.
//
#include "compiler/Tokenizer/SourceParts.h"
#include "runtime/llm/tokenizer/Tokenizer.h"
#include "runtime/llm/tokenizer/Utf8.h"

#include <string>

using namespace mlc;

static const std::vector<std::vector<uint8_t>> &tables() {
  static const auto list = [] {
    std::vector<std::vector<uint8_t>> buffers;
    for (const char *name : {"bytes", "characters", "unigram"}) {
      std::string file = std::string(MLC_SOURCE_DIR "/tests/fuzz/corpus/tokenizer_json/") + name + ".json";
      auto text = readWhole(file);
      auto model = text ? readTokenizerJson(file, *text) : llvm::Expected<TokenizerModel>(text.takeError());
      auto buffer = model ? buildTokenizerBuffer(*model) : llvm::Expected<std::vector<uint8_t>>(model.takeError());
      if (!buffer) {
        fprintf(stderr, "%s\n", llvm::toString(buffer.takeError()).c_str());
        abort();
      }
      buffers.push_back(std::move(*buffer));
    }
    return buffers;
  }();
  return list;
}

// Compiles before the clock of the first input runs.
extern "C" int LLVMFuzzerInitialize(int *, char ***) {
  tables();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2)
    return 0;
  std::vector<uint8_t> buffer = tables()[data[0] % tables().size()];
  size_t textSize = std::min<size_t>(data[1], size - 2), patches = size - 2 - textSize;
  const uint8_t *patch = data + 2;
  for (size_t i = 0; i + 5 <= patches; i += 5) {
    uint32_t at;
    memcpy(&at, patch + i, 4);
    buffer[at % buffer.size()] = patch[i + 4];
  }
  flatbuffers::Verifier verifier(buffer.data(), buffer.size(), 64, 1 << 20);
  if (!verifier.VerifyBuffer<fb::Tokenizer>(nullptr))
    return 0;
  auto tokenizer = Tokenizer::create(*flatbuffers::GetRoot<fb::Tokenizer>(buffer.data()), 1 << 20);
  if (!tokenizer)
    return 0;
  auto encoder = Encoder::create(*tokenizer);
  std::string text(reinterpret_cast<const char *>(data + size - textSize), textSize);
  text.resize(validUtf8(text));
  text += " abc  hello <s> e\u0301\u0323 \uac00\u11a8 <m>word 1111 ABC\r\n";
  TextSink nowhere = {[](void *, std::string_view) {}, nullptr};
  for (bool parse : {true, false}) {
    auto ids = encoder->encode(text, {true, parse});
    if (ids && !Decoder(*tokenizer).decode(*ids, nowhere))
      abort();
  }
  tokenizer->findToken("<m>");
  return 0;
}
