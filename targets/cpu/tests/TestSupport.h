//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the kernel tests share: tensors with exact ends and odd strides, one-call contexts, paged KV states, forms to
// run.
//
#pragma once

#include "runtime/core/Float16.h"
#include "runtime/exec/Kernel.h"
#include "targets/cpu/Isa.h"
#include "targets/cpu/pack/Pack.h"
#include "targets/cpu/tests/SoftwareTiles.h"

#include "gtest/gtest.h"

#include <memory>
#include <random>
#include <string>
#include <vector>

namespace mlc::test {

using Random = std::mt19937;

/// Whether the program was built for another machine, where an emulator runs it about thirty times slower.
#ifdef MLC_EMULATED
inline constexpr bool kEmulated = true;
#else
inline constexpr bool kEmulated = false;
#endif

/// COUNT random trials, or a third of them under emulation.
constexpr int trials(int count) { return kEmulated ? (count + 2) / 3 : count; }

/// Nearly normal numbers, each the sum of four uniform ones: std::normal_distribution takes logarithms of long double,
/// which emulators calculate in software.
inline std::vector<float> normals(Random &random, size_t count, float scale = 1.0f) {
  std::vector<float> values(count);
  for (float &value : values) {
    uint32_t first = uint32_t(random()), second = uint32_t(random());
    uint32_t sum = (first & 0xffff) + (first >> 16) + (second & 0xffff) + (second >> 16);
    value = scale * (float(sum) - 131070.0f) / 37837.227f; // The mean; the standard deviation, 2^16 / sqrt(3).
  }
  return values;
}

inline int64_t uniform(Random &random, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}

/// A tensor in its own allocation that ends with its last element, so that a sanitizer sees any step beyond.
struct Tensor {
  TensorView view;
  std::unique_ptr<uint8_t[]> storage;

  Tensor() = default;
  /// `padding` elements between rows; `offset` elements before the first.
  Tensor(DType dtype, std::vector<int64_t> dims, int64_t padding = 0, int64_t offset = 0) {
    view.dtype = dtype;
    view.rank = uint8_t(dims.size());
    int64_t stride = 1, last = 0;
    for (size_t a = dims.size(); a-- > 0;) {
      view.dims[a] = dims[a];
      view.strides[a] = stride;
      last += (dims[a] - 1) * stride;
      stride = stride * dims[a] + (a + 1 == dims.size() ? padding : 0);
    }
    size_t size = dtypeSize(dtype), bytes = size_t(offset + (stride ? last + 1 : 0)) * size;
    storage = std::make_unique<uint8_t[]>(bytes ? bytes : 1);
    view.data = storage.get() + size_t(offset) * size;
  }
  static Tensor matrix(const std::vector<float> &values, int64_t rows, int64_t columns, int64_t padding = 0,
                       int64_t offset = 0) {
    Tensor tensor(DType::f32, {rows, columns}, padding, offset);
    for (int64_t r = 0; r < rows; ++r)
      std::copy_n(values.data() + r * columns, columns, tensor.view.row<float>(r));
    return tensor;
  }
  static Tensor vector(const std::vector<float> &values) {
    Tensor tensor(DType::f32, {int64_t(values.size())});
    std::copy(values.begin(), values.end(), tensor.view.as<float>());
    return tensor;
  }
  static Tensor ints(const std::vector<int32_t> &values) {
    Tensor tensor(DType::i32, {int64_t(values.size())});
    std::copy(values.begin(), values.end(), tensor.view.as<int32_t>());
    return tensor;
  }
  static Tensor bytes(const std::vector<uint8_t> &values, int64_t offset = 0) {
    Tensor tensor(DType::u8, {int64_t(values.size())}, 0, offset);
    std::copy(values.begin(), values.end(), tensor.view.as<uint8_t>());
    return tensor;
  }
  /// The rows without their padding.
  std::vector<float> values() const {
    std::vector<float> out;
    for (int64_t r = 0; r < view.dims[0]; ++r)
      out.insert(out.end(), view.row<float>(r), view.row<float>(r) + view.dims[1]);
    return out;
  }
};

/// A worker pool that ends with its scope.
struct Pool {
  explicit Pool(unsigned threads) : pool(*WorkerPool::create(threads)) {}
  ~Pool() { WorkerPool::destroy(pool); }
  WorkerPool *pool;
};
/// One pool of each size 1..4 for all tests of the process.
inline WorkerPool *poolOf(unsigned threads) {
  static Pool pools[] = {Pool(1), Pool(2), Pool(3), Pool(4)};
  return pools[threads - 1].pool;
}

/// The forms that this machine runs, its tiles perhaps in software.
inline std::vector<Isa> forms() {
  std::vector<Isa> list;
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avxvnni, Isa::avx512vnni, Isa::avx512bf16, Isa::amx, Isa::dotprod,
                  Isa::i8mm, Isa::bf16})
    if (machineRuns(isa) || (isa == Isa::amx && machineRuns(Isa::avx512bf16) && softwareTiles()))
      list.push_back(isa);
  return list;
}

