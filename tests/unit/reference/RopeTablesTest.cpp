//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Inverse frequencies against what transformers 5.23 computed (torch f32, head_dim 12, 64 trained positions).
//
#include "compiler/Support/RopeTables.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"

#include <gmock/gmock.h>

using namespace mlir;
using namespace mlc;
using testing::Pointwise;

namespace {

class RopeTables : public testing::Test {
protected:
  graph::RopeAnglesOp parse(const std::string &attributes) {
    context.loadDialect<graph::GraphDialect, func::FuncDialect>();
    std::string text = R"(
      func.func @step(%b: !graph.batch) -> tensor<?x12xf32> {
        %a = graph.rope_angles %b {rotary_dim = 12 : i64, )" +
                       attributes + R"(} : tensor<?x12xf32>
        return %a : tensor<?x12xf32>
      })";
    module = parseSourceString<ModuleOp>(text, &context);
    if (!module)
      throw std::runtime_error("the test's text does not parse");
    graph::RopeAnglesOp found;
    module->walk([&](graph::RopeAnglesOp op) { found = op; });
    return found;
  }
  std::vector<float> table(const std::string &attributes, unsigned row = 0) {
    auto tables = ropeTables(parse(attributes));
    if (row >= tables.size())
      return {};
    return {tables[row].begin(), tables[row].end()};
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

MATCHER(SameBits, "") { return std::get<0>(arg) == std::get<1>(arg); }
auto equals(std::vector<float> expected) { return Pointwise(SameBits(), expected); }

TEST_F(RopeTables, None) {
  EXPECT_THAT(table("theta = 500000.0"),
              equals({0x1p+0f, 0x1.cbc2aap-4f, 0x1.9cd9d2p-7f, 0x1.72ba42p-10f, 0x1.4ce6ecp-13f, 0x1.2aefa4p-16f}));
}

TEST_F(RopeTables, Linear) {
  EXPECT_THAT(table("theta = 10000.0, scaling = #graph<rope_scaling linear>, factor = 2.7"),
              equals({0x1.7b425ep-2f, 0x1.46d5fp-4f, 0x1.19a89p-6f, 0x1.e573acp-9f, 0x1.a25982p-11f, 0x1.6885dep-13f}));
}

TEST_F(RopeTables, DynamicDependsOnThePrompt) {
  std::string attributes =
      "theta = 10000.0, scaling = #graph<rope_scaling dynamic>, factor = 2.7, original_context = 64";
  std::vector<float> trained = {0x1p+0f,        0x1.b93a6ap-3f, 0x1.7c3d2ap-5f,
                                0x1.47ae14p-7f, 0x1.1a62d2p-9f, 0x1.e6b4b8p-12f};
  EXPECT_THAT(table(attributes), equals(trained));
  EXPECT_THAT(ropeDynamicTable(parse(attributes), 10), equals(trained));
  EXPECT_THAT(ropeDynamicTable(parse(attributes), 150),
              equals({0x1p+0f, 0x1.44c656p-3f, 0x1.9c06ap-6f, 0x1.055bdp-8f, 0x1.4b92acp-11f, 0x1.a4a692p-14f}));
}

TEST_F(RopeTables, Yarn) {
  EXPECT_THAT(table("theta = 10000.0, scaling = #graph<rope_scaling yarn>, factor = 4.0, original_context = 64, "
                    "beta_fast = 32.0, beta_slow = 1.0"),
              equals({0x1p+0f, 0x1.13c482p-3f, 0x1.7c3d2ap-7f, 0x1.47ae14p-9f, 0x1.1a62d2p-11f, 0x1.e6b4b8p-14f}));
  EXPECT_THAT(table("theta = 50000.0, scaling = #graph<rope_scaling yarn>, factor = 3.3, original_context = 64, "
                    "beta_fast = 8.0, beta_slow = 2.0, truncate = false"),
              equals({0x1p+0f, 0x1.98fdd4p-5f, 0x1.0d888cp-7f, 0x1.634172p-10f, 0x1.d43da2p-13f, 0x1.349478p-15f}));
}

TEST_F(RopeTables, LongropeHasTwoForms) {
  std::string attributes = "theta = 10000.0, scaling = #graph<rope_scaling longrope>, original_context = 64, "
                           "short_factors = array<f64: 1.0, 1.1, 1.25, 1.4, 2.0, 3.1>, "
                           "long_factors = array<f64: 1.0, 2.2, 4.5, 8.0, 16.3, 31.7>";
  EXPECT_THAT(table(attributes, 0),
              equals({0x1p+0f, 0x1.911dd6p-3f, 0x1.3030eep-5f, 0x1.d41d42p-8f, 0x1.1a62d2p-10f, 0x1.3a00fcp-13f}));
  EXPECT_THAT(table(attributes, 1),
              equals({0x1p+0f, 0x1.911dd6p-4f, 0x1.51fd7ap-7f, 0x1.47ae14p-10f, 0x1.15305p-13f, 0x1.eb4fdep-17f}));
}

TEST_F(RopeTables, Llama3) {
  EXPECT_THAT(table("theta = 10000.0, scaling = #graph<rope_scaling llama3>, factor = 8.0, original_context = 64, "
                    "low_freq_factor = 1.0, high_freq_factor = 4.0"),
              equals({0x1p+0f, 0x1.a1bf92p-4f, 0x1.7c3d2ap-8f, 0x1.47ae14p-10f, 0x1.1a62d2p-12f, 0x1.e6b4b8p-15f}));
}

TEST_F(RopeTables, CheckpointFactorsDivide) {
  std::vector<float> plain = table("theta = 10000.0"), factors = {1, 2, 3, 4, 5, 6};
  std::vector<float> divided = table("theta = 10000.0, factors = array<f64: 1.0, 2.0, 3.0, 4.0, 5.0, 6.0>");
  ASSERT_EQ(divided.size(), 6u);
  for (unsigned i = 0; i < 6; ++i)
    EXPECT_EQ(divided[i], plain[i] / factors[i]);
}

} // namespace
