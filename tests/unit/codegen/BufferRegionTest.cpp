//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Regions on buffers: products by panels over every remainder of positions and panels, squares that are turned, shares
// of the work, reductions along rows, short floats by integer arithmetic, functions of f64; every level that this
// machine runs.
//
#include "runtime/core/Float16.h"
#include "tests/unit/codegen/RegionTestSupport.h"

#include <cmath>
#include <gmock/gmock.h>
#include <random>
#include <utility>

namespace mlc {
namespace {

std::vector<float> randomFloats(size_t count, std::mt19937 &random) {
  std::uniform_real_distribution<float> draw(-1, 1);
  std::vector<float> values(count);
  for (float &value : values)
    value = draw(random);
  return values;
}

std::string shape(std::initializer_list<int64_t> extents, const char *element = "f32") {
  std::string text = "memref<";
  for (int64_t extent : extents)
    text += std::to_string(extent) + "x";
  return text + element + ">";
}

/// out[r, p, l] = (fromZero ? 0 : out[r, p, l]) + sum over k of x[r * stride + k] * w[p, k, l]. Rows that do not
/// overlap are a matrix.
std::string productText(int64_t rows, int64_t panels, int64_t depth, int64_t lanes, int64_t stride, bool fromZero,
                        int split) {
  bool matrix = stride == depth;
  std::string x = matrix ? shape({rows, depth}) : shape({(rows - 1) * stride + depth}),
              w = shape({panels, depth, lanes}), out = shape({rows, panels, lanes});
  std::string text = "func.func @mlc_region_row(%x: " + x + ", %w: " + w + ", %out: " + out +
                     " {llvm.noalias}, %begin: index, %end: index) {\n";
  if (fromZero)
    text += "  %zero = arith.constant 0.0 : f32\n  linalg.fill ins(%zero : f32) outs(%out : " + out + ")\n";
  text += "  linalg.generic {indexing_maps = [affine_map<(r, p, k, l) -> (" +
          (matrix ? "r, k" : "r * " + std::to_string(stride) + " + k") +
          ")>, affine_map<(r, p, k, l) -> (p, k, l)>, affine_map<(r, p, k, l) -> (r, p, l)>], iterator_types = "
          "[\"parallel\", \"parallel\", \"reduction\", \"parallel\"]} ins(%x, %w : " +
          x + ", " + w + ") outs(%out : " + out + ") ";
  if (split >= 0)
    text += "attrs = {mlc.split = " + std::to_string(split) + " : i64} ";
  text += "{\n  ^bb0(%a: f32, %b: f32, %c: f32):\n    %0 = arith.mulf %a, %b : f32\n    %1 = arith.addf %c, %0 : f32\n"
          "    linalg.yield %1 : f32\n  }\n  return\n}\n";
  return text;
}

void checkProduct(int64_t rows, int64_t panels, int64_t depth, int64_t lanes, int64_t stride, bool fromZero,
                  int split) {
  std::mt19937 random(unsigned(rows * 131 + panels * 17 + depth));
  std::vector<float> x = randomFloats(size_t((rows - 1) * stride + depth), random),
                     w = randomFloats(size_t(panels * depth * lanes), random),
                     start = randomFloats(size_t(rows * panels * lanes), random);
  std::string text = productText(rows, panels, depth, lanes, stride, fromZero, split);
  for (const char *isa : runnableLevels()) {
    Mapped code(compiled(text, isa));
    std::vector<float> out = start;
    void *const buffers[] = {x.data(), w.data(), out.data()};
    // In shares of any size, where the work is shared.
    int64_t items = split == 0 ? rows : split == 1 ? panels : 1, middle = items / 3;
    if (split >= 0) {
      ASSERT_EQ(code(buffers, nullptr, middle, items), 0);
    }
    ASSERT_EQ(code(buffers, nullptr, 0, split >= 0 ? middle : 1), 0);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t n = 0; n < panels * lanes; ++n) {
        double expected = fromZero ? 0 : double(start[size_t(r * panels * lanes + n)]);
        for (int64_t k = 0; k < depth; ++k)
          expected +=
              double(x[size_t(r * stride + k)]) * double(w[size_t((n / lanes * depth + k) * lanes + n % lanes)]);
        ASSERT_NEAR(out[size_t(r * panels * lanes + n)], expected, 1e-5)
            << isa << " " << rows << " rows, " << panels << " panels of " << lanes << ", depth " << depth << ", split "
            << split << ", at " << r << ", " << n;
      }
  }
}

TEST(BufferRegion, ProductsOverEveryRemainder) {
  for (int64_t rows : {1, 2, 3, 5, 6, 7, 13, 29})
    for (int64_t panels : {1, 3, 5})
      checkProduct(rows, panels, 9, rows % 2 ? 16 : 8, 1 + rows % 3, panels % 2, -1);
}

TEST(BufferRegion, IndicesThatAreConstantAreNoObstacle) {
  std::string text =
      R"(func.func @mlc_region_row(%x: memref<1x7x9xf32>, %w: memref<1x3x9x16xf32>, %out: memref<1x7x3x16xf32> {llvm.noalias}, %begin: index, %end: index) {
  linalg.generic {indexing_maps = [affine_map<(b, r, p, k, l) -> (0, r, k)>, affine_map<(b, r, p, k, l) -> (0, p, k, l)>, affine_map<(b, r, p, k, l) -> (b, r, p, l)>], iterator_types = ["parallel", "parallel", "parallel", "reduction", "parallel"]} ins(%x, %w : memref<1x7x9xf32>, memref<1x3x9x16xf32>) outs(%out : memref<1x7x3x16xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %c, %0 : f32
    linalg.yield %1 : f32
  }
  return
})";
  std::mt19937 random(6);
  std::vector<float> x = randomFloats(7 * 9, random), w = randomFloats(3 * 9 * 16, random);
  for (const char *isa : runnableLevels()) {
    Mapped code(compiled(text, isa)), plain(compiled(productText(7, 3, 9, 16, 9, false, -1), isa));
    std::vector<float> out(7 * 3 * 16, 1), expected = out;
    void *const buffers[] = {x.data(), w.data(), out.data()}, *const others[] = {x.data(), w.data(), expected.data()};
    ASSERT_EQ(code(buffers, nullptr, 0, 1), 0);
    ASSERT_EQ(plain(others, nullptr, 0, 1), 0);
    ASSERT_THAT(out, testing::ElementsAreArray(expected)) << isa;
  }
}

