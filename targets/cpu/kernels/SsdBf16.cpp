//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ssd with products of values rounded to bf16.
//
#include "targets/cpu/kernels/SsdRounded.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {

SsdPackFn ssdPackBf16;
void ssdPackBf16(const SsdPackArgs &args) { ssdPackOf<Rounded>(args); }
SsdHeadFn ssdHeadBf16;
void ssdHeadBf16(const SsdHeadArgs &args) { ssdHeadOf<Rounded>(args); }

} // namespace MLC_ISA_NS
} // namespace mlc::cpu
