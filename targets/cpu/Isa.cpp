//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cpu/Isa.h"

#include <cstring>

#if defined(__aarch64__)
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace mlc {

static constexpr struct {
  Isa isa;
  const char *name;
} kForms[] = {
    {Isa::portable, "portable"},
    {Isa::avx2, "avx2"},
    {Isa::avxvnni, "avxvnni"},
    {Isa::avx512vnni, "avx512vnni"},
    {Isa::avx512bf16, "avx512bf16"},
    {Isa::amx, "amx"},
    {Isa::dotprod, "dotprod"},
    {Isa::i8mm, "i8mm"},
    {Isa::bf16, "bf16"},
};

const char *isaName(Isa isa) {
  for (const auto &form : kForms)
    if (form.isa == isa)
      return form.name;
  return "unknown";
}

Result<Isa> parseIsa(const char *name) {
  for (const auto &form : kForms)
    if (!strcmp(name, form.name))
      return form.isa;
  return Error(ErrorCode::InvalidArgument,
               "ISA form '%s': choose portable, avx2, avxvnni, avx512vnni, avx512bf16, amx, dotprod, i8mm or bf16",
               name);
}

#if defined(__x86_64__)
/// Whether the system lets this process use AMX: it must be asked once, and threads that are made later inherit it.
static bool tilesAllowed() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18; // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

bool machineRuns(Isa isa) {
  if (isa == Isa::portable)
    return true;
#if defined(__x86_64__)
  if (isa > Isa::amx)
    return false;
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d))
    return false;
  constexpr unsigned kFma = 1u << 12, kOsxsave = 1u << 27, kAvx = 1u << 28, kF16c = 1u << 29;
  if ((c & (kFma | kOsxsave | kAvx | kF16c)) != (kFma | kOsxsave | kAvx | kF16c))
    return false;
  // The instructions count only when the system saves their registers.
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & (1u << 5)))
    return false;
  constexpr unsigned kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, kVnni = 1u << 11;
  bool avx512 = (low & 0xe6) == 0xe6 && (b & kAvx512) == kAvx512 && (c & kVnni);
  constexpr unsigned kTiles = 1u << 24 | 1u << 25, kTileState = 3u << 17;
  bool amx = (d & kTiles) == kTiles && (low & kTileState) == kTileState;
  constexpr unsigned kAvxVnni = 1u << 4, kBf16 = 1u << 5;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d))
    a = 0;
  switch (isa) {
  case Isa::avxvnni:
    return a & kAvxVnni;
  case Isa::avx512vnni:
    return avx512;
  case Isa::avx512bf16:
    return avx512 && (a & kBf16);
  case Isa::amx:
    return avx512 && (a & kBf16) && amx && tilesAllowed();
  default:
    return true;
  }
#elif defined(__aarch64__)
  // What the system says the instructions are: FEAT_DotProd, FEAT_I8MM, FEAT_BF16.
  bool dotprod = getauxval(AT_HWCAP) & (1ul << 20);
  unsigned long more = getauxval(AT_HWCAP2);
  bool i8mm = dotprod && (more & (1ul << 13));
  return isa == Isa::dotprod ? dotprod : isa == Isa::i8mm ? i8mm : isa == Isa::bf16 && i8mm && (more & (1ul << 14));
#else
  return false;
#endif
}

Isa limitedIsa(Isa limit) {
  Isa best = Isa::portable;
  for (const auto &form : kForms)
    if (form.isa <= limit && machineRuns(form.isa))
      best = form.isa;
  return best;
}

Isa machineIsa() { return limitedIsa(kForms[sizeof kForms / sizeof *kForms - 1].isa); }

const KernelDef *findKernel(const TargetRegistry &target, const char *name, uint32_t version, Isa isa) {
  const KernelDef *best = nullptr;
  for (const KernelDef *kernel : target.kernels)
    if (kernel->version == version && kernel->isa <= isa && !strcmp(kernel->name, name) &&
        (!best || best->isa < kernel->isa))
      best = kernel;
  return best;
}

} // namespace mlc
