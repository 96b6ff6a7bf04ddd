//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The worker pool: every item once, chunk borders by grain alone, jobs back to back, workers that come late or never.
//
#include "runtime/core/WorkerPool.h"

#include "gtest/gtest.h"

#include <vector>

using namespace mlc;

TEST(WorkerPool, EveryItemOnceInChunksOfTheGrain) {
  for (unsigned threads : {1u, 2u, 3u, 5u}) {
    WorkerPool *pool = *WorkerPool::create(threads);
    ASSERT_EQ(pool->size(), threads);
    for (int64_t job = 0; job < 500; ++job) {
      int64_t count = job * 37 % 200, grain = 1 + job % 3;
      std::vector<int> hits(size_t(count), 0), bad(threads, 0);
      pool->parallelFor(count, grain, [&](int64_t begin, int64_t end, unsigned worker) {
        bad[worker] += begin % grain != 0 || end != std::min(begin + grain, count);
        for (int64_t i = begin; i < end; ++i)
          ++hits[size_t(i)];
      });
      ASSERT_EQ(hits, std::vector<int>(size_t(count), 1));
      ASSERT_EQ(bad, std::vector<int>(threads, 0));
    }
    WorkerPool::destroy(pool);
  }
}

TEST(WorkerPool, ManyShortLives) {
  for (int i = 0; i < 50; ++i)
    WorkerPool::destroy(*WorkerPool::create(4));
  EXPECT_FALSE(bool(WorkerPool::create(0)));
  EXPECT_FALSE(bool(WorkerPool::create(1025)));
}
