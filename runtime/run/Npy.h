//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Tensors in .npy files: what networks read and write.
//
#pragma once

#include "runtime/run/Output.h"

namespace mlc::cli {

inline constexpr unsigned kNpyMostAxes = 16;

/// What stands in front of the values.
struct NpyHeader {
  char kind = 0;     // 'b' bool, 'i', 'u', 'f'
  unsigned size = 0; // Bytes of a value: 1, 2, 4, 8.
  unsigned axes = 0; // 0: a scalar.
  uint64_t shape[kNpyMostAxes];
  uint64_t elements = 1;
  size_t offset = 0; // Of the values.
};

/// Reads the header of a complete file: little-endian values of bool, an integer or a float type, in C order, as many
/// as the shape says. Names what it does not take.
Status parseNpy(std::span<const char> file, NpyHeader &header);

/// "float32", "uint8", "bool": NumPy's name of a type.
const char *npyTypeName(char kind, unsigned size);

/// Writes a whole file; `values` are as the header says.
Status writeNpy(const char *path, const NpyHeader &header, std::span<const char> values);

} // namespace mlc::cli
