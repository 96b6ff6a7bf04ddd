//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Sessions and their states: bounds, handles, the pool, windows, transfers of damaged chunks.
//
#include "tests/unit/session/SessionSupport.h"

using namespace mlc;
using namespace mlc::test;
using testing::Test;

/// Bytes of a KV page of the target.
static uint64_t pageBytes(const TestModel &tiny) {
  return cpuTarget().kvLayout.pageBytes(*tiny.model->metadata().states()->Get(0)->kv());
}

TEST(Session, BoundsMayOnlyBeLowered) {
  TestModel tiny;
  SessionOptions options;
  options.context = 257;
  EXPECT_EQ(failure(Session::create(*tiny.model, options), ErrorCode::OutOfRange),
            "--context 257 is above the artifact's 256; compile it with a larger --context");
  options.context = 10;
  options.sequences = 2;
  options.batch = 4;
  Owned<Session> session = makeSession(*tiny.model, options);
  SequenceId sequence = must(session->createSequence());
  auto step = [&](std::vector<int32_t> tokens, std::vector<int32_t> rows) {
    StepSegment segment{sequence, tokens};
    return session->step({&segment, 1}, rows);
  };
  EXPECT_EQ(failure(step(zeros(5), {}), ErrorCode::OutOfRange), "a step of 5 or more tokens is above the batch of 4");
  EXPECT_EQ(failure(step({0, 67}, {}), ErrorCode::OutOfRange), "token id 67 is outside the vocabulary of 67");
  EXPECT_EQ(failure(step({-1}, {}), ErrorCode::OutOfRange), "token id -1 is outside the vocabulary of 67");
  EXPECT_EQ(failure(step({1}, {1}), ErrorCode::OutOfRange), "logits of row 1 of a step of 1 tokens");
  EXPECT_EQ(failure(step({}, {}), ErrorCode::InvalidArgument), "sequence 0x10000: a segment without tokens");
  EXPECT_EQ(failure(session->step({}, {}), ErrorCode::InvalidArgument), "a step needs at least one segment");
}

TEST(Session, ContextIsTheLimit) {
  TestModel tiny;
  SessionOptions options;
  options.context = 6;
  Owned<Session> session = makeSession(*tiny.model, options);
  SequenceId sequence = must(session->createSequence());
  feedAll(*session, sequence, zeros(6));
  std::vector<int32_t> one = zeros(1);
  StepSegment segment{sequence, one};
  EXPECT_EQ(failure(session->step({&segment, 1}, {}), ErrorCode::OutOfRange), "position 6 is beyond the context of 6");
  EXPECT_EQ(must(session->length(sequence)), 6);
  EXPECT_EQ(failure(session->createSequence(7), ErrorCode::OutOfRange),
            "a prompt of 7 tokens is longer than the context of 6");
}

TEST(Session, HandlesOfTheDeadAreRefused) {
  TestModel tiny;
  Owned<Session> session = makeSession(*tiny.model);
  SequenceId first = must(session->createSequence());
  must(session->destroySequence(first));
  SequenceId second = must(session->createSequence());
  EXPECT_NE(first, second);
  EXPECT_EQ(failure(session->length(first), ErrorCode::NotFound), "sequence 0x10000 does not exist");
  SnapshotId snapshot = must(session->snapshot(second));
  must(session->releaseSnapshot(snapshot));
  failure(session->restore(second, snapshot), ErrorCode::NotFound);
  failure(session->length(SequenceId::none), ErrorCode::NotFound);
  for (int i = 0; i < 3; ++i)
    must(session->createSequence());
  EXPECT_EQ(failure(session->createSequence(), ErrorCode::OutOfMemory),
            "all 4 sequences are in use; end one or raise --sequences");
}

