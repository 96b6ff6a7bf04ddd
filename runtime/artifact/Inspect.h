//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What is inside an artifact, for people (text), programs (one JSON object) and browsers (one page that needs nothing
// else). Works on any artifact that opens, also one whose plan this machine cannot run.
//
#pragma once

#include "runtime/artifact/Artifact.h"

#include <cstdarg>

namespace mlc {

/// Where text goes; write() may buffer.
struct InspectSink {
  void (*write)(void *context, const char *text, size_t size);
  void *context;
};

/// What a session takes in memory, in bytes, for so many sequences and one thread.
struct RamFigure {
  uint64_t sequences;
  uint64_t weights;
  uint64_t states;
  uint64_t arenas;           // Activations, and scratch of one thread.
  uint64_t scratchPerThread; // For each thread more.
  uint64_t total() const { return weights + states + arenas; }
};

/// `ram`: the figures to show, of a verified plan.
void inspectText(const Artifact &artifact, std::span<const RamFigure> ram, const InspectSink &sink);
/// One object, one line: file, bytes, format, digest, code, provenance, target, model, sizes, memory, segments,
/// extents, states, kernels, functions, constants, taps, report.
void inspectJson(const Artifact &artifact, std::span<const RamFigure> ram, const InspectSink &sink);
/// `times`: microseconds of a run of each op, in the order of Plan::ops(), as mlc bench --profile measures them; empty:
/// not measured.
void inspectHtml(const Artifact &artifact, std::span<const RamFigure> ram, const InspectSink &sink,
                 std::span<const double> times = {});

/// Sizes that the three forms show.
struct ArtifactFacts {
  uint64_t weightBytes = 0, codeBytes = 0, metadataBytes = 0, paddingBytes = 0;
  uint64_t bytesOfFormat[256] = {};       // packed weights, by WeightFormat
  uint64_t unpackedBytes = 0;             // constants without a weight descriptor
  uint64_t kvBytesPerPosition = 0;        // of one sequence, over all its KV states
  uint64_t kvBytesPerSequence = 0;        // at the model's context; a window keeps less
  uint64_t recurrentBytesPerSequence = 0; // bases and logs of its last two pages, and bases at its checkpoints
  OwnedArray<uint64_t> kernelCalls;       // by index of the kernel, each op counted once; empty when there is no memory

  OwnedArray<uint64_t> codeCalls; // The same of code objects.

  uint64_t callsOf(uint32_t kernel) const { return kernel < kernelCalls.size() ? kernelCalls[kernel] : 0; }
  uint64_t callsOfCode(uint32_t code) const { return code < codeCalls.size() ? codeCalls[code] : 0; }
};
ArtifactFacts gatherFacts(const Artifact &artifact);
/// The name of a network's port; null where it has none.
const flatbuffers::String *portName(const fb::Function &function, bool output, uint32_t index);
/// Ops of a block and the blocks in it.
uint64_t countOps(const fb::Block *block);

/// printf onto a sink, in pieces of any length, and text of unknown origin made fit for its form.
class TextWriter {
public:
  explicit TextWriter(const InspectSink &sink) : sink(sink) {}
  void put(const char *text) { sink.write(sink.context, text, strlen(text)); }
  void put(const char *text, size_t size) { sink.write(sink.context, text, size); }
  /// At most 511 bytes; for numbers and our own words.
  void format(const char *text, ...) __attribute__((format(printf, 2, 3)));
  /// With control characters as '?'.
  void plain(const flatbuffers::String *text);
  /// A JSON string with its quotes; bytes that are no UTF-8 become U+FFFD.
  void json(const char *text, size_t size);
  void json(const flatbuffers::String *text);
  /// HTML character data.
  void html(const flatbuffers::String *text);
  /// "1.25 GiB".
  void size(uint64_t bytes);
  /// "f32[tokens, 64]".
  void shape(const fb::Artifact &metadata, uint32_t slot);

private:
  InspectSink sink;
};

} // namespace mlc
