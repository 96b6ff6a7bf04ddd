//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// check() against hostile calls: every attribute field set to 0, 1, its maximum and random bits is refused, or runs in
// bounds (a sanitizer build sees any step beyond an operand's last element); a change of any operand is refused.
//
#include "runtime/core/BlockFormats.h"
#include "targets/cpu/tests/TestSupport.h"

#include <cstring>
#include <functional>

using namespace mlc;
using namespace mlc::cpu;
using namespace mlc::test;
using fb::WeightFormat;

namespace {

/// A valid call with everything that it needs, on attributes that a test may overwrite.
struct Case {
  std::vector<uint8_t> attrs;
  std::vector<std::unique_ptr<Tensor>> tensors;
  std::unique_ptr<KvState> kv;
  std::unique_ptr<Call> call;
  bool freeRows = false; // Input 0 may have any number of rows.

  template <typename T> Case(const char *name, const T &value) : attrs(sizeof(T)) {
    memcpy(attrs.data(), &value, sizeof(T));
    call = std::make_unique<Call>(name, *reinterpret_cast<const T *>(attrs.data()));
  }
  Case &input(Tensor tensor, bool tokens) {
    tensors.push_back(std::make_unique<Tensor>(std::move(tensor)));
    call->inputs.push_back(tensors.back().get());
    call->tokens.push_back(tokens);
    return *this;
  }
  Case &output(Tensor tensor) {
    tensors.push_back(std::make_unique<Tensor>(std::move(tensor)));
    call->outputs.push_back(tensors.back().get());
    return *this;
  }
  Case &state(fb::KvSpec spec) {
    kv = std::make_unique<KvState>(spec, 1, 70);
    call->kv = kv.get();
    return *this;
  }
};

constexpr int64_t kTokens = 5;

Tensor floats(int64_t rows, int64_t columns) { return Tensor(DType::f32, {rows, columns}, 1); }

std::vector<Case> cases() {
  std::vector<Case> list;
  auto add = [&](auto &&c) { list.push_back(std::move(c)); };
  for (auto [format, group, asymmetric] : {std::tuple{WeightFormat::panel_f32, 0u, false},
                                           {WeightFormat::panel_bf16, 0u, false},
                                           {WeightFormat::panel_int8, 32u, false},
                                           {WeightFormat::panel_int8, 0u, false},
                                           {WeightFormat::panel_int4, 64u, true},
                                           {WeightFormat::panel_q4_k, 0u, false},
                                           {WeightFormat::panel_q6_k, 0u, false},
                                           {WeightFormat::block_q4_k, 0u, false},
                                           {WeightFormat::block_q8_0, 0u, false}}) {
    uint64_t n = 37, k = isBlockFormat(format) || isBlockPanel(format) ? 256 : 75;
    fb::WeightDesc desc(n, k, group, format, asymmetric);
    std::vector<uint8_t> bytes(*packedBytes(desc), 0x33);
    bool quantized = isQuantized(format);
    Tensor x =
        quantized ? Tensor(DType::u8, {kTokens, int64_t(quantizedRow(desc).bytes)}) : floats(kTokens, int64_t(k));
    add(std::move(Case("linear", fb::LinearAttrs(desc, quantized, true, true, false, fb::Activation::none, 0, 0, false))
                      .input(std::move(x), true)
                      .input(Tensor::bytes(bytes), false)
                      .input(Tensor::vector(std::vector<float>(n)), false)
                      .input(floats(kTokens, int64_t(n)), true)
                      .output(floats(kTokens, int64_t(n)))));
    add(std::move(Case("embedding", fb::EmbeddingAttrs(desc, 1.0f))
                      .input(Tensor::ints({0, 36, 5, 1, 20}), true)
                      .input(Tensor::bytes(bytes), false)
                      .output(floats(kTokens, int64_t(k)))));
  }
  fb::WeightDesc gate(64, 75, 32, WeightFormat::panel_int4, false);
  add(std::move(Case("linear", fb::LinearAttrs(gate, true, true, false, true, fb::Activation::silu, 32, 16, false))
                    .input(Tensor(DType::u8, {kTokens, int64_t(quantizedRow(gate).bytes)}), true)
                    .input(Tensor::bytes(std::vector<uint8_t>(*packedBytes(gate), 0x33)), false)
                    .input(Tensor::vector(std::vector<float>(64)), false)
                    .output(Tensor(DType::u8, {kTokens, int64_t(QuantizedRow(32, 32, 16).bytes)}))));
  fb::WeightDesc rows(9, 11, 0, WeightFormat::rows_f16, false);
  add(std::move(Case("linear", fb::LinearAttrs(rows, false, false, false, false, fb::Activation::none, 0, 0, false))
                    .input(floats(kTokens, 11), true)
                    .input(Tensor(DType::f16, {9, 11}), false)
                    .output(floats(kTokens, 9))));
  add(std::move(Case("quantize_rows", fb::QuantizeRowsAttrs(75, 32, 16))
                    .input(floats(kTokens, 75), true)
                    .output(Tensor(DType::u8, {kTokens, int64_t(QuantizedRow(75, 32, 16).bytes)}))));
  add(std::move(Case("rms_norm", fb::RmsNormAttrs(10, 1e-5f, 0))
                    .input(floats(kTokens, 30), true)
                    .input(Tensor::vector(std::vector<float>(10)), false)
                    .output(floats(kTokens, 30))));
  add(std::move(Case("add_rms_norm", fb::RmsNormAttrs(30, 1e-5f, 0))
                    .input(floats(kTokens, 30), true)
                    .input(floats(kTokens, 30), true)
                    .input(Tensor::vector(std::vector<float>(30)), false)
                    .output(floats(kTokens, 30))
                    .output(floats(kTokens, 30))));
  for (auto scaling : {fb::RopeScaling::yarn, fb::RopeScaling::dynamic, fb::RopeScaling::longrope})
    add(std::move(Case("rope_angles", fb::RopeAnglesAttrs(12, scaling, 1e4f, 2.0f, 1.0f, 4))
                      .input(Tensor(DType::f32, {scaling == fb::RopeScaling::longrope ? 2 : 1, 6}), false)
                      .output(floats(kTokens, 12))));
  for (bool interleaved : {false, true})
    add(std::move(Case("rope", fb::RopeAttrs(3, 14, 12, interleaved))
                      .input(floats(kTokens, 42), true)
                      .input(floats(kTokens, 12), true)
                      .output(floats(kTokens, 42))));
  for (DType dtype : {DType::f32, DType::f16, DType::i8}) {
    fb::KvSpec spec(2, 12, dtype, 40);
    add(std::move(Case("kv_append", fb::KvAppendAttrs(2, 12))
                      .input(floats(kTokens, 24), true)
                      .input(floats(kTokens, 24), true)
                      .state(spec)));
    for (fb::Products products : {fb::Products::f32, dtype == DType::i8 ? fb::Products::i8 : fb::Products::bf16})
      add(std::move(Case("attention", fb::AttentionAttrs(6, 2, 12, 0.3f, 0.0f, 40, products))
                        .input(floats(kTokens, 72), true)
                        .output(floats(kTokens, 72))
                        .state(spec)));
  }
  add(std::move(Case("gated_activation", fb::GatedActivationAttrs(fb::Activation::silu))
                    .input(floats(kTokens, 33), true)
                    .input(floats(kTokens, 33), true)
                    .output(floats(kTokens, 33))));
  add(std::move(Case("unary", fb::UnaryAttrs(fb::Activation::tanh, 1, 1))
                    .input(floats(kTokens, 33), true)
                    .output(floats(kTokens, 33))));
  add(std::move(Case("binary", fb::BinaryAttrs(fb::Binary::mul))
                    .input(floats(kTokens, 33), true)
                    .input(floats(kTokens, 33), true)
                    .output(floats(kTokens, 33))));
  add(std::move(Case("gather_rows", fb::GatherRowsAttrs(33))
                    .input(floats(kTokens, 33), false)
                    .input(Tensor::ints({1, 4}), false)
                    .output(floats(2, 33))));
  list.back().freeRows = true;
  add(std::move(Case("copy", fb::NoAttrs(0)).input(floats(kTokens, 33), true).output(floats(kTokens, 33))));
  for (auto form : {fb::RouterForm::softmax_topk, fb::RouterForm::sigmoid}) {
    bool sigmoid = form == fb::RouterForm::sigmoid;
    Case route("moe_route", fb::MoeRouteAttrs(12, 3, sigmoid ? 3 : 1, 1, 1.0f, form, true, sigmoid));
    route.input(floats(kTokens, 12), true);
    if (sigmoid)
      route.input(Tensor::vector(std::vector<float>(12)), false);
    add(std::move(route.output(Tensor(DType::i32, {kTokens, 3})).output(floats(kTokens, 3))));
  }
  for (bool quantized : {false, true}) {
    fb::WeightDesc desc(37, 75, quantized ? 32 : 0, quantized ? WeightFormat::panel_int4 : WeightFormat::panel_bf16,
                        false);
    uint64_t bytes = *packedBytes(desc);
    int64_t hidden = quantized ? int64_t(QuantizedRow(37, 32, 16).bytes) : 37, row = int64_t(quantizedRow(desc).bytes);
    Case up("moe_up", fb::MoeUpAttrs(desc, 4, 2, 1, 4, quantized ? 32 : 0, quantized ? 16 : 0, fb::Activation::silu,
                                     quantized, !quantized));
    add(std::move(up.input(quantized ? Tensor(DType::u8, {kTokens, row}) : floats(kTokens, 75), true)
                      .input(Tensor::bytes(std::vector<uint8_t>(bytes * 8, 0x33)), false)
                      .input(Tensor(DType::i32, {kTokens, 2}), true)
                      .output(Tensor(quantized ? DType::u8 : DType::f32, {kTokens, 2 * hidden}))));
    Case down("moe_down", fb::MoeDownAttrs(desc, 4, 2, quantized, !quantized, true));
    add(std::move(
        down.input(quantized ? Tensor(DType::u8, {kTokens, 2 * row}) : Tensor(DType::f32, {kTokens, 150}), true)
            .input(Tensor::bytes(std::vector<uint8_t>(bytes * 4, 0x33)), false)
            .input(Tensor(DType::i32, {kTokens, 2}), true)
            .input(floats(kTokens, 2), true)
            .input(floats(kTokens, 37), true)
            .output(floats(kTokens, 37))));
  }
  add(std::move(Case("scale_rows", fb::ScaleRowsAttrs(fb::Activation::sigmoid))
                    .input(floats(kTokens, 33), true)
                    .input(floats(kTokens, 1), true)
                    .output(floats(kTokens, 33))));
  for (Case &c : list)
    c.call->segments = {{0, 0, kTokens, 63, 200}};
  return list;
}

} // namespace

