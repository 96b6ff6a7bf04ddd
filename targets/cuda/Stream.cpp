//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/Stream.h"

#include "runtime/artifact/Verifier.h"

#include <algorithm>

namespace mlc::cuda {

static CuPointer address(const uint8_t *memory) { return reinterpret_cast<CuPointer>(memory); }

Result<DeviceStream *> Stream::create(const Gpu &gpu, const StreamBounds &bounds, const Allocator &allocator) {
  void *memory = allocator.allocate(allocator.context, sizeof(Stream), alignof(Stream));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "no memory for a stream");
  auto *made = new (memory) Stream(gpu, bounds, allocator);
  Owned<DeviceStream> stream(made);
  MLC_TRY(made->build());
  return stream.release();
}

Status Stream::build() {
  MLC_TRY(gpu.use());
  MLC_TRY(calls.check(calls.streamCreate(&stream, CU_STREAM_NON_BLOCKING), "a stream"));
  uint64_t bytes = stepLayout(uint64_t(bounds.tokens), uint64_t(bounds.segments), uint64_t(bounds.states),
                              uint64_t(bounds.pagesPerSlot), bounds.recurrent)
                       .bytes;
  MLC_ASSIGN(block, OwnedArray<uint8_t>::create(gpu.memory(), bytes, "the GPU's tables of a step"));
  MLC_ASSIGN(staged, OwnedArray<uint8_t>::create(gpu.hostMemory(), bytes, "pinned tables of a step"));
  bytes = drawBytes(uint64_t(bounds.rows), kMostStepAdjustments);
  MLC_ASSIGN(drawBlock, OwnedArray<uint8_t>::create(gpu.memory(), bytes, "the GPU's draws"));
  MLC_ASSIGN(stagedDraws, OwnedArray<uint8_t>::create(gpu.hostMemory(), bytes, "pinned draws"));
  MLC_ASSIGN(drawn, OwnedArray<int32_t>::create(gpu.memory(), uint64_t(bounds.rows), "the GPU's draws"));
  MLC_ASSIGN(stagedDrawn, OwnedArray<int32_t>::create(gpu.hostMemory(), uint64_t(bounds.rows), "pinned draws"));
  return {};
}

Stream::~Stream() {
  if (!stream || !gpu.use())
    return;
  (void)calls.streamSynchronize(stream);
  for (Captured &each : graphs)
    if (each.graph)
      (void)calls.graphExecDestroy(each.graph);
  (void)calls.streamDestroy(stream);
}

void Stream::release() {
  Allocator from = allocator;
  this->~Stream();
  from.release(from.context, this, sizeof(Stream));
}

Status Stream::copy(uint8_t *to, const uint8_t *from, size_t bytes) {
  MLC_TRY(gpu.use());
  return calls.check(calls.copyOnDevice(address(to), address(from), bytes, stream), "copying a page on the GPU");
}

Status Stream::read(void *to, const uint8_t *from, size_t bytes) {
  MLC_TRY(gpu.use());
  MLC_TRY(calls.check(calls.copyToHost(to, address(from), bytes, stream), "copying from the GPU"));
  return calls.check(calls.streamSynchronize(stream), "copying from the GPU");
}

Status Stream::write(uint8_t *to, const void *from, size_t bytes) {
  MLC_TRY(gpu.use());
  MLC_TRY(calls.check(calls.copyToDevice(address(to), from, bytes, stream), "copying to the GPU"));
  return calls.check(calls.streamSynchronize(stream), "copying to the GPU");
}

void Stream::note(CuResult result, const char *what) {
  if (result != CUDA_SUCCESS && !failure)
    failure.emplace(calls.check(result, what).error());
}

void Stream::fill(const DeviceStep &step) {
  auto *positions = reinterpret_cast<int32_t *>(staged.data() + layout.positions);
  auto *segmentOfRow = reinterpret_cast<int32_t *>(staged.data() + layout.segmentOfRow);
  auto *segments = reinterpret_cast<StepSegment *>(staged.data() + layout.segments);
  std::span<const BatchSegment> all = step.batch->segments;
  for (size_t s = 0; s < all.size(); ++s) {
    segments[s] = {all[s].firstRow, all[s].length, all[s].firstPosition, all[s].formLength};
    for (int32_t t = 0; t < all[s].length; ++t) {
      positions[all[s].firstRow + t] = int32_t(all[s].firstPosition + t);
      segmentOfRow[all[s].firstRow + t] = int32_t(s);
    }
  }
  auto *table = reinterpret_cast<uint32_t *>(staged.data() + layout.tables);
  for (const KvStateView &state : step.kvStates)
    for (size_t s = 0; s < all.size(); ++s, table += key.pages) {
      if (!state.pages)
        continue;
      int64_t used = ceilDiv(all[s].firstPosition + all[s].length, kPagePositions);
      memcpy(table, state.pages[s], size_t(used) * sizeof(uint32_t));
    }
  if (!step.recurrent)
    return;
  auto *stateSegments = reinterpret_cast<StateSegment *>(staged.data() + layout.stateSegments);
  auto *first = reinterpret_cast<StatePage *>(staged.data() + layout.statePages), *page = first;
  for (size_t s = 0; s < all.size(); ++s) {
    stateSegments[s] = {step.recurrent[s].base, step.recurrent[s].log, uint32_t(page - first)};
    for (int64_t i = 0; i < recurrentPages(all[s]); ++i)
      *page++ = {step.recurrent[s].pages[i].log, step.recurrent[s].pages[i].base};
  }
}

