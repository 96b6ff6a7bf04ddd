//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Reductions over axes.
//
#include "compiler/Import/ONNX/GraphImporter.h"

#include <limits>

using namespace mlir;

namespace mlc::onnx {

/// The axes of a reduction; nothing to do when `none` comes back true.
static std::optional<Ints> reducedAxes(Node &n, const Tensor &x, int64_t inputSince, bool &none) {
  bool noop = n.version >= inputSince && n.intAttr("noop_with_empty_axes", 0);
  std::optional<Ints> axes = n.axesArgument(1, inputSince, x.rank());
  if (n.e.failed())
    return std::nullopt;
  if (!axes || axes->empty()) {
    none = noop;
    axes = llvm::to_vector<4>(llvm::seq<int64_t>(0, x.rank()));
  }
  return axes;
}

using Formula = Tensor (*)(Emitter &, const Tensor &, ArrayRef<int64_t>);

template <Formula formula, int64_t inputSince> static void bindReduce(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  bool keep = n.intAttr("keepdims", 1), none = false;
  if (!x)
    return;
  std::optional<Ints> axes = reducedAxes(n, x, inputSince, none);
  if (!axes)
    return;
  // Without axes, what stands around the reduction is still done.
  Tensor wide = x.dtype().isBool() ? e.cast(x, {e.builder.getI8Type(), true}) : e.widened(x);
  Tensor result = formula(e, wide, none ? ArrayRef<int64_t>() : *axes);
  if (result && !keep)
    result = e.squeeze(result, none ? ArrayRef<int64_t>() : *axes);
  n.give(e.cast(result, x.dtype()));
}

static Tensor sum(Emitter &e, const Tensor &x, ArrayRef<int64_t> axes) { return e.reduce(Fold::sum, x, axes, true); }
static Tensor product(Emitter &e, const Tensor &x, ArrayRef<int64_t> axes) {
  return e.reduce(Fold::product, x, axes, true);
}
static Tensor largest(Emitter &e, const Tensor &x, ArrayRef<int64_t> axes) {
  return e.reduce(Fold::max, x, axes, true);
}
static Tensor smallest(Emitter &e, const Tensor &x, ArrayRef<int64_t> axes) {
  return e.reduce(Fold::min, x, axes, true);
}
static Tensor mean(Emitter &e, const Tensor &x, ArrayRef<int64_t> axes) { return e.mean(x, axes, true); }
static Tensor sumSquare(Emitter &e, const Tensor &x, ArrayRef<int64_t> axes) { return sum(e, e.mul(x, x), axes); }
static Tensor l1(Emitter &e, const Tensor &x, ArrayRef<int64_t> axes) { return sum(e, e.abs(x), axes); }
/// Through floats, for integers too.
static Tensor floats(Emitter &e, const Tensor &x) {
  return x && !x.isFloat() ? e.cast(x, {e.builder.getF64Type()}) : x;
}
static Tensor l2(Emitter &e, const Tensor &x, ArrayRef<int64_t> axes) {
  return e.sqrt(sumSquare(e, floats(e, x), axes));
}
static Tensor logSum(Emitter &e, const Tensor &x, ArrayRef<int64_t> axes) { return e.log(sum(e, floats(e, x), axes)); }
static Tensor logSumExp(Emitter &e, const Tensor &given, ArrayRef<int64_t> axes) {
  Tensor x = floats(e, given);
  Tensor top = largest(e, x, axes);
  // An infinite one is no reference point.
  double infinity = std::numeric_limits<double>::infinity();
  if (top)
    top = e.select(e.compare(Compare::eq, e.abs(top), infinity), e.splat(0, top.dtype()), top);
  return e.add(e.log(sum(e, e.exp(e.sub(x, top)), axes)), top);
}

//===--- ArgMax, ArgMin ---===//

template <bool isMax> static void bindArg(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  if (!x)
    return;
  int64_t axis = n.axis(n.intAttr("axis", 0), x.rank());
  bool keep = n.intAttr("keepdims", 1), last = n.intAttr("select_last_index", 0);
  if (e.failed())
    return;
  if (e.constant(x.shape[axis]) == 0)
    return n.fail("searches an empty axis");
  Tensor result = e.argExtreme(x, axis, isMax, last);
  n.give(keep ? e.unsqueeze(result, axis) : result);
}

void addReductions(BinderTable &table) {
  table["ArgMax"] = bindArg<true>;
  table["ArgMin"] = bindArg<false>;
  table["ReduceL1"] = bindReduce<l1, 18>;
  table["ReduceL2"] = bindReduce<l2, 18>;
  table["ReduceLogSum"] = bindReduce<logSum, 18>;
  table["ReduceLogSumExp"] = bindReduce<logSumExp, 18>;
  table["ReduceMax"] = bindReduce<largest, 18>;
  table["ReduceMean"] = bindReduce<mean, 18>;
  table["ReduceMin"] = bindReduce<smallest, 18>;
  table["ReduceProd"] = bindReduce<product, 18>;
  table["ReduceSum"] = bindReduce<sum, 13>;
  table["ReduceSumSquare"] = bindReduce<sumSquare, 18>;
}

} // namespace mlc::onnx
