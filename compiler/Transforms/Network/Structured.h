//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The vocabulary of the decompositions: structured ops in few letters, on shapes that a run may choose in part.
//
#pragma once

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlc::graph {

class MatmulOp;
class SoftmaxOp;

/// The extent of an axis: a number, or an index that a run finds.
class Size {
public:
  Size(int64_t number = 0) : number(number) {}
  /// A constant becomes its number.
  Size(mlir::Value value);

  bool isFixed() const { return !value; }
  bool is(int64_t other) const { return !value && number == other; }
  /// Of a fixed one.
  int64_t fixed() const { return number; }
  /// As types say it.
  int64_t inType() const { return value ? mlir::ShapedType::kDynamic : number; }
  mlir::OpFoldResult folded(mlir::Builder &b) const {
    return value ? mlir::OpFoldResult(value) : mlir::OpFoldResult(b.getIndexAttr(number));
  }
  mlir::Value asValue(mlir::ImplicitLocOpBuilder &b) const {
    return value ? value : b.create<mlir::arith::ConstantIndexOp>(number).getResult();
  }
  bool operator==(const Size &other) const { return number == other.number && value == other.value; }

private:
  int64_t number = 0;
  mlir::Value value; // Null: fixed.
};
using Sizes = llvm::SmallVector<Size>;

/// Builds at `b`.
class Structured {
public:
  using Shape = llvm::ArrayRef<Size>;
  using Body = llvm::function_ref<mlir::Value(mlir::ValueRange)>;

  Structured(mlir::Location location, mlir::OpBuilder &builder) : b(location, builder) {}

  mlir::Value zero(mlir::Type element) { return b.create<mlir::arith::ConstantOp>(b.getZeroAttr(element)); }
  mlir::Value index(int64_t value) { return b.create<mlir::arith::ConstantIndexOp>(value); }
  mlir::Value real(mlir::Type element, double value) {
    return b.create<mlir::arith::ConstantOp>(b.getFloatAttr(element, value));
  }
  /// The smallest value of `element`, which any other replaces in a maximum.
  mlir::Value lowest(mlir::Type element);

  // Arithmetic of sizes.
  Size plus(Size x, Size y);
  Size minus(Size x, Size y);
  Size times(Size x, Size y);
  /// x / y rounded down and up; y > 0.
  Size floorDiv(Size x, int64_t y);
  Size ceilDiv(Size x, int64_t y);
  Size smaller(Size x, Size y);
  Size larger(Size x, Size y);
  /// The extents of `x`, or of one of its axes.
  Sizes sizes(mlir::Value x);
  Size size(mlir::Value x, unsigned axis);
  mlir::Value value(Size size) { return size.asValue(b); }

  mlir::Value empty(Shape shape, mlir::Type element) { return b.create<mlir::tensor::EmptyOp>(folded(shape), element); }
  mlir::Value filled(Shape shape, mlir::Value scalar) {
    return b.create<mlir::linalg::FillOp>(scalar, empty(shape, scalar.getType())).getResult(0);
  }

  /// linalg.generic over axes of which the first `parallel` are parallel and the rest reductions into `init`; the last
  /// map is the result's. `body` gets the elements of the inputs, then the result's. lastParallel: the last axis, too.
  mlir::Value generic(mlir::ValueRange inputs, mlir::Value init, llvm::ArrayRef<mlir::AffineMap> maps,
                      unsigned parallel, Body body, bool lastParallel = false);
  /// Elementwise on values of one shape.
  mlir::Value map(mlir::ValueRange inputs, mlir::Type element, Body body);
  /// `x`, converted to another type of the same kind.
  mlir::Value convert(mlir::Value x, mlir::Type element);
  /// The scalar `x`, converted: floats and signed integers, wider or narrower.
  mlir::Value convertScalar(mlir::Value x, mlir::Type element);

  mlir::Value reshape(mlir::Value x, Shape shape);
  /// Axis i of the result is axis axes[i] of `x`.
  mlir::Value transpose(mlir::Value x, llvm::ArrayRef<unsigned> axes);
  /// [B, C, D...] as [B, D..., C], and back.
  mlir::Value channelsLast(mlir::Value x);
  mlir::Value channelsFirst(mlir::Value x);
  mlir::Value slice(mlir::Value x, Shape offsets, Shape sizes, Shape strides);
  mlir::Value insert(mlir::Value x, mlir::Value into, Shape offsets, Shape strides);
  /// `x` inside `scalar`s, `before` in front of each axis and `behind` after it (negative: cut off).
  mlir::Value pad(mlir::Value x, mlir::Value scalar, Shape before, Shape behind);

  /// `x` with its axis `axis`, which is fixed (padded with zeros to whole panels), last: [..., panels, ..., lane], the
  /// panels in its place.
  mlir::Value panels(mlir::Value x, unsigned axis);

  /// x w^T of x [rows, depth] and w [columns, depth], of which only the rows may not be fixed.
  mlir::Value rowsProduct(mlir::Value x, mlir::Value w);

  /// x + y, x * y, of floats that may be summed in any order, or of integers.
  mlir::Value add(mlir::Value x, mlir::Value y);
  mlir::Value mul(mlir::Value x, mlir::Value y);
  mlir::Value max(mlir::Value x, mlir::Value y);

  /// Whether `given`, an index or i64, lies in [0, extent); a run in which one does not fails (docs/code-objects.md).
  mlir::Value checkIndex(mlir::Value given, Size extent);

  mlir::AffineExpr dim(unsigned i) { return b.getAffineDimExpr(i); }
  mlir::AffineMap mapOf(unsigned dims, llvm::ArrayRef<mlir::AffineExpr> results) {
    return mlir::AffineMap::get(dims, 0, results, b.getContext());
  }

  mlir::ImplicitLocOpBuilder b;

private:
  llvm::SmallVector<mlir::OpFoldResult> folded(Shape sizes);
};

inline llvm::ArrayRef<int64_t> shapeOf(mlir::Value x) {
  return mlir::cast<mlir::RankedTensorType>(x.getType()).getShape();
}
inline mlir::Type elementOf(mlir::Value x) { return mlir::cast<mlir::RankedTensorType>(x.getType()).getElementType(); }
/// Whether products with so many columns go by panels (compiler/Codegen/RegionCode.h); those of columns that a run
/// chooses do not.
bool worthPanels(mlir::Type sum, Size columns, Size depth);
/// Whether `x` follows from weights and constants alone, so that its panels are made while compiling.
bool followsFromWeights(mlir::Value x);
/// The softmax whose sums divide the product `op` of its powers, so that one region has all of it; null: none.
SoftmaxOp softmaxOf(MatmulOp op);
/// Panels that hold `columns` columns.
int64_t panelCount(int64_t columns);

/// What values of `element` are summed in: f32 for the short floats, else the type itself.
inline mlir::Type sumType(mlir::Type element) {
  return element.isF16() || element.isBF16() ? mlir::Float32Type::get(element.getContext()) : element;
}

// The families of graph-decompose-network.
void populateBlockPatterns(mlir::RewritePatternSet &patterns);
void populateWindowPatterns(mlir::RewritePatternSet &patterns);
void populateProductPatterns(mlir::RewritePatternSet &patterns);
void populateRecurrentPatterns(mlir::RewritePatternSet &patterns);
void populateResizePatterns(mlir::RewritePatternSet &patterns);
void populateSelectionPatterns(mlir::RewritePatternSet &patterns);

} // namespace mlc::graph
