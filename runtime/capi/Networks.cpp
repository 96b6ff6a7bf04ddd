//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// mlc_network_*.
//
#include "runtime/capi/Handles.h"
#include "runtime/core/Cpus.h"
#include "runtime/net/Network.h"

#include <string.h>

using namespace mlc;
using namespace mlc::capi;

// A network's handle is the object itself under another name.
static Network &networkOf(mlc_network *handle) { return *reinterpret_cast<Network *>(handle); }
static const Network &networkOf(const mlc_network *handle) { return *reinterpret_cast<const Network *>(handle); }

static std::span<const Network::Port> portsOf(const Network &network, mlc_port_kind kind) {
  return kind == MLC_INPUT ? network.inputs() : kind == MLC_OUTPUT ? network.outputs() : network.states();
}

static bool isKind(mlc_port_kind kind) { return unsigned(kind) <= unsigned(MLC_STATE); }

static mlc_status noPort(size_t index) {
  char text[80];
  snprintf(text, sizeof text, "there is no port %zu of this kind", index);
  return report(ErrorCode::OutOfRange, text);
}

static_assert(int(MLC_BOOL) == int(DType::boolean) && int(MLC_F64) == int(DType::f64) &&
              int(MLC_U64) == int(DType::u64) && MLC_MAX_RANK == kMaxRank);

extern "C" {

int mlc_model_is_network(const mlc_model *model) { return model && modelOf(model).isNetwork(); }

void mlc_network_options_init(mlc_network_options *options) {
  *options = {sizeof *options, /*threads=*/1, nullptr, MLC_BATCH, /*max_memory=*/0, nullptr};
}

mlc_status mlc_network_create(const mlc_model *model, const mlc_network_options *given, mlc_network **network) {
  if (!model || !network)
    return nullArgument();
  mlc_network_options wanted;
  mlc_network_options_init(&wanted);
  if (!readStruct(given, wanted))
    return badSize("mlc_network_options");
  if (wanted.session_class > MLC_REALTIME)
    return report(ErrorCode::InvalidArgument, "session_class: MLC_BATCH or MLC_REALTIME");
  NetworkOptions options;
  options.threads = wanted.threads ? wanted.threads : usableCores();
  options.pool = reinterpret_cast<WorkerPool *>(wanted.pool);
  options.sessionClass = SessionClass(wanted.session_class);
  options.maxMemory = wanted.max_memory;
  if (wanted.function)
    options.function = wanted.function;
  auto created = Network::create(modelOf(model).executionPlan(), options);
  if (!created)
    return report(created.error());
  *network = reinterpret_cast<mlc_network *>(*created);
  return MLC_OK;
}

void mlc_network_destroy(mlc_network *network) { Network::destroy(reinterpret_cast<Network *>(network)); }

size_t mlc_network_ports(const mlc_network *network, mlc_port_kind kind) {
  return network && isKind(kind) ? portsOf(networkOf(network), kind).size() : 0;
}

mlc_status mlc_network_port(const mlc_network *network, mlc_port_kind kind, size_t index, mlc_port_info *info) {
  if (!network || !info)
    return nullArgument();
  mlc_port_info known = {};
  uint32_t size = info->size;
  if (size < sizeof size || size > sizeof known)
    return badSize("mlc_port_info");
  if (index >= mlc_network_ports(network, kind))
    return noPort(index);
  const Network &net = networkOf(network);
  const Network::Port &port = portsOf(net, kind)[index];
  known.size = size;
  known.name = port.name;
  known.dtype = uint32_t(port.dtype);
  known.rank = uint32_t(port.axes.size());
  known.bytes = dtypeSize(port.dtype);
  TensorView view;
  if (kind != MLC_STATE)
    view = kind == MLC_INPUT ? net.input(index) : net.output(index);
  for (uint32_t i = 0; i < known.rank; ++i) {
    known.most[i] = port.axes[i].most();
    // A state's shape is fixed.
    known.dims[i] = kind == MLC_STATE ? known.most[i] : view.dims[i];
    known.bytes *= uint64_t(known.dims[i]);
  }
  memcpy(info, &known, size);
  return MLC_OK;
}

mlc_status mlc_network_find(const mlc_network *network, mlc_port_kind kind, const char *name, size_t *index) {
  if (!network || !name || !index)
    return nullArgument();
  char text[400];
  int length = snprintf(text, sizeof text, "there is no port '%.60s' of this kind; there are:", name);
  for (size_t i = 0, count = mlc_network_ports(network, kind); i < count; ++i) {
    const char *each = portsOf(networkOf(network), kind)[i].name;
    if (!strcmp(each, name)) {
      *index = i;
      return MLC_OK;
    }
    if (size_t(length) < sizeof text)
      length += snprintf(text + length, sizeof text - size_t(length), "%s %s", i ? "," : "", each);
  }
  return report(ErrorCode::NotFound, text);
}

mlc_status mlc_network_set_shape(mlc_network *network, size_t input, const int64_t *dims, size_t rank) {
  if (!network || (!dims && rank))
    return nullArgument();
  if (input >= networkOf(network).inputs().size())
    return noPort(input);
  return report(networkOf(network).setShape(input, {dims, rank}));
}

void *mlc_network_input(mlc_network *network, size_t input) {
  return network && input < networkOf(network).inputs().size() ? networkOf(network).input(input).data : nullptr;
}

const void *mlc_network_output(const mlc_network *network, size_t output) {
  return network && output < networkOf(network).outputs().size() ? networkOf(network).output(output).data : nullptr;
}

mlc_status mlc_network_bind_input(mlc_network *network, size_t input, const void *data, size_t bytes) {
  if (!network)
    return nullArgument();
  if (input >= networkOf(network).inputs().size())
    return noPort(input);
  return report(networkOf(network).bindInput(input, data, bytes));
}

mlc_status mlc_network_bind_output(mlc_network *network, size_t output, void *data, size_t bytes) {
  if (!network)
    return nullArgument();
  if (output >= networkOf(network).outputs().size())
    return noPort(output);
  return report(networkOf(network).bindOutput(output, data, bytes));
}

mlc_status mlc_network_run(mlc_network *network) { return network ? report(networkOf(network).run()) : nullArgument(); }

void mlc_network_cancel(mlc_network *network) {
  if (network)
    networkOf(network).requestCancel();
}

void mlc_network_clear_cancel(mlc_network *network) {
  if (network)
    networkOf(network).clearCancel();
}

mlc_status mlc_network_reset(mlc_network *network) {
  if (!network)
    return nullArgument();
  networkOf(network).reset();
  return MLC_OK;
}

mlc_status mlc_network_read_state(const mlc_network *network, size_t state, void *data, size_t bytes) {
  if (!network || !data)
    return nullArgument();
  if (state >= networkOf(network).states().size())
    return noPort(state);
  std::span<const uint8_t> held = networkOf(network).state(state);
  if (held.size() != bytes) {
    char text[80];
    snprintf(text, sizeof text, "the state has %zu bytes, not %zu", held.size(), bytes);
    return report(ErrorCode::InvalidArgument, text);
  }
  memcpy(data, held.data(), bytes);
  return MLC_OK;
}

mlc_status mlc_network_write_state(mlc_network *network, size_t state, const void *data, size_t bytes) {
  if (!network || !data)
    return nullArgument();
  if (state >= networkOf(network).states().size())
    return noPort(state);
  return report(networkOf(network).setState(state, {static_cast<const uint8_t *>(data), bytes}));
}

} // extern "C"