TEST(BufferRegion, SharesOfProducts) {
  for (int split : {0, 1})
    for (int64_t items : {2, 5, 13, 26})
      checkProduct(split ? 3 : items, split ? items : 3, 11, 16, 1, split, split);
}

TEST(BufferRegion, BlocksOfPositions) {
  for (int split : {-1, 0, 1})
    checkProduct(1003, 5, 128, 16, 128, split != 0, split);
}

TEST(BufferRegion, PanelsThatAreFetchedAhead) {
  for (int split : {-1, 0, 1})
    for (int64_t lanes : {8, 16})
      checkProduct(67, 560 / lanes, 128, lanes, 128, split != 0, split);
}

/// out[a, b] = max(x[b, a] + bias[b], 0).
std::string turnedText(int64_t along, int64_t across) {
  std::string x = shape({along, across}), bias = shape({across}), out = shape({across, along});
  return "func.func @mlc_region_row(%x: " + x + ", %bias: " + bias + ", %out: " + out +
         ", %begin: index, %end: index) {\n  %zero = arith.constant 0.0 : f32\n  linalg.generic {indexing_maps = "
         "[affine_map<(b, a) -> (a, b)>, affine_map<(b, a) -> (b)>, affine_map<(b, a) -> (b, a)>], iterator_types = "
         "[\"parallel\", \"parallel\"]} ins(%x, %bias : " +
         x + ", " + bias + ") outs(%out : " + out +
         ") {\n  ^bb0(%v: f32, %w: f32, %o: f32):\n    %0 = arith.addf %v, %w : f32\n"
         "    %1 = arith.maximumf %0, %zero : f32\n    linalg.yield %1 : f32\n  }\n  return\n}\n";
}

