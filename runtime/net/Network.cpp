//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/net/Network.h"
#include "runtime/artifact/Checks.h"

#include <algorithm>

namespace mlc {

using ull = unsigned long long;

/// Number of elements of a FlatBuffer vector that may be absent.
template <typename V> static uint32_t sizeOf(const V *vector) { return vector ? vector->size() : 0; }

Result<Network *> Network::create(const Plan &plan, const NetworkOptions &options) {
  const Allocator &allocator = options.allocator ? *options.allocator : systemAllocator();
  void *memory = allocator.allocate(allocator.context, sizeof(Network), alignof(Network));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "no memory for a network");
  Owned<Network> network(new (memory) Network);
  network->allocator = allocator;
  MLC_TRY(network->build(plan, options));
  return network.release();
}

void Network::destroy(Network *network) {
  if (!network)
    return;
  Allocator allocator = network->allocator;
  network->~Network();
  allocator.release(allocator.context, network, sizeof(Network));
}

Result<NetworkMemory> Network::memory(const Plan &plan, unsigned threads) {
  ScratchNeed scratch = plan.scratch(threads);
  uint64_t workers;
  if (!checkedMul(alignUp(scratch.perWorker, uint64_t(64)), uint64_t(threads), workers) ||
      !checkedAdd(workers, scratch.shared, workers))
    return Error(ErrorCode::OutOfMemory, "the memory plan overflows 64 bits");
  return NetworkMemory{plan.artifact().fileSize(), plan.metadata().arena_size(), workers};
}

Status Network::build(const Plan &plan, const NetworkOptions &options) {
  if (plan.program().step >= 0)
    return Error(ErrorCode::InvalidArgument, "%s: is a language model, no network", plan.artifact().name());
  MLC_ASSIGN(function, plan.functionIndex(options.function));
  const fb::Function &entry = *plan.metadata().functions()->Get(function);
  if (sizeOf(entry.input_names()) != sizeOf(entry.inputs()) || sizeOf(entry.output_names()) != sizeOf(entry.outputs()))
    return Error(ErrorCode::Unsupported, "%s: the inputs and outputs of '%.60s' have no names", plan.artifact().name(),
                 entry.name()->c_str());
  unsigned threads = options.pool ? options.pool->size() : options.threads;
  MLC_ASSIGN(NetworkMemory need, memory(plan, threads));
  if (options.maxMemory && need.total() > options.maxMemory)
    return Error(
        ErrorCode::OutOfMemory,
        "%s: needs %llu bytes, more than the %llu allowed: weights %llu, arena %llu, scratch of %u threads %llu",
        plan.artifact().name(), ull(need.total()), ull(options.maxMemory), ull(need.weights), ull(need.arena), threads,
        ull(need.scratch));
  pool = options.pool;
  if (!pool) {
    MLC_ASSIGN(WorkerPool * made, WorkerPool::create(threads, allocator));
    ownPool.reset(made);
    pool = made;
  }
  MLC_ASSIGN(Executor * made, Executor::create(plan, *pool, allocator, options.sessionClass));
  executor.reset(made);
  MLC_ASSIGN(said, OwnedArray<Said>::create(allocator, sizeOf(plan.metadata().extents()), "extents"));
  return listPorts(entry);
}

Network::Port Network::describe(const char *name, uint32_t index) {
  const fb::Artifact &meta = plan().metadata();
  const fb::Slot &slot = *meta.slots()->Get(index);
  Axis *first = axes.data() + usedAxes;
  uint32_t rank = sizeOf(slot.dims());
  for (uint32_t i = 0; i < rank; ++i) {
    const fb::Dim &dim = *slot.dims()->Get(i);
    Axis &axis = axes[usedAxes++];
    axis = {nullptr, dim.value(), 1};
    if (dim.extent() >= 0) {
      const fb::Extent &extent = *meta.extents()->Get(uint32_t(dim.extent()));
      axis.name = extent.name()->c_str();
      axis.bound = int64_t(extent.bound());
    }
  }
  return {name, slot.dtype(), {first, rank}};
}

