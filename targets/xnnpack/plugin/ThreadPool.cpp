//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/xnnpack/plugin/ThreadPool.h"

#include <atomic>
#include <pthreadpool.h>
#include <utility>

namespace mlc::xnnpack {

static std::atomic<uint64_t> calls{0};
uint64_t poolCalls() { return calls.load(std::memory_order_relaxed); }

namespace {

/// A grid of items: of each axis its extent and the tile that one item covers.
template <size_t axes> struct Grid {
  size_t extents[axes], tiles[axes];

  /// Tiles along an axis; the last may be shorter.
  size_t count(size_t axis) const { return extents[axis] / tiles[axis] + (extents[axis] % tiles[axis] != 0); }
};

/// Calls body(thread, start of each axis) for items [begin, end) of the grid, the last axis fastest.
template <size_t axes, typename F>
void forItems(const Grid<axes> &grid, int64_t begin, int64_t end, size_t thread, F &&body) {
  size_t starts[axes];
  auto rest = size_t(begin);
  for (size_t axis = axes; axis-- > 0; rest /= grid.count(axis))
    starts[axis] = rest % grid.count(axis) * grid.tiles[axis];
  for (int64_t item = begin; item < end; ++item) {
    body(thread, starts);
    for (size_t axis = axes; axis-- > 0;) {
      starts[axis] += grid.tiles[axis];
      if (starts[axis] < grid.extents[axis])
        break;
      starts[axis] = 0;
    }
  }
}

template <size_t axes, typename F> void parallelize(pthreadpool *pool, const Grid<axes> &grid, F &&body) {
  calls.fetch_add(1, std::memory_order_relaxed);
  int64_t items = 1;
  for (size_t axis = 0; axis < axes; ++axis)
    items *= int64_t(grid.count(axis));
  if (!items)
    return;
  if (!pool || !pool->pool || pool->threads <= 1 || items <= 1)
    return forItems(grid, 0, items, 0, body);
  struct Job {
    const Grid<axes> *grid;
    std::remove_reference_t<F> *body;
  } job{&grid, &body};
  pool->host->run(
      pool->pool, items, 1,
      [](void *context, int64_t begin, int64_t end, unsigned worker) {
        const Job &job = *static_cast<const Job *>(context);
        forItems(*job.grid, begin, end, worker, *job.body);
      },
      &job);
}

/// How much of the tile that starts at `start` lies inside.
template <size_t axes> size_t inside(const Grid<axes> &grid, size_t axis, size_t start) {
  return grid.extents[axis] - start < grid.tiles[axis] ? grid.extents[axis] - start : grid.tiles[axis];
}

/// Calls call(thread, starts..., sizes of the last `tiled` axes).
template <size_t tiled, size_t axes, typename Call> void run(pthreadpool *pool, Grid<axes> grid, Call &&call) {
  parallelize(pool, grid, [&](size_t thread, const size_t *starts) {
    [&]<size_t... i, size_t... t>(std::index_sequence<i...>, std::index_sequence<t...>) {
      call(thread, starts[i]..., inside(grid, axes - tiled + t, starts[axes - tiled + t])...);
    }(std::make_index_sequence<axes>(), std::make_index_sequence<tiled>());
  });
}

} // namespace
} // namespace mlc::xnnpack

using mlc::xnnpack::run;

