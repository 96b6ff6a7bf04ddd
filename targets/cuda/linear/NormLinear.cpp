//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// norm_linear: a linear whose rows are normed on their way: (x, the norm's weight, then linear's other inputs).
//
#include "targets/cpu/Kernels.h"
#include "targets/cuda/Kernels.h"

#include <algorithm>

namespace mlc::cuda {

namespace {
/// The inputs of the linear alone.
template <typename T> struct WithoutNorm {
  static constexpr size_t kMost = 4; // x, weight, bias, residual.
  T values[kMost];
  size_t count = 0;
  explicit WithoutNorm(std::span<const T> inputs) {
    for (size_t i = 0; i < inputs.size() && count < kMost; ++i)
      if (i != 1)
        values[count++] = inputs[i];
  }
  std::span<const T> span() const { return {values, count}; }
};
} // namespace

static Status checkNormLinear(const KernelCallInfo &call) {
  MLC_ASSIGN(const auto *attrs, cpu::attrsOrError<fb::NormLinearAttrs>(call, "norm_linear"));
  const fb::LinearAttrs &linear = attrs->linear();
  MLC_TRY(cpu::checkCounts(call, 3 + linear.has_bias() + linear.has_residual(), 1));
  if (!linear.bf16())
    return Error(ErrorCode::Unsupported, "norm_linear: on a GPU with bf16 products alone");
  if (!cpu::finite(attrs->eps()) || attrs->eps() < 0 || !cpu::finite(attrs->offset()))
    return Error(ErrorCode::Corrupt, "norm_linear: eps and offset must be finite, eps not negative");
  MLC_TRY(cpu::checkVector(call.inputs[1], "the norm's weight", DType::f32, linear.weight().k()));
  const WithoutNorm<TensorView> inputs(call.inputs);
  const WithoutNorm<bool> follows(call.inputFollowsTokens), constant(call.inputConstant);
  KernelCallInfo plain = call;
  plain.inputs = inputs.span();
  plain.inputFollowsTokens = follows.span();
  plain.inputConstant = constant.span();
  plain.attrsType = fb::KernelAttrs::LinearAttrs;
  plain.attrs = &linear;
  return checkLinear(plain);
}

static ScratchNeed scratchNormLinear(const KernelCallInfo &call) {
  const fb::LinearAttrs &linear = call.attrsAs<fb::NormLinearAttrs>()->linear();
  const int64_t rows = call.inputs[0].dims[0];
  return {
      std::max(linearScratch(linear, rows), uint64_t(std::min(rows, kSplitRows)) * linear.weight().k() * sizeof(float)),
      0};
}

static void runNormLinear(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::NormLinearAttrs>();
  const WithoutNorm<TensorView> inputs(context.inputs);
  KernelContext plain = context;
  plain.inputs = inputs.span();
  plain.attrs = &attrs.linear();
  runLinear(plain, {context.inputs[1].as<float>(), attrs.eps(), attrs.offset()});
}

const KernelDef normLinearKernels[] = {
    {"norm_linear", 1, Isa::portable, checkNormLinear, scratchNormLinear, runNormLinear}};

} // namespace mlc::cuda
