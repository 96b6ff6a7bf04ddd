//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the interpreter's tests share.
//
#pragma once

#include "compiler/Reference/ReferenceModel.h"
#include "tests/unit/reference/GraphText.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"

#include <gmock/gmock.h>

namespace mlc::test {

inline void loadDialects(mlir::MLIRContext &context) {
  context.loadDialect<graph::GraphDialect, mlir::func::FuncDialect, mlir::arith::ArithDialect, mlir::math::MathDialect,
                      mlir::scf::SCFDialect, mlir::tensor::TensorDialect, mlir::linalg::LinalgDialect>();
}

/// Parses module text, calls @f with values and keeps what it gives or why it does not.
class ReferenceTest : public testing::Test {
protected:
  ReferenceTest() { loadDialects(context); }

  template <typename T> using Ref = reference::ValueRef<T>;
  template <typename T> static Ref<T> ref(reference::HostValue<T> value) {
    return std::make_shared<const reference::HostValue<T>>(std::move(value));
  }
  template <typename T = float> static Ref<T> floats(reference::Shape shape, std::vector<double> values) {
    return ref<T>(reference::Floats<T>{shape, std::vector<T>(values.begin(), values.end())});
  }
  template <typename T = float> static Ref<T> ints(reference::Shape shape, std::vector<int64_t> values) {
    return ref<T>(reference::Integers{shape, values});
  }
  template <typename T = float> static Ref<T> batch(std::vector<reference::Segment> segments) {
    return ref<T>(reference::Batch{segments});
  }

  template <typename T = float> llvm::SmallVector<Ref<T>> call(const std::string &text, std::vector<Ref<T>> arguments) {
    error.clear();
    std::string diagnostics;
    mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &each) { diagnostics += each.str(); });
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    if (!module) {
      error = "does not parse: " + diagnostics;
      return {};
    }
    reference::Interpreter<T> interpreter(*module, source, limits);
    auto results = interpreter.call("f", arguments);
    if (results)
      return *results;
    error = llvm::toString(results.takeError());
    return {};
  }
  /// Elements of the first result.
  template <typename T = float> std::vector<T> run(const std::string &text, std::vector<Ref<T>> arguments) {
    auto results = call<T>(text, arguments);
    EXPECT_EQ(error, "");
    return results.empty() ? std::vector<T>() : std::get<reference::Floats<T>>(*results.front()).data;
  }
  std::vector<int64_t> runInts(const std::string &text, std::vector<Ref<float>> arguments) {
    auto results = call<float>(text, arguments);
    EXPECT_EQ(error, "");
    return results.empty() ? std::vector<int64_t>() : std::get<reference::Integers>(*results.front()).data;
  }

  static testing::Matcher<std::vector<float>> near(std::vector<float> expected, float tolerance = 1e-6f) {
    return testing::Pointwise(testing::FloatNear(tolerance), expected);
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  reference::MapWeightSource source;
  reference::Limits limits;
  std::string error;
};

} // namespace mlc::test
