//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// tokenizer.json: vocabulary, merges, added tokens and the template around a text.
//
#include "compiler/Tokenizer/SourceParts.h"
#include "compiler/Tokenizer/TableParts.h"
#include "runtime/llm/tokenizer/ByteAlphabet.h"

#include "llvm/ADT/StringMap.h"

#include <cmath>

using nlohmann::json;

namespace mlc {
namespace {

constexpr uint64_t maxTokens = 1 << 26;

class Reader {
public:
  Reader(llvm::StringRef file, const json &root) : file(file), root(root) { model.file = file.str(); }
  llvm::Expected<TokenizerModel> run();

private:
  llvm::Error fail(const llvm::Twine &what) { return sourceError(file, what); }
  llvm::Error vocabulary(const json &source);
  llvm::Error merges(const json &source);
  llvm::Error unigram(const json &source);
  llvm::Error bpe(const json &source);
  llvm::Error addedTokens();
  llvm::Error postProcessor(const json &step, unsigned depth);
  llvm::Error templateOf(const json &step);
  TokenEntry &entry(uint32_t id) {
    if (id >= model.tokens.size())
      model.tokens.resize(id + 1);
    return model.tokens[id];
  }
  std::optional<uint32_t> idOf(llvm::StringRef text) {
    auto at = ids.find(text);
    return at == ids.end() ? std::nullopt : std::optional<uint32_t>(at->second);
  }
  llvm::Error put(llvm::StringRef text, uint64_t id);

