//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Files that are damaged as bytes: header, digests, segments, and FlatBuffers that are none.
//
#include "tests/unit/artifact/ChecksSupport.h"

#include <cstring>

namespace mlc::test {

static void resize(AlignedBytes &file, size_t size) {
  std::vector<uint8_t> copy(file.data(), file.data() + file.size());
  copy.resize(size);
  file = std::span<const uint8_t>(copy);
}

// Points the dims of slots at words that pass as vectors but are not aligned for their elements.
static void misalignVector(AlignedBytes &file) {
  uint8_t *base = file.data() + kMetadataOffset;
  size_t size = headerOf(file)->metadataSize;
  for (const fb::Slot *slot : *metadataOf(file)->slots()) {
    auto *table = reinterpret_cast<flatbuffers::Table *>(const_cast<fb::Slot *>(slot));
    uint8_t *field = const_cast<uint8_t *>(table->GetAddressOf(fb::Slot::VT_DIMS));
    uint32_t before;
    memcpy(&before, field, sizeof before);
    for (uint32_t target = uint32_t(field - base) + 4; target + 64 < size; target += 4) {
      uint32_t count;
      memcpy(&count, base + target, sizeof count);
      if (target % 8 || count != 1)
        continue;
      uint32_t offset = target - uint32_t(field - base);
      memcpy(field, &offset, sizeof offset);
      return;
    }
    memcpy(field, &before, sizeof before);
  }
}

static const fb::Segment *firstSegment(AlignedBytes &file) { return metadataOf(file)->segments()->Get(0); }

std::vector<Case> fileCases() {
  std::vector<Case> cases;
  auto bytes = [&](Check check, std::function<void(AlignedBytes &)> change, bool repair = true) {
    cases.push_back({check, nullptr, std::move(change), repair, {}});
  };
  bytes(Check::FileSize, [](auto &file) { resize(file, 63); });
  bytes(Check::Magic, [](auto &file) { file[0] ^= 1; });
  bytes(Check::HeaderDigest, [](auto &file) { file[16] ^= 1; }, false);
  bytes(Check::Version, [](auto &file) { headerOf(file)->version = kArtifactVersion + 1; });
  bytes(Check::Reserved, [](auto &file) { headerOf(file)->reserved[1] = 1; });
  bytes(Check::DeclaredSize, [](auto &file) { resize(file, file.size() + 1); });
  bytes(Check::DeclaredSize, [](auto &file) { resize(file, file.size() - 1); });
  bytes(Check::MetadataExtent, [](auto &file) { headerOf(file)->metadataSize = file.size(); });
  bytes(Check::MetadataExtent, [](auto &file) { headerOf(file)->metadataOffset = 128; });
  bytes(Check::MetadataDigest, [](auto &file) { file[kMetadataOffset + 40] ^= 1; }, false);
  bytes(Check::MetadataStructure, [](auto &file) { memset(file.data() + kMetadataOffset, 0, 4); });
  bytes(Check::VectorAlignment, misalignVector);
  bytes(Check::SegmentSize, [](auto &file) { setField<uint64_t>(firstSegment(file), fb::Segment::VT_SIZE, 0); });
  bytes(Check::SegmentOffset, [](auto &file) {
    setField<uint64_t>(firstSegment(file), fb::Segment::VT_OFFSET, firstSegment(file)->offset() + 64);
  });
  bytes(Check::SegmentEnd,
        [](auto &file) { setField<uint64_t>(firstSegment(file), fb::Segment::VT_SIZE, uint64_t(-1)); });
  bytes(Check::FileEnd, [](auto &file) {
    resize(file, file.size() + 1);
    headerOf(file)->fileSize = file.size();
  });
  bytes(Check::Padding, [](auto &file) { file[firstSegment(file)->offset() - 1] = 1; });
  bytes(Check::DigestCount, [](auto &file) {
    const_cast<uint8_t *>(reinterpret_cast<const uint8_t *>(firstSegment(file)->digests()))[0] = 0;
  });
  bytes(Check::SegmentDigest, [](auto &file) { file[file.size() - 1] ^= 1; }, false);
  cases.push_back({Check::RequiredFeature, [](auto &m) { m.metadata.required_features = {"quantum"}; }, nullptr});
  cases.push_back({Check::SegmentKind, [](auto &m) { m.metadata.segments[0]->kind = fb::SegmentKind(9); }, nullptr});
  LoadOptions noCode;
  noCode.allowCode = false;
  cases.push_back({Check::CodeAllowed, addCode, nullptr, true, noCode});
  return cases;
}

} // namespace mlc::test
