//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Tokenizer/SourceParts.h"

#include "compiler/Support/Text.h"
#include "compiler/Tokenizer/TableParts.h"
#include "runtime/llm/tokenizer/Utf8.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/MemoryBuffer.h"

#include <algorithm>
#include <map>

using nlohmann::json;

namespace mlc {
namespace patterns {
const char *const gpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const char *const llama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const char *const qwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const char *const asciiPunctuation = R"([!-/:-@\[-`{-~\p{P}])";
} // namespace patterns

std::optional<NamedPreTokenizer> namedPreTokenizer(llvm::StringRef name) {
  auto split = [](const char *pattern) { return SplitStep{pattern, fb::SplitBehavior::isolated, false, false, false}; };
  NamedPreTokenizer result;
  auto is = [&](std::initializer_list<llvm::StringRef> names) { return llvm::is_contained(names, name); };
  if (is({"gpt-2", "gpt2", "mpt", "olmo", "jais", "phi-2", "gigachat", "trillion", "granite-docling"})) {
    result.splits = {split(patterns::gpt2)};
  } else if (is({"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral"})) {
    result.splits = {split(patterns::llama3)};
    result.ignoreMerges = result.addBos = true;
  } else if (is({"dbrx", "smaug-bpe"})) {
    result.splits = {split(patterns::llama3)};
  } else if (is({"qwen2", "deepseek-r1-qwen", "megrez", "stablelm2"})) {
    result.splits = {split(patterns::qwen2)};
    result.nfc = name == "qwen2" || name == "deepseek-r1-qwen";
  } else if (is({"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "granite"})) {
    result.splits = {split(R"(\p{N})"), split(patterns::gpt2)};
  } else if (is({"falcon"})) {
    result.splits = {split(R"([\p{P}\$\+<=>\^~\|`]+)"), split(patterns::gpt2), split("[0-9][0-9][0-9]")};
  } else if (is({"default"})) {
    result.splits = {split(R"([\p{P}\$\+<=>\^~\|]+)"), split(patterns::gpt2), split(R"(\p{N}+)"),
                     split("[0-9][0-9][0-9]")};
  } else if (is({"deepseek-llm"})) {
    result.splits = {
        split(R"([\r\n])"),
        split(
            R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\x{1f7d}ᾀ-ᾴᾶ-ᾼ\x{1fbe}ῂ-ῄῆ-ῌῐ-\x{1fd3}ῖ-\x{1fdb}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\x{2126}ℨ\x{212a}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)"),
        split(R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)"),
        split(R"(\s+$)"),
        split(R"([一-龥ࠀ-一가-퟿]+)"),
        split(R"(\p{N}+)")};
    result.addBos = true;
  } else if (is({"deepseek-coder"})) {
    result.splits = {split(R"([\r\n])"), split(R"(\s?\p{L}+)"), split(R"(\s?\p{P}+)"),
                     split(R"([一-龥ࠀ-一가-퟿]+)"), split(R"(\p{N})")};
    result.addBos = true;
  } else if (is({"deepseek-v3", "deepseek-r1", "hunyuan-dense"})) {
    result.splits = {
        split(R"(\p{N}{1,3})"), split(R"([一-龥぀-ゟ゠-ヿ]+)"),
        split(
            R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)")};
    result.addBos = true;
  } else if (is({"gpt-4o", "llama4"})) {
    result.splits = {split(
        R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)")};
  } else {
    return std::nullopt;
  }
  return result;
}

llvm::Error sourceError(llvm::StringRef file, const llvm::Twine &what) {
  return llvm::createStringError("%s: %s", file.str().c_str(), oneLine(what.str()).c_str());
}

const json *memberOf(const json &object, const char *key) {
  if (!object.is_object())
    return nullptr;
  auto at = object.find(key);
  return at == object.end() || at->is_null() ? nullptr : &*at;
}

std::string stringOf(const json *value, llvm::StringRef fallback) {
  return value && value->is_string() ? value->get_ref<const std::string &>() : fallback.str();
}

bool boolOf(const json *value, bool fallback) { return value && value->is_boolean() ? value->get<bool>() : fallback; }

llvm::Error checkMembers(llvm::StringRef file, llvm::StringRef where, const json &object,
                         llvm::ArrayRef<llvm::StringRef> known) {
  if (!object.is_object())
    return sourceError(file, where + " is not an object");
  for (auto at = object.begin(); at != object.end(); ++at)
    if (!llvm::is_contained(known, at.key()))
      return sourceError(file, where + ": the member \"" + at.key() + "\" is not supported");
  return llvm::Error::success();
}

std::optional<uint8_t> byteOfToken(llvm::StringRef text) {
  uint8_t byte;
  if (text.size() != 6 || !text.starts_with("<0x") || !text.ends_with(">") || text.substr(3, 2).getAsInteger(16, byte))
    return std::nullopt;
  return byte;
}

std::string withSpaces(llvm::StringRef text) {
  std::string result;
  while (!text.empty()) {
    bool space = text.consume_front(metaspace);
    result += space ? ' ' : text.front();
    if (!space)
      text = text.drop_front();
  }
  return result;
}

llvm::Expected<TransformStep> readCharsMap(llvm::StringRef file, llvm::StringRef blob) {
  auto bad = [&](const char *what) { return sourceError(file, llvm::Twine("precompiled_charsmap: ") + what); };
  auto word = [&](size_t at) {
    return uint32_t(uint8_t(blob[at])) | uint32_t(uint8_t(blob[at + 1])) << 8 | uint32_t(uint8_t(blob[at + 2])) << 16 |
           uint32_t(uint8_t(blob[at + 3])) << 24;
  };
  TransformStep step;
  step.op = fb::TransformOp::string_map;
  if (blob.size() < 4)
    return bad("shorter than its header");
  size_t trieBytes = word(0);
  if (trieBytes % 4 || trieBytes > blob.size() - 4 || trieBytes < 4)
    return bad("its trie does not fit");
  llvm::StringRef pool = blob.drop_front(4 + trieBytes);
  size_t units = trieBytes / 4;
  auto unit = [&](size_t i) { return word(4 + i * 4); };
  auto offsetOf = [](uint32_t value) { return (value >> 10) << ((value & (1u << 9)) >> 6); };
  // Depth first over a darts-clone double array. Tails may be shared, so the walk is bounded by what it visits.
  struct Visit {
    size_t node;
    std::string key;
  };
  size_t visits = 0;
  std::vector<Visit> work{{0, ""}};
  while (!work.empty()) {
    if (++visits > (1 << 21))
      return bad("more than 2^21 prefixes");
    Visit visit = std::move(work.back());
    work.pop_back();
    uint32_t here = unit(visit.node);
    if (!visit.key.empty() && (here >> 8 & 1)) {
      size_t leaf = visit.node ^ offsetOf(here);
      size_t at = leaf < units ? unit(leaf) & 0x7fffffff : pool.size();
      size_t end = at < pool.size() ? pool.find('\0', at) : pool.npos;
      if (end == pool.npos)
        return bad("a replacement lies outside");
      step.replacements.push_back({visit.key, pool.slice(at, end).str()});
    }
    for (uint32_t label = 255; label; --label) {
      size_t child = visit.node ^ offsetOf(here) ^ label;
      if (child >= units || (unit(child) & (0x80000000u | 0xff)) != label)
        continue;
      if (visit.key.size() >= 256)
        return bad("a key of more than 256 bytes");
      work.push_back({child, visit.key + char(label)});
    }
  }
  for (const auto &[key, value] : step.replacements)
    if (validUtf8(key) != key.size() || validUtf8(value) != value.size())
      return bad("a key or replacement is not UTF-8");
  return step;
}

llvm::Error scoreMerges(TokenizerModel &model) {
  llvm::StringMap<uint32_t> ids;
  std::map<uint32_t, uint32_t> extra;
  for (size_t id = 0; id < model.tokens.size(); ++id)
    if (model.tokens[id].mergeable && model.tokens[id].present)
      ids.try_emplace(model.tokens[id].text, uint32_t(id));
  // Equal scores share a rank: the leftmost pair then goes first.
  std::vector<double> scores;
  for (const TokenEntry &token : model.tokens)
    scores.push_back(token.score);
  llvm::sort(scores, std::greater<double>());
  scores.erase(llvm::unique(scores), scores.end());
  auto rankOf = [&](double score) {
    return uint32_t(std::lower_bound(scores.begin(), scores.end(), score, std::greater<double>()) - scores.begin());
  };
  auto symbol = [&](llvm::StringRef text) -> std::optional<uint32_t> {
    auto known = ids.find(text);
    if (known != ids.end())
      return known->second;
    // A character that is no token may still begin a longer one.
    std::vector<uint32_t> codes = codesOf(text);
    if (codes.size() != 1)
      return std::nullopt;
    auto [at, fresh] = extra.try_emplace(codes[0], uint32_t(model.tokens.size() + model.extraChars.size()));
    if (fresh)
      model.extraChars.push_back(codes[0]);
    return at->second;
  };
  size_t count = model.tokens.size();
  for (size_t id = 0; id < count; ++id) {
    const TokenEntry &token = model.tokens[id];
    if (!token.present || !token.mergeable)
      continue;
    llvm::StringRef text = token.text;
    for (size_t cut = 1; cut < text.size(); ++cut) {
      if ((uint8_t(text[cut]) & 0xc0) == 0x80)
        continue;
      auto left = symbol(text.take_front(cut)), right = symbol(text.drop_front(cut));
      if (left && right)
        model.merges.push_back({*left, *right, uint32_t(id), rankOf(token.score)});
    }
  }
  return llvm::Error::success();
}

llvm::Expected<std::string> readWhole(llvm::StringRef file, uint64_t limit) {
  auto buffer = llvm::MemoryBuffer::getFile(file, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return sourceError(file, "cannot be read: " + buffer.getError().message());
  if ((*buffer)->getBufferSize() > limit)
    return sourceError(file, "larger than " + llvm::Twine(limit) + " bytes; is it the right file?");
  return (*buffer)->getBuffer().str();
}

} // namespace mlc
