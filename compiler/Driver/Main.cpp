//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// mlc: finds the command and runs it.
//
#include "compiler/Driver/Commands.h"
#include "runtime/run/Commands.h"
#include "runtime/run/Options.h"
#include "runtime/server/serve/Serve.h"

#include <cstdio>
#include <cstring>
#include <string>

namespace {

struct Entry {
  const char *name, *summary;
  int (*run)(int argc, char **argv);
};

constexpr Entry kCommands[] = {
    {"compile", "a checkpoint to an artifact", mlc::cli::compileCommand},
    {"run", "generate text from an artifact", mlc::cli::runCommand},
    {"interpret", "generate text with the reference interpreter", mlc::cli::interpretCommand},
    {"bench", "measure an artifact's speed", mlc::cli::benchCommand},
    {"inspect", "what is inside an artifact", mlc::cli::inspectCommand},
    {"verify", "check an artifact's digests and structure", mlc::cli::verifyCommand},
    {"tokenize", "text to ids and back", mlc::cli::tokenizeSourceCommand},
    {"perplexity", "an artifact's loss on a text", mlc::cli::perplexityCommand},
    {"eval", "multiple-choice questions", mlc::cli::evalCommand},
    {"serve", "answer OpenAI's clients over HTTP", mlc::server::serveCommand},
};
constexpr const char *kLater[] = {"voice", "compress", "train"};

void help() {
  puts("usage: mlc COMMAND ...\n\nCompiles language models ahead of time and runs them.\n\ncommands:");
  for (const Entry &entry : kCommands)
    printf("  %-11s %s\n", entry.name, entry.summary);
  puts("\nmlc COMMAND --help says more.\n\nexample:\n  mlc compile models/shakespeare -o shakespeare.mlca\n"
       "  mlc run shakespeare.mlca --prompt \"ROMEO:\"");
}

} // namespace

int main(int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : "";
  if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
    help();
    return 0;
  }
  if (!strcmp(name, "--version")) {
    puts("mlc " MLC_VERSION);
    return 0;
  }
  for (const Entry &entry : kCommands)
    if (!strcmp(name, entry.name)) {
      std::string typed = std::string("mlc ") + name;
      argv[1] = typed.data();
      return entry.run(argc - 1, argv + 1);
    }
  for (const char *later : kLater)
    if (!strcmp(name, later)) {
      mlc::cli::printError("mlc %s is not available in this version", later);
      return 2;
    }
  mlc::cli::printError("%s%s; see mlc --help", *name ? "no command " : "a command is missing", name);
  return 2;
}
