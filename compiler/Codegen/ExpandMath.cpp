//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// exp and tanh are calculated as the kernels do (targets/cpu/simd/Math.h); the rest by MLIR's expansions.
//
#include "compiler/Codegen/LowerRegion.h"
#include "compiler/Codegen/RegionCode.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include <numbers>

using namespace mlir;
using namespace mlc;

namespace {

/// f32 arithmetic in few letters.
struct F32 {
  F32(Location location, OpBuilder &builder, bool hasFma) : b(location, builder), hasFma(hasFma) {}
  Value real(float value) { return b.create<arith::ConstantOp>(b.getF32FloatAttr(value)); }
  Value integer(int32_t value) { return b.create<arith::ConstantOp>(b.getI32IntegerAttr(value)); }
  Value add(Value x, Value y) { return b.create<arith::AddFOp>(x, y); }
  Value sub(Value x, Value y) { return b.create<arith::SubFOp>(x, y); }
  Value mul(Value x, Value y) { return b.create<arith::MulFOp>(x, y); }
  Value div(Value x, Value y) { return b.create<arith::DivFOp>(x, y); }
  /// Rounded once or twice, whichever is fast: n times the first part of ln 2 is exact in both.
  Value fma(Value x, Value y, Value z) { return hasFma ? b.create<math::FmaOp>(x, y, z) : add(mul(x, y), z); }
  Value bits(Value x) { return b.create<arith::BitcastOp>(b.getI32Type(), x); }
  Value fromBits(Value x) { return b.create<arith::BitcastOp>(b.getF32Type(), x); }
  Value select(arith::CmpFPredicate predicate, Value x, Value y, Value whenTrue, Value whenFalse) {
    return b.create<arith::SelectOp>(b.create<arith::CmpFOp>(predicate, x, y), whenTrue, whenFalse);
  }

  /// 2^n for integral n in [-126, 127]: adding 1.5 * 2^23 + 127 leaves n + 127 in the low bits.
  Value exp2Integer(Value n) {
    return fromBits(b.create<arith::ShLIOp>(bits(add(n, real(12582912.f + 127.f))), integer(23)));
  }

  /// x = n ln 2 + r with |r| <= ln 2 / 2; returns expm1(r) by Taylor's series to r^7.
  Value reducedExpm1(Value x, Value &n) {
    n = b.create<math::RoundEvenOp>(mul(x, real(1.44269504f)));
    Value r = fma(n, real(-0.693145752f), x);
    r = fma(n, real(-1.42860677e-6f), r);
    Value p = real(1.98412698e-4f);
    for (float coefficient : {1.38888889e-3f, 8.33333333e-3f, 4.16666667e-2f, 1.66666667e-1f, 0.5f})
      p = fma(p, r, real(coefficient));
    return fma(mul(p, r), r, r);
  }

  ImplicitLocOpBuilder b;
  bool hasFma;
};

/// A rewriting of one op that knows whether there is FMA.
template <typename Op> struct ExpandOp : OpRewritePattern<Op> {
  ExpandOp(MLIRContext *context, bool hasFma) : OpRewritePattern<Op>(context, /*benefit=*/10), hasFma(hasFma) {}
  bool hasFma;
};

/// e^x; 0 below -87.3, infinity above 88.7; NaN stays NaN; exactly 1 at 0.
struct ExpandExp : ExpandOp<math::ExpOp> {
  using ExpandOp::ExpandOp;
  LogicalResult matchAndRewrite(math::ExpOp op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF32())
      return failure();
    F32 f(op.getLoc(), rewriter, hasFma);
    using enum arith::CmpFPredicate;
    Value x = op.getOperand(), high = f.real(88.8f), low = f.real(-87.5f), limited = x, n;
    bool notPositive = op->hasAttr(kNotPositiveAttr);
    if (!notPositive)
      limited = f.select(OGT, limited, high, high, limited);
    limited = f.select(OLT, limited, low, low, limited);
    Value e = f.reducedExpm1(limited, n), y = f.add(e, f.real(1));
    if (notPositive) {
      y = f.mul(y, f.exp2Integer(n));
    } else {
      // n may be 128: two factors, each of a representable exponent.
      Value half = f.b.create<math::RoundEvenOp>(f.mul(n, f.real(0.5f)));
      y = f.mul(f.mul(y, f.exp2Integer(half)), f.exp2Integer(f.sub(n, half)));
    }
    rewriter.replaceOp(op, f.select(OLT, x, f.real(-87.3f), f.real(0), y));
    return success();
  }
};

