//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// From a weight's descriptor to the arguments of linear's products, for the kernels that call them.
//
#pragma once

#include "targets/cpu/kernels/TileForms.h"

namespace mlc::cpu {

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, linearFloat, LinearFloatFn)
MLC_DECLARE_FORMS(MLC_BF16_FORMS, roundRow, RoundRowFn)
MLC_DECLARE_FORMS(MLC_BF16_FORMS, linearBf16, LinearBf16Fn)
MLC_DECLARE_FORMS(MLC_DOT_FORMS, prepareSums, PrepareSumsFn)
MLC_DECLARE_FORMS(MLC_DOT_FORMS, linearInt, LinearIntFn)

/// Those of one form: what surrounds them is there once for all forms.
struct LinearFunctions {
  LinearFloatFn *real;
  RoundRowFn *roundRow;
  LinearBf16Fn *bf16;
  PairTilesFn *pairTiles; // LinearBf16::tiles.
  PrepareSumsFn *prepareSums;
  LinearIntFn *integer;
  DotTilesFn *tiles; // LinearInt::tiles.
  FewRowsFn *few;
  bool streams; // LinearInt::streams.
};
template <Isa isa>
inline constexpr LinearFunctions kLinearFunctions{formFor(linearFloatForms, isa),
                                                  formFor(roundRowForms, isa),
                                                  formFor(linearBf16Forms, isa),
                                                  kPairTiles<isa>,
                                                  formFor(prepareSumsForms, isa),
                                                  formFor(linearIntForms, isa),
                                                  kDotTiles<isa>,
                                                  kFewTiles<isa>,
                                                  kDotTiles<isa> || isa == Isa::avx2};

// Unpacked weights serve all rows of a tile, which stream from the caches for every two panels.
constexpr int64_t kMostRows = 512;

/// `value` rounded up to a multiple of `multiple`; alignUp takes powers of two only.
constexpr int64_t roundUp(int64_t value, int64_t multiple) { return ceilDiv(value, multiple) * multiple; }

/// What follows from the descriptor, which must outlive the float one; rows, weight, tile and output are the caller's.
LinearInt linearIntOf(const fb::WeightDesc &weight);
LinearFloat linearFloatOf(const fb::WeightDesc &weight);
LinearBf16 linearBf16Of(const fb::WeightDesc &weight);
/// prepareSums' shift for the rows that meet the weight.
int sumShiftOf(const fb::WeightDesc &weight);

} // namespace mlc::cpu
