//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/tokenizer/Tokenizer.h"
#include "runtime/llm/tokenizer/Utf8.h"

namespace mlc {
namespace {
constexpr std::string_view replacement = "\xef\xbf\xbd";
}

Status Decoder::feed(uint32_t id, TextSink sink) {
  if (id >= tokenizer->vocabSize())
    return Error(ErrorCode::OutOfRange, "token %u: the tokenizer has ids below %u", id, tokenizer->vocabSize());
  if (tokenizer->isHole(id) || (options.skipSpecial && tokenizer->isSpecial(id)))
    return {};
  write(tokenizer->decodedText(id), sink);
  return {};
}

Status Decoder::decode(std::span<const uint32_t> ids, TextSink sink) {
  for (uint32_t id : ids)
    MLC_TRY(feed(id, sink));
  flush(sink);
  return {};
}

void Decoder::flush(TextSink sink) {
  if (heldSize)
    emit(replacement, sink);
  heldSize = 0;
  leading = tokenizer->tables().tables->strip_leading();
}

/// Hands on whole characters, less the spaces that decoding takes off the text's start.
void Decoder::emit(std::string_view text, TextSink sink) {
  while (leading && !text.empty()) {
    if (text.front() != ' ') {
      leading = 0;
      break;
    }
    text.remove_prefix(1);
    --leading;
  }
  if (!text.empty())
    sink.write(sink.context, text);
}

void Decoder::write(std::string_view bytes, TextSink sink) {
  auto *at = reinterpret_cast<const uint8_t *>(bytes.data()), *end = at + bytes.size();
  unsigned invalid;
  // First the character that earlier tokens began, a byte at a time.
  while (heldSize && at != end) {
    held[heldSize] = *at;
    unsigned length = scanChar(held, held + heldSize + 1, invalid);
    if (length) {
      emit({reinterpret_cast<const char *>(held), length}, sink);
      heldSize = 0;
      ++at;
    } else if (!invalid) {
      ++heldSize;
      ++at;
    } else {
      // The byte does not continue it: the held part is invalid, the byte starts anew.
      emit(replacement, sink);
      heldSize = 0;
    }
  }
  const uint8_t *kept = at;
  auto give = [&] {
    if (at != kept)
      emit({reinterpret_cast<const char *>(kept), size_t(at - kept)}, sink);
  };
  while (at != end) {
    unsigned length = scanChar(at, end, invalid);
    if (length) {
      at += length;
      continue;
    }
    give();
    if (!invalid) {
      heldSize = uint8_t(end - at);
      memcpy(held, at, heldSize);
      return;
    }
    emit(replacement, sink);
    kept = at += invalid;
  }
  give();
}

} // namespace mlc
