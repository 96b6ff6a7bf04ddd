//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cpu/pack/Layout.h"

#include "runtime/core/BlockFormats.h"

namespace mlc::cpu {

using fb::WeightFormat;

static uint64_t elementBytes(WeightFormat format) {
  return format == WeightFormat::rows_f32 || format == WeightFormat::panel_f32 ? 4 : 2;
}

Status checkWeightDesc(const fb::WeightDesc &desc) {
  WeightFormat format = desc.format();
  if (!isRows(format) && !isPanel(format) && !isBlockFormat(format))
    return Error(ErrorCode::Unsupported, "weight format %u is not one of this target's", unsigned(format));
  if (desc.n() < 1 || desc.n() > kMaxExtent || desc.k() < 1 || desc.k() > kMaxExtent)
    return Error(ErrorCode::Corrupt, "weight of %llu x %llu: each must lie in 1..%llu", (unsigned long long)desc.n(),
                 (unsigned long long)desc.k(), (unsigned long long)kMaxExtent);
  if (desc.asymmetric() && format != WeightFormat::panel_int4)
    return Error(ErrorCode::Unsupported, "weight format %u has no asymmetric form", unsigned(format));
  if (WeightFormat block = isBlockPanel(format) ? blockOfPanel(format) : format;
      isBlockFormat(block) && desc.k() % blockElements(block))
    return Error(ErrorCode::Corrupt, "weight with k = %llu: its block format needs a multiple of %u",
                 (unsigned long long)desc.k(), blockElements(block));
  if (!isQuantized(format) || isBlockPanel(format)) {
    if (desc.group())
      return Error(ErrorCode::Corrupt, "weight format %u takes no group, found %u", unsigned(format), desc.group());
    return {};
  }
  if (!QuantizedRow::valid(desc.k(), desc.group(), 0))
    return Error(ErrorCode::Corrupt, "weight group %u with k = %llu: the group must be a multiple of 32, at most %llu",
                 desc.group(), (unsigned long long)desc.k(), (unsigned long long)kMaxGroup);
  if (format == WeightFormat::panel_int4 && desc.group() != 32 && desc.group() != 64 && desc.group() != 128)
    return Error(ErrorCode::Corrupt, "int4 weight group %u: must be 32, 64 or 128", desc.group());
  return {};
}

RowGroups rowGroups(const fb::WeightDesc &desc) {
  bool block = isBlockPanel(desc.format());
  uint32_t group = block ? blockShape(blockOfPanel(desc.format())).group : desc.group();
  if (group && group < 128 && 128 % group == 0 && desc.k() % 128 == 0)
    return {128, group};
  return {block ? 32 : group, group};
}

QuantizedRow quantizedRow(const fb::WeightDesc &desc) {
  RowGroups groups = rowGroups(desc);
  return {desc.k(), groups.group, groups.sumGroup};
}

PanelLayout panelLayout(const fb::WeightDesc &desc) {
  PanelLayout layout{};
  WeightFormat format = desc.format();
  if (!isQuantized(format)) {
    // Halves come two columns at a time.
    layout.columns = elementBytes(format) == 2 ? alignUp<uint64_t>(desc.k(), 2) : desc.k();
    layout.bytes = alignUp<uint64_t>(layout.columns * kPanel * elementBytes(format), 64);
    return layout;
  }
  bool block = isBlockPanel(format), super = false, offsets;
  if (block) {
    const BlockShape &shape = blockShape(blockOfPanel(format));
    layout.group = shape.group;
    layout.bits = shape.bits;
    super = shape.super;
    offsets = shape.offsets;
  } else {
    layout.group = effectiveGroup(desc.k(), desc.group());
    layout.bits = format == WeightFormat::panel_int4 ? 4 : 8;
    offsets = desc.asymmetric();
  }
  layout.groups = ceilDiv(desc.k(), layout.group);
  layout.columns = layout.group * layout.groups;
  if (super) {
    SuperBlock parts = superBlock(int(layout.bits), int64_t(layout.group), offsets);
    layout.blockColumns = kSuperColumns;
    layout.blockBytes = uint64_t(parts.bytes);
    layout.valuesOffset = uint64_t(parts.values);
    layout.offsetsOffset = uint64_t(parts.offsets);
    layout.subScalesOffset = uint64_t(parts.subScales);
    layout.subOffsetsOffset = uint64_t(parts.subOffsets);
    layout.bytes = layout.columns / layout.blockColumns * layout.blockBytes;
    return layout;
  }
  uint64_t at = layout.columns * kPanel / 8 * layout.bits;
  auto part = [&](uint64_t bytes) {
    uint64_t begin = at;
    at += alignUp<uint64_t>(bytes, 64);
    return begin;
  };
  layout.scalesOffset = part(layout.groups * kPanel * 2);
  layout.offsetsOffset = part(offsets ? layout.groups * kPanel * (block ? 2 : 1) : 0);
  layout.blockColumns = layout.columns;
  layout.blockBytes = layout.bytes = at;
  return layout;
}

uint64_t plainRowBytes(const fb::WeightDesc &desc) {
  if (isBlockFormat(desc.format()))
    return desc.k() / blockElements(desc.format()) * blockBytes(desc.format());
  return desc.k() * elementBytes(desc.format());
}

// kMaxExtent bounds every product below: 2^28 * 2^28 * 4 < 2^63.
uint64_t packedOffset(const fb::WeightDesc &desc, uint64_t row) {
  return isPanel(desc.format()) ? ceilDiv(row, kPanel) * panelLayout(desc).bytes : row * plainRowBytes(desc);
}

Result<uint64_t> packedBytes(const fb::WeightDesc &desc) {
  MLC_TRY(checkWeightDesc(desc));
  return packedOffset(desc, desc.n());
}

} // namespace mlc::cpu
