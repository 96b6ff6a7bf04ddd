//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Verifiers of states and of the ops of recurrent layers.
//
#include "compiler/Dialect/Graph/IR/Verify.h"

#include <cmath>

using namespace mlir;
using namespace mlc::graph;

//===----------------------------------------------------------------------===//
// States
//===----------------------------------------------------------------------===//

/// Far above any model, far below where products of sizes overflow.
static constexpr int64_t kMaxStateValues = int64_t(1) << 32;

static LogicalResult verifyKv(StateOp state) {
  if (int64_t(state.getKvHeads()) < 1 || int64_t(state.getHeadDim()) < 1 || int64_t(state.getWindow()) < 0)
    return state.emitOpError("kv_heads and head_dim must be positive, window not negative");
  if (state.getDtype()) {
    Type type = *state.getDtype();
    if (!type.isF32() && !type.isF16() && !type.isBF16() && !type.isInteger(8))
      return state.emitOpError("dtype must be f32, f16, bf16 or i8");
  }
  return success();
}

static LogicalResult verifyConv(StateOp state) {
  // What a page of positions remembers must reach as far back as the kernel does.
  int64_t channels = state.getChannels(), kernel = state.getKernel();
  if (channels < 1 || channels > kMaxStateValues / kStatePage || kernel < 2 || kernel > kStatePage + 1)
    return state.emitOpError("channels must be positive, kernel from 2 to ") << kStatePage + 1;
  if (state.getDtype() && !state.getDtype()->isF32())
    return state.emitOpError("dtype must be f32");
  return success();
}

static LogicalResult verifySsm(StateOp state) {
  int64_t heads = state.getHeads(), dim = state.getHeadDim(), groups = state.getGroups(), size = state.getStateSize();
  int64_t values = 1;
  for (int64_t extent : {heads, dim, size})
    if (extent < 1 || __builtin_mul_overflow(values, extent, &values) || values > kMaxStateValues)
      return state.emitOpError("heads, head_dim and state_size must be positive, and their product at most 2^32");
  if (groups < 1 || heads % groups)
    return state.emitOpError("groups must divide the ") << heads << " heads";
  if (state.getDtype() && !state.getDtype()->isF32() && !state.getDtype()->isBF16())
    return state.emitOpError("dtype must be f32 or bf16");
  return success();
}

LogicalResult StateOp::verify() {
  static constexpr StringLiteral kv[] = {"kv_heads", "head_dim", "window"}, conv[] = {"channels", "kernel"},
                                 ssm[] = {"heads", "head_dim", "groups", "state_size"};
  ArrayRef<StringLiteral> own;
  switch (getKind()) {
  case StateKind::kv:
    own = kv;
    break;
  case StateKind::conv:
    own = conv;
    break;
  case StateKind::ssm:
    own = ssm;
    break;
  default:
    return emitOpError("kind ") << stringifyStateKind(getKind()) << " is not available yet; kv, conv and ssm are";
  }
  if (getScope() != StateScope::sequence)
    return emitOpError("a ") << stringifyStateKind(getKind()) << " state belongs to a sequence";
  for (ArrayRef<StringLiteral> others : {ArrayRef(kv), ArrayRef(conv), ArrayRef(ssm)})
    for (StringRef name : others)
      if (auto value = (*this)->getAttrOfType<IntegerAttr>(name);
          value && value.getInt() != 0 && !llvm::is_contained(own, name))
        return emitOpError("of kind ") << stringifyStateKind(getKind()) << " has no " << name;
  return getKind() == StateKind::kv     ? verifyKv(*this)
         : getKind() == StateKind::conv ? verifyConv(*this)
                                        : verifySsm(*this);
}

