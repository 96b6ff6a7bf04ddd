//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// NCCL, opened by dlopen: the entry points by which the GPUs of tensor parallelism give each other values, declared
// here so that it builds without the library. Names and values are those of NVIDIA's nccl.h, whose ABI is stable.
//
#pragma once

#include "runtime/core/Result.h"
#include "targets/cuda/driver/Driver.h"

#include <span>

namespace mlc::cuda {

enum NcclResult : int { ncclSuccess = 0 };
constexpr int ncclFloat32 = 7;
using NcclComm = struct NcclCommOpaque *;

/// X(name here, exported name, result, parameters)
#define MLC_NCCL_CALLS(X)                                                                                              \
  X(getVersion, ncclGetVersion, NcclResult, (int *))                                                                   \
  X(getErrorString, ncclGetErrorString, const char *, (NcclResult))                                                    \
  X(commInitAll, ncclCommInitAll, NcclResult, (NcclComm *, int, const int *))                                          \
  X(commAbort, ncclCommAbort, NcclResult, (NcclComm))                                                                  \
  X(commDestroy, ncclCommDestroy, NcclResult, (NcclComm))                                                              \
  X(allGather, ncclAllGather, NcclResult, (const void *, void *, size_t, int, NcclComm, CuStream))

/// 2.10: the first whose calls a graph may hold on every driver that is new enough.
constexpr int kNcclVersion = 21000;

/// Immutable once loaded.
class Nccl {
public:
  /// Opens libnccl.so.2. Unsupported: there is none, or it is too old.
  static Result<Nccl> load();

#define MLC_NCCL_POINTER(NAME, SYMBOL, RESULT, PARAMETERS) RESULT(*NAME) PARAMETERS = nullptr;
  MLC_NCCL_CALLS(MLC_NCCL_POINTER)
#undef MLC_NCCL_POINTER

  /// Ok, or one line: "WHAT: NCCL: ...".
  Status check(NcclResult result, const char *what) const;
};

} // namespace mlc::cuda
