//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A problem in host memory with random inputs, and what its answer is in f64.
//
#pragma once

#include "targets/cuda/attention/backward/Backward.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace mlc::attention::test {

struct Options {
  const char *name;
  int batch, headsQ, headsKv, rows, columns, headDim;
  int left = -1, right = -1; // -1, 0: causal
  float softcap = 0;
  float spread = 1;                               // of Q and K: scores grow with its square
  std::vector<int> lengthsQ = {}, lengthsKv = {}; // ragged, if not empty
  std::vector<int> used = {};                     // of K and V; rows beyond hold NaN
  int pageSize = 0;
  bool tokensInside = false; // [batch, heads, tokens, dim] instead of [batch, tokens, heads, dim]
};

/// Inputs and outputs, stored as the problem's type; NaN where nothing may be read or is written.
class Problem {
public:
  Problem(const Options &options, mlc_attention_dtype dtype, unsigned seed);

  mlc_attention_problem problem = {};
  mlc_attention_gradients gradients = {};

  struct Answer {
    std::vector<double> out, lse, dq, dk, dv; // [query or key of all sequences, head, dim]; lse [query, head]
  };
  /// With P rounded nowhere. `withGradients`: from dout too, which the constructor made.
  Answer answer(bool withGradients) const;
  /// Fills `out` and `lse` from an answer, as the forward pass would have.
  void setForward(const Answer &answer);

  /// What lies in memory, ordered as an Answer.
  std::vector<double> readQueries(const mlc_attention_tensor &tensor) const;
  std::vector<double> readKeys(const mlc_attention_tensor &tensor) const;
  std::vector<double> readLse() const;

private:
  struct Place {
    int batch, token; // token: inside its sequence, or of all when ragged
  };
  mlc_attention_tensor makeTensor(int heads, int batch, int tokens, bool inside);
  int64_t offset(const mlc_attention_tensor &tensor, Place place, int head) const;
  double load(const mlc_attention_tensor &tensor, int64_t index) const;
  void store(const mlc_attention_tensor &tensor, int64_t index, double value);
  int rowsOf(int batch) const;
  int columnsOf(int batch) const;
  Place queryAt(int batch, int row) const;
  Place keyAt(int batch, int column) const;
  template <typename Call> void forEachQuery(Call &&call) const;
  template <typename Call> void forEachKey(Call &&call) const;

  Options options;
  mlc_attention_dtype dtype;
  std::vector<std::unique_ptr<unsigned char[]>> memory;
  std::vector<int32_t> cuQ, cuKv, lengths, pages;
  std::vector<float> lse;
};

} // namespace mlc::attention::test
