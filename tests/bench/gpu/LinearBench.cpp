//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// build/bench/gpu_linear_bench [N K]...: the products of the CUDA target on this machine's GPU, over copies of the
// weights that no cache holds together, beside what a copy reads and writes in the same run. A line for each format and
// number of rows: microseconds, 10^9 bytes of weights a second, and their share of the copy's.
//
#include "targets/cpu/pack/Layout.h"
#include "targets/cuda/Functions.h"
#include "targets/cuda/Images.h"
#include "targets/cuda/Kernels.h"
#include "targets/cuda/device/Args.h"
#include "targets/cuda/driver/Driver.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

using namespace mlc;
using namespace mlc::cuda;

namespace {

Driver driver;

void must(CuResult result, const char *what) {
  if (Status good = driver.check(result, what); !good) {
    fprintf(stderr, "gpu_linear_bench: %s\n", good.error().message());
    exit(1);
  }
}

template <typename T> T *allocate(uint64_t bytes) {
  CuPointer memory = 0;
  must(driver.memAlloc(&memory, bytes), "memory");
  // Small numbers in every format.
  must(driver.memsetAsync(memory, 0x3c, bytes, nullptr), "memset");
  return reinterpret_cast<T *>(memory);
}

double seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

/// Seconds of one call of `once(i)`, i = 0, 1, ...: the median of some batches, each behind a warm-up.
template <typename F> double timeOf(int batch, F &&once) {
  double times[7];
  for (double &time : times) {
    for (int i = 0; i < 3; ++i)
      once(i);
    must(driver.streamSynchronize(nullptr), "kernels");
    double start = seconds();
    for (int i = 0; i < batch; ++i)
      once(i);
    must(driver.streamSynchronize(nullptr), "kernels");
    time = (seconds() - start) / batch;
  }
  std::sort(std::begin(times), std::end(times));
  return times[3];
}

struct Format {
  const char *name;
  fb::WeightFormat format;
  unsigned group;
};
constexpr Format kFormats[] = {{"rows_bf16", fb::WeightFormat::rows_bf16, 0},
                               {"panel_bf16", fb::WeightFormat::panel_bf16, 0},
                               {"panel_int8", fb::WeightFormat::panel_int8, 128},
                               {"panel_int4", fb::WeightFormat::panel_int4, 128}};

struct Bench {
  CuModule module = nullptr;
  double copyRate = 0;

  CuFunction function(const char *name) {
    CuFunction found = nullptr;
    must(driver.moduleGetFunction(&found, module, name), name);
    return found;
  }

  template <typename Args> void launch(CuFunction function, uint64_t x, uint64_t y, unsigned threads, Args &args) {
    void *parameters[] = {&args};
    CuLaunch config{unsigned(x), unsigned(y), 1, threads, 1, 1, 0, nullptr, nullptr, 0};
    must(driver.launchKernel(&config, function, parameters, nullptr), "a launch");
  }

  void measureCopy() {
    constexpr uint64_t bytes = 1 << 30;
    auto *from = allocate<uint8_t>(bytes), *to = allocate<uint8_t>(bytes);
    double time = timeOf(8, [&](int) {
      must(driver.copyOnDevice(reinterpret_cast<CuPointer>(to), reinterpret_cast<CuPointer>(from), bytes, nullptr),
           "copy");
    });
    copyRate = 2e-9 * bytes / time;
    printf("copy: %.0f GB/s read and written\n", copyRate);
    must(driver.memFree(reinterpret_cast<CuPointer>(from)), "free");
    must(driver.memFree(reinterpret_cast<CuPointer>(to)), "free");
  }

