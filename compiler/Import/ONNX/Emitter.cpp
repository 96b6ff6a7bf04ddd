//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/ONNX/Emitter.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace mlc::onnx {

// Above any extent a model has, and far below where sums of products of indices overflow.
static constexpr int64_t kMostElements = int64_t(1) << 40;

Tensor Emitter::fail(const Twine &what) {
  if (message.empty())
    message = what.str();
  return {};
}

//===----------------------------------------------------------------------===//
// Extents
//===----------------------------------------------------------------------===//

Dims Emitter::dims(ArrayRef<int64_t> values) {
  Dims result;
  for (int64_t value : values)
    result.push_back(dim(value));
  return result;
}

std::optional<int64_t> Emitter::constant(Dim extent) {
  auto value = dyn_cast<AffineConstantExpr>(extent);
  return value ? std::optional(value.getValue()) : std::nullopt;
}

std::optional<Ints> Emitter::staticShape(const Tensor &tensor, const Twine &what) {
  Ints result;
  for (Dim extent : tensor.shape) {
    if (!constant(extent)) {
      fail(what + " needs a fixed shape; fix its dimensions with --dim NAME=VALUE");
      return std::nullopt;
    }
    result.push_back(*constant(extent));
  }
  return result;
}

Dim Emitter::product(ArrayRef<Dim> extents) {
  Dim result = dim(1);
  for (Dim extent : extents)
    result = result * extent;
  return result;
}

Value Emitter::index(Dim extent) {
  if (std::optional<int64_t> value = constant(extent))
    return builder.create<arith::ConstantIndexOp>(loc, *value);
  if (auto symbol = dyn_cast<AffineSymbolExpr>(extent))
    return symbols[symbol.getPosition()];
  auto binaryExpr = cast<AffineBinaryOpExpr>(extent);
  Value a = index(binaryExpr.getLHS()), b = index(binaryExpr.getRHS());
  switch (extent.getKind()) {
  case AffineExprKind::Add:
    return builder.create<arith::AddIOp>(loc, a, b);
  case AffineExprKind::Mul:
    return builder.create<arith::MulIOp>(loc, a, b);
  case AffineExprKind::FloorDiv:
    return builder.create<arith::FloorDivSIOp>(loc, a, b);
  case AffineExprKind::CeilDiv:
    return builder.create<arith::CeilDivSIOp>(loc, a, b);
  default:
    return builder.create<arith::RemSIOp>(loc, a, b);
  }
}

OpFoldResult Emitter::size(Dim extent) {
  if (std::optional<int64_t> value = constant(extent))
    return builder.getIndexAttr(*value);
  return index(extent);
}

RankedTensorType Emitter::typeOf(ArrayRef<Dim> shape, Type element) {
  SmallVector<int64_t> extents;
  int64_t elements = 1;
  for (Dim extent : shape) {
    std::optional<int64_t> value = constant(extent);
    if (value && (*value < 0 || __builtin_mul_overflow(elements, std::max<int64_t>(*value, 1), &elements) ||
                  elements > kMostElements)) {
      fail("has a result of an impossible size");
      value = 1;
    }
    extents.push_back(value.value_or(ShapedType::kDynamic));
  }
  return RankedTensorType::get(extents, element);
}

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

Tensor Emitter::constant(DenseElementsAttr values, bool isUnsigned) {
  return {builder.create<arith::ConstantOp>(loc, values), dims(values.getType().getShape()), isUnsigned};
}

static Attribute scalarAttribute(Type type, double value) {
  if (isa<FloatType>(type))
    return FloatAttr::get(type, value);
  // A limit of a 64-bit type is no double.
  bool isNegative = value < 0;
  APInt bits = value >= 0x1p63    ? APInt::getMaxValue(64)
               : value <= -0x1p63 ? APInt::getSignedMinValue(64)
                                  : APInt(64, uint64_t(int64_t(value)), isNegative);
  return IntegerAttr::get(type, bits.trunc(type.getIntOrFloatBitWidth()));
}

Tensor Emitter::splat(double value, DType dtype, ArrayRef<Dim> shape) {
  RankedTensorType type = typeOf(shape, dtype.type);
  if (failed())
    return {};
  Attribute scalar = scalarAttribute(dtype.type, value);
  if (type.hasStaticShape())
    return constant(DenseElementsAttr::get(type, scalar), dtype.isUnsigned);
  SmallVector<Value> sizes;
  for (Dim extent : shape)
    if (!constant(extent))
      sizes.push_back(index(extent));
  Value element = builder.create<arith::ConstantOp>(loc, cast<TypedAttr>(scalar));
  return {builder.create<tensor::SplatOp>(loc, type, element, sizes), Dims(shape), dtype.isUnsigned};
}