TEST(Session, ASequenceComesOnceInAStep) {
  TestModel tiny;
  Owned<Session> session = makeSession(*tiny.model);
  SequenceId sequence = must(session->createSequence());
  std::vector<int32_t> one = zeros(1);
  StepSegment twice[] = {{sequence, one}, {sequence, one}};
  failure(session->step(twice, {}), ErrorCode::InvalidArgument);
  EXPECT_EQ(must(session->length(sequence)), 0);
  feedAll(*session, sequence, one);
}

TEST(Session, MaxMemoryHoldsThePlan) {
  TestModel tiny;
  SessionOptions options;
  options.threads = 3;
  Owned<Session> session = makeSession(*tiny.model, options);
  const MemoryPlan plan = session->memoryPlan();
  EXPECT_EQ(plan.weights, tiny.model->fileBytes());
  EXPECT_GE(plan.states, session->kvBytes());
  EXPECT_EQ(plan.arena, session->arenaBytes());
  EXPECT_EQ(plan.threads, 3u);
  EXPECT_GT(plan.scratchPerThread, 0u);
  EXPECT_EQ(plan.total(), plan.weights + plan.states + plan.arena + plan.sharedScratch + 3 * plan.scratchPerThread);
  options.maxMemory = plan.total();
  Owned<Session> fits = makeSession(*tiny.model, options);
  --options.maxMemory;
  std::string message = failure(Session::create(*tiny.model, options), ErrorCode::OutOfMemory);
  for (const char *word : {"--max-memory", "weights", "states", "arena", "scratch", "3 threads"})
    EXPECT_NE(message.find(word), std::string::npos) << message;
  // A plan of fewer threads, or of fewer positions, fits.
  options.threads = 2;
  Owned<Session> fewer = makeSession(*tiny.model, options);
  options.threads = 3;
  options.context = 64;
  Owned<Session> shorter = makeSession(*tiny.model, options);
  EXPECT_LT(shorter->memoryPlan().states, plan.states);
}

TEST(Session, ExhaustedPoolChangesNothing) {
  TestModel tiny;
  SessionOptions options;
  options.kvMemory = 6 * pageBytes(tiny); // Two layers: three pages of each.
  Owned<Session> session = makeSession(*tiny.model, options);
  SequenceId a = must(session->createSequence()), b = must(session->createSequence());
  for (int i = 0; i < 8; ++i)
    feedAll(*session, a, zeros(16));
  std::vector<float> before = feedAll(*session, b, zeros(3));
  EXPECT_EQ(session->kvBytesUsed(), session->kvBytes());
  std::vector<int32_t> one = zeros(1);
  StepSegment both[] = {{b, one}, {a, one}};
  std::string message = failure(session->step(both, {}), ErrorCode::OutOfMemory);
  EXPECT_NE(message.find("KV pool exhausted: all 6 pages"), std::string::npos) << message;
  EXPECT_EQ(must(session->length(a)), 128);
  EXPECT_EQ(must(session->length(b)), 3);
  must(session->destroySequence(a));
  EXPECT_EQ(session->kvBytesUsed(), session->kvBytes() / 3);
  must(session->rollback(b, 0));
  EXPECT_EQ(feedAll(*session, b, zeros(3)), before);
  options.kvMemory = 100;
  failure(Session::create(*tiny.model, options), ErrorCode::OutOfMemory);
}

TEST(Session, ForkSharesPagesUntilWritten) {
  TestModel tiny;
  Owned<Session> session = makeSession(*tiny.model);
  SequenceId a = must(session->createSequence());
  for (int i = 0; i < 5; ++i)
    feedAll(*session, a, zeros(16)); // 80 positions: one full page, one partial.
  uint64_t used = session->kvBytesUsed();
  SequenceId b = must(session->fork(a));
  SnapshotId kept = must(session->snapshot(a));
  EXPECT_EQ(session->kvBytesUsed(), used);
  feedAll(*session, b, zeros(1));
  EXPECT_EQ(session->kvBytesUsed(), used + used / 2); // Its own copy of the partial page.
  must(session->destroySequence(a));
  must(session->releaseSnapshot(kept));
  EXPECT_EQ(session->kvBytesUsed(), used);
  must(session->destroySequence(b));
  EXPECT_EQ(session->kvBytesUsed(), 0u);
}

