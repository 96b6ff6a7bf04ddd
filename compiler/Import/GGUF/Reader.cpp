//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/GGUF/Reader.h"

#include "compiler/Support/Text.h"
#include "runtime/core/Checked.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Endian.h"

#include <algorithm>

using namespace llvm;

namespace mlc::gguf {
namespace {

constexpr unsigned kMaxNesting = 4, kMaxDimensions = 4;
constexpr uint64_t kMaxNameBytes = 65535;

// Sizes of the fixed types by their number; 0 for string and array.
constexpr unsigned kFixedBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
constexpr const char *kValueTypeNames[] = {"UINT8", "INT8",   "UINT16", "INT16",  "UINT32", "INT32",  "FLOAT32",
                                           "BOOL",  "STRING", "ARRAY",  "UINT64", "INT64",  "FLOAT64"};

struct TensorType {
  uint32_t id;
  const char *name;
  StorageType storage;
  bool supported;
};
constexpr TensorType kTensorTypes[] = {
    {0, "F32", StorageType::rows_f32, true},
    {1, "F16", StorageType::rows_f16, true},
    {2, "Q4_0", StorageType::block_q4_0, true},
    {3, "Q4_1", StorageType::block_q4_1, true},
    {6, "Q5_0", StorageType::block_q5_0, true},
    {7, "Q5_1", StorageType::block_q5_1, true},
    {8, "Q8_0", StorageType::block_q8_0, true},
    {9, "Q8_1", {}, false},
    {10, "Q2_K", StorageType::block_q2_k, true},
    {11, "Q3_K", StorageType::block_q3_k, true},
    {12, "Q4_K", StorageType::block_q4_k, true},
    {13, "Q5_K", StorageType::block_q5_k, true},
    {14, "Q6_K", StorageType::block_q6_k, true},
    {15, "Q8_K", {}, false},
    {16, "IQ2_XXS", {}, false},
    {17, "IQ2_XS", {}, false},
    {18, "IQ3_XXS", {}, false},
    {19, "IQ1_S", {}, false},
    {20, "IQ4_NL", {}, false},
    {21, "IQ3_S", {}, false},
    {22, "IQ2_S", {}, false},
    {23, "IQ4_XS", {}, false},
    {24, "I8", {}, false},
    {25, "I16", {}, false},
    {26, "I32", {}, false},
    {27, "I64", {}, false},
    {28, "F64", {}, false},
    {29, "IQ1_M", {}, false},
    {30, "BF16", StorageType::rows_bf16, true},
    {34, "TQ1_0", {}, false},
    {35, "TQ2_0", {}, false},
    {39, "MXFP4", {}, false},
};

class Parser {
public:
  Parser(StringRef file, ArrayRef<uint8_t> bytes) : file(file), bytes(bytes) {}

  Expected<Header> parse() {
    Header header;
    header.metadata.path = file.str();
    uint64_t tensorCount, pairCount;
    if (bytes.size() < 4 || StringRef(reinterpret_cast<const char *>(bytes.data()), 4) != "GGUF")
      return fail(0, "does not start with the GGUF magic; is it a GGUF file?");
    position = 4;
    if (Error error = read(header.version, "the version"))
      return error;
    if (header.version != 2 && header.version != 3)
      return fail(4, header.version == byteswap(2u) || header.version == byteswap(3u)
                         ? Twine("is a big-endian GGUF file; convert it to little-endian")
                         : "has GGUF version " + Twine(header.version) + "; versions 2 and 3 are read");
    if (Error error = read(tensorCount, "the tensor count"))
      return error;
    if (Error error = read(pairCount, "the metadata count"))
      return error;
    if (Error error = parseMetadata(pairCount, header.metadata))
      return error;
    if (Error error = parseTensors(tensorCount, header))
      return error;
    return header;
  }

private:
  static uint32_t byteswap(uint32_t value) { return __builtin_bswap32(value); }
  uint64_t remaining() const { return bytes.size() - position; }

  Error fail(uint64_t at, const Twine &what) const {
    return createStringError(inconvertibleErrorCode(), file + ": byte " + Twine(at) + ": " + what);
  }

  template <typename T> Error read(T &value, const char *what) {
    if (remaining() < sizeof(T))
      return fail(position, Twine("the file ends inside ") + what);
    value = support::endian::read<T, endianness::little, support::unaligned>(bytes.data() + position);
    position += sizeof(T);
    return Error::success();
  }

