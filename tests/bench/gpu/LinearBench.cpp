//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// build/bench/gpu_linear_bench [--check] [N K]...: the products of the CUDA target on this machine's GPU, as the
// runtime launches them, over copies of the weights that no cache holds together, beside what a copy reads and writes
// in the same run. A line for each format and number of rows: microseconds, 10^9 bytes of weights a second, their share
// of the copy's, TFLOP/s. --check: instead, that a row's bits do not depend on how many there are, and that some agree
// with f64; exits 1 where not.
//
#include "runtime/core/Float16.h"
#include "targets/cpu/pack/Layout.h"
#include "targets/cpu/pack/Pack.h"
#include "tests/bench/gpu/Bench.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

using namespace mlc;
using namespace mlc::cuda;

namespace {

constexpr int64_t kRowCounts[] = {1, 2, 4, 8, 16, 32, 64, 128, 512, 4096};
constexpr int64_t kCheckedCounts[] = {1, 2, 8, 9, 16, 17, 64, 65, 193, 300};

struct Format {
  const char *name;
  fb::WeightFormat format;
  unsigned group;
  bool gated, bytes; // bytes: rows are quantized first.
};
constexpr Format kFormats[] = {{"rows_bf16", fb::WeightFormat::rows_bf16, 0, false, false},
                               {"panel_bf16", fb::WeightFormat::panel_bf16, 0, false, false},
                               {"panel_int8", fb::WeightFormat::panel_int8, 128, false, false},
                               {"panel_int4", fb::WeightFormat::panel_int4, 128, false, false},
                               {"bf16_gate", fb::WeightFormat::panel_bf16, 0, true, false},
                               {"int4_gate", fb::WeightFormat::panel_int4, 128, true, false},
                               {"w8a8", fb::WeightFormat::panel_int8, 128, false, true},
                               {"w4a8", fb::WeightFormat::panel_int4, 128, false, true},
                               {"w8a8_gate", fb::WeightFormat::panel_int8, 128, true, true}};

/// One linear on the device.
class Product {
public:
  Product(const Gpu &gpu, Stream &stream, const Format &format, int64_t n, int64_t k, int64_t mostRows, bool rotate)
      : stream(stream), desc(uint64_t(n), uint64_t(k), format.group, format.format, false), format(format),
        outputs(format.gated ? n / 2 : n), mostRows(mostRows),
        attrs(desc, format.bytes, false, false, format.gated,
              format.gated ? fb::Activation::silu : fb::Activation::none, 0, 0,
              format.format != fb::WeightFormat::rows_bf16 && !format.bytes) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    // Two matrices where there is a gate.
    const uint64_t matrices = format.gated ? 2 : 1;
    fb::WeightDesc one(uint64_t(n) / matrices, uint64_t(k), format.group, format.format, false);
    const uint64_t each = *cpu::packedBytes(one);
    host.resize(each * matrices);
    std::vector<float> values(size_t(one.n()) * size_t(k));
    for (uint64_t i = 0; i < matrices; ++i) {
      for (float &value : values)
        value = normal(random);
      if (!cpu::packRows(one, 0, one.n(), values.data(), host.data() + i * each, nullptr))
        fail(Error(ErrorCode::OutOfMemory, "no memory to pack weights"));
    }
    x.resize(size_t(mostRows * k));
    for (float &value : x)
      value = normal(random);
    bytes = alignUp<uint64_t>(host.size(), 256);
    copies = rotate ? std::max<uint64_t>(2, (uint64_t(600) << 20) / bytes + 1) : 1;
    weights = must(OwnedArray<uint8_t>::create(gpu.memory(), bytes * copies, "weights"));
    for (uint64_t i = 0; i < copies; ++i)
      must(stream.write(weights.data() + i * bytes, host.data(), host.size()));
    deviceX = must(OwnedArray<float>::create(gpu.memory(), x.size(), "rows"));
    must(stream.write(reinterpret_cast<uint8_t *>(deviceX.data()), x.data(), x.size() * sizeof(float)));
    deviceOut = must(OwnedArray<float>::create(gpu.memory(), size_t(mostRows * outputs), "outputs"));
    if (format.bytes) {
      row = cpu::quantizedRow(desc);
      quantizeAttrs = fb::QuantizeRowsAttrs(desc.k(), uint32_t(row.group), uint32_t(row.sumGroup));
      quantized = must(OwnedArray<uint8_t>::create(gpu.memory(), size_t(mostRows) * row.bytes, "quantized rows"));
    }
    kernel = linearKernels;
    KernelCallInfo info;
    info.attrsType = fb::KernelAttrsTraits<fb::LinearAttrs>::enum_value;
    info.attrs = &attrs;
    TensorView in[] = {matrix(deviceX.data(), mostRows, k), matrix(nullptr, 1, 1)};
    info.inputs = in;
    scratch = must(OwnedArray<uint8_t>::create(gpu.memory(), kernel->scratch(info).shared, "scratch"));
  }

