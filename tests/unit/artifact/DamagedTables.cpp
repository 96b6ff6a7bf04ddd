//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Models whose tables or functions cannot be: what the verifier looks at.
//
#include "runtime/artifact/ProgramVerifier.h"
#include "tests/unit/artifact/ChecksSupport.h"

#include <cmath>

namespace mlc::test {

std::vector<Case> tableCases() {
  std::vector<Case> cases;
  auto model = [&](Check check, std::function<void(TinyModel &)> change) {
    cases.push_back({check, std::move(change), nullptr});
  };
  model(Check::Name, [](auto &m) { m.metadata.states[0]->name = "a\nb"; });
  model(Check::Name, [](auto &m) { m.metadata.kernels[0]->name = ""; });
  model(Check::DuplicateName, [](auto &m) { m.metadata.constants[1]->name = m.metadata.constants[0]->name; });
  model(Check::TableCount, [](auto &m) {
    for (unsigned i = 0; i < kMaxExtents; ++i)
      m.metadata.extents.push_back(extentOf("e" + std::to_string(i), 1));
  });
  model(Check::TargetMachine, [](auto &m) { m.metadata.target->triple = "s390x-linux-gnu"; });
  model(Check::TargetMachine, [](auto &m) { m.metadata.target->isa_family = "vax"; });
  model(Check::TargetMachine, [](auto &m) { m.metadata.target.reset(); });
  model(Check::ModelBounds, [](auto &m) { m.metadata.model->context = 0; });
  model(Check::ModelBounds, [](auto &m) { m.metadata.model->sequences = kMaxSequences + 1; });
  model(Check::ModelBounds, [](auto &m) { m.metadata.model->rows = m.metadata.model->batch + 1; });
  model(Check::EndToken, [](auto &m) { m.metadata.model->end_tokens = {19}; });
  model(Check::Sampling, [](auto &m) { m.metadata.model->sampling->top_p = NAN; });
  model(Check::Sampling, [](auto &m) { m.metadata.model->sampling->temperature = -1; });
  model(Check::ExtentBound, [](auto &m) { m.metadata.extents.push_back(extentOf("e", 0)); });
  auto ruled = [&](fb::ExtentRule rule, fb::Dim left, int64_t least) {
    model(Check::ExtentRule, [=](auto &m) {
      m.metadata.extents.push_back(extentOf("e", 4));
      fb::ExtentT &extent = *m.metadata.extents.back();
      extent.rule = rule;
      extent.left = std::make_unique<fb::Dim>(left);
      extent.right = std::make_unique<fb::Dim>(1, -1);
      extent.least = least;
    });
  };
  ruled(fb::ExtentRule(7), fb::Dim(1, 0), 0);
  ruled(fb::ExtentRule::add, fb::Dim(1, 2), 0); // Itself.
  ruled(fb::ExtentRule::add, fb::Dim(1, -2), 0);
  ruled(fb::ExtentRule::add, fb::Dim(1, 0), 5);
  ruled(fb::ExtentRule::add, fb::Dim(1, 0), INT64_MIN);
  model(Check::ExtentRule, [](auto &m) {
    m.metadata.extents.push_back(extentOf("e", 4));
    m.metadata.extents.back()->rule = fb::ExtentRule::add;
  });
  model(Check::ModelExtent, [](auto &m) { m.metadata.extents[0]->bound += 1; });
  model(Check::ModelExtent, [](auto &m) { m.metadata.extents[1]->name = "lines"; });
  model(Check::SlotType, [](auto &m) { someActivation(m).dtype = DType(13); });
  model(Check::SlotRank, [](auto &m) { someActivation(m).dims.assign(9, fb::Dim(1, -1)); });
  model(Check::SlotDim, [](auto &m) { someActivation(m).dims[1] = fb::Dim(0, -1); });
  model(Check::SlotDim, [](auto &m) { someActivation(m).dims[1] = fb::Dim(INT64_MAX, 0); });
  model(Check::SlotDimExtent, [](auto &m) { someActivation(m).dims[0] = fb::Dim(1, 2); });
  model(Check::SlotStrides, [](auto &m) { someActivation(m).strides = {1}; });
  model(Check::SlotStrides, [](auto &m) { someActivation(m).strides = {-1, 1}; });
  model(Check::SlotSize, [](auto &m) { someActivation(m).dims.assign(8, fb::Dim(int64_t(1) << 40, -1)); });
  model(Check::SlotSize, [](auto &m) { someActivation(m).strides = {int64_t(1) << 40, int64_t(1) << 40}; });
  model(Check::SlotSpace, [](auto &m) { someActivation(m).space = fb::Space(2); });
  model(Check::SlotAlignment, [](auto &m) { someActivation(m).offset += 4; });
  model(Check::SlotSegment, [](auto &m) { m.metadata.slots[weightSlot(m)]->segment = 1; });
  model(Check::SlotInSegment, [](auto &m) { m.metadata.slots[weightSlot(m)]->offset = uint64_t(1) << 62; });
  model(Check::SlotInArena, [](auto &m) { someActivation(m).dims[1] = fb::Dim(1 << 20, -1); });
  model(Check::ArenaSize, [](auto &m) { m.metadata.arena_size = kMaxArenaBytes + 1; });
  model(Check::CheckpointEvery, [](auto &m) { m.metadata.model->checkpoint_every = 24; });
  model(Check::CheckpointEvery, [](auto &m) { m.metadata.model->checkpoint_every = kMaxContext * 2; });
  model(Check::StateKind, [](auto &m) { m.metadata.states[0]->kind = fb::StateKind::membrane; });
  model(Check::RecurrentSpec, [](auto &m) { m.metadata.states[0]->kind = fb::StateKind::conv; });
  auto recurrent = [&](fb::StateKind kind, std::function<void(fb::RecurrentSpecT &)> change) {
    model(Check::RecurrentSpec, [kind, change](TinyModel &m) {
      fb::StateT &state = *m.metadata.states[0];
      state.kind = kind;
      state.recurrent = std::make_unique<fb::RecurrentSpecT>();
      fb::RecurrentSpecT &spec = *state.recurrent;
      spec.dims = kind == fb::StateKind::conv ? std::vector<uint64_t>{8, 3} : std::vector<uint64_t>{4, 5, 6};
      spec.log_columns = kind == fb::StateKind::conv ? 8 : 4 * 5 + 2 * 6 + 4;
      spec.groups = kind == fb::StateKind::conv ? 0 : 2;
      change(spec);
    });
  };
  for (auto kind : {fb::StateKind::conv, fb::StateKind::ssm}) {
    recurrent(kind, [](auto &spec) { spec.dims.clear(); });
    recurrent(kind, [](auto &spec) { spec.dims[0] = 0; });
    recurrent(kind, [](auto &spec) { spec.dims.push_back(2); });
    recurrent(kind, [](auto &spec) { spec.dims[0] = spec.dims[1] = uint64_t(1) << 32; });
    recurrent(kind, [](auto &spec) { spec.dims[1] = kMaxRecurrentElements; });
    recurrent(kind, [](auto &spec) { spec.log_columns += 1; });
    recurrent(kind, [](auto &spec) { spec.log_columns = uint64_t(-1); });
    recurrent(kind, [](auto &spec) { spec.groups = 3; });
    recurrent(kind, [](auto &spec) { spec.dtype = DType::f16; });
  }
  recurrent(fb::StateKind::conv, [](auto &spec) { spec.dtype = DType::bf16; });
  recurrent(fb::StateKind::conv, [](auto &spec) { spec.dims[1] = kMaxConvKernel; });
  recurrent(fb::StateKind::ssm, [](auto &spec) { spec.groups = 0; });
  model(Check::StateKind, [](auto &m) { m.metadata.states[0]->scope = fb::StateScope::model; });
  model(Check::StateSpec, [](auto &m) { m.metadata.states[0]->kv.reset(); });
  model(Check::StateSpec, [](auto &m) { *m.metadata.states[0]->kv = fb::KvSpec(1, 1u << 31, DType::f32, 0); });
  model(Check::KernelPresent, [](auto &m) { m.metadata.kernels[0]->version = 99; });
  model(Check::ConstantSegment, [](auto &m) { m.metadata.constants[0]->segment = 1; });
  model(Check::ConstantExtent, [](auto &m) { m.metadata.constants[0]->size = uint64_t(-1); });
  model(Check::ConstantFormat,
        [](auto &m) { *m.metadata.constants[0]->weight = fb::WeightDesc(1, 1, 0, fb::WeightFormat(200), false); });
  model(Check::TapSlot, [](auto &m) { addTap(m, 9999); });
  model(Check::TapSlot, [](auto &m) { addTap(m, weightSlot(m)); });
  auto code = [&](Check check, std::function<void(TinyModel &)> change) {
    model(check, [change](TinyModel &m) {
      addCode(m);
      change(m);
    });
  };
  code(Check::CodeVariants, [](auto &m) { m.metadata.codes[0]->variants.clear(); });
  code(Check::CodeVariants, [](auto &m) { m.metadata.codes[0]->triple = "wasm32-wasi"; });
  code(Check::CodeSegment, [](auto &m) { m.metadata.codes[0]->variants[0]->segment = 0; });
  code(Check::CodeEntry, [](auto &m) { m.metadata.codes[0]->variants[0]->entry = 1; });
  code(Check::CodeIsa, [](auto &m) { m.metadata.codes[0]->variants[0]->isa = "amx"; });
  auto image = [&](std::function<void(TinyModel &)> change) {
    model(Check::Image, [change](TinyModel &m) {
      addImage(m);
      change(m);
    });
  };
  image([](auto &m) { m.metadata.images.clear(); });
  image([](auto &m) { m.metadata.images[0]->segment = 0; });
  image([](auto &m) { m.metadata.images[0]->segment = 2; });
  image([](auto &m) { m.metadata.images[0]->offset = uint64_t(-8); });
  image([](auto &m) { m.metadata.images[0]->size = 0; });
  image([](auto &m) { m.weights.back() = 1; });
  auto together = [&](std::function<void(TinyModel &)> change) {
    model(Check::Ranks, [change](TinyModel &m) {
      addImage(m);
      m.metadata.required_features.push_back("tensor_parallel");
      m.metadata.ranks = 2;
      change(m);
    });
  };
  model(Check::Ranks, [](auto &m) { m.metadata.ranks = 0; });
  model(Check::Ranks, [](auto &m) { m.metadata.ranks = 2; });
  model(Check::Ranks, [](auto &m) {
    m.metadata.required_features.push_back("tensor_parallel");
    m.metadata.ranks = 2;
  });
  together([](auto &m) { m.metadata.ranks = 1; });
  together([](auto &m) { m.metadata.ranks = 9; });
  together([](auto &m) { m.metadata.segments[0]->of_ranks = {99}; });
  together([](auto &m) { m.metadata.segments[0]->of_ranks = {0}; });
  together([](auto &m) { m.metadata.segments[0]->of_ranks = {1}; });
  together([](auto &m) { m.metadata.segments[0]->of_ranks = {1, 2}; });
  together([](auto &m) { m.metadata.segments[1]->of_ranks = {0}; });
  model(Check::DeviceOp, [](TinyModel &m) {
    addImage(m);
    addOp(ops(m), fb::IfT());
  });
  auto region = [&](Check check, std::function<void(TinyModel &)> change) {
    model(check, [change](TinyModel &m) {
      addRegion(m);
      change(m);
    });
  };
  region(Check::DeviceCode, [](auto &m) { m.metadata.images[1]->module_ = "Kernels"; });
  region(Check::DeviceCode, [](auto &m) { m.metadata.images.pop_back(); });
  region(Check::DeviceCode, [](auto &m) {
    m.metadata.codes[0]->variants.push_back(std::make_unique<fb::CodeVariantT>());
    m.metadata.codes[0]->variants[0]->isa = kBaseLevel;
  });
  region(Check::CodeDims, [](auto &m) { theCodeCall(m).dims.pop_back(); });
  region(Check::CodeDims, [](auto &m) { theCodeCall(m).dims.push_back(fb::Dim(4, -1)); });
  region(Check::CodeDims, [](auto &m) { theCodeCall(m).dims.clear(); });
  region(Check::CodeDims, [](auto &m) { theCodeCall(m).dims[0] = fb::Dim(1, 77); });
  region(Check::CodeIndex, [](auto &m) { theCodeCall(m).code = 1; });
  region(Check::CodeSlots, [](auto &m) { theCodeCall(m).slots[0] = 9999; });
  region(Check::CodeItems, [](auto &m) { theCodeCall(m).items.reset(); });
  code(Check::CodeIndex, [](auto &m) { theCodeCall(m).code = 1; });
  code(Check::CodeSlots, [](auto &m) { theCodeCall(m).slots = {9999}; });
  code(Check::CodeSlots, [](auto &m) { theCodeCall(m).slots.assign(kMaxCodeSlots + 1, 0); });
  code(Check::CodeDims, [](auto &m) { theCodeCall(m).dims = {fb::Dim(1, 77)}; });
  code(Check::CodeItems, [](auto &m) { theCodeCall(m).grain = 0; });
  code(Check::CodeItems, [](auto &m) { theCodeCall(m).items.reset(); });
  return cases;
}

std::vector<Case> functionCases() {
  std::vector<Case> cases;
  auto model = [&](Check check, std::function<void(TinyModel &)> change) {
    cases.push_back({check, std::move(change), nullptr});
  };
  model(Check::FunctionSlots, [](auto &m) { m.metadata.functions[0]->inputs[0] = 9999; });
  model(Check::FunctionSlots, [](auto &m) { m.metadata.functions[0]->outputs[0] = weightSlot(m); });
  model(Check::StepSignature,
        [](auto &m) { std::swap(m.metadata.functions[0]->inputs[0], m.metadata.functions[0]->inputs[1]); });
  model(Check::StepSignature, [](auto &m) { m.metadata.model->vocab_size = 18; });
  model(Check::StepSignature, [](auto &m) { m.metadata.functions[0]->name = "leap"; });
  model(Check::BlockDepth, [](auto &m) {
    auto *list = &ops(m);
    for (unsigned i = 0; i < kMaxBlockDepth; ++i) {
      addOp(*list, loopOf(1));
      list = &list->back()->body.AsLoop()->body->ops;
    }
  });
  // Each function alone keeps the limit, the call does not.
  model(Check::BlockDepth, [](auto &m) {
    uint32_t callee = addFunction(m, "callee");
    for (auto *list : {&ops(m), &m.metadata.functions[callee]->body->ops}) {
      for (unsigned i = 0; i < kMaxBlockDepth / 2; ++i) {
        addOp(*list, loopOf(1));
        list = &list->back()->body.AsLoop()->body->ops;
      }
      if (callee)
        addOp(*list, callOf(std::exchange(callee, 0)));
    }
  });
  model(Check::OpCount, [](auto &m) {
    uint32_t callee = addFunction(m, "nothing");
    for (uint64_t i = 0; i <= kMaxOps; ++i)
      addOp(ops(m), callOf(callee));
  });
  model(Check::OpBody, [](auto &m) { ops(m)[0]->body.Reset(); });
  model(Check::OpBody, [](auto &m) {
    ops(m)[0]->body.Reset();
    ops(m)[0]->body.type = fb::OpBody(77);
  });
  model(Check::CallKernel, [](auto &m) { firstCall(m, "linear").kernel = 99; });
  model(Check::CallSlotCount, [](auto &m) { firstCall(m, "linear").inputs.assign(kMaxCallInputs + 1, 0); });
  model(Check::CallSlotCount, [](auto &m) { firstCall(m, "linear").outputs.assign(kMaxCallOutputs + 1, 0); });
  model(Check::CallSlotCount, [](auto &m) { firstCall(m, "attention").states.assign(kMaxCallStates + 1, 0); });
  model(Check::CallSlots, [](auto &m) { firstCall(m, "linear").inputs[0] = 9999; });
  model(Check::CallSlots, [](auto &m) { firstCall(m, "linear").outputs[0] = uint32_t(-1); });
  model(Check::CallOutputSpace, [](auto &m) { firstCall(m, "linear").outputs[0] = weightSlot(m); });
  model(Check::CallOverlap, [](auto &m) {
    auto &call = firstCall(m, "linear");
    m.metadata.slots[call.outputs[0]]->offset = m.metadata.slots[call.inputs[0]]->offset + 64;
  });
  model(Check::CallOverlap,
        [](auto &m) { firstCall(m, "linear").outputs.push_back(firstCall(m, "linear").outputs[0]); });
  model(Check::CallStates, [](auto &m) { firstCall(m, "attention").states[0] = 1; });
  model(Check::CallAttrs, [](auto &m) {
    firstCall(m, "linear").attrs.Reset();
    firstCall(m, "linear").attrs.type = fb::KernelAttrs(99);
  });
  model(Check::KernelCheck, [](auto &m) { firstCall(m, "linear").attrs.Set(fb::NoAttrs()); });
  model(Check::KernelScratch, [](auto &m) { m.metadata.kernels[firstCall(m, "rope").kernel]->name = "huge"; });
  model(Check::IfCondition, [](auto &m) { addOp(ops(m), ifOf(0)); });
  model(Check::IfCondition, [](auto &m) { addOp(ops(m), ifOf(9999)); });
  model(Check::IfBlocks, [](auto &m) {
    addOp(ops(m), ifOf(addScalar(m, DType::boolean)));
    ops(m).back()->body.AsIf()->then_block.reset();
  });
  model(Check::LoopTrips, [](auto &m) { addOp(ops(m), loopOf(0)); });
  model(Check::LoopTrips, [](auto &m) {
    addOp(ops(m), loopOf(4));
    ops(m).back()->body.AsLoop()->static_trips = 5;
  });
  model(Check::LoopSlots, [](auto &m) {
    addOp(ops(m), loopOf(4));
    ops(m).back()->body.AsLoop()->trip_count = 9999;
  });
  model(Check::LoopSlots, [](auto &m) {
    addOp(ops(m), loopOf(4));
    ops(m).back()->body.AsLoop()->index = int32_t(addScalar(m, DType::i32));
  });
  model(Check::LoopSlots, [](auto &m) {
    addOp(ops(m), loopOf(4));
    ops(m).back()->body.AsLoop()->while_condition = -2;
  });
  model(Check::LoopBody, [](auto &m) {
    addOp(ops(m), loopOf(4));
    ops(m).back()->body.AsLoop()->body.reset();
  });
  model(Check::LoopBody, [](auto &m) { m.metadata.functions[0]->body.reset(); });
  model(Check::CallFunction, [](auto &m) { addOp(ops(m), callOf(1)); });
  model(Check::CallCycle, [](auto &m) { addOp(ops(m), callOf(0)); });
  model(Check::CallCycle, [](auto &m) {
    uint32_t other = addFunction(m, "other");
    addOp(ops(m), callOf(other));
    addOp(m.metadata.functions[other]->body->ops, callOf(0));
  });
  // Once walked from the top, once with the callees verified before their callers.
  for (bool callersFirst : {true, false})
    model(Check::CallDepth, [callersFirst](auto &m) {
      uint32_t first = addFunction(m, "f0");
      for (unsigned i = 1; i <= kMaxCallDepth; ++i)
        addFunction(m, "f" + std::to_string(i));
      for (unsigned i = 0; i < kMaxCallDepth; ++i) {
        uint32_t a = first + i, b = a + 1;
        addOp(m.metadata.functions[callersFirst ? a : b]->body->ops, callOf(callersFirst ? b : a));
      }
    });
  model(Check::ExecutedOps, [](auto &m) {
    addOp(ops(m), loopOf(1 << 20));
    addOp(ops(m).back()->body.AsLoop()->body->ops, loopOf(1 << 20));
  });
  return cases;
}

} // namespace mlc::test
