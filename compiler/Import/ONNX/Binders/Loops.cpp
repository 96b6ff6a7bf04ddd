//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Loop and Scan. A body is written first, in a region of its own: what it gives says what the loop around it carries.
//
#include "compiler/Import/ONNX/GraphImporter.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace mlc::onnx {
namespace {

/// A body in a region of its own.
struct Body {
  Region region;
  SmallVector<Tensor> results;

  Block &block() { return region.front(); }
  /// Appends the ops to `to`, whose `arguments` stand for the block's own.
  void moveTo(Block &to, ValueRange arguments) {
    for (Tensor &result : results)
      if (auto argument = dyn_cast<BlockArgument>(result.value); argument && argument.getOwner() == &block())
        result.value = arguments[argument.getArgNumber()];
    for (auto [own, other] : llvm::zip_equal(block().getArguments(), arguments))
      own.replaceAllUsesWith(other);
    to.getOperations().splice(to.end(), block().getOperations());
  }
};

/// A result of the body that is kept for every step, along `axis`.
struct Collected {
  int64_t axis = 0;
  bool reverse = false;
};

/// What the subgraph takes, from the step's index and what is carried.
using Arguments = llvm::function_ref<SmallVector<Tensor>(Value index, ArrayRef<Tensor> carried)>;

} // namespace

/// Whether an extent is a symbol that stands inside the body, from `first` on.
static bool isInner(ArrayRef<Dim> shape, size_t first) {
  bool inner = false;
  for (Dim extent : shape)
    extent.walk([&](AffineExpr expr) {
      if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
        inner |= symbol.getPosition() >= first;
    });
  return inner;
}

/// Writes the body of `graph`: `carried` are its block's arguments behind the index. `fixed` of its results, the first
/// `skipped` left out, are what is carried to the next step. False after a failure.
static bool writeBody(Node &n, const ::onnx::GraphProto &graph, ArrayRef<Tensor> carried, Arguments arguments,
                      size_t skipped, size_t fixed, Body &body) {
  Emitter &e = n.e;
  OpBuilder::InsertionGuard guard(e.builder);
  SmallVector<Type> types = {e.builder.getIndexType()};
  for (const Tensor &tensor : carried)
    types.push_back(tensor.value.getType());
  Block *block = e.builder.createBlock(&body.region, {}, types, SmallVector<Location>(types.size(), e.loc));
  SmallVector<Tensor> inside;
  for (auto [tensor, argument] : llvm::zip_equal(carried, block->getArguments().drop_front()))
    inside.push_back(e.like(tensor, argument));
  size_t symbols = e.symbols.size();
  auto results = n.importer.importSubgraph(graph, n.scope, arguments(block->getArgument(0), inside));
  if (!results)
    return false;
  body.results = std::move(*results);
  // A condition may be a vector of one.
  if (skipped && !body.results.empty())
    body.results[0] = e.reshape(body.results[0], {});
  if (e.failed())
    return false;
  if (body.results.size() < skipped + fixed)
    return n.fail("has a body of too few outputs"), false;
  ArrayRef<Tensor> kept = ArrayRef<Tensor>(carried).take_back(fixed);
  for (size_t i = 0; i < fixed; ++i)
    if (body.results[skipped + i].shape != kept[i].shape || body.results[skipped + i].dtype() != kept[i].dtype())
      return n.fail("carries value " + Twine(i) + ", whose type or shape changes from " + Emitter::text(kept[i].shape) +
                    " to " + Emitter::text(body.results[skipped + i].shape)),
             false;
  for (const Tensor &result : ArrayRef<Tensor>(body.results).drop_front(skipped + fixed))
    if (isInner(result.shape, symbols))
      return n.fail("collects values whose shape differs from step to step"), false;
  return true;
}

