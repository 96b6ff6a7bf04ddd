//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/ONNX/Binders.h"

#include "compiler/Support/Text.h"

using namespace llvm;

namespace mlc::onnx {

static BinderTable makeStandard() {
  BinderTable table;
  addAttention(table);
  addConstants(table);
  addControlFlow(table);
  addConvolutions(table);
  addEinsum(table);
  addElementwise(table);
  addImages(table);
  addIndexing(table);
  addLayers(table);
  addLoops(table);
  addLosses(table);
  addNormalization(table);
  addQuantization(table);
  addRecurrent(table);
  addReductions(table);
  addResize(table);
  addSampling(table);
  addScatter(table);
  addSelection(table);
  addShapes(table);
  addSignals(table);
  addTypes(table);
  return table;
}

static BinderTable makeMicrosoft() {
  BinderTable table;
  addMicrosoft(table);
  return table;
}

Binder findBinder(StringRef domain, StringRef op) {
  static const BinderTable standard = makeStandard(), microsoft = makeMicrosoft();
  bool isStandard = domain.empty() || domain == "ai.onnx";
  if (!isStandard && domain != "com.microsoft")
    return nullptr;
  const BinderTable &table = isStandard ? standard : microsoft;
  auto found = table.find(op);
  return found == table.end() ? nullptr : found->second;
}

std::string printableOp(const ::onnx::NodeProto &node) {
  std::string domain = node.domain().empty() || node.domain() == "ai.onnx" ? "" : node.domain() + ".";
  return printable(StringRef(domain + node.op_type()).take_front(200).str());
}

} // namespace mlc::onnx