Status Network::listPorts(const fb::Function &entry) {
  const fb::Artifact &meta = plan().metadata();
  uint32_t states = sizeOf(meta.states());
  auto stateOf = [&](uint32_t slot, bool input) {
    for (uint32_t i = 0; i < states; ++i) {
      const fb::CarrySpec &spec = *meta.states()->Get(i)->carry();
      if (slot == (input ? spec.input() : spec.output()))
        return true;
    }
    return false;
  };
  uint64_t mostAxes = (uint64_t(sizeOf(entry.inputs())) + sizeOf(entry.outputs()) + states) * kMaxRank;
  MLC_ASSIGN(axes, OwnedArray<Axis>::create(allocator, mostAxes, "ports"));
  auto list = [&](const auto *slots, const auto *names, bool input, OwnedArray<Port> &ports,
                  OwnedArray<uint32_t> &portSlots, OwnedArray<Binding> &bindings) -> Status {
    uint32_t count = 0;
    for (uint32_t i = 0; i < sizeOf(slots); ++i)
      count += !stateOf(slots->Get(i), input);
    MLC_ASSIGN(ports, OwnedArray<Port>::create(allocator, count, "ports"));
    MLC_ASSIGN(portSlots, OwnedArray<uint32_t>::create(allocator, count, "ports"));
    MLC_ASSIGN(bindings, OwnedArray<Binding>::create(allocator, count, "ports"));
    for (uint32_t i = 0, next = 0; i < sizeOf(slots); ++i) {
      uint32_t slot = slots->Get(i);
      if (stateOf(slot, input))
        continue;
      ports[next] = describe(names->Get(i)->c_str(), slot);
      portSlots[next] = slot;
      int32_t range = executor->rangeOf(slot);
      // Nobody writes to what a caller lends as const.
      bindings[next++] = {range >= 0 && input && executor->rangeWritten(uint32_t(range)) ? -1 : range, 0, false};
    }
    return {};
  };
  MLC_TRY(list(entry.inputs(), entry.input_names(), true, inputPorts, inputSlots, inputBindings));
  MLC_TRY(list(entry.outputs(), entry.output_names(), false, outputPorts, outputSlots, outputBindings));
  return listStates(entry);
}

Status Network::listStates(const fb::Function &entry) {
  const fb::Artifact &meta = plan().metadata();
  // Of this function: the verifier has found both ends among one's ports.
  auto ours = [&](const fb::State &state) {
    return std::find(entry.inputs()->begin(), entry.inputs()->end(), state.carry()->input()) != entry.inputs()->end();
  };
  uint32_t count = 0;
  for (uint32_t i = 0; i < sizeOf(meta.states()); ++i)
    count += entry.inputs() && ours(*meta.states()->Get(i));
  MLC_ASSIGN(statePorts, OwnedArray<Port>::create(allocator, count, "states"));
  MLC_ASSIGN(carried, OwnedArray<Carried>::create(allocator, count, "states"));
  for (uint32_t i = 0, next = 0; next < count; ++i) {
    const fb::State &state = *meta.states()->Get(i);
    if (!ours(state))
      continue;
    statePorts[next] = describe(state.name()->c_str(), state.carry()->input());
    // Both ends are ranges of one size.
    auto input = uint32_t(executor->rangeOf(state.carry()->input())),
         output = uint32_t(executor->rangeOf(state.carry()->output()));
    carried[next++] = {input, output, plan().program().ranges[input].bytes};
  }
  return {};
}

Status Network::setShape(size_t index, std::span<const int64_t> dims) {
  const Port &port = inputPorts[index];
  const fb::Slot &slot = *plan().metadata().slots()->Get(inputSlots[index]);
  if (dims.size() != port.axes.size())
    return Error(ErrorCode::InvalidArgument, "input '%.60s' has %zu axes, not %zu", Printable(port.name).c_str(),
                 port.axes.size(), dims.size());
  // Nothing changes before all of it is known to hold.
  for (bool checking : {true, false})
    for (uint32_t i = 0; i < dims.size(); ++i) {
      const Axis &axis = port.axes[i];
      if (!axis.name) {
        if (dims[i] != axis.factor)
          return Error(ErrorCode::OutOfRange, "axis %u has %lld elements, input '%.60s' has %lld", i,
                       static_cast<long long>(dims[i]), Printable(port.name).c_str(),
                       static_cast<long long>(axis.factor));
        continue;
      }
      auto extent = uint32_t(slot.dims()->Get(i)->extent());
      int64_t value = dims[i] / axis.factor;
      if (!checking) {
        // The bound was checked.
        if (executor->extent(extent) != value) {
          MLC_TRY(executor->setExtent(extent, value));
          unchecked = true;
        }
        said[extent] = {runs, uint32_t(index)};
        continue;
      }
      if (dims[i] < 1 || dims[i] > axis.most() || dims[i] % axis.factor)
        return Error(ErrorCode::OutOfRange, "axis %u has %lld elements; '%.60s' is %lld to %lld%s", i,
                     static_cast<long long>(dims[i]), Printable(axis.name).c_str(), static_cast<long long>(axis.factor),
                     static_cast<long long>(axis.most()), axis.factor > 1 ? " in steps of the least" : "");
      // Another axis of this input, or an input of this run, may follow the same extent.
      int64_t before = said[extent].run == runs && said[extent].input != index ? executor->extent(extent) : value;
      for (uint32_t k = 0; k < i; ++k)
        if (slot.dims()->Get(k)->extent() == int32_t(extent))
          before = dims[k] / port.axes[k].factor;
      if (before != value)
        return Error(ErrorCode::InvalidArgument, "axis %u has %lld elements; '%.60s' is %lld in this run", i,
                     static_cast<long long>(dims[i]), Printable(axis.name).c_str(),
                     static_cast<long long>(before * axis.factor));
    }
  return {};
}

