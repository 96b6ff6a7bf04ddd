//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// build/bench/gpu_ssd_bench [--check]: the scan of Mamba-2 layers on this machine's GPU, as the runtime launches it,
// with f32 and bf16 products and states: 48 heads of 64, one group, a state of 128. A line for each and a prompt of
// 4096, or a token of 1 to 64 sequences whose bases no cache holds together: microseconds, and for decoding the bases'
// 10^9 bytes a second and their share of what a copy reads and writes. --check: instead, of smaller heads, that rows
// have the same bits however a prompt is split, that no row moves when a later one is infinite, and that both products
// agree; exits 1 where not.
//
#include "tests/bench/gpu/Bench.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

using namespace mlc;
using namespace mlc::cuda;

namespace {

constexpr uint32_t kNone = RecurrentStateView::kNoBlock;
/// Of each sequence.
constexpr int64_t kBlocks = 4;

struct Geometry {
  int64_t heads, dim, state;
};

/// A scan of up to `rows` rows a step, of `sequences`; `copies` of the states are taken in turns.
class Scan {
public:
  Scan(const Gpu &gpu, Stream &stream, Geometry g, bool tile, bool bf16, int64_t rows, int64_t sequences,
       uint64_t copies)
      : stream(stream), g(g), available(rows), sequences(sequences), copies(copies),
        width(g.heads * g.dim + 2 * g.state), attrs(uint32_t(g.heads), uint32_t(g.dim), 1, uint32_t(g.state), 0,
                                                    INFINITY, true, tile ? fb::Products::bf16 : fb::Products::f32) {
    const std::vector<uint64_t> dims = {uint64_t(g.heads), uint64_t(g.dim), uint64_t(g.state)};
    const uint64_t logColumns = uint64_t(g.heads * g.dim + g.state + g.heads);
    builder.Finish(fb::CreateStateDirect(
        builder, "ssm", fb::StateKind::ssm, fb::StateScope::sequence, nullptr,
        fb::CreateRecurrentSpecDirect(builder, bf16 ? DType::bf16 : DType::f32, &dims, logColumns, 1)));
    view.state = flatbuffers::GetRoot<fb::State>(builder.GetBufferPointer());
    view.baseStride = size_t(g.heads * g.dim * g.state * (bf16 ? 2 : 4));
    view.logStride = alignUp<size_t>(logColumns, 16);
    view.logBlockStride = view.logStride * kRecurrentPage * sizeof(float);
    // Blocks: of sequence s kBlocks s, ...
    bases = must(
        OwnedArray<uint8_t>::create(gpu.memory(), copies * kBlocks * uint64_t(sequences) * view.baseStride, "bases"));
    logs = must(OwnedArray<uint8_t>::create(gpu.memory(), kBlocks * uint64_t(sequences) * view.logBlockStride, "logs"));
    view.logs = logs.data();
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    auto fill = [&](std::vector<float> &host, OwnedArray<float> &device, int64_t count, float scale, const char *what) {
      host.resize(size_t(count));
      for (float &value : host)
        value = scale * normal(random);
      device = must(OwnedArray<float>::create(gpu.memory(), host.size(), what));
      write(device, host);
    };
    fill(hostX, x, rows * width, 1, "rows");
    fill(hostDt, dt, rows * g.heads, 1, "steps");
    fill(hostHeads, perHead, g.heads, 0.5f, "heads");
    out = must(OwnedArray<float>::create(gpu.memory(), size_t(rows * g.heads * g.dim), "outputs"));
    KernelCallInfo info;
    info.attrsType = fb::KernelAttrsTraits<fb::SsdAttrs>::enum_value;
    info.attrs = &attrs;
    info.maxTokens = rows;
    if (const auto need = recurrentKernels[1].scratch(info).shared)
      scratch = must(OwnedArray<uint8_t>::create(gpu.memory(), need, "scratch"));
  }

