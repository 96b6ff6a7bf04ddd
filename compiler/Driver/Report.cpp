//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Driver/Report.h"

#include "compiler/Artifact/Emit/Emit.h"
#include "compiler/Dialect/Graph/IR/KernelOps.h"

#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlc;

/// Why a kernel call is slower than the weights' format allows; empty when it is not.
static std::string slowReason(exec::KernelOp kernel) {
  auto weight = kernel.getFields().getAs<exec::WeightAttr>("weight");
  if (!weight || kernel.getName() != "linear")
    return "";
  std::string format = exec::stringifyWeightFormat(weight.getFormat()).str();
  if (weight.getFormat() >= exec::WeightFormat::block_q4_0 && weight.getFormat() <= exec::WeightFormat::block_q6_k)
    return format + " rows are dequantized to f32 tiles; --math fast runs integer products";
  auto quantized = kernel.getFields().getAs<BoolAttr>("quantized_input");
  bool panels =
      weight.getFormat() == exec::WeightFormat::panel_int8 || weight.getFormat() == exec::WeightFormat::panel_int4;
  if (panels && quantized && !quantized.getValue())
    return format + " rows are dequantized for f32 activations; --math fast runs integer products";
  return "";
}

llvm::json::Object mlc::makeReport(ModuleOp module) {
  llvm::json::Array ops, slow;
  llvm::StringSet<> reasons;
  module.walk([&](exec::KernelOp kernel) {
    llvm::json::Object entry{{"op", opName(kernel)}, {"kernel", kernel.getName()}};
    if (auto weight = kernel.getFields().getAs<exec::WeightAttr>("weight"))
      entry["format"] = exec::stringifyWeightFormat(weight.getFormat());
    std::string reason = slowReason(kernel);
    if (!reason.empty()) {
      entry["slow"] = reason;
      if (reasons.insert(reason).second)
        slow.push_back(reason);
    }
    ops.push_back(std::move(entry));
  });
  module.walk([&](exec::CallCodeOp call) { ops.push_back(llvm::json::Object{{"code", call.getCode()}}); });
  llvm::json::Array choices;
  if (auto found = module->getAttrOfType<ArrayAttr>(graph::kChoicesAttr))
    for (auto choice : found.getAsRange<DictionaryAttr>()) {
      llvm::json::Object entry;
      for (NamedAttribute part : choice)
        entry[part.getName().getValue()] = cast<StringAttr>(part.getValue()).getValue();
      choices.push_back(std::move(entry));
    }
  int64_t arena = 0;
  for (auto model : module.getOps<exec::ModelOp>())
    arena = model.getArenaSize().value_or(0);
  return llvm::json::Object{{"arena_bytes", arena},
                            {"ranks", ranksOf(module)},
                            {"weight_bytes", int64_t(weightsSize(module) + weightsSize(module, /*sharded=*/true))},
                            {"ops", std::move(ops)},
                            {"choices", std::move(choices)},
                            {"slow", std::move(slow)}};
}

std::string mlc::firstSlowPath(ModuleOp module) {
  std::string found;
  module.walk([&](exec::KernelOp kernel) {
    found = slowReason(kernel);
    if (found.empty())
      return WalkResult::advance();
    found = opName(kernel) + ": " + found;
    return WalkResult::interrupt();
  });
  return found;
}
