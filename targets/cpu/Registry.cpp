//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The CPU target's kernels: one line for each.
//
#include "targets/cpu/Kernels.h"
#include "targets/cpu/KvPage.h"
#include "targets/cpu/RecurrentBase.h"
#include "targets/xnnpack/Kernels.h"

namespace mlc {

using namespace cpu;

/// All kernels of all forms as one list.
template <size_t... counts> struct KernelList {
  static constexpr size_t count = (counts + ...);
  const KernelDef *kernels[count];
  constexpr KernelList(const KernelDef (&...groups)[counts]) : kernels{} {
    size_t at = 0;
    auto add = [&](const KernelDef *group, size_t size) {
      for (size_t i = 0; i < size; ++i)
        kernels[at++] = group + i;
    };
    (add(groups, counts), ...);
  }
};

static constexpr KernelList kKernels(addRmsNormKernels, attentionKernels, binaryKernels, conv1dKernels, copyKernels,
                                     embeddingKernels, gatedActivationKernels, gatedRmsNormKernels, gatherRowsKernels,
                                     kvAppendKernels, linearKernels, moeDownKernels, moeRouteKernels, moeUpKernels,
                                     quantizeRowsKernels, rmsNormKernels, ropeAnglesKernels, ropeKernels,
                                     scaleRowsKernels, ssdKernels, unaryKernels, xnnpack::kernels);

const TargetRegistry &cpuTarget() {
  static constexpr TargetRegistry target{kKernels.kernels,
                                         {kvPageBytes, kvToCanonical, kvFromCanonical},
                                         {recurrentBaseBytes, recurrentToCanonical, recurrentFromCanonical}};
  return target;
}

} // namespace mlc
