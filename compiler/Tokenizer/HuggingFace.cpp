//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A Hugging Face directory: which tokenizer file it has, and what the files beside it add.
//
#include "compiler/Tokenizer/SourceParts.h"
#include "compiler/Tokenizer/TableParts.h"
#include "runtime/llm/tokenizer/ByteAlphabet.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using nlohmann::json;

namespace mlc {
namespace {

std::string pathOf(llvm::StringRef directory, llvm::StringRef name) {
  llvm::SmallString<256> path(directory);
  llvm::sys::path::append(path, name);
  return path.str().str();
}

bool has(llvm::StringRef directory, llvm::StringRef name) { return llvm::sys::fs::exists(pathOf(directory, name)); }

/// The JSON of a file of the directory; null when there is no such file.
llvm::Expected<json> readJson(llvm::StringRef directory, llvm::StringRef name) {
  if (!has(directory, name))
    return json();
  std::string file = pathOf(directory, name);
  auto text = readWhole(file);
  if (!text)
    return text.takeError();
  return parseJson(file, *text);
}

/// A token of tokenizer_config.json: its text, or an object with its content.
std::string tokenText(const json &config, const char *key) {
  const json *value = memberOf(config, key);
  if (value && value->is_object())
    return stringOf(memberOf(*value, "content"));
  return stringOf(value);
}

uint32_t idOfToken(const TokenizerModel &model, llvm::StringRef text) {
  if (text.empty())
    return noId;
  for (const AddedEntry &added : model.added)
    if (added.text == text)
      return added.token;
  for (size_t id = 0; id < model.tokens.size(); ++id)
    if (model.tokens[id].present && model.tokens[id].text == text)
      return uint32_t(id);
  return noId;
}

/// An entry of tokenizer.json's added_tokens.
json addedToken(uint64_t id, llvm::StringRef text, bool special) {
  return json{{"id", id},        {"content", text.str()}, {"special", special}, {"lstrip", false},
              {"rstrip", false}, {"single_word", false},  {"normalized", false}};
}

/// vocab.json and merges.txt say nothing of pre-tokenizer and normalizer; the class in tokenizer_config.json does. The
/// answer is the tokenizer.json that stands for them.
llvm::Expected<json> composeJson(llvm::StringRef directory, const json &config) {
  std::string file = pathOf(directory, "vocab.json");
  auto vocab = readJson(directory, "vocab.json");
  if (!vocab)
    return vocab.takeError();
  std::string mergesFile = pathOf(directory, "merges.txt");
  auto merges = readWhole(mergesFile);
  if (!merges)
    return merges.takeError();
  json rules = json::array();
  llvm::SmallVector<llvm::StringRef> lines;
  llvm::StringRef(*merges).split(lines, '\n');
  for (size_t i = 0; i < lines.size(); ++i) {
    llvm::StringRef line = lines[i].rtrim('\r');
    if (line.empty() || (i == 0 && line.starts_with("#version")))
      continue;
    if (line.count(' ') != 1)
      return sourceError(mergesFile, "line " + llvm::Twine(i + 1) + " is not two tokens with a space between");
    auto [left, right] = line.split(' ');
    rules.push_back(json::array({left.str(), right.str()}));
  }
  std::string name = stringOf(memberOf(config, "tokenizer_class"), "GPT2Tokenizer");
  llvm::StringRef family = name;
  family.consume_back("Fast");
  json steps = json::array(), normalizer;
  if (family == "Qwen2Tokenizer") {
    steps.push_back(json{
        {"type", "Split"}, {"pattern", {{"Regex", patterns::qwen2}}}, {"behavior", "Isolated"}, {"invert", false}});
    normalizer = {{"type", "NFC"}};
  } else if (family != "GPT2Tokenizer") {
    return sourceError(file, "tokenizer_class " + name +
                                 " without a tokenizer.json is not supported; save the tokenizer with tokenizer.json");
  }
  steps.push_back(json{{"type", "ByteLevel"},
                       {"add_prefix_space", boolOf(memberOf(config, "add_prefix_space"), false)},
                       {"trim_offsets", false},
                       {"use_regex", family == "GPT2Tokenizer"}});
  json added = json::array();
  std::vector<std::string> seen;
  auto add = [&](const json &id, llvm::StringRef text, bool special) {
    if (text.empty() || llvm::is_contained(seen, text))
      return;
    seen.push_back(text.str());
    added.push_back(addedToken(id.is_number_unsigned() ? id.get<uint64_t>() : 0, text, special));
  };
  if (const json *table = memberOf(config, "added_tokens_decoder"); table && table->is_object())
    for (auto at = table->begin(); at != table->end(); ++at) {
      uint64_t id;
      if (llvm::StringRef(at.key()).getAsInteger(10, id) || !at->is_object())
        return sourceError(pathOf(directory, "tokenizer_config.json"),
                           "added_tokens_decoder: \"" + at.key() + "\" is no token id");
      json item = *at;
      item["id"] = id;
      seen.push_back(stringOf(memberOf(item, "content")));
      added.push_back(std::move(item));
    }
  auto more = readJson(directory, "added_tokens.json");
  if (!more)
    return more.takeError();
  if (more->is_object())
    for (auto at = more->begin(); at != more->end(); ++at)
      add(*at, at.key(), true);
  // The class's own special tokens, where the vocabulary holds them.
  for (const char *key : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
    std::string text = tokenText(config, key);
    if (const json *id = text.empty() ? nullptr : memberOf(*vocab, text.c_str()))
      add(*id, text, true);
  }
  return json{{"normalizer", normalizer},
              {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", steps}}},
              {"decoder", {{"type", "ByteLevel"}}},
              {"added_tokens", added},
              {"model", {{"type", "BPE"}, {"vocab", *vocab}, {"merges", rules}}}};
}

/// BOS, EOS, chat template and the add_bos_token, add_eos_token rules.
llvm::Error applyConfig(llvm::StringRef directory, const json &config, TokenizerModel &model) {
  if (config.is_object()) {
    for (auto [key, id] :
         {std::pair("bos_token", &model.bos), std::pair("eos_token", &model.eos), std::pair("pad_token", &model.pad)})
      if (uint32_t known = idOfToken(model, tokenText(config, key)); known != noId)
        *id = known;
    std::string name = stringOf(memberOf(config, "tokenizer_class"));
    // The Llama family rebuilds its template from these two, so they hold even against tokenizer.json.
    bool rebuilds = llvm::StringRef(name).starts_with("Llama") || llvm::StringRef(name).starts_with("CodeLlama");
    auto rule = [&](const char *key, uint32_t id, std::vector<uint32_t> &list) {
      const json *value = memberOf(config, key);
      if (!value || !value->is_boolean() || id == noId)
        return;
      if (value->get<bool>() && !llvm::is_contained(list, id))
        list.push_back(id);
      else if (!value->get<bool>() && rebuilds)
        llvm::erase(list, id);
    };
    rule("add_bos_token", model.bos, model.prefix);
    rule("add_eos_token", model.eos, model.suffix);
    if (const json *chat = memberOf(config, "chat_template")) {
      if (chat->is_array()) {
        for (const json &item : *chat) {
          std::string kind = stringOf(memberOf(item, "name")), text = stringOf(memberOf(item, "template"));
          if (kind == "default")
            model.chatTemplate = std::move(text);
          else if (!kind.empty() && !text.empty())
            model.namedTemplates.emplace_back(std::move(kind), std::move(text));
        }
      } else {
        model.chatTemplate = stringOf(chat);
      }
    }
  }
  if (has(directory, "chat_template.jinja")) {
    auto text = readWhole(pathOf(directory, "chat_template.jinja"), 1 << 24);
    if (!text)
      return text.takeError();
    model.chatTemplate = std::move(*text);
  }
  if (model.eos != noId && !llvm::is_contained(model.endTokens, model.eos))
    model.endTokens.push_back(model.eos);
  return llvm::Error::success();
}

} // namespace

bool hasHuggingFaceTokenizer(llvm::StringRef directory) {
  return has(directory, "tokenizer.json") || (has(directory, "vocab.json") && has(directory, "merges.txt")) ||
         has(directory, "tokenizer.model");
}

llvm::Expected<TokenizerModel> readHuggingFaceTokenizer(llvm::StringRef directory) {
  auto config = readJson(directory, "tokenizer_config.json");
  if (!config)
    return config.takeError();
  // GPT-2's class names its tokens itself.
  if (config->is_null() && !has(directory, "tokenizer.json") && has(directory, "vocab.json"))
    *config = {{"bos_token", "<|endoftext|>"}, {"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}};
  auto read = [&]() -> llvm::Expected<TokenizerModel> {
    if (has(directory, "tokenizer.json")) {
      std::string file = pathOf(directory, "tokenizer.json");
      auto text = readWhole(file);
      if (!text)
        return text.takeError();
      return readTokenizerJson(file, *text);
    }
    if (has(directory, "vocab.json") && has(directory, "merges.txt")) {
      auto document = composeJson(directory, *config);
      if (!document)
        return document.takeError();
      return readTokenizerJson(pathOf(directory, "vocab.json"), document->dump());
    }
    if (has(directory, "tokenizer.model"))
      return readSentencePiece(pathOf(directory, "tokenizer.model"));
    return sourceError(directory, "no tokenizer.json, vocab.json with merges.txt, or tokenizer.model");
  };
  auto model = read();
  if (!model)
    return model;
  if (auto error = applyConfig(directory, *config, *model))
    return std::move(error);
  return model;
}

} // namespace mlc
