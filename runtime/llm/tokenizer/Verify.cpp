//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The verifier of tokenizer tables: afterwards every walk over them stays inside and ends.
//
#include "runtime/llm/tokenizer/Tokenizer.h"
#include "runtime/llm/tokenizer/Utf8.h"

namespace mlc {
namespace {

constexpr uint32_t pageCount = 0x1100, maxSteps = 16;

Error corrupt(const char *what, const char *problem) {
  return Error(ErrorCode::Corrupt, "tokenizer tables: %s: %s; compile the model again", what, problem);
}

bool powerOfTwo(size_t size) { return size && !(size & (size - 1)); }
bool isScalar(uint32_t code) { return code < 0xd800 || (code > 0xdfff && code < 0x110000); }

bool validText(const flatbuffers::Vector<uint8_t> *bytes) {
  auto span = viewOf(bytes);
  std::string_view text(reinterpret_cast<const char *>(span.data()), span.size());
  return validUtf8(text) == text.size();
}

Status checkOffsets(std::span<const uint32_t> offsets, size_t limit, const char *what) {
  for (size_t i = 0; i + 1 < offsets.size(); ++i)
    if (offsets[i] > offsets[i + 1])
      return corrupt(what, "offsets fall");
  if (!offsets.empty() && offsets.back() > limit)
    return corrupt(what, "an offset lies outside");
  return {};
}

Status checkIds(std::span<const uint32_t> ids, uint64_t limit, bool optional, const char *what) {
  for (uint32_t id : ids)
    if (id >= limit && !(optional && id == noId))
      return corrupt(what, "an id is out of range");
  return {};
}

Status checkTrie(std::span<const fb::TrieNode> trie, uint64_t values, const char *what) {
  for (const fb::TrieNode &node : trie) {
    // The root is no child: a step's result of 0 means that there is none.
    if (node.count() && (node.count() > 256 || !node.first() || !extentInside(node.first(), node.count(), trie.size())))
      return corrupt(what, "a node's children lie outside");
    if (node.value() >= 0 && uint64_t(node.value()) >= values)
      return corrupt(what, "a value is out of range");
  }
  return {};
}

Status checkPages(std::span<const uint16_t> pages, size_t cells, const char *what) {
  if (pages.size() != pageCount)
    return corrupt(what, "not one page for each 256 code points");
  for (uint16_t page : pages)
    if (!extentInside(uint64_t(page) * 256, 256, cells))
      return corrupt(what, "a page lies outside");
  return {};
}

Status checkVocabulary(const TokenizerView &view, uint64_t vocabSize) {
  const fb::Tokenizer &tables = *view.tables;
  if (view.offsets.size() < 2 || view.offsets.size() - 1 > vocabSize)
    return corrupt("offsets", "more tokens than the model has, or none");
  uint64_t vocab = view.offsets.size() - 1, symbols = vocab + view.extraChars.size();
  MLC_TRY(checkOffsets(view.offsets, view.bytes.size(), "token bytes"));
  if (!view.decodedOffsets.empty() && view.decodedOffsets.size() != view.offsets.size())
    return corrupt("decoded_offsets", "not one for each token");
  MLC_TRY(checkOffsets(view.decodedOffsets, view.decodedBytes.size(), "decoded bytes"));
  if (view.tokenFlags.size() != vocab)
    return corrupt("token_flags", "not one for each token");
  if (!view.words.empty() && !powerOfTwo(view.words.size()))
    return corrupt("words", "not a power of two of slots");
  for (const fb::WordSlot &slot : view.words)
    if (slot.token() != noId && slot.token() >= vocab)
      return corrupt("words", "a token is out of range");
  if (view.byteTokens.size() != 256 && (view.kind == fb::TokenizerKind::byte_bpe || !view.byteTokens.empty()))
    return corrupt("byte_tokens", "not one for each byte");
  MLC_TRY(checkIds(view.byteTokens, vocab, true, "byte_tokens"));
  if (!view.pairs.empty() && !powerOfTwo(view.pairs.size()))
    return corrupt("pairs", "not a power of two of slots");
  for (const fb::PairSlot &slot : view.pairs)
    if (slot.left() != noId && (slot.left() >= symbols || slot.right() >= symbols || slot.merged() >= symbols))
      return corrupt("pairs", "a symbol is out of range");
  if (!view.chars.empty() && !powerOfTwo(view.chars.size()))
    return corrupt("chars", "not a power of two of slots");
  for (const fb::CharSlot &slot : view.chars)
    if (slot.symbol() != noId && slot.symbol() >= symbols)
      return corrupt("chars", "a symbol is out of range");
  for (uint32_t code : view.extraChars)
    if (!isScalar(code))
      return corrupt("extra_chars", "not a character");
  if (!view.joins.empty() && (!powerOfTwo(view.joins.size()) || view.joins.size() > 1u << 20))
    return corrupt("joins", "not a power of two of words, at most 2^20");
  if (!view.joins.empty() && view.kind == fb::TokenizerKind::byte_bpe)
    return corrupt("joins", "characters have no meaning in a byte-level vocabulary");
  MLC_TRY(checkTrie(view.trie, vocab, "trie"));
  if (view.kind == fb::TokenizerKind::unigram && (view.trie.empty() || view.scores.size() != vocab))
    return corrupt("scores", "a Unigram vocabulary has a trie and one score for each token");
  uint32_t single[] = {tables.unknown(), tables.bos(), tables.eos()};
  MLC_TRY(checkIds(single, vocab, true, "unknown, bos, eos"));
  MLC_TRY(checkIds(view.prefix, vocab, false, "prefix"));
  MLC_TRY(checkIds(view.suffix, vocab, false, "suffix"));
  return checkIds(view.endTokens, vocab, false, "end_tokens");
}

Status checkPatterns(const TokenizerView &view) {
  const fb::Tokenizer &tables = *view.tables;
  const ClassView &classes = view.classes;
  if (tables.classes()) {
    if (!classes.count || classes.count > 255 || classes.words.size() != classes.count)
      return corrupt("classes", "not 1 to 255, with a flag each");
    MLC_TRY(checkPages(classes.pages, classes.cells.size(), "classes"));
    for (uint8_t cell : classes.cells)
      if (cell >= classes.count)
        return corrupt("classes", "a class is out of range");
  }
  if (!tables.dfas())
    return {};
  if (!tables.classes())
    return corrupt("dfas", "no character classes");
  for (const fb::Dfa *dfa : *tables.dfas()) {
    auto table = viewOf(dfa->table());
    if (dfa->states() < 2 || dfa->states() > dfaMatch || table.size() != size_t(dfa->states()) * (classes.count + 1))
      return corrupt("dfas", "the table's size is not states times columns");
    for (uint16_t entry : table)
      if (uint32_t(entry & ~dfaMatch) >= dfa->states())
        return corrupt("dfas", "a transition is out of range");
  }
  return {};
}

Status checkNormalization(const fb::Tokenizer &tables) {
  if (tables.forms())
    for (const fb::UnicodeForm *form : *tables.forms()) {
      auto cells = viewOf(form->cells());
      auto records = viewOf(form->records());
      auto codes = viewOf(form->codes());
      MLC_TRY(checkPages(viewOf(form->pages()), cells.size(), "forms"));
      for (uint16_t cell : cells)
        if (cell >= records.size())
          return corrupt("forms", "a record is out of range");
      for (const fb::CharRecord &record : records)
        if (!extentInside(record.decomposition(), record.length(), codes.size()))
          return corrupt("forms", "a decomposition lies outside");
      for (uint32_t code : codes)
        if (!isScalar(code))
          return corrupt("forms", "a decomposition holds no character");
      for (const fb::ComposePair &pair : viewOf(form->pairs()))
        if (!isScalar(pair.composed()))
          return corrupt("forms", "a composite is no character");
    }
  if (tables.maps())
    for (const fb::StringMap *map : *tables.maps()) {
      auto trie = viewOf(map->trie());
      auto offsets = viewOf(map->offsets());
      auto bytes = viewOf(map->bytes());
      if (trie.empty() || offsets.empty())
        return corrupt("maps", "no trie or no offsets");
      MLC_TRY(checkTrie(trie, offsets.size() - 1, "maps"));
      MLC_TRY(checkOffsets(offsets, bytes.size(), "maps"));
      for (size_t i = 0; i + 1 < offsets.size(); ++i) {
        std::string_view text(reinterpret_cast<const char *>(bytes.data()) + offsets[i], offsets[i + 1] - offsets[i]);
        if (validUtf8(text) != text.size())
          return corrupt("maps", "a replacement is not UTF-8");
      }
    }
  return {};
}

Status checkTransform(const fb::Tokenizer &tables, const fb::Transform &step) {
  auto has = [&](const auto *list) { return list && step.index() < list->size(); };
  if (!validText(step.text()) || !validText(step.find()))
    return corrupt("transforms", "a text is not UTF-8");
  switch (step.op()) {
  case fb::TransformOp::prepend:
  case fb::TransformOp::strip:
  case fb::TransformOp::collapse_spaces:
    return {};
  case fb::TransformOp::replace:
    return step.find() && step.find()->size() ? Status() : corrupt("transforms", "nothing to replace");
  case fb::TransformOp::replace_pattern:
    return has(tables.dfas()) && !tables.dfas()->Get(step.index())->byte_mapped()
               ? Status()
               : corrupt("transforms", "no such character pattern");
  case fb::TransformOp::unicode_form:
    return has(tables.forms()) ? Status() : corrupt("transforms", "no such normalization form");
  case fb::TransformOp::string_map:
    return has(tables.maps()) ? Status() : corrupt("transforms", "no such string map");
  }
  return corrupt("transforms", "an unknown operation");
}

Status checkStages(const TokenizerView &view) {
  const fb::Tokenizer &tables = *view.tables;
  if (tables.normalizer()) {
    if (tables.normalizer()->size() > maxSteps)
      return corrupt("normalizer", "more than 16 steps");
    for (const fb::Transform *step : *tables.normalizer())
      MLC_TRY(checkTransform(tables, *step));
  }
  if (!tables.stages())
    return {};
  if (tables.stages()->size() > maxSteps)
    return corrupt("stages", "more than 16 steps");
  bool bytes = false;
  for (const fb::Stage *stage : *tables.stages()) {
    if (const fb::Transform *step = stage->body_as_Transform()) {
      // A byte-mapped pattern may cut inside a character; only its like may follow.
      if (bytes)
        return corrupt("stages", "text is rewritten after it was cut into bytes");
      MLC_TRY(checkTransform(tables, *step));
    } else if (const fb::Split *split = stage->body_as_Split()) {
      if (!tables.dfas() || split->dfa() >= tables.dfas()->size() || split->behavior() > fb::SplitBehavior::contiguous)
        return corrupt("stages", "no such pattern or behaviour");
      bool mapped = tables.dfas()->Get(split->dfa())->byte_mapped();
      if ((bytes && !mapped) || (mapped && view.kind != fb::TokenizerKind::byte_bpe))
        return corrupt("stages", "a character pattern follows a byte pattern");
      bytes = mapped;
    } else {
      return corrupt("stages", "an unknown step");
    }
  }
  return {};
}

} // namespace

Status Tokenizer::verify(const fb::Tokenizer &tables, uint64_t vocabSize) {
  if (tables.version() != tokenizerVersion)
    return Error(ErrorCode::Unsupported, "tokenizer tables: version %u, this build reads %u; compile the model again",
                 tables.version(), tokenizerVersion);
  TokenizerView view(tables);
  if (view.kind > fb::TokenizerKind::unigram)
    return corrupt("kind", "unknown");
  MLC_TRY(checkVocabulary(view, vocabSize));
  MLC_TRY(checkPatterns(view));
  MLC_TRY(checkNormalization(tables));
  MLC_TRY(checkStages(view));
  MLC_TRY(checkTrie(view.addedRaw, view.added.size(), "added_raw"));
  MLC_TRY(checkTrie(view.addedNormalized, view.added.size(), "added_normalized"));
  for (const fb::AddedToken &token : view.added) {
    if (token.token() >= view.offsets.size() - 1)
      return corrupt("added", "a token is out of range");
    if ((token.flags() & addedSingleWord) && !tables.classes())
      return corrupt("added", "no classes to tell words by");
  }
  return {};
}

} // namespace mlc