TEST(BufferRegion, TurnsSquaresOverEveryRemainder) {
  std::mt19937 random(2);
  for (const char *isa : runnableLevels())
    for (int64_t along : {1, 7, 8, 9, 15, 16, 27})
      for (int64_t across : {8, 12, 24}) {
        std::vector<float> x = randomFloats(size_t(along * across), random),
                           bias = randomFloats(size_t(across), random), out(size_t(along * across) + 1, 7);
        Mapped code(compiled(turnedText(along, across), isa));
        void *const buffers[] = {x.data(), bias.data(), out.data()};
        ASSERT_EQ(code(buffers, nullptr, 0, 1), 0);
        for (int64_t b = 0; b < across; ++b)
          for (int64_t a = 0; a < along; ++a)
            ASSERT_EQ(out[size_t(b * along + a)], std::max(x[size_t(a * across + b)] + bias[size_t(b)], 0.f))
                << isa << " " << along << "x" << across;
        ASSERT_EQ(out.back(), 7);
      }
}

/// out[r] = join(out[r], (x[r, k] - bias[r])^2); lowered to vectors from 16 columns on.
std::string reductionText(int64_t rows, int64_t columns, const std::string &join) {
  std::string x = shape({1, rows, columns}), bias = shape({rows}), out = shape({rows});
  return "func.func @mlc_region_row(%x: " + x + ", %bias: " + bias + ", %out: " + out +
         ", %begin: index, %end: index) {\n  linalg.generic {indexing_maps = [affine_map<(r, k) -> (0, r, k)>, "
         "affine_map<(r, k) -> (r)>, affine_map<(r, k) -> (r)>], iterator_types = [\"parallel\", \"reduction\"]} "
         "ins(%x, "
         "%bias : " +
         x + ", " + bias + ") outs(%out : " + out +
         ") attrs = {mlc.split = 0 : i64} {\n  ^bb0(%v: f32, %w: f32, %o: f32):\n    %0 = arith.subf %v, %w : f32\n"
         "    %1 = arith.mulf %0, %0 : f32\n    %2 = " +
         join + " %o, %1 : f32\n    linalg.yield %2 : f32\n  }\n  return\n}\n";
}

TEST(BufferRegion, ReducesRowsOverEveryRemainder) {
  std::mt19937 random(5);
  constexpr int64_t kRows = 5;
  for (const char *isa : runnableLevels())
    for (int64_t columns : {15, 16, 23, 31, 32, 33, 40, 71, 200})
      for (std::string join : {"arith.addf", "arith.maximumf", "arith.minimumf", "arith.maxnumf"}) {
        std::vector<float> x = randomFloats(size_t(kRows * columns), random),
                           bias = randomFloats(size_t(kRows), random), start = randomFloats(size_t(kRows), random);
        Mapped code(compiled(reductionText(kRows, columns, join), isa));
        auto run = [&] {
          std::vector<float> out = start;
          void *const buffers[] = {x.data(), bias.data(), out.data()};
          EXPECT_EQ(code(buffers, nullptr, 2, kRows), 0);
          EXPECT_EQ(code(buffers, nullptr, 0, 2), 0);
          return out;
        };
        std::vector<float> out = run();
        for (int64_t r = 0; r < kRows; ++r) {
          double expected = double(start[size_t(r)]);
          for (int64_t k = 0; k < columns; ++k) {
            double difference = double(x[size_t(r * columns + k)]) - double(bias[size_t(r)]),
                   square = difference * difference;
            expected = join == "arith.addf"       ? expected + square
                       : join == "arith.minimumf" ? std::min(expected, square)
                                                  : std::max(expected, square);
          }
          ASSERT_NEAR(out[size_t(r)], expected, 1e-6 * double(columns)) << isa << " " << columns << " " << join;
        }
        // Whatever is no number stays none, wherever it stands; of maxnumf the others are compared.
        for (int64_t k = 0; k < columns; ++k) {
          float kept = std::exchange(x[size_t(columns + k)], std::nanf(""));
          ASSERT_EQ(std::isnan(run()[1]), join != "arith.maxnumf")
              << isa << " " << columns << " " << join << " at " << k;
          x[size_t(columns + k)] = kept;
        }
      }
}

/// An elementwise region from `from` to `to` over `count` values; `body` defines %r of %a.
std::string mapText(int64_t count, const char *from, const char *to, const std::string &body) {
  std::string x = shape({count}, from), out = shape({count}, to);
  return "func.func @mlc_region_row(%x: " + x + ", %out: " + out +
         ", %begin: index, %end: index) {\n  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) "
         "-> "
         "(i)>], iterator_types = [\"parallel\"]} ins(%x : " +
         x + ") outs(%out : " + out + ") {\n  ^bb0(%a: " + from + ", %o: " + to + "):\n" + body +
         "\n    linalg.yield %r : " + to + "\n  }\n  return\n}\n";
}

