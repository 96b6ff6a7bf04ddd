//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// libFuzzer's default limit of 4 KiB an input is below any artifact: the limit that a target needs, before its own
// options.
//
#pragma once

#include <vector>

extern "C" int LLVMFuzzerInitialize(int *argc, char ***argv) {
  static char limit[] = "-max_len=131072";
  static std::vector<char *> arguments(*argv, *argv + *argc);
  arguments.insert(arguments.begin() + 1, limit);
  arguments.push_back(nullptr);
  *argc += 1;
  *argv = arguments.data();
  return 0;
}
