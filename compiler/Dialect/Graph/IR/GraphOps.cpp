//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Dialect/Graph/IR/Verify.h"

#include "mlir/IR/Builders.h"

#include <cmath>

using namespace mlir;
using namespace mlc::graph;

#define GET_OP_CLASSES
#include "compiler/Dialect/Graph/IR/GraphOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Declarations
//===----------------------------------------------------------------------===//

LogicalResult ModelOp::verify() {
  if (getVocabSize() < 1 || getVocabSize() > std::numeric_limits<int32_t>::max())
    return emitOpError("vocab_size must be positive and fit 31 bits");
  if (int64_t(getTrainedContext()) < 1)
    return emitOpError("trained_context must be positive");
  for (int32_t token : getEndTokens().value_or(ArrayRef<int32_t>()))
    if (token < 0 || token >= int64_t(getVocabSize()))
      return emitOpError("end token ") << token << " lies outside the vocabulary";
  for (std::optional<uint64_t> bound : {getMaxContext(), getMaxBatch(), getMaxSequences(), getMaxRows()})
    if (bound && int64_t(*bound) < 1)
      return emitOpError("max_context, max_batch, max_sequences and max_rows must be positive");
  if (getCheckpointEvery() && (int64_t(*getCheckpointEvery()) < 1 || *getCheckpointEvery() % kStatePage))
    return emitOpError("checkpoint_every must be a positive multiple of ") << kStatePage;
  return success();
}

LogicalResult ExtentOp::verify() {
  if (getBound() && int64_t(*getBound()) < 1)
    return emitOpError("bound must be positive");
  return success();
}

QuantizedType WeightOp::getQuantizedRows() {
  int64_t columns = getTensorType().getShape().back();
  int64_t group = 32, least = 32;
  if (QuantAttr quant = getQuantAttr())
    group = least = quant.getGroup();
  else if (getExpand() || getStorage() < Storage::Q4_0)
    return {};
  else if (getStorage() == Storage::Q2_K || getStorage() == Storage::Q3_K || getStorage() == Storage::Q6_K)
    group = 16;
  // A scale of x for 128 columns is one less to multiply with.
  int64_t rows = columns % 128 == 0 && 128 % group == 0 ? 128 : least;
  return QuantizedType::get(getContext(), columns, rows, rows == group ? 0 : group);
}

RankedTensorType WeightOp::getTensorType() { return cast<RankedTensorType>(getType()); }
int64_t WeightOp::getColumns() { return getTensorType().getShape().back(); }
int64_t WeightOp::getRows() { return getTensorType().getNumElements() / getColumns(); }

Storage mlc::graph::storageOf(Type element) {
  if (element.isF64())
    return Storage::F64;
  if (element.isF16())
    return Storage::F16;
  if (element.isBF16())
    return Storage::BF16;
  auto integer = dyn_cast<IntegerType>(element);
  if (!integer)
    return Storage::F32;
  unsigned bits = integer.getWidth();
  return bits == 1    ? Storage::I1
         : bits <= 8  ? Storage::I8
         : bits <= 16 ? Storage::I16
         : bits <= 32 ? Storage::I32
                      : Storage::I64;
}

int64_t mlc::graph::blockElements(Storage storage) {
  if (storage >= Storage::Q2_K)
    return 256;
  return storage >= Storage::Q4_0 ? 32 : 1;
}

