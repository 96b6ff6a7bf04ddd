//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Conversion/GraphToExec/Lowering.h"

#include "targets/cpu/pack/Layout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlc;
using exec::WeightFormat;

LogicalResult Lowering::lower(Operation *op) {
  current = op;
  location = op->getLoc();
  if (isa<graph::EmbeddingOp, graph::GatherRowsOp, graph::SplitOp>(op))
    return lowerTokens(*this, op);
  if (isa<graph::QuantizeRowsOp, graph::LinearOp, graph::AllReduceOp>(op))
    return lowerProducts(*this, op);
  if (isa<graph::MoeOp, graph::ScaleRowsOp>(op))
    return lowerMoe(*this, op);
  if (isa<graph::RmsNormOp, graph::AddRmsNormOp, graph::RopeAnglesOp, graph::RopeOp, graph::AttentionOp>(op))
    return lowerAttention(*this, op);
  if (isa<graph::Conv1dCausalOp, graph::SsdOp, graph::GatedRmsNormOp>(op))
    return lowerRecurrent(*this, op);
  if (isa<func::ReturnOp, scf::IfOp, scf::ForOp, scf::YieldOp, tensor::ExtractOp, arith::IndexCastOp>(op) ||
      (isa<arith::ConstantOp>(op) && !isa<TensorType>(op->getResult(0).getType())))
    return lowerControlFlow(*this, op);
  if (isa<linalg::GenericOp>(op))
    return lowerRegion(*this, op);
  return lowerElementwise(*this, op);
}

//===----------------------------------------------------------------------===//
// Slots
//===----------------------------------------------------------------------===//

static MemRefType bufferType(ArrayRef<int64_t> shape, Type element) { return MemRefType::get(shape, element); }

Value Lowering::newSlot(Value value) {
  FailureOr<ArrayRef<Attribute>> dims = extents.dims(value);
  if (failed(dims))
    return {};
  auto type = cast<RankedTensorType>(value.getType());
  auto slot = builder.create<exec::SlotOp>(location, bufferType(type.getShape(), type.getElementType()),
                                           builder.getArrayAttr(*dims), IntegerAttr(), IntegerAttr(), StringAttr(),
                                           ArrayAttr());
  if (Operation *op = value.getDefiningOp(); op && op->getResult(0) == value) {
    slot.setTapAttr(op->getAttrOfType<StringAttr>(graph::kTapAttr));
    slot.setInnerTapsAttr(op->getAttrOfType<ArrayAttr>(graph::kInnerTapsAttr));
  }
  bind(value, slot);
  return slot;
}

Value Lowering::newRows(Value like, int64_t columns, Type element) {
  FailureOr<ArrayRef<Attribute>> dims = extents.dims(like);
  if (failed(dims))
    return {};
  SmallVector<Attribute> axes(*dims);
  axes.back() = builder.getI64IntegerAttr(columns);
  SmallVector<int64_t> shape(cast<RankedTensorType>(like.getType()).getShape());
  shape.back() = columns;
  return builder.create<exec::SlotOp>(location, bufferType(shape, element), builder.getArrayAttr(axes), IntegerAttr(),
                                      IntegerAttr(), StringAttr(), ArrayAttr());
}

Value Lowering::columns(Value buffer, int64_t first, int64_t count) {
  auto type = cast<MemRefType>(buffer.getType());
  SmallVector<int64_t> strides, shape(type.getShape());
  int64_t offset;
  LogicalResult strided = getStridesAndOffset(type, strides, offset);
  assert(succeeded(strided) && "slots and their views are strided");
  (void)strided;
  shape.back() = count;
  auto layout = StridedLayoutAttr::get(builder.getContext(), offset + first, strides);
  return builder.create<exec::ViewOp>(location, MemRefType::get(shape, type.getElementType(), layout), buffer, first);
}

Value Lowering::newQuantizedRows(Value rows, graph::QuantizedType type) {
  Value like = graph::unquantized(rows);
  if (!like)
    return {};
  return newRows(like, cpu::QuantizedRow(type.getColumns(), type.getGroup(), type.getSums()).bytes,
                 builder.getIntegerType(8, /*isSigned=*/false));
}

