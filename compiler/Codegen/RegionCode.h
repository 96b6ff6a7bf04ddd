//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Machine code for regions. An elementwise region is the text of a module with one func.func that holds one elementwise
// linalg.generic over tensor<?x?xf32>; its code calculates rows [begin, end) of every result:
//
//   int32_t f(void *const *buffers, const int64_t *dims, int64_t begin, int64_t end)
//
// buffers: the inputs, then the results; results overlap nothing. dims: columns, then each buffer's row stride in
// elements. The status is always 0. The bytes depend on the text, the triple and the level alone, not on this machine.
//
#pragma once

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mlc {

/// A region on buffers is the text of a module with one func.func of this name over memrefs (the call's buffers, in
/// order), the call's dims and the two bounds, all of type index. An op with the attribute kSplitAttr (an axis of its
/// loops) calculates [begin, end) of that axis; without one, the call calculates everything.
inline constexpr llvm::StringLiteral kRegionRow = "mlc_region_row";
inline constexpr llvm::StringLiteral kSplitAttr = "mlc.split";
/// Of a math.exp: its operand is never above zero.
inline constexpr llvm::StringLiteral kNotPositiveAttr = "mlc.not_positive";

/// Lanes of a panel: columns of weights that lie one after the other and are calculated side by side. Half as many
/// where they fit `columns` better.
inline constexpr int64_t kMostLanes = 16;
inline constexpr int64_t lanesOf(int64_t columns) {
  int64_t rest = columns % kMostLanes;
  return rest && rest <= kMostLanes / 2 ? kMostLanes / 2 : kMostLanes;
}
/// Whether `op` is acc[..., lane] + x[...] * panel[..., lane] with the lane as its last axis: calculated with a tile of
/// positions and panels in registers. A linalg.fill with zero right in front of it is not carried out by itself.
bool isPanelProduct(mlir::linalg::GenericOp op);

/// The axis of a product's positions, of which several share registers, is the last one that has so many; else the
/// longest.
inline constexpr int64_t kFewPositions = 6;

/// Where a blob may begin in memory: multiples of this.
inline constexpr uint64_t kCodeBlobAlignment = 64;

/// Position-independent code without imports or relocations, constants included; its entry is byte 0. triple and isa: a
/// level of CpuNames.h. Errors name the op that has no inline form.
llvm::Expected<std::vector<uint8_t>> compileRegion(llvm::StringRef source, llvm::StringRef triple, llvm::StringRef isa);

/// The same code as assembly.
llvm::Expected<std::string> assembleRegion(llvm::StringRef source, llvm::StringRef triple, llvm::StringRef isa);

} // namespace mlc
