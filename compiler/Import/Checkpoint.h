//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The tensors of a checkpoint, whatever format holds them: names, shapes, storage types and mapped bytes, read to f32
// in ranges of rows so that no tensor needs to be in memory whole.
//
#pragma once

#include "compiler/Import/MappedFile.h"
#include "schema_generated.h"

#include "llvm/ADT/SmallVector.h"

#include <vector>

namespace mlc {

/// How a tensor's values are stored: rows_f32, rows_f16, rows_bf16 or one of the block formats.
using StorageType = fb::WeightFormat;
/// Row-major values that only networks have. No kernel reads them, so the schema has no name for them.
inline constexpr StorageType kStorageI8{16}, kStorageI16{17}, kStorageI32{18}, kStorageI64{19}, kStorageF64{20},
    kStorageI1{21}; // I1: a byte each, 0 or 1.

/// The usual name of a storage type: F32, BF16, Q4_K, ...
llvm::StringRef storageName(StorageType type);

struct TensorInfo {
  std::string name;
  StorageType storage = StorageType::rows_f32;
  llvm::SmallVector<int64_t, 4> shape; // Row-major, slowest axis first; empty for a scalar.
  const uint8_t *data = nullptr;       // Mapped; needs no alignment.
  uint64_t bytes = 0;
  uint64_t offset = 0; // Of `data` in its file.
  unsigned file = 0;   // Index into Checkpoint::files(); kNoFile: the values are the checkpoint's own.

  static constexpr unsigned kNoFile = ~0u;

  /// Length of the last axis, and the product of the others.
  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const;
  int64_t elements() const { return rows() * columns(); }
  /// Whether the graph may give it that shape: its own, or a matrix of one row for a vector.
  bool fits(llvm::ArrayRef<int64_t> wanted) const {
    llvm::ArrayRef<int64_t> own = shape;
    return own == wanted || (wanted.size() == 2 && wanted[0] == 1 && own == wanted.drop_front());
  }
};

/// "[2, 3]".
std::string shapeText(llvm::ArrayRef<int64_t> shape);

/// The bytes of a tensor of `shape` in `storage`. False above 2^48 values, or when a row is not whole blocks.
bool storageBytes(StorageType storage, llvm::ArrayRef<int64_t> shape, uint64_t &bytes);

class Checkpoint {
public:
  enum class Kind { GGUF, SafeTensors, ONNX };

  /// The tensors' `file` indexes `files`; `loose` are values that tensors point into and no file holds as they are.
  /// Refuses a name that stands twice, naming both files.
  static llvm::Expected<Checkpoint> create(Kind kind, llvm::StringRef source, std::vector<TensorInfo> tensors,
                                           std::vector<std::unique_ptr<MappedFile>> files,
                                           std::vector<std::vector<uint8_t>> loose = {});

  Kind kind() const { return format; }
  /// The file or directory the user named.
  llvm::StringRef source() const { return sourcePath; }
  /// Sorted by name.
  llvm::ArrayRef<TensorInfo> tensors() const { return entries; }
  const TensorInfo *find(llvm::StringRef name) const;
  /// The file that holds `tensor`.
  llvm::StringRef fileOf(const TensorInfo &tensor) const {
    return tensor.file < files.size() ? files[tensor.file]->path() : llvm::StringRef(sourcePath);
  }

  /// Writes rows [begin, end) of floats as f32, (end - begin) * columns() values.
  static void readRows(const TensorInfo &tensor, int64_t begin, int64_t end, float *out);
  /// Rows [begin, end) will not be read soon: their pages go back to the system.
  void discardRows(const TensorInfo &tensor, int64_t begin, int64_t end) const;

private:
  Kind format = Kind::GGUF;
  std::string sourcePath;
  std::vector<TensorInfo> entries;
  std::vector<std::unique_ptr<MappedFile>> files;
  std::vector<std::vector<uint8_t>> loose;
};

} // namespace mlc
