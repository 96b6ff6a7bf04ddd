//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/ONNX/GraphImporter.h"

#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Import/ONNX/Binders.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;

namespace mlc::onnx {

constexpr unsigned kDeepest = 32;         // Functions and subgraphs inside one another.
constexpr int64_t kInlineIntegers = 1024; // Elements of an integer constant that stays in the IR.
constexpr unsigned kMostNodes = 1 << 20;  // Functions and branches may be imported more than once.

llvm::Expected<ImportedNetwork> importNetwork(StringRef path, MLIRContext &context, const DimSettings &dims) {
  auto model = Model::read(path);
  if (!model)
    return model.takeError();
  return GraphImporter(*model, context, dims).import();
}

GraphImporter::GraphImporter(Model &model, MLIRContext &context, const DimSettings &settings)
    : model(model), settings(settings), module(ModuleOp::create(UnknownLoc::get(&context))), e(context) {
  taken.insert("main");
}

bool GraphImporter::fail(const Twine &what) {
  if (message.empty())
    message = (Twine(model.path()) + ": " + what).str();
  return false;
}

void GraphImporter::failNode(const ::onnx::NodeProto &node) {
  std::string name =
      node.name().empty() && node.output_size() ? "that gives " + quoted(node.output(0)) : quoted(node.name());
  fail("node " + name + " (" + printableOp(node) + ") " + e.failure());
}

llvm::Expected<ImportedNetwork> GraphImporter::import() {
  const ::onnx::GraphProto &graph = model.proto().graph();
  for (const auto &function : model.proto().functions())
    functions[function.domain() + ":" + function.name()] = &function;
  auto failure = [&] { return llvm::createStringError(message); };
  if (llvm::Error error = checkOperators())
    return std::move(error);

  e.builder.setInsertionPointToStart(module->getBody());
  OpBuilder &b = e.builder;
  b.create<graph::NetworkOp>(e.loc, b.getStringAttr(graph.name()), b.getStringAttr(model.proto().producer_name()));
  function = b.create<func::FuncOp>(e.loc, "main", b.getFunctionType({}, {}));
  Scope scope;
  if (!importInputs(scope))
    return failure();
  if (!importInitializers(graph, scope) || !importNodes(graph.node(), scope) || !importOutputs(scope))
    return failure();
  auto checkpoint = model.takeCheckpoint(dropUnused());
  if (!checkpoint)
    return checkpoint.takeError();
  return ImportedNetwork{std::move(*checkpoint), std::move(module)};
}

//===----------------------------------------------------------------------===//
// Operators
//===----------------------------------------------------------------------===//

const ::onnx::FunctionProto *GraphImporter::functionOf(const ::onnx::NodeProto &node) const {
  auto found = functions.find(node.domain() + ":" + node.op_type());
  return found == functions.end() ? nullptr : found->second;
}

void GraphImporter::findUnknown(const google::protobuf::RepeatedPtrField<::onnx::NodeProto> &nodes,
                                std::vector<std::pair<std::string, std::string>> &unknown) {
  for (const auto &node : nodes) {
    if (!functionOf(node) && !findBinder(node.domain(), node.op_type()))
      unknown.emplace_back(printableOp(node), node.name().empty() && node.output_size() ? node.output(0) : node.name());
    for (const auto &attribute : node.attribute()) {
      if (attribute.has_g())
        findUnknown(attribute.g(), unknown);
      for (const auto &graph : attribute.graphs())
        findUnknown(graph, unknown);
    }
  }
}

void GraphImporter::findUnknown(const ::onnx::GraphProto &graph,
                                std::vector<std::pair<std::string, std::string>> &unknown) {
  findUnknown(graph.node(), unknown);
}

llvm::Error GraphImporter::checkOperators() {
  std::vector<std::pair<std::string, std::string>> unknown;
  findUnknown(model.proto().graph(), unknown);
  for (const auto &function : model.proto().functions())
    findUnknown(function.node(), unknown);
  if (unknown.empty())
    return llvm::Error::success();
  llvm::sort(unknown);
  constexpr size_t kMostNames = 8;
  std::string text = model.path().str() + ": operators that are not supported: ";
  for (size_t i = 0; i < unknown.size();) {
    size_t end = i;
    text += (i ? "; " : "") + unknown[i].first + " (";
    for (; end < unknown.size() && unknown[end].first == unknown[i].first; ++end)
      if (end - i < kMostNames)
        text += (end == i ? "node " : ", ") + quoted(unknown[end].second);
    if (end - i > kMostNames)
      text += " and " + std::to_string(end - i - kMostNames) + " more";
    text += ")";
    i = end;
  }
  return llvm::createStringError(text);
}

int64_t GraphImporter::opset(StringRef domain) const {
  if (!call)
    return model.opset(domain);
  for (const auto &opset : call->function->opset_import())
    if ((opset.domain() == "ai.onnx" ? "" : StringRef(opset.domain())) == domain)
      return opset.version();
  return model.opset(domain);
}

/// What a function gives an attribute that a call leaves out. A schema before onnx 1.13 has no such field; the model is
/// refused then where it is set.
template <typename Function>
static const ::onnx::AttributeProto *defaultOf(const Function &function, const std::string &name) {
  if constexpr (requires { function.attribute_proto(); })
    for (const auto &candidate : function.attribute_proto())
      if (candidate.name() == name)
        return &candidate;
  return nullptr;
}

const ::onnx::AttributeProto *GraphImporter::resolve(const ::onnx::AttributeProto &attribute) {
  const ::onnx::AttributeProto *found = &attribute;
  for (const Call *at = call; at && !found->ref_attr_name().empty(); at = at->caller) {
    const std::string &name = found->ref_attr_name();
    const ::onnx::AttributeProto *given = nullptr;
    for (const auto &candidate : at->node->attribute())
      if (candidate.name() == name)
        given = &candidate;
    // A default of the function.
    if (!given)
      given = defaultOf(*at->function, name);
    if (!given)
      return nullptr;
    found = given;
  }
  return found->ref_attr_name().empty() ? found : nullptr;
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

std::string GraphImporter::uniqueSymbol(StringRef name) {
  std::string base = name.empty() ? "value" : name.str(), result = base;
  for (unsigned i = 1; !taken.insert(result).second; ++i)
    result = base + "_" + std::to_string(i);
  return result;
}

std::optional<DType> GraphImporter::dtype(int32_t type) {
  OpBuilder &b = e.builder;
  switch (type) {
  case ::onnx::TensorProto::FLOAT:
    return DType{b.getF32Type()};
  case ::onnx::TensorProto::DOUBLE:
    return DType{b.getF64Type()};
  case ::onnx::TensorProto::FLOAT16:
    return DType{b.getF16Type()};
  case ::onnx::TensorProto::BFLOAT16:
    return DType{b.getBF16Type()};
  case ::onnx::TensorProto::BOOL:
    return DType{b.getI1Type()};
  case ::onnx::TensorProto::INT8:
  case ::onnx::TensorProto::UINT8:
    return DType{b.getI8Type(), type == ::onnx::TensorProto::UINT8};
  case ::onnx::TensorProto::INT16:
  case ::onnx::TensorProto::UINT16:
    return DType{b.getI16Type(), type == ::onnx::TensorProto::UINT16};
  case ::onnx::TensorProto::INT32:
  case ::onnx::TensorProto::UINT32:
    return DType{b.getI32Type(), type == ::onnx::TensorProto::UINT32};
  case ::onnx::TensorProto::INT64:
  case ::onnx::TensorProto::UINT64:
    return DType{b.getI64Type(), type == ::onnx::TensorProto::UINT64};
  default:
    e.fail("has values of " + dataTypeName(type) + ", which is not supported");
    return std::nullopt;
  }
}

Tensor GraphImporter::importTensor(const ::onnx::TensorProto &proto, StringRef name) {
  auto info = model.tensor(proto, "tensor " + quoted(name));
  if (!info) {
    if (message.empty())
      message = llvm::toString(info.takeError());
    else
      llvm::consumeError(info.takeError());
    return e.fail("has a tensor that cannot be read");
  }
  std::optional<DType> type = dtype(proto.data_type());
  if (!type)
    return {};
  int64_t elements = info->elements();
  auto tensorType = RankedTensorType::get(info->shape, type->type);
  if (elements <= 1 || (!type->isFloat() && elements <= kInlineIntegers))
    return e.constant(constantOf(*info, tensorType), type->isUnsigned);
  info->name = uniqueSymbol(name);
  OpBuilder::InsertionGuard guard(e.builder);
  e.builder.setInsertionPointToStart(module->getBody());
  createWeight(e.builder, e.loc, *info, tensorType);
  auto symbol = FlatSymbolRefAttr::get(e.builder.getContext(), info->name);
  weights.add(std::move(*info));
  // Where every later use can see it.
  e.builder.setInsertionPointToStart(&function.getBody().front());
  return {e.builder.create<graph::ReadOp>(e.loc, tensorType, symbol), e.dims(tensorType.getShape()), type->isUnsigned};
}

/// The values of a constant or a weight; null for every other tensor, and for large ones.
static DenseElementsAttr valuesOf(const Tensor &tensor, const WeightTable &weights) {
  constexpr int64_t kMostValues = 1 << 20;
  DenseElementsAttr values = Emitter::attribute(tensor);
  if (auto read = tensor.value.getDefiningOp<graph::ReadOp>())
    if (const TensorInfo *info = weights.find(read.getWeight()); info && int64_t(info->elements()) <= kMostValues)
      values = constantOf(*info, read.getType());
  return values && values.getNumElements() <= kMostValues ? values : DenseElementsAttr();
}

std::optional<Ints> GraphImporter::constantInts(const Tensor &tensor) {
  DenseElementsAttr values = valuesOf(tensor, weights);
  if (!values || tensor.isFloat())
    return std::nullopt;
  return Emitter::ints(values, tensor.isUnsigned);
}

std::optional<SmallVector<double>> GraphImporter::constantFloats(const Tensor &tensor) {
  DenseElementsAttr values = valuesOf(tensor, weights);
  if (!values || !tensor.isFloat())
    return std::nullopt;
  SmallVector<double> result;
  for (APFloat value : values.getValues<APFloat>()) {
    bool inexact;
    value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &inexact);
    result.push_back(value.convertToDouble());
  }
  return result;
}

bool GraphImporter::everyFloat(const Tensor &tensor, llvm::function_ref<bool(float)> holds) {
  if (!(tensor.dtype() == e.f32()))
    return false;
  if (DenseElementsAttr values = Emitter::attribute(tensor))
    return llvm::all_of(values.getValues<float>(), holds);
  auto read = tensor.value.getDefiningOp<graph::ReadOp>();
  const TensorInfo *info = read ? weights.find(read.getWeight()) : nullptr;
  if (!info)
    return false;
  // They may lie anywhere.
  for (uint64_t at = 0; at < info->bytes; at += sizeof(float)) {
    float value;
    memcpy(&value, info->data + at, sizeof value);
    if (!holds(value))
      return false;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Graphs
//===----------------------------------------------------------------------===//

bool GraphImporter::importInitializers(const ::onnx::GraphProto &graph, Scope &scope) {
  if (graph.sparse_initializer_size())
    return fail("has sparse initializers, which are not supported");
  for (const auto &initializer : graph.initializer()) {
    if (scope.values.contains(initializer.name()))
      return fail("gives " + quoted(initializer.name()) + " twice");
    Tensor tensor = importTensor(initializer, initializer.name());
    if (!tensor)
      return fail("tensor " + quoted(initializer.name()) + " " + e.failure());
    scope.values[initializer.name()] = tensor;
  }
  return true;
}

bool GraphImporter::importNodes(const google::protobuf::RepeatedPtrField<::onnx::NodeProto> &nodes, Scope &scope) {
  for (const auto &node : nodes)
    if (!importNode(node, scope))
      return false;
  return true;
}

bool GraphImporter::importNode(const ::onnx::NodeProto &proto, Scope &scope) {
  StringRef domain = proto.domain() == "ai.onnx" ? "" : StringRef(proto.domain());
  e.loc = NameLoc::get(e.builder.getStringAttr(proto.name().empty() ? proto.op_type() : proto.name()));
  if (++imported > kMostNodes)
    return fail("has more than " + Twine(kMostNodes) + " nodes, those of functions counted at every call");
  Node node(*this, e, scope, proto, opset(domain));
  Block *block = e.builder.getInsertionBlock();
  Operation *last = block->empty() ? nullptr : &block->back();
  size_t symbols = e.symbols.size();
  for (int i = 0; i < proto.input_size(); ++i)
    if (node.has(i))
      node.in(i);
  const ::onnx::FunctionProto *function = functionOf(proto);
  if (!e.failed()) {
    if (function) {
      if (!importCall(*function, node))
        return false;
    } else if (node.version < 1) {
      e.fail("is of domain " + quoted(domain) + ", which the model does not import");
    } else {
      findBinder(proto.domain(), proto.op_type())(node);
    }
  }
  if (!message.empty())
    return false;
  for (const auto &attribute : proto.attribute())
    if (!function && !node.asked.contains(attribute.name()))
      e.fail("has an attribute " + quoted(attribute.name()) + ", which is not supported here");
  for (size_t i = 0; i < node.outputs(); ++i)
    if (node.wants(i) && (i >= node.results.size() || !node.results[i]))
      e.fail("gives output " + Twine(i) + ", which is not supported");
  if (!e.failed())
    foldBehind(last, node.results, symbols);
  if (!function)
    noteExtents(node);
  if (e.failed()) {
    failNode(proto);
    return false;
  }
  for (size_t i = 0; i < node.outputs(); ++i)
    if (node.wants(i) && !scope.values.try_emplace(proto.output(int(i)), node.results[i]).second) {
      e.fail("gives " + quoted(proto.output(int(i))) + ", which another node or input gives too");
      failNode(proto);
      return false;
    }
  return true;
}

std::optional<SmallVector<Tensor>> GraphImporter::importSubgraph(const ::onnx::GraphProto &graph, Scope &outer,
                                                                 ArrayRef<Tensor> arguments) {
  if (depth >= kDeepest) {
    e.fail("nests more than " + Twine(kDeepest) + " graphs");
    return std::nullopt;
  }
  if (size_t(graph.input_size()) != arguments.size()) {
    e.fail("has a subgraph of " + Twine(graph.input_size()) + " inputs, not " + Twine(arguments.size()));
    return std::nullopt;
  }
  ++depth;
  Location here = e.loc;
  Scope scope{&outer, {}};
  for (size_t i = 0; i < arguments.size(); ++i)
    scope.values[graph.input(int(i)).name()] = arguments[i];
  bool done = importInitializers(graph, scope) && importNodes(graph.node(), scope);
  --depth;
  e.loc = here;
  SmallVector<Tensor> results;
  for (int i = 0; done && i < graph.output_size(); ++i) {
    const Tensor *tensor = scope.find(graph.output(i).name());
    if (!tensor) {
      e.fail("has a subgraph whose output " + quoted(graph.output(i).name()) + " nothing gives");
      return std::nullopt;
    }
    results.push_back(*tensor);
  }
  if (!done)
    return std::nullopt;
  return results;
}

bool GraphImporter::importCall(const ::onnx::FunctionProto &function, Node &node) {
  if (depth >= kDeepest)
    return e.fail("calls functions more than " + Twine(kDeepest) + " deep"), failNode(node.proto), false;
  if (node.inputs() > size_t(function.input_size()))
    return e.fail("has more inputs than its function"), failNode(node.proto), false;
  ++depth;
  Call inner{&function, &node.proto, call};
  Scope scope; // A function sees nothing around it.
  for (size_t i = 0; i < node.inputs(); ++i)
    if (node.has(i))
      scope.values[function.input(int(i))] = node.in(i);
  const Call *caller = call;
  call = &inner;
  bool done = importNodes(function.node(), scope);
  call = caller;
  --depth;
  for (int i = 0; done && i < function.output_size(); ++i) {
    const Tensor *tensor = scope.find(function.output(i));
    node.give(tensor ? *tensor : Tensor());
  }
  return done;
}

void GraphImporter::foldBehind(Operation *last, MutableArrayRef<Tensor> results, size_t symbols) {
  Block *block = e.builder.getInsertionBlock();
  auto first = last ? std::next(Block::iterator(last)) : block->begin();
  SmallVector<Operation *> added;
  for (Operation &op : llvm::make_range(first, block->end()))
    added.push_back(&op);
  // Reads stand in front of the function.
  llvm::erase_if(added, [](Operation *op) { return isa<graph::ReadOp>(op); });
  // A symbol that an earlier value has stays what it was.
  for (const Tensor &result : results)
    if (result && !llvm::is_contained(added, result.value.getDefiningOp()) && e.symbols.size() != symbols)
      return;
  SmallVector<Value> values;
  for (const Tensor &result : results)
    if (result && llvm::is_contained(added, result.value.getDefiningOp()))
      values.push_back(result.value);
  if (values.empty() || llvm::all_of(added, llvm::IsaPred<arith::ConstantOp>))
    return;
  std::optional<SmallVector<DenseElementsAttr>> folded = foldConstants(added, values, weights, foldLimits);
  if (!folded)
    return;
  llvm::DenseMap<Value, Value> constants;
  for (auto [value, attribute] : llvm::zip_equal(values, *folded))
    constants[value] = e.builder.create<arith::ConstantOp>(e.loc, attribute);
  for (Tensor &result : results)
    if (result && constants.contains(result.value))
      result = {constants[result.value], e.dims(cast<RankedTensorType>(constants[result.value].getType()).getShape()),
                result.isUnsigned};
  for (Operation *op : llvm::reverse(added)) {
    for (Value value : op->getResults())
      e.known.erase(value);
    op->erase();
  }
  e.symbols.truncate(symbols);
}

std::vector<TensorInfo> GraphImporter::dropUnused() {
  // Backwards, so that what only the dead read is dead when its turn comes.
  std::function<void(Region &)> sweep = [&](Region &region) {
    for (Block &block : region)
      for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block))) {
        if (isOpTriviallyDead(&op)) {
          op.erase();
          continue;
        }
        for (Region &inner : op.getRegions())
          sweep(inner);
      }
  };
  sweep(function.getBody());
  llvm::StringSet<> read;
  module->walk([&](graph::ReadOp op) { read.insert(op.getWeight()); });
  for (auto weight : llvm::make_early_inc_range(module->getOps<graph::WeightOp>()))
    if (!read.contains(weight.getSymName()))
      weight.erase();
  return weights.take([&](StringRef name) { return read.contains(name); });
}

} // namespace mlc::onnx
