//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Error, Status and Result<T>: how everything in the runtime that can fail says so. No exceptions, no allocation: the
// message lives inside the Error, and a success writes one word.
//
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <new>
#include <type_traits>
#include <utility>

namespace mlc {

enum class ErrorCode : uint32_t {
  Ok = 0,
  InvalidArgument = 1, // The caller's value is out of its documented range.
  NotFound = 2,        // A file, name or id that does not exist.
  Io = 3,              // The operating system refused a read, a write or a mapping.
  OutOfMemory = 4,     // An allocation or a pool is exhausted.
  Corrupt = 5,         // A digest, a size or a structure does not hold.
  Unsupported = 6,     // A well-formed request that this build or machine cannot serve; named in the message.
  OutOfRange = 7,      // A position, token or extent beyond the artifact's bounds.
  Cancelled = 8,       // Stopped by the caller.
  Internal = 9,        // A broken invariant of ours.
};

/// One failure: a code and one line that names the thing and the remedy. At most 503 bytes of message are kept.
class Error {
public:
  Error(ErrorCode code, const char *format, ...) __attribute__((format(printf, 3, 4))) : errorCode(code) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
  }
  ErrorCode code() const { return errorCode; }
  const char *message() const { return text; }

private:
  ErrorCode errorCode;
  char text[504];
};

template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : ok(true) { new (&storage.value) T(std::move(value)); }
  Result(Error failure) : ok(false) { new (&storage.error) Error(failure); }
  Result(Result &&other) noexcept : ok(other.ok) {
    if (ok)
      new (&storage.value) T(std::move(other.storage.value));
    else
      new (&storage.error) Error(other.storage.error);
  }
  Result(const Result &) = delete;
  Result &operator=(const Result &) = delete;
  Result &operator=(Result &&) = delete;
  ~Result() {
    if (ok)
      storage.value.~T();
  }

  explicit operator bool() const { return ok; }
  T &operator*() { return storage.value; }
  const T &operator*() const { return storage.value; }
  T *operator->() { return &storage.value; }
  const T *operator->() const { return &storage.value; }
  const Error &error() const { return storage.error; }

private:
  union Storage {
    Storage() {}
    ~Storage() {}
    T value;
    Error error;
  } storage;
  bool ok;
};

/// Success, or an Error.
template <> class [[nodiscard]] Result<void> {
public:
  Result() : ok(true) {}
  Result(Error failure) : ok(false) { new (&storage.error) Error(failure); }
  Result(const Result &other) : ok(other.ok) {
    if (!ok)
      new (&storage.error) Error(other.storage.error);
  }
  Result &operator=(const Result &) = delete;

  explicit operator bool() const { return ok; }
  const Error &error() const { return storage.error; }

private:
  union Storage {
    Storage() {}
    Error error;
  } storage;
  bool ok;
};
using Status = Result<void>;

#define MLC_CONCAT_IMPL(a, b) a##b
#define MLC_CONCAT(a, b) MLC_CONCAT_IMPL(a, b)
/// Returns the error of EXPR from the enclosing function, if it has one.
#define MLC_TRY(...)                                                                                                   \
  do {                                                                                                                 \
    if (auto mlcStatus = (__VA_ARGS__); !mlcStatus)                                                                    \
      return mlcStatus.error();                                                                                        \
  } while (0)
/// MLC_ASSIGN(auto x, expr): x is the value of the Result, or its error is returned.
#define MLC_ASSIGN(DECLARATION, ...) MLC_ASSIGN_IMPL(MLC_CONCAT(mlcResult, __LINE__), DECLARATION, __VA_ARGS__)
#define MLC_ASSIGN_IMPL(NAME, DECLARATION, ...)                                                                        \
  auto NAME = (__VA_ARGS__);                                                                                           \
  if (!NAME)                                                                                                           \
    return NAME.error();                                                                                               \
  DECLARATION = std::move(*NAME)

} // namespace mlc
