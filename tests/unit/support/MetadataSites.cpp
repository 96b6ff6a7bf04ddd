//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "tests/unit/support/MetadataSites.h"
#include "runtime/core/Checked.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <flatbuffers/reflection_generated.h>
#include <set>

namespace mlc::test {
namespace {

using reflection::BaseType;

const reflection::Schema &schema() {
  static const std::vector<uint8_t> bytes = [] {
    FILE *file = fopen(MLC_SCHEMA_BFBS, "rb");
    if (!file)
      abort();
    std::vector<uint8_t> content(1 << 20);
    content.resize(fread(content.data(), 1, content.size(), file));
    fclose(file);
    return content;
  }();
  return *reflection::GetSchema(bytes.data());
}

uint32_t sizeOf(BaseType type) {
  switch (type) {
  case BaseType::UType:
  case BaseType::Bool:
  case BaseType::Byte:
  case BaseType::UByte:
    return 1;
  case BaseType::Short:
  case BaseType::UShort:
    return 2;
  case BaseType::Long:
  case BaseType::ULong:
  case BaseType::Double:
    return 8;
  default:
    return 4;
  }
}

class Walker {
public:
  explicit Walker(std::span<const uint8_t> metadata) : bytes(metadata) {}

  MetadataSites run() {
    add(MetadataSite::offset, 0, 4, "root");
    table(read<uint32_t>(0), *schema().root_table(), "");
    return std::move(found);
  }

private:
  template <typename T> T read(uint32_t position) const {
    T value;
    memcpy(&value, bytes.data() + position, sizeof value);
    return value;
  }
  void add(MetadataSite::Kind kind, uint32_t position, uint32_t width, const std::string &path) {
    if (seen.insert(position).second)
      found.sites.push_back({kind, position, width, path});
  }
  const reflection::Object &object(int32_t index) const { return *schema().objects()->Get(uint32_t(index)); }

  void structure(uint32_t position, const reflection::Object &type, const std::string &path) {
    for (const reflection::Field *field : *type.fields()) {
      std::string name = path + "." + field->name()->str();
      if (field->type()->base_type() == BaseType::Obj)
        structure(position + field->offset(), object(field->type()->index()), name);
      else
        add(MetadataSite::scalar, position + field->offset(), sizeOf(field->type()->base_type()), name);
    }
  }

  void table(uint32_t position, const reflection::Object &type, const std::string &path) {
    add(MetadataSite::offset, position, 4, path + ".vtable");
    uint32_t vtable = position - uint32_t(read<int32_t>(position));
    uint16_t entries = read<uint16_t>(vtable);
    for (uint16_t entry = 0; entry < entries; entry = uint16_t(entry + 2))
      add(MetadataSite::vtable, vtable + entry, 2, path + ".vtable." + std::to_string(entry));
    for (const reflection::Field *field : *type.fields()) {
      uint16_t place = field->offset() < entries ? read<uint16_t>(vtable + field->offset()) : uint16_t(0);
      if (place)
        value(position + place, *field, position, vtable, path + "." + field->name()->str());
    }
  }

  void value(uint32_t position, const reflection::Field &field, uint32_t parent, uint32_t vtable,
             const std::string &path) {
    BaseType base = field.type()->base_type();
    if (base == BaseType::Obj && object(field.type()->index()).is_struct())
      return structure(position, object(field.type()->index()), path);
    if (base != BaseType::String && base != BaseType::Vector && base != BaseType::Obj && base != BaseType::Union)
      return add(MetadataSite::scalar, position, sizeOf(base), path);
    add(MetadataSite::offset, position, 4, path);
    uint32_t target = position + read<uint32_t>(position);
    if (base == BaseType::String)
      return text(target, path);
    if (base == BaseType::Vector)
      return vector(target, *field.type(), path);
    if (base == BaseType::Obj)
      return table(target, object(field.type()->index()), path);
    // A union's type is the field before it.
    uint8_t tag = read<uint8_t>(parent + read<uint16_t>(vtable + field.offset() - 2));
    const reflection::EnumVal &option = *schema().enums()->Get(uint32_t(field.type()->index()))->values()->Get(tag);
    const reflection::Object &type = object(option.union_type()->index());
    type.is_struct() ? structure(target, type, path) : table(target, type, path);
  }

