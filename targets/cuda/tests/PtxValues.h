//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What PTX's types and comparisons mean, for the interpreter.
//
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>

namespace mlc::cuda::ptx {

/// Bits of a float of 16.
struct Half {
  uint16_t bits;
};
struct Bfloat {
  uint16_t bits;
};

template <typename T> T fromBits(uint64_t bits) {
  T value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
/// As a register holds it: of a NaN the one that the GPU makes.
template <typename T> uint64_t toBits(T value) {
  if constexpr (std::is_floating_point_v<T>)
    if (std::isnan(value))
      return sizeof value == 4 ? 0x7fffffff : 0x7fffffffffffffff;
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  return bits;
}

/// Calls `then` with a value of the type that PTX calls `name`; false: there is none.
template <typename F> bool withType(std::string_view name, F &&then) {
  auto is = [&](std::string_view one, std::string_view other = "") { return name == one || name == other; };
  if (is("u16", "b16"))
    then(uint16_t());
  else if (is("u32", "b32"))
    then(uint32_t());
  else if (is("u64", "b64"))
    then(uint64_t());
  else if (is("s8"))
    then(int8_t());
  else if (is("u8", "b8"))
    then(uint8_t());
  else if (is("s16"))
    then(int16_t());
  else if (is("s32"))
    then(int32_t());
  else if (is("s64"))
    then(int64_t());
  else if (is("f32"))
    then(float());
  else if (is("f64"))
    then(double());
  else if (is("f16"))
    then(Half());
  else if (is("bf16"))
    then(Bfloat());
  else if (is("pred"))
    then(bool());
  else
    return false;
  return true;
}

/// To an integer towards zero: the nearest that there is, 0 for a NaN.
template <typename To, typename From> To saturated(From value) {
  if (std::isnan(value))
    return 0;
  value = std::trunc(value);
  if (value >= std::ldexp(From(1), std::numeric_limits<To>::digits))
    return std::numeric_limits<To>::max();
  if (value < From(std::numeric_limits<To>::min()))
    return std::numeric_limits<To>::min();
  return To(value);
}

template <typename T> bool compare(std::string_view how, T a, T b, bool &known) {
  if constexpr (std::is_floating_point_v<T>) {
    bool unordered = std::isnan(a) || std::isnan(b);
    if (how == "nan" || how == "num")
      return unordered == (how == "nan");
    if (how.size() == 3 && how[2] == 'u')
      return unordered || compare(how.substr(0, 2), a, b, known);
  }
  if (how == "eq")
    return a == b;
  if (how == "ne") // Ordered, of floats.
    return a < b || a > b;
  if (how == "lt" || how == "lo")
    return a < b;
  if (how == "le" || how == "ls")
    return a <= b;
  if (how == "gt" || how == "hi")
    return a > b;
  if (how == "ge" || how == "hs")
    return a >= b;
  return known = false;
}

/// Minus zero is below zero, and a NaN loses.
template <typename T> T lesser(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return std::isnan(a) ? b : std::isnan(b) ? a : a == b ? (std::signbit(a) ? a : b) : a < b ? a : b;
  else
    return a < b ? a : b;
}
template <typename T> T greater(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return std::isnan(a) ? b : std::isnan(b) ? a : a == b ? (std::signbit(a) ? b : a) : a > b ? a : b;
  else
    return a > b ? a : b;
}

} // namespace mlc::cuda::ptx