  uint64_t weightBytes() const { return host.size(); }
  int64_t columns() const { return outputs; }

  void launch(int64_t rows, uint64_t copy) {
    TensorView in[] = {matrix(deviceX.data(), rows, int64_t(desc.k())), {}};
    in[1].data = weights.data() + copy % copies * bytes;
    TensorView out = matrix(deviceOut.data(), rows, outputs);
    KernelContext context;
    context.inputs = in;
    context.outputs = {&out, 1};
    context.attrs = &attrs;
    context.stream = &stream;
    if (format.bytes) {
      TensorView bytes = matrix(nullptr, rows, int64_t(row.bytes));
      bytes.data = quantized.data();
      bytes.dtype = DType::u8;
      KernelContext rounding = context;
      rounding.inputs = {in, 1};
      rounding.outputs = {&bytes, 1};
      rounding.attrs = &quantizeAttrs;
      linearKernels[1].run(rounding);
      in[0] = bytes;
    }
    context.sharedScratch = scratch.data();
    kernel->run(context);
  }

  /// Seconds of one call: the median of some batches, each behind a warm-up.
  double time(int64_t rows) {
    double times[5];
    uint64_t at = 0;
    for (double &time : times) {
      const int batch = rows > 256 ? 4 : int(2 * copies);
      for (int i = 0; i < 3; ++i)
        launch(rows, at++);
      must(stream.end());
      const double start = seconds();
      for (int i = 0; i < batch; ++i)
        launch(rows, at++);
      must(stream.end());
      time = (seconds() - start) / batch;
    }
    std::sort(std::begin(times), std::end(times));
    return times[2];
  }

  /// Whether all numbers of rows give each row the same bits, and some outputs are right.
  bool check() {
    std::vector<float> want(size_t(mostRows * outputs)), got;
    launch(mostRows, 0);
    fetch(want, mostRows);
    for (int64_t rows : kCheckedCounts) {
      if (rows > mostRows || format.format == fb::WeightFormat::rows_bf16)
        continue;
      launch(rows, 0);
      fetch(got, rows);
      size_t wrong = 0;
      for (size_t i = 0; i < got.size(); ++i)
        wrong += memcmp(&got[i], &want[i], sizeof(float)) != 0;
      if (wrong) {
        printf("%-10s %lld x %zu: %lld rows differ from %lld in %zu of %zu outputs\n", format.name, (long long)desc.n(),
               size_t(desc.k()), (long long)rows, (long long)mostRows, wrong, got.size());
        return false;
      }
    }
    if (format.bytes) {
      hostRows.resize(quantized.size());
      must(stream.read(hostRows.data(), quantized.data(), hostRows.size()));
    }
    double worst = 0;
    for (int64_t i = 0; i < 64; ++i) {
      const int64_t row = i * 7919 % mostRows, column = i * 104729 % outputs;
      const double exact = reference(row, column);
      worst = std::max(worst, std::fabs(double(want[size_t(row * outputs + column)]) - exact) / size);
    }
    printf("%-10s %lld x %lld: the same bits, error %.1e of the sum of sizes\n", format.name, (long long)desc.n(),
           (long long)desc.k(), worst);
    return worst < 1e-5;
  }

private:
  void fetch(std::vector<float> &to, int64_t rows) {
    must(stream.end());
    to.resize(size_t(rows * outputs));
    must(stream.read(to.data(), reinterpret_cast<const uint8_t *>(deviceOut.data()), to.size() * sizeof(float)));
  }
  /// Of the rows that the device has quantized last.
  double quantizedValue(int64_t index, uint64_t column) const {
    const uint8_t *from = hostRows.data() + size_t(index) * row.bytes;
    float scale;
    memcpy(&scale, from + row.scalesOffset + 4 * (column / row.group), sizeof scale);
    return double(scale) * int8_t(from[column]);
  }
  double dot(uint64_t first, int64_t row, int64_t output, uint64_t rowsOfOne) {
    fb::WeightDesc one(rowsOfOne, desc.k(), format.group, format.format, false);
    std::vector<float> w(desc.k());
    cpu::unpackRow(one, host.data() + first, uint64_t(output), w.data());
    double sum = 0;
    for (uint64_t i = 0; i < desc.k(); ++i) {
      const float value = x[size_t(row) * desc.k() + i];
      const double product = double(w[i]) * (format.bytes   ? quantizedValue(row, i)
                                             : attrs.bf16() ? double(bf16ToF32(f32ToBf16(value)))
                                                            : double(value));
      sum += product;
      size += std::fabs(product);
    }
    return sum;
  }
  /// In f64; `size` becomes the sum of the terms' sizes.
  double reference(int64_t row, int64_t output) {
    size = 0;
    if (!format.gated)
      return dot(0, row, output, desc.n());
    const double gate = dot(0, row, output, desc.n() / 2), gateSize = size;
    size = 0;
    const double value = dot(host.size() / 2, row, output, desc.n() / 2);
    size = gateSize * size;
    return gate / (1 + std::exp(-gate)) * value;
  }

