//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Operators that change the type of values, or nothing.
//
#include "compiler/Import/ONNX/GraphImporter.h"

using namespace mlir;

namespace mlc::onnx {

static void bindIdentity(Node &n) { n.give(n.in(0)); }
static void bindCast(Node &n) {
  n.ignore("saturate");
  n.ignore("round_mode");
  Tensor x = n.in(0);
  const auto *to = n.find("to");
  if (!x || !to)
    return n.fail("needs an attribute 'to'");
  // Opset 1 spells the type.
  if (to->type() != ::onnx::AttributeProto::INT)
    return n.fail("names a type by a string, which is not supported");
  if (std::optional<DType> type = n.importer.dtype(int32_t(to->i())))
    n.give(n.e.cast(x, *type));
}
static void bindCastLike(Node &n) {
  n.ignore("saturate");
  n.ignore("round_mode");
  if (Tensor like = n.in(1))
    n.give(n.e.cast(n.in(0), like.dtype()));
}

/// The same bits as another type of that width.
static void bindBitCast(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  std::optional<DType> to = n.importer.dtype(int32_t(n.intAttr("to", 0)));
  if (!x || !to)
    return;
  // A bool is a byte.
  auto bits = [](DType type) { return type.isBool() ? 8 : type.type.getIntOrFloatBitWidth(); };
  if (bits(*to) != bits(x.dtype()))
    return n.fail("takes the bits of a value as those of a type of another width");
  if (to->isBool() || x.dtype().isBool())
    return n.give(e.cast(x, *to));
  Tensor y = x;
  if (to->type != x.dtype().type)
    y.value = e.builder.create<arith::BitcastOp>(e.loc, e.typeOf(x.shape, to->type), x.value);
  y.isUnsigned = to->isUnsigned;
  n.give(y);
}

//===--- Optionals, where they are tensors ---===//

static void bindOptionalHasElement(Node &n) { n.give(n.e.splat(n.has(0), n.e.boolean())); }

void addTypes(BinderTable &table) {
  table["BitCast"] = bindBitCast;
  table["Cast"] = bindCast;
  table["CastLike"] = bindCastLike;
  table["Identity"] = bindIdentity;
  table["OptionalGetElement"] = bindIdentity;
  table["OptionalHasElement"] = bindOptionalHasElement;
}

} // namespace mlc::onnx
