//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Elementwise operators. Formulas of several roundings are computed in f32 where the type is f16 or bf16.
//
#include "compiler/Import/ONNX/GraphImporter.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;

namespace mlc::onnx {

//===--- One operand ---===//

/// A function of floats.
template <Tensor (*function)(Emitter &, const Tensor &)> static void bindFloat(Node &n) {
  n.ignore("consumed_inputs");
  Tensor x = n.in(0);
  if (!x)
    return;
  if (!x.isFloat())
    return n.fail("takes floats");
  n.give(n.e.cast(function(n.e, n.e.widened(x)), x.dtype()));
}
template <typename Op> static Tensor apply(Emitter &e, const Tensor &x) { return e.unary<Op>(x); }
template <Tensor (Emitter::*function)(Tensor)> static Tensor call(Emitter &e, const Tensor &x) {
  return (e.*function)(x);
}

static Tensor softplus(Emitter &e, const Tensor &x) {
  // log(1 + e^x), without overflow.
  return e.add(e.unary<math::Log1pOp>(e.exp(e.negate(e.abs(x)))), e.max(x, e.splat(0, x.dtype())));
}
static Tensor mish(Emitter &e, const Tensor &x) { return e.mul(x, e.tanh(softplus(e, x))); }
static Tensor softsign(Emitter &e, const Tensor &x) { return e.div(x, e.add(e.abs(x), 1)); }
static Tensor clamp01(Emitter &e, const Tensor &x) {
  return x ? e.max(e.splat(0, x.dtype()), e.min(e.splat(1, x.dtype()), x)) : x;
}
static Tensor hardSwish(Emitter &e, const Tensor &x) { return e.mul(x, clamp01(e, e.add(e.div(x, 6), 0.5))); }
static Tensor reciprocal(Emitter &e, const Tensor &x) { return e.div(e.splat(1, x.dtype()), x); }

static void bindNeg(Node &n) {
  n.ignore("consumed_inputs");
  n.give(n.e.negate(n.in(0)));
}
static void bindAbs(Node &n) {
  n.ignore("consumed_inputs");
  n.give(n.e.abs(n.in(0)));
}
static void bindRelu(Node &n) {
  n.ignore("consumed_inputs");
  if (Tensor x = n.in(0))
    n.give(n.e.max(x, n.e.splat(0, x.dtype())));
}
static void bindSign(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  if (!x)
    return;
  Tensor one = e.splat(1, x.dtype()), zero = e.splat(0, x.dtype());
  Tensor positive = e.select(e.compare(Compare::gt, x, 0.0), one, zero);
  bool canBeNegative = x.isFloat() || !x.isUnsigned;
  n.give(canBeNegative ? e.select(e.compare(Compare::lt, x, 0.0), e.negate(one), positive) : positive);
}
static void bindNot(Node &n) {
  Tensor x = n.in(0);
  if (x && !x.dtype().isBool())
    return n.fail("takes bool");
  n.give(n.e.logicalNot(x));
}
static void bindBitwiseNot(Node &n) {
  Tensor x = n.in(0);
  if (x && !x.dtype().isInteger())
    return n.fail("takes integers");
  if (x)
    n.give(n.e.binary<arith::XOrIOp>(x, n.e.splat(-1, x.dtype())));
}
static void bindIsNaN(Node &n) {
  Tensor x = n.in(0);
  if (x)
    n.give({n.e.builder.create<arith::CmpFOp>(n.e.loc, arith::CmpFPredicate::UNO, x.value, x.value), x.shape});
}
static void bindIsInf(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  double infinity = std::numeric_limits<double>::infinity();
  bool positive = n.intAttr("detect_positive", 1), negative = n.intAttr("detect_negative", 1);
  if (!x)
    return;
  if (positive && negative)
    n.give(e.compare(Compare::eq, e.abs(x), infinity));
  else if (positive || negative)
    n.give(e.compare(Compare::eq, x, positive ? infinity : -infinity));
  else
    n.give(e.splat(0, e.boolean(), x.shape));
}

//===--- One operand and numbers ---===//

/// Where a formula of f32 runs: floats, wide; the result as the operand.
template <typename F> static void bindFormula(Node &n, F &&formula) {
  n.ignore("consumed_inputs");
  Tensor x = n.in(0);
  if (!x)
    return;
  if (!x.isFloat())
    return n.fail("takes floats");
  n.give(n.e.cast(formula(n.e.widened(x)), x.dtype()));
}
static void bindLeakyRelu(Node &n) {
  double alpha = n.floatAttr("alpha", double(0.01f));
  bindFormula(n, [&](Tensor x) { return n.e.select(n.e.compare(Compare::lt, x, 0.0), n.e.mul(x, alpha), x); });
}
static void bindElu(Node &n) {
  double alpha = n.floatAttr("alpha", 1);
  bindFormula(n, [&](Tensor x) {
    return n.e.select(n.e.compare(Compare::lt, x, 0.0), n.e.mul(n.e.sub(n.e.exp(x), 1), alpha), x);
  });
}
static void bindSelu(Node &n) {
  double alpha = n.floatAttr("alpha", n.version < 6 ? double(1.6732f) : double(1.67326319217681884765625f));
  double gamma = n.floatAttr("gamma", n.version < 6 ? double(1.0507f) : double(1.05070102214813232421875f));
  bindFormula(n, [&](Tensor x) {
    Emitter &e = n.e;
    return e.mul(e.select(e.compare(Compare::le, x, 0.0), e.sub(e.mul(e.exp(x), alpha), alpha), x), gamma);
  });
}
static void bindCelu(Node &n) {
  double alpha = n.floatAttr("alpha", 1);
  bindFormula(n, [&](Tensor x) {
    Emitter &e = n.e;
    Tensor zero = e.splat(0, x.dtype());
    return e.add(e.max(x, zero), e.min(zero, e.mul(e.sub(e.exp(e.div(x, alpha)), 1), alpha)));
  });
}
static void bindHardSigmoid(Node &n) {
  double alpha = n.floatAttr("alpha", double(0.2f)), beta = n.floatAttr("beta", 0.5);
  bindFormula(n, [&](Tensor x) { return clamp01(n.e, n.e.add(n.e.mul(x, alpha), beta)); });
}
static void bindThresholdedRelu(Node &n) {
  double alpha = n.floatAttr("alpha", 1);
  bindFormula(n, [&](Tensor x) { return n.e.select(n.e.compare(Compare::gt, x, alpha), x, n.e.splat(0, x.dtype())); });
}
static void bindShrink(Node &n) {
  double lambd = n.floatAttr("lambd", 0.5), bias = n.floatAttr("bias", 0);
  bindFormula(n, [&](Tensor x) {
    Emitter &e = n.e;
    Tensor middle = e.select(e.compare(Compare::gt, x, lambd), e.sub(x, bias), e.splat(0, x.dtype()));
    return e.select(e.compare(Compare::lt, x, -lambd), e.add(x, bias), middle);
  });
}
static void bindGelu(Node &n) {
  std::string form = n.stringAttr("approximate", "none");
  if (form != "none" && form != "tanh")
    return n.fail("has an unknown approximation " + quoted(form));
  bindFormula(n, [&](Tensor x) {
    Emitter &e = n.e;
    if (form == "none")
      return e.mul(e.mul(x, 0.5), e.add(e.erf(e.mul(x, 0.70710678118654752440)), 1));
    Tensor inner = e.mul(e.add(x, e.mul(e.mul(e.mul(x, x), x), 0.044715)), 0.79788456080286535588);
    return e.mul(e.mul(x, 0.5), e.add(e.tanh(inner), 1));
  });
}
static void bindSwish(Node &n) {
  double alpha = n.floatAttr("alpha", 1);
  bindFormula(n, [&](Tensor x) { return n.e.mul(x, n.e.sigmoid(n.e.mul(x, alpha))); });
}
static void bindClip(Node &n) {
  n.ignore("consumed_inputs");
  Emitter &e = n.e;
  Tensor x = n.in(0), low, high;
  if (!x)
    return;
  if (n.version >= 11) {
    low = n.optional(1);
    high = n.optional(2);
  } else {
    if (n.hasAttr("min"))
      low = e.splat(n.floatAttr("min", 0), x.dtype());
    if (n.hasAttr("max"))
      high = e.splat(n.floatAttr("max", 0), x.dtype());
  }
  if (low)
    x = e.max(x, low);
  if (high)
    x = e.min(x, high);
  n.give(x);
}
static void bindDropout(Node &n) {
  n.ignore("consumed_inputs");
  n.ignore("ratio");
  n.ignore("seed");
  Tensor x = n.in(0);
  if (n.version < 7 && !n.intAttr("is_test", 0))
    return n.fail("drops at random outside of inference (is_test is 0)");
  if (n.version >= 12 && n.has(2)) {
    std::optional<Ints> training = n.constantInts(2);
    if (training && !training->empty() && training->front())
      return n.fail("is in training mode, which is not supported");
  }
  n.give(x);
  if (n.wants(1) && x)
    n.give(n.e.splat(1, n.version < 10 ? x.dtype() : n.e.boolean(), x.shape));
}

//===--- Two operands ---===//

/// Before opset 7 the second operand is laid along `axis` of the first, and only when `broadcast` is 1.
static bool operands(Node &n, Tensor &a, Tensor &b) {
  n.ignore("consumed_inputs");
  a = n.in(0);
  b = n.in(1);
  if (!a || !b)
    return false;
  if (n.version >= 7)
    return true;
  int64_t spread = n.intAttr("broadcast", 0), axis = n.intAttr("axis", a.rank() - b.rank());
  if (!spread) {
    if (a.shape != b.shape)
      n.fail("has operands of different shapes and broadcast 0");
    return !n.e.failed();
  }
  axis = axis < 0 ? axis + a.rank() : axis;
  if (axis < 0 || axis + b.rank() > a.rank()) {
    n.fail("broadcasts along an axis that its first operand lacks");
    return false;
  }
  Dims shape = b.shape;
  shape.append(size_t(a.rank() - axis - b.rank()), n.e.dim(1));
  b = n.e.reshape(b, shape);
  return bool(b);
}
template <Tensor (Emitter::*function)(Tensor, Tensor)> static void bindArithmetic(Node &n) {
  Tensor a, b;
  if (operands(n, a, b))
    n.give((n.e.*function)(a, b));
}
template <Compare how> static void bindCompare(Node &n) {
  Tensor a, b;
  if (operands(n, a, b))
    n.give(n.e.compare(how, a, b));
}
template <typename Op, bool onBool> static void bindBits(Node &n) {
  Tensor a, b;
  if (!operands(n, a, b))
    return;
  if (onBool ? !a.dtype().isBool() : !a.dtype().isInteger())
    return n.fail(onBool ? "takes bool" : "takes integers");
  n.give(n.e.binary<Op>(a, b));
}
/// By more than the width, or less than nothing: what the sign alone leaves.
static void bindShift(Node &n) {
  Emitter &e = n.e;
  std::string direction = n.stringAttr("direction", "");
  bool left = direction == "LEFT";
  Tensor a = n.in(0), b = n.in(1);
  if (!left && direction != "RIGHT")
    return n.fail("needs direction LEFT or RIGHT");
  if (!e.together(a, b))
    return;
  if (!a.dtype().isInteger())
    return n.fail("takes integers");
  double width = a.dtype().type.getIntOrFloatBitWidth();
  Tensor zero = e.splat(0, a.dtype()), inside = e.compare(Compare::lt, b, width);
  if (!a.isUnsigned)
    inside = e.binary<arith::AndIOp>(inside, e.compare(Compare::ge, b, 0.0));
  Tensor by = e.select(inside, b, zero), fill = zero;
  if (!left && !a.isUnsigned)
    fill = e.select(e.compare(Compare::lt, a, 0.0), e.splat(-1, a.dtype()), zero);
  Tensor shifted = left           ? e.binary<arith::ShLIOp>(a, by)
                   : a.isUnsigned ? e.binary<arith::ShRUIOp>(a, by)
                                  : e.binary<arith::ShRSIOp>(a, by);
  n.give(e.select(inside, shifted, fill));
}
static void bindPow(Node &n) {
  Emitter &e = n.e;
  Tensor a, b;
  if (!operands(n, a, b))
    return;
  DType type = a.dtype();
  // Integers through f64.
  DType wide = type.isFloat() ? e.widened(a).dtype() : DType{e.builder.getF64Type()};
  n.give(e.cast(e.binary<math::PowFOp>(e.cast(a, wide), e.cast(b, wide)), type));
}
static void bindMod(Node &n) {
  Emitter &e = n.e;
  Tensor a = n.in(0), b = n.in(1);
  bool likeC = n.intAttr("fmod", 0);
  if (!e.together(a, b))
    return;
  if (a.isFloat()) {
    Tensor rest = e.binary<arith::RemFOp>(a, b);
    if (likeC)
      return n.give(rest);
    // With the divisor's sign.
    Tensor zero = e.splat(0, a.dtype());
    Tensor negative = e.compare(Compare::lt, b, 0.0),
           other = e.compare(Compare::ne, e.compare(Compare::lt, rest, 0.0), negative);
    Tensor none = e.select(negative, e.negate(zero), zero);
    return n.give(e.select(e.compare(Compare::eq, rest, 0.0), none, e.select(other, e.add(rest, b), rest)));
  }
  Tensor rest = a.isUnsigned ? e.binary<arith::RemUIOp>(a, b) : e.binary<arith::RemSIOp>(a, b);
  if (likeC || a.isUnsigned)
    return n.give(rest);
  Tensor signs = e.compare(Compare::lt, e.binary<arith::XOrIOp>(rest, b), 0.0);
  Tensor wrong = e.binary<arith::AndIOp>(signs, e.compare(Compare::ne, rest, 0.0));
  n.give(e.select(wrong, e.add(rest, b), rest));
}
/// a sigmoid(alpha a) b.
static void bindSwiGLU(Node &n) {
  Emitter &e = n.e;
  Tensor a = n.in(0), b = n.in(1);
  double alpha = n.floatAttr("alpha", 1);
  if (!a || !b)
    return;
  if (!a.isFloat() || a.dtype() != b.dtype() || a.shape != b.shape)
    return n.fail("takes two tensors of floats of one shape and type");
  Tensor wide = e.widened(a);
  n.give(e.mul(e.mul(a, e.cast(e.sigmoid(e.mul(wide, alpha)), a.dtype())), b));
}
static void bindPRelu(Node &n) {
  n.ignore("consumed_inputs");
  Emitter &e = n.e;
  Tensor x = n.in(0), slope = n.in(1);
  if (!x || !slope)
    return;
  if (n.version < 7 && slope.rank() == 1 && x.rank() > 1) {
    Dims shape = {slope.shape.front()};
    shape.append(size_t(x.rank() - 2), e.dim(1));
    slope = e.reshape(slope, shape);
  }
  n.give(e.select(e.compare(Compare::lt, x, 0.0), e.mul(x, slope), x));
}

//===--- Any number of operands ---===//

template <Tensor (Emitter::*function)(Tensor, Tensor)> static void bindVariadic(Node &n) {
  n.ignore("consumed_inputs");
  Tensor result = n.in(0);
  for (size_t i = 1; i < n.inputs(); ++i)
    result = (n.e.*function)(result, n.in(i));
  n.give(result);
}
static void bindMean(Node &n) {
  n.ignore("consumed_inputs");
  Tensor result = n.e.widened(n.in(0));
  for (size_t i = 1; i < n.inputs(); ++i)
    result = n.e.add(result, n.e.widened(n.in(i)));
  if (result)
    n.give(n.e.cast(n.e.div(result, double(n.inputs())), n.in(0).dtype()));
}
static void bindWhere(Node &n) { n.give(n.e.select(n.in(0), n.in(1), n.in(2))); }

void addElementwise(BinderTable &table) {
  table["Abs"] = bindAbs;
  table["Acos"] = bindFloat<apply<math::AcosOp>>;
  table["Acosh"] = bindFloat<apply<math::AcoshOp>>;
  table["Add"] = bindArithmetic<&Emitter::add>;
  table["And"] = bindBits<arith::AndIOp, true>;
  table["Asin"] = bindFloat<apply<math::AsinOp>>;
  table["Asinh"] = bindFloat<apply<math::AsinhOp>>;
  table["Atan"] = bindFloat<apply<math::AtanOp>>;
  table["Atanh"] = bindFloat<apply<math::AtanhOp>>;
  table["BitShift"] = bindShift;
  table["BitwiseAnd"] = bindBits<arith::AndIOp, false>;
  table["BitwiseNot"] = bindBitwiseNot;
  table["BitwiseOr"] = bindBits<arith::OrIOp, false>;
  table["BitwiseXor"] = bindBits<arith::XOrIOp, false>;
  table["Ceil"] = bindFloat<apply<math::CeilOp>>;
  table["Celu"] = bindCelu;
  table["Clip"] = bindClip;
  table["Cos"] = bindFloat<apply<math::CosOp>>;
  table["Cosh"] = bindFloat<apply<math::CoshOp>>;
  table["Div"] = bindArithmetic<&Emitter::div>;
  table["Dropout"] = bindDropout;
  table["Elu"] = bindElu;
  table["Equal"] = bindCompare<Compare::eq>;
  table["Erf"] = bindFloat<call<&Emitter::erf>>;
  table["Exp"] = bindFloat<call<&Emitter::exp>>;
  table["Floor"] = bindFloat<apply<math::FloorOp>>;
  table["Gelu"] = bindGelu;
  table["Greater"] = bindCompare<Compare::gt>;
  table["GreaterOrEqual"] = bindCompare<Compare::ge>;
  table["HardSigmoid"] = bindHardSigmoid;
  table["HardSwish"] = bindFloat<hardSwish>;
  table["IsInf"] = bindIsInf;
  table["IsNaN"] = bindIsNaN;
  table["LeakyRelu"] = bindLeakyRelu;
  table["Less"] = bindCompare<Compare::lt>;
  table["LessOrEqual"] = bindCompare<Compare::le>;
  table["Log"] = bindFloat<call<&Emitter::log>>;
  table["Max"] = bindVariadic<&Emitter::max>;
  table["Mean"] = bindMean;
  table["Min"] = bindVariadic<&Emitter::min>;
  table["Mish"] = bindFloat<mish>;
  table["Mod"] = bindMod;
  table["Mul"] = bindArithmetic<&Emitter::mul>;
  table["Neg"] = bindNeg;
  table["Not"] = bindNot;
  table["Or"] = bindBits<arith::OrIOp, true>;
  table["PRelu"] = bindPRelu;
  table["Pow"] = bindPow;
  table["Reciprocal"] = bindFloat<reciprocal>;
  table["Relu"] = bindRelu;
  table["Round"] = bindFloat<apply<math::RoundEvenOp>>;
  table["Selu"] = bindSelu;
  table["Shrink"] = bindShrink;
  table["Sigmoid"] = bindFloat<call<&Emitter::sigmoid>>;
  table["Sign"] = bindSign;
  table["Sin"] = bindFloat<apply<math::SinOp>>;
  table["Sinh"] = bindFloat<apply<math::SinhOp>>;
  table["Softplus"] = bindFloat<softplus>;
  table["Softsign"] = bindFloat<softsign>;
  table["Sqrt"] = bindFloat<call<&Emitter::sqrt>>;
  table["Sub"] = bindArithmetic<&Emitter::sub>;
  table["Sum"] = bindVariadic<&Emitter::add>;
  table["Swish"] = bindSwish;
  table["SwiGLU"] = bindSwiGLU;
  table["Tan"] = bindFloat<apply<math::TanOp>>;
  table["Tanh"] = bindFloat<call<&Emitter::tanh>>;
  table["ThresholdedRelu"] = bindThresholdedRelu;
  table["Where"] = bindWhere;
  table["Xor"] = bindBits<arith::XOrIOp, true>;
}

} // namespace mlc::onnx
