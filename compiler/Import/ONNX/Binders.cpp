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
  addConstants(table);
  addControlFlow(table);
  addElementwise(table);
  addIndexing(table);
  addLayers(table);
  addNormalization(table);
  addQuantization(table);
  addRecurrent(table);
  addReductions(table);
  addShapes(table);
  return table;
}

Binder findBinder(StringRef domain, StringRef op) {
  static const BinderTable standard = makeStandard();
  if (domain != "" && domain != "ai.onnx")
    return nullptr;
  auto found = standard.find(op);
  return found == standard.end() ? nullptr : found->second;
}

std::string printableOp(const ::onnx::NodeProto &node) {
  std::string domain = node.domain().empty() || node.domain() == "ai.onnx" ? "" : node.domain() + ".";
  return printable(StringRef(domain + node.op_type()).take_front(200).str());
}

} // namespace mlc::onnx
