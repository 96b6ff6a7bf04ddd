//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What commands read and write: files, bytes that grow, JSON on stdout, .npy files.
//
#pragma once

#include "runtime/core/Checked.h"
#include "runtime/core/Result.h"

#include <span>
#include <stdio.h>
#include <stdlib.h>
#include <string_view>

namespace mlc::cli {

/// Bytes or ids that grow. Commands, unlike the runtime below them, may allocate as they go.
template <typename T> class Buffer {
public:
  Buffer() = default;
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;
  ~Buffer() { free(items); }
  /// False when there is no memory; nothing has changed then.
  bool append(const T *values, size_t count) {
    if (count > capacity - length) {
      // 64 bits: where pointers have 32, the sum, the double and the bytes could overflow.
      uint64_t needed = uint64_t(length) + count, wanted = uint64_t(capacity) * 2;
      wanted = wanted > needed ? wanted : needed;
      uint64_t bytes = wanted * sizeof(T);
      T *grown = bytes <= kMaxObjectBytes ? static_cast<T *>(realloc(items, size_t(bytes))) : nullptr;
      if (!grown)
        return false;
      items = grown;
      capacity = size_t(wanted);
    }
    if (count)
      __builtin_memcpy(items + length, values, count * sizeof(T));
    length += count;
    return true;
  }
  bool append(T value) { return append(&value, 1); }
  /// Drops everything behind `count`.
  void truncate(size_t count) { length = count < length ? count : length; }
  std::span<const T> span() const { return {items, length}; }
  T &operator[](size_t i) { return items[i]; }
  std::string_view view() const { return {reinterpret_cast<const char *>(items), length}; }
  size_t size() const { return length; }

private:
  T *items = nullptr;
  size_t length = 0, capacity = 0;
};

/// A file, or standard input for a null path, of at most `limit` bytes.
Status readAll(const char *path, size_t limit, Buffer<char> &bytes);

/// An error that gives the `mlc compile` line to type when `path` is a checkpoint and not an artifact.
Status refuseCheckpoint(const char *path);

/// Writes one JSON document to stdout or an open file, commas and escapes put right. Keys are null inside lists.
class JsonWriter {
public:
  explicit JsonWriter(FILE *out = stdout) : out(out) {}
  void open(const char *key, char bracket);
  void close(char bracket);
  void text(const char *key, std::string_view value);
  void number(const char *key, double value);
  void count(const char *key, uint64_t value);
  void boolean(const char *key, bool value);
  void null(const char *key);
  /// Ends the line; an error when stdout took not all of it.
  Status finish();

private:
  void begin(const char *key);
  void quote(std::string_view value);
  FILE *out;
  bool first = true;
};

/// Flushes stdout; an error when something written to it was lost.
Status flushOutput();

/// A file that is written beside its name and appears under it when it is complete; without commit() nothing is left.
class PartFile {
public:
  PartFile() = default;
  PartFile(const PartFile &) = delete;
  PartFile &operator=(const PartFile &) = delete;
  ~PartFile();
  Status create(const char *path);
  Status commit();
  FILE *stream() { return file; }
  /// What errno says about the file.
  Error failed() const;

private:
  FILE *file = nullptr;
  const char *path = nullptr;
  char temporary[4096];
};

/// A [rows, columns] f32 .npy that grows row by row.
class NpyWriter {
public:
  Status create(const char *path, size_t columns);
  Status row(std::span<const float> values);
  Status commit();

private:
  Status header();
  PartFile file;
  size_t columns = 0, rows = 0;
};

} // namespace mlc::cli
