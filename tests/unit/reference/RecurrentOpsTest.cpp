//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// conv1d_causal, ssd and gated_rms_norm, against their sums written out over all earlier positions; steps of any length
// and rollback give the same.
//
#include "tests/unit/reference/ReferenceTest.h"

#include <cmath>

using namespace mlc;
using namespace mlc::test;
using testing::HasSubstr;

namespace {

constexpr int64_t kHeads = 4, kDim = 3, kGroups = 2, kState = 2, kTokens = 40;
constexpr int64_t kInner = kHeads * kDim, kGroup = kGroups * kState;

const char *const kScan = R"(
  graph.state @s ssm sequence {heads = 4 : i64, head_dim = 3 : i64, groups = 2 : i64, state_size = 2 : i64DTYPE}
  graph.weight @a : tensor<4xf32> stored f32
  graph.weight @d : tensor<4x1xf32> stored f32
  graph.weight @bias : tensor<4xf32> stored f32
  func.func @f(%x: tensor<?x12xf32>, %dt: tensor<?x4xf32>, %b: tensor<?x4xf32>, %c: tensor<?x4xf32>,
               %batch: !graph.batch) -> tensor<?x12xf32> {
    %y = graph.ssd %x, %dt, %b, %c, %batch, @s a @a LOG d @d dt_bias @bias LIMITS
      : tensor<?x12xf32>, tensor<?x4xf32>, tensor<?x4xf32>
    return %y : tensor<?x12xf32>
  })";

std::string replaced(std::string text, const std::string &what, const std::string &by) {
  return text.replace(text.find(what), what.size(), by);
}

std::vector<double> values(const std::string &name, int64_t count, double scale = 1) {
  std::vector<double> out;
  for (float value : hashedWeight(name, count))
    out.push_back(scale * double(value));
  return out;
}

class RecurrentOps : public ReferenceTest {
protected:
  RecurrentOps() {
    source.values["a"] = {-0.5f, 0.25f, 1.0f, -1.5f};
    source.values["d"] = {0.5f, -1.0f, 2.0f, 0.0f};
    source.values["bias"] = {0.1f, -2.0f, -0.5f, 1.0f};
  }

  /// Parses `text` for the steps that follow.
  template <typename T> void open(const std::string &text) {
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    ASSERT_TRUE(module);
    interpreters<T>() = std::make_unique<reference::Interpreter<T>>(*module, source, limits);
  }
  template <typename T> std::unique_ptr<reference::Interpreter<T>> &interpreters() {
    static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>);
    if constexpr (std::is_same_v<T, float>)
      return narrow;
    else
      return wide;
  }
  /// Rows [begin, end) of one sequence's scan.
  template <typename T> std::vector<T> scan(int64_t begin, int64_t end, uint64_t sequence = 0) {
    auto rows = [&](const std::vector<double> &all, int64_t columns) {
      return floats<T>({end - begin, columns}, {all.begin() + begin * columns, all.begin() + end * columns});
    };
    auto results = interpreters<T>()->call("f", {rows(x, kInner), rows(dt, kHeads), rows(b, kGroup), rows(c, kGroup),
                                                 batch<T>({{sequence, begin, end - begin, kTokens}})});
    if (!results) {
      ADD_FAILURE() << llvm::toString(results.takeError());
      return {};
    }
    return std::get<reference::Floats<T>>(*results->front()).data;
  }

  /// y_t = sum over j <= t of (c_t . b_j) exp(A (dt_(j+1) + ... + dt_t)) dt_j x_j + D x_t.
  std::vector<double> dual(bool logA, double least, double most) {
    std::vector<double> y;
    auto step = [&](int64_t t, int64_t h) {
      double raw = dt[t * kHeads + h] + source.values["bias"][h];
      return std::min(std::max(raw > 20 ? raw : std::log1p(std::exp(raw)), least), most);
    };
    for (int64_t t = 0; t < kTokens; ++t)
      for (int64_t h = 0; h < kHeads; ++h)
        for (int64_t p = 0; p < kDim; ++p) {
          double a = source.values["a"][h], sum = source.values["d"][h] * x[t * kInner + h * kDim + p], gone = 0;
          for (int64_t j = t; j >= 0; gone += step(j--, h)) {
            double product = 0;
            for (int64_t n = 0; n < kState; ++n) {
              int64_t column = h / (kHeads / kGroups) * kState + n;
              product += c[t * kGroup + column] * b[j * kGroup + column];
            }
            sum += product * std::exp((logA ? -std::exp(a) : a) * gone) * step(j, h) * x[j * kInner + h * kDim + p];
          }
          y.push_back(sum);
        }
    return y;
  }

  std::vector<double> x = values("x", kTokens *kInner), dt = values("dt", kTokens *kHeads, 2),
                      b = values("b", kTokens *kGroup), c = values("c", kTokens *kGroup);
  std::unique_ptr<reference::Interpreter<float>> narrow;
  std::unique_ptr<reference::Interpreter<double>> wide;
};

