//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Arithmetic of one float type in few letters, for the expansions of functions.
//
#pragma once

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/STLExtras.h"

namespace mlc {

/// Builds at one place, on values of `type`; what works on bits is of f64.
struct Real {
  Real(mlir::Location location, mlir::OpBuilder &builder, mlir::Type type) : b(location, builder), type(type) {}
  mlir::Value real(double value) { return b.create<mlir::arith::ConstantOp>(b.getFloatAttr(type, value)); }
  mlir::Value integer(int64_t value) { return b.create<mlir::arith::ConstantOp>(b.getI64IntegerAttr(value)); }
  mlir::Value add(mlir::Value x, mlir::Value y) { return b.create<mlir::arith::AddFOp>(x, y); }
  mlir::Value sub(mlir::Value x, mlir::Value y) { return b.create<mlir::arith::SubFOp>(x, y); }
  mlir::Value mul(mlir::Value x, mlir::Value y) { return b.create<mlir::arith::MulFOp>(x, y); }
  mlir::Value div(mlir::Value x, mlir::Value y) { return b.create<mlir::arith::DivFOp>(x, y); }
  mlir::Value bits(mlir::Value x) { return b.create<mlir::arith::BitcastOp>(b.getI64Type(), x); }
  mlir::Value fromBits(mlir::Value x) { return b.create<mlir::arith::BitcastOp>(b.getF64Type(), x); }
  mlir::Value select(mlir::arith::CmpFPredicate predicate, mlir::Value x, mlir::Value y, mlir::Value whenTrue,
                     mlir::Value whenFalse) {
    return b.create<mlir::arith::SelectOp>(b.create<mlir::arith::CmpFOp>(predicate, x, y), whenTrue, whenFalse);
  }
  /// c0 + x (c1 + x (c2 + ...)).
  mlir::Value polynomial(mlir::Value x, llvm::ArrayRef<double> coefficients) {
    mlir::Value sum = real(coefficients.back());
    for (double coefficient : llvm::reverse(coefficients.drop_back()))
      sum = add(mul(sum, x), real(coefficient));
    return sum;
  }

  mlir::Value abs(mlir::Value x) { return b.create<mlir::math::AbsFOp>(x); }
  mlir::Value withSign(mlir::Value size, mlir::Value x) { return b.create<mlir::math::CopySignOp>(size, x); }
  /// a - b c of f64 with the error of the product, by Veltkamp's and Dekker's splitting.
  mlir::Value productTakenOff(mlir::Value a, mlir::Value b, mlir::Value c) {
    auto split = [&](mlir::Value x) {
      mlir::Value scaled = mul(x, real(0x1p27 + 1)), high = sub(scaled, sub(scaled, x));
      return std::pair(high, sub(x, high));
    };
    auto [bHigh, bLow] = split(b);
    auto [cHigh, cLow] = split(c);
    mlir::Value product = mul(b, c), error = sub(mul(bHigh, cHigh), product);
    error = add(add(error, mul(bHigh, cLow)), mul(bLow, cHigh));
    return sub(sub(a, product), add(error, mul(bLow, cLow)));
  }

  mlir::ImplicitLocOpBuilder b;
  mlir::Type type;
};

/// Patterns of one op go before MLIR's own.
inline constexpr unsigned kOwnBenefit = 10;

} // namespace mlc
