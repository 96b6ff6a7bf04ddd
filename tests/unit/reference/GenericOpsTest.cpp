//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The generic dialects: arith, math, tensor, linalg, scf, func; and the limits that keep them from running forever.
//
#include "tests/unit/reference/ReferenceTest.h"

#include <cmath>

using namespace mlc;
using namespace mlc::test;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

class GenericOps : public ReferenceTest {
protected:
  float scalar(const std::string &op, double a, double b = 0) {
    std::vector<float> result =
        run("func.func @f(%a: f32, %b: f32) -> f32 {\n %r = " + op + " : f32\n return %r : f32\n}",
            {floats({}, {a}), floats({}, {b})});
    return result.empty() ? NAN : result[0];
  }
  int64_t integer(const std::string &op, int64_t a, int64_t b, const std::string &type = "i32",
                  const std::string &resultType = "") {
    std::string result = resultType.empty() ? type : resultType;
    std::vector<int64_t> values = runInts("func.func @f(%a: " + type + ", %b: " + type + ") -> " + result +
                                              " {\n %r = " + op + "\n return %r : " + result + "\n}",
                                          {ints({}, {a}), ints({}, {b})});
    return values.empty() ? -999 : values[0];
  }
};

TEST_F(GenericOps, FloatArithmetic) {
  EXPECT_EQ(scalar("arith.addf %a, %b", 1.5, 2), 3.5f);
  EXPECT_EQ(scalar("arith.subf %a, %b", 1.5, 2), -0.5f);
  EXPECT_EQ(scalar("arith.mulf %a, %b", 1.5, 2), 3.0f);
  EXPECT_EQ(scalar("arith.divf %a, %b", 1, 3), 1.0f / 3);
  EXPECT_EQ(scalar("arith.negf %a", 1.5), -1.5f);
  EXPECT_EQ(scalar("arith.maximumf %a, %b", 1.5, 2), 2.0f);
  EXPECT_EQ(scalar("arith.minimumf %a, %b", 1.5, 2), 1.5f);
  EXPECT_TRUE(std::isnan(scalar("arith.maximumf %a, %b", NAN, 2)));
  EXPECT_EQ(scalar("arith.maxnumf %a, %b", NAN, 2), 2.0f);
  EXPECT_EQ(run<double>("func.func @f(%a: f32) -> f32 {\n %r = arith.addf %a, %a : f32\n return %r : f32\n}",
                        {floats<double>({}, {0.1})}),
            std::vector<double>{0.2});
  // Computed in f64, a conversion to f32 rounds all the same.
  EXPECT_EQ(run<double>("func.func @f(%a: f64) -> f32 {\n %r = arith.truncf %a : f64 to f32\n return %r : f32\n}",
                        {floats<double>({}, {0.1})}),
            std::vector<double>{0.1f});
  // bf16 rounds after every op.
  EXPECT_THAT(run(R"(func.func @f(%a: f32) -> f32 {
    %h = arith.truncf %a : f32 to bf16
    %s = arith.addf %h, %h : bf16
    %r = arith.extf %s : bf16 to f32
    return %r : f32
  })",
                  {floats({}, {0.3})}),
              ElementsAre(0.6015625f));
}

TEST_F(GenericOps, MathFunctions) {
  const std::map<std::string, double (*)(double)> functions = {
      {"exp", std::exp},   {"tanh", std::tanh},   {"sqrt", std::sqrt},  {"erf", std::erf},     {"sin", std::sin},
      {"cos", std::cos},   {"log", std::log},     {"absf", std::fabs},  {"log1p", std::log1p}, {"exp2", std::exp2},
      {"ceil", std::ceil}, {"floor", std::floor}, {"trunc", std::trunc}};
  for (const auto &[name, function] : functions)
    EXPECT_FLOAT_EQ(scalar("math." + name + " %a", 1.7), float(function(double(1.7f)))) << name;
  EXPECT_FLOAT_EQ(scalar("math.rsqrt %a", 4), 0.5f);
  EXPECT_FLOAT_EQ(scalar("math.powf %a, %b", 2, 0.5), std::sqrt(2.0f));
  EXPECT_EQ(scalar("math.roundeven %a", 2.5), 2.0f);
}

