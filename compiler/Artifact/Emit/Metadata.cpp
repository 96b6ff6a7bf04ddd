//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The exec module as the schema's tables.
//
#include "compiler/Artifact/Emit/Emit.h"
#include "compiler/Codegen/RegionCode.h"
#include "compiler/Dialect/Exec/IR/Checked.h"

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlc;

namespace {

FailureOr<fb::DType> dtypeOf(Operation *op, Type type) {
  if (type.isF32())
    return fb::DType::f32;
  if (type.isF16())
    return fb::DType::f16;
  if (type.isBF16())
    return fb::DType::bf16;
  if (type.isF64())
    return fb::DType::f64;
  if (auto integer = dyn_cast<IntegerType>(type)) {
    bool isUnsigned = integer.isUnsigned();
    switch (integer.getWidth()) {
    case 1:
      return fb::DType::boolean;
    case 8:
      return isUnsigned ? fb::DType::u8 : fb::DType::i8;
    case 16:
      return isUnsigned ? fb::DType::u16 : fb::DType::i16;
    case 32:
      return isUnsigned ? fb::DType::u32 : fb::DType::i32;
    case 64:
      return isUnsigned ? fb::DType::u64 : fb::DType::i64;
    }
  }
  return op->emitOpError("holds elements of type ") << type << ", which the artifact has no name for";
}

class MetadataEmitter {
public:
  explicit MetadataEmitter(ModuleOp module) : module(module) {}

  FailureOr<fb::ArtifactT> emit() {
    emitDeclarations();
    emitWeightSegments();
    for (auto constant : module.getOps<exec::ConstantOp>())
      emitConstant(constant);
    for (auto state : module.getOps<exec::StateOp>())
      if (failed(emitState(state)))
        return failure();
    emitCodes();
    if (ruled)
      artifact.required_features.push_back("extent_rules");
    unsigned index = 0;
    for (auto function : module.getOps<exec::FuncOp>())
      functions[function.getSymName()] = index++;
    for (auto function : module.getOps<exec::FuncOp>())
      if (failed(emitFunction(function)))
        return failure();
    for (auto carry : module.getOps<exec::CarryOp>())
      emitCarry(carry);
    return std::move(artifact);
  }

private:
  void emitDeclarations() {
    for (auto model : module.getOps<exec::ModelOp>()) {
      auto table = std::make_unique<fb::ModelT>();
      table->architecture = model.getArchitecture();
      table->name = model.getName().value_or("");
      table->vocab_size = model.getVocabSize();
      table->context = model.getMaxContext();
      table->batch = model.getMaxBatch();
      table->sequences = model.getMaxSequences();
      table->rows = model.getMaxRows();
      table->trained_context = model.getTrainedContext();
      table->checkpoint_every = model.getCheckpointEvery().value_or(0);
      table->prompt_form = model.getPromptForm();
      table->license = model.getLicense().value_or("");
      for (int32_t token : model.getEndTokens().value_or(ArrayRef<int32_t>()))
        table->end_tokens.push_back(token);
      if (std::optional<DictionaryAttr> sampling = model.getSampling())
        table->sampling = emitSampling(*sampling);
      artifact.model = std::move(table);
      artifact.arena_size = model.getArenaSize().value_or(0);
    }
    for (auto extent : module.getOps<exec::ExtentOp>()) {
      auto table = std::make_unique<fb::ExtentT>();
      table->name = extent.getSymName();
      table->bound = extent.getBound();
      if (std::optional<exec::ExtentRule> rule = extent.getRule()) {
        table->rule = fb::ExtentRule(*rule);
        table->left = std::make_unique<fb::Dim>(dim(*extent.getLeft()));
        table->right = std::make_unique<fb::Dim>(dim(*extent.getRight()));
        table->least = extent.getLeast();
        ruled = true;
      }
      extents[extent.getSymName()] = artifact.extents.size();
      artifact.extents.push_back(std::move(table));
    }
  }

