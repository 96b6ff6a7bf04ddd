//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// matmul: (a f32[..., m, k], b f32[..., k, n]) -> f32[..., m, n], batch axes equal (a view of stride 0 is broadcast).
// The rows of a are packed in panels of 16 as the channels of a convolution are, b is read where it lies, transposed or
// not. Every output adds its products by rising k.
//
#include "targets/cpu/kernels/ConvWork.h"

namespace mlc::cpu {

namespace {

Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 2, 1));
  MLC_TRY(attrsOrError<fb::NoAttrs>(call, "matmul"));
  const TensorView &a = call.inputs[0], &b = call.inputs[1], &out = call.outputs[0];
  for (const TensorView *view : {&a, &b, &out})
    if (view->dtype != DType::f32 || view->rank < 2 || view->rank > kMaxRank || view->rank != out.rank)
      return Error(ErrorCode::Corrupt, "matmul takes f32 of one rank, 2 at least");
  unsigned last = out.rank - 1u;
  for (unsigned axis = 0; axis + 1 < last; ++axis)
    if (a.dims[axis] != out.dims[axis] || b.dims[axis] != out.dims[axis] || out.dims[axis] < 0)
      return Error(ErrorCode::Corrupt, "matmul: the operands differ in axis %u", axis);
  if (a.dims[last] < 1 || a.dims[last] != b.dims[last - 1] || a.dims[last - 1] != out.dims[last - 1] ||
      b.dims[last] != out.dims[last] || out.dims[last] < 0 || out.dims[last - 1] < 0)
    return Error(ErrorCode::Corrupt, "matmul: [%lld, %lld] times [%lld, %lld] is not [%lld, %lld]",
                 static_cast<long long>(a.dims[last - 1]), static_cast<long long>(a.dims[last]),
                 static_cast<long long>(b.dims[last - 1]), static_cast<long long>(b.dims[last]),
                 static_cast<long long>(out.dims[last - 1]), static_cast<long long>(out.dims[last]));
  if (out.dims[last] > 1 && out.strides[last] != 1)
    return Error(ErrorCode::Corrupt, "matmul: the rows of the output must be contiguous");
  return {};
}

/// The table of offsets, then a's panels.
ScratchNeed scratch(const KernelCallInfo &call) {
  const TensorView &a = call.inputs[0];
  uint64_t k = uint64_t(a.dims[a.rank - 1u]), rows = alignUp<uint64_t>(uint64_t(a.dims[a.rank - 2u]), kConvPanel);
  uint64_t bytes, table = alignUp<uint64_t>(k * sizeof(int64_t), 64);
  if (!checkedMul(k, rows, bytes) || !checkedMul<uint64_t>(bytes, sizeof(float), bytes) ||
      !checkedAdd(bytes, table, bytes))
    return {UINT64_MAX, 0};
  return {bytes, 0};
}

template <Isa isa> void run(const KernelContext &context) {
  const TensorView &a = context.inputs[0], &b = context.inputs[1], &out = context.outputs[0];
  const unsigned last = out.rank - 1u;
  // What extents have left of the shapes that check() saw.
  const int64_t k = std::min(a.dims[last], b.dims[last - 1]), m = std::min(a.dims[last - 1], out.dims[last - 1]),
                n = std::min(b.dims[last], out.dims[last]);
  int64_t batches = 1, dims[kMaxRank];
  for (unsigned axis = 0; axis + 1 < last; ++axis) {
    dims[axis] = std::min({a.dims[axis], b.dims[axis], out.dims[axis]});
    batches *= dims[axis];
  }
  if (batches < 1 || k < 1 || m < 1 || n < 1)
    return;
  auto *offsets = reinterpret_cast<int64_t *>(context.sharedScratch);
  auto *panels =
      reinterpret_cast<float *>(context.sharedScratch + alignUp<uint64_t>(uint64_t(k) * sizeof(int64_t), 64));
  for (int64_t i = 0; i < k; ++i)
    offsets[i] = i * b.strides[last - 1];
  for (int64_t batch = 0; batch < batches; ++batch) {
    int64_t at[3] = {};
    const TensorView *views[] = {&a, &b, &out};
    for (int64_t axis = int64_t(last) - 2, rest = batch; axis >= 0; rest /= dims[axis--])
      for (int v = 0; v < 3; ++v)
        at[v] += rest % dims[axis] * views[v]->strides[axis];
    const float *left = a.as<float>() + at[0], *right = b.as<float>() + at[1];
    context.pool->parallelFor(ceilDiv(m, kConvPanel), 1 + 4096 / k, [&](int64_t begin, int64_t end, unsigned) {
      for (int64_t panel = begin; panel < end; ++panel) {
        float *to = panels + panel * k * kConvPanel;
        int64_t rows = std::min(m - panel * kConvPanel, kConvPanel);
        for (int64_t r = 0; r < kConvPanel; ++r) {
          const float *row = left + (panel * kConvPanel + r) * a.strides[last - 1];
          for (int64_t i = 0; i < k; ++i)
            to[i * kConvPanel + r] = r < rows ? row[i * a.strides[last]] : 0;
        }
      }
    });
    forEachTile(context.pool, formFor(convTileForms, isa), {1, m, k, 1, n},
                [&](ConvTile &tile, const ConvPlace &place) {
                  tile.offsets = offsets;
                  tile.weight = panels + place.panel * k * kConvPanel;
                  for (int64_t i = 0; i < tile.positions; ++i)
                    tile.at[i] = right + (place.first + i) * b.strides[last];
                  tile.out = out.as<float>() + at[2] + place.panel * kConvPanel * out.strides[last - 1] + place.first;
                  tile.outStride = out.strides[last - 1];
                  tile.post = {};
                });
  }
}

} // namespace

MLC_KERNEL_FORMS(MLC_BASIC_FORMS, matmulKernels, "matmul", check, scratch, run)

} // namespace mlc::cpu
