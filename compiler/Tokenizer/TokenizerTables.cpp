//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Tokenizer/Pattern.h"
#include "compiler/Tokenizer/SourceParts.h"
#include "compiler/Tokenizer/TableParts.h"
#include "compiler/Tokenizer/TokenizerModel.h"
#include "runtime/llm/tokenizer/ByteAlphabet.h"
#include "runtime/llm/tokenizer/PieceModel.h"
#include "runtime/llm/tokenizer/Tokenizer.h"
#include "runtime/llm/tokenizer/Transform.h"
#include "runtime/llm/tokenizer/Utf8.h"

#include "llvm/ADT/STLExtras.h"

#include <set>

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

namespace mlc {
namespace {

/// What can be known only by running the tables: filled in by a first round without it.
struct Learned {
  std::vector<bool> whole;             // Per token: its text encodes to itself.
  std::vector<std::string> addedTexts; // Per added token: its text as normalized.
};

size_t tableSlots(size_t entries) {
  size_t slots = 4;
  while (slots < entries + entries / 2)
    slots *= 2;
  return slots;
}

llvm::Error fail(const TokenizerModel &model, const llvm::Twine &what) {
  return sourceError(model.file, "tokenizer: " + what);
}

class TableBuilder {
public:
  TableBuilder(FlatBufferBuilder &builder, const TokenizerModel &model, uint64_t modelVocab, const Learned *learned)
      : builder(builder), model(model), learned(learned), vocab(std::max<uint64_t>(model.tokens.size(), modelVocab)) {}

  llvm::Expected<Offset<fb::Tokenizer>> run();

private:
  llvm::Error check();
  llvm::Error pattern(llvm::StringRef text, bool rustWords, bool byteMapped, uint32_t &index);
  llvm::Error patterns();
  Offset<fb::Transform> transform(const TransformStep &step);
  std::vector<fb::WordSlot> words();
  std::vector<fb::PairSlot> pairs();
  std::vector<fb::CharSlot> chars();
  std::vector<uint64_t> joins();
  std::vector<fb::TrieNode> unigramTrie();
  std::vector<fb::TrieNode> addedTrie(bool normalized);
  uint32_t form(const std::string &name);
  Offset<flatbuffers::Vector<uint8_t>> bytes(llvm::StringRef text) {
    return builder.CreateVector(reinterpret_cast<const uint8_t *>(text.data()), text.size());
  }
  template <typename T> auto structs(const std::vector<T> &list) {
    return list.empty() ? 0 : builder.CreateVectorOfStructs(list);
  }
  template <typename T> auto scalars(const std::vector<T> &list) {
    return list.empty() ? 0 : builder.CreateVector(list);
  }

