//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Kernel calls on buffers: their bufferization, and operands that lie in one piece.
//
#include "compiler/Dialect/Graph/IR/KernelOps.h"
#include "compiler/Transforms/Network/Passes.h"

#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;

namespace mlc::graph {
namespace {

struct CallKernelModel : bufferization::DstBufferizableOpInterfaceExternalModel<CallKernelModel, CallKernelOp> {
  /// What was in `into` is written over.
  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand, const bufferization::AnalysisState &) const {
    return cast<CallKernelOp>(op).isDpsInput(&operand);
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const bufferization::BufferizationOptions &options) const {
    auto call = cast<CallKernelOp>(op);
    SmallVector<Value> buffers;
    for (Value operand : call->getOperands()) {
      FailureOr<Value> buffer = bufferization::getBuffer(rewriter, operand, options);
      if (failed(buffer))
        return failure();
      buffers.push_back(*buffer);
    }
    Value into = buffers.pop_back_val();
    rewriter.create<CallKernelOp>(call.getLoc(), TypeRange{}, call.getKernel(), buffers, into, call.getFields());
    bufferization::replaceOpWithBufferizedValues(rewriter, op, into);
    return success();
  }
};

/// The allocation or argument that holds exactly what `buffer` does, element after element; null when `buffer` is a
/// part of one, or lies otherwise.
Value wholeOf(Value buffer) {
  while (Operation *view = buffer.getDefiningOp()) {
    if (isa<memref::AllocOp>(view))
      break;
    auto type = cast<MemRefType>(buffer.getType());
    if (!isa<memref::ExpandShapeOp, memref::CollapseShapeOp, memref::CastOp>(view) || !type.getLayout().isIdentity())
      return {};
    buffer = view->getOperand(0);
  }
  return cast<MemRefType>(buffer.getType()).getLayout().isIdentity() ? buffer : Value();
}

} // namespace

void registerNetworkBufferization(DialectRegistry &registry) {
  registry.addExtension(
      +[](MLIRContext *context, GraphDialect *) { CallKernelOp::attachInterface<CallKernelModel>(*context); });
}

void placeKernelOperands(func::FuncOp function) {
  SmallVector<CallKernelOp> calls(function.getOps<CallKernelOp>());
  for (CallKernelOp call : calls)
    for (OpOperand &operand : call->getOpOperands()) {
      if (Value whole = wholeOf(operand.get())) {
        operand.set(whole);
        continue;
      }
      OpBuilder builder(call);
      auto type = cast<MemRefType>(operand.get().getType());
      Value part = operand.get();
      Value own =
          builder.create<memref::AllocOp>(call.getLoc(), MemRefType::get(type.getShape(), type.getElementType()));
      operand.set(own);
      if (!call.isDpsInit(&operand)) {
        builder.create<memref::CopyOp>(call.getLoc(), part, own);
        continue;
      }
      builder.setInsertionPointAfter(call);
      builder.create<memref::CopyOp>(call.getLoc(), own, part);
    }
}

} // namespace mlc::graph