Value Lowering::inPlaceOrNew(Value operand, Value result) {
  Operation *producer = operand.getDefiningOp();
  // A value from an outer block is read again by the next iteration or the other branch.
  bool ours = producer && producer->getBlock() == current->getBlock() && !isa<arith::ConstantOp>(producer);
  // A piece of a value that is read whole elsewhere, too.
  for (auto split = dyn_cast_or_null<graph::SplitOp>(producer); split;
       split = split.getInput().getDefiningOp<graph::SplitOp>())
    ours &= split.getInput().hasOneUse() && split.getInput().getDefiningOp();
  if (!ours || !operand.hasOneUse() || operand.getType() != result.getType())
    return newSlot(result);
  overwriteTaps(buffer(operand));
  bind(result, buffer(operand));
  return buffer(operand);
}

void Lowering::overwriteTaps(Value buffer) {
  exec::SlotOp slot = exec::baseSlot(buffer);
  SmallVector<Attribute> inner(slot.getInnerTaps().value_or(ArrayAttr::get(builder.getContext(), {})).getValue());
  StringAttr tap = current->getAttrOfType<StringAttr>(graph::kTapAttr);
  bool whole = slot.getResult() == buffer;
  // The slot's own name goes with the value that is overwritten; columns of a slot cannot name it.
  if (StringAttr former = slot.getTapAttr(); former && whole)
    inner.push_back(former);
  if (tap && !whole)
    inner.push_back(tap);
  if (whole)
    slot.setTapAttr(tap);
  if (auto swallowed = current->getAttrOfType<ArrayAttr>(graph::kInnerTapsAttr))
    llvm::append_range(inner, swallowed);
  if (!inner.empty())
    slot.setInnerTapsAttr(builder.getArrayAttr(inner));
}

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

exec::FuncOp Lowering::function() {
  Operation *parent = builder.getInsertionBlock()->getParentOp();
  auto function = dyn_cast<exec::FuncOp>(parent);
  return function ? function : parent->getParentOfType<exec::FuncOp>();
}

Value Lowering::constant(Location where, const std::string &name, MemRefType type, exec::WeightAttr weight,
                         ArrayRef<Attribute> sources, ArrayRef<float> values, DenseF32ArrayAttr importance,
                         int64_t count, ElementsAttr elements) {
  SmallVector<Attribute> names;
  SmallVector<Attribute> parts;
  bool sharded = false;
  for (Attribute source : sources) {
    names.push_back(builder.getStringAttr(cast<FlatSymbolRefAttr>(source).getValue()));
    SmallVector<int64_t> part;
    if (graph::ShardAttr shard = graph::lookupWeight(current, cast<FlatSymbolRefAttr>(source)).getShardAttr()) {
      part = {shard.getRanks(), shard.getAxis()};
      llvm::append_range(part, shard.getPieces());
      sharded = true;
    }
    parts.push_back(builder.getDenseI64ArrayAttr(part));
  }
  ArrayAttr shards = sharded ? builder.getArrayAttr(parts) : ArrayAttr();
  ArrayAttr sourceNames = names.empty() ? ArrayAttr() : builder.getArrayAttr(names);
  DenseF32ArrayAttr data = values.empty() ? DenseF32ArrayAttr() : builder.getDenseF32ArrayAttr(values);
  // What holds the same is shared; something else that wants a taken name is numbered.
  std::string unique = name;
  for (unsigned i = 1;; ++i) {
    exec::ConstantOp &made = constants[unique];
    if (!made) {
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPoint(function());
      made = builder.create<exec::ConstantOp>(where, unique, type, weight, sourceNames, data, IntegerAttr(), importance,
                                              uint64_t(count), elements, shards);
    }
    if (made.getType() == type && made.getWeightAttr() == weight && made.getSourcesAttr() == sourceNames &&
        made.getValuesAttr() == data && made.getImportanceAttr() == importance && made.getElementsAttr() == elements &&
        made.getShardsAttr() == shards)
      return builder.create<exec::WeightOp>(location, type, unique);
    unique = name + "." + std::to_string(i);
  }
}

