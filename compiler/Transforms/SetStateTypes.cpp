//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Passes.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"

namespace mlc::graph {
#define GEN_PASS_DEF_SETSTATETYPES
#include "compiler/Transforms/Passes.h.inc"

namespace {
struct SetStateTypes : impl::SetStateTypesBase<SetStateTypes> {
  using SetStateTypesBase::SetStateTypesBase;

  void runOnOperation() override {
    mlir::Builder builder(&getContext());
    auto choose = [&](const char *option, llvm::StringRef word, llvm::ArrayRef<llvm::StringRef> choices) -> mlir::Type {
      mlir::Type type = llvm::StringSwitch<mlir::Type>(word)
                            .Case("f32", builder.getF32Type())
                            .Case("f16", builder.getF16Type())
                            .Case("bf16", builder.getBF16Type())
                            .Case("int8", builder.getI8Type())
                            .Default({});
      if (type && llvm::is_contained(choices, word))
        return type;
      std::string names = llvm::join(choices.drop_back(), ", ") + " or " + choices.back().str();
      getOperation().emitError("--") << option << " " << word << ": choose " << names;
      return {};
    };
    mlir::Type kvType = choose("kv", kv, {"f32", "f16", "bf16", "int8"}), ssmType = choose("ssm", ssm, {"f32", "bf16"});
    if (!kvType || !ssmType)
      return signalPassFailure();
    bool recurrent = false;
    for (StateOp state : getOperation().getOps<StateOp>()) {
      StateKind kind = state.getKind();
      recurrent |= kind == StateKind::conv || kind == StateKind::ssm;
      mlir::Type type = kind == StateKind::ssm ? ssmType : kind == StateKind::conv ? builder.getF32Type() : kvType;
      state.setDtypeAttr(mlir::TypeAttr::get(type));
    }
    if (checkpointEvery && !planCheckpoints(recurrent))
      signalPassFailure();
  }

private:
  bool planCheckpoints(bool recurrent) {
    auto refuse = [&](const llvm::Twine &what) {
      getOperation().emitError("--checkpoint-every ") << checkpointEvery << ": " << what;
      return false;
    };
    if (checkpointEvery < 0 || checkpointEvery % kStatePage)
      return refuse("a multiple of " + llvm::Twine(kStatePage) + " positions is expected");
    if (!recurrent)
      return refuse("the model has no recurrent state; leave it out");
    for (ModelOp model : getOperation().getOps<ModelOp>())
      model.setCheckpointEvery(checkpointEvery);
    return true;
  }
};
} // namespace
} // namespace mlc::graph
