//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// From a piece of text to tokens: merges of adjacent symbols (BPE) and the best path (Unigram).
//
#pragma once

#include "runtime/llm/tokenizer/Scratch.h"
#include "runtime/llm/tokenizer/Tables.h"

#include <string_view>

namespace mlc {

/// Appends the tokens of pieces to `ids`. One per encoder.
class PieceModel {
public:
  PieceModel(const TokenizerView &view, const Allocator &allocator)
      : view(&view), symbols(allocator), ranks(allocator), before(allocator), behind(allocator), heap(allocator),
        nodes(allocator) {}

  /// The tokens of `piece`, which no token of the vocabulary crosses. `unknownBefore` tells whether the last token is
  /// an unknown one that a following unknown joins, and is updated.
  Status encode(std::string_view piece, bool &unknownBefore, Scratch<uint32_t> &ids);

private:
  struct PathNode {
    double score;
    uint32_t from;
    uint32_t token;
  };
  Status collect(std::string_view piece);
  void mergeShort();
  Status mergeLong();
  Status emit(uint32_t symbol, bool &unknownBefore, Scratch<uint32_t> &ids);
  Status emitUnknown(std::string_view text, bool &unknownBefore, Scratch<uint32_t> &ids);
  template <typename Score> Status bestPath(std::string_view piece, bool &unknownBefore, Scratch<uint32_t> &ids);

  const TokenizerView *view;
  Scratch<uint32_t> symbols, ranks, before, behind;
  Scratch<uint64_t> heap;
  Scratch<PathNode> nodes;
};

} // namespace mlc
