//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A libnccl.so.2 for tests without GPUs, beside the driver of FakeDriver.h: ranks are threads, which wait for each
// other in the order of their streams. A rank that never comes is a mistake and an error, not a hang. Calls are
// recorded and made to fail as the driver's are.
//
#include "targets/cuda/driver/Nccl.h"
#include "targets/cuda/tests/FakeDriver.h"

#include <cstring>
#include <memory>
#include <vector>

using namespace mlc::cuda;

namespace {

/// All ranks; what they have brought to the collective in progress.
struct Group {
  struct Part {
    const void *from = nullptr;
    size_t bytes = 0;
  };
  std::vector<Part> parts;
  unsigned arrived = 0, gone = 0;
  uint64_t turn = 0; // Collectives that have ended.
  bool aborted = false;
};
struct Comm {
  std::shared_ptr<Group> group;
  unsigned rank;
};
Comm &commOf(NcclComm comm) { return *reinterpret_cast<Comm *>(comm); }
/// All that there ever were: one thread may abort what another is about to use.
std::vector<std::unique_ptr<Comm>> comms;

/// Of rank `rank`, when its stream has come to it.
void gather(Group &group, unsigned rank, const void *from, void *to, size_t bytes) {
  const uint64_t turn = group.turn;
  auto fail = [&](const char *what) {
    fake::mistake(what);
    group.aborted = true;
    fake::changed(/*broken=*/true);
  };
  if (group.aborted)
    return fake::changed(/*broken=*/true);
  group.parts[rank] = {from, bytes};
  if (++group.arrived == group.parts.size())
    fake::changed(/*broken=*/false);
  if (!fake::await([&] { return group.arrived == group.parts.size() || group.turn != turn || group.aborted; }))
    return fail("a rank waits for one that never comes");
  if (group.aborted)
    return fake::changed(/*broken=*/true);
  for (const Group::Part &part : group.parts) {
    if (part.bytes != bytes)
      return fail("ranks gather pieces of different sizes");
    memcpy(to, part.from, bytes);
    to = static_cast<char *>(to) + bytes;
  }
  // Nobody writes what others still read.
  if (++group.gone == group.parts.size()) {
    group.arrived = group.gone = 0;
    ++group.turn;
    fake::changed(/*broken=*/false);
  }
  if (!fake::await([&] { return group.turn != turn || group.aborted; }))
    fail("a rank waits for one that never comes");
}

} // namespace

#define MLC_EXPORT extern "C" __attribute__((visibility("default")))
#define MLC_CALLED()                                                                                                   \
  if (CuResult injected = fake::call(__func__, ""); injected != CUDA_SUCCESS)                                          \
  return NcclResult(injected)

MLC_EXPORT NcclResult ncclGetVersion(int *version) {
  *version = 22000;
  return ncclSuccess;
}
MLC_EXPORT const char *ncclGetErrorString(NcclResult) { return "an injected error"; }
MLC_EXPORT NcclResult ncclCommInitAll(NcclComm *made, int count, const int *) {
  MLC_CALLED();
  auto group = std::make_shared<Group>();
  group->parts.resize(size_t(count));
  fake::locked([&] {
    for (int i = 0; i < count; ++i)
      made[i] = reinterpret_cast<NcclComm>(comms.emplace_back(new Comm{group, unsigned(i)}).get());
  });
  return ncclSuccess;
}
MLC_EXPORT NcclResult ncclCommAbort(NcclComm comm) {
  MLC_CALLED();
  fake::locked([&] {
    commOf(comm).group->aborted = true;
    fake::changed(/*broken=*/false);
  });
  return ncclSuccess;
}
MLC_EXPORT NcclResult ncclCommDestroy(NcclComm) {
  MLC_CALLED();
  return ncclSuccess;
}
MLC_EXPORT NcclResult ncclAllGather(const void *from, void *to, size_t count, int type, NcclComm comm,
                                    CuStream stream) {
  MLC_CALLED();
  if (type != ncclFloat32)
    return NcclResult(4); // ncclInvalidArgument
  fake::locked([&] {
    fake::enqueue(stream, [group = commOf(comm).group, rank = commOf(comm).rank, from, to, bytes = 4 * count] {
      gather(*group, rank, from, to, bytes);
    });
  });
  return ncclSuccess;
}
