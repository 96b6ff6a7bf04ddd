//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What a binder sees: a node's inputs as tensors, its attributes, and where its outputs go.
//
#pragma once

#include "compiler/Import/ONNX/Emitter.h"
#include "compiler/Import/ONNX/Model.h"

#include "llvm/ADT/StringSet.h"

namespace mlc::onnx {

class GraphImporter;
struct Scope;

class Node {
public:
  Node(GraphImporter &importer, Emitter &e, Scope &scope, const ::onnx::NodeProto &proto, int64_t version)
      : importer(importer), e(e), scope(scope), proto(proto), version(version) {}

  GraphImporter &importer;
  Emitter &e;
  Scope &scope;
  const ::onnx::NodeProto &proto;
  const int64_t version; // Of the operator's domain.

  //===--- Inputs ---===//
  size_t inputs() const { return size_t(proto.input_size()); }
  bool has(size_t i) const { return i < inputs() && !proto.input(int(i)).empty(); }
  /// Fails where it is absent.
  Tensor in(size_t i);
  /// The null tensor where it is absent.
  Tensor optional(size_t i) { return has(i) ? in(i) : Tensor(); }
  /// The values of a constant input of integers; fails for every other.
  std::optional<Ints> constantInts(size_t i);
  std::optional<llvm::SmallVector<double>> constantFloats(size_t i);
  /// The extents that an input of integers holds, constants or computed from shapes; fails for every other.
  std::optional<Dims> extents(size_t i);

  //===--- Attributes: those that nobody asks for are refused in the end ---===//
  const ::onnx::AttributeProto *find(llvm::StringRef name);
  bool hasAttr(llvm::StringRef name) { return find(name) != nullptr; }
  int64_t intAttr(llvm::StringRef name, int64_t otherwise);
  double floatAttr(llvm::StringRef name, double otherwise);
  std::string stringAttr(llvm::StringRef name, llvm::StringRef otherwise);
  std::optional<Ints> intsAttr(llvm::StringRef name);
  std::optional<llvm::SmallVector<double>> floatsAttr(llvm::StringRef name);
  std::optional<llvm::SmallVector<std::string>> stringsAttr(llvm::StringRef name);
  const ::onnx::TensorProto *tensorAttr(llvm::StringRef name);
  const ::onnx::GraphProto *graphAttr(llvm::StringRef name);
  /// It changes nothing here.
  void ignore(llvm::StringRef name) { asked.insert(name); }

  /// `axis` in [0, rank); fails outside [-rank, rank).
  int64_t axis(int64_t axis, int64_t rank);
  /// All of them, and none twice.
  std::optional<Ints> axes(llvm::ArrayRef<int64_t> axes, int64_t rank);
  /// axes of opset `since` are an input, before that an attribute; nullopt: none are given, or a failure.
  std::optional<Ints> axesArgument(size_t input, int64_t since, int64_t rank);

  //===--- Outputs ---===//
  size_t outputs() const { return size_t(proto.output_size()); }
  bool wants(size_t i) const { return i < outputs() && !proto.output(int(i)).empty(); }
  void give(Tensor tensor) { results.push_back(std::move(tensor)); }
  void give(llvm::ArrayRef<Tensor> tensors) { results.append(tensors.begin(), tensors.end()); }

  void fail(const llvm::Twine &what) { e.fail(what); }

  llvm::SmallVector<Tensor> results;
  llvm::StringSet<> asked;

private:
  const ::onnx::AttributeProto *typed(llvm::StringRef name, ::onnx::AttributeProto::AttributeType type);
};

using Binder = void (*)(Node &);
/// Of one domain, by operator.
using BinderTable = llvm::StringMap<Binder>;

/// One for each file of binders.
void addAttention(BinderTable &table);
void addConstants(BinderTable &table);
void addControlFlow(BinderTable &table);
void addConvolutions(BinderTable &table);
void addEinsum(BinderTable &table);
void addElementwise(BinderTable &table);
void addImages(BinderTable &table);
void addIndexing(BinderTable &table);
void addLayers(BinderTable &table);
void addLoops(BinderTable &table);
void addLosses(BinderTable &table);
void addNormalization(BinderTable &table);
void addQuantization(BinderTable &table);
void addRecurrent(BinderTable &table);
void addReductions(BinderTable &table);
void addResize(BinderTable &table);
void addSampling(BinderTable &table);
void addScatter(BinderTable &table);
void addSelection(BinderTable &table);
void addShapes(BinderTable &table);
void addSignals(BinderTable &table);
void addTypes(BinderTable &table);

} // namespace mlc::onnx
