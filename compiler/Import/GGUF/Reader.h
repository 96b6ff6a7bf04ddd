//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// GGUF files, versions 2 and 3, single or split: metadata and tensors (format: ggml's docs/gguf.md).
//
#pragma once

#include "compiler/Import/Checkpoint.h"

#include "llvm/ADT/StringMap.h"

#include <optional>

namespace mlc::gguf {

enum class ValueType : uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12
};

/// The name the format gives a type: "UINT32".
llvm::StringRef valueTypeName(ValueType type);

/// One metadata value, still in the file's bytes; checked to lie inside the file when the header was read.
struct Value {
  ValueType type = ValueType::u8;
  ValueType element = ValueType::u8; // Of an array.
  uint64_t count = 1;                // Elements of an array.
  uint64_t position = 0;             // Byte of the payload in the file, for messages.
  llvm::ArrayRef<uint8_t> payload;   // The value; of a string its text; of an array its elements.
};

/// The metadata of a checkpoint. Typed access names the file, the key and the byte when the value is of another kind.
class Metadata {
public:
  llvm::StringRef file() const { return path; }
  const llvm::StringMap<Value> &all() const { return values; }
  const Value *find(llvm::StringRef key) const;

  /// Each gives nothing when the key is absent. integer() takes every integer type; number() floats and integers.
  llvm::Expected<std::optional<int64_t>> integer(llvm::StringRef key) const;
  llvm::Expected<std::optional<double>> number(llvm::StringRef key) const;
  llvm::Expected<std::optional<bool>> boolean(llvm::StringRef key) const;
  /// Raw bytes: GGUF promises UTF-8, nobody checks.
  llvm::Expected<std::optional<llvm::StringRef>> string(llvm::StringRef key) const;
  llvm::Expected<std::optional<std::vector<llvm::StringRef>>> strings(llvm::StringRef key) const;
  llvm::Expected<std::optional<std::vector<int64_t>>> integers(llvm::StringRef key) const;
  llvm::Expected<std::optional<std::vector<float>>> floats(llvm::StringRef key) const;

  std::string path;
  llvm::StringMap<Value> values;
};

/// One file's header. The values and tensors point into `bytes`; each tensor's `file` is 0.
struct Header {
  uint32_t version = 0;
  Metadata metadata;
  std::vector<TensorInfo> tensors;
};

/// Checks everything that the file says about itself: types, sizes, alignment, names and keys that stand twice, tensors
/// that overlap or leave the file. Needs no more memory than a small multiple of the header.
llvm::Expected<Header> parseHeader(llvm::StringRef file, llvm::ArrayRef<uint8_t> bytes);

struct Model {
  Metadata metadata; // Of the first file.
  Checkpoint checkpoint;
};

/// Maps `path` and, if it is the first of a split, the other parts beside it (PREFIX-00002-of-00003.gguf, ...).
llvm::Expected<Model> open(llvm::StringRef path);

} // namespace mlc::gguf
