//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/RunNetwork.h"
#include "runtime/core/Cpus.h"
#include "runtime/llm/Generate.h"

#include <string.h>

namespace mlc::cli {

Result<NetworkPorts> NetworkPorts::of(std::span<const Network::Port> from) {
  NetworkPorts made;
  size_t count = 0;
  for (const Network::Port &port : from)
    count += port.axes.size();
  MLC_ASSIGN(made.ports, OwnedArray<FilePort>::create(systemAllocator(), from.size(), "ports"));
  MLC_ASSIGN(made.axes, OwnedArray<PortAxis>::create(systemAllocator(), count, "ports"));
  PortAxis *axis = made.axes.data();
  for (size_t i = 0; i < from.size(); ++i) {
    const Network::Port &port = from[i];
    FilePort &file = made.ports[i];
    file.name = port.name;
    file.size = unsigned(dtypeSize(port.dtype));
    switch (port.dtype) {
    case DType::bf16:
      file.kind = 0;
      break;
    case DType::f16:
    case DType::f32:
    case DType::f64:
      file.kind = 'f';
      break;
    case DType::boolean:
      file.kind = 'b';
      break;
    case DType::u8:
    case DType::u16:
    case DType::u32:
    case DType::u64:
      file.kind = 'u';
      break;
    default:
      file.kind = 'i';
    }
    file.typeName = file.kind ? npyTypeName(file.kind, file.size) : "bfloat16";
    file.axes = {axis, port.axes.size()};
    for (const Network::Axis &each : port.axes)
      *axis++ = {each.name ? each.name : std::string_view(), uint64_t(each.factor), uint64_t(each.most())};
  }
  return made;
}

Result<Owned<Network>> openNetwork(const Model &model, const SessionArguments &arguments) {
  NetworkOptions options;
  options.threads = arguments.threads ? unsigned(arguments.threads) : usableCores();
  options.maxMemory = arguments.maxMemory;
  MLC_ASSIGN(Network * network, Network::create(model.executionPlan(), options));
  return Owned<Network>(network);
}

std::span<char> bytesOf(const TensorView &view) {
  size_t bytes = dtypeSize(view.dtype);
  for (unsigned axis = 0; axis < view.rank; ++axis)
    bytes *= size_t(view.dims[axis]);
  return {view.as<char>(), bytes};
}

Status setShapes(Network &network, const NetworkInputs &inputs) {
  for (size_t i = 0; i < network.inputs().size(); ++i)
    if (const NetworkInputs::File *file = inputs.file(i)) {
      int64_t dims[kNpyMostAxes];
      std::span<const uint64_t> shape = file->shape();
      for (size_t axis = 0; axis < shape.size(); ++axis)
        dims[axis] = int64_t(shape[axis]);
      MLC_TRY(network.setShape(i, {dims, shape.size()}));
    }
  return {};
}

/// One run, or one a row of the stream; the outputs of all go to `rows`, one behind the other for each output.
static Status runAll(Network &network, const NetworkInputs &inputs, std::span<Buffer<char>> rows) {
  uint64_t runs = inputs.runs() ? inputs.runs() : 1;
  for (uint64_t run = 0; run < runs; ++run) {
    for (size_t i = 0; i < network.inputs().size(); ++i) {
      const NetworkInputs::File &file = *inputs.file(i);
      std::span<char> to = bytesOf(network.input(i));
      if (!to.empty())
        memcpy(to.data(), file.values().data() + (file.stream ? size_t(run) * to.size() : 0), to.size());
    }
    MLC_TRY(network.run());
    for (size_t i = 0; i < rows.size(); ++i) {
      std::span<char> from = bytesOf(network.output(i));
      if (!rows[i].append(from.data(), from.size()))
        return Error(ErrorCode::OutOfMemory, "no memory for the outputs of %llu runs", (unsigned long long)runs);
    }
  }
  return {};
}

Status runNetwork(const Model &model, const SessionArguments &session, const NetworkArguments &arguments, bool asJson,
                  double startMs) {
  MLC_ASSIGN(Owned<Network> network, openNetwork(model, session));
  double loadedMs = monotonicMs();
  MLC_ASSIGN(NetworkPorts inputPorts, NetworkPorts::of(network->inputs()));
  MLC_ASSIGN(NetworkPorts outputPorts, NetworkPorts::of(network->outputs()));
  MLC_TRY(NetworkOutputs::check(model.name(), outputPorts.span()));
  // Large: every file's header.
  struct Held {
    NetworkInputs inputs;
    Buffer<char> *rows = nullptr;
    size_t count = 0;
    ~Held() {
      for (size_t i = 0; i < count; ++i)
        rows[i].~Buffer();
      free(rows);
    }
  } held;
  MLC_TRY(held.inputs.read(model.name(), inputPorts.span(), arguments.inputs, !network->states().empty(), true));
  if (Status shaped = setShapes(*network, held.inputs); !shaped)
    return inFile(model.name(), shaped.error());
  held.rows = static_cast<Buffer<char> *>(calloc(network->outputs().size() + 1, sizeof(Buffer<char>)));
  if (!held.rows)
    return Error(ErrorCode::OutOfMemory, "%s: no memory for its outputs", model.name());
  for (; held.count < network->outputs().size(); ++held.count)
    new (&held.rows[held.count]) Buffer<char>;
  double readMs = monotonicMs();
  if (Status ran = runAll(*network, held.inputs, {held.rows, held.count}); !ran)
    return inFile(model.name(), ran.error());
  double ranMs = monotonicMs();

  NetworkOutputs outputs;
  MLC_TRY(outputs.begin(arguments.outputDir, asJson));
  for (size_t i = 0; i < held.count; ++i) {
    TensorView view = network->output(i);
    uint64_t shape[kNpyMostAxes];
    size_t axes = 0;
    if (held.inputs.runs())
      shape[axes++] = held.inputs.runs();
    for (unsigned axis = 0; axis < view.rank; ++axis)
      shape[axes++] = uint64_t(view.dims[axis]);
    MLC_TRY(outputs.add(outputPorts.span()[i], {shape, axes}, held.rows[i].span()));
  }
  JsonWriter &json = outputs.end();
  if (asJson) {
    json.open("timings", '{');
    json.number("load_ms", loadedMs - startMs);
    json.number("run_ms", ranMs - readMs);
    json.close('}');
    json.count("peak_rss_bytes", peakResidentBytes());
  }
  return outputs.finish();
}

Status checkOptions(const Model &model, std::span<const Option> options, uint64_t given,
                    std::initializer_list<const char *> network, std::initializer_list<const char *> both) {
  auto has = [](std::initializer_list<const char *> names, const char *name) {
    for (const char *each : names)
      if (!strcmp(each, name))
        return true;
    return false;
  };
  for (size_t i = 0; i < options.size(); ++i) {
    const char *name = options[i].name;
    if (!(given >> i & 1) || has(both, name) || has(network, name) == model.isNetwork())
      continue;
    return Error(ErrorCode::InvalidArgument, "%s: is a %s; %s%s goes with %s", model.name(),
                 model.isNetwork() ? "network" : "language model", name[1] ? "--" : "-", name,
                 model.isNetwork() ? "language models" : "networks");
  }
  return {};
}

} // namespace mlc::cli