/// The state `name` of that kind; null after a diagnostic.
static StateOp resolveState(Operation *op, SymbolTableCollection &symbols, FlatSymbolRefAttr name, StateKind kind) {
  auto state = symbols.lookupNearestSymbolFrom<StateOp>(op, name);
  if (state && state.getKind() == kind)
    return state;
  op->emitOpError("names ") << name << ", which is no graph.state of kind " << stringifyStateKind(kind);
  return {};
}

/// Whether the weight `name` holds `count` values, whatever its axes: checkpoints store vectors as [n], [n, 1] and
/// [groups, n / groups].
static LogicalResult verifyVector(Operation *op, SymbolTableCollection &symbols, FlatSymbolRefAttr name,
                                  int64_t count) {
  auto weight = symbols.lookupNearestSymbolFrom<WeightOp>(op, name);
  if (!weight)
    return op->emitOpError("names ") << name << ", which is no graph.weight";
  if (weight.getQuant())
    return op->emitOpError("reads ") << name << " as floats; it cannot be quantized";
  if (weight.getTensorType().getNumElements() != count)
    return op->emitOpError("needs ") << count << " values of " << name << ", which holds "
                                     << weight.getTensorType().getNumElements();
  return success();
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

LogicalResult Conv1dCausalOp::verifySymbolUses(SymbolTableCollection &symbols) {
  StateOp state = resolveState(*this, symbols, getStateAttr(), StateKind::conv);
  if (!state)
    return failure();
  int64_t channels = state.getChannels(), kernel = state.getKernel();
  if (cast<RankedTensorType>(getInput().getType()).getRank() != 2 || getColumns(getInput().getType()) != channels)
    return emitOpError("input must be [tokens, ") << channels << "], the state's channels";
  if (failed(verifyVector(*this, symbols, getWeightAttr(), channels * kernel)))
    return failure();
  auto weight = symbols.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  ArrayRef<int64_t> shape = weight.getTensorType().getShape();
  if (shape.front() != channels || shape.back() != kernel)
    return emitOpError("weight ") << getWeightAttr() << " must be [" << channels << ", " << kernel << "] or ["
                                  << channels << ", 1, " << kernel << "], as the state says";
  return getBias() ? verifyVector(*this, symbols, getBiasAttr(), channels) : success();
}

LogicalResult SsdOp::verifySymbolUses(SymbolTableCollection &symbols) {
  StateOp state = resolveState(*this, symbols, getStateAttr(), StateKind::ssm);
  if (!state)
    return failure();
  if (getProducts() == Products::i8)
    return emitOpError("takes products f32 or bf16");
  int64_t heads = state.getHeads(), group = state.getGroups() * state.getStateSize();
  for (auto [value, columns, what] :
       {std::tuple(getInput(), int64_t(heads * state.getHeadDim()), "x must have heads * head_dim"),
        std::tuple(getDt(), heads, "dt must have heads"),
        std::tuple(getB(), group, "b and c must have groups * state_size")})
    if (cast<RankedTensorType>(value.getType()).getRank() != 2 || getColumns(value.getType()) != columns)
      return emitOpError(what) << ", " << columns << " columns";
  for (FlatSymbolRefAttr name : {getAAttr(), getDAttr(), getDtBiasAttr()})
    if (failed(verifyVector(*this, symbols, name, heads)))
      return failure();
  float least = getDtMin().convertToFloat();
  if (!(least >= 0 && least < INFINITY) || (getDtMax() && !(getDtMax()->convertToFloat() >= least)))
    return emitOpError("dt_min must be finite and not negative, dt_max not below it");
  return success();
}

LogicalResult GatedRmsNormOp::verifySymbolUses(SymbolTableCollection &symbols) {
  int64_t columns = getColumns(getResult().getType()), group = getGroup();
  if (group < 1 || columns % group)
    return emitOpError("group of ") << group << " does not divide " << columns << " columns";
  if (!(getEps().convertToFloat() >= 0) || !getEps().isFinite())
    return emitOpError("eps must be finite and not negative");
  return verifyVector(*this, symbols, getWeightAttr(), columns);
}
