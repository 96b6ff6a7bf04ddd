//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Writes tensor programs: what binders of operators are made of. A tensor knows its shape as expressions of the
// model's symbolic dimensions. The first failure is kept, and everything that follows from it gives the null tensor, so
// that a binder reads like the formula it stands for.
//
#pragma once

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/Twine.h"

namespace mlc::graph {
enum class ScatterKind : uint32_t;
}

namespace mlc::onnx {

/// An extent: a constant, or an expression of symbols, the model's symbolic dimensions.
using Dim = mlir::AffineExpr;
using Dims = llvm::SmallVector<Dim, 4>;
using Ints = llvm::SmallVector<int64_t, 4>;

/// MLIR's integers have no sign here; ONNX's do.
struct DType {
  mlir::Type type;
  bool isUnsigned = false;

  bool isFloat() const { return mlir::isa<mlir::FloatType>(type); }
  bool isBool() const { return type.isInteger(1); }
  bool isInteger() const { return type.isInteger() && !isBool(); }
  bool operator==(const DType &other) const = default;
};

struct Tensor {
  mlir::Value value;
  Dims shape;
  bool isUnsigned = false;

  explicit operator bool() const { return bool(value); }
  int64_t rank() const { return int64_t(shape.size()); }
  DType dtype() const { return {mlir::cast<mlir::RankedTensorType>(value.getType()).getElementType(), isUnsigned}; }
  bool isFloat() const { return dtype().isFloat(); }
  bool isStatic() const { return llvm::all_of(shape, llvm::IsaPred<mlir::AffineConstantExpr>); }
};

enum class Compare { eq, ne, lt, le, gt, ge };
enum class Fold { sum, product, max, min };

class Emitter {
public:
  explicit Emitter(mlir::MLIRContext &context) : builder(&context), loc(builder.getUnknownLoc()) {}

  mlir::OpBuilder builder;
  mlir::Location loc;
  /// Symbol i, as an index value that dominates everything.
  llvm::SmallVector<mlir::Value> symbols;
  /// Integers that are known as expressions where they are not constants: what Shape gave, and what came of it.
  llvm::DenseMap<mlir::Value, llvm::SmallVector<Dim>> known;

  bool failed() const { return !message.empty(); }
  const std::string &failure() const { return message; }
  /// Keeps the first.
  Tensor fail(const llvm::Twine &what);
  void clearFailure() { message.clear(); }

  //===--- Extents ---===//
  Dim dim(int64_t value) { return builder.getAffineConstantExpr(value); }
  Dims dims(llvm::ArrayRef<int64_t> values);
  /// The constant behind `extent`, or nullopt.
  static std::optional<int64_t> constant(Dim extent);
  /// The constants of a shape; fails, saying `what` needs them, where one is symbolic.
  std::optional<Ints> staticShape(const Tensor &tensor, const llvm::Twine &what);
  Dim product(llvm::ArrayRef<Dim> extents);
  /// "[2, s0]": for messages.
  static std::string text(llvm::ArrayRef<Dim> shape);
  mlir::Value index(Dim extent);
  mlir::OpFoldResult size(Dim extent);
  mlir::RankedTensorType typeOf(llvm::ArrayRef<Dim> shape, mlir::Type element);

  //===--- Constants ---===//
  Tensor constant(mlir::DenseElementsAttr values, bool isUnsigned = false);
  Tensor splat(double value, DType dtype, llvm::ArrayRef<Dim> shape = {});
  Tensor integers(llvm::ArrayRef<int64_t> values);
  /// Of an arith.constant; null for every other tensor.
  static mlir::DenseElementsAttr attribute(const Tensor &tensor);
  /// The integers of a constant tensor, sign- or zero-extended; nullopt when it is none.
  static std::optional<Ints> ints(const Tensor &tensor);
  static Ints ints(mlir::DenseElementsAttr values, bool isUnsigned);
  /// The extents that an integer tensor holds, constants or not; nullopt when they are not known.
  std::optional<Dims> extents(const Tensor &tensor);

