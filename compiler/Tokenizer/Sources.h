//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The forms in which a checkpoint's tokenizer comes. Each reader refuses by name what it does not support.
//
#pragma once

#include "compiler/Tokenizer/TokenizerModel.h"

#include <string_view>

namespace mlc {

/// Whether the directory holds anything readHuggingFaceTokenizer reads.
bool hasHuggingFaceTokenizer(llvm::StringRef directory);

/// tokenizer.json, else vocab.json and merges.txt, else tokenizer.model, of a Hugging Face directory; BOS, EOS and chat
/// template from tokenizer_config.json, chat_template.jinja and added_tokens.json beside it.
llvm::Expected<TokenizerModel> readHuggingFaceTokenizer(llvm::StringRef directory);

/// The text of a tokenizer.json alone.
llvm::Expected<TokenizerModel> readTokenizerJson(llvm::StringRef file, llvm::StringRef text);

/// A SentencePiece tokenizer.model (BPE or Unigram).
llvm::Expected<TokenizerModel> readSentencePiece(llvm::StringRef file);
llvm::Expected<TokenizerModel> parseSentencePiece(llvm::StringRef file, llvm::StringRef bytes);

/// The tokenizer.ggml.* metadata of a GGUF file. Views need only live during the call.
struct GgufTokenizerFields {
  std::string model, pre;               // tokenizer.ggml.model (gpt2, llama), .pre
  std::vector<std::string_view> tokens; // .tokens
  std::vector<float> scores;            // .scores (llama)
  std::vector<int32_t> types;           // .token_type: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte
  std::vector<std::string_view> merges; // .merges (gpt2)
  std::optional<uint32_t> bos, eos, eot, eom, unknown, padding; // .bos_token_id, ...
  std::optional<bool> addBos, addEos, addSpacePrefix;
  std::string chatTemplate; // tokenizer.chat_template
};
llvm::Expected<TokenizerModel> fromGguf(const GgufTokenizerFields &fields, llvm::StringRef file);

} // namespace mlc
