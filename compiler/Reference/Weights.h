//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The weights that the interpreter reads: where they come from, and the form that the artifact gives them.
//
#pragma once

#include "compiler/Dialect/Graph/IR/Graph.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <vector>

namespace mlc::reference {

/// Tensors by name, as f32 (every storage type is exact in it), row-major.
class WeightSource {
public:
  virtual ~WeightSource();
  /// The values of `weight`, as many as its type has; an error that names the file and the tensor.
  virtual llvm::Expected<std::vector<float>> load(graph::WeightOp weight) = 0;
  /// The bytes of `weight` as they are stored, row after row.
  virtual llvm::Expected<std::vector<uint8_t>> loadStored(graph::WeightOp weight);
};

/// Weights from memory; a test's source.
class MapWeightSource : public WeightSource {
public:
  llvm::StringMap<std::vector<float>> values;
  llvm::Expected<std::vector<float>> load(graph::WeightOp weight) override;
};

/// A matrix of small integers, taken apart from the packed bytes that the artifact holds.
struct QuantizedWeight {
  int64_t rows = 0, columns = 0, group = 0, groups = 0;
  std::vector<int16_t> codes;         // [rows, columns], the zero point already subtracted.
  std::vector<float> scales, offsets; // [rows, groups]: value = scale * code - offset.
};

/// Loads each weight once and keeps it.
class WeightStore {
public:
  explicit WeightStore(WeightSource &source) : source(source) {}

  /// As the artifact's kernels read it: a quantized weight is scale * (q - zero), rounded to f32.
  llvm::Expected<llvm::ArrayRef<float>> floats(graph::WeightOp weight);
  /// A network's weight as it is stored, little-endian.
  llvm::Expected<std::vector<uint8_t>> stored(graph::WeightOp weight) { return source.loadStored(weight); }
  /// Of a weight with `quant`, or stored in blocks.
  llvm::Expected<const QuantizedWeight *> quantized(graph::WeightOp weight);

private:
  WeightSource &source;
  llvm::DenseMap<mlir::Operation *, std::vector<float>> plain;
  llvm::DenseMap<mlir::Operation *, std::unique_ptr<QuantizedWeight>> packed;
};

} // namespace mlc::reference
