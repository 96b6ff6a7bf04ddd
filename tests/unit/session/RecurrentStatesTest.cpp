//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Sessions of hybrid models: how far a rollback reaches, what snapshots cost, the pool, failed steps, transfers into
// another process and those that are damaged.
//
#include "tests/unit/session/SessionSupport.h"

#include <filesystem>
#include <fstream>
#include <spawn.h>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

using namespace mlc;
using namespace mlc::test;

namespace {

TinyOptions options(unsigned checkpointEvery = 0) {
  TinyOptions tiny = hybridOptions();
  tiny.batch = tiny.rows = 64;
  tiny.checkpointEvery = checkpointEvery;
  return tiny;
}

/// A session of one model and the plain logits of one text.
struct Hybrid {
  explicit Hybrid(const TinyOptions &tiny = options(), SessionOptions sessionOptions = {})
      : vocab(tiny.vocab), model(tiny), session(makeSession(*model.model, sessionOptions)) {
    std::mt19937 random(7);
    text = randomTokens(random, 140, vocab);
    plain = plainLogits(*model.model, text);
  }
  /// Feeds the text's tokens [from, to) in steps of at most 50 and compares.
  void feed(SequenceId sequence, size_t from, size_t to) {
    for (size_t part; from < to; from += part) {
      part = std::min<size_t>(to - from, 50);
      std::vector<float> got = feedAll(*session, sequence, std::span(text).subspan(from, part));
      ASSERT_EQ(0, memcmp(got.data(), plain.data() + from * vocab, got.size() * sizeof(float))) << "from " << from;
    }
  }
  SequenceId fed(size_t count) {
    SequenceId sequence = must(session->createSequence());
    feed(sequence, 0, count);
    return sequence;
  }

  unsigned vocab;
  TestModel model;
  Owned<Session> session;
  std::vector<int32_t> text;
  std::vector<float> plain;
};

} // namespace

TEST(RecurrentStates, RollbackReachesTheLastPagesAndTheCheckpoints) {
  Hybrid hybrid(options(32));
  Session &session = *hybrid.session;
  SequenceId sequence = hybrid.fed(100); // Page 6 begins at 96.
  EXPECT_EQ(must(session.rollbackLimit(sequence)), 80);
  SnapshotId start = must(session.snapshot(sequence));
  for (int64_t position = 80; position <= 100; ++position) {
    must(session.restore(sequence, start));
    must(session.rollback(sequence, position));
    hybrid.feed(sequence, size_t(position), 120);
  }
  must(session.restore(sequence, start));
  const std::pair<int64_t, int64_t> reached[] = {{500, 100}, {80, 80}, {79, 64}, {65, 64}, {63, 32}, {31, 0}, {0, 0}};
  for (auto [position, expected] : reached)
    EXPECT_EQ(must(session.reachable(sequence, position)), expected) << position;
  std::string message = failure(session.rollback(sequence, 70), ErrorCode::OutOfRange);
  EXPECT_NE(message.find("reach back to 80 only"), std::string::npos) << message;
  EXPECT_EQ(must(session.length(sequence)), 100);
  for (int64_t checkpoint : {64, 32, 0}) {
    must(session.rollback(sequence, checkpoint));
    EXPECT_EQ(must(session.length(sequence)), checkpoint);
  }
  hybrid.feed(sequence, 0, 140);
}

// Snapshots and rollbacks allocate and copy nothing; a fork copies its entries of the last page when it writes.
TEST(RecurrentStates, SnapshotsCopyNothing) {
  Hybrid hybrid;
  Session &session = *hybrid.session;
  SequenceId sequence = hybrid.fed(100);
  uint64_t used = session.recurrentBytesUsed();
  SnapshotId kept = must(session.snapshot(sequence));
  hybrid.feed(sequence, 100, 107);
  must(session.rollback(sequence, 102));
  hybrid.feed(sequence, 102, 110);
  EXPECT_EQ(session.recurrentBytesUsed(), used);
  // Behind a later snapshot, what it holds may not be written over.
  SnapshotId later = must(session.snapshot(sequence));
  must(session.rollback(sequence, 105));
  hybrid.feed(sequence, 105, 106);
  EXPECT_GT(session.recurrentBytesUsed(), used);
  must(session.restore(sequence, later));
  hybrid.feed(sequence, 110, 112);
  must(session.restore(sequence, kept));
  hybrid.feed(sequence, 100, 130);
  SequenceId fork = must(session.fork(sequence));
  used = session.recurrentBytesUsed();
  feedAll(session, fork, zeros(1));
  EXPECT_GT(session.recurrentBytesUsed(), used);
  hybrid.feed(sequence, 130, 140);
  must(session.destroySequence(sequence));
  must(session.destroySequence(fork));
  must(session.releaseSnapshot(kept));
  must(session.releaseSnapshot(later));
  EXPECT_EQ(session.recurrentBytesUsed(), 0u);
}

