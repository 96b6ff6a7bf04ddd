//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Observers of kernel calls; of a device's, which see copies of operands behind the run.
//
#include "runtime/exec/Executor.h"

#include <algorithm>

namespace mlc {

bool KernelObserver::sees(uint32_t call) const {
  return calls.empty() || std::binary_search(calls.begin(), calls.end(), call);
}

Status Executor::observe(const KernelObserver &watcher) {
  observer = {};
  if (device && (watcher.before || watcher.after))
    MLC_TRY(watch(watcher.calls));
  observer = watcher;
  return {};
}

/// Bytes from the first element to the last.
static size_t reachOf(const TensorView &view) {
  int64_t last = 0;
  for (unsigned i = 0; i < view.rank; ++i) {
    if (view.dims[i] <= 0)
      return 0;
    last += (view.dims[i] - 1) * view.strides[i];
  }
  return size_t(last + 1) * dtypeSize(view.dtype);
}

/// Memory for the operands of `calls`, unless they are those that it is there for.
Status Executor::watch(std::span<const uint32_t> calls) {
  if (calls.empty())
    return Error(ErrorCode::InvalidArgument, "a device's kernel calls are watched by their numbers; give some");
  if (std::equal(calls.begin(), calls.end(), watchedCalls.begin(), watchedCalls.end()))
    return {};
  watchedCalls = {};
  std::span<const Plan::KernelCall> all = plan->kernelCalls();
  size_t operands = 0;
  uint64_t bytes = 0;
  OwnedArray<Operand> list;
  for (bool filling : {false, true}) {
    if (filling) {
      MLC_ASSIGN(list, OwnedArray<Operand>::create(allocator, operands, "operands that are watched"));
      MLC_ASSIGN(watchedMemory, OwnedArray<uint8_t>::create(device->hostMemory(), bytes, "operands that are watched"));
    }
    operands = 0;
    bytes = 0;
    for (uint32_t call : calls) {
      if (call >= all.size())
        return Error(ErrorCode::OutOfRange, "kernel call %u of %zu", call, all.size());
      Plan::CallDescription description;
      plan->describe(all[call], pool->size(), description);
      for (uint32_t i = 0; i < all[call].inputs + all[call].outputs; ++i) {
        if (description.constant[i])
          continue;
        if (filling)
          list[operands] = {call, i, watchedMemory.data() + bytes};
        ++operands;
        bytes += alignUp(uint64_t(reachOf(description.views[i])), uint64_t(64));
      }
    }
  }
  MLC_ASSIGN(watchedCalls, OwnedArray<uint32_t>::create(allocator, calls.size(), "calls that are watched"));
  std::copy(calls.begin(), calls.end(), watchedCalls.begin());
  watchedOperands = std::move(list);
  ++watchCount;
  return {};
}

void Executor::fetchOperands(uint32_t index, bool outputs) {
  const Plan::KernelCall &call = plan->kernelCalls()[index];
  for (const Operand &each : watchedOperands)
    if (each.call == index && (each.view >= call.inputs) == outputs) {
      const TensorView &view = views[call.firstView + each.view];
      stream->fetch(each.copy, static_cast<const uint8_t *>(view.data), reachOf(view));
    }
}

/// In the order of the calls; a call that did not run in this step shows what it last left.
void Executor::showWatched() {
  for (uint32_t index : watchedCalls) {
    const Plan::KernelCall &call = plan->kernelCalls()[index];
    TensorView operands[kMaxCallInputs + kMaxCallOutputs] = {};
    for (uint32_t i = 0; i < call.inputs + call.outputs; ++i) {
      operands[i] = views[call.firstView + i];
      operands[i].data = nullptr;
    }
    for (const Operand &each : watchedOperands)
      if (each.call == index)
        operands[each.view].data = each.copy;
    KernelContext context;
    context.inputs = {operands, call.inputs};
    context.outputs = {operands + call.inputs, call.outputs};
    context.batch = batch;
    context.attrs = call.attrs;
    for (KernelObserver::See see : {observer.before, observer.after})
      if (see)
        see(observer.user, index, context);
  }
}

} // namespace mlc
