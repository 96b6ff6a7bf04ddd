//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The commands that need only the runtime. `mlc` and `mlc-run` share them. argv[0] is what the user typed for the
// command ("mlc run"), then its options. Each returns the exit status: 0 done, 1 failed, 2 usage; results go to stdout,
// everything else to stderr, a failure as exactly one line "mlc: error: ...".
//
#pragma once

#include "runtime/core/Result.h"

namespace mlc::fb {
struct Tokenizer;
}

namespace mlc::cli {

/// How `mlc tokenize` reads the tokenizer of a checkpoint; null where it has none. The tables live as long as
/// `context`.
struct TokenizerSource {
  void *context;
  Result<const fb::Tokenizer *> (*read)(void *context, const char *file);
};

int runCommand(int argc, char **argv);
int benchCommand(int argc, char **argv);
int inspectCommand(int argc, char **argv);
int verifyCommand(int argc, char **argv);
/// `source`, where given, reads checkpoints, too.
int tokenizeCommand(int argc, char **argv, const TokenizerSource *source = nullptr);
int perplexityCommand(int argc, char **argv);
int evalCommand(int argc, char **argv);

/// `mlc-run OUT.mlca ...`: runCommand, or what --bench, --verify, --inspect and --eval ask for.
int mlcRunMain(int argc, char **argv);

} // namespace mlc::cli
