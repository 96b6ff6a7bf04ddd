//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Operators that choose by value. How many they choose is often found by a run only.
//
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Import/ONNX/GraphImporter.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <limits>

using namespace mlir;

namespace mlc::onnx {

static void bindTopK(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  bool largest = n.intAttr("largest", 1);
  n.ignore("sorted"); // Sorted is one of the orders that "not sorted" allows.
  std::optional<Ints> k = Ints{n.intAttr("k", -1)};
  if (n.version >= 10)
    k = n.constantInts(1);
  if (!x || !k)
    return;
  int64_t axis = n.axis(n.intAttr("axis", -1), x.rank());
  if (e.failed())
    return;
  if (k->size() != 1 || k->front() < 0 || e.constant(x.shape[axis]).value_or(k->front()) < k->front())
    return n.fail("needs a k between 0 and its axis' extent");
  auto [values, indices] = e.sort(x, axis, largest);
  n.give({e.sliceAxis(values, axis, e.dim(0), e.dim(k->front())),
          e.sliceAxis(indices, axis, e.dim(0), e.dim(k->front()))});
}

static void bindNonZero(Node &n) { n.give(n.e.nonzero(n.in(0))); }

/// [N]: where a vector is not zero.
static Tensor positions(Emitter &e, const Tensor &flags) {
  Tensor found = e.nonzero(flags);
  return found ? e.reshape(found, found.shape[1]) : found;
}

static void bindCompress(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), condition = n.in(1);
  if (!x || !condition)
    return;
  int64_t axis = 0;
  if (n.hasAttr("axis"))
    axis = n.axis(n.intAttr("axis", 0), x.rank());
  else
    x = e.reshape(x, e.product(x.shape));
  if (e.failed())
    return;
  if (condition.rank() != 1 || !condition.dtype().isBool())
    return n.fail("takes a condition [N] of bool");
  n.give(e.take(x, axis, positions(e, condition)));
}

//===--- Unique ---===//

/// The order of the subtensors of `axis`, by their values from the first to the last: [extent].
static Tensor lexicalOrder(Node &n, const Tensor &rows) {
  Emitter &e = n.e;
  std::optional<int64_t> columns = e.constant(rows.shape[1]);
  constexpr int64_t kMostColumns = 256;
  if (!columns || *columns > kMostColumns)
    return e.fail("compares subtensors of more than " + Twine(kMostColumns) + " values, or of an unknown number");
  Tensor order = e.iota(rows.shape[0], e.i64());
  // From the last column to the first: a stable sort keeps what was sorted before.
  for (int64_t column = *columns; column-- > 0;) {
    Tensor values = e.reshape(e.sliceAxis(rows, 1, e.dim(column), e.dim(1)), rows.shape[0]);
    order = e.take(order, 0, e.sort(e.take(values, 0, order), 0, false).second);
  }
  return order;
}