LogicalResult WeightOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || !type.hasStaticShape() || type.getRank() < 1)
    return emitOpError("needs a static shape of at least one axis");
  int64_t count = 1;
  for (int64_t dim : type.getShape())
    if (dim < 1 || __builtin_mul_overflow(count, dim, &count) || count > (int64_t(1) << 48))
      return emitOpError("shape is empty or absurdly large");
  Storage own = storageOf(type.getElementType());
  bool floats = getStorage() <= Storage::BF16 || getStorage() >= Storage::Q4_0;
  if (type.getElementType().isF32() ? !floats : own != getStorage())
    return emitOpError("of type ") << type << " cannot be stored " << stringifyStorage(getStorage());
  if (type.getShape().back() % blockElements(getStorage()))
    return emitOpError("stored ") << stringifyStorage(getStorage()) << ", whose blocks of "
                                  << blockElements(getStorage()) << " do not divide " << type.getShape().back()
                                  << " columns";
  if (getBf16() && (getQuant() || getQuantizedRows()))
    return emitOpError("only a weight of floats is rounded to bf16");
  if (ShardAttr shard = getShardAttr()) {
    if (shard.getRanks() < 2 || shard.getAxis() < 0 || shard.getAxis() >= type.getRank())
      return emitOpError("shard needs at least 2 ranks and an axis of the tensor");
    int64_t length = 0;
    for (int64_t piece : shard.getPieces())
      length += piece > 0 && piece % shard.getRanks() == 0 ? piece / shard.getRanks() : type.getNumElements() + 1;
    if (!shard.getPieces().empty() && length != type.getDimSize(shard.getAxis()))
      return emitOpError("shard's pieces do not give ") << type.getDimSize(shard.getAxis()) << " a rank";
  }
  if (getQuant() && type.getRank() != 2 && type.getRank() != 3)
    return emitOpError("only a matrix, or one for each expert, can be quantized");
  if (std::optional<ArrayRef<float>> importance = getImportance()) {
    int64_t matrices = type.getRank() == 3 ? type.getDimSize(0) : 1;
    if (type.getRank() < 2 || type.getRank() > 3 || int64_t(importance->size()) != matrices * type.getShape().back())
      return emitOpError("importance needs one value for each column of a matrix, or of one for each expert");
    if (!llvm::all_of(*importance, [](float value) { return value >= 0 && value < INFINITY; }))
      return emitOpError("importance must be finite and not negative");
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Weights of ops
//===----------------------------------------------------------------------===//

WeightOp mlc::graph::resolveWeight(Operation *op, SymbolTableCollection &symbols, FlatSymbolRefAttr name,
                                   int64_t rank) {
  auto weight = symbols.lookupNearestSymbolFrom<WeightOp>(op, name);
  if (!weight)
    op->emitOpError("names ") << name << ", which is no graph.weight";
  else if (weight.getTensorType().getRank() != rank) {
    op->emitOpError("needs ") << name << " to have " << rank << " axes";
    weight = {};
  } else if (!weight.getTensorType().getElementType().isF32() || weight.getStorage() == Storage::F64) {
    op->emitOpError("needs ") << name << " to be of f32 values";
    weight = {};
  }
  return weight;
}

LogicalResult EmbeddingOp::verifySymbolUses(SymbolTableCollection &symbols) {
  WeightOp weight = resolveWeight(*this, symbols, getWeightAttr(), 2);
  if (!weight)
    return failure();
  if (weight.getTensorType().getDimSize(1) != getColumns(getResult().getType()))
    return emitOpError("result has ") << getColumns(getResult().getType()) << " columns, the weight "
                                      << weight.getTensorType().getDimSize(1);
  return success();
}

LogicalResult LinearOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (getWeights().empty())
    return emitOpError("needs a weight");
  if (getBiases() && getBiases()->size() != getWeights().size())
    return emitOpError("needs a bias for each weight or none");
  int64_t outputs = 0;
  for (auto [i, attribute] : llvm::enumerate(getWeights())) {
    WeightOp weight = resolveWeight(*this, symbols, cast<FlatSymbolRefAttr>(attribute), 2);
    if (!weight)
      return failure();
    if (weight.getTensorType().getDimSize(1) != getColumns(getInput().getType()))
      return emitOpError("input has ") << getColumns(getInput().getType()) << " columns, weight " << attribute << " "
                                       << weight.getTensorType().getDimSize(1);
    int64_t rows = weight.getTensorType().getDimSize(0);
    outputs += rows;
    auto quantized = dyn_cast<QuantizedType>(getInput().getType());
    if (quantized && quantized != weight.getQuantizedRows())
      return emitOpError("has an input of type ") << quantized << ", which does not meet weight " << attribute;
    if (getBf16() && !weight.getBf16() && !weight.getQuantizedRows())
      return emitOpError("with bf16 products reads weight ") << attribute << ", which is not rounded";
    if (!getBiases())
      continue;
    auto name = cast<FlatSymbolRefAttr>((*getBiases())[i]);
    WeightOp bias = resolveWeight(*this, symbols, name, 1);
    if (!bias)
      return failure();
    if (bias.getTensorType().getDimSize(0) != rows)
      return emitOpError("bias ") << name << " has " << bias.getTensorType().getDimSize(0) << " values, its weight "
                                  << rows << " rows";
  }
  if (getGate() && (outputs % 2 || getResidual() || (!isa<QuantizedType>(getInput().getType()) && !getBf16())))
    return emitOpError("with a gate takes quantized or rounded rows, an even number of weight rows and no residual");
  if (getBf16() && isa<QuantizedType>(getInput().getType()))
    return emitOpError("with bf16 products takes f32 rows");
  if (!getGate() && isa<QuantizedType>(getResult().getType()))
    return emitOpError("without a gate gives f32");
  if (outputs / (getGate() ? 2 : 1) != getColumns(getResult().getType()))
    return emitOpError("result has ") << getColumns(getResult().getType()) << " columns, the weights " << outputs
                                      << " rows";
  if (getResidual() && getResidual().getType() != getResult().getType())
    return emitOpError("residual must have the result's type");
  return success();
}

