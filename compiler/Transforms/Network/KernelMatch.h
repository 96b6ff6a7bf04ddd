//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the matchers of kernels share, and their families.
//
#pragma once

#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Transforms/Network/KernelCall.h"

namespace mlc::graph {

using Extents = llvm::ArrayRef<int64_t>;

// What the kernels accept (targets/xnnpack/Kernels.cpp).
inline constexpr int64_t kMostExtent = 1 << 24;

inline mlir::NamedAttribute field(mlir::Builder b, llvm::StringRef name, int64_t value) {
  return b.getNamedAttr(name, b.getI64IntegerAttr(value));
}
inline mlir::NamedAttribute field(mlir::Builder b, llvm::StringRef name, bool value) {
  return b.getNamedAttr(name, b.getBoolAttr(value));
}
inline mlir::NamedAttribute field(mlir::Builder b, llvm::StringRef name, llvm::StringRef value) {
  return b.getNamedAttr(name, b.getStringAttr(value));
}

/// Of static shape, with one axis or more, none of them empty or above kMostExtent.
bool hasKernelShape(mlir::Type type);
/// f32 tensors of such shapes.
bool plain(mlir::Operation *op);
/// Whether `value` is a constant once weights are folded (FoldWeights.cpp).
bool becomesWeight(mlir::Value value);
/// The largest of `limits` at or below `value`: classes of sizes in the cost table.
int64_t sizeClass(int64_t value, Extents limits);
int64_t elements(Extents shape);
/// Whether a product's second factor is one matrix: [1..., k, n].
bool isOneMatrix(Extents shape);
KernelMatch refuse(llvm::StringRef why);
/// The form of a product of `rows` rows of k with a matrix of n rows of k.
std::string linearForm(int64_t rows, int64_t n, int64_t k);

/// What a convolution is: its shapes as XNNPACK's windows, and its form's kind.
struct ConvWindow {
  llvm::SmallVector<mlir::NamedAttribute> fields;
  std::string form;
  llvm::SmallVector<int64_t> shape; // Of the result, channels last.
};
/// nullopt: more axes than two, negative pads, or too large. `kind` stands in front of the form.
std::optional<ConvWindow> convWindow(ConvOp op, llvm::StringRef kind);
/// A product of `rows` rows as a convolution of one tap.
ConvWindow productWindow(mlir::Builder b, int64_t rows, int64_t in, int64_t out, llvm::StringRef kind);

KernelMatch matchConv(ConvOp op, bool folds);
KernelMatch matchConvTranspose(ConvTransposeOp op, bool folds);
KernelMatch matchPool(PoolOp op);
KernelMatch matchResize(ResizeOp op);
/// The last of the ops that round an i32 product of i8 to i8 (ONNX's QLinearConv, QLinearMatMul); nullopt: another.
std::optional<KernelMatch> matchQuantized(mlir::arith::FPToSIOp op, bool folds);
/// A product of f32 with a matrix of 4 bits that may be rounded; nullopt: another.
std::optional<KernelMatch> matchBlocks(MatmulOp op, unsigned year, bool folds);
/// An i32 product of 8-bit integers, made f32; nullopt: another.
std::optional<KernelMatch> matchDynamic(mlir::arith::SIToFPOp op, unsigned year, bool folds);

} // namespace mlc::graph
