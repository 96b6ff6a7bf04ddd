//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Driver/InterpretNetwork.h"

#include "compiler/Reference/Interpreter.h"
#include "runtime/core/Float16.h"
#include "runtime/run/NetworkFiles.h"

#include <deque>

using namespace mlir;
using namespace mlc;
using namespace mlc::cli;

bool mlc::isNetwork(ModuleOp module) { return !module.getOps<graph::NetworkOp>().empty(); }

namespace {

/// The arguments or results of @main as files see them.
class Ports {
public:
  void add(DictionaryAttr attributes, Type type, ModuleOp module) {
    auto tensor = cast<RankedTensorType>(type);
    Type element = tensor.getElementType();
    bool isUnsigned = attributes && attributes.contains(graph::kUnsignedAttr);
    FilePort &port = ports.emplace_back();
    auto name = attributes ? attributes.getAs<StringAttr>(graph::kNameAttr) : nullptr;
    port.name = (name ? name : StringAttr::get(module.getContext(), "")).getValue().data();
    port.kind = element.isBF16()          ? 0
                : isa<FloatType>(element) ? 'f'
                : element.isInteger(1)    ? 'b'
                : isUnsigned              ? 'u'
                                          : 'i';
    port.size = std::max(1u, element.getIntOrFloatBitWidth() / 8);
    port.typeName = port.kind ? npyTypeName(port.kind, port.size) : "bfloat16";
    auto dims = attributes ? attributes.getAs<ArrayAttr>(graph::kDimsAttr) : nullptr;
    auto &list = axes.emplace_back();
    for (int64_t axis = 0; axis < tensor.getRank(); ++axis) {
      PortAxis &made = list.emplace_back();
      if (!tensor.isDynamicDim(axis)) {
        made.factor = uint64_t(tensor.getDimSize(axis));
        continue;
      }
      // A result's may follow from what it computes.
      auto extent = dims ? dyn_cast<StringAttr>(dims[axis]) : nullptr;
      auto declared = extent ? module.lookupSymbol<graph::ExtentOp>(extent.getValue()) : nullptr;
      made.name = extent ? std::string_view(extent.getValue()) : std::string_view("?");
      made.most = declared ? declared.getBound().value_or(0) : 0;
    }
    port.axes = {list.data(), list.size()};
  }
  std::span<const FilePort> span() const { return ports; }

private:
  std::vector<FilePort> ports;
  std::deque<std::vector<PortAxis>> axes;
};

template <typename T> class Network {
public:
  Network(const std::string &file, ModuleOp module, reference::WeightSource &weights, const NetworkArguments &arguments)
      : file(file), module(module), interpreter(module, weights), arguments(arguments) {}

  llvm::Error run() {
    auto function = module.lookupSymbol<func::FuncOp>("main");
    if (!function)
      return fail("the module has no function @main");
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      inputs.add(function.getArgAttrDict(i), function.getArgumentTypes()[i], module);
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      outputs.add(function.getResultAttrDict(i), function.getResultTypes()[i], module);
    auto files = std::make_unique<NetworkInputs>();
    if (Status read = files->read(file.c_str(), inputs.span(), arguments.inputs, /*streams=*/false, /*complete=*/true);
        !read)
      return llvm::createStringError(read.error().message());
    SmallVector<reference::ValueRef<T>> values;
    for (size_t i = 0; i < inputs.span().size(); ++i)
      values.push_back(std::make_shared<const reference::HostValue<T>>(valueOf(*files->file(i))));
    if (Status checked = NetworkOutputs::check(file.c_str(), outputs.span()); !checked)
      return llvm::createStringError(checked.error().message());
    auto results = interpreter.call("main", values);
    if (!results)
      return fail(llvm::toString(results.takeError()));
    if (Status written = writeOutputs(*results); !written)
      return llvm::createStringError(written.error().message());
    return llvm::Error::success();
  }

private:
  llvm::Error fail(const Twine &what) { return llvm::createStringError((Twine(file) + ": " + what).str()); }

  static reference::HostValue<T> valueOf(const NetworkInputs::File &file) {
    const NpyHeader &header = file.header;
    reference::Shape shape(header.shape, header.shape + header.axes);
    const char *at = file.values().data();
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

  Status writeOutputs(ArrayRef<reference::ValueRef<T>> results) {
    NetworkOutputs files;
    MLC_TRY(files.begin(arguments.outputDir, arguments.json));
    for (size_t i = 0; i < results.size(); ++i) {
      std::vector<char> bytes;
      const FilePort &port = outputs.span()[i];
      const reference::Shape &shape = bytesOf(port, *results[i], bytes);
      std::vector<uint64_t> extents(shape.begin(), shape.end());
      MLC_TRY(files.add(port, extents, bytes));
    }
    files.end();
    return files.finish();
  }

  static const reference::Shape &bytesOf(const FilePort &port, const reference::HostValue<T> &value,
                                         std::vector<char> &bytes) {
    auto put = [&](auto converted) {
      const char *raw = reinterpret_cast<const char *>(&converted);
      bytes.insert(bytes.end(), raw, raw + sizeof converted);
    };
    if (auto *floats = std::get_if<reference::Floats<T>>(&value)) {
      for (T x : floats->data)
        port.size == 2 ? put(f32ToF16(float(x))) : port.size == 4 ? put(float(x)) : put(double(x));
      return floats->shape;
    }
    auto &integers = std::get<reference::Integers>(value);
    for (int64_t x : integers.data)
      port.size == 1 ? put(int8_t(x)) : port.size == 2 ? put(int16_t(x)) : port.size == 4 ? put(int32_t(x)) : put(x);
    return integers.shape;
  }

  const std::string &file;
  ModuleOp module;
  reference::Interpreter<T> interpreter;
  const NetworkArguments &arguments;
  Ports inputs, outputs;
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
