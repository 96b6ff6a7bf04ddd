//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Ops of networks that choose and place values by value: against values worked out by hand.
//
#include "runtime/core/Float16.h"
#include "tests/unit/reference/ReferenceTest.h"

#include <algorithm>
#include <cmath>

using namespace mlc;
using namespace mlc::test;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

class NetworkOps : public ReferenceTest {};

TEST_F(NetworkOps, Scatter) {
  auto text = [](const std::string &kind) {
    return "func.func @f(%x: tensor<3x2xf32>, %i: tensor<?x1xi64>, %u: tensor<?x2xf32>) -> tensor<3x2xf32> {\n"
           " %y = graph.scatter %x, %i, %u {kind = #graph<scatter_kind " +
           kind +
           ">} : (tensor<3x2xf32>, tensor<?x1xi64>, tensor<?x2xf32>) -> tensor<3x2xf32>\n"
           " return %y : tensor<3x2xf32>\n}";
  };
  // A row twice: in order.
  auto x = floats({3, 2}, {1, 2, 3, 4, 5, 6}), updates = floats({2, 2}, {10, -1, 2, 3});
  auto twice = ints({2, 1}, {2, 2});
  EXPECT_THAT(run(text("replace"), {x, twice, updates}), ElementsAre(1, 2, 3, 4, 2, 3));
  EXPECT_THAT(run(text("add"), {x, twice, updates}), ElementsAre(1, 2, 3, 4, 17, 8));
  EXPECT_THAT(run(text("multiply"), {x, twice, updates}), ElementsAre(1, 2, 3, 4, 100, -18));
  EXPECT_THAT(run(text("max"), {x, twice, updates}), ElementsAre(1, 2, 3, 4, 10, 6));
  EXPECT_THAT(run(text("min"), {x, twice, updates}), ElementsAre(1, 2, 3, 4, 2, -1));
  call(text("add"), {x, ints({2, 1}, {0, 3}), updates});
  EXPECT_THAT(error, HasSubstr("graph.scatter: index 3 lies outside axis 0"));
  call(text("add"), {x, ints({1, 1}, {0}), updates});
  EXPECT_THAT(error, HasSubstr("not one update for each row"));
}

TEST_F(NetworkOps, SortKeepsEqualOnesInPlace) {
  auto text = [](const std::string &type, const std::string &how) {
    return "func.func @f(%x: tensor<2x3x" + type + ">) -> tensor<2x3xi64> {\n %v, %i = graph.sort %x {axis = 1 : i64" +
           how + "} : (tensor<2x3x" + type + ">) -> (tensor<2x3x" + type +
           ">, tensor<2x3xi64>)\n return %i : tensor<2x3xi64>\n}";
  };
  EXPECT_THAT(runInts(text("f32", ""), {floats({2, 3}, {2, 1, 2, NAN, 7, 7})}), ElementsAre(1, 0, 2, 1, 2, 0));
  EXPECT_THAT(runInts(text("f32", ", descending"), {floats({2, 3}, {2, 1, 2, NAN, 7, 7})}),
              ElementsAre(0, 2, 1, 0, 1, 2));
  EXPECT_THAT(runInts(text("i8", ""), {ints({2, 3}, {-1, 0, 1, 5, 5, 4})}), ElementsAre(0, 1, 2, 2, 0, 1));
  EXPECT_THAT(runInts(text("i8", ", is_unsigned"), {ints({2, 3}, {-1, 0, 1, 5, 5, 4})}), ElementsAre(1, 2, 0, 2, 0, 1));
}

TEST_F(NetworkOps, NonzeroAndBits) {
  EXPECT_THAT(runInts("func.func @f(%x: tensor<2x3xi32>) -> tensor<2x?xi64> {\n"
                      " %y = graph.nonzero %x : (tensor<2x3xi32>) -> tensor<2x?xi64>\n return %y : tensor<2x?xi64>\n}",
                      {ints({2, 3}, {0, 4, 0, -1, 0, 2})}),
              ElementsAre(0, 1, 1, 1, 0, 2));
  EXPECT_THAT(runInts("func.func @f(%x: tensor<2xf32>) -> tensor<2xi32> {\n"
                      " %y = arith.bitcast %x : tensor<2xf32> to tensor<2xi32>\n return %y : tensor<2xi32>\n}",
                      {floats({2}, {1, -0.0})}),
              ElementsAre(0x3f800000, INT32_MIN));
  EXPECT_THAT(run("func.func @f(%x: tensor<2xi16>) -> tensor<2xf16> {\n"
                  " %y = arith.bitcast %x : tensor<2xi16> to tensor<2xf16>\n return %y : tensor<2xf16>\n}",
                  {ints({2}, {0x3c00, -0x4000})}),
              ElementsAre(1, -2));
  call("func.func @f(%x: tensor<1xf64>) -> tensor<1xi64> {\n"
       " %y = arith.bitcast %x : tensor<1xf64> to tensor<1xi64>\n return %y : tensor<1xi64>\n}",
       {floats({1}, {1})});
  EXPECT_THAT(error, HasSubstr("use --f64"));
}