TEST(Session, WindowLetsGoOfPagesAndBoundsRollback) {
  TinyOptions options;
  options.window = 20;
  TestModel tiny(options);
  Owned<Session> session = makeSession(*tiny.model);
  SequenceId sequence = must(session->createSequence());
  uint64_t most = 0;
  for (int i = 0; i < 15; ++i) {
    feedAll(*session, sequence, zeros(16));
    most = std::max(most, session->kvBytesUsed());
  }
  // 240 positions; what a query at 224 (16 back) sees begins at 205, in page 3.
  uint64_t page = session->kvBytesUsed() / 2;
  EXPECT_EQ(most, 4 * page); // Two layers, never more than two pages of each.
  EXPECT_EQ(must(session->rollbackLimit(sequence)), 3 * 64 + 19);
  EXPECT_EQ(failure(session->rollback(sequence, 210), ErrorCode::OutOfRange),
            "rollback to position 210: the states reach back to 211 only; restore a snapshot instead");
  failure(session->rollback(sequence, 241), ErrorCode::OutOfRange);
  must(session->rollback(sequence, 211));
}

TEST(Session, SnapshotOutlivesTheWindow) {
  TinyOptions options;
  options.window = 20;
  TestModel tiny(options);
  Owned<Session> session = makeSession(*tiny.model);
  SequenceId sequence = must(session->createSequence());
  feedAll(*session, sequence, zeros(16));
  SnapshotId snapshot = must(session->snapshot(sequence));
  std::vector<float> next = feedAll(*session, sequence, zeros(1));
  for (int i = 0; i < 14; ++i)
    feedAll(*session, sequence, zeros(16));
  must(session->restore(sequence, snapshot));
  EXPECT_EQ(feedAll(*session, sequence, zeros(1)), next);
}

namespace {

/// Refuses every allocation from the given one on, and counts what is still held.
struct Rationed {
  size_t left;
  size_t held = 0;
  Allocator allocator{[](void *context, size_t size, size_t alignment) -> void * {
                        auto &self = *static_cast<Rationed *>(context);
                        if (!self.left)
                          return nullptr;
                        --self.left;
                        ++self.held;
                        return systemAllocator().allocate(nullptr, size, alignment);
                      },
                      [](void *context, void *memory, size_t size) {
                        --static_cast<Rationed *>(context)->held;
                        systemAllocator().release(nullptr, memory, size);
                      },
                      this};
};

} // namespace

class EveryAllocation : public testing::TestWithParam<bool> {};
TEST_P(EveryAllocation, MayFail) {
  TestModel tiny(GetParam() ? hybridOptions() : TinyOptions{});
  unsigned refused = 0;
  for (size_t allowed = 0;; ++allowed) {
    Rationed ration{allowed};
    ModelOptions options;
    options.allocator = &ration.allocator;
    options.threads = 2;
    SessionOptions sessionOptions;
    sessionOptions.allocator = &ration.allocator;
    sessionOptions.threads = 2;
    bool done = false;
    if (auto opened = Model::fromMemory(tiny.bytes.span(), options)) {
      Owned<Model> model(*opened);
      if (auto created = Session::create(*model, sessionOptions)) {
        Owned<Session> session(*created);
        size_t before = ration.held;
        ration.left = 0; // Nothing more is needed, whatever the session does.
        SequenceId sequence = must(session->createSequence());
        feedAll(*session, sequence, zeros(16));
        Exported exported;
        must(session->exportSequence(sequence, exported.sink()));
        SequenceId imported = must(session->beginImport());
        for (const auto &chunk : exported.chunks)
          must(session->importChunk(imported, chunk));
        must(session->fork(imported));
        must(session->snapshot(imported));
        EXPECT_EQ(ration.held, before);
        done = true;
      } else {
        EXPECT_EQ(created.error().code(), ErrorCode::OutOfMemory) << created.error().message();
      }
    } else {
      EXPECT_EQ(opened.error().code(), ErrorCode::OutOfMemory) << opened.error().message();
    }
    EXPECT_EQ(ration.held, 0u) << "with " << allowed << " allocations";
    if (done)
      break;
    ++refused;
  }
  EXPECT_GT(refused, 20u);
}