// The declarations are pthreadpool.h's. Flags ask for denormals as zeros, or that workers sleep at once: neither
// changes what a kernel may do. A microarchitecture's index is the default: the kernels of every core are right on all.
extern "C" {

#define MLC_EXPORT __attribute__((visibility("default")))
#define MLC_CALL [&](size_t, auto... at) { task(context, at...); }
#define MLC_CALL_UARCH [&](size_t, auto... at) { task(context, uarch, at...); }
#define MLC_CALL_THREAD [&](size_t thread, auto... at) { task(context, thread, at...); }

MLC_EXPORT size_t pthreadpool_get_threads_count(pthreadpool_t pool) { return pool ? pool->threads : 1; }

MLC_EXPORT void pthreadpool_parallelize_1d(pthreadpool_t pool, pthreadpool_task_1d_t task, void *context, size_t a,
                                           uint32_t) {
  run<0, 1>(pool, {{a}, {1}}, MLC_CALL);
}
MLC_EXPORT void pthreadpool_parallelize_1d_with_uarch(pthreadpool_t pool, pthreadpool_task_1d_with_id_t task,
                                                      void *context, uint32_t uarch, uint32_t, size_t a, uint32_t) {
  run<0, 1>(pool, {{a}, {1}}, MLC_CALL_UARCH);
}
MLC_EXPORT void pthreadpool_parallelize_1d_tile_1d(pthreadpool_t pool, pthreadpool_task_1d_tile_1d_t task,
                                                   void *context, size_t a, size_t ta, uint32_t) {
  run<1, 1>(pool, {{a}, {ta}}, MLC_CALL);
}
MLC_EXPORT void pthreadpool_parallelize_2d(pthreadpool_t pool, pthreadpool_task_2d_t task, void *context, size_t a,
                                           size_t b, uint32_t) {
  run<0, 2>(pool, {{a, b}, {1, 1}}, MLC_CALL);
}
MLC_EXPORT void pthreadpool_parallelize_2d_tile_1d(pthreadpool_t pool, pthreadpool_task_2d_tile_1d_t task,
                                                   void *context, size_t a, size_t b, size_t tb, uint32_t) {
  run<1, 2>(pool, {{a, b}, {1, tb}}, MLC_CALL);
}
MLC_EXPORT void pthreadpool_parallelize_2d_tile_2d(pthreadpool_t pool, pthreadpool_task_2d_tile_2d_t task,
                                                   void *context, size_t a, size_t b, size_t ta, size_t tb, uint32_t) {
  run<2, 2>(pool, {{a, b}, {ta, tb}}, MLC_CALL);
}
MLC_EXPORT void pthreadpool_parallelize_2d_tile_2d_with_uarch(pthreadpool_t pool,
                                                              pthreadpool_task_2d_tile_2d_with_id_t task, void *context,
                                                              uint32_t uarch, uint32_t, size_t a, size_t b, size_t ta,
                                                              size_t tb, uint32_t) {
  run<2, 2>(pool, {{a, b}, {ta, tb}}, MLC_CALL_UARCH);
}
MLC_EXPORT void pthreadpool_parallelize_3d(pthreadpool_t pool, pthreadpool_task_3d_t task, void *context, size_t a,
                                           size_t b, size_t c, uint32_t) {
  run<0, 3>(pool, {{a, b, c}, {1, 1, 1}}, MLC_CALL);
}
MLC_EXPORT void pthreadpool_parallelize_3d_tile_2d(pthreadpool_t pool, pthreadpool_task_3d_tile_2d_t task,
                                                   void *context, size_t a, size_t b, size_t c, size_t tb, size_t tc,
                                                   uint32_t) {
  run<2, 3>(pool, {{a, b, c}, {1, tb, tc}}, MLC_CALL);
}
MLC_EXPORT void pthreadpool_parallelize_3d_tile_2d_with_uarch(pthreadpool_t pool,
                                                              pthreadpool_task_3d_tile_2d_with_id_t task, void *context,
                                                              uint32_t uarch, uint32_t, size_t a, size_t b, size_t c,
                                                              size_t tb, size_t tc, uint32_t) {
  run<2, 3>(pool, {{a, b, c}, {1, tb, tc}}, MLC_CALL_UARCH);
}
MLC_EXPORT void pthreadpool_parallelize_4d(pthreadpool_t pool, pthreadpool_task_4d_t task, void *context, size_t a,
                                           size_t b, size_t c, size_t d, uint32_t) {
  run<0, 4>(pool, {{a, b, c, d}, {1, 1, 1, 1}}, MLC_CALL);
}
MLC_EXPORT void pthreadpool_parallelize_4d_tile_2d(pthreadpool_t pool, pthreadpool_task_4d_tile_2d_t task,
                                                   void *context, size_t a, size_t b, size_t c, size_t d, size_t tc,
                                                   size_t td, uint32_t) {
  run<2, 4>(pool, {{a, b, c, d}, {1, 1, tc, td}}, MLC_CALL);
}
MLC_EXPORT void pthreadpool_parallelize_4d_tile_2d_with_uarch(pthreadpool_t pool,
                                                              pthreadpool_task_4d_tile_2d_with_id_t task, void *context,
                                                              uint32_t uarch, uint32_t, size_t a, size_t b, size_t c,
                                                              size_t d, size_t tc, size_t td, uint32_t) {
  run<2, 4>(pool, {{a, b, c, d}, {1, 1, tc, td}}, MLC_CALL_UARCH);
}
MLC_EXPORT void pthreadpool_parallelize_5d(pthreadpool_t pool, pthreadpool_task_5d_t task, void *context, size_t a,
                                           size_t b, size_t c, size_t d, size_t e, uint32_t) {
  run<0, 5>(pool, {{a, b, c, d, e}, {1, 1, 1, 1, 1}}, MLC_CALL);
}
MLC_EXPORT void pthreadpool_parallelize_5d_tile_2d(pthreadpool_t pool, pthreadpool_task_5d_tile_2d_t task,
                                                   void *context, size_t a, size_t b, size_t c, size_t d, size_t e,
                                                   size_t td, size_t te, uint32_t) {
  run<2, 5>(pool, {{a, b, c, d, e}, {1, 1, 1, td, te}}, MLC_CALL);
}
MLC_EXPORT void pthreadpool_parallelize_6d_tile_2d(pthreadpool_t pool, pthreadpool_task_6d_tile_2d_t task,
                                                   void *context, size_t a, size_t b, size_t c, size_t d, size_t e,
                                                   size_t f, size_t te, size_t tf, uint32_t) {
  run<2, 6>(pool, {{a, b, c, d, e, f}, {1, 1, 1, 1, te, tf}}, MLC_CALL);
}

// Of XNNPACK of 2024. The types of their tasks are written out: an older pthreadpool.h has no names for them.
MLC_EXPORT void pthreadpool_parallelize_1d_with_thread(pthreadpool_t pool, void (*task)(void *, size_t, size_t),
                                                       void *context, size_t a, uint32_t) {
  run<0, 1>(pool, {{a}, {1}}, MLC_CALL_THREAD);
}
MLC_EXPORT void pthreadpool_parallelize_2d_with_thread(pthreadpool_t pool, void (*task)(void *, size_t, size_t, size_t),
                                                       void *context, size_t a, size_t b, uint32_t) {
  run<0, 2>(pool, {{a, b}, {1, 1}}, MLC_CALL_THREAD);
}
MLC_EXPORT void pthreadpool_parallelize_3d_tile_1d(pthreadpool_t pool,
                                                   void (*task)(void *, size_t, size_t, size_t, size_t), void *context,
                                                   size_t a, size_t b, size_t c, size_t tc, uint32_t) {
  run<1, 3>(pool, {{a, b, c}, {1, 1, tc}}, MLC_CALL);
}
MLC_EXPORT void
pthreadpool_parallelize_3d_tile_1d_with_thread(pthreadpool_t pool,
                                               void (*task)(void *, size_t, size_t, size_t, size_t, size_t),
                                               void *context, size_t a, size_t b, size_t c, size_t tc, uint32_t) {
  run<1, 3>(pool, {{a, b, c}, {1, 1, tc}}, MLC_CALL_THREAD);
}

} // extern "C"
