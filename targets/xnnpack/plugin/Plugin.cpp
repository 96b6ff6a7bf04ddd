//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What libmlc-xnnpack.so gives the runtime.
//
#include "targets/xnnpack/plugin/Operators.h"
#include "targets/xnnpack/plugin/ThreadPool.h"

#include <xnnpack.h>

namespace mlc::xnnpack {

/// XNNPACK finds the pool's functions here, unless its library was in the process before, with others of their names.
static Status checkBinding() {
  xnn_operator_t op = nullptr;
  float in[8] = {-1}, out[1] = {};
  uint64_t before = poolCalls();
  bool ran = xnn_create_abs_nc_f32(1, 1, 1, 0, &op) == xnn_status_success &&
             xnn_setup_abs_nc_f32(op, 1, in, out, nullptr) == xnn_status_success &&
             xnn_run_operator(op, nullptr) == xnn_status_success;
  xnn_delete_operator(op);
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
