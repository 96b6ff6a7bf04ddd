//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Normalizations, written out in reductions and elementwise formulas.
//
#include "compiler/Import/ONNX/GraphImporter.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace mlc::onnx {

/// [C] as [1, C, 1, ...] of `rank` axes.
static Tensor perChannel(Node &n, const Tensor &values, int64_t rank) {
  if (!values)
    return {};
  if (values.rank() != 1)
    return n.e.fail("needs one value for each channel");
  Dims shape(size_t(rank), n.e.dim(1));
  shape[1] = values.shape[0];
  return n.e.reshape(n.e.widened(values), shape);
}
static Ints axesFrom(int64_t first, int64_t rank) { return llvm::to_vector<4>(llvm::seq<int64_t>(first, rank)); }

/// (x - mean) / sqrt(variance + epsilon) over `axes`; the mean and the inverse deviation too where they are asked for.
static Tensor standardize(Emitter &e, const Tensor &x, ArrayRef<int64_t> axes, double epsilon, Tensor *mean = nullptr,
                          Tensor *inverse = nullptr) {
  Tensor average = e.mean(x, axes, true), centered = e.sub(x, average);
  Tensor deviation = e.sqrt(e.add(e.mean(e.mul(centered, centered), axes, true), epsilon));
  if (mean)
    *mean = average;
  if (inverse && deviation)
    *inverse = e.div(e.splat(1, deviation.dtype()), deviation);
  return e.div(centered, deviation);
}

static void bindBatchNormalization(Node &n) {
  Emitter &e = n.e;
  n.ignore("consumed_inputs");
  n.ignore("momentum");
  Tensor x = n.in(0);
  double epsilon = n.floatAttr("epsilon", double(1e-5f));
  if (!x)
    return;
  if (n.intAttr("training_mode", 0) || (n.version < 7 && !n.intAttr("is_test", 0)))
    return n.fail("is in training mode, which is not supported");
  if (n.version < 9 && !n.intAttr("spatial", 1))
    return n.fail("normalizes each element on its own (spatial 0), which is not supported");
  if (x.rank() < 2 || !x.isFloat())
    return n.fail("takes floats [batch, channels, ...]");
  Tensor wide = e.widened(x), scale = perChannel(n, n.in(1), x.rank()), bias = perChannel(n, n.in(2), x.rank());
  Tensor mean = perChannel(n, n.in(3), x.rank()), variance = perChannel(n, n.in(4), x.rank());
  Tensor y = e.div(e.sub(wide, mean), e.sqrt(e.add(variance, epsilon)));
  n.give(e.cast(e.add(e.mul(y, scale), bias), x.dtype()));
}

static void bindInstanceNormalization(Node &n) {
  Emitter &e = n.e;
  n.ignore("consumed_inputs");
  Tensor x = n.in(0);
  double epsilon = n.floatAttr("epsilon", double(1e-5f));
  if (!x)
    return;
  if (x.rank() < 3 || !x.isFloat())
    return n.fail("takes floats [batch, channels, ...]");
  Tensor y = standardize(e, e.widened(x), axesFrom(2, x.rank()), epsilon);
  n.give(e.cast(e.add(e.mul(y, perChannel(n, n.in(1), x.rank())), perChannel(n, n.in(2), x.rank())), x.dtype()));
}

/// What LayerNormalization and RMSNormalization share: x is null where the node cannot be bound.
struct RowNormalization {
  Tensor x, scale;
  Ints axes;
  double epsilon;
};
static RowNormalization rowNormalization(Node &n) {
  RowNormalization shared{n.in(0), n.in(1), {}, n.floatAttr("epsilon", double(1e-5f))};
  int64_t axis = n.intAttr("axis", -1);
  if (n.intAttr("stash_type", 1) != 1)
    n.fail("computes in another type than float (stash_type), which is not supported");
  else if (shared.x && shared.scale && !shared.x.isFloat())
    n.fail("takes floats");
  else if (shared.x && shared.scale) {
    shared.axes = axesFrom(n.axis(axis, shared.x.rank()), shared.x.rank());
    return shared;
  }
  shared.x = {};
  return shared;
}

static void bindLayerNormalization(Node &n) {
  Emitter &e = n.e;
  auto [x, scale, axes, epsilon] = rowNormalization(n);
  Tensor bias = n.optional(2);
  if (!x)
    return;
  Tensor mean, inverse;
  Tensor y = standardize(e, e.widened(x), axes, epsilon, &mean, &inverse);
  y = e.mul(y, e.widened(scale));
  if (bias)
    y = e.add(y, e.widened(bias));
  n.give({e.cast(y, x.dtype()), mean, inverse});
}

