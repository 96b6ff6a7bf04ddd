//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// pthreadpool's functions over the worker pool: every index once, tiles as long as they are inside.
//
#include "targets/xnnpack/plugin/ThreadPool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <mutex>
#include <pthreadpool.h>
#include <vector>

using namespace mlc;

namespace {

constexpr xnnpack::Host kHost{[](WorkerPool *pool, int64_t count, int64_t grain, WorkerPool::Body body, void *context) {
  pool->run(count, grain, body, context);
}};

/// How often each call's indices came.
struct Seen {
  std::mutex mutex;
  std::map<std::vector<size_t>, int> calls;
  static Seen &of(void *context) { return *static_cast<Seen *>(context); }
  void add(std::vector<size_t> indices) {
    std::lock_guard<std::mutex> lock(mutex);
    ++calls[std::move(indices)];
  }
};

/// The calls of a loop over `extents` by `tiles`, of which the last `tiled` have a size.
std::map<std::vector<size_t>, int> expected(std::vector<size_t> extents, std::vector<size_t> tiles, size_t tiled,
                                            std::vector<size_t> lead = {}) {
  std::map<std::vector<size_t>, int> calls;
  std::vector<size_t> at(extents.size(), 0);
  for (;;) {
    std::vector<size_t> indices = lead;
    indices.insert(indices.end(), at.begin(), at.end());
    for (size_t axis = extents.size() - tiled; axis < extents.size(); ++axis)
      indices.push_back(std::min(tiles[axis], extents[axis] - at[axis]));
    calls[indices] = 1;
    size_t axis = extents.size();
    while (axis-- > 0) {
      if ((at[axis] += tiles[axis]) < extents[axis])
        break;
      at[axis] = 0;
    }
    if (axis == SIZE_MAX)
      return calls;
  }
}

template <typename... Index> void note(void *context, Index... index) { Seen::of(context).add({size_t(index)...}); }

class PoolTest : public ::testing::TestWithParam<unsigned> {
protected:
  void SetUp() override {
    if (GetParam())
      workers = *WorkerPool::create(GetParam());
    pool = {&kHost, workers, GetParam() ? GetParam() : 1};
  }
  void TearDown() override {
    if (workers)
      WorkerPool::destroy(workers);
  }
  /// What `call` gives, by the pool and by no pool at all.
  template <typename F> void expectCalls(const std::map<std::vector<size_t>, int> &calls, F &&call) {
    for (pthreadpool *each : {&pool, static_cast<pthreadpool *>(nullptr)}) {
      Seen seen;
      call(each, &seen);
      EXPECT_EQ(seen.calls, calls);
    }
  }
  WorkerPool *workers = nullptr;
  pthreadpool pool{};
};

TEST_P(PoolTest, EveryIndexOnce) {
  EXPECT_EQ(pthreadpool_get_threads_count(&pool), std::max(1u, GetParam()));
  EXPECT_EQ(pthreadpool_get_threads_count(nullptr), 1u);
  expectCalls(expected({37}, {1}, 0), [](pthreadpool *p, void *c) { pthreadpool_parallelize_1d(p, note, c, 37, 0); });
  expectCalls(expected({37}, {1}, 0, {4}),
              [](pthreadpool *p, void *c) { pthreadpool_parallelize_1d_with_uarch(p, note, c, 4, 7, 37, 0); });
  expectCalls(expected({37}, {5}, 1),
              [](pthreadpool *p, void *c) { pthreadpool_parallelize_1d_tile_1d(p, note, c, 37, 5, 0); });
  expectCalls(expected({3, 11}, {1, 1}, 0),
              [](pthreadpool *p, void *c) { pthreadpool_parallelize_2d(p, note, c, 3, 11, 0); });
  expectCalls(expected({3, 11}, {1, 4}, 1),
              [](pthreadpool *p, void *c) { pthreadpool_parallelize_2d_tile_1d(p, note, c, 3, 11, 4, 0); });
  expectCalls(expected({7, 11}, {2, 4}, 2),
              [](pthreadpool *p, void *c) { pthreadpool_parallelize_2d_tile_2d(p, note, c, 7, 11, 2, 4, 0); });
  expectCalls(expected({7, 11}, {2, 4}, 2, {0}), [](pthreadpool *p, void *c) {
    pthreadpool_parallelize_2d_tile_2d_with_uarch(p, note, c, 0, 3, 7, 11, 2, 4, 0);
  });
  expectCalls(expected({2, 3, 5}, {1, 1, 1}, 0),
              [](pthreadpool *p, void *c) { pthreadpool_parallelize_3d(p, note, c, 2, 3, 5, 0); });
  expectCalls(expected({2, 3, 5}, {1, 2, 4}, 2),
              [](pthreadpool *p, void *c) { pthreadpool_parallelize_3d_tile_2d(p, note, c, 2, 3, 5, 2, 4, 0); });
  expectCalls(expected({2, 3, 5}, {1, 2, 4}, 2, {1}), [](pthreadpool *p, void *c) {
    pthreadpool_parallelize_3d_tile_2d_with_uarch(p, note, c, 1, 3, 2, 3, 5, 2, 4, 0);
  });
  expectCalls(expected({2, 3, 5, 4}, {1, 1, 1, 1}, 0),
              [](pthreadpool *p, void *c) { pthreadpool_parallelize_4d(p, note, c, 2, 3, 5, 4, 0); });
  expectCalls(expected({2, 3, 5, 4}, {1, 1, 4, 3}, 2),
              [](pthreadpool *p, void *c) { pthreadpool_parallelize_4d_tile_2d(p, note, c, 2, 3, 5, 4, 4, 3, 0); });
  expectCalls(expected({2, 3, 5, 4}, {1, 1, 4, 3}, 2, {2}), [](pthreadpool *p, void *c) {
    pthreadpool_parallelize_4d_tile_2d_with_uarch(p, note, c, 2, 3, 2, 3, 5, 4, 4, 3, 0);
  });
  expectCalls(expected({2, 1, 2, 3, 5}, {1, 1, 1, 1, 1}, 0),
              [](pthreadpool *p, void *c) { pthreadpool_parallelize_5d(p, note, c, 2, 1, 2, 3, 5, 0); });
  expectCalls(expected({2, 1, 2, 3, 5}, {1, 1, 1, 2, 2}, 2),
              [](pthreadpool *p, void *c) { pthreadpool_parallelize_5d_tile_2d(p, note, c, 2, 1, 2, 3, 5, 2, 2, 0); });
  expectCalls(expected({2, 1, 2, 2, 3, 5}, {1, 1, 1, 1, 2, 9}, 2), [](pthreadpool *p, void *c) {
    pthreadpool_parallelize_6d_tile_2d(p, note, c, 2, 1, 2, 2, 3, 5, 2, 9, 0);
  });
}

TEST_P(PoolTest, NothingToDo) {
  expectCalls({}, [](pthreadpool *p, void *c) { pthreadpool_parallelize_1d_tile_1d(p, note, c, 0, 5, 0); });
  expectCalls({}, [](pthreadpool *p, void *c) { pthreadpool_parallelize_2d(p, note, c, 3, 0, 0); });
}

// 0: a pool without workers behind it.
INSTANTIATE_TEST_SUITE_P(Threads, PoolTest, ::testing::Values(0u, 1u, 2u, 4u));

} // namespace
