//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// RNN, LSTM, GRU: one graph.recurrent for each direction.
//
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Import/ONNX/GraphImporter.h"

using namespace mlir;

namespace mlc::onnx {

/// The cell that the activations of every direction make; nullopt when they are not its own.
static std::optional<graph::Cell> cellOf(graph::Cell cell, ArrayRef<std::string> activations, size_t directions) {
  static const char *lstm[] = {"sigmoid", "tanh", "tanh"}, *gru[] = {"sigmoid", "tanh"};
  SmallVector<std::string> names;
  for (const std::string &name : activations)
    names.push_back(StringRef(name).lower());
  auto repeats = [&](ArrayRef<const char *> expected) {
    if (names.size() != expected.size() * directions)
      return false;
    for (size_t i = 0; i < names.size(); ++i)
      if (names[i] != expected[i % expected.size()])
        return false;
    return true;
  };
  if (cell == graph::Cell::lstm)
    return repeats(lstm) ? std::optional(cell) : std::nullopt;
  if (cell == graph::Cell::gru)
    return repeats(gru) ? std::optional(cell) : std::nullopt;
  if (repeats({"relu"}))
    return graph::Cell::rnn_relu;
  return repeats({"tanh"}) ? std::optional(cell) : std::nullopt;
}

template <graph::Cell kind, int64_t gates> static void bindRecurrent(Node &n) {
  Emitter &e = n.e;
  OpBuilder &b = e.builder;
  graph::Cell cell = kind;
  constexpr bool lstm = kind == graph::Cell::lstm;
  Tensor x = n.in(0), w = n.in(1), r = n.in(2), bias = n.optional(3), lengths = n.optional(4), h0 = n.optional(5);
  Tensor c0 = lstm ? n.optional(6) : Tensor(), peepholes = lstm ? n.optional(7) : Tensor();
  std::string direction = n.stringAttr("direction", "forward");
  bool batchFirst = n.version >= 14 && n.intAttr("layout", 0);
  if (n.hasAttr("clip"))
    return n.fail("clips its gates, which is not supported");
  if (lstm && n.intAttr("input_forget", 0))
    return n.fail("couples input and forget gate, which is not supported");
  if (n.version < 7)
    n.ignore("output_sequence");
  if (kind == graph::Cell::gru && n.intAttr("linear_before_reset", 0) == 0)
    cell = graph::Cell::gru_reset_first;
  if (!x || !w || !r)
    return;
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional")
    return n.fail("has an unknown direction " + quoted(direction));
  size_t directions = direction == "bidirectional" ? 2 : 1;
  if (n.hasAttr("activation_alpha") || n.hasAttr("activation_beta"))
    return n.fail("gives its activations parameters, which is not supported");
  if (std::optional<SmallVector<std::string>> activations = n.stringsAttr("activations")) {
    std::optional<graph::Cell> found = cellOf(kind, *activations, directions);
    if (!found)
      return n.fail("has activations that are not supported");
    if (kind == graph::Cell::rnn)
      cell = *found;
  }
  std::optional<Ints> shapeR = e.staticShape(r, "R");
  if (!shapeR || x.rank() != 3 || w.rank() != 3 || shapeR->size() != 3 || !x.isFloat() ||
      (*shapeR)[0] != int64_t(directions) || (*shapeR)[1] != gates * (*shapeR)[2] || (*shapeR)[2] < 1)
    return n.fail("takes x [steps, batch, inputs] and R [directions, gates * hidden, hidden] of floats");
  int64_t hidden = (*shapeR)[2];
  if (n.intAttr("hidden_size", hidden) != hidden)
    return n.fail("has another hidden_size than R");
  if (batchFirst) {
    x = e.transpose(x, {1, 0, 2});
    h0 = e.transpose(h0, {1, 0, 2});
    c0 = e.transpose(c0, {1, 0, 2});
  }
  Dim steps = x.shape[0], batch = x.shape[1];
  DType type = x.dtype();
  if (lengths)
    lengths = e.cast(lengths, {b.getI32Type()});
  // Row `d` of the directions, checked against `shape`.
  auto piece = [&](const Tensor &all, size_t d, Dims shape, const char *name) -> Tensor {
    if (!all)
      return {};
    Dims whole = {e.dim(int64_t(directions))};
    whole.append(shape.begin(), shape.end());
    if (all.shape != whole || all.dtype() != type)
      return e.fail(Twine("has ") + name + " of shape " + Emitter::text(all.shape) + ", not " + Emitter::text(whole));
    return e.reshape(e.sliceAxis(all, 0, e.dim(int64_t(d)), e.dim(1)), shape);
  };
  SmallVector<Tensor> ys, hs, cs;
  for (size_t d = 0; d < directions; ++d) {
    Dim h = e.dim(hidden), gh = e.dim(gates * hidden);
    Tensor wd = piece(w, d, {gh, x.shape[2]}, "W"), rd = piece(r, d, {gh, h}, "R");
    Tensor bd = bias ? piece(bias, d, {gh * 2}, "B") : e.splat(0, type, gh * 2);
    Tensor hd = h0 ? piece(h0, d, {batch, h}, "initial_h") : e.splat(0, type, {batch, h});
    Tensor cd, pd = piece(peepholes, d, {h * 3}, "P");
    if (lstm)
      cd = c0 ? piece(c0, d, {batch, h}, "initial_c") : e.splat(0, type, {batch, h});
    if (e.failed())
      return;
    RankedTensorType stateType = e.typeOf({batch, h}, type.type);
    auto op = b.create<graph::RecurrentOp>(
        e.loc, e.typeOf({steps, batch, h}, type.type), stateType, lstm ? Type(stateType) : Type(), x.value, wd.value,
        rd.value, bd.value, hd.value, cd.value, pd.value, lengths.value, cell, direction == "reverse" || d == 1);
    // [steps, 1, batch, hidden] and [1, batch, hidden].
    ys.push_back(e.unsqueeze({op.getY(), {steps, batch, h}}, 1));
    hs.push_back(e.unsqueeze({op.getH(), {batch, h}}, 0));
    if (lstm)
      cs.push_back(e.unsqueeze({op.getC(), {batch, h}}, 0));
  }
  Tensor y = e.concat(ys, 1), h = e.concat(hs, 0), c = lstm ? e.concat(cs, 0) : Tensor();
  if (batchFirst) {
    y = e.transpose(y, {2, 0, 1, 3});
    h = e.transpose(h, {1, 0, 2});
    c = e.transpose(c, {1, 0, 2});
  }
  n.give({y, h});
  if (lstm)
    n.give(c);
}

void addRecurrent(BinderTable &table) {
  table["GRU"] = bindRecurrent<graph::Cell::gru, 3>;
  table["LSTM"] = bindRecurrent<graph::Cell::lstm, 4>;
  table["RNN"] = bindRecurrent<graph::Cell::rnn, 1>;
}

} // namespace mlc::onnx