static void bindUnique(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  bool sorted = n.intAttr("sorted", 1), flat = !n.hasAttr("axis");
  if (!x)
    return;
  int64_t axis = flat ? 0 : n.axis(n.intAttr("axis", 0), x.rank());
  Tensor whole = flat ? e.reshape(x, e.product(x.shape)) : x;
  if (e.failed())
    return;
  Dim count = whole.shape[axis];
  Ints front = {axis};
  for (int64_t i = 0; i < whole.rank(); ++i)
    if (i != axis)
      front.push_back(i);
  Tensor turned = e.transpose(whole, front);
  if (!turned || e.constant(count) == 0)
    return n.fail("takes values, at least one");
  Tensor rows = e.reshape(turned, {count, e.product(ArrayRef<Dim>(turned.shape).drop_front())});
  if (rows && rows.dtype().isBool())
    rows = e.cast(rows, {e.builder.getI8Type(), true});
  if (!rows)
    return;
  Tensor order = lexicalOrder(n, rows);
  Tensor inOrder = e.take(rows, 0, order);
  if (!inOrder)
    return;
  // A row that differs from the one before it begins a group; so does the first.
  Tensor begins = e.generate(count, e.boolean(), [&](OpBuilder &body, ArrayRef<Value> at) -> Value {
    return body.create<arith::CmpIOp>(e.loc, arith::CmpIPredicate::eq, at[0], e.constantIndex(body, 0));
  });
  Tensor previous = e.generate(inOrder.shape, inOrder.dtype(), [&](OpBuilder &body, ArrayRef<Value> at) {
    Value zero = e.constantIndex(body, 0);
    Value before = body.create<arith::SubIOp>(e.loc, at[0], e.constantIndex(body, 1));
    return e.at(body, inOrder, {body.create<arith::MaxSIOp>(e.loc, before, zero), at[1]});
  });
  Tensor differs = e.cast(e.compare(Compare::ne, inOrder, previous), {e.builder.getI8Type(), true});
  begins = e.select(e.compare(Compare::gt, e.reduce(Fold::max, differs, Ints{1}, false), 0.0), e.splat(1, e.boolean()),
                    begins);
  Tensor starts = positions(e, begins);
  if (!starts)
    return;
  Dim groups = starts.shape[0];
  Tensor first = e.take(order, 0, starts);
  // The group of each place in order counts the beginnings up to it.
  Tensor column = e.reshape(e.iota(count, e.i64()), {count, e.dim(1)});
  Tensor reached = e.compare(Compare::le, e.reshape(starts, {e.dim(1), groups}), column);
  Tensor group = e.sub(e.reduce(Fold::sum, e.cast(reached, e.i64()), Ints{1}, false), 1);
  Tensor sizes = e.scatter(e.splat(0, e.i64(), groups), e.reshape(group, {count, e.dim(1)}), e.splat(1, e.i64(), count),
                           graph::ScatterKind::add);
  if (!sorted) {
    // In the order in which the groups first stand in the input.
    auto [ordered, rank] = e.sort(first, 0, false);
    Tensor place = e.scatter(e.splat(0, e.i64(), groups), e.reshape(rank, {groups, e.dim(1)}), e.iota(groups, e.i64()),
                             graph::ScatterKind::replace);
    group = e.take(place, 0, group);
    sizes = e.take(sizes, 0, rank);
    first = ordered;
  }
  Tensor inverse =
      e.scatter(e.splat(0, e.i64(), count), e.reshape(order, {count, e.dim(1)}), group, graph::ScatterKind::replace);
  n.give({e.take(whole, axis, first), first, inverse, sizes});
}

//===--- NonMaxSuppression ---===//

static void bindNonMaxSuppression(Node &n) {
  Emitter &e = n.e;
  Tensor boxes = n.in(0), scores = n.in(1);
  bool centers = n.intAttr("center_point_box", 0);
  if (!boxes || !scores)
    return;
  Tensor most = n.has(2) ? e.reshape(n.in(2), {}) : e.reshape(e.integers(0), {});
  Tensor overlap = n.has(3) ? e.reshape(n.in(3), {}) : e.splat(0, boxes.dtype());
  Tensor least = n.has(4) ? e.reshape(n.in(4), {}) : Tensor();
  if (e.failed())
    return;
  bool fits = boxes.rank() == 3 && scores.rank() == 3 && boxes.isFloat() && scores.isFloat() && overlap.isFloat() &&
              most.dtype() == e.i64() && (!least || least.isFloat()) && boxes.shape[0] == scores.shape[0] &&
              boxes.shape[1] == scores.shape[2] && e.constant(boxes.shape[2]) == 4;
  if (!fits)
    return n.fail("takes boxes [batch, boxes, 4], scores [batch, classes, boxes] and scalars");
  auto type = RankedTensorType::get({ShapedType::kDynamic, 3}, e.builder.getI64Type());
  Value result = e.builder.create<graph::NonMaxSuppressionOp>(e.loc, type, boxes.value, scores.value, most.value,
                                                              overlap.value, least.value, centers);
  n.give({result, {e.symbol(e.builder.create<tensor::DimOp>(e.loc, result, 0)), e.dim(3)}});
}

void addSelection(BinderTable &table) {
  table["Compress"] = bindCompress;
  table["NonMaxSuppression"] = bindNonMaxSuppression;
  table["NonZero"] = bindNonZero;
  table["TopK"] = bindTopK;
  table["Unique"] = bindUnique;
}

} // namespace mlc::onnx