  //===--- Elementwise ---===//
  std::optional<Dims> broadcastShape(llvm::ArrayRef<Dim> a, llvm::ArrayRef<Dim> b);
  Tensor broadcast(const Tensor &tensor, llvm::ArrayRef<Dim> shape);
  /// Of one shape and, unless they differ, type.
  bool together(Tensor &a, Tensor &b, bool sameType = true);
  template <typename Op> Tensor unary(const Tensor &a) {
    return a ? like(a, builder.create<Op>(loc, a.value)) : Tensor();
  }
  template <typename Op> Tensor binary(Tensor a, Tensor b) {
    return together(a, b) ? like(a, builder.create<Op>(loc, a.value, b.value)) : Tensor();
  }
  Tensor add(Tensor a, Tensor b);
  Tensor sub(Tensor a, Tensor b);
  Tensor mul(Tensor a, Tensor b);
  /// Integers: towards zero.
  Tensor div(Tensor a, Tensor b);
  Tensor max(Tensor a, Tensor b);
  Tensor min(Tensor a, Tensor b);
  Tensor add(Tensor a, double b) { return a ? add(a, splat(b, a.dtype())) : a; }
  Tensor sub(Tensor a, double b) { return a ? sub(a, splat(b, a.dtype())) : a; }
  Tensor mul(Tensor a, double b) { return a ? mul(a, splat(b, a.dtype())) : a; }
  Tensor div(Tensor a, double b) { return a ? div(a, splat(b, a.dtype())) : a; }
  Tensor negate(Tensor a);
  Tensor abs(Tensor a);
  Tensor exp(Tensor a);
  Tensor log(Tensor a);
  Tensor sqrt(Tensor a);
  Tensor tanh(Tensor a);
  Tensor sigmoid(Tensor a);
  Tensor erf(Tensor a);
  Tensor compare(Compare how, Tensor a, Tensor b);
  Tensor compare(Compare how, Tensor a, double b) { return a ? compare(how, a, splat(b, a.dtype())) : a; }
  Tensor select(Tensor condition, Tensor a, Tensor b);
  Tensor logicalNot(Tensor a);
  Tensor cast(const Tensor &a, DType to);
  DType f32() { return {builder.getF32Type()}; }
  DType i64() { return {builder.getI64Type()}; }
  DType boolean() { return {builder.getI1Type()}; }
  /// Of f16 and bf16: what a formula of several roundings is computed in.
  Tensor widened(const Tensor &a);

  //===--- Movement ---===//
  Tensor reshape(const Tensor &tensor, llvm::ArrayRef<Dim> shape);
  Tensor transpose(const Tensor &tensor, llvm::ArrayRef<int64_t> permutation);
  Tensor unsqueeze(const Tensor &tensor, llvm::ArrayRef<int64_t> axes);
  Tensor squeeze(const Tensor &tensor, llvm::ArrayRef<int64_t> axes);
  /// Steps of 1 or more.
  Tensor slice(const Tensor &tensor, llvm::ArrayRef<Dim> starts, llvm::ArrayRef<Dim> sizes,
               llvm::ArrayRef<int64_t> steps);
  /// [begin, begin + size) of one axis.
  Tensor sliceAxis(const Tensor &tensor, int64_t axis, Dim begin, Dim size);
  Tensor concat(llvm::ArrayRef<Tensor> tensors, int64_t axis);
  /// `value` where the padded tensor lies outside; amounts may be negative.
  Tensor pad(const Tensor &tensor, llvm::ArrayRef<Dim> before, llvm::ArrayRef<Dim> behind, const Tensor &value);
  using Body = llvm::function_ref<mlir::Value(mlir::OpBuilder &, llvm::ArrayRef<mlir::Value> indices)>;
  /// result[i...] = body(i...), a scalar of `dtype`.
  Tensor generate(llvm::ArrayRef<Dim> shape, DType dtype, Body body);
  mlir::Value at(mlir::OpBuilder &body, const Tensor &tensor, llvm::ArrayRef<mlir::Value> indices);
  /// An index from an element of an integer tensor; a negative one counts from `extent`.
  mlir::Value wrappedIndex(mlir::OpBuilder &body, mlir::Value element, bool isUnsigned, Dim extent);
  mlir::Value constantIndex(mlir::OpBuilder &body, int64_t value);
  /// 0, 1, ... along the one axis.
  Tensor iota(Dim extent, DType dtype);

