//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/exec/Executor.h"
#include "runtime/artifact/CodeStatus.h"

#include <algorithm>
#include <time.h>

namespace mlc {

Result<Executor *> Executor::create(const Plan &plan, WorkerPool &pool, const Allocator &allocator,
                                    SessionClass sessionClass) {
  return make(plan, pool, sessionClass, nullptr, {}, allocator);
}

Result<Executor *> Executor::create(const Plan &plan, WorkerPool &pool, Device &device, const StreamBounds &bounds,
                                    const Allocator &allocator) {
  return make(plan, pool, SessionClass::batch, &device, bounds, allocator);
}

Result<Executor *> Executor::make(const Plan &plan, WorkerPool &pool, SessionClass sessionClass, Device *device,
                                  const StreamBounds &bounds, const Allocator &allocator) {
  void *memory = allocator.allocate(allocator.context, sizeof(Executor), alignof(Executor));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "no memory for an executor");
  Owned<Executor> executor(new (memory) Executor);
  executor->allocator = allocator;
  executor->plan = &plan;
  executor->pool = &pool;
  executor->sessionClass = sessionClass;
  if (device) {
    executor->device = device;
    MLC_ASSIGN(DeviceStream * made, device->createStream(bounds, allocator));
    executor->stream.reset(made);
  }
  MLC_TRY(executor->build());
  return executor.release();
}

Executor::~Executor() {
  for (size_t i = 0; i < prepared.size(); ++i)
    if (prepared[i])
      plan->kernelCalls()[i].kernel->release(prepared[i]);
}

void Executor::destroy(Executor *executor) {
  Allocator allocator = executor->allocator;
  executor->~Executor();
  allocator.release(allocator.context, executor, sizeof(Executor));
}

Status Executor::build() {
  const fb::Artifact &metadata = plan->metadata();
  const Allocator &memory = device ? device->memory() : allocator;
  MLC_ASSIGN(arena, OwnedArray<uint8_t>::create(memory, metadata.arena_size(), "activation arena"));
  ScratchNeed scratch = plan->scratch(pool->size());
  uint64_t perWorker, workerBytes;
  if (!checkedAdd(scratch.perWorker, uint64_t(63), perWorker) ||
      !checkedMul(perWorker &= ~uint64_t(63), uint64_t(pool->size()), workerBytes) || workerBytes > kMaxObjectBytes)
    return Error(ErrorCode::OutOfMemory, "scratch of %llu bytes for each of %u workers overflows the address space",
                 static_cast<unsigned long long>(scratch.perWorker), pool->size());
  workerStride = size_t(perWorker);
  MLC_ASSIGN(sharedScratch, OwnedArray<uint8_t>::create(memory, scratch.shared, "scratch"));
  MLC_ASSIGN(workerScratch, OwnedArray<uint8_t>::create(allocator, workerBytes, "scratch of the workers"));

  uint32_t extentCount = metadata.extents() ? metadata.extents()->size() : 0;
  MLC_ASSIGN(extents, OwnedArray<int64_t>::create(allocator, extentCount, "extents"));
  for (uint32_t i = 0; i < extentCount; ++i)
    extents[i] = int64_t(metadata.extents()->Get(i)->bound()),
    ruled |= metadata.extents()->Get(i)->rule() != fb::ExtentRule::given;
  if (ruled)
    outside = followRules(metadata, extents.span());

  uint32_t slotCount = metadata.slots() ? metadata.slots()->size() : 0;
  MLC_ASSIGN(slotData, OwnedArray<uint8_t *>::create(allocator, slotCount, "slots"));
  for (uint32_t i = 0; i < slotCount; ++i) {
    const fb::Slot &slot = *metadata.slots()->Get(i);
    // Segments are mapped read-only; kernels write outputs alone, and the verifier keeps those in the arena.
    uint8_t *base = slot.space() == fb::Space::arena ? arena.data()
                    : device                         ? device->segment(slot.segment())
                             : const_cast<uint8_t *>(plan->artifact().segment(slot.segment()).data());
    slotData[i] = base + slot.offset();
  }
  uint32_t stateCount = device && metadata.states() ? metadata.states()->size() : 0;
  MLC_ASSIGN(stateViews, OwnedArray<KvStateView>::create(allocator, stateCount, "state views"));

  MLC_ASSIGN(views, OwnedArray<TensorView>::create(allocator, plan->viewSlots().size(), "views"));
  for (size_t i = 0; i < views.size(); ++i)
    resolveView(views[i], plan->viewSlots()[i]);
  MLC_ASSIGN(kvViews, OwnedArray<KvStateView>::create(allocator, plan->stateRefs().size(), "state views"));
  MLC_ASSIGN(recurrentViews,
             OwnedArray<RecurrentStateView>::create(allocator, plan->stateRefs().size(), "state views"));
  MLC_ASSIGN(codeBuffers, OwnedArray<void *>::create(allocator, plan->codeSlots().size(), "code buffers"));
  for (size_t i = 0; i < codeBuffers.size(); ++i)
    codeBuffers[i] = slotData[plan->codeSlots()[i]];
  MLC_TRY(listMembers());
  MLC_TRY(listPatches());
  return prepareCalls();
}