static void bindRmsNormalization(Node &n) {
  Emitter &e = n.e;
  auto [x, scale, axes, epsilon] = rowNormalization(n);
  if (!x)
    return;
  Tensor wide = e.widened(x);
  Tensor root = e.sqrt(e.add(e.mean(e.mul(wide, wide), axes, true), epsilon));
  n.give(e.cast(e.mul(e.div(wide, root), e.widened(scale)), x.dtype()));
}

static void bindGroupNormalization(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), scale = n.in(1), bias = n.in(2);
  int64_t groups = n.intAttr("num_groups", 0);
  double epsilon = n.floatAttr("epsilon", double(1e-5f));
  if (n.intAttr("stash_type", 1) != 1)
    return n.fail("computes in another type than float (stash_type), which is not supported");
  if (!x || !scale || !bias)
    return;
  std::optional<int64_t> channels = x.rank() < 3 ? std::nullopt : e.constant(x.shape[1]);
  if (!channels || groups < 1 || *channels % groups || !x.isFloat())
    return n.fail("takes floats [batch, channels, ...] and num_groups that divide the channels");
  Dims grouped = {x.shape[0], e.dim(groups), e.dim(*channels / groups)};
  grouped.append(x.shape.begin() + 2, x.shape.end());
  Tensor y = e.reshape(e.widened(x), grouped);
  if (!y)
    return;
  y = standardize(e, y, axesFrom(2, y.rank()), epsilon);
  if (n.version >= 21)
    y = e.reshape(y, x.shape);
  if (!y)
    return;
  // Opset 18: one scale for each group.
  y = e.add(e.mul(y, perChannel(n, scale, y.rank())), perChannel(n, bias, y.rank()));
  n.give(e.cast(e.reshape(y, x.shape), x.dtype()));
}

static void bindMeanVarianceNormalization(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  if (!x)
    return;
  std::optional<Ints> axes = n.axes(n.intsAttr("axes").value_or(Ints{0, 2, 3}), x.rank());
  if (!axes)
    return;
  if (!x.isFloat())
    return n.fail("takes floats");
  Tensor wide = e.widened(x), centered = e.sub(wide, e.mean(wide, *axes, true));
  Tensor deviation = e.sqrt(e.mean(e.mul(centered, centered), *axes, true));
  n.give(e.cast(e.div(centered, e.add(deviation, double(1e-9f))), x.dtype()));
}

static void bindLpNormalization(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  int64_t p = n.intAttr("p", 2);
  if (!x)
    return;
  int64_t axis = n.axis(n.intAttr("axis", -1), x.rank());
  if (!x.isFloat() || (p != 1 && p != 2))
    return n.fail("takes floats, and p 1 or 2");
  Tensor wide = e.widened(x);
  Tensor norm = p == 1 ? e.reduce(Fold::sum, e.abs(wide), axis, true)
                       : e.sqrt(e.reduce(Fold::sum, e.mul(wide, wide), axis, true));
  // A norm of 0 leaves zeros.
  if (norm)
    norm = e.select(e.compare(Compare::eq, norm, 0.0), e.splat(1, norm.dtype()), norm);
  n.give(e.cast(e.div(wide, norm), x.dtype()));
}

static void bindLrn(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  int64_t size = n.intAttr("size", 0);
  double alpha = n.floatAttr("alpha", double(1e-4f)), beta = n.floatAttr("beta", 0.75), bias = n.floatAttr("bias", 1);
  if (!x)
    return;
  if (x.rank() < 2 || !x.isFloat() || size < 1 || size > 1024)
    return n.fail("takes floats [batch, channels, ...] and a size of 1 to 1024");
  Tensor wide = e.widened(x);
  Dims before(x.rank(), e.dim(0)), behind = before;
  before[1] = e.dim((size - 1) / 2);
  behind[1] = e.dim(size / 2);
  Tensor squares = e.pad(e.mul(wide, wide), before, behind, e.splat(0, wide.dtype())), sum;
  for (int64_t i = 0; i < size; ++i) {
    Tensor part = e.sliceAxis(squares, 1, e.dim(i), x.shape[1]);
    sum = i ? e.add(sum, part) : part;
  }
  Tensor scale = e.add(e.mul(sum, alpha / double(size)), bias);
  if (scale)
    n.give(e.cast(e.div(wide, e.binary<math::PowFOp>(scale, e.splat(beta, scale.dtype()))), x.dtype()));
}

void addNormalization(BinderTable &table) {
  table["BatchNormalization"] = bindBatchNormalization;
  table["GroupNormalization"] = bindGroupNormalization;
  table["InstanceNormalization"] = bindInstanceNormalization;
  table["LRN"] = bindLrn;
  table["LayerNormalization"] = bindLayerNormalization;
  table["LpNormalization"] = bindLpNormalization;
  table["MeanVarianceNormalization"] = bindMeanVarianceNormalization;
  table["RMSNormalization"] = bindRmsNormalization;
}

} // namespace mlc::onnx
