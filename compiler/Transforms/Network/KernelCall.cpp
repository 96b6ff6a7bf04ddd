//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Which graph ops XNNPACK can do, and the calls.
//
#include "compiler/Transforms/Network/KernelCall.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace mlc::graph {

Value callKernel(Structured &s, KernelMatch &match, ValueRange inputs, ArrayRef<int64_t> shape) {
  Value into = s.empty(Sizes(shape.begin(), shape.end()), s.b.getF32Type());
  return s.b
      .create<CallKernelOp>(into.getType(), s.b.getStringAttr("xnnpack." + match.kernel), inputs, into,
                            s.b.getDictionaryAttr(match.fields))
      .getResult();
}

namespace {

using Shape = ArrayRef<int64_t>;

// What the kernels accept (targets/xnnpack/Kernels.cpp).
constexpr int64_t kMostExtent = 1 << 24, kMostPlaces = 1 << 24, kMostPooledChannels = 1 << 14;

NamedAttribute field(Builder b, StringRef name, int64_t value) {
  return b.getNamedAttr(name, b.getI64IntegerAttr(value));
}
NamedAttribute field(Builder b, StringRef name, bool value) { return b.getNamedAttr(name, b.getBoolAttr(value)); }
NamedAttribute field(Builder b, StringRef name, StringRef value) {
  return b.getNamedAttr(name, b.getStringAttr(value));
}

/// f32 tensors of static shapes without an empty axis, none of them above kMostExtent.
bool plain(Operation *op) {
  auto good = [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && tensor.getElementType().isF32() && tensor.hasStaticShape() &&
           llvm::all_of(tensor.getShape(), [](int64_t extent) { return 1 <= extent && extent <= kMostExtent; });
  };
  return llvm::all_of(op->getOperandTypes(), good) && llvm::all_of(op->getResultTypes(), good);
}

/// The largest of `limits` at or below `value`: classes of sizes in the cost table.
int64_t sizeClass(int64_t value, ArrayRef<int64_t> limits) {
  int64_t found = 0;
  for (int64_t limit : limits)
    if (value >= limit)
      found = limit;
  return found;
}

int64_t elements(Shape shape) {
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  return count;
}

KernelMatch refuse(StringRef why) {
  KernelMatch match;
  match.refusal = why.str();
  return match;
}

/// A window's spatial axes, one or two, as height and width.
struct Axes {
  int64_t in[2] = {1, 1}, out[2] = {1, 1}, kernel[2] = {1, 1}, stride[2] = {1, 1}, dilation[2] = {1, 1},
          before[2] = {0, 0}, behind[2] = {0, 0};

  /// In and out are [B, C, D...]; nothing for more than two spatial axes.
  static std::optional<Axes> of(Shape in, Shape out, Shape kernel, Shape strides, Shape dilations, Shape pads) {
    size_t spatial = kernel.size();
    if (spatial < 1 || spatial > 2)
      return std::nullopt;
    Axes axes;
    for (size_t i = 0; i < spatial; ++i) {
      size_t at = 2 - spatial + i;
      axes.in[at] = in[i + 2], axes.out[at] = out[i + 2], axes.kernel[at] = kernel[i];
      axes.stride[at] = strides[i], axes.dilation[at] = dilations[i];
      axes.before[at] = pads[i], axes.behind[at] = pads[i + spatial];
    }
    return axes;
  }