INSTANTIATE_TEST_SUITE_P(Session, EveryAllocation, testing::Bool());

TEST(Session, CancelledStepChangesNothing) {
  TestModel tiny;
  Owned<Session> session = makeSession(*tiny.model);
  SequenceId sequence = must(session->createSequence());
  session->requestCancel();
  std::vector<int32_t> one = zeros(1);
  StepSegment segment{sequence, one};
  failure(session->step({&segment, 1}, {}), ErrorCode::Cancelled);
  EXPECT_EQ(must(session->length(sequence)), 0);
  EXPECT_EQ(session->kvBytesUsed(), 0u);
  session->clearCancel();
  feedAll(*session, sequence, one);
}

namespace {

struct TransferTest : Test {
  TransferTest() {
    session = makeSession(*tiny.model);
    SequenceId sequence = must(session->createSequence());
    for (int i = 0; i < 5; ++i)
      feedAll(*session, sequence, zeros(16));
    must(session->exportSequence(sequence, exported.sink()));
    must(session->destroySequence(sequence));
    target = must(session->beginImport());
  }
  /// The first chunk with its head changed.
  template <typename F> std::vector<uint8_t> changed(F change, size_t chunk = 0) {
    std::vector<uint8_t> bytes = exported.chunks[chunk];
    TransferHeader head;
    memcpy(&head, bytes.data(), sizeof head);
    change(head);
    memcpy(bytes.data(), &head, sizeof head);
    reseal(bytes);
    return bytes;
  }
  TestModel tiny;
  Owned<Session> session;
  Exported exported;
  SequenceId target;
};

} // namespace

TEST_F(TransferTest, EveryFlippedByteIsRefused) {
  std::vector<uint8_t> chunk = exported.chunks[0];
  for (size_t i = 0; i < chunk.size(); i += i < 128 ? 1 : 61) {
    chunk[i] ^= 0x20;
    EXPECT_FALSE(session->importChunk(target, chunk)) << "byte " << i;
    chunk[i] ^= 0x20;
  }
  for (size_t size = 0; size < chunk.size(); size += size < 128 ? 1 : 97)
    EXPECT_FALSE(session->importChunk(target, std::span(chunk).first(size)));
  EXPECT_FALSE(must(session->importChunk(target, chunk)));
}