  Error readString(StringRef &text, const char *what) {
    uint64_t at = position, length;
    if (Error error = read(length, what))
      return error;
    if (length > remaining())
      return fail(at, Twine(what) + " of " + Twine(length) + " bytes leaves the file");
    text = StringRef(reinterpret_cast<const char *>(bytes.data() + position), length);
    position += length;
    return Error::success();
  }

  Error readName(StringRef &name, const char *what) {
    uint64_t at = position;
    if (Error error = readString(name, what))
      return error;
    if (name.empty() || name.size() > kMaxNameBytes)
      return fail(at, Twine(what) + " has " + Twine(name.size()) + " bytes; 1 to 65535 are allowed");
    return Error::success();
  }

  Error readType(ValueType &type, const Twine &key) {
    uint64_t at = position;
    uint32_t raw;
    if (Error error = read(raw, "a value type"))
      return error;
    if (raw >= std::size(kFixedBytes))
      return fail(at, "metadata key \"" + key + "\" has the unknown value type " + Twine(raw));
    type = ValueType(raw);
    return Error::success();
  }

  /// Steps over `count` values of `type`.
  Error skip(ValueType type, uint64_t count, StringRef key, unsigned depth) {
    uint64_t at = position, size;
    auto leaves = [&] {
      return fail(at, "metadata key \"" + printable(key) + "\": " + Twine(count) + " values of type " +
                          valueTypeName(type) + " leave the file");
    };
    // The least each value takes: a string's length, an array's type and count.
    unsigned least = type == ValueType::string ? 8 : type == ValueType::array ? 12 : kFixedBytes[unsigned(type)];
    if (!checkedMul(count, uint64_t(least), size) || size > remaining())
      return leaves();
    if (type == ValueType::string) {
      StringRef text;
      for (uint64_t i = 0; i < count; ++i)
        if (Error error = readString(text, "a metadata string"))
          return error;
      return Error::success();
    }
    if (type != ValueType::array) {
      position += size;
      return Error::success();
    }
    for (uint64_t i = 0; i < count; ++i) {
      ValueType element;
      uint64_t length;
      if (depth == kMaxNesting)
        return fail(at, "metadata key \"" + printable(key) + "\" nests arrays deeper than " + Twine(kMaxNesting));
      if (Error error = readType(element, printable(key)))
        return error;
      if (Error error = read(length, "an array's length"))
        return error;
      if (Error error = skip(element, length, key, depth + 1))
        return error;
    }
    return Error::success();
  }

  Error parseMetadata(uint64_t count, Metadata &metadata) {
    // A pair takes at least its key's length, one byte of it, a type and one byte of value.
    if (count > remaining() / 14)
      return fail(16, Twine(count) + " metadata pairs do not fit into the file");
    for (uint64_t i = 0; i < count; ++i) {
      uint64_t at = position;
      StringRef key;
      Value value;
      if (Error error = readName(key, "a metadata key"))
        return error;
      if (Error error = readType(value.type, printable(key)))
        return error;
      if (value.type == ValueType::array) {
        if (Error error = readType(value.element, printable(key)))
          return error;
        if (Error error = read(value.count, "an array's length"))
          return error;
        value.position = position;
        if (Error error = skip(value.element, value.count, key, 1))
          return error;
        value.payload = bytes.slice(value.position, position - value.position);
      } else if (value.type == ValueType::string) {
        StringRef text;
        if (Error error = readString(text, "a metadata string"))
          return error;
        value.position = position - text.size();
        value.payload = bytes.slice(value.position, text.size());
      } else {
        value.position = position;
        if (Error error = skip(value.type, 1, key, 0))
          return error;
        value.payload = bytes.slice(value.position, position - value.position);
      }
      if (!metadata.values.try_emplace(key, value).second)
        return fail(at, "metadata key \"" + printable(key) + "\" stands twice");
    }
    return Error::success();
  }

