//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// moe_route: from a router's logits to the experts of each token and their weights. The choice compares logits (of the
// sigmoid form: p + bias), so equal logits give the same experts in every form.
//
#include "targets/cpu/simd/Math.h"
#if MLC_ISA_BASE
#include "targets/cpu/Kernels.h"
#endif

namespace mlc::cpu {

using SoftmaxRowFn = void(const float *x, int64_t n, float *out);

namespace MLC_ISA_NS {

SoftmaxRowFn softmaxRow;
/// exp(x - max x) over its sum; lane j of 16 sums columns j, j + 16, ..., then halving.
void softmaxRow(const float *x, int64_t n, float *out) {
  float most = x[0];
  for (int64_t i = 1; i < n; ++i)
    most = x[i] > most ? x[i] : most;
  VF sum = zero();
  for (int64_t i = 0; i < n; i += kLanes) {
    VF e = exp(loadPart(x + i, n - i) - set1(most));
    storePart(out + i, e, n - i);
    sum = sum + loadPart(out + i, n - i);
  }
  VF total = set1(sumLanes(sum));
  for (int64_t i = 0; i < n; i += kLanes)
    storePart(out + i, loadPart(out + i, n - i) / total, n - i);
}

SoftmaxRowFn sigmoidRow;
void sigmoidRow(const float *x, int64_t n, float *out) {
  for (int64_t i = 0; i < n; i += kLanes)
    storePart(out + i, sigmoid(loadPart(x + i, n - i)), n - i);
}

} // namespace MLC_ISA_NS

#if MLC_ISA_BASE

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, softmaxRow, SoftmaxRowFn)
MLC_DECLARE_FORMS(MLC_BASIC_FORMS, sigmoidRow, SoftmaxRowFn)

static Status check(const KernelCallInfo &call) {
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::MoeRouteAttrs>(call, "moe_route"));
  MLC_TRY(checkCounts(call, 1 + attrs->has_bias(), 2));
  MLC_TRY(checkExperts("moe_route", attrs->experts(), attrs->top_k()));
  uint64_t experts = attrs->experts(), groups = attrs->groups();
  if (attrs->form() > fb::RouterForm::MAX)
    return Error(ErrorCode::Unsupported, "moe_route: router form %u is unknown", unsigned(attrs->form()));
  bool sigmoid = attrs->form() == fb::RouterForm::sigmoid;
  if (groups < 1 || experts % groups || attrs->top_groups() < 1 || attrs->top_groups() > groups ||
      attrs->top_k() > experts / groups * attrs->top_groups())
    return Error(ErrorCode::Corrupt, "moe_route: %u of %u groups with %u of %u experts", attrs->top_groups(),
                 attrs->groups(), attrs->top_k(), attrs->experts());
  if ((groups > 1 && (!sigmoid || experts / groups < 2)) || (attrs->has_bias() && !sigmoid))
    return Error(ErrorCode::Corrupt, "moe_route: groups and a bias belong to the sigmoid form");
  if (!finite(attrs->scale()))
    return Error(ErrorCode::Corrupt, "moe_route: the scale must be finite");
  MLC_TRY(checkMatrix(call.inputs[0], "the logits", DType::f32, experts));
  if (attrs->has_bias())
    MLC_TRY(checkVector(call.inputs[1], "the bias", DType::f32, experts));
  MLC_TRY(checkMatrix(call.outputs[0], "the experts", DType::i32, attrs->top_k()));
  MLC_TRY(checkMatrix(call.outputs[1], "their weights", DType::f32, attrs->top_k()));
  return checkSameRows(call, 1);
}

static ScratchNeed scratch(const KernelCallInfo &call) {
  const auto *attrs = call.attrsAs<fb::MoeRouteAttrs>();
  // p, the scores, those of groups.
  return {0, (2 * uint64_t(attrs->experts()) + attrs->groups()) * 4};
}