WeightFormat Lowering::productFormat(graph::WeightOp weight) {
  if (graph::QuantAttr quant = weight.getQuantAttr())
    return quant.getBits() == 8 ? WeightFormat::panel_int8 : WeightFormat::panel_int4;
  if (weight.getBf16())
    return WeightFormat::panel_bf16;
  bool rows = codeTarget.device;
  if (weight.getExpand() || weight.getStorage() == graph::Storage::F32)
    return rows ? WeightFormat::rows_f32 : WeightFormat::panel_f32;
  if (weight.getStorage() == graph::Storage::F16)
    return rows ? WeightFormat::rows_f16 : WeightFormat::panel_f16;
  if (weight.getStorage() == graph::Storage::BF16)
    return rows ? WeightFormat::rows_bf16 : WeightFormat::panel_bf16;
  // Block formats carry the same numbers in all enums.
  auto block = fb::WeightFormat(uint32_t(weight.getStorage()));
  bool panel = rows ? block == fb::WeightFormat::block_q4_0 || block == fb::WeightFormat::block_q8_0
                    : readsOf(weight.getSymName()).quantized;
  return WeightFormat(panel ? cpu::panelOfBlock(block) : block);
}

WeightFormat Lowering::rowsFormat(graph::WeightOp weight) {
  WeightFormat format = productFormat(weight);
  switch (format) {
  case WeightFormat::panel_f32:
    return WeightFormat::rows_f32;
  case WeightFormat::panel_f16:
    return WeightFormat::rows_f16;
  case WeightFormat::panel_bf16:
    return WeightFormat::rows_bf16;
  default:
    return format;
  }
}

/// Experts' products read panels on every target.
static WeightFormat panelsOf(WeightFormat format) {
  switch (format) {
  case WeightFormat::rows_f32:
    return WeightFormat::panel_f32;
  case WeightFormat::rows_f16:
    return WeightFormat::panel_f16;
  case WeightFormat::rows_bf16:
    return WeightFormat::panel_bf16;
  default:
    return format;
  }
}

static exec::WeightAttr describe(graph::WeightOp weight, WeightFormat format, int64_t rows) {
  graph::QuantAttr quant = weight.getQuantAttr();
  return exec::WeightAttr::get(weight.getContext(), rows, weight.getColumns(), quant ? quant.getGroup() : 0, format,
                               quant && quant.getAsymmetric());
}

/// The buffer type of a constant of `count` matrices: bytes for packed formats, [n, k] of the element for rows.
static FailureOr<MemRefType> constantType(Location location, exec::WeightAttr weight, int64_t count = 1) {
  Builder builder(weight.getContext());
  switch (weight.getFormat()) {
  case WeightFormat::rows_f32:
    return bufferType({weight.getN(), weight.getK()}, builder.getF32Type());
  case WeightFormat::rows_f16:
    return bufferType({weight.getN(), weight.getK()}, builder.getF16Type());
  case WeightFormat::rows_bf16:
    return bufferType({weight.getN(), weight.getK()}, builder.getBF16Type());
  default:
    break;
  }
  auto bytes = cpu::packedBytes(fb::WeightDesc(weight.getN(), weight.getK(), weight.getGroup(),
                                               fb::WeightFormat(weight.getFormat()), weight.getAsymmetric()));
  if (!bytes) {
    emitError(location, bytes.error().message());
    return failure();
  }
  int64_t all;
  if (__builtin_mul_overflow(int64_t(*bytes), count, &all)) {
    emitError(location, "the experts' weights are larger than any file");
    return failure();
  }
  return bufferType({all}, builder.getIntegerType(8, /*isSigned=*/false));
}

static std::string joinNames(ArrayRef<Attribute> weights) {
  std::string name;
  for (Attribute weight : weights)
    name += (name.empty() ? "" : "|") + cast<FlatSymbolRefAttr>(weight).getValue().str();
  return name;
}

bool Lowering::storedAlike(graph::WeightOp weight, graph::WeightOp first, bool matrices) {
  bool alike = productFormat(weight) == productFormat(first) && weight.getQuantAttr() == first.getQuantAttr() &&
               (matrices || weight.getImportanceAttr() == first.getImportanceAttr());
  if (!alike)
    current->emitOpError("reads @") << weight.getSymName() << " and @" << first.getSymName()
                                    << ", which are not stored alike; --quant int8 or int4 stores them anew";
  return alike;
}

