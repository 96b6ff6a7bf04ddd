//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/ONNX/Model.h"

#include "compiler/Import/ONNX/Wire.h"
#include "compiler/Support/Text.h"
#include "runtime/core/Checked.h"

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace llvm;

namespace mlc::onnx {
namespace {

struct DataType {
  const char *name;
  std::optional<StorageType> storage; // Absent: not supported.
};
/// By TensorProto.DataType.
const DataType kDataTypes[] = {
    {"undefined", {}},
    {"float", StorageType::rows_f32},
    {"uint8", kStorageI8},
    {"int8", kStorageI8},
    {"uint16", kStorageI16},
    {"int16", kStorageI16},
    {"int32", kStorageI32},
    {"int64", kStorageI64},
    {"string", {}},
    {"bool", kStorageI1},
    {"float16", StorageType::rows_f16},
    {"double", kStorageF64},
    {"uint32", kStorageI32},
    {"uint64", kStorageI64},
    {"complex64", {}},
    {"complex128", {}},
    {"bfloat16", StorageType::rows_bf16},
    {"float8e4m3fn", {}},
    {"float8e4m3fnuz", {}},
    {"float8e5m2", {}},
    {"float8e5m2fnuz", {}},
    {"uint4", {}},
    {"int4", {}},
    {"float4e2m1", {}},
    {"float8e8m0", {}},
    {"uint2", {}},
    {"int2", {}},
};

Error failFor(StringRef file, const Twine &what) {
  return createStringError(inconvertibleErrorCode(), Twine(file) + ": " + what);
}

/// Appends each value in `size` little-endian bytes.
template <typename Values> void appendAs(const Values &values, unsigned size, std::vector<uint8_t> &bytes) {
  for (auto value : values) {
    uint8_t raw[sizeof value];
    memcpy(raw, &value, sizeof value);
    bytes.insert(bytes.end(), raw, raw + size);
  }
}

/// Whether fields that the schema is too old for hold one of `numbers`.
template <typename Message> bool hasUnknown(const Message &message, std::initializer_list<uint32_t> numbers) {
  const std::string &bytes = message.unknown_fields();
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const uint8_t *>(bytes.data()), int(bytes.size()));
  while (uint32_t tag = stream.ReadTag()) {
    if (is_contained(numbers, tag >> 3))
      return true;
    if (!google::protobuf::internal::WireFormatLite::SkipField(&stream, tag))
      return true;
  }
  return false;
}

template <typename Message> bool hasOverload(const Message &message) {
  if constexpr (requires { message.overload(); })
    return !message.overload().empty();
  else
    return hasUnknown(message, {8});
}

/// The first node with an overload, in the graph or what it nests.
template <typename Nodes> const ::onnx::NodeProto *findOverload(const Nodes &nodes) {
  for (const ::onnx::NodeProto &node : nodes) {
    if (hasOverload(node))
      return &node;
    for (const auto &attribute : node.attribute()) {
      if (const auto *found = findOverload(attribute.g().node()))
        return found;
      for (const auto &graph : attribute.graphs())
        if (const auto *found = findOverload(graph.node()))
          return found;
    }
  }
  return nullptr;
}

} // namespace

std::string dataTypeName(int32_t type) {
  return type >= 0 && size_t(type) < std::size(kDataTypes) ? kDataTypes[type].name : "type " + std::to_string(type);
}

std::string quoted(StringRef name) {
  return "'" + printable(name.take_front(200).str()) + (name.size() > 200 ? "...'" : "'");
}

Expected<Model> Model::read(StringRef path) {
  Model result;
  result.source = path.str();
  auto file = MappedFile::open(path);
  if (!file)
    return file.takeError();
  Expected<std::string> bytes = withoutRawData((*file)->bytes());
  if (!bytes)
    return failFor(path, toString(bytes.takeError()));
  result.files.push_back(std::move(*file));
  ::onnx::ModelProto &model = result.model;
  if (bytes->size() > INT32_MAX || !model.ParseFromString(*bytes))
    return failFor(path, "is no ONNX model: protobuf cannot read it by onnx.proto");
  if (!model.has_graph())
    return failFor(path, "is no ONNX model: it has no graph");
  if (model.ir_version() < kOldestIr || model.ir_version() > kNewestIr)
    return failFor(path, "has ir_version " + Twine(model.ir_version()) + "; " + Twine(kOldestIr) + " to " +
                             Twine(kNewestIr) + " are supported");
  if (model.training_info_size())
    return failFor(path, "holds training information, which is not supported; export the model for inference");
  for (const auto &function : model.functions())
    if (hasUnknown(function, {11, 13}) || findOverload(function.node()))
      return failFor(path, "function " + quoted(function.name()) +
                               " has default attributes or an overload, which this build's onnx.proto is too old for");
  if (const auto *node = findOverload(model.graph().node()))
    return failFor(path, "node " + quoted(node->name()) + " names an overload, which is not supported");
  StringMap<int64_t> seen;
  for (const auto &opset : model.opset_import()) {
    StringRef domain = opset.domain() == "ai.onnx" ? "" : StringRef(opset.domain());
    if (!seen.try_emplace(domain, opset.version()).second)
      return failFor(path, "imports domain " + quoted(domain) + " twice");
    if (domain.empty() && (opset.version() < 1 || opset.version() > kNewestOpset))
      return failFor(path, "imports opset " + Twine(opset.version()) + " of ai.onnx; 1 to " + Twine(kNewestOpset) +
                               " are supported");
  }
  return result;
}

int64_t Model::opset(StringRef domain) const {
  for (const auto &opset : model.opset_import())
    if ((opset.domain() == "ai.onnx" ? "" : StringRef(opset.domain())) == domain)
      return opset.version();
  return 0;
}

