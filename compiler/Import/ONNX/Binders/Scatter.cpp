//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Operators that place values at indices, and running sums and products.
//
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Import/ONNX/Binders/Indices.h"

using namespace mlir;

namespace mlc::onnx {

static std::optional<graph::ScatterKind> reductionOf(Node &n) {
  std::string name = n.stringAttr("reduction", "none");
  auto kind = llvm::StringSwitch<std::optional<graph::ScatterKind>>(name)
                  .Case("none", graph::ScatterKind::replace)
                  .Case("add", graph::ScatterKind::add)
                  .Case("mul", graph::ScatterKind::multiply)
                  .Case("max", graph::ScatterKind::max)
                  .Case("min", graph::ScatterKind::min)
                  .Default(std::nullopt);
  if (!kind)
    n.fail("has an unknown reduction " + quoted(name));
  return kind;
}

/// Coordinates of `depth` axes for every place of `shape`, as [places, depth]; `coordinate(body, axis, place)`.
template <typename F> static Tensor coordinates(Emitter &e, ArrayRef<Dim> shape, int64_t depth, F &&coordinate) {
  Dims all(shape);
  all.push_back(e.dim(depth));
  Tensor grid = e.generate(all, e.i64(), [&](OpBuilder &body, ArrayRef<Value> at) {
    ArrayRef<Value> place = at.drop_back();
    Value result = coordinate(body, 0, place);
    for (int64_t axis = 1; axis < depth; ++axis) {
      Value here = body.create<arith::CmpIOp>(e.loc, arith::CmpIPredicate::eq, at.back(), e.constantIndex(body, axis));
      result = body.create<arith::SelectOp>(e.loc, here, coordinate(body, axis, place), result);
    }
    return Value(body.create<arith::IndexCastOp>(e.loc, body.getI64Type(), result));
  });
  return e.reshape(grid, {e.product(shape), e.dim(depth)});
}

static void bindScatterElements(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), indices = n.in(1), updates = n.in(2);
  std::optional<graph::ScatterKind> kind = reductionOf(n);
  if (!x || !indices || !updates || !kind)
    return;
  int64_t axis = n.axis(n.intAttr("axis", 0), x.rank());
  if (e.failed())
    return;
  if (!indices.dtype().isInteger() || indices.rank() != x.rank() || indices.shape != updates.shape)
    return n.fail("takes indices of integers and updates, both of one shape and its input's rank");
  if (!areInside(n, indices, x.shape[axis]))
    return;
  Tensor places = coordinates(e, indices.shape, x.rank(), [&](OpBuilder &body, int64_t k, ArrayRef<Value> at) {
    return k == axis ? e.wrappedIndex(body, e.at(body, indices, at), indices.isUnsigned, x.shape[k]) : at[k];
  });
  n.give(e.scatter(x, places, e.reshape(updates, e.product(updates.shape)), *kind));
}

static void bindScatterND(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), indices = n.in(1), updates = n.in(2);
  std::optional<graph::ScatterKind> kind = reductionOf(n);
  if (!x || !indices || !updates || !kind)
    return;
  std::optional<int64_t> depth = indices.rank() ? e.constant(indices.shape.back()) : std::nullopt;
  if (!depth || *depth < 1 || *depth > x.rank() || !indices.dtype().isInteger())
    return n.fail("takes indices of integers whose last axis names leading axes of its input");
  ArrayRef<Dim> outer = ArrayRef<Dim>(indices.shape).drop_back(), inner = ArrayRef<Dim>(x.shape).drop_front(*depth);
  Dims expected(outer), rows = {e.product(outer)};
  expected.append(inner.begin(), inner.end());
  rows.append(inner.begin(), inner.end());
  if (updates.shape != expected)
    return n.fail("has updates of shape " + Emitter::text(updates.shape) + ", not " + Emitter::text(expected));
  if (!areInside(n, indices, ArrayRef<Dim>(x.shape).take_front(*depth)))
    return;
  Tensor places = coordinates(e, outer, *depth, [&](OpBuilder &body, int64_t k, ArrayRef<Value> at) {
    SmallVector<Value> from(at);
    from.push_back(e.constantIndex(body, k));
    return e.wrappedIndex(body, e.at(body, indices, from), indices.isUnsigned, x.shape[k]);
  });
  n.give(e.scatter(x, places, e.reshape(updates, rows), *kind));
}

