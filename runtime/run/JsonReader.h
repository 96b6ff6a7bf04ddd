//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Reads one JSON text (RFC 8259) piece by piece, for programs that go without a library. Strings are decoded; what is
// not wanted is skipped, nested at most 64 deep. Errors begin with the column (bytes from 1).
//
#pragma once

#include "runtime/run/Output.h"

namespace mlc::cli {

class JsonReader {
public:
  explicit JsonReader(std::string_view text) : begin(text.data()), at(begin), end(begin + text.size()) {}

  /// `what` names the value in messages. An array's or object's items are then visited by next(), keys before values.
  Status open(char bracket, const char *what);
  /// Goes to the next item of what was opened by '[' or '{'; false behind the last, which is taken with its bracket.
  /// `first` belongs to the caller and begins true.
  Result<bool> next(char bracket, bool &first);
  /// A key and its colon.
  Status key(Buffer<char> &name);
  /// A string's characters are appended as UTF-8.
  Status string(const char *what, Buffer<char> &value);
  /// A number without sign, fraction and exponent, below 2^32.
  Result<uint32_t> index(const char *what);
  /// Any finite number.
  Result<double> number(const char *what);
  /// Any value.
  Status skip();
  /// Nothing but white space is left.
  Status finish();

private:
  void space();
  bool take(char wanted);
  Error wrong(const char *expected) const;
  Status escape(Buffer<char> &value);
  Result<uint32_t> hex();
  Status skipNumber();

  const char *begin, *at, *end;
};

} // namespace mlc::cli
