//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// recurrent as a loop over its steps: the input's products for all steps at once, the state's inside.
//
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Transforms/Network/Structured.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;

namespace mlc::graph {
namespace {

/// The layer of one op; formulas: NetworkOps.td. Everything is in `sum`, the type that it is calculated in.
class Layer {
public:
  Layer(RecurrentOp op, OpBuilder &builder) : op(op), s(op.getLoc(), builder), sum(sumType(elementOf(op.getY()))) {
    steps = s.size(op.getX(), 0), batch = s.size(op.getX(), 1), columns = shapeOf(op.getX())[2],
    hidden = shapeOf(op.getH0())[1];
    gates = shapeOf(op.getR())[0] / hidden;
  }

  SmallVector<Value> build() {
    Value x = s.convert(op.getX(), sum), w = s.convert(op.getW(), sum);
    r = s.convert(op.getR(), sum);
    biases = s.convert(op.getBias(), sum);
    if (op.getPeepholes())
      peepholes = s.convert(op.getPeepholes(), sum);
    if (op.getReverse() && op.getLengths())
      x = turned(x);
    Value z = product(s.reshape(x, {s.times(steps, batch), columns}), w, bias(0, gates * hidden));
    z = s.reshape(z, {steps, batch, gates * hidden});
    Value h = s.convert(op.getH0(), sum);
    Value c = op.getC0() ? s.convert(op.getC0(), sum) : s.filled({batch, hidden}, s.zero(sum));
    Value y = s.filled({steps, batch, hidden}, s.zero(sum));
    auto loop = s.b.create<scf::ForOp>(s.index(0), s.value(steps), s.index(1), ValueRange{y, h, c},
                                       [&](OpBuilder &inner, Location, Value step, ValueRange carried) {
                                         OpBuilder::InsertionGuard guard(s.b);
                                         s.b.setInsertionPointToEnd(inner.getInsertionBlock());
                                         s.b.create<scf::YieldOp>(this->step(z, step, carried));
                                       });
    y = loop.getResult(0);
    if (op.getReverse() && op.getLengths())
      y = turned(y);
    SmallVector<Value> results{s.convert(y, elementOf(op.getY())), s.convert(loop.getResult(1), elementOf(op.getH()))};
    if (op.getC())
      results.push_back(s.convert(loop.getResult(2), elementOf(op.getC())));
    return results;
  }

private:
  Value bias(int64_t first, int64_t count) { return s.slice(biases, {first}, {count}, {1}); }

  /// x w^T + b of x [rows, k], w [n, k].
  Value product(Value x, Value w, Value b) {
    AffineMap all = s.b.getMultiDimIdentityMap(2);
    Value y = s.rowsProduct(x, w);
    return s.generic({y, b}, s.empty(s.sizes(y), sum), {all, s.mapOf(2, {s.dim(1)}), all}, 2,
                     [&](ValueRange v) { return plus(v[0], v[1]); });
  }
  Value recurrent(Value h, int64_t gate, int64_t count) {
    Value rows = s.slice(r, {gate * hidden, 0}, {count * hidden, hidden}, {1, 1});
    return product(h, rows, bias((gates + gate) * hidden, count * hidden));
  }
  /// Gate `g` of [batch, n * hidden] values.
  Value gate(Value values, int64_t g) { return s.slice(values, {0, g * hidden}, {batch, hidden}, {1, 1}); }

  /// Each sequence of [steps, batch, n] backwards; its padding stays behind.
  Value turned(Value x) {
    AffineMap all = s.b.getMultiDimIdentityMap(3);
    return s.generic(op.getLengths(), s.empty(s.sizes(x), sum), {s.mapOf(3, {s.dim(1)}), all}, 3, [&](ValueRange v) {
      auto axis = [&](unsigned i) -> Value { return s.b.create<linalg::IndexOp>(i); };
      Value length = s.b.create<arith::IndexCastOp>(s.b.getIndexType(), v[0]), step = axis(0);
      Value inside = s.b.create<arith::CmpIOp>(arith::CmpIPredicate::slt, step, length);
      Value mirrored = s.b.create<arith::SubIOp>(s.b.create<arith::SubIOp>(length, s.index(1)), step);
      Value from = s.b.create<arith::SelectOp>(inside, mirrored, step);
      return s.b.create<tensor::ExtractOp>(x, ValueRange{from, axis(1), axis(2)});
    });
  }

  /// y, h and c after a step.
  SmallVector<Value> step(Value z, Value index, ValueRange carried) {
    if (op.getReverse() && !op.getLengths())
      index = s.b.create<arith::SubIOp>(s.value(s.minus(steps, 1)), index);
    SmallVector<OpFoldResult> offsets{index, s.b.getIndexAttr(0), s.b.getIndexAttr(0)};
    auto sizes = [&](int64_t n) {
      return SmallVector<OpFoldResult>{s.b.getIndexAttr(1), batch.folded(s.b), s.b.getIndexAttr(n)};
    };
    SmallVector<OpFoldResult> ones(3, s.b.getIndexAttr(1));
    int64_t width = gates * hidden;
    auto rowType = RankedTensorType::get({batch.inType(), width}, sum);
    Value zt = s.b.create<tensor::ExtractSliceOp>(rowType, z, offsets, sizes(width), ones);
    Value h = carried[1], c = carried[2];
    auto [next, cell] = this->cell(zt, h, c);
    // What the state is rounded to between steps.
    next = s.convert(s.convert(next, elementOf(op.getY())), sum);
    Value row = next;
    if (op.getLengths()) {
      row = whileInside(index, next, s.filled({batch, hidden}, s.zero(sum)));
      next = whileInside(index, next, h);
      cell = whileInside(index, cell, c);
    }
    Value y = s.b.create<tensor::InsertSliceOp>(row, carried[0], offsets, sizes(hidden), ones);
    return {y, next, cell};
  }

