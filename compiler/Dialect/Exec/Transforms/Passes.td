//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The passes over the exec dialect.
//
#ifndef MLC_DIALECT_EXEC_TRANSFORMS_PASSES
#define MLC_DIALECT_EXEC_TRANSFORMS_PASSES

include "mlir/Pass/PassBase.td"

def FuseNormLinear : Pass<"exec-fuse-norm-linear", "::mlir::ModuleOp"> {
  let summary = "Makes of an RMS norm and the one linear that reads it a single kernel, norm_linear";
  let description = [{
    For devices, where a kernel of its own costs a launch and a trip through memory. The linear has bf16 products, and
    its rows are all that the norm's slot is for; nothing between the two writes what the norm reads. A function's
    last linear keeps its norm: its rows are the hidden states. The values, bit for bit, are those of the two kernels.
  }];
  let statistics = [Statistic<"fused", "fused", "Linears with a norm in front">];
}

def PlanMemory : Pass<"exec-plan-memory", "::mlir::ModuleOp"> {
  let summary = "Gives every slot its offset in the arena and every constant its offset in the weights segment";
  let description = [{
    A slot lives from the first op that touches it to the last; one that is touched inside a loop lives through the
    whole loop when it is also touched outside, or carries a value from one iteration to the next. Inputs live from
    the start, outputs to the end. Slots that never live at the same time may share bytes: they are placed by falling
    size at the lowest free offset, aligned to 64. Functions do not share (a call keeps its caller's slots).
    Sizes are those at the extents' bounds, so the arena's size is the peak.
  }];
  let statistics = [Statistic<"peak", "peak-bytes", "Bytes of the arena">,
                    Statistic<"total", "total-bytes", "Bytes of all slots without sharing">];
}

def VerifyPlanned : Pass<"exec-verify-planned", "::mlir::ModuleOp"> {
  let summary = "The gate before the artifact: only exec ops, every offset planned, no two live slots overlap";
}

#endif // MLC_DIALECT_EXEC_TRANSFORMS_PASSES
