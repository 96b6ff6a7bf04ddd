//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// From a network's graph ops to structured ops on buffers, in the order the compiler runs them (Pipeline.cpp).
//
#ifndef MLC_TRANSFORMS_NETWORK_PASSES
#define MLC_TRANSFORMS_NETWORK_PASSES

include "mlir/Pass/PassBase.td"

def ChooseKernels : Pass<"network-choose-kernels", "::mlir::ModuleOp"> {
  let summary = "Calls XNNPACK's kernels where they were asked for, or measured to be faster";
  let description = [{
    What XNNPACK can do of a network: conv, conv_transpose, matmul with a weight, pool and softmax of f32, and functions of
    one or two values. `kernels`: own (none of them), xnnpack (all), auto (those that targets/xnnpack/Costs.def measured to
    be faster on every level of `isas`). A network that calculates scalars on the way keeps its own code. The module's
    attribute graph.kernel_choices says what each op got, and why.
  }];
  let options = [
    Option<"kernels", "kernels", "std::string", "\"own\"", "own, auto or xnnpack">,
    Option<"xnnpack", "xnnpack", "unsigned", "2022", "Of which year the XNNPACK is that runs them: 2022 or 2024">,
    Option<"folds", "folds", "bool", "true", "Weights are at hand, so that filters are rearranged while compiling">,
    ListOption<"isas", "isas", "std::string", "Levels of compiled code that the artifact carries">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
}

def DecomposeNetwork : Pass<"network-decompose", "::mlir::ModuleOp"> {
  let summary = "Writes the graph ops of networks as structured ops, and elementwise ops as linalg.generic";
  let description = [{
    conv, conv_transpose and pool become a linalg.generic on a padded input, matmul and softmax reductions, recurrent a loop
    over its steps. Short floats are summed in f32, and so are products of short integers, as many at once as are exact.
    Sums of floats may be taken in any order (fastmath reassoc, contract).
    What is left of the graph dialect afterwards has no compiled form and is refused by name.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::cf::ControlFlowDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::math::MathDialect", "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"];
}

def FuseStructured : Pass<"network-fuse", "::mlir::ModuleOp"> {
  let summary = "Fuses elementwise producers into what reads them, through reshapes";
  let description = [{
    A producer with several readers is fused only when it is cheap: it reads at most one value and makes no more of it
    than it has. Splat constants become scalars of the region.
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
}

def BufferizeNetwork : Pass<"network-bufferize", "::mlir::ModuleOp"> {
  let summary = "Turns tensors into buffers; weights and constants become arguments that are only read";
  let description = [{
    One-shot bufferization of the whole function. A weight that is read (graph.read) becomes an argument with the
    attribute network.weight, a constant one with network.constant; the function's own arguments are not written either.
    Control flow keeps no buffer results: branches and iterations copy into a buffer of their parent. Allocations of a
    loop are made in front of it, once.
  }];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect", "::mlir::memref::MemRefDialect"];
}

#endif // MLC_TRANSFORMS_NETWORK_PASSES
