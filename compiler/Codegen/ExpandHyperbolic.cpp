//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Of f64: expm1, log1p, tanh, erf and cosh; of f32 and f64, in f64: sinh, arsinh, arcosh, artanh and powers. Relative
// errors in f64: 1e-15; powers |y ln x| 3e-16.
//
#include "compiler/Codegen/LowerRegion.h"
#include "compiler/Codegen/Real.h"

#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

#include <limits>
#include <numbers>

using namespace mlir;
using namespace mlc;

namespace {

using enum arith::CmpFPredicate;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

Value exp(Real &f, Value x) { return f.b.create<math::ExpOp>(x); }
Value log(Real &f, Value x) { return f.b.create<math::LogOp>(x); }
Value sqrt(Real &f, Value x) { return f.b.create<math::SqrtOp>(x); }

/// x = n ln 2 + r: 2^n expm1(r) + (2^n - 1), by Taylor's series to r^14.
Value expm1(Real &f, Value x) {
  Value high = f.real(40), low = f.real(-40), magic = f.real(0x1.8p52);
  Value limited = f.select(OLT, x, low, low, f.select(OGT, x, high, high, x));
  Value shifted = f.add(f.mul(limited, f.real(std::numbers::log2e)), magic), n = f.sub(shifted, magic);
  Value r = f.sub(limited, f.mul(n, f.real(0x1.62e42fee00000p-1)));
  r = f.sub(r, f.mul(n, f.real(0x1.a39ef35793c76p-33)));
  SmallVector<double> terms{0.5};
  for (int i = 3; i <= 14; ++i)
    terms.push_back(terms.back() / i);
  Value small = f.add(r, f.mul(f.mul(r, r), f.polynomial(r, terms)));
  Value whole = f.b.create<arith::FPToSIOp>(f.b.getI64Type(), n);
  Value biased = f.b.create<arith::AddIOp>(whole, f.integer(1023));
  Value scale = f.fromBits(f.b.create<arith::ShLIOp>(biased, f.integer(52)));
  Value y = f.add(f.mul(scale, small), f.sub(scale, f.real(1)));
  y = f.select(OGT, x, high, exp(f, x), y);
  return f.select(OEQ, x, f.real(0), x, f.select(UNO, x, x, x, y));
}

/// ln(1 + x): what 1 + x was rounded by is made up for.
Value log1p(Real &f, Value x) {
  Value one = f.real(1), u = f.add(one, x);
  Value y = f.mul(log(f, u), f.div(x, f.sub(u, one)));
  y = f.select(OEQ, u, f.real(kInfinity), u, y);
  return f.select(OEQ, u, one, x, y);
}

/// expm1(2a) / (expm1(2a) + 2).
Value tanh(Real &f, Value x) {
  Value a = f.abs(x), far = f.real(20);
  Value e = expm1(f, f.mul(f.real(2), f.select(OLT, a, far, a, far)));
  Value y = f.withSign(f.div(e, f.add(e, f.real(2))), x);
  return f.select(UNO, x, x, x, y);
}

/// (e + e / (e + 1)) / 2 of e = expm1(a); where that may overflow, e^(a/2) twice.
Value sinh(Real &f, Value x) {
  Value a = f.abs(x), half = f.real(0.5), e = expm1(f, a), root = exp(f, f.mul(half, a));
  Value near = f.mul(half, f.add(e, f.div(e, f.add(e, f.real(1)))));
  return f.withSign(f.select(OGT, a, f.real(30), f.mul(f.mul(half, root), root), near), x);
}

Value cosh(Real &f, Value x) {
  Value a = f.abs(x), half = f.real(0.5), e = exp(f, a), root = exp(f, f.mul(half, a));
  Value near = f.mul(half, f.add(e, f.div(f.real(1), e)));
  return f.select(OGT, a, f.real(30), f.mul(f.mul(half, root), root), near);
}

/// Beyond `far`, x^2 + 1 is x^2.
Value logarithmOfTwice(Real &f, Value a) { return f.add(log(f, a), f.real(std::numbers::ln2)); }

/// log1p(a + a^2 / (1 + sqrt(a^2 + 1))).
Value arsinh(Real &f, Value x) {
  Value a = f.abs(x), one = f.real(1), far = f.real(0x1p28), square = f.mul(a, a);
  Value near = log1p(f, f.add(a, f.div(square, f.add(one, sqrt(f, f.add(square, one))))));
  return f.withSign(f.select(OGT, a, far, logarithmOfTwice(f, a), near), x);
}

/// log1p(t + sqrt(2t + t^2)) of t = x - 1.
Value arcosh(Real &f, Value x) {
  Value t = f.sub(x, f.real(1));
  Value near = log1p(f, f.add(t, sqrt(f, f.add(f.add(t, t), f.mul(t, t)))));
  return f.select(OGT, x, f.real(0x1p28), logarithmOfTwice(f, x), near);
}

/// log1p(2a / (1 - a)) / 2.
Value artanh(Real &f, Value x) {
  Value a = f.abs(x);
  return f.withSign(f.mul(f.real(0.5), log1p(f, f.div(f.add(a, a), f.sub(f.real(1), a)))), x);
}

/// Up to 1 a polynomial of x^2; beyond 1 - e^(-a^2) Q(t), t = (a - 2.5) / (a + 2.5), up to 6, where it is 1. Both are
/// Chebyshev fits of this project.
Value erf(Real &f, Value x) {
  static constexpr double near[] = {1.1283791670955126,      -0.37612638903183543,   0.11283791670945006,
                                    -0.02686617064323777,    0.0052239776071164225,  -0.0008548325975389692,
                                    0.00012055294904839707,  -1.492473690741966e-05, 1.6447424703317362e-06,
                                    -1.6208483801871705e-07, 1.3720064546777686e-08, -7.795898827002142e-10};
  static constexpr double far[] = {
      0.21080636406114356,    -0.3717367339489732,     0.251713193217456,       -0.12503305237885554,
      0.0399225390747838,     -0.0039937011641469865,  -0.002642365927759658,   0.0008759154019168855,
      0.00022837955896605415, -0.00012887649615317198, -3.4172229273553035e-05, 1.8609712314617464e-05,
      7.48480117852628e-06,   -2.2842173094341345e-06, -1.5625258507743158e-06, 8.134380709229634e-08};
  Value a = f.abs(x), one = f.real(1), limit = f.real(6), limited = f.select(OLT, a, limit, a, limit);
  Value square = f.mul(limited, limited), middle = f.real(2.5);
  Value t = f.div(f.sub(limited, middle), f.add(limited, middle));
  Value tail = f.mul(exp(f, f.b.create<arith::NegFOp>(square)), f.polynomial(t, far));
  Value y = f.select(OGT, a, one, f.sub(one, tail), f.mul(a, f.polynomial(square, near)));
  return f.select(UNO, x, x, x, f.withSign(y, x));
}

/// Computed in f64; `ofSingle`: of f32 as well.
template <typename Op, Value (*compute)(Real &, Value), bool ofSingle> struct ExpandInDouble : OpRewritePattern<Op> {
  explicit ExpandInDouble(MLIRContext *context) : OpRewritePattern<Op>(context, kOwnBenefit) {}
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    Type type = op.getType();
    if (!type.isF64() && !(ofSingle && type.isF32()))
      return failure();
    Real f(op.getLoc(), rewriter, rewriter.getF64Type());
    Value x = op.getOperand();
    if (!type.isF64())
      x = f.b.template create<arith::ExtFOp>(f.type, x);
    Value y = compute(f, x);
    if (!type.isF64())
      y = f.b.template create<arith::TruncFOp>(type, y);
    rewriter.replaceOp(op, y);
    return success();
  }
};

