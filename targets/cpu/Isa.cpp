//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cpu/Isa.h"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace mlc {

const char *isaName(Isa isa) {
  switch (isa) {
  case Isa::portable:
    return "portable";
  case Isa::avx2:
    return "avx2";
  case Isa::avx512vnni:
    return "avx512vnni";
  }
  return "unknown";
}

Result<Isa> parseIsa(const char *name) {
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512vnni})
    if (!strcmp(name, isaName(isa)))
      return isa;
  return Error(ErrorCode::InvalidArgument, "ISA form '%s': choose portable, avx2 or avx512vnni", name);
}

Isa machineIsa() {
#if defined(__x86_64__)
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d))
    return Isa::portable;
  constexpr unsigned kFma = 1u << 12, kOsxsave = 1u << 27, kAvx = 1u << 28, kF16c = 1u << 29;
  if ((c & (kFma | kOsxsave | kAvx | kF16c)) != (kFma | kOsxsave | kAvx | kF16c))
    return Isa::portable;
  // The instructions count only when the system saves their registers.
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & (1u << 5)))
    return Isa::portable;
  constexpr unsigned kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, kVnni = 1u << 11;
  if ((low & 0xe6) != 0xe6 || (b & kAvx512) != kAvx512 || !(c & kVnni))
    return Isa::avx2;
  return Isa::avx512vnni;
#else
  return Isa::portable;
#endif
}

Isa limitedIsa(Isa limit) {
  Isa machine = machineIsa();
  return machine < limit ? machine : limit;
}

const KernelDef *findKernel(const TargetRegistry &target, const char *name, uint32_t version, Isa isa) {
  const KernelDef *best = nullptr;
  for (const KernelDef *kernel : target.kernels)
    if (kernel->version == version && kernel->isa <= isa && !strcmp(kernel->name, name) &&
        (!best || best->isa < kernel->isa))
      best = kernel;
  return best;
}

} // namespace mlc