/// A cache [B, ...] with `update` laid into it along `axis`, from write_indices[b] on.
static void bindTensorScatter(Node &n) {
  Emitter &e = n.e;
  Tensor cache = n.in(0), update = n.in(1), first = n.optional(2);
  std::string mode = n.stringAttr("mode", "linear");
  if (!cache || !update)
    return;
  int64_t axis = n.axis(n.intAttr("axis", -2), cache.rank());
  if (e.failed())
    return;
  Dims expected = cache.shape;
  if (update.rank() == cache.rank())
    expected[axis] = update.shape[axis];
  if (axis < 1 || update.shape != expected || (first && first.shape != Dims{cache.shape[0]}) ||
      (mode != "linear" && mode != "circular"))
    return n.fail("takes an update of its cache's shape but for one axis behind the first, an index for each sequence, "
                  "and mode linear or circular");
  ArrayRef<Dim> outer = ArrayRef<Dim>(update.shape).take_front(axis + 1);
  Value extent = e.index(cache.shape[axis]);
  Tensor places = coordinates(e, outer, axis + 1, [&](OpBuilder &body, int64_t k, ArrayRef<Value> at) -> Value {
    if (k != axis || !first)
      return at[k];
    Value start = e.wrappedIndex(body, e.at(body, first, at.front()), true, cache.shape[axis]);
    Value to = body.create<arith::AddIOp>(e.loc, start, at[k]);
    return mode == "circular" ? Value(body.create<arith::RemSIOp>(e.loc, to, extent)) : to;
  });
  Dims rows = {e.product(outer)};
  rows.append(cache.shape.begin() + axis + 1, cache.shape.end());
  n.give(e.scatter(cache, places, e.reshape(update, rows), graph::ScatterKind::replace));
}

/// result[i] = fold of x[j] along an axis, j up to i (`exclusive`: before i; `reverse`: from behind).
template <bool isProduct> static void bindCumulative(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  std::optional<Ints> axes = n.constantInts(1);
  bool exclusive = n.intAttr("exclusive", 0), reverse = n.intAttr("reverse", 0);
  if (!x || !axes)
    return;
  if (axes->size() != 1 || x.dtype().isBool())
    return n.fail("takes numbers and one axis");
  int64_t axis = n.axis(axes->front(), x.rank());
  if (e.failed())
    return;
  Dims row = x.shape;
  row.erase(row.begin() + axis);
  Tensor wide = e.widened(x);
  Value count = e.index(x.shape[axis]);
  SmallVector<Tensor> carried = {e.splat(isProduct ? 1 : 0, wide.dtype(), row), e.empty(x.shape, wide.dtype())};
  SmallVector<Tensor> last = e.loop(count, carried, [&](Value i, ArrayRef<Tensor> now) {
    Value at = i;
    if (reverse)
      at = e.builder.create<arith::SubIOp>(
          e.loc, e.builder.create<arith::SubIOp>(e.loc, count, e.constantIndex(e.builder, 1)), i);
    Tensor value = e.sliceAt(wide, axis, at);
    Tensor next = isProduct ? e.mul(now[0], value) : e.add(now[0], value);
    return SmallVector<Tensor>{next, e.insertAt(exclusive ? now[0] : next, now[1], axis, at)};
  });
  n.give(e.cast(last[1], x.dtype()));
}

void addScatter(BinderTable &table) {
  table["CumProd"] = bindCumulative<true>;
  table["CumSum"] = bindCumulative<false>;
  table["Scatter"] = bindScatterElements;
  table["ScatterElements"] = bindScatterElements;
  table["ScatterND"] = bindScatterND;
  table["TensorScatter"] = bindTensorScatter;
}

} // namespace mlc::onnx
