//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Losses: what a model that was exported with its training head gives.
//
#include "compiler/Import/ONNX/GraphImporter.h"

using namespace mlir;

namespace mlc::onnx {

/// loss[n, d...] = -weight[t] x[n, t, d...], t = target[n, d...], 0 where t is ignored; then none, its sum, or its sum
/// over that of the weights. x [N, C, D...]: logarithms of probabilities.
static Tensor likelihoodLoss(Node &n, const Tensor &x, const Tensor &target, const Tensor &weight) {
  Emitter &e = n.e;
  std::string reduction = n.stringAttr("reduction", "mean");
  bool ignores = n.hasAttr("ignore_index");
  int64_t ignored = n.intAttr("ignore_index", 0);
  if (!x || !target)
    return {};
  if (weight && (x.rank() < 2 || weight.shape != Dims{x.shape[1]} || !weight.isFloat()))
    return e.fail("takes a weight of floats for each class");
  Dims expected = x.shape;
  if (x.rank() < 2 || !x.isFloat() || !target.dtype().isInteger())
    return e.fail("takes floats [batch, classes, ...] and targets of integers");
  expected.erase(expected.begin() + 1);
  if (target.shape != expected)
    return e.fail("has targets of shape " + Emitter::text(target.shape) + " for an input of " + Emitter::text(x.shape));
  if (reduction != "none" && reduction != "sum" && reduction != "mean")
    return e.fail("has an unknown reduction " + quoted(reduction));
  Tensor wide = e.widened(x), skipped, place = e.cast(target, e.i64());
  if (ignores) {
    skipped = e.compare(Compare::eq, place, double(ignored));
    place = e.select(skipped, e.splat(0, e.i64()), place);
  }
  Tensor loss = e.generate(target.shape, wide.dtype(), [&](OpBuilder &body, ArrayRef<Value> at) {
    SmallVector<Value> from(at);
    from.insert(from.begin() + 1, e.wrappedIndex(body, e.at(body, place, at), false, x.shape[1]));
    return e.at(body, wide, from);
  });
  loss = e.negate(loss);
  Tensor factor = e.splat(1, wide.dtype(), target.shape);
  if (weight) {
    Tensor table = e.cast(weight, wide.dtype());
    factor = e.generate(target.shape, wide.dtype(), [&](OpBuilder &body, ArrayRef<Value> at) {
      return e.at(body, table, e.wrappedIndex(body, e.at(body, place, at), false, x.shape[1]));
    });
  }
  if (ignores) {
    factor = e.select(skipped, e.splat(0, wide.dtype()), factor);
    loss = e.select(skipped, e.splat(0, wide.dtype()), loss);
  }
  if (weight)
    loss = e.mul(loss, factor);
  Ints all = llvm::to_vector<4>(llvm::seq<int64_t>(0, target.rank()));
  if (reduction != "none")
    loss = e.reduce(Fold::sum, loss, all, false);
  if (reduction == "mean")
    loss = e.div(loss, e.reduce(Fold::sum, factor, all, false));
  return e.cast(loss, x.dtype());
}

static void bindNegativeLogLikelihoodLoss(Node &n) { n.give(likelihoodLoss(n, n.in(0), n.in(1), n.optional(2))); }

static void bindSoftmaxCrossEntropyLoss(Node &n) {
  Tensor x = n.in(0);
  if (!x)
    return;
  if (x.rank() < 2)
    return n.fail("takes floats [batch, classes, ...]");
  Tensor logs = n.e.softmax(x, 1, true);
  n.give({likelihoodLoss(n, logs, n.in(1), n.optional(2)), logs});
}

void addLosses(BinderTable &table) {
  table["NegativeLogLikelihoodLoss"] = bindNegativeLogLikelihoodLoss;
  table["SoftmaxCrossEntropyLoss"] = bindSoftmaxCrossEntropyLoss;
}

} // namespace mlc::onnx
