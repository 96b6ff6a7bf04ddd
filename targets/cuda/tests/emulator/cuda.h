//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What headers that the emulator shares name of the driver's; on a machine without CUDA there is none.
//
#pragma once

struct CUtensorMap {
  alignas(64) unsigned char opaque[128];
};
