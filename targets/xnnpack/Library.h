//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// libmlc-xnnpack.so, loaded when an artifact names its kernels.
//
#pragma once

#include "targets/xnnpack/Plugin.h"

namespace mlc::xnnpack {

/// The library's functions, which stay loaded; Unsupported, naming the library and the remedy, where there is none.
Result<const Plugin *> load();

} // namespace mlc::xnnpack
