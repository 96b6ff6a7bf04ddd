//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A progress bar on stderr, where that is a terminal.
//
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace mlc {

class ProgressBar {
public:
  explicit ProgressBar(std::string title);
  /// Clears the line.
  ~ProgressBar();
  void update(uint64_t done, uint64_t total);

private:
  std::string title;
  bool shown = false, terminal;
  std::chrono::steady_clock::time_point last;
};

} // namespace mlc
