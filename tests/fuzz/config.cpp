//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// config.json, generation_config.json and --rope: read or refused in one line.
//
#include "compiler/Import/HuggingFace/Config.h"

#include <cstdlib>

using namespace mlc;

static void expectOneLine(llvm::Error error) {
  if (llvm::toString(std::move(error)).find('\n') != std::string::npos)
    abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef text(reinterpret_cast<const char *>(data), size);
  auto config = hf::parseConfig("config.json", text);
  if (config)
    expectOneLine(checkConfig(*config));
  else
    expectOneLine(config.takeError());
  ModelConfig other;
  expectOneLine(hf::parseGenerationConfig("generation_config.json", text, other));
  other.maxPositions = 1024;
  if (size < 256)
    expectOneLine(overrideRope(other, text));
  return 0;
}
