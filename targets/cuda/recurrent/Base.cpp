//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/recurrent/Base.h"

#include <cstring>

namespace mlc::cuda {

size_t recurrentBaseBytes(const fb::State &state) { return size_t(recurrentCanonicalBytes(state)); }

void recurrentToCanonical(const fb::State &state, const uint8_t *base, uint8_t *canonical) {
  memcpy(canonical, base, recurrentBaseBytes(state));
}

void recurrentFromCanonical(const fb::State &state, uint8_t *base, const uint8_t *canonical) {
  memcpy(base, canonical, recurrentBaseBytes(state));
}

} // namespace mlc::cuda
