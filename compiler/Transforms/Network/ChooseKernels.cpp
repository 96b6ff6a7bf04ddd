//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Network/KernelCall.h"
#include "compiler/Transforms/Network/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_CHOOSEKERNELS
#include "compiler/Transforms/Network/Passes.h.inc"

ArrayRef<KernelCost> kernelCosts() {
  static const std::vector<KernelCost> costs = {
#define MLC_KERNEL_COST(ISA, FORM, OWN, XNNPACK) {ISA, FORM, OWN, XNNPACK},
#include "targets/xnnpack/Costs.def"
#undef MLC_KERNEL_COST
  };
  return costs;
}

namespace {

/// By how much XNNPACK must be faster: within this, measurements differ from run to run.
constexpr double kMargin = 0.95;

struct ChooseKernels : impl::ChooseKernelsBase<ChooseKernels> {
  using ChooseKernelsBase::ChooseKernelsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (kernels == "own" || module.getOps<NetworkOp>().empty())
      return;
    for (auto function : module.getOps<func::FuncOp>())
      if (function.getBody().hasOneBlock())
        choose(function);
    module->setAttr(kChoicesAttr, ArrayAttr::get(&getContext(), choices));
  }

private:
  /// Code that holds a scalar for later ops cannot be interrupted by a kernel.
  static bool calculatesScalars(func::FuncOp function) {
    return llvm::any_of(function.getBody().front().without_terminator(), [](Operation &op) {
      return !op.hasTrait<OpTrait::ConstantLike>() &&
             llvm::any_of(op.getResultTypes(), [](Type type) { return !isa<ShapedType>(type); });
    });
  }

  void choose(func::FuncOp function) {
    bool scalars = calculatesScalars(function);
    // Backwards: what was a part of an op that is replaced is dead then.
    auto range = llvm::make_pointer_range(function.getBody().front().without_terminator());
    SmallVector<Operation *> ops(range.begin(), range.end());
    SmallVector<Attribute> found;
    for (Operation *each : llvm::reverse(ops)) {
      Operation &op = *each;
      if (isOpTriviallyDead(&op)) {
        op.erase();
        continue;
      }
      std::optional<KernelMatch> match = matchKernel(&op, xnnpack, folds);
      if (!match)
        continue;
      std::string name = op.getName().stripDialect().str(), why;
      bool take = false;
      if (!match->refusal.empty())
        why = match->refusal;
      else if (scalars)
        why = "the network calculates scalars on the way";
      else
        std::tie(take, why) = decide(*match);
      found.push_back(note(name, take ? "xnnpack." + match->kernel : "own", match->form, why));
      if (!take)
        continue;
      OpBuilder builder(&op);
      Structured s(op.getLoc(), builder);
      Value replacement = match->build(s, *match);
      op.getResult(0).replaceAllUsesWith(replacement);
      op.erase();
    }
    choices.append(found.rbegin(), found.rend());
  }

  std::pair<bool, std::string> decide(const KernelMatch &match) {
    if (kernels == "xnnpack")
      return {true, "--kernels xnnpack"};
    if (match.inPassing)
      return {false, "compiled code does it together with its neighbours"};
    for (StringRef isa : isas) {
      const KernelCost *cost = llvm::find_if(
          kernelCosts(), [&](const KernelCost &cost) { return cost.isa == isa && cost.form == match.form; });
      if (cost == kernelCosts().end())
        return {false, ("not measured for " + isa).str()};
      if (cost->xnnpack > kMargin * cost->own)
        return {false, llvm::formatv("{0}: own {1:f2} us, XNNPACK {2:f2} us", isa, cost->own, cost->xnnpack)};
    }
    return {!isas.empty(), "XNNPACK measured faster on every level"};
  }

  Attribute note(StringRef op, StringRef kernel, StringRef form, StringRef why) {
    Builder b(&getContext());
    NamedAttrList entry;
    entry.set("op", b.getStringAttr(op));
    entry.set("kernel", b.getStringAttr(kernel));
    if (!form.empty())
      entry.set("form", b.getStringAttr(form));
    entry.set("why", b.getStringAttr(why));
    return entry.getDictionary(&getContext());
  }

  SmallVector<Attribute> choices;
};

} // namespace
} // namespace mlc::graph