  static std::unique_ptr<fb::SamplingT> emitSampling(DictionaryAttr fields) {
    auto table = std::make_unique<fb::SamplingT>();
    auto real = [&](StringRef name, float &out) {
      if (auto value = fields.getAs<FloatAttr>(name))
        out = float(value.getValueAsDouble());
    };
    real("temperature", table->temperature);
    real("top_p", table->top_p);
    real("min_p", table->min_p);
    real("repetition_penalty", table->repetition_penalty);
    if (auto topK = fields.getAs<IntegerAttr>("top_k"))
      table->top_k = topK.getInt();
    if (auto sample = fields.getAs<BoolAttr>("do_sample"))
      table->do_sample = sample.getValue();
    return table;
  }

  void emitConstant(exec::ConstantOp constant) {
    auto type = cast<MemRefType>(constant.getType());
    auto table = std::make_unique<fb::ConstantT>();
    table->name = constant.getSymName();
    table->segment = segmentOf(constant);
    table->offset = *constant.getOffset();
    table->size = type.getNumElements() * exec::elementBytes(type.getElementType());
    if (std::optional<exec::WeightAttr> weight = constant.getWeight())
      table->weight = std::make_unique<fb::WeightDesc>(weight->getN(), weight->getK(), weight->getGroup(),
                                                       fb::WeightFormat(weight->getFormat()), weight->getAsymmetric());
    table->count = constant.getCount();
    if (std::optional<ArrayAttr> sources = constant.getSources())
      for (auto source : sources->getAsRange<StringAttr>())
        table->source.push_back(source.str());
    constants[constant.getSymName()] = constant;
    artifact.constants.push_back(std::move(table));
  }

  /// What all ranks read, then what each has of its own, which stands in the first one's place.
  void emitWeightSegments() {
    auto add = [&](uint64_t size) {
      auto weights = std::make_unique<fb::SegmentT>();
      weights->kind = fb::SegmentKind::weights;
      weights->size = size;
      artifact.segments.push_back(std::move(weights));
    };
    if (uint64_t size = weightsSize(module))
      add(size);
    artifact.ranks = ranksOf(module);
    if (artifact.ranks == 1)
      return;
    shardSegment = artifact.segments.size();
    for (uint32_t rank = 0; rank < artifact.ranks; ++rank)
      add(weightsSize(module, /*sharded=*/true));
    for (uint32_t rank = 1; rank < artifact.ranks; ++rank)
      artifact.segments[shardSegment]->of_ranks.push_back(shardSegment + rank);
    artifact.required_features.push_back("tensor_parallel");
  }

  uint32_t segmentOf(exec::ConstantOp constant) const { return constant.getShards() ? shardSegment : 0; }

  /// One segment holds the variants of all code objects, where codeSegment() puts them.
  void emitCodes() {
    uint64_t size = 0;
    for (auto code : module.getOps<exec::CodeOp>()) {
      auto table = std::make_unique<fb::CodeT>();
      table->name = code.getSymName();
      table->triple = code.getTriple();
      for (auto [isa, object] :
           llvm::zip(code.getIsas().getAsRange<StringAttr>(), code.getObjects().getAsRange<DenseI8ArrayAttr>())) {
        auto variant = std::make_unique<fb::CodeVariantT>();
        variant->isa = isa.str();
        variant->segment = artifact.segments.size();
        variant->entry = llvm::alignTo(size, kCodeBlobAlignment);
        variant->size = object.size();
        size = variant->entry + variant->size;
        table->variants.push_back(std::move(variant));
      }
      codes[code.getSymName()] = artifact.codes.size();
      artifact.codes.push_back(std::move(table));
    }
    if (!size)
      return;
    auto segment = std::make_unique<fb::SegmentT>();
    segment->kind = fb::SegmentKind::code;
    segment->size = size;
    artifact.segments.push_back(std::move(segment));
    artifact.required_features.push_back("code");
  }

