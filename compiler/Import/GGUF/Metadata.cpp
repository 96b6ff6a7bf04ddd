//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Typed access to GGUF metadata.
//
#include "compiler/Import/GGUF/Reader.h"

#include "compiler/Support/Text.h"

#include "llvm/ADT/Twine.h"
#include "llvm/Support/Endian.h"

#include <bit>

using namespace llvm;

namespace mlc::gguf {
namespace {

template <typename T> T load(const uint8_t *bytes) {
  return support::endian::read<T, endianness::little, support::unaligned>(bytes);
}

bool isInteger(ValueType type) {
  switch (type) {
  case ValueType::f32:
  case ValueType::f64:
  case ValueType::boolean:
  case ValueType::string:
  case ValueType::array:
    return false;
  default:
    return true;
  }
}

unsigned integerBytes(ValueType type) {
  switch (type) {
  case ValueType::u8:
  case ValueType::i8:
    return 1;
  case ValueType::u16:
  case ValueType::i16:
    return 2;
  case ValueType::u32:
  case ValueType::i32:
    return 4;
  default:
    return 8;
  }
}

/// False when a u64 is too large for the result.
bool loadInteger(ValueType type, const uint8_t *bytes, int64_t &out) {
  switch (type) {
  case ValueType::u8:
    out = *bytes;
    return true;
  case ValueType::i8:
    out = int8_t(*bytes);
    return true;
  case ValueType::u16:
    out = load<uint16_t>(bytes);
    return true;
  case ValueType::i16:
    out = load<int16_t>(bytes);
    return true;
  case ValueType::u32:
    out = load<uint32_t>(bytes);
    return true;
  case ValueType::i32:
    out = load<int32_t>(bytes);
    return true;
  default:
    out = load<int64_t>(bytes);
    return type == ValueType::i64 || out >= 0;
  }
}

Error wrongKind(const Metadata &metadata, StringRef key, const Value &value, const char *wanted) {
  std::string type = valueTypeName(value.type).str();
  if (value.type == ValueType::array)
    type += " of " + valueTypeName(value.element).str();
  return createStringError(inconvertibleErrorCode(), metadata.file() + ": byte " + Twine(value.position) +
                                                         ": metadata key \"" + printable(key) + "\" is " + type + ", " +
                                                         wanted + " is expected");
}

} // namespace

const Value *Metadata::find(StringRef key) const {
  auto found = values.find(key);
  return found == values.end() ? nullptr : &found->second;
}

Expected<std::optional<int64_t>> Metadata::integer(StringRef key) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  int64_t result;
  if (!isInteger(value->type) || !loadInteger(value->type, value->payload.data(), result))
    return wrongKind(*this, key, *value, "an integer below 2^63");
  return result;
}

Expected<std::optional<double>> Metadata::number(StringRef key) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->type == ValueType::f32)
    return std::bit_cast<float>(load<uint32_t>(value->payload.data()));
  if (value->type == ValueType::f64)
    return std::bit_cast<double>(load<uint64_t>(value->payload.data()));
  int64_t result;
  if (!isInteger(value->type) || !loadInteger(value->type, value->payload.data(), result))
    return wrongKind(*this, key, *value, "a number");
  return double(result);
}

Expected<std::optional<bool>> Metadata::boolean(StringRef key) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->type != ValueType::boolean || value->payload[0] > 1)
    return wrongKind(*this, key, *value, "a BOOL of 0 or 1");
  return value->payload[0] == 1;
}

Expected<std::optional<StringRef>> Metadata::string(StringRef key) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->type != ValueType::string)
    return wrongKind(*this, key, *value, "a STRING");
  return StringRef(reinterpret_cast<const char *>(value->payload.data()), value->payload.size());
}

Expected<std::optional<std::vector<StringRef>>> Metadata::strings(StringRef key) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->type != ValueType::array || value->element != ValueType::string)
    return wrongKind(*this, key, *value, "an ARRAY of STRING");
  std::vector<StringRef> result;
  result.reserve(value->count);
  const uint8_t *at = value->payload.data();
  for (uint64_t i = 0; i < value->count; ++i) {
    uint64_t length = load<uint64_t>(at);
    result.emplace_back(reinterpret_cast<const char *>(at + 8), length);
    at += 8 + length;
  }
  return result;
}

Expected<std::optional<std::vector<int64_t>>> Metadata::integers(StringRef key) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->type != ValueType::array || !isInteger(value->element))
    return wrongKind(*this, key, *value, "an ARRAY of integers");
  std::vector<int64_t> result(value->count);
  for (uint64_t i = 0; i < value->count; ++i)
    if (!loadInteger(value->element, value->payload.data() + i * integerBytes(value->element), result[i]))
      return wrongKind(*this, key, *value, "an ARRAY of integers below 2^63");
  return result;
}

Expected<std::optional<std::vector<float>>> Metadata::floats(StringRef key) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->type != ValueType::array || value->element != ValueType::f32)
    return wrongKind(*this, key, *value, "an ARRAY of FLOAT32");
  std::vector<float> result(value->count);
  for (uint64_t i = 0; i < value->count; ++i)
    result[i] = std::bit_cast<float>(load<uint32_t>(value->payload.data() + 4 * i));
  return result;
}

} // namespace mlc::gguf
