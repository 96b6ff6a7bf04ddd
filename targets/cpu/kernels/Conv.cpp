//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// conv: what it takes, and how it is split. Without padding the input is read where it lies, at a table of offsets;
// with padding, from a copy with zeros around it.
//
#include "targets/cpu/kernels/ConvWork.h"

#include <cstring>

namespace mlc::cpu {

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, convRow, ConvRowFn)

namespace {

using ull = unsigned long long;

/// Extents and strides as [n, c, h, w], whatever the rank.
struct Planes {
  int64_t n, c, h, w, nStride, cStride, hStride, wStride;
  explicit Planes(const TensorView &view) {
    bool flat = view.rank == 3;
    n = view.dims[0], c = view.dims[1], h = flat ? 1 : view.dims[2], w = view.dims[flat ? 2 : 3];
    nStride = view.strides[0], cStride = view.strides[1];
    hStride = flat ? 0 : view.strides[2], wStride = view.strides[flat ? 2 : 3];
  }
};

/// Positions of one axis; 0 when the window does not fit.
int64_t outputExtent(int64_t in, uint64_t padding, uint32_t kernel, uint32_t stride, uint32_t dilation) {
  int64_t room = in + int64_t(padding) - int64_t(dilation) * (int64_t(kernel) - 1) - 1;
  return room < 0 ? 0 : room / int64_t(stride) + 1;
}

bool padded(const fb::ConvAttrs &attrs) {
  return attrs.pad_top() || attrs.pad_left() || attrs.pad_bottom() || attrs.pad_right();
}
int64_t paddedH(const fb::ConvAttrs &attrs, int64_t h) {
  return h + int64_t(attrs.pad_top()) + int64_t(attrs.pad_bottom());
}
int64_t paddedW(const fb::ConvAttrs &attrs, int64_t w) {
  return w + int64_t(attrs.pad_left()) + int64_t(attrs.pad_right());
}
bool isDepthwise(const fb::ConvAttrs &attrs) { return attrs.weight().format() == fb::WeightFormat::rows_f32; }

Status checkShape(const TensorView &view, const char *what, const TensorView &x, bool planes) {
  if (view.dtype != DType::f32 || view.rank != x.rank)
    return Error(ErrorCode::Corrupt, "conv: %s must be f32 of rank %u", what, x.rank);
  if (planes && view.strides[view.rank - 1] != 1 && view.dims[view.rank - 1] > 1)
    return Error(ErrorCode::Corrupt, "conv: the rows of %s must be contiguous", what);
  return {};
}

Status check(const KernelCallInfo &call) {
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::ConvAttrs>(call, "conv"));
  MLC_TRY(checkCounts(call, 2 + attrs->has_bias() + attrs->has_residual(), 1));
  const TensorView &x = call.inputs[0], &out = call.outputs[0];
  if (x.dtype != DType::f32 || (x.rank != 3 && x.rank != 4))
    return Error(ErrorCode::Corrupt, "conv: x must be f32 [n, c, w] or [n, c, h, w]");
  MLC_TRY(checkShape(out, "the output", x, true));
  constexpr uint32_t kMost = 1 << 16;
  for (uint32_t value : {attrs->groups(), attrs->kernel_h(), attrs->kernel_w(), attrs->stride_h(), attrs->stride_w(),
                         attrs->dilation_h(), attrs->dilation_w()})
    if (value < 1 || value > kMost)
      return Error(ErrorCode::Corrupt, "conv: groups, kernel, strides and dilations must be 1 to %u", kMost);
  for (uint32_t value : {attrs->pad_top(), attrs->pad_left(), attrs->pad_bottom(), attrs->pad_right()})
    if (value > kMost)
      return Error(ErrorCode::Corrupt, "conv: paddings must be at most %u", kMost);
  if (x.rank == 3 && (attrs->kernel_h() != 1 || attrs->pad_top() || attrs->pad_bottom()))
    return Error(ErrorCode::Corrupt, "conv: a kernel of height %u on one spatial axis", attrs->kernel_h());
  if (attrs->activation() > fb::Activation::MAX || !finite(attrs->slope()))
    return Error(ErrorCode::Unsupported, "conv: activation %u is unknown, or its slope not finite",
                 unsigned(attrs->activation()));
  Planes in(x), to(out);
  uint64_t groups = attrs->groups(), m = uint64_t(to.c), c = uint64_t(in.c);
  uint64_t taps = uint64_t(attrs->kernel_h()) * attrs->kernel_w();
  if (c % groups || m % groups || in.n != to.n)
    return Error(ErrorCode::Corrupt, "conv: %llu channels to %llu in %llu groups, or unequal batches", ull(c), ull(m),
                 ull(groups));
  if (in.h > INT32_MAX || in.w > INT32_MAX ||
      outputExtent(in.h, uint64_t(attrs->pad_top()) + attrs->pad_bottom(), attrs->kernel_h(), attrs->stride_h(),
                   attrs->dilation_h()) != to.h ||
      outputExtent(in.w, uint64_t(attrs->pad_left()) + attrs->pad_right(), attrs->kernel_w(), attrs->stride_w(),
                   attrs->dilation_w()) != to.w)
    return Error(ErrorCode::Corrupt, "conv: [%lld, %lld] is not the output of this window over [%lld, %lld]",
                 static_cast<long long>(to.h), static_cast<long long>(to.w), static_cast<long long>(in.h),
                 static_cast<long long>(in.w));
  const fb::WeightDesc &weight = attrs->weight();
  MLC_ASSIGN(uint64_t bytes, packedBytes(weight));
  if (isDepthwise(*attrs)) {
    if (c != groups || weight.n() != m || weight.k() != taps)
      return Error(ErrorCode::Corrupt, "conv: a weight in rows has one channel a group, as %llu rows of %llu", ull(m),
                   ull(taps));
    MLC_TRY(checkWeight(call.inputs[1], weight));
  } else {
    uint64_t total;
    if (weight.format() != fb::WeightFormat::panel_f32 || weight.n() != m / groups || weight.k() != c / groups * taps ||
        !checkedMul(bytes, groups, total))
      return Error(ErrorCode::Corrupt, "conv: the weight of a group must be panel_f32 [%llu, %llu]", ull(m / groups),
                   ull(c / groups * taps));
    MLC_TRY(checkVector(call.inputs[1], "the packed weight", DType::u8, total));
  }
  if (attrs->has_bias())
    MLC_TRY(checkVector(call.inputs[2], "the bias", DType::f32, m));
  if (attrs->has_residual()) {
    const TensorView &residual = call.inputs[2 + attrs->has_bias()];
    MLC_TRY(checkShape(residual, "the residual", x, true));
    for (unsigned axis = 0; axis < x.rank; ++axis)
      if (residual.dims[axis] != out.dims[axis])
        return Error(ErrorCode::Corrupt, "conv: the residual differs from the output in axis %u", axis);
  }
  return {};
}

