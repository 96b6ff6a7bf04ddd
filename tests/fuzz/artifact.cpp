//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The loader, the verifier of the plan and inspection over any bytes; of a network also what is made of it. The mutator
// works inside the metadata as well as on the whole file, and repairs the digests of most files, so that what lies
// behind them is reached. One seed carries code objects: they are mapped and resolved, and never run. One is a GPU's,
// with a compiled region.
//
#include "runtime/artifact/Inspect.h"
#include "runtime/net/Network.h"
#include "tests/fuzz/LargeInputs.h"
#include "tests/unit/artifact/ChecksSupport.h"
#include "tests/unit/support/HostileRun.h"

#include <sys/mman.h>
#include <unistd.h>

using namespace mlc;

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

static test::TinyModel regionModel() {
  test::TinyModel model = test::smallModel();
  test::addRegion(model);
  return model;
}

static const test::AlignedBytes &seedFile(unsigned which) {
  static const test::AlignedBytes files[] = {
      test::modelBytes(test::everyOpModel(fb::WeightFormat::rows_f32, fb::DType::f32)),
      test::modelBytes(test::codeNetwork()), test::modelBytes(regionModel())};
  return files[which];
}

/// Code objects run from a file only.
static Result<Artifact> openAsFile(std::span<const uint8_t> bytes) {
  int file = memfd_create("artifact", MFD_CLOEXEC);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  if (file < 0 || write(file, bytes.data(), bytes.size()) != ssize_t(bytes.size()))
    abort();
  auto opened = Artifact::open(path);
  close(file);
  return opened;
}

/// A network ready to run, which it does not.
static Status makeNetwork(const Artifact &artifact, Program program) {
  if (program.step >= 0 || artifact.isFor(kCudaFamily))
    return {};
  MLC_ASSIGN(Plan * plan, Plan::create(artifact, std::move(program), cpuTarget(), test::smallAllocator()));
  Owned<Plan> owned(plan);
  NetworkOptions options;
  options.allocator = &test::smallAllocator();
  MLC_ASSIGN(Network * network, Network::create(*plan, options));
  Owned<Network>(network)->reset();
  return {};
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  const test::AlignedBytes &good = seedFile(seed / 32 % 3);
  if (size < sizeof(ArtifactHeader) && maxSize >= good.size()) {
    memcpy(data, good.data(), good.size());
    size = good.size();
  }
  ArtifactHeader header;
  bool whole = size < sizeof header;
  if (!whole) {
    memcpy(&header, data, sizeof header);
    whole = seed % 4 == 0 || !header.metadataSize || !extentInside(kMetadataOffset, header.metadataSize, size);
  }
  // Inside the metadata its size stays, or everything behind would move.
  if (whole)
    size = LLVMFuzzerMutate(data, size, maxSize);
  else
    LLVMFuzzerMutate(data + kMetadataOffset, header.metadataSize, header.metadataSize);
  if (seed / 4 % 8)
    test::repairDigests({data, size});
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  test::AlignedBytes file(std::span<const uint8_t>(data, size));
  if (auto inMemory = Artifact::fromMemory(file.span()); !inMemory && strchr(inMemory.error().message(), '\n'))
    abort();
  auto artifact = openAsFile(file.span());
  if (!artifact) {
    if (strchr(artifact.error().message(), '\n'))
      abort();
    return 0;
  }
  InspectSink sink{[](void *, const char *, size_t) {}, nullptr};
  inspectText(*artifact, {}, sink);
  inspectJson(*artifact, {}, sink);
  inspectHtml(*artifact, {}, sink);
  // The same kernels on a device.
  TargetRegistry target = cpuTarget();
  if (artifact->isFor(kCudaFamily))
    target.family = kCudaFamily;
  auto program = verifyProgram(*artifact, target, machineIsa(), 2);
  Status made = program ? makeNetwork(*artifact, std::move(*program)) : Status(program.error());
  if (!made && strchr(made.error().message(), '\n'))
    abort();
  return 0;
}
