//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How a product with panels goes: what its axes are, and its tiles, blocks and fetches.
//
#pragma once

#include "compiler/Codegen/LowerRegion.h"
#include "compiler/Codegen/VectorBody.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace mlc {

/// What is chosen for one product before anything is emitted.
struct PanelPlan {
  /// isPanelProduct() holds for `op`.
  PanelPlan(mlir::linalg::GenericOp op, LevelTraits traits);

  /// Vectors of so many panels, two of half a register in one.
  int64_t vectors(int64_t panelCount) const { return paired ? llvm::divideCeil(panelCount, 2) : panelCount; }
  int64_t vectorRegisters(int64_t panelCount) const { return vectors(panelCount) * registers(); }

  mlir::linalg::GenericOp op;
  LevelTraits traits;
  llvm::SmallVector<mlir::AffineMap> maps;
  llvm::SmallVector<int64_t> ranges;   // Of every axis; of those that a run chooses, as if there were many.
  llvm::SmallVector<unsigned> unknown; // Axes whose extent a run chooses.
  unsigned lane;
  mlir::Type element;
  mlir::VectorType type;   // Of one panel's lanes.
  mlir::Type panelElement; // `element`, or a short integer that stands for it.
  std::optional<unsigned> panel, position;
  llvm::SmallVector<unsigned> outer, rows, reductions; // outer: what panels depend on, too.
  bool paired;                                         // Two panels share a register.
  int64_t positions = 1, panels = 1;                   // Of a tile.
  int64_t block = 0;                                   // Positions of a block; 0: all.
  int64_t fetched = 0;                                 // Elements of the next panels, a step of the reduction; 0: none.

private:
  /// Registers of one panel's lanes, and positions that fit beside them.
  int64_t registers() const { return std::max<int64_t>(1, ranges[lane] / traits.floats) * (element.isF64() ? 2 : 1); }
  int64_t mostPositions() const { return std::max<int64_t>(1, (traits.registers - 4) / registers()); }
  /// Whether the sums of a tile, the shorter of its two sides and what streams by have a register each, and one is
  /// free.
  bool fits(int64_t t, int64_t p) const;
  /// The last axis that fills a tile, whose elements lie closest; else the longest one.
  bool betterPosition(unsigned axis) const;
  /// Sixteenths of a cycle of one step of a tile on a machine with two products and two loads a cycle, products taking
  /// four, where panels come from the second cache at 21 bytes a cycle; beside them a load takes an eighth.
  int64_t stepCost(int64_t positionCount, int64_t panelCount) const;
  /// The tile that needs the fewest cycles for all positions and panels, remainders included.
  void chooseTile();
  /// Positions that do not stay in the second cache by themselves pass in blocks.
  void chooseBlock();
  /// How fast the next panels are fetched, so that they are there when the last tile has passed.
  void chooseFetch();
};

} // namespace mlc