  llvm::StringRef file;
  const json &root;
  uint64_t idLimit = 0; // Ids far apart would make a small file a huge table.
  bool byteLevel = false;
  llvm::StringMap<uint32_t> ids; // By the text as the file spells it.
  TokenizerModel model;
};

llvm::Error Reader::put(llvm::StringRef text, uint64_t id) {
  if (id >= idLimit)
    return fail("vocab: id " + llvm::Twine(id) + " of \"" + text + "\" is far beyond the number of tokens");
  if (entry(uint32_t(id)).present)
    return fail("vocab: two tokens have id " + llvm::Twine(id));
  TokenEntry &token = entry(uint32_t(id));
  token.present = true;
  std::optional<std::string> bytes = byteLevel ? bytesOfAlphabet(text) : text.str();
  token.text = bytes.value_or(text.str());
  token.mergeable = bytes.has_value();
  // A Unigram list may hold a text twice; the library uses the last one.
  if (auto earlier = idOf(text))
    model.tokens[*earlier].mergeable = false;
  ids[text] = uint32_t(id);
  return llvm::Error::success();
}

llvm::Error Reader::vocabulary(const json &source) {
  const json *vocab = memberOf(source, "vocab");
  if (!vocab || !vocab->is_object())
    return fail("model: vocab is not an object");
  for (auto at = vocab->begin(); at != vocab->end(); ++at) {
    if (!at->is_number_unsigned())
      return fail("vocab: the id of \"" + at.key() + "\" is not a number");
    if (auto error = put(at.key(), at->get<uint64_t>()))
      return error;
  }
  return llvm::Error::success();
}

llvm::Error Reader::merges(const json &source) {
  const json *list = memberOf(source, "merges");
  if (!list || !list->is_array())
    return fail("model: merges is not a list");
  for (const json &rule : *list) {
    std::string left, right;
    if (rule.is_string()) {
      std::tie(left, right) = std::pair<std::string, std::string>(llvm::StringRef(stringOf(&rule)).split(' '));
    } else if (rule.is_array() && rule.size() == 2) {
      left = stringOf(&rule[0]);
      right = stringOf(&rule[1]);
    }
    auto a = idOf(left), b = idOf(right), both = idOf(left + right);
    if (!a || !b || !both)
      return fail("merges: rule " + llvm::Twine(model.merges.size()) + " (\"" + left + "\", \"" + right +
                  "\") names a token that is not in vocab");
    model.merges.push_back({*a, *b, *both, uint32_t(model.merges.size())});
  }
  return llvm::Error::success();
}

llvm::Error Reader::bpe(const json &source) {
  if (auto error = checkMembers(file, "model BPE", source,
                                {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                                 "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"}))
    return error;
  if (const json *dropout = memberOf(source, "dropout"); dropout && *dropout != 0)
    return fail("model BPE: dropout is not supported");
  for (const char *affix : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!stringOf(memberOf(source, affix)).empty())
      return fail(llvm::Twine("model BPE: ") + affix + " is not supported");
  model.kind = byteLevel ? fb::TokenizerKind::byte_bpe : fb::TokenizerKind::char_bpe;
  if (auto error = vocabulary(source))
    return error;
  if (auto error = merges(source))
    return error;
  model.ignoreMerges = boolOf(memberOf(source, "ignore_merges"), false);
  model.fuseUnknown = boolOf(memberOf(source, "fuse_unk"), false);
  if (const json *unknown = memberOf(source, "unk_token")) {
    auto id = idOf(stringOf(unknown));
    if (!id && !stringOf(unknown).empty())
      return fail("model BPE: unk_token \"" + stringOf(unknown) + "\" is not in vocab");
    model.unknown = id.value_or(noId);
  }
  if (byteLevel) {
    for (uint16_t code : byteAlphabet)
      model.byteTokens.push_back(idOf(utf8Of(code)).value_or(noId));
    return llvm::Error::success();
  }
  if (model.unknown != noId)
    model.tokens[model.unknown].mergeable = false;
  if (!boolOf(memberOf(source, "byte_fallback"), false))
    return llvm::Error::success();
  for (unsigned byte = 0; byte < 256; ++byte) {
    char name[8];
    snprintf(name, sizeof name, "<0x%02X>", byte);
    model.byteTokens.push_back(idOf(name).value_or(noId));
    if (model.byteTokens.back() != noId)
      model.tokens[model.byteTokens.back()].mergeable = false;
  }
  return llvm::Error::success();
}

llvm::Error Reader::unigram(const json &source) {
  if (auto error = checkMembers(file, "model Unigram", source, {"type", "unk_id", "vocab", "byte_fallback"}))
    return error;
  if (byteLevel)
    return fail("model Unigram with a ByteLevel pre_tokenizer is not supported");
  model.kind = fb::TokenizerKind::unigram;
  const json *vocab = memberOf(source, "vocab");
  if (!vocab || !vocab->is_array() || vocab->size() >= maxTokens)
    return fail("model Unigram: vocab is not a list");
  double least = INFINITY;
  for (const json &item : *vocab) {
    if (!item.is_array() || item.size() != 2 || !item[0].is_string() || !item[1].is_number())
      return fail("model Unigram: vocab holds something other than [token, score]");
    uint32_t id = uint32_t(model.tokens.size());
    if (auto error = put(stringOf(&item[0]), id))
      return error;
    model.tokens[id].score = item[1].get<double>();
    least = std::min(least, model.tokens[id].score);
  }
  model.unknownScore = least - 10;
  model.fuseUnknown = true;
  if (const json *unknown = memberOf(source, "unk_id")) {
    if (!unknown->is_number_unsigned() || unknown->get<uint64_t>() >= model.tokens.size())
      return fail("model Unigram: unk_id is not a token");
    model.unknown = unknown->get<uint32_t>();
    model.tokens[model.unknown].mergeable = false;
  }
  if (boolOf(memberOf(source, "byte_fallback"), false))
    for (unsigned byte = 0; byte < 256; ++byte) {
      char name[8];
      snprintf(name, sizeof name, "<0x%02X>", byte);
      model.byteTokens.push_back(idOf(name).value_or(noId));
      if (model.byteTokens.back() != noId)
        model.tokens[model.byteTokens.back()].mergeable = false;
    }
  return llvm::Error::success();
}

llvm::Error Reader::addedTokens() {
  const json *list = memberOf(root, "added_tokens");
  if (!list)
    return llvm::Error::success();
  if (!list->is_array())
    return fail("added_tokens is not a list");
  for (const json &item : *list) {
    if (auto error = checkMembers(file, "added_tokens", item,
                                  {"id", "content", "special", "lstrip", "rstrip", "single_word", "normalized"}))
      return error;
    const json *id = memberOf(item, "id"), *content = memberOf(item, "content");
    if (!id || !id->is_number_unsigned() || id->get<uint64_t>() >= idLimit || !content || !content->is_string())
      return fail("added_tokens: an entry without a content or an id near the other tokens'");
    AddedEntry added;
    added.token = id->get<uint32_t>();
    added.text = stringOf(content);
    added.special = boolOf(memberOf(item, "special"), false);
    added.leftStrip = boolOf(memberOf(item, "lstrip"), false);
    added.rightStrip = boolOf(memberOf(item, "rstrip"), false);
    added.singleWord = boolOf(memberOf(item, "single_word"), false);
    added.normalized = boolOf(memberOf(item, "normalized"), !added.special);
    if (added.text.empty())
      continue;
    // A token that the vocabulary holds keeps the vocabulary's id.
    if (auto known = idOf(added.text))
      added.token = *known;
    else
      ids.try_emplace(added.text, added.token);
    TokenEntry &token = entry(added.token);
    if (token.present && !idOf(added.text))
      return fail("added_tokens: id " + llvm::Twine(added.token) + " is taken");
    token.present = token.added = true;
    token.text = added.text;
    token.special = added.special;
    if (added.special)
      token.mergeable = false;
    model.added.push_back(std::move(added));
  }
  return llvm::Error::success();
}

llvm::Error Reader::templateOf(const json &step) {
  const json *single = memberOf(step, "single"), *table = memberOf(step, "special_tokens");
  if (!single || !single->is_array())
    return fail("post_processor TemplateProcessing: no list \"single\"");
  bool behind = false;
  for (const json &item : *single) {
    if (memberOf(item, "Sequence")) {
      if (std::exchange(behind, true))
        return fail("post_processor TemplateProcessing: the sequence stands twice in \"single\"");
      continue;
    }
    const json *special = memberOf(item, "SpecialToken");
    std::string name = special ? stringOf(memberOf(*special, "id")) : "";
    const json *known = table ? memberOf(*table, name.c_str()) : nullptr;
    const json *list = known ? memberOf(*known, "ids") : nullptr;
    if (!list || !list->is_array())
      return fail("post_processor TemplateProcessing: the special token \"" + name + "\" has no ids");
    for (const json &id : *list) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() >= model.tokens.size())
        return fail("post_processor TemplateProcessing: an id of \"" + name + "\" is no token");
      (behind ? model.suffix : model.prefix).push_back(id.get<uint32_t>());
    }
  }
  return behind ? llvm::Error::success() : fail("post_processor TemplateProcessing: \"single\" holds no sequence");
}

