//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A file of every check of the loader and the verifier: each is refused by that very check, so a check that goes
// missing or is reached too late is noticed. The sources under test are built here with MLC_TRACE_CHECKS.
//
#include "runtime/artifact/Checks.h"
#include "runtime/artifact/Machine.h"
#include "runtime/artifact/ProgramVerifier.h"
#include "tests/unit/support/TinyArtifact.h"

#include <cmath>
#include <functional>
#include <gtest/gtest.h>
#include <set>

namespace mlc {

Check lastRefused = Check::Count;

namespace {

using namespace mlc::test;

Status acceptAll(const KernelCallInfo &) { return {}; }
Status wantLinear(const KernelCallInfo &info) {
  if (!info.attrsAs<fb::LinearAttrs>())
    return Error(ErrorCode::Corrupt, "attributes of another kernel");
  return {};
}
ScratchNeed hugeScratch(const KernelCallInfo &) { return {1u << 20, uint64_t(1) << 62}; }

// Every kernel of the tiny model, accepting any call but a linear without its attributes; `huge` wants too much
// scratch.
const TargetRegistry &fakeTarget() {
  static const KernelDef kernels[] = {
      {"embedding", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"rope_angles", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"rms_norm", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"linear", 1, Isa::portable, wantLinear, nullptr, nullptr},
      {"rope", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"kv_append", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"attention", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"gated_activation", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"gather_rows", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"huge", 1, Isa::portable, acceptAll, hugeScratch, nullptr},
  };
  static const KernelDef *const pointers[] = {&kernels[0], &kernels[1], &kernels[2], &kernels[3], &kernels[4],
                                              &kernels[5], &kernels[6], &kernels[7], &kernels[8], &kernels[9]};
  static const TargetRegistry target{pointers, {}, {}};
  return target;
}

TinyModel smallModel() {
  TinyOptions options;
  options.layers = 1;
  options.hidden = 16;
  options.heads = 2;
  options.kvHeads = 1;
  options.inner = 24;
  options.vocab = 19;
  return makeTinyModel(options);
}

// One slot of each kind that control flow needs, and an op list to write into.
std::vector<std::unique_ptr<fb::OpT>> &ops(TinyModel &model) { return model.metadata.functions[0]->body->ops; }

template <typename Body> void addOp(std::vector<std::unique_ptr<fb::OpT>> &list, Body body) {
  auto op = std::make_unique<fb::OpT>();
  op->body.Set(std::move(body));
  list.push_back(std::move(op));
}

uint32_t addScalar(TinyModel &model, DType type) {
  auto slot = std::make_unique<fb::SlotT>();
  slot->dtype = type;
  slot->offset = model.metadata.arena_size;
  model.metadata.arena_size += 64;
  model.metadata.slots.push_back(std::move(slot));
  return uint32_t(model.metadata.slots.size() - 1);
}

uint32_t addFunction(TinyModel &model, const std::string &name) {
  auto function = std::make_unique<fb::FunctionT>();
  function->name = name;
  function->body = std::make_unique<fb::BlockT>();
  model.metadata.functions.push_back(std::move(function));
  return uint32_t(model.metadata.functions.size() - 1);
}

fb::CallT callOf(uint32_t function) {
  fb::CallT call;
  call.function = function;
  return call;
}

fb::LoopT loopOf(uint64_t trips) {
  fb::LoopT loop;
  loop.static_trips = loop.max_trips = trips;
  loop.body = std::make_unique<fb::BlockT>();
  return loop;
}

fb::IfT ifOf(uint32_t condition) {
  fb::IfT branch;
  branch.condition = condition;
  branch.then_block = std::make_unique<fb::BlockT>();
  return branch;
}

fb::CallCodeT codeCall() {
  fb::CallCodeT call;
  call.items = std::make_unique<fb::Dim>(1, -1);
  call.grain = 1;
  return call;
}

fb::KernelCallT &firstCall(TinyModel &model, const char *kernel) {
  for (auto &op : ops(model))
    if (auto *call = op->body.AsKernelCall(); call && model.metadata.kernels[call->kernel]->name == kernel)
      return *call;
  abort();
}

uint32_t weightSlot(TinyModel &model) { return firstCall(model, "linear").inputs[1]; }
fb::SlotT &someActivation(TinyModel &model) { return *model.metadata.slots[firstCall(model, "linear").outputs[0]]; }

// A code segment with one object.
void addCode(TinyModel &model) {
  auto segment = std::make_unique<fb::SegmentT>();
  segment->kind = fb::SegmentKind::code;
  segment->size = 16;
  model.metadata.segments.push_back(std::move(segment));
  model.weights.resize(model.weights.size() + 16);
  auto variant = std::make_unique<fb::CodeVariantT>();
  variant->isa = kBaseLevel;
  variant->segment = 1;
  variant->size = 16;
  auto code = std::make_unique<fb::CodeT>();
  code->name = "region0";
  code->triple = model.metadata.target->triple;
  code->variants.push_back(std::move(variant));
  model.metadata.codes.push_back(std::move(code));
  addOp(ops(model), codeCall());
}

fb::CallCodeT &theCodeCall(TinyModel &model) { return *ops(model).back()->body.AsCallCode(); }

void addTap(TinyModel &model, uint32_t slot) {
  auto tap = std::make_unique<fb::TapT>();
  tap->name = "blocks.0.hook_resid_pre";
  tap->slot = slot;
  model.metadata.taps.push_back(std::move(tap));
}

std::unique_ptr<fb::ExtentT> extentOf(const std::string &name, uint64_t bound) {
  auto extent = std::make_unique<fb::ExtentT>();
  extent->name = name;
  extent->bound = bound;
  return extent;
}

// What a damaged or hostile file looks like: the model before it is written, or the bytes after.
struct Case {
  Check check;
  std::function<void(TinyModel &)> onModel;
  std::function<void(AlignedBytes &)> onBytes;
  bool repair = true;
  LoadOptions options = {};
};

ArtifactHeader *headerOf(AlignedBytes &file) { return reinterpret_cast<ArtifactHeader *>(file.data()); }
const fb::Artifact *metadataOf(AlignedBytes &file) { return fb::GetArtifact(file.data() + kMetadataOffset); }
template <typename T> void setField(const void *table, flatbuffers::voffset_t field, T value) {
  auto *fields = reinterpret_cast<flatbuffers::Table *>(const_cast<void *>(table));
  memcpy(fields->GetAddressOf(field), &value, sizeof value);
}
void resize(AlignedBytes &file, size_t size) {
  std::vector<uint8_t> copy(file.data(), file.data() + file.size());
  copy.resize(size);
  file = std::span<const uint8_t>(copy);
}

// Points the dims of slots at words that pass as vectors but are not aligned for their elements.
void misalignVector(AlignedBytes &file) {
  uint8_t *base = file.data() + kMetadataOffset;
  size_t size = headerOf(file)->metadataSize;
  for (const fb::Slot *slot : *metadataOf(file)->slots()) {
    auto *table = reinterpret_cast<flatbuffers::Table *>(const_cast<fb::Slot *>(slot));
    uint8_t *field = const_cast<uint8_t *>(table->GetAddressOf(fb::Slot::VT_DIMS));
    uint32_t before;
    memcpy(&before, field, sizeof before);
    for (uint32_t target = uint32_t(field - base) + 4; target + 64 < size; target += 4) {
      uint32_t count;
      memcpy(&count, base + target, sizeof count);
      if (target % 8 || count != 1)
        continue;
      uint32_t offset = target - uint32_t(field - base);
      memcpy(field, &offset, sizeof offset);
      return;
    }
    memcpy(field, &before, sizeof before);
  }
}

const fb::Segment *firstSegment(AlignedBytes &file) { return metadataOf(file)->segments()->Get(0); }

std::vector<Case> fileCases() {
  std::vector<Case> cases;
  auto bytes = [&](Check check, std::function<void(AlignedBytes &)> change, bool repair = true) {
    cases.push_back({check, nullptr, std::move(change), repair, {}});
  };
  bytes(Check::FileSize, [](auto &file) { resize(file, 63); });
  bytes(Check::Magic, [](auto &file) { file[0] ^= 1; });
  bytes(Check::HeaderDigest, [](auto &file) { file[16] ^= 1; }, false);
  bytes(Check::Version, [](auto &file) { headerOf(file)->version = 2; });
  bytes(Check::Reserved, [](auto &file) { headerOf(file)->reserved[1] = 1; });
  bytes(Check::DeclaredSize, [](auto &file) { resize(file, file.size() + 1); });
  bytes(Check::DeclaredSize, [](auto &file) { resize(file, file.size() - 1); });
  bytes(Check::MetadataExtent, [](auto &file) { headerOf(file)->metadataSize = file.size(); });
  bytes(Check::MetadataExtent, [](auto &file) { headerOf(file)->metadataOffset = 128; });
  bytes(Check::MetadataDigest, [](auto &file) { file[kMetadataOffset + 40] ^= 1; }, false);
  bytes(Check::MetadataStructure, [](auto &file) { memset(file.data() + kMetadataOffset, 0, 4); });
  bytes(Check::VectorAlignment, misalignVector);
  bytes(Check::SegmentSize, [](auto &file) { setField<uint64_t>(firstSegment(file), fb::Segment::VT_SIZE, 0); });
  bytes(Check::SegmentOffset, [](auto &file) {
    setField<uint64_t>(firstSegment(file), fb::Segment::VT_OFFSET, firstSegment(file)->offset() + 64);
  });
  bytes(Check::SegmentEnd,
        [](auto &file) { setField<uint64_t>(firstSegment(file), fb::Segment::VT_SIZE, uint64_t(-1)); });
  bytes(Check::FileEnd, [](auto &file) {
    resize(file, file.size() + 1);
    headerOf(file)->fileSize = file.size();
  });
  bytes(Check::Padding, [](auto &file) { file[firstSegment(file)->offset() - 1] = 1; });
  bytes(Check::DigestCount, [](auto &file) {
    const_cast<uint8_t *>(reinterpret_cast<const uint8_t *>(firstSegment(file)->digests()))[0] = 0;
  });
  bytes(Check::SegmentDigest, [](auto &file) { file[file.size() - 1] ^= 1; }, false);
  cases.push_back({Check::RequiredFeature, [](auto &m) { m.metadata.required_features = {"quantum"}; }, nullptr});
  cases.push_back({Check::SegmentKind, [](auto &m) { m.metadata.segments[0]->kind = fb::SegmentKind(2); }, nullptr});
  LoadOptions noCode;
  noCode.allowCode = false;
  cases.push_back({Check::CodeAllowed, addCode, nullptr, true, noCode});
  return cases;
}

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

// Padding before the first segment, so that it can be damaged.
TinyModel paddedModel() {
  TinyModel model = smallModel();
  for (;; model.metadata.report += "r") {
    AlignedBytes file = modelBytes(model);
    if (headerOf(file)->metadataSize % kWeightsAlignment)
      return model;
  }
}

Result<Program> loadAndVerify(const std::string &path, const LoadOptions &options) {
  MLC_ASSIGN(Artifact artifact, Artifact::open(path.c_str(), options));
  return verifyProgram(artifact, fakeTarget(), Isa::portable, 2);
}

void writeBytes(const AlignedBytes &bytes, const std::string &path) {
  FILE *file = fopen(path.c_str(), "wb");
  ASSERT_TRUE(file && fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size());
  fclose(file);
}

void runCases(const std::vector<Case> &cases, std::set<Check> &covered) {
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case &item = cases[i];
    SCOPED_TRACE("case " + std::to_string(i) + " of check " + std::to_string(unsigned(item.check)));
    TinyModel model = paddedModel();
    if (item.onModel)
      item.onModel(model);
    std::string path = temporaryPath("case.mlca");
    if (item.onBytes) {
      AlignedBytes bytes = modelBytes(model);
      item.onBytes(bytes);
      if (item.repair)
        repairDigests(bytes.span());
      writeBytes(bytes, path);
    } else {
      writeModel(model, path);
    }
    lastRefused = Check::Count;
    Result<Program> result = loadAndVerify(path, item.options);
    ASSERT_FALSE(result);
    std::string message = result.error().message();
    EXPECT_EQ(unsigned(lastRefused), unsigned(item.check)) << message;
    EXPECT_EQ(message.find(path), 0u) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_LT(message.size(), 500u) << message;
    covered.insert(item.check);
  }
}

TEST(ArtifactChecks, UnchangedModelsPass) {
  TinyModel model = paddedModel();
  std::string path = temporaryPath("good.mlca");
  writeModel(model, path);
  auto program = loadAndVerify(path, {});
  ASSERT_TRUE(program) << program.error().message();
  EXPECT_EQ(program->step, 0);
  EXPECT_EQ(program->kernels.size(), model.metadata.kernels.size());
  EXPECT_EQ(program->tokensExtent, 0);
  EXPECT_EQ(program->rowsExtent, 1);
}

TEST(ArtifactChecks, ControlFlowAndCodePass) {
  TinyModel model = paddedModel();
  uint32_t flag = addScalar(model, DType::boolean), count = addScalar(model, DType::i64);
  uint32_t callee = addFunction(model, "callee");
  addOp(ops(model), ifOf(flag));
  fb::LoopT loop = loopOf(1 << 20);
  loop.trip_count = loop.index = int32_t(count);
  loop.while_condition = int32_t(flag);
  addOp(loop.body->ops, callOf(callee));
  addOp(ops(model), std::move(loop));
  addTap(model, count);
  // Two columns of one buffer, one gated by the other in place.
  auto &call = firstCall(model, "gated_activation");
  fb::SlotT &gate = *model.metadata.slots[call.inputs[0]], &up = *model.metadata.slots[call.inputs[1]];
  gate.strides = up.strides = {48, 1};
  gate.offset = model.metadata.arena_size;
  up.offset = gate.offset + 24 * 4;
  model.metadata.arena_size += 16 * 48 * 4;
  *model.metadata.slots[call.outputs[0]] = gate;
  addCode(model);
  std::string path = temporaryPath("flow.mlca");
  writeModel(model, path);
  auto program = loadAndVerify(path, {});
  ASSERT_TRUE(program) << program.error().message();
  ASSERT_EQ(program->codes.size(), 1u);
  EXPECT_TRUE(program->codes[0]);
}

#if defined(__x86_64__)
TEST(ArtifactChecks, CodeIsOfTheBestLevelThatRuns) {
  __builtin_cpu_init();
  const bool runs[] = {bool(__builtin_cpu_supports("x86-64-v2")), bool(__builtin_cpu_supports("x86-64-v3")),
                       levelRank("x86-64-v4") >= 0};
  if (!runs[0])
    GTEST_SKIP() << "this machine runs none of the levels";
  TinyModel model = paddedModel();
  addCode(model);
  auto &variants = model.metadata.codes[0]->variants;
  variants[0]->size = 4;
  // Not in rising order, and one that no machine runs.
  const char *const names[] = {"x86-64-v4", "x86-64-v3", "x86-64-v9"};
  for (uint64_t i = 0; i < 3; ++i) {
    variants.push_back(std::make_unique<fb::CodeVariantT>(*variants[0]));
    variants.back()->isa = names[i];
    variants.back()->entry = 4 * (i + 1);
  }
  std::string path = temporaryPath("levels.mlca");
  writeModel(model, path);
  auto artifact = Artifact::open(path.c_str());
  ASSERT_TRUE(artifact) << artifact.error().message();
  const uintptr_t entries[] = {0, 8, 4};
  for (Isa limit : {Isa::portable, Isa::avx2, Isa::avx512vnni}) {
    auto program = verifyProgram(*artifact, fakeTarget(), limit, 1);
    ASSERT_TRUE(program) << program.error().message();
    uintptr_t expected = 0;
    const Isa needs[] = {Isa::portable, Isa::avx2, Isa::avx512vnni};
    for (unsigned level = 0; level < 3; ++level)
      if (runs[level] && needs[level] <= limit)
        expected = entries[level];
    EXPECT_EQ(reinterpret_cast<uintptr_t>(program->codes[0]) - reinterpret_cast<uintptr_t>(artifact->segment(1).data()),
              expected)
        << "limit " << int(limit);
  }
}
#endif

TEST(ArtifactChecks, EveryCheckRefusesItsOwnDamage) {
  std::set<Check> covered;
  runCases(fileCases(), covered);
  runCases(tableCases(), covered);
  runCases(functionCases(), covered);
  for (unsigned i = 0; i < unsigned(Check::Count); ++i)
    EXPECT_TRUE(covered.count(Check(i))) << "no case for check " << i;
}

} // namespace
} // namespace mlc
