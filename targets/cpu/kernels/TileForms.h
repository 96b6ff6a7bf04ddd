//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The products with tiles that a form's kernels call; null: it has none.
//
#pragma once

#include "targets/cpu/Kernels.h"
#include "targets/cpu/kernels/Linear.h"

namespace mlc::cpu {

#if defined(__x86_64__)
namespace amx {
DotTilesFn dotTiles;
FewRowsFn multiplyFewRows;
PairTilesFn multiplyPairs;
} // namespace amx
template <Isa isa> constexpr DotTilesFn *kDotTiles = isa >= Isa::amx ? amx::dotTiles : nullptr;
template <Isa isa> constexpr FewRowsFn *kFewTiles = isa >= Isa::amx ? amx::multiplyFewRows : nullptr;
template <Isa isa> constexpr PairTilesFn *kPairTiles = isa >= Isa::amx ? amx::multiplyPairs : nullptr;
#else
template <Isa isa> constexpr DotTilesFn *kDotTiles = nullptr;
template <Isa isa> constexpr FewRowsFn *kFewTiles = nullptr;
template <Isa isa> constexpr PairTilesFn *kPairTiles = nullptr;
#endif

} // namespace mlc::cpu
