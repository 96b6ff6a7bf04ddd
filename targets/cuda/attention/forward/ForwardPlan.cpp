//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
#include "targets/cuda/attention/forward/ForwardPlan.h"
#include "targets/cuda/attention/Plan.h"
#include "targets/cuda/attention/forward/ForwardShapes.h"

#include <algorithm>
#include <cstdio>

namespace mlc::attention {

namespace {

// Values of the driver's enumerations.
constexpr int kFloat16 = 6, kBfloat16 = 9, kSwizzle128 = 3, kPromote256 = 3;

struct Form {
  int rows, columns, threads, sharedBytes;
};
template <class S> constexpr Form formOf(int columns) { return {S::kRows, columns, S::kThreads, S::kSharedBytes}; }
template <int kHeadDim> constexpr Form hopperForm() {
  return formOf<HopperForm<kHeadDim>>(HopperForm<kHeadDim>::kColumns);
}
template <int kHeadDim, bool kSmall> constexpr Form ampereForm() { return formOf<AmpereForm<kHeadDim, kSmall>>(0); }

/// By head dimension 64, 80, 96, 128, 256.
constexpr Form kHopper[] = {hopperForm<64>(), hopperForm<80>(), hopperForm<96>(), hopperForm<128>(), hopperForm<256>()};
constexpr Form kAmpere[] = {ampereForm<64, false>(), ampereForm<80, false>(), ampereForm<96, false>(),
                            ampereForm<128, false>(), ampereForm<256, false>()};
constexpr Form kSmall[] = {ampereForm<64, true>(), ampereForm<80, true>(), ampereForm<96, true>(),
                           ampereForm<128, true>(), ampereForm<256, true>()};
constexpr int indexOf(int headDim) {
  return headDim == 64 ? 0 : headDim == 80 ? 1 : headDim == 96 ? 2 : headDim == 128 ? 3 : 4;
}
/// With less shared memory a block (sm_86, 89, 120 have 99 KB) the small forms are taken: two blocks a processor.
constexpr int kSmallBytes = 128 * 1024;
/// Head dimensions whose small form is another kernel (Forward.cuh).
constexpr bool smallDiffers(int headDim) { return headDim >= 128; }

/// Boxes of 64 columns and `rows` tokens, in the 128-byte swizzle. False where the copy engine cannot read the tensor.
bool encode(TensorMap &map, const mlc_attention_tensor &tensor, const mlc_attention_problem &problem,
            const Device &device, int64_t tokens, int heads, int64_t batch, int rows) {
  const uint64_t sizes[] = {uint64_t(problem.head_dim), uint64_t(tokens), uint64_t(heads), uint64_t(batch)};
  uint64_t strides[3];
  const int64_t elements[] = {tensor.token, tensor.head, tensor.batch};
  for (int i = 0; i < 3; ++i) {
    // The stride of a single entry is never used.
    strides[i] = sizes[i + 1] > 1 ? uint64_t(elements[i]) * 2 : 16;
  }
  const uint32_t box[] = {64, uint32_t(rows), 1, 1}, steps[] = {1, 1, 1, 1};
  return device.encode(&map, problem.dtype == MLC_ATTENTION_BF16 ? kBfloat16 : kFloat16, 4, tensor.data, sizes, strides,
                       box, steps, 0, kSwizzle128, kPromote256, 0) == 0;
}

bool encodeAll(ForwardArgs &args, const Device &device, const ErrorText &error) {
  const mlc_attention_problem &p = args.problem;
  const bool paged = p.page_table, raggedQ = p.cu_seqlens_q, raggedKv = p.cu_seqlens_kv;
  const int columns = kHopper[indexOf(p.head_dim)].columns;
  const int64_t tokens = paged ? p.page_size : raggedKv ? p.total_kv : p.seq_kv;
  const int64_t batch = paged ? p.pages : raggedKv ? 1 : p.batch;
  const int rows = paged ? kPagedBoxRows : columns;
  const int64_t tokensQ = raggedQ ? p.total_q : p.seq_q;
  // Without a row there is no block of threads, without a key nothing is copied: the boxes may be of Q.
  if (p.batch == 0 || tokensQ == 0)
    return true;
  const bool keys = tokens > 0 && batch > 0;
  if (!encode(args.q, p.q, p, device, tokensQ, p.heads_q, raggedQ ? 1 : p.batch, 64))
    return !error("query: the device cannot copy a tensor of these strides; make it contiguous");
  if (keys && !encode(args.k, p.k, p, device, tokens, p.heads_kv, batch, rows))
    return !error("key: the device cannot copy a tensor of these strides; make it contiguous");
  if (keys && !encode(args.v, p.v, p, device, tokens, p.heads_kv, batch, rows))
    return !error("value: the device cannot copy a tensor of these strides; make it contiguous");
  return true;
}

} // namespace

bool planForward(const mlc_attention_problem &problem, const Device &device, uint32_t *counter, ForwardPlan &plan,
                 const ErrorText &error) {
  plan = {};
  ForwardArgs &args = plan.args;
  takeProblem(args, problem);
  if (device.hopper && !encodeAll(args, device, error))
    return false;
  const int index = indexOf(problem.head_dim);
  const bool small = !device.hopper && device.sharedBytes < kSmallBytes;
  const Form &form = (device.hopper ? kHopper : small ? kSmall : kAmpere)[index];
  args.order = orderOf(cuda::ceilDiv(problem.seq_q, form.rows), int64_t(problem.batch) * problem.heads_q, args.group,
                       int64_t(4) * problem.head_dim * args.problem.seq_kv);
  args.counter = device.hopper ? counter : nullptr;
  plan.blocks = args.order.tiles();
  if (args.counter)
    plan.blocks = std::min<int64_t>(plan.blocks, device.processors);
  plan.threads = form.threads;
  plan.sharedBytes = form.sharedBytes;
  std::snprintf(plan.kernel, sizeof(plan.kernel), "mlc_attention_forward_%s%s_%d",
                small && smallDiffers(problem.head_dim) ? "small_" : "",
                problem.dtype == MLC_ATTENTION_BF16 ? "bf16" : "f16", problem.head_dim);
  return true;
}

} // namespace mlc::attention
