//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Operators on images and stacks of matrices that movement and products make up.
//
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Import/ONNX/GraphImporter.h"

using namespace mlir;

namespace mlc::onnx {

static constexpr int64_t kMost = int64_t(1) << 30;

/// Cut, or padded with zeros, around the middle.
static void bindCenterCropPad(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  std::optional<Ints> wanted = n.constantInts(1);
  if (!x || !wanted)
    return;
  std::optional<Ints> axes =
      n.axes(n.intsAttr("axes").value_or(llvm::to_vector<4>(llvm::seq<int64_t>(0, x.rank()))), x.rank());
  std::optional<Ints> shape = e.staticShape(x, "it");
  if (!axes || !shape)
    return;
  if (axes->size() != wanted->size())
    return n.fail("needs a size for each axis");
  Dims before(x.rank(), e.dim(0)), behind = before;
  for (auto [axis, size] : llvm::zip_equal(*axes, *wanted)) {
    if (size < 0 || size > kMost)
      return n.fail("has an impossible size");
    int64_t more = size - (*shape)[axis];
    // What is cut off or added in front is the smaller half.
    int64_t front = more >= 0 ? more / 2 : -(-more / 2);
    before[axis] = e.dim(front);
    behind[axis] = e.dim(more - front);
  }
  n.give(e.pad(x, before, behind, e.splat(0, x.dtype())));
}

/// Blocks [N, C * block, L] summed where they lie in the image: a transposed convolution with the unit filter.
static void bindCol2Im(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  std::optional<Ints> image = n.constantInts(1), block = n.constantInts(2);
  if (!x || !image || !block)
    return;
  size_t spatial = image->size();
  Ints strides = n.intsAttr("strides").value_or(Ints(spatial, 1));
  Ints dilations = n.intsAttr("dilations").value_or(Ints(spatial, 1));
  Ints pads = n.intsAttr("pads").value_or(Ints(2 * spatial, 0));
  std::optional<Ints> shape = e.staticShape(x, "it");
  auto within = [](const Ints &values, size_t count, int64_t least) {
    return values.size() == count && llvm::all_of(values, [&](int64_t v) { return v >= least && v <= 1 << 20; });
  };
  if (!shape)
    return;
  if (x.rank() != 3 || !x.isFloat() || spatial < 1 || spatial > 8 || !within(*image, spatial, 1) ||
      !within(*block, spatial, 1) || !within(strides, spatial, 1) || !within(dilations, spatial, 1) ||
      !within(pads, 2 * spatial, 0))
    return n.fail(
        "takes floats [batch, channels * block, blocks] and sizes, strides, dilations and pads that fit them");
  int64_t taps = 1, places = 1;
  Dims input = {x.shape[0], x.shape[1]}, output = {x.shape[0]};
  for (size_t i = 0; i < spatial; ++i) {
    int64_t room = (*image)[i] + pads[i] + pads[i + spatial] - dilations[i] * ((*block)[i] - 1) - 1;
    if (room < 0 || __builtin_mul_overflow(taps, (*block)[i], &taps) ||
        __builtin_mul_overflow(places, room / strides[i] + 1, &places) || taps > 1 << 12)
      return n.fail("has a block that does not fit its image");
    input.push_back(e.dim(room / strides[i] + 1));
  }
  if ((*shape)[1] % taps || (*shape)[2] != places)
    return n.fail("has another number of blocks than its image");
  int64_t channels = (*shape)[1] / taps;
  output.push_back(e.dim(channels));
  for (int64_t extent : *image)
    output.push_back(e.dim(extent));
  // filter[c * taps + t, 0, k...] = 1 where k is t.
  Tensor row = e.reshape(e.iota(e.dim(taps), e.i64()), {e.dim(taps), e.dim(1)});
  Tensor unit = e.cast(e.compare(Compare::eq, row, e.iota(e.dim(taps), e.i64())), {e.builder.getI8Type(), true});
  unit = e.broadcast(e.reshape(e.cast(unit, x.dtype()), e.dims({1, taps, taps})), e.dims({channels, taps, taps}));
  Ints filter = {channels * taps, 1};
  filter.append(block->begin(), block->end());
  Tensor laid = e.reshape(x, input), w = e.reshape(unit, e.dims(filter));
  RankedTensorType type = e.typeOf(output, x.dtype().type);
  if (!laid || !w || e.failed())
    return;
  n.give({e.builder.create<graph::ConvTransposeOp>(e.loc, type, laid.value, w.value, Value(), strides, dilations, pads,
                                                   channels),
          output});
}

/// Values back at the indices that MaxPool gave, zeros elsewhere.
static void bindMaxUnpool(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), indices = n.in(1);
  std::optional<Ints> kernel = n.intsAttr("kernel_shape"), wanted;
  if (n.has(2))
    wanted = n.constantInts(2);
  if (!x || !indices || e.failed())
    return;
  std::optional<Ints> shape = e.staticShape(x, "it");
  if (!shape)
    return;
  size_t spatial = x.rank() < 3 ? 0 : size_t(x.rank() - 2);
  Ints strides = n.intsAttr("strides").value_or(Ints(spatial, 1));
  Ints pads = n.intsAttr("pads").value_or(Ints(2 * spatial, 0));
  if (!spatial || !kernel || kernel->size() != spatial || strides.size() != spatial || pads.size() != 2 * spatial ||
      indices.shape != x.shape || !(indices.dtype() == e.i64()) || (wanted && wanted->size() != shape->size()))
    return n.fail("takes [batch, channels, ...], indices of its shape, and a kernel, strides and pads that fit");
  Ints natural(shape->begin(), shape->begin() + 2);
  for (size_t i = 0; i < spatial; ++i) {
    if ((*kernel)[i] < 1 || (*kernel)[i] > kMost || strides[i] < 1 || strides[i] > kMost || pads[i] < 0 ||
        pads[i] > kMost || pads[i + spatial] < 0 || pads[i + spatial] > kMost)
      return n.fail("has an impossible kernel, stride or pad");
    natural.push_back(((*shape)[i + 2] - 1) * strides[i] + (*kernel)[i] - pads[i] - pads[i + spatial]);
    if (natural.back() < 1)
      return n.fail("has an empty result");
  }
  Dims result = e.dims(natural);
  Tensor flat = e.splat(0, x.dtype(), e.product(result));
  Tensor y = e.scatter(flat, e.reshape(indices, {e.product(x.shape), e.dim(1)}), e.reshape(x, e.product(x.shape)),
                       graph::ScatterKind::replace);
  y = e.reshape(y, result);
  if (wanted) {
    Dims before(x.rank(), e.dim(0)), behind;
    for (auto [have, want] : llvm::zip_equal(natural, *wanted)) {
      if (want < have || want > kMost)
        return n.fail("has an output_shape that is too small");
      behind.push_back(e.dim(want - have));
    }
    y = e.pad(y, before, behind, e.splat(0, x.dtype()));
  }
  n.give(y);
}

