//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/exec/states/StateStore.h"

#include <stdlib.h>

// The runtime links no C++ library; this is all that abstract classes need of one.
extern "C" __attribute__((weak, visibility("hidden"))) void __cxa_pure_virtual() { abort(); }
