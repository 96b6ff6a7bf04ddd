//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Every op of the graph dialect, against PyTorch's values (torch 2.15, f32) or ones worked out by hand.
//
#include "tests/unit/reference/ReferenceTest.h"

#include <cmath>
#include <numbers>

using namespace mlc;
using namespace mlc::test;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

class GraphOps : public ReferenceTest {
protected:
  const std::vector<double> kX = {-2.0, -0.5, 0.0, 0.75, 1.5, 3.0, -1.25, 0.1};

  /// One op of type tensor<?x4xf32> on %x.
  std::vector<float> unary(const std::string &op, const std::string &declarations = "") {
    return run(declarations + "func.func @f(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {\n %y = " + op +
                   " : tensor<?x4xf32>\n return %y : tensor<?x4xf32>\n}",
               {floats({2, 4}, kX)});
  }
};

TEST_F(GraphOps, Activations) {
  const std::map<std::string, std::vector<float>> expected = {
      {"silu", {-0.23840584f, -0.18877034f, 0, 0.50938404f, 1.2263616f, 2.8577225f, -0.27837518f, 0.05249792f}},
      {"gelu_tanh", {-0.045402288f, -0.154286f, 0, 0.57996058f, 1.3995715f, 2.9963627f, -0.1322858f, 0.053982753f}},
      {"gelu_erf", {-0.045500278f, -0.15426877f, 0, 0.58002949f, 1.3997891f, 2.9959497f, -0.13206221f, 0.053982783f}},
      {"relu", {0, 0, 0, 0.75f, 1.5f, 3, 0, 0.1f}},
      {"relu2", {0, 0, 0, 0.5625f, 2.25f, 9, 0, 0.01f}},
      {"tanh", {-0.96402758f, -0.46211717f, 0, 0.63514894f, 0.90514827f, 0.99505478f, -0.84828365f, 0.099667996f}},
      {"sigmoid", {0.11920292f, 0.37754068f, 0.5f, 0.67917871f, 0.81757444f, 0.95257413f, 0.22270013f, 0.52497917f}}};
  for (const auto &[name, values] : expected)
    EXPECT_THAT(unary("graph.activation " + name + " %x"), near(values)) << name;
  EXPECT_THAT(unary("graph.gated_activation relu %x, %x"), near({0, 0, 0, 0.5625f, 2.25f, 9, 0, 0.01f}));
  EXPECT_THAT(unary("graph.softcap %x {cap = 1.5 : f32}"),
              near({-1.3050926f, -0.48226914f, 0, 0.69317573f, 1.1423912f, 1.4460413f, -1.0233927f, 0.099852115f}));
  EXPECT_THAT(unary("graph.scale %x {factor = -2.0 : f32}"), near({4, 1, 0, -1.5f, -3, -6, 2.5f, -0.2f}));
}

TEST_F(GraphOps, Norms) {
  source.values["w"] = {1, 0.5f, -2, 3};
  source.values["heads"] = {0.5f, -1};
  const std::string declarations = "graph.weight @w : tensor<4xf32> stored f32\n"
                                   "graph.weight @heads : tensor<2xf32> stored f32\n";
  std::vector<float> whole = {-1.8233618f, -0.22792022f, 0,          2.0512819f,
                              0.83778816f, 0.83778816f,  1.3963137f, 0.16755763f};
  EXPECT_THAT(unary("graph.rms_norm %x, @w {eps = 1.0e-05 : f32}", declarations), near(whole));
  EXPECT_THAT(unary("graph.rms_norm %x, @heads {eps = 1.0e-05 : f32, offset = 1.0 : f32}", declarations),
              near({-2.0579782f, 0, 0, 0, 0.94868249f, 0, -2.1145511f, 0}));
  auto both =
      call(declarations + R"(func.func @f(%x: tensor<?x4xf32>, %r: tensor<?x4xf32>)
      -> (tensor<?x4xf32>, tensor<?x4xf32>) {
    %sum, %y = graph.add_rms_norm %x, %r, @w {eps = 1.0e-05 : f32} : tensor<?x4xf32>
    return %sum, %y : tensor<?x4xf32>, tensor<?x4xf32>
  })",
           {floats({2, 4}, {-3, -0.5, 0, 0.5, 1, 1, -1, 0}), floats({2, 4}, {1, 0, 0, 0.25, 0.5, 2, -0.25, 0.1})});
  ASSERT_EQ(error, "");
  EXPECT_THAT(std::get<reference::Floats<float>>(*both[0]).data, near({-2, -0.5f, 0, 0.75f, 1.5f, 3, -1.25f, 0.1f}));
  EXPECT_THAT(std::get<reference::Floats<float>>(*both[1]).data, near(whole));
}

