//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "tests/unit/support/TinyNetwork.h"
#include "runtime/artifact/Machine.h"
#include "runtime/exec/Kernel.h"

namespace mlc::test {

NetworkBuilder::NetworkBuilder() {
  meta().functions.push_back(std::make_unique<fb::FunctionT>());
  main().name = "main";
  main().body = std::make_unique<fb::BlockT>();
  block = main().body.get();
  meta().provenance = std::make_unique<fb::ProvenanceT>();
  meta().provenance->version = "0.1.0";
  meta().target = std::make_unique<fb::TargetT>();
  meta().target->triple = kMachineTriple;
  meta().model = std::make_unique<fb::ModelT>();
  meta().model->architecture = "onnx";
  meta().model->name = "tiny";
  meta().model->sampling = nullptr;
}

int32_t NetworkBuilder::extent(const std::string &name, uint64_t bound) {
  auto extent = std::make_unique<fb::ExtentT>();
  extent->name = name;
  extent->bound = bound;
  meta().extents.push_back(std::move(extent));
  return int32_t(meta().extents.size() - 1);
}

uint32_t NetworkBuilder::slot(const std::string &name, fb::DType dtype, std::vector<fb::Dim> dims) {
  auto slot = std::make_unique<fb::SlotT>();
  uint64_t bytes = dtypeSize(dtype);
  for (const fb::Dim &dim : dims)
    bytes *= uint64_t(dim.value()) * (dim.extent() < 0 ? 1 : meta().extents[size_t(dim.extent())]->bound);
  slot->name = name;
  slot->dtype = dtype;
  slot->dims = std::move(dims);
  slot->offset = meta().arena_size;
  meta().arena_size = alignUp<uint64_t>(slot->offset + bytes, 64);
  meta().slots.push_back(std::move(slot));
  return uint32_t(meta().slots.size() - 1);
}

uint32_t NetworkBuilder::view(uint32_t of, uint64_t offset, std::vector<fb::Dim> dims, std::vector<int64_t> strides) {
  auto slot = std::make_unique<fb::SlotT>();
  slot->name = meta().slots[of]->name + ".view";
  slot->dtype = meta().slots[of]->dtype;
  slot->dims = std::move(dims);
  slot->strides = std::move(strides);
  slot->offset = meta().slots[of]->offset + offset;
  meta().slots.push_back(std::move(slot));
  return uint32_t(meta().slots.size() - 1);
}

uint32_t NetworkBuilder::input(const std::string &name, fb::DType dtype, std::vector<fb::Dim> dims) {
  main().inputs.push_back(slot(name, dtype, std::move(dims)));
  main().input_names.push_back(name);
  return main().inputs.back();
}

uint32_t NetworkBuilder::output(const std::string &name, fb::DType dtype, std::vector<fb::Dim> dims) {
  main().outputs.push_back(slot(name, dtype, std::move(dims)));
  main().output_names.push_back(name);
  return main().outputs.back();
}

std::pair<uint32_t, uint32_t> NetworkBuilder::carry(const std::string &name, std::vector<fb::Dim> dims) {
  // In this order, whatever the compiler: braces.
  std::pair ends{input(name + "_in", fb::DType::f32, dims), output(name + "_out", fb::DType::f32, dims)};
  auto state = std::make_unique<fb::StateT>();
  state->name = name;
  state->kind = fb::StateKind::carry;
  state->scope = fb::StateScope::stream;
  state->carry = std::make_unique<fb::CarrySpec>(ends.first, ends.second);
  meta().states.push_back(std::move(state));
  return ends;
}

uint32_t NetworkBuilder::kernel(const char *name) {
  for (size_t i = 0; i < meta().kernels.size(); ++i)
    if (meta().kernels[i]->name == name)
      return uint32_t(i);
  meta().kernels.push_back(std::make_unique<fb::KernelT>());
  meta().kernels.back()->name = name;
  meta().kernels.back()->version = 1;
  return uint32_t(meta().kernels.size() - 1);
}

void NetworkBuilder::call(const char *name, fb::KernelAttrsUnion attrs, std::vector<uint32_t> inputs, uint32_t output) {
  fb::KernelCallT call;
  call.kernel = kernel(name);
  call.inputs = std::move(inputs);
  call.outputs = {output};
  call.attrs = std::move(attrs);
  auto op = std::make_unique<fb::OpT>();
  op->location = std::string(name) + "." + std::to_string(block->ops.size());
  op->body.Set(std::move(call));
  block->ops.push_back(std::move(op));
}

void NetworkBuilder::binary(fb::Binary op, uint32_t a, uint32_t b, uint32_t out) {
  fb::KernelAttrsUnion attrs;
  attrs.Set(fb::BinaryAttrs(op));
  call("binary", std::move(attrs), {a, b}, out);
}

void NetworkBuilder::unary(fb::Activation activation, uint32_t x, uint32_t out) {
  fb::KernelAttrsUnion attrs;
  attrs.Set(fb::UnaryAttrs(activation, 1, 1));
  call("unary", std::move(attrs), {x}, out);
}

void NetworkBuilder::copy(uint32_t from, uint32_t to) {
  fb::KernelAttrsUnion attrs;
  attrs.Set(fb::NoAttrs());
  call("copy", std::move(attrs), {from}, to);
}

NetworkBuilder tinyNetwork() {
  NetworkBuilder net;
  using fb::DType;
  int32_t batch = net.extent("batch", 4);
  fb::Dim rows(1, batch), eight(8, -1), four(4, -1), three(3, -1);
  uint32_t x = net.input("x", DType::f32, {rows, eight}), y = net.input("y", DType::f32, {rows, eight}),
           step = net.input("step", DType::f32, {four}), ids = net.input("ids", DType::i64, {three});
  auto [before, after] = net.carry("steps", {four});
  uint32_t added = net.slot("added", DType::f32, {rows, eight});
  uint32_t sum = net.output("sum", DType::f32, {rows, eight}), half = net.output("half", DType::f32, {rows, four}),
           total = net.output("total", DType::f32, {four}), same = net.output("same", DType::i64, {three});
  net.binary(fb::Binary::add, x, y, added);
  net.unary(fb::Activation::relu, added, sum);
  net.copy(net.view(x, 16, {rows, four}, {8, 1}), half);
  net.binary(fb::Binary::add, before, step, after);
  net.copy(after, total);
  net.copy(ids, same);
  return net;
}

} // namespace mlc::test
