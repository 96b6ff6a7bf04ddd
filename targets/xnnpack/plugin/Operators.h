//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Calls as XNNPACK's operators: created and set up once, run many times.
//
#pragma once

#include "targets/xnnpack/Plugin.h"

namespace mlc::xnnpack {

const Plugin &plugin();

Result<void *> prepareOperator(Kernel kernel, const KernelCallInfo &call, const Host &host);
void runOperator(const KernelContext &context);
void releaseOperator(void *prepared);

} // namespace mlc::xnnpack