  void text(uint32_t position, const std::string &path) {
    add(MetadataSite::length, position, 4, path + ".length");
    uint32_t length = read<uint32_t>(position);
    add(MetadataSite::scalar, position + 4 + length, 1, path + ".end");
    if (length)
      add(MetadataSite::scalar, position + 4, 1, path + ".text");
  }

  void vector(uint32_t position, const reflection::Type &type, const std::string &path) {
    add(MetadataSite::length, position, 4, path + ".length");
    uint32_t count = read<uint32_t>(position);
    bool object_ = type.element() == BaseType::Obj, inlined = object_ && object(type.index()).is_struct();
    bool offsets = type.element() == BaseType::String || (object_ && !inlined);
    uint32_t width = inlined ? uint32_t(object(type.index()).bytesize()) : sizeOf(type.element());
    for (uint32_t i = 0; i < count; ++i) {
      uint32_t at = position + 4 + i * width;
      std::string name = path + "[" + std::to_string(i) + "]";
      if (i)
        found.swaps.push_back({at - width, at, width, offsets, name});
      if (inlined) {
        structure(at, object(type.index()), name);
        continue;
      }
      add(offsets ? MetadataSite::offset : MetadataSite::scalar, at, width, name);
      if (type.element() == BaseType::String)
        text(at + read<uint32_t>(at), name);
      else if (offsets)
        table(at + read<uint32_t>(at), object(type.index()), name);
    }
  }

  std::span<const uint8_t> bytes;
  MetadataSites found;
  std::set<uint32_t> seen; // vtables and strings may be shared
};

std::vector<uint8_t> packFull(const fb::ArtifactT &metadata) {
  flatbuffers::FlatBufferBuilder builder;
  builder.ForceDefaults(true);
  fb::FinishArtifactBuffer(builder, fb::Artifact::Pack(builder, &metadata));
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

} // namespace

MetadataSites findSites(std::span<const uint8_t> metadata) { return Walker(metadata).run(); }

void applySwap(std::span<uint8_t> metadata, const MetadataSwap &swap) {
  uint8_t *first = metadata.data() + swap.first, *second = metadata.data() + swap.second;
  if (!swap.offsets) {
    std::swap_ranges(first, first + swap.width, second);
    return;
  }
  uint32_t a, b, distance = swap.second - swap.first;
  memcpy(&a, first, sizeof a);
  memcpy(&b, second, sizeof b);
  b += distance;
  a -= distance;
  memcpy(first, &b, sizeof b);
  memcpy(second, &a, sizeof a);
}

AlignedBytes wrapMetadata(std::span<const uint8_t> metadata, std::span<const uint8_t> weights) {
  std::vector<uint8_t> file(kMetadataOffset);
  file.insert(file.end(), metadata.begin(), metadata.end());
  if (!weights.empty())
    file.resize(alignUp<size_t>(file.size(), kWeightsAlignment));
  file.insert(file.end(), weights.begin(), weights.end());
  ArtifactHeader header{};
  memcpy(header.magic, kArtifactMagic, sizeof header.magic);
  header.version = kArtifactVersion;
  header.fileSize = file.size();
  header.metadataOffset = kMetadataOffset;
  header.metadataSize = metadata.size();
  memcpy(file.data(), &header, sizeof header);
  repairDigests(file);
  return AlignedBytes(file);
}

AlignedBytes fullFile(const TinyModel &model) {
  // A copy through a buffer: the object form has no copy of its own.
  std::vector<uint8_t> first = packFull(model.metadata);
  fb::ArtifactT metadata;
  fb::GetArtifact(first.data())->UnPackTo(&metadata);
  uint64_t end = kMetadataOffset;
  for (int pass = 0; pass < 2; ++pass) {
    for (auto &segment : metadata.segments) {
      segment->offset = alignUp(end, kWeightsAlignment);
      segment->digests.assign(ceilDiv(segment->size, kDigestChunk), 0);
      end = segment->offset + segment->size;
    }
    end = kMetadataOffset + packFull(metadata).size();
  }
  return wrapMetadata(packFull(metadata), model.weights);
}

} // namespace mlc::test
