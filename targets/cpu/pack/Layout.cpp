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
  if (isBlockFormat(format) && desc.k() % blockElements(format))
    return Error(ErrorCode::Corrupt, "weight with k = %llu: its block format needs a multiple of %u",
                 (unsigned long long)desc.k(), blockElements(format));
  if (!isQuantized(format)) {
    if (desc.group())
      return Error(ErrorCode::Corrupt, "weight format %u takes no group, found %u", unsigned(format), desc.group());
    return {};
  }
  if (!quantizedRowValid(desc.k(), desc.group()))
    return Error(ErrorCode::Corrupt, "weight group %u with k = %llu: the group must be a multiple of 32, at most %llu",
                 desc.group(), (unsigned long long)desc.k(), (unsigned long long)kMaxGroup);
  if (format == WeightFormat::panel_int4 && desc.group() != 32 && desc.group() != 64 && desc.group() != 128)
    return Error(ErrorCode::Corrupt, "int4 weight group %u: must be 32, 64 or 128", desc.group());
  return {};
}

PanelLayout panelLayout(const fb::WeightDesc &desc) {
  PanelLayout layout{};
  if (!isQuantized(desc.format())) {
    layout.columns = desc.k();
    layout.bytes = alignUp<uint64_t>(desc.k() * kPanel * elementBytes(desc.format()), 64);
    return layout;
  }
  bool int4 = desc.format() == WeightFormat::panel_int4;
  layout.group = effectiveGroup(desc.k(), desc.group());
  layout.groups = groupCount(desc.k(), desc.group());
  layout.columns = layout.group * layout.groups;
  layout.scalesOffset = layout.columns * kPanel / (int4 ? 2 : 1);
  layout.zerosOffset = layout.scalesOffset + alignUp<uint64_t>(layout.groups * kPanel * 2, 64);
  layout.bytes = layout.zerosOffset + (desc.asymmetric() ? alignUp<uint64_t>(layout.groups * kPanel, 64) : 0);
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
