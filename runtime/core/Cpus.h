//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How many threads pay on this machine.
//
#pragma once

#include <cstddef>

namespace mlc {

/// Most CPUs that are looked at.
constexpr unsigned kMaxCpus = 8192;

/// CPUs by number, as sched_setaffinity takes them.
struct CpuMask {
  unsigned long words[kMaxCpus / (8 * sizeof(unsigned long))] = {};
  static constexpr unsigned kBits = 8 * sizeof(unsigned long);
  bool has(unsigned cpu) const { return words[cpu / kBits] >> cpu % kBits & 1; }
  void add(unsigned cpu) { words[cpu / kBits] |= 1ul << cpu % kBits; }
};

/// Physical cores with a CPU in `allowed`, at most the CPU quota of the process's control groups (v1 and v2, whole
/// CPUs, the ancestors' included); 1 to 1024. `root` stands for / in the paths below /sys and /proc that are read.
unsigned usableCores(const CpuMask &allowed, const char *root);

/// The same of this process on this machine: by its affinity mask.
unsigned usableCores();

} // namespace mlc
