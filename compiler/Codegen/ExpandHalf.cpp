//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Conversions of f16 and bf16 by integer arithmetic, for levels without instructions for them.
//
#include "compiler/Codegen/LowerRegion.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace mlc;

namespace {

/// i32 arithmetic in few letters.
struct Bits {
  Bits(Location location, OpBuilder &builder) : b(location, builder) {}
  Value constant(uint32_t value) {
    return b.create<arith::ConstantOp>(b.getIntegerAttr(b.getI32Type(), APInt(32, value)));
  }
  Value real(float value) { return b.create<arith::ConstantOp>(b.getF32FloatAttr(value)); }
  Value both(Value x, uint32_t mask) { return b.create<arith::AndIOp>(x, constant(mask)); }
  Value up(Value x, uint32_t n) { return b.create<arith::ShLIOp>(x, constant(n)); }
  Value down(Value x, uint32_t n) { return b.create<arith::ShRUIOp>(x, constant(n)); }
  Value add(Value x, Value y) { return b.create<arith::AddIOp>(x, y); }
  Value either(Value x, Value y) { return b.create<arith::OrIOp>(x, y); }
  Value bits(Value x) { return b.create<arith::BitcastOp>(b.getI32Type(), x); }
  Value fromBits(Value x) { return b.create<arith::BitcastOp>(b.getF32Type(), x); }
  Value select(arith::CmpIPredicate predicate, Value x, uint32_t bound, Value whenTrue, Value whenFalse) {
    return b.create<arith::SelectOp>(b.create<arith::CmpIOp>(predicate, x, constant(bound)), whenTrue, whenFalse);
  }

  ImplicitLocOpBuilder b;
};

/// f16 to f32 and f64: the exponent is moved by a product, which also makes subnormals normal.
struct ExtendHalf : OpRewritePattern<arith::ExtFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::ExtFOp op, PatternRewriter &rewriter) const override {
    if (!op.getIn().getType().isF16())
      return failure();
    Bits f(op.getLoc(), rewriter);
    Value half = f.b.create<arith::BitcastOp>(f.b.getI16Type(), op.getIn());
    Value all = f.b.create<arith::ExtUIOp>(f.b.getI32Type(), half);
    Value magnitude = f.both(all, 0x7fff), sign = f.up(f.both(all, 0x8000), 16), moved = f.up(magnitude, 13);
    Value finite = f.bits(f.b.create<arith::MulFOp>(f.fromBits(moved), f.real(0x1p112f)));
    Value value =
        f.select(arith::CmpIPredicate::uge, magnitude, 0x7c00, f.either(moved, f.constant(0x7f800000)), finite);
    Value result = f.fromBits(f.either(value, sign));
    if (op.getType().isF64())
      result = f.b.create<arith::ExtFOp>(f.b.getF64Type(), result);
    rewriter.replaceOp(op, result);
    return success();
  }
};

/// f32 to f16, to the nearest, ties to even.
struct TruncateHalf : OpRewritePattern<arith::TruncFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::TruncFOp op, PatternRewriter &rewriter) const override {
    if (!op.getType().isF16() || !op.getIn().getType().isF32())
      return failure();
    Bits f(op.getLoc(), rewriter);
    using enum arith::CmpIPredicate;
    Value all = f.bits(op.getIn()), magnitude = f.both(all, 0x7fffffff);
    // A half's ulp below 2^-14 is that of a float at 0.5.
    Value shifted = f.b.create<arith::AddFOp>(f.fromBits(magnitude), f.real(0.5f));
    Value small = f.add(f.bits(shifted), f.constant(0u - 0x3f000000u));
    Value odd = f.both(f.down(magnitude, 13), 1);
    Value normal = f.down(f.add(magnitude, f.add(odd, f.constant(0xc8000fffu))), 13);
    Value large = f.select(ugt, magnitude, 0x7f800000, f.constant(0x7e00), f.constant(0x7c00));
    Value value = f.select(ult, magnitude, 0x38800000, small, normal);
    value = f.select(uge, magnitude, 0x47800000, large, value);
    value = f.either(value, f.down(f.both(all, 0x80000000u), 16));
    Value half = f.b.create<arith::TruncIOp>(f.b.getI16Type(), value);
    rewriter.replaceOpWithNewOp<arith::BitcastOp>(op, f.b.getF16Type(), half);
    return success();
  }
};

/// f64 to the short floats: by way of a float that keeps what rounding must know (the last bit says that it is
/// inexact).
struct TruncateDouble : OpRewritePattern<arith::TruncFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::TruncFOp op, PatternRewriter &rewriter) const override {
    if (!op.getIn().getType().isF64() || op.getType().isF32())
      return failure();
    Bits f(op.getLoc(), rewriter);
    Value nearest = f.b.create<arith::TruncFOp>(f.b.getF32Type(), op.getIn());
    Value back = f.b.create<arith::ExtFOp>(f.b.getF64Type(), nearest);
    Value exact = f.b.create<arith::CmpFOp>(arith::CmpFPredicate::UEQ, back, op.getIn());
    // Rounded to odd: towards zero, and then the last bit set.
    auto magnitude = [&](Value x) -> Value {
      Value bits = f.b.create<arith::BitcastOp>(f.b.getI64Type(), x);
      Value mask = f.b.create<arith::ConstantOp>(f.b.getI64IntegerAttr(INT64_MAX));
      return f.b.create<arith::AndIOp>(bits, mask);
    };
    Value above = f.b.create<arith::CmpIOp>(arith::CmpIPredicate::ugt, magnitude(back), magnitude(op.getIn()));
    Value bits = f.bits(nearest);
    Value toZero = f.b.create<arith::SelectOp>(above, f.add(bits, f.constant(~0u)), bits);
    Value odd = f.b.create<arith::SelectOp>(exact, bits, f.either(toZero, f.constant(1)));
    rewriter.replaceOpWithNewOp<arith::TruncFOp>(op, op.getType(), f.fromBits(odd));
    return success();
  }
};

} // namespace

void mlc::populateHalfPatterns(RewritePatternSet &patterns, LevelTraits traits) {
  patterns.add<TruncateDouble>(patterns.getContext());
  if (!traits.half)
    patterns.add<ExtendHalf, TruncateHalf>(patterns.getContext());
  arith::populateExpandBFloat16Patterns(patterns);
}
