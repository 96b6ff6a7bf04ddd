//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/HuggingFace/SafeTensors.h"

#include "compiler/Support/Json.h"
#include "compiler/Support/Text.h"
#include "runtime/core/Checked.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <algorithm>
#include <optional>

using namespace llvm;
using nlohmann::json;

namespace mlc::hf {
namespace {

// The format allows 100 MB; a quarter million tensors fit into this.
constexpr uint64_t kMaxHeaderBytes = 32 << 20;

Error fail(StringRef file, const Twine &what) {
  return createStringError(inconvertibleErrorCode(), file + ": " + what);
}

std::optional<StorageType> storageOf(StringRef dtype) {
  if (dtype == "F32")
    return StorageType::rows_f32;
  if (dtype == "F16")
    return StorageType::rows_f16;
  if (dtype == "BF16")
    return StorageType::rows_bf16;
  return std::nullopt;
}

/// A non-negative integer below 2^63.
bool readExtent(const json &value, int64_t &out) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t(INT64_MAX))
    return false;
  out = value.get<int64_t>();
  return true;
}

Expected<TensorInfo> parseTensor(StringRef file, const std::string &name, const json &entry) {
  std::string prefix = "tensor \"" + printable(name) + "\"";
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets"))
    return fail(file, prefix + ": exactly dtype, shape and data_offsets are expected");
  const json &dtype = entry["dtype"], &shape = entry["shape"], &offsets = entry["data_offsets"];
  TensorInfo tensor;
  tensor.name = name;
  if (!dtype.is_string() || !shape.is_array() || !offsets.is_array() || offsets.size() != 2)
    return fail(file, prefix + ": dtype is a string, shape a list, data_offsets a list of two");
  std::optional<StorageType> storage = storageOf(dtype.get_ref<const std::string &>());
  if (!storage)
    return fail(file, prefix + " is stored as " + printable(dtype.get_ref<const std::string &>()) +
                          ", which is not supported; convert it to F32, F16 or BF16");
  tensor.storage = *storage;
  if (shape.size() > 8)
    return fail(file, prefix + " has " + Twine(shape.size()) + " dimensions; at most 8 are read");
  for (const json &extent : shape) {
    int64_t value;
    if (!readExtent(extent, value))
      return fail(file, prefix + ": a dimension is no integer from 0 to 2^63 - 1");
    tensor.shape.push_back(value);
  }
  int64_t begin, end;
  if (!readExtent(offsets[0], begin) || !readExtent(offsets[1], end) || begin > end)
    return fail(file, prefix + ": data_offsets are no two rising integers");
  if (!storageBytes(tensor.storage, tensor.shape, tensor.bytes))
    return fail(file, prefix + ": shape " + shapeText(tensor.shape) + " is too large");
  if (tensor.bytes != uint64_t(end - begin))
    return fail(file, prefix + ": " + storageName(tensor.storage) + " of shape " + shapeText(tensor.shape) + " takes " +
                          Twine(tensor.bytes) + " bytes, data_offsets [" + Twine(begin) + ", " + Twine(end) +
                          "] hold " + Twine(end - begin));
  tensor.offset = uint64_t(begin);
  return tensor;
}

/// A file name in the same directory: what an index may name.
bool isPlainName(StringRef name) {
  return name.ends_with(".safetensors") && name.size() < 256 && !name.contains('/') && !name.contains('\\') &&
         !name.contains('\0') && !name.starts_with(".");
}

/// Maps `path` and appends its tensors.
Error append(StringRef path, std::vector<TensorInfo> &tensors, std::vector<std::unique_ptr<MappedFile>> &files) {
  auto file = MappedFile::open(path);
  if (!file)
    return file.takeError();
  for (const auto &other : files)
    if (other->sameFile(**file))
      return fail(path, "is the same file as " + other->path() + "; each shard is needed once");
  auto parsed = parseSafeTensors((*file)->path(), (*file)->bytes());
  if (!parsed)
    return parsed.takeError();
  for (TensorInfo &tensor : *parsed) {
    tensor.file = unsigned(files.size());
    tensors.push_back(std::move(tensor));
  }
  files.push_back(std::move(*file));
  return Error::success();
}

