//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The CPU kernels at Qwen2.5-0.5B's shapes, apart from the tests. Arguments of a linear: k, n, rows, threads. The form
// is the machine's best unless MLC_ISA names another. One thread is measured in processor time, more in real time.
// Weights rotate through 256 MiB so that decode reads memory.
//
#include "tests/bench/KernelRunner.h"

#include <benchmark/benchmark.h>

#include <cmath>
#include <cstring>

using namespace mlc;
using namespace mlc::cpu;
using fb::WeightFormat;

namespace {

/// A kernel on a pool of its own, whose refusal skips the benchmark.
struct Runner : KernelRunner {
  template <typename T>
  Runner(const char *name, const T &attributes, std::vector<TensorView> in, std::vector<TensorView> out,
         unsigned threads)
      : KernelRunner(name, attributes, std::move(in), std::move(out), **WorkerPool::create(threads)) {}
  ~Runner() { WorkerPool::destroy(&pool); }
  bool prepare(benchmark::State &state) {
    Status status = KernelRunner::prepare();
    if (!status)
      state.SkipWithError(status.error().message());
    return bool(status);
  }
};

void linear(benchmark::State &state, WeightFormat format, uint32_t group) {
  uint64_t k = uint64_t(state.range(0)), n = uint64_t(state.range(1));
  int64_t rows = state.range(2);
  fb::WeightDesc desc(n, k, group, format, false);
  uint64_t bytes = *packedBytes(desc);
  // Packing 16 rows is enough; the panel is repeated.
  Buffer<float> values = normals(16 * k);
  uint64_t panel = packedOffset(desc, 16), copies = std::max<uint64_t>(1, (256u << 20) / bytes);
  if (rows > 8)
    copies = 1;
  Buffer<uint8_t> storage(bytes * copies), packed(panel);
  uint8_t *weights = storage.data();
  if (!packRows(desc, 0, 16, values.data(), packed.data()))
    return state.SkipWithError("packing");
  for (uint64_t at = 0; at + panel <= bytes * copies; at += panel)
    memcpy(weights + at, packed.data(), panel);
  bool quantized = isQuantized(format);
  Buffer<float> x = normals(size_t(rows) * k), out(size_t(rows) * n);
  Buffer<uint8_t> xq(size_t(rows) * (quantized ? quantizedRow(desc).bytes : 0));
  TensorView xView = matrix(x.data(), DType::f32, rows, int64_t(k)), input = xView;
  if (quantized) {
    fb::QuantizeRowsAttrs attrs(k, rowGroups(desc).group, rowGroups(desc).sumGroup);
    input = matrix(xq.data(), DType::u8, rows, int64_t(quantizedRow(desc).bytes));
    Runner runner("quantize_rows", attrs, {xView}, {input}, 1);
    if (!runner.prepare(state))
      return;
    runner.kernel->run(runner.context);
  }
  TensorView weight;
  weight.data = weights;
  weight.dtype = DType::u8;
  weight.rank = 1;
  weight.dims[0] = int64_t(bytes);
  weight.strides[0] = 1;
  fb::LinearAttrs attrs(desc, quantized, false, false, false, fb::Activation::none, 0, 0, false);
  Runner runner("linear", attrs, {input, weight}, {matrix(out.data(), DType::f32, rows, int64_t(n))},
                unsigned(state.range(3)));
  if (!runner.prepare(state))
    return;
  uint64_t next = 0;
  for (auto _ : state) {
    runner.inputs[1].data = weights + next * bytes;
    next = (next + 1) % copies;
    runner.kernel->run(runner.context);
    benchmark::ClobberMemory();
  }
  using benchmark::Counter;
  state.counters["GOP/s"] = Counter(2e-9 * double(rows) * double(n) * double(k), Counter::kIsIterationInvariantRate);
  state.counters["GB/s"] = Counter(1e-9 * double(bytes), Counter::kIsIterationInvariantRate);
}

template <int64_t threads> void shapes(benchmark::internal::Benchmark *bench) {
  bench->ArgNames({"k", "n", "rows", "threads"});
  for (int64_t rows : {1, 512})
    for (auto [k, n] : {std::pair<int64_t, int64_t>{896, 896}, {896, 128}, {896, 9728}, {4864, 896}})
      bench->Args({k, n, rows, threads});
}
template <int64_t threads> void head(benchmark::internal::Benchmark *bench) {
  bench->ArgNames({"k", "n", "rows", "threads"});
  for (int64_t rows : {1, 4})
    bench->Args({896, 151936, rows, threads});
}

#define MLC_BENCH(CASES, ...)                                                                                          \
  BENCHMARK_CAPTURE(__VA_ARGS__)->Apply(CASES<1>);                                                                     \
  BENCHMARK_CAPTURE(__VA_ARGS__)->Apply(CASES<2>)->UseRealTime()
MLC_BENCH(shapes, linear, int4_g128, WeightFormat::panel_int4, 128u);
MLC_BENCH(shapes, linear, int4_g32, WeightFormat::panel_int4, 32u);
MLC_BENCH(shapes, linear, int8_g128, WeightFormat::panel_int8, 128u);
MLC_BENCH(shapes, linear, f16, WeightFormat::panel_f16, 0u);
MLC_BENCH(shapes, linear, f32, WeightFormat::panel_f32, 0u);
MLC_BENCH(head, linear, int8_head, WeightFormat::panel_int8, 128u);

/// `queries` tokens at the end of `context` positions, 14 heads over 2 KV heads of 64.
void attention(benchmark::State &state, DType dtype, fb::Products products) {
  int64_t queries = state.range(0), context = state.range(1);
  fb::KvSpec spec(2, 64, dtype, 0);
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fb::CreateStateDirect(builder, "kv", fb::StateKind::kv, fb::StateScope::sequence, &spec));
  const fb::State *schema = flatbuffers::GetRoot<fb::State>(builder.GetBufferPointer());
  size_t pageBytes = cpuTarget().kvLayout.pageBytes(spec), pageCount = size_t(ceilDiv(context, kPagePositions));
  Buffer<uint8_t> pool(pageBytes * pageCount, 1);
  std::vector<uint32_t> pages(pageCount);
  for (size_t i = 0; i < pageCount; ++i)
    pages[i] = uint32_t(i);
  const uint32_t *pagePointer = pages.data();
  KvStateView view{pool.data(), pageBytes, &pagePointer, 0, spec};
  BatchSegment segment{0, 0, int32_t(queries), context - queries, context};
  BatchView batch{{&segment, 1}, queries};
  Buffer<float> q = normals(size_t(queries) * 896), out(q.size());
  fb::AttentionAttrs attrs(14, 2, 64, 0.125f, 0.0f, 0, products);
  Runner runner("attention", attrs, {matrix(q.data(), DType::f32, queries, 896)},
                {matrix(out.data(), DType::f32, queries, 896)}, unsigned(state.range(2)));
  runner.info.states = {&schema, 1};
  if (!runner.prepare(state))
    return;
  runner.context.batch = &batch;
  runner.context.kvStates = {&view, 1};
  for (auto _ : state)
    runner.kernel->run(runner.context);
  double pairs = double(queries) * (double(context) - double(queries - 1) / 2);
  using benchmark::Counter;
  state.counters["GFLOP/s"] = Counter(4e-9 * pairs * 896, Counter::kIsIterationInvariantRate);
  state.counters["us/token"] = Counter(1e-6 * double(queries), Counter::kIsIterationInvariantRate | Counter::kInvert);
}
/// `queries` tokens from position 0, or (1) one token at position 1000: 48 heads of 64, one group, a state of 128.
/// Bases rotate through 72 MiB so that decode reads memory.
void ssd(benchmark::State &state, DType dtype, fb::Products products) {
  int64_t queries = state.range(0), heads = 48, dim = 64, size = 128, first = queries == 1 ? 1000 : 0;
  flatbuffers::FlatBufferBuilder builder;
  std::vector<uint64_t> dims = {uint64_t(heads), uint64_t(dim), uint64_t(size)};
  uint64_t columns = uint64_t(heads * dim + size + heads);
  builder.Finish(fb::CreateStateDirect(builder, "ssm", fb::StateKind::ssm, fb::StateScope::sequence, nullptr,
                                       fb::CreateRecurrentSpecDirect(builder, dtype, &dims, columns, 1)));
  const fb::State *schema = flatbuffers::GetRoot<fb::State>(builder.GetBufferPointer());
  size_t baseBytes = cpuTarget().recurrentLayout.baseBytes(*schema), stride = alignUp<size_t>(columns, 16);
  constexpr uint32_t kBlocks = 48, kNone = RecurrentStateView::kNoBlock;
  Buffer<uint8_t> bases(baseBytes * kBlocks), logs(stride * kRecurrentPage * 4 * sizeof(float));
  int64_t pageCount = ceilDiv(queries, kRecurrentPage);
  std::vector<RecurrentPage> pages(size_t(pageCount), {kNone, kNone});
  pages.back() = {2, 2};
  if (pageCount > 1)
    pages[size_t(pageCount) - 2] = {1, 1};
  RecurrentSegment segmentView{first ? 0 : kNone, first ? 2 : kNone, pages.data()};
  RecurrentStateView view{bases.data(), baseBytes,    logs.data(), stride * kRecurrentPage * sizeof(float),
                          stride,       &segmentView, schema};
  BatchSegment segment{0, 0, int32_t(queries), first, queries};
  BatchView batch{{&segment, 1}, queries};
  // As in the models: x, b and c are columns of what the convolution gives.
  int64_t width = heads * dim + 2 * size;
  Buffer<float> convolved = normals(size_t(queries * width)), out(size_t(queries * heads * dim)),
                dt = normals(size_t(queries * heads)), a(size_t(heads), 0.5f), d = a;
  auto columnsOf = [&](int64_t begin, int64_t count) {
    TensorView view = matrix(convolved.data() + begin, DType::f32, queries, count);
    view.strides[0] = width;
    return view;
  };
  auto vector = [](Buffer<float> &values) {
    TensorView view = matrix(values.data(), DType::f32, 1, int64_t(values.size()));
    view.rank = 1;
    view.dims[0] = view.dims[1];
    view.strides[0] = 1;
    return view;
  };
  fb::SsdAttrs attrs(uint32_t(heads), uint32_t(dim), 1, uint32_t(size), 0, INFINITY, true, products);
  Runner runner("ssd", attrs,
                {columnsOf(0, heads * dim), matrix(dt.data(), DType::f32, queries, heads), columnsOf(heads * dim, size),
                 columnsOf(heads * dim + size, size), vector(a), vector(d), vector(d)},
                {matrix(out.data(), DType::f32, queries, heads * dim)}, unsigned(state.range(1)));
  std::fill_n(runner.follows, 4, true);
  runner.info.states = {&schema, 1};
  runner.info.maxSequences = 1;
  if (!runner.prepare(state))
    return;
  runner.context.batch = &batch;
  runner.context.recurrentStates = {&view, 1};
  for (auto _ : state) {
    if (first)
      segmentView.base = segmentView.base == kBlocks - 1 ? 3 : segmentView.base + 1;
    runner.kernel->run(runner.context);
  }
  using benchmark::Counter;
  state.counters["GFLOP/s"] = Counter(4e-9 * double(queries * heads * dim * size), Counter::kIsIterationInvariantRate);
  state.counters["GB/s"] = Counter(1e-9 * double(baseBytes), Counter::kIsIterationInvariantRate);
}
template <int64_t threads> void scans(benchmark::internal::Benchmark *bench) {
  bench->ArgNames({"queries", "threads"});
  for (int64_t queries : {1, 512})
    bench->Args({queries, threads});
}
MLC_BENCH(scans, ssd, f32, DType::f32, fb::Products::f32);
MLC_BENCH(scans, ssd, bf16, DType::f32, fb::Products::bf16);
MLC_BENCH(scans, ssd, bf16_state, DType::bf16, fb::Products::bf16);

template <int64_t threads> void contexts(benchmark::internal::Benchmark *bench) {
  bench->ArgNames({"queries", "context", "threads"});
  for (int64_t context : {512, 4096, 8192})
    for (int64_t queries : {1, 512})
      bench->Args({queries, context, threads});
}
MLC_BENCH(contexts, attention, f32, DType::f32, fb::Products::f32);
MLC_BENCH(contexts, attention, f16, DType::f16, fb::Products::f32);
MLC_BENCH(contexts, attention, int8, DType::i8, fb::Products::f32);
MLC_BENCH(contexts, attention, f16_bf16, DType::f16, fb::Products::bf16);
MLC_BENCH(contexts, attention, int8_i8, DType::i8, fb::Products::i8);

} // namespace

BENCHMARK_MAIN();
