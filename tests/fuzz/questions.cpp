//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Lines of `mlc eval`: read or refused; what was read can be measured.
//
#include "runtime/run/Questions.h"

using namespace mlc::cli;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Question question;
  if (!parseQuestion({reinterpret_cast<const char *>(data), size}, question))
    return 0;
  if (question.answer >= question.choices())
    abort();
  for (size_t i = 0; i < question.choices(); ++i)
    if (!choiceLength(question.choice(i)))
      abort();
  return 0;
}