//===----------------------------------------------------------------------===//
// Mixtures of experts
//===----------------------------------------------------------------------===//

LogicalResult MoeOp::verify() {
  int64_t experts = getExperts(), chosen = getTopK(), groups = getGroups(), kept = getTopGroups();
  if (experts < 1 || experts > 65536)
    return emitOpError("has ") << experts << " experts; 1 to 65536 are expected";
  if (chosen < 1 || chosen > experts)
    return emitOpError("takes ") << chosen << " of " << experts
                                 << " experts for a token; 1 to all of them are expected";
  if (getColumns(getLogits().getType()) != experts)
    return emitOpError("has logits of ") << getColumns(getLogits().getType()) << " columns for " << experts
                                         << " experts";
  bool sigmoid = getRouter() == RouterForm::sigmoid;
  if (groups < 1 || experts % groups || kept < 1 || kept > groups)
    return emitOpError("takes ") << kept << " of " << groups << " groups; they must divide the experts";
  if (groups > 1 && (!sigmoid || experts / groups < 2))
    return emitOpError("has groups, for which the router must be sigmoid and a group have two experts");
  if (chosen > experts / groups * kept)
    return emitOpError("takes ") << chosen << " experts for a token, more than its groups hold";
  if (getSelectionBias() && !sigmoid)
    return emitOpError("has a selection bias, which only the sigmoid router takes");
  if (!(getScale().isFinite()))
    return emitOpError("scale must be finite");
  if (getInto().empty() || getInto().size() > 2 || (getInto().size() == 2 && !getGated()))
    return emitOpError("takes one list of weights into the experts, or gate and up");
  bool quantized = isa<QuantizedType>(getInput().getType());
  if ((getHidden() && !quantized) || (getBf16() && quantized))
    return emitOpError("quantizes what is hidden with quantized rows only, and rounds to bf16 with f32 rows only");
  if (getResidual() && getResidual().getType() != getResult().getType())
    return emitOpError("residual must have the result's type");
  return success();
}

SmallVector<FlatSymbolRefAttr> MoeOp::getExpertWeights() {
  SmallVector<FlatSymbolRefAttr> names;
  for (Attribute part : getInto())
    llvm::append_range(names, cast<ArrayAttr>(part).getAsRange<FlatSymbolRefAttr>());
  llvm::append_range(names, getDown().getAsRange<FlatSymbolRefAttr>());
  return names;
}

int64_t MoeOp::expertRows(WeightOp weight, int64_t experts) {
  return weight.getTensorType().getRank() == 3 ? weight.getTensorType().getDimSize(1)
                                               : weight.getTensorType().getDimSize(0);
}

/// The rows of one expert in `part`, a list of `columns` columns for each of its weights; failure after a diagnostic.
static FailureOr<int64_t> verifyExperts(MoeOp op, SymbolTableCollection &symbols, ArrayAttr part, int64_t columns,
                                        QuantizedType rows) {
  int64_t experts = op.getExperts();
  auto first =
      part.empty() ? WeightOp() : symbols.lookupNearestSymbolFrom<WeightOp>(op, cast<FlatSymbolRefAttr>(part[0]));
  bool stacked = part.size() == 1 && first && first.getTensorType().getRank() == 3;
  if (!stacked && int64_t(part.size()) != experts)
    return op.emitOpError("lists ") << part.size() << " weights for " << experts
                                    << " experts; one for each, or one of three axes, is expected";
  for (auto name : part.getAsRange<FlatSymbolRefAttr>()) {
    WeightOp weight = resolveWeight(op, symbols, name, stacked ? 3 : 2);
    if (!weight)
      return failure();
    RankedTensorType type = weight.getTensorType();
    if (stacked && type.getDimSize(0) != experts)
      return op.emitOpError("weight ") << name << " holds " << type.getDimSize(0) << " experts, the op has " << experts;
    if (weight.getColumns() != columns)
      return op.emitOpError("weight ") << name << " has " << weight.getColumns() << " columns, what it meets "
                                       << columns;
    if (type != first.getTensorType())
      return op.emitOpError("weight ") << name << " has another shape than its list's first";
    if (rows && rows != weight.getQuantizedRows())
      return op.emitOpError("has rows of type ") << rows << ", which do not meet weight " << name;
    if (op.getBf16() && !weight.getBf16() && !weight.getQuantizedRows())
      return op.emitOpError("with bf16 products reads weight ") << name << ", which is not rounded";
  }
  return MoeOp::expertRows(first, experts);
}