TEST(Check, ValidCallsAreAccepted) {
  for (Case &c : cases())
    EXPECT_EQ(c.call->check(), "") << c.call->name;
}

TEST(Check, MutatedAttributesAreRefusedOrStayInBounds) {
  Random random(53);
  unsigned accepted = 0, refused = 0;
  for (Case &c : cases()) {
    std::vector<uint8_t> original = c.attrs;
    for (size_t width : {size_t(1), size_t(2), size_t(4), size_t(8)})
      for (size_t offset = 0; offset + width <= original.size(); offset += width)
        for (int kind = 0; kind < 8; ++kind) {
          uint64_t value = kind == 0   ? 0
                           : kind == 1 ? 1
                           : kind == 2 ? ~uint64_t(0)
                           : kind == 3 ? ~uint64_t(0) >> 1
                                       : random();
          if (kind == 5)
            value = random() % 128;
          if (kind >= 6) {
            memcpy(&value, original.data() + offset, width);
            value += kind == 6 ? 1 : uint64_t(-1);
          }
          c.attrs = original;
          memcpy(c.attrs.data() + offset, &value, width);
          c.call->attrs = c.attrs.data();
          if (c.call->check().empty()) {
            ++accepted;
            for (Isa isa : forms())
              if (c.call->kernel(isa)->isa == isa)
                c.call->run(isa, 2);
          } else {
            ++refused;
          }
        }
    c.attrs = original;
  }
  // Most mutations of sizes are refused; scales and padding bytes are accepted.
  EXPECT_GT(refused, 2000u);
  EXPECT_GT(accepted, 500u);
}

