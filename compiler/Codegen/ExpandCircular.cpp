//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// sin, cos, tan and atan of f32 and f64, arcsin and arccos of f64. Relative errors: f64 4e-16, f32 2e-7 (tan 1e-7);
// sin, cos and tan so for |x| up to 2^45, beyond which they are of no meaning.
//
#include "compiler/Codegen/LowerRegion.h"
#include "compiler/Codegen/Real.h"

#include "mlir/IR/PatternMatch.h"

#include <numbers>

using namespace mlir;
using namespace mlc;

namespace {

using enum arith::CmpFPredicate;

Value wide(Real &f, Value x) {
  return x.getType().isF64() ? x : f.b.create<arith::ExtFOp>(f.b.getF64Type(), x).getResult();
}

Value narrow(Real &f, Value x, Type type) {
  return type.isF64() ? x : f.b.create<arith::TruncFOp>(type, x).getResult();
}

/// x = n pi / 2 + r with |r| <= pi / 4; n's low bits are those of the integer.
struct Quadrant {
  Value r, n;
};

/// In f64. pi / 2 lies in two numbers.
Quadrant quadrantOf(Real &f, Value x) {
  Value magic = f.real(0x1.8p52);
  Value shifted = f.add(f.mul(x, f.real(2 / std::numbers::pi)), magic), n = f.sub(shifted, magic);
  Value r = f.productTakenOff(x, n, f.real(std::numbers::pi / 2));
  r = f.sub(r, f.mul(n, f.real(6.123233995736766e-17)));
  Value limit = f.real(0.7854);
  r = f.select(OGT, f.abs(r), limit, f.withSign(limit, r), r);
  return {r, f.bits(shifted)};
}

/// sin r and cos r by Taylor's series, of the type of `f`.
std::pair<Value, Value> seriesOf(Real &f, Value r) {
  SmallVector<double> sine{1}, cosine{1};
  for (int i = 1; i <= (f.type.isF64() ? 8 : 4); ++i) {
    sine.push_back(-sine.back() / (2 * i * (2 * i + 1)));
    cosine.push_back(-cosine.back() / ((2 * i - 1) * 2 * i));
  }
  if (!f.type.isF64())
    cosine.push_back(-cosine.back() / 90);
  Value square = f.mul(r, r);
  // r is added last, so that its rounding is the only one of a small argument, and the sign of zero stays.
  Value sin = f.add(r, f.mul(r, f.mul(square, f.polynomial(square, ArrayRef(sine).drop_front()))));
  return {sin, f.polynomial(square, cosine)};
}

Value bitOf(Real &f, Value n, int64_t bit) {
  return f.b.create<arith::CmpIOp>(arith::CmpIPredicate::ne, f.b.create<arith::AndIOp>(n, f.integer(bit)),
                                   f.integer(0));
}

/// `Op` is math.sin or math.cos: a quarter of a turn apart.
template <typename Op> struct ExpandSine : OpRewritePattern<Op> {
  explicit ExpandSine(MLIRContext *context) : OpRewritePattern<Op>(context, kOwnBenefit) {}
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    Type type = op.getType();
    if (!type.isF32() && !type.isF64())
      return failure();
    Real reduction(op.getLoc(), rewriter, rewriter.getF64Type()), f(op.getLoc(), rewriter, type);
    auto [r, n] = quadrantOf(reduction, wide(reduction, op.getOperand()));
    if (std::is_same_v<Op, math::CosOp>)
      n = f.b.template create<arith::AddIOp>(n, f.integer(1));
    auto [sin, cos] = seriesOf(f, narrow(reduction, r, type));
    Value size = f.b.template create<arith::SelectOp>(bitOf(f, n, 1), cos, sin);
    Value opposite = f.b.template create<arith::NegFOp>(size);
    rewriter.replaceOpWithNewOp<arith::SelectOp>(op, bitOf(f, n, 2), opposite, size);
    return success();
  }
};