LogicalResult MoeOp::verifySymbolUses(SymbolTableCollection &symbols) {
  int64_t hidden = 0;
  for (auto part : getInto().getAsRange<ArrayAttr>()) {
    FailureOr<int64_t> rows = verifyExperts(*this, symbols, part, getColumns(getInput().getType()),
                                            dyn_cast<QuantizedType>(getInput().getType()));
    if (failed(rows))
      return failure();
    if (hidden && *rows != hidden)
      return emitOpError("has gates of ") << hidden << " rows, what they multiply has " << *rows;
    hidden = *rows;
  }
  if (getGated() && getInto().size() == 1) {
    if (hidden % 2)
      return emitOpError("halves an odd number of rows, ") << hidden;
    hidden /= 2;
  }
  FailureOr<int64_t> rows = verifyExperts(*this, symbols, getDown(), hidden,
                                          getHidden() ? cast<QuantizedType>(*getHidden()) : QuantizedType());
  if (failed(rows))
    return failure();
  if (*rows != getColumns(getResult().getType()))
    return emitOpError("result has ") << getColumns(getResult().getType()) << " columns, an expert gives " << *rows;
  if (FlatSymbolRefAttr name = getSelectionBiasAttr()) {
    WeightOp bias = resolveWeight(*this, symbols, name, 1);
    if (!bias)
      return failure();
    if (bias.getColumns() != int64_t(getExperts()))
      return emitOpError("selection bias ")
             << name << " has " << bias.getColumns() << " values for " << getExperts() << " experts";
  }
  return success();
}

LogicalResult ScaleRowsOp::verify() {
  auto input = cast<RankedTensorType>(getInput().getType()), factors = cast<RankedTensorType>(getFactors().getType());
  if (input.getRank() != 2 || factors.getRank() != 2 || factors.getDimSize(1) != 1 ||
      factors.getDimSize(0) != input.getDimSize(0))
    return emitOpError("takes a matrix and one factor for each of its rows");
  return success();
}

static LogicalResult verifyNormWeight(Operation *op, SymbolTableCollection &symbols, FlatSymbolRefAttr name, Type type,
                                      bool whole) {
  WeightOp weight = resolveWeight(op, symbols, name, 1);
  if (!weight)
    return failure();
  int64_t width = weight.getTensorType().getDimSize(0), columns = getColumns(type);
  if (columns % width || (whole && columns != width))
    return op->emitOpError("weight ") << name << " of " << width << " values does not fit " << columns << " columns";
  return success();
}
LogicalResult RmsNormOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyNormWeight(*this, symbols, getWeightAttr(), getResult().getType(), /*whole=*/false);
}
LogicalResult AddRmsNormOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyNormWeight(*this, symbols, getWeightAttr(), getResult().getType(), /*whole=*/true);
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

LogicalResult GatherRowsOp::verify() {
  auto input = cast<RankedTensorType>(getInput().getType()), result = cast<RankedTensorType>(getResult().getType());
  auto rows = cast<RankedTensorType>(getRows().getType());
  if (input.getRank() != 2 || result.getRank() != 2 || result.getDimSize(1) != input.getDimSize(1) ||
      result.getDimSize(0) != rows.getDimSize(0))
    return emitOpError("result must be [rows, columns of the input]");
  return success();
}

LogicalResult SplitOp::verify() {
  auto input = cast<RankedTensorType>(getInput().getType());
  if (input.getRank() < 1 || getResults().empty())
    return emitOpError("needs an axis to cut and a piece");
  int64_t columns = 0;
  for (Type type : getResultTypes()) {
    auto piece = cast<RankedTensorType>(type);
    if (piece.getShape().drop_back() != input.getShape().drop_back() || piece.isDynamicDim(piece.getRank() - 1))
      return emitOpError("every piece must have the input's leading axes and a static last one");
    columns += piece.getShape().back();
  }
  if (columns != input.getShape().back())
    return emitOpError("pieces hold ") << columns << " columns, the input " << input.getShape().back();
  return success();
}

LogicalResult AllReduceOp::verify() {
  if (getRanks() < 2)
    return emitOpError("needs at least 2 ranks");
  if (getResidual() && getResidual().getType() != getResult().getType())
    return emitOpError("residual must have the result's type");
  return success();
}

