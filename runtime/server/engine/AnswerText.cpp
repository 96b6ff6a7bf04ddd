//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/engine/AnswerText.h"

#include <algorithm>

namespace mlc::server {

uint64_t countCharacters(std::string_view text) {
  return uint64_t(std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xc0) != 0x80; }));
}

static TextSink into(std::string &text) {
  return {[](void *context, std::string_view piece) { static_cast<std::string *>(context)->append(piece); }, &text};
}

AnswerText::AnswerText(const Tokenizer *tokenizer, bool skipSpecial, std::span<const std::string> stops)
    : tokenizer(tokenizer), matcher(stops) {
  if (tokenizer)
    decoder.emplace(*tokenizer, DecodeOptions{skipSpecial});
}

/// An id that the tokenizer does not know, of a padded vocabulary, has no text.
std::string_view AnswerText::decode(int32_t token) {
  size_t before = held.size();
  if (decoder)
    (void)decoder->feed(uint32_t(token), into(held));
  producedBytes += held.size() - before;
  return std::string_view(held).substr(before);
}

void AnswerText::setPrompt(std::span<const int32_t> prompt, bool shown, std::string &text,
                           std::span<TokenRecord> records) {
  uint64_t shownCharacters = 0;
  for (size_t i = 0; i < prompt.size(); ++i) {
    if (i < records.size()) {
      records[i].textOffset = shownCharacters;
      if (tokenizer)
        records[i].bytes = tokenizer->decodedText(uint32_t(prompt[i]));
    }
    shownCharacters += countCharacters(decode(prompt[i]));
    text += held;
    held.clear();
  }
  characters = shown ? shownCharacters : 0;
  producedBytes = 0;
}

int32_t AnswerText::add(TokenRecord record, Release &released) {
  if (tokenizer)
    record.bytes = tokenizer->decodedText(uint32_t(record.token));
  record.textOffset = characters;
  uint64_t begin = producedBytes;
  std::string_view piece = decode(record.token);
  characters += countCharacters(piece);
  StopMatcher::Match match = matcher.feed(piece);
  pending.push_back({std::move(record), std::string(piece), begin, producedBytes});
  if (match.stop < 0) {
    release(producedBytes - matcher.held(), released);
    return -1;
  }
  release(match.begin, released);
  // A token that reaches into the stop text keeps what stands before it.
  if (!pending.empty() && pending.front().begin < match.begin) {
    Pending &cut = pending.front();
    cut.record.bytes = cut.text.substr(0, size_t(match.begin - cut.begin));
    released.tokens.push_back(std::move(cut.record));
  }
  pending.clear();
  held.clear();
  return match.stop;
}

void AnswerText::finish(Release &released) {
  size_t before = held.size();
  if (decoder)
    decoder->flush(into(held));
  producedBytes += held.size() - before;
  // What flush adds is U+FFFD: when that completes a stop text, the answer ends before it.
  StopMatcher::Match match = matcher.feed(std::string_view(held).substr(before));
  uint64_t end = match.stop < 0 ? producedBytes : match.begin;
  release(end, released);
  pending.clear();
  held.clear();
}

void AnswerText::release(uint64_t end, Release &released) {
  released.text.append(held, 0, size_t(end - releasedBytes));
  held.erase(0, size_t(end - releasedBytes));
  releasedBytes = end;
  for (; !pending.empty() && pending.front().end <= end; pending.pop_front())
    released.tokens.push_back(std::move(pending.front().record));
}

} // namespace mlc::server