struct ExpandTangent : OpRewritePattern<math::TanOp> {
  explicit ExpandTangent(MLIRContext *context) : OpRewritePattern(context, kOwnBenefit) {}
  LogicalResult matchAndRewrite(math::TanOp op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF32() && !op.getType().isF64())
      return failure();
    Real f(op.getLoc(), rewriter, rewriter.getF64Type());
    auto [r, n] = quadrantOf(f, wide(f, op.getOperand()));
    auto [sin, cos] = seriesOf(f, r);
    Value odd = bitOf(f, n, 1), opposite = f.b.create<arith::NegFOp>(cos);
    Value above = f.b.create<arith::SelectOp>(odd, opposite, sin), below = f.b.create<arith::SelectOp>(odd, sin, cos);
    rewriter.replaceOp(op, narrow(f, f.div(above, below), op.getType()));
    return success();
  }
};

/// On [0, tan pi/8], and by arctan a = pi/4 + arctan((a - 1) / (a + 1)) = pi/2 - arctan(1 / a) beyond. The polynomials
/// of (arctan(t) / t - 1) / t^2 are Chebyshev fits of this project.
Value arctan(Real &f, Value x) {
  static constexpr double inSingle[] = {-0.333333318, 0.199995405, -0.142639556, 0.107437315, -0.0645192821};
  static constexpr double inDouble[] = {-0.3333333333333333,  0.1999999999999552,   -0.14285714284666542,
                                        0.11111111015256361,  -0.09090904578123903, 0.07692183190826087,
                                        -0.06664511447381948, 0.0585814891280221,   -0.0508544973794026,
                                        0.03923165829558719,  -0.01917688711906226};
  Value a = f.abs(x), one = f.real(1), zero = f.real(0), near = f.real(0.41421356237309503),
        far = f.real(2.414213562373095);
  auto choose = [&](Value inner, Value middle, Value outer) {
    return f.select(OGT, a, far, outer, f.select(OGT, a, near, middle, inner));
  };
  Value t = f.div(choose(a, f.sub(a, one), f.real(-1)), choose(one, f.add(a, one), a)), square = f.mul(t, t);
  Value series = f.polynomial(square, f.type.isF64() ? ArrayRef(inDouble) : ArrayRef(inSingle));
  Value rest = f.mul(t, f.mul(square, series));
  if (f.type.isF64()) // What pi / 2 has beyond its rounding.
    rest = f.add(rest, choose(zero, f.real(3.061616997868383e-17), f.real(6.123233995736766e-17)));
  Value base = choose(zero, f.real(std::numbers::pi / 4), f.real(std::numbers::pi / 2));
  return f.withSign(f.add(base, f.add(t, rest)), x);
}

struct ExpandArctan : OpRewritePattern<math::AtanOp> {
  explicit ExpandArctan(MLIRContext *context) : OpRewritePattern(context, kOwnBenefit) {}
  LogicalResult matchAndRewrite(math::AtanOp op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF32() && !op.getType().isF64())
      return failure();
    Real f(op.getLoc(), rewriter, op.getType());
    rewriter.replaceOp(op, arctan(f, op.getOperand()));
    return success();
  }
};

/// arcsin x = arctan(x / sqrt((1 - x)(1 + x))), arccos x = 2 arctan(sqrt((1 - x) / (1 + x))).
template <typename Op> struct ExpandDoubleArc : OpRewritePattern<Op> {
  explicit ExpandDoubleArc(MLIRContext *context) : OpRewritePattern<Op>(context, kOwnBenefit) {}
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF64())
      return failure();
    Real f(op.getLoc(), rewriter, op.getType());
    Value x = op.getOperand(), below = f.sub(f.real(1), x), above = f.add(f.real(1), x);
    auto root = [&](Value y) -> Value { return f.b.template create<math::SqrtOp>(y); };
    if constexpr (std::is_same_v<Op, math::AsinOp>)
      rewriter.replaceOp(op, arctan(f, f.div(x, root(f.mul(below, above)))));
    else
      rewriter.replaceOp(op, f.mul(f.real(2), arctan(f, root(f.div(below, above)))));
    return success();
  }
};

} // namespace

void mlc::populateCircularPatterns(RewritePatternSet &patterns) {
  patterns.add<ExpandSine<math::SinOp>, ExpandSine<math::CosOp>, ExpandTangent, ExpandArctan,
               ExpandDoubleArc<math::AsinOp>, ExpandDoubleArc<math::AcosOp>>(patterns.getContext());
}
