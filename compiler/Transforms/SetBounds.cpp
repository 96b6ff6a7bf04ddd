//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Dialect/Graph/Analysis/Extents.h"
#include "compiler/Transforms/Passes.h"

namespace mlc::graph {
#define GEN_PASS_DEF_SETBOUNDS
#include "compiler/Transforms/Passes.h.inc"

namespace {
struct SetBounds : impl::SetBoundsBase<SetBounds> {
  using SetBoundsBase::SetBoundsBase;

  void runOnOperation() override {
    auto models = getOperation().getOps<ModelOp>();
    if (!llvm::hasSingleElement(models)) {
      getOperation().emitError("needs exactly one graph.model");
      return signalPassFailure();
    }
    ModelOp model = *models.begin();
    mlir::Builder builder(&getContext());
    int64_t trained = model.getTrainedContext();
    int64_t positions = context ? int64_t(context) : std::min<int64_t>(trained, 8192);
    if (positions < 1 || batch < 1 || sequences < 1) {
      model.emitError("context, batch and sequences must be positive");
      return signalPassFailure();
    }
    if (positions > trained) {
      model.emitError("--context ") << positions << " is beyond the " << trained
                                    << " positions that the model covers; lower it or stretch them with --rope";
      return signalPassFailure();
    }
    int64_t tokens = std::min<int64_t>(batch, positions * sequences), rows = std::min<int64_t>(tokens, 64);
    model.setMaxContextAttr(builder.getI64IntegerAttr(positions));
    model.setMaxBatchAttr(builder.getI64IntegerAttr(tokens));
    model.setMaxSequencesAttr(builder.getI64IntegerAttr(sequences));
    model.setMaxRowsAttr(builder.getI64IntegerAttr(rows));
    for (ExtentOp extent : getOperation().getOps<ExtentOp>()) {
      if (extent.getSymName() == kTokensExtent)
        extent.setBoundAttr(builder.getI64IntegerAttr(tokens));
      else if (extent.getSymName() == kRowsExtent)
        extent.setBoundAttr(builder.getI64IntegerAttr(rows));
      else if (!extent.getBound()) {
        extent.emitError("extent @") << extent.getSymName() << " has no bound; give one with --dim";
        return signalPassFailure();
      }
    }
  }
};
} // namespace
} // namespace mlc::graph