TEST_F(RecurrentOps, ScanIsItsDualForm) {
  dt[7] = 30; // Beyond where softplus is the identity.
  std::string text = replaced(replaced(replaced(kScan, "DTYPE", ""), "LOG", "log"), "LIMITS", "");
  open<double>(text);
  EXPECT_THAT(scan<double>(0, kTokens), testing::Pointwise(testing::DoubleNear(1e-12), dual(true, 0, INFINITY)));
  open<float>(text);
  std::vector<double> expected = dual(true, 0, INFINITY);
  EXPECT_THAT(scan<float>(0, kTokens), near({expected.begin(), expected.end()}, 2e-5f));
  // GGUF holds A itself; dt is clamped on both sides.
  source.values["a"] = {-0.5f, -0.25f, -3.0f, -1.5f};
  open<double>(replaced(replaced(replaced(kScan, "DTYPE", ""), "LOG ", ""), "LIMITS",
                        "{dt_min = 0.25 : f32, dt_max = 0.75 : f32}"));
  EXPECT_THAT(scan<double>(0, kTokens), testing::Pointwise(testing::DoubleNear(1e-12), dual(false, 0.25, 0.75)));
}

TEST_F(RecurrentOps, StepsAndRollbackGiveTheSame) {
  for (const char *dtype : {"", ", dtype = bf16"}) {
    open<float>(replaced(replaced(replaced(kScan, "DTYPE", dtype), "LOG", "log"), "LIMITS", ""));
    std::vector<float> whole = scan<float>(0, kTokens), pieces;
    for (int64_t begin = 0, step = 1; begin < kTokens; begin += step, step = step % 9 + 4) {
      std::vector<float> part = scan<float>(begin, std::min(kTokens, begin + step), 1);
      pieces.insert(pieces.end(), part.begin(), part.end());
    }
    EXPECT_EQ(whole, pieces);
    // Back into an earlier page, and on from there.
    std::vector<float> again = scan<float>(11, kTokens, 1);
    EXPECT_EQ(std::vector<float>(whole.begin() + 11 * kInner, whole.end()), again);
    // A fork goes on by itself.
    scan<float>(0, 20, 2);
    narrow->states.fork(2, 3);
    std::vector<float> forked = scan<float>(20, kTokens, 3);
    EXPECT_EQ(std::vector<float>(whole.begin() + 20 * kInner, whole.end()), forked);
  }
}

TEST_F(RecurrentOps, StatesOfBf16AreRoundedAtPages) {
  std::vector<double> exact = dual(true, 0, INFINITY);
  open<double>(replaced(replaced(replaced(kScan, "DTYPE", ", dtype = bf16"), "LOG", "log"), "LIMITS", ""));
  std::vector<double> rounded = scan<double>(0, kTokens);
  double first = 0, later = 0;
  for (int64_t i = 0; i < kTokens * kInner; ++i)
    (i < 16 * kInner ? first : later) = std::max(i < 16 * kInner ? first : later, std::abs(rounded[i] - exact[i]));
  EXPECT_LT(first, 1e-12);
  EXPECT_GT(later, 1e-5);
  EXPECT_LT(later, 3e-2);
}

TEST_F(RecurrentOps, RoundedProductsStayClose) {
  std::vector<double> exact = dual(true, 0, INFINITY);
  std::string text =
      replaced(replaced(replaced(kScan, "DTYPE", ""), "LOG", "log"), "LIMITS", "{products = #graph<products bf16>}");
  open<double>(text);
  std::vector<double> rounded = scan<double>(0, kTokens), pieces;
  double apart = 0;
  for (int64_t i = 0; i < kTokens * kInner; ++i)
    apart = std::max(apart, std::abs(rounded[i] - exact[i]));
  EXPECT_GT(apart, 1e-4);
  EXPECT_LT(apart, 3e-2);
  for (int64_t begin = 0; begin < kTokens; begin += 7) {
    std::vector<double> part = scan<double>(begin, std::min(kTokens, begin + 7), 1);
    pieces.insert(pieces.end(), part.begin(), part.end());
  }
  EXPECT_EQ(rounded, pieces);
}

