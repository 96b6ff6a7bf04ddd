//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Single int4 products held against the machine's ceilings, which are measured in turns with them: 512 rows against the
// int8 peak; one row and sixteen, with weights that no cache holds, against the read bandwidth.
//
#include "runtime/llm/Ceilings.h"
#include "runtime/llm/Generate.h"
#include "runtime/run/Options.h"
#include "runtime/run/Output.h"
#include "tests/bench/KernelRunner.h"

#include <algorithm>
#include <cstring>

using namespace mlc;
using namespace mlc::cpu;

namespace {

constexpr uint64_t kColumns = 4096, kOutputs = 14336;
// Weights of one row's products rotate through so much, far beyond last-level caches.
constexpr uint64_t kRotation = uint64_t(256) << 20;

struct Row {
  const char *name;
  uint32_t group;
  int64_t rows;
  double bar; // Least share of the ceiling; 0: none.

  /// Whether its time is meant to be that of reading weights.
  bool reads() const { return rows <= 16; }
};
constexpr Row kRows[] = {{"gemm-g128", 128, 512, 0.80},
                         {"gemm-g32", 32, 512, 0.65},
                         {"decode-g128", 128, 1, 0.90},
                         {"decode-g32", 32, 1, 0},
                         {"few-g128", 128, 16, 0}};

/// x f32[rows, kColumns] and packed weights of `copies` matrices, quantize_rows and linear over them.
struct Product {
  fb::WeightDesc desc;
  uint64_t bytes = *packedBytes(desc), copies;
  uint64_t rowBytes = quantizedRow(desc).bytes;
  Buffer<float> x;
  Buffer<uint8_t> out, weights, quantized;
  fb::QuantizeRowsAttrs quantizeAttrs{kColumns, rowGroups(desc).group, rowGroups(desc).sumGroup};
  fb::LinearAttrs linearAttrs{desc, true, false, false, false, fb::Activation::none, 0, 0, false};
  KernelRunner quantize, linear;

  Product(const Row &row, WorkerPool &pool)
      : desc(kOutputs, kColumns, row.group, fb::WeightFormat::panel_int4, false),
        copies(row.reads() ? ceilDiv(kRotation, bytes) : 1), x(normals(size_t(row.rows) * kColumns)),
        out(size_t(row.rows) * kOutputs * sizeof(float)), weights(bytes * copies),
        quantized(size_t(row.rows) * rowBytes),
        quantize("quantize_rows", quantizeAttrs, {matrix(x.data(), DType::f32, row.rows, kColumns)},
                 {matrix(quantized.data(), DType::u8, row.rows, int64_t(rowBytes))}, pool),
        linear("linear", linearAttrs, {matrix(quantized.data(), DType::u8, row.rows, int64_t(rowBytes)), weightView()},
               {matrix(out.data(), DType::f32, row.rows, kOutputs)}, pool) {}

  TensorView weightView() {
    TensorView view;
    view.data = weights.data();
    view.dtype = DType::u8;
    view.rank = 1;
    view.dims[0] = int64_t(bytes);
    view.strides[0] = 1;
    return view;
  }

  Status prepare() {
    // Packing 16 rows is enough; the panel is repeated.
    Buffer<float> values = normals(16 * kColumns);
    uint64_t panel = packedOffset(desc, 16);
    if (!packRows(desc, 0, 16, values.data(), weights.data()))
      return Error(ErrorCode::Internal, "packing %llu columns", (unsigned long long)kColumns);
    for (uint64_t at = panel; at + panel <= bytes * copies; at += panel)
      memcpy(weights.data() + at, weights.data(), panel);
    MLC_TRY(quantize.prepare());
    return linear.prepare();
  }