Expected<Checkpoint> openSharded(StringRef directory, StringRef indexPath) {
  auto text = readSmallFile(indexPath, kMaxHeaderBytes);
  if (!text)
    return text.takeError();
  auto index = parseJson(indexPath, *text);
  if (!index)
    return index.takeError();
  if (!index->is_object() || !index->contains("weight_map") || !(*index)["weight_map"].is_object())
    return fail(indexPath, "weight_map is missing or no object");
  const json &map = (*index)["weight_map"];
  StringMap<unsigned> shardOf; // File name -> index into files.
  std::vector<std::string> shards;
  for (const auto &[name, shard] : map.items()) {
    if (!shard.is_string() || !isPlainName(shard.get_ref<const std::string &>()))
      return fail(indexPath, "weight_map: \"" + printable(name) +
                                 "\" is not mapped to the plain name of a .safetensors file beside the index");
    if (shardOf.try_emplace(shard.get_ref<const std::string &>(), 0).second)
      shards.push_back(shard.get_ref<const std::string &>());
  }
  if (shards.size() > 4096)
    return fail(indexPath, "names " + Twine(shards.size()) + " shards; at most 4096 are opened");
  std::sort(shards.begin(), shards.end());
  std::vector<TensorInfo> tensors;
  std::vector<std::unique_ptr<MappedFile>> files;
  for (const std::string &shard : shards) {
    shardOf[shard] = unsigned(files.size());
    SmallString<128> path = directory;
    sys::path::append(path, shard);
    if (Error error = append(path, tensors, files))
      return error;
  }
  for (const TensorInfo &tensor : tensors) {
    auto entry = map.find(tensor.name);
    if (entry == map.end() || shardOf.lookup(entry->get_ref<const std::string &>()) != tensor.file)
      return fail(indexPath, "tensor \"" + printable(tensor.name) + "\" is in " + files[tensor.file]->path() +
                                 ", where weight_map does not expect it");
  }
  auto checkpoint = Checkpoint::create(Checkpoint::Kind::SafeTensors, directory, std::move(tensors), std::move(files));
  if (!checkpoint)
    return checkpoint.takeError();
  for (const auto &[name, shard] : map.items())
    if (!checkpoint->find(name))
      return fail(indexPath, "tensor \"" + printable(name) + "\" is not in " + shard.get_ref<const std::string &>() +
                                 ", where weight_map expects it");
  return checkpoint;
}

} // namespace

Expected<std::vector<TensorInfo>> parseSafeTensors(StringRef file, ArrayRef<uint8_t> bytes) {
  if (bytes.size() < 8)
    return fail(file, "byte 0: too short for a safetensors header");
  uint64_t headerBytes = support::endian::read<uint64_t, endianness::little, support::unaligned>(bytes.data());
  if (headerBytes > kMaxHeaderBytes || headerBytes > bytes.size() - 8)
    return fail(file,
                "byte 0: a header of " + Twine(headerBytes) + " bytes is larger than the file or the 33554432 allowed");
  auto header = parseJson(file, StringRef(reinterpret_cast<const char *>(bytes.data() + 8), headerBytes));
  if (!header)
    return header.takeError();
  if (!header->is_object())
    return fail(file, "byte 8: the header is no JSON object");
  std::vector<TensorInfo> tensors;
  for (const auto &[name, entry] : header->items()) {
    if (name == "__metadata__") {
      if (!entry.is_object() ||
          !std::all_of(entry.begin(), entry.end(), [](const json &value) { return value.is_string(); }))
        return fail(file, "__metadata__ is no object of strings");
      continue;
    }
    auto tensor = parseTensor(file, name, entry);
    if (!tensor)
      return tensor.takeError();
    tensors.push_back(std::move(*tensor));
  }
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo &a, const TensorInfo &b) {
    return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
  });
  // The format allows neither gaps nor overlaps: what the tensors do not cover could hide anything.
  const uint64_t dataStart = 8 + headerBytes, dataBytes = bytes.size() - dataStart;
  uint64_t expected = 0;
  for (TensorInfo &tensor : tensors) {
    if (tensor.offset != expected)
      return fail(file, "tensor \"" + printable(tensor.name) + "\" starts at byte " + Twine(tensor.offset) +
                            " of the data where " + Twine(expected) + " is expected (" +
                            (tensor.offset < expected ? "an overlap" : "a gap") + ")");
    if (!extentInside(tensor.offset, tensor.bytes, dataBytes))
      return fail(file, "tensor \"" + printable(tensor.name) + "\" ends at byte " +
                            Twine(tensor.offset + tensor.bytes) + " of the data, which has " + Twine(dataBytes) +
                            "; is the file cut off?");
    expected = tensor.offset + tensor.bytes;
    tensor.offset += dataStart;
    tensor.data = bytes.data() + tensor.offset;
  }
  if (expected != dataBytes)
    return fail(file, "the tensors end at byte " + Twine(expected) + " of the data, which has " + Twine(dataBytes));
  return tensors;
}

Expected<Checkpoint> openSafeTensorsFile(StringRef path) {
  std::vector<TensorInfo> tensors;
  std::vector<std::unique_ptr<MappedFile>> files;
  if (Error error = append(path, tensors, files))
    return error;
  return Checkpoint::create(Checkpoint::Kind::SafeTensors, path, std::move(tensors), std::move(files));
}

Expected<Checkpoint> openSafeTensors(StringRef directory) {
  auto inside = [&](StringRef name) {
    SmallString<128> path = directory;
    sys::path::append(path, name);
    return path;
  };
  SmallString<128> single = inside("model.safetensors"), index = inside("model.safetensors.index.json");
  if (sys::fs::exists(single)) {
    auto checkpoint = openSafeTensorsFile(single);
    return checkpoint;
  }
  if (sys::fs::exists(index))
    return openSharded(directory, index);
  if (sys::fs::exists(inside("pytorch_model.bin")) || sys::fs::exists(inside("pytorch_model.bin.index.json")))
    return fail(directory, "holds pickled PyTorch weights only; save the model as safetensors");
  return fail(directory, "holds neither model.safetensors nor model.safetensors.index.json");
}

} // namespace mlc::hf
