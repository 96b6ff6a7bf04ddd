//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Operators of onnxruntime's own domain, com.microsoft.
//
#include "compiler/Import/ONNX/Binders.h"
#include "compiler/Import/ONNX/GraphImporter.h"

using namespace mlir;

namespace mlc::onnx {

/// packed[row, i] of `bits` bits each, the lowest first, as u8: [rows, count].
static Tensor unpacked(Emitter &e, const Tensor &packed, Dim rows, int64_t count, int64_t bits) {
  DType byte{e.builder.getI8Type(), true};
  int64_t perByte = 8 / bits;
  return e.generate({rows, e.dim(count)}, byte, [&](OpBuilder &body, ArrayRef<Value> at) -> Value {
    auto constant = [&](int64_t value) {
      return Value(body.create<arith::ConstantOp>(e.loc, body.getI8IntegerAttr(int8_t(value))));
    };
    Value number = e.constantIndex(body, perByte);
    Value value = e.at(body, packed, {at[0], body.create<arith::DivSIOp>(e.loc, at[1], number)});
    if (bits == 8)
      return value;
    Value place = body.create<arith::RemSIOp>(e.loc, at[1], number);
    Value shift = body.create<arith::IndexCastOp>(e.loc, body.getI8Type(), place);
    shift = body.create<arith::MulIOp>(e.loc, shift, constant(bits));
    return body.create<arith::AndIOp>(e.loc, body.create<arith::ShRUIOp>(e.loc, value, shift),
                                      constant((1 << bits) - 1));
  });
}

/// y = a w^T, w[n, k] = (q[n, k] - zero) scale of each block of a row.
static void bindMatMulNBits(Node &n) {
  Emitter &e = n.e;
  Tensor a = n.in(0), packed = n.in(1), scales = n.in(2), zeros = n.optional(3), bias = n.optional(5);
  int64_t inner = n.intAttr("K", 0), rows = n.intAttr("N", 0), bits = n.intAttr("bits", 4);
  int64_t block = n.intAttr("block_size", 0);
  n.ignore("accuracy_level"); // How an implementation may round; here it is exact.
  if (!a || !packed || !scales)
    return;
  if (n.has(4))
    return n.fail("orders its columns by g_idx, which is not supported");
  constexpr int64_t kMost = int64_t(1) << 30;
  if ((bits != 2 && bits != 4 && bits != 8) || inner < 1 || rows < 1 || inner > kMost || rows > kMost || block < 1 ||
      block > kMost || block * bits % 8)
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
  DType wide = e.widened(a).dtype();
  auto spread = [&](const Tensor &perBlock) {
    Tensor table = e.reshape(perBlock, {e.dim(rows), e.dim(blocks)});
    if (!table)
      return Tensor();
    return e.generate({e.dim(rows), e.dim(inner)}, wide, [&](OpBuilder &body, ArrayRef<Value> at) {
      return e.at(body, table, {at[0], body.create<arith::DivSIOp>(e.loc, at[1], e.constantIndex(body, block))});
    });
  };
  Tensor codes = e.cast(unpacked(e, e.reshape(packed, {e.dim(rows), e.dim(bytes)}), e.dim(rows), inner, bits), wide);
  Tensor zero = e.splat(double(1 << (bits - 1)), wide);
  if (packedZeros)
    zero =
        spread(e.cast(unpacked(e, e.reshape(zeros, {e.dim(rows), e.dim(zeroBytes)}), e.dim(rows), blocks, bits), wide));
  else if (zeros)
    zero = spread(e.cast(zeros, wide));
  Tensor w = e.mul(e.sub(codes, zero), spread(e.cast(scales, wide)));
  Tensor y = e.matmul(e.widened(a), e.transpose(w, {1, 0}));
  if (bias)
    y = e.add(y, e.widened(bias));
  n.give(e.cast(y, a.dtype()));
}

void addMicrosoft(BinderTable &table) { table["MatMulNBits"] = bindMatMulNBits; }

} // namespace mlc::onnx