  //===--- Values that say where ---===//
  /// A symbol for an extent that a run finds.
  Dim symbol(mlir::Value extent);
  /// The one element of an integer tensor, as an index.
  mlir::Value indexOf(const Tensor &tensor);
  /// An index as a scalar of i64.
  Tensor fromIndex(mlir::Value index);
  /// result[..., i, ...] = tensor[..., indices[i], ...] on `axis`; indices: [N] of integers, each in range.
  Tensor take(const Tensor &tensor, int64_t axis, const Tensor &indices);
  /// Where the largest (smallest) value along `axis` stands, the first of equal ones or the last; `axis` is gone.
  Tensor argExtreme(const Tensor &tensor, int64_t axis, bool largest, bool last);
  /// graph.scatter: indices [N, R] of i64, updates [N, ...].
  Tensor scatter(const Tensor &into, const Tensor &indices, const Tensor &updates, graph::ScatterKind kind);
  /// graph.sort: the values along `axis` and the indices that they had.
  std::pair<Tensor, Tensor> sort(const Tensor &tensor, int64_t axis, bool descending);
  /// graph.nonzero: i64 [rank, N], N a symbol.
  Tensor nonzero(const Tensor &tensor);

  //===--- Loops ---===//
  using Step = llvm::function_ref<llvm::SmallVector<Tensor>(mlir::Value index, llvm::ArrayRef<Tensor> carried)>;
  /// carried = step(i, carried) for i in [0, count); shapes and types stay.
  llvm::SmallVector<Tensor> loop(mlir::Value count, llvm::ArrayRef<Tensor> carried, Step step);
  /// tensor[..., index, ...]: `axis` is gone.
  Tensor sliceAt(const Tensor &tensor, int64_t axis, mlir::Value index);
  /// `into` with `tensor` at [..., index, ...] of `axis`.
  Tensor insertAt(const Tensor &tensor, const Tensor &into, int64_t axis, mlir::Value index);
  /// With values that are not set.
  Tensor empty(llvm::ArrayRef<Dim> shape, DType dtype);

  //===--- Reductions and products ---===//
  Tensor reduce(Fold fold, const Tensor &tensor, llvm::ArrayRef<int64_t> axes, bool keep);
  Tensor mean(const Tensor &tensor, llvm::ArrayRef<int64_t> axes, bool keep);
  /// How many elements `axes` hold, as a scalar of `dtype`.
  Tensor count(const Tensor &tensor, llvm::ArrayRef<int64_t> axes, DType dtype);
  /// numpy.matmul; `result`: the type of products and sums, the operands' own when null.
  Tensor matmul(Tensor a, Tensor b, mlir::Type result = {});
  /// The matrix [k, N] of packed codes (graph.dequantize_blocks); `zeros` may be null.
  Tensor dequantizeBlocks(const Tensor &codes, const Tensor &scales, const Tensor &zeros, int64_t k, int64_t bits,
                          int64_t block, bool rounds);
  Tensor softmax(const Tensor &tensor, int64_t axis, bool log = false);

  Tensor like(const Tensor &a, mlir::Value value) { return {value, a.shape, a.isUnsigned}; }

private:
  Tensor arithmetic(Tensor a, Tensor b, llvm::StringRef onFloats, llvm::StringRef onSigned, llvm::StringRef onUnsigned);
  mlir::Value create(llvm::StringRef name, mlir::Value a, mlir::Value b);
  std::string message;
};

} // namespace mlc::onnx
