//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The kernels of language models, one image for each architecture: one compilation costs less than one for each file.
//
#include "targets/cuda/attention/AttentionTile.cuh"
#include "targets/cuda/collective/AllReduce.cuh"
#include "targets/cuda/device/Peak.cuh"
#include "targets/cuda/elementwise/Elementwise.cuh"
#include "targets/cuda/linear/LinearFloat.cuh"
#include "targets/cuda/linear/LinearStream.cuh"
#include "targets/cuda/linear/LinearTile.cuh"
#include "targets/cuda/linear/QuantizeRows.cuh"
#include "targets/cuda/moe/Experts.cuh"
#include "targets/cuda/norm/Norm.cuh"
#include "targets/cuda/recurrent/Conv1d.cuh"
#include "targets/cuda/recurrent/SsdTile.cuh"
#include "targets/cuda/tokens/Draw.cuh"
#include "targets/cuda/tokens/Rope.cuh"
