//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// rope_angles and rope.
//
#include "compiler/Reference/Frame.h"
#include "compiler/Support/RopeTables.h"

#include <cmath>

using namespace mlir;

namespace mlc::reference {

template <typename T> static llvm::Error evaluateRopeAngles(graph::RopeAnglesOp op, Frame<T> &frame) {
  const Batch &batch = frame.batch(op.getBatch());
  if (llvm::Error error = frame.admit(op, int64_t(op.getRotaryDim())))
    return error;
  SmallVector<SmallVector<float>> tables = ropeTables(op);
  int64_t half = op.getRotaryDim() / 2, context = op.getOriginalContext(), row = 0;
  T scale = T(op.getAttentionFactor().convertToDouble());
  Shape shape = {batch.tokens(), 2 * half};
  if (llvm::Error error = frame.admit(op, shape))
    return error;
  auto result = Floats<T>::filled(shape);
  for (const Segment &segment : batch.segments) {
    SmallVector<float> table = tables.front();
    if (op.getScaling() == graph::RopeScaling::dynamic)
      table = ropeDynamicTable(op, segment.promptLength);
    else if (op.getScaling() == graph::RopeScaling::longrope && segment.promptLength > context)
      table = tables.back();
    for (int64_t t = 0; t < segment.length; ++t, ++row)
      for (int64_t i = 0; i < half; ++i) {
        // The product is rounded to f32 in every float type: it is part of the op's definition.
        T angle = T(float(segment.firstPosition + t) * table[i]);
        result.row(row)[i] = T(std::cos(double(angle))) * scale;
        result.row(row)[half + i] = T(std::sin(double(angle))) * scale;
      }
  }
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateRope(graph::RopeOp op, Frame<T> &frame) {
  const Floats<T> &input = frame.floats(op.getInput()), &angles = frame.floats(op.getAngles());
  int64_t head = op.getHeadDim(), rotary = angles.columns(), half = rotary / 2;
  if (input.rows() != angles.rows() || input.columns() % head || rotary > head || rotary % 2)
    return failAt(op, "the input and the angles do not fit");
  if (llvm::Error error = frame.admit(op, input.shape))
    return error;
  Floats<T> result = input;
  for (int64_t t = 0; t < input.rows(); ++t)
    for (int64_t base = 0; base < input.columns(); base += head)
      for (int64_t i = 0; i < half; ++i) {
        int64_t a = base + (op.getInterleaved() ? 2 * i : i), b = base + (op.getInterleaved() ? 2 * i + 1 : i + half);
        T cosine = angles.row(t)[i], sine = angles.row(t)[half + i];
        T xa = input.row(t)[a], xb = input.row(t)[b];
        result.row(t)[a] = xa * cosine - xb * sine;
        result.row(t)[b] = xb * cosine + xa * sine;
      }
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> void registerRope(Evaluators<T> evaluators) {
  evaluators.template add<graph::RopeAnglesOp, evaluateRopeAngles<T>>();
  evaluators.template add<graph::RopeOp, evaluateRope<T>>();
}
MLC_REFERENCE_FAMILY(registerRope)

} // namespace mlc::reference
