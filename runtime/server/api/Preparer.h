//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The thread that parses, tokenizes and compiles grammars, so that neither the HTTP thread nor an engine waits for it.
//
#pragma once

#include "runtime/server/http/Http.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

namespace mlc::server {

class Preparer {
public:
  Preparer();
  ~Preparer() { stop(); }
  Preparer(const Preparer &) = delete;
  Preparer &operator=(const Preparer &) = delete;

  /// Ends the thread; what has not begun is dropped, and so is what comes later.
  void stop();

  // Any thread. Tasks run one after the other, in the order of their coming, and must not throw.
  void post(std::function<void()> task) { after(std::chrono::milliseconds(0), std::move(task)); }
  void after(std::chrono::milliseconds delay, std::function<void()> task);

private:
  void run();
  std::mutex lock;
  std::condition_variable changed;
  std::multimap<Clock::time_point, std::function<void()>> tasks; // By when they are due.
  bool ending = false;
  std::thread thread; // Last: it uses the others.
};

} // namespace mlc::server
