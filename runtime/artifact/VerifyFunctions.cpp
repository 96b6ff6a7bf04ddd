//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The functions of the plan: blocks, calls, control flow, and each kernel's own check.
//
#include "runtime/artifact/ProgramVerifier.h"

#include <algorithm>

namespace mlc {

using ull = unsigned long long;

#define REFUSE_OP(CHECK, FORMAT, ...)                                                                                  \
  MLC_REFUSE(CHECK, ErrorCode::Corrupt, "%s: function '%.60s', op %llu '%.60s': " FORMAT, name(), functionName,        \
             ull(opNumber), Printable(location).c_str() __VA_OPT__(, ) __VA_ARGS__)

bool ProgramVerifier::isScalar(uint32_t slot, DType type, bool writable) const {
  if (slot >= slotBytes.size())
    return false;
  const fb::Slot &table = *meta.slots()->Get(slot);
  return table.dtype() == type && slotBytes[slot] == dtypeSize(type) &&
         (!writable || table.space() == fb::Space::arena);
}

bool ProgramVerifier::followsTokens(const fb::Slot &slot) const {
  if (!countOf(slot.dims()) || program.tokensExtent < 0)
    return false;
  const fb::Dim &dim = *slot.dims()->Get(0);
  return dim.extent() == program.tokensExtent && dim.value() == 1;
}

Status ProgramVerifier::checkFunctionSlots(const fb::Function &function) const {
  for (auto *list : {function.inputs(), function.outputs()})
    for (uint32_t i = 0; i < countOf(list); ++i)
      if (list->Get(i) >= slotBytes.size() || meta.slots()->Get(list->Get(i))->space() != fb::Space::arena)
        return MLC_REFUSE(FunctionSlots, ErrorCode::Corrupt,
                          "%s: function '%.60s': input or output %u is no slot of the arena", name(), functionName, i);
  return {};
}

// The calling convention of a language model.
Status ProgramVerifier::checkStep(const fb::Function &function) const {
  const fb::Model *model = meta.model();
  auto matches = [&](uint32_t index, DType type, int32_t extent, uint64_t columns) {
    const fb::Slot &slot = *meta.slots()->Get(index);
    if (slot.dtype() != type || countOf(slot.strides()) || countOf(slot.dims()) != (columns ? 2u : 1u))
      return false;
    const fb::Dim &rows = *slot.dims()->Get(0);
    if (rows.extent() != extent || rows.value() != 1)
      return false;
    return !columns || (slot.dims()->Get(1)->extent() < 0 && uint64_t(slot.dims()->Get(1)->value()) == columns);
  };
  if (!model || !model->vocab_size() || countOf(function.inputs()) != 2 || countOf(function.outputs()) != 1 ||
      !matches(function.inputs()->Get(0), DType::i32, program.tokensExtent, 0) ||
      !matches(function.inputs()->Get(1), DType::i32, program.rowsExtent, 0) ||
      !matches(function.outputs()->Get(0), DType::f32, program.rowsExtent, model->vocab_size()))
    return MLC_REFUSE(StepSignature, ErrorCode::Corrupt,
                      "%s: function 'step' must take ids i32[tokens] and rows i32[rows] and give f32[rows, vocab]",
                      name());
  return {};
}

// The bytes that a view may touch, as an interval of its row when another view has the same rows.
struct ByteSpan {
  uint64_t begin, size, rowBytes; // rowBytes 0: not in rows
};

static bool intersects(const ByteSpan &a, const ByteSpan &b, uint64_t aInner, uint64_t bInner) {
  if (a.begin >= b.begin + b.size || b.begin >= a.begin + a.size)
    return false;
  // Columns of one buffer: same row pitch, and no column in common.
  if (a.rowBytes && a.rowBytes == b.rowBytes && aInner <= a.rowBytes && bInner <= a.rowBytes) {
    uint64_t toB = (b.begin % a.rowBytes + a.rowBytes - a.begin % a.rowBytes) % a.rowBytes;
    return toB < aInner || toB + bInner > a.rowBytes;
  }
  return true;
}

// Kernels read and write at once, so an output overlaps nothing but an input that is the very same view.
Status ProgramVerifier::checkOverlap(const fb::KernelCall &call) const {
  auto span = [&](uint32_t index, uint64_t &inner) {
    const fb::Slot &slot = *meta.slots()->Get(index);
    TensorView view = slotView(slot, bounds.span());
    ByteSpan span{slot.offset(), slotBytes[index], 0};
    inner = span.size;
    if (view.rank >= 2 && view.strides[0] > 0) {
      span.rowBytes = uint64_t(view.strides[0]) * dtypeSize(view.dtype);
      inner = span.size - uint64_t(view.dims[0] - 1) * span.rowBytes;
    }
    return span;
  };
  auto same = [&](uint32_t a, uint32_t b) {
    if (a == b)
      return true;
    const fb::Slot &x = *meta.slots()->Get(a), &y = *meta.slots()->Get(b);
    if (x.dtype() != y.dtype() || x.offset() != y.offset() || countOf(x.dims()) != countOf(y.dims()))
      return false;
    TensorView first = slotView(x, bounds.span()), second = slotView(y, bounds.span());
    for (unsigned i = 0; i < first.rank; ++i) {
      const fb::Dim &p = *x.dims()->Get(i), &q = *y.dims()->Get(i);
      if (p.value() != q.value() || p.extent() != q.extent() || first.strides[i] != second.strides[i])
        return false;
    }
    return true;
  };
  for (uint32_t o = 0; o < countOf(call.outputs()); ++o) {
    uint32_t out = call.outputs()->Get(o);
    uint64_t outInner, otherInner;
    ByteSpan outSpan = span(out, outInner);
    for (uint32_t i = 0; i < countOf(call.inputs()); ++i) {
      uint32_t in = call.inputs()->Get(i);
      if (meta.slots()->Get(in)->space() != fb::Space::arena || same(in, out))
        continue;
      ByteSpan other = span(in, otherInner);
      if (intersects(outSpan, other, outInner, otherInner))
        return REFUSE_OP(CallOverlap, "output %u overlaps input %u", o, i);
    }
    for (uint32_t i = 0; i < o; ++i) {
      ByteSpan other = span(call.outputs()->Get(i), otherInner);
      if (intersects(outSpan, other, outInner, otherInner))
        return REFUSE_OP(CallOverlap, "output %u overlaps output %u", o, i);
    }
  }
  return {};
}

Status ProgramVerifier::checkKernelCall(const fb::KernelCall &call) {
  if (call.kernel() >= program.kernels.size())
    return REFUSE_OP(CallKernel, "kernel %u of %zu", call.kernel(), program.kernels.size());
  uint32_t inputs = countOf(call.inputs()), outputs = countOf(call.outputs()), states = countOf(call.states());
  if (inputs > kMaxCallInputs || outputs > kMaxCallOutputs || states > kMaxCallStates)
    return REFUSE_OP(CallSlotCount, "%u inputs, %u outputs, %u states; at most %u, %u, %u", inputs, outputs, states,
                     kMaxCallInputs, kMaxCallOutputs, kMaxCallStates);
  TensorView views[kMaxCallInputs + kMaxCallOutputs];
  bool follows[kMaxCallInputs + kMaxCallOutputs], constant[kMaxCallInputs + kMaxCallOutputs];
  for (uint32_t i = 0; i < inputs + outputs; ++i) {
    uint32_t index = i < inputs ? call.inputs()->Get(i) : call.outputs()->Get(i - inputs);
    if (index >= slotBytes.size())
      return REFUSE_OP(CallSlots, "slot %u of %zu", index, slotBytes.size());
    const fb::Slot &slot = *meta.slots()->Get(index);
    if (i >= inputs && slot.space() != fb::Space::arena)
      return REFUSE_OP(CallOutputSpace, "writes slot %u, which lies in a segment", index);
    views[i] = slotView(slot, bounds.span());
    // Kernels read whole words, and take no axis without elements.
    if (countOf(slot.strides()) && slot.offset() % 4)
      return REFUSE_OP(SlotAlignment, "slot %u at offset %llu, which is no multiple of 4", index, ull(slot.offset()));
    if (!slotBytes[index])
      return REFUSE_OP(SlotDim, "slot %u has no elements", index);
    follows[i] = followsTokens(slot);
    constant[i] = slot.space() == fb::Space::segment;
  }
  MLC_TRY(checkOverlap(call));
  const fb::State *stateRefs[kMaxCallStates];
  for (uint32_t i = 0; i < states; ++i) {
    if (call.states()->Get(i) >= countOf(meta.states()))
      return REFUSE_OP(CallStates, "state %u of %u", call.states()->Get(i), countOf(meta.states()));
    stateRefs[i] = meta.states()->Get(call.states()->Get(i));
  }
  // FlatBuffers lets an unknown union type pass unchecked.
  if (call.attrs_type() > fb::KernelAttrs::MAX || (call.attrs_type() != fb::KernelAttrs::NONE && !call.attrs()))
    return REFUSE_OP(CallAttrs, "attributes of the unknown type %u", unsigned(call.attrs_type()));

  KernelCallInfo info;
  info.inputs = {views, inputs};
  info.outputs = {views + inputs, outputs};
  info.inputFollowsTokens = {follows, inputs};
  info.outputFollowsTokens = {follows + inputs, outputs};
  info.inputConstant = {constant, inputs};
  info.states = {stateRefs, states};
  info.attrsType = call.attrs_type();
  info.attrs = call.attrs();
  if (const fb::Model *model = meta.model()) {
    info.maxTokens = int64_t(model->batch());
    info.maxRows = int64_t(model->rows());
    info.maxSequences = int64_t(model->sequences());
    info.maxPositions = int64_t(model->context());
  }
  info.workers = workers;
  info.ranks = meta.ranks();
  const KernelDef &kernel = *program.kernels[call.kernel()];
  if (Status accepted = kernel.check(info); !accepted)
    return REFUSE_OP(KernelCheck, "%s: %.200s", kernel.name, accepted.error().message());
  if (!kernel.scratch)
    return {};
  ScratchNeed need = kernel.scratch(info);
  uint64_t perWorkers, total;
  if (!checkedMul<uint64_t>(need.perWorker, workers, perWorkers) ||
      !checkedAdd<uint64_t>(perWorkers, need.shared, total) || total > kMaxArenaBytes)
    return REFUSE_OP(KernelScratch, "%s needs more scratch than %llu bytes", kernel.name, ull(kMaxArenaBytes));
  program.scratch.shared = std::max(program.scratch.shared, need.shared);
  program.scratch.perWorker = std::max(program.scratch.perWorker, need.perWorker);
  return {};
}

Status ProgramVerifier::checkIf(const fb::If &op, unsigned depth, FunctionFacts &facts, unsigned callers) {
  if (!isScalar(op.condition(), DType::boolean, false))
    return REFUSE_OP(IfCondition, "the condition must be a slot of one boolean");
  if (!op.then_block())
    return REFUSE_OP(IfBlocks, "if without a block");
  MLC_TRY(checkBlock(*op.then_block(), depth + 1, facts, callers));
  return op.else_block() ? checkBlock(*op.else_block(), depth + 1, facts, callers) : Status();
}

Status ProgramVerifier::checkLoop(const fb::Loop &op, unsigned depth, FunctionFacts &facts, unsigned callers) {
  if (!op.max_trips() || op.max_trips() > kMaxExecutedOps ||
      (op.trip_count() < 0 && op.static_trips() > op.max_trips()))
    return REFUSE_OP(LoopTrips, "%llu trips, at most %llu, must be bounded by 1 to %llu", ull(op.static_trips()),
                     ull(op.max_trips()), ull(kMaxExecutedOps));
  auto optional = [&](int32_t slot, DType type, bool writable) {
    return slot == -1 || (slot >= 0 && isScalar(uint32_t(slot), type, writable));
  };
  if (!optional(op.trip_count(), DType::i64, false) || !optional(op.index(), DType::i64, true) ||
      !optional(op.while_condition(), DType::boolean, false))
    return REFUSE_OP(LoopSlots, "trip count and index must be slots of one i64, the condition of one boolean");
  if (!op.body())
    return REFUSE_OP(LoopBody, "loop without a body");
  uint64_t before = facts.executed;
  facts.executed = 0;
  // An iteration costs something even when it is empty.
  MLC_TRY(checkBlock(*op.body(), depth + 1, facts, callers));
  facts.executed = before + (facts.executed + 1) * op.max_trips();
  return {};
}

Status ProgramVerifier::checkCall(const fb::Call &call, unsigned depth, FunctionFacts &facts, unsigned callers) {
  if (call.function() >= functions.size())
    return REFUSE_OP(CallFunction, "function %u of %zu", call.function(), functions.size());
  if (functions[call.function()].active)
    return REFUSE_OP(CallCycle, "function %u calls itself, through others perhaps", call.function());
  if (!functions[call.function()].done) {
    const char *callerName = functionName, *callerLocation = location;
    uint64_t callerOp = opNumber;
    openBlocks += depth;
    MLC_TRY(checkFunction(call.function(), callers));
    openBlocks -= depth;
    functionName = callerName;
    location = callerLocation;
    opNumber = callerOp;
  }
  const FunctionFacts &callee = functions[call.function()];
  facts.height = std::max(facts.height, callee.height + 1);
  facts.depth = std::max(facts.depth, depth + callee.depth);
  facts.executed += callee.executed;
  if (facts.height > kMaxCallDepth)
    return REFUSE_OP(CallDepth, "calls nest deeper than %u", kMaxCallDepth);
  if (facts.depth > kMaxBlockDepth)
    return REFUSE_OP(BlockDepth, "blocks nest deeper than %u", kMaxBlockDepth);
  return {};
}

Status ProgramVerifier::checkCallCode(const fb::CallCode &call) const {
  if (call.code() >= program.codes.size())
    return REFUSE_OP(CodeIndex, "code object %u of %zu", call.code(), program.codes.size());
  if (countOf(call.slots()) > kMaxCodeSlots)
    return REFUSE_OP(CodeSlots, "%u slots, at most %u", countOf(call.slots()), kMaxCodeSlots);
  for (uint32_t i = 0; i < countOf(call.slots()); ++i)
    if (call.slots()->Get(i) >= slotBytes.size())
      return REFUSE_OP(CodeSlots, "slot %u of %zu", call.slots()->Get(i), slotBytes.size());
  // A device's function takes columns and strides one by one.
  bool dims =
      countOf(call.dims()) <= kMaxCodeDims && (!target.family || countOf(call.dims()) == countOf(call.slots()) + 1);
  for (uint32_t i = 0; dims && i < countOf(call.dims()); ++i)
    dims = dimValid(*call.dims()->Get(i));
  if (!dims)
    return REFUSE_OP(CodeDims, "a dimension is out of range, or they are not as many as the code takes");
  if (!call.items() || !dimValid(*call.items()) || !call.grain() || call.grain() > uint64_t(kMaxDim))
    return REFUSE_OP(CodeItems, "items or grain is out of range");
  return {};
}

Status ProgramVerifier::checkBlock(const fb::Block &block, unsigned depth, FunctionFacts &facts, unsigned callers) {
  if (openBlocks + depth > kMaxBlockDepth)
    return REFUSE_OP(BlockDepth, "blocks nest deeper than %u", kMaxBlockDepth);
  facts.depth = std::max<uint32_t>(facts.depth, depth);
  for (uint32_t i = 0; i < countOf(block.ops()); ++i) {
    const fb::Op &op = *block.ops()->Get(i);
    location = op.location() ? op.location()->c_str() : "";
    ++opNumber;
    if (++walkedOps > kMaxOps)
      return REFUSE_OP(OpCount, "more than %llu ops", ull(kMaxOps));
    if (!op.body() || op.body_type() == fb::OpBody::NONE || op.body_type() > fb::OpBody::MAX)
      return REFUSE_OP(OpBody, "an op of the unknown type %u", unsigned(op.body_type()));
    // The host enqueues a device's ops and cannot look at what they compute.
    if (target.family && (op.body_type() == fb::OpBody::If || op.body_type() == fb::OpBody::Loop))
      return REFUSE_OP(DeviceOp, "branches and loops do not run on '%s'", target.family);
    switch (op.body_type()) {
    case fb::OpBody::KernelCall:
      ++facts.executed;
      MLC_TRY(checkKernelCall(*op.body_as_KernelCall()));
      break;
    case fb::OpBody::If:
      MLC_TRY(checkIf(*op.body_as_If(), depth, facts, callers));
      break;
    case fb::OpBody::Loop:
      MLC_TRY(checkLoop(*op.body_as_Loop(), depth, facts, callers));
      break;
    case fb::OpBody::Call:
      MLC_TRY(checkCall(*op.body_as_Call(), depth, facts, callers));
      break;
    default:
      ++facts.executed;
      MLC_TRY(checkCallCode(*op.body_as_CallCode()));
      break;
    }
    // Checked after each op, so the products above stay far from 2^64.
    if (facts.executed > kMaxExecutedOps)
      return REFUSE_OP(ExecutedOps, "one call runs more than %llu kernels", ull(kMaxExecutedOps));
  }
  return {};
}

Status ProgramVerifier::checkFunction(uint32_t index, unsigned callers) {
  const fb::Function &function = *meta.functions()->Get(index);
  functionName = function.name()->c_str();
  location = "";
  opNumber = 0;
  if (callers + 1 > kMaxCallDepth)
    return REFUSE_OP(CallDepth, "calls nest deeper than %u", kMaxCallDepth);
  MLC_TRY(checkFunctionSlots(function));
  MLC_TRY(checkPorts(function));
  FunctionFacts facts{};
  facts.height = 1;
  functions[index].active = true;
  if (!function.body())
    return REFUSE_OP(LoopBody, "function without a body");
  MLC_TRY(checkBlock(*function.body(), 1, facts, callers + 1));
  facts.done = true;
  functions[index] = facts;
  return {};
}

Status ProgramVerifier::verifyFunctions() {
  uint32_t count = countOf(meta.functions());
  MLC_ASSIGN(functions, OwnedArray<FunctionFacts>::create(allocator, count, "functions"));
  for (uint32_t i = 0; i < count; ++i) {
    if (!functions[i].done)
      MLC_TRY(checkFunction(i, 0));
    if (meta.functions()->Get(i)->name()->string_view() == "step")
      program.step = int32_t(i);
  }
  if (program.step >= 0) {
    MLC_TRY(checkStep(*meta.functions()->Get(uint32_t(program.step))));
    return checkStateKinds();
  }
  if (meta.model() && meta.model()->vocab_size())
    return MLC_REFUSE(StepSignature, ErrorCode::Corrupt, "%s: a language model without the function 'step'", name());
  MLC_TRY(checkStateKinds());
  return verifyNetwork();
}

} // namespace mlc
