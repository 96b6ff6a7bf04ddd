//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Compiling and running a tokenizer in tests.
//
#pragma once

#include "compiler/Tokenizer/Sources.h"
#include "runtime/llm/tokenizer/Tokenizer.h"

#include <filesystem>
#include <gtest/gtest.h>
#include <memory>

namespace mlc::test {

/// The path of a shared data folder, or nothing when it is absent.
inline std::string sharedData(const std::string &name) {
  const char *root = getenv("MLC_SHARED_DATA");
  std::filesystem::path path = std::filesystem::path(root ? root : MLC_SOURCE_DIR "/../shared/data") / name;
  return std::filesystem::exists(path) ? path.string() : std::string();
}

inline TextSink sinkTo(std::string &text) {
  return {[](void *context, std::string_view part) { static_cast<std::string *>(context)->append(part); }, &text};
}

/// A compiled tokenizer with its encoder.
struct Compiled {
  std::vector<uint8_t> buffer;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Encoder> encoder;

  std::vector<uint32_t> encode(std::string_view text, EncodeOptions options = {}) {
    auto ids = encoder->encode(text, options);
    if (!ids) {
      ADD_FAILURE() << ids.error().message();
      return {};
    }
    return {ids->begin(), ids->end()};
  }
  std::string decode(const std::vector<uint32_t> &ids, bool skipSpecial) {
    std::string text;
    Decoder decoder(*tokenizer, {skipSpecial});
    Status done = decoder.decode(ids, sinkTo(text));
    EXPECT_TRUE(done) << done.error().message();
    return text;
  }
};

inline Compiled viewOrDie(std::vector<uint8_t> buffer, uint64_t vocab = 1 << 26) {
  Compiled compiled;
  compiled.buffer = std::move(buffer);
  flatbuffers::Verifier verifier(compiled.buffer.data(), compiled.buffer.size(), 64, 1 << 24);
  EXPECT_TRUE(verifier.VerifyBuffer<fb::Tokenizer>(nullptr));
  auto tokenizer = Tokenizer::create(*flatbuffers::GetRoot<fb::Tokenizer>(compiled.buffer.data()), vocab);
  if (!tokenizer) {
    ADD_FAILURE() << tokenizer.error().message();
    abort();
  }
  compiled.tokenizer = std::make_unique<Tokenizer>(std::move(*tokenizer));
  auto encoder = Encoder::create(*compiled.tokenizer);
  EXPECT_TRUE(encoder);
  compiled.encoder = std::make_unique<Encoder>(std::move(*encoder));
  return compiled;
}

inline Compiled compileOrDie(llvm::Expected<TokenizerModel> model) {
  if (!model) {
    ADD_FAILURE() << llvm::toString(model.takeError());
    abort();
  }
  auto buffer = buildTokenizerBuffer(*model);
  if (!buffer) {
    ADD_FAILURE() << llvm::toString(buffer.takeError());
    abort();
  }
  return viewOrDie(std::move(*buffer));
}

} // namespace mlc::test
