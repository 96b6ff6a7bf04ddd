//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the readers of tokenizer sources share: checked access to JSON, the steps of tokenizer.json, SentencePiece's
// normalization map, the patterns that other sources call by name.
//
#pragma once

#include "compiler/Support/Json.h"
#include "compiler/Tokenizer/Sources.h"

namespace mlc {

/// The patterns of pre-tokenizers, by the names GGUF's tokenizer.ggml.pre and Hugging Face's classes stand for.
namespace patterns {
extern const char *const gpt2;
extern const char *const llama3;
extern const char *const qwen2;
extern const char *const asciiPunctuation;
} // namespace patterns

/// The splits (and NFC where the model family has it) of a GGUF pre-tokenizer name; nullopt: unknown.
struct NamedPreTokenizer {
  std::vector<SplitStep> splits;
  bool nfc = false, ignoreMerges = false, addBos = false;
};
std::optional<NamedPreTokenizer> namedPreTokenizer(llvm::StringRef name);

/// An error that starts with the file.
llvm::Error sourceError(llvm::StringRef file, const llvm::Twine &what);

/// The member, or null when absent or null.
const nlohmann::json *memberOf(const nlohmann::json &object, const char *key);
std::string stringOf(const nlohmann::json *value, llvm::StringRef fallback = "");
bool boolOf(const nlohmann::json *value, bool fallback);
/// Refuses members of other names and members that are not of the shape their name asks for.
llvm::Error checkMembers(llvm::StringRef file, llvm::StringRef where, const nlohmann::json &object,
                         llvm::ArrayRef<llvm::StringRef> known);

/// Reads `normalizer` of tokenizer.json.
llvm::Error readNormalizer(llvm::StringRef file, const nlohmann::json &step, std::vector<TransformStep> &steps);
/// Reads `pre_tokenizer`. `byteLevel` is set where a ByteLevel step stands.
llvm::Error readPreTokenizer(llvm::StringRef file, const nlohmann::json &step, std::vector<StageStep> &stages,
                             bool &byteLevel);
/// Reads `decoder` and fills in every token's decoded text.
llvm::Error readDecoder(llvm::StringRef file, const nlohmann::json *decoder, TokenizerModel &model);

/// The keys and replacements of a SentencePiece precompiled_charsmap.
llvm::Expected<TransformStep> readCharsMap(llvm::StringRef file, llvm::StringRef blob);

/// NN of "<0xNN>", or nothing.
std::optional<uint8_t> byteOfToken(llvm::StringRef text);
/// `text` with U+2581 as spaces.
std::string withSpaces(llvm::StringRef text);
inline constexpr const char *metaspace = "\xe2\x96\x81";

/// The kinds of SentencePiece's pieces, which GGUF has taken for its tokens.
enum PieceType { Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6 };

/// SentencePiece's merges: every split of a mergeable token into two pieces, ranked by the token's score.
llvm::Error scoreMerges(TokenizerModel &model);

/// The whole file; errors name it.
llvm::Expected<std::string> readWhole(llvm::StringRef file, uint64_t limit = uint64_t(1) << 30);

} // namespace mlc