/// Forms whose products of bf16 are added in the order of tiles.
inline bool usesTiles(Isa isa) { return isa == Isa::amx; }

/// A KV state of `sequences` sequences with pages in shuffled order, and its schema entry.
struct KvState {
  fb::KvSpec spec;
  flatbuffers::FlatBufferBuilder builder;
  const fb::State *state = nullptr;
  size_t pageBytes = 0;
  std::vector<uint8_t> storage;
  uint8_t *pool = nullptr;
  std::vector<std::vector<uint32_t>> pages;
  std::vector<const uint32_t *> pagePointers;

  KvState(fb::KvSpec spec, size_t sequences, int64_t positions, uint32_t seed = 1) : spec(spec) {
    builder.Finish(fb::CreateStateDirect(builder, "kv", fb::StateKind::kv, fb::StateScope::sequence, &this->spec));
    state = flatbuffers::GetRoot<fb::State>(builder.GetBufferPointer());
    pageBytes = cpuTarget().kvLayout.pageBytes(spec);
    size_t perSequence = size_t(ceilDiv(positions, kPagePositions)), total = sequences * perSequence;
    // What nobody wrote is NaN: reading it by mistake shows.
    storage.assign(total * pageBytes + 64, 0xff);
    pool = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
    std::vector<uint32_t> order(total);
    for (size_t i = 0; i < total; ++i)
      order[i] = uint32_t(i);
    Random random(seed);
    std::shuffle(order.begin(), order.end(), random);
    for (size_t s = 0; s < sequences; ++s) {
      pages.emplace_back(order.begin() + long(s * perSequence), order.begin() + long((s + 1) * perSequence));
      pagePointers.push_back(nullptr);
    }
    for (size_t s = 0; s < sequences; ++s)
      pagePointers[s] = pages[s].data();
  }
};

/// One call of a kernel: check, scratch, run.
struct Call {
  const char *name;
  fb::KernelAttrs attrsType;
  const void *attrs;
  std::vector<const Tensor *> inputs, outputs;
  std::vector<bool> constant; // Per input: lies in a segment; empty: none does.
  std::vector<bool> tokens;   // Per input: follows `tokens`; empty: only input 0 does.
  KvState *kv = nullptr;
  const RecurrentStateView *recurrent = nullptr; // Its segments are those of the step.
  std::vector<BatchSegment> segments;            // Their sequence picks the pages; empty: no batch.
  int64_t maxPositions = 8192;

  template <typename T>
  Call(const char *name, const T &attrs) : name(name), attrsType(fb::KernelAttrsTraits<T>::enum_value), attrs(&attrs) {}