  Error parseTensors(uint64_t count, Header &header) {
    auto alignment = header.metadata.integer("general.alignment");
    if (!alignment)
      return alignment.takeError();
    uint64_t align = uint64_t(alignment->value_or(32));
    if (align == 0 || align > (1 << 20) || (align & (align - 1)))
      return fail(header.metadata.find("general.alignment")->position,
                  "general.alignment is " + Twine(int64_t(align)) + "; a power of two up to 1048576 is expected");
    // A tensor takes at least its name's length, one byte of it, a rank, one extent, a type and an offset.
    if (count > remaining() / 33)
      return fail(8, Twine(count) + " tensors do not fit into the file");
    std::vector<uint64_t> headerAt;
    StringSet<> names;
    for (uint64_t i = 0; i < count; ++i) {
      headerAt.push_back(position);
      TensorInfo tensor;
      if (Error error = parseTensor(tensor, align))
        return error;
      if (!names.insert(tensor.name).second)
        return fail(headerAt.back(), "tensor \"" + printable(tensor.name) + "\" stands twice");
      header.tensors.push_back(std::move(tensor));
    }
    uint64_t dataStart;
    if (!checkedAdd(position, align - 1, dataStart))
      return fail(position, "the header leaves the file");
    dataStart &= ~(align - 1);
    for (uint64_t i = 0; i < count; ++i) {
      TensorInfo &tensor = header.tensors[i];
      if (dataStart > bytes.size() || !extentInside(tensor.offset, tensor.bytes, bytes.size() - dataStart))
        return fail(headerAt[i], "tensor \"" + printable(tensor.name) + "\": " + Twine(tensor.bytes) +
                                     " bytes at offset " + Twine(tensor.offset) +
                                     " of the data leave the file; is it cut off?");
      tensor.offset += dataStart;
      tensor.data = bytes.data() + tensor.offset;
    }
    return refuseOverlaps(header.tensors, headerAt);
  }

  Error parseTensor(TensorInfo &tensor, uint64_t align) {
    uint64_t at = position;
    StringRef name;
    uint32_t rank, type;
    if (Error error = readName(name, "a tensor's name"))
      return error;
    tensor.name = name.str();
    std::string prefix = "tensor \"" + printable(name) + "\"";
    if (Error error = read(rank, "a tensor's rank"))
      return error;
    if (rank == 0 || rank > kMaxDimensions)
      return fail(at, prefix + " has " + Twine(rank) + " dimensions; 1 to 4 are allowed");
    for (uint32_t i = 0; i < rank; ++i) {
      uint64_t extent;
      if (Error error = read(extent, "a tensor's shape"))
        return error;
      if (extent == 0 || extent > uint64_t(INT64_MAX))
        return fail(at, prefix + " has a dimension of " + Twine(extent) + " elements");
      tensor.shape.insert(tensor.shape.begin(), int64_t(extent)); // GGUF lists the fastest axis first.
    }
    if (Error error = read(type, "a tensor's type"))
      return error;
    const TensorType *known = std::find_if(std::begin(kTensorTypes), std::end(kTensorTypes),
                                           [&](const TensorType &entry) { return entry.id == type; });
    if (known == std::end(kTensorTypes))
      return fail(at, prefix + " has the unknown type number " + Twine(type));
    if (!known->supported)
      return fail(at,
                  prefix + " is stored as " + known->name +
                      ", which is not supported; convert the model to F32, F16, BF16, Q4_0 to Q8_0 or Q2_K to Q6_K");
    tensor.storage = known->storage;
    if (!storageBytes(tensor.storage, tensor.shape, tensor.bytes))
      return fail(at, prefix + " of shape " + shapeText(tensor.shape) +
                          " is too large, or its rows are no whole blocks of " + known->name);
    if (Error error = read(tensor.offset, "a tensor's offset"))
      return error;
    if (tensor.offset % align)
      return fail(at, prefix + ": offset " + Twine(tensor.offset) + " is no multiple of the alignment " + Twine(align));
    return Error::success();
  }

  Error refuseOverlaps(ArrayRef<TensorInfo> tensors, ArrayRef<uint64_t> headerAt) const {
    std::vector<size_t> order(tensors.size());
    for (size_t i = 0; i < order.size(); ++i)
      order[i] = i;
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return tensors[a].offset < tensors[b].offset; });
    for (size_t i = 1; i < order.size(); ++i) {
      const TensorInfo &a = tensors[order[i - 1]], &b = tensors[order[i]];
      if (a.offset + a.bytes > b.offset)
        return fail(headerAt[order[i]], "the data of tensors \"" + printable(a.name) + "\" and \"" + printable(b.name) +
                                            "\" overlap at byte " + Twine(b.offset));
    }
    return Error::success();
  }

  StringRef file;
  ArrayRef<uint8_t> bytes;
  uint64_t position = 0;
};

} // namespace

StringRef valueTypeName(ValueType type) { return kValueTypeNames[unsigned(type)]; }

Expected<Header> parseHeader(StringRef file, ArrayRef<uint8_t> bytes) { return Parser(file, bytes).parse(); }

} // namespace mlc::gguf
