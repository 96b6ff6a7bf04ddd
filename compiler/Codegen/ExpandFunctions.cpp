//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// exp and log of f64, arcsin and arccos of f32, and remainders.
//
#include "compiler/Codegen/LowerRegion.h"
#include "compiler/Codegen/Real.h"

#include "mlir/IR/PatternMatch.h"

#include <numbers>

using namespace mlir;
using namespace mlc;

namespace {

using enum arith::CmpFPredicate;

/// e^x of f64 by Taylor's series to r^13 on |r| <= ln 2 / 2.
struct ExpandDoubleExp : OpRewritePattern<math::ExpOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::ExpOp op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF64())
      return failure();
    Real f(op.getLoc(), rewriter, op.getType());
    Value x = op.getOperand(), high = f.real(709.8), low = f.real(-745.2);
    Value limited = f.select(OLT, x, low, low, f.select(OGT, x, high, high, x));
    // Adding 1.5 * 2^52 rounds to an integer, which its low bits hold.
    Value magic = f.real(0x1.8p52);
    Value shifted = f.add(f.mul(limited, f.real(std::numbers::log2e)), magic), n = f.sub(shifted, magic);
    Value r = f.sub(limited, f.mul(n, f.real(0x1.62e42fee00000p-1)));
    r = f.sub(r, f.mul(n, f.real(0x1.a39ef35793c76p-33)));
    SmallVector<double> terms{1};
    for (int i = 1; i <= 13; ++i)
      terms.push_back(terms.back() / i);
    Value y = f.polynomial(r, terms);
    // n may be -1075 to 1024: two factors, each of a representable exponent.
    Value whole = f.b.create<arith::FPToSIOp>(f.b.getI64Type(), n);
    Value half = f.b.create<arith::ShRSIOp>(whole, f.integer(1)), rest = f.b.create<arith::SubIOp>(whole, half);
    for (Value part : {half, rest}) {
      Value biased = f.b.create<arith::AddIOp>(part, f.integer(1023));
      y = f.mul(y, f.fromBits(f.b.create<arith::ShLIOp>(biased, f.integer(52))));
    }
    rewriter.replaceOp(op, f.select(UNO, x, x, x, y));
    return success();
  }
};

/// ln x of f64: x = 2^n m, ln m = 2 artanh((m - 1) / (m + 1)), m within sqrt 2 of 1.
struct ExpandDoubleLog : OpRewritePattern<math::LogOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::LogOp op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF64())
      return failure();
    Real f(op.getLoc(), rewriter, op.getType());
    Value x = op.getOperand(), tiny = f.real(0x1p-1022), zero = f.real(0);
    // Subnormals are scaled up first.
    Value scaled = f.select(OLT, x, tiny, f.mul(x, f.real(0x1p54)), x);
    Value offset = f.select(OLT, x, tiny, f.real(-54), zero);
    // Exponent and mantissa, with the mantissa in [sqrt 1/2, sqrt 2).
    Value bits = f.b.create<arith::SubIOp>(f.bits(scaled), f.integer(0x3fe6a09e667f3bcd));
    Value n = f.b.create<arith::ShRSIOp>(bits, f.integer(52));
    Value m = f.fromBits(f.b.create<arith::SubIOp>(f.bits(scaled), f.b.create<arith::ShLIOp>(n, f.integer(52))));
    Value q = f.div(f.sub(m, f.real(1)), f.add(m, f.real(1))), square = f.mul(q, q);
    SmallVector<double> terms;
    for (int i = 0; i < 12; ++i)
      terms.push_back(2.0 / (2 * i + 1));
    Value y = f.mul(q, f.polynomial(square, terms));
    Value exponent = f.add(f.b.create<arith::SIToFPOp>(f.type, n), offset);
    y = f.add(f.add(y, f.mul(exponent, f.real(0x1.a39ef35793c76p-33))), f.mul(exponent, f.real(0x1.62e42fee00000p-1)));
    Value infinity = f.b.create<arith::DivFOp>(f.real(1), zero), nan = f.b.create<arith::SubFOp>(infinity, infinity);
    y = f.select(OEQ, x, infinity, infinity, y);
    y = f.select(OEQ, x, zero, f.b.create<arith::NegFOp>(infinity), y);
    rewriter.replaceOp(op, f.select(UGE, x, zero, f.select(UNO, x, x, x, y), nan));
    return success();
  }
};

