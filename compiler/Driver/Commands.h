//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The commands of `mlc` that need the compiler. argv[0] is what the user typed for the command ("mlc compile"). Each
// returns the exit status, as those of runtime/run/Commands.h do.
//
#pragma once

namespace mlc::cli {

int compileCommand(int argc, char **argv);
int interpretCommand(int argc, char **argv);
/// mlc tokenize SRC_OR_ARTIFACT: the runtime's command, with the tokenizers of checkpoints.
int tokenizeSourceCommand(int argc, char **argv);

} // namespace mlc::cli