  LogicalResult emitState(exec::StateOp state) {
    FailureOr<fb::DType> dtype = dtypeOf(state, state.getDtype());
    if (failed(dtype))
      return failure();
    auto table = std::make_unique<fb::StateT>();
    table->name = state.getSymName();
    table->kind = fb::StateKind(state.getKind());
    if (state.getKind() == exec::StateKind::kv) {
      table->kv = std::make_unique<fb::KvSpec>(*state.getKvHeads(), *state.getHeadDim(), *dtype, *state.getWindow());
    } else {
      table->recurrent = std::make_unique<fb::RecurrentSpecT>();
      table->recurrent->dtype = *dtype;
      llvm::append_range(table->recurrent->dims, *state.getDims());
      table->recurrent->log_columns = *state.getLogColumns();
      table->recurrent->groups = state.getGroups().value_or(0);
    }
    states[state.getSymName()] = artifact.states.size();
    artifact.states.push_back(std::move(table));
    return success();
  }

  void emitCarry(exec::CarryOp carry) {
    const fb::FunctionT &function = *artifact.functions[functions.lookup(carry.getFunction())];
    auto table = std::make_unique<fb::StateT>();
    table->name = function.input_names[carry.getInput()];
    table->kind = fb::StateKind::carry;
    table->scope = fb::StateScope::stream;
    table->carry =
        std::make_unique<fb::CarrySpec>(function.inputs[carry.getInput()], function.outputs[carry.getOutput()]);
    artifact.states.push_back(std::move(table));
  }

  fb::Dim dim(Attribute attribute) {
    if (auto size = dyn_cast<IntegerAttr>(attribute))
      return fb::Dim(size.getInt(), -1);
    return fb::Dim(1, extents.lookup(cast<StringAttr>(attribute).getValue()));
  }

  /// The slot of `buffer`, made at its first use.
  FailureOr<uint32_t> slot(Operation *user, Value buffer) {
    auto found = slots.find(buffer);
    if (found != slots.end())
      return found->second;
    auto type = cast<MemRefType>(buffer.getType());
    FailureOr<fb::DType> dtype = dtypeOf(user, type.getElementType());
    if (failed(dtype))
      return failure();
    auto table = std::make_unique<fb::SlotT>();
    table->dtype = *dtype;
    if (auto weight = buffer.getDefiningOp<exec::WeightOp>()) {
      exec::ConstantOp constant = constants.lookup(weight.getConstant());
      table->name = constant.getSymName();
      table->space = fb::Space::segment;
      table->segment = segmentOf(constant);
      table->offset = *constant.getOffset();
      for (int64_t size : type.getShape())
        table->dims.push_back(fb::Dim(size, -1));
    } else {
      exec::SlotOp base = exec::baseSlot(buffer);
      table->name = base.getTap().value_or("");
      for (Attribute attribute : base.getDims())
        table->dims.push_back(dim(attribute));
      int64_t column = 0;
      for (auto view = buffer.getDefiningOp<exec::ViewOp>(); view;
           view = view.getSource().getDefiningOp<exec::ViewOp>())
        column += view.getColumn();
      table->offset = *base.getOffset() + column * exec::elementBytes(type.getElementType());
      if (base.getResult() != buffer) {
        // Columns of a base: its strides, with the view's last axis.
        int64_t stride = 1;
        for (const fb::Dim &axis : llvm::reverse(table->dims)) {
          table->strides.insert(table->strides.begin(), stride);
          stride *= axis.value();
        }
        table->dims.back() = fb::Dim(type.getShape().back(), -1);
        table->name = "";
      }
    }
    artifact.slots.push_back(std::move(table));
    return slots[buffer] = artifact.slots.size() - 1;
  }

  LogicalResult slotList(Operation *user, ValueRange buffers, std::vector<uint32_t> &out) {
    for (Value buffer : buffers) {
      FailureOr<uint32_t> index = slot(user, buffer);
      if (failed(index))
        return failure();
      out.push_back(*index);
    }
    return success();
  }

  uint32_t kernelIndex(exec::KernelOp kernel) {
    std::string key = (kernel.getName() + "@" + Twine(kernel.getVersion())).str();
    auto [found, inserted] = kernels.try_emplace(key, artifact.kernels.size());
    if (inserted) {
      auto table = std::make_unique<fb::KernelT>();
      table->name = kernel.getName();
      table->version = kernel.getVersion();
      artifact.kernels.push_back(std::move(table));
    }
    return found->second;
  }

