//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Subset construction over ordered thread lists. A list is cut behind a match, so a table walk finds the match that a
// backtracking engine would: later, less preferred threads cannot extend it.
//
#include "compiler/Tokenizer/Pattern.h"
#include "runtime/llm/tokenizer/Tables.h"

#include <map>

namespace mlc {
namespace {

constexpr size_t maxStates = 4096;

class Determinizer {
public:
  Determinizer(const Pattern &pattern, const CharPartition &partition, llvm::ArrayRef<unsigned> setIds)
      : pattern(pattern), partition(partition), setIds(setIds) {}

  llvm::Expected<std::vector<uint16_t>> run() {
    unsigned columns = partition.classes() + 1;
    std::vector<uint16_t> table(columns, 0);
    ids[{}] = 0;
    lists.push_back({});
    std::vector<unsigned> start;
    std::vector<bool> seen(pattern.nodes.size());
    expand(pattern.start, start, seen);
    intern(start);
    for (size_t state = 1; state < lists.size(); ++state) {
      if (lists.size() > maxStates)
        return llvm::createStringError("a pattern that needs more than %zu states", maxStates);
      for (unsigned column = 0; column < columns; ++column)
        table.push_back(step(lists[state], column));
      if (state == 1)
        for (unsigned column = 0; column < columns; ++column)
          if (table[columns + column] & dfaMatch)
            return llvm::createStringError("a pattern that matches the empty text");
    }
    return table;
  }

private:
  using List = std::vector<unsigned>;

  /// Adds what `from` reaches without consuming: character, lookahead and match nodes, most preferred first.
  void expand(unsigned from, List &list, std::vector<bool> &seen) {
    std::vector<unsigned> work{from};
    while (!work.empty()) {
      unsigned index = work.back();
      work.pop_back();
      if (seen[index])
        continue;
      seen[index] = true;
      const NfaNode &node = pattern.nodes[index];
      if (node.kind == NfaNode::Fork) {
        work.push_back(node.other);
        work.push_back(node.out);
      } else {
        list.push_back(index);
      }
    }
  }

  uint16_t intern(const List &list) {
    auto [at, fresh] = ids.try_emplace(list, uint16_t(lists.size()));
    if (fresh)
      lists.push_back(list);
    return at->second;
  }

  /// One column: `list` is what may happen next, the column says what the next character is (the last: none).
  uint16_t step(List list, unsigned column) {
    bool atEnd = column == partition.classes();
    List next;
    std::vector<bool> seenNext(pattern.nodes.size()), seenHere(pattern.nodes.size());
    bool matched = false;
    std::vector<unsigned> work(list.rbegin(), list.rend());
    while (!work.empty() && !matched) {
      unsigned index = work.back();
      work.pop_back();
      if (seenHere[index])
        continue;
      seenHere[index] = true;
      const NfaNode &node = pattern.nodes[index];
      switch (node.kind) {
      case NfaNode::Match:
        matched = true;
        break;
      case NfaNode::Fork:
        work.push_back(node.other);
        work.push_back(node.out);
        break;
      case NfaNode::Ahead:
        if (atEnd ? node.atEnd : partition.holds(setIds[node.set], column))
          work.push_back(node.out);
        break;
      case NfaNode::Chars:
        if (!atEnd && partition.holds(setIds[node.set], column))
          expand(node.out, next, seenNext);
        break;
      }
    }
    return uint16_t(intern(next) | (matched ? dfaMatch : 0));
  }

  const Pattern &pattern;
  const CharPartition &partition;
  llvm::ArrayRef<unsigned> setIds;
  std::map<List, uint16_t> ids;
  std::vector<List> lists;
};

} // namespace

llvm::Expected<std::vector<uint16_t>> compileDfa(const Pattern &pattern, const CharPartition &partition,
                                                 llvm::ArrayRef<unsigned> setIds) {
  return Determinizer(pattern, partition, setIds).run();
}

} // namespace mlc
