//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Memory an encoder keeps from call to call and grows when a longer text needs it.
//
#pragma once

#include "runtime/core/Memory.h"

#include <algorithm>

namespace mlc {

/// A growing array of trivial T. Growth failures are returned; contents move by memcpy.
template <typename T> class Scratch {
public:
  explicit Scratch(const Allocator &allocator) : allocator(allocator) {}
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;

  T *data() { return array.data(); }
  T &operator[](size_t i) { return array[i]; }
  size_t size() const { return length; }
  void clear() { length = 0; }
  /// Drops everything behind `count`.
  void truncate(size_t count) { length = count; }
  T *end() { return array.data() + length; }

  /// Room for `count` elements in all.
  Status reserve(size_t count) {
    if (count <= array.size())
      return {};
    uint64_t capacity = uint64_t(array.size()) + array.size() / 2;
    MLC_ASSIGN(auto bigger, OwnedArray<T>::create(allocator, std::max<uint64_t>(capacity, count), "tokenizer scratch"));
    if (length)
      memcpy(bigger.data(), array.data(), length * sizeof(T));
    array = std::move(bigger);
    return {};
  }
  /// Room for `count` elements, all of them in use; new ones are unspecified.
  Status resize(size_t count) {
    MLC_TRY(reserve(count));
    length = count;
    return {};
  }
  /// Room for `extra` more elements.
  Status more(size_t extra) {
    size_t count;
    if (!checkedAdd(length, extra, count))
      return Error(ErrorCode::OutOfMemory, "tokenizer scratch: %zu more elements overflow the address space", extra);
    return reserve(count);
  }
  Status push(T value) {
    if (length == array.size())
      MLC_TRY(reserve(length + 64));
    array[length++] = value;
    return {};
  }
  /// Appends where `more` made room.
  void put(T value) { array[length++] = value; }
  Status append(const T *from, size_t count) {
    MLC_TRY(more(count));
    if (count)
      memcpy(array.data() + length, from, count * sizeof(T));
    length += count;
    return {};
  }

private:
  Allocator allocator;
  OwnedArray<T> array;
  size_t length = 0;
};

} // namespace mlc