/// |x|^y = e^(y ln |x|) in f64, and the special cases of IEEE 754: of a negative x a whole y alone gives a number.
Value power(Real &f, Value x, Value y) {
  Value a = f.abs(x), one = f.real(1), zero = f.real(0), infinity = f.real(kInfinity);
  auto isWhole = [&](Value v) -> Value {
    return f.b.create<arith::CmpFOp>(OEQ, v, f.b.create<math::TruncOp>(v).getResult());
  };
  auto choose = [&](Value condition, Value whenTrue, Value whenFalse) -> Value {
    return f.b.create<arith::SelectOp>(condition, whenTrue, whenFalse);
  };
  Value size = f.select(OEQ, a, one, one, exp(f, f.mul(y, log(f, a))));
  Value whole = isWhole(y), halfIsWhole = isWhole(f.mul(y, f.real(0.5)));
  Value positive = choose(whole, choose(halfIsWhole, size, f.withSign(size, x)), size);
  // A negative number that is finite, and y that is no integer.
  Value nan = f.sub(infinity, infinity), negative = f.select(OLT, x, zero, f.select(OLT, a, infinity, nan, size), size);
  Value result = choose(whole, positive, negative);
  result = f.select(UNO, x, y, f.add(x, y), result);
  return f.select(OEQ, y, zero, one, f.select(OEQ, x, one, one, result));
}

struct ExpandPower : OpRewritePattern<math::PowFOp> {
  explicit ExpandPower(MLIRContext *context) : OpRewritePattern(context, kOwnBenefit) {}
  LogicalResult matchAndRewrite(math::PowFOp op, PatternRewriter &rewriter) const override {
    Type type = op.getType();
    if (!type.isF32() && !type.isF64())
      return failure();
    Value x = op.getLhs(), y = op.getRhs();
    FloatAttr constant;
    if (matchPattern(y, m_Constant(&constant)) && constant.getValueAsDouble() == 2) {
      rewriter.replaceOpWithNewOp<arith::MulFOp>(op, x, x);
      return success();
    }
    Real f(op.getLoc(), rewriter, rewriter.getF64Type());
    auto wide = [&](Value v) -> Value { return type.isF64() ? v : f.b.create<arith::ExtFOp>(f.type, v).getResult(); };
    Value result = power(f, wide(x), wide(y));
    rewriter.replaceOp(op, type.isF64() ? result : f.b.create<arith::TruncFOp>(type, result).getResult());
    return success();
  }
};

} // namespace

void mlc::populateHyperbolicPatterns(RewritePatternSet &patterns) {
  patterns.add<ExpandInDouble<math::ExpM1Op, expm1, false>, ExpandInDouble<math::Log1pOp, log1p, false>,
               ExpandInDouble<math::TanhOp, tanh, false>, ExpandInDouble<math::ErfOp, erf, false>,
               ExpandInDouble<math::SinhOp, sinh, true>, ExpandInDouble<math::CoshOp, cosh, true>,
               ExpandInDouble<math::AsinhOp, arsinh, true>, ExpandInDouble<math::AcoshOp, arcosh, true>,
               ExpandInDouble<math::AtanhOp, artanh, true>, ExpandPower>(patterns.getContext());
}