Expected<unsigned> Model::openExternal(StringRef location, const Twine &what) {
  auto refuse = [&](const Twine &why) {
    return failFor(source, what + ": external data " + quoted(location) + " " + why);
  };
  auto [known, isNew] = external.try_emplace(location, 0);
  if (!isNew)
    return known->second;
  bool leaves = sys::path::is_absolute(location) || location.contains('\\') || location.contains('\0');
  for (auto part = sys::path::begin(location), end = sys::path::end(location); part != end; ++part)
    leaves |= *part == "..";
  if (location.empty() || leaves)
    return refuse("lies outside the model's folder, which is refused");
  SmallString<256> folder(sys::path::parent_path(source)), full, realFolder, real;
  if (folder.empty())
    folder = ".";
  full = folder;
  sys::path::append(full, location);
  if (sys::fs::real_path(folder, realFolder) || sys::fs::real_path(full, real))
    return refuse("cannot be found beside the model");
  // A link may lead out.
  if (!real.starts_with(realFolder) || (realFolder != "/" && real.str().drop_front(realFolder.size()).front() != '/'))
    return refuse("lies outside the model's folder, which is refused");
  auto file = MappedFile::open(full);
  if (!file)
    return file.takeError();
  files.push_back(std::move(*file));
  return known->second = unsigned(files.size() - 1);
}

Expected<TensorInfo> Model::tensor(const ::onnx::TensorProto &tensor, const Twine &what) {
  auto refuse = [&](const Twine &why) { return failFor(source, what + " " + why); };
  int32_t type = tensor.data_type();
  std::optional<StorageType> storage;
  if (type >= 0 && size_t(type) < std::size(kDataTypes))
    storage = kDataTypes[type].storage;
  if (!storage)
    return refuse("is of " + dataTypeName(type) + ", which is not supported");
  TensorInfo info;
  info.storage = *storage;
  info.shape.assign(tensor.dims().begin(), tensor.dims().end());
  if (!storageBytes(info.storage, info.shape, info.bytes))
    return refuse("has the impossible shape " + shapeText(info.shape));
  uint64_t unit, count = 1;
  storageBytes(info.storage, {1}, unit);
  for (int64_t extent : info.shape)
    count *= uint64_t(extent);
  auto mismatch = [&](uint64_t bytes) {
    return refuse("holds " + Twine(bytes) + " bytes, its shape " + shapeText(info.shape) + " of " + dataTypeName(type) +
                  " needs " + Twine(info.bytes));
  };

  if (tensor.data_location() == ::onnx::TensorProto::EXTERNAL) {
    StringRef location;
    uint64_t offset = 0, length = info.bytes;
    for (const auto &entry : tensor.external_data()) {
      StringRef key = entry.key(), value = entry.value();
      if (key == "location")
        location = value;
      else if ((key == "offset" && value.getAsInteger(10, offset)) ||
               (key == "length" && value.getAsInteger(10, length)))
        return refuse("has external data whose " + key + " is " + quoted(value));
    }
    Expected<unsigned> file = openExternal(location, what);
    if (!file)
      return file.takeError();
    ArrayRef<uint8_t> bytes = files[*file]->bytes();
    if (length != info.bytes)
      return mismatch(length);
    if (offset > bytes.size() || length > bytes.size() - offset)
      return refuse("lies at byte " + Twine(offset) + " of " + quoted(location) + ", which has " + Twine(bytes.size()));
    info.file = *file;
    info.offset = offset;
    info.data = bytes.data() + offset;
    return info;
  }
  if (tensor.has_segment()) {
    info.offset = uint64_t(tensor.segment().begin());
    uint64_t bytes = uint64_t(tensor.segment().end()) - info.offset;
    if (bytes != info.bytes || info.offset > files.front()->bytes().size() ||
        bytes > files.front()->bytes().size() - info.offset)
      return mismatch(bytes);
    info.data = files.front()->bytes().data() + info.offset;
    return info;
  }

  std::vector<uint8_t> bytes;
  if (tensor.has_raw_data()) {
    if (tensor.raw_data().size() != info.bytes)
      return mismatch(tensor.raw_data().size());
    bytes.assign(tensor.raw_data().begin(), tensor.raw_data().end());
  } else {
    uint64_t given = uint64_t(tensor.float_data_size()) + uint64_t(tensor.int32_data_size()) +
                     uint64_t(tensor.int64_data_size()) + uint64_t(tensor.double_data_size()) +
                     uint64_t(tensor.uint64_data_size());
    if (given != count)
      return refuse("holds " + Twine(given) + " values, its shape " + shapeText(info.shape) + " needs " + Twine(count));
    if (type == ::onnx::TensorProto::FLOAT)
      appendAs(tensor.float_data(), 4, bytes);
    else if (type == ::onnx::TensorProto::DOUBLE)
      appendAs(tensor.double_data(), 8, bytes);
    else if (type == ::onnx::TensorProto::INT64)
      appendAs(tensor.int64_data(), 8, bytes);
    else if (type == ::onnx::TensorProto::UINT64 || type == ::onnx::TensorProto::UINT32)
      appendAs(tensor.uint64_data(), unsigned(unit), bytes);
    else
      appendAs(tensor.int32_data(), unsigned(unit), bytes);
    if (bytes.size() != info.bytes)
      return refuse("holds its values in a field for another type");
  }
  loose.push_back(std::move(bytes));
  info.data = loose.back().data();
  info.file = TensorInfo::kNoFile;
  return info;
}

Expected<Checkpoint> Model::takeCheckpoint(std::vector<TensorInfo> tensors) {
  return Checkpoint::create(Checkpoint::Kind::ONNX, source, std::move(tensors), std::move(files), std::move(loose));
}

} // namespace mlc::onnx
