//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Sequences of tokens whose recurrent states lie in blocks, fed in steps of any lengths.
//
#pragma once

#include "targets/cuda/device/Args.h"
#include "targets/cuda/tests/Guarded.h"
#include "targets/cuda/tests/Random.h"

#include <algorithm>
#include <cmath>

namespace mlc::cuda {

/// A state of some sequences, each page's base and log in blocks of its own, and the tables of a step.
struct Blocks {
  int64_t pages, baseBytes, logValues; // Of a sequence; of a block; of an entry.
  GuardedVector<uint8_t> bases;
  GuardedVector<float> logs;
  std::vector<int64_t> fed; // By sequence.
  std::vector<StepSegment> steps;
  std::vector<int32_t> position, segment;
  std::vector<StateSegment> segments;
  std::vector<StatePage> kept;

  Blocks(size_t sequences, int64_t length, int64_t baseBytes, int64_t logValues)
      : pages(length / kStatePage + 2), baseBytes(baseBytes), logValues(logValues),
        bases(sequences * size_t(pages * baseBytes), 0xff),
        logs(sequences * size_t(pages * kStatePage * logValues), NAN), fed(sequences) {}

  /// The next lengths[s] tokens of every sequence s; none: it takes no part.
  void begin(const std::vector<int64_t> &lengths) {
    steps.clear(), position.clear(), segment.clear(), segments.clear(), kept.clear();
    for (size_t s = 0; s < lengths.size(); ++s) {
      int64_t first = fed[s], last = first + lengths[s], page = first / kStatePage;
      if (!lengths[s])
        continue;
      auto block = [&](int64_t p) { return uint32_t(int64_t(s) * pages + p); };
      segments.push_back({page ? block(page) : kNoStateBlock, first % kStatePage ? block(page) : kNoStateBlock,
                          uint32_t(kept.size())});
      // Of a page that ends behind the step, and of the last whole one, logs stay; bases wherever a page fills.
      for (int64_t p = page; p * kStatePage < last; ++p)
        kept.push_back({(p + 2) * kStatePage > last ? block(p) : kNoStateBlock,
                        (p + 1) * kStatePage <= last ? block(p + 1) : kNoStateBlock});
      steps.push_back({int32_t(position.size()), int32_t(lengths[s]), first, last});
      for (int64_t t = first; t < last; ++t) {
        position.push_back(int32_t(t));
        segment.push_back(int32_t(segments.size() - 1));
      }
      fed[s] = last;
    }
  }
  StepView step() const { return {position.data(), segment.data(), steps.data()}; }
  StateView state() {
    return {bases.data(), reinterpret_cast<uint8_t *>(logs.data()),
            baseBytes,    int64_t(kStatePage * logValues * 4),
            logValues,    segments.data(),
            kept.data()};
  }
};

/// The rows of a step out of each sequence's own.
inline std::vector<float> gather(const Blocks &blocks, const std::vector<std::vector<float>> &source, size_t columns,
                                 const std::vector<size_t> &sequences) {
  std::vector<float> rows;
  for (size_t i = 0; i < blocks.steps.size(); ++i) {
    const float *begin = source[sequences[i]].data() + size_t(blocks.steps[i].firstPosition) * columns;
    rows.insert(rows.end(), begin, begin + size_t(blocks.steps[i].length) * columns);
  }
  return rows;
}

inline std::vector<size_t> present(const std::vector<int64_t> &lengths) {
  std::vector<size_t> sequences;
  for (size_t s = 0; s < lengths.size(); ++s)
    if (lengths[s])
      sequences.push_back(s);
  return sequences;
}

/// Steps of random lengths, decoding among them, until all have `lengths` tokens: what each sequence's rows gave.
template <typename Run>
std::vector<std::vector<float>> inSteps(Random &random, const std::vector<int64_t> &lengths, Blocks &blocks,
                                        Run &&run) {
  std::vector<std::vector<float>> out(lengths.size());
  while (blocks.fed != lengths) {
    std::vector<int64_t> next(lengths.size());
    for (size_t s = 0; s < lengths.size(); ++s)
      next[s] = std::min(lengths[s] - blocks.fed[s], int64_t(random() % 3 ? random() % 3 : random() % 40));
    blocks.begin(next);
    if (blocks.steps.empty())
      continue;
    std::vector<float> rows = run(present(next));
    size_t columns = rows.size() / blocks.position.size();
    for (size_t i = 0; i < blocks.steps.size(); ++i) {
      auto begin = rows.begin() + int64_t(size_t(blocks.steps[i].firstRow) * columns);
      out[present(next)[i]].insert(out[present(next)[i]].end(), begin,
                                   begin + int64_t(size_t(blocks.steps[i].length) * columns));
    }
  }
  return out;
}

} // namespace mlc::cuda
