//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the lowering functions of GraphToExec share: where values live, and how constants are made.
//
#pragma once

#include "compiler/Dialect/Exec/IR/Exec.h"
#include "compiler/Dialect/Graph/Analysis/Extents.h"
#include "compiler/Dialect/Graph/IR/Graph.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

namespace mlc {

/// What regions are compiled for.
struct CodeTarget {
  std::string triple;
  std::vector<std::string> isas;
  bool device = false;  // A GPU, whose kernels for f32 rows read float weights by rows.
  bool xnnpack = false; // Its kernels run what they can of f32 rows.
};

/// State of one module's conversion. `builder` stands where the next exec op goes; `location` is the graph op's.
class Lowering {
public:
  Lowering(mlir::ModuleOp graph, mlir::OpBuilder builder, CodeTarget code)
      : graph(graph), builder(builder), codeTarget(std::move(code)) {}

  /// Lowers one op of a graph function; failure after a diagnostic.
  mlir::LogicalResult lower(mlir::Operation *op);

  /// The buffer that holds `value`.
  mlir::Value buffer(mlir::Value value) const { return buffers.lookup(value); }
  void bind(mlir::Value value, mlir::Value buffer) { buffers[value] = buffer; }

  /// A new slot for `value`, bound to it; null after a diagnostic when an axis follows no extent.
  mlir::Value newSlot(mlir::Value value);
  /// A new slot whose leading axis follows that of `like`, with `columns` columns.
  mlir::Value newRows(mlir::Value like, int64_t columns, mlir::Type element);
  /// The buffer of `operand` itself, now bound to `result`, when no other op reads it and nobody else owns it; else a
  /// new slot.
  mlir::Value inPlaceOrNew(mlir::Value operand, mlir::Value result);

  /// Columns [first, first + count) of a buffer of rows.
  mlir::Value columns(mlir::Value buffer, int64_t first, int64_t count);

  /// The matrix `weights`, one under the other, in the format products read; and its descriptor.
  std::pair<mlir::Value, exec::WeightAttr> productWeight(mlir::ArrayAttr weights);
  /// The matrices of `experts` experts, `rows` rows each, of the lists `parts`, in the format products read; and the
  /// descriptor of one. Null after a diagnostic.
  std::pair<mlir::Value, exec::WeightAttr> expertWeights(llvm::ArrayRef<mlir::ArrayAttr> parts, int64_t rows);
  /// The float matrix `weights`, one under the other, as f32 rows for XNNPACK; and its descriptor. Null without a
  /// diagnostic when a part is stored otherwise, or XNNPACK was not asked for.
  std::pair<mlir::Value, exec::WeightAttr> xnnpackWeight(mlir::ArrayAttr weights);
  /// Whether XNNPACK was asked for, and `buffers` are rows without gaps.
  bool takesXnnpack(mlir::ValueRange buffers) const;
  /// The matrix `weight` in the format the embedding reads.
  std::pair<mlir::Value, exec::WeightAttr> rowsWeight(mlir::FlatSymbolRefAttr weight);
  /// Vectors, one behind the other, as f32.
  mlir::Value vectors(mlir::ArrayRef<mlir::Attribute> weights);
  /// A small matrix as f32, [rows, columns], whatever axes of one it has between them.
  mlir::Value matrix(mlir::FlatSymbolRefAttr weight);
  /// f32 values that the compiler computed, [rows, columns].
  mlir::Value values(llvm::StringRef name, llvm::ArrayRef<float> values, int64_t rows, int64_t columns);

  /// A network's weight as the checkpoint stores it; values that the compiler computed.
  mlir::Value stored(mlir::FlatSymbolRefAttr weight, mlir::MemRefType type);
  mlir::Value elements(mlir::DenseElementsAttr values);

  /// Compiled code of a region, by its text; null after a diagnostic.
  exec::CodeOp code(llvm::StringRef source);

