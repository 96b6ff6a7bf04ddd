//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Driver/Progress.h"

#include <cstdio>
#include <unistd.h>

using namespace mlc;

ProgressBar::ProgressBar(std::string title) : title(std::move(title)), terminal(isatty(STDERR_FILENO)) {}

ProgressBar::~ProgressBar() {
  if (shown)
    fputs("\r\033[K", stderr);
}

void ProgressBar::update(uint64_t done, uint64_t total) {
  auto now = std::chrono::steady_clock::now();
  // Ten times a second is as much as an eye follows.
  if (!terminal || !total || (shown && now - last < std::chrono::milliseconds(100)))
    return;
  last = now;
  shown = true;
  constexpr unsigned width = 30;
  unsigned filled = unsigned(double(done) / double(total) * width);
  fprintf(stderr, "\r%s [%.*s%.*s] %3.0f%%", title.c_str(), int(filled), "##############################",
          int(width - filled), "                              ", 100 * double(done) / double(total));
  fflush(stderr);
}
