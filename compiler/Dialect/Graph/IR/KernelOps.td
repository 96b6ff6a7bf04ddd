//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Calls of a target's kernels in a network, before it becomes exec.
//
#ifndef MLC_DIALECT_GRAPH_IR_KERNELOPS
#define MLC_DIALECT_GRAPH_IR_KERNELOPS

include "compiler/Dialect/Graph/IR/GraphBase.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Graph_CallKernelOp : Op<Graph_Dialect, "call_kernel", [DestinationStyleOpInterface,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "What a kernel of the target makes of `inputs`, written over all of `into`.";
  let description = [{
    Of tensors until network-bufferize, then of buffers. `fields` are those of the kernel's schema struct; the kernel reads
    elements in order and takes shapes from there. network-choose-kernels makes it.
  }];
  let arguments = (ins StrAttr:$kernel, Variadic<AnyShaped>:$inputs, AnyShaped:$into, DictionaryAttr:$fields);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = [{
    $kernel $fields `(` $inputs `:` type($inputs) `)` `into` $into `:` type($into) (`->` type($result)^)? attr-dict
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() {
      return ::mlir::MutableOperandRange(getOperation(), getInputs().size(), 1);
    }
  }];
}

#endif // MLC_DIALECT_GRAPH_IR_KERNELOPS