// Two experts of three for each token, by every router; the values worked out with numpy.
TEST_F(GraphOps, Mixtures) {
  source.values["in"] = {1, 0, 0, 1, 2, 0, 0, 2, 1, 1, -1, 1, 0, 1, 1, 0, -1, 0, 0, -1, 1, 1, 1, 1}; // [3, 4, 2]
  source.values["down"] = {1, 0, 0, 1, 2, 0, 0, 1, 1, 1, 1, -1};                                     // [3, 2, 2]
  source.values["bias"] = {0, 0, 1};
  const std::string declarations = "graph.weight @in : tensor<3x4x2xf32> stored f32\n"
                                   "graph.weight @down : tensor<3x2x2xf32> stored f32\n"
                                   "graph.weight @bias : tensor<3xf32> stored f32\n";
  auto moe = [&](const std::string &router, const std::string &bias, const std::string &more) {
    return run(declarations +
                   "func.func @f(%x: tensor<?x2xf32>, %l: tensor<?x3xf32>) -> tensor<?x2xf32> {\n %y = graph.moe " +
                   router + " %x, %l into [[@in]] down [@down] " + bias +
                   "{experts = 3 : i64, top_k = 2 : i64, gated, activation = #graph<activation relu>" + more +
                   "} : tensor<?x2xf32>, tensor<?x3xf32> -> tensor<?x2xf32>\n return %y : tensor<?x2xf32>\n}",
               {floats({2, 2}, {1, 2, -1, 0.5}), floats({2, 3}, {0, 1, -1, 2, 2, 2})});
  };
  // h_e = relu(a) * b: expert 0 [2, 8] then [0, 0.5]; 1 [3 * 2, 1 * 1] then [0, 1.5 * -1]; 2 [0, 0] then [1 * -0.5, 0].
  const float e0 = std::exp(-1.0f), all = 1 + std::exp(-1.0f) + std::exp(-2.0f), half = 1.0f / 3;
  auto mix = [](float p0, float p1, float q0, float q1) {
    return std::vector<float>{p0 * 2 + p1 * 12, p0 * 8 + p1 * 1, q0 * 0 + q1 * 0, q0 * 0.5f + q1 * -1.5f};
  };
  // Token 1 has three equal logits: experts 0 and 1.
  EXPECT_THAT(moe("softmax_topk", "", ""), near(mix(e0 / all, 1 / all, half, half), 1e-5f));
  EXPECT_THAT(moe("softmax_topk", "", ", normalize, scale = 2.0 : f32"),
              near(mix(2 * e0 / (1 + e0), 2 / (1 + e0), 1, 1), 1e-5f));
  EXPECT_THAT(moe("topk_softmax", "", ""), near(mix(e0 / (1 + e0), 1 / (1 + e0), 0.5f, 0.5f), 1e-5f));
  // The bias makes expert 2 the best, which does not change its weight.
  auto sigmoid = [](float x) { return 1 / (1 + std::exp(-x)); };
  EXPECT_THAT(moe("sigmoid", "bias @bias ", ""),
              near({sigmoid(1) * 12, sigmoid(1) * 1, sigmoid(2) * -0.5f, sigmoid(2) * (0.5f - 0.5f)}, 1e-5f));
  EXPECT_THAT(run("func.func @f(%x: tensor<?x2xf32>, %s: tensor<?x1xf32>) -> tensor<?x2xf32> {\n"
                  " %y = graph.scale_rows sigmoid %x, %s : tensor<?x2xf32>, tensor<?x1xf32>\n"
                  " return %y : tensor<?x2xf32>\n}",
                  {floats({2, 2}, {1, 2, -1, 0.5}), floats({2, 1}, {0, 30})}),
              near({0.5f, 1, -1, 0.5f}));
}

