//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Transforms/Network/Structured.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;

namespace mlc::graph {
namespace {

struct DecomposeDequantizeBlocks : OpRewritePattern<DequantizeBlocksOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(DequantizeBlocksOp op, PatternRewriter &rewriter) const override {
    Structured s(op.getLoc(), rewriter);
    Type element = elementOf(op.getResult());
    Sizes shape = s.sizes(op.getResult());
    Value y = s.generic({}, s.empty(shape, element), {s.b.getMultiDimIdentityMap(2)}, 2, [&](ValueRange) -> Value {
      Value k = s.b.create<linalg::IndexOp>(0), n = s.b.create<linalg::IndexOp>(1);
      Value block = s.b.create<arith::DivSIOp>(k, s.index(int64_t(op.getBlock())));
      Value zero;
      if (!op.getZeros())
        zero = s.real(element, double(1 << (op.getBits() - 1)));
      else if (isa<FloatType>(elementOf(op.getZeros())))
        zero = s.b.create<tensor::ExtractOp>(op.getZeros(), ValueRange{n, block});
      else
        zero = code(op, s, op.getZeros(), n, block);
      Value steps = s.b.create<arith::SubFOp>(code(op, s, op.getCodes(), n, k), zero);
      return s.b.create<arith::MulFOp>(steps, s.b.create<tensor::ExtractOp>(op.getScales(), ValueRange{n, block}));
    });
    rewriter.replaceOp(op, y);
    return success();
  }

private:
  /// Code `place` of a row of `packed`, as a float.
  static Value code(DequantizeBlocksOp op, Structured &s, Value packed, Value row, Value place) {
    auto byte = [&](int64_t value) -> Value {
      return s.b.create<arith::ConstantOp>(s.b.getI8IntegerAttr(int8_t(value)));
    };
    int64_t bits = int64_t(op.getBits());
    Value perByte = s.index(op.perByte());
    Value found = s.b.create<tensor::ExtractOp>(packed, ValueRange{row, s.b.create<arith::DivSIOp>(place, perByte)});
    if (bits < 8) {
      Value shift = s.b.create<arith::IndexCastOp>(s.b.getI8Type(), s.b.create<arith::RemSIOp>(place, perByte));
      found = s.b.create<arith::ShRUIOp>(found, s.b.create<arith::MulIOp>(shift, byte(bits)));
      found = s.b.create<arith::AndIOp>(found, byte((1 << bits) - 1));
    }
    return s.b.create<arith::UIToFPOp>(elementOf(op.getResult()), found);
  }
};

} // namespace

void populateBlockPatterns(RewritePatternSet &patterns) {
  patterns.add<DecomposeDequantizeBlocks>(patterns.getContext());
}

} // namespace mlc::graph