/// arcsin and arccos of f32 by Cephes' polynomial on [0, 1/2], beyond by half angles; absolute error 3e-7.
template <typename Op> struct ExpandArc : OpRewritePattern<Op> {
  explicit ExpandArc(MLIRContext *context) : OpRewritePattern<Op>(context, /*benefit=*/10) {}
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF32())
      return failure();
    Real f(op.getLoc(), rewriter, op.getType());
    Value x = op.getOperand(), a = f.b.create<math::AbsFOp>(x), half = f.real(0.5);
    Value far = f.mul(half, f.sub(f.real(1), a)), z = f.select(OGT, a, half, far, f.mul(a, a));
    Value root = f.select(OGT, a, half, f.b.create<math::SqrtOp>(far), a);
    Value series =
        f.polynomial(z, {1.6666752422e-1, 7.4953002686e-2, 4.5470025998e-2, 2.4181311049e-2, 4.2163199048e-2});
    Value arc = f.add(root, f.mul(root, f.mul(z, series))); // Of the root.
    Value turn = f.real(std::numbers::pi / 2), twice = f.add(arc, arc);
    Value result;
    if constexpr (std::is_same_v<Op, math::AsinOp>) {
      Value y = f.select(OGT, a, half, f.sub(turn, twice), arc);
      result = f.b.create<math::CopySignOp>(y, x);
    } else {
      Value negative = f.select(OGT, a, half, f.sub(f.real(std::numbers::pi), twice), f.add(turn, arc));
      Value positive = f.select(OGT, a, half, twice, f.sub(turn, arc));
      result = f.select(OLT, x, f.real(0), negative, positive);
    }
    rewriter.replaceOp(op, result);
    return success();
  }
};

/// x - trunc(x / y) y, exact where the quotient is below 2^53.
struct ExpandRemainder : OpRewritePattern<arith::RemFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::RemFOp op, PatternRewriter &rewriter) const override {
    Type type = op.getType();
    if (!isa<FloatType>(type))
      return failure();
    Real f(op.getLoc(), rewriter, rewriter.getF64Type());
    auto wide = [&](Value x) -> Value {
      return type.isF64() ? x : f.b.create<arith::ExtFOp>(f.b.getF64Type(), x).getResult();
    };
    Value x = wide(op.getLhs()), y = wide(op.getRhs());
    Value ax = f.b.create<math::AbsFOp>(x), ay = f.b.create<math::AbsFOp>(y);
    Value quotient = f.b.create<math::TruncOp>(f.div(ax, ay));
    Value rest = f.productTakenOff(ax, quotient, ay);
    // The quotient may have been rounded up to the next integer, or down from it.
    rest = f.select(OLT, rest, f.real(0), f.add(rest, ay), rest);
    rest = f.select(OGE, rest, ay, f.sub(rest, ay), rest);
    Value infinity = f.real(std::numeric_limits<double>::infinity());
    rest = f.select(OEQ, ay, infinity, f.select(OEQ, ax, infinity, f.sub(ax, ax), ax), rest);
    Value result = f.b.create<math::CopySignOp>(rest, x);
    if (!type.isF64())
      result = f.b.create<arith::TruncFOp>(type, result);
    rewriter.replaceOp(op, result);
    return success();
  }
};

} // namespace

void mlc::populateFunctionPatterns(RewritePatternSet &patterns) {
  patterns.add<ExpandDoubleExp, ExpandDoubleLog, ExpandArc<math::AsinOp>, ExpandArc<math::AcosOp>, ExpandRemainder>(
      patterns.getContext());
}
