//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// mlc run and mlc bench on a network.
//
#pragma once

#include "runtime/net/Network.h"
#include "runtime/run/Common.h"
#include "runtime/run/NetworkFiles.h"

namespace mlc::cli {

struct NetworkArguments {
  TextList inputs; // NAME=F.npy
  const char *outputDir = nullptr;
};

#define MLC_NETWORK_INPUT_OPTION(ARGUMENTS)                                                                            \
  {"input", "NAME=F.npy", "of a network; give one for each input", OptionKind::texts, &(ARGUMENTS).inputs}

/// The ports of a network as files see them.
class NetworkPorts {
public:
  static Result<NetworkPorts> of(std::span<const Network::Port> ports);
  std::span<const FilePort> span() const { return ports.span(); }

private:
  OwnedArray<FilePort> ports;
  OwnedArray<PortAxis> axes;
};

/// A network with the threads and limits that the command line asks for. Error messages name the model's file.
Result<Owned<Network>> openNetwork(const Model &model, const SessionArguments &arguments);
/// Gives the network the shapes of the files.
Status setShapes(Network &network, const NetworkInputs &inputs);
/// The bytes of a view, which is row-major.
std::span<char> bytesOf(const TensorView &view);

Status runNetwork(const Model &model, const SessionArguments &session, const NetworkArguments &arguments, bool asJson,
                  double startMs);

struct NetworkBenchOptions {
  uint64_t repetitions = 0; // 0: about a second, 20 at least.
  bool profile = false;
};
Status benchNetwork(const Model &model, const SessionArguments &session, const NetworkArguments &arguments,
                    const NetworkBenchOptions &options, bool asJson);

/// Refuses the first option that was given and is not one of the model's kind, by its name. `network` and `both` are
/// the names of those that networks, and all models, take.
Status checkOptions(const Model &model, std::span<const Option> options, uint64_t given,
                    std::initializer_list<const char *> network, std::initializer_list<const char *> both);

} // namespace mlc::cli