llvm::Error Reader::postProcessor(const json &step, unsigned depth) {
  std::string type = stringOf(memberOf(step, "type"));
  if (type == "ByteLevel") // Only changes offsets.
    return llvm::Error::success();
  if (type == "Sequence") {
    const json *list = memberOf(step, "processors");
    if (!list || !list->is_array() || depth > 8)
      return fail("post_processor Sequence: no list of processors, or nested too deep");
    for (const json &inner : *list)
      if (auto error = postProcessor(inner, depth + 1))
        return error;
    return llvm::Error::success();
  }
  if (!model.prefix.empty() || !model.suffix.empty())
    return fail("post_processor: two steps that add tokens are not supported");
  if (type == "TemplateProcessing")
    return templateOf(step);
  if (type == "RobertaProcessing" || type == "BertProcessing") {
    for (auto [name, list] : {std::pair("cls", &model.prefix), std::pair("sep", &model.suffix)}) {
      const json *pair = memberOf(step, name);
      if (!pair || !pair->is_array() || pair->size() != 2 || !(*pair)[1].is_number_unsigned() ||
          (*pair)[1].get<uint64_t>() >= model.tokens.size())
        return fail("post_processor " + type + ": \"" + name + "\" is not [token, id]");
      list->push_back((*pair)[1].get<uint32_t>());
    }
    return llvm::Error::success();
  }
  return fail("post_processor \"" + type + "\" is not supported");
}

llvm::Expected<TokenizerModel> Reader::run() {
  if (auto error = checkMembers(file, "the document", root,
                                {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                                 "post_processor", "decoder", "model"}))
    return std::move(error);
  if (const json *normalizer = memberOf(root, "normalizer"))
    if (auto error = readNormalizer(file, *normalizer, model.normalizer))
      return std::move(error);
  if (const json *step = memberOf(root, "pre_tokenizer"))
    if (auto error = readPreTokenizer(file, *step, model.stages, byteLevel))
      return std::move(error);
  const json *source = memberOf(root, "model");
  if (!source)
    return fail("no \"model\"");
  std::string type = stringOf(memberOf(*source, "type"));
  if (type.empty() && memberOf(*source, "merges"))
    type = "BPE";
  if (type != "BPE" && type != "Unigram")
    return fail("model \"" + type + "\" is not supported; BPE and Unigram are");
  size_t entries = 0;
  for (const json *list : {memberOf(*source, "vocab"), memberOf(root, "added_tokens")})
    entries += list ? list->size() : 0;
  idLimit = std::min<uint64_t>(maxTokens, entries * 4 + (1 << 16));
  if (auto error = type == "BPE" ? bpe(*source) : unigram(*source))
    return std::move(error);
  if (auto error = addedTokens())
    return std::move(error);
  if (const json *step = memberOf(root, "post_processor"))
    if (auto error = postProcessor(*step, 0))
      return std::move(error);
  if (auto error = readDecoder(file, memberOf(root, "decoder"), model))
    return std::move(error);
  return std::move(model);
}

} // namespace

llvm::Expected<TokenizerModel> readTokenizerJson(llvm::StringRef file, llvm::StringRef text) {
  auto root = parseJson(file, text);
  if (!root)
    return root.takeError();
  return Reader(file, *root).run();
}

} // namespace mlc
