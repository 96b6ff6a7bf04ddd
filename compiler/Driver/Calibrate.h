//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// --calibrate: which columns of a weight matter. The source is compiled as it is stored (`--quant keep --math exact`)
// into a file without a name, run over the text, and the mean square of every column that a product reads becomes the
// weight's `importance`: the diagonal of the squared error's Hessian, as llama.cpp's imatrix has it. Of a mixture each
// expert has its own, over the tokens that choose it.
//
#pragma once

#include "compiler/Driver/CompileOptions.h"

namespace mlc {

/// Tokens below which a text says too little.
constexpr size_t kLeastCalibrationTokens = 256;

/// Gives the weights of `source` their importance, from the text in options.calibrate. Memory does not grow with the
/// model: its weights are in the file, beside the output. Errors: a text that cannot be read, is empty, is not UTF-8
/// (names the byte) or has too few tokens; a source without a tokenizer.
llvm::Error calibrate(Source &source, CompileOptions &options);

} // namespace mlc