TEST_F(GenericOps, Integers) {
  EXPECT_EQ(integer("arith.addi %a, %b : i32", 2147483647, 1), -2147483648LL);
  EXPECT_EQ(integer("arith.muli %a, %b : i8", 100, 3, "i8"), 44);
  EXPECT_EQ(integer("arith.divsi %a, %b : i32", -7, 2), -3);
  EXPECT_EQ(integer("arith.floordivsi %a, %b : i32", -7, 2), -4);
  EXPECT_EQ(integer("arith.ceildivsi %a, %b : i32", -7, 2), -3);
  EXPECT_EQ(integer("arith.remsi %a, %b : i32", -7, 2), -1);
  EXPECT_EQ(integer("arith.divui %a, %b : i32", -2, 2), 2147483647);
  EXPECT_EQ(integer("arith.shrsi %a, %b : i32", -8, 1), -4);
  EXPECT_EQ(integer("arith.shrui %a, %b : i32", -8, 1), 2147483644);
  EXPECT_EQ(integer("arith.cmpi slt, %a, %b : i32", -1, 1, "i32", "i1"), 1);
  EXPECT_EQ(integer("arith.cmpi ult, %a, %b : i32", -1, 1, "i32", "i1"), 0);
  call("func.func @f(%a: i32, %b: i32) -> i32 {\n %r = arith.divsi %a, %b : i32\n return %r : i32\n}",
       {ints({}, {1}), ints({}, {0})});
  EXPECT_THAT(error, HasSubstr("arith.divsi: division by zero"));
  EXPECT_THAT(run(R"(func.func @f(%a: tensor<2xi32>) -> tensor<2xf32> {
    %c = arith.constant dense<[0, 3]> : tensor<2xi32>
    %p = arith.cmpi sgt, %a, %c : tensor<2xi32>
    %s = arith.select %p, %a, %c : tensor<2xi1>, tensor<2xi32>
    %r = arith.sitofp %s : tensor<2xi32> to tensor<2xf32>
    return %r : tensor<2xf32>
  })",
                  {ints({2}, {-4, 5})}),
              ElementsAre(0, 5));
}

TEST_F(GenericOps, TensorsMoveWhatTheyShould) {
  EXPECT_THAT(run(R"(func.func @f(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
    %c0 = arith.constant 0 : index
    %n = tensor.dim %x, %c0 : tensor<?x3xf32>
    %s = tensor.extract_slice %x[0, 1] [%n, 2] [1, 1] : tensor<?x3xf32> to tensor<?x2xf32>
    return %s : tensor<?x2xf32>
  })",
                  {floats({2, 3}, {1, 2, 3, 4, 5, 6})}),
              ElementsAre(2, 3, 5, 6));
  EXPECT_THAT(run(R"(func.func @f(%x: tensor<2x3xf32>) -> tensor<4x3xf32> {
    %e = arith.constant dense<0.0> : tensor<4x3xf32>
    %i = tensor.insert_slice %x into %e[0, 0] [2, 3] [2, 1] : tensor<2x3xf32> into tensor<4x3xf32>
    return %i : tensor<4x3xf32>
  })",
                  {floats({2, 3}, {1, 2, 3, 4, 5, 6})}),
              ElementsAre(1, 2, 3, 0, 0, 0, 4, 5, 6, 0, 0, 0));
  EXPECT_THAT(run(R"(func.func @f(%x: tensor<2x3xf32>) -> tensor<f32> {
    %c = tensor.collapse_shape %x [[0, 1]] : tensor<2x3xf32> into tensor<6xf32>
    %e = tensor.expand_shape %c [[0, 1]] output_shape [3, 2] : tensor<6xf32> into tensor<3x2xf32>
    %i = arith.constant 2 : index
    %j = arith.constant 1 : index
    %v = tensor.extract %e[%i, %j] : tensor<3x2xf32>
    %r = tensor.from_elements %v : tensor<f32>
    return %r : tensor<f32>
  })",
                  {floats({2, 3}, {1, 2, 3, 4, 5, 6})}),
              ElementsAre(6));
  call(R"(func.func @f(%x: tensor<?xf32>) -> tensor<4xf32> {
    %s = tensor.extract_slice %x[1] [4] [1] : tensor<?xf32> to tensor<4xf32>
    return %s : tensor<4xf32>
  })",
       {floats({4}, {1, 2, 3, 4})});
  EXPECT_THAT(error, HasSubstr("tensor.extract_slice: the slice lies outside the tensor"));
}

