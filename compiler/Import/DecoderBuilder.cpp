//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/DecoderBuilder.h"

#include "compiler/Support/Text.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"

#include "llvm/ADT/Twine.h"

#include <cstring>

using namespace mlir;

namespace mlc {
namespace {

graph::Storage graphStorage(StorageType type) { return graph::Storage(unsigned(type)); }

static_assert(unsigned(graph::Storage::F16) == unsigned(StorageType::rows_f16));
static_assert(unsigned(graph::Storage::BF16) == unsigned(StorageType::rows_bf16));
static_assert(unsigned(graph::Storage::Q4_0) == unsigned(StorageType::block_q4_0));
static_assert(unsigned(graph::Storage::Q6_K) == unsigned(StorageType::block_q6_k));
static_assert(unsigned(graph::Activation::silu) == unsigned(fb::Activation::silu));
static_assert(unsigned(graph::Activation::relu2) == unsigned(fb::Activation::relu2));
static_assert(unsigned(graph::RouterForm::sigmoid) == unsigned(fb::RouterForm::sigmoid));
static_assert(unsigned(graph::RopeScaling::llama3) == unsigned(fb::RopeScaling::llama3));

/// Whether two tensors hold the same bytes; their pages are given back on the way.
bool sameContents(const Checkpoint &checkpoint, const TensorInfo &a, const TensorInfo &b) {
  if (a.storage != b.storage || a.shape != b.shape)
    return false;
  const int64_t rows = a.rows(), step = std::max<int64_t>(1, (1 << 22) / std::max<int64_t>(1, a.columns()));
  const uint64_t rowBytes = a.bytes / uint64_t(rows);
  for (int64_t row = 0; row < rows; row += step) {
    int64_t end = std::min(rows, row + step);
    bool same = std::memcmp(a.data + uint64_t(row) * rowBytes, b.data + uint64_t(row) * rowBytes,
                            uint64_t(end - row) * rowBytes) == 0;
    checkpoint.discardRows(a, row, end);
    checkpoint.discardRows(b, row, end);
    if (!same)
      return false;
  }
  return true;
}

} // namespace

std::string DecoderBuilder::layerTap(int64_t index, const char *name) {
  return "blocks." + std::to_string(index) + "." + name;
}

DecoderBuilder::DecoderBuilder(MLIRContext &context, const ModelConfig &config, const WeightNames &names,
                               const Checkpoint &checkpoint)
    : context(context), config(config), names(names), checkpoint(checkpoint), builder(&context),
      declarations(&context) {}

llvm::Expected<OwningOpRef<ModuleOp>> DecoderBuilder::build() {
  context.loadDialect<graph::GraphDialect, arith::ArithDialect, func::FuncDialect>();
  module = ModuleOp::create(builder.getUnknownLoc());
  declarations.setInsertionPointToStart(module->getBody());
  declareModel();
  buildStep();
  refuseUnused();
  if (!problem.empty())
    return llvm::createStringError(llvm::inconvertibleErrorCode(), problem);
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    refuse(checkpoint.source() + ": the imported graph does not verify: " + diagnostic.str());
    return success();
  });
  if (failed(verify(*module)))
    return llvm::createStringError(llvm::inconvertibleErrorCode(), problem);
  return std::move(module);
}

//===----------------------------------------------------------------------===//
// Declarations
//===----------------------------------------------------------------------===//

