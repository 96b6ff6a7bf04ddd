//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Property: the logits of a position depend on its sequence alone, bit for bit, whatever the steps, the other
// sequences, the threads and the detours through snapshots, rollbacks, forks and transfers.
//
#include "tests/unit/session/SessionSupport.h"

#include <algorithm>

using namespace mlc;
using namespace mlc::test;

namespace {

struct Case {
  const char *name;
  TinyOptions options;
  unsigned threads;
  uint32_t seed;
  friend void PrintTo(const Case &which, std::ostream *out) { *out << which.name; }
};

/// Random operations on a few sequences, every logit compared with the plain run.
class Scenario {
public:
  explicit Scenario(const Case &which) : random(which.seed), tiny(which.options), model(which.options) {
    SessionOptions options;
    options.threads = which.threads;
    session = makeSession(*model.model, options);
    for (unsigned i = 0; i < kSequences; ++i) {
      Sequence sequence;
      sequence.tokens = randomTokens(random, 150 + random() % 60, tiny.vocab);
      sequence.plain = plainLogits(*model.model, sequence.tokens);
      sequence.id = must(session->createSequence());
      sequences.push_back(std::move(sequence));
    }
  }

  void run(unsigned rounds) {
    for (unsigned round = 0; round < rounds && !::testing::Test::HasFatalFailure(); ++round) {
      switch (random() % 9) {
      case 0:
        rollback(pick());
        break;
      case 1:
        snapshot(pick());
        break;
      case 2:
        restore();
        break;
      case 3:
      case 5:
        fork(pick());
        break;
      case 4:
        transfer(pick());
        break;
      default:
        step();
      }
    }
    for (Sequence &sequence : sequences) // To the very end, so that every detour has been read.
      while (sequence.fed < sequence.tokens.size() && !::testing::Test::HasFatalFailure())
        step();
  }
  unsigned comparedRows() const { return compared; }

private:
  static constexpr unsigned kSequences = 3;
  struct Sequence {
    std::vector<int32_t> tokens;
    std::vector<float> plain;
    SequenceId id;
    size_t fed = 0, longest = 0; // What it holds, and has held.
  };
  struct Kept {
    SnapshotId id;
    size_t sequence, fed, longest;
  };

  Sequence &pick() { return sequences[random() % sequences.size()]; }

  void step() {
    std::vector<size_t> order{0, 1, 2};
    std::shuffle(order.begin(), order.end(), random);
    std::vector<StepSegment> segments;
    std::vector<std::pair<size_t, size_t>> fed; // Sequence and position of every row of the step.
    size_t room = tiny.batch;
    for (size_t index : order) {
      Sequence &sequence = sequences[index];
      size_t left = std::min(room, sequence.tokens.size() - sequence.fed);
      // Decoding and prefill mix: often one token, else any number.
      size_t count = !left || random() % 5 == 0 ? 0 : random() % 2 ? 1 : 1 + random() % left;
      if (!count)
        continue;
      segments.push_back({sequence.id, std::span(sequence.tokens).subspan(sequence.fed, count)});
      for (size_t i = 0; i < count; ++i)
        fed.emplace_back(index, sequence.fed + i);
      room -= count;
    }
    if (segments.empty())
      return;
    std::vector<int32_t> rows;
    for (size_t i = 0; i < fed.size(); ++i)
      if (random() % 4)
        rows.push_back(int32_t(i));
    std::shuffle(rows.begin(), rows.end(), random);
    LogitsView logits = must(session->step(segments, rows));
    ASSERT_EQ(logits.rows, rows.size());
    for (size_t i = 0; i < rows.size(); ++i, ++compared) {
      auto [index, position] = fed[size_t(rows[i])];
      ASSERT_EQ(memcmp(logits.row(i).data(), sequences[index].plain.data() + position * tiny.vocab,
                       tiny.vocab * sizeof(float)),
                0)
          << "sequence " << index << " position " << position;
    }
    for (size_t index : order)
      for (const StepSegment &segment : segments)
        if (segment.sequence == sequences[index].id)
          sequences[index].fed += segment.tokens.size();
    for (Sequence &sequence : sequences)
      sequence.longest = std::max(sequence.longest, sequence.fed);
  }

  void rollback(Sequence &sequence) {
    int64_t limit = must(session->rollbackLimit(sequence.id));
    ASSERT_LE(limit, std::max<int64_t>(0, int64_t(sequence.longest) - kRollbackTokens));
    size_t position = size_t(limit) + random() % (sequence.fed - size_t(limit) + 1);
    // Or as far as anything reaches, perhaps a checkpoint.
    if (random() % 3 == 0 && limit) {
      int64_t reached = must(session->reachable(sequence.id, int64_t(random() % uint64_t(limit))));
      position = reached < 0 ? position : size_t(reached);
    }
    must(session->rollback(sequence.id, int64_t(position)));
    sequence.fed = position;
    if (int64_t(position) < limit)
      sequence.longest = position; // What came before a checkpoint is gone.
  }