std::pair<Value, exec::WeightAttr> Lowering::expertWeights(ArrayRef<ArrayAttr> parts, int64_t rows) {
  SmallVector<Attribute> names;
  for (ArrayAttr part : parts)
    llvm::append_range(names, part);
  graph::WeightOp first = graph::lookupWeight(current, cast<FlatSymbolRefAttr>(names[0]));
  int64_t count = 0;
  SmallVector<float> importance;
  for (Attribute name : names) {
    graph::WeightOp weight = graph::lookupWeight(current, cast<FlatSymbolRefAttr>(name));
    if (!storedAlike(weight, first, /*matrices=*/true))
      return {};
    int64_t matrices = weight.getRows() / rows;
    count += matrices;
    // Only packing reads it. A weight without is one whose columns all cost the same.
    if (std::optional<ArrayRef<float>> costs = weight.getImportance(); first.getQuant()) {
      int64_t columns = weight.getColumns(), experts = costs ? int64_t(costs->size()) / columns : 1;
      for (int64_t matrix = 0; matrix < matrices; ++matrix)
        if (costs)
          llvm::append_range(importance, costs->slice(matrix / (matrices / experts) * columns, columns));
        else
          importance.append(columns, 1.0f);
    }
  }
  bool weighed = llvm::any_of(importance, [](float cost) { return cost != 1; });
  exec::WeightAttr desc = describe(first, panelsOf(productFormat(first)), rows);
  FailureOr<MemRefType> type = constantType(location, desc, count);
  if (failed(type))
    return {};
  // The name of every expert would be a long one.
  std::string name;
  for (ArrayAttr part : parts)
    name += (name.empty() ? "" : "|") + cast<FlatSymbolRefAttr>(part[0]).getValue().str();
  return {constant(first.getLoc(), name, *type, desc, names, {},
                   weighed ? builder.getDenseF32ArrayAttr(importance) : DenseF32ArrayAttr(), count),
          desc};
}

std::pair<Value, exec::WeightAttr> Lowering::productWeight(ArrayAttr weights) {
  graph::WeightOp first = graph::lookupWeight(current, cast<FlatSymbolRefAttr>(weights[0]));
  int64_t rows = 0;
  for (Attribute name : weights) {
    graph::WeightOp weight = graph::lookupWeight(current, cast<FlatSymbolRefAttr>(name));
    if (!storedAlike(weight, first))
      return {};
    rows += weight.getTensorType().getDimSize(0);
  }
  exec::WeightAttr desc = describe(first, productFormat(first), rows);
  FailureOr<MemRefType> type = constantType(location, desc);
  if (failed(type))
    return {};
  // Only packing reads it.
  DenseF32ArrayAttr importance = first.getQuant() ? first.getImportanceAttr() : DenseF32ArrayAttr();
  return {constant(first.getLoc(), joinNames(weights.getValue()), *type, desc, weights.getValue(), {}, importance),
          desc};
}

bool Lowering::packsFloats(graph::WeightOp weight) {
  if (!codeTarget.xnnpack || weight.getBf16())
    return false;
  WeightFormat format = productFormat(weight);
  return format == WeightFormat::panel_f32 || format == WeightFormat::panel_f16 || format == WeightFormat::panel_bf16;
}

std::pair<Value, exec::WeightAttr> Lowering::xnnpackWeight(ArrayAttr weights) {
  int64_t rows = 0;
  for (Attribute name : weights) {
    graph::WeightOp weight = graph::lookupWeight(current, cast<FlatSymbolRefAttr>(name));
    if (!packsFloats(weight))
      return {};
    rows += weight.getTensorType().getDimSize(0);
  }
  graph::WeightOp first = graph::lookupWeight(current, cast<FlatSymbolRefAttr>(weights[0]));
  exec::WeightAttr desc = describe(first, WeightFormat::rows_f32, rows);
  return {constant(first.getLoc(), joinNames(weights.getValue()), bufferType({rows, desc.getK()}, builder.getF32Type()),
                   desc, weights.getValue(), {}),
          desc};
}

bool Lowering::takesXnnpack(ValueRange buffers) const {
  return codeTarget.xnnpack && llvm::all_of(buffers.getTypes(), [](Type type) {
           auto buffer = cast<MemRefType>(type);
           return buffer.getElementType().isF32() && buffer.getLayout().isIdentity();
         });
}

