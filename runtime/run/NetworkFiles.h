//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The files that a network's inputs come from and its outputs go to, whoever computes it: `mlc run`, `mlc bench` and
// `mlc interpret` share them.
//
#pragma once

#include "runtime/run/Npy.h"
#include "runtime/run/Options.h"

namespace mlc::cli {

/// An axis of a port: without a name exactly `factor` elements, else a multiple of `factor` up to `most` (0: no bound),
/// the same multiple wherever the name stands.
struct PortAxis {
  std::string_view name;
  uint64_t factor = 1, most = 0;
};

/// An input or output as files see it.
struct FilePort {
  const char *name = nullptr;
  char kind = 0; // As in NpyHeader; 0: a type that .npy lacks.
  unsigned size = 0;
  const char *typeName = nullptr;
  std::span<const PortAxis> axes;
};

/// What --input gives.
class NetworkInputs {
public:
  struct File {
    size_t port = 0;
    bool stream = false; // It has one axis more than the port, in front: a run a row.
    NpyHeader header;
    Buffer<char> bytes;
    std::span<const char> values() const { return bytes.span().subspan(header.offset); }
    std::span<const uint64_t> shape() const { return {header.shape + stream, header.axes - stream}; }
  };

  /// Reads `given`, "NAME=F.npy" each, and compares what the files hold with the ports. `network` names it in messages.
  /// `streams`: files may have the axis in front, all of the same length. `complete`: every port must be given.
  Status read(const char *network, std::span<const FilePort> ports, const TextList &given, bool streams, bool complete);
  /// Null: not given.
  const File *file(size_t port) const;
  /// Runs of the stream; 0: no file has the axis in front.
  uint64_t runs() const { return streamRuns; }

private:
  Status readFile(std::span<const FilePort> ports, const char *path, bool streams, File &file);
  Status checkShape(std::span<const FilePort> ports, const char *path, const File &file);

  File files[TextList::kMost];
  unsigned count = 0;
  uint64_t streamRuns = 0;
};

/// Where the outputs go: NAME.npy in a directory, and a line or an entry of one JSON object each.
class NetworkOutputs {
public:
  /// Names an output that no file can hold.
  static Status check(const char *network, std::span<const FilePort> ports);
  /// Makes the directory; null: nothing is written.
  Status begin(const char *directory, bool json);
  Status add(const FilePort &port, std::span<const uint64_t> shape, std::span<const char> values);
  /// Behind the last output. With --json, what is returned takes what else the object has.
  JsonWriter &end();
  Status finish();

private:
  Status path(std::string_view name, Buffer<char> &path);

  const char *directory = nullptr;
  bool asJson = false;
  JsonWriter json;
  Buffer<char> taken; // Names so far, a '/' around each.
};

} // namespace mlc::cli