TEST(Check, EveryOperandIsCheckedByName) {
  for (Case &c : cases()) {
    KernelCallInfo info = c.call->info();
    std::vector<TensorView> inputs(info.inputs.begin(), info.inputs.end()),
        outputs(info.outputs.begin(), info.outputs.end());
    const KernelDef *kernel = c.call->kernel(Isa::portable);
    auto expectRefused = [&](const char *what, size_t operand) {
      KernelCallInfo changed = info;
      changed.inputs = inputs;
      changed.outputs = outputs;
      Status status = kernel->check(changed);
      EXPECT_FALSE(bool(status)) << c.call->name << ": " << what << " of operand " << operand;
    };
    for (size_t i = 0; i < inputs.size() + outputs.size(); ++i) {
      TensorView &view = i < inputs.size() ? inputs[i] : outputs[i - inputs.size()];
      TensorView original = view;
      view.dtype = original.dtype == DType::f32 ? DType::f16 : DType::f32;
      expectRefused("dtype", i);
      view = original;
      view.rank = 0;
      expectRefused("rank 0", i);
      view.rank = uint8_t(original.rank + 1);
      view.dims[original.rank] = 2;
      expectRefused("rank", i);
      for (unsigned a = 0; a < original.rank; ++a)
        for (int64_t dim : {original.dims[a] + 1, original.dims[a] - 1, int64_t(0), int64_t(-1), INT64_MAX}) {
          // Rows that a runtime check or the step's token count bounds.
          bool angles = !strcmp(c.call->name, "rope_angles") && i == 1;
          if (a == 0 && ((i == 0 && c.freeRows) || angles) && dim >= 0)
            continue;
          view = original;
          view.dims[a] = dim;
          expectRefused("extent", i);
        }
      view = original;
      view.strides[original.rank - 1] = 2;
      expectRefused("stride", i);
      view = original;
    }
    auto fewer = info;
    fewer.inputs = info.inputs.first(info.inputs.size() - 1);
    EXPECT_FALSE(bool(kernel->check(fewer))) << c.call->name;
    auto stateless = info;
    stateless.states = {};
    if (!info.states.empty())
      EXPECT_FALSE(bool(kernel->check(stateless))) << c.call->name;
    auto other = info;
    other.attrsType = fb::KernelAttrs::NONE;
    EXPECT_FALSE(bool(kernel->check(other))) << c.call->name;
    // Operands that follow the tokens must all do so.
    std::unique_ptr<bool[]> follows(new bool[8]());
    auto fixed = info;
    fixed.inputFollowsTokens = {follows.get(), info.inputs.size()};
    if (!c.freeRows && info.inputFollowsTokens[0] && strcmp(c.call->name, "copy") && strcmp(c.call->name, "unary") &&
        strcmp(c.call->name, "binary") && strcmp(c.call->name, "gated_activation"))
      EXPECT_FALSE(bool(kernel->check(fixed))) << c.call->name;
  }
}

