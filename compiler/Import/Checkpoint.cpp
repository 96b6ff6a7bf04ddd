//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/Checkpoint.h"

#include "compiler/Support/Text.h"
#include "runtime/core/BlockFormats.h"
#include "runtime/core/Checked.h"
#include "runtime/core/Float16.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/ErrorHandling.h"

#include <algorithm>
#include <cstring>

using namespace llvm;

namespace mlc {

namespace {
struct PlainStorage {
  StorageType type;
  StringRef name;
  unsigned bytes;
};
} // namespace
static const PlainStorage kPlainStorages[] = {{kStorageI8, "I8", 1},   {kStorageI16, "I16", 2},
                                              {kStorageI32, "I32", 4}, {kStorageI64, "I64", 8},
                                              {kStorageF64, "F64", 8}, {kStorageI1, "BOOL", 1}};
static const PlainStorage *findPlain(StorageType type) {
  const PlainStorage *found = find_if(kPlainStorages, [&](const PlainStorage &plain) { return plain.type == type; });
  return found == std::end(kPlainStorages) ? nullptr : found;
}

StringRef storageName(StorageType type) {
  if (const PlainStorage *plain = findPlain(type))
    return plain->name;
  switch (type) {
  case StorageType::rows_f32:
    return "F32";
  case StorageType::rows_f16:
    return "F16";
  case StorageType::rows_bf16:
    return "BF16";
  default:
    return blockName(type);
  }
}

// Far above any model, far below where sums of sizes overflow.
static constexpr int64_t kMaxElements = int64_t(1) << 48;

/// Values that are stored together, and the bytes they take.
static std::pair<unsigned, unsigned> storageUnit(StorageType type) {
  if (const PlainStorage *plain = findPlain(type))
    return {1, plain->bytes};
  switch (type) {
  case StorageType::rows_f32:
    return {1, 4};
  case StorageType::rows_f16:
  case StorageType::rows_bf16:
    return {1, 2};
  default:
    return {blockElements(type), blockBytes(type)};
  }
}

int64_t TensorInfo::rows() const {
  int64_t product = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i)
    product *= shape[i];
  return product;
}

std::string shapeText(ArrayRef<int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

bool storageBytes(StorageType storage, ArrayRef<int64_t> shape, uint64_t &bytes) {
  auto [elements, unitBytes] = storageUnit(storage);
  int64_t count = 1;
  for (int64_t extent : shape)
    if (extent < 0 || !checkedMul(count, extent, count) || count > kMaxElements)
      return false;
  int64_t columns = shape.empty() ? 1 : shape.back();
  return columns % elements == 0 && checkedMul(uint64_t(count) / elements, uint64_t(unitBytes), bytes);
}

Expected<Checkpoint> Checkpoint::create(Kind kind, StringRef source, std::vector<TensorInfo> tensors,
                                        std::vector<std::unique_ptr<MappedFile>> files,
                                        std::vector<std::vector<uint8_t>> loose) {
  Checkpoint checkpoint;
  checkpoint.loose = std::move(loose);
  checkpoint.format = kind;
  checkpoint.sourcePath = source.str();
  checkpoint.files = std::move(files);
  checkpoint.entries = std::move(tensors);
  std::sort(checkpoint.entries.begin(), checkpoint.entries.end(),
            [](const TensorInfo &a, const TensorInfo &b) { return a.name < b.name; });
  for (size_t i = 1; i < checkpoint.entries.size(); ++i) {
    const TensorInfo &a = checkpoint.entries[i - 1], &b = checkpoint.entries[i];
    if (a.name == b.name)
      return createStringError(inconvertibleErrorCode(), checkpoint.fileOf(b) + ": tensor \"" + printable(b.name) +
                                                             "\" stands in " + checkpoint.fileOf(a) + " too");
  }
  return checkpoint;
}

const TensorInfo *Checkpoint::find(StringRef name) const {
  auto found = std::lower_bound(entries.begin(), entries.end(), name,
                                [](const TensorInfo &tensor, StringRef key) { return StringRef(tensor.name) < key; });
  return found != entries.end() && found->name == name ? &*found : nullptr;
}

void Checkpoint::readRows(const TensorInfo &tensor, int64_t begin, int64_t end, float *out) {
  auto [elements, unitBytes] = storageUnit(tensor.storage);
  size_t count = size_t(end - begin) * size_t(tensor.columns());
  const uint8_t *from = tensor.data + size_t(begin) * size_t(tensor.columns()) / elements * unitBytes;
  auto halfAt = [&](size_t i) { return uint16_t(from[2 * i] | from[2 * i + 1] << 8); };
  switch (tensor.storage) {
  case StorageType::rows_f32:
    std::memcpy(out, from, count * sizeof(float));
    return;
  case StorageType::rows_f16:
    for (size_t i = 0; i < count; ++i)
      out[i] = f16ToF32(halfAt(i));
    return;
  case StorageType::rows_bf16:
    for (size_t i = 0; i < count; ++i)
      out[i] = bf16ToF32(halfAt(i));
    return;
  default:
    dequantizeBlocks(tensor.storage, from, count / elements, out);
  }
}

void Checkpoint::discardRows(const TensorInfo &tensor, int64_t begin, int64_t end) const {
  if (tensor.file >= files.size())
    return; // Of values that no file holds.
  auto [elements, unitBytes] = storageUnit(tensor.storage);
  uint64_t rowBytes = uint64_t(tensor.columns()) / elements * unitBytes;
  files[tensor.file]->discard(tensor.data + uint64_t(begin) * rowBytes, uint64_t(end - begin) * rowBytes);
}

} // namespace mlc
