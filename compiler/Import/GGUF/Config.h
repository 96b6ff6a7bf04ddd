//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// GGUF metadata to a ModelConfig (keys: ggml's docs/gguf.md).
//
#pragma once

#include "compiler/Import/GGUF/Reader.h"
#include "compiler/Import/ModelConfig.h"

namespace mlc::gguf {

/// Architectures that have readKeys; the result is checked by checkConfig. Tensors answer what the metadata leaves
/// open: biases, the tied head, the vocabulary, rope_freqs. A key of the architecture that is not known is refused by
/// name.
llvm::Expected<ModelConfig> readConfig(const Metadata &metadata, const Checkpoint &checkpoint);

} // namespace mlc::gguf