TEST_F(GraphOps, LinearEmbeddingAndRows) {
  source.values["w"] = {-1, -0.75f, -0.5f, -0.25f, 0, 0.25f, 0.5f, 0.75f, 1, 1.25f, 1.5f, 1.75f};
  source.values["b"] = {0.1f, 0.2f, 0.3f};
  const std::string declarations = "graph.weight @w : tensor<3x4xf32> stored f32\n"
                                   "graph.weight @b : tensor<3xf32> stored f32\n";
  EXPECT_THAT(run(declarations + R"(func.func @f(%x: tensor<?x4xf32>) -> tensor<?x3xf32> {
    %y = graph.linear %x, [@w] bias [@b] : tensor<?x4xf32> -> tensor<?x3xf32>
    return %y : tensor<?x3xf32>
  })",
                  {floats({2, 4}, kX)}),
              near({2.2875f, 0.6375f, -1.0125f, -3.05f, 0.4f, 3.85f}));
  EXPECT_THAT(run(declarations + R"(func.func @f(%x: tensor<1x4xf32>, %r: tensor<1x6xf32>) -> tensor<1x6xf32> {
    %y = graph.linear %x, [@w, @w] residual %r : tensor<1x6xf32> : tensor<1x4xf32> -> tensor<1x6xf32>
    return %y : tensor<1x6xf32>
  })",
                  {floats({1, 4}, {1, 0, 0, 2}), floats({1, 6}, {0, 1, 2, 3, 4, 5})}),
              near({-1.5f, 2.5f, 6.5f, 1.5f, 5.5f, 9.5f}));
  EXPECT_THAT(run(declarations + R"(func.func @f(%ids: tensor<?xi32>) -> tensor<?x4xf32> {
    %y = graph.embedding %ids, @w {scale = 2.0 : f32} : tensor<?xi32> -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  })",
                  {ints({2}, {2, 0})}),
              near({2, 2.5f, 3, 3.5f, -2, -1.5f, -1, -0.5f}));
  EXPECT_THAT(run(R"(func.func @f(%x: tensor<?x4xf32>, %r: tensor<?xi32>) -> tensor<?x4xf32> {
    %y = graph.gather_rows %x, %r : tensor<?x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  })",
                  {floats({2, 4}, kX), ints({3}, {1, 1, 0})}),
              near({1.5f, 3, -1.25f, 0.1f, 1.5f, 3, -1.25f, 0.1f, -2, -0.5f, 0, 0.75f}));
  EXPECT_THAT(run(R"(func.func @f(%x: tensor<?x4xf32>) -> tensor<?x3xf32> {
    %a, %b = graph.split %x : tensor<?x4xf32> -> tensor<?x1xf32>, tensor<?x3xf32>
    return %b : tensor<?x3xf32>
  })",
                  {floats({2, 4}, kX)}),
              near({-0.5f, 0, 0.75f, 3, -1.25f, 0.1f}));
}