  KernelCallInfo info() {
    inputViews.clear();
    outputViews.clear();
    for (size_t i = 0; i < inputs.size(); ++i) {
      inputViews.push_back(inputs[i]->view);
      inputViews.back().data = nullptr;
      inputTokens[i] = tokens.empty() ? i == 0 : tokens[i];
      inputConstant[i] = i < constant.size() && constant[i];
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      outputViews.push_back(outputs[i]->view);
      outputViews.back().data = nullptr;
      outputTokens[i] = true;
    }
    KernelCallInfo info;
    info.inputs = inputViews;
    info.outputs = outputViews;
    info.inputFollowsTokens = {inputTokens, inputs.size()};
    info.outputFollowsTokens = {outputTokens, outputs.size()};
    state = kv ? kv->state : recurrent ? recurrent->state : nullptr;
    info.inputConstant = {inputConstant, inputs.size()};
    if (state)
      info.states = {&state, 1};
    info.attrsType = attrsType;
    info.attrs = attrs;
    info.maxTokens = 4096;
    info.maxPositions = maxPositions;
    info.maxSequences = 64;
    return info;
  }

  const KernelDef *kernel(Isa isa) const { return findKernel(cpuTarget(), name, 1, isa); }

  /// Empty when the call is accepted, else the message.
  std::string check(Isa isa = Isa::portable) {
    Status status = kernel(isa)->check(info());
    return status ? "" : status.error().message();
  }

  void run(Isa isa, unsigned threads = 1) {
    const KernelDef *def = kernel(isa);
    ASSERT_NE(def, nullptr) << name;
    KernelCallInfo call = info();
    call.workers = threads;
    Status status = def->check(call);
    ASSERT_TRUE(bool(status)) << name << ": " << status.error().message();
    ScratchNeed need = def->scratch ? def->scratch(call) : ScratchNeed{};
    auto shared = std::make_unique<float[]>(need.shared / 4 + 1);
    size_t stride = alignUp<size_t>(need.perWorker, 64);
    auto workers = std::make_unique<float[]>(stride * threads / 4 + 1);
    KernelContext context;
    for (size_t i = 0; i < inputs.size(); ++i)
      inputViews[i] = inputs[i]->view;
    for (size_t i = 0; i < outputs.size(); ++i)
      outputViews[i] = outputs[i]->view;
    context.inputs = inputViews;
    context.outputs = outputViews;
    BatchView batch;
    batch.segments = segments;
    for (const BatchSegment &segment : segments)
      batch.tokens += segment.length;
    context.batch = &batch;
    KvStateView view;
    std::vector<const uint32_t *> pages;
    if (kv) {
      for (const BatchSegment &segment : segments)
        pages.push_back(kv->pagePointers[segment.sequence]);
      view = {kv->pool, kv->pageBytes, pages.data(), 0, kv->spec};
      context.kvStates = {&view, 1};
    }
    if (recurrent)
      context.recurrentStates = {recurrent, 1};
    context.attrs = attrs;
    context.pool = poolOf(threads);
    context.sharedScratch = reinterpret_cast<uint8_t *>(shared.get());
    context.workerScratch = reinterpret_cast<uint8_t *>(workers.get());
    context.workerStride = stride;
    bool failed = false;
    context.failed = &failed;
    if (def->prepare) {
      call.inputs = inputViews;
      call.outputs = outputViews;
      auto prepared = def->prepare(call);
      ASSERT_TRUE(bool(prepared)) << name << ": " << prepared.error().message();
      context.prepared = *prepared;
    }
    def->run(context);
    if (def->prepare)
      def->release(context.prepared);
    ASSERT_FALSE(failed) << name;
  }

private:
  std::vector<TensorView> inputViews, outputViews;
  bool inputTokens[8] = {}, outputTokens[8] = {}, inputConstant[8] = {};
  const fb::State *state = nullptr;
};

/// Bitwise equality of f32 vectors, naming the first difference.
inline ::testing::AssertionResult sameBits(const std::vector<float> &a, const std::vector<float> &b) {
  if (a.size() != b.size())
    return ::testing::AssertionFailure() << a.size() << " and " << b.size() << " values";
  for (size_t i = 0; i < a.size(); ++i)
    if (std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i]))
      return ::testing::AssertionFailure() << "value " << i << ": " << a[i] << " and " << b[i];
  return ::testing::AssertionSuccess();
}

} // namespace mlc::test