TEST(RecurrentStates, PlanHoldsWhatTheSessionTakes) {
  SessionOptions few;
  few.sequences = 1;
  few.snapshots = 0;
  Hybrid hybrid, small(options(), few), checkpoints(options(16), few);
  EXPECT_GE(hybrid.session->memoryPlan().recurrent, hybrid.session->recurrentBytes());
  EXPECT_GE(hybrid.session->memoryPlan().states, hybrid.session->kvBytes() + hybrid.session->memoryPlan().recurrent);
  EXPECT_LT(small.session->recurrentBytes() * 3, hybrid.session->recurrentBytes());
  EXPECT_GT(checkpoints.session->recurrentBytes(), small.session->recurrentBytes());
}

// Snapshots that keep checkpoints of sequences long gone fill the pool: a step is refused and changes nothing.
TEST(RecurrentStates, ExhaustedPoolChangesNothing) {
  SessionOptions few;
  few.sequences = 2;
  few.snapshots = 40;
  TinyOptions tiny = options(16);
  tiny.batch = tiny.rows = 80;
  tiny.attention = false; // Else the KV pool fills first.
  Hybrid hybrid(tiny, few);
  Session &session = *hybrid.session;
  SequenceId other = hybrid.fed(20);
  std::vector<SnapshotId> kept;
  std::string refused;
  for (int i = 0; i < 40 && refused.empty(); ++i) {
    SequenceId sequence = must(session.createSequence());
    for (size_t from = 0; from < 128; from += 64) {
      uint64_t used = session.recurrentBytesUsed();
      StepSegment both[] = {{other, std::span(hybrid.text).subspan(20, 1)},
                            {sequence, std::span(hybrid.text).subspan(from, 64)}};
      auto stepped = session.step(both, {});
      if (!stepped) {
        refused = failure(stepped, ErrorCode::OutOfMemory);
        EXPECT_EQ(session.recurrentBytesUsed(), used);
        EXPECT_EQ(must(session.length(other)), 20);
        EXPECT_EQ(must(session.length(sequence)), int64_t(from));
        break;
      }
      must(session.rollback(other, 20));
      must(session.rollback(sequence, int64_t(from)));
      hybrid.feed(sequence, from, from + 64);
    }
    kept.push_back(must(session.snapshot(sequence)));
    must(session.destroySequence(sequence));
  }
  EXPECT_NE(refused.find("pool of recurrent states exhausted: all "), std::string::npos) << refused;
  for (SnapshotId snapshot : kept)
    must(session.releaseSnapshot(snapshot));
  hybrid.feed(other, 20, 140);
}

TEST(RecurrentStates, CancelledStepChangesNothing) {
  Hybrid hybrid;
  Session &session = *hybrid.session;
  SequenceId sequence = hybrid.fed(37);
  SnapshotId kept = must(session.snapshot(sequence));
  uint64_t used = session.recurrentBytesUsed();
  // Cut short after some kernels have run: before the third, so that states have been written.
  struct Canceller {
    Session &session;
    unsigned left;
  } canceller{session, 12};
  must(session.observeKernels({[](void *user, uint32_t, const KernelContext &) {
                                 auto &self = *static_cast<Canceller *>(user);
                                 if (self.left && !--self.left)
                                   self.session.requestCancel();
                               },
                               &canceller}));
  for (size_t count : {1u, 20u, 60u}) {
    canceller.left = 12;
    StepSegment segment{sequence, std::span(hybrid.text).subspan(60, count)}; // Other tokens than those that follow.
    failure(session.step({&segment, 1}, {}), ErrorCode::Cancelled);
    session.clearCancel();
    EXPECT_EQ(must(session.length(sequence)), 37);
    EXPECT_EQ(session.recurrentBytesUsed(), used);
  }
  must(session.observeKernels({}));
  hybrid.feed(sequence, 37, 90);
  must(session.restore(sequence, kept));
  hybrid.feed(sequence, 37, 140);
}

