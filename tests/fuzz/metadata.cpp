//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Any bytes as the metadata of a file with right digests: FlatBuffer verifier, verifier of the plan, and where both
// accept it, two steps of a session or runs of a network.
//
#include "tests/fuzz/LargeInputs.h"
#include "tests/unit/support/HostileRun.h"
#include "tests/unit/support/MetadataSites.h"

#include <cstdlib>
#include <cstring>

using namespace mlc;

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

static const test::TinyModel &model() {
  static const test::TinyModel model = test::everyOpModel(fb::WeightFormat::panel_int4, fb::DType::i8);
  return model;
}
static std::span<const uint8_t> seedMetadata(bool network) {
  static const test::AlignedBytes files[] = {test::fullFile(model()), test::fullFile(test::everyPortNetwork())};
  const test::AlignedBytes &file = files[network];
  return file.span().subspan(kMetadataOffset, reinterpret_cast<const ArtifactHeader *>(file.data())->metadataSize);
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  std::span<const uint8_t> good = seedMetadata(seed / 8 % 2);
  if (size < 64 && maxSize >= good.size()) {
    memcpy(data, good.data(), good.size());
    size = good.size();
  }
  // Most places of the buffer are words: one of them gets a value of its neighbourhood, or bytes change anywhere.
  if (seed % 2 == 0 || size < 8)
    return LLVMFuzzerMutate(data, size, seed % 16 ? size : maxSize);
  size_t place = seed / 2 % (size / 4) * 4;
  uint32_t word;
  memcpy(&word, data + place, sizeof word);
  const uint32_t values[] = {0, 1, ~0u, word + 1, word - 1, word + 4, word - 4, word << 1, word ^ seed};
  word = values[seed / 64 % std::size(values)];
  memcpy(data + place, &word, sizeof word);
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  // The network's seed has no segments: whichever file's end is wrong is refused at once.
  for (bool weights : {true, false}) {
    test::AlignedBytes file = test::wrapMetadata({data, size}, weights ? std::span<const uint8_t>(model().weights)
                                                                       : std::span<const uint8_t>());
    Status result = test::loadAndStep(file.span());
    if (!result && strchr(result.error().message(), '\n'))
      abort();
  }
  return 0;
}
