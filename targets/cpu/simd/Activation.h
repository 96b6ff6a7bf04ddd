//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The activation functions on 16 lanes.
//
#pragma once

#include "targets/cpu/simd/Math.h"

namespace mlc::cpu {

// The values of fb::Activation, which the forms do not include.
enum class Act : uint8_t { none = 0, silu = 1, geluTanh = 2, geluErf = 3, relu = 4, relu2 = 5, tanh = 6, sigmoid = 7 };

namespace MLC_ISA_NS {

/// *v = act(*v)
void activateAny(Act act, VF *v);

namespace {

template <Act act> MLC_SIMD VF activate(VF x) {
  if constexpr (act == Act::silu)
    return x * sigmoid(x);
  if constexpr (act == Act::geluTanh) {
    VF inner = fma(x * x * x, set1(0.044715f), x) * set1(0.797884561f);
    return set1(0.5f) * x * (set1(1.0f) + tanh(inner));
  }
  if constexpr (act == Act::geluErf)
    return set1(0.5f) * x * (set1(1.0f) + erf(x * set1(0.707106781f)));
  if constexpr (act == Act::relu)
    return select(x < zero(), zero(), x);
  if constexpr (act == Act::relu2) {
    VF positive = select(x < zero(), zero(), x);
    return positive * positive;
  }
  if constexpr (act == Act::tanh)
    return tanh(x);
  if constexpr (act == Act::sigmoid)
    return sigmoid(x);
  return x;
}

/// Calls body(integral constant of the activation).
template <typename Body> MLC_SIMD void withActivation(Act act, const Body &body) {
  switch (act) {
#define MLC_ACT(NAME)                                                                                                  \
  case Act::NAME:                                                                                                      \
    return body.template operator()<Act::NAME>();
    MLC_ACT(none)
    MLC_ACT(silu)
    MLC_ACT(geluTanh)
    MLC_ACT(geluErf)
    MLC_ACT(relu)
    MLC_ACT(relu2)
    MLC_ACT(tanh)
    MLC_ACT(sigmoid)
#undef MLC_ACT
  }
}

/// The activation of one vector, where it is `Usual` inline; for the others one copy serves a whole form.
template <Act Usual> MLC_SIMD VF activateUsually(Act act, VF v) {
  if (act == Usual)
    return activate<Usual>(v);
  if (act != Act::none)
    activateAny(act, &v);
  return v;
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