/// The table of offsets, then the padded input.
ScratchNeed scratch(const KernelCallInfo &call) {
  const auto *attrs = call.attrsAs<fb::ConvAttrs>();
  Planes in(call.inputs[0]);
  uint64_t bytes = alignUp<uint64_t>(isDepthwise(*attrs) ? 0 : attrs->weight().k() * sizeof(int64_t), 64);
  if (!padded(*attrs))
    return {bytes, 0};
  uint64_t plane, all;
  if (!checkedMul(uint64_t(paddedH(*attrs, in.h)), uint64_t(paddedW(*attrs, in.w)), plane) ||
      !checkedMul(plane, uint64_t(in.c) * sizeof(float), all) || !checkedAdd(all, bytes, all))
    return {UINT64_MAX, 0};
  return {all, 0};
}

struct Functions {
  ConvTileFn *tile;
  ConvRowFn *row;
};

class Conv {
public:
  Conv(const KernelContext &context, const Functions &functions)
      : context(context), functions(functions), attrs(context.attrsAs<fb::ConvAttrs>()), in(context.inputs[0]),
        out(context.outputs[0]) {}

  void run() {
    // What extents have left of the shapes that check() saw.
    oh = std::min(out.h, outputExtent(in.h, uint64_t(attrs.pad_top()) + attrs.pad_bottom(), attrs.kernel_h(),
                                      attrs.stride_h(), attrs.dilation_h()));
    ow = std::min(out.w, outputExtent(in.w, uint64_t(attrs.pad_left()) + attrs.pad_right(), attrs.kernel_w(),
                                      attrs.stride_w(), attrs.dilation_w()));
    int64_t batch = std::min(in.n, out.n), groups = attrs.groups();
    bool depthwise = isDepthwise(attrs);
    uint64_t taps = uint64_t(attrs.kernel_h()) * attrs.kernel_w();
    if (depthwise
            ? in.c != groups || uint64_t(out.c) != attrs.weight().n()
            : uint64_t(in.c / groups) * taps != attrs.weight().k() || uint64_t(out.c / groups) != attrs.weight().n())
      return;
    if (attrs.has_residual()) {
      const TensorView &view = context.inputs[2 + attrs.has_bias()];
      Planes residual(view);
      if (residual.c != out.c)
        return;
      oh = std::min(oh, residual.h), ow = std::min(ow, residual.w), batch = std::min(batch, residual.n);
      residualData = view.as<float>();
      residualPlanes = residual;
    }
    if (oh < 1 || ow < 1)
      return;
    auto *offsets = reinterpret_cast<int64_t *>(context.sharedScratch);
    auto *copy = reinterpret_cast<float *>(context.sharedScratch +
                                           alignUp<uint64_t>(depthwise ? 0 : attrs.weight().k() * sizeof(int64_t), 64));
    const Planes given = in;
    if (padded(attrs)) {
      in.h = paddedH(attrs, given.h), in.w = paddedW(attrs, given.w);
      in.wStride = 1, in.hStride = in.w, in.cStride = in.h * in.w;
    }
    if (!depthwise)
      listOffsets(offsets, in.c / groups);
    for (int64_t n = 0; n < batch; ++n) {
      x = context.inputs[0].as<float>() + n * given.nStride;
      if (padded(attrs)) {
        pad(given, x, copy);
        x = copy;
      }
      depthwise ? planes(n) : panels(n, offsets);
    }
  }

private:
  void listOffsets(int64_t *offset, int64_t channels) const {
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t i = 0; i < attrs.kernel_h(); ++i)
        for (int64_t j = 0; j < attrs.kernel_w(); ++j)
          *offset++ = c * in.cStride + i * attrs.dilation_h() * in.hStride + j * attrs.dilation_w() * in.wStride;
  }

  void pad(const Planes &from, const float *source, float *copy) const {
    int64_t plane = in.cStride;
    context.pool->parallelFor(from.c, 1 + 16384 / (plane + 1), [&](int64_t begin, int64_t end, unsigned) {
      for (int64_t c = begin; c < end; ++c) {
        float *to = copy + c * plane;
        memset(to, 0, size_t(plane) * sizeof(float));
        for (int64_t h = 0; h < from.h; ++h) {
          const float *row = source + c * from.cStride + h * from.hStride;
          float *at = to + (h + int64_t(attrs.pad_top())) * in.w + int64_t(attrs.pad_left());
          if (from.wStride == 1)
            memcpy(at, row, size_t(from.w) * sizeof(float));
          else
            for (int64_t w = 0; w < from.w; ++w)
              at[w] = row[w * from.wStride];
        }
      }
    });
  }

  ConvPost postOf(int64_t n, int64_t channel, int64_t h, int64_t w) const {
    ConvPost post{};
    post.bias = attrs.has_bias() ? context.inputs[2].as<float>() + channel : nullptr;
    if (residualData) {
      const Planes &r = residualPlanes;
      post.residual = residualData + n * r.nStride + channel * r.cStride + h * r.hStride + w;
      post.residualStride = r.cStride;
    }
    post.slope = attrs.slope();
    post.activation = uint8_t(attrs.activation());
    return post;
  }

  void panels(int64_t n, const int64_t *offsets) const {
    // Rows that lie behind one another in all that is written and read in vectors are one.
    bool joined = (oh == 1 || out.hStride == ow) && (oh == 1 || !residualData || residualPlanes.hStride == ow);
    const int64_t groups = attrs.groups(), m = out.c / groups, k = int64_t(attrs.weight().k());
    const int64_t groupBytes = int64_t(packedOffset(attrs.weight(), attrs.weight().n()));
    auto *out0 = context.outputs[0].as<float>() + n * out.nStride;
    const ConvWork work{groups, m, k, joined ? 1 : oh, joined ? oh * ow : ow};
    forEachTile(context.pool, functions.tile, work, [&](ConvTile &tile, const ConvPlace &place) {
      tile.offsets = offsets;
      tile.weight = reinterpret_cast<const float *>(context.inputs[1].as<uint8_t>() + place.group * groupBytes) +
                    place.panel * k * kConvPanel;
      const float *source = x + place.group * (in.c / groups) * in.cStride;
      int64_t h0 = joined ? place.first / ow : place.row, w0 = joined ? place.first % ow : place.first;
      for (int64_t i = 0, h = h0, w = w0; i < tile.positions; ++i) {
        tile.at[i] = source + h * attrs.stride_h() * in.hStride + w * attrs.stride_w() * in.wStride;
        if (++w == ow)
          w = 0, ++h;
      }
      int64_t channel = place.group * m + place.panel * kConvPanel;
      tile.out = out0 + channel * out.cStride + h0 * out.hStride + w0;
      tile.outStride = out.cStride;
      tile.post = postOf(n, channel, h0, w0);
    });
  }

  void planes(int64_t n) const {
    const int64_t taps = attrs.kernel_h() * int64_t(attrs.kernel_w()), multiplier = out.c / in.c;
    auto *out0 = context.outputs[0].as<float>() + n * out.nStride;
    context.pool->parallelFor(out.c * oh, 1 + (int64_t(1) << 15) / (alignUp(ow, kConvBlock) * taps),
                              [&](int64_t begin, int64_t end, unsigned) {
                                for (int64_t item = begin; item < end; ++item) {
                                  int64_t channel = item / oh, h = item % oh;
                                  ConvRow row;
                                  row.x = x + channel / multiplier * in.cStride + h * attrs.stride_h() * in.hStride;
                                  row.step = attrs.stride_w() * in.wStride;
                                  row.kernelH = attrs.kernel_h(), row.kernelW = attrs.kernel_w();
                                  row.strideH = attrs.dilation_h() * in.hStride,
                                  row.strideW = attrs.dilation_w() * in.wStride;
                                  row.weight = context.inputs[1].as<float>() + channel * taps;
                                  row.out = out0 + channel * out.cStride + h * out.hStride;
                                  row.positions = ow;
                                  row.post = postOf(n, channel, h, 0);
                                  functions.row(row);
                                }
                              });
  }

  const KernelContext &context;
  const Functions &functions;
  const fb::ConvAttrs &attrs;
  Planes in, out; // `in` is the copy's where there is padding.
  int64_t oh = 0, ow = 0;
  const float *x = nullptr; // Of the batch's item at hand.
  const float *residualData = nullptr;
  Planes residualPlanes = out;
};

template <Isa isa> void run(const KernelContext &context) {
  static constexpr Functions functions{formFor(convTileForms, isa), formFor(convRowForms, isa)};
  Conv(context, functions).run();
}

} // namespace

MLC_KERNEL_FORMS(MLC_BASIC_FORMS, convKernels, "conv", check, scratch, run)

} // namespace mlc::cpu
