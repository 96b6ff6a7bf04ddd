//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// tensor.expand_shape on buffers, with the result's extents as the op names them. MLIR 19's own model infers them and
// fails where several of a group are dynamic.
//
#include "compiler/Transforms/Network/Passes.h"

#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;

namespace mlc::graph {
namespace {

struct ExpandShapeModel
    : bufferization::BufferizableOpInterface::ExternalModel<ExpandShapeModel, tensor::ExpandShapeOp> {
  bool bufferizesToMemoryRead(Operation *, OpOperand &, const bufferization::AnalysisState &) const { return false; }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &, const bufferization::AnalysisState &) const { return false; }

  bufferization::AliasingValueList getAliasingValues(Operation *op, OpOperand &operand,
                                                     const bufferization::AnalysisState &) const {
    auto expand = cast<tensor::ExpandShapeOp>(op);
    if (&operand != &expand.getSrcMutable())
      return {};
    return {{expand.getResult(), bufferization::BufferRelation::Equivalent}};
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const bufferization::BufferizationOptions &options) const {
    auto expand = cast<tensor::ExpandShapeOp>(op);
    FailureOr<Value> buffer = bufferization::getBuffer(rewriter, expand.getSrc(), options);
    if (failed(buffer))
      return failure();
    ArrayRef<int64_t> shape = expand.getResultType().getShape();
    SmallVector<ReassociationIndices> groups = expand.getReassociationIndices();
    FailureOr<MemRefType> type =
        memref::ExpandShapeOp::computeExpandedType(cast<MemRefType>(buffer->getType()), shape, groups);
    if (failed(type))
      return failure();
    Value view = rewriter.create<memref::ExpandShapeOp>(
        op->getLoc(), *type, *buffer, groups,
        getMixedValues(expand.getStaticOutputShape(), expand.getOutputShape(), rewriter));
    bufferization::replaceOpWithBufferizedValues(rewriter, op, view);
    return success();
  }
};

} // namespace

void registerExpandShapeBufferization(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, tensor::TensorDialect *) {
    tensor::ExpandShapeOp::attachInterface<ExpandShapeModel>(*context);
  });
}

} // namespace mlc::graph