TEST_F(GenericOps, StructuredOps) {
  // A product, its rows' sums, and an elementwise body that reads the position and a constant.
  EXPECT_THAT(run(R"(func.func @f(%a: tensor<2x3xf32>, %b: tensor<3x2xf32>) -> tensor<2xf32> {
    %zero = arith.constant 0.0 : f32
    %e = tensor.empty() : tensor<2x2xf32>
    %z = linalg.fill ins(%zero : f32) outs(%e : tensor<2x2xf32>) -> tensor<2x2xf32>
    %m = linalg.matmul ins(%a, %b : tensor<2x3xf32>, tensor<3x2xf32>) outs(%z : tensor<2x2xf32>) -> tensor<2x2xf32>
    %e1 = tensor.empty() : tensor<2xf32>
    %z1 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<2xf32>) -> tensor<2xf32>
    %s = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>],
                         iterator_types = ["parallel", "reduction"]}
        ins(%m : tensor<2x2xf32>) outs(%z1 : tensor<2xf32>) {
      ^bb0(%x: f32, %acc: f32):
        %n = arith.addf %acc, %x : f32
        linalg.yield %n : f32
    } -> tensor<2xf32>
    return %s : tensor<2xf32>
  })",
                  {floats({2, 3}, {1, 2, 3, 4, 5, 6}), floats({3, 2}, {1, 0, 0, 1, 1, 1})}),
              ElementsAre(9, 21));
  EXPECT_THAT(run(R"(func.func @f(%a: tensor<?x2xf32>) -> tensor<2x?xf32> {
    %c0 = arith.constant 0 : index
    %n = tensor.dim %a, %c0 : tensor<?x2xf32>
    %e = tensor.empty(%n) : tensor<2x?xf32>
    %s = linalg.generic {indexing_maps = [affine_map<(i, j) -> (j, i)>, affine_map<(i, j) -> (i, j)>],
                         iterator_types = ["parallel", "parallel"]}
        ins(%a : tensor<?x2xf32>) outs(%e : tensor<2x?xf32>) {
      ^bb0(%x: f32, %old: f32):
        %ten = arith.constant 10 : index
        %j = linalg.index 1 : index
        %w = arith.muli %j, %ten : index
        %wi = arith.index_cast %w : index to i32
        %wf = arith.sitofp %wi : i32 to f32
        %r = arith.addf %x, %wf : f32
        linalg.yield %r : f32
    } -> tensor<2x?xf32>
    return %s : tensor<2x?xf32>
  })",
                  {floats({3, 2}, {1, 2, 3, 4, 5, 6})}),
              ElementsAre(1, 13, 25, 2, 14, 26));
}

TEST_F(GenericOps, ControlFlowAndCalls) {
  const std::string text = R"(
    func.func private @double(%x: tensor<?xf32>) -> tensor<?xf32> {
      %y = arith.addf %x, %x : tensor<?xf32>
      return %y : tensor<?xf32>
    }
    func.func @f(%x: tensor<?xf32>, %n: index, %even: i1) -> tensor<?xf32> {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %r = scf.for %i = %c0 to %n step %c1 iter_args(%acc = %x) -> (tensor<?xf32>) {
        %d = func.call @double(%acc) : (tensor<?xf32>) -> tensor<?xf32>
        scf.yield %d : tensor<?xf32>
      }
      %s = scf.if %even -> (tensor<?xf32>) {
        scf.yield %r : tensor<?xf32>
      } else {
        %m = arith.negf %r : tensor<?xf32>
        scf.yield %m : tensor<?xf32>
      }
      return %s : tensor<?xf32>
    })";
  EXPECT_THAT(run(text, {floats({2}, {1, 3}), ints({}, {3}), ints({}, {1})}), ElementsAre(8, 24));
  EXPECT_THAT(run(text, {floats({2}, {1, 3}), ints({}, {0}), ints({}, {0})}), ElementsAre(-1, -3));
}

TEST_F(GenericOps, LimitsHold) {
  limits.work = 100000;
  call(R"(func.func @f(%n: index) -> index {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    scf.for %i = %c0 to %n step %c1 {
    }
    return %n : index
  })",
       {ints({}, {int64_t(1) << 60})});
  EXPECT_THAT(error, HasSubstr("scf.for: the interpreter's work limit is used up"));
  call("func.func @f(%n: index) -> tensor<?x1000000xf32> {\n %e = tensor.empty(%n) : tensor<?x1000000xf32>\n"
       " return %e : tensor<?x1000000xf32>\n}",
       {ints({}, {int64_t(1) << 50})});
  EXPECT_THAT(error, HasSubstr("tensor.empty: a value would have more than"));
  call("func.func @f(%n: index) -> index {\n %r = func.call @f(%n) : (index) -> index\n return %r : index\n}",
       {ints({}, {0})});
  EXPECT_THAT(error, HasSubstr("nested deeper than 64"));
}

TEST_F(GenericOps, UnknownOpsAreRefusedWithTheirPlace) {
  call("func.func @f(%a: f32) -> f32 {\n  %r = math.cbrt %a : f32\n  return %r : f32\n}", {floats({}, {1})});
  EXPECT_THAT(error, HasSubstr(":2:8: math.cbrt: the reference interpreter has no evaluation of this op"));
}

} // namespace
