//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A small complete language model made by hand for the runtime's tests: a Llama-like step function with random weights,
// written through the artifact writer.
//
#pragma once

#include "compiler/Artifact/Writer.h"

#include <span>
#include <string>
#include <vector>

namespace mlc::test {

struct TinyOptions {
  unsigned layers = 2, hidden = 48, heads = 6, kvHeads = 2, headDim = 8, inner = 80, vocab = 67;
  unsigned context = 256, batch = 16, rows = 16, sequences = 4;
  unsigned window = 0; // sliding window of every layer; 0: none
  float ropeTheta = 10000;
  fb::DType kv = fb::DType::f32;
  fb::Products products = fb::Products::f32; // Of attention.
  /// Of the linear layers (any rows_* or panel_*; int8 and int4 take quantized rows) and their group.
  fb::WeightFormat format = fb::WeightFormat::rows_f32;
  unsigned group = 0;
  uint64_t seed = 1;
  /// Heads of recurrent layers (conv1d_causal, ssd, gated_rms_norm): every second one from the first on, all without
  /// attention; 0: none.
  unsigned ssmHeads = 0;
  unsigned ssmHeadDim = 10, ssmGroups = 2, ssmState = 12, convKernel = 4;
  bool attention = true;
  fb::DType ssm = fb::DType::f32; // Of the bases.
  unsigned checkpointEvery = 0;
};

/// A recurrent layer and one of attention.
TinyOptions hybridOptions();

/// One layer, and every size as small as it can be: for tests that try each byte.
TinyOptions smallestOptions();

/// A model before it is written: tests change either part. `weights` is the content of all segments, one after the
/// other.
struct TinyModel {
  fb::ArtifactT metadata;
  std::vector<uint8_t> weights;
};

/// Extents `tokens` and `rows`; function `step` (ids i32[tokens], rows i32[rows]) -> logits f32[rows, vocab]; one KV
/// state `l<i>.kv`, or recurrent states `l<i>.conv` and `l<i>.ssm`, a layer. Weights spread logits over a few units.
TinyModel makeTinyModel(const TinyOptions &options = {});

/// Writes `model` to `path`; aborts the test program on failure.
void writeModel(const TinyModel &model, const std::string &path);

/// Bytes at 64-byte alignment, as Artifact::fromMemory takes them.
class AlignedBytes {
public:
  AlignedBytes() = default;
  explicit AlignedBytes(std::span<const uint8_t> bytes) { *this = bytes; }
  AlignedBytes &operator=(std::span<const uint8_t> bytes);
  uint8_t *data() { return storage.empty() ? nullptr : storage[0].bytes; }
  const uint8_t *data() const { return storage.empty() ? nullptr : storage[0].bytes; }
  size_t size() const { return length; }
  uint8_t &operator[](size_t i) { return data()[i]; }
  std::span<const uint8_t> span() const { return {data(), length}; }
  std::span<uint8_t> span() { return {data(), length}; }

private:
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  std::vector<Line> storage;
  size_t length = 0;
};

/// The file that writeModel makes.
AlignedBytes modelBytes(const TinyModel &model);
AlignedBytes readBytes(const std::string &path);

/// Recomputes the digests of a file whose content was changed: the segments' where the metadata still describes them
/// inside the file, the metadata's and the header's. What the header declares stays as it is.
void repairDigests(std::span<uint8_t> file);

/// A path for a test's file in the test's temporary directory; removed when the process ends normally.
std::string temporaryPath(const std::string &name);

} // namespace mlc::test
