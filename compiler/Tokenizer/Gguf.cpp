//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The tokenizer that a GGUF file's metadata describes.
//
#include "compiler/Tokenizer/SourceParts.h"
#include "compiler/Tokenizer/TableParts.h"
#include "runtime/llm/tokenizer/ByteAlphabet.h"
#include "runtime/llm/tokenizer/Utf8.h"

#include "llvm/ADT/StringMap.h"

#include <cmath>

namespace mlc {
namespace {

llvm::Error byteLevel(const GgufTokenizerFields &fields, llvm::StringRef file, TokenizerModel &model) {
  std::string pre = fields.pre.empty() ? "default" : fields.pre;
  auto named = namedPreTokenizer(pre);
  if (!named)
    return sourceError(file, "tokenizer.ggml.pre \"" + pre + "\" is not supported");
  llvm::StringMap<uint32_t> ids;
  for (size_t id = 0; id < model.tokens.size(); ++id) {
    TokenEntry &token = model.tokens[id];
    ids.try_emplace(token.text, uint32_t(id));
    // Added tokens are spelled as they are, the others in the byte-level alphabet.
    auto bytes = token.added ? std::nullopt : bytesOfAlphabet(token.text);
    token.mergeable &= bytes.has_value();
    token.text = bytes.value_or(token.text);
    token.decoded = token.text;
  }
  auto idOf = [&](llvm::StringRef text) {
    auto at = ids.find(text);
    return at == ids.end() ? noId : at->second;
  };
  for (uint16_t code : byteAlphabet)
    model.byteTokens.push_back(idOf(utf8Of(code)));
  for (std::string_view rule : fields.merges) {
    // Tokens hold no space, but one may begin with what follows it.
    auto [left, right] = llvm::StringRef(rule).split(' ');
    uint32_t a = idOf(left), b = idOf(right), both = idOf((left + right).str());
    if (a == noId || b == noId || both == noId)
      return sourceError(file, "tokenizer.ggml.merges: rule " + llvm::Twine(model.merges.size()) + " (\"" + left +
                                   "\", \"" + right + "\") names a token that is not in tokenizer.ggml.tokens");
    model.merges.push_back({a, b, both, uint32_t(model.merges.size())});
  }
  model.ignoreMerges = named->ignoreMerges;
  if (named->nfc) {
    TransformStep nfc;
    nfc.op = fb::TransformOp::unicode_form;
    nfc.form = "NFC";
    model.normalizer.push_back(std::move(nfc));
  }
  if (fields.addSpacePrefix.value_or(false)) {
    TransformStep prefix;
    prefix.op = fb::TransformOp::prepend;
    prefix.text = " ";
    prefix.unlessPresent = true;
    model.stages.push_back({std::move(prefix), std::nullopt});
  }
  for (SplitStep &split : named->splits)
    model.stages.push_back({std::nullopt, std::move(split)});
  if (fields.addBos.value_or(named->addBos) && model.bos != noId)
    model.prefix.push_back(model.bos);
  return llvm::Error::success();
}

llvm::Error sentencePiece(const GgufTokenizerFields &fields, llvm::StringRef file, TokenizerModel &model) {
  if (fields.scores.size() != model.tokens.size())
    return sourceError(file, "tokenizer.ggml.scores: " + llvm::Twine(fields.scores.size()) + " scores for " +
                                 llvm::Twine(model.tokens.size()) + " tokens");
  model.kind = fb::TokenizerKind::char_bpe;
  model.byteTokens.assign(256, noId);
  for (size_t id = 0; id < model.tokens.size(); ++id) {
    TokenEntry &token = model.tokens[id];
    if (!std::isfinite(fields.scores[id]))
      return sourceError(file, "tokenizer.ggml.scores: score " + llvm::Twine(id) + " is no number");
    token.score = fields.scores[id];
    token.decoded = withSpaces(token.text);
    auto byte = byteOfToken(token.text);
    if (!fields.types.empty() ? fields.types[id] == Byte : byte.has_value()) {
      if (!byte)
        return sourceError(file, "tokenizer.ggml.tokens: byte token \"" + token.text + "\" is not of the form <0xNN>");
      token.decoded = std::string(1, char(*byte));
      token.byte = true;
      token.mergeable = false;
      model.byteTokens[*byte] = uint32_t(id);
    }
  }
  if (auto error = scoreMerges(model))
    return error;
  model.fuseUnknown = true;
  if (fields.addSpacePrefix.value_or(true)) {
    TransformStep prefix;
    prefix.op = fb::TransformOp::prepend;
    prefix.text = " ";
    model.normalizer.push_back(std::move(prefix));
    model.stripLeading = 1;
  }
  TransformStep spaces;
  spaces.op = fb::TransformOp::replace;
  spaces.find = " ";
  spaces.text = metaspace;
  model.normalizer.push_back(std::move(spaces));
  if (fields.addBos.value_or(true) && model.bos != noId)
    model.prefix.push_back(model.bos);
  return llvm::Error::success();
}

} // namespace

llvm::Expected<TokenizerModel> fromGguf(const GgufTokenizerFields &fields, llvm::StringRef file) {
  TokenizerModel model;
  model.file = file.str();
  if (fields.model != "gpt2" && fields.model != "llama")
    return sourceError(file, "tokenizer.ggml.model \"" + fields.model + "\" is not supported; gpt2 and llama are");
  if (fields.tokens.empty() || fields.tokens.size() > (1u << 26))
    return sourceError(file, "tokenizer.ggml.tokens: " + llvm::Twine(fields.tokens.size()) + " tokens");
  if (!fields.types.empty() && fields.types.size() != fields.tokens.size())
    return sourceError(file, "tokenizer.ggml.token_type: " + llvm::Twine(fields.types.size()) + " types for " +
                                 llvm::Twine(fields.tokens.size()) + " tokens");
  auto known = [&](std::optional<uint32_t> id, const char *key, uint32_t &out) -> llvm::Error {
    if (id && *id >= fields.tokens.size())
      return sourceError(file, llvm::Twine("tokenizer.ggml.") + key + ": " + llvm::Twine(*id) + " is no token");
    out = id.value_or(noId);
    return llvm::Error::success();
  };
  bool llama = fields.model == "llama";
  uint32_t eot, eom;
  // SentencePiece files without the keys mean its defaults.
  auto orDefault = [&](std::optional<uint32_t> id, uint32_t fallback) {
    return id || !llama || fallback >= fields.tokens.size() ? id : std::optional<uint32_t>(fallback);
  };
  if (auto error = known(orDefault(fields.bos, 1), "bos_token_id", model.bos))
    return std::move(error);
  if (auto error = known(orDefault(fields.eos, 2), "eos_token_id", model.eos))
    return std::move(error);
  if (auto error = known(orDefault(fields.unknown, 0), "unknown_token_id", model.unknown))
    return std::move(error);
  if (auto error = known(fields.padding, "padding_token_id", model.pad))
    return std::move(error);
  if (auto error = known(fields.eot, "eot_token_id", eot))
    return std::move(error);
  if (auto error = known(fields.eom, "eom_token_id", eom))
    return std::move(error);
  for (uint32_t id : {model.eos, eot, eom})
    if (id != noId && !llvm::is_contained(model.endTokens, id))
      model.endTokens.push_back(id);
  for (size_t id = 0; id < fields.tokens.size(); ++id) {
    TokenEntry token;
    token.present = true;
    token.text = std::string(fields.tokens[id]);
    if (validUtf8(token.text) != token.text.size())
      return sourceError(file, "tokenizer.ggml.tokens: token " + llvm::Twine(id) + " is not UTF-8");
    int32_t type = fields.types.empty() ? Normal : fields.types[id];
    if (type < Normal || type > Byte)
      return sourceError(file, "tokenizer.ggml.token_type: type " + llvm::Twine(type) + " of token " + llvm::Twine(id) +
                                   " is unknown");
    token.special = type == Control || type == Unknown;
    token.added = token.special || type == UserDefined;
    token.mergeable = type == Normal || (type == UserDefined && llama);
    if (token.added && !token.text.empty())
      model.added.push_back({uint32_t(id), token.text, token.special, false, false, false, false});
    model.tokens.push_back(std::move(token));
  }
  if (auto error = llama ? sentencePiece(fields, file, model) : byteLevel(fields, file, model))
    return std::move(error);
  if (fields.addEos.value_or(false) && model.eos != noId)
    model.suffix.push_back(model.eos);
  model.chatTemplate = fields.chatTemplate;
  return std::move(model);
}

} // namespace mlc
