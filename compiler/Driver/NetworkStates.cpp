//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Driver/NetworkStates.h"

#include "compiler/Dialect/Graph/IR/Graph.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlc;

/// The number of the port `name`, or nullopt.
template <typename F> static std::optional<unsigned> portNumber(unsigned count, F nameOf, StringRef name) {
  for (unsigned i = 0; i < count; ++i)
    if (StringAttr each = nameOf(i); each && each.getValue() == name)
      return i;
  return std::nullopt;
}

llvm::Error mlc::applyStates(ModuleOp module, StringRef path, StringRef states) {
  if (states.empty())
    return llvm::Error::success();
  auto fail = [&](StringRef entry, const Twine &what) {
    return llvm::createStringError((path + ": --state " + entry + ": " + what).str());
  };
  auto function = module.lookupSymbol<func::FuncOp>("main");
  if (module.getOps<graph::NetworkOp>().empty() || !function)
    return fail(states, "goes with networks; a language model declares its own states");
  llvm::StringSet<> taken;
  SmallVector<StringRef> entries;
  states.split(entries, ',', -1, /*KeepEmpty=*/false);
  for (StringRef entry : entries) {
    auto [output, input] = entry.split('=');
    auto to = portNumber(
        function.getNumArguments(),
        [&](unsigned i) { return function.getArgAttrOfType<StringAttr>(i, graph::kNameAttr); }, input);
    auto from = portNumber(
        function.getNumResults(),
        [&](unsigned i) { return function.getResultAttrOfType<StringAttr>(i, graph::kNameAttr); }, output);
    if (input.empty())
      return fail(entry, "write OUTPUT=INPUT, names of the network's");
    if (!from)
      return fail(entry, "the network has no output '" + output + "'");
    if (!to)
      return fail(entry, "the network has no input '" + input + "'");
    Type given = function.getResultTypes()[*from], wanted = function.getArgumentTypes()[*to];
    if (given != wanted || bool(function.getArgAttr(*to, graph::kUnsignedAttr)) !=
                               bool(function.getResultAttr(*from, graph::kUnsignedAttr))) {
      std::string types;
      llvm::raw_string_ostream(types) << given << " and " << wanted;
      return fail(entry, "the output and the input are of different types, " + types);
    }
    if (!taken.insert(("i" + input).str()).second || !taken.insert(("o" + output).str()).second)
      return fail(entry, "a port is named twice");
    function.setArgAttr(*to, graph::kCarryAttr, StringAttr::get(module.getContext(), output));
  }
  return llvm::Error::success();
}