  Stream &stream;
  fb::WeightDesc desc;
  Format format;
  int64_t outputs, mostRows;
  fb::LinearAttrs attrs;
  std::vector<uint8_t> host;
  std::vector<float> x;
  uint64_t bytes = 0, copies = 1;
  OwnedArray<uint8_t> weights, scratch, quantized;
  cpu::QuantizedRow row{1, 0, 0};
  fb::QuantizeRowsAttrs quantizeAttrs;
  std::vector<uint8_t> hostRows;
  OwnedArray<float> deviceX, deviceOut;
  const KernelDef *kernel = nullptr;
  double size = 0;
};

} // namespace

int main(int argc, char **argv) {
  bool check = argc > 1 && !strcmp(argv[1], "--check");
  std::vector<std::pair<int64_t, int64_t>> shapes;
  for (int i = 1 + check; i + 1 < argc; i += 2)
    shapes.push_back({atoll(argv[i]), atoll(argv[i + 1])});
  if (shapes.empty())
    shapes = {{4096, 14336}, {14336, 4096}, {2048, 2048}, {22016, 2048}};
  for (auto [n, k] : shapes)
    if (n < 32 || n % 32 || k < 1) {
      fprintf(stderr, "gpu_linear_bench: %lld x %lld: N is a multiple of 32, K at least 1\n", (long long)n,
              (long long)k);
      return 2;
    }
  const std::vector<Image> images = mlc_cuda_images();
  Owned<Device> device(must(Gpu::open(images, {}, systemAllocator())));
  auto &gpu = static_cast<Gpu &>(*device);
  StreamBounds bounds;
  bounds.tokens = bounds.rows = bounds.segments = 1;
  Owned<DeviceStream> owned(must(gpu.createStream(bounds, systemAllocator())));
  auto &stream = static_cast<Stream &>(*owned);
  printf("%s\n", gpu.description());
  bool good = true;
  const double copyRate = check ? 0 : must(gpu.measureBandwidth());
  if (!check)
    printf("copy: %.0f GB/s read and written\n", copyRate);
  for (auto [n, k] : shapes)
    for (const Format &format : kFormats) {
      if (check) {
        Product product(gpu, stream, format, n, k, 300, false);
        good = product.check() && good;
        continue;
      }
      Product product(gpu, stream, format, n, k, kRowCounts[std::size(kRowCounts) - 1], true);
      for (int64_t rows : kRowCounts) {
        if (format.format == fb::WeightFormat::rows_bf16 && rows > 64)
          continue;
        const double time = product.time(rows), rate = 1e-9 * double(product.weightBytes()) / time;
        printf("%-10s %5lld x %-5lld rows %4lld: %8.1f us %7.0f GB/s %.2f of the copy %6.1f TFLOP/s\n", format.name,
               (long long)n, (long long)k, (long long)rows, 1e6 * time, rate, rate / copyRate,
               2e-12 * double(rows) * double(n) * double(k) / time);
      }
    }
  return !good;
}
