//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// SentencePiece's tokenizer.model: a protocol buffer (ModelProto of sentencepiece_model.proto), read field by field.
//
#include "compiler/Tokenizer/SourceParts.h"
#include "compiler/Tokenizer/TableParts.h"
#include "runtime/llm/tokenizer/Utf8.h"

#include "llvm/Support/Endian.h"

#include <bit>
#include <cmath>

namespace mlc {
namespace {

/// One message's fields in order. `ok` turns false for bytes that are no protocol buffer.
class Fields {
public:
  explicit Fields(llvm::StringRef bytes) : rest(bytes) {}
  /// Moves to the next field; false at the end or on an error.
  bool next() {
    uint64_t key;
    if (rest.empty() || !varint(key))
      return false;
    number = uint32_t(key >> 3);
    wire = unsigned(key & 7);
    payload = {};
    if (wire == 0)
      return varint(value);
    size_t size = wire == 1 ? 8 : wire == 5 ? 4 : 0;
    if (wire == 2) {
      uint64_t length;
      if (!varint(length) || length > rest.size())
        return ok = false;
      size = size_t(length);
    } else if (!size) {
      return ok = false;
    }
    if (size > rest.size())
      return ok = false;
    payload = rest.take_front(size);
    rest = rest.drop_front(size);
    return true;
  }
  float asFloat() {
    if (wire != 5)
      ok = false;
    return wire == 5 ? std::bit_cast<float>(llvm::support::endian::read32le(payload.data())) : 0;
  }
  llvm::StringRef asBytes() {
    ok &= wire == 2;
    return payload;
  }
  uint64_t asNumber() {
    ok &= wire == 0;
    return wire == 0 ? value : 0;
  }

  uint32_t number = 0;
  bool ok = true;

private:
  bool varint(uint64_t &out) {
    out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest.empty())
        return ok = false;
      uint8_t byte = uint8_t(rest.front());
      rest = rest.drop_front();
      out |= uint64_t(byte & 0x7f) << shift;
      if (!(byte & 0x80))
        return true;
    }
    return ok = false;
  }
  llvm::StringRef rest, payload;
  uint64_t value = 0;
  unsigned wire = 0;
};

enum ModelType { Unigram = 1, Bpe = 2, Word = 3, Char = 4 };

struct Settings {
  uint64_t modelType = Unigram;
  bool byteFallback = false, whitespaceSuffix = false;
  int32_t unknown = 0, bos = 1, eos = 2, pad = -1;
  llvm::StringRef charsMap;
  std::string unknownSurface = " \xe2\x81\x87 ";
  bool dummyPrefix = true, removeExtra = true, escape = true;
};

bool readTrainer(llvm::StringRef bytes, Settings &settings) {
  Fields fields(bytes);
  while (fields.next()) {
    switch (fields.number) {
    case 3:
      settings.modelType = fields.asNumber();
      break;
    case 24:
      settings.whitespaceSuffix = fields.asNumber();
      break;
    case 35:
      settings.byteFallback = fields.asNumber();
      break;
    case 40:
      settings.unknown = int32_t(fields.asNumber());
      break;
    case 41:
      settings.bos = int32_t(fields.asNumber());
      break;
    case 42:
      settings.eos = int32_t(fields.asNumber());
      break;
    case 43:
      settings.pad = int32_t(fields.asNumber());
      break;
    case 44:
      settings.unknownSurface = fields.asBytes().str();
      break;
    }
  }
  return fields.ok;
}

bool readNormalizerSpec(llvm::StringRef bytes, Settings &settings) {
  Fields fields(bytes);
  while (fields.next()) {
    switch (fields.number) {
    case 2:
      settings.charsMap = fields.asBytes();
      break;
    case 3:
      settings.dummyPrefix = fields.asNumber();
      break;
    case 4:
      settings.removeExtra = fields.asNumber();
      break;
    case 5:
      settings.escape = fields.asNumber();
      break;
    }
  }
  return fields.ok;
}

} // namespace

llvm::Expected<TokenizerModel> readSentencePiece(llvm::StringRef file) {
  auto bytes = readWhole(file, 1 << 28);
  if (!bytes)
    return bytes.takeError();
  return parseSentencePiece(file, *bytes);
}

