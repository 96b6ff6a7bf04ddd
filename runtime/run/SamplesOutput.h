//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// `mlc run --samples N`: N continuations of one prompt, each by a seed of its own.
//
#pragma once

#include "runtime/run/Generation.h"

namespace mlc::cli {

/// Generates and prints them: together, or one after the other with a draft.
Status runSamples(Session &session, DraftSession &draft, std::span<const int32_t> prompt, uint64_t count,
                  const GenerationArguments &arguments, double loadMs);

} // namespace mlc::cli
