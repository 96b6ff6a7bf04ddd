//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Driver/InterpretNetwork.h"

#include "compiler/Reference/Interpreter.h"
#include "compiler/Support/Text.h"
#include "runtime/core/Float16.h"
#include "runtime/run/Npy.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace mlc;
using namespace mlc::cli;

bool mlc::isNetwork(ModuleOp module) { return !module.getOps<graph::NetworkOp>().empty(); }

namespace {

/// An argument or result of @main as callers see it.
struct Port {
  std::string name;
  RankedTensorType type;
  bool isUnsigned = false;
  ArrayAttr dims;

  /// Its kind in .npy; 0: .npy has none.
  char kind() const {
    Type element = type.getElementType();
    return element.isBF16() ? 0 : isa<FloatType>(element) ? 'f' : element.isInteger(1) ? 'b' : isUnsigned ? 'u' : 'i';
  }
  unsigned size() const { return std::max(1u, type.getElementTypeBitWidth() / 8); }
  std::string typeName() const { return kind() ? npyTypeName(kind(), size()) : "bfloat16"; }
};

Port portOf(DictionaryAttr attributes, Type type) {
  Port port;
  port.type = cast<RankedTensorType>(type);
  if (attributes) {
    if (auto name = attributes.getAs<StringAttr>(graph::kNameAttr))
      port.name = name.str();
    port.isUnsigned = attributes.contains(graph::kUnsignedAttr);
    port.dims = attributes.getAs<ArrayAttr>(graph::kDimsAttr);
  }
  return port;
}

std::string listOf(ArrayRef<Port> ports) {
  std::string text;
  for (const Port &port : ports)
    text += (text.empty() ? "" : ", ") + printable(port.name);
  return text;
}

template <typename T> class Network {
public:
  Network(const std::string &file, ModuleOp module, reference::WeightSource &weights, const NetworkArguments &arguments)
      : file(file), module(module), interpreter(module, weights), arguments(arguments) {}

  llvm::Error run() {
    auto function = module.lookupSymbol<func::FuncOp>("main");
    if (!function)
      return fail("the module has no function @main");
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      inputs.push_back(portOf(function.getArgAttrDict(i), function.getArgumentTypes()[i]));
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      outputs.push_back(portOf(function.getResultAttrDict(i), function.getResultTypes()[i]));
    SmallVector<reference::ValueRef<T>> values(inputs.size());
    if (llvm::Error error = readInputs(values))
      return error;
    for (const Port &output : outputs)
      if (!output.kind())
        return fail("output '" + printable(output.name) + "' is of bfloat16, which .npy files lack");
    auto results = interpreter.call("main", values);
    if (!results)
      return fail(llvm::toString(results.takeError()));
    return writeOutputs(*results);
  }

private:
  llvm::Error fail(const Twine &what) { return llvm::createStringError((Twine(file) + ": " + what).str()); }

  llvm::Error readInputs(SmallVectorImpl<reference::ValueRef<T>> &values) {
    for (const char *given : arguments.inputs.span()) {
      auto [name, path] = StringRef(given).rsplit('=');
      const Port *port = llvm::find_if(inputs, [&](const Port &each) { return each.name == name; });
      if (path.empty())
        return fail(Twine("--input ") + given + ": write NAME=F.npy");
      if (port == inputs.end())
        return fail("--input: there is no input '" + printable(name) + "'; there are: " + listOf(inputs));
      auto &value = values[port - inputs.begin()];
      if (value)
        return fail("--input: gives '" + printable(name) + "' twice");
      auto read = readInput(*port, path.str());
      if (!read)
        return read.takeError();
      value = std::make_shared<const reference::HostValue<T>>(std::move(*read));
    }
    SmallVector<Port> missing;
    for (auto [port, value] : llvm::zip_equal(inputs, values))
      if (!value)
        missing.push_back(port);
    if (!missing.empty())
      return fail("give the inputs " + listOf(missing) + " with --input NAME=F.npy");
    return llvm::Error::success();
  }

  llvm::Expected<reference::HostValue<T>> readInput(const Port &port, const std::string &path) {
    auto refuse = [&](const Twine &what) { return llvm::createStringError((Twine(path) + ": " + what).str()); };
    Buffer<char> bytes;
    if (Status status = readAll(path.c_str(), size_t(1) << 32, bytes); !status)
      return llvm::createStringError(status.error().message());
    NpyHeader header;
    if (Status status = parseNpy(bytes.span(), header); !status)
      return refuse(status.error().message());
    if (header.kind != port.kind() || header.size != port.size())
      return refuse(Twine("holds ") + npyTypeName(header.kind, header.size) + ", input '" + printable(port.name) +
                    "' is " + port.typeName());
    reference::Shape shape(header.shape, header.shape + header.axes);
    if (int64_t(shape.size()) != port.type.getRank())
      return refuse("has " + Twine(shape.size()) + " axes, input '" + printable(port.name) + "' has " +
                    Twine(port.type.getRank()));
    for (auto [axis, extent] : llvm::enumerate(shape)) {
      if (!port.type.isDynamicDim(axis)) {
        if (port.type.getDimSize(axis) != extent)
          return refuse("axis " + Twine(axis) + " has " + Twine(extent) + " elements, input '" + printable(port.name) +
                        "' has " + Twine(port.type.getDimSize(axis)));
        continue;
      }
      StringRef name = cast<StringAttr>(port.dims[axis]).getValue();
      auto bound = module.lookupSymbol<graph::ExtentOp>(name).getBound();
      auto [known, isNew] = extents.try_emplace(name, extent);
      if (extent < 1 || (bound && uint64_t(extent) > *bound) || known->second != extent)
        return refuse("axis " + Twine(axis) + " has " + Twine(extent) + " elements; '" + printable(name) + "' is " +
                      (isNew ? "1 to " + Twine(bound.value_or(0)).str() : Twine(known->second).str() + " in this run"));
    }
    const char *at = bytes.span().data() + header.offset;
    if (header.kind == 'f') {
      auto result = reference::Floats<T>::filled(shape);
      for (T &value : result.data) {
        value = T(header.size == 2   ? f16ToF32(next<uint16_t>(at))
                  : header.size == 4 ? next<float>(at)
                                     : next<double>(at));
      }
      return reference::HostValue<T>(std::move(result));
    }
    // Sign-extended, as the interpreter holds every integer.
    auto result = reference::Integers::filled(shape);
    for (int64_t &value : result.data)
      value = header.kind == 'b' ? next<char>(at) != 0
              : header.size == 1 ? next<int8_t>(at)
              : header.size == 2 ? next<int16_t>(at)
              : header.size == 4 ? next<int32_t>(at)
                                 : next<int64_t>(at);
    return reference::HostValue<T>(std::move(result));
  }
  template <typename V> static V next(const char *&at) {
    V value;
    memcpy(&value, at, sizeof value);
    at += sizeof value;
    return value;
  }

  llvm::Error writeOutputs(ArrayRef<reference::ValueRef<T>> results) {
    std::string directory = arguments.outputDir ? arguments.outputDir : "";
    if (!directory.empty())
      if (std::error_code error = llvm::sys::fs::create_directories(directory))
        return llvm::createStringError(directory + ": " + error.message());
    JsonWriter json;
    if (arguments.json) {
      json.open(nullptr, '{');
      json.open("outputs", '{');
    }
    llvm::StringSet<> taken;
    for (auto [port, result] : llvm::zip_equal(outputs, results)) {
      std::vector<char> bytes;
      const reference::Shape &shape = bytesOf(port, *result, bytes);
      NpyHeader header;
      header.kind = port.kind();
      header.size = port.size();
      header.axes = unsigned(shape.size());
      if (shape.size() > kNpyMostAxes)
        return fail("output '" + printable(port.name) + "' has more than " + Twine(kNpyMostAxes) + " axes");
      std::copy(shape.begin(), shape.end(), header.shape);
      std::string path;
      if (!directory.empty()) {
        path = directory + "/" + fileName(port.name, taken);
        if (Status written = writeNpy(path.c_str(), header, bytes); !written)
          return llvm::createStringError(written.error().message());
      }
      if (arguments.json) {
        json.open(port.name.c_str(), '{');
        if (!path.empty())
          json.text("file", path);
        json.text("dtype", port.typeName());
        json.open("shape", '[');
        for (int64_t extent : shape)
          json.count(nullptr, uint64_t(extent));
        json.close(']');
        json.close('}');
      } else {
        std::string line = printable(port.name) + " " + port.typeName() + " [";
        for (auto [axis, extent] : llvm::enumerate(shape))
          line += (axis ? ", " : "") + std::to_string(extent);
        printf("%s]%s%s\n", line.c_str(), path.empty() ? "" : " ", path.c_str());
      }
    }
    if (arguments.json) {
      json.close('}');
      json.close('}');
    }
    if (Status done = arguments.json ? json.finish() : flushOutput(); !done)
      return llvm::createStringError(done.error().message());
    return llvm::Error::success();
  }

  /// NAME.npy, every other character as _; a number where two outputs would share it.
  static std::string fileName(StringRef name, llvm::StringSet<> &taken) {
    std::string base;
    for (char c : name)
      base += llvm::isAlnum(c) || c == '.' || c == '_' || c == '-' ? c : '_';
    base = base.substr(0, 200);
    std::string result = base;
    for (unsigned i = 1; !taken.insert(result).second; ++i)
      result = base + std::to_string(i);
    return result + ".npy";
  }

  static const reference::Shape &bytesOf(const Port &port, const reference::HostValue<T> &value,
                                         std::vector<char> &bytes) {
    auto put = [&](auto converted) {
      const char *raw = reinterpret_cast<const char *>(&converted);
      bytes.insert(bytes.end(), raw, raw + sizeof converted);
    };
    if (auto *floats = std::get_if<reference::Floats<T>>(&value)) {
      for (T x : floats->data)
        port.size() == 2 ? put(f32ToF16(float(x))) : port.size() == 4 ? put(float(x)) : put(double(x));
      return floats->shape;
    }
    auto &integers = std::get<reference::Integers>(value);
    for (int64_t x : integers.data)
      port.size() == 1   ? put(int8_t(x))
      : port.size() == 2 ? put(int16_t(x))
      : port.size() == 4 ? put(int32_t(x))
                         : put(x);
    return integers.shape;
  }

  const std::string &file;
  ModuleOp module;
  reference::Interpreter<T> interpreter;
  const NetworkArguments &arguments;
  SmallVector<Port> inputs, outputs;
  llvm::StringMap<int64_t> extents;
};

/// Whether the network itself computes in f64.
bool usesF64(ModuleOp module) {
  auto isF64 = [](Type type) { return getElementTypeOrSelf(type).isF64(); };
  return module
      .walk([&](Operation *op) {
        return llvm::any_of(op->getResultTypes(), isF64) || llvm::any_of(op->getOperandTypes(), isF64)
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      })
      .wasInterrupted();
}

} // namespace

llvm::Error mlc::interpretNetwork(const std::string &file, ModuleOp module, reference::WeightSource &weights,
                                  const NetworkArguments &arguments) {
  if (arguments.f64 || usesF64(module))
    return Network<double>(file, module, weights, arguments).run();
  return Network<float>(file, module, weights, arguments).run();
}