TEST_F(TransferTest, HostileHeadsAreRefused) {
  auto refused = [&](auto change, ErrorCode code, const char *part, size_t chunk = 0) {
    std::string message = failure(session->importChunk(target, changed(change, chunk)), code);
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  size_t last = exported.chunks.size() - 1;
  refused([](TransferHeader &head) { head.artifact ^= 1; }, ErrorCode::Unsupported, "of artifact");
  refused([](TransferHeader &head) { head.version = 2; }, ErrorCode::Unsupported, "version 2");
  refused([](TransferHeader &head) { head.kind = TransferKind(7); }, ErrorCode::Corrupt, "unknown kind");
  refused([](TransferHeader &head) { head.state = 1; }, ErrorCode::Corrupt, "its name is not that of state 1");
  refused([](TransferHeader &head) { head.state = ~0u; }, ErrorCode::Corrupt, "state 4294967295 of 2");
  refused([](TransferHeader &head) { head.positions = 65; }, ErrorCode::OutOfRange, "outside the context");
  refused([](TransferHeader &head) { head.positions = 0; }, ErrorCode::OutOfRange, "outside the context");
  refused([](TransferHeader &head) { head.positions = uint64_t(1) << 40; }, ErrorCode::OutOfRange,
          "beyond the context");
  refused([](TransferHeader &head) { head.positions = 63; }, ErrorCode::Corrupt, "bytes for 63 positions");
  refused([](TransferHeader &head) { head.firstPosition = ~uint64_t(0); }, ErrorCode::OutOfRange, "beyond the context");
  refused([](TransferHeader &head) { head.firstPosition = 193; }, ErrorCode::OutOfRange, "outside the context");
  refused([](TransferHeader &head) { head.firstPosition = 32; }, ErrorCode::Corrupt, "cross a page");
  refused([](TransferHeader &head) { head.payloadBytes += 1; }, ErrorCode::Corrupt, "size");
  refused([](TransferHeader &head) { head.nameBytes = ~0u; }, ErrorCode::Corrupt, "size");
  refused([](TransferHeader &head) { head.format[2] = 1; }, ErrorCode::Unsupported, "format");
  refused([](TransferHeader &head) { head.positions = 257; }, ErrorCode::OutOfRange, "257 positions", last);
  refused([](TransferHeader &head) { head.formLength = 300; }, ErrorCode::OutOfRange, "context", last);
  must(session->importChunk(target, exported.chunks[0]));
  refused([](TransferHeader &) {}, ErrorCode::Corrupt, "arrive twice");
  refused([](TransferHeader &head) { head.chunks = 0; }, ErrorCode::Corrupt, "a commit of 0 chunks after 1", last);
}

TEST_F(TransferTest, NothingIsVisibleBeforeItIsWhole) {
  size_t count = exported.chunks.size();
  EXPECT_EQ(count, 2u * 2 + 1);
  for (size_t i = 0; i + 1 < count; ++i) {
    EXPECT_FALSE(must(session->importChunk(target, exported.chunks[i])));
    std::vector<int32_t> one = zeros(1);
    StepSegment segment{target, one};
    EXPECT_NE(failure(session->step({&segment, 1}, {}), ErrorCode::InvalidArgument).find("is being imported"),
              std::string::npos);
  }
  EXPECT_TRUE(must(session->importChunk(target, exported.chunks.back())));
  EXPECT_EQ(must(session->length(target)), 80);
  failure(session->importChunk(target, exported.chunks[0]), ErrorCode::InvalidArgument);
}

TEST_F(TransferTest, IncompleteSetsAreRefused) {
  // The commit record of a set of which a page is missing and another state has one too many.
  std::vector<uint8_t> commit = changed([](TransferHeader &head) { head.chunks = 3; }, exported.chunks.size() - 1);
  for (size_t i = 0; i < 3; ++i)
    must(session->importChunk(target, exported.chunks[i]));
  EXPECT_NE(failure(session->importChunk(target, commit), ErrorCode::NotFound).find("are incomplete"),
            std::string::npos);
  must(session->destroySequence(target));
  EXPECT_EQ(session->kvBytesUsed(), 0u);
  // One that says it is shorter than its pages.
  target = must(session->beginImport());
  for (size_t i = 0; i < 4; ++i)
    must(session->importChunk(target, exported.chunks[i]));
  commit = changed([](TransferHeader &head) { head.positions = 64; }, exported.chunks.size() - 1);
  EXPECT_NE(failure(session->importChunk(target, commit), ErrorCode::Corrupt).find("past its end"), std::string::npos);
  must(session->destroySequence(target));
  EXPECT_EQ(session->kvBytesUsed(), 0u);
}

TEST_F(TransferTest, OnlySoManyImports) {
  EXPECT_EQ(failure(session->beginImport(), ErrorCode::OutOfMemory), "1 imports are in progress; end one first");
  must(session->importChunk(target, exported.chunks[0]));
  must(session->destroySequence(target));
  EXPECT_EQ(session->kvBytesUsed(), 0u);
  target = must(session->beginImport());
}
