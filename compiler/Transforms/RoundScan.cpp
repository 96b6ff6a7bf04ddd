//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Passes.h"

namespace mlc::graph {
#define GEN_PASS_DEF_ROUNDSCAN
#include "compiler/Transforms/Passes.h.inc"

namespace {
struct RoundScan : impl::RoundScanBase<RoundScan> {
  void runOnOperation() override {
    getOperation().walk([](SsdOp scan) { scan.setProducts(Products::bf16); });
  }
};
} // namespace
} // namespace mlc::graph
