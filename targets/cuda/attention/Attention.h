//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Attention on CUDA devices: softmax(scale * Q K^T + mask) V, as a C interface that the runtime and the PyTorch
// extension share. Nothing here waits for the device; nothing is allocated.
//
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mlc_attention_dtype {
  MLC_ATTENTION_BF16 = 0,
  MLC_ATTENTION_F16 = 1,
  MLC_ATTENTION_F32 = 2,
  MLC_ATTENTION_FP8_E4M3 = 3, // K and V of decode only
  MLC_ATTENTION_INT8 = 4,     // K and V of decode only, with a scale for each token and head
} mlc_attention_dtype;

/// A tensor on the device, [batch, tokens, heads, head_dim] in any order of the first three; strides in elements; the
/// last dimension is contiguous. Base and strides are multiples of 16 bytes. With cumulative lengths the batch stride
/// is unused. K and V of a paged cache: [pages, page_size, heads, head_dim], `batch` being the page.
typedef struct mlc_attention_tensor {
  void *data;
  int64_t batch, token, head;
} mlc_attention_tensor;

typedef struct mlc_attention_problem {
  mlc_attention_dtype dtype;    // of Q, of the output, and of K and V unless kv_dtype says otherwise
  mlc_attention_dtype kv_dtype; // decode: as dtype, FP8_E4M3 or INT8
  int32_t head_dim;             // 64, 80, 96, 128, 256
  int32_t batch;
  int32_t heads_q, heads_kv; // heads_q is a multiple of heads_kv: query head h reads h / (heads_q / heads_kv)
  int32_t seq_q, seq_kv;     // tokens; of the longest sequence where lengths vary
  mlc_attention_tensor q, k, v, out;
  float *lse; // log-sum-exp (natural) of the scaled scores, or null: [batch, heads_q, seq_q], ragged [heads_q, total_q]
  const int32_t *cu_seqlens_q, *cu_seqlens_kv; // [batch + 1] on the device, or null: ragged sequences laid end to end
  int32_t total_q, total_kv;                   // tokens of all sequences when ragged
  const int32_t *lengths_kv;                   // [batch] on the device, or null: tokens of K and V in use
  const int32_t *page_table;                   // [batch, pages_per_sequence] on the device, or null
  int32_t pages_per_sequence, page_size, pages;
  // Row i of n attends to columns c of m with i + m - n - window_left <= c <= i + m - n + window_right; -1: no bound.
  // Causal is window_right = 0: aligned at the bottom right.
  int32_t window_left, window_right;
  float scale;                      // of the scores, before the soft-cap
  float softcap;                    // c > 0: scores become c * tanh(score / c); 0: none
  const float *k_scales, *v_scales; // INT8: [batch or pages, tokens, heads_kv]; FP8: [heads_kv] or null
  int32_t splits;                   // decode: parts of K and V; 0: chosen by the wave efficiency
} mlc_attention_problem;

/// Bytes of workspace that mlc_attention_forward needs for a problem on the current device: 0 unless K and V are shared
/// out (decode), then linear in shares x rows.
size_t mlc_attention_workspace(const mlc_attention_problem *problem) __attribute__((visibility("default")));

/// Launches the forward pass of bf16 or f16 on the current device's stream. 0, or 1 with one line in `error`; then
/// nothing was launched. The workspace's first 64 KiB (or all of it, if less) are zero between launches, and a
/// workspace is one stream's. A prefill needs none; with one of 8 bytes or more, blocks of threads take tiles as they
/// get free.
int mlc_attention_forward(const mlc_attention_problem *problem, void *stream, void *workspace, size_t workspace_bytes,
                          char *error, size_t error_bytes) __attribute__((visibility("default")));

#ifdef __cplusplus
}
#endif
