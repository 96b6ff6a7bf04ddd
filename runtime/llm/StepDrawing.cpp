//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/StepDrawing.h"

namespace mlc {

Result<StepDrawing> StepDrawing::create(const Session &session, const Allocator &allocator) {
  StepDrawing made;
  if (!session.draws())
    return made;
  MLC_ASSIGN(made.rows, OwnedArray<RowDraw>::create(allocator, size_t(session.maxRows()), "draws"));
  MLC_ASSIGN(made.adjustments, OwnedArray<TokenAdjustment>::create(allocator, kMostStepAdjustments, "draws"));
  return made;
}

void StepDrawing::add(const Sampler &sampler, double uniform) {
  if (rowCount == rows.size())
    return;
  RowDraw &draw = rows[rowCount];
  if (!sampler.describe(draw, adjustments.span().subspan(adjustmentCount)))
    return addLogits();
  draw.uniform = uniform;
  draw.row = int32_t(rowCount++);
  draw.firstAdjustment = uint32_t(adjustmentCount);
  adjustmentCount += draw.adjustments;
}

void StepDrawing::addLogits() {
  if (rowCount == rows.size())
    return;
  rows[rowCount] = {};
  rows[rowCount++].row = -1;
}

Result<int32_t> nextToken(Sampler &sampler, const LogitsView &logits, size_t i) {
  if (!logits.drawn(i))
    return sampler.sample(logits.row(i));
  sampler.skipDraw();
  return logits.token(i);
}

} // namespace mlc