  int64_t reach(int i) const { return (kernel[i] - 1) * dilation[i] + 1; }
  bool valid() const {
    auto good = [](int64_t value, int64_t least) { return least <= value && value <= kMostExtent; };
    for (int i : {0, 1})
      if (!good(kernel[i], 1) || !good(stride[i], 1) || !good(dilation[i], 1) || !good(before[i], 0) ||
          !good(behind[i], 0))
        return false;
    return llvm::SaturatingMultiply<uint64_t>(kernel[0] * kernel[1], std::max(out[0] * out[1], in[0] * in[1])) <=
           uint64_t(kMostPlaces);
  }
  /// Whether the windows are those of a convolution without anything left over.
  bool follows() const {
    for (int i : {0, 1})
      if (in[i] + before[i] + behind[i] < reach(i) ||
          (in[i] + before[i] + behind[i] - reach(i)) / stride[i] + 1 != out[i])
        return false;
    return true;
  }
};

void addWindowFields(KernelMatch &match, Builder b, const Axes &a, int64_t batch, int64_t groups, int64_t in,
                     int64_t out, bool bias) {
  match.fields = {field(b, "batch", batch),
                  field(b, "height", a.in[0]),
                  field(b, "width", a.in[1]),
                  field(b, "out_height", a.out[0]),
                  field(b, "out_width", a.out[1]),
                  field(b, "in", in),
                  field(b, "out", out),
                  field(b, "groups", groups),
                  field(b, "kernel_height", a.kernel[0]),
                  field(b, "kernel_width", a.kernel[1]),
                  field(b, "stride_height", a.stride[0]),
                  field(b, "stride_width", a.stride[1]),
                  field(b, "dilation_height", a.dilation[0]),
                  field(b, "dilation_width", a.dilation[1]),
                  field(b, "pad_top", a.before[0]),
                  field(b, "pad_left", a.before[1]),
                  field(b, "pad_bottom", a.behind[0]),
                  field(b, "pad_right", a.behind[1]),
                  field(b, "has_bias", bias)};
}

/// [B, M, O...] as [B, O..., M].
SmallVector<int64_t> lastChannels(Shape shape) {
  SmallVector<int64_t> turned{shape[0]};
  llvm::append_range(turned, shape.drop_front(2));
  turned.push_back(shape[1]);
  return turned;
}

std::string windowForm(StringRef kind, int64_t channels, int64_t positions) {
  return (kind + " c" + Twine(sizeClass(channels, {1, 8, 32, 128})) + " p" +
          Twine(sizeClass(positions, {1, 16, 256, 4096})))
      .str();
}

std::string convKind(const Axes &a, int64_t groups, int64_t in, int64_t out) {
  if (groups > 1)
    return in == 1 && out == 1 ? "depthwise" : "grouped";
  return a.kernel[0] * a.kernel[1] == 1 ? "pointwise" : a.in[0] * a.kernel[0] == 1 ? "conv1d" : "conv2d";
}

KernelMatch matchConv(ConvOp op, bool folds) {
  Shape in = shapeOf(op.getInput()), out = shapeOf(op.getResult()), taps = shapeOf(op.getFilter());
  if (!plain(op))
    return refuse("XNNPACK's convolutions are of f32");
  if (!folds || !followsFromWeights(op.getFilter()) || (op.getBias() && !followsFromWeights(op.getBias())) ||
      followsFromWeights(op.getInput()))
    return refuse("XNNPACK's filters are weights");
  std::optional<Axes> axes = Axes::of(in, out, taps.drop_front(2), op.getStrides(), op.getDilations(), op.getPads());
  if (!axes || !axes->valid() || !axes->follows())
    return refuse("XNNPACK's convolutions have one or two axes and no negative pads");
  KernelMatch match;
  int64_t groups = op.getGroups(), inputs = taps[1], outputs = taps[0] / groups;
  match.kernel = "conv";
  match.form = windowForm(convKind(*axes, groups, inputs, outputs), groups > 1 ? groups : std::min(inputs, outputs),
                          in[0] * axes->out[0] * axes->out[1]);
  addWindowFields(match, Builder(op), *axes, in[0], groups, inputs, outputs, bool(op.getBias()));
  match.build = [op](Structured &s, KernelMatch &match) mutable {
    SmallVector<Value> inputs{s.channelsLast(op.getInput()), s.channelsLast(op.getFilter())};
    if (op.getBias())
      inputs.push_back(op.getBias());
    return s.channelsFirst(callKernel(s, match, inputs, lastChannels(shapeOf(op.getResult()))));
  };
  return match;
}

KernelMatch matchConvTranspose(ConvTransposeOp op, bool folds) {
  Shape in = shapeOf(op.getInput()), out = shapeOf(op.getResult()), taps = shapeOf(op.getFilter());
  if (!plain(op))
    return refuse("XNNPACK's convolutions are of f32");
  if (!folds || !followsFromWeights(op.getFilter()) || (op.getBias() && !followsFromWeights(op.getBias())) ||
      followsFromWeights(op.getInput()))
    return refuse("XNNPACK's filters are weights");
  std::optional<Axes> axes = Axes::of(in, out, taps.drop_front(2), op.getStrides(), op.getDilations(), op.getPads());
  // The result says how much is cut off behind.
  for (int i : {0, 1}) {
    if (!axes)
      break;
    int64_t whole = (axes->in[i] - 1) * axes->stride[i] + axes->reach(i), more = whole - axes->before[i] - axes->out[i];
    axes->behind[i] = std::max<int64_t>(more, 0);
    if (-more >= axes->stride[i])
      axes.reset();
  }
  if (!axes || !axes->valid())
    return refuse("XNNPACK's convolutions have one or two axes, no negative pads and less than a stride behind");
  KernelMatch match;
  int64_t groups = op.getGroups(), inputs = taps[0] / groups, outputs = taps[1];
  match.kernel = "conv_transpose";
  match.form = windowForm("conv_transpose", std::min(inputs, outputs), in[0] * axes->out[0] * axes->out[1]);
  addWindowFields(match, Builder(op), *axes, in[0], groups, inputs, outputs, bool(op.getBias()));
  match.build = [op, groups, inputs](Structured &s, KernelMatch &match) mutable {
    // [groups * in, out, K...] to [groups, out, K..., in].
    Sizes parts{groups, inputs};
    llvm::append_range(parts, shapeOf(op.getFilter()).drop_front());
    SmallVector<unsigned> turned{0};
    for (unsigned i = 2; i < parts.size(); ++i)
      turned.push_back(i);
    turned.push_back(1);
    SmallVector<Value> operands{s.channelsLast(op.getInput()), s.transpose(s.reshape(op.getFilter(), parts), turned)};
    if (op.getBias())
      operands.push_back(op.getBias());
    return s.channelsFirst(callKernel(s, match, operands, lastChannels(shapeOf(op.getResult()))));
  };
  return match;
}

KernelMatch matchPool(PoolOp op) {
  Shape in = shapeOf(op.getInput()), out = shapeOf(op.getResult());
  bool largest = op.getKind() == PoolKind::max;
  if (op.getIndices() || op.getKind() == PoolKind::lp)
    return refuse("XNNPACK pools by the maximum or the average alone");
  if (!plain(op))
    return refuse("XNNPACK's pooling is of f32");
  std::optional<Axes> axes = Axes::of(in, out, op.getKernel(), op.getStrides(), op.getDilations(), op.getPads());
  bool good = axes.has_value();
  for (int i : {0, 1}) {
    if (!good)
      break;
    // What the last window needs behind: the padding counts nothing.
    int64_t needed = (axes->out[i] - 1) * axes->stride[i] + axes->reach(i) - axes->before[i] - axes->in[i];
    bool padded = axes->before[i] || needed > 0;
    good = (op.getKind() != PoolKind::average_padded || !padded) && (largest || axes->dilation[i] == 1);
    axes->behind[i] = std::max<int64_t>(needed, 0);
    good &= axes->before[i] < axes->kernel[i] && axes->behind[i] < axes->kernel[i];
  }
  if (!good || !axes->valid() || !axes->follows() || axes->kernel[0] * axes->kernel[1] < 2 ||
      (!largest && in[1] > kMostPooledChannels))
    return refuse("XNNPACK pools one or two axes, by two taps or more, and averages what lies inside");
  KernelMatch match;
  match.kernel = largest ? "max_pool" : "average_pool";
  match.form = windowForm(match.kernel, in[1], in[0] * axes->out[0] * axes->out[1]);
  addWindowFields(match, Builder(op), *axes, in[0], 1, in[1], in[1], false);
  match.build = [op](Structured &s, KernelMatch &match) mutable {
    Value x = s.channelsLast(op.getInput());
    return s.channelsFirst(callKernel(s, match, x, lastChannels(shapeOf(op.getResult()))));
  };
  return match;
}

KernelMatch matchMatmul(MatmulOp op, bool folds) {
  Shape b = shapeOf(op.getB()), y = shapeOf(op.getResult());
  if (!plain(op))
    return refuse("XNNPACK's products are of f32");
  bool matrix = llvm::all_of(b.drop_back(2), [](int64_t extent) { return extent == 1; });
  if (!folds || !matrix || !followsFromWeights(op.getB()) || followsFromWeights(op.getA()))
    return refuse("XNNPACK's products are with one matrix of weights");
  KernelMatch match;
  int64_t n = b.back(), k = b[b.size() - 2];
  match.kernel = "linear";
  match.form = ("linear r" + Twine(sizeClass(elements(y.drop_back()), {1, 4, 32, 256})) + " w" +
                Twine(sizeClass(n * k, {1, 1 << 12, 1 << 16, 1 << 20})))
                   .str();
  Builder builder(op);
  match.fields = {field(builder, "n", n), field(builder, "k", k), field(builder, "has_bias", false),
                  field(builder, "transposed", true)};
  match.build = [op](Structured &s, KernelMatch &match) mutable {
    return callKernel(s, match, {op.getA(), op.getB()}, shapeOf(op.getResult()));
  };
  return match;
}

KernelMatch matchSoftmax(SoftmaxOp op) {
  Shape shape = shapeOf(op.getResult());
  if (!plain(op))
    return refuse("XNNPACK's softmax is of f32");
  if (op.getLog() || int64_t(op.getAxis()) != int64_t(shape.size()) - 1)
    return refuse("XNNPACK's softmax is along the last axis, and no logarithm");
  KernelMatch match;
  match.kernel = "softmax";
  match.form = ("softmax c" + Twine(sizeClass(shape.back(), {1, 16, 128})) + " r" +
                Twine(sizeClass(elements(shape.drop_back()), {1, 16, 256})))
                   .str();
  match.fields = {field(Builder(op), "channels", shape.back())};
  match.build = [op](Structured &s, KernelMatch &match) mutable {
    return callKernel(s, match, op.getInput(), shapeOf(op.getResult()));
  };
  return match;
}

std::string elementwiseForm(StringRef kind, Shape shape) {
  return (kind + " e" + Twine(sizeClass(elements(shape), {1, 1 << 10, 1 << 15}))).str();
}

bool isSplat(Value value, double wanted) {
  DenseFPElementsAttr values;
  return matchPattern(value, m_Constant(&values)) && values.isSplat() &&
         values.getSplatValue<APFloat>().convertToDouble() == wanted;
}

/// x of 1 / (1 + e^-x), as ONNX's Sigmoid is imported.
Value sigmoidOf(arith::DivFOp op) {
  auto sum = op.getRhs().getDefiningOp<arith::AddFOp>();
  if (!sum || !isSplat(op.getLhs(), 1) || !isSplat(sum.getRhs(), 1))
    return {};
  auto power = sum.getLhs().getDefiningOp<math::ExpOp>();
  auto negated = power ? power.getOperand().getDefiningOp<arith::NegFOp>() : arith::NegFOp();
  return negated ? negated.getOperand() : Value();
}

KernelMatch unary(Operation *op, StringRef function, Value x) {
  KernelMatch match;
  match.kernel = "unary";
  match.form = elementwiseForm(function, shapeOf(x));
  match.fields = {field(Builder(op), "op", function)};
  match.build = [x](Structured &s, KernelMatch &match) { return callKernel(s, match, x, shapeOf(x)); };
  return match;
}

std::optional<KernelMatch> binary(Operation *op, StringRef function) {
  Value a = op->getOperand(0), b = op->getOperand(1);
  // A constant is one number of a region's code.
  if (matchPattern(a, m_Constant()) || matchPattern(b, m_Constant()))
    return std::nullopt;
  KernelMatch match;
  match.kernel = "binary";
  match.form = elementwiseForm(function, shapeOf(a));
  match.fields = {field(Builder(op), "op", function)};
  match.build = [a, b](Structured &s, KernelMatch &match) { return callKernel(s, match, {a, b}, shapeOf(a)); };
  return match;
}

std::optional<KernelMatch> matchElementwise(Operation *op) {
  if (op->getNumResults() != 1 || !plain(op) || op->getNumOperands() < 1 || followsFromWeights(op->getResult(0)))
    return std::nullopt;
  StringRef function = llvm::TypeSwitch<Operation *, StringRef>(op)
                           .Case([](math::AbsFOp) { return "abs"; })
                           .Case([](math::CeilOp) { return "ceil"; })
                           .Case([](math::FloorOp) { return "floor"; })
                           .Case([](arith::NegFOp) { return "negate"; })
                           .Case([](math::RoundEvenOp) { return "round_even"; })
                           .Case([](math::SqrtOp) { return "sqrt"; })
                           .Case([](math::TruncOp) { return "trunc"; })
                           .Default(StringRef());
  if (!function.empty())
    return unary(op, function, op->getOperand(0));
  if (auto quotient = dyn_cast<arith::DivFOp>(op))
    if (Value x = sigmoidOf(quotient))
      return unary(op, "sigmoid", x);
  if (isa<arith::MulFOp>(op) && op->getOperand(0) == op->getOperand(1))
    return unary(op, "square", op->getOperand(0));
  function = llvm::TypeSwitch<Operation *, StringRef>(op)
                 .Case([](arith::AddFOp) { return "add"; })
                 .Case([](arith::SubFOp) { return "sub"; })
                 .Case([](arith::MulFOp) { return "mul"; })
                 .Case([](arith::DivFOp) { return "div"; })
                 .Default(StringRef());
  return function.empty() ? std::nullopt : binary(op, function);
}

} // namespace

std::optional<KernelMatch> matchKernel(Operation *op, bool folds) {
  return llvm::TypeSwitch<Operation *, std::optional<KernelMatch>>(op)
      .Case([&](ConvOp conv) { return matchConv(conv, folds); })
      .Case([&](ConvTransposeOp conv) { return matchConvTranspose(conv, folds); })
      .Case([&](PoolOp pool) { return matchPool(pool); })
      .Case([&](MatmulOp product) { return matchMatmul(product, folds); })
      .Case([&](SoftmaxOp softmax) { return matchSoftmax(softmax); })
      .Default([&](Operation *other) { return matchElementwise(other); });
}

} // namespace mlc::graph