Status Stream::enqueueTransfers(std::span<const DeviceTransfer> transfers, bool toDevice) {
  for (const DeviceTransfer &each : transfers)
    if (each.bytes)
      MLC_TRY(calls.check(toDevice ? calls.copyToDevice(address(each.device), each.host, each.bytes, stream)
                                   : calls.copyToHost(each.host, address(each.device), each.bytes, stream),
                          "a step's copies"));
  return {};
}

/// The entry of the step's shape; of a new one the least recently used entry.
Stream::Captured &Stream::captured() {
  auto found =
      std::find_if(std::begin(graphs), std::end(graphs), [&](const Captured &each) { return each.key == key; });
  if (found != std::end(graphs))
    return *found;
  Captured &oldest = *std::min_element(std::begin(graphs), std::end(graphs),
                                       [](const Captured &a, const Captured &b) { return a.used < b.used; });
  if (oldest.graph)
    (void)calls.graphExecDestroy(oldest.graph);
  return oldest = Captured{key};
}

Result<bool> Stream::begin(const DeviceStep &step) {
  MLC_TRY(gpu.use());
  MLC_TRY(gpu.together());
  failure.reset();
  capturing = nullptr;
  outputs = step.outputs;
  draws = step.draws;
  int64_t pages = 0;
  for (const BatchSegment &segment : step.batch->segments)
    pages = std::max(pages, ceilDiv(segment.firstPosition + segment.length, kPagePositions));
  key = {step.batch->tokens, step.shape, int64_t(step.batch->segments.size()), pageBucket(pages, bounds.pagesPerSlot),
         step.watched};
  layout = stepLayout(uint64_t(key.tokens), uint64_t(key.segments), step.kvStates.size(), uint64_t(key.pages),
                      bounds.recurrent);
  fill(step);
  if (key.tokens <= kGraphTokens) {
    Captured &shape = captured();
    if (shape.graph) {
      shape.used = ++steps;
      note(calls.graphLaunch(shape.graph, stream), "launching a step's graph");
      return true;
    }
    // A shape that comes once is not worth a graph.
    if (shape.used && calls.streamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS)
      capturing = &shape;
    shape.used = ++steps;
  }
  note(calls.copyToDevice(address(block.data()), staged.data(), layout.bytes, stream), "a step's tables");
  if (Status copied = enqueueTransfers(step.inputs, true); !copied && !failure)
    failure.emplace(copied.error());
  return false;
}

void Stream::fetch(void *to, const uint8_t *from, size_t bytes) {
  if (bytes && !failure)
    note(calls.copyToHost(to, address(from), bytes, stream), "copying what is watched");
}

void Stream::abandon() {
  CuGraph graph = nullptr;
  if (capturing && calls.streamEndCapture(stream, &graph) == CUDA_SUCCESS && graph)
    (void)calls.graphDestroy(graph);
  capturing = nullptr;
  // The block is written again by the next step.
  (void)calls.streamSynchronize(stream);
}

/// Makes the graph of what was captured, and launches it.
Status Stream::finishCapture() {
  CuGraph graph = nullptr;
  Captured &shape = *capturing;
  capturing = nullptr;
  MLC_TRY(calls.check(calls.streamEndCapture(stream, &graph), "capturing a step"));
  CuResult made = calls.graphInstantiate(&shape.graph, graph, 0);
  (void)calls.graphDestroy(graph);
  if (made != CUDA_SUCCESS) {
    shape.graph = nullptr;
    return calls.check(made, "making a step's graph");
  }
  return calls.check(calls.graphLaunch(shape.graph, stream), "launching a step's graph");
}