llvm::Expected<TokenizerModel> parseSentencePiece(llvm::StringRef file, llvm::StringRef bytes) {
  TokenizerModel model;
  model.file = file.str();
  Settings settings;
  auto broken = [&] { return sourceError(file, "not a SentencePiece model: a field does not fit"); };
  std::vector<int> types;
  Fields fields(bytes);
  double least = INFINITY, most = -INFINITY;
  while (fields.next()) {
    if (fields.number == 1) {
      Fields piece(fields.asBytes());
      TokenEntry token;
      token.present = true;
      int type = Normal;
      while (piece.next()) {
        if (piece.number == 1)
          token.text = piece.asBytes().str();
        else if (piece.number == 2)
          token.score = piece.asFloat();
        else if (piece.number == 3)
          type = int(piece.asNumber());
      }
      if (!piece.ok || !fields.ok)
        return broken();
      if (validUtf8(token.text) != token.text.size() || !std::isfinite(token.score))
        return sourceError(file, "piece " + llvm::Twine(model.tokens.size()) +
                                     ": its text is not UTF-8 or its score is no number");
      if (type == Normal) {
        least = std::min(least, token.score);
        most = std::max(most, token.score);
      }
      types.push_back(type);
      model.tokens.push_back(std::move(token));
    } else if (fields.number == 2 && !readTrainer(fields.asBytes(), settings)) {
      return broken();
    } else if (fields.number == 3 && !readNormalizerSpec(fields.asBytes(), settings)) {
      return broken();
    }
  }
  if (!fields.ok || model.tokens.empty())
    return broken();
  if (settings.modelType != Unigram && settings.modelType != Bpe)
    return sourceError(file,
                       "model_type " + llvm::Twine(settings.modelType) + " is not supported; unigram and bpe are");
  if (settings.whitespaceSuffix)
    return sourceError(file, "treat_whitespace_as_suffix is not supported");
  if (!settings.escape)
    return sourceError(file, "escape_whitespaces = false is not supported");
  bool unigram = settings.modelType == Unigram;
  model.kind = unigram ? fb::TokenizerKind::unigram : fb::TokenizerKind::char_bpe;
  if (settings.byteFallback)
    model.byteTokens.assign(256, noId);
  for (size_t id = 0; id < model.tokens.size(); ++id) {
    TokenEntry &token = model.tokens[id];
    token.decoded = withSpaces(token.text);
    token.mergeable = types[id] == Normal || types[id] == UserDefined;
    token.special = types[id] == Control;
    if (types[id] == Unknown) {
      model.unknown = uint32_t(id);
      token.decoded = settings.unknownSurface;
    }
    if (types[id] == Control || types[id] == UserDefined || types[id] == Unknown) {
      // User-defined pieces are found in the normalized text, the others only where the caller asks.
      bool user = types[id] == UserDefined;
      token.added = true;
      AddedEntry added{uint32_t(id), token.text, !user, false, false, false, user};
      if (!token.text.empty())
        model.added.push_back(std::move(added));
      // As SentencePiece scores them: a user-defined piece beats any path of others.
      if (user && unigram)
        token.score = float(double(token.text.size()) * most - 0.1);
    } else if (types[id] == Byte) {
      auto byte = byteOfToken(token.text);
      if (!byte)
        return sourceError(file, "byte piece \"" + token.text + "\" is not of the form <0xNN>");
      token.decoded = std::string(1, char(*byte));
      token.byte = true;
      if (settings.byteFallback)
        model.byteTokens[*byte] = uint32_t(id);
    }
  }
  if (unigram) {
    model.singlePrecision = true;
    model.unknownScore = least - 10;
  } else if (auto error = scoreMerges(model)) {
    return std::move(error);
  }
  model.fuseUnknown = true;
  for (size_t id = 0; !unigram && id < model.tokens.size(); ++id)
    if (types[id] == Unused)
      return sourceError(file, "the unused piece " + llvm::Twine(id) + " in a bpe model is not supported");
  if (!settings.charsMap.empty()) {
    auto map = readCharsMap(file, settings.charsMap);
    if (!map)
      return map.takeError();
    if (!map->replacements.empty())
      model.normalizer.push_back(std::move(*map));
  }
  auto step = [&](fb::TransformOp op, llvm::StringRef text, llvm::StringRef find) {
    TransformStep made;
    made.op = op;
    made.text = text.str();
    made.find = find.str();
    made.firstOnly = op == fb::TransformOp::prepend;
    model.normalizer.push_back(std::move(made));
  };
  if (settings.removeExtra)
    step(fb::TransformOp::collapse_spaces, "", "");
  if (settings.dummyPrefix) {
    step(fb::TransformOp::prepend, " ", "");
    model.stripLeading = 1;
  }
  step(fb::TransformOp::replace, metaspace, " ");
  auto known = [&](int32_t id) { return id >= 0 && size_t(id) < model.tokens.size() ? uint32_t(id) : noId; };
  model.bos = known(settings.bos);
  model.eos = known(settings.eos);
  model.pad = known(settings.pad);
  if (model.bos != noId)
    model.prefix.push_back(model.bos);
  if (model.eos != noId)
    model.endTokens.push_back(model.eos);
  return std::move(model);
}

} // namespace mlc
