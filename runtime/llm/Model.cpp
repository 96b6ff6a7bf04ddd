//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/Model.h"

namespace mlc {

Result<Model *> Model::open(const char *path, const ModelOptions &options) { return make(path, {}, options); }

Result<Model *> Model::fromMemory(std::span<const uint8_t> bytes, const ModelOptions &options) {
  return make(nullptr, bytes, options);
}

Result<Model *> Model::make(const char *path, std::span<const uint8_t> bytes, const ModelOptions &options) {
  const Allocator &allocator = options.allocator ? *options.allocator : systemAllocator();
  void *memory = allocator.allocate(allocator.context, sizeof(Model), alignof(Model));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "%s: no memory to open it", path ? path : "artifact");
  Owned<Model> model(new (memory) Model);
  model->memory = allocator;
  LoadOptions load;
  load.verifyDigests = options.verifyDigests;
  load.deferWeights = options.openDevice;
  load.allowCode = options.allowCode;
  Owned<WorkerPool> pool;
  if (options.threads > 1) {
    MLC_ASSIGN(WorkerPool * created, WorkerPool::create(options.threads, allocator));
    pool.reset(created);
    load.pool = created;
  }
  auto opened = path ? Artifact::open(path, load, allocator) : Artifact::fromMemory(bytes, load, allocator);
  if (!opened)
    return opened.error();
  model->artifact.emplace(std::move(*opened));
  MLC_TRY(model->load(options));
  return model.release();
}

void Model::destroy(Model *model) {
  Allocator allocator = model->memory;
  model->~Model();
  allocator.release(allocator.context, model, sizeof(Model));
}

Status Model::load(const ModelOptions &options) {
  auto target = findTarget(artifact->metadata());
  if (!target)
    return Error(target.error().code(), "%s: %s", name(), target.error().message());
  MLC_ASSIGN(Program program, verifyProgram(*artifact, **target, options.isa, 1, memory));
  MLC_ASSIGN(Plan * made, Plan::create(*artifact, std::move(program), **target, memory));
  plan.reset(made);
  for (const KernelDef *kernel : plan->program().kernels)
    if (kernel->available && options.openDevice)
      if (Status loaded = kernel->available(); !loaded)
        return Error(loaded.error().code(), "%s: %s", name(), loaded.error().message());
  if ((*target)->open && options.openDevice)
    MLC_TRY(openDevices(options));
  const fb::Model *model = metadata().model();
  const Program &verified = plan->program();
  if (!model || verified.step < 0) {
    if (options.networks)
      return {};
    return Error(ErrorCode::Unsupported, "%s: is a network; a language model is wanted here", name());
  }
  // The verifier has checked these bounds, the states and the step's signature.
  limits = {model->vocab_size(), model->context(), model->batch(), model->rows(), model->sequences()};
  const fb::Function &step = *metadata().functions()->Get(uint32_t(verified.step));
  stepEntry = {uint32_t(verified.step), uint32_t(verified.tokensExtent), uint32_t(verified.rowsExtent),
               step.inputs()->Get(0),   step.inputs()->Get(1),           step.outputs()->Get(0)};
  if (const fb::Tokenizer *tables = metadata().tokenizer()) {
    auto created = Tokenizer::create(*tables, limits.vocab);
    if (!created)
      return Error(created.error().code(), "%s: tokenizer: %s", name(), created.error().message());
    text.emplace(std::move(*created));
  }
  return {};
}

Status Model::openDevices(const ModelOptions &options) {
  if (!options.gpus.empty() && options.gpus.size() < ranks())
    return Error(ErrorCode::InvalidArgument, "%s: is compiled for %u GPUs; name as many, not %zu", name(), ranks(),
                 options.gpus.size());
  for (unsigned rank = 0; rank < ranks(); ++rank) {
    DeviceOptions wanted;
    wanted.ordinal = options.gpus.empty() ? rank : options.gpus[rank];
    wanted.rank = rank;
    wanted.compareDigests = options.verifyDigests;
    for (unsigned before = 0; before < rank && !options.gpus.empty(); ++before)
      if (options.gpus[before] == wanted.ordinal)
        return Error(ErrorCode::InvalidArgument, "%s: is compiled for %u GPUs; GPU %u is named twice", name(), ranks(),
                     wanted.ordinal);
    auto opened = target().open(*artifact, wanted, memory);
    // A digest's error names the file itself.
    if (!opened && opened.error().code() == ErrorCode::Corrupt)
      return opened.error();
    if (!opened)
      return Error(opened.error().code(), "%s: %s", name(), opened.error().message());
    joined[rank] = *opened;
    openedDevices[rank].reset(*opened);
  }
  if (ranks() > 1)
    if (Status together = target().join({joined, ranks()}); !together)
      return Error(together.error().code(), "%s: %s", name(), together.error().message());
  return {};
}

bool Model::isEndToken(int32_t token) const {
  if (isNetwork())
    return false;
  auto *ends = metadata().model()->end_tokens();
  if (ends && ends->size()) {
    for (uint32_t end : *ends)
      if (end == uint32_t(token))
        return true;
    return false;
  }
  if (text)
    for (uint32_t end : text->endTokens())
      if (end == uint32_t(token))
        return true;
  return false;
}

} // namespace mlc
