//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Builds the graph module of a decoder-only language model: one function per kind of block.
//
#pragma once

#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/Checkpoint.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/OwningOpRef.h"

#include "llvm/ADT/StringMap.h"

namespace mlc {

class DecoderBuilder {
public:
  /// All outlive the builder. `config` passed checkConfig; `names` are those of the checkpoint's form.
  DecoderBuilder(mlir::MLIRContext &context, const ModelConfig &config, const WeightNames &names,
                 const Checkpoint &checkpoint);

  /// The module: model, extents, weights, states and @step. Refused: a tensor that is missing, of another shape than
  /// the configuration asks, or that nothing uses.
  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> build();

private:
  void declareModel();
  void buildStep();
  mlir::Value layer(int64_t index, mlir::Value residual, mlir::Value angles, mlir::Value batch);
  mlir::Value mixerBlock(int64_t index, mlir::Value x, mlir::Value angles, mlir::Value batch);
  mlir::Value attentionBlock(int64_t index, mlir::Value x, mlir::Value angles, mlir::Value batch);
  mlir::Value mambaBlock(int64_t index, mlir::Value x, mlir::Value batch);
  mlir::Value mlpBlock(int64_t index, mlir::Value x);
  /// The layer's mixture of experts (config.moe), its shared MLP included. MoeBuilder.cpp.
  mlir::Value moeBlock(int64_t index, mlir::Value x);
  /// down(activation(gate x) * up x) with the matrices of those names, where `gateUp` is [gate; up] in one or null.
  struct MlpNames {
    const char *gate, *up, *gateUp, *down;
  };
  mlir::Value gatedMlp(int64_t index, mlir::Value x, const MlpNames &matrices, int64_t intermediate, bool bias,
                       const std::string &outTap);
  mlir::Value ropeAngles(mlir::Value batch);

  mlir::Value norm(mlir::Value x, const std::string &name, int64_t width, const std::string &tap = "");
  mlir::Value linear(mlir::Value x, const std::string &name, int64_t columns, int64_t rows, bool bias,
                     const std::string &tap);
  llvm::SmallVector<mlir::Value> split(mlir::Value x, llvm::ArrayRef<int64_t> columns);
  mlir::Value add(mlir::Value a, mlir::Value b, const std::string &tap);
  /// x itself by a factor of 1.
  mlir::Value scale(mlir::Value x, double factor, const std::string &tap = "");
  mlir::RankedTensorType rowsType(int64_t columns, mlir::Value like) const;

  /// Declares the tensor on its first use.
  mlir::FlatSymbolRefAttr weight(const std::string &name, llvm::ArrayRef<int64_t> shape);
  mlir::FlatSymbolRefAttr kvState(int64_t index);
  /// Declares the state "lINDEX.KIND".
  mlir::FlatSymbolRefAttr state(int64_t index, graph::StateKind kind,
                                llvm::ArrayRef<std::pair<const char *, int64_t>> sizes);
  /// The lists of a mixture's weights into and out of its experts: gate and up, or one of both; then down.
  llvm::SmallVector<mlir::Attribute> expertWeights(int64_t index);
  void tap(mlir::Operation *op, const std::string &name);
  void refuse(const llvm::Twine &what);
  void refuseUnused();
  bool isUnusedLayer(llvm::StringRef name) const;

  std::string inLayer(int64_t index, const char *name) const;
  static std::string layerTap(int64_t index, const char *name);

  mlir::MLIRContext &context;
  const ModelConfig &config;
  const WeightNames &names;
  const Checkpoint &checkpoint;
  mlir::OpBuilder builder, declarations; // In @step, and before it.
  mlir::OwningOpRef<mlir::ModuleOp> module;
  llvm::StringMap<llvm::SmallVector<int64_t>> used; // Weights with their shapes.
  std::string problem;
};

} // namespace mlc
