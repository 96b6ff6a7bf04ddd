//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The loader, the verifier of the plan and inspection over any bytes. The mutator works inside the metadata as well as
// on the whole file, and repairs the digests of most files, so that what lies behind them is reached.
//
#include "runtime/artifact/Inspect.h"
#include "runtime/artifact/Verifier.h"
#include "tests/fuzz/LargeInputs.h"
#include "tests/unit/support/HostileRun.h"

using namespace mlc;

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

static const test::AlignedBytes &seedFile() {
  static const test::AlignedBytes file =
      test::modelBytes(test::everyOpModel(fb::WeightFormat::rows_f32, fb::DType::f32));
  return file;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  const test::AlignedBytes &good = seedFile();
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
  auto artifact = Artifact::fromMemory(file.span());
  if (!artifact) {
    if (strchr(artifact.error().message(), '\n'))
      abort();
    return 0;
  }
  InspectSink sink{[](void *, const char *, size_t) {}, nullptr};
  inspectText(*artifact, {}, sink);
  inspectJson(*artifact, {}, sink);
  inspectHtml(*artifact, {}, sink);
  auto program = verifyProgram(*artifact, cpuTarget(), machineIsa(), 2);
  if (!program && strchr(program.error().message(), '\n'))
    abort();
  return 0;
}
