//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Follows extents through the integer arithmetic that exporters write around Shape.
//
#include "compiler/Import/ONNX/GraphImporter.h"

using namespace mlir;

namespace mlc::onnx {

/// The extents of `n`'s result from those of its inputs; nullopt when they do not follow.
static std::optional<Dims> follow(Node &n) {
  Emitter &e = n.e;
  StringRef op = n.proto.op_type();
  auto known = [&](size_t i) { return n.has(i) ? e.extents(n.in(i)) : std::nullopt; };
  if (llvm::is_contained({"Identity", "Cast", "Unsqueeze", "Squeeze", "Reshape", "Flatten"}, op))
    return known(0);
  if (op == "Concat") {
    Dims all;
    for (size_t i = 0; i < n.inputs(); ++i) {
      std::optional<Dims> part = known(i);
      if (!part)
        return std::nullopt;
      all.append(*part);
    }
    return all;
  }
  if (op == "Slice" && n.version >= 10) {
    std::optional<Dims> all = known(0);
    std::optional<Ints> start = e.ints(n.in(1)), end = e.ints(n.in(2)), step = Ints{1};
    if (n.has(4))
      step = e.ints(n.in(4));
    if (!all || !start || !end || !step || start->size() != 1 || step->front() != 1)
      return std::nullopt;
    int64_t size = int64_t(all->size());
    auto clamp = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size); };
    int64_t from = clamp(start->front()), to = std::max(from, clamp(end->front()));
    return Dims(all->begin() + from, all->begin() + to);
  }
  if (!llvm::is_contained({"Add", "Sub", "Mul", "Div"}, op))
    return std::nullopt;
  std::optional<Dims> a = known(0), b = known(1);
  if (!a || !b || a->empty() || b->empty() || (a->size() != b->size() && a->size() != 1 && b->size() != 1))
    return std::nullopt;
  Dims result;
  for (size_t i = 0; i < std::max(a->size(), b->size()); ++i) {
    Dim x = (*a)[a->size() == 1 ? 0 : i], y = (*b)[b->size() == 1 ? 0 : i];
    // Only positive numbers divide as extents do.
    if (op == "Div" && Emitter::constant(y).value_or(0) < 1)
      return std::nullopt;
    result.push_back(op == "Add" ? x + y : op == "Sub" ? x - y : op == "Mul" ? x * y : x.floorDiv(y));
  }
  return result;
}

void GraphImporter::noteExtents(Node &node) {
  if (e.failed() || node.results.size() != 1 || !node.results[0])
    return;
  const Tensor &result = node.results[0];
  if (!result.dtype().isInteger() || result.rank() > 1 || Emitter::attribute(result) || e.known.contains(result.value))
    return;
  if (std::optional<Dims> extents = follow(node))
    e.known[result.value].assign(extents->begin(), extents->end());
}

} // namespace mlc::onnx
