//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/ONNX/Wire.h"

#include "llvm/ADT/Twine.h"

using namespace llvm;

namespace mlc::onnx {
namespace {

constexpr uint64_t kKeptInline = 256; // Bytes.
constexpr unsigned kDeepest = 64;     // protobuf's own limit is 100.

enum class Message { Other, Model, Graph, Node, Attribute, Tensor, SparseTensor, Function };

/// What field `number` of a message holds, where it can hold a tensor (onnx.proto).
Message messageOf(Message parent, uint32_t number) {
  switch (parent) {
  case Message::Model:
    return number == 7 ? Message::Graph : number == 25 ? Message::Function : Message::Other;
  case Message::Graph:
    return number == 1    ? Message::Node
           : number == 5  ? Message::Tensor
           : number == 15 ? Message::SparseTensor
                          : Message::Other;
  case Message::Node:
    return number == 5 ? Message::Attribute : Message::Other;
  case Message::Attribute:
    return number == 5 || number == 10    ? Message::Tensor
           : number == 6 || number == 11  ? Message::Graph
           : number == 22 || number == 23 ? Message::SparseTensor
                                          : Message::Other;
  case Message::SparseTensor:
    return number == 1 || number == 2 ? Message::Tensor : Message::Other;
  case Message::Function:
    return number == 7 ? Message::Node : number == 11 ? Message::Attribute : Message::Other;
  case Message::Other:
  case Message::Tensor:
    return Message::Other;
  }
  llvm_unreachable("covered switch");
}

void putVarint(std::string &out, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out.push_back(char(value | 0x80));
  out.push_back(char(value));
}

class Pruner {
public:
  explicit Pruner(ArrayRef<uint8_t> file) : file(file) {}

  Error prune(Message message, uint64_t begin, uint64_t end, unsigned depth, std::string &out) {
    if (depth > kDeepest)
      return fail(begin, "messages nest deeper than a model can");
    for (uint64_t at = begin; at < end;) {
      uint64_t start = at, tag, length;
      if (!varint(at, end, tag))
        return fail(start, "the file ends inside a field");
      uint32_t number = uint32_t(tag >> 3);
      switch (tag & 7) {
      case 0:
        if (!varint(at, end, length))
          return fail(start, "the file ends inside a field");
        break;
      case 1:
      case 5:
        length = (tag & 7) == 1 ? 8 : 4;
        if (end - at < length)
          return fail(start, "the file ends inside a field");
        at += length;
        break;
      case 2: {
        if (!varint(at, end, length) || length > end - at)
          return fail(start, "a field is longer than what holds it");
        uint64_t from = at;
        at += length;
        Message inner = messageOf(message, number);
        if (inner != Message::Other) {
          std::string nested;
          if (Error error = prune(inner, from, at, depth + 1, nested))
            return error;
          putVarint(out, tag);
          putVarint(out, nested.size());
          out += nested;
          continue;
        }
        if (message == Message::Tensor && number == 3)
          return fail(start, "a tensor in segments is not supported");
        if (message == Message::Tensor && number == 9 && length > kKeptInline) {
          std::string segment;
          putVarint(segment, 1 << 3);
          putVarint(segment, from);
          putVarint(segment, 2 << 3);
          putVarint(segment, at);
          putVarint(out, 3 << 3 | 2);
          putVarint(out, segment.size());
          out += segment;
          continue;
        }
        break;
      }
      default:
        return fail(start, "no field begins like this");
      }
      out.append(reinterpret_cast<const char *>(file.data()) + start, at - start);
    }
    return Error::success();
  }

private:
  bool varint(uint64_t &at, uint64_t end, uint64_t &value) const {
    value = 0;
    for (unsigned shift = 0; shift < 64 && at < end; shift += 7) {
      uint8_t byte = file[at++];
      value |= uint64_t(byte & 0x7f) << shift;
      if (byte < 0x80)
        return true;
    }
    return false;
  }
  static Error fail(uint64_t at, const char *what) {
    return createStringError("byte %llu: is no ONNX model: %s", (unsigned long long)at, what);
  }

  ArrayRef<uint8_t> file;
};

} // namespace

Expected<std::string> withoutRawData(ArrayRef<uint8_t> file) {
  std::string out;
  if (Error error = Pruner(file).prune(Message::Model, 0, file.size(), 0, out))
    return std::move(error);
  return out;
}

} // namespace mlc::onnx