// Run by ContinuesInAnotherProcess in a process of its own.
TEST(RecurrentStates, DISABLED_Continue) {
  const char *path = getenv("MLC_TEST_STATE");
  ASSERT_TRUE(path);
  std::ifstream in(path, std::ios::binary);
  Hybrid hybrid(options(32));
  SequenceId sequence = must(hybrid.session->beginImport());
  bool whole = false;
  for (uint64_t size; in.read(reinterpret_cast<char *>(&size), sizeof size);) {
    std::vector<uint8_t> chunk(size);
    in.read(reinterpret_cast<char *>(chunk.data()), std::streamsize(size));
    whole = must(hybrid.session->importChunk(sequence, chunk));
  }
  ASSERT_TRUE(whole);
  EXPECT_EQ(must(hybrid.session->rollbackLimit(sequence)), 80);
  EXPECT_EQ(must(hybrid.session->reachable(sequence, 79)), 64);
  hybrid.feed(sequence, 100, 140);
  must(hybrid.session->rollback(sequence, 64));
  hybrid.feed(sequence, 64, 70);
}

TEST(RecurrentStates, ContinuesInAnotherProcess) {
  Hybrid hybrid(options(32));
  Exported exported;
  must(hybrid.session->exportSequence(hybrid.fed(100), exported.sink()));
  std::string path = temporaryPath("sequence.state");
  std::ofstream out(path, std::ios::binary);
  for (const std::vector<uint8_t> &chunk : exported.chunks) {
    uint64_t size = chunk.size();
    out.write(reinterpret_cast<const char *>(&size), sizeof size);
    out.write(reinterpret_cast<const char *>(chunk.data()), std::streamsize(size));
  }
  out.close();
  std::string variable = "MLC_TEST_STATE=" + path;
  // This program again, by the emulator where one runs it.
  std::vector<std::string> words;
  std::istringstream emulator(getenv("MLC_TEST_EMULATOR") ? getenv("MLC_TEST_EMULATOR") : "");
  for (std::string word; std::getline(emulator, word, ';');)
    words.push_back(word);
  words.push_back(std::filesystem::read_symlink("/proc/self/exe"));
  words.push_back("--gtest_also_run_disabled_tests");
  words.push_back("--gtest_filter=RecurrentStates.DISABLED_Continue");
  std::vector<char *> arguments;
  for (std::string &word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::vector<char *> environment;
  for (char **entry = environ; *entry; ++entry)
    if (strncmp(*entry, "GTEST_", 6)) // What shards this process is not for the other.
      environment.push_back(*entry);
  environment.push_back(variable.data());
  environment.push_back(nullptr);
  pid_t process;
  ASSERT_EQ(posix_spawn(&process, arguments[0], nullptr, nullptr, arguments.data(), environment.data()), 0);
  int status = 0;
  ASSERT_EQ(waitpid(process, &status, 0), process);
  EXPECT_EQ(status, 0);
}

TEST(RecurrentStates, HostileChunksAreRefused) {
  Hybrid hybrid(options(32));
  Session &session = *hybrid.session;
  Exported exported;
  SequenceId source = hybrid.fed(100);
  must(session.exportSequence(source, exported.sink()));
  must(session.destroySequence(source));
  auto headOf = [](const std::vector<uint8_t> &chunk) {
    TransferHeader head;
    memcpy(&head, chunk.data(), sizeof head);
    return head;
  };
  // The first base and the first log page of an ssm state.
  size_t base = 0, log = 0, last = exported.chunks.size() - 1;
  for (size_t i = last; i-- > 0;) {
    TransferHeader head = headOf(exported.chunks[i]);
    if (head.format[3] == options().ssmState && head.state == 1)
      (head.positions ? log : base) = i;
  }
  auto import = [&](auto change, size_t which, ErrorCode code, const char *part) {
    SequenceId target = must(session.beginImport());
    std::vector<uint8_t> chunk = exported.chunks[which];
    TransferHeader head = headOf(chunk);
    change(head, chunk);
    memcpy(chunk.data(), &head, sizeof head);
    reseal(chunk);
    std::string message = failure(session.importChunk(target, chunk), code);
    EXPECT_NE(message.find(part), std::string::npos) << message;
    must(session.destroySequence(target));
    EXPECT_EQ(session.recurrentBytesUsed(), 0u);
  };
  import([](auto &head, auto &) { head.firstPosition = 0; }, base, ErrorCode::Corrupt, "no part of a page");
  import([](auto &head, auto &) { head.firstPosition += 1; }, base, ErrorCode::Corrupt, "no part of a page");
  import([](auto &head, auto &) { head.firstPosition = 272; }, base, ErrorCode::OutOfRange, "outside the context");
  import([](auto &head, auto &) { head.positions = 1; }, base, ErrorCode::Corrupt, "bytes for 1 positions");
  import([](auto &head, auto &) { head.positions = 0; }, log, ErrorCode::Corrupt, "bytes for 0 positions");
  import([](auto &head, auto &) { head.positions = 17; }, log, ErrorCode::OutOfRange, "outside the context");
  import([](auto &head, auto &) { head.firstPosition += 1; }, log, ErrorCode::Corrupt, "no part of a page");
  import([](auto &head, auto &) { head.format[1] += 1; }, base, ErrorCode::Unsupported, "format");
  import([](auto &head, auto &chunk) { chunk.pop_back(), --head.payloadBytes; }, base, ErrorCode::Corrupt, "bytes for");

  // Sets that are not what a sequence of that length holds.
  auto importAll = [&](auto &&changeSet) {
    SequenceId target = must(session.beginImport());
    std::vector<std::vector<uint8_t>> chunks = exported.chunks;
    changeSet(chunks);
    TransferHeader commit = headOf(chunks.back());
    commit.chunks = chunks.size() - 1;
    memcpy(chunks.back().data(), &commit, sizeof commit);
    reseal(chunks.back());
    std::string message;
    for (const std::vector<uint8_t> &chunk : chunks) {
      auto taken = session.importChunk(target, chunk);
      message = taken ? (*taken ? "whole" : "") : taken.error().message();
    }
    EXPECT_EQ(message == "whole", bool(session.length(target)));
    must(session.destroySequence(target));
    EXPECT_EQ(session.recurrentBytesUsed(), 0u);
    return message;
  };
  EXPECT_EQ(importAll([](auto &) {}), "whole");
  auto dropped = [&](uint64_t position, bool bases) {
    return importAll([&](auto &chunks) {
      std::erase_if(chunks, [&](const std::vector<uint8_t> &chunk) {
        TransferHeader head = headOf(chunk);
        return head.kind == TransferKind::data && head.state < 2 && head.firstPosition == position &&
               !head.positions == bases;
      });
    });
  };
  EXPECT_NE(dropped(96, true).find("the state at position 96 is missing"), std::string::npos);
  EXPECT_NE(dropped(96, false).find("the state at position 96 is missing"), std::string::npos);
  EXPECT_EQ(dropped(64, true), "whole"); // A checkpoint less.
  EXPECT_NE(importAll([&](auto &chunks) { chunks.erase(chunks.begin() + long(base)); }).find("is incomplete"),
            std::string::npos);
  EXPECT_NE(importAll([&](auto &chunks) {
              for (auto &chunk : chunks) {
                TransferHeader head = headOf(chunk);
                if (head.kind == TransferKind::data && head.state < 2 && !head.positions && head.firstPosition == 64) {
                  head.firstPosition = 48; // No checkpoint.
                  memcpy(chunk.data(), &head, sizeof head);
                  reseal(chunk);
                }
              }
            }).find("keeps no base of position 48"),
            std::string::npos);
}
