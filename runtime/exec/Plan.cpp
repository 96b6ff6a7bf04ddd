//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/exec/Plan.h"

#include <algorithm>

namespace mlc {

/// Number of elements of a FlatBuffer vector that may be absent.
template <typename V> static uint32_t sizeOf(const V *vector) { return vector ? vector->size() : 0; }

/// Walks the blocks twice: once to count, once to fill. Block depth is bounded by the verifier.
class PlanBuilder {
public:
  explicit PlanBuilder(Plan &plan) : plan(plan), metadata(plan.metadata()) {}

  Status build() {
    walkFunctions();
    MLC_TRY(allocate());
    filling = true;
    count = {};
    walkFunctions();
    return {};
  }

private:
  struct Counts {
    uint32_t ops = 0, calls = 0, branches = 0, loops = 0, codes = 0, views = 0, states = 0, codeSlots = 0, codeDims = 0;
  };

  Status allocate() {
    const Allocator &from = plan.allocator;
    MLC_ASSIGN(plan.opArray, OwnedArray<Plan::Op>::create(from, count.ops, "plan"));
    MLC_ASSIGN(plan.callArray, OwnedArray<Plan::KernelCall>::create(from, count.calls, "plan"));
    MLC_ASSIGN(plan.branchArray, OwnedArray<Plan::Branch>::create(from, count.branches, "plan"));
    MLC_ASSIGN(plan.loopArray, OwnedArray<Plan::Loop>::create(from, count.loops, "plan"));
    MLC_ASSIGN(plan.codeArray, OwnedArray<Plan::CodeCall>::create(from, count.codes, "plan"));
    MLC_ASSIGN(plan.viewSlotArray, OwnedArray<uint32_t>::create(from, count.views, "plan"));
    MLC_ASSIGN(plan.stateRefArray, OwnedArray<uint32_t>::create(from, count.states, "plan"));
    MLC_ASSIGN(plan.codeSlotArray, OwnedArray<uint32_t>::create(from, count.codeSlots, "plan"));
    MLC_ASSIGN(plan.codeDimArray, OwnedArray<fb::Dim>::create(from, count.codeDims, "plan"));
    MLC_ASSIGN(plan.functionArray, OwnedArray<Plan::Range>::create(from, sizeOf(metadata.functions()), "plan"));
    return {};
  }

  void walkFunctions() {
    for (uint32_t i = 0; i < sizeOf(metadata.functions()); ++i) {
      Plan::Range range = walkBlock(metadata.functions()->Get(i)->body());
      if (filling)
        plan.functionArray[i] = range;
    }
  }

  Plan::Range walkBlock(const fb::Block *block) {
    Plan::Range range{count.ops, block ? sizeOf(block->ops()) : 0};
    count.ops += range.count;
    for (uint32_t i = 0; i < range.count; ++i) {
      Plan::Op op = walkOp(*block->ops()->Get(i));
      if (filling)
        plan.opArray[range.first + i] = op;
    }
    return range;
  }

  template <typename T, typename V> uint32_t append(OwnedArray<T> &array, uint32_t &next, const V *values) {
    uint32_t first = next;
    for (uint32_t i = 0; i < sizeOf(values); ++i, ++next)
      if (filling)
        array[next] = element<T>(*values, i);
    return first;
  }
  template <typename T, typename V> static T element(const V &values, uint32_t i) {
    if constexpr (std::is_same_v<T, fb::Dim>)
      return *values.Get(i);
    else
      return values.Get(i);
  }

  Plan::Op walkOp(const fb::Op &op) {
    const char *location = op.location() ? op.location()->c_str() : "";
    switch (op.body_type()) {
    case fb::OpBody::If:
      return {Plan::OpKind::branch, walkBranch(*op.body_as_If()), location};
    case fb::OpBody::Loop:
      return {Plan::OpKind::loop, walkLoop(*op.body_as_Loop()), location};
    case fb::OpBody::Call:
      return {Plan::OpKind::call, op.body_as_Call()->function(), location};
    case fb::OpBody::CallCode:
      return {Plan::OpKind::code, walkCode(*op.body_as_CallCode()), location};
    default:
      return {Plan::OpKind::kernel, walkKernel(*op.body_as_KernelCall()), location};
    }
  }

  uint32_t walkKernel(const fb::KernelCall &call) {
    uint32_t index = count.calls++;
    Plan::KernelCall resolved{};
    resolved.attrs = call.attrs();
    resolved.attrsType = call.attrs_type();
    resolved.inputs = sizeOf(call.inputs());
    resolved.outputs = sizeOf(call.outputs());
    resolved.states = sizeOf(call.states());
    resolved.firstView = append(plan.viewSlotArray, count.views, call.inputs());
    append(plan.viewSlotArray, count.views, call.outputs());
    resolved.firstState = append(plan.stateRefArray, count.states, call.states());
    if (filling) {
      resolved.kernel = plan.resolved.kernels[call.kernel()];
      plan.callArray[index] = resolved;
    }
    return index;
  }

