//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Sets of Unicode code points, and the classes they cut all code points into.
//
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace mlc {

/// A set of code points as ascending, disjoint, non-adjacent ranges.
class CharSet {
public:
  static constexpr uint32_t limit = 0x110000;
  struct Range {
    uint32_t first, last;
    bool operator==(const Range &) const = default;
  };

  CharSet() = default;
  CharSet(uint32_t first, uint32_t last) : list{{first, last}} {}
  static CharSet of(llvm::ArrayRef<uint32_t> chars);
  /// A general category or group of them (L, Lu, N, Nd, P, S, M, Z, ...), a long name of one (Letter, ...), or one of
  /// White_Space and Space; nullopt: unknown.
  static std::optional<CharSet> property(llvm::StringRef name);
  static const CharSet &whiteSpace();
  /// \w as Oniguruma has it, or as the Rust regex crate does (Alphabetic, M, Nd, Pc and the joiners).
  static const CharSet &word(bool rust);

  llvm::ArrayRef<Range> ranges() const { return list; }
  bool contains(uint32_t code) const;
  void add(const CharSet &other);
  CharSet complement() const;
  /// With every character that equals one of these but for case.
  CharSet foldCase() const;
  bool operator==(const CharSet &) const = default;

private:
  void normalize();
  std::vector<Range> list;
};

/// The coarsest partition of the code points that every added set is a union of classes of.
class CharPartition {
public:
  /// Returns the set's index.
  unsigned add(const CharSet &set);
  /// Fixes the classes. Error (without a file name) when there are more than 255.
  llvm::Error finish();
  unsigned classes() const { return count; }
  bool holds(unsigned set, unsigned classId) const { return members[classId][set]; }
  /// Two-stage table: cells[pages[c >> 8] * 256 + (c & 255)].
  std::vector<uint16_t> pages;
  std::vector<uint8_t> cells;

private:
  std::vector<CharSet> sets;
  std::vector<std::vector<bool>> members;
  unsigned count = 0;
};

} // namespace mlc
