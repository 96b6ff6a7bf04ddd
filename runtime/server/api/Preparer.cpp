//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/api/Preparer.h"

namespace mlc::server {

Preparer::Preparer() : thread([this] { run(); }) {}

void Preparer::stop() {
  {
    std::lock_guard guard(lock);
    ending = true;
  }
  changed.notify_one();
  if (thread.joinable())
    thread.join();
  tasks.clear();
}

void Preparer::after(std::chrono::milliseconds delay, std::function<void()> task) {
  {
    std::lock_guard guard(lock);
    if (ending)
      return;
    tasks.emplace(Clock::now() + delay, std::move(task));
  }
  changed.notify_one();
}

void Preparer::run() {
  std::unique_lock guard(lock);
  while (!ending) {
    if (tasks.empty()) {
      changed.wait(guard);
    } else if (auto due = tasks.begin()->first; due > Clock::now()) {
      changed.wait_until(guard, due);
    } else {
      auto task = std::move(tasks.extract(tasks.begin()).mapped());
      guard.unlock();
      task();
      task = nullptr; // What it holds goes before the next one.
      guard.lock();
    }
  }
}

} // namespace mlc::server