  LogicalResult emitFunction(exec::FuncOp function) {
    auto table = std::make_unique<fb::FunctionT>();
    table->name = function.getSymName();
    SmallVector<Value> inputs;
    function.walk([&](exec::SlotOp slot) {
      if (!slot.getInput())
        return;
      if (inputs.size() <= *slot.getInput())
        inputs.resize(*slot.getInput() + 1);
      inputs[*slot.getInput()] = slot;
    });
    if (llvm::is_contained(inputs, Value()))
      return function.emitOpError("leaves out one of its inputs");
    if (failed(slotList(function, inputs, table->inputs)))
      return failure();
    table->body = std::make_unique<fb::BlockT>();
    if (failed(emitBlock(function.getBody().front(), *table->body)))
      return failure();
    auto result = dyn_cast<exec::ReturnOp>(function.getBody().front().back());
    if (result && failed(slotList(result, result.getOutputs(), table->outputs)))
      return failure();
    auto names = [](std::optional<ArrayAttr> from, std::vector<std::string> &to) {
      if (from)
        for (auto name : from->getAsRange<StringAttr>())
          to.push_back(name.str());
    };
    names(function.getInputNames(), table->input_names);
    names(function.getOutputNames(), table->output_names);
    artifact.functions.push_back(std::move(table));
    return success();
  }

  LogicalResult emitBlock(Block &block, fb::BlockT &out) {
    for (Operation &op : block) {
      auto table = std::make_unique<fb::OpT>();
      table->location = opName(&op);
      LogicalResult emitted =
          llvm::TypeSwitch<Operation *, LogicalResult>(&op)
              .Case([&](exec::KernelOp kernel) { return emitKernel(kernel, *table); })
              .Case([&](exec::IfOp branch) { return emitIf(branch, *table); })
              .Case([&](exec::LoopOp loop) { return emitLoop(loop, *table); })
              .Case([&](exec::CallCodeOp call) { return emitCallCode(call, *table); })
              .Case([&](exec::CallOp call) {
                fb::CallT body;
                body.function = functions.lookup(call.getCallee());
                table->body.Set(std::move(body));
                return success();
              })
              .Case<exec::SlotOp, exec::ViewOp, exec::WeightOp, exec::ReturnOp>([](auto) { return success(); })
              .Default([](Operation *op) { return op->emitOpError("cannot be written to an artifact"); });
      if (failed(emitted))
        return failure();
      if (table->body.type != fb::OpBody::NONE)
        out.ops.push_back(std::move(table));
    }
    return success();
  }

  LogicalResult emitKernel(exec::KernelOp kernel, fb::OpT &out) {
    FailureOr<fb::KernelAttrsUnion> attrs = emitKernelAttrs(kernel);
    fb::KernelCallT call;
    if (failed(attrs) || failed(slotList(kernel, kernel.getInputs(), call.inputs)) ||
        failed(slotList(kernel, kernel.getOutputs(), call.outputs)))
      return failure();
    call.kernel = kernelIndex(kernel);
    for (Attribute state : kernel.getStates())
      call.states.push_back(states.lookup(cast<FlatSymbolRefAttr>(state).getValue()));
    call.attrs = std::move(*attrs);
    out.body.Set(std::move(call));
    return success();
  }

  LogicalResult emitCallCode(exec::CallCodeOp call, fb::OpT &out) {
    fb::CallCodeT body;
    if (failed(slotList(call, call.getBuffers(), body.slots)))
      return failure();
    body.code = codes.lookup(call.getCode());
    for (Attribute attribute : call.getDims())
      body.dims.push_back(dim(attribute));
    body.items = std::make_unique<fb::Dim>(dim(call.getItems()));
    body.grain = call.getGrain();
    out.body.Set(std::move(body));
    return success();
  }

  LogicalResult emitIf(exec::IfOp branch, fb::OpT &out) {
    FailureOr<uint32_t> condition = slot(branch, branch.getCondition());
    fb::IfT body;
    body.then_block = std::make_unique<fb::BlockT>();
    body.else_block = std::make_unique<fb::BlockT>();
    if (failed(condition) || failed(emitBlock(branch.getThenBlock().front(), *body.then_block)) ||
        failed(emitBlock(branch.getElseBlock().front(), *body.else_block)))
      return failure();
    body.condition = *condition;
    out.body.Set(std::move(body));
    return success();
  }

