//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/artifact/Machine.h"

#include <cstdint>
#if !defined(__x86_64__)
#include <sys/auxv.h>
#endif

namespace mlc {

// Worst first.
#if defined(__x86_64__)
static constexpr const char *kLevels[] = {kBaseLevel, "x86-64-v3", "x86-64-v4"};

bool machineHas(std::string_view name) {
  bool vnni = __builtin_cpu_supports("avx512vnni");
  if (name == "x86-64-v2")
    return __builtin_cpu_supports("x86-64-v2");
  if (name == "x86-64-v3")
    return __builtin_cpu_supports("x86-64-v3");
  if (name == "x86-64-v4")
    return __builtin_cpu_supports("x86-64-v4") && vnni;
  if (name == "vnni")
    return vnni || __builtin_cpu_supports("avxvnni");
  return name == "bf16" && __builtin_cpu_supports("avx512bf16");
}

const char *missingFeature() {
#if defined(__SSE4_2__)
  if (!machineHas("x86-64-v2"))
    return "x86-64-v2 (SSE4.2)";
#endif
  return nullptr;
}
#elif defined(__aarch64__)
static constexpr const char *kLevels[] = {kBaseLevel};
// Bits of the kernel's <asm/hwcap.h>.
static constexpr unsigned long kDotProd = 1ul << 20, kI8mm2 = 1ul << 13, kBf162 = 1ul << 14;

bool machineHas(std::string_view name) {
  if (name == "armv8-a")
    return true;
  if (name == "dotprod")
    return getauxval(AT_HWCAP) & kDotProd;
  if (name == "i8mm")
    return getauxval(AT_HWCAP2) & kI8mm2;
  return name == "bf16" && (getauxval(AT_HWCAP2) & kBf162);
}

const char *missingFeature() { return nullptr; }
#else
static constexpr const char *kLevels[] = {kBaseLevel, "vfpv4"};
static constexpr unsigned long kNeon = 1ul << 12, kVfpv4 = 1ul << 16;

bool machineHas(std::string_view name) {
  if (name == "armv7-a")
    return getauxval(AT_HWCAP) & kNeon;
  return name == "vfpv4" && (getauxval(AT_HWCAP) & kVfpv4);
}

const char *missingFeature() {
  if (!machineHas("armv7-a"))
    return "NEON";
#if defined(__ARM_FEATURE_FMA)
  if (!machineHas("vfpv4"))
    return "VFPv4";
#endif
  return nullptr;
}
#endif

int levelRank(std::string_view level) {
  int rank = -1;
  for (const char *known : kLevels) {
    ++rank;
    if (level == known)
      return machineHas(level) ? rank : -1;
  }
  return -1;
}

const char *machineLevel() {
  const char *best = kMachineFamily;
  for (const char *level : kLevels)
    if (machineHas(level))
      best = level;
  return best;
}

} // namespace mlc
