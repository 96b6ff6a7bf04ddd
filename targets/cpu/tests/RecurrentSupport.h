//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A state of a RecurrentStore and sequences that a kernel reads over it: splits into steps, ragged mixes, rollbacks and
// transfers.
//
#pragma once

#include "runtime/exec/states/RecurrentStore.h"
#include "targets/cpu/RecurrentBase.h"
#include "targets/cpu/tests/TestSupport.h"

namespace mlc::test {

/// One state of a store, and sequences of inputs that a kernel reads: what the tests of both kernels share.
struct Recurrent {
  flatbuffers::FlatBufferBuilder builder;
  const fb::State *schema = nullptr;
  Owned<RecurrentStore> store;
  std::vector<int64_t> fed; // By sequence: positions that its slot holds.

  void create(fb::StateKind kind, DType dtype, std::vector<uint64_t> dims, uint64_t columns, uint64_t groups,
              size_t sequences, int64_t positions, int64_t checkpointEvery) {
    builder.Finish(fb::CreateStateDirect(builder, "state", kind, fb::StateScope::sequence, nullptr,
                                         fb::CreateRecurrentSpecDirect(builder, dtype, &dims, columns, groups)));
    schema = flatbuffers::GetRoot<fb::State>(builder.GetBufferPointer());
    RecurrentStoreOptions options;
    options.sequences = uint32_t(sequences);
    options.slots = options.sequences + 2;
    options.imports = 1;
    options.context = positions;
    options.batch = positions * int64_t(sequences);
    options.checkpointEvery = checkpointEvery;
    auto made = RecurrentStore::create({&schema, 1}, cpuTarget().recurrentLayout, options);
    if (!made)
      abort();
    store.reset(*made);
    fed.assign(sequences, 0);
  }

  void clear() {
    for (uint32_t s = 0; s < fed.size(); ++s)
      store->clear(s);
    std::fill(fed.begin(), fed.end(), 0);
  }

  /// The next `lengths` tokens of each sequence (0: it takes no part) as segments in the order of `order`.
  std::vector<BatchSegment> segments(const std::vector<int64_t> &lengths, const std::vector<uint32_t> &order) {
    std::vector<BatchSegment> list;
    int64_t row = 0;
    for (uint32_t s : order)
      if (lengths[s]) {
        list.push_back({s, int32_t(row), int32_t(lengths[s]), fed[s], fed[s] + lengths[s]});
        row += lengths[s];
      }
    return list;
  }

  /// Runs `call` over the segments; the sequences then hold their tokens.
  void step(Call &call, const std::vector<BatchSegment> &list, Isa isa, unsigned threads) {
    for (const BatchSegment &s : list)
      ASSERT_TRUE(bool(store->reserve(s.sequence, s.firstPosition, s.length)));
    for (uint32_t i = 0; i < list.size(); ++i)
      store->selectSegment(i, list[i].sequence, list[i].firstPosition, list[i].length);
    RecurrentStateView view = store->view(0);
    call.recurrent = &view;
    call.segments = list;
    call.run(isa, threads);
    for (const BatchSegment &s : list) {
      fed[s.sequence] = s.firstPosition + s.length;
      store->commit(s.sequence, fed[s.sequence]);
    }
  }

  void rollback(uint32_t sequence, int64_t position) {
    store->rollback(sequence, position);
    fed[sequence] = position;
  }

  /// What the sequence holds goes through its chunks into the last slot and back.
  void transfer(uint32_t sequence, Random &random) {
    struct Chunk {
      StateChunk chunk;
      std::vector<uint8_t> payload;
    };
    std::vector<Chunk> chunks;
    StateChunkSink sink{[](void *context, const StateChunk &chunk) -> Status {
                          static_cast<std::vector<Chunk> *>(context)->push_back(
                              {chunk, {chunk.payload.begin(), chunk.payload.end()}});
                          return {};
                        },
                        &chunks};
    std::vector<uint8_t> buffer(store->maxPayload());
    ASSERT_TRUE(bool(store->exportChunks(sequence, fed[sequence], buffer, sink)));
    std::shuffle(chunks.begin(), chunks.end(), random);
    store->clear(sequence);
    for (Chunk &c : chunks) {
      c.chunk.payload = c.payload;
      Status taken = store->importChunk(sequence, c.chunk);
      ASSERT_TRUE(bool(taken)) << taken.error().message();
    }
    Status whole = store->importComplete(sequence, fed[sequence]);
    ASSERT_TRUE(bool(whole)) << whole.error().message();
  }
};

} // namespace mlc::test
