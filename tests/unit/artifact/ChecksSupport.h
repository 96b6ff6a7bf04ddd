//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the cases of ChecksTest.cpp are made of: a tiny model, and ways to damage it or the bytes it is written as.
//
#pragma once

#include "runtime/artifact/Artifact.h"
#include "runtime/artifact/Checks.h"
#include "runtime/artifact/Machine.h"
#include "runtime/exec/Kernel.h"
#include "tests/unit/support/TinyArtifact.h"

#include <functional>

namespace mlc::test {

/// What a damaged or hostile file looks like: the model before it is written, or the bytes after.
struct Case {
  Check check;
  std::function<void(TinyModel &)> onModel;
  std::function<void(AlignedBytes &)> onBytes;
  bool repair = true;
  LoadOptions options = {};
};

/// At least one for each check: of the bytes (DamagedFiles.cpp), of tables and of functions (DamagedTables.cpp), of
/// networks (DamagedNetworks.cpp).
std::vector<Case> fileCases();
std::vector<Case> tableCases();
std::vector<Case> functionCases();
std::vector<Case> networkCases();

inline TinyModel smallModel() {
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
inline std::vector<std::unique_ptr<fb::OpT>> &ops(TinyModel &model) { return model.metadata.functions[0]->body->ops; }

template <typename Body> void addOp(std::vector<std::unique_ptr<fb::OpT>> &list, Body body) {
  auto op = std::make_unique<fb::OpT>();
  op->body.Set(std::move(body));
  list.push_back(std::move(op));
}

inline uint32_t addScalar(TinyModel &model, DType type) {
  auto slot = std::make_unique<fb::SlotT>();
  slot->dtype = type;
  slot->offset = model.metadata.arena_size;
  model.metadata.arena_size += 64;
  model.metadata.slots.push_back(std::move(slot));
  return uint32_t(model.metadata.slots.size() - 1);
}

inline uint32_t addFunction(TinyModel &model, const std::string &name) {
  auto function = std::make_unique<fb::FunctionT>();
  function->name = name;
  function->body = std::make_unique<fb::BlockT>();
  model.metadata.functions.push_back(std::move(function));
  return uint32_t(model.metadata.functions.size() - 1);
}

inline fb::CallT callOf(uint32_t function) {
  fb::CallT call;
  call.function = function;
  return call;
}

inline fb::LoopT loopOf(uint64_t trips) {
  fb::LoopT loop;
  loop.static_trips = loop.max_trips = trips;
  loop.body = std::make_unique<fb::BlockT>();
  return loop;
}

inline fb::IfT ifOf(uint32_t condition) {
  fb::IfT branch;
  branch.condition = condition;
  branch.then_block = std::make_unique<fb::BlockT>();
  return branch;
}

inline fb::CallCodeT codeCall() {
  fb::CallCodeT call;
  call.items = std::make_unique<fb::Dim>(1, -1);
  call.grain = 1;
  return call;
}

inline fb::KernelCallT &firstCall(TinyModel &model, const char *kernel) {
  for (auto &op : ops(model))
    if (auto *call = op->body.AsKernelCall(); call && model.metadata.kernels[call->kernel]->name == kernel)
      return *call;
  abort();
}

inline uint32_t weightSlot(TinyModel &model) { return firstCall(model, "linear").inputs[1]; }
inline fb::SlotT &someActivation(TinyModel &model) {
  return *model.metadata.slots[firstCall(model, "linear").outputs[0]];
}

// A code segment with one object.
inline void addCode(TinyModel &model) {
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

// A GPU's model with an image, in segment 1.
inline void addImage(TinyModel &model) {
  model.metadata.target->isa_family = kCudaFamily;
  model.metadata.target->triple = "nvptx64-nvidia-cuda";
  model.metadata.required_features.push_back("cuda");
  auto segment = std::make_unique<fb::SegmentT>();
  segment->kind = fb::SegmentKind::images;
  segment->size = 16;
  model.metadata.segments.push_back(std::move(segment));
  model.weights.resize(model.weights.size() + 16);
  auto image = std::make_unique<fb::ImageT>();
  image->module_ = "Kernels";
  image->arch = "sm_80";
  image->segment = 1;
  image->size = 16;
  model.metadata.images.push_back(std::move(image));
}

// A GPU's model with a compiled region, whose image is the second one.
inline void addRegion(TinyModel &model) {
  addImage(model);
  auto image = std::make_unique<fb::ImageT>(*model.metadata.images[0]);
  image->module_ = kRegionModule;
  model.metadata.images.push_back(std::move(image));
  auto code = std::make_unique<fb::CodeT>();
  code->name = "region_0";
  code->triple = model.metadata.target->triple;
  model.metadata.codes.push_back(std::move(code));
  addOp(ops(model), codeCall());
  auto &call = *ops(model).back()->body.AsCallCode();
  call.slots = {0, 1};
  call.dims.assign(call.slots.size() + 1, fb::Dim(4, -1));
}

inline fb::CallCodeT &theCodeCall(TinyModel &model) { return *ops(model).back()->body.AsCallCode(); }

inline void addTap(TinyModel &model, uint32_t slot) {
  auto tap = std::make_unique<fb::TapT>();
  tap->name = "blocks.0.hook_resid_pre";
  tap->slot = slot;
  model.metadata.taps.push_back(std::move(tap));
}

inline std::unique_ptr<fb::ExtentT> extentOf(const std::string &name, uint64_t bound) {
  auto extent = std::make_unique<fb::ExtentT>();
  extent->name = name;
  extent->bound = bound;
  return extent;
}

inline ArtifactHeader *headerOf(AlignedBytes &file) { return reinterpret_cast<ArtifactHeader *>(file.data()); }
inline const fb::Artifact *metadataOf(AlignedBytes &file) { return fb::GetArtifact(file.data() + kMetadataOffset); }
template <typename T> void setField(const void *table, flatbuffers::voffset_t field, T value) {
  auto *fields = reinterpret_cast<flatbuffers::Table *>(const_cast<void *>(table));
  memcpy(fields->GetAddressOf(field), &value, sizeof value);
}

} // namespace mlc::test
