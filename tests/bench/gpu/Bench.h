//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the benchmarks of a GPU's kernels share.
//
#pragma once

#include "targets/cuda/Kernels.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <utility>

namespace mlc::cuda {

[[noreturn]] inline void fail(const Error &error) {
  fprintf(stderr, "%s: %s\n", program_invocation_short_name, error.message());
  exit(1);
}
inline void must(const Status &status) {
  if (!status)
    fail(status.error());
}
template <typename T> T must(Result<T> result) {
  if (!result)
    fail(result.error());
  return std::move(*result);
}

inline double seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

/// Rows that begin `stride` values apart, behind each other by default.
inline TensorView matrix(const float *data, int64_t rows, int64_t columns, int64_t stride = 0) {
  TensorView view;
  view.data = const_cast<float *>(data);
  view.dtype = DType::f32;
  view.rank = 2;
  view.dims[0] = rows;
  view.dims[1] = columns;
  view.strides[0] = stride ? stride : columns;
  view.strides[1] = 1;
  return view;
}

} // namespace mlc::cuda