// Not a number: what may not be chosen, or has been.
constexpr float kTaken = __builtin_nanf("");

/// Writes the indices of the `count` largest of scores[0, n), the best first and the lower index first of equals, and
/// marks them. Where fewer are numbers, 0 stands for the rest.
static void takeLargest(float *scores, int64_t n, int64_t count, int32_t *out) {
  for (int64_t j = 0; j < count; ++j) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; ++i)
      best = scores[i] > scores[best] || scores[best] != scores[best] ? i : best;
    out[j] = int32_t(best);
    scores[best] = kTaken;
  }
}

/// Leaves the scores of the `kept` groups whose two best have the largest sums.
static void keepGroups(float *scores, int64_t experts, int64_t groups, int64_t kept, float *sums) {
  int64_t size = experts / groups;
  for (int64_t g = 0; g < groups; ++g) {
    float first = -__builtin_inff(), second = first;
    for (int64_t i = g * size; i < (g + 1) * size; ++i) {
      float score = scores[i];
      second = score > first ? first : score > second ? score : second;
      first = score > first ? score : first;
    }
    sums[g] = first + second;
  }
  for (int64_t g = 0; g < groups; ++g) {
    int64_t better = 0;
    for (int64_t h = 0; h < groups; ++h)
      better += sums[h] > sums[g] || (sums[h] == sums[g] && h < g);
    for (int64_t i = g * size; better >= kept && i < (g + 1) * size; ++i)
      scores[i] = kTaken;
  }
}

template <Isa isa> static void run(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::MoeRouteAttrs>();
  const TensorView &logits = context.inputs[0], &ids = context.outputs[0], &weights = context.outputs[1];
  int64_t experts = attrs.experts(), chosen = attrs.top_k();
  int64_t rows = commonRows({{&logits, experts}, {&ids, chosen}, {&weights, chosen}});
  const float *bias = attrs.has_bias() ? context.inputs[1].as<float>() : nullptr;
  context.pool->parallelFor(rows, 1 + 8192 / (experts * chosen), [&](int64_t begin, int64_t end, unsigned worker) {
    auto *p = reinterpret_cast<float *>(context.scratchOf(worker)), *scores = p + experts;
    for (int64_t t = begin; t < end; ++t) {
      const float *row = logits.row<float>(t);
      auto *id = ids.row<int32_t>(t);
      auto *weight = weights.row<float>(t);
      __builtin_memcpy(scores, row, size_t(experts) * 4);
      if (attrs.form() == fb::RouterForm::softmax_topk)
        formFor(softmaxRowForms, isa)(row, experts, p);
      if (attrs.form() == fb::RouterForm::sigmoid) {
        formFor(sigmoidRowForms, isa)(row, experts, p);
        for (int64_t e = 0; e < experts; ++e)
          scores[e] = bias ? p[e] + bias[e] : p[e];
        if (attrs.groups() > 1)
          keepGroups(scores, experts, attrs.groups(), attrs.top_groups(), scores + experts);
      }
      takeLargest(scores, experts, chosen, id);
      float sum = 0;
      for (int64_t j = 0; j < chosen; ++j) {
        weight[j] = attrs.form() == fb::RouterForm::topk_softmax ? row[id[j]] : p[id[j]];
        sum += weight[j];
      }
      if (attrs.form() == fb::RouterForm::topk_softmax)
        formFor(softmaxRowForms, isa)(weight, chosen, weight);
      else if (attrs.normalize())
        for (int64_t j = 0; j < chosen; ++j)
          weight[j] /= attrs.form() == fb::RouterForm::sigmoid ? sum + 1e-20f : sum;
      for (int64_t j = 0; j < chosen; ++j)
        weight[j] *= attrs.scale();
    }
  });
}

MLC_KERNEL_FORMS(MLC_BASIC_FORMS, moeRouteKernels, "moe_route", check, scratch, run)

#endif

} // namespace mlc::cpu
