//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/tokenizer/Tokenizer.h"

namespace mlc {

TokenizerView::TokenizerView(const fb::Tokenizer &source)
    : tables(&source), kind(source.kind()), offsets(viewOf(source.offsets())),
      decodedOffsets(viewOf(source.decoded_offsets())), byteTokens(viewOf(source.byte_tokens())),
      extraChars(viewOf(source.extra_chars())), prefix(viewOf(source.prefix())), suffix(viewOf(source.suffix())),
      endTokens(viewOf(source.end_tokens())), bytes(viewOf(source.bytes())),
      decodedBytes(viewOf(source.decoded_bytes())), tokenFlags(viewOf(source.token_flags())),
      words(viewOf(source.words())), pairs(viewOf(source.pairs())), chars(viewOf(source.chars())),
      joins(viewOf(source.joins())), trie(viewOf(source.trie())), addedRaw(viewOf(source.added_raw())),
      addedNormalized(viewOf(source.added_normalized())), scores(viewOf(source.scores())),
      added(viewOf(source.added())) {
  if (const fb::CharClasses *from = source.classes())
    classes = {viewOf(from->pages()), viewOf(from->cells()), viewOf(from->words()), from->count()};
}

Result<Tokenizer> Tokenizer::create(const fb::Tokenizer &tables, uint64_t vocabSize) {
  MLC_TRY(verify(tables, vocabSize));
  Tokenizer tokenizer;
  tokenizer.view = TokenizerView(tables);
  return tokenizer;
}

std::string_view Tokenizer::tokenText(uint32_t id) const {
  return id < vocabSize() ? view.text(id) : std::string_view();
}

std::string_view Tokenizer::decodedText(uint32_t id) const {
  if (id >= vocabSize())
    return {};
  if (view.decodedOffsets.empty())
    return view.text(id);
  auto &offsets = view.decodedOffsets;
  return {reinterpret_cast<const char *>(view.decodedBytes.data()) + offsets[id], offsets[id + 1] - offsets[id]};
}

uint32_t Tokenizer::findToken(std::string_view text) const {
  for (auto trie : {view.addedRaw, view.addedNormalized}) {
    uint32_t node = 0;
    if (trie.empty() || text.empty())
      continue;
    for (size_t i = 0; i < text.size(); ++i)
      if (!(node = trieStep(trie, node, uint8_t(text[i]))))
        break;
    if (node && trie[node].value() >= 0)
      return view.added[size_t(trie[node].value())].token();
  }
  const fb::WordSlot *slot = view.findWord(text, hashText(text.data(), text.size()));
  return slot ? slot->token() : none;
}

std::string_view Tokenizer::chatTemplate() const {
  auto *text = view.tables->chat_template();
  return text ? std::string_view(text->c_str(), text->size()) : std::string_view();
}

std::string_view Tokenizer::chatTemplate(std::string_view name) const {
  if (auto *named = view.tables->named_templates())
    for (const fb::NamedTemplate *each : *named)
      if (each->name()->string_view() == name)
        return each->text()->string_view();
  return {};
}

} // namespace mlc
