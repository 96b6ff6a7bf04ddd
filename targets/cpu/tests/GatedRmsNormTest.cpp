//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// gated_rms_norm against double, in place too.
//
#include "targets/cpu/tests/TestSupport.h"

#include <cmath>

using namespace mlc;
using namespace mlc::test;

TEST(GatedRmsNorm, MatchesDouble) {
  Random random(8);
  for (auto [columns, group] :
       std::vector<std::pair<int64_t, int64_t>>{{3072, 3072}, {96, 32}, {21, 7}, {5, 5}, {34, 17}, {1, 1}})
    for (bool normFirst : {false, true})
      for (int aliased = 0; aliased < 3; ++aliased) {
        const int64_t rows = 5;
        std::vector<float> x = normals(random, size_t(rows * columns)), gate = normals(random, x.size()),
                           weight = normals(random, size_t(columns));
        fb::GatedRmsNormAttrs attrs(uint64_t(group), 1e-5f, fb::Activation::silu, normFirst);
        for (Isa isa : forms()) {
          Tensor xs = Tensor::matrix(x, rows, columns, 2, 1), gates = Tensor::matrix(gate, rows, columns, 3),
                 weights = Tensor::vector(weight), out(DType::f32, {rows, columns}, 1);
          Call call("gated_rms_norm", attrs);
          Tensor &target = aliased == 0 ? out : aliased == 1 ? xs : gates;
          call.inputs = {&xs, &gates, &weights};
          call.outputs = {&target};
          call.tokens = {true, true, false};
          call.run(isa, 2);
          for (int64_t r = 0; r < rows; ++r)
            for (int64_t begin = 0; begin < columns; begin += group) {
              auto act = [&](int64_t i) {
                double g = double(gate[size_t(r * columns + i)]);
                return g / (1 + std::exp(-g));
              };
              double squares = 0;
              for (int64_t i = begin; i < begin + group; ++i)
                squares += std::pow(double(x[size_t(r * columns + i)]) * (normFirst ? 1 : act(i)), 2);
              double scale = 1 / std::sqrt(squares / double(group) + double(1e-5f));
              for (int64_t i = begin; i < begin + group; ++i)
                ASSERT_NEAR(double(target.view.row<float>(r)[i]),
                            double(x[size_t(r * columns + i)]) * act(i) * scale * double(weight[size_t(i)]), 2e-5)
                    << isaName(isa) << " columns " << columns << " group " << group;
            }
        }
      }
  fb::GatedRmsNormAttrs good(4, 0, fb::Activation::silu, false);
  Tensor x(DType::f32, {3, 8}), weight(DType::f32, {8}), wrong(DType::f32, {3, 7});
  auto check = [&](const fb::GatedRmsNormAttrs &attrs, const Tensor *gate, const Tensor *scale) {
    Call call("gated_rms_norm", attrs);
    call.inputs = {&x, gate, scale};
    call.outputs = {&x};
    call.tokens = {true, true, false};
    return call.check();
  };
  EXPECT_EQ(check(good, &x, &weight), "");
  EXPECT_NE(check(good, &wrong, &weight), "");
  EXPECT_NE(check(good, &x, &wrong), "");
  for (const fb::GatedRmsNormAttrs &bad : {fb::GatedRmsNormAttrs(3, 0, fb::Activation::silu, false),
                                           fb::GatedRmsNormAttrs(0, 0, fb::Activation::silu, false),
                                           fb::GatedRmsNormAttrs(4, -1, fb::Activation::silu, false),
                                           fb::GatedRmsNormAttrs(4, NAN, fb::Activation::silu, false),
                                           fb::GatedRmsNormAttrs(4, 0, fb::Activation(99), false)})
    EXPECT_NE(check(bad, &x, &weight), "");
}
