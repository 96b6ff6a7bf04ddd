//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Where the sequences of a problem lie. What comes from device memory (lengths, pages) is clamped to the bounds that
// the host has checked, so that no value of it can lead outside the tensors.
//
#pragma once

#include "targets/cuda/attention/Attention.h"
#include "targets/cuda/attention/Tiles.h"

namespace mlc::attention {

using cuda::least;
using cuda::most;

struct Sequence {
  int rows, columns;     // queries, keys
  int64_t queries, keys; // offsets of the first, in elements, without the head's
  int64_t tokensQ;       // tokens before its first query in the ragged batch
  int64_t outputs;       // as `queries`, of the output
  const int32_t *pages;  // or null
  MLC_BOTH cuda::Mask mask(const mlc_attention_problem &problem) const {
    return {rows, columns, problem.window_left, problem.window_right};
  }
};

/// A mask as the differences of column and row that it lets pass, both ends included.
struct Band {
  int low, high;

  MLC_BOTH static constexpr Band of(const cuda::Mask &mask) {
    const int shift = mask.columns - mask.rows;
    return {mask.left < 0 ? -INT32_MAX : shift - mask.left, mask.right < 0 ? INT32_MAX : shift + mask.right};
  }
  MLC_BOTH constexpr bool passes(int difference) const { return difference >= low && difference <= high; }
};

/// [begin, end) of cumulative lengths.
struct Span {
  int begin, length;
};
MLC_BOTH Span spanOf(const int32_t *cumulative, int index, int total, int longest) {
  const int begin = most(0, least(cumulative[index], total));
  const int end = most(begin, least(cumulative[index + 1], total));
  return {begin, least(end - begin, longest)};
}

MLC_BOTH Sequence sequenceOf(const mlc_attention_problem &problem, int batch) {
  Sequence sequence = {};
  sequence.rows = problem.seq_q;
  sequence.columns = problem.seq_kv;
  if (problem.cu_seqlens_q) {
    const Span span = spanOf(problem.cu_seqlens_q, batch, problem.total_q, problem.seq_q);
    sequence.rows = span.length;
    sequence.tokensQ = span.begin;
    sequence.queries = span.begin * problem.q.token;
    sequence.outputs = span.begin * problem.out.token;
  } else {
    sequence.queries = batch * problem.q.batch;
    sequence.outputs = batch * problem.out.batch;
  }
  int64_t tokens = 0;
  if (problem.cu_seqlens_kv) {
    const Span span = spanOf(problem.cu_seqlens_kv, batch, problem.total_kv, problem.seq_kv);
    sequence.columns = span.length;
    tokens = span.begin;
  }
  if (problem.lengths_kv)
    sequence.columns = most(0, least(problem.lengths_kv[batch], sequence.columns));
  if (problem.page_table)
    sequence.pages = problem.page_table + int64_t(batch) * problem.pages_per_sequence;
  sequence.keys = tokens;
  return sequence;
}

/// Where K or V of a sequence begins, in elements, without the head's offset; with pages 0.
MLC_BOTH int64_t sequenceOffset(const mlc_attention_problem &problem, int64_t batchStride, int64_t tokenStride,
                                const Sequence &sequence, int batch) {
  if (sequence.pages)
    return 0;
  return (problem.cu_seqlens_kv ? 0 : batch * batchStride) + sequence.keys * tokenStride;
}
/// From there to token `token`; the tokens that follow are `tokenStride` apart, to the end of the page.
MLC_BOTH int64_t tokenOffset(const mlc_attention_problem &problem, int64_t batchStride, int64_t tokenStride,
                             const Sequence &sequence, int token) {
  if (!sequence.pages)
    return token * tokenStride;
  const int page = token / problem.page_size;
  const int place = most(0, least(sequence.pages[page], problem.pages - 1));
  return place * batchStride + int64_t(token - page * problem.page_size) * tokenStride;
}

/// Where token `token` of the sequence has K or V, in elements, without the head's offset.
MLC_BOTH int64_t keyOffset(const mlc_attention_problem &problem, const mlc_attention_tensor &tensor,
                           const Sequence &sequence, int batch, int token) {
  return sequenceOffset(problem, tensor.batch, tensor.token, sequence, batch) +
         tokenOffset(problem, tensor.batch, tensor.token, sequence, token);
}

/// Where a row's entry lies in arrays such as the log-sum-exp: [batch, heads_q, seq_q], ragged [heads_q, total_q].
MLC_BOTH int64_t rowIndex(const mlc_attention_problem &problem, const Sequence &sequence, int batch, int head,
                          int row) {
  if (problem.cu_seqlens_q)
    return int64_t(head) * problem.total_q + sequence.tokensQ + row;
  return (int64_t(batch) * problem.heads_q + head) * problem.seq_q + row;
}

} // namespace mlc::attention