  /// `count` tokens of each sequence from `first` on, out of rows `first`, ... where there are so many: `times` times,
  /// then waits.
  void run(int64_t first, int64_t count, int times = 1) {
    std::vector<BatchSegment> segments;
    std::vector<RecurrentSegment> recurrent;
    const int64_t begin = first / kRecurrentPage, pages = ceilDiv<int64_t>(first + count, kRecurrentPage) - begin;
    std::vector<std::vector<RecurrentPage>> kept;
    for (int64_t s = 0; s < sequences; ++s) {
      // Pages take turns: what a step reads it does not write.
      auto block = [&](int64_t page) { return uint32_t(kBlocks * s + page % kBlocks); };
      kept.emplace_back();
      for (int64_t i = 0; i < pages; ++i) {
        const bool last = i + 1 == pages, fills = (begin + i + 1) * kRecurrentPage <= first + count;
        kept.back().push_back({last ? block(begin + i) : kNone, last && fills ? block(begin + i + 1) : kNone});
      }
      // A step that ends inside a page keeps the base before it.
      if (pages > 1 && kept.back().back().base == kNone)
        kept.back()[size_t(pages - 2)].base = block(begin + pages - 1);
      segments.push_back({uint32_t(s), int32_t(s * count), int32_t(count), first, first + count});
      recurrent.push_back({begin ? block(begin) : kNone, first % kRecurrentPage ? block(begin) : kNone, nullptr});
    }
    for (size_t s = 0; s < kept.size(); ++s)
      recurrent[s].pages = kept[s].data();
    const BatchView batch{segments, sequences * count};
    DeviceStep step{};
    step.batch = &batch;
    step.shape = shape++; // Not captured.
    step.recurrent = recurrent.data();
    must(stream.begin(step));
    KernelContext context;
    context.attrs = &attrs;
    context.stream = &stream;
    context.batch = &batch;
    context.sharedScratch = scratch.data();
    context.recurrentStates = {&view, 1};
    const int64_t rows = sequences * count, columns = g.heads * g.dim;
    const int64_t from = first < available ? first : 0;
    const float *row = x.data() + from * width;
    const TensorView in[] = {
        matrix(row, rows, columns, width),           matrix(dt.data() + from * g.heads, rows, g.heads, g.heads),
        matrix(row + columns, rows, g.state, width), matrix(row + columns + g.state, rows, g.state, width),
        matrix(perHead.data(), 1, g.heads, g.heads), matrix(perHead.data(), 1, g.heads, g.heads),
        matrix(perHead.data(), 1, g.heads, g.heads)};
    TensorView to = matrix(out.data() + from * columns, rows, columns, columns);
    context.inputs = in;
    context.outputs = {&to, 1};
    for (int i = 0; i < times; ++i) {
      view.bases = bases.data() + turn++ % copies * kBlocks * uint64_t(sequences) * view.baseStride;
      recurrentKernels[1].run(context);
    }
    must(stream.end());
  }

  /// Seconds of one: the median of some batches, less what one costs that has fewer.
  double time(int64_t first, int64_t count, int batch) {
    double times[5];
    run(first, count, 3);
    for (double &time : times) {
      const double start = seconds();
      run(first, count, batch);
      const double middle = seconds();
      run(first, count, 2 * batch);
      time = (seconds() - middle - (middle - start)) / batch;
    }
    std::sort(std::begin(times), std::end(times));
    return times[2];
  }

  std::vector<float> outputs(int64_t rows) {
    std::vector<float> host(size_t(rows * g.heads * g.dim));
    must(stream.read(host.data(), reinterpret_cast<const uint8_t *>(out.data()), host.size() * sizeof(float)));
    return host;
  }
  void makeInfinite(int64_t row) {
    for (int64_t i = 0; i < g.heads * g.dim; ++i)
      hostX[size_t(row * width + i)] = INFINITY;
    write(x, hostX);
  }

private:
  void write(OwnedArray<float> &to, const std::vector<float> &from) {
    must(stream.write(reinterpret_cast<uint8_t *>(to.data()), from.data(), from.size() * sizeof(float)));
  }