Status Executor::prepareCalls() {
  std::span<const Plan::KernelCall> calls = plan->kernelCalls();
  if (std::none_of(calls.begin(), calls.end(), [](const Plan::KernelCall &call) { return call.kernel->prepare; }))
    return {};
  MLC_ASSIGN(prepared, OwnedArray<void *>::create(allocator, calls.size(), "kernel calls"));
  for (size_t i = 0; i < calls.size(); ++i) {
    if (!calls[i].kernel->prepare)
      continue;
    Plan::CallDescription description;
    plan->describe(calls[i], pool->size(), description);
    for (uint32_t v = 0; v < calls[i].inputs + calls[i].outputs; ++v)
      description.views[v].data = views[calls[i].firstView + v].data;
    auto made = calls[i].kernel->prepare(description.info);
    if (!made)
      return Error(made.error().code(), "%s: %s: %s", plan->artifact().name(), calls[i].kernel->name,
                   made.error().message());
    prepared[i] = *made;
  }
  return {};
}

/// Whether a dimension of `slot` is extent `extent`.
static bool followsExtent(const fb::Slot &slot, uint32_t extent) {
  if (slot.dims())
    for (const fb::Dim *dim : *slot.dims())
      if (dim->extent() == int64_t(extent))
        return true;
  return false;
}

Status Executor::listPatches() {
  MLC_ASSIGN(patchBegin, OwnedArray<uint32_t>::create(allocator, extents.size() + 1, "extents"));
  uint32_t total = 0;
  for (bool filling : {false, true}) {
    if (filling) {
      MLC_ASSIGN(patches, OwnedArray<Patch>::create(allocator, total, "extents"));
    }
    uint32_t next = 0;
    for (uint32_t extent = 0; extent < extents.size(); ++extent) {
      patchBegin[extent] = next;
      for (uint32_t view = 0; view < views.size(); ++view) {
        uint32_t slot = plan->viewSlots()[view];
        if (!followsExtent(*plan->metadata().slots()->Get(slot), extent))
          continue;
        if (filling)
          patches[next] = {view, slot};
        ++next;
      }
    }
    patchBegin[extents.size()] = total = next;
  }
  return {};
}

void Executor::resolveView(TensorView &view, uint32_t slot) const {
  view = slotView(*plan->metadata().slots()->Get(slot), extents.span());
  view.data = slotData[slot];
}

void Executor::bindKvState(uint32_t state, const KvStateView &view) {
  if (device)
    stateViews[state] = view;
  for (size_t i = 0; i < kvViews.size(); ++i)
    if (plan->stateRefs()[i] == state)
      kvViews[i] = view;
}

void Executor::bindRecurrentState(uint32_t state, const RecurrentStateView &view) {
  if (view.segments)
    recurrentSegments = view.segments;
  for (size_t i = 0; i < recurrentViews.size(); ++i)
    if (plan->stateRefs()[i] == state)
      recurrentViews[i] = view;
}

Status Executor::setExtent(uint32_t extent, int64_t value) {
  const fb::Extent &declared = *plan->metadata().extents()->Get(extent);
  if (value < 0 || uint64_t(value) > declared.bound())
    return Error(ErrorCode::OutOfRange, "%s = %lld is outside 0 to %llu", declared.name()->c_str(), (long long)value,
                 (unsigned long long)declared.bound());
  if (declared.rule() != fb::ExtentRule::given)
    return Error(ErrorCode::InvalidArgument, "%s follows from other extents", declared.name()->c_str());
  if (extents[extent] == value)
    return {};
  extents[extent] = value;
  if (!ruled) {
    patch(extent);
    return {};
  }
  outside = followRules(plan->metadata(), extents.span());
  for (uint32_t i = 0; i < extents.size(); ++i)
    patch(i);
  return {};
}

void Executor::patch(uint32_t extent) {
  for (uint32_t i = patchBegin[extent]; i < patchBegin[extent + 1]; ++i)
    resolveView(views[patches[i].view], patches[i].slot);
}

Error Executor::outsideError() const {
  const fb::Extent &extent = *plan->metadata().extents()->Get(uint32_t(outside));
  return Error(ErrorCode::OutOfRange,
               "the inputs' shapes leave no room: '%.60s' inside the network would not be %lld to %llu; give larger "
               "inputs",
               extent.name()->c_str(), (long long)extent.least(), (unsigned long long)extent.bound());
}

