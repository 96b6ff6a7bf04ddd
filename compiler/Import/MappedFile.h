//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A file mapped read-only: what a checkpoint's tensors point into.
//
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <memory>
#include <string>

namespace mlc {

class MappedFile {
public:
  /// Maps a regular, non-empty file.
  static llvm::Expected<std::unique_ptr<MappedFile>> open(llvm::StringRef path);
  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  llvm::StringRef path() const { return name; }
  llvm::ArrayRef<uint8_t> bytes() const { return {memory, size}; }
  /// Whether both are the same file on disk, under whatever names.
  bool sameFile(const MappedFile &other) const { return device == other.device && inode == other.inode; }
  /// Gives the pages of a consumed range back to the system; reading it again is slower, never wrong.
  void discard(const uint8_t *begin, uint64_t count) const;

private:
  MappedFile() = default;
  std::string name;
  const uint8_t *memory = nullptr;
  size_t size = 0;
  uint64_t device = 0, inode = 0;
};

/// The text of a small file (a JSON file); refused above `limit` bytes.
llvm::Expected<std::string> readSmallFile(llvm::StringRef path, uint64_t limit = 16 << 20);

} // namespace mlc
