//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
#include "targets/cuda/attention/Check.h"

#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace mlc::attention {

int ErrorText::operator()(const char *format, ...) const {
  va_list values;
  va_start(values, format);
  if (text && bytes)
    std::vsnprintf(text, bytes, format, values);
  va_end(values);
  return 1;
}

namespace {

int sizeOf(mlc_attention_dtype dtype) {
  switch (dtype) {
  case MLC_ATTENTION_F32:
    return 4;
  case MLC_ATTENTION_FP8_E4M3:
  case MLC_ATTENTION_INT8:
    return 1;
  default:
    return 2;
  }
}

/// A tensor of `batch` x `tokens` x `heads` rows: address and strides are multiples of 16 bytes where they are used.
bool checkTensor(const char *name, const mlc_attention_tensor &tensor, int size, int64_t batch, int64_t tokens,
                 int64_t heads, const ErrorText &error) {
  if (batch == 0 || tokens == 0)
    return true;
  if (!tensor.data)
    return !error("%s has no address", name);
  if (reinterpret_cast<uintptr_t>(tensor.data) % 16)
    return !error("%s: its address is not a multiple of 16 bytes", name);
  const struct {
    const char *axis;
    int64_t stride, extent;
  } axes[] = {{"batch", tensor.batch, batch}, {"token", tensor.token, tokens}, {"head", tensor.head, heads}};
  for (const auto &[axis, stride, extent] : axes)
    if (extent > 1 && stride % (16 / size))
      return !error("%s: the %s stride is %lld elements; it must be a multiple of 16 bytes", name, axis,
                    static_cast<long long>(stride));
  return true;
}

bool checkPages(const mlc_attention_problem &problem, const ErrorText &error) {
  if (!problem.page_table)
    return true;
  if (problem.cu_seqlens_kv)
    return !error("keys are both paged and ragged");
  if (!problem.lengths_kv)
    return !error("a page table needs the sequences' lengths");
  if (problem.page_size < 1 || problem.pages < 1 || problem.pages_per_sequence < 0)
    return !error("pages: %d of %d tokens, %d a sequence", problem.pages, problem.page_size,
                  problem.pages_per_sequence);
  if (int64_t(problem.page_size) * problem.pages_per_sequence > INT32_MAX)
    return !error("pages: %d of %d tokens are more than 2^31 - 1 tokens", problem.pages_per_sequence,
                  problem.page_size);
  return true;
}

bool checkSizes(const mlc_attention_problem &problem, const ErrorText &error) {
  if (problem.batch < 0 || problem.seq_q < 0 || problem.seq_kv < 0 || problem.total_q < 0 || problem.total_kv < 0)
    return !error("a negative size: batch %d, %d queries, %d keys", problem.batch, problem.seq_q, problem.seq_kv);
  if (problem.heads_kv < 1 || problem.heads_q < 1 || problem.heads_q % problem.heads_kv)
    return !error("%d query heads are not a multiple of %d key heads", problem.heads_q, problem.heads_kv);
  const bool known = problem.head_dim == 64 || problem.head_dim == 80 || problem.head_dim == 96 ||
                     problem.head_dim == 128 || problem.head_dim == 256;
  if (!known)
    return !error("head size %d is not compiled in; 64, 80, 96, 128, 256 are", problem.head_dim);
  // Sums of a row, a key and a bound of a window stay below 2^31: simplifyWindow().
  if (int64_t(problem.seq_q) + problem.seq_kv > INT32_MAX / 2)
    return !error("%d queries and %d keys are more than 2^30", problem.seq_q, problem.seq_kv);
  const int64_t heads = int64_t(problem.batch) * problem.heads_q;
  if (heads > INT32_MAX || (problem.seq_q / 64 + 1) * heads > INT32_MAX ||
      (problem.seq_kv / 64 + 1) * int64_t(problem.batch) * problem.heads_kv > INT32_MAX)
    return !error("batch %d of %d heads and %d queries needs more than 2^31 - 1 blocks", problem.batch, problem.heads_q,
                  problem.seq_q);
  if (problem.window_left < -1 || problem.window_right < -1)
    return !error("a window of %d and %d; -1: no bound", problem.window_left, problem.window_right);
  if (!std::isfinite(problem.scale) || !std::isfinite(problem.softcap) || problem.softcap < 0)
    return !error("scale %g, soft-cap %g; both must be finite, the latter not negative", double(problem.scale),
                  double(problem.softcap));
  return true;
}

/// Which types of K and V go with which of Q.
bool checkTypes(const mlc_attention_problem &problem, const ErrorText &error) {
  const bool half = problem.dtype == MLC_ATTENTION_BF16 || problem.dtype == MLC_ATTENTION_F16;
  if (!half && problem.dtype != MLC_ATTENTION_F32)
    return !error("queries of type %d; bf16, f16 and f32 are known", int(problem.dtype));
  if (problem.kv_dtype == problem.dtype)
    return !problem.page_table || !half || problem.page_size % 16 == 0 ||
           !error("pages of %d tokens; they must be a multiple of 16", problem.page_size);
  if (!half || (problem.kv_dtype != MLC_ATTENTION_FP8_E4M3 && problem.kv_dtype != MLC_ATTENTION_INT8))
    return !error("keys and values of type %d with queries of type %d", int(problem.kv_dtype), int(problem.dtype));
  if (problem.head_dim == 80)
    return !error("head size 80 has no kernel for 8-bit keys and values");
  if (problem.kv_dtype == MLC_ATTENTION_INT8 && (!problem.k_scales || !problem.v_scales))
    return !error("int8 keys and values need their scales");
  if (!problem.k_scales != !problem.v_scales)
    return !error("scales of keys or of values alone");
  if (problem.page_table && problem.page_size % 16)
    return !error("pages of %d tokens; they must be a multiple of 16", problem.page_size);
  return true;
}

} // namespace

