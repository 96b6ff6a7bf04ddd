//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Weights of few bits, by blocks.
//
#include "compiler/Reference/Elementwise.h"
#include "compiler/Reference/Rounding.h"

using namespace mlir;

namespace mlc::reference {

template <typename T> static llvm::Error evaluateDequantizeBlocks(graph::DequantizeBlocksOp op, Frame<T> &frame) {
  ArrayRef<int64_t> shape = op.getResult().getType().getShape();
  if (llvm::Error error = frame.admit(op, shape))
    return error;
  const Floats<T> &scales = frame.floats(op.getScales());
  int64_t rows = shape[1], bits = int64_t(op.getBits()), perByte = op.perByte();
  auto codeAt = [&](const Integers &packed, int64_t row, int64_t place) {
    uint8_t byte = uint8_t(packed.data[row * packed.shape[1] + place / perByte]);
    return (byte >> place % perByte * bits) & ((1 << bits) - 1);
  };
  auto zeroAt = [&](int64_t row, int64_t block) -> T {
    if (!op.getZeros())
      return T(1 << (bits - 1));
    if (frame.isFloat(op.getZeros()))
      return frame.floats(op.getZeros()).data[row * scales.shape[1] + block];
    return T(codeAt(frame.integers(op.getZeros()), row, block));
  };
  auto result = Floats<T>::filled({shape[0], shape[1]});
  const Integers &codes = frame.integers(op.getCodes());
  Type element = op.getResult().getType().getElementType();
  for (int64_t k = 0; k < shape[0]; ++k)
    for (int64_t n = 0; n < rows; ++n) {
      int64_t block = k / int64_t(op.getBlock());
      T steps = roundTo(element, T(codeAt(codes, n, k)) - zeroAt(n, block));
      result.data[k * rows + n] = roundTo(element, steps * scales.data[n * scales.shape[1] + block]);
    }
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> void registerBlocks(Evaluators<T> evaluators) {
  evaluators.template add<graph::DequantizeBlocksOp, evaluateDequantizeBlocks<T>>();
}
MLC_REFERENCE_FAMILY(registerBlocks)

} // namespace mlc::reference