/// What is drawn from the logits that the step leaves.
Status Stream::enqueueDraws() {
  memcpy(stagedDraws.data(), draws->rows.data(), draws->rows.size_bytes());
  if (!draws->adjustments.empty())
    memcpy(stagedDraws.data() + draws->rows.size_bytes(), draws->adjustments.data(), draws->adjustments.size_bytes());
  MLC_TRY(calls.check(calls.copyToDevice(address(drawBlock.data()), stagedDraws.data(),
                                         drawBytes(draws->rows.size(), draws->adjustments.size()), stream),
                      "a step's draws"));
  const auto *first = reinterpret_cast<const TokenAdjustment *>(drawBlock.data() + draws->rows.size_bytes());
  launch(Function::mlc_draw, {draws->rows.size()}, kDrawThreads,
         DrawArgs{{reinterpret_cast<float *>(draws->logits), draws->vocabulary},
                  reinterpret_cast<const RowDraw *>(drawBlock.data()),
                  first,
                  drawn.data(),
                  draws->vocabulary});
  return calls.check(calls.copyToHost(stagedDrawn.data(), address(reinterpret_cast<const uint8_t *>(drawn.data())),
                                      draws->tokens.size_bytes(), stream),
                     "the tokens drawn");
}

Status Stream::end() {
  auto attempt = [&](const Status &status) {
    if (!status && !failure)
      failure.emplace(status.error());
  };
  if (capturing && failure)
    abandon();
  if (capturing)
    attempt(finishCapture());
  if (draws && !failure)
    attempt(enqueueDraws());
  if (!failure)
    attempt(enqueueTransfers(outputs, false));
  attempt(calls.check(calls.streamSynchronize(stream), "a step on the GPU failed"));
  if (failure)
    return *failure;
  if (draws)
    memcpy(draws->tokens.data(), stagedDrawn.data(), draws->tokens.size_bytes());
  return {};
}

void Stream::enqueue(Function function, const Grid &grid, unsigned threads, const void *args, unsigned sharedBytes) {
  if (failure || !grid.x || !grid.y || !grid.z)
    return;
  void *parameters[] = {const_cast<void *>(args)};
  CuLaunchAttribute overlap{};
  overlap.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  overlap.allowed = 1;
  CuLaunch launch{unsigned(grid.x), unsigned(grid.y), unsigned(grid.z), threads,     1, 1,
                  sharedBytes,      stream,           &overlap,         gpu.hopper()};
  note(calls.launchKernel(&launch, gpu.function(function), parameters, nullptr), functionName(function));
}

void Stream::gather(const float *from, float *to, uint64_t count) {
  if (Status gathered = failure ? Status() : gpu.gather(from, to, count, stream); !gathered)
    failure.emplace(gathered.error());
}

void Stream::call(uint32_t code, std::span<void *const> buffers, std::span<const int64_t> dims, int64_t rows) {
  // Rows share a block where they are short.
  int64_t width = 256;
  while (width > 1 && width / 2 >= dims[0])
    width /= 2;
  int64_t height = 256 / width;
  int64_t x = ceilDiv(dims[0], width), y = ceilDiv(rows, height);
  if (failure || x < 1 || y < 1)
    return;
  void *parameters[kMaxCodeSlots + kMaxCodeDims + 1], **next = parameters;
  for (void *const &buffer : buffers)
    *next++ = const_cast<void **>(&buffer);
  for (const int64_t &dim : dims)
    *next++ = const_cast<int64_t *>(&dim);
  *next = &rows;
  // Nothing overlaps: a region does not wait by itself for what is before it.
  CuLaunch launch{unsigned(x), unsigned(y), 1, unsigned(width), unsigned(height), 1, 0, stream, nullptr, 0};
  note(calls.launchKernel(&launch, gpu.region(code), parameters, nullptr), gpu.regionName(code));
}

StepView Stream::step() const {
  const uint8_t *base = block.data();
  return {reinterpret_cast<const int32_t *>(base + layout.positions),
          reinterpret_cast<const int32_t *>(base + layout.segmentOfRow),
          reinterpret_cast<const StepSegment *>(base + layout.segments)};
}

StateView Stream::recurrent(const RecurrentStateView &state) const {
  return {state.bases,
          state.logs,
          int64_t(state.baseStride),
          int64_t(state.logBlockStride),
          int64_t(state.logStride),
          reinterpret_cast<const StateSegment *>(block.data() + layout.stateSegments),
          reinterpret_cast<const StatePage *>(block.data() + layout.statePages)};
}

KvView Stream::kv(const KvStateView &state) const {
  KvView view{};
  view.pool = state.pool;
  view.tables = reinterpret_cast<const uint32_t *>(block.data() + layout.tables) +
                int64_t(state.state) * key.segments * key.pages;
  view.pageBytes = int64_t(state.pageBytes);
  view.tableStride = key.pages;
  view.heads = int32_t(state.spec.kv_heads());
  view.headDim = int32_t(state.spec.head_dim());
  view.storage = state.spec.dtype() == DType::f16    ? Storage::f16
                 : state.spec.dtype() == DType::bf16 ? Storage::bf16
                                                     : Storage::f32;
  return view;
}

} // namespace mlc::cuda