TensorView Executor::slot(uint32_t slot) const {
  TensorView view;
  resolveView(view, slot);
  return view;
}

TensorView Executor::hostSlot(uint32_t index) const {
  TensorView view = slot(index);
  for (unsigned i = 0; i < stagedCount; ++i)
    if (staged[i].slot == index)
      view.data = const_cast<uint8_t *>(staged[i].memory.data());
  return view;
}

/// Of a contiguous view.
static size_t bytesOf(const TensorView &view) {
  auto bytes = int64_t(dtypeSize(view.dtype));
  for (unsigned i = 0; i < view.rank; ++i)
    bytes *= view.dims[i];
  return size_t(bytes);
}

Status Executor::stage(uint32_t slot, bool input) {
  if (!device)
    return {};
  if (stagedCount == kMostStaged)
    return Error(ErrorCode::Internal, "more than %u slots are staged", kMostStaged);
  Staged &added = staged[stagedCount];
  // At the largest extents, which are those of a new executor.
  MLC_ASSIGN(added.memory,
             OwnedArray<uint8_t>::create(device->hostMemory(), bytesOf(this->slot(slot)), "pinned memory"));
  added.slot = slot;
  added.input = input;
  ++stagedCount;
  return {};
}

static Error cancelledError() { return Error(ErrorCode::Cancelled, "cancelled"); }

Status Executor::run(uint32_t function, const BatchView &stepBatch, const std::atomic<bool> *cancel) {
  if (outside >= 0)
    return outsideError();
  WorkerPool::Turn held(*pool, sessionClass, cancel);
  batch = &stepBatch;
  turn = &held;
  if (device)
    return runOnDevice(function);
  MLC_TRY(runOps(plan->functions()[function]));
  // The last op may have been cut short; a flag that is set after its end is for the next run.
  return held.skipped() ? Status(cancelledError()) : Status();
}

void Executor::drawFrom(uint32_t slot, const StepDraws &draws, std::span<int32_t> tokens) {
  drawnSlot = slot;
  stepDraws = draws;
  drawnTokens = tokens;
}

/// Of all rows of `transfer` those from the first to the last that nothing is drawn from.
static void leaveDrawnRows(DeviceTransfer &transfer, std::span<const RowDraw> rows) {
  auto stays = [](const RowDraw &draw) { return draw.row < 0; };
  auto first = size_t(std::find_if(rows.begin(), rows.end(), stays) - rows.begin());
  auto last = size_t(std::find_if(rows.rbegin(), rows.rend(), stays).base() - rows.begin());
  size_t bytes = transfer.bytes / rows.size();
  transfer.host += first * bytes;
  transfer.device += first * bytes;
  transfer.bytes = first < last ? (last - first) * bytes : 0;
}

Status Executor::runOnDevice(uint32_t function) {
  DeviceTransfer inputs[kMostStaged], outputs[kMostStaged];
  uint32_t watching = observer.before || observer.after ? watchCount : 0;
  DeviceStep step{batch, 0, stateViews.span(), recurrentSegments, watching, {}, {}, nullptr};
  DeviceDraws draws{};
  unsigned inputCount = 0, outputCount = 0;
  for (unsigned i = 0; i < stagedCount; ++i) {
    TensorView view = slot(staged[i].slot);
    DeviceTransfer transfer{staged[i].memory.data(), static_cast<uint8_t *>(view.data), bytesOf(view)};
    // With the tokens it says how many rows there are.
    step.shape += int64_t(transfer.bytes);
    if (!staged[i].input && staged[i].slot == drawnSlot && !stepDraws.rows.empty()) {
      draws = {transfer.device, view.dims[1], stepDraws.rows, stepDraws.adjustments, drawnTokens};
      step.draws = &draws;
      leaveDrawnRows(transfer, stepDraws.rows);
    }
    if (staged[i].input)
      inputs[inputCount++] = transfer;
    else
      outputs[outputCount++] = transfer;
  }
  stepDraws = {};
  step.inputs = {inputs, inputCount};
  step.outputs = {outputs, outputCount};
  if (turn->cancelled())
    return cancelledError();
  MLC_ASSIGN(bool replayed, stream->begin(step));
  if (!replayed)
    if (Status enqueued = runOps(plan->functions()[function]); !enqueued) {
      stream->abandon();
      return enqueued;
    }
  MLC_TRY(stream->end());
  if (watching)
    showWatched();
  return {};
}

// Recursion is bounded: the verifier bounds block and call depth.
Status Executor::runOps(Plan::Range range) {
  for (const Plan::Op &op : plan->ops().subspan(range.first, range.count)) {
    if (turn->cancelled())
      return cancelledError();
    MLC_TRY(opTimes.empty() ? runOp(op) : timeOp(op));
  }
  return {};
}