TEST(BufferRegion, EveryHalfToFloatAndBack) {
  constexpr int64_t kCount = 1 << 16;
  for (const char *isa : runnableLevels()) {
    std::vector<uint16_t> halves(kCount), back(kCount);
    std::vector<float> floats(kCount);
    for (int64_t i = 0; i < kCount; ++i)
      halves[size_t(i)] = uint16_t(i);
    Mapped extend(compiled(mapText(kCount, "f16", "f32", "    %r = arith.extf %a : f16 to f32"), isa));
    void *const out[] = {halves.data(), floats.data()};
    ASSERT_EQ(extend(out, nullptr, 0, 1), 0);
    Mapped truncate(compiled(mapText(kCount, "f32", "f16", "    %r = arith.truncf %a : f32 to f16"), isa));
    void *const in[] = {floats.data(), back.data()};
    ASSERT_EQ(truncate(in, nullptr, 0, 1), 0);
    for (int64_t i = 0; i < kCount; ++i) {
      float expected = f16ToF32(uint16_t(i));
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(floats[size_t(i)])) << isa << " " << i;
        ASSERT_TRUE(std::isnan(f16ToF32(back[size_t(i)]))) << isa << " " << i;
        continue;
      }
      ASSERT_EQ(floats[size_t(i)], expected) << isa << " " << i;
      ASSERT_EQ(back[size_t(i)], uint16_t(i)) << isa;
    }
  }
}

TEST(BufferRegion, FloatsToHalvesAreRoundedToTheNearest) {
  constexpr int64_t kCount = 1 << 16;
  std::mt19937 random(3);
  std::vector<float> floats(kCount);
  for (float &value : floats) {
    // Of every exponent about that of a half.
    value = std::ldexp(std::uniform_real_distribution<float>(-2, 2)(random), int(random() % 46) - 28);
  }
  for (const char *isa : runnableLevels()) {
    std::vector<uint16_t> halves(kCount);
    Mapped code(compiled(mapText(kCount, "f32", "f16", "    %r = arith.truncf %a : f32 to f16"), isa));
    void *const buffers[] = {floats.data(), halves.data()};
    ASSERT_EQ(code(buffers, nullptr, 0, 1), 0);
    for (int64_t i = 0; i < kCount; ++i)
      ASSERT_EQ(halves[size_t(i)], f32ToF16(floats[size_t(i)])) << isa << " " << floats[size_t(i)];
  }
}

void checkDouble(const std::string &body, double (*reference)(double), double low, double high, double tolerance) {
  constexpr int64_t kCount = 4001;
  std::vector<double> x(kCount), y(kCount);
  for (int64_t i = 0; i < kCount; ++i)
    x[size_t(i)] = low + (high - low) * double(i) / double(kCount - 1);
  for (const char *isa : runnableLevels()) {
    Mapped code(compiled(mapText(kCount, "f64", "f64", body), isa));
    void *const buffers[] = {x.data(), y.data()};
    ASSERT_EQ(code(buffers, nullptr, 0, 1), 0);
    for (int64_t i = 0; i < kCount; ++i) {
      double expected = reference(x[size_t(i)]);
      ASSERT_LE(std::fabs(y[size_t(i)] - expected), tolerance * std::fabs(expected)) << isa << " " << x[size_t(i)];
    }
  }
}

TEST(BufferRegion, FunctionsOfDoubles) {
  checkDouble("    %r = math.exp %a : f64", [](double x) { return std::exp(x); }, -700, 709, 1e-15);
  checkDouble("    %r = math.log %a : f64", [](double x) { return std::log(x); }, 1e-300, 1e300, 1e-15);
  checkDouble("    %r = math.log %a : f64", [](double x) { return std::log(x); }, 0.3, 0.9, 1e-15);
  checkDouble(
      "    %c = arith.constant 0.7 : f64\n    %r = arith.remf %a, %c : f64", [](double x) { return std::fmod(x, 0.7); },
      -9.05, 8.03, 1e-12);
}

} // namespace
} // namespace mlc