/// A loop of `count` steps: the last values of what is carried, then what is collected. The body's first `skipped`
/// results are dropped.
static SmallVector<Tensor> countedLoop(Node &n, const ::onnx::GraphProto &graph, Dim count, ArrayRef<Tensor> carried,
                                       Arguments arguments, size_t skipped, ArrayRef<Collected> collected) {
  Emitter &e = n.e;
  OpBuilder &b = e.builder;
  Body body;
  if (!writeBody(n, graph, carried, arguments, skipped, carried.size(), body))
    return {};
  ArrayRef<Tensor> gathered = ArrayRef<Tensor>(body.results).drop_front(skipped + carried.size());
  if (gathered.size() != collected.size())
    return n.fail("has a body of another number of outputs"), SmallVector<Tensor>();
  SmallVector<Tensor> all(carried);
  for (auto [tensor, how] : llvm::zip_equal(gathered, collected)) {
    Dims shape = tensor.shape;
    int64_t axis = n.axis(how.axis, tensor.rank() + 1);
    shape.insert(shape.begin() + axis, count);
    all.push_back(e.empty(shape, tensor.dtype()));
  }
  if (e.failed())
    return {};
  SmallVector<Value> inits;
  for (const Tensor &tensor : all)
    inits.push_back(tensor.value);
  Value steps = e.index(count), zero = e.constantIndex(b, 0), one = e.constantIndex(b, 1);
  auto op = b.create<scf::ForOp>(e.loc, zero, steps, one, inits);
  if (inits.empty())
    op.getBody()->clear();
  SmallVector<Value> outer = {op.getInductionVar()};
  llvm::append_range(outer, op.getRegionIterArgs().take_front(carried.size()));
  body.moveTo(*op.getBody(), outer);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(op.getBody());
  SmallVector<Value> next;
  for (size_t i = 0; i < carried.size(); ++i)
    next.push_back(body.results[skipped + i].value);
  for (auto [i, how] : llvm::enumerate(collected)) {
    const Tensor &into = all[carried.size() + i];
    Value at = op.getInductionVar();
    if (how.reverse)
      at = b.create<arith::SubIOp>(e.loc, b.create<arith::SubIOp>(e.loc, steps, e.constantIndex(b, 1)), at);
    Tensor here = e.like(into, op.getRegionIterArg(unsigned(carried.size() + i)));
    next.push_back(e.insertAt(body.results[skipped + carried.size() + i], here,
                              how.axis < 0 ? how.axis + into.rank() : how.axis, at)
                       .value);
  }
  b.create<scf::YieldOp>(e.loc, next);
  SmallVector<Tensor> results;
  for (auto [tensor, result] : llvm::zip_equal(all, op.getResults()))
    results.push_back(e.like(tensor, result));
  return results;
}

//===--- Loop ---===//

/// Whether the body hands its condition on, or gives true.
static bool keepsCondition(const ::onnx::GraphProto &body) {
  std::string name = body.output_size() ? body.output(0).name() : "";
  for (int steps = 0; steps < 8; ++steps) {
    if (body.input_size() > 1 && body.input(1).name() == name)
      return true;
    const ::onnx::NodeProto *from = nullptr;
    for (const auto &node : body.node())
      for (const auto &output : node.output())
        if (output == name)
          from = &node;
    if (!from)
      return false;
    if (from->op_type() == "Constant" && from->attribute_size() == 1 && from->attribute(0).has_t()) {
      const auto &value = from->attribute(0).t();
      return value.data_type() == ::onnx::TensorProto::BOOL && value.dims_size() <= 1 &&
             (value.int32_data_size() == 1 ? value.int32_data(0) != 0
                                           : value.raw_data().size() == 1 && value.raw_data()[0] != 0);
    }
    if (from->op_type() != "Identity" || !from->input_size())
      return false;
    name = from->input(0);
  }
  return false;
}

