//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Passes.h"

#include "llvm/ADT/StringSwitch.h"

namespace mlc::graph {
#define GEN_PASS_DEF_SETSTATETYPES
#include "compiler/Transforms/Passes.h.inc"

namespace {
struct SetStateTypes : impl::SetStateTypesBase<SetStateTypes> {
  using SetStateTypesBase::SetStateTypesBase;

  void runOnOperation() override {
    mlir::Builder builder(&getContext());
    mlir::Type type = llvm::StringSwitch<mlir::Type>(kv)
                          .Case("f32", builder.getF32Type())
                          .Case("f16", builder.getF16Type())
                          .Case("bf16", builder.getBF16Type())
                          .Case("int8", builder.getI8Type())
                          .Default({});
    if (!type) {
      getOperation().emitError("--kv ") << kv << ": choose f32, f16, bf16 or int8";
      return signalPassFailure();
    }
    for (StateOp state : getOperation().getOps<StateOp>())
      state.setDtypeAttr(mlir::TypeAttr::get(type));
  }
};
} // namespace
} // namespace mlc::graph
