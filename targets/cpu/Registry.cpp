//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The CPU target's kernels: one line for each.
//
#include "targets/cpu/Kernels.h"
#include "targets/cpu/KvPage.h"

namespace mlc {

using namespace cpu;

#if defined(__x86_64__)
#define FORMS(KERNELS) &KERNELS[0], &KERNELS[1], &KERNELS[2]
#else
#define FORMS(KERNELS) &KERNELS[0]
#endif

static constexpr const KernelDef *const kKernels[] = {
    FORMS(addRmsNormKernels), FORMS(attentionKernels),       FORMS(binaryKernels),  &copyKernel,
    &embeddingKernel,         FORMS(gatedActivationKernels), &gatherRowsKernel,     &kvAppendKernel,
    FORMS(linearKernels),     FORMS(quantizeRowsKernels),    FORMS(rmsNormKernels), &ropeAnglesKernel,
    FORMS(ropeKernels),       FORMS(unaryKernels),
};

const TargetRegistry &cpuTarget() {
  static constexpr TargetRegistry target{kKernels, {kvPageBytes, kvToCanonical, kvFromCanonical}};
  return target;
}

} // namespace mlc