TEST(Check, StatesMustFit) {
  for (Case &c : cases()) {
    if (!c.kv)
      continue;
    for (fb::KvSpec spec :
         {fb::KvSpec(3, 12, DType::f32, 40), fb::KvSpec(2, 13, DType::f32, 40), fb::KvSpec(2, 12, DType::i32, 40),
          fb::KvSpec(0, 12, DType::f32, 40), fb::KvSpec(2, 0, DType::f32, 40)}) {
      KvState other(fb::KvSpec(2, 12, DType::f32, 40), 1, 64);
      other.builder.Reset();
      other.builder.Finish(
          fb::CreateStateDirect(other.builder, "kv", fb::StateKind::kv, fb::StateScope::sequence, &spec));
      KernelCallInfo info = c.call->info();
      const fb::State *state = flatbuffers::GetRoot<fb::State>(other.builder.GetBufferPointer());
      info.states = {&state, 1};
      EXPECT_FALSE(bool(c.call->kernel(Isa::portable)->check(info))) << c.call->name;
    }
  }
  // A state that drops positions needs a window within what it keeps.
  for (uint32_t window : {0u, 41u, 40u, 1u}) {
    Case c = std::move(Case("attention", fb::AttentionAttrs(2, 2, 12, 1.0f, 0.0f, window, fb::Products::f32))
                           .input(floats(kTokens, 24), true)
                           .output(floats(kTokens, 24))
                           .state(fb::KvSpec(2, 12, DType::f32, 40)));
    EXPECT_EQ(c.call->check().empty(), window == 40 || window == 1) << window;
  }
  // Products of codes are of an int8 state, with sums that f32 holds.
  for (DType dtype : {DType::f32, DType::bf16, DType::i8})
    for (fb::Products products : {fb::Products::bf16, fb::Products::i8})
      for (uint32_t dim : {1024u, 1025u}) {
        Case c = std::move(Case("attention", fb::AttentionAttrs(1, 1, dim, 1.0f, 0.0f, 0, products))
                               .input(floats(kTokens, dim), true)
                               .output(floats(kTokens, dim))
                               .state(fb::KvSpec(1, dim, dtype, 0)));
        bool good = dtype == DType::i8 ? products == fb::Products::i8 && dim == 1024 : products == fb::Products::bf16;
        EXPECT_EQ(c.call->check().empty(), good) << int(dtype) << " " << int(products) << " " << dim;
      }
}

