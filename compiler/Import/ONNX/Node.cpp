//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/ONNX/Node.h"

#include "compiler/Import/ONNX/GraphImporter.h"

using namespace mlir;

namespace mlc::onnx {

using Proto = ::onnx::AttributeProto;

/// What a user can do where an input of the network should be constant.
static constexpr llvm::StringLiteral kPinHint =
    "; an input of the network is fixed by --dim NAME=VALUE or NAME=[VALUE,...]";

Tensor Node::in(size_t i) {
  if (!has(i))
    return e.fail("needs input " + Twine(i));
  if (e.failed())
    return {};
  const Tensor *tensor = scope.find(proto.input(int(i)));
  if (!tensor)
    return e.fail("reads " + quoted(proto.input(int(i))) +
                  ", which nothing before it gives (a cycle, or nodes out of order)");
  return *tensor;
}

std::optional<Ints> Node::constantInts(size_t i) {
  Tensor tensor = in(i);
  if (!tensor)
    return std::nullopt;
  std::optional<Ints> values = importer.constantInts(tensor);
  if (!values)
    e.fail("needs its input " + Twine(i) + ", " + quoted(proto.input(int(i))) + ", to be constant integers" + kPinHint);
  return values;
}

std::optional<SmallVector<double>> Node::constantFloats(size_t i) {
  Tensor tensor = in(i);
  if (!tensor)
    return std::nullopt;
  std::optional<SmallVector<double>> values = importer.constantFloats(tensor);
  if (!values)
    e.fail("needs its input " + Twine(i) + ", " + quoted(proto.input(int(i))) + ", to be constant floats" + kPinHint);
  return values;
}

std::optional<Dims> Node::extents(size_t i) {
  Tensor tensor = in(i);
  if (!tensor)
    return std::nullopt;
  std::optional<Dims> values = e.extents(tensor);
  if (!values)
    e.fail("needs its shape, " + quoted(proto.input(int(i))) + ", to be known at compile time" + kPinHint);
  return values;
}

const Proto *Node::find(StringRef name) {
  asked.insert(name);
  for (const Proto &attribute : proto.attribute())
    if (attribute.name() == name)
      return importer.resolve(attribute);
  return nullptr;
}

const Proto *Node::typed(StringRef name, Proto::AttributeType type) {
  const Proto *attribute = find(name);
  if (attribute && attribute->type() != type) {
    e.fail("has an attribute " + quoted(name) + " of another type than the operator's");
    return nullptr;
  }
  return attribute;
}

int64_t Node::intAttr(StringRef name, int64_t otherwise) {
  const Proto *attribute = typed(name, Proto::INT);
  return attribute ? attribute->i() : otherwise;
}
double Node::floatAttr(StringRef name, double otherwise) {
  const Proto *attribute = typed(name, Proto::FLOAT);
  return attribute ? double(attribute->f()) : otherwise;
}
std::string Node::stringAttr(StringRef name, StringRef otherwise) {
  const Proto *attribute = typed(name, Proto::STRING);
  return attribute ? attribute->s() : otherwise.str();
}
std::optional<Ints> Node::intsAttr(StringRef name) {
  const Proto *attribute = typed(name, Proto::INTS);
  if (!attribute)
    return std::nullopt;
  return Ints(attribute->ints().begin(), attribute->ints().end());
}
std::optional<SmallVector<double>> Node::floatsAttr(StringRef name) {
  const Proto *attribute = typed(name, Proto::FLOATS);
  if (!attribute)
    return std::nullopt;
  return SmallVector<double>(attribute->floats().begin(), attribute->floats().end());
}
std::optional<SmallVector<std::string>> Node::stringsAttr(StringRef name) {
  const Proto *attribute = typed(name, Proto::STRINGS);
  if (!attribute)
    return std::nullopt;
  return SmallVector<std::string>(attribute->strings().begin(), attribute->strings().end());
}
const ::onnx::TensorProto *Node::tensorAttr(StringRef name) {
  const Proto *attribute = typed(name, Proto::TENSOR);
  return attribute ? &attribute->t() : nullptr;
}
const ::onnx::GraphProto *Node::graphAttr(StringRef name) {
  const Proto *attribute = typed(name, Proto::GRAPH);
  return attribute ? &attribute->g() : nullptr;
}

int64_t Node::axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) {
    e.fail("names axis " + Twine(axis) + " of " + Twine(rank));
    return 0;
  }
  return axis < 0 ? axis + rank : axis;
}

std::optional<Ints> Node::axes(ArrayRef<int64_t> values, int64_t rank) {
  Ints result;
  for (int64_t value : values) {
    result.push_back(axis(value, rank));
    if (llvm::is_contained(ArrayRef<int64_t>(result).drop_back(), result.back()))
      e.fail("names axis " + Twine(value) + " twice");
  }
  if (e.failed())
    return std::nullopt;
  return result;
}

std::optional<Ints> Node::axesArgument(size_t input, int64_t since, int64_t rank) {
  std::optional<Ints> given;
  if (version >= since && has(input))
    given = constantInts(input);
  else if (version < since)
    given = intsAttr("axes");
  return given ? axes(*given, rank) : std::nullopt;
}

} // namespace mlc::onnx
