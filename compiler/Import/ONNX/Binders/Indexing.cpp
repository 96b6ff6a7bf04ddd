//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Operators that read at indices.
//
#include "compiler/Import/ONNX/Binders/Indices.h"

using namespace mlir;

namespace mlc::onnx {

static bool isIndex(Node &n, const Tensor &indices) {
  if (indices && !indices.dtype().isInteger())
    n.fail("takes indices of integers");
  return !n.e.failed();
}

bool areInside(Node &n, const Tensor &indices, ArrayRef<Dim> extents) {
  std::optional<Ints> values = Emitter::ints(indices);
  for (size_t i = 0; values && i < values->size(); ++i) {
    std::optional<int64_t> extent = Emitter::constant(extents[i % extents.size()]);
    if (int64_t index = (*values)[i]; extent && (index >= *extent || index < -*extent)) {
      n.fail("has the index " + Twine(index) + ", which lies outside of an axis of " + Twine(*extent));
      return false;
    }
  }
  return true;
}

static void bindGather(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), indices = n.in(1);
  if (!x || !indices || !isIndex(n, indices))
    return;
  int64_t axis = n.axis(n.intAttr("axis", 0), x.rank());
  if (e.failed() || !areInside(n, indices, x.shape[axis]))
    return;
  // Of extents that are known as expressions, those are picked.
  std::optional<Dims> known = e.extents(x);
  std::optional<Ints> picks = e.ints(indices);
  ArrayRef<Dim> shape = x.shape;
  Dims result(shape.take_front(axis));
  result.append(indices.shape.begin(), indices.shape.end());
  result.append(shape.begin() + axis + 1, shape.end());
  Tensor y = e.generate(result, x.dtype(), [&](OpBuilder &body, ArrayRef<Value> at) {
    ArrayRef<Value> inner = at.slice(axis, indices.rank());
    Value pick = e.wrappedIndex(body, e.at(body, indices, inner), indices.isUnsigned, x.shape[axis]);
    SmallVector<Value> from(at.take_front(axis));
    from.push_back(pick);
    from.append(at.begin() + axis + indices.rank(), at.end());
    return e.at(body, x, from);
  });
  if (y && known && picks && x.rank() == 1 && !Emitter::ints(x)) {
    SmallVector<Dim> extents;
    for (int64_t pick : *picks) {
      pick = pick < 0 ? pick + int64_t(known->size()) : pick;
      if (pick < 0 || pick >= int64_t(known->size()))
        return n.fail("picks an index outside its axis");
      extents.push_back((*known)[pick]);
    }
    e.known[y.value] = extents;
  }
  n.give(y);
}

static void bindGatherElements(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), indices = n.in(1);
  if (!x || !indices || !isIndex(n, indices))
    return;
  int64_t axis = n.axis(n.intAttr("axis", 0), x.rank());
  if (e.failed() || x.rank() != indices.rank())
    return n.fail("takes indices of its input's rank");
  if (!areInside(n, indices, x.shape[axis]))
    return;
  n.give(e.generate(indices.shape, x.dtype(), [&](OpBuilder &body, ArrayRef<Value> at) {
    SmallVector<Value> from(at);
    from[axis] = e.wrappedIndex(body, e.at(body, indices, at), indices.isUnsigned, x.shape[axis]);
    return e.at(body, x, from);
  }));
}

