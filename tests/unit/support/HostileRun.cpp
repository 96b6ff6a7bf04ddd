//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "tests/unit/support/HostileRun.h"
#include "runtime/artifact/Machine.h"
#include "runtime/llm/Session.h"
#include "runtime/net/Network.h"
#include "tests/unit/support/TinyNetwork.h"

namespace mlc::test {

const Allocator &smallAllocator() {
  static constexpr Allocator allocator{
      [](void *, size_t size, size_t alignment) -> void * {
        return size > (size_t(64) << 20) ? nullptr : systemAllocator().allocate(nullptr, size, alignment);
      },
      [](void *, void *memory, size_t size) { systemAllocator().release(nullptr, memory, size); }, nullptr};
  return allocator;
}

TinyModel everyOpModel(fb::WeightFormat format, fb::DType kv) {
  TinyOptions options = smallestOptions();
  options.context = 80;
  options.batch = options.rows = 4;
  options.sequences = 2;
  options.format = format;
  options.group = 32;
  options.kv = kv;
  TinyModel model = makeTinyModel(options);
  fb::ArtifactT &meta = model.metadata;
  auto scalar = [&](const char *name, fb::DType type) {
    auto slot = std::make_unique<fb::SlotT>();
    slot->name = name;
    slot->dtype = type;
    slot->offset = meta.arena_size;
    meta.arena_size += 64;
    meta.slots.push_back(std::move(slot));
    return uint32_t(meta.slots.size() - 1);
  };
  uint32_t flag = scalar("flag", fb::DType::boolean), index = scalar("index", fb::DType::i64);
  // Strided halves of one buffer, so that strides are there to be changed.
  auto half = [&](uint64_t offset) {
    auto slot = std::make_unique<fb::SlotT>();
    slot->name = "half";
    slot->dtype = fb::DType::f32;
    slot->dims = {fb::Dim(1, 0), fb::Dim(4, -1)};
    slot->strides = {8, 1};
    slot->offset = meta.arena_size + offset;
    meta.slots.push_back(std::move(slot));
    return uint32_t(meta.slots.size() - 1);
  };
  uint32_t left = half(0), right = half(16);
  meta.arena_size += 4 * 8 * 4;
  auto kernel = std::make_unique<fb::KernelT>();
  kernel->name = "copy";
  kernel->version = 1;
  meta.kernels.push_back(std::move(kernel));
  auto copy = [&] {
    auto op = std::make_unique<fb::OpT>();
    fb::KernelCallT call;
    call.kernel = uint32_t(meta.kernels.size() - 1);
    call.inputs = {left};
    call.outputs = {right};
    call.attrs.Set(fb::NoAttrs());
    op->body.Set(std::move(call));
    return op;
  };
  auto callee = std::make_unique<fb::FunctionT>();
  callee->name = "copy_halves";
  callee->body = std::make_unique<fb::BlockT>();
  callee->body->ops.push_back(copy());
  meta.functions.push_back(std::move(callee));

  auto &ops = meta.functions[0]->body->ops;
  fb::IfT branch;
  branch.condition = flag;
  branch.then_block = std::make_unique<fb::BlockT>();
  branch.then_block->ops.push_back(copy());
  branch.else_block = std::make_unique<fb::BlockT>();
  auto calling = std::make_unique<fb::OpT>();
  fb::CallT call;
  call.function = 1;
  calling->body.Set(std::move(call));
  branch.else_block->ops.push_back(std::move(calling));
  fb::LoopT loop;
  loop.static_trips = 2;
  loop.max_trips = 3;
  loop.index = int32_t(index);
  loop.body = std::make_unique<fb::BlockT>();
  loop.body->ops.push_back(copy());
  for (int i = 0; i < 2; ++i)
    ops.push_back(std::make_unique<fb::OpT>());
  ops[ops.size() - 2]->body.Set(std::move(branch));
  ops[ops.size() - 1]->body.Set(std::move(loop));
  auto tap = std::make_unique<fb::TapT>();
  tap->name = "blocks.0.hook_resid_pre";
  tap->slot = left;
  meta.taps.push_back(std::move(tap));
  return model;
}

TinyModel everyPortNetwork() {
  NetworkBuilder net = tinyNetwork();
  uint32_t flag = net.slot("flag", fb::DType::boolean, {}), index = net.slot("index", fb::DType::i64, {});
  auto copied = [&](fb::BlockT &block) {
    fb::BlockT *main = std::exchange(net.block, &block);
    net.copy(net.main().inputs[2], net.main().outputs[3]);
    net.block = main;
  };
  fb::IfT branch;
  branch.condition = flag;
  branch.then_block = std::make_unique<fb::BlockT>();
  copied(*branch.then_block);
  fb::LoopT loop;
  loop.static_trips = 2;
  loop.max_trips = 3;
  loop.index = int32_t(index);
  loop.body = std::make_unique<fb::BlockT>();
  copied(*loop.body);
  for (int i = 0; i < 2; ++i)
    net.block->ops.push_back(std::make_unique<fb::OpT>());
  net.block->ops[net.block->ops.size() - 2]->body.Set(std::move(branch));
  net.block->ops.back()->body.Set(std::move(loop));
  return std::move(net.model);
}

TinyModel codeNetwork() {
  TinyModel model = everyPortNetwork();
  fb::ArtifactT &meta = model.metadata;
  auto segment = std::make_unique<fb::SegmentT>();
  segment->kind = fb::SegmentKind::code;
  segment->size = 128;
  meta.segments.push_back(std::move(segment));
  model.weights.resize(128);
  auto code = std::make_unique<fb::CodeT>();
  code->name = "region_0";
  code->triple = kMachineTriple;
  for (const char *level : {kBaseLevel, "x86-64-v3", "x86-64-v4"}) {
    auto variant = std::make_unique<fb::CodeVariantT>();
    variant->isa = level;
    variant->entry = code->variants.size() * 32;
    variant->size = 32;
    code->variants.push_back(std::move(variant));
  }
  meta.codes.push_back(std::move(code));
  fb::CallCodeT call;
  call.slots = {meta.functions[0]->inputs[0], meta.functions[0]->outputs[0]};
  call.dims = {fb::Dim(1, 0), fb::Dim(8, -1)};
  call.items = std::make_unique<fb::Dim>(1, 0);
  call.grain = 2;
  meta.functions[0]->body->ops.push_back(std::make_unique<fb::OpT>());
  meta.functions[0]->body->ops.back()->body.Set(std::move(call));
  return model;
}

/// Every port in the caller's memory where it can be, at the smallest and the largest shapes.
static Status runNetwork(const Model &model, const Allocator &allocator) {
  NetworkOptions options;
  options.allocator = &allocator;
  MLC_ASSIGN(Network * created, Network::create(model.executionPlan(), options));
  Owned<Network> network(created);
  for (bool large : {true, false}) {
    for (size_t i = 0; i < network->inputs().size() && !large; ++i) {
      int64_t dims[kMaxRank];
      std::span<const Network::Axis> axes = network->inputs()[i].axes;
      for (size_t axis = 0; axis < axes.size(); ++axis)
        dims[axis] = axes[axis].factor;
      MLC_TRY(network->setShape(i, {dims, axes.size()}));
    }
    // As many bytes as the shape says, no more: a sanitizer sees what goes beyond.
    auto bytesOf = [](const TensorView &view) {
      uint64_t bytes = dtypeSize(view.dtype);
      for (unsigned axis = 0; axis < view.rank; ++axis)
        bytes *= uint64_t(view.dims[axis]);
      return bytes;
    };
    std::vector<std::vector<uint8_t>> lent;
    for (bool output : {false, true})
      for (size_t i = 0; i < (output ? network->outputs() : network->inputs()).size(); ++i) {
        uint64_t bytes = bytesOf(output ? network->output(i) : network->input(i));
        if (bytes > (1 << 20))
          return Error(ErrorCode::OutOfMemory, "more than this test lends");
        lent.emplace_back(bytes);
        // A refusal leaves the network's own memory.
        (void)(output ? network->bindOutput(i, lent.back().data(), bytes)
                      : network->bindInput(i, lent.back().data(), bytes));
      }
    MLC_TRY(network->run());
    MLC_TRY(network->run());
    [[maybe_unused]] volatile uint8_t read = 0;
    for (size_t i = 0; i < network->outputs().size(); ++i) {
      TensorView view = network->output(i);
      for (uint64_t byte = 0; byte < bytesOf(view); ++byte)
        read = view.as<uint8_t>()[byte];
    }
    for (size_t i = 0; i < network->inputs().size(); ++i)
      (void)network->bindInput(i, nullptr, 0);
    for (size_t i = 0; i < network->outputs().size(); ++i)
      (void)network->bindOutput(i, nullptr, 0);
  }
  for (size_t i = 0; i < network->states().size(); ++i)
    MLC_TRY(network->setState(i, network->state(i)));
  network->reset();
  return {};
}

Status loadAndStep(std::span<const uint8_t> file, const Allocator &allocator) {
  ModelOptions options;
  options.allocator = &allocator;
  options.networks = true;
  MLC_ASSIGN(Model * opened, Model::fromMemory(file, options));
  Owned<Model> model(opened);
  if (model->isNetwork())
    return runNetwork(*model, allocator);
  SessionOptions session;
  session.allocator = &allocator;
  MLC_ASSIGN(Session * created, Session::create(*model, session));
  Owned<Session> live(created);
  MLC_ASSIGN(SequenceId sequence, live->createSequence());
  const int32_t tokens[] = {1, 2, 3}, rows[] = {2};
  StepSegment first{sequence, {tokens, model->bounds().batch < 3 ? 1u : 3u}};
  MLC_ASSIGN(LogitsView logits, live->step({&first, 1}, std::span(rows).first(model->bounds().batch < 3 ? 0 : 1)));
  // Reading is what matters; NaN and infinity are answers too.
  [[maybe_unused]] volatile float read = 0;
  for (size_t i = 0; i < logits.rows * logits.vocab; ++i)
    read = logits.data[i];
  StepSegment second{sequence, {tokens, 1}};
  const int32_t row = 0;
  MLC_ASSIGN(LogitsView more, live->step({&second, 1}, {&row, 1}));
  for (size_t i = 0; i < more.rows * more.vocab; ++i)
    read = more.data[i];
  return {};
}

} // namespace mlc::test
