//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Operators of onnxruntime's own domain, com.microsoft.
//
#include "compiler/Import/ONNX/Binders.h"
#include "compiler/Import/ONNX/GraphImporter.h"

#include <limits>

using namespace mlir;

namespace mlc::onnx {

/// Whether XNNPACK's 4-bit products take such a scale once it is rounded to bf16.
static bool isPlainScale(float scale) { return scale >= std::numeric_limits<float>::min() && scale < 0x1.fep127f; }

/// y = a w^T, w[n, k] = (q[n, k] - zero) scale of each block of a row.
static void bindMatMulNBits(Node &n) {
  Emitter &e = n.e;
  Tensor a = n.in(0), packed = n.in(1), scales = n.in(2), zeros = n.optional(3), bias = n.optional(5);
  int64_t inner = n.intAttr("K", 0), rows = n.intAttr("N", 0), bits = n.intAttr("bits", 4);
  int64_t block = n.intAttr("block_size", 0), accuracy = n.intAttr("accuracy_level", 0);
  if (!a || !packed || !scales)
    return;
  if (n.has(4))
    return n.fail("orders its columns by g_idx, which is not supported");
  constexpr int64_t kMostRows = int64_t(1) << 30;
  if (!graph::DequantizeBlocksOp::takes(bits, block, inner) || rows < 1 || rows > kMostRows)
    return n.fail("needs K, N, a block_size, and bits 2, 4 or 8");
  int64_t blocks = (inner + block - 1) / block, bytes = blocks * (block * bits / 8),
          zeroBytes = (blocks * bits + 7) / 8;
  DType byte{e.builder.getI8Type(), true};
  auto holds = [&](const Tensor &tensor, int64_t count) { return e.constant(e.product(tensor.shape)) == rows * count; };
  bool packedZeros = zeros && zeros.dtype() == byte;
  if (!a.isFloat() || a.rank() < 1 || a.shape.back() != e.dim(inner) || !(packed.dtype() == byte) ||
      !holds(packed, bytes) || scales.dtype() != a.dtype() || !holds(scales, blocks) ||
      (zeros && (packedZeros ? !holds(zeros, zeroBytes) : zeros.dtype() != a.dtype() || !holds(zeros, blocks))) ||
      (bias && (bias.shape != Dims{e.dim(rows)} || bias.dtype() != a.dtype())))
    return n.fail("has weights, scales, zero points or a bias that do not fit K, N, bits and block_size");
  // What implementations may round to (0: what they like, which is nothing here).
  constexpr int64_t kToBytes = 4;
  bool rounds = accuracy == kToBytes && bits == 4 && !zeros && block % 32 == 0 && inner % block == 0 &&
                n.importer.everyFloat(scales, isPlainScale);
  auto table = [&](const Tensor &tensor, int64_t columns) {
    return e.reshape(tensor.isFloat() ? e.widened(tensor) : tensor, {e.dim(rows), e.dim(columns)});
  };
  Tensor w =
      e.dequantizeBlocks(table(packed, bytes), table(scales, blocks),
                         zeros ? table(zeros, packedZeros ? zeroBytes : blocks) : Tensor(), inner, bits, block, rounds);
  Tensor y = e.matmul(e.widened(a), w);
  if (bias)
    y = e.add(y, e.widened(bias));
  n.give(e.cast(y, a.dtype()));
}

void addMicrosoft(BinderTable &table) { table["MatMulNBits"] = bindMatMulNBits; }

} // namespace mlc::onnx
