//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the structure test and the metadata fuzzer share: a model with every kind of op, and a run of whatever a file
// holds within the memory of a small device.
//
#pragma once

#include "tests/unit/support/TinyArtifact.h"

namespace mlc::test {

/// The smallest tiny model (one layer), with a call, a branch, a bounded loop, strided views and a tap added.
TinyModel everyOpModel(fb::WeightFormat format, fb::DType kv);

/// Loads the file, makes a session and runs two steps; an allocation above 64 MiB fails.
Status loadAndStep(std::span<const uint8_t> file);

} // namespace mlc::test
