//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// mlc bench on a network: the latency of a run, and with --profile the time of every op.
//
#include "runtime/core/Float16.h"
#include "runtime/llm/Generate.h"
#include "runtime/run/RunNetwork.h"

#include <algorithm>
#include <math.h>
#include <string.h>

namespace mlc::cli {

namespace {

constexpr uint64_t kMostRuns = 100000, kLeastRuns = 20;
constexpr double kMeasureMs = 1000, kWarmUpMs = 100;

/// Seeded normals: the same inputs on every machine.
class Normals {
public:
  float next() {
    float u = (float(draw() >> 40) + 0.5f) * 0x1p-24f, v = float(draw() >> 40) * 0x1p-24f;
    return sqrtf(-2 * logf(u)) * cosf(6.2831853f * v);
  }

private:
  // splitmix64.
  uint64_t draw() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t state = 1;
};

/// The file's first row, or normals for floats and zeros for all else.
void fill(const TensorView &view, const NetworkInputs::File *file, Normals &normals) {
  std::span<char> bytes = bytesOf(view);
  if (file) {
    memcpy(bytes.data(), file->values().data(), bytes.size());
    return;
  }
  memset(bytes.data(), 0, bytes.size());
  size_t count = bytes.size() / dtypeSize(view.dtype);
  for (size_t i = 0; i < count; ++i)
    switch (view.dtype) {
    case DType::f32:
      view.as<float>()[i] = normals.next();
      break;
    case DType::f64:
      view.as<double>()[i] = double(normals.next());
      break;
    case DType::f16:
      view.as<uint16_t>()[i] = f32ToF16(normals.next());
      break;
    case DType::bf16:
      view.as<uint16_t>()[i] = f32ToBf16(normals.next());
      break;
    default:
      return;
    }
}

class Bench {
public:
  Bench(Network &network, const NetworkInputs &inputs) : network(network), inputs(inputs) {}

  /// Before every run, outside of what is measured: a network may write over its inputs.
  void give() {
    Normals normals;
    for (size_t i = 0; i < network.inputs().size(); ++i)
      fill(network.input(i), inputs.file(i), normals);
  }

  /// Copies of the inputs that the runs read where they lie, where the network's memory plan allows it.
  Status bindInputs() {
    size_t total = 0;
    for (size_t i = 0; i < network.inputs().size(); ++i)
      total += alignUp(bytesOf(network.input(i)).size(), size_t(64));
    MLC_ASSIGN(given, OwnedArray<uint8_t>::create(systemAllocator(), total, "inputs"));
    give();
    uint8_t *at = given.data();
    for (size_t i = 0; i < network.inputs().size(); ++i) {
      std::span<char> bytes = bytesOf(network.input(i));
      memcpy(at, bytes.data(), bytes.size());
      copied = !network.bindInput(i, at, bytes.size()) || copied;
      at += alignUp(bytes.size(), size_t(64));
    }
    return {};
  }

  Result<double> runUs() {
    if (copied)
      give();
    double start = monotonicMs();
    MLC_TRY(network.run());
    return (monotonicMs() - start) * 1000;
  }

  Status measure(uint64_t repetitions) {
    MLC_ASSIGN(times, OwnedArray<double>::create(systemAllocator(), repetitions ? repetitions : kMostRuns, "times"));
    double start = monotonicMs();
    do
      MLC_TRY(runUs());
    while (monotonicMs() - start < kWarmUpMs);
    start = monotonicMs();
    do {
      MLC_ASSIGN(times[runs++], runUs());
    } while (runs < times.size() && (repetitions || runs < kLeastRuns || monotonicMs() - start < kMeasureMs));
    std::sort(times.begin(), times.begin() + runs);
    return {};
  }
  double quantile(double q) const { return times[std::min(size_t(q * double(runs)), runs - 1)]; }

  /// As many runs again, with a clock around every op.
  Status profile() {
    MLC_ASSIGN(ops, OwnedArray<OpTime>::create(systemAllocator(), network.plan().ops().size(), "profile"));
    network.timeOps(ops.span());
    for (size_t run = 0; run < runs; ++run)
      MLC_TRY(runUs());
    network.timeOps({});
    return {};
  }

  size_t runs = 0;
  OwnedArray<double> times;
  OwnedArray<OpTime> ops;

private:
  Network &network;
  const NetworkInputs &inputs;
  OwnedArray<uint8_t> given;
  bool copied = false; // An input could not be bound.
};

const char *opName(const Plan &plan, const Plan::Op &op) {
  switch (op.kind) {
  case Plan::OpKind::kernel:
    return plan.kernelCalls()[op.index].kernel->name;
  case Plan::OpKind::code:
    return plan.codeCalls()[op.index].name;
  case Plan::OpKind::branch:
    return "if";
  case Plan::OpKind::loop:
    return "loop";
  case Plan::OpKind::call:
    return "call";
  }
  return "";
}

void printText(const Bench &bench, const Network &network) {
  printf("%-12s median %.2f, p95 %.2f, min %.2f\n", "latency_us", bench.quantile(0.5), bench.quantile(0.95),
         bench.times[0]);
  printf("%-12s %zu\n%-12s %u\n", "runs", bench.runs, "threads", network.threads());
  const Plan &plan = network.plan();
  for (size_t i = 0; i < bench.ops.size(); ++i)
    if (const OpTime &time = bench.ops[i]; time.runs)
      printf("%10.2f us  %-28s %s\n", double(time.nanoseconds) / 1000 / double(bench.runs), opName(plan, plan.ops()[i]),
             plan.ops()[i].location);
}

Status printJson(const Bench &bench, const Network &network) {
  JsonWriter json;
  json.open(nullptr, '{');
  json.open("latency_us", '{');
  json.number("median", bench.quantile(0.5));
  json.number("p95", bench.quantile(0.95));
  json.number("min", bench.times[0]);
  json.close('}');
  json.count("runs", bench.runs);
  json.count("threads", network.threads());
  if (bench.ops.size()) {
    const Plan &plan = network.plan();
    json.open("ops", '[');
    for (size_t i = 0; i < bench.ops.size(); ++i) {
      json.open(nullptr, '{');
      json.text("op", opName(plan, plan.ops()[i]));
      json.text("location", plan.ops()[i].location);
      json.number("us", double(bench.ops[i].nanoseconds) / 1000 / double(bench.runs));
      json.number("calls", double(bench.ops[i].runs) / double(bench.runs));
      json.close('}');
    }
    json.close(']');
  }
  json.close('}');
  return json.finish();
}

} // namespace

Status benchNetwork(const Model &model, const SessionArguments &session, const NetworkArguments &arguments,
                    const NetworkBenchOptions &options, bool asJson) {
  MLC_ASSIGN(Owned<Network> network, openNetwork(model, session));
  MLC_ASSIGN(NetworkPorts ports, NetworkPorts::of(network->inputs()));
  NetworkInputs inputs;
  MLC_TRY(inputs.read(model.name(), ports.span(), arguments.inputs, !network->states().empty(), false));
  if (Status shaped = setShapes(*network, inputs); !shaped)
    return inFile(model.name(), shaped.error());
  Bench bench(*network, inputs);
  auto measured = [&]() -> Status {
    MLC_TRY(bench.bindInputs());
    MLC_TRY(bench.measure(options.repetitions));
    return options.profile ? bench.profile() : Status();
  }();
  if (!measured)
    return inFile(model.name(), measured.error());
  if (asJson)
    return printJson(bench, *network);
  printText(bench, *network);
  return flushOutput();
}

} // namespace mlc::cli
