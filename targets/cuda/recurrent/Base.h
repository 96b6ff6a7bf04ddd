//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The base of a recurrent state lies on the device as in canonical form: conv [kernel - 1][channels] f32, ssm
// [heads][head_dim][state].
//
#pragma once

#include "runtime/exec/Kernel.h"

namespace mlc::cuda {

/// Values of a state for each column of a head, at most.
constexpr uint32_t kMostSsdState = 256;

size_t recurrentBaseBytes(const fb::State &state);
void recurrentToCanonical(const fb::State &state, const uint8_t *base, uint8_t *canonical);
void recurrentFromCanonical(const fb::State &state, uint8_t *base, const uint8_t *canonical);

} // namespace mlc::cuda
