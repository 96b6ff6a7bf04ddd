//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Starts mlc-run as its users do.
//
#pragma once

#include "tests/unit/support/TinyArtifact.h"

#include <fstream>
#include <sys/wait.h>

namespace mlc::test {

struct Outcome {
  int status;
  std::string out, err;
};

inline std::string contentOf(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Runs mlc-run with these shell words, its stdout in `out`.
inline Outcome mlcRun(const std::string &words, const std::string &out = temporaryPath("out")) {
  std::string err = temporaryPath("err");
  int status = system((std::string(MLC_RUN) + " " + words + " >" + out + " 2>" + err).c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, out == "/dev/full" ? "" : contentOf(out), contentOf(err)};
}

} // namespace mlc::test