  void measure(const Format &format, int64_t n, int64_t k) {
    fb::WeightDesc desc(uint64_t(n), uint64_t(k), format.group, format.format, false);
    auto packed = cpu::packedBytes(desc);
    if (!packed)
      return;
    uint64_t bytes = alignUp<uint64_t>(*packed, 256);
    int copies = int(std::max<uint64_t>(2, (uint64_t(600) << 20) / bytes + 1));
    constexpr int kRows = 64;
    auto *weights = allocate<uint8_t>(bytes * uint64_t(copies));
    auto *x = allocate<float>(uint64_t(kRows * k) * 4), *out = allocate<float>(uint64_t(kRows * n) * 4);
    for (int rows : {1, 2, 4, 8, 16, 32, 64}) {
      int form = rows <= 8 ? 0 : rows <= 16 ? 1 : 2;
      char name[64];
      double time;
      if (storedAs(desc)->panels) {
        snprintf(name, sizeof name, "mlc_%s_%d", format.name, form == 2 ? 32 : 8 << form);
        PanelLinearArgs args{};
        static_cast<PanelArgs &>(args) = panelArgs(desc);
        args.x = {x, k};
        args.out = {out, n};
        args.n = n;
        args.k = k;
        args.rows = rows;
        args.aligned = true;
        CuFunction kernel = function(name);
        uint64_t grid = ceilDiv<uint64_t>(uint64_t(n), form == 2 ? 128 : 16), tiles = form == 2 ? (rows + 31) / 32 : 1;
        time = timeOf(2 * copies, [&](int i) {
          args.weight = weights + uint64_t(i % copies) * bytes;
          launch(kernel, grid, tiles, 256, args);
        });
      } else {
        int tile = rows <= 1 ? 1 : rows <= 2 ? 2 : rows <= 4 ? 4 : 8;
        snprintf(name, sizeof name, "mlc_linear_bf16_%d", tile);
        LinearArgs args{{x, k}, nullptr, nullptr, {}, {out, n}, n, k, rows};
        CuFunction kernel = function(name);
        uint64_t columns = tile == 8 ? 16 : 8;
        time = timeOf(2 * copies, [&](int i) {
          args.weight = weights + uint64_t(i % copies) * bytes;
          launch(kernel, ceilDiv<uint64_t>(uint64_t(n), columns), uint64_t((rows + tile - 1) / tile), 128, args);
        });
      }
      double rate = 1e-9 * double(*packed) / time;
      printf("%-11s %5lld x %-5lld rows %2d: %8.1f us %7.0f GB/s %.2f of the copy\n", format.name, (long long)n,
             (long long)k, rows, 1e6 * time, rate, rate / copyRate);
    }
    for (void *memory : {static_cast<void *>(weights), static_cast<void *>(x), static_cast<void *>(out)})
      must(driver.memFree(reinterpret_cast<CuPointer>(memory)), "free");
  }
};

} // namespace

int main(int argc, char **argv) {
  auto loaded = Driver::load();
  if (!loaded) {
    fprintf(stderr, "gpu_linear_bench: %s\n", loaded.error().message());
    return 1;
  }
  driver = *loaded;
  CuDevice device = 0;
  CuContext context = nullptr;
  int major = 0, minor = 0;
  char product[64] = "";
  must(driver.deviceGet(&device, 0), "the GPU");
  must(driver.deviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device), "the GPU");
  must(driver.deviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device), "the GPU");
  must(driver.deviceGetName(product, sizeof product - 1, device), "the GPU");
  must(driver.primaryCtxRetain(&context, device), "the GPU's context");
  must(driver.ctxSetCurrent(context), "the GPU's context");
  std::vector<Image> images = mlc_cuda_images();
  const Image *best = nullptr;
  int bestRank = 0;
  for (const Image &image : images)
    if (int rank = archRank(parseArch(image.arch), 10 * major + minor); rank > bestRank) {
      best = &image;
      bestRank = rank;
    }
  if (!best) {
    fprintf(stderr, "gpu_linear_bench: no kernels for %s\n", product);
    return 1;
  }
  Bench bench;
  must(driver.moduleLoadData(&bench.module, best->bytes.data()), "the kernels");
  printf("%s, kernels for %s\n", product, best->arch);
  bench.measureCopy();
  std::vector<std::pair<int64_t, int64_t>> shapes;
  for (int i = 1; i + 1 < argc; i += 2)
    shapes.push_back({atoll(argv[i]), atoll(argv[i + 1])});
  if (shapes.empty())
    shapes = {{4096, 14336}, {14336, 4096}, {2048, 2048}};
  for (auto [n, k] : shapes)
    for (const Format &format : kFormats)
      bench.measure(format, n, k);
  return 0;
}