TEST_F(GraphOps, QuantizeRowsRoundsHalfToEven) {
  // Scales 1 and 2: the halves go to the even neighbour; a row of zeros has the scale 0.
  std::vector<double> values(3 * 33, 0.0);
  values[0] = 127, values[1] = 2.5, values[2] = 3.5, values[3] = -0.5, values[32] = -254;
  values[33] = -254, values[34] = 5, values[35] = 7;
  auto results = call(R"(func.func @f(%x: tensor<?x33xf32>) -> !graph.quantized<?, 33, group = 32> {
    %q = graph.quantize_rows %x : tensor<?x33xf32> -> !graph.quantized<?, 33, group = 32>
    return %q : !graph.quantized<?, 33, group = 32>
  })",
                      {floats({3, 33}, values)});
  ASSERT_EQ(error, "");
  const auto &rows = std::get<reference::QuantizedRows>(*results[0]);
  EXPECT_THAT(rows.scales, ElementsAre(1, 2, 2, 0, 0, 0));
  EXPECT_THAT(std::vector<int8_t>(rows.codes.begin(), rows.codes.begin() + 4), ElementsAre(127, 2, 4, 0));
  EXPECT_EQ(rows.codes[32], -127);
  EXPECT_THAT(std::vector<int8_t>(rows.codes.begin() + 33, rows.codes.begin() + 36), ElementsAre(-127, 2, 4));
}

TEST_F(GraphOps, QuantizedLinearTakesOneScaleAGroup) {
  // Two groups: weights +-1 with the scale 1/127, inputs +-127 and +-254 (scales 1 and 2), all exact but the scale.
  std::vector<float> weights(64), products;
  std::vector<double> input(64);
  for (int k = 0; k < 64; ++k) {
    weights[k] = k % 3 ? 1.0f : -1.0f;
    input[k] = (k < 32 ? 127 : 254) * (k % 2 ? 1 : -1);
  }
  double sum = 0;
  for (int k = 0; k < 64; ++k)
    sum += weights[k] * input[k];
  source.values["w"] = weights;
  std::vector<float> got = run(R"(
    graph.weight @w : tensor<1x64xf32> stored f32 as <bits = 8, group = 32>
    func.func @f(%x: tensor<?x64xf32>) -> tensor<?x1xf32> {
      %q = graph.quantize_rows %x : tensor<?x64xf32> -> !graph.quantized<?, 64, group = 32>
      %y = graph.linear %q, [@w] : !graph.quantized<?, 64, group = 32> -> tensor<?x1xf32>
      return %y : tensor<?x1xf32>
    })",
                               {floats({1, 64}, input)});
  ASSERT_EQ(got.size(), 1u);
  // bf16 scales carry 8 bits.
  EXPECT_NEAR(got[0], sum, std::abs(sum) / 256);
}

TEST_F(GraphOps, Rope) {
  const std::string text =
      R"(func.func @f(%b: !graph.batch, %x: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
    %a = graph.rope_angles %b {rotary_dim = 4 : i64, theta = 100.0} : tensor<?x4xf32>
    %y = graph.rope %x, %a {head_dim = 4 : i64} : tensor<?x4xf32>, tensor<?x4xf32>
    %z = graph.rope %x, %a {head_dim = 4 : i64, interleaved} : tensor<?x4xf32>, tensor<?x4xf32>
    return %y, %z : tensor<?x4xf32>, tensor<?x4xf32>
  })";
  auto results = call(text, {batch({{0, 3, 2, 2}}), floats({2, 4}, {1, 2, 3, 4, -1, 0.5, 2, -3})});
  ASSERT_EQ(error, "");
  EXPECT_THAT(
      std::get<reference::Floats<float>>(*results[0]).data,
      near({-1.4133525f, 0.72859216f, -2.8288574f, 4.4123864f, 2.1672487f, 1.6287856f, -0.55048472f, -2.5684738f}));
  EXPECT_THAT(std::get<reference::Floats<float>>(*results[1]).data,
              near({-1.2722325f, -1.838865f, 1.6839286f, 4.7079067f, 1.0320449f, 0.4299807f, 3.0103769f, -1.9843462f}));
}

