//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the runtime and libmlc-xnnpack.so know of each other. Both are built from one tree: the library is refused when
// its version or its idea of the shared types differs.
//
#pragma once

#include "runtime/exec/Kernel.h"

namespace mlc::xnnpack {

/// File of the library, and the function in it that gives its Plugin.
constexpr const char *kLibrary = "libmlc-xnnpack.so";
constexpr const char *kEntry = "mlc_xnnpack_plugin";

/// XNNPACK reads so many bytes behind its inputs.
constexpr size_t kReadBehind = 16;

/// What the library calls: the worker pool is the program's.
struct Host {
  void (*run)(WorkerPool *pool, int64_t count, int64_t grain, WorkerPool::Body body, void *context);
};

enum class Kernel : uint8_t {
  averagePool,
  binary,
  conv,
  convQs8,
  convTranspose,
  linear,
  linearQb4,
  linearQd8,
  maxPool,
  resize,
  softmax,
  unary
};

/// Sizes of what is passed by address.
struct Layout {
  uint32_t plugin, call, context, view;
  bool operator==(const Layout &) const = default;
};

struct Plugin {
  Layout layout;
  const char *version; // MLC_VERSION of its build.
  /// Starts XNNPACK; any thread, any number of times.
  Status (*start)();
  /// Of a call that check() accepted; `host` outlives what it returns.
  Result<void *> (*prepare)(Kernel kernel, const KernelCallInfo &call, const Host &host);
  void (*run)(const KernelContext &context);
  void (*release)(void *prepared);
};

/// What a prepared call begins with: the library that made it.
struct Prepared {
  const Plugin *plugin;
};

constexpr Layout kLayout{sizeof(Plugin), sizeof(KernelCallInfo), sizeof(KernelContext), sizeof(TensorView)};

} // namespace mlc::xnnpack