Lowering::Reads Lowering::readsOf(StringRef weight) {
  if (!productReads) {
    productReads.emplace();
    auto note = [&](ArrayAttr weights, bool quantized) {
      for (auto name : weights.getAsRange<FlatSymbolRefAttr>()) {
        Reads &reads = (*productReads)[name.getValue()];
        reads.any = true;
        reads.quantized |= quantized;
      }
    };
    graph.walk([&](graph::LinearOp linear) {
      note(linear.getWeights(), isa<graph::QuantizedType>(linear.getInput().getType()));
    });
    graph.walk([&](graph::MoeOp moe) {
      for (auto part : moe.getInto().getAsRange<ArrayAttr>())
        note(part, isa<graph::QuantizedType>(moe.getInput().getType()));
      note(moe.getDown(), moe.getHidden().has_value());
    });
  }
  return productReads->lookup(weight);
}

std::pair<Value, exec::WeightAttr> Lowering::rowsWeight(FlatSymbolRefAttr name) {
  graph::WeightOp weight = graph::lookupWeight(current, name);
  // XNNPACK packs rows of its own: the embedding reads the same ones.
  if (readsOf(name.getValue()).any && packsFloats(weight)) {
    auto [rows, desc] = xnnpackWeight(builder.getArrayAttr(name));
    return {rows, desc};
  }
  if (readsOf(name.getValue()).any)
    return productWeight(builder.getArrayAttr(name));
  exec::WeightAttr desc = describe(weight, rowsFormat(weight), weight.getTensorType().getDimSize(0));
  FailureOr<MemRefType> type = constantType(location, desc);
  if (failed(type))
    return {};
  return {constant(weight.getLoc(), name.getValue().str(), *type, desc, {name}, {}), desc};
}

Value Lowering::vectors(ArrayRef<Attribute> weights) {
  int64_t count = 0;
  for (Attribute name : weights)
    count += graph::lookupWeight(current, cast<FlatSymbolRefAttr>(name)).getTensorType().getNumElements();
  auto desc = exec::WeightAttr::get(builder.getContext(), 1, count, 0, WeightFormat::rows_f32, false);
  return constant(location, joinNames(weights), bufferType({count}, builder.getF32Type()), desc, weights, {});
}

Value Lowering::matrix(FlatSymbolRefAttr name) {
  graph::WeightOp weight = graph::lookupWeight(current, name);
  int64_t columns = weight.getTensorType().getShape().back(), rows = weight.getTensorType().getNumElements() / columns;
  auto desc = exec::WeightAttr::get(builder.getContext(), rows, columns, 0, WeightFormat::rows_f32, false);
  return constant(location, name.getValue().str(), bufferType({rows, columns}, builder.getF32Type()), desc, {name}, {});
}

Value Lowering::values(StringRef name, ArrayRef<float> values, int64_t rows, int64_t columns) {
  return constant(location, name.str(), bufferType({rows, columns}, builder.getF32Type()), {}, {}, values);
}

Value Lowering::stored(FlatSymbolRefAttr weight, MemRefType type) {
  return constant(location, weight.getValue().str(), type, {}, {weight}, {});
}

Value Lowering::elements(DenseElementsAttr values) {
  return constant(location, "constant", bufferType(values.getType().getShape(), values.getElementType()), {}, {}, {},
                  {}, 1, values);
}

//===----------------------------------------------------------------------===//
// Kernel calls
//===----------------------------------------------------------------------===//

void Lowering::kernel(StringRef name, ValueRange inputs, ValueRange outputs, ArrayRef<NamedAttribute> fields,
                      ArrayRef<Attribute> states) {
  builder.create<exec::KernelOp>(location, name, 1, inputs, outputs, builder.getArrayAttr(states),
                                 builder.getDictionaryAttr(fields));
}
NamedAttribute Lowering::field(StringRef name, int64_t value) {
  return builder.getNamedAttr(name, builder.getI64IntegerAttr(value));
}
NamedAttribute Lowering::field(StringRef name, float value) {
  return builder.getNamedAttr(name, builder.getF32FloatAttr(value));
}
NamedAttribute Lowering::field(StringRef name, bool value) {
  return builder.getNamedAttr(name, builder.getBoolAttr(value));
}
NamedAttribute Lowering::field(StringRef name, exec::WeightAttr value) { return builder.getNamedAttr(name, value); }
NamedAttribute Lowering::field(StringRef name, StringRef enumerator) {
  return builder.getNamedAttr(name, builder.getStringAttr(enumerator));
}
