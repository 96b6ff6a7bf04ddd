//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The kernels as C++.
//
#include "targets/cuda/Kernels.cu"

// The forms of devices before Hopper, whose images have them by the names of the others.
#define MLC_COPIED_TILE(PANEL, ROWS)                                                                                   \
  MLC_KERNEL_OF(mlc_copied_tile_##PANEL##_##ROWS, TileLinearArgs, tileThreads(false)) {                                \
    linearTile<Panel::PANEL, ROWS, false>(args);                                                                       \
  }
MLC_TILE_FORMS(MLC_COPIED_TILE)
