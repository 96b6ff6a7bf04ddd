//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Constants, shapes, and tensors that a formula of their indices gives.
//
#include "compiler/Import/ONNX/GraphImporter.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace mlc::onnx {

static void bindConstant(Node &n) {
  Emitter &e = n.e;
  OpBuilder &b = e.builder;
  if (const auto *value = n.tensorAttr("value"))
    return n.give(n.importer.importTensor(*value, n.proto.output(0)));
  if (n.hasAttr("value_int"))
    return n.give(e.reshape(e.integers(n.intAttr("value_int", 0)), {}));
  if (std::optional<Ints> values = n.intsAttr("value_ints"))
    return n.give(e.integers(*values));
  if (n.hasAttr("value_float"))
    return n.give(e.splat(n.floatAttr("value_float", 0), e.f32()));
  if (std::optional<SmallVector<double>> values = n.floatsAttr("value_floats")) {
    SmallVector<float> floats(values->begin(), values->end());
    return n.give(e.constant(DenseElementsAttr::get(RankedTensorType::get({int64_t(floats.size())}, b.getF32Type()),
                                                    ArrayRef<float>(floats))));
  }
  n.fail("has a value that is no dense tensor of numbers, which is not supported");
}

static void bindConstantOfShape(Node &n) {
  Emitter &e = n.e;
  Tensor value = e.splat(0, e.f32());
  if (const auto *given = n.tensorAttr("value"))
    value = n.importer.importTensor(*given, n.proto.output(0));
  std::optional<Dims> extents = n.extents(0);
  if (!value || !extents)
    return;
  for (Dim extent : *extents)
    if (e.constant(extent).value_or(0) < 0)
      return n.fail("has a negative extent");
  n.give(e.broadcast(e.reshape(value, {}), *extents));
}

/// Constants, and extents that are known when the model runs.
static Tensor extentsTensor(Emitter &e, ArrayRef<Dim> extents) {
  if (llvm::all_of(extents, llvm::IsaPred<AffineConstantExpr>)) {
    Ints values;
    for (Dim extent : extents)
      values.push_back(*e.constant(extent));
    return e.integers(values);
  }
  SmallVector<Value> values;
  for (Dim extent : extents)
    values.push_back(e.builder.create<arith::IndexCastOp>(e.loc, e.builder.getI64Type(), e.index(extent)));
  auto type = RankedTensorType::get({int64_t(values.size())}, e.builder.getI64Type());
  Tensor result{e.builder.create<tensor::FromElementsOp>(e.loc, type, values), {e.dim(int64_t(values.size()))}};
  e.known[result.value].assign(extents.begin(), extents.end());
  return result;
}
static void bindShape(Node &n) {
  Tensor x = n.in(0);
  if (!x)
    return;
  int64_t rank = x.rank(), start = n.intAttr("start", 0), end = n.intAttr("end", rank);
  auto clamp = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank); };
  start = clamp(start);
  end = std::max(start, clamp(end));
  n.give(extentsTensor(n.e, ArrayRef<Dim>(x.shape).slice(size_t(start), size_t(end - start))));
}
static void bindSize(Node &n) {
  Emitter &e = n.e;
  if (Tensor x = n.in(0)) {
    Tensor size = extentsTensor(e, e.product(x.shape));
    Tensor scalar = e.reshape(size, {});
    if (auto known = e.extents(size); known && scalar)
      e.known[scalar.value].assign(known->begin(), known->end());
    n.give(scalar);
  }
}

static void bindRange(Node &n) {
  Emitter &e = n.e;
  n.ignore("stash_type"); // Sums are those of f32 always.
  Tensor start = n.in(0), limit = n.in(1), delta = n.in(2);
  if (!start || !limit || !delta)
    return;
  auto number = [&](const Tensor &tensor) -> std::optional<double> {
    DenseElementsAttr values = Emitter::attribute(tensor);
    if (!values || values.getNumElements() != 1)
      return std::nullopt;
    if (tensor.isFloat()) {
      APFloat value = *values.getValues<APFloat>().begin();
      bool inexact;
      value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &inexact);
      return value.convertToDouble();
    }
    return double((*values.getValues<APInt>().begin()).getSExtValue());
  };
  std::optional<double> a = number(start), b = number(limit), step = number(delta);
  if (!a || !b || !step || *step == 0)
    return n.fail("needs constants, and a delta that is not 0; inputs of the network are fixed by --dim NAME=VALUE");
  double count = std::max(0.0, std::ceil((*b - *a) / *step));
  if (!(count < 1e9))
    return n.fail("has too many values");
  Tensor index = e.iota(e.dim(int64_t(count)), e.widened(start).dtype());
  n.give(e.cast(e.add(e.mul(index, e.widened(delta)), e.widened(start)), start.dtype()));
}

static void bindEyeLike(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  int64_t k = n.intAttr("k", 0);
  if (!x || x.rank() != 2)
    return n.fail("takes a matrix");
  std::optional<DType> type = x.dtype();
  if (n.hasAttr("dtype"))
    type = n.importer.dtype(int32_t(n.intAttr("dtype", 0)));
  if (!type)
    return;
  Tensor mask = e.generate(x.shape, e.boolean(), [&](OpBuilder &body, ArrayRef<Value> i) -> Value {
    Value shifted = body.create<arith::AddIOp>(e.loc, i[0], e.constantIndex(body, k));
    return body.create<arith::CmpIOp>(e.loc, arith::CmpIPredicate::eq, i[1], shifted);
  });
  n.give(type->isBool() ? mask : e.select(mask, e.splat(1, *type), e.splat(0, *type)));
}

static void bindTrilu(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  bool upper = n.intAttr("upper", 1);
  int64_t k = 0;
  if (n.has(1)) {
    std::optional<Ints> given = n.constantInts(1);
    if (!given || given->size() != 1)
      return n.fail("needs a constant k");
    k = std::clamp<int64_t>(given->front(), -(int64_t(1) << 40), int64_t(1) << 40);
  }
  if (!x || x.rank() < 2)
    return n.fail("takes matrices");
  Tensor mask = e.generate(x.shape, e.boolean(), [&](OpBuilder &body, ArrayRef<Value> i) -> Value {
    Value shifted = body.create<arith::AddIOp>(e.loc, i[i.size() - 2], e.constantIndex(body, k));
    return body.create<arith::CmpIOp>(e.loc, upper ? arith::CmpIPredicate::sge : arith::CmpIPredicate::sle, i.back(),
                                      shifted);
  });
  n.give(e.select(mask, x, e.splat(0, x.dtype())));
}

void addConstants(BinderTable &table) {
  table["Constant"] = bindConstant;
  table["ConstantOfShape"] = bindConstantOfShape;
  table["EyeLike"] = bindEyeLike;
  table["Range"] = bindRange;
  table["Shape"] = bindShape;
  table["Size"] = bindSize;
  table["Trilu"] = bindTrilu;
}

} // namespace mlc::onnx