class Attention : public GraphOps {
protected:
  std::vector<float> attend(const std::string &state, const std::string &attributes) {
    return run("graph.state @s kv sequence {kv_heads = 1 : i64, head_dim = 2 : i64" + state +
                   "}\nfunc.func @f(%q: tensor<?x4xf32>, %k: tensor<?x2xf32>, %v: tensor<?x2xf32>, %b: !graph.batch)"
                   " -> tensor<?x4xf32> {\n %y = graph.attention %q, %k, %v, %b, @s {heads = 2 : i64, "
                   "scale = 0.7 : f32" +
                   attributes +
                   "} : tensor<?x4xf32>, tensor<?x2xf32>\n"
                   " return %y : tensor<?x4xf32>\n}",
               {floats({3, 4}, {.1, .2, .3, -.4, 1, -1, .5, 2, -.7, .3, 2, .2}),
                floats({3, 2}, {.5, -.2, 1, .3, -.4, .8}), floats({3, 2}, values), batch({{7, 0, 3, 3}})});
  }
  std::vector<double> values = {1, 2, 3, -1, .5, .25};
};

TEST_F(Attention, CausalWithWindowAndCap) {
  EXPECT_THAT(attend("", ""),
              near({1, 2, 1, 2, 2, 0.5f, 2.4115701f, -0.11735511f, 1.2059746f, 0.42516094f, 2.1922941f, -0.0224312f}));
  EXPECT_THAT(attend(", window = 2 : i64", ""), near({1, 2, 1, 2, 2, 0.5f, 2.4115701f, -0.11735511f, 1.2798848f,
                                                      -0.13994247f, 2.6718888f, -0.83594441f}));
  EXPECT_THAT(attend("", ", softcap = 0.5 : f32"),
              near({1, 2, 1, 2, 2, 0.5f, 2.2726939f, 0.090959311f, 1.2573836f, 0.41409844f, 1.7550582f, 0.41779256f}));
}

TEST_F(Attention, KeepsWhatTheStatesTypeHolds) {
  // The first token sees itself alone, so its value comes back as it was kept.
  values[0] = 1 + 0x1p-9, values[1] = 0.3;
  auto first = [&](const std::string &type) {
    std::vector<float> all = attend(type.empty() ? "" : ", dtype = " + type, "");
    all.resize(2);
    return all;
  };
  EXPECT_THAT(first(""), ElementsAre(1 + 0x1p-9f, 0.3f));
  EXPECT_THAT(first("f32"), ElementsAre(1 + 0x1p-9f, 0.3f));
  EXPECT_THAT(first("f16"), ElementsAre(1 + 0x1p-9f, 0.30004883f));
  EXPECT_THAT(first("bf16"), ElementsAre(1, 0.30078125f));
  float scale = (1 + 0x1p-9f) / 127;
  EXPECT_THAT(first("i8"), ElementsAre(127 * scale, 38 * scale));
}

TEST_F(GraphOps, BadInputIsRefusedByName) {
  call(R"(func.func @f(%x: tensor<?x4xf32>, %y: tensor<?x4xf32>) -> tensor<?x4xf32> {
    %z = graph.gated_activation silu %x, %y : tensor<?x4xf32>
    return %z : tensor<?x4xf32>
  })",
       {floats({2, 4}, kX), floats({1, 4}, {1, 2, 3, 4})});
  EXPECT_THAT(error, HasSubstr("graph.gated_activation: gate and up do not have the same shape"));
  call("func.func @f(%x: tensor<?x4xf32>) -> tensor<?x4xf32> { return %x : tensor<?x4xf32> }",
       {floats({4}, {1, 2, 3, 4})});
  EXPECT_THAT(error, HasSubstr("argument 0 of @f does not have its type"));
  call("graph.weight @w : tensor<4xf32> stored f32\nfunc.func @f(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {\n"
       " %y = graph.rms_norm %x, @w {eps = 0.0 : f32} : tensor<?x4xf32>\n return %y : tensor<?x4xf32>\n}",
       {floats({2, 4}, kX)});
  EXPECT_EQ(error, "there are no values for weight @w");
}

} // namespace