void DecoderBuilder::declareModel() {
  Location loc = builder.getUnknownLoc();
  auto optional = [&](const std::string &text) { return text.empty() ? StringAttr() : builder.getStringAttr(text); };
  SmallVector<int32_t> endTokens(config.endTokens.begin(), config.endTokens.end());
  SmallVector<NamedAttribute> sampling;
  auto number = [&](const char *name, std::optional<double> value) {
    if (value)
      sampling.push_back(builder.getNamedAttr(name, builder.getF64FloatAttr(*value)));
  };
  number("temperature", config.sampling.temperature);
  number("top_p", config.sampling.topP);
  number("min_p", config.sampling.minP);
  number("repetition_penalty", config.sampling.repetitionPenalty);
  if (config.sampling.topK)
    sampling.push_back(builder.getNamedAttr("top_k", builder.getI64IntegerAttr(*config.sampling.topK)));
  if (config.sampling.sample)
    sampling.push_back(builder.getNamedAttr("do_sample", builder.getBoolAttr(true)));
  bool promptForm = rotates(config) &&
                    (config.rope.type == fb::RopeScaling::dynamic || config.rope.type == fb::RopeScaling::longrope);
  declarations.create<graph::ModelOp>(
      loc, builder.getStringAttr(config.architecture), optional(config.name), builder.getI64IntegerAttr(config.vocab),
      builder.getI64IntegerAttr(coveredPositions(config)), promptForm ? builder.getUnitAttr() : UnitAttr(),
      endTokens.empty() ? DenseI32ArrayAttr() : builder.getDenseI32ArrayAttr(endTokens),
      sampling.empty() ? DictionaryAttr() : builder.getDictionaryAttr(sampling), optional(config.license),
      IntegerAttr(), IntegerAttr(), IntegerAttr(), IntegerAttr(), IntegerAttr());
  for (const char *extent : {"tokens", "rows"})
    declarations.create<graph::ExtentOp>(loc, builder.getStringAttr(extent), IntegerAttr());
}

FlatSymbolRefAttr DecoderBuilder::weight(const std::string &name, ArrayRef<int64_t> shape) {
  FlatSymbolRefAttr symbol = FlatSymbolRefAttr::get(&context, name);
  auto [entry, first] = used.try_emplace(name, shape.begin(), shape.end());
  const TensorInfo *tensor = checkpoint.find(name);
  if (!tensor) {
    refuse(checkpoint.source() + ": tensor \"" + printable(name) + "\" of shape " + shapeText(shape) +
           " is missing; is the checkpoint complete?");
    return symbol;
  }
  if (!tensor->fits(shape)) {
    refuse(checkpoint.fileOf(*tensor) + ": tensor \"" + printable(name) + "\" at byte " + llvm::Twine(tensor->offset) +
           " has shape " + shapeText(tensor->shape) + ", expected is " + shapeText(shape) + " by " + config.source);
    return symbol;
  }
  if (shape.size() == 1 && tensor->storage >= StorageType::block_q4_0) {
    refuse(checkpoint.fileOf(*tensor) + ": tensor \"" + printable(name) + "\" at byte " + llvm::Twine(tensor->offset) +
           " is stored as " + storageName(tensor->storage) + "; norms and biases are read from F32, F16 and BF16");
    return symbol;
  }
  if (first)
    declarations.create<graph::WeightOp>(
        builder.getUnknownLoc(), name, RankedTensorType::get(shape, builder.getF32Type()),
        graphStorage(tensor->storage), graph::QuantAttr(), DenseF32ArrayAttr(), graph::ShardAttr());
  return symbol;
}

FlatSymbolRefAttr DecoderBuilder::state(int64_t index, graph::StateKind kind,
                                        ArrayRef<std::pair<const char *, int64_t>> sizes) {
  std::string name = ("l" + llvm::Twine(index) + "." + graph::stringifyStateKind(kind)).str();
  NamedAttrList attributes;
  attributes.set("sym_name", builder.getStringAttr(name));
  attributes.set("kind", graph::StateKindAttr::get(&context, kind));
  attributes.set("scope", graph::StateScopeAttr::get(&context, graph::StateScope::sequence));
  for (auto [size, value] : sizes)
    attributes.set(size, builder.getI64IntegerAttr(value));
  declarations.create<graph::StateOp>(builder.getUnknownLoc(), TypeRange{}, ValueRange{}, attributes);
  return FlatSymbolRefAttr::get(&context, name);
}

