//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/artifact/ProgramVerifier.h"

#include <algorithm>

namespace mlc {

/// x RULE y; false where it has no value of 64 bits.
static bool applyRule(fb::ExtentRule rule, int64_t x, int64_t y, int64_t &value) {
  switch (rule) {
  case fb::ExtentRule::add:
    return checkedAdd(x, y, value);
  case fb::ExtentRule::multiply:
    return checkedMul(x, y, value);
  case fb::ExtentRule::floor_divide:
  case fb::ExtentRule::ceil_divide: {
    if (y < 1)
      return false;
    bool up = rule == fb::ExtentRule::ceil_divide;
    value = x / y + (x % y && (x > 0) == up ? (up ? 1 : -1) : 0);
    return true;
  }
  case fb::ExtentRule::minimum:
    value = std::min(x, y);
    return true;
  case fb::ExtentRule::maximum:
    value = std::max(x, y);
    return true;
  case fb::ExtentRule::given:
    break;
  }
  return false;
}

int32_t followRules(const fb::Artifact &metadata, std::span<int64_t> extents) {
  int32_t outside = -1;
  for (uint32_t i = 0; i < extents.size(); ++i) {
    const fb::Extent &extent = *metadata.extents()->Get(i);
    if (extent.rule() == fb::ExtentRule::given)
      continue;
    auto term = [&](const fb::Dim &dim) { return dim.extent() < 0 ? dim.value() : extents[size_t(dim.extent())]; };
    auto bound = int64_t(extent.bound());
    int64_t value;
    bool inside = applyRule(extent.rule(), term(*extent.left()), term(*extent.right()), value) &&
                  value >= extent.least() && value <= bound;
    if (!inside && outside < 0)
      outside = int32_t(i);
    extents[i] = inside ? value : bound;
  }
  return outside;
}

Status ProgramVerifier::checkRule(uint32_t index) const {
  const fb::Extent &extent = *meta.extents()->Get(index);
  if (extent.rule() == fb::ExtentRule::given)
    return {};
  auto inFront = [&](const fb::Dim *term) { return term && term->extent() >= -1 && term->extent() < int64_t(index); };
  if (extent.rule() <= fb::ExtentRule::MAX && inFront(extent.left()) && inFront(extent.right()) &&
      extent.least() >= -kMaxDim && extent.least() <= int64_t(extent.bound()))
    return {};
  return MLC_REFUSE(
      ExtentRule, ErrorCode::Corrupt,
      "%s: extent '%.60s' has no rule of this version, a term that is not in front of it, or a least value "
      "beyond its bound",
      name(), extent.name()->c_str());
}

} // namespace mlc
