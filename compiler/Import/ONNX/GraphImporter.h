//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Walks the graphs of a model: names, scopes, functions and subgraphs; weights; what is constant is folded by the
// reference interpreter.
//
#pragma once

#include "compiler/Import/ONNX/FoldConstants.h"
#include "compiler/Import/ONNX/Import.h"
#include "compiler/Import/ONNX/Node.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace mlc::onnx {

/// Values by name. A subgraph sees those around it.
struct Scope {
  const Scope *outer = nullptr;
  llvm::StringMap<Tensor> values;

  const Tensor *find(llvm::StringRef name) const {
    for (const Scope *scope = this; scope; scope = scope->outer)
      if (auto found = scope->values.find(name); found != scope->values.end())
        return &found->second;
    return nullptr;
  }
};

class GraphImporter {
public:
  GraphImporter(Model &model, mlir::MLIRContext &context, const DimSettings &settings);
  llvm::Expected<ImportedNetwork> import();

  //===--- For binders ---===//
  /// Imports the nodes of a subgraph where the builder stands; its outputs, or nothing after a failure.
  std::optional<llvm::SmallVector<Tensor>> importSubgraph(const ::onnx::GraphProto &graph, Scope &outer,
                                                          llvm::ArrayRef<Tensor> arguments);
  /// A tensor of the file: small ones and scalars as constants, others as weights.
  Tensor importTensor(const ::onnx::TensorProto &tensor, llvm::StringRef name);
  std::optional<Ints> constantInts(const Tensor &tensor);
  std::optional<llvm::SmallVector<double>> constantFloats(const Tensor &tensor);
  /// Whether `tensor` is f32 values of the file, each of which `holds`.
  bool everyFloat(const Tensor &tensor, llvm::function_ref<bool(float)> holds);
  /// An attribute, or what the call of the function gives for it; null when it gives nothing.
  const ::onnx::AttributeProto *resolve(const ::onnx::AttributeProto &attribute);
  /// The type of a TensorProto.DataType; fails, naming it, where it is not supported.
  std::optional<DType> dtype(int32_t type);
  int32_t irVersion() const { return int32_t(model.proto().ir_version()); }

private:
  /// Of the function whose body is being imported.
  struct Call {
    const ::onnx::FunctionProto *function = nullptr;
    const ::onnx::NodeProto *node = nullptr;
    const Call *caller = nullptr;
  };

  /// An input that --dim fixes.
  struct Pin {
    std::string name;
    mlir::DenseElementsAttr values;
    bool isUnsigned;
  };

  llvm::Error checkOperators();
  void findUnknown(const ::onnx::GraphProto &graph, std::vector<std::pair<std::string, std::string>> &unknown);
  void findUnknown(const google::protobuf::RepeatedPtrField<::onnx::NodeProto> &nodes,
                   std::vector<std::pair<std::string, std::string>> &unknown);
  const ::onnx::FunctionProto *functionOf(const ::onnx::NodeProto &node) const;
  int64_t opset(llvm::StringRef domain) const;
  bool importInitializers(const ::onnx::GraphProto &graph, Scope &scope);
  bool importNodes(const google::protobuf::RepeatedPtrField<::onnx::NodeProto> &nodes, Scope &scope);
  bool importNode(const ::onnx::NodeProto &node, Scope &scope);
  bool importCall(const ::onnx::FunctionProto &function, Node &node);
  /// Where everything that was written behind `last` follows from constants, small results become constants. `symbols`:
  /// how many there were before.
  void foldBehind(mlir::Operation *last, llvm::MutableArrayRef<Tensor> results, size_t symbols);
  /// Records what is known of an integer result as extents.
  void noteExtents(Node &node);
  bool importInputs(Scope &scope);
  /// An input that --dim fixes, as a constant.
  bool pinInput(const ::onnx::ValueInfoProto &input, const DimSetting &setting, DType element,
                std::vector<Pin> &pinned);
  bool importOutputs(Scope &scope);
  /// Ops and weights that nothing reads; gives the weights that are left.
  std::vector<TensorInfo> dropUnused();
  std::string uniqueSymbol(llvm::StringRef name);
  /// The failure of a node, once: FILE: node 'x' (Op) ...
  void failNode(const ::onnx::NodeProto &node);
  bool fail(const llvm::Twine &what);

  Model &model;
  const DimSettings &settings;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  Emitter e;
  mlir::func::FuncOp function; // @main.
  WeightTable weights;
  reference::Limits foldLimits = kFoldLimits;
  llvm::StringSet<> taken;
  llvm::StringMap<const ::onnx::FunctionProto *> functions;
  const Call *call = nullptr;
  unsigned depth = 0, imported = 0;
  std::string message;
};

} // namespace mlc::onnx
