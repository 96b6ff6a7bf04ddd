//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What all ranks have, added up in their order.
//
#include "targets/cuda/device/Args.h"
#include "targets/cuda/tests/Launch.h"

#include <gtest/gtest.h>

extern "C" void mlc_join_ranks(const mlc::cuda::JoinRanksArgs &args);

using namespace mlc::cuda;

namespace {

TEST(JoinRanks, AddsInTheirOrder) {
  for (int ranks = 2; ranks <= 8; ++ranks)
    for (int64_t columns : {1, 31, 256, 257, 600})
      for (int64_t rows : {1, 3})
        for (bool residual : {false, true}) {
          const int64_t stride = columns + 5, count = rows * columns;
          std::vector<float> parts = seeded(size_t(ranks * count), unsigned(ranks)),
                             base = seeded(size_t(rows * stride), 7), out(size_t(rows * stride), -1.0f);
          JoinRanksArgs args{};
          args.parts = parts.data();
          args.partStride = count;
          args.columns = columns;
          args.ranks = ranks;
          args.residual = {residual ? base.data() : nullptr, stride};
          args.out = {out.data(), stride};
          launch(mlc_join_ranks, {blocks(columns, 256), unsigned(rows), 1}, 256, args);
          for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < stride; ++j) {
              float want = -1.0f;
              if (j < columns) {
                want = parts[size_t(i * columns + j)];
                want = residual ? base[size_t(i * stride + j)] + want : want;
                for (int rank = 1; rank < ranks; ++rank)
                  want += parts[size_t(rank * count + i * columns + j)];
              }
              ASSERT_EQ(out[size_t(i * stride + j)], want) << ranks << " ranks, row " << i << ", column " << j;
            }
        }
}

} // namespace
