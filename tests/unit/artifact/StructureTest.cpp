//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Hostile metadata with right digests: every scalar, offset, vtable entry and vector length of a model set to 0, 1, the
// largest and random values, and neighbours swapped. Each file is refused in one line, or runs a step in bounds: the
// sanitizer builds see that.
//
#include "tests/unit/support/HostileRun.h"
#include "tests/unit/support/MetadataSites.h"

#include <gtest/gtest.h>

namespace mlc {
namespace {

using namespace mlc::test;

struct Counts {
  unsigned refused = 0, ran = 0;
};

void tryFile(const AlignedBytes &file, const std::string &what, Counts &counts) {
  Status result = loadAndStep(file.span());
  if (result) {
    ++counts.ran;
    return;
  }
  ++counts.refused;
  std::string message = result.error().message();
  EXPECT_FALSE(message.empty()) << what;
  EXPECT_EQ(message.find('\n'), std::string::npos) << what << ": " << message;
}

void tryEveryChange(const TinyModel &model, size_t leastSites, unsigned leastRefused, unsigned leastRan) {
  const AlignedBytes good = fullFile(model);
  Status sound = loadAndStep(good.span());
  ASSERT_TRUE(sound) << sound.error().message();
  const size_t size = reinterpret_cast<const ArtifactHeader *>(good.data())->metadataSize;
  MetadataSites found = findSites(good.span().subspan(kMetadataOffset, size));
  ASSERT_GT(found.sites.size(), leastSites);

  uint64_t random = 7;
  Counts counts;
  AlignedBytes file(good.span());
  for (const MetadataSite &site : found.sites) {
    uint8_t *place = file.data() + kMetadataOffset + site.position;
    uint64_t before = 0;
    memcpy(&before, place, site.width);
    random = random * 6364136223846793005 + 1442695040888963407;
    uint64_t most = site.width == 8 ? UINT64_MAX : (uint64_t(1) << site.width * 8) - 1;
    // Small random values and neighbours lead further than large ones, which the first bound refuses.
    for (uint64_t value : {uint64_t(0), uint64_t(1), most, most >> 1, random >> 7, (random >> 40) & 0xff, before + 1,
                           before - 1, before * 2, before ^ 0x40}) {
      memcpy(place, &value, site.width);
      repairDigests(file.span());
      tryFile(file, site.path + " = " + std::to_string(value), counts);
      memcpy(file.data(), good.data(), kMetadataOffset + size);
    }
  }
  for (const MetadataSwap &swap : found.swaps) {
    applySwap(file.span().subspan(kMetadataOffset, size), swap);
    repairDigests(file.span());
    tryFile(file, "swapped " + swap.path, counts);
    memcpy(file.data(), good.data(), kMetadataOffset + size);
  }
  printf("%zu places, %zu neighbours: %u refused, %u ran\n", found.sites.size(), found.swaps.size(), counts.refused,
         counts.ran);
  // Both outcomes must be common, or the mutations do not reach what they should.
  EXPECT_GT(counts.refused, leastRefused);
  EXPECT_GT(counts.ran, leastRan);
}

class Structure : public testing::TestWithParam<std::pair<fb::WeightFormat, fb::DType>> {};

TEST_P(Structure, AnyMetadataIsRefusedOrRunsInBounds) {
  tryEveryChange(everyOpModel(GetParam().first, GetParam().second), 1500, 5000, 1000);
}

TEST(NetworkStructure, AnyMetadataIsRefusedOrRunsInBounds) { tryEveryChange(everyPortNetwork(), 500, 2000, 500); }

// Fails at allocation `left`, counted down.
struct Failing {
  int left;
  static void *allocate(void *context, size_t size, size_t alignment) {
    if (static_cast<Failing *>(context)->left-- == 0)
      return nullptr;
    return systemAllocator().allocate(nullptr, size, alignment);
  }
  static void release(void *, void *memory, size_t size) { systemAllocator().release(nullptr, memory, size); }
};

TEST(LoadToStep, SurvivesEveryFailingAllocation) {
  const TinyModel models[] = {everyOpModel(fb::WeightFormat::rows_f32, fb::DType::f32), everyPortNetwork()};
  for (const TinyModel &model : models) {
    AlignedBytes file = modelBytes(model);
    int failures = 0;
    for (;; ++failures) {
      ASSERT_LT(failures, 1000);
      Failing failing{failures};
      Status result = loadAndStep(file.span(), {Failing::allocate, Failing::release, &failing});
      if (result)
        break;
      EXPECT_EQ(result.error().code(), ErrorCode::OutOfMemory) << failures << ": " << result.error().message();
    }
    EXPECT_GT(failures, 20);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Structure,
                         testing::Values(std::pair(fb::WeightFormat::rows_f32, fb::DType::f32),
                                         std::pair(fb::WeightFormat::panel_f32, fb::DType::f16),
                                         std::pair(fb::WeightFormat::panel_int4, fb::DType::i8)),
                         [](const auto &info) {
                           return std::string(fb::EnumNameWeightFormat(info.param.first)) + "_" +
                                  fb::EnumNameDType(info.param.second);
                         });

} // namespace
} // namespace mlc
