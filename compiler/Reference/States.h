//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What a sequence remembers, kept whole and in order: no pages, no layout, but every rounding of the state's dtype.
//
#pragma once

#include "compiler/Dialect/Graph/IR/Graph.h"

#include <map>

namespace mlc::reference {

/// Keys or values of one sequence in one state, [positions, kv_heads * head_dim], as they are stored; int8 codes are
/// multiplied by their scale, [positions, kv_heads], which is 1 otherwise.
template <typename T> struct StoredRows {
  std::vector<T> elements, scales;
};
template <typename T> struct KvRows {
  StoredRows<T> keys, values;
};

/// What a recurrent state of one sequence computes from: its inputs at every position, and the state before
/// `position`, where a page begins.
template <typename T> struct RecurrentRows {
  std::vector<T> log, base;
  int64_t position = 0;
};

/// All states of a module, by state and sequence.
template <typename T> class States {
public:
  KvRows<T> &kv(graph::StateOp state, uint64_t sequence) { return rows[{state.getOperation(), sequence}]; }
  RecurrentRows<T> &recurrent(graph::StateOp state, uint64_t sequence) {
    return recurrences[{state.getOperation(), sequence}];
  }

  void erase(uint64_t sequence) {
    std::erase_if(rows, [&](const auto &entry) { return entry.first.second == sequence; });
    std::erase_if(recurrences, [&](const auto &entry) { return entry.first.second == sequence; });
  }
  void fork(uint64_t from, uint64_t to) {
    copy(rows, from, to);
    copy(recurrences, from, to);
  }

private:
  template <typename Rows> using Table = std::map<std::pair<mlir::Operation *, uint64_t>, Rows>;
  template <typename Rows> static void copy(Table<Rows> &table, uint64_t from, uint64_t to) {
    auto copies = table;
    for (auto &[key, value] : copies)
      if (key.second == from)
        table[{key.first, to}] = value;
  }

  Table<KvRows<T>> rows;
  Table<RecurrentRows<T>> recurrences;
};

} // namespace mlc::reference
