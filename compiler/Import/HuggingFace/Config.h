//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// config.json and generation_config.json of transformers 4 and 5 to a ModelConfig.
//
#pragma once

#include "compiler/Import/ModelConfig.h"

namespace mlc::hf {

/// Reads the text of a config.json. Defaults of absent fields are those of transformers' configuration classes. Refused
/// by name: an unknown model_type, a field that is not known, a known one with a value that is not supported, and
/// quantization_config.
llvm::Expected<ModelConfig> parseConfig(llvm::StringRef file, llvm::StringRef text);

/// Reads the text of a generation_config.json into `config`: end tokens (which replace config.json's), sampling
/// defaults.
llvm::Error parseGenerationConfig(llvm::StringRef file, llvm::StringRef text, ModelConfig &config);

/// Both files of a directory (the second may be absent), checked by checkConfig.
llvm::Expected<ModelConfig> readConfig(llvm::StringRef directory);

} // namespace mlc::hf