  Stream &stream;
  Geometry g;
  int64_t available, sequences;
  uint64_t copies, turn = 0;
  int64_t width, shape = 0; // Of a row of x, b and c.
  fb::SsdAttrs attrs;
  flatbuffers::FlatBufferBuilder builder;
  RecurrentStateView view;
  OwnedArray<uint8_t> bases, logs, scratch;
  OwnedArray<float> x, dt, perHead, out;
  std::vector<float> hostX, hostDt, hostHeads;
};

bool check(const Gpu &gpu, Stream &stream) {
  bool good = true;
  constexpr int64_t kRows = 100;
  for (Geometry g : {Geometry{4, 64, 128}, Geometry{3, 80, 40}, Geometry{2, 7, 256}})
    for (bool bf16 : {false, true}) {
      auto expect = [&](bool what, const char *text) {
        printf("%lld x %lld x %lld, %s states: %s%s\n", (long long)g.heads, (long long)g.dim, (long long)g.state,
               bf16 ? "bf16" : "f32", text, what ? "" : ": NO");
        good = good && what;
      };
      std::vector<float> of[2];
      for (bool tile : {false, true}) {
        Scan scan(gpu, stream, g, tile, bf16, kRows, 1, 1);
        scan.run(0, kRows);
        of[tile] = scan.outputs(kRows);
        for (std::vector<int64_t> steps :
             {std::vector<int64_t>{1, 15, 20, 13, 31, 20}, std::vector<int64_t>(kRows, 1)}) {
          int64_t at = 0;
          for (int64_t step : steps) {
            scan.run(at, step);
            at += step;
          }
          expect(scan.outputs(kRows) == of[tile],
                 tile ? "bf16 products, the same bits in any steps" : "f32 products, the same bits in any steps");
        }
        if (!tile)
          continue;
        scan.makeInfinite(53);
        scan.run(0, kRows);
        const std::vector<float> broken = scan.outputs(kRows);
        const auto seen = int64_t(53 * g.heads * g.dim);
        expect(std::equal(broken.begin(), broken.begin() + seen, of[1].begin()) && !std::isfinite(broken[size_t(seen)]),
               "rows do not see a later infinity");
      }
      double difference = 0, size = 0;
      for (size_t i = 0; i < of[0].size(); ++i) {
        difference += std::fabs(double(of[0][i]) - of[1][i]);
        size += std::fabs(of[0][i]);
      }
      expect(difference < 1e-2 * size, "products agree");
    }
  return good;
}

} // namespace

int main(int argc, char **argv) {
  const bool checks = argc > 1 && !strcmp(argv[1], "--check");
  if (argc > 1 + checks) {
    fprintf(stderr, "usage: gpu_ssd_bench [--check]\n");
    return 2;
  }
  constexpr int64_t kPrompt = 4096;
  const std::vector<Image> images = mlc_cuda_images();
  Owned<Device> device(must(Gpu::open(images, {}, systemAllocator())));
  auto &gpu = static_cast<Gpu &>(*device);
  StreamBounds bounds;
  bounds.tokens = kPrompt;
  bounds.rows = 1;
  bounds.segments = 64;
  bounds.recurrent = true;
  Owned<DeviceStream> owned(must(gpu.createStream(bounds, systemAllocator())));
  auto &stream = static_cast<Stream &>(*owned);
  printf("%s\n", gpu.description());
  if (checks)
    return !check(gpu, stream);
  const double copyRate = must(gpu.measureBandwidth());
  printf("copy: %.0f GB/s read and written\n", copyRate);
  for (bool bf16 : {false, true})
    for (bool tile : {false, true}) {
      const char *products = tile ? "bf16" : "f32", *states = bf16 ? "bf16" : "f32";
      const Geometry g{48, 64, 128};
      {
        Scan scan(gpu, stream, g, tile, bf16, kPrompt, 1, 1);
        const double time = scan.time(0, kPrompt, 8);
        printf("%-4s products, %-4s states, prompt of %lld: %8.1f us, %.3f us a page\n", products, states,
               (long long)kPrompt, 1e6 * time, 1e6 * time / double(kPrompt / kRecurrentPage));
      }
      for (int64_t sequences : {1, 4, 16, 64}) {
        const auto bytes = double(sequences * g.heads * g.dim * g.state * (bf16 ? 2 : 4));
        Scan scan(gpu, stream, g, tile, bf16, sequences, sequences, uint64_t(400e6 / bytes) + 1);
        const double time = scan.time(1000, 1, 200), rate = 1e-9 * bytes / time;
        printf("%-4s products, %-4s states, a token of %2lld: %8.1f us %7.0f GB/s %.2f of the copy\n", products, states,
               (long long)sequences, 1e6 * time, rate, rate / copyRate);
      }
    }
  return 0;
}