Status Executor::runOp(const Plan::Op &op) {
  switch (op.kind) {
  case Plan::OpKind::kernel:
    return runKernel(op.index, op.location);
  case Plan::OpKind::branch: {
    const Plan::Branch &branch = plan->branches()[op.index];
    return runOps(*slotData[branch.condition] ? branch.thenOps : branch.elseOps);
  }
  case Plan::OpKind::loop:
    return runLoop(plan->loops()[op.index]);
  case Plan::OpKind::call:
    return runOps(plan->functions()[op.index]);
  case Plan::OpKind::code:
    return runCode(plan->codeCalls()[op.index], op.location);
  }
  return {};
}

static uint64_t nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * 1000000000 + uint64_t(now.tv_nsec);
}

Status Executor::timeOp(const Plan::Op &op) {
  OpTime &time = opTimes[size_t(&op - plan->ops().data())];
  uint64_t start = nanoseconds();
  Status done = runOp(op);
  time.nanoseconds += nanoseconds() - start;
  ++time.runs;
  return done;
}

Status Executor::runKernel(uint32_t index, const char *location) {
  const Plan::KernelCall &call = plan->kernelCalls()[index];
  KernelContext context;
  context.inputs = {views.data() + call.firstView, call.inputs};
  context.outputs = {views.data() + call.firstView + call.inputs, call.outputs};
  context.kvStates = {kvViews.data() + call.firstState, call.states};
  context.recurrentStates = {recurrentViews.data() + call.firstState, call.states};
  context.batch = batch;
  context.attrs = call.attrs;
  context.pool = pool;
  context.stream = stream.get();
  context.sharedScratch = sharedScratch.data();
  context.workerScratch = workerScratch.data();
  context.workerStride = workerStride;
  context.arena = arena.span();
  context.prepared = prepared.size() ? prepared[index] : nullptr;
  bool failed = false;
  context.failed = &failed;
  bool seen = (observer.before || observer.after) && observer.sees(index);
  if (seen && device)
    fetchOperands(index, false);
  else if (seen && observer.before)
    observer.before(observer.user, index, context);
  call.kernel->run(context);
  if (failed)
    return Error(ErrorCode::Internal, "%s: kernel %s could not run", location, call.kernel->name);
  if (seen && device)
    fetchOperands(index, true);
  else if (seen && observer.after)
    observer.after(observer.user, index, context);
  return {};
}

Status Executor::runLoop(const Plan::Loop &loop) {
  uint64_t trips = loop.staticTrips;
  if (loop.tripSlot >= 0) {
    int64_t wanted;
    memcpy(&wanted, slotData[size_t(loop.tripSlot)], sizeof wanted);
    trips = wanted > 0 ? uint64_t(wanted) : 0;
  }
  trips = std::min(trips, loop.maxTrips);
  for (uint64_t i = 0; i < trips; ++i) {
    if (loop.whileSlot >= 0 && !*slotData[size_t(loop.whileSlot)])
      break;
    if (loop.indexSlot >= 0) {
      int64_t index = int64_t(i);
      memcpy(slotData[size_t(loop.indexSlot)], &index, sizeof index);
    }
    MLC_TRY(runOps(loop.body));
  }
  return {};
}

Status Executor::runCode(const Plan::CodeCall &call, const char *location) {
  int64_t dims[kMaxCodeDims];
  for (uint32_t i = 0; i < call.dims; ++i)
    dims[i] = dimValue(plan->codeDims()[call.firstDim + i], extents.span());
  void *const *buffers = codeBuffers.data() + call.firstSlot;
  if (stream) {
    stream->call(call.code, {buffers, call.slots}, {dims, call.dims}, dimValue(call.items, extents.span()));
    return {};
  }
  std::atomic<int32_t> failure{0};
  pool->parallelFor(dimValue(call.items, extents.span()), call.grain, [&](int64_t begin, int64_t end, unsigned) {
    if (int32_t status = call.entry(buffers, dims, begin, end))
      failure.store(status, std::memory_order_relaxed);
  });
  int32_t status = failure.load(std::memory_order_relaxed);
  if (isIndexStatus(status)) {
    int64_t index = indexOfStatus(status);
    const char *beyond = index == kMostStatusIndex ? " or more" : index == -kMostStatusIndex ? " or less" : "";
    return Error(ErrorCode::OutOfRange, "%s: index %lld%s lies outside of its axis", location,
                 static_cast<long long>(index), beyond);
  }
  if (status)
    return Error(ErrorCode::Internal, "%s: code %s ended with status %d", location, call.name, status);
  return {};
}

} // namespace mlc
