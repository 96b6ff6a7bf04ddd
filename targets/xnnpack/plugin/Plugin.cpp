//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What libmlc-xnnpack.so gives the runtime.
//
#include "targets/xnnpack/plugin/Operator.h"

namespace mlc::xnnpack {

/// XNNPACK finds the pool's functions here, unless its library was in the process before, with others of their names.
static Status checkBinding() {
  float in[8] = {-1}, out[1] = {};
  uint64_t before = poolCalls();
  bool ran = tryOperator(in, out) == xnn_status_success;
  if (!ran || out[0] != 1)
    return Error(ErrorCode::Unsupported, "%s: XNNPACK does not run here", kLibrary);
  if (poolCalls() == before)
    return Error(ErrorCode::Unsupported,
                 "%s: this program has an XNNPACK of its own loaded, which runs on other threads: compile with "
                 "--kernels own",
                 kLibrary);
  return {};
}

static Status start() {
  if (xnn_status status = xnn_initialize(nullptr); status != xnn_status_success)
    return Error(ErrorCode::Unsupported,
                 "%s: XNNPACK does not run on this machine (status %d): compile with --kernels own", kLibrary,
                 int(status));
  return checkBinding();
}

static constexpr Plugin kPlugin{kLayout, MLC_VERSION, start, prepareOperator, runOperator, releaseOperator};
const Plugin &plugin() { return kPlugin; }

} // namespace mlc::xnnpack

extern "C" __attribute__((visibility("default"))) const mlc::xnnpack::Plugin *mlc_xnnpack_plugin() {
  return &mlc::xnnpack::plugin();
}
