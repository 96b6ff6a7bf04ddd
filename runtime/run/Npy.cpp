//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/Npy.h"

#include <string.h>

namespace mlc::cli {

/// Walks the text of the header's dictionary.
namespace {
struct Text {
  const char *at, *end;

  void spaces() {
    while (at != end && (*at == ' ' || *at == '\n' || *at == '\t'))
      ++at;
  }
  bool take(char c) {
    spaces();
    if (at == end || *at != c)
      return false;
    ++at;
    return true;
  }
  /// 'text', in either kind of quotes.
  bool quoted(std::string_view &text) {
    spaces();
    if (at == end || (*at != '\'' && *at != '"'))
      return false;
    char quote = *at++;
    const char *begin = at;
    while (at != end && *at != quote)
      ++at;
    if (at == end)
      return false;
    text = {begin, size_t(at++ - begin)};
    return true;
  }
  bool word(std::string_view expected) {
    spaces();
    if (size_t(end - at) < expected.size() || memcmp(at, expected.data(), expected.size()))
      return false;
    at += expected.size();
    return true;
  }
  bool number(uint64_t &value) {
    spaces();
    if (at == end || *at < '0' || *at > '9')
      return false;
    for (value = 0; at != end && *at >= '0' && *at <= '9'; ++at)
      if (!checkedMul(value, uint64_t(10), value) || !checkedAdd(value, uint64_t(*at - '0'), value))
        return false;
    if (at != end && *at == 'L') // Python 2 wrote them so.
      ++at;
    return true;
  }
};
} // namespace

static Error damaged() { return Error(ErrorCode::InvalidArgument, "is no .npy file"); }

static Status parseType(std::string_view descr, NpyHeader &header) {
  bool known = descr.size() == 3 && (descr[0] == '<' || descr[0] == '|' || descr[0] == '>');
  if (known) {
    header.kind = descr[1];
    header.size = unsigned(descr[2] - '0');
    known = npyTypeName(header.kind, header.size) != nullptr;
  }
  if (!known)
    return Error(ErrorCode::Unsupported, "holds values of type '%.*s'; bool, integers and floats are taken",
                 int(descr.size() < 40 ? descr.size() : 40), descr.data());
  if (descr[0] == '>' && header.size > 1)
    return Error(ErrorCode::Unsupported, "holds big-endian values; save it little-endian");
  return {};
}

static Status parseShape(Text &text, NpyHeader &header) {
  if (!text.take('('))
    return damaged();
  header.axes = 0;
  header.elements = 1;
  while (!text.take(')')) {
    if (header.axes == kNpyMostAxes)
      return Error(ErrorCode::Unsupported, "has more than %u axes", kNpyMostAxes);
    uint64_t &extent = header.shape[header.axes++];
    if (!text.number(extent) || !checkedMul(header.elements, extent, header.elements))
      return damaged();
    if (!text.take(',')) {
      if (!text.take(')'))
        return damaged();
      break;
    }
  }
  return {};
}

Status parseNpy(std::span<const char> file, NpyHeader &header) {
  const unsigned char *bytes = reinterpret_cast<const unsigned char *>(file.data());
  if (file.size() < 12 || memcmp(bytes, "\x93NUMPY", 6) || bytes[6] < 1 || bytes[6] > 3)
    return damaged();
  size_t begin = bytes[6] == 1 ? 10 : 12;
  size_t length = bytes[8] | size_t(bytes[9]) << 8;
  if (bytes[6] > 1)
    length |= size_t(bytes[10]) << 16 | size_t(bytes[11]) << 24;
  if (length > file.size() - begin)
    return damaged();
  Text text{file.data() + begin, file.data() + begin + length};
  header.offset = begin + length;
  bool fortran = false, hasType = false, hasShape = false;
  if (!text.take('{'))
    return damaged();
  while (!text.take('}')) {
    std::string_view key, value;
    if (!text.quoted(key) || !text.take(':'))
      return damaged();
    if (key == "descr") {
      if (!text.quoted(value))
        return Error(ErrorCode::Unsupported, "holds records; bool, integers and floats are taken");
      MLC_TRY(parseType(value, header));
      hasType = true;
    } else if (key == "shape") {
      MLC_TRY(parseShape(text, header));
      hasShape = true;
    } else if (key == "fortran_order") {
      fortran = text.word("True");
      if (!fortran && !text.word("False"))
        return damaged();
    } else {
      return damaged();
    }
    (void)text.take(',');
  }
  if (!hasType || !hasShape)
    return damaged();
  if (fortran && header.axes > 1)
    return Error(ErrorCode::Unsupported, "is in Fortran order; save it in C order (numpy.ascontiguousarray)");
  uint64_t size;
  if (!checkedMul(header.elements, uint64_t(header.size), size) || size != file.size() - header.offset)
    return Error(ErrorCode::InvalidArgument, "holds %zu bytes of values, not what its shape says",
                 file.size() - header.offset);
  return {};
}

const char *npyTypeName(char kind, unsigned size) {
  struct Name {
    char kind;
    unsigned size;
    const char *name;
  };
  static constexpr Name names[] = {{'b', 1, "bool"},   {'i', 1, "int8"},    {'i', 2, "int16"},   {'i', 4, "int32"},
                                   {'i', 8, "int64"},  {'u', 1, "uint8"},   {'u', 2, "uint16"},  {'u', 4, "uint32"},
                                   {'u', 8, "uint64"}, {'f', 2, "float16"}, {'f', 4, "float32"}, {'f', 8, "float64"}};
  for (const Name &each : names)
    if (each.kind == kind && each.size == size)
      return each.name;
  return nullptr;
}

Status writeNpy(const char *path, const NpyHeader &header, std::span<const char> values) {
  // Version 1.0, its header padded with spaces to a multiple of 64 bytes.
  char text[640];
  int length = snprintf(text, sizeof text, "{'descr': '%c%c%u', 'fortran_order': False, 'shape': (",
                        header.size == 1 ? '|' : '<', header.kind, header.size);
  for (unsigned axis = 0; axis < header.axes; ++axis)
    length += snprintf(text + length, sizeof text - size_t(length), "%s%llu%s", axis ? ", " : "",
                       (unsigned long long)header.shape[axis], header.axes == 1 ? "," : "");
  length += snprintf(text + length, sizeof text - size_t(length), "), }");
  size_t padded = (10 + size_t(length) + 1 + 63) / 64 * 64 - 10;
  memset(text + length, ' ', padded - size_t(length));
  text[padded - 1] = '\n';
  unsigned char front[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)padded, (unsigned char)(padded >> 8)};
  PartFile file;
  MLC_TRY(file.create(path));
  if (fwrite(front, 1, sizeof front, file.stream()) != sizeof front ||
      fwrite(text, 1, padded, file.stream()) != padded ||
      fwrite(values.data(), 1, values.size(), file.stream()) != values.size())
    return file.failed();
  return file.commit();
}

} // namespace mlc::cli