// An extent that shrinks on an axis that check() saw at its bound never widens an access.
TEST(Check, SmallerExtentsAtRunTime) {
  for (Case &c : cases()) {
    if (c.kv || !strcmp(c.call->name, "rope_angles"))
      continue;
    for (auto &tensor : c.tensors)
      for (unsigned a = 0; a < tensor->view.rank; ++a) {
        std::string accepted = c.call->check();
        ASSERT_EQ(accepted, "");
        const KernelDef *kernel = c.call->kernel(machineIsa());
        KernelCallInfo info = c.call->info();
        ScratchNeed need = kernel->scratch ? kernel->scratch(info) : ScratchNeed{};
        std::vector<TensorView> inputs, outputs;
        int64_t extent = tensor->view.dims[a];
        tensor->view.dims[a] = extent / 2;
        for (const Tensor *t : c.call->inputs)
          inputs.push_back(t->view);
        for (const Tensor *t : c.call->outputs)
          outputs.push_back(t->view);
        tensor->view.dims[a] = extent;
        std::vector<float> scratch(need.perWorker / 4 + 1), shared(need.shared / 4 + 1);
        KernelContext context;
        context.sharedScratch = reinterpret_cast<uint8_t *>(shared.data());
        context.inputs = inputs;
        context.outputs = outputs;
        context.attrs = c.call->attrs;
        context.pool = poolOf(1);
        context.workerScratch = reinterpret_cast<uint8_t *>(scratch.data());
        kernel->run(context);
      }
  }
}
