//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A place to sleep at until a condition holds, over a Linux futex. Notifying is one load while nobody sleeps, takes no
// lock, and may be done by a signal handler.
//
#pragma once

#include <atomic>
#include <climits>
#include <cstdint>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace mlc {

class EventCount {
public:
  /// Sleeps until ready() is true. What ready() reads is stored, and read, with memory_order_seq_cst, and whoever
  /// stores it calls notify() afterwards: then either the store is seen here, or the sleeper is seen there.
  template <typename F> void wait(F &&ready) {
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    for (;;) {
      uint32_t seen = events.load(std::memory_order_seq_cst);
      if (ready())
        break;
      syscall(SYS_futex, &events, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
    }
    sleepers.fetch_sub(1, std::memory_order_relaxed);
  }

  void notify() {
    if (!sleepers.load(std::memory_order_seq_cst))
      return;
    events.fetch_add(1, std::memory_order_seq_cst);
    syscall(SYS_futex, &events, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  }

private:
  static_assert(sizeof(std::atomic<uint32_t>) == 4 && std::atomic<uint32_t>::is_always_lock_free);
  std::atomic<uint32_t> events{0}, sleepers{0};
};

} // namespace mlc
