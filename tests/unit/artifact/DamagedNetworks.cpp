//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Networks whose ports or carried states cannot be.
//
#include "runtime/artifact/ProgramVerifier.h"
#include "tests/unit/artifact/ChecksSupport.h"
#include "tests/unit/support/TinyNetwork.h"

namespace mlc::test {

std::vector<Case> networkCases() {
  std::vector<Case> cases;
  auto network = [&](Check check, std::function<void(NetworkBuilder &)> change) {
    cases.push_back({check,
                     [change](TinyModel &model) {
                       NetworkBuilder builder = tinyNetwork();
                       change(builder);
                       model = std::move(builder.model);
                     },
                     nullptr});
  };
  auto port = [](NetworkBuilder &b, size_t input) -> fb::SlotT & { return *b.meta().slots[b.main().inputs[input]]; };
  auto carry = [](NetworkBuilder &b) -> fb::CarrySpec & { return *b.meta().states[0]->carry; };
  // A slot over `bytes` at `offset`, of bytes.
  auto cover = [](NetworkBuilder &b, uint64_t offset, int64_t bytes) {
    uint32_t slot = b.slot("cover", DType::u8, {fb::Dim(bytes, -1)});
    b.meta().slots[slot]->strides = {1};
    b.meta().slots[slot]->offset = offset;
  };
  network(Check::PortNames, [](auto &b) { b.main().input_names.pop_back(); });
  network(Check::PortNames, [](auto &b) { b.main().output_names.clear(); });
  network(Check::PortNames, [](auto &b) { b.main().output_names.push_back("more"); });
  network(Check::PortNames, [](auto &b) { b.main().input_names[1] = "x"; });
  network(Check::PortNames, [](auto &b) {
    for (unsigned i = 0; i <= kMaxPorts; ++i)
      b.input("p" + std::to_string(i), DType::u8, {});
  });
  network(Check::Name, [](auto &b) { b.main().input_names[1] = ""; });
  network(Check::Name, [](auto &b) { b.main().output_names[0] = "a\x7f"; });
  network(Check::PortSlots, [=](auto &b) { port(b, 2).strides = {1}; });
  network(Check::PortSlots, [](auto &b) { b.main().inputs[1] = b.main().inputs[0]; });
  network(Check::PortSlots, [](auto &b) { b.main().outputs[0] = b.main().inputs[0]; });
  network(Check::FunctionSlots, [](auto &b) { b.main().inputs[0] = 9999; });

  network(Check::CarrySpec, [](auto &b) { b.meta().states[0]->carry.reset(); });
  network(Check::CarrySpec, [=](auto &b) { carry(b) = fb::CarrySpec(9999, carry(b).output()); });
  network(Check::CarrySpec, [=](auto &b) { b.meta().slots[carry(b).input()]->dims = {fb::Dim(1, 0)}; });
  network(Check::CarrySpec, [=](auto &b) { b.meta().slots[carry(b).input()]->dims = {fb::Dim(3, -1)}; });
  network(Check::CarrySpec, [=](auto &b) { b.meta().slots[carry(b).output()]->dtype = DType::i32; });
  network(Check::CarrySpec, [=](auto &b) { b.meta().slots[carry(b).output()]->strides = {1}; });
  network(Check::CarrySpec, [=](auto &b) {
    for (uint32_t end : {carry(b).input(), carry(b).output()})
      b.meta().slots[end]->dims = {fb::Dim(0, -1)};
  });
  network(Check::StateKind, [](auto &b) { b.meta().states[0]->scope = fb::StateScope::sequence; });
  network(Check::StateKind, [](auto &b) {
    b.meta().states[0]->kind = fb::StateKind::kv;
    b.meta().states[0]->scope = fb::StateScope::sequence;
    b.meta().states[0]->kv = std::make_unique<fb::KvSpec>(1, 4, DType::f32, 0);
  });
  network(Check::CarryPorts, [=](auto &b) { carry(b) = fb::CarrySpec(carry(b).output(), carry(b).input()); });
  network(Check::CarryPorts, [](auto &b) {
    b.main().inputs.erase(b.main().inputs.begin() + 4);
    b.main().input_names.erase(b.main().input_names.begin() + 4);
  });
  network(Check::CarryRange, [=](auto &b) { cover(b, b.meta().slots[carry(b).input()]->offset + 12, 8); });
  network(Check::CarryRange, [=](auto &b) { cover(b, b.meta().slots[carry(b).output()]->offset, 17); });
  network(Check::CarryRange, [=](auto &b) { cover(b, 0, int64_t(b.meta().arena_size)); });
  network(Check::CarryRange, [=](auto &b) { port(b, 1).offset = b.meta().slots[carry(b).input()]->offset; });
  network(Check::CarryRange,
          [=](auto &b) { b.meta().slots[carry(b).input()]->offset = b.meta().slots[carry(b).output()]->offset; });
  network(Check::CarryRange, [](auto &b) {
    b.meta().states.push_back(std::make_unique<fb::StateT>(*b.meta().states[0]));
    b.meta().states[1]->name = "again";
  });
  // Kernels read whole words, and something.
  network(Check::SlotAlignment, [=](auto &b) {
    uint32_t from = b.view(b.main().inputs[2], 0, {fb::Dim(2, -1)}, {1}),
             to = b.slot("to", DType::u16, {fb::Dim(2, -1)});
    b.meta().slots[from]->dtype = DType::u16;
    b.meta().slots[from]->offset += 2;
    b.copy(from, to);
  });
  network(Check::SlotDim, [](auto &b) {
    b.copy(b.slot("none", DType::f32, {fb::Dim(0, -1)}), b.slot("nothing", DType::f32, {fb::Dim(0, -1)}));
  });
  // A language model's sessions know nothing of streams.
  cases.push_back({Check::StateKind,
                   [](TinyModel &model) {
                     auto state = std::make_unique<fb::StateT>();
                     state->name = "steps";
                     state->kind = fb::StateKind::carry;
                     state->scope = fb::StateScope::stream;
                     uint32_t from = addScalar(model, DType::f32), to = addScalar(model, DType::f32);
                     state->carry = std::make_unique<fb::CarrySpec>(from, to);
                     model.metadata.states.push_back(std::move(state));
                   },
                   nullptr});
  return cases;
}

} // namespace mlc::test
