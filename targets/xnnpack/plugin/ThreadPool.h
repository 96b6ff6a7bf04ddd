//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The runtime's worker pool behind the functions of pthreadpool that XNNPACK calls (ThreadPool.cpp defines them).
//
#pragma once

#include "targets/xnnpack/Plugin.h"

/// What XNNPACK passes on: it only sees the pointer.
struct pthreadpool {
  const mlc::xnnpack::Host *host;
  mlc::WorkerPool *pool; // Null: the caller's thread alone.
  unsigned threads;
};

namespace mlc::xnnpack {

/// How many of them were called, by any thread: whether XNNPACK finds these or others of their names.
uint64_t poolCalls();

} // namespace mlc::xnnpack
