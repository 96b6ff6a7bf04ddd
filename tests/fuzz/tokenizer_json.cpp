//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// tokenizer.json: compiled or refused in one line; what compiles verifies, encodes and decodes.
//
#include "compiler/Tokenizer/Sources.h"
#include "runtime/llm/tokenizer/Tokenizer.h"

#include <cstdlib>
#include <string>

using namespace mlc;

static void oneLine(llvm::Error error) {
  if (llvm::toString(std::move(error)).find('\n') != std::string::npos)
    abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto model = readTokenizerJson("fuzz.json", {reinterpret_cast<const char *>(data), size});
  if (!model) {
    oneLine(model.takeError());
    return 0;
  }
  auto buffer = buildTokenizerBuffer(*model);
  if (!buffer) {
    oneLine(buffer.takeError());
    return 0;
  }
  auto tokenizer = Tokenizer::create(*flatbuffers::GetRoot<fb::Tokenizer>(buffer->data()), 1 << 26);
  if (!tokenizer)
    abort();
  auto encoder = Encoder::create(*tokenizer);
  const std::string text =
      "<s>Hello, abc  'LL 1234 e\u0301 \u0928\u093c \U0001f600<m> word\r\n\t " + std::string(100, 'a');
  auto ids = encoder->encode(text);
  TextSink nowhere = {[](void *, std::string_view) {}, nullptr};
  if (ids && !Decoder(*tokenizer).decode(*ids, nowhere))
    abort();
  return 0;
}