LogicalResult QuantizeRowsOp::verify() {
  if (getResult().getType().getColumns() != getColumns(getInput().getType()))
    return emitOpError("result must have the input's columns");
  return success();
}

LogicalResult RopeAnglesOp::verify() {
  int64_t rotary = getRotaryDim();
  if (rotary < 2 || rotary % 2)
    return emitOpError("rotary_dim must be even and positive");
  if (getColumns(getResult().getType()) != rotary)
    return emitOpError("result must have rotary_dim columns");
  if (!(getTheta().convertToDouble() > 0) || !(getFactor().convertToDouble() > 0))
    return emitOpError("theta and factor must be positive");
  bool needsContext = llvm::is_contained(
      {RopeScaling::dynamic, RopeScaling::yarn, RopeScaling::longrope, RopeScaling::llama3}, getScaling());
  if (needsContext && int64_t(getOriginalContext()) < 1)
    return emitOpError("scaling ") << stringifyRopeScaling(getScaling()) << " needs original_context";
  if (getScaling() == RopeScaling::yarn && (!getBetaFast() || !getBetaSlow()))
    return emitOpError("yarn needs beta_fast and beta_slow");
  if (getScaling() == RopeScaling::llama3 && (!getLowFreqFactor() || !getHighFreqFactor()))
    return emitOpError("llama3 needs low_freq_factor and high_freq_factor");
  if (getFactors() && (getScaling() != RopeScaling::none || int64_t(getFactors()->size()) != rotary / 2))
    return emitOpError("factors must be rotary_dim / 2 values and come without scaling");
  if (getScaling() == RopeScaling::longrope &&
      (!getShortFactors() || !getLongFactors() || int64_t(getShortFactors()->size()) != rotary / 2 ||
       int64_t(getLongFactors()->size()) != rotary / 2))
    return emitOpError("longrope needs rotary_dim / 2 short_factors and long_factors");
  return success();
}

LogicalResult RopeOp::verify() {
  int64_t head = getHeadDim(), rotary = getColumns(getAngles().getType());
  if (head < 1 || getColumns(getInput().getType()) % head)
    return emitOpError("head_dim must divide the input's columns");
  if (rotary > head || rotary % 2)
    return emitOpError("angles hold ") << rotary << " columns; an even number up to head_dim is needed";
  return success();
}

LogicalResult AttentionOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto state = symbols.lookupNearestSymbolFrom<StateOp>(*this, getStateAttr());
  if (!state || state.getKind() != StateKind::kv)
    return emitOpError("names ") << getStateAttr() << ", which is no graph.state of kind kv";
  int64_t heads = getHeads(), kvHeads = state.getKvHeads(), headDim = state.getHeadDim();
  if (heads < 1 || heads % kvHeads)
    return emitOpError("heads must be a multiple of the state's ") << kvHeads << " kv heads";
  if (getColumns(getQuery().getType()) != heads * headDim || getColumns(getKey().getType()) != kvHeads * headDim ||
      getKey().getType() != getValue().getType())
    return emitOpError("query must have heads * head_dim columns, key and value kv_heads * head_dim");
  bool codes = state.getDtype().value_or(Type()) && state.getDtype()->isInteger(8);
  if (getProducts() != Products::f32 && codes != (getProducts() == Products::i8))
    return emitOpError("takes products i8 of a state of i8, and of no other");
  if (getProducts() == Products::i8 && headDim > kCodesHeadDim)
    return emitOpError("takes products i8 of a head_dim of at most ") << kCodesHeadDim;
  return success();
}

LogicalResult SoftcapOp::verify() {
  if (!(getCap().convertToFloat() > 0))
    return emitOpError("cap must be positive");
  return success();
}

LogicalResult ScaleOp::verify() {
  if (!getFactor().isFinite())
    return emitOpError("factor must be finite");
  return success();
}

LogicalResult ScaleColumnsOp::verify() {
  int64_t columns = 0;
  for (int64_t piece : getColumns())
    if (piece < 1 || __builtin_add_overflow(columns, piece, &columns))
      return emitOpError("columns must be positive");
  if (getFactors().size() != getColumns().size() || columns != graph::getColumns(getInput().getType()))
    return emitOpError("needs a factor for each piece of columns, and pieces that fill the input's");
  if (!llvm::all_of(getFactors(), [](float factor) { return std::isfinite(factor); }))
    return emitOpError("factors must be finite");
  return success();
}