  /// kernel(name) v1 with `fields`, at the current op's location.
  void kernel(llvm::StringRef name, mlir::ValueRange inputs, mlir::ValueRange outputs,
              llvm::ArrayRef<mlir::NamedAttribute> fields, llvm::ArrayRef<mlir::Attribute> states = {});
  mlir::NamedAttribute field(llvm::StringRef name, int64_t value);
  mlir::NamedAttribute field(llvm::StringRef name, float value);
  mlir::NamedAttribute field(llvm::StringRef name, bool value);
  mlir::NamedAttribute field(llvm::StringRef name, exec::WeightAttr value);
  /// An enumerator of the schema, by its name there.
  mlir::NamedAttribute field(llvm::StringRef name, llvm::StringRef enumerator);

  /// A new slot of quantized rows, as many as `rows` has; null when those follow none.
  mlir::Value newQuantizedRows(mlir::Value rows, graph::QuantizedType type);

  mlir::ModuleOp graph;
  mlir::OpBuilder builder;
  mlir::Location location = mlir::UnknownLoc::get(builder.getContext());
  mlir::Operation *current = nullptr;
  graph::ExtentAnalysis extents;

private:
  /// The function that is being filled.
  exec::FuncOp function();
  mlir::Value constant(mlir::Location where, const std::string &name, mlir::MemRefType type, exec::WeightAttr weight,
                       llvm::ArrayRef<mlir::Attribute> sources, llvm::ArrayRef<float> values,
                       mlir::DenseF32ArrayAttr importance = {}, int64_t count = 1, mlir::ElementsAttr elements = {});
  /// Whether both are packed alike, so that one constant can hold them; a diagnostic else. `matrices`: each on its own.
  bool storedAlike(graph::WeightOp weight, graph::WeightOp first, bool matrices = false);
  /// The current op writes over what `buffer` holds: names of both values stay on its slot.
  void overwriteTaps(mlir::Value buffer);
  /// Whether XNNPACK was asked for, and can read `weight`: floats, which it packs as f32.
  bool packsFloats(graph::WeightOp weight);
  /// Whether products read `weight`, and whether any with quantized rows.
  struct Reads {
    bool any = false, quantized = false;
  };
  Reads readsOf(llvm::StringRef weight);
  /// The format in which products read a weight; that of a matrix which only the embedding reads.
  exec::WeightFormat productFormat(graph::WeightOp weight);
  exec::WeightFormat rowsFormat(graph::WeightOp weight);

  llvm::DenseMap<mlir::Value, mlir::Value> buffers;
  CodeTarget codeTarget;
  llvm::StringMap<exec::ConstantOp> constants;
  llvm::StringMap<exec::CodeOp> codes;
  std::optional<llvm::StringMap<Reads>> productReads;
};

/// The exec state of a graph state, with what the schema says of its kind.
void declareState(graph::StateOp state, mlir::OpBuilder &builder);

// One function per op family; each lowers `op` at lowering.builder.
mlir::LogicalResult lowerTokens(Lowering &lowering, mlir::Operation *op);
mlir::LogicalResult lowerProducts(Lowering &lowering, mlir::Operation *op);
mlir::LogicalResult lowerMoe(Lowering &lowering, mlir::Operation *op);
mlir::LogicalResult lowerAttention(Lowering &lowering, mlir::Operation *op);
mlir::LogicalResult lowerRecurrent(Lowering &lowering, mlir::Operation *op);
mlir::LogicalResult lowerElementwise(Lowering &lowering, mlir::Operation *op);
mlir::LogicalResult lowerRegion(Lowering &lowering, mlir::Operation *op);
mlir::LogicalResult lowerControlFlow(Lowering &lowering, mlir::Operation *op);
/// Lowers the body of a bufferized function of a network.
mlir::LogicalResult lowerBuffers(Lowering &lowering, mlir::func::FuncOp function);

} // namespace mlc