/// By elimination, the largest pivot first: the sign turns with every exchange of rows.
static void bindDet(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  if (!x)
    return;
  std::optional<int64_t> size = x.rank() < 2 ? std::nullopt : e.constant(x.shape.back());
  constexpr int64_t kMostRows = 64;
  if (!size || *size < 1 || *size > kMostRows || x.shape[x.rank() - 2] != x.shape.back() || !x.isFloat())
    return n.fail("takes square matrices of floats, of up to " + Twine(kMostRows) + " rows");
  Dims outer(ArrayRef<Dim>(x.shape).drop_back(2)), flat = {e.product(outer)};
  Tensor a = e.reshape(e.widened(x), {flat[0], e.dim(*size), e.dim(*size)});
  Tensor det = a ? e.splat(1, a.dtype(), flat) : Tensor();
  for (int64_t left = *size; left > 0 && !e.failed(); --left) {
    Dims column = {flat[0], e.dim(left)}, row = {flat[0], e.dim(1), e.dim(left)};
    Tensor first = e.reshape(e.sliceAxis(a, 2, e.dim(0), e.dim(1)), column);
    Tensor pivot = e.argExtreme(e.abs(first), 1, true, false);
    auto rowAt = [&](const Tensor &which) {
      return e.generate(row, a.dtype(), [&](OpBuilder &body, ArrayRef<Value> at) {
        Value from = body.create<arith::IndexCastOp>(e.loc, body.getIndexType(), e.at(body, which, at[0]));
        return e.at(body, a, {at[0], from, at[2]});
      });
    };
    Tensor top = rowAt(pivot), old = e.sliceAxis(a, 1, e.dim(0), e.dim(1));
    Tensor corner = e.reshape(e.sliceAxis(top, 2, e.dim(0), e.dim(1)), flat);
    Tensor moved = e.compare(Compare::ne, pivot, 0.0);
    if (!corner || !moved)
      return;
    det = e.mul(det, e.select(moved, e.negate(corner), corner));
    if (left == 1)
      break;
    // The old first row stands where the pivot was.
    Tensor number = e.reshape(e.iota(e.dim(left), e.i64()), e.dims({1, left, 1}));
    Tensor exchanged =
        e.select(e.compare(Compare::eq, number, e.reshape(pivot, {flat[0], e.dim(1), e.dim(1)})), old, a);
    Tensor rest = e.sliceAxis(exchanged, 1, e.dim(1), e.dim(left - 1));
    // A pivot of 0 leaves a column of zeros; nothing is to be taken away.
    Tensor divisor = e.select(e.compare(Compare::eq, corner, 0.0), e.splat(1, corner.dtype()), corner);
    Tensor factor = e.div(e.sliceAxis(rest, 2, e.dim(0), e.dim(1)), e.reshape(divisor, {flat[0], e.dim(1), e.dim(1)}));
    Tensor less = e.sub(rest, e.mul(factor, top));
    a = e.sliceAxis(less, 2, e.dim(1), e.dim(left - 1));
  }
  n.give(e.cast(e.reshape(det, outer), x.dtype()));
}

void addImages(BinderTable &table) {
  table["CenterCropPad"] = bindCenterCropPad;
  table["Col2Im"] = bindCol2Im;
  table["Det"] = bindDet;
  table["MaxUnpool"] = bindMaxUnpool;
}

} // namespace mlc::onnx
