//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The file of `mlc eval`: one JSON object a line with "context", "choices" and "answer"; other keys are passed over.
//
#pragma once

#include "runtime/run/Output.h"

namespace mlc::cli {

/// One line. `context` may be empty; there are at least two choices, none of them empty.
struct Question {
  Buffer<char> context;
  Buffer<char> text;   // The choices behind one another,
  Buffer<size_t> ends; // each up to here.
  uint32_t answer = 0;

  size_t choices() const { return ends.size(); }
  std::string_view choice(size_t i) const {
    size_t begin = i ? ends.span()[i - 1] : 0;
    return text.view().substr(begin, ends.span()[i] - begin);
  }
};

/// Errors say the column or the key.
Status parseQuestion(std::string_view line, Question &question);

/// Characters of a choice, without the white space it begins with, at least 1: what its log-likelihood is divided by.
size_t choiceLength(std::string_view choice);

} // namespace mlc::cli
