//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// conv1d_causal: y[t] = activation(bias + sum over j < kernel of weight[j] * x[t - kernel + 1 + j]), a channel on its
// own, j ascending. What lies before the step's tokens comes from the log of their page, then from the page's base;
// zeros before position 0.
//
#include "targets/cpu/simd/Activation.h"
#if MLC_ISA_BASE
#include "targets/cpu/Kernels.h"

#include <cstring>
#endif

namespace mlc::cpu {

/// Channels [0, channels) of some consecutive tokens, the last one first, so that the output may be the input.
struct ConvRows {
  const float *const *rows; // rows[t + j]: x of token t at tap j; null: zeros. kernel - 1 + tokens of them.
  float *y;                 // Of the first token.
  int64_t yStride, tokens, channels, kernel;
  const float *weight; // [channels][kernel]
  const float *bias;   // null: zeros.
  Act act;
};
using ConvFn = void(const ConvRows &args);

namespace MLC_ISA_NS {
namespace {

/// The taps of 16 channels: taps[j] from [channel][kernel].
MLC_SIMD void loadTaps(const float *weight, int64_t kernel, int64_t channels, VF *taps) {
  if (kernel == 4 && channels >= kLanes) {
    // Four vectors of [4 channels][4 taps].
    VF v[4];
    for (int i = 0; i < 4; ++i)
      v[i] = load(weight + i * kLanes);
    VF a = __builtin_shufflevector(v[0], v[1], 0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
    VF b = __builtin_shufflevector(v[2], v[3], 0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
    VF c = __builtin_shufflevector(v[0], v[1], 2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
    VF d = __builtin_shufflevector(v[2], v[3], 2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
    taps[0] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    taps[1] = __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    taps[2] = __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    taps[3] = __builtin_shufflevector(c, d, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    return;
  }
  for (int64_t j = 0; j < kernel; ++j) {
    taps[j] = zero();
    for (int64_t i = 0; i < kLanes && i < channels; ++i)
      taps[j][i] = weight[i * kernel + j];
  }
}

template <int K> void convBlock(const ConvRows &a, int64_t channel) {
  int64_t kernel = K ? K : a.kernel, left = a.channels - channel;
  VF taps[64];
  loadTaps(a.weight + channel * kernel, kernel, left, taps);
  VF bias = a.bias ? loadPart(a.bias + channel, left) : zero();
  for (int64_t t = a.tokens; t-- > 0;) {
    VF sum = bias;
    for (int64_t j = 0; j < kernel; ++j)
      if (const float *row = a.rows[t + j])
        sum = fma(taps[j], loadPart(row + channel, left), sum);
    storePart(a.y + t * a.yStride + channel, activateUsually<Act::silu>(a.act, sum), left);
  }
}

} // namespace

ConvFn convRows;
void convRows(const ConvRows &a) {
  for (int64_t channel = 0; channel < a.channels; channel += kLanes)
    a.kernel == 4 ? convBlock<4>(a, channel) : convBlock<0>(a, channel);
}

} // namespace MLC_ISA_NS

#if MLC_ISA_BASE

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, convRows, ConvFn)

constexpr int64_t kMaxKernel = 64, kRowBlock = 32, kChannelBlock = 256;

static Status check(const KernelCallInfo &call) {
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::Conv1dAttrs>(call, "conv1d_causal"));
  MLC_TRY(checkCounts(call, attrs->has_bias() ? 3 : 2, 1, 1));
  uint64_t channels = attrs->channels(), kernel = attrs->kernel();
  if (!channels || channels > kMaxExtent || kernel < 2 || kernel > uint64_t(kMaxKernel))
    return Error(ErrorCode::Corrupt, "conv1d_causal: %llu channels, kernel %u: out of range",
                 (unsigned long long)channels, attrs->kernel());
  if (attrs->activation() > fb::Activation::MAX)
    return Error(ErrorCode::Unsupported, "conv1d_causal: activation %u is unknown", unsigned(attrs->activation()));
  MLC_TRY(checkRecurrentState(call, fb::StateKind::conv, {channels, kernel - 1}, 0));
  MLC_TRY(checkMatrix(call.inputs[0], "x", DType::f32, channels));
  MLC_TRY(checkMatrix(call.inputs[1], "the weight", DType::f32, kernel));
  if (uint64_t(call.inputs[1].dims[0]) != channels || uint64_t(call.inputs[1].strides[0]) != kernel)
    return Error(ErrorCode::Corrupt, "the weight must be contiguous with %llu rows", (unsigned long long)channels);
  if (attrs->has_bias())
    MLC_TRY(checkVector(call.inputs[2], "the bias", DType::f32, channels));
  MLC_TRY(checkMatrix(call.outputs[0], "the output", DType::f32, channels));
  return checkTokenRows(call, 1);
}

namespace {

/// The x of every position around a segment's tokens.
struct History {
  const KernelContext &context;
  const RecurrentStateView &state = context.recurrentStates[0];
  const BatchSegment &segment;
  const RecurrentSegment &view;
  int64_t channels, kernel;
  int64_t page = segment.firstPosition / kRecurrentPage * kRecurrentPage;

  /// Of the token `index` of the segment, from -(kernel - 1) on; null before position 0.
  const float *row(int64_t index) const {
    if (index >= 0)
      return context.inputs[0].row<float>(segment.firstRow + index);
    int64_t position = segment.firstPosition + index;
    if (position < 0)
      return nullptr;
    if (position >= page)
      return state.log(view.log, position - page);
    return reinterpret_cast<const float *>(state.base(view.base)) + (position - page + kernel - 1) * channels;
  }

  /// Channels [begin, end) of what the step leaves: log entries, and the columns before each page whose base is kept.
  void keep(int64_t begin, int64_t end) const {
    auto copy = [&](float *to, const float *from) {
      if (from)
        memcpy(to + begin, from + begin, size_t(end - begin) * sizeof(float));
      else
        memset(to + begin, 0, size_t(end - begin) * sizeof(float));
    };
    int64_t last = segment.firstPosition + segment.length;
    for (int64_t i = 0, start = page; start < last; ++i, start += kRecurrentPage) {
      const RecurrentPage &kept = view.pages[i];
      int64_t next = start + kRecurrentPage, from = start > segment.firstPosition ? start : segment.firstPosition;
      if (kept.log != RecurrentStateView::kNoBlock)
        for (int64_t p = from; p < (next < last ? next : last); ++p)
          copy(state.log(kept.log, p - start), row(p - segment.firstPosition));
      if (kept.base != RecurrentStateView::kNoBlock && next <= last)
        for (int64_t j = 0; j < kernel - 1; ++j)
          copy(reinterpret_cast<float *>(state.base(kept.base)) + j * channels,
               row(next - (kernel - 1) + j - segment.firstPosition));
    }
  }
};

template <Isa isa> void run(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::Conv1dAttrs>();
  const TensorView &x = context.inputs[0], &y = context.outputs[0];
  int64_t channels = int64_t(attrs.channels()), kernel = attrs.kernel();
  if (commonRows({{&x, attrs.channels()}, {&y, attrs.channels()}}) != context.batch->tokens)
    return;
  std::span<const BatchSegment> segments = context.batch->segments;
  int64_t channelBlocks = ceilDiv(channels, kChannelBlock), items = 0;
  // In place, a segment's tokens go one way.
  bool inPlace = x.data == y.data;
  auto blocksOf = [&](const BatchSegment &segment) {
    return inPlace ? 1 : ceilDiv(int64_t(segment.length), kRowBlock);
  };
  for (const BatchSegment &segment : segments)
    items += blocksOf(segment) * channelBlocks;
  context.pool->parallelFor(items, context.batch->tokens < 8 ? 4 : 1, [&](int64_t begin, int64_t end, unsigned) {
    for (int64_t item = begin; item < end; ++item) {
      size_t s = 0;
      int64_t index = item;
      for (; index >= blocksOf(segments[s]) * channelBlocks; ++s)
        index -= blocksOf(segments[s]) * channelBlocks;
      int64_t channel = index % channelBlocks * kChannelBlock, block = index / channelBlocks;
      int64_t channelEnd = channels - channel < kChannelBlock ? channels : channel + kChannelBlock;
      History history{.context = context,
                      .segment = segments[s],
                      .view = context.recurrentStates[0].segments[s],
                      .channels = channels,
                      .kernel = kernel};
      if (block == 0)
        history.keep(channel, channelEnd);
      int64_t first = block * kRowBlock, last = inPlace ? segments[s].length : first + kRowBlock;
      last = last < segments[s].length ? last : segments[s].length;
      for (int64_t t = last; t > first;) {
        int64_t from = t - first > kRowBlock ? t - kRowBlock : first;
        const float *rows[kRowBlock + kMaxKernel];
        for (int64_t i = 0; i < t - from + kernel - 1; ++i) {
          const float *row = history.row(from - (kernel - 1) + i);
          rows[i] = row ? row + channel : nullptr;
        }
        formFor(convRowsForms,
                isa)({rows, y.row<float>(segments[s].firstRow + from) + channel, y.strides[0], t - from,
                      channelEnd - channel, kernel, context.inputs[1].as<float>() + channel * kernel,
                      attrs.has_bias() ? context.inputs[2].as<float>() + channel : nullptr, Act(attrs.activation())});
        t = from;
      }
    }
  });
}

} // namespace

MLC_KERNEL_FORMS(MLC_BASIC_FORMS, conv1dKernels, "conv1d_causal", check, nullptr, run)

#endif

} // namespace mlc::cpu
