//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/engine/HiddenStates.h"

#include <string_view>

namespace mlc::server {

namespace {

/// The kernel calls of a plan with the slots of their operands.
struct Calls {
  const Plan &plan;

  uint32_t inputSlot(uint32_t call, uint32_t input) const {
    return plan.viewSlots()[plan.kernelCalls()[call].firstView + input];
  }
  std::string_view name(uint32_t call) const { return plan.kernelCalls()[call].kernel->name; }
  /// The last call before `end` that writes `slot`, or `end`.
  uint32_t writer(uint32_t slot, uint32_t end) const {
    for (uint32_t i = end; i-- > 0;) {
      const Plan::KernelCall &call = plan.kernelCalls()[i];
      for (uint32_t output = 0; output < call.outputs; ++output)
        if (inputSlot(i, call.inputs + output) == slot)
          return i;
    }
    return end;
  }
};

} // namespace

static bool isRowsOfFloats(const fb::Slot &slot) {
  return slot.dtype() == fb::DType::f32 && slot.dims() && slot.dims()->size() == 2;
}

HiddenStates::HiddenStates(const Model &model) : found(find(model)) {}

Status HiddenStates::find(const Model &model) {
  const Plan &plan = model.executionPlan();
  Calls calls{plan};
  auto end = uint32_t(plan.kernelCalls().size());
  auto refuse = [&](const char *what) {
    return Error(ErrorCode::Unsupported, "%s: %s, so it gives no embeddings", model.name(), what);
  };
  // Backwards from the logits, past what is done to each of them (a cap), to the product with the vocabulary.
  uint32_t slot = model.entry().logits, at = end;
  do {
    at = calls.writer(slot, at);
    if (at == end || !plan.kernelCalls()[at].inputs)
      return refuse("its logits do not come from a product");
    slot = calls.inputSlot(at, 0);
    end = at;
  } while (calls.name(at) != "linear");
  const auto &slots = *plan.metadata().slots();
  reader = at;
  if (!isRowsOfFloats(*slots.Get(slot))) {
    reader = calls.writer(slot, at);
    if (reader == at || calls.name(reader) != "quantize_rows")
      return refuse("its last hidden state is never there in f32");
    slot = calls.inputSlot(reader, 0);
  }
  if (!isRowsOfFloats(*slots.Get(slot)))
    return refuse("its last hidden state is never there in f32");
  columns = size_t(slots.Get(slot)->dims()->Get(1)->value());
  return {};
}

Status HiddenStates::observe(Session &session, bool on) {
  if (on)
    rows.resize(size_t(session.maxRows()) * columns);
  return session.observeKernels(on ? KernelObserver{before, this, nullptr, {&reader, 1}} : KernelObserver{});
}

void HiddenStates::before(void *self, uint32_t, const KernelContext &context) {
  auto *hidden = static_cast<HiddenStates *>(self);
  const TensorView &view = context.inputs[0];
  for (int64_t row = 0; row < view.dims[0]; ++row)
    memcpy(hidden->rows.data() + size_t(row) * hidden->columns, view.row<const float>(row),
           hidden->columns * sizeof(float));
}

} // namespace mlc::server