TEST_F(NetworkOps, CodesOfFewBits) {
  auto text = [](int64_t k, const std::string &operands, const std::string &attributes, const std::string &zeros) {
    return "func.func @f(%c: tensor<2x2xi8>, %s: tensor<2x2xf32>, %z: tensor<2x" + (zeros.empty() ? "1xi8" : zeros) +
           ">) -> tensor<" + std::to_string(k) + "x2xf32> {\n %y = graph.dequantize_blocks " + operands + " {" +
           attributes + "} : (tensor<2x2xi8>, tensor<2x2xf32>" + (zeros.empty() ? "" : ", tensor<2x" + zeros + ">") +
           ") -> tensor<" + std::to_string(k) + "x2xf32>\n return %y : tensor<" + std::to_string(k) + "x2xf32>\n}";
  };
  // Rows 0x1f 0x80 and 0x42 0x07; the scales of a row's two blocks.
  auto codes = ints({2, 2}, {0x1f, -0x80, 0x42, 0x07}), packed = ints({2, 1}, {0x21, 0x0f});
  auto scales = floats({2, 2}, {1, 10, 2, -3}), zeros = floats({2, 2}, {1.5, 0, 0, 2});
  const std::string four = "bits = 4 : i64, block = 2 : i64";
  EXPECT_THAT(run(text(4, "%c, %s", four, ""), {codes, scales, packed}), ElementsAre(7, -12, -7, -8, -80, 3, 0, 24));
  EXPECT_THAT(run(text(3, "%c, %s, %z", four, "1xi8"), {codes, scales, packed}),
              ElementsAre(14, -26, 0, -22, -20, -21));
  EXPECT_THAT(run(text(4, "%c, %s, %z", four, "2xf32"), {codes, scales, zeros}),
              ElementsAre(13.5, 4, -0.5, 8, 0, -15, 80, 6));
  EXPECT_THAT(run(text(2, "%c, %s", "bits = 8 : i64, block = 1 : i64", ""), {codes, scales, packed}),
              ElementsAre(31 - 128, 2 * (66 - 128), 0, -3 * (7 - 128)));
  EXPECT_THAT(run(text(5, "%c, %s", "bits = 2 : i64, block = 4 : i64", ""), {codes, scales, packed}),
              ElementsAre(1, 0, 1, -4, -1, -4, -2, -2, -20, -3));
}

TEST_F(NetworkOps, SoftmaxOfHalvesRoundsItsPowersAndTheirSum) {
  std::string text = "func.func @f(%x: tensor<1x3xf16>) -> tensor<1x3xf16> {\n"
                     " %y = graph.softmax %x {axis = 1 : i64} : tensor<1x3xf16>\n return %y : tensor<1x3xf16>\n}";
  auto half = [](float x) { return f16ToF32(f32ToF16(x)); };
  std::vector<double> x = {-0.375, 1.5, 0.25};
  std::vector<float> rounded, once, powers;
  float sum = 0, exactSum = 0, top = float(*std::max_element(x.begin(), x.end()));
  for (double each : x) {
    exactSum += std::exp(float(each) - top);
    powers.push_back(half(std::exp(float(each) - top)));
    sum += powers.back();
  }
  for (size_t i = 0; i < x.size(); ++i) {
    rounded.push_back(half(powers[i] / half(sum)));
    once.push_back(half(std::exp(float(x[i]) - top) / exactSum));
  }
  EXPECT_EQ(run(text, {floats({1, 3}, x)}), rounded);
  EXPECT_NE(rounded, once);
}

} // namespace
