//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cpu/RecurrentBase.h"

#include <cstring>

namespace mlc {

uint64_t recurrentCanonicalBytes(const fb::State &state) {
  uint64_t bytes = dtypeSize(state.recurrent()->dtype());
  for (uint64_t dim : *state.recurrent()->dims())
    bytes *= dim;
  return bytes;
}

namespace cpu {

SsmHeadLayout ssmHeadLayout(uint64_t headDim, uint64_t state, DType dtype) {
  SsmHeadLayout layout;
  layout.panels = ceilDiv(headDim, uint64_t(16));
  layout.rows = alignUp(state, uint64_t(dtype == DType::bf16 ? 2 : 1));
  layout.panelElements = layout.rows * 16;
  layout.elements = layout.panels * layout.panelElements;
  return layout;
}

size_t recurrentBaseBytes(const fb::State &state) {
  const fb::RecurrentSpec &spec = *state.recurrent();
  if (state.kind() == fb::StateKind::conv)
    return size_t(recurrentCanonicalBytes(state));
  SsmHeadLayout head = ssmHeadLayout(spec.dims()->Get(1), spec.dims()->Get(2), spec.dtype());
  return size_t(spec.dims()->Get(0) * head.elements * dtypeSize(spec.dtype()));
}

// Elements of type T between a base and canonical form, in the direction of `ToCanonical`.
template <bool ToCanonical, typename T, typename Base, typename Canonical>
static void convert(const fb::RecurrentSpec &spec, Base *base, Canonical *canonical) {
  uint64_t dim = spec.dims()->Get(1), state = spec.dims()->Get(2);
  SsmHeadLayout layout = ssmHeadLayout(dim, state, spec.dtype());
  constexpr bool kPairs = sizeof(T) == 2;
  for (uint64_t head = 0; head < spec.dims()->Get(0); ++head)
    for (uint64_t p = 0; p < dim; ++p)
      for (uint64_t n = 0; n < state; ++n) {
        uint64_t row = kPairs ? n / 2 * 32 + p % 16 * 2 + n % 2 : n * 16 + p % 16;
        Base *inBase = base + (head * layout.elements + p / 16 * layout.panelElements + row) * sizeof(T);
        Canonical *inCanonical = canonical + ((head * dim + p) * state + n) * sizeof(T);
        if constexpr (ToCanonical)
          memcpy(inCanonical, inBase, sizeof(T));
        else
          memcpy(inBase, inCanonical, sizeof(T));
      }
}

void recurrentToCanonical(const fb::State &state, const uint8_t *base, uint8_t *canonical) {
  if (state.kind() == fb::StateKind::conv)
    memcpy(canonical, base, recurrentBaseBytes(state));
  else if (state.recurrent()->dtype() == DType::bf16)
    convert<true, uint16_t>(*state.recurrent(), base, canonical);
  else
    convert<true, float>(*state.recurrent(), base, canonical);
}

void recurrentFromCanonical(const fb::State &state, uint8_t *base, const uint8_t *canonical) {
  if (state.kind() == fb::StateKind::conv) {
    memcpy(base, canonical, recurrentBaseBytes(state));
    return;
  }
  // Columns and rows that canonical form does not have.
  memset(base, 0, recurrentBaseBytes(state));
  if (state.recurrent()->dtype() == DType::bf16)
    convert<false, uint16_t>(*state.recurrent(), base, canonical);
  else
    convert<false, float>(*state.recurrent(), base, canonical);
}

} // namespace cpu
} // namespace mlc
