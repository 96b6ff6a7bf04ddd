//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What this machine is, in the words of `mlc compile`: its triple, the family whose packed layouts it reads, the
// lowest level of compiled code, and the names of --cpu.
//
#pragma once

#include <string_view>

namespace mlc {

#if defined(__x86_64__)
inline constexpr const char *kMachineTriple = "x86_64-linux-gnu", *kMachineFamily = "x86-64", *kBaseLevel = "x86-64-v2";
#elif defined(__aarch64__)
inline constexpr const char *kMachineTriple = "aarch64-linux-gnu", *kMachineFamily = "aarch64", *kBaseLevel = "armv8-a";
#elif defined(__arm__)
inline constexpr const char *kMachineTriple = "arm-linux-gnueabihf", *kMachineFamily = "armv7", *kBaseLevel = "armv7-a";
#else
#error "mlc runs on x86-64, aarch64 and armv7"
#endif

/// Whether this machine has what a name of --cpu stands for; false for unknown names. Code of x86-64-v4 also takes
/// VNNI.
bool machineHas(std::string_view name);
/// The place of a code level among those of this family, from 0 up, or -1: it does not run here.
int levelRank(std::string_view level);
/// The best code level that runs here; the family where none does.
const char *machineLevel();
/// Null, or what this program's own instructions need and the machine lacks.
const char *missingFeature();

} // namespace mlc
