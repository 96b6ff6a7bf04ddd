//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cpu/Kernels.h"
#include "targets/cuda/Kernels.h"
#include "targets/cuda/recurrent/Base.h"

namespace mlc::cuda {

// As in Ssd.cuh.
static constexpr int64_t kColumns = 32;
static constexpr unsigned kSsdThreads = 256;
static_assert(kSsdThreads == kSsdTileThreads);
/// b and c are packed in steps of more tokens, of so many a segment on average at least.
static constexpr uint64_t kMostUnpacked = 64, kPackedTokens = 32;

static Status checkConv(const KernelCallInfo &call) { return checkAsHost(call, "conv1d_causal"); }

static void runConv(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::Conv1dAttrs>();
  const TensorView &x = context.inputs[0], &out = context.outputs[0];
  if (cpu::commonRows({{&x, attrs.channels()}, {&out, attrs.channels()}}) != context.batch->tokens)
    return;
  Stream &stream = streamOf(context);
  ConvArgs args{};
  args.step = stream.step();
  args.state = stream.recurrent(context.recurrentStates[0]);
  args.x = inputRows(x);
  args.weight = context.inputs[1].as<float>();
  args.bias = attrs.has_bias() ? context.inputs[2].as<float>() : nullptr;
  args.out = rowsOf(out);
  args.channels = int64_t(attrs.channels());
  args.kernel = int32_t(attrs.kernel());
  args.act = Act(attrs.activation());
  stream.launch(Function::mlc_conv1d, rowGrid(args.channels, context.batch->tokens), kRowThreads, args);
}

Status checkSsdAttrs(const fb::SsdAttrs &attrs) {
  if (attrs.state() > kMostSsdState)
    return Error(ErrorCode::Unsupported, "no CUDA kernel has states of %u; at most %u", attrs.state(), kMostSsdState);
  return {};
}

static Status checkSsd(const KernelCallInfo &call) {
  MLC_TRY(checkAsHost(call, "ssd"));
  return checkSsdAttrs(*call.attrsAs<fb::SsdAttrs>());
}

static void runSsd(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::SsdAttrs>();
  uint64_t columns = uint64_t(attrs.heads()) * attrs.head_dim(), states = uint64_t(attrs.groups()) * attrs.state();
  std::span<const TensorView> in = context.inputs;
  if (cpu::commonRows({{&in[0], columns},
                       {&in[1], attrs.heads()},
                       {&in[2], states},
                       {&in[3], states},
                       {&context.outputs[0], columns}}) != context.batch->tokens)
    return;
  Stream &stream = streamOf(context);
  const RecurrentStateView &state = context.recurrentStates[0];
  SsdArgs args{};
  args.step = stream.step();
  args.state = stream.recurrent(state);
  args.x = inputRows(in[0]);
  args.dt = inputRows(in[1]);
  args.b = inputRows(in[2]);
  args.c = inputRows(in[3]);
  args.a = in[4].as<float>();
  args.d = in[5].as<float>();
  args.dtBias = in[6].as<float>();
  args.out = rowsOf(context.outputs[0]);
  args.heads = int32_t(attrs.heads());
  args.headDim = int32_t(attrs.head_dim());
  args.groups = int32_t(attrs.groups());
  args.size = int32_t(attrs.state());
  args.dtMin = attrs.dt_min();
  args.dtMax = attrs.dt_max();
  args.logA = attrs.log_a();
  args.bf16State = state.state->recurrent()->dtype() == DType::bf16;
  const bool tile = attrs.products() == fb::Products::bf16, large = args.size > 128;
  const int64_t together = tile ? kSsdTileColumns : kColumns;
  const unsigned shared = tile ? unsigned(ssdTileBytes(large ? 256 : 128)) : 0;
  const uint64_t tokens = uint64_t(context.batch->tokens), segments = context.batch->segments.size();
  if (tile && tokens > kMostUnpacked && segments <= tokens / kPackedTokens) {
    args.packed = context.sharedScratch;
    stream.launch(Function(unsigned(Function::mlc_ssd_pack_128) + large),
                  {tokens / kStatePage + 2, segments, attrs.groups()}, kSsdPackThreads, args, shared);
  }
  stream.launch(Function(unsigned(tile ? Function::mlc_ssd_tile_128 : Function::mlc_ssd_128) + large),
                {uint64_t(args.heads * ceilDiv<int64_t>(args.headDim, together)), segments}, kSsdThreads, args, shared);
}

/// Pages of such a step: tokens / kStatePage + 2 a segment at most.
static ScratchNeed scratchSsd(const KernelCallInfo &call) {
  const auto &attrs = *call.attrsAs<fb::SsdAttrs>();
  static_assert(kPackedTokens == 2 * kStatePage);
  return {attrs.products() == fb::Products::bf16 ? uint64_t(call.maxTokens) / 8 * attrs.groups() *
                                                       uint64_t(ssdPackedBytes(attrs.state() > 128 ? 256 : 128))
                                                 : 0};
}

const KernelDef recurrentKernels[] = {{"conv1d_causal", 1, Isa::portable, checkConv, nullptr, runConv},
                                      {"ssd", 1, Isa::portable, checkSsd, scratchSsd, runSsd}};

} // namespace mlc::cuda