  LogicalResult emitLoop(exec::LoopOp loop, fb::OpT &out) {
    fb::LoopT body;
    for (auto [buffer, field] :
         {std::pair(loop.getTripCount(), &body.trip_count), std::pair(loop.getCondition(), &body.while_condition)}) {
      if (!buffer)
        continue;
      FailureOr<uint32_t> index = slot(loop, buffer);
      if (failed(index))
        return failure();
      *field = int32_t(*index);
    }
    body.static_trips = loop.getTrips().value_or(0);
    body.max_trips = loop.getMaxTrips();
    body.body = std::make_unique<fb::BlockT>();
    if (failed(emitBlock(loop.getBody().front(), *body.body)))
      return failure();
    out.body.Set(std::move(body));
    return success();
  }

  ModuleOp module;
  fb::ArtifactT artifact;
  bool ruled = false; // An extent follows from others.
  uint32_t shardSegment = 0;
  llvm::StringMap<uint32_t> extents, states, kernels, codes, functions;
  llvm::StringMap<exec::ConstantOp> constants;
  DenseMap<Value, uint32_t> slots;
};

} // namespace

std::string mlc::opName(Operation *op) {
  if (auto code = dyn_cast<exec::CallCodeOp>(op))
    if (auto checked = code->getAttrOfType<StringAttr>(exec::kCheckedAttr))
      return checked.str();
  auto kernel = dyn_cast<exec::KernelOp>(op);
  if (!kernel)
    return "";
  for (Value output : kernel.getOutputs())
    if (std::optional<StringRef> tap = exec::baseSlot(output).getTap())
      return tap->str();
  // A router is known by its logits, not by a bias that it may have.
  if (kernel.getName() == "moe_route") {
    exec::SlotOp logits = exec::baseSlot(kernel.getInputs()[0]);
    if (std::optional<StringRef> tap = logits.getTap())
      return tap->str();
    // Of the last layer, whose rows are fewer than the tap promises.
    if (std::optional<ArrayAttr> inner = logits.getInnerTaps(); inner && !inner->empty())
      return cast<StringAttr>((*inner)[0]).str();
  }
  for (Value input : kernel.getInputs())
    if (auto weight = input.getDefiningOp<exec::WeightOp>())
      return weight.getConstant().str();
  return kernel.getStates().empty() ? "" : cast<FlatSymbolRefAttr>(kernel.getStates()[0]).getValue().str();
}

int64_t mlc::ranksOf(ModuleOp module) {
  for (auto constant : module.getOps<exec::ConstantOp>())
    if (std::optional<ArrayAttr> shards = constant.getShards())
      for (auto shard : shards->getAsRange<DenseI64ArrayAttr>())
        if (!shard.empty())
          return shard[0];
  return 1;
}

uint64_t mlc::weightsSize(ModuleOp module, bool sharded) {
  uint64_t size = 0;
  for (auto constant : module.getOps<exec::ConstantOp>()) {
    if (bool(constant.getShards()) != sharded)
      continue;
    auto type = cast<MemRefType>(constant.getType());
    uint64_t bytes = type.getNumElements() * exec::elementBytes(type.getElementType());
    size = std::max(size, llvm::alignTo(*constant.getOffset() + bytes, 64));
  }
  return size;
}

std::vector<uint8_t> mlc::codeSegment(ModuleOp module) {
  std::vector<uint8_t> bytes;
  for (auto code : module.getOps<exec::CodeOp>())
    for (auto object : code.getObjects().getAsRange<DenseI8ArrayAttr>()) {
      bytes.resize(llvm::alignTo(bytes.size(), kCodeBlobAlignment));
      ArrayRef<int8_t> blob = object.asArrayRef();
      bytes.insert(bytes.end(), blob.begin(), blob.end());
    }
  return bytes;
}

FailureOr<fb::ArtifactT> mlc::emitMetadata(ModuleOp module) { return MetadataEmitter(module).emit(); }