  /// `value` for sequences that the step belongs to, else `other`.
  Value whileInside(Value step, Value value, Value other) {
    AffineMap all = s.b.getMultiDimIdentityMap(2);
    return s.generic({value, other, op.getLengths()}, s.empty({batch, hidden}, sum),
                     {all, all, s.mapOf(2, {s.dim(0)}), all}, 2, [&](ValueRange v) {
                       Value length = s.b.create<arith::IndexCastOp>(s.b.getIndexType(), v[2]);
                       Value inside = s.b.create<arith::CmpIOp>(arith::CmpIPredicate::slt, step, length);
                       return s.b.create<arith::SelectOp>(inside, v[0], v[1]);
                     });
  }

  Value sigmoid(Value x) {
    Value one = s.real(sum, 1);
    Value power = s.b.create<math::ExpOp>(s.b.create<arith::NegFOp>(x));
    return s.b.create<arith::DivFOp>(one, s.b.create<arith::AddFOp>(one, power));
  }
  Value tanh(Value x) { return s.b.create<math::TanhOp>(x); }
  Value plus(Value x, Value y) { return s.b.create<arith::AddFOp>(x, y); }
  Value times(Value x, Value y) { return s.b.create<arith::MulFOp>(x, y); }

  /// The next h and c.
  std::pair<Value, Value> cell(Value z, Value h, Value c) {
    switch (op.getCell()) {
    case Cell::lstm:
      return lstm(z, h, c);
    case Cell::gru:
    case Cell::gru_reset_first:
      return {gru(z, h), c};
    default:
      break;
    }
    Value u = recurrent(h, 0, 1);
    Value next = s.map({z, u}, sum, [&](ValueRange v) -> Value {
      Value x = plus(v[0], v[1]);
      if (op.getCell() == Cell::rnn)
        return tanh(x);
      return s.b.create<arith::MaximumFOp>(x, s.zero(sum));
    });
    return {next, c};
  }

  /// s(z_g + u_g + p_g * c).
  Value lstmGate(Value z, Value u, Value c, int64_t g) {
    AffineMap all = s.b.getMultiDimIdentityMap(2);
    SmallVector<Value> inputs{gate(z, g), gate(u, g)};
    SmallVector<AffineMap> maps(2, all);
    if (peepholes) {
      inputs.append({c, s.slice(peepholes, {g * hidden}, {hidden}, {1})});
      maps.append({all, s.mapOf(2, {s.dim(1)})});
    }
    maps.push_back(all);
    return s.generic(inputs, s.empty({batch, hidden}, sum), maps, 2, [&](ValueRange v) {
      Value x = plus(v[0], v[1]);
      return sigmoid(peepholes ? plus(x, times(v[3], v[2])) : x);
    });
  }

  std::pair<Value, Value> lstm(Value z, Value h, Value c) {
    Value u = recurrent(h, 0, 4);
    Value i = lstmGate(z, u, c, 0), f = lstmGate(z, u, c, 2);
    Value cell = s.map({f, c, i, gate(z, 3), gate(u, 3)}, sum,
                       [&](ValueRange v) { return plus(times(v[0], v[1]), times(v[2], tanh(plus(v[3], v[4])))); });
    // The peephole of the output sees the new cell; ONNX's order of peepholes is i, o, f.
    Value o = lstmGate(z, u, cell, 1);
    Value next = s.map({o, cell}, sum, [&](ValueRange v) { return times(v[0], tanh(v[1])); });
    return {next, cell};
  }

  Value gru(Value z, Value h) {
    Value u = recurrent(h, 0, 2);
    auto opened = [&](int64_t g) {
      return s.map({gate(z, g), gate(u, g)}, sum, [&](ValueRange v) { return sigmoid(plus(v[0], v[1])); });
    };
    Value update = opened(0), reset = opened(1), candidate;
    if (op.getCell() == Cell::gru_reset_first) {
      Value kept = s.map({reset, h}, sum, [&](ValueRange v) { return times(v[0], v[1]); });
      candidate = s.map({gate(z, 2), recurrent(kept, 2, 1)}, sum, [&](ValueRange v) { return tanh(plus(v[0], v[1])); });
    } else {
      candidate = s.map({gate(z, 2), reset, recurrent(h, 2, 1)}, sum,
                        [&](ValueRange v) { return tanh(plus(v[0], times(v[1], v[2]))); });
    }
    return s.map({update, candidate, h}, sum, [&](ValueRange v) {
      Value rest = s.b.create<arith::SubFOp>(s.real(sum, 1), v[0]);
      return plus(times(rest, v[1]), times(v[0], v[2]));
    });
  }

  RecurrentOp op;
  Structured s;
  Type sum;
  Size steps, batch; // Which a run may choose.
  int64_t columns, hidden, gates;
  Value r, biases, peepholes;
};

struct DecomposeRecurrent : OpRewritePattern<RecurrentOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(RecurrentOp op, PatternRewriter &rewriter) const override {
    for (Value matrix : {op.getW(), op.getR()})
      if (ShapedType::isDynamicShape(shapeOf(matrix)))
        return failure();
    if (ShapedType::isDynamic(shapeOf(op.getX())[2]) || ShapedType::isDynamic(shapeOf(op.getH0())[1]))
      return failure();
    rewriter.replaceOp(op, Layer(op, rewriter).build());
    return success();
  }
};

} // namespace

void populateRecurrentPatterns(RewritePatternSet &patterns) { patterns.add<DecomposeRecurrent>(patterns.getContext()); }

} // namespace mlc::graph
