//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Inputs and outputs of the network, and what --dim says of their extents.
//
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Import/ONNX/GraphImporter.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace mlc::onnx {

constexpr uint64_t kMostExtent = uint64_t(1) << 40;

std::optional<int64_t> DimSetting::extent() const {
  uint64_t number;
  if (isList || StringRef(numbers.front()).getAsInteger(10, number) || number > kMostExtent)
    return std::nullopt;
  return int64_t(number);
}

static bool isNumber(StringRef text) {
  double number;
  return text == "true" || text == "false" || !text.getAsDouble(number);
}

llvm::Expected<DimSettings> parseDims(StringRef text) {
  DimSettings result;
  // A list's commas do not end its setting.
  SmallVector<StringRef> parts;
  for (StringRef rest = text; !rest.empty();) {
    size_t end = rest.find(','), open = rest.find('['), close = rest.find(']');
    if (open < end)
      end = close == StringRef::npos ? close : rest.find(',', close);
    parts.push_back(rest.take_front(end));
    rest = end == StringRef::npos ? StringRef() : rest.drop_front(end + 1);
  }
  for (StringRef part : parts) {
    if (part.trim().empty())
      continue;
    DimSetting setting;
    setting.isBound = part.contains("<=");
    auto [name, value] = part.split(setting.isBound ? "<=" : "=");
    name = name.trim();
    value = value.trim();
    setting.isList = value.consume_front("[") && value.consume_back("]");
    SmallVector<StringRef> numbers;
    value.split(numbers, ',');
    if (setting.isList && value.trim().empty())
      numbers.clear();
    for (StringRef number : numbers)
      setting.numbers.push_back(number.trim().str());
    if (name.empty() || !llvm::all_of(setting.numbers, isNumber) ||
        (setting.isBound && setting.extent().value_or(0) < 1))
      return llvm::createStringError("--dim %s: write NAME=VALUE, NAME=[VALUE,...] or NAME<=MAX", part.str().c_str());
    if (!result.try_emplace(name, setting).second)
      return llvm::createStringError("--dim: names %s twice", name.str().c_str());
  }
  return result;
}

/// The numbers as values of `type`; null when one of them is none.
static DenseElementsAttr valuesOf(const DimSetting &setting, RankedTensorType type, bool isUnsigned) {
  Type element = type.getElementType();
  SmallVector<Attribute> values;
  for (StringRef text : setting.numbers) {
    double real;
    APInt bits(64, 0);
    if (text == "true" || text == "false")
      text = text == "true" ? "1" : "0";
    if (auto floats = dyn_cast<FloatType>(element)) {
      if (text.getAsDouble(real))
        return {};
      values.push_back(FloatAttr::get(floats, real));
      continue;
    }
    unsigned width = element.getIntOrFloatBitWidth();
    int64_t number = 0;
    uint64_t positive = 0;
    bool isNegative = text.starts_with("-");
    if (isNegative ? text.getAsInteger(10, number) : text.getAsInteger(10, positive))
      return {};
    bits = APInt(64, isNegative ? uint64_t(number) : positive);
    bool fits = isNegative                 ? !isUnsigned && width > 1 && bits.isSignedIntN(width)
                : isUnsigned || width == 1 ? bits.isIntN(width)
                                           : bits.isIntN(width - 1);
    if (!fits)
      return {};
    values.push_back(IntegerAttr::get(element, bits.trunc(width)));
  }
  return DenseElementsAttr::get(type, values);
}

bool GraphImporter::pinInput(const ::onnx::ValueInfoProto &input, const DimSetting &setting, DType element,
                             std::vector<Pin> &pinned) {
  const auto &shape = input.type().tensor_type().shape();
  int64_t count = int64_t(setting.numbers.size());
  std::string name = quoted(input.name());
  if (setting.isList && shape.dim(0).has_dim_value() && shape.dim(0).dim_value() != count)
    return fail("input " + name + " has " + Twine(shape.dim(0).dim_value()) + " values, --dim gives " + Twine(count));
  auto type = setting.isList ? RankedTensorType::get({count}, element.type) : RankedTensorType::get({}, element.type);
  DenseElementsAttr values = valuesOf(setting, type, element.isUnsigned);
  if (!values)
    return fail("--dim " + input.name() + ": a value does not fit the input's type");
  pinned.push_back({input.name(), values, element.isUnsigned});
  return true;
}

bool GraphImporter::importInputs(Scope &scope) {
  const ::onnx::GraphProto &graph = model.proto().graph();
  OpBuilder &b = e.builder;
  llvm::StringSet<> initialized;
  for (const auto &initializer : graph.initializer())
    initialized.insert(initializer.name());
  struct Axis {
    unsigned argument, axis;
  };
  llvm::StringMap<unsigned> symbolOf;
  SmallVector<Axis> firstUse;
  SmallVector<Type> types;
  SmallVector<DictionaryAttr> attributes;
  SmallVector<std::pair<std::string, Tensor>> inputs;
  std::vector<Pin> pinned;
  std::string open; // Dimensions that --dim must say.
  for (const auto &input : graph.input()) {
    if (initialized.contains(input.name()))
      continue; // A constant with a name that callers could have given.
    std::string name = quoted(input.name());
    if (!input.type().has_tensor_type())
      return fail("input " + name + " is " +
                  (input.type().has_sequence_type()   ? "a sequence"
                   : input.type().has_map_type()      ? "a map"
                   : input.type().has_optional_type() ? "an optional"
                                                      : "no tensor") +
                  ", which is not supported");
    const auto &type = input.type().tensor_type();
    std::optional<DType> element = dtype(type.elem_type());
    if (!element)
      return fail("input " + name + " " + e.failure());
    if (!type.has_shape())
      return fail("input " + name + " has no shape");
    // A scalar or a list that --dim fixes is no input of the network.
    auto pin = settings.find(input.name());
    if (pin != settings.end() && !pin->second.isBound && type.shape().dim_size() == pin->second.isList) {
      pin->second.used = true;
      if (!pinInput(input, pin->second, *element, pinned))
        return false;
      continue;
    }
    Tensor tensor{{}, {}, element->isUnsigned};
    SmallVector<Attribute> names;
    for (int axis = 0; axis < type.shape().dim_size(); ++axis) {
      const auto &dim = type.shape().dim(axis);
      names.push_back(b.getStringAttr(""));
      if (dim.has_dim_value() && dim.dim_value() >= 0) {
        tensor.shape.push_back(e.dim(dim.dim_value()));
        continue;
      }
      std::string numbered = input.name() + "." + std::to_string(axis);
      std::string own = dim.has_dim_param() && !dim.dim_param().empty() ? dim.dim_param() : numbered;
      auto setting = settings.find(numbered) == settings.end() ? settings.find(own) : settings.find(numbered);
      if (setting == settings.end()) {
        open += (open.empty() ? "" : ", ") + quoted(own) + " (axis " + std::to_string(axis) + " of input " + name + ")";
        tensor.shape.push_back(e.dim(1));
        continue;
      }
      setting->second.used = true;
      std::optional<int64_t> extent = setting->second.extent();
      if (!extent)
        return fail("--dim " + setting->first() + ": an extent is a whole number, not negative");
      if (!setting->second.isBound) {
        tensor.shape.push_back(e.dim(*extent));
        continue;
      }
      own = setting->first().str();
      auto [found, isNew] = symbolOf.try_emplace(own, unsigned(symbolOf.size()));
      if (isNew) {
        firstUse.push_back({unsigned(types.size()), unsigned(axis)});
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(function);
        if (!taken.insert(own).second)
          return fail("dimension " + quoted(own) + " has the name of the function");
        b.create<graph::ExtentOp>(e.loc, own, b.getI64IntegerAttr(*extent));
      }
      names.back() = b.getStringAttr(own);
      tensor.shape.push_back(b.getAffineSymbolExpr(found->second));
    }
    types.push_back(e.typeOf(tensor.shape, element->type));
    if (e.failed())
      return fail("input " + name + " " + e.failure());
    SmallVector<NamedAttribute> named = {b.getNamedAttr(graph::kNameAttr, b.getStringAttr(input.name()))};
    if (element->isUnsigned)
      named.push_back(b.getNamedAttr(graph::kUnsignedAttr, b.getUnitAttr()));
    if (!tensor.isStatic())
      named.push_back(b.getNamedAttr(graph::kDimsAttr, b.getArrayAttr(names)));
    attributes.push_back(b.getDictionaryAttr(named));
    inputs.emplace_back(input.name(), tensor);
  }
  if (!open.empty())
    return fail("has dimensions without an extent: " + open +
                "; fix each with --dim NAME=VALUE or bound it with --dim 'NAME<=MAX'");
  for (const auto &setting : settings)
    if (!setting.second.used)
      return fail("--dim " + setting.first() +
                  ": no input has such a dimension, and none of this name is a scalar (VALUE) or a list ([VALUE,...])");

  function.setFunctionType(b.getFunctionType(types, {}));
  function.setAllArgAttrs(attributes);
  Block *entry = function.addEntryBlock();
  for (auto [argument, input] : llvm::zip_equal(entry->getArguments(), inputs)) {
    input.second.value = argument;
    if (!scope.values.try_emplace(input.first, input.second).second)
      return fail("input " + quoted(input.first) + " stands twice");
  }
  b.setInsertionPointToStart(entry);
  for (const Pin &pin : pinned)
    if (!scope.values.try_emplace(pin.name, e.constant(pin.values, pin.isUnsigned)).second)
      return fail("input " + quoted(pin.name) + " stands twice");
  for (Axis use : firstUse)
    e.symbols.push_back(b.create<tensor::DimOp>(e.loc, entry->getArgument(use.argument), use.axis));
  return true;
}

bool GraphImporter::importOutputs(Scope &scope) {
  const ::onnx::GraphProto &graph = model.proto().graph();
  OpBuilder &b = e.builder;
  SmallVector<Value> values;
  SmallVector<Type> types;
  SmallVector<Attribute> attributes;
  llvm::StringSet<> names;
  if (!graph.output_size())
    return fail("has no output");
  for (const auto &output : graph.output()) {
    std::string name = quoted(output.name());
    const Tensor *tensor = scope.find(output.name());
    if (!tensor)
      return fail("output " + name + " is given by no node");
    if (!names.insert(output.name()).second)
      return fail("output " + name + " stands twice");
    if (output.type().has_tensor_type()) {
      const auto &declared = output.type().tensor_type();
      std::optional<DType> type = dtype(declared.elem_type());
      if (!type)
        return fail("output " + name + " " + e.failure());
      bool fits = *type == tensor->dtype();
      for (int axis = 0; declared.has_shape() && axis < declared.shape().dim_size(); ++axis)
        fits &= declared.shape().dim_size() == tensor->rank() &&
                (!declared.shape().dim(axis).has_dim_value() || !Emitter::constant(tensor->shape[axis]) ||
                 declared.shape().dim(axis).dim_value() == *Emitter::constant(tensor->shape[axis]));
      if (!fits)
        return fail("output " + name + " does not have the type or shape that the model declares: its nodes give " +
                    Emitter::text(tensor->shape));
    }
    values.push_back(tensor->value);
    types.push_back(tensor->value.getType());
    SmallVector<NamedAttribute> named = {b.getNamedAttr(graph::kNameAttr, b.getStringAttr(output.name()))};
    if (tensor->isUnsigned)
      named.push_back(b.getNamedAttr(graph::kUnsignedAttr, b.getUnitAttr()));
    attributes.push_back(b.getDictionaryAttr(named));
  }
  b.create<func::ReturnOp>(e.loc, values);
  function.setFunctionType(b.getFunctionType(function.getArgumentTypes(), types));
  function.setResAttrsAttr(b.getArrayAttr(attributes));
  return true;
}

} // namespace mlc::onnx
