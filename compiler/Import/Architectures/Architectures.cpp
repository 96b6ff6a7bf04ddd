//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The list of architectures.
//
#include "compiler/Import/Architectures/Architecture.h"

#include "llvm/ADT/STLExtras.h"

namespace mlc {

llvm::ArrayRef<const Architecture *> architectures() {
  static const Architecture *const all[] = {&kLlama,
                                            &kMistral,
                                            &kQwen2,
                                            &kQwen3,
                                            &kGemma2,
                                            &kSmolLM3,
                                            &kPhi3,
                                            &kGranite,
                                            &kMixtral,
                                            &kQwen2Moe,
                                            &kQwen3Moe,
                                            &kGraniteMoe,
                                            &kGraniteMoeShared,
                                            &kOlmoe,
                                            &kGlm4Moe,
                                            &kMamba2,
                                            &kGraniteMoeHybrid,
                                            &kBamba,
                                            &kFalconH1,
                                            &kNemotronH};
  return all;
}

const Architecture *findArchitecture(llvm::StringRef name) {
  auto found = llvm::find_if(architectures(), [&](const Architecture *entry) { return name == entry->name; });
  return found == architectures().end() ? nullptr : *found;
}

const Architecture *findGgufArchitecture(llvm::StringRef name) {
  auto found = llvm::find_if(architectures(), [&](const Architecture *entry) {
    return entry->readKeys && name == (entry->ggufName ? entry->ggufName : entry->name);
  });
  return found == architectures().end() ? nullptr : *found;
}

const char *missingFeature(llvm::StringRef name) {
  for (const char *latent : {"deepseek_v2", "deepseek_v3", "deepseek2"})
    if (name == latent)
      return "multi-head latent attention is not built yet (its router and experts are)";
  return nullptr;
}

} // namespace mlc
