//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Compiled regions: every remainder of rows and columns, every function against double precision, the same bytes each
// time, and what is refused.
//
#include "tests/unit/codegen/RegionTestSupport.h"

#include <cmath>
#include <gmock/gmock.h>
#include <random>

namespace mlc {
namespace {

using testing::HasSubstr;

TEST(RegionCode, EveryRemainderOfRowsAndColumns) {
  std::string text = source("    %0 = arith.mulf %a, %b : f32\n    %1 = math.absf %0 : f32\n"
                            "    %2 = math.sqrt %1 : f32\n    %r = arith.subf %2, %b : f32",
                            2);
  constexpr int64_t kGuard = 16;
  constexpr float kUntouched = 12345;
  std::mt19937 random(1);
  std::uniform_real_distribution<float> draw(-4, 4);
  for (const char *isa : runnableLevels()) {
    Mapped code(compiled(text, isa));
    for (int64_t columns = 1; columns <= 70; ++columns)
      for (int64_t rows = 1; rows <= 9; ++rows) {
        // Rows of a wider tensor, of one without gaps, and of one with a gap of one.
        const int64_t dims[] = {columns, columns + 13, columns, columns + 1};
        std::vector<float> a(size_t(rows * dims[1])), b(size_t(rows * dims[2]));
        std::vector<float> out(size_t(rows * dims[3] + 2 * kGuard), kUntouched);
        for (float &value : a)
          value = draw(random);
        for (float &value : b)
          value = draw(random);
        void *const buffers[] = {a.data(), b.data(), out.data() + kGuard};
        // One row is left out at the end, where there is more than one.
        int64_t end = rows > 1 ? rows - 1 : rows, middle = end / 2;
        ASSERT_EQ(code(buffers, dims, 0, middle), 0);
        ASSERT_EQ(code(buffers, dims, middle, end), 0);
        for (int64_t i = 0; i < int64_t(out.size()); ++i) {
          int64_t row = (i - kGuard) / dims[3], column = (i - kGuard) % dims[3];
          float expected = kUntouched;
          if (i >= kGuard && row < end && column < columns) {
            float x = a[size_t(row * dims[1] + column)], y = b[size_t(row * dims[2] + column)];
            expected = std::sqrt(std::fabs(x * y)) - y;
          }
          ASSERT_EQ(out[size_t(i)], expected) << isa << " " << rows << "x" << columns << " at " << i;
        }
      }
  }
}

struct Function {
  const char *op;
  double (*reference)(double);
  float low, high;
  double tolerance; // Relative to max(|y|, floor).
  double floor;
};

double sigmoidOf(double x) { return 1 / (1 + std::exp(-x)); }
double rsqrtOf(double x) { return 1 / std::sqrt(x); }

TEST(RegionCode, FunctionsAgainstDouble) {
  const Function functions[] = {
      {"exp", [](double x) { return std::exp(x); }, -87, 88, 2e-7, 0},
      {"exp2", [](double x) { return std::exp2(x); }, -20, 20, 2e-6, 0},
      {"expm1", [](double x) { return std::expm1(x); }, -10, 10, 1e-6, 1e-3},
      {"log", [](double x) { return std::log(x); }, 1e-6f, 1e6f, 1e-6, 1e-2},
      {"log2", [](double x) { return std::log2(x); }, 1e-6f, 1e6f, 1e-6, 1e-2},
      {"log10", [](double x) { return std::log10(x); }, 1e-6f, 1e6f, 1e-6, 1e-2},
      {"log1p", [](double x) { return std::log1p(x); }, -0.9f, 100, 1e-6, 1e-2},
      {"tanh", [](double x) { return std::tanh(x); }, -12, 12, 4e-7, 1e-3},
      {"erf", [](double x) { return std::erf(x); }, -5, 5, 1e-6, 1},
      {"sin", [](double x) { return std::sin(x); }, -30, 30, 1e-5, 1},
      {"cos", [](double x) { return std::cos(x); }, -30, 30, 1e-5, 1},
      {"tan", [](double x) { return std::tan(x); }, -1.4f, 1.4f, 1e-5, 1},
      {"atan", [](double x) { return std::atan(x); }, -50, 50, 1e-5, 1},
      {"sinh", [](double x) { return std::sinh(x); }, -10, 10, 1e-5, 1},
      {"cosh", [](double x) { return std::cosh(x); }, -10, 10, 1e-5, 1},
      {"sqrt", [](double x) { return std::sqrt(x); }, 0, 1e6f, 1e-7, 0},
      {"rsqrt", rsqrtOf, 1e-3f, 1e6f, 1e-6, 0},
      {"cbrt", [](double x) { return std::cbrt(x); }, -1e3f, 1e3f, 1e-5, 1e-2},
      {"asin", [](double x) { return std::asin(x); }, -1, 1, 4e-7, 1},
      {"acos", [](double x) { return std::acos(x); }, -1, 1, 4e-7, 1},
      {"absf", [](double x) { return std::fabs(x); }, -5, 5, 0, 0},
      {"floor", [](double x) { return std::floor(x); }, -50, 50, 0, 0},
      {"ceil", [](double x) { return std::ceil(x); }, -50, 50, 0, 0},
      {"round", [](double x) { return std::round(x); }, -50, 50, 0, 0},
      {"roundeven", [](double x) { return std::nearbyint(x); }, -50, 50, 0, 0},
      {"trunc", [](double x) { return std::trunc(x); }, -50, 50, 0, 0},
  };
  constexpr int64_t kCount = 4001;
  for (const char *isa : runnableLevels())
    for (const Function &function : functions) {
      std::string text = source("    %r = math." + std::string(function.op) + " %a : f32");
      Mapped code(compiled(text, isa));
      std::vector<float> x(kCount), y(kCount);
      for (int64_t i = 0; i < kCount; ++i)
        x[size_t(i)] = function.low + (function.high - function.low) * float(i) / float(kCount - 1);
      const int64_t dims[] = {kCount, kCount, kCount};
      void *const buffers[] = {x.data(), y.data()};
      ASSERT_EQ(code(buffers, dims, 0, 1), 0);
      double worst = 0, at = 0;
      for (int64_t i = 0; i < kCount; ++i) {
        double expected = function.reference(double(x[size_t(i)]));
        double scale = std::max(std::fabs(expected), function.floor);
        double error = std::fabs(double(y[size_t(i)]) - expected) / (scale > 0 ? scale : 1);
        if (!(error <= worst))
          worst = error, at = double(x[size_t(i)]);
      }
      EXPECT_LE(worst, function.tolerance) << isa << " " << function.op << " at " << at;
    }
}

TEST(RegionCode, WholeActivationOnSpecialValues) {
  std::string text = source("    %one = arith.constant 1.0 : f32\n    %m = arith.negf %a : f32\n"
                            "    %e = math.exp %m : f32\n    %d = arith.addf %one, %e : f32\n"
                            "    %r = arith.divf %one, %d : f32");
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const char *isa : runnableLevels()) {
    Mapped code(compiled(text, isa));
    float x[] = {0, -0.f, kInfinity, -kInfinity, 200, -200, std::nanf(""), 1.5f}, y[8];
    const int64_t dims[] = {8, 8, 8};
    void *const buffers[] = {x, y};
    ASSERT_EQ(code(buffers, dims, 0, 1), 0);
    EXPECT_THAT(std::vector<float>(y, y + 6), testing::ElementsAre(0.5f, 0.5f, 1, 0, 1, 0)) << isa;
    EXPECT_TRUE(std::isnan(y[6])) << isa;
    EXPECT_NEAR(y[7], sigmoidOf(1.5), 1e-7) << isa;
  }
}

TEST(RegionCode, PowersOfWhatIsNotPositiveHaveTheSameBits) {
  constexpr int64_t kCount = 5003;
  std::vector<float> x(kCount), y(kCount), z(kCount);
  for (int64_t i = 0; i < kCount; ++i)
    x[size_t(i)] = -100 * float(i) / float(kCount - 1);
  x[1] = -std::numeric_limits<float>::infinity(), x[2] = std::nanf(""), x[3] = -1e-30f, x[4] = -86.99f, x[5] = -87.3f;
  const int64_t dims[] = {kCount, kCount, kCount};
  for (const char *isa : runnableLevels()) {
    Mapped any(compiled(source("    %r = math.exp %a : f32"), isa)),
        some(compiled(source("    %r = math.exp %a {mlc.not_positive} : f32"), isa));
    void *const anys[] = {x.data(), y.data()}, *const somes[] = {x.data(), z.data()};
    ASSERT_EQ(any(anys, dims, 0, 1) + some(somes, dims, 0, 1), 0);
    EXPECT_EQ(memcmp(y.data(), z.data(), sizeof(float) * kCount), 0) << isa;
    EXPECT_EQ(z[0], 1) << isa;
    EXPECT_EQ(z[1], 0) << isa;
    EXPECT_TRUE(std::isnan(z[2])) << isa;
  }
}

TEST(RegionCode, SameBytesForEveryLevelOfEveryTriple) {
  std::string text = source("    %0 = math.exp %a : f32\n    %r = math.tanh %0 : f32");
  for (const char *isa : {"x86-64-v2", "x86-64-v3", "x86-64-v4"})
    EXPECT_EQ(compiled(text, isa), compiled(text, isa)) << isa;
  EXPECT_EQ(compiled(text, "armv8-a", "aarch64-linux-gnu"), compiled(text, "armv8-a", "aarch64-linux-gnu"));
  for (const char *isa : {"armv7-a", "vfpv4"})
    EXPECT_EQ(compiled(text, isa, "arm-linux-gnueabihf"), compiled(text, isa, "arm-linux-gnueabihf"));
}

void expectRefused(const std::string &text, const char *triple, const char *isa, const char *message) {
  auto blob = compileRegion(text, triple, isa);
  ASSERT_FALSE(bool(blob));
  std::string reason = llvm::toString(blob.takeError());
  EXPECT_THAT(reason, HasSubstr(message));
  EXPECT_EQ(reason.find('\n'), std::string::npos) << reason;
}

TEST(RegionCode, RefusesByName) {
  std::string unknown = source("    %0 = arith.extf %a : f32 to f64\n    %1 = math.cbrt %0 : f64\n"
                               "    %r = arith.truncf %1 : f64 to f32");
  for (const char *isa : {"x86-64-v2", "x86-64-v3", "x86-64-v4"})
    expectRefused(unknown, kTriple, isa, "'math.cbrt'");
  expectRefused(unknown, "aarch64-linux-gnu", "armv8-a", "'math.cbrt'");
  std::string wide = source("    %0 = arith.fptosi %a : f32 to i64\n    %1 = arith.sitofp %0 : i64 to f64\n"
                            "    %r = arith.truncf %1 : f64 to f32");
  EXPECT_FALSE(compiled(wide, "armv7-a", "arm-linux-gnueabihf").empty());
  std::string wider = source("    %0 = arith.fptosi %a : f32 to i128\n    %1 = arith.sitofp %0 : i128 to f64\n"
                             "    %r = arith.truncf %1 : f64 to f32");
  expectRefused(wider, "arm-linux-gnueabihf", "armv7-a", "needs __fix");
  std::string plain = source("    %r = arith.negf %a : f32");
  expectRefused(plain, kTriple, "armv8-a", "no code is generated for armv8-a");
  expectRefused(plain, "riscv64-linux-gnu", "rv64", "no code is generated for rv64");
  expectRefused("func.func @f() { return }", kTriple, "x86-64-v2", "without a linalg.generic");
  expectRefused("nonsense", kTriple, "x86-64-v2", "cannot be compiled");
}

} // namespace
} // namespace mlc