static void bindGatherND(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), indices = n.in(1);
  int64_t batch = n.intAttr("batch_dims", 0);
  if (!x || !indices || !isIndex(n, indices))
    return;
  std::optional<int64_t> depth = indices.rank() ? e.constant(indices.shape.back()) : std::nullopt;
  if (!depth || batch < 0 || batch >= std::min(x.rank(), indices.rank()) || *depth < 1 || batch + *depth > x.rank())
    return n.fail("takes indices whose last axis names axes behind batch_dims");
  for (int64_t axis = 0; axis < batch; ++axis)
    if (x.shape[axis] != indices.shape[axis])
      return n.fail("has indices of another batch than its input");
  if (!areInside(n, indices, ArrayRef<Dim>(x.shape).slice(batch, *depth)))
    return;
  Dims result(ArrayRef<Dim>(indices.shape).drop_back());
  result.append(x.shape.begin() + batch + *depth, x.shape.end());
  int64_t outer = indices.rank() - 1;
  n.give(e.generate(result, x.dtype(), [&](OpBuilder &body, ArrayRef<Value> at) {
    SmallVector<Value> from(at.take_front(batch)), where(at.take_front(outer));
    where.push_back({});
    for (int64_t k = 0; k < *depth; ++k) {
      where.back() = e.constantIndex(body, k);
      from.push_back(e.wrappedIndex(body, e.at(body, indices, where), indices.isUnsigned, x.shape[batch + k]));
    }
    from.append(at.begin() + outer, at.end());
    return e.at(body, x, from);
  }));
}

static void bindOneHot(Node &n) {
  Emitter &e = n.e;
  Tensor indices = n.in(0), values = n.in(2);
  std::optional<Ints> depth;
  // A depth may be a float.
  if (Tensor given = n.in(1); given && given.isFloat()) {
    if (std::optional<SmallVector<double>> numbers = n.constantFloats(1); numbers && numbers->size() == 1)
      depth = Ints{int64_t(std::clamp(numbers->front(), 0.0, 1e9))};
  } else {
    depth = n.constantInts(1);
  }
  if (!indices || !values || e.failed())
    return;
  if (!depth || depth->size() != 1 || depth->front() < 1 || e.constant(e.product(values.shape)) != 2)
    return n.fail("needs a positive constant depth and two values");
  int64_t axis = n.axis(n.intAttr("axis", -1), indices.rank() + 1);
  if (e.failed())
    return;
  Tensor wanted = e.cast(indices, e.i64());
  // A negative one counts from behind.
  wanted = e.select(e.compare(Compare::lt, wanted, 0.0), e.add(wanted, double(depth->front())), wanted);
  wanted = e.unsqueeze(wanted, axis);
  Dims shape(size_t(indices.rank() + 1), e.dim(1));
  shape[axis] = e.dim(depth->front());
  Tensor classes = e.reshape(e.iota(e.dim(depth->front()), e.i64()), shape);
  Tensor pair = e.reshape(values, e.dim(2));
  auto value = [&](int64_t i) { return e.reshape(e.sliceAxis(pair, 0, e.dim(i), e.dim(1)), {}); };
  n.give(e.select(e.compare(Compare::eq, wanted, classes), value(1), value(0)));
}

static void bindReverseSequence(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), lengths = n.in(1);
  if (!x || !lengths || !isIndex(n, lengths))
    return;
  int64_t batch = n.axis(n.intAttr("batch_axis", 1), x.rank()), time = n.axis(n.intAttr("time_axis", 0), x.rank());
  if (e.failed() || batch == time || lengths.rank() != 1 || lengths.shape[0] != x.shape[batch])
    return n.fail("needs a length for each sequence of its batch");
  n.give(e.generate(x.shape, x.dtype(), [&](OpBuilder &body, ArrayRef<Value> at) {
    Value length = body.create<arith::IndexCastOp>(e.loc, body.getIndexType(), e.at(body, lengths, at[batch]));
    Value last = body.create<arith::SubIOp>(e.loc, length, e.constantIndex(body, 1));
    Value inside = body.create<arith::CmpIOp>(e.loc, arith::CmpIPredicate::slt, at[time], length);
    SmallVector<Value> from(at);
    from[time] =
        body.create<arith::SelectOp>(e.loc, inside, body.create<arith::SubIOp>(e.loc, last, at[time]), at[time]);
    return e.at(body, x, from);
  }));
}

void addIndexing(BinderTable &table) {
  table["Gather"] = bindGather;
  table["GatherElements"] = bindGatherElements;
  table["GatherND"] = bindGatherND;
  table["OneHot"] = bindOneHot;
  table["ReverseSequence"] = bindReverseSequence;
}

} // namespace mlc::onnx
