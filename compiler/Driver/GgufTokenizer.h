//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The tokenizer.ggml.* metadata as the tokenizer compiler takes it.
//
#pragma once

#include "compiler/Import/GGUF/Reader.h"
#include "compiler/Tokenizer/Sources.h"

namespace mlc {

/// Nothing when the file holds no vocabulary (none, or tokenizer.ggml.model = no_vocab). Views point into `metadata`.
llvm::Expected<std::optional<GgufTokenizerFields>> ggufTokenizerFields(const gguf::Metadata &metadata);

} // namespace mlc
