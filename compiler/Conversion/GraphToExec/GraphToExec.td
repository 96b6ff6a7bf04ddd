//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The conversion from graph to exec.
//
#ifndef MLC_CONVERSION_GRAPHTOEXEC
#define MLC_CONVERSION_GRAPHTOEXEC

include "mlir/Pass/PassBase.td"

def ConvertGraphToExec : Pass<"convert-graph-to-exec", "::mlir::ModuleOp"> {
  let summary = "Turns values into slots, weights into constants and ops into kernel calls";
  let description = [{
    One lowering function per op, by family, in Lower*.cpp. Each result gets a slot of its own (exec-plan-memory lets
    slots share bytes); elementwise ops on a value that nobody else reads write in place. split becomes views. A weight
    becomes one constant for each format it is read in: products read packed rows, the embedding rows as stored unless
    a product shares them. A region of graph-outline-elementwise is compiled here, for every level of `isas`; regions
    that differ in their columns alone share one exec.code. Those of a GPU are compiled together, when the artifact is
    written.
  }];
  let options = [
    Option<"triple", "triple", "std::string", "\"x86_64-linux-gnu\"", "Of compiled code">,
    Option<"device", "device", "bool", "false", "For a GPU: float weights that meet f32 rows are stored by rows">,
    Option<"kernels", "kernels", "std::string", "\"own\"", "xnnpack: its kernels run what they can of f32 rows">,
    ListOption<"isas", "isas", "std::string", "Levels of compiled code; none: x86-64-v2, -v3 and -v4; of a GPU there are none">];
  let dependentDialects = ["::mlc::exec::ExecDialect", "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

#endif // MLC_CONVERSION_GRAPHTOEXEC