  struct DfaSource {
    std::string text;
    bool rustWords, byteMapped;
    Pattern parsed;
    std::vector<unsigned> setIds;
    bool operator==(const DfaSource &other) const {
      return text == other.text && rustWords == other.rustWords && byteMapped == other.byteMapped;
    }
  };
  FlatBufferBuilder &builder;
  const TokenizerModel &model;
  const Learned *learned;
  uint64_t vocab;
  CharPartition partition;
  std::vector<DfaSource> dfas;
  std::vector<std::string> formNames;
  std::vector<Offset<fb::UnicodeForm>> forms;
  std::vector<Offset<fb::StringMap>> maps;
};

llvm::Error TableBuilder::check() {
  if (model.tokens.empty() || model.tokens.size() > (1u << 26))
    return fail(model, "a vocabulary of " + llvm::Twine(model.tokens.size()) + " tokens; 1 to 2^26 are supported");
  if (vocab != model.tokens.size() && vocab > (1u << 26))
    return fail(model, "the model's vocabulary of " + llvm::Twine(vocab) + " is beyond 2^26");
  uint64_t size = 0;
  for (const TokenEntry &token : model.tokens)
    size += token.text.size() + token.decoded.size();
  if (size > (1u << 28))
    return fail(model, "token texts of " + llvm::Twine(size) + " bytes; 2^28 are supported");
  if (model.normalizer.size() > 16 || model.stages.size() > 16)
    return fail(model, "more than 16 normalizer or pre-tokenizer steps");
  return llvm::Error::success();
}

llvm::Error TableBuilder::pattern(llvm::StringRef text, bool rustWords, bool byteMapped, uint32_t &index) {
  DfaSource source{text.str(), rustWords, byteMapped, {}, {}};
  auto known = llvm::find(dfas, source);
  index = uint32_t(known - dfas.begin());
  if (known != dfas.end())
    return llvm::Error::success();
  auto parsed = parsePattern(text, rustWords);
  if (!parsed)
    return fail(model, "pattern \"" + text + "\": " + llvm::toString(parsed.takeError()) + " is not supported");
  source.parsed = std::move(*parsed);
  for (const CharSet &set : source.parsed.sets)
    source.setIds.push_back(partition.add(set));
  dfas.push_back(std::move(source));
  return llvm::Error::success();
}

uint32_t TableBuilder::form(const std::string &name) {
  auto known = llvm::find(formNames, name);
  uint32_t index = uint32_t(known - formNames.begin());
  if (known == formNames.end()) {
    formNames.push_back(name);
    forms.push_back(buildUnicodeForm(builder, name));
  }
  return index;
}

llvm::Error TableBuilder::patterns() {
  uint32_t index;
  auto ofTransform = [&](const TransformStep &step) -> llvm::Error {
    if (step.op != fb::TransformOp::replace_pattern)
      return llvm::Error::success();
    return pattern(step.pattern, false, false, index);
  };
  for (const TransformStep &step : model.normalizer)
    if (auto error = ofTransform(step))
      return error;
  for (const StageStep &stage : model.stages)
    if (auto error = stage.transform
                         ? ofTransform(*stage.transform)
                         : pattern(stage.split->pattern, stage.split->rustWords, stage.split->byteMapped, index))
      return error;
  partition.add(CharSet::word(true));
  if (auto error = partition.finish())
    return fail(model, llvm::toString(std::move(error)));
  return llvm::Error::success();
}

Offset<fb::Transform> TableBuilder::transform(const TransformStep &step) {
  uint32_t index = 0;
  if (step.op == fb::TransformOp::replace_pattern) {
    // Known since patterns(), which reported every error.
    llvm::cantFail(pattern(step.pattern, false, false, index));
  } else if (step.op == fb::TransformOp::unicode_form) {
    index = form(step.form);
  } else if (step.op == fb::TransformOp::string_map) {
    std::vector<std::pair<std::string, uint32_t>> keys;
    std::vector<uint32_t> offsets{0};
    std::string pool;
    for (const auto &[key, value] : step.replacements) {
      keys.push_back({key, uint32_t(keys.size())});
      pool += value;
      offsets.push_back(uint32_t(pool.size()));
    }
    index = uint32_t(maps.size());
    maps.push_back(fb::CreateStringMap(builder, structs(buildTrie(std::move(keys))), scalars(offsets), bytes(pool)));
  }
  auto text = bytes(step.text), find = bytes(step.find);
  return fb::CreateTransform(builder, step.op, text, find, index, step.firstOnly, step.unlessPresent, step.left,
                             step.right);
}

std::vector<fb::WordSlot> TableBuilder::words() {
  std::vector<fb::WordSlot> slots(tableSlots(model.tokens.size()), fb::WordSlot(0, noId, 0));
  // Outcomes of the model come first: of equal texts the first one is found.
  for (bool mergeable : {true, false})
    for (size_t id = 0; id < model.tokens.size(); ++id) {
      const TokenEntry &token = model.tokens[id];
      if (!token.present || token.mergeable != mergeable || token.text.empty())
        continue;
      uint64_t hash = hashText(token.text.data(), token.text.size());
      size_t at = hash & (slots.size() - 1);
      bool known = false;
      for (; slots[at].token() != noId && !known; at = (at + 1) & (slots.size() - 1))
        known = model.tokens[slots[at].token()].text == token.text;
      if (!known)
        slots[at] = fb::WordSlot(uint32_t(hash >> 32), uint32_t(id),
                                 mergeable && learned && (model.ignoreMerges || learned->whole[id]));
    }
  return slots;
}

std::vector<fb::PairSlot> TableBuilder::pairs() {
  if (model.merges.empty())
    return {};
  std::vector<fb::PairSlot> slots(tableSlots(model.merges.size()), fb::PairSlot(noId, 0, 0, 0));
  for (const MergeRule &rule : model.merges) {
    // Symbols beyond the source's tokens move up when the model has more ids.
    auto symbol = [&](uint32_t id) {
      return id < model.tokens.size() ? id : uint32_t(id - model.tokens.size() + vocab);
    };
    uint32_t left = symbol(rule.left), right = symbol(rule.right);
    size_t at = hashPair(left, right) & (slots.size() - 1);
    while (slots[at].left() != noId && (slots[at].left() != left || slots[at].right() != right))
      at = (at + 1) & (slots.size() - 1);
    // Of rules for one pair the last one holds, as in the library the files are made for.
    slots[at] = fb::PairSlot(left, right, symbol(rule.merged), rule.rank);
  }
  return slots;
}

std::vector<fb::CharSlot> TableBuilder::chars() {
  std::vector<std::pair<uint32_t, uint32_t>> list;
  for (size_t id = 0; id < model.tokens.size(); ++id) {
    const TokenEntry &token = model.tokens[id];
    if (token.present && token.mergeable && !token.text.empty() && charLength(token.text[0]) == token.text.size())
      list.push_back({codesOf(token.text)[0], uint32_t(id)});
  }
  for (size_t i = 0; i < model.extraChars.size(); ++i)
    list.push_back({model.extraChars[i], uint32_t(vocab + i)});
  std::vector<fb::CharSlot> slots(tableSlots(list.size()), fb::CharSlot(0, noId));
  for (auto [code, symbol] : list) {
    size_t at = hashChar(code) & (slots.size() - 1);
    while (slots[at].symbol() != noId && slots[at].code() != code)
      at = (at + 1) & (slots.size() - 1);
    if (slots[at].symbol() == noId)
      slots[at] = fb::CharSlot(code, symbol);
  }
  return slots;
}

std::vector<uint64_t> TableBuilder::joins() {
  // A merge that touches a token which is no text of its own may cross any border.
  auto plain = [&](uint32_t id) { return id >= model.tokens.size() || model.tokens[id].mergeable; };
  for (const MergeRule &rule : model.merges)
    if (!plain(rule.left) || !plain(rule.right) || !plain(rule.merged))
      return {};
  std::set<std::pair<uint32_t, uint32_t>> pairs;
  for (const TokenEntry &token : model.tokens) {
    if (!token.present || !token.mergeable)
      continue;
    auto codes = codesOf(token.text);
    for (size_t i = 1; i < codes.size(); ++i)
      pairs.insert({codes[i - 1], codes[i]});
  }
  size_t bits = 512;
  while (bits < pairs.size() * 16 && bits < (size_t(1) << 26))
    bits *= 2;
  std::vector<uint64_t> filter(bits / 64);
  for (auto [left, right] : pairs) {
    size_t bit = hashPair(left, right) & (bits - 1);
    filter[bit / 64] |= uint64_t(1) << (bit % 64);
  }
  return filter;
}

std::vector<fb::TrieNode> TableBuilder::unigramTrie() {
  std::vector<std::pair<std::string, uint32_t>> keys;
  for (size_t id = 0; id < model.tokens.size(); ++id) {
    const TokenEntry &token = model.tokens[id];
    if (token.present && token.mergeable && !token.text.empty())
      keys.push_back({token.text, uint32_t(id)});
  }
  return buildTrie(std::move(keys));
}

std::vector<fb::TrieNode> TableBuilder::addedTrie(bool normalized) {
  std::vector<std::pair<std::string, uint32_t>> keys;
  for (size_t i = 0; i < model.added.size(); ++i) {
    const AddedEntry &added = model.added[i];
    if (added.normalized != normalized)
      continue;
    const std::string &text = normalized && learned ? learned->addedTexts[i] : added.text;
    if (!text.empty())
      keys.push_back({text, uint32_t(i)});
  }
  return keys.empty() ? std::vector<fb::TrieNode>() : buildTrie(std::move(keys));
}

llvm::Expected<Offset<fb::Tokenizer>> TableBuilder::run() {
  if (auto error = check())
    return std::move(error);
  if (auto error = patterns())
    return std::move(error);

  std::vector<uint32_t> offsets{0}, decodedOffsets{0};
  std::string pool, decoded;
  std::vector<uint8_t> flags;
  std::vector<double> scores;
  bool differs = false;
  for (uint64_t id = 0; id < vocab; ++id) {
    static const TokenEntry hole;
    const TokenEntry &token = id < model.tokens.size() ? model.tokens[id] : hole;
    pool += token.text;
    decoded += token.decoded;
    differs |= token.text != token.decoded;
    offsets.push_back(uint32_t(pool.size()));
    decodedOffsets.push_back(uint32_t(decoded.size()));
    flags.push_back(uint8_t((token.special ? tokenSpecial : 0) | (token.added ? tokenAdded : 0) |
                            (token.present ? 0 : tokenHole) | (token.byte ? tokenByte : 0)));
    scores.push_back(token.score);
  }
  bool unigram = model.kind == fb::TokenizerKind::unigram, chars = model.kind == fb::TokenizerKind::char_bpe;
  std::vector<Offset<fb::Transform>> normalizer;
  for (const TransformStep &step : model.normalizer)
    normalizer.push_back(transform(step));
  std::vector<Offset<fb::Stage>> stages;
  for (const StageStep &step : model.stages) {
    if (step.transform) {
      stages.push_back(fb::CreateStage(builder, fb::StageBody::Transform, transform(*step.transform).Union()));
    } else {
      uint32_t index;
      llvm::cantFail(pattern(step.split->pattern, step.split->rustWords, step.split->byteMapped, index));
      stages.push_back(
          fb::CreateStage(builder, fb::StageBody::Split,
                          fb::CreateSplit(builder, index, step.split->behavior, step.split->invert).Union()));
    }
  }
  std::vector<Offset<fb::Dfa>> tables;
  for (const DfaSource &source : dfas) {
    auto table = compileDfa(source.parsed, partition, source.setIds);
    if (!table)
      return fail(model, "pattern \"" + llvm::Twine(source.text) + "\": " + llvm::toString(table.takeError()) +
                             " is not supported");
    uint32_t states = uint32_t(table->size() / (partition.classes() + 1));
    auto entries = builder.CreateVector(*table);
    tables.push_back(fb::CreateDfa(builder, states, entries, source.byteMapped, builder.CreateString(source.text)));
  }
  std::vector<uint8_t> wordClasses;
  unsigned wordSet = partition.add(CharSet::word(true));
  for (unsigned k = 0; k < partition.classes(); ++k)
    wordClasses.push_back(partition.holds(wordSet, k));
  auto pages = scalars(partition.pages);
  auto cells = scalars(partition.cells);
  auto classes = fb::CreateCharClasses(builder, pages, cells, partition.classes(), scalars(wordClasses));
  std::vector<fb::AddedToken> added;
  for (const AddedEntry &entry : model.added)
    added.emplace_back(entry.token, (entry.special ? addedSpecial : 0) | (entry.leftStrip ? addedLeftStrip : 0) |
                                        (entry.rightStrip ? addedRightStrip : 0) |
                                        (entry.singleWord ? addedSingleWord : 0) |
                                        (entry.normalized ? addedNormalized : 0));

  auto chatTemplate = model.chatTemplate.empty() ? 0 : builder.CreateString(model.chatTemplate);
  auto offsetTable = scalars(offsets);
  auto poolTable = bytes(pool);
  auto decodedOffsetTable = differs ? scalars(decodedOffsets) : 0;
  auto decodedTable = differs ? bytes(decoded) : 0;
  auto flagTable = scalars(flags);
  auto wordTable = structs(words());
  auto byteTable = scalars(model.byteTokens);
  auto pairTable = unigram ? 0 : structs(pairs());
  auto charTable = chars ? structs(this->chars()) : 0;
  auto extraTable = scalars(model.extraChars);
  // Unigram sums scores from a piece's start, and rounding decides between equal paths: cut only pieces that would
  // otherwise be the whole text.
  bool cuts = llvm::any_of(model.stages, [](const StageStep &step) { return step.split.has_value(); });
  auto joinTable = chars || (unigram && !cuts) ? scalars(joins()) : 0;
  auto trieTable = unigram ? structs(unigramTrie()) : 0;
  auto scoreTable = unigram ? scalars(scores) : 0;
  auto dfaTable = builder.CreateVector(tables);
  auto formTable = forms.empty() ? 0 : builder.CreateVector(forms);
  auto mapTable = maps.empty() ? 0 : builder.CreateVector(maps);
  auto normalizerTable = normalizer.empty() ? 0 : builder.CreateVector(normalizer);
  auto stageTable = stages.empty() ? 0 : builder.CreateVector(stages);
  auto addedTable = structs(added);
  auto rawTable = structs(addedTrie(false));
  auto normalizedTable = structs(addedTrie(true));
  auto prefix = scalars(model.prefix);
  auto suffix = scalars(model.suffix);
  auto ends = scalars(model.endTokens);
  std::vector<flatbuffers::Offset<fb::NamedTemplate>> named;
  for (const auto &[name, text] : model.namedTemplates)
    named.push_back(fb::CreateNamedTemplate(builder, builder.CreateString(name), builder.CreateString(text)));
  auto namedTable = named.empty() ? 0 : builder.CreateVector(named);
  return fb::CreateTokenizer(builder, chatTemplate, tokenizerVersion, model.kind, offsetTable, poolTable,
                             decodedOffsetTable, decodedTable, flagTable, wordTable, byteTable, pairTable, charTable,
                             extraTable, joinTable, trieTable, scoreTable, model.unknownScore, model.singlePrecision,
                             model.unknown, model.fuseUnknown, classes, dfaTable, formTable, mapTable, normalizerTable,
                             stageTable, addedTable, rawTable, normalizedTable, prefix, suffix, model.stripLeading,
                             model.bos, model.eos, ends, namedTable);
}

/// Runs the first round's tables for what the second one needs.
llvm::Expected<Learned> learn(const TokenizerModel &model) {
  FlatBufferBuilder builder;
  auto root = TableBuilder(builder, model, 0, nullptr).run();
  if (!root)
    return root.takeError();
  builder.Finish(*root);
  auto tokenizer =
      Tokenizer::create(*flatbuffers::GetRoot<fb::Tokenizer>(builder.GetBufferPointer()), model.tokens.size());
  if (!tokenizer)
    return fail(model, tokenizer.error().message());
  const TokenizerView &view = tokenizer->tables();
  PieceModel pieces(view, systemAllocator());
  Transformer transformer(view, systemAllocator());
  transformer.limit(1 << 24);
  Learned learned;
  Scratch<uint32_t> ids(systemAllocator());
  for (size_t id = 0; id < model.tokens.size(); ++id) {
    const TokenEntry &token = model.tokens[id];
    bool whole = false;
    if (token.present && token.mergeable && !token.text.empty() && !model.ignoreMerges) {
      ids.clear();
      bool unknownBefore = false;
      Status done = pieces.encode(token.text, unknownBefore, ids);
      whole = done && ids.size() == 1 && ids[0] == id;
    }
    learned.whole.push_back(whole);
  }
  Scratch<char> out(systemAllocator());
  for (const AddedEntry &added : model.added) {
    std::string text = added.text;
    bool atStart = true;
    for (size_t i = 0; added.normalized && i < model.normalizer.size(); ++i) {
      auto changed = transformer.apply(*view.tables->normalizer()->Get(uint32_t(i)), text, atStart, out);
      if (!changed)
        return fail(model, changed.error().message());
      text = std::string(*changed);
    }
    learned.addedTexts.push_back(text);
  }
  return learned;
}

} // namespace

llvm::Expected<Offset<fb::Tokenizer>> buildTokenizer(FlatBufferBuilder &builder, const TokenizerModel &model,
                                                     uint64_t modelVocab) {
  if (modelVocab && model.tokens.size() > modelVocab)
    return fail(model, "its " + llvm::Twine(model.tokens.size()) + " tokens are more than the model's vocabulary of " +
                           llvm::Twine(modelVocab));
  auto learned = learn(model);
  if (!learned)
    return learned.takeError();
  return TableBuilder(builder, model, modelVocab, &*learned).run();
}

llvm::Expected<std::vector<uint8_t>> buildTokenizerBuffer(const TokenizerModel &model, uint64_t modelVocab) {
  FlatBufferBuilder builder;
  auto root = buildTokenizer(builder, model, modelVocab);
  if (!root)
    return root.takeError();
  builder.Finish(*root);
  return std::vector<uint8_t>(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
}

} // namespace mlc
