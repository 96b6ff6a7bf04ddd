//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the structure test and the metadata fuzzer share: a model with every kind of op, and a run of whatever a file
// holds within the memory of a small device.
//
#pragma once

#include "runtime/core/Memory.h"
#include "tests/unit/support/TinyArtifact.h"

namespace mlc::test {

/// The smallest tiny model (one layer), with a call, a branch, a bounded loop, strided views and a tap added.
TinyModel everyOpModel(fb::WeightFormat format, fb::DType kv);

/// At most 64 MiB at once: hostile bounds must not take the machine's memory.
const Allocator &smallAllocator();

/// A network with a branch and a bounded loop, strided views, an extent and a carried state.
TinyModel everyPortNetwork();

/// The same with a code object, which is no code: nobody may run it.
TinyModel codeNetwork();

/// Loads the file, makes a session and runs two steps, or runs the network twice, all out of `allocator`.
Status loadAndStep(std::span<const uint8_t> file, const Allocator &allocator = smallAllocator());

} // namespace mlc::test
