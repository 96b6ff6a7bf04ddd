//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The kernels by name, run by the emulator: with Interface.cpp a library that has the C interface without a GPU.
//
#include "targets/cuda/attention/Launch.h"
#include "targets/cuda/attention/backward/Backward.cuh"
#include "targets/cuda/attention/exact/ExactForward.cuh"

#include <cstring>

namespace mlc::attention {

namespace {

struct Emulated {
  const char *name;
  void (*run)(const void *args);
};

template <int kHeadDim, bool kCompensated> void exact(const void *args) {
  exactForward<kHeadDim, kCompensated>(*static_cast<const ExactArgs *>(args));
}
template <int kHeadDim, typename Type> void delta(const void *args) {
  backwardDelta<kHeadDim, Type>(*static_cast<const BackwardArgs *>(args));
}
template <int kHeadDim, typename Type> void dq(const void *args) {
  backwardQuery<kHeadDim, Type>(*static_cast<const BackwardArgs *>(args));
}
template <int kHeadDim, typename Type> void dkdv(const void *args) {
  backwardKeyValue<kHeadDim, Type>(*static_cast<const BackwardArgs *>(args));
}

const Emulated kKernels[] = {
    {"mlc_attention_exact_64", exact<64, false>},     {"mlc_attention_compensated_64", exact<64, true>},
    {"mlc_attention_exact_80", exact<80, false>},     {"mlc_attention_compensated_80", exact<80, true>},
    {"mlc_attention_exact_96", exact<96, false>},     {"mlc_attention_compensated_96", exact<96, true>},
    {"mlc_attention_exact_128", exact<128, false>},   {"mlc_attention_compensated_128", exact<128, true>},
    {"mlc_attention_exact_256", exact<256, false>},   {"mlc_attention_compensated_256", exact<256, true>},
    {"mlc_attention_delta_bf16_64", delta<64, Bf16>}, {"mlc_attention_dq_bf16_64", dq<64, Bf16>},
    {"mlc_attention_dkdv_bf16_64", dkdv<64, Bf16>},   {"mlc_attention_delta_bf16_128", delta<128, Bf16>},
    {"mlc_attention_dq_bf16_128", dq<128, Bf16>},     {"mlc_attention_dkdv_bf16_128", dkdv<128, Bf16>},
    {"mlc_attention_delta_f16_64", delta<64, F16>},   {"mlc_attention_dq_f16_64", dq<64, F16>},
    {"mlc_attention_dkdv_f16_64", dkdv<64, F16>},     {"mlc_attention_delta_f16_128", delta<128, F16>},
    {"mlc_attention_dq_f16_128", dq<128, F16>},       {"mlc_attention_dkdv_f16_128", dkdv<128, F16>},
};

} // namespace

bool launch(const Launch &launch, const ErrorText &error) {
  for (const Emulated &kernel : kKernels)
    if (!std::strcmp(kernel.name, launch.kernel))
      return emulator::launch(int(launch.blocks), launch.threads, size_t(launch.sharedBytes), false,
                              [&] { kernel.run(launch.args); }) ||
             !error("%s does not end", launch.kernel);
  return !error("no kernel %s", launch.kernel);
}

} // namespace mlc::attention