struct ExpandTanh : ExpandOp<math::TanhOp> {
  using ExpandOp::ExpandOp;
  LogicalResult matchAndRewrite(math::TanhOp op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF32())
      return failure();
    F32 f(op.getLoc(), rewriter, hasFma);
    using enum arith::CmpFPredicate;
    Value x = op.getOperand(), a = f.b.create<math::AbsFOp>(x), n;
    a = f.select(OLT, a, f.real(10), a, f.real(10));
    Value e = f.reducedExpm1(f.add(a, a), n), scale = f.exp2Integer(n);
    Value em1 = f.fma(e, scale, f.sub(scale, f.real(1)));
    Value y = f.b.create<math::CopySignOp>(f.div(em1, f.add(em1, f.real(2))), x);
    rewriter.replaceOp(op, f.select(UNO, x, x, x, y));
    return success();
  }
};

struct ExpandLog10 : ExpandOp<math::Log10Op> {
  using ExpandOp::ExpandOp;
  LogicalResult matchAndRewrite(math::Log10Op op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF32())
      return failure();
    F32 f(op.getLoc(), rewriter, hasFma);
    Value natural = f.b.create<math::LogOp>(op.getOperand());
    rewriter.replaceOp(op, f.mul(natural, f.real(std::numbers::log10e_v<float>)));
    return success();
  }
};

/// One rounding to f64 at most, which holds every product of two f32; then one to f32.
struct FmaInDouble : OpRewritePattern<math::FmaOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::FmaOp op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF32())
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    auto wide = [&](Value x) -> Value { return b.create<arith::ExtFOp>(b.getF64Type(), x); };
    Value product = b.create<arith::MulFOp>(wide(op.getA()), wide(op.getB()));
    Value sum = b.create<arith::AddFOp>(product, wide(op.getC()));
    rewriter.replaceOpWithNewOp<arith::TruncFOp>(op, op.getType(), sum);
    return success();
  }
};

/// floor, ceil, trunc, round and roundeven by adding and taking off 2^23, which leaves no fraction; what is larger has
/// none.
template <typename Op> struct RoundByAdding : OpRewritePattern<Op> {
  explicit RoundByAdding(MLIRContext *context) : OpRewritePattern<Op>(context, /*benefit=*/10) {}
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF32())
      return failure();
    F32 f(op.getLoc(), rewriter, /*hasFma=*/false);
    using enum arith::CmpFPredicate;
    Value x = op.getOperand(), magic = f.real(8388608.f), a = f.b.template create<math::AbsFOp>(x);
    Value nearest = f.b.template create<math::CopySignOp>(f.sub(f.add(a, magic), magic), x), y = nearest;
    if constexpr (std::is_same_v<Op, math::FloorOp>)
      y = f.select(OGT, nearest, x, f.sub(nearest, f.real(1)), nearest);
    if constexpr (std::is_same_v<Op, math::CeilOp>)
      y = f.select(OLT, nearest, x, f.add(nearest, f.real(1)), nearest);
    if constexpr (std::is_same_v<Op, math::TruncOp>) {
      Value size = f.b.template create<math::AbsFOp>(nearest);
      y = f.select(OGT, size, a, f.sub(size, f.real(1)), size);
    }
    if constexpr (std::is_same_v<Op, math::RoundOp>) { // A tie that went down to an even number goes up.
      Value size = f.b.template create<math::AbsFOp>(nearest);
      y = f.select(OEQ, f.sub(a, size), f.real(0.5f), f.add(size, f.real(1)), size);
    }
    // Also the zero that a negative fraction goes to has its sign.
    y = f.b.template create<math::CopySignOp>(y, x);
    rewriter.replaceOp(op, f.select(OLT, a, magic, y, x));
    return success();
  }
};

} // namespace

LogicalResult mlc::expandMath(ModuleOp module, LevelTraits traits) {
  bool hasFma = traits.fma;
  RewritePatternSet patterns(module.getContext());
  if (!traits.rounding)
    patterns.add<RoundByAdding<math::FloorOp>, RoundByAdding<math::CeilOp>, RoundByAdding<math::TruncOp>,
                 RoundByAdding<math::RoundOp>, RoundByAdding<math::RoundEvenOp>>(module.getContext());
  patterns.add<ExpandExp, ExpandTanh, ExpandLog10>(module.getContext(), hasFma);
  populateExpandExp2FPattern(patterns);
  populateExpandFPowIPattern(patterns);
  populateExpandRoundFPattern(patterns);
  populateExpandRsqrtPattern(patterns);
  populateMathPolynomialApproximationPatterns(patterns);
  arith::populateArithExpandOpsPatterns(patterns);
  populateHalfPatterns(patterns, traits);
  populateFunctionPatterns(patterns);
  populateCircularPatterns(patterns);
  populateHyperbolicPatterns(patterns);
  if (!hasFma)
    patterns.add<FmaInDouble>(module.getContext());
  return applyPatternsAndFoldGreedily(module, std::move(patterns));
}
