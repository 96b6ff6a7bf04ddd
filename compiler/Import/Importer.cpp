//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/Importer.h"

#include "compiler/Import/DecoderBuilder.h"
#include "compiler/Import/GGUF/Config.h"
#include "compiler/Import/HuggingFace/Config.h"
#include "compiler/Import/HuggingFace/SafeTensors.h"

#include "llvm/Support/FileSystem.h"

using namespace llvm;

namespace mlc {

Expected<ImportedModel> importCheckpoint(StringRef path, mlir::MLIRContext &context, const ImportOptions &options) {
  ImportedModel model;
  const bool directory = sys::fs::is_directory(path);
  if (directory) {
    auto config = hf::readConfig(path);
    if (!config)
      return config.takeError();
    auto checkpoint = hf::openSafeTensors(path);
    if (!checkpoint)
      return checkpoint.takeError();
    model.config = std::move(*config);
    model.checkpoint = std::move(*checkpoint);
  } else if (path.ends_with(".safetensors") || path.ends_with(".json")) {
    return createStringError("%s: is one file of a Hugging Face checkpoint; name its directory", path.str().c_str());
  } else {
    auto file = gguf::open(path);
    if (!file)
      return file.takeError();
    auto config = gguf::readConfig(file->metadata, file->checkpoint);
    if (!config)
      return config.takeError();
    model.config = std::move(*config);
    model.checkpoint = std::move(file->checkpoint);
    model.metadata = std::move(file->metadata);
  }
  if (!options.rope.empty()) {
    if (Error error = overrideRope(model.config, options.rope))
      return error;
    if (Error error = checkConfig(model.config))
      return error;
  }
  const Architecture *architecture = findArchitecture(model.config.architecture);
  DecoderBuilder builder(context, model.config, directory ? *architecture->huggingFaceNames : *architecture->ggufNames,
                         model.checkpoint);
  auto module = builder.build();
  if (!module)
    return module.takeError();
  model.module = std::move(*module);
  return model;
}

} // namespace mlc
