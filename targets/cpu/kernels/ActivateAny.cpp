//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cpu/simd/Activation.h"

namespace mlc::cpu::MLC_ISA_NS {

void activateAny(Act act, VF *v) {
  withActivation(act, [&]<Act A>() __attribute__((always_inline)) { *v = activate<A>(*v); });
}

} // namespace mlc::cpu::MLC_ISA_NS