  void snapshot(Sequence &sequence) {
    if (kept.size() == 4) {
      must(session->releaseSnapshot(kept.front().id));
      kept.erase(kept.begin());
    }
    kept.push_back(
        {must(session->snapshot(sequence.id)), size_t(&sequence - sequences.data()), sequence.fed, sequence.longest});
  }

  void restore() {
    if (kept.empty())
      return;
    const Kept &chosen = kept[random() % kept.size()];
    must(session->restore(sequences[chosen.sequence].id, chosen.id));
    sequences[chosen.sequence].fed = chosen.fed;
    sequences[chosen.sequence].longest = chosen.longest;
  }

  /// Goes on with a fork; its origin first takes some other tokens, which must not show.
  void fork(Sequence &sequence) {
    SequenceId forked = must(session->fork(sequence.id));
    if (sequence.fed + 5 < tiny.context)
      feedAll(*session, sequence.id, randomTokens(random, 5, tiny.vocab));
    must(session->destroySequence(sequence.id));
    sequence.id = forked;
  }

  /// Goes on with what came out of an export, imported in random order.
  void transfer(Sequence &sequence) {
    Exported exported;
    must(session->exportSequence(sequence.id, exported.sink()));
    std::shuffle(exported.chunks.begin(), exported.chunks.end(), random);
    SequenceId imported = must(session->beginImport());
    for (size_t i = 0; i < exported.chunks.size(); ++i)
      ASSERT_EQ(must(session->importChunk(imported, exported.chunks[i])), i + 1 == exported.chunks.size());
    must(session->destroySequence(sequence.id));
    sequence.id = imported;
    ASSERT_EQ(must(session->length(imported)), int64_t(sequence.fed));
  }

  std::mt19937 random;
  TinyOptions tiny;
  TestModel model;
  Owned<Session> session;
  std::vector<Sequence> sequences;
  std::vector<Kept> kept;
  unsigned compared = 0;
};

class BatchInvariance : public testing::TestWithParam<Case> {};

TinyOptions options(fb::DType kv, unsigned window, fb::Products products = fb::Products::f32) {
  TinyOptions tiny;
  tiny.kv = kv;
  tiny.window = window;
  tiny.products = products;
  tiny.sequences = 5;
  return tiny;
}

/// Recurrent layers among those of attention, with steps of several pages.
TinyOptions hybrid(fb::DType ssm, fb::Products products, unsigned checkpointEvery = 0, bool attention = true) {
  TinyOptions tiny = hybridOptions();
  tiny.sequences = 5;
  tiny.batch = tiny.rows = 50;
  tiny.ssm = ssm;
  tiny.products = products;
  tiny.checkpointEvery = checkpointEvery;
  tiny.attention = attention;
  return tiny;
}

} // namespace

TEST_P(BatchInvariance, RandomSteps) {
  Scenario scenario(GetParam());
  scenario.run(60);
  EXPECT_GT(scenario.comparedRows(), 300u);
}

INSTANTIATE_TEST_SUITE_P(
    All, BatchInvariance,
    testing::Values(
        Case{"F32", options(fb::DType::f32, 0), 1, 1}, Case{"F32Threads2", options(fb::DType::f32, 0), 2, 2},
        Case{"F32Threads4", options(fb::DType::f32, 0), 4, 3}, Case{"F16Threads3", options(fb::DType::f16, 0), 3, 4},
        Case{"Int8Threads2", options(fb::DType::i8, 0), 2, 5}, Case{"Window20", options(fb::DType::f32, 20), 2, 6},
        Case{"Window64Int8", options(fb::DType::i8, 64), 1, 7}, Case{"Window1", options(fb::DType::f16, 1), 2, 8},
        Case{"Bf16ProductsF16", options(fb::DType::f16, 0, fb::Products::bf16), 2, 9},
        Case{"CodesOfInt8", options(fb::DType::i8, 0, fb::Products::i8), 3, 10},
        Case{"CodesOfInt8Window20", options(fb::DType::i8, 20, fb::Products::i8), 2, 11},
        Case{"Hybrid", hybrid(fb::DType::f32, fb::Products::f32), 1, 12},
        Case{"HybridCheckpoints", hybrid(fb::DType::f32, fb::Products::f32, 32), 3, 13},
        Case{"HybridBf16Products", hybrid(fb::DType::f32, fb::Products::bf16, 48), 2, 14},
        Case{"RecurrentBf16States", hybrid(fb::DType::bf16, fb::Products::bf16, 16, false), 2, 15}),
    [](const auto &info) { return std::string(info.param.name); });
