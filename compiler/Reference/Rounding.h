//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Roundings to storage types, shared by the evaluations.
//
#pragma once

#include "runtime/core/Float16.h"

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/ArrayRef.h"

namespace mlc::reference {

/// `value` rounded to f16 or bf16 (through f32); every other float type is computed in as it is.
template <typename T> T roundTo(mlir::Type type, T value) {
  if (type.isF16())
    return T(f16ToF32(f32ToF16(float(value))));
  if (type.isBF16())
    return T(bf16ToF32(f32ToBf16(float(value))));
  return value;
}

/// int8 codes of one group and its scale, always in f32 as the kernels do: scale = max|x| / 127,
/// q = round_half_even(x * (127 / max|x|)). A group that is not finite gets the scale NaN, one whose inverse leaves
/// f32's range the scale 0; both have codes 0.
float quantizeGroup(llvm::ArrayRef<float> values, int8_t *codes);

} // namespace mlc::reference