  /// Milliseconds of a product, the mean over all copies.
  double run(bool withQuantization) {
    double start = monotonicMs();
    for (uint64_t i = 0; i < copies; ++i) {
      if (withQuantization)
        quantize.run();
      linear.inputs[1].data = weights.data() + i * bytes;
      linear.run();
    }
    return (monotonicMs() - start) / double(copies);
  }
};

struct Measured {
  std::vector<double> alone, whole, ceilings, ratios;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Status measureOnce(Product &product, const Row &row, WorkerPool &pool, Measured &into) {
  constexpr unsigned kRepetitions = 5;
  double ceiling;
  if (row.reads()) {
    MLC_ASSIGN(BandwidthMeter meter, BandwidthMeter::create(pool));
    ceiling = meter.measure(12);
  } else {
    ceiling = measureInt8Peak(pool);
  }
  // 10^9 operations or bytes.
  double work =
      1e-9 * (row.reads() ? double(product.bytes) : 2.0 * double(row.rows) * double(kColumns) * double(kOutputs));
  std::vector<double> alone, whole;
  product.run(true);
  for (unsigned i = 0; i < kRepetitions; ++i) {
    whole.push_back(work / product.run(true) * 1e3);
    alone.push_back(work / product.run(false) * 1e3);
  }
  into.ceilings.push_back(ceiling);
  into.alone.push_back(median(alone));
  into.whole.push_back(median(whole));
  into.ratios.push_back(median(alone) / ceiling);
  return {};
}

Status runAll(const char *wanted, unsigned threads, uint64_t rounds, bool asJson) {
  MLC_ASSIGN(WorkerPool * pool, WorkerPool::create(threads));
  cli::JsonWriter json;
  if (asJson)
    json.open(nullptr, '{');
  else
    printf("%u threads; medians of %llu rounds; bytes of a product: weights and scales\n%-12s %9s %9s %22s %8s %5s\n",
           threads, (unsigned long long)rounds, "K4096 N14336", "product", "ceiling", "share (lowest..highest)",
           "with q.", "bar");
  for (const Row &row : kRows) {
    if (strcmp(wanted, "all") && strcmp(wanted, row.name))
      continue;
    Product product(row, *pool);
    MLC_TRY(product.prepare());
    Measured measured;
    for (uint64_t round = 0; round < rounds; ++round)
      MLC_TRY(measureOnce(product, row, *pool, measured));
    double share = median(measured.ratios), ceiling = median(measured.ceilings);
    auto [low, high] = std::minmax_element(measured.ratios.begin(), measured.ratios.end());
    const char *unit = row.reads() ? "GB/s" : "GOP/s";
    if (asJson) {
      json.open(row.name, '{');
      json.number("product", median(measured.alone));
      json.number("product_with_quantization", median(measured.whole));
      json.number("ceiling", ceiling);
      json.text("unit", unit);
      json.number("share", share);
      json.number("share_min", *low);
      json.number("share_max", *high);
      json.number("bar", row.bar);
      json.close('}');
    } else {
      printf("%-12s %9.1f %9.1f %-5s %5.3f (%5.3f..%5.3f) %8.3f", row.name, median(measured.alone), ceiling, unit,
             share, *low, *high, median(measured.whole) / ceiling);
      if (row.bar > 0)
        printf(" %5.2f %s", row.bar, share >= row.bar ? "met" : "missed");
      printf("\n");
    }
  }
  WorkerPool::destroy(pool);
  if (!asJson)
    return cli::flushOutput();
  json.close('}');
  return json.finish();
}

} // namespace

int main(int argc, char **argv) {
  uint64_t threads = 1, rounds = 5;
  bool json = false;
  const cli::Option options[] = {
      {"threads", "N", "threads (default 1)", cli::OptionKind::count, &threads, 1, 1024},
      {"rounds", "N", "turns of ceiling and product (default 5)", cli::OptionKind::count, &rounds, 1, 1000},
      {"json", nullptr, "one JSON object on stdout", cli::OptionKind::flag, &json},
  };
  cli::Command command{
      argv[0], "ROW",
      "Measures int4 products (all, gemm-g128, gemm-g32, decode-g128, decode-g32 or few-g128) beside the "
      "machine's ceilings.",
      options, "all --threads 2"};
  const char *row;
  if (cli::Parsed parsed = cli::parseOptions(command, argc, argv, row); parsed.leave)
    return parsed.status;
  if (strcmp(row, "all") &&
      std::none_of(std::begin(kRows), std::end(kRows), [&](const Row &known) { return !strcmp(row, known.name); })) {
    cli::printError("%s: choose all, gemm-g128, gemm-g32, decode-g128, decode-g32 or few-g128", row);
    return 2;
  }
  if (Status done = runAll(row, unsigned(threads), rounds, json); !done)
    return cli::fail(done.error());
  return 0;
}
