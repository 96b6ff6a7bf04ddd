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
  MLC_ASSIGN(Program program, verifyProgram(*artifact, cpuTarget(), options.isa, 1, memory));
  MLC_ASSIGN(Plan * made, Plan::create(*artifact, std::move(program), cpuTarget(), memory));
  plan.reset(made);
  const fb::Model *model = metadata().model();
  if (!model || plan->program().step < 0)
    return Error(ErrorCode::Unsupported, "%s: not a language model; this version runs language models only", name());
  limits = {model->vocab_size(), model->context(), model->batch(), model->rows(), model->sequences()};
  if (!limits.vocab || !limits.context || !limits.batch || !limits.rows || !limits.sequences)
    return Error(ErrorCode::Corrupt, "%s: a bound of the model is 0", name());
  MLC_TRY(findEntry());
  MLC_TRY(checkStates());
  if (const fb::Tokenizer *tables = metadata().tokenizer()) {
    auto created = Tokenizer::create(*tables, limits.vocab);
    if (!created)
      return Error(created.error().code(), "%s: tokenizer: %s", name(), created.error().message());
    text.emplace(std::move(*created));
  }
  return {};
}

/// Whether `slot` is a `dtype` tensor of [extent], or of [extent, columns] when there are columns.
static bool isTensor(const fb::Slot &slot, fb::DType dtype, int32_t extent, uint64_t columns) {
  auto *dims = slot.dims();
  if (slot.dtype() != dtype || slot.strides() || !dims || dims->size() != (columns ? 2u : 1u))
    return false;
  return dims->Get(0)->extent() == extent && dims->Get(0)->value() == 1 &&
         (!columns || (dims->Get(1)->extent() < 0 && uint64_t(dims->Get(1)->value()) == columns));
}

Status Model::findEntry() {
  const Program &program = plan->program();
  const fb::Function &step = *metadata().functions()->Get(uint32_t(program.step));
  auto extentBound = [&](int32_t extent) { return metadata().extents()->Get(uint32_t(extent))->bound(); };
  if (program.tokensExtent < 0 || program.rowsExtent < 0 || extentBound(program.tokensExtent) != limits.batch ||
      extentBound(program.rowsExtent) != limits.rows)
    return Error(ErrorCode::Corrupt, "%s: extents tokens and rows do not have the model's bounds", name());
  auto *inputs = step.inputs(), *outputs = step.outputs();
  if (!inputs || inputs->size() != 2 || !outputs || outputs->size() != 1)
    return Error(ErrorCode::Corrupt, "%s: function step does not take ids and rows and give logits", name());
  stepEntry = {uint32_t(program.step), uint32_t(program.tokensExtent), uint32_t(program.rowsExtent), inputs->Get(0),
               inputs->Get(1),         outputs->Get(0)};
  auto slot = [&](uint32_t index) -> const fb::Slot & { return *metadata().slots()->Get(index); };
  if (!isTensor(slot(stepEntry.ids), fb::DType::i32, program.tokensExtent, 0) ||
      !isTensor(slot(stepEntry.rows), fb::DType::i32, program.rowsExtent, 0) ||
      !isTensor(slot(stepEntry.logits), fb::DType::f32, program.rowsExtent, limits.vocab) ||
      slot(stepEntry.ids).space() != fb::Space::arena || slot(stepEntry.rows).space() != fb::Space::arena)
    return Error(ErrorCode::Corrupt, "%s: function step is not ids i32[tokens], rows i32[rows] to logits f32[rows, %llu]",
                 name(), (unsigned long long)limits.vocab);
  return {};
}

Status Model::checkStates() const {
  if (auto *states = metadata().states())
    for (const fb::State *state : *states)
      if (state->kind() != fb::StateKind::kv || state->scope() != fb::StateScope::sequence || !state->kv())
        return Error(ErrorCode::Unsupported, "%s: state %s: this version runs KV states of sequences only", name(),
                     state->name()->c_str());
  return {};
}

bool Model::isEndToken(int32_t token) const {
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
