//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Elementwise regions for a GPU: all of a model in one image of PTX, whose entries have the regions' names.
//
//   entry(inputs..., results..., columns, the row stride of each buffer in elements, rows)
//
// Addresses are of global memory, numbers i64; a thread calculates one element: its column is blockIdx.x * blockDim.x +
// threadIdx.x, its row the same of y. Values are those of compileRegion with FMA, bit for bit but for a NaN's payload.
//
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mlc {

struct GpuRegion {
  llvm::StringRef name, source; // As compileRegion takes it.
};

/// What the triple of a GPU's code is called in artifacts.
inline constexpr llvm::StringLiteral kGpuTriple = "nvptx64-nvidia-cuda";
/// Every GPU from this one on runs the PTX.
inline constexpr llvm::StringLiteral kGpuRegionArch = "compute_80";

/// PTX that drivers from CUDA 11 on take. Errors name the region and what has no inline form.
llvm::Expected<std::string> compileGpuRegions(llvm::ArrayRef<GpuRegion> regions);

/// The ptxas that `wanted` names; when it is empty that of the toolkit mlc was built with, else of PATH; empty when
/// there is none, or "none" is wanted.
llvm::Expected<std::string> findPtxas(llvm::StringRef wanted);
/// Machine code of `ptx` for `arch` (sm_80) by the program `ptxas`.
llvm::Expected<std::vector<uint8_t>> assemblePtx(llvm::StringRef ptxas, llvm::StringRef ptx, llvm::StringRef arch);

} // namespace mlc