FlatSymbolRefAttr DecoderBuilder::kvState(int64_t index) {
  return state(index, graph::StateKind::kv,
               {{"kv_heads", config.kvHeads}, {"head_dim", config.headDim}, {"window", config.windows[size_t(index)]}});
}

void DecoderBuilder::tap(Operation *op, const std::string &name) {
  if (!name.empty())
    op->setAttr(graph::kTapAttr, builder.getStringAttr(name));
}

void DecoderBuilder::refuse(const llvm::Twine &what) {
  if (problem.empty())
    problem = what.str();
}

std::string DecoderBuilder::inLayer(int64_t index, const char *name) const {
  return names.layerPrefix + std::to_string(index) + "." + name;
}

bool DecoderBuilder::isUnusedLayer(StringRef name) const {
  int64_t index = 0;
  return name.consume_front(names.layerPrefix) && !name.consumeInteger(10, index) && name.starts_with(".") &&
         index >= config.layers && index < config.layers + config.unusedLayers;
}

void DecoderBuilder::refuseUnused() {
  const std::string head = std::string(names.head) + ".weight", embedding = std::string(names.embedding) + ".weight";
  for (const TensorInfo &tensor : checkpoint.tensors()) {
    if (!problem.empty())
      return;
    StringRef name = tensor.name;
    // Buffers that older versions stored follow from the configuration; rope_freqs is part of it.
    if (used.contains(name) || name.ends_with("rotary_emb.inv_freq") || name.ends_with(".attn_rot_embd.weight") ||
        name == "rope_freqs.weight" || isUnusedLayer(name) || (names.unused && name.starts_with(names.unused)))
      continue;
    if (config.tied && name == head) {
      const TensorInfo *table = checkpoint.find(embedding);
      if (table && sameContents(checkpoint, tensor, *table))
        continue;
      refuse(checkpoint.fileOf(tensor) + ": tensor \"" + head + "\" differs from \"" + embedding + "\", to which " +
             config.source + " ties it; set tie_word_embeddings to false or remove the tensor");
    }
    refuse(checkpoint.fileOf(tensor) + ": tensor \"" + printable(name) + "\" at byte " + llvm::Twine(tensor.offset) +
           " is not part of a " + config.architecture + " model as " + config.source + " describes it");
  }
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

RankedTensorType DecoderBuilder::rowsType(int64_t columns, Value like) const {
  return RankedTensorType::get({cast<RankedTensorType>(like.getType()).getDimSize(0), columns},
                               Float32Type::get(&context));
}

Value DecoderBuilder::norm(Value x, const std::string &name, int64_t width, const std::string &tapName) {
  auto op = builder.create<graph::RmsNormOp>(builder.getUnknownLoc(), x.getType(), x, weight(name + ".weight", {width}),
                                             builder.getF32FloatAttr(float(config.normEps)),
                                             builder.getF32FloatAttr(float(config.normOffset)));
  tap(op, tapName);
  return op.getResult();
}

Value DecoderBuilder::linear(Value x, const std::string &name, int64_t columns, int64_t rows, bool bias,
                             const std::string &tapName) {
  ArrayAttr weights = builder.getArrayAttr({weight(name + ".weight", {rows, columns})}), biases;
  if (bias)
    biases = builder.getArrayAttr({weight(name + ".bias", {rows})});
  auto op = builder.create<graph::LinearOp>(builder.getUnknownLoc(), rowsType(rows, x), x, Value(), weights, biases,
                                            graph::ActivationAttr(), UnitAttr());
  tap(op, tapName);
  return op.getResult();
}

SmallVector<Value> DecoderBuilder::split(Value x, ArrayRef<int64_t> columns) {
  SmallVector<Type> types;
  for (int64_t count : columns)
    types.push_back(rowsType(count, x));
  auto op = builder.create<graph::SplitOp>(builder.getUnknownLoc(), types, x);
  return {op.result_begin(), op.result_end()};
}

Value DecoderBuilder::add(Value a, Value b, const std::string &tapName) {
  auto op = builder.create<arith::AddFOp>(builder.getUnknownLoc(), a, b);
  tap(op, tapName);
  return op.getResult();
}

Value DecoderBuilder::scale(Value x, double factor, const std::string &tapName) {
  if (factor == 1)
    return x;
  auto op =
      builder.create<graph::ScaleOp>(builder.getUnknownLoc(), x.getType(), x, builder.getF32FloatAttr(float(factor)));
  tap(op, tapName);
  return op.getResult();
}

Value DecoderBuilder::ropeAngles(Value batch) {
  const RopeConfig &rope = config.rope;
  const bool scaled = rope.type != fb::RopeScaling::default_, yarn = rope.type == fb::RopeScaling::yarn,
             llama3 = rope.type == fb::RopeScaling::llama3, longrope = rope.type == fb::RopeScaling::longrope;
  auto f64 = [&](bool wanted, double value) { return wanted ? builder.getF64FloatAttr(value) : FloatAttr(); };
  auto table = [&](const std::vector<double> &values) {
    return values.empty() ? DenseF64ArrayAttr() : builder.getDenseF64ArrayAttr(values);
  };
  auto type = RankedTensorType::get({ShapedType::kDynamic, rope.rotaryDim}, builder.getF32Type());
  return builder.create<graph::RopeAnglesOp>(
      builder.getUnknownLoc(), type, batch, builder.getI64IntegerAttr(rope.rotaryDim),
      builder.getF64FloatAttr(rope.theta),
      graph::RopeScalingAttr::get(&context, graph::RopeScaling(unsigned(rope.type))),
      builder.getF64FloatAttr(scaled && !longrope ? rope.factor : 1), builder.getF64FloatAttr(rope.attentionFactor),
      builder.getI64IntegerAttr(scaled && rope.type != fb::RopeScaling::linear ? rope.originalContext : 0),
      f64(yarn, rope.betaFast), f64(yarn, rope.betaSlow), yarn ? builder.getBoolAttr(rope.truncate) : BoolAttr(),
      f64(llama3, rope.lowFrequencyFactor), f64(llama3, rope.highFrequencyFactor), table(rope.shortFactors),
      table(rope.longFactors), table(rope.factors));
}

Value DecoderBuilder::attentionBlock(int64_t index, Value x, Value angles, Value batch) {
  const int64_t qColumns = config.heads * config.headDim, kvColumns = config.kvHeads * config.headDim;
  Location loc = builder.getUnknownLoc();
  Value q, k, v;
  x = scale(x, config.attentionInputScale);
  if (config.fusedQkv) {
    Value all = linear(x, inLayer(index, names.qkv), config.hidden, qColumns + 2 * kvColumns, config.qkvBias, "");
    SmallVector<Value> pieces = split(all, {qColumns, kvColumns, kvColumns});
    q = pieces[0], k = pieces[1], v = pieces[2];
    tap(q.getDefiningOp(), layerTap(index, "attn.hook_q"));
  } else {
    auto project = [&](const char *name, int64_t columns, const char *tapName) {
      return linear(x, inLayer(index, name), config.hidden, columns, config.qkvBias, layerTap(index, tapName));
    };
    q = project(names.q, qColumns, "attn.hook_q");
    k = project(names.k, kvColumns, "attn.hook_k");
    v = project(names.v, kvColumns, "attn.hook_v");
  }
  if (config.qkNorm) {
    q = norm(q, inLayer(index, names.qNorm), config.headDim);
    k = norm(k, inLayer(index, names.kNorm), config.headDim);
  } else if (config.qkNormWhole) {
    q = norm(q, inLayer(index, names.qNorm), qColumns);
    k = norm(k, inLayer(index, names.kNorm), kvColumns);
  }
  if (config.rotates[size_t(index)]) {
    auto rotate = [&](Value value, const char *tapName) -> Value {
      auto op =
          builder.create<graph::RopeOp>(loc, value.getType(), value, angles, builder.getI64IntegerAttr(config.headDim),
                                        config.rope.interleaved ? builder.getUnitAttr() : UnitAttr());
      tap(op, layerTap(index, tapName));
      return op.getResult();
    };
    q = rotate(q, "attn.hook_rot_q");
    k = rotate(k, "attn.hook_rot_k");
  }
  auto attention = builder.create<graph::AttentionOp>(
      loc, q.getType(), q, k, v, batch, kvState(index), builder.getI64IntegerAttr(config.heads),
      builder.getF32FloatAttr(float(config.attentionScale)), builder.getF32FloatAttr(float(config.attentionSoftcap)),
      graph::ProductsAttr::get(builder.getContext(), graph::Products::f32));
  tap(attention, layerTap(index, "attn.hook_z"));
  std::string outTap = config.sandwichNorms ? "" : layerTap(index, "hook_attn_out");
  bool scaled = config.attentionOutputScale != 1;
  x = linear(attention.getResult(), inLayer(index, names.output), qColumns, config.hidden, config.outputBias,
             scaled ? "" : outTap);
  return scale(x, config.attentionOutputScale, outTap);
}

Value DecoderBuilder::gatedMlp(int64_t index, Value x, const MlpNames &matrices, int64_t intermediate, bool bias,
                               const std::string &outTap) {
  Location loc = builder.getUnknownLoc();
  auto function = graph::ActivationAttr::get(&context, graph::Activation(unsigned(config.activation)));
  // Of the layer's own MLP alone do the values have names, and multipliers.
  bool own = matrices.down == names.down;
  auto named = [&](const char *name) { return own ? layerTap(index, name) : std::string(); };
  Value gate, up;
  if (!config.gatedMlp) {
    gate = linear(x, inLayer(index, matrices.up), config.hidden, intermediate, bias, named("mlp.hook_pre"));
  } else if (matrices.gateUp) {
    Value both = linear(x, inLayer(index, matrices.gateUp), config.hidden, 2 * intermediate, bias, "");
    SmallVector<Value> pieces = split(both, {intermediate, intermediate});
    gate = pieces[0], up = pieces[1];
    tap(gate.getDefiningOp(), named("mlp.hook_pre"));
  } else {
    gate = linear(x, inLayer(index, matrices.gate), config.hidden, intermediate, bias, named("mlp.hook_pre"));
    up = linear(x, inLayer(index, matrices.up), config.hidden, intermediate, bias, named("mlp.hook_pre_linear"));
  }
  gate = own ? scale(gate, config.gateScale) : gate;
  Value product = builder.create<graph::ActivationOp>(loc, gate.getType(), gate, function);
  if (up)
    product = builder.create<arith::MulFOp>(loc, product, up);
  tap(product.getDefiningOp(), named("mlp.hook_post"));
  bool scaled = own && config.downScale != 1;
  x = linear(product, inLayer(index, matrices.down), intermediate, config.hidden, bias, scaled ? "" : outTap);
  return scaled ? scale(x, config.downScale, outTap) : x;
}

Value DecoderBuilder::mlpBlock(int64_t index, Value x) {
  return gatedMlp(index, x, {names.gate, names.up, config.fusedGateUp ? names.gateUp : nullptr, names.down},
                  config.intermediate, config.mlpBias, config.sandwichNorms ? "" : layerTap(index, "hook_mlp_out"));
}

Value DecoderBuilder::mixerBlock(int64_t index, Value x, Value angles, Value batch) {
  switch (config.mixers[size_t(index)]) {
  case Mixer::mamba:
    return mambaBlock(index, x, batch);
  case Mixer::parallel:
    // Mamba first, as transformers adds them.
    return add(mambaBlock(index, x, batch), attentionBlock(index, x, angles, batch), "");
  default:
    return attentionBlock(index, x, angles, batch);
  }
}

Value DecoderBuilder::layer(int64_t index, Value residual, Value angles, Value batch) {
  const bool mixes = config.mixers[size_t(index)] != Mixer::none, feedsForward = config.feedForwards[size_t(index)];
  // One value carries one name: what leaves a layer enters the next as its hook_resid_pre.
  std::string outTap =
      index + 1 == config.layers ? layerTap(index, "hook_resid_post") : layerTap(index + 1, "hook_resid_pre");
  if (mixes) {
    Value x = norm(residual, inLayer(index, names.attentionNorm), config.hidden);
    x = mixerBlock(index, x, angles, batch);
    if (config.sandwichNorms)
      x = norm(x, inLayer(index, names.attentionPostNorm), config.hidden, layerTap(index, "hook_attn_out"));
    residual = add(residual, scale(x, config.residualScale), feedsForward ? layerTap(index, "hook_resid_mid") : outTap);
  }
  if (feedsForward) {
    Value x = norm(residual, inLayer(index, names.mlpNorm), config.hidden);
    x = config.moe.in(index) ? moeBlock(index, x) : mlpBlock(index, x);
    if (config.sandwichNorms)
      x = norm(x, inLayer(index, names.mlpPostNorm), config.hidden, layerTap(index, "hook_mlp_out"));
    residual = add(residual, scale(x, config.residualScale), outTap);
  }
  return residual;
}

void DecoderBuilder::buildStep() {
  Location loc = builder.getUnknownLoc();
  Type ids = RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
  auto logitsType = RankedTensorType::get({ShapedType::kDynamic, config.vocab}, builder.getF32Type());
  builder.setInsertionPointToEnd(module->getBody());
  auto step = builder.create<func::FuncOp>(
      loc, "step", builder.getFunctionType({graph::BatchType::get(&context), ids, ids}, {logitsType}));
  step.setArgAttr(1, graph::kDimsAttr, builder.getStrArrayAttr({"tokens"}));
  step.setArgAttr(2, graph::kDimsAttr, builder.getStrArrayAttr({"rows"}));
  declarations.setInsertionPoint(step);
  builder.setInsertionPointToStart(step.addEntryBlock());
  Value batch = step.getArgument(0), tokens = step.getArgument(1), rows = step.getArgument(2);

  const std::string embedding = std::string(names.embedding) + ".weight";
  auto embedded = builder.create<graph::EmbeddingOp>(loc, rowsType(config.hidden, tokens), tokens,
                                                     weight(embedding, {config.vocab, config.hidden}),
                                                     builder.getF32FloatAttr(float(config.embeddingScale)));
  tap(embedded, layerTap(0, "hook_resid_pre"));
  Value x = embedded.getResult(), angles;
  if (rotates(config))
    angles = ropeAngles(batch);
  // A broken checkpoint may lack every tensor of thousands of layers: the first is enough.
  for (int64_t i = 0; i < config.layers && problem.empty(); ++i)
    x = layer(i, x, angles, batch);

  // Rows that nobody asked for need no logits, so the final norm and the head see the wanted ones only.
  x = builder.create<graph::GatherRowsOp>(loc, rowsType(config.hidden, rows), x, rows);
  x = norm(x, names.finalNorm, config.hidden);
  x = linear(x, config.tied ? names.embedding : names.head, config.hidden, config.vocab, false, "");
  x = scale(x, config.logitScale);
  if (config.finalSoftcap > 0)
    x = builder.create<graph::SoftcapOp>(loc, x.getType(), x, builder.getF32FloatAttr(float(config.finalSoftcap)));
  builder.create<func::ReturnOp>(loc, x);
}

} // namespace mlc
