//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Operators that move values without changing them.
//
#include "compiler/Import/ONNX/GraphImporter.h"

using namespace mlir;

namespace mlc::onnx {

//===--- Views ---===//

static void bindReshape(Node &n) {
  Emitter &e = n.e;
  n.ignore("consumed_inputs");
  Tensor x = n.in(0);
  bool zeroIsZero = n.intAttr("allowzero", 0);
  std::optional<Dims> wanted;
  if (n.version < 5) {
    if (std::optional<Ints> shape = n.intsAttr("shape"))
      wanted = e.dims(*shape);
  } else {
    wanted = n.extents(1);
  }
  if (!x)
    return;
  if (!wanted)
    return n.fail("needs a shape");
  std::optional<size_t> open;
  for (size_t i = 0; i < wanted->size(); ++i) {
    std::optional<int64_t> value = e.constant((*wanted)[i]);
    if (value == 0 && !zeroIsZero) {
      if (i >= x.shape.size())
        return n.fail("copies an axis that its input lacks");
      (*wanted)[i] = x.shape[i];
    } else if (value == -1 && !open) {
      open = i;
    } else if (value && *value < 0) {
      return n.fail("has a shape with a negative extent");
    }
  }
  if (open) {
    // What both shapes have cancels; the rest is divided.
    Dims rest = x.shape, others;
    for (size_t i = 0; i < wanted->size(); ++i) {
      if (i == *open)
        continue;
      auto *found = llvm::find(rest, (*wanted)[i]);
      if (found != rest.end())
        rest.erase(found);
      else
        others.push_back((*wanted)[i]);
    }
    Dim have = e.product(rest), need = e.product(others);
    if (e.constant(need) == 0 || (e.constant(have) && e.constant(need) && *e.constant(have) % *e.constant(need)))
      return n.fail("cannot make " + Emitter::text(x.shape) + " into its shape");
    (*wanted)[*open] = have.floorDiv(need);
  }
  n.give(e.reshape(x, *wanted));
}

static void bindFlatten(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  if (!x)
    return;
  int64_t axis = n.intAttr("axis", 1);
  axis = axis == x.rank() ? axis : n.axis(axis, x.rank());
  ArrayRef<Dim> shape = x.shape;
  if (!e.failed())
    n.give(e.reshape(x, {e.product(shape.take_front(axis)), e.product(shape.drop_front(axis))}));
}

static void bindSqueeze(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  if (!x)
    return;
  std::optional<Ints> axes = n.axesArgument(1, 13, x.rank());
  if (!axes && !e.failed()) {
    axes.emplace();
    for (int64_t axis = 0; axis < x.rank(); ++axis)
      if (e.constant(x.shape[axis]) == 1)
        axes->push_back(axis);
  }
  if (axes)
    n.give(e.squeeze(x, *axes));
}
static void bindUnsqueeze(Node &n) {
  Tensor x = n.in(0);
  if (!x)
    return;
  std::optional<Ints> given = n.version < 13 ? n.intsAttr("axes") : n.constantInts(1);
  if (!given)
    return n.fail("needs axes");
  if (std::optional<Ints> axes = n.axes(*given, x.rank() + int64_t(given->size())))
    n.give(n.e.unsqueeze(x, *axes));
}

static void bindTranspose(Node &n) {
  Tensor x = n.in(0);
  if (!x)
    return;
  Ints reversed(llvm::reverse(llvm::to_vector(llvm::seq<int64_t>(0, x.rank()))));
  Ints given = n.intsAttr("perm").value_or(reversed);
  std::optional<Ints> permutation = n.axes(given, x.rank());
  if (permutation && int64_t(permutation->size()) != x.rank())
    return n.fail("has a perm of another rank than its input");
  if (permutation)
    n.give(n.e.transpose(x, *permutation));
}

//===--- Pieces ---===//

static void bindConcat(Node &n) {
  SmallVector<Tensor> tensors;
  for (size_t i = 0; i < n.inputs(); ++i)
    tensors.push_back(n.in(i));
  if (n.e.failed() || tensors.empty())
    return n.fail("needs an input");
  if (n.version >= 4 && !n.hasAttr("axis"))
    return n.fail("needs an axis");
  int64_t axis = n.axis(n.intAttr("axis", 1), tensors.front().rank());
  if (!n.e.failed())
    n.give(n.e.concat(tensors, axis));
}

static void bindSplit(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  if (!x)
    return;
  int64_t axis = n.axis(n.intAttr("axis", 0), x.rank());
  std::optional<Ints> pieces;
  if (n.version < 13)
    pieces = n.intsAttr("split");
  if ((n.version == 1 || n.version >= 13) && n.has(1))
    pieces = n.constantInts(1);
  int64_t count = n.version >= 18 ? n.intAttr("num_outputs", int64_t(n.outputs())) : int64_t(n.outputs());
  if (e.failed())
    return;
  std::optional<int64_t> extent = e.constant(x.shape[axis]);
  if (!pieces) {
    if (!extent || count < 1 || count > int64_t(n.outputs()))
      return n.fail("needs its pieces' sizes, or a fixed extent and one output for each piece");
    int64_t each = (*extent + count - 1) / count;
    if (n.version < 18 && *extent % count)
      return n.fail("cannot cut " + Twine(*extent) + " into " + Twine(count) + " equal pieces");
    pieces.emplace();
    for (int64_t i = 0; i < count; ++i)
      pieces->push_back(std::max<int64_t>(0, std::min(each, *extent - i * each)));
  }
  int64_t begin = 0;
  for (int64_t size : *pieces) {
    if (size < 0 || __builtin_add_overflow(begin, size, &begin))
      return n.fail("has a piece of a negative size");
  }
  if (extent && begin != *extent)
    return n.fail("has pieces of " + Twine(begin) + " together, its axis " + Twine(*extent));
  begin = 0;
  for (int64_t size : *pieces) {
    n.give(e.sliceAxis(x, axis, e.dim(begin), e.dim(size)));
    begin += size;
  }
}

static void bindSlice(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  if (!x)
    return;
  std::optional<Ints> starts, ends, axes, steps;
  if (n.version < 10) {
    starts = n.intsAttr("starts");
    ends = n.intsAttr("ends");
    axes = n.intsAttr("axes");
  } else {
    starts = n.constantInts(1);
    ends = n.constantInts(2);
    if (n.has(3))
      axes = n.constantInts(3);
    if (n.has(4))
      steps = n.constantInts(4);
  }
  if (e.failed() || !starts || !ends)
    return n.fail("needs starts and ends");
  if (!axes)
    axes = llvm::to_vector<4>(llvm::seq<int64_t>(0, int64_t(starts->size())));
  axes = n.axes(*axes, x.rank());
  if (!axes || starts->size() != axes->size() || ends->size() != axes->size() ||
      (steps && steps->size() != axes->size()))
    return n.fail("needs a start, an end and a step for each axis");
  Dims from(x.rank(), e.dim(0)), sizes = x.shape;
  Ints strides(x.rank(), 1);
  SmallVector<int64_t> backwards; // Axes that are walked from behind.
  for (size_t i = 0; i < axes->size(); ++i) {
    int64_t axis = (*axes)[i], start = (*starts)[i], end = (*ends)[i], step = steps ? (*steps)[i] : 1;
    Dim extent = x.shape[axis];
    if (step == 0)
      return n.fail("has a step of 0");
    if (std::optional<int64_t> size = e.constant(extent)) {
      int64_t low = step > 0 ? 0 : -1, high = step > 0 ? *size : *size - 1;
      auto clamp = [&](int64_t at) { return std::clamp(at < 0 ? std::max(at, -*size - 1) + *size : at, low, high); };
      start = clamp(start);
      end = clamp(end);
      step = std::clamp(step, -(int64_t(1) << 40), int64_t(1) << 40);
      int64_t count = step > 0 ? (end - start + step - 1) / step : (start - end - step - 1) / -step;
      count = std::max<int64_t>(0, count);
      sizes[axis] = e.dim(count);
      if (step < 0) {
        // The same elements forwards, then turned round.
        start = count ? start + (count - 1) * step : 0;
        backwards.push_back(axis);
      }
      from[axis] = e.dim(count ? start : 0);
      strides[axis] = step < 0 ? -step : step;
      continue;
    }
    // A symbolic extent is as long as the slice needs it; runs check.
    if (step != 1)
      return n.fail("takes steps along an axis whose extent is not fixed");
    from[axis] = start < 0 ? extent + start : e.dim(start);
    Dim behind = end < 0 ? extent + end : end >= INT32_MAX ? extent : e.dim(end);
    if (e.constant(behind) && start >= 0 && end < start)
      return n.fail("ends before it starts");
    sizes[axis] = behind - from[axis];
  }
  Tensor result = e.slice(x, from, sizes, strides);
  if (result && !backwards.empty()) {
    Tensor source = result;
    result = e.generate(sizes, x.dtype(), [&](OpBuilder &body, ArrayRef<Value> indices) {
      SmallVector<Value> at(indices);
      for (int64_t axis : backwards)
        at[axis] = body.create<arith::SubIOp>(e.loc, e.constantIndex(body, *e.constant(sizes[axis]) - 1), at[axis]);
      return e.at(body, source, at);
    });
  }
  n.give(result);
}

static void bindExpand(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  std::optional<Dims> wanted = n.extents(1);
  if (!x || !wanted)
    return;
  if (std::optional<Dims> result = e.broadcastShape(x.shape, *wanted))
    n.give(e.broadcast(x, *result));
}

/// result[i...] = x[i mod extent, ...].
static void bindTile(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  if (n.version < 6)
    return n.fail("of opset " + Twine(n.version) + " is not supported");
  std::optional<Ints> repeats = n.constantInts(1);
  if (!x || !repeats)
    return;
  if (int64_t(repeats->size()) != x.rank())
    return n.fail("needs as many repeats as axes");
  Dims shape;
  SmallVector<Value> extents;
  for (auto [extent, times] : llvm::zip_equal(x.shape, *repeats)) {
    if (times < 0 || times > (int64_t(1) << 31))
      return n.fail("repeats an axis an impossible number of times");
    shape.push_back(extent * times);
    extents.push_back(e.index(extent));
  }
  n.give(e.generate(shape, x.dtype(), [&](OpBuilder &body, ArrayRef<Value> indices) {
    SmallVector<Value> at;
    for (auto [index, extent] : llvm::zip_equal(indices, extents))
      at.push_back(body.create<arith::RemSIOp>(e.loc, index, extent));
    return e.at(body, x, at);
  }));
}

//===--- Padding ---===//

static void bindPad(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  std::string mode = n.stringAttr("mode", "constant");
  if (!x)
    return;
  std::optional<Ints> pads, axes;
  Tensor value = e.splat(0, x.dtype());
  if (n.version < 11) {
    pads = n.intsAttr(n.version < 2 ? "paddings" : "pads");
    value = e.splat(n.floatAttr("value", 0), x.dtype());
  } else {
    pads = n.constantInts(1);
    if (n.has(2))
      value = n.in(2);
    if (n.version >= 18 && n.has(3))
      if (std::optional<Ints> given = n.constantInts(3))
        axes = n.axes(*given, x.rank());
  }
  if (e.failed() || !pads)
    return n.fail("needs pads");
  if (!axes)
    axes = llvm::to_vector<4>(llvm::seq<int64_t>(0, x.rank()));
  if (pads->size() != 2 * axes->size())
    return n.fail("needs two pads for each axis");
  Ints before(x.rank(), 0), behind(x.rank(), 0);
  for (size_t i = 0; i < axes->size(); ++i) {
    before[(*axes)[i]] = (*pads)[i];
    behind[(*axes)[i]] = (*pads)[i + axes->size()];
  }
  for (int64_t pad : *pads)
    if (pad < -(int64_t(1) << 31) || pad > int64_t(1) << 31)
      return n.fail("pads by an impossible amount");
  if (mode == "constant")
    return n.give(e.pad(x, e.dims(before), e.dims(behind), value));
  if (mode != "edge" && mode != "reflect" && mode != "wrap")
    return n.fail("has an unknown mode " + quoted(mode));
  std::optional<Ints> extents = e.staticShape(x, "mode " + mode);
  if (!extents)
    return;
  Dims shape;
  for (auto [extent, a, b] : llvm::zip_equal(*extents, before, behind)) {
    if (extent + a + b < 0 || (extent < 1 && extent + a + b > 0))
      return n.fail("cuts off more than there is, or pads an empty axis");
    shape.push_back(e.dim(extent + a + b));
  }
  n.give(e.generate(shape, x.dtype(), [&](OpBuilder &body, ArrayRef<Value> indices) {
    Location loc = e.loc;
    SmallVector<Value> at;
    for (auto [axis, index] : llvm::enumerate(indices)) {
      int64_t extent = (*extents)[axis];
      Value zero = e.constantIndex(body, 0), last = e.constantIndex(body, extent - 1);
      Value i = body.create<arith::SubIOp>(loc, index, e.constantIndex(body, before[axis]));
      if (mode == "edge") {
        i = body.create<arith::MinSIOp>(loc, body.create<arith::MaxSIOp>(loc, i, zero), last);
      } else {
        // Into one period, which begins at 0; a reflection's second half runs backwards.
        int64_t period = mode == "wrap" ? extent : std::max<int64_t>(1, 2 * (extent - 1));
        Value length = e.constantIndex(body, period);
        i = body.create<arith::RemSIOp>(loc, i, length);
        Value negative = body.create<arith::CmpIOp>(loc, arith::CmpIPredicate::slt, i, zero);
        i = body.create<arith::SelectOp>(loc, negative, body.create<arith::AddIOp>(loc, i, length), i);
        if (mode == "reflect") {
          Value back = body.create<arith::CmpIOp>(loc, arith::CmpIPredicate::sgt, i, last);
          i = body.create<arith::SelectOp>(loc, back, body.create<arith::SubIOp>(loc, length, i), i);
        }
      }
      at.push_back(i);
    }
    return e.at(body, x, at);
  }));
}

//===--- Blocks ---===//

static void bindDepthToSpace(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  int64_t block = n.intAttr("blocksize", 0);
  std::string mode = n.stringAttr("mode", "DCR");
  std::optional<Ints> shape;
  if (!x || x.rank() != 4 || !(shape = e.staticShape(x, "it")))
    return n.fail("takes four axes");
  auto [b, c, h, w] = std::array<int64_t, 4>{(*shape)[0], (*shape)[1], (*shape)[2], (*shape)[3]};
  if (block < 1 || block > 1 << 15 || c % (block * block) || (mode != "DCR" && mode != "CRD"))
    return n.fail("needs a blocksize whose square divides the channels, and mode DCR or CRD");
  int64_t rest = c / (block * block);
  Tensor parts = mode == "DCR" ? e.reshape(x, e.dims({b, block, block, rest, h, w}))
                               : e.reshape(x, e.dims({b, rest, block, block, h, w}));
  parts = mode == "DCR" ? e.transpose(parts, {0, 3, 4, 1, 5, 2}) : e.transpose(parts, {0, 1, 4, 2, 5, 3});
  n.give(e.reshape(parts, e.dims({b, rest, h * block, w * block})));
}
static void bindSpaceToDepth(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  int64_t block = n.intAttr("blocksize", 0);
  std::optional<Ints> shape;
  if (!x || x.rank() != 4 || !(shape = e.staticShape(x, "it")))
    return n.fail("takes four axes");
  auto [b, c, h, w] = std::array<int64_t, 4>{(*shape)[0], (*shape)[1], (*shape)[2], (*shape)[3]};
  std::string mode = n.stringAttr("mode", "DCR");
  if (block < 1 || block > 1 << 15 || h % block || w % block || (mode != "DCR" && mode != "CRD"))
    return n.fail("needs a blocksize that divides height and width, and mode DCR or CRD");
  Tensor parts = e.reshape(x, e.dims({b, c, h / block, block, w / block, block}));
  parts = mode == "DCR" ? e.transpose(parts, {0, 3, 5, 1, 2, 4}) : e.transpose(parts, {0, 1, 3, 5, 2, 4});
  n.give(e.reshape(parts, e.dims({b, c * block * block, h / block, w / block})));
}

void addShapes(BinderTable &table) {
  table["Concat"] = bindConcat;
  table["DepthToSpace"] = bindDepthToSpace;
  table["Expand"] = bindExpand;
  table["Flatten"] = bindFlatten;
  table["Pad"] = bindPad;
  table["Reshape"] = bindReshape;
  table["Slice"] = bindSlice;
  table["SpaceToDepth"] = bindSpaceToDepth;
  table["Split"] = bindSplit;
  table["Squeeze"] = bindSqueeze;
  table["Tile"] = bindTile;
  table["Transpose"] = bindTranspose;
  table["Unsqueeze"] = bindUnsqueeze;
}

} // namespace mlc::onnx
