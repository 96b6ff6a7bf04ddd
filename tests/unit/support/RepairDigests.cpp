//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/core/Checked.h"
#include "tests/unit/support/TinyArtifact.h"

#include <cstring>

namespace mlc::test {

// The segments' digests, where the (perhaps broken) metadata leads to them.
static void repairSegments(std::span<uint8_t> file, std::span<uint8_t> metadata) {
  flatbuffers::Verifier verifier(metadata.data(), metadata.size(), 80, 1 << 20);
  if (!fb::VerifyArtifactBuffer(verifier))
    return;
  auto *segments = fb::GetArtifact(metadata.data())->segments();
  if (!segments)
    return;
  for (unsigned i = 0; i < segments->size(); ++i) {
    const fb::Segment *segment = segments->Get(i);
    auto *digests = const_cast<flatbuffers::Vector<uint64_t> *>(segment->digests());
    if (!digests || !extentInside(segment->offset(), segment->size(), file.size()) ||
        digests->size() != ceilDiv(segment->size(), kDigestChunk))
      continue;
    auto bytes = file.subspan(segment->offset(), segment->size());
    for (unsigned chunk = 0; chunk < digests->size(); ++chunk) {
      auto part = bytes.subspan(chunk * kDigestChunk);
      digests->Mutate(chunk, digest64(part.first(part.size() < kDigestChunk ? part.size() : kDigestChunk)));
    }
  }
}

void repairDigests(std::span<uint8_t> file) {
  if (file.size() < sizeof(ArtifactHeader))
    return;
  ArtifactHeader header;
  memcpy(&header, file.data(), sizeof header);
  if (extentInside(header.metadataOffset, header.metadataSize, file.size())) {
    auto metadata = file.subspan(header.metadataOffset, header.metadataSize);
    repairSegments(file, metadata);
    header.metadataDigest = digest64(metadata);
  }
  header.headerDigest = headerDigest(header);
  memcpy(file.data(), &header, sizeof header);
}

} // namespace mlc::test
