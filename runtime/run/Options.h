//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A small table-driven parser of command lines: the same table parses and prints --help. Used where the runtime alone
// must do, so without a library.
//
#pragma once

#include "runtime/core/Result.h"

#include <span>

namespace mlc::cli {

enum class OptionKind : uint8_t {
  flag,        // bool
  text,        // const char *
  count,       // uint64_t
  bytes,       // uint64_t; suffix K, M or G (powers of 1024)
  real,        // float
  unavailable, // Of a later version: refused by name.
  texts,       // TextList; may be given more than once
};

/// The values of an option that may be given more than once.
struct TextList {
  static constexpr unsigned kMost = 256;
  const char *items[kMost];
  unsigned count = 0;

  std::span<const char *const> span() const { return {items, count}; }
};

struct Option {
  const char *name;        // Without the dashes.
  const char *placeholder; // Of its value, for --help; null for flags.
  const char *help;
  OptionKind kind;
  void *target;
  uint64_t least = 0, most = UINT64_MAX; // Of a count.
};

struct Command {
  const char *name;       // What the user typed: "mlc run".
  const char *positional; // "OUT.mlca"
  const char *summary;
  std::span<const Option> options;
  const char *example; // What may follow the name.
  /// Takes a bit for each option that was given, by its index; null: nobody asks. For up to 64 options.
  uint64_t *given = nullptr;
};

/// What to do after parsing: go on, or leave with an exit status.
struct Parsed {
  bool leave = false;
  int status = 0;
};

/// Reads argv[1...] into the options' targets; `file` becomes the positional argument. --help and --version are
/// answered here. A mistake is one "mlc: error:" line and status 2.
Parsed parseOptions(const Command &command, int argc, char **argv, const char *&file);
/// The same with up to files.size() positional arguments, at least one; `count` is how many came.
Parsed parseOptions(const Command &command, int argc, char **argv, std::span<const char *> files, size_t &count);

/// "mlc: error: ..." in one line on stderr.
void printError(const char *format, ...) __attribute__((format(printf, 1, 2)));
/// Prints and gives 1, the status of a failure.
int fail(const Error &error);
/// The same with the file in front.
int fail(const char *file, const Error &error);

} // namespace mlc::cli