/// With a condition that the body changes: what is collected grows by one each step.
static SmallVector<Tensor> conditionalLoop(Node &n, const ::onnx::GraphProto &graph, Value most,
                                           const Tensor &condition, ArrayRef<Tensor> states) {
  Emitter &e = n.e;
  OpBuilder &b = e.builder;
  Body body;
  SmallVector<Tensor> carried = {condition};
  llvm::append_range(carried, states);
  auto arguments = [&](Value index, ArrayRef<Tensor> inside) {
    SmallVector<Tensor> all = {e.fromIndex(index)};
    llvm::append_range(all, inside);
    return all;
  };
  if (!writeBody(n, graph, carried, arguments, 1, states.size(), body))
    return {};
  if (!body.results[0].dtype().isBool())
    return n.fail("has a body whose condition is not bool"), SmallVector<Tensor>();
  body.results[0] = e.like(condition, body.results[0].value);
  ArrayRef<Tensor> gathered = ArrayRef<Tensor>(body.results).drop_front(carried.size());
  SmallVector<Value> inits = {e.constantIndex(b, 0)};
  for (const Tensor &tensor : carried)
    inits.push_back(tensor.value);
  for (const Tensor &tensor : gathered) {
    SmallVector<OpFoldResult> sizes = {OpFoldResult(Value(inits.front()))};
    for (Dim extent : tensor.shape)
      sizes.push_back(e.size(extent));
    inits.push_back(b.create<tensor::EmptyOp>(e.loc, sizes, tensor.dtype().type));
  }
  SmallVector<Type> types;
  for (Value init : inits)
    types.push_back(init.getType());
  SmallVector<Location> locations(types.size(), e.loc);
  auto op = b.create<scf::WhileOp>(e.loc, types, inits);
  OpBuilder::InsertionGuard guard(b);
  Block *before = b.createBlock(&op.getBefore(), {}, types, locations);
  Tensor flag = e.reshape(e.like(condition, before->getArgument(1)), {});
  if (!flag)
    return {};
  Value go = b.create<tensor::ExtractOp>(e.loc, flag.value, ValueRange());
  if (most)
    go = b.create<arith::AndIOp>(
        e.loc, go, b.create<arith::CmpIOp>(e.loc, arith::CmpIPredicate::slt, before->getArgument(0), most));
  b.create<scf::ConditionOp>(e.loc, go, before->getArguments());
  Block *after = b.createBlock(&op.getAfter(), {}, types, locations);
  body.moveTo(*after, after->getArguments().take_front(1 + carried.size()));
  b.setInsertionPointToEnd(after);
  Value index = after->getArgument(0);
  SmallVector<Value> next = {b.create<arith::AddIOp>(e.loc, index, e.constantIndex(b, 1))};
  for (size_t i = 0; i < carried.size(); ++i)
    next.push_back(body.results[i].value);
  for (size_t i = carried.size(); i < body.results.size(); ++i) {
    const Tensor &item = body.results[i];
    SmallVector<OpFoldResult> sizes = {OpFoldResult(next.front())}, zeros(size_t(item.rank() + 1), b.getIndexAttr(0)),
                              ones(zeros.size(), b.getIndexAttr(1));
    for (Dim extent : item.shape)
      sizes.push_back(e.size(extent));
    Value grown = b.create<tensor::EmptyOp>(e.loc, sizes, item.dtype().type);
    sizes.front() = index;
    grown = b.create<tensor::InsertSliceOp>(e.loc, after->getArgument(unsigned(i + 1)), grown, zeros, sizes, ones);
    SmallVector<OpFoldResult> place = zeros;
    place.front() = index;
    sizes.front() = b.getIndexAttr(1);
    next.push_back(b.create<tensor::InsertSliceOp>(e.loc, item.value, grown, place, sizes, ones));
  }
  b.create<scf::YieldOp>(e.loc, next);
  SmallVector<Tensor> results;
  for (auto [i, state] : llvm::enumerate(states))
    results.push_back(e.like(state, op.getResult(unsigned(i + 2))));
  Dim steps = e.symbol(op.getResult(0));
  for (size_t i = carried.size(); i < body.results.size(); ++i) {
    Dims shape = body.results[i].shape;
    shape.insert(shape.begin(), steps);
    results.push_back({op.getResult(unsigned(i + 1)), shape, body.results[i].isUnsigned});
  }
  return results;
}

static void bindLoop(Node &n) {
  Emitter &e = n.e;
  OpBuilder &b = e.builder;
  const ::onnx::GraphProto *graph = n.graphAttr("body");
  if (!graph)
    return n.fail("needs a body");
  SmallVector<Tensor> states;
  for (size_t i = 2; i < n.inputs(); ++i)
    states.push_back(n.in(i));
  Tensor trips = n.optional(0), condition = n.optional(1);
  if (e.failed())
    return;
  if (trips && !trips.dtype().isInteger())
    return n.fail("has a trip count that is no integer");
  if (condition && !condition.dtype().isBool())
    return n.fail("has a condition that is not bool");
  if (graph->output_size() < int(states.size()) + 1)
    return n.fail("has a body of too few outputs");
  std::optional<Ints> count = trips ? n.importer.constantInts(trips) : std::nullopt;
  std::optional<Ints> starts = condition ? n.importer.constantInts(condition) : Ints{1};
  if ((count && count->size() != 1) || (starts && starts->size() != 1))
    return n.fail("takes scalars as trip count and condition");
  size_t collected = size_t(graph->output_size()) - states.size() - 1;
  if (!trips || !keepsCondition(*graph)) {
    if (!trips && starts && keepsCondition(*graph) && starts->front())
      return n.fail("never ends");
    Tensor first = condition ? e.reshape(condition, {}) : e.splat(1, e.boolean());
    if (!first)
      return;
    Value most = trips ? e.indexOf(trips) : Value();
    return n.give(conditionalLoop(n, *graph, most, first, states));
  }
  Dim steps = e.dim(0);
  if (count && starts) {
    steps = e.dim(starts->front() ? std::max<int64_t>(0, count->front()) : 0);
  } else {
    Value number = b.create<arith::MaxSIOp>(e.loc, e.indexOf(trips), e.constantIndex(b, 0));
    if (condition) {
      Tensor flag = e.reshape(condition, {});
      if (!flag)
        return;
      number = b.create<arith::SelectOp>(e.loc, b.create<tensor::ExtractOp>(e.loc, flag.value, ValueRange()), number,
                                         e.constantIndex(b, 0));
    }
    steps = e.symbol(number);
  }
  auto arguments = [&](Value index, ArrayRef<Tensor> inside) {
    SmallVector<Tensor> all = {e.fromIndex(index), e.splat(1, e.boolean())};
    llvm::append_range(all, inside);
    return all;
  };
  n.give(countedLoop(n, *graph, steps, states, arguments, 1, SmallVector<Collected>(collected)));
}