TEST_F(RecurrentOps, Convolution) {
  source.values["w"] = {0.5f, -1, 2, 1, 0.25f, -0.5f};
  source.values["bias2"] = {0.125f, -1};
  const std::string text = R"(
    graph.state @s conv sequence {channels = 2 : i64, kernel = 3 : i64}
    graph.weight @w : tensor<2x1x3xf32> stored f32
    graph.weight @bias2 : tensor<2xf32> stored f32
    func.func @f(%x: tensor<?x2xf32>, %batch: !graph.batch) -> tensor<?x2xf32> {
      %y = graph.conv1d_causal %x, %batch, @s, @w bias @bias2 activation relu : tensor<?x2xf32>
      return %y : tensor<?x2xf32>
    })";
  open<float>(text);
  auto step = [&](int64_t begin, std::vector<double> rows, uint64_t sequence = 0) {
    int64_t count = int64_t(rows.size()) / 2;
    auto results = narrow->call("f", {floats({count, 2}, rows), batch({{sequence, begin, count, 9}})});
    EXPECT_TRUE(bool(results));
    return std::get<reference::Floats<float>>(*results->front()).data;
  };
  // Row t of channel 0: 0.5 x[t-2] - x[t-1] + 2 x[t] + 0.125; of channel 1: x[t-2] + 0.25 x[t-1] - 0.5 x[t] - 1.
  EXPECT_EQ(step(0, {1, 2, 2, -4, 3, 0, -4, 4}), (std::vector<float>{2.125f, 0, 3.125f, 1.5f, 4.625f, 0, 0, 0}));
  EXPECT_EQ(step(0, {1, 2}, 1), (std::vector<float>{2.125f, 0}));
  EXPECT_EQ(step(1, {2, -4, 3, 0}, 1), (std::vector<float>{3.125f, 1.5f, 4.625f, 0}));
  EXPECT_EQ(step(2, {3, 0}, 1), (std::vector<float>{4.625f, 0})); // Rolled back by one.
  auto beyond = narrow->call("f", {floats({1, 2}, {1, 1}), batch({{1, 7, 1, 9}})});
  ASSERT_FALSE(bool(beyond));
  EXPECT_THAT(llvm::toString(beyond.takeError()), HasSubstr("sequence 1 holds no position before 7"));
}

TEST_F(RecurrentOps, GatedNorm) {
  const std::vector<double> rows = values("rows", 12), gate = values("gate", 12, 3);
  source.values["n"] = {1, 0.5f, -2, 3, 0.25f, 1.5f};
  for (bool before : {false, true}) {
    std::vector<float> y = run(R"(
      graph.weight @n : tensor<2x3xf32> stored f32
      func.func @f(%x: tensor<?x6xf32>, %g: tensor<?x6xf32>) -> tensor<?x6xf32> {
        %y = graph.gated_rms_norm silu %x, %g, @n {eps = 1.0e-2 : f32, group = 3 : i64)" +
                                   std::string(before ? ", norm_before_gate" : "") + R"(} : tensor<?x6xf32>
        return %y : tensor<?x6xf32>
      })",
                               {floats({2, 6}, rows), floats({2, 6}, gate)});
    std::vector<float> expected;
    for (int64_t i = 0; i < 12; ++i) {
      auto gated = [&](int64_t j) { return rows[j] * (before ? 1 : gate[j] / (1 + std::exp(-gate[j]))); };
      double squares = 0;
      for (int64_t j = i / 3 * 3; j < i / 3 * 3 + 3; ++j)
        squares += gated(j) * gated(j);
      double value = gated(i) / std::sqrt(squares / 3 + 0.01) * source.values["n"][i % 6];
      expected.push_back(float(before ? value * gate[i] / (1 + std::exp(-gate[i])) : value));
    }
    EXPECT_THAT(y, near(expected));
  }
}

TEST_F(RecurrentOps, ScaledColumns) {
  EXPECT_THAT(run(R"(func.func @f(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
    %y = graph.scale_columns %x {factors = array<f32: 2.0, -0.5>, columns = array<i64: 1, 2>} : tensor<?x3xf32>
    return %y : tensor<?x3xf32>
  })",
                  {floats({2, 3}, {1, 2, 3, 4, 5, 6})}),
              near({2, -1, -1.5f, 8, -2.5f, -3}));
}

} // namespace