bool checkProblem(const mlc_attention_problem &problem, const ErrorText &error) {
  if (!checkSizes(problem, error) || !checkPages(problem, error))
    return false;
  if (!checkTypes(problem, error))
    return false;
  const int size = sizeOf(problem.dtype), kvSize = sizeOf(problem.kv_dtype);
  const bool raggedQ = problem.cu_seqlens_q, raggedKv = problem.cu_seqlens_kv;
  const int64_t batchQ = raggedQ ? 1 : problem.batch, tokensQ = raggedQ ? problem.total_q : problem.seq_q;
  int64_t batchKv = raggedKv ? 1 : problem.batch, tokensKv = raggedKv ? problem.total_kv : problem.seq_kv;
  if (problem.page_table)
    batchKv = problem.pages, tokensKv = problem.page_size;
  return checkTensor("query", problem.q, size, batchQ, tokensQ, problem.heads_q, error) &&
         checkTensor("output", problem.out, size, batchQ, tokensQ, problem.heads_q, error) &&
         checkTensor("key", problem.k, kvSize, batchKv, tokensKv, problem.heads_kv, error) &&
         checkTensor("value", problem.v, kvSize, batchKv, tokensKv, problem.heads_kv, error);
}

bool checkGradients(const mlc_attention_problem &problem, const mlc_attention_gradients &gradients,
                    const ErrorText &error) {
  const bool half = problem.dtype == MLC_ATTENTION_BF16 || problem.dtype == MLC_ATTENTION_F16;
  if (!half || problem.kv_dtype != problem.dtype)
    return !error("gradients exist for bf16 and f16 alone");
  if (problem.head_dim != 64 && problem.head_dim != 128)
    return !error("gradients exist for head size 64 and 128; it is %d", problem.head_dim);
  if (problem.lengths_kv || problem.page_table)
    return !error("no gradients through a cache");
  if (!problem.lse)
    return !error("gradients need the forward pass's log-sum-exp");
  const bool raggedQ = problem.cu_seqlens_q, raggedKv = problem.cu_seqlens_kv;
  const int64_t batchQ = raggedQ ? 1 : problem.batch, tokensQ = raggedQ ? problem.total_q : problem.seq_q;
  const int64_t batchKv = raggedKv ? 1 : problem.batch, tokensKv = raggedKv ? problem.total_kv : problem.seq_kv;
  return checkTensor("gradient of the output", gradients.dout, 2, batchQ, tokensQ, problem.heads_q, error) &&
         checkTensor("gradient of the query", gradients.dq, 2, batchQ, tokensQ, problem.heads_q, error) &&
         checkTensor("gradient of the key", gradients.dk, 2, batchKv, tokensKv, problem.heads_kv, error) &&
         checkTensor("gradient of the value", gradients.dv, 2, batchKv, tokensKv, problem.heads_kv, error);
}

} // namespace mlc::attention