Tensor Emitter::integers(ArrayRef<int64_t> values) {
  return constant(
      DenseElementsAttr::get(RankedTensorType::get({int64_t(values.size())}, builder.getI64Type()), values));
}

DenseElementsAttr Emitter::attribute(const Tensor &tensor) {
  if (!tensor)
    return {};
  auto op = tensor.value.getDefiningOp<arith::ConstantOp>();
  return op ? dyn_cast<DenseElementsAttr>(op.getValue()) : DenseElementsAttr();
}

std::optional<Ints> Emitter::ints(const Tensor &tensor) {
  DenseElementsAttr values = attribute(tensor);
  if (!values || !values.getElementType().isInteger() || values.getNumElements() > (1 << 20))
    return std::nullopt;
  return ints(values, tensor.isUnsigned);
}

Ints Emitter::ints(DenseElementsAttr values, bool isUnsigned) {
  bool zero = isUnsigned || values.getElementType().isInteger(1);
  Ints result;
  for (const APInt &value : values.getValues<APInt>())
    result.push_back(zero ? int64_t(value.getZExtValue()) : value.getSExtValue());
  return result;
}

std::optional<Dims> Emitter::extents(const Tensor &tensor) {
  if (std::optional<Ints> values = ints(tensor))
    return dims(*values);
  auto found = known.find(tensor.value);
  if (found == known.end())
    return std::nullopt;
  return Dims(found->second.begin(), found->second.end());
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

std::string Emitter::text(ArrayRef<Dim> shape) {
  std::string result = "[";
  llvm::raw_string_ostream stream(result);
  llvm::interleaveComma(shape, stream, [&](Dim extent) {
    if (std::optional<int64_t> value = Emitter::constant(extent))
      stream << *value;
    else
      stream << extent;
  });
  return result + "]";
}

std::optional<Dims> Emitter::broadcastShape(ArrayRef<Dim> a, ArrayRef<Dim> b) {
  if (a.size() < b.size())
    std::swap(a, b);
  Dims result(a.begin(), a.end());
  for (size_t i = 0, skip = a.size() - b.size(); i < b.size(); ++i) {
    Dim &extent = result[skip + i];
    if (extent == b[i] || constant(b[i]) == 1)
      continue;
    if (constant(extent) != 1) {
      fail("has operands of shapes " + text(a) + " and " + text(b) + ", which do not broadcast");
      return std::nullopt;
    }
    extent = b[i];
  }
  return result;
}

bool Emitter::together(Tensor &a, Tensor &b, bool sameType) {
  if (!a || !b)
    return false;
  if (sameType && a.dtype() != b.dtype()) {
    fail("has operands of different types");
    return false;
  }
  std::optional<Dims> shape = broadcastShape(a.shape, b.shape);
  if (!shape)
    return false;
  a = broadcast(a, *shape);
  b = broadcast(b, *shape);
  return a && b;
}

Value Emitter::create(StringRef name, Value a, Value b) {
  OperationState state(loc, name, {a, b}, {a.getType()});
  return builder.create(state)->getResult(0);
}

Tensor Emitter::arithmetic(Tensor a, Tensor b, StringRef onFloats, StringRef onSigned, StringRef onUnsigned) {
  if (!together(a, b))
    return {};
  if (a.dtype().isBool())
    return fail("has operands of bool");
  return like(a, create(a.isFloat() ? onFloats : a.isUnsigned ? onUnsigned : onSigned, a.value, b.value));
}
Tensor Emitter::add(Tensor a, Tensor b) { return arithmetic(a, b, "arith.addf", "arith.addi", "arith.addi"); }
Tensor Emitter::sub(Tensor a, Tensor b) { return arithmetic(a, b, "arith.subf", "arith.subi", "arith.subi"); }
Tensor Emitter::mul(Tensor a, Tensor b) { return arithmetic(a, b, "arith.mulf", "arith.muli", "arith.muli"); }
Tensor Emitter::div(Tensor a, Tensor b) { return arithmetic(a, b, "arith.divf", "arith.divsi", "arith.divui"); }
Tensor Emitter::max(Tensor a, Tensor b) { return arithmetic(a, b, "arith.maximumf", "arith.maxsi", "arith.maxui"); }
Tensor Emitter::min(Tensor a, Tensor b) { return arithmetic(a, b, "arith.minimumf", "arith.minsi", "arith.minui"); }

Tensor Emitter::negate(Tensor a) {
  if (!a)
    return {};
  return a.isFloat() ? unary<arith::NegFOp>(a) : sub(splat(0, a.dtype()), a);
}
Tensor Emitter::abs(Tensor a) {
  if (!a || (!a.isFloat() && a.isUnsigned))
    return a;
  return a.isFloat() ? unary<math::AbsFOp>(a) : max(a, negate(a));
}
Tensor Emitter::exp(Tensor a) { return unary<math::ExpOp>(a); }
Tensor Emitter::log(Tensor a) { return unary<math::LogOp>(a); }
Tensor Emitter::sqrt(Tensor a) { return unary<math::SqrtOp>(a); }
Tensor Emitter::tanh(Tensor a) { return unary<math::TanhOp>(a); }
Tensor Emitter::erf(Tensor a) { return unary<math::ErfOp>(a); }
Tensor Emitter::sigmoid(Tensor a) { return a ? div(splat(1, a.dtype()), add(exp(negate(a)), 1)) : a; }

Tensor Emitter::compare(Compare how, Tensor a, Tensor b) {
  if (!together(a, b))
    return {};
  using F = arith::CmpFPredicate;
  using I = arith::CmpIPredicate;
  static constexpr F onFloats[] = {F::OEQ, F::UNE, F::OLT, F::OLE, F::OGT, F::OGE};
  static constexpr I onSigned[] = {I::eq, I::ne, I::slt, I::sle, I::sgt, I::sge};
  static constexpr I onUnsigned[] = {I::eq, I::ne, I::ult, I::ule, I::ugt, I::uge};
  bool zero = a.isUnsigned || a.dtype().isBool();
  Value result =
      a.isFloat()
          ? Value(builder.create<arith::CmpFOp>(loc, onFloats[int(how)], a.value, b.value))
          : Value(builder.create<arith::CmpIOp>(loc, (zero ? onUnsigned : onSigned)[int(how)], a.value, b.value));
  return {result, a.shape};
}

Tensor Emitter::select(Tensor condition, Tensor a, Tensor b) {
  if (!together(a, b) || !condition)
    return {};
  if (!condition.dtype().isBool())
    return fail("has a condition that is not bool");
  std::optional<Dims> shape = broadcastShape(condition.shape, a.shape);
  if (!shape)
    return {};
  condition = broadcast(condition, *shape);
  a = broadcast(a, *shape);
  b = broadcast(b, *shape);
  if (failed())
    return {};
  return like(a, builder.create<arith::SelectOp>(loc, condition.value, a.value, b.value));
}

Tensor Emitter::logicalNot(Tensor a) { return a ? binary<arith::XOrIOp>(a, splat(1, a.dtype())) : a; }

Tensor Emitter::cast(const Tensor &a, DType to) {
  if (!a || a.dtype() == to)
    return a;
  DType from = a.dtype();
  Type type = typeOf(a.shape, to.type);
  Tensor result{a.value, a.shape, to.isUnsigned};
  unsigned have = from.type.getIntOrFloatBitWidth(), want = to.type.getIntOrFloatBitWidth();
  if (to.isBool())
    return compare(Compare::ne, a, 0.0);
  bool zero = from.isUnsigned || from.isBool();
  if (from.isFloat() && to.isFloat()) {
    // bf16 and f16 have one width and meet in f32.
    if (have == want)
      return cast(cast(a, f32()), to);
    result.value = have < want ? Value(builder.create<arith::ExtFOp>(loc, type, a.value))
                               : Value(builder.create<arith::TruncFOp>(loc, type, a.value));
  } else if (from.isFloat()) {
    result.value = to.isUnsigned ? Value(builder.create<arith::FPToUIOp>(loc, type, a.value))
                                 : Value(builder.create<arith::FPToSIOp>(loc, type, a.value));
  } else if (to.isFloat()) {
    result.value = zero ? Value(builder.create<arith::UIToFPOp>(loc, type, a.value))
                        : Value(builder.create<arith::SIToFPOp>(loc, type, a.value));
  } else if (have < want) {
    result.value = zero ? Value(builder.create<arith::ExtUIOp>(loc, type, a.value))
                        : Value(builder.create<arith::ExtSIOp>(loc, type, a.value));
  } else if (have > want) {
    result.value = builder.create<arith::TruncIOp>(loc, type, a.value);
  }
  return result;
}

Tensor Emitter::widened(const Tensor &a) {
  return a && a.isFloat() && a.dtype().type.getIntOrFloatBitWidth() < 32 ? cast(a, f32()) : a;
}

} // namespace mlc::onnx
