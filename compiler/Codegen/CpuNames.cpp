//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Codegen/CpuNames.h"

#include "llvm/TargetParser/Triple.h"

using namespace mlc;

// Levels first, worst first: the default order of an artifact's variants.
static constexpr CpuName kX86[] = {{"x86-64-v2", "x86-64-v2"},
                                   {"x86-64-v3", "x86-64-v3"},
                                   {"x86-64-v4", "x86-64-v4"},
                                   {"vnni", "x86-64-v3"},
                                   {"bf16", "x86-64-v4"}};
static constexpr CpuName kArm64[] = {
    {"armv8-a", "armv8-a"}, {"dotprod", "armv8-a"}, {"i8mm", "armv8-a"}, {"bf16", "armv8-a"}};
static constexpr CpuName kArm32[] = {{"armv7-a", "armv7-a"}, {"vfpv4", "vfpv4"}};

static constexpr TargetTriple kX86Triple{"x86_64-linux-gnu", "x86-64", kX86};
static constexpr TargetTriple kArm64Triple{"aarch64-linux-gnu", "aarch64", kArm64};
static constexpr TargetTriple kArm32Triple{"arm-linux-gnueabihf", "armv7", kArm32};

const TargetTriple *mlc::findTargetTriple(llvm::StringRef text) {
  llvm::Triple triple(llvm::Triple::normalize(text));
  if (!triple.isOSLinux() || triple.isX32())
    return nullptr;
  switch (triple.getArch()) {
  case llvm::Triple::x86_64:
    return &kX86Triple;
  case llvm::Triple::aarch64:
    return triple.isArch64Bit() && triple.getEnvironment() != llvm::Triple::GNUILP32 ? &kArm64Triple : nullptr;
  case llvm::Triple::arm: {
    // Hard float of version 7 or later; "arm" alone is what Debian calls its armhf.
    auto environment = triple.getEnvironment();
    bool hardFloat = environment == llvm::Triple::GNUEABIHF || environment == llvm::Triple::MuslEABIHF;
    unsigned version = triple.getArchName().starts_with("armv") ? triple.getArchName()[4] - '0' : 7;
    return hardFloat && (version == 7 || version == 8) ? &kArm32Triple : nullptr;
  }
  default:
    return nullptr;
  }
}

llvm::StringRef mlc::targetTripleNames() { return "x86_64-linux-gnu, aarch64-linux-gnu or arm-linux-gnueabihf"; }