//===--- Scan ---===//

static void bindScan(Node &n) {
  Emitter &e = n.e;
  const ::onnx::GraphProto *graph = n.graphAttr("body");
  int64_t scanned = n.intAttr("num_scan_inputs", 0);
  bool batched = n.version < 9;
  size_t first = batched ? 1 : 0;
  if (!graph || scanned < 1 || n.inputs() < first + size_t(scanned))
    return n.fail("needs a body and inputs to scan");
  if (batched && n.has(0))
    return n.fail("has sequences of different lengths, which is not supported");
  size_t states = n.inputs() - first - size_t(scanned), results = size_t(graph->output_size());
  if (results < states)
    return n.fail("has a body of too few outputs");
  size_t collected = results - states;
  auto list = [&](StringRef name, size_t count) {
    Ints values = n.intsAttr(name).value_or(Ints(count, 0));
    if (values.size() != count)
      n.fail("has another number of " + name + " than it scans");
    values.resize(count);
    return values;
  };
  Ints axes, directions, outAxes(collected, 0), outDirections(collected, 0);
  if (batched) {
    axes.assign(size_t(scanned), 0);
    directions = list("directions", size_t(scanned));
  } else {
    axes = list("scan_input_axes", size_t(scanned));
    directions = list("scan_input_directions", size_t(scanned));
    outAxes = list("scan_output_axes", collected);
    outDirections = list("scan_output_directions", collected);
  }
  SmallVector<Tensor> carried, sequences;
  for (size_t i = first; i < n.inputs(); ++i) {
    Tensor x = n.in(i);
    if (!x)
      return;
    // Opset 8 scans each sequence of a batch on its own.
    if (batched) {
      if (x.rank() < 1 || e.constant(x.shape[0]) != 1)
        return n.fail("scans a batch of more than one sequence, which is not supported");
      x = e.squeeze(x, 0);
    }
    (i - first < states ? carried : sequences).push_back(x);
  }
  std::optional<Dim> steps;
  for (auto [x, axis] : llvm::zip_equal(sequences, axes)) {
    axis = n.axis(axis, x.rank());
    if (e.failed())
      return;
    if (steps && *steps != x.shape[axis])
      return n.fail("scans sequences of different lengths");
    steps = x.shape[axis];
  }
  Value count = e.index(*steps);
  auto arguments = [&](Value index, ArrayRef<Tensor> inside) {
    SmallVector<Tensor> all(inside);
    OpBuilder &b = e.builder;
    for (auto [x, axis, direction] : llvm::zip_equal(sequences, axes, directions)) {
      Value at = index;
      if (direction)
        at = b.create<arith::SubIOp>(e.loc, b.create<arith::SubIOp>(e.loc, count, e.constantIndex(b, 1)), index);
      all.push_back(e.sliceAt(x, axis, at));
    }
    return all;
  };
  SmallVector<Collected> how;
  for (auto [axis, direction] : llvm::zip_equal(outAxes, outDirections))
    how.push_back({axis, direction != 0});
  SmallVector<Tensor> given = countedLoop(n, *graph, *steps, carried, arguments, 0, how);
  for (Tensor &result : given)
    n.give(batched ? e.unsqueeze(result, 0) : result);
}

void addLoops(BinderTable &table) {
  table["Loop"] = bindLoop;
  table["Scan"] = bindScan;
}

} // namespace mlc::onnx
