//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The steps of compileRegion: text to the LLVM dialect, LLVM IR to an object, an object to a flat blob.
//
#pragma once

#include "compiler/Codegen/RegionCode.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <vector>

namespace mlc {

inline constexpr llvm::StringLiteral kRegionEntry = "mlc_region";

/// Dialects that lowerRegion parses and produces.
void registerRegionDialects(mlir::DialectRegistry &registry);

/// What a level has instructions for.
struct LevelTraits {
  bool fma;      // a * b + c rounded once; without, math.fma goes through f64
  bool rounding; // to integers: floor, ceil, trunc, roundeven
  bool half;     // conversions between f16 and f32
  int floats;    // of a vector register
  int registers; // that hold vectors
};

/// The first diagnostic of a context.
class FirstDiagnostic {
public:
  explicit FirstDiagnostic(mlir::MLIRContext &context)
      : handler(&context, [this](mlir::Diagnostic &diagnostic) {
          if (text.empty())
            text = diagnostic.str();
        }) {}
  llvm::Error error() const { return llvm::createStringError("a region cannot be compiled: %s", text.c_str()); }

private:
  std::string text;
  mlir::ScopedDiagnosticHandler handler;
};

/// The linalg.generic of an elementwise region, or null.
mlir::linalg::GenericOp elementwiseRegion(mlir::ModuleOp text);

/// The region of `source` as a module of the LLVM dialect with the function kRegionEntry.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> lowerRegion(llvm::StringRef source, mlir::MLIRContext &context,
                                                              LevelTraits traits);

/// Rewrites math ops, so that none is left which LLVM would turn into a call of libm.
mlir::LogicalResult expandMath(mlir::ModuleOp module, LevelTraits traits);

/// Of a region on buffers, whose function is kRegionRow: to the LLVM dialect, in place.
mlir::LogicalResult lowerNest(mlir::ModuleOp module, LevelTraits traits);

/// Emits a product for which isPanelProduct() holds, at `builder`; `fromZero`: what the result held does not count.
/// split: the axis of which [begin, end) is calculated.
void lowerPanelProduct(mlir::linalg::GenericOp op, mlir::OpBuilder &builder, LevelTraits traits, bool fromZero,
                       std::optional<int64_t> split, mlir::Value begin, mlir::Value end);

/// Emits an elementwise op that turns rows into columns; false when `op` is none. The bounds as above.
bool lowerTurned(mlir::linalg::GenericOp op, mlir::OpBuilder &builder, std::optional<int64_t> split, mlir::Value begin,
                 mlir::Value end);

/// Emits a reduction of f32 along what lies one after the other; false when `op` is none. The bounds as above.
bool lowerRowReduction(mlir::linalg::GenericOp op, mlir::OpBuilder &builder, std::optional<int64_t> split,
                       mlir::Value begin, mlir::Value end);

/// Conversions of short floats that a level has no instructions for.
void populateHalfPatterns(mlir::RewritePatternSet &patterns, LevelTraits traits);

/// exp and log of f64, arcsin and arccos of f32, and remainders.
void populateFunctionPatterns(mlir::RewritePatternSet &patterns);
/// sin, cos, tan and their inverses.
void populateCircularPatterns(mlir::RewritePatternSet &patterns);
/// Hyperbolic functions and their inverses, expm1, log1p and erf of f64, and powers.
void populateHyperbolicPatterns(mlir::RewritePatternSet &patterns);

/// Before anything is optimized: what LLVM makes wrong of 64-bit integers on AArch64, and would call a library for on a
/// CPU of 32 bits.
void expandWide(llvm::Module &module, bool is32Bit);

/// A relocatable object to the flat bytes of its code and constants, by lld.
llvm::Expected<std::vector<uint8_t>> linkRegion(llvm::ArrayRef<char> object);

/// memref.expand_shape with several dynamic extents in a group, which MLIR's passes refuse.
void populateExpandShapePatterns(mlir::RewritePatternSet &patterns);

} // namespace mlc