  uint32_t walkBranch(const fb::If &branch) {
    uint32_t index = count.branches++;
    Plan::Range thenOps = walkBlock(branch.then_block()), elseOps = walkBlock(branch.else_block());
    if (filling)
      plan.branchArray[index] = {branch.condition(), thenOps, elseOps};
    return index;
  }

  uint32_t walkLoop(const fb::Loop &loop) {
    uint32_t index = count.loops++;
    Plan::Range body = walkBlock(loop.body());
    if (filling)
      plan.loopArray[index] = {loop.trip_count(),   loop.index(),     loop.while_condition(),
                               loop.static_trips(), loop.max_trips(), body};
    return index;
  }

  uint32_t walkCode(const fb::CallCode &call) {
    uint32_t index = count.codes++;
    Plan::CodeCall resolved{};
    resolved.slots = sizeOf(call.slots());
    resolved.firstSlot = append(plan.codeSlotArray, count.codeSlots, call.slots());
    resolved.dims = sizeOf(call.dims());
    resolved.firstDim = append(plan.codeDimArray, count.codeDims, call.dims());
    resolved.items = *call.items();
    resolved.grain = int64_t(call.grain());
    if (filling) {
      resolved.code = call.code();
      resolved.entry = plan.resolved.codes[call.code()];
      resolved.name = metadata.codes()->Get(call.code())->name()->c_str();
      plan.codeArray[index] = resolved;
    }
    return index;
  }

  Plan &plan;
  const fb::Artifact &metadata;
  Counts count;
  bool filling = false;
};

Result<Plan *> Plan::create(const Artifact &artifact, Program program, const TargetRegistry &target,
                            const Allocator &allocator) {
  void *memory = allocator.allocate(allocator.context, sizeof(Plan), alignof(Plan));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "%s: no memory for the plan", artifact.name());
  Owned<Plan> plan(new (memory) Plan);
  plan->allocator = allocator;
  plan->source = &artifact;
  plan->resolved = std::move(program);
  plan->registry = &target;
  MLC_TRY(PlanBuilder(*plan).build());
  return plan.release();
}

void Plan::destroy(Plan *plan) {
  Allocator allocator = plan->allocator;
  plan->~Plan();
  allocator.release(allocator.context, plan, sizeof(Plan));
}

Result<uint32_t> Plan::functionIndex(const char *name) const {
  for (uint32_t i = 0; i < sizeOf(metadata().functions()); ++i)
    if (!strcmp(metadata().functions()->Get(i)->name()->c_str(), name))
      return i;
  return Error(ErrorCode::NotFound, "%s: no function \"%s\" in the artifact", source->name(), name);
}

void Plan::describe(const KernelCall &call, unsigned workers, CallDescription &description) const {
  int64_t bounds[kMaxExtents];
  uint32_t extents = sizeOf(metadata().extents());
  for (uint32_t i = 0; i < extents; ++i)
    bounds[i] = int64_t(metadata().extents()->Get(i)->bound());
  for (uint32_t i = 0; i < call.inputs + call.outputs; ++i) {
    const fb::Slot &slot = *metadata().slots()->Get(viewSlotArray[call.firstView + i]);
    description.views[i] = slotView(slot, {bounds, extents});
    const fb::Dim *rows = sizeOf(slot.dims()) ? slot.dims()->Get(0) : nullptr;
    description.follows[i] =
        rows && rows->extent() >= 0 && rows->extent() == resolved.tokensExtent && rows->value() == 1;
    description.constant[i] = slot.space() == fb::Space::segment;
  }
  for (uint32_t i = 0; i < call.states; ++i)
    description.states[i] = metadata().states()->Get(stateRefArray[call.firstState + i]);
  KernelCallInfo &info = description.info;
  info.inputs = {description.views, call.inputs};
  info.outputs = {description.views + call.inputs, call.outputs};
  info.inputFollowsTokens = {description.follows, call.inputs};
  info.outputFollowsTokens = {description.follows + call.inputs, call.outputs};
  info.inputConstant = {description.constant, call.inputs};
  info.states = {description.states, call.states};
  info.attrsType = call.attrsType;
  info.attrs = call.attrs;
  if (const fb::Model *model = metadata().model()) {
    info.maxTokens = int64_t(model->batch());
    info.maxRows = int64_t(model->rows());
    info.maxSequences = int64_t(model->sequences());
    info.maxPositions = int64_t(model->context());
  }
  info.workers = workers;
  info.ranks = metadata().ranks();
}

ScratchNeed Plan::scratch(unsigned workers) const {
  ScratchNeed most;
  for (const KernelCall &call : callArray) {
    if (!call.kernel->scratch)
      continue;
    CallDescription description;
    describe(call, workers, description);
    ScratchNeed need = call.kernel->scratch(description.info);
    most.shared = std::max(most.shared, need.shared);
    most.perWorker = std::max(most.perWorker, need.perWorker);
  }
  return most;
}

} // namespace mlc