Status Network::bind(const char *what, const Port &port, Binding &binding, const void *data, uint64_t bytes) {
  auto refuse = [&](ErrorCode code, const char *why) {
    return Error(code, "%s '%.60s': %s", what, Printable(port.name).c_str(), why);
  };
  if (binding.range < 0) {
    if (!data)
      return {};
    return refuse(ErrorCode::Unsupported, "its memory is shared with other values of the network, so it cannot be the "
                                          "caller's; copy instead");
  }
  if (reinterpret_cast<uintptr_t>(data) % dtypeSize(port.dtype))
    return refuse(ErrorCode::InvalidArgument, "the memory is not aligned for its elements");
  // With too few bytes nothing moves, so that a run cannot use them.
  uint64_t reach = executor->rangeReach(uint32_t(binding.range));
  if (data && bytes < reach)
    return Error(ErrorCode::InvalidArgument, "%s '%.60s': %llu bytes of memory, %llu are needed", what,
                 Printable(port.name).c_str(), ull(bytes), ull(reach));
  binding.bound = data != nullptr;
  binding.bytes = bytes;
  executor->moveRange(uint32_t(binding.range), static_cast<uint8_t *>(const_cast<void *>(data)));
  return {};
}

Status Network::bindInput(size_t index, const void *data, uint64_t bytes) {
  return bind("input", inputPorts[index], inputBindings[index], data, bytes);
}

Status Network::bindOutput(size_t index, void *data, uint64_t bytes) {
  return bind("output", outputPorts[index], outputBindings[index], data, bytes);
}

Status Network::checkBindings() const {
  auto check = [&](const char *what, std::span<const Port> ports, std::span<const Binding> bindings) -> Status {
    for (size_t i = 0; i < ports.size(); ++i) {
      if (!bindings[i].bound)
        continue;
      uint64_t reach = executor->rangeReach(uint32_t(bindings[i].range));
      if (bindings[i].bytes < reach)
        return Error(ErrorCode::InvalidArgument, "%s '%.60s': %llu bytes of memory, %llu are needed", what,
                     Printable(ports[i].name).c_str(), ull(bindings[i].bytes), ull(reach));
    }
    return {};
  };
  MLC_TRY(check("input", inputs(), inputBindings.span()));
  return check("output", outputs(), outputBindings.span());
}

void Network::requestCancel() {
  cancel.store(true, std::memory_order_seq_cst);
  pool->wake();
}

Status Network::run() {
  if (unchecked) {
    MLC_TRY(checkBindings());
    unchecked = false;
  }
  ++runs;
  MLC_TRY(executor->run(function, BatchView{}, &cancel));
  for (const Carried &state : carried)
    executor->swapRanges(state.input, state.output);
  return {};
}

void Network::reset() {
  for (const Carried &state : carried)
    memset(executor->rangeBase(state.input), 0, size_t(state.bytes));
}

std::span<const uint8_t> Network::state(size_t index) const {
  return {executor->rangeBase(carried[index].input), size_t(carried[index].bytes)};
}

Status Network::setState(size_t index, std::span<const uint8_t> bytes) {
  const Carried &state = carried[index];
  if (bytes.size() != state.bytes)
    return Error(ErrorCode::InvalidArgument, "state '%.60s' has %llu bytes, not %zu",
                 Printable(statePorts[index].name).c_str(), ull(state.bytes), bytes.size());
  // Its own, perhaps.
  memmove(executor->rangeBase(state.input), bytes.data(), bytes.size());
  return {};
}

} // namespace mlc
