//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/capi/Handles.h"
#include "runtime/core/Cpus.h"
#include "runtime/llm/Generate.h"

using namespace mlc;
using namespace mlc::capi;

struct mlc_sampler {
  Sampler sampler;
};

static thread_local char lastError[512];

mlc_status mlc::capi::report(ErrorCode code, const char *message) {
  snprintf(lastError, sizeof lastError, "%s", message);
  return mlc_status(code);
}

mlc_status mlc::capi::badSize(const char *what) {
  char text[160];
  snprintf(text, sizeof text, "%s: its size field is not of this version; call the _init function first", what);
  return report(ErrorCode::InvalidArgument, text);
}

extern "C" {

uint32_t mlc_api_version(void) { return MLC_API_VERSION; }
const char *mlc_version(void) { return MLC_VERSION; }
const char *mlc_error_text(void) { return lastError; }

void mlc_model_options_init(mlc_model_options *options) {
  *options = {sizeof *options, /*allow_code=*/1, /*verify_digests=*/1, /*threads=*/1};
}

mlc_status mlc_model_open(const char *path, const mlc_model_options *given, mlc_model **model) {
  if (!path || !model)
    return nullArgument();
  mlc_model_options wanted;
  mlc_model_options_init(&wanted);
  if (!readStruct(given, wanted))
    return badSize("mlc_model_options");
  ModelOptions options;
  options.allowCode = wanted.allow_code;
  options.verifyDigests = wanted.verify_digests;
  options.threads = wanted.threads ? wanted.threads : 1;
  options.networks = true;
  auto opened = Model::open(path, options);
  if (!opened)
    return report(opened.error());
  *model = reinterpret_cast<mlc_model *>(*opened);
  return MLC_OK;
}

void mlc_model_destroy(mlc_model *model) {
  if (model)
    Model::destroy(reinterpret_cast<Model *>(model));
}

mlc_status mlc_model_get_info(const mlc_model *model, mlc_model_info *info) {
  if (!model || !info)
    return nullArgument();
  const ModelBounds &bounds = modelOf(model).bounds();
  *info = {bounds.vocab,           bounds.context,
           bounds.batch,           bounds.rows,
           bounds.sequences,       modelOf(model).tokenizer() != nullptr,
           modelOf(model).digest()};
  return MLC_OK;
}

int mlc_model_is_end_token(const mlc_model *model, int32_t token) { return model && modelOf(model).isEndToken(token); }

mlc_status mlc_pool_create(uint32_t threads, mlc_pool **pool) {
  if (!pool)
    return nullArgument();
  auto created = WorkerPool::create(threads ? threads : usableCores());
  if (!created)
    return report(created.error());
  *pool = reinterpret_cast<mlc_pool *>(*created);
  return MLC_OK;
}

void mlc_pool_destroy(mlc_pool *pool) { WorkerPool::destroy(reinterpret_cast<WorkerPool *>(pool)); }

uint32_t mlc_pool_threads(const mlc_pool *pool) {
  return pool ? reinterpret_cast<const WorkerPool *>(pool)->size() : 0;
}

void mlc_session_options_init_size(mlc_session_options *options, size_t size) {
  mlc_session_options defaults = {};
  size = size < sizeof defaults ? size : sizeof defaults;
  defaults.size = uint32_t(size);
  defaults.snapshots = 8;
  defaults.imports = 1;
  defaults.threads = 1;
  memcpy(static_cast<void *>(options), &defaults, size);
}

void(mlc_session_options_init)(mlc_session_options *options) {
  mlc_session_options_init_size(options, offsetof(mlc_session_options, pool));
}

mlc_status mlc_session_create(const mlc_model *model, const mlc_session_options *given, mlc_session **session) {
  if (!model || !session)
    return nullArgument();
  mlc_session_options wanted;
  mlc_session_options_init(&wanted);
  if (!readStruct(given, wanted))
    return badSize("mlc_session_options");
  SessionOptions options;
  options.context = wanted.context;
  options.sequences = wanted.sequences;
  options.batch = wanted.batch;
  options.kvMemory = wanted.kv_memory;
  options.snapshots = wanted.snapshots;
  options.imports = wanted.imports;
  options.threads = wanted.threads;
  options.pool = reinterpret_cast<WorkerPool *>(wanted.pool);
  if (wanted.session_class != MLC_BATCH && wanted.session_class != MLC_REALTIME)
    return report(ErrorCode::InvalidArgument, "session_class: neither MLC_BATCH nor MLC_REALTIME");
  options.sessionClass = SessionClass(wanted.session_class);
  options.maxMemory = wanted.max_memory;
  auto created = Session::create(modelOf(model), options);
  if (!created)
    return report(created.error());
  void *memory = malloc(sizeof(mlc_session));
  if (!memory) {
    Session::destroy(*created);
    return report(ErrorCode::OutOfMemory, "no memory for a session");
  }
  *session = new (memory) mlc_session{*created, {}};
  return MLC_OK;
}

void mlc_session_destroy(mlc_session *session) {
  if (!session)
    return;
  Session::destroy(session->session);
  free(session);
}

mlc_status mlc_sequence_create(mlc_session *session, uint64_t prompt_length, mlc_sequence *sequence) {
  if (!session || !sequence)
    return nullArgument();
  auto created = sessionOf(session).createSequence(int64_t(prompt_length > INT64_MAX ? INT64_MAX : prompt_length));
  if (!created)
    return report(created.error());
  *sequence = uint32_t(*created);
  return MLC_OK;
}

mlc_status mlc_sequence_destroy(mlc_session *session, mlc_sequence sequence) {
  return session ? report(sessionOf(session).destroySequence(SequenceId(sequence))) : nullArgument();
}

mlc_status mlc_sequence_fork(mlc_session *session, mlc_sequence sequence, mlc_sequence *forked) {
  if (!session || !forked)
    return nullArgument();
  auto created = sessionOf(session).fork(SequenceId(sequence));
  if (!created)
    return report(created.error());
  *forked = uint32_t(*created);
  return MLC_OK;
}

/// Hands a non-negative position to the caller.
static mlc_status give(const Result<int64_t> &position, uint64_t *out) {
  if (!position)
    return report(position.error());
  *out = uint64_t(*position);
  return MLC_OK;
}

mlc_status mlc_sequence_length(const mlc_session *session, mlc_sequence sequence, uint64_t *length) {
  return session && length ? give(sessionOf(session).length(SequenceId(sequence)), length) : nullArgument();
}

mlc_status mlc_sequence_rollback(mlc_session *session, mlc_sequence sequence, uint64_t position) {
  if (!session)
    return nullArgument();
  int64_t wanted = position > INT64_MAX ? INT64_MAX : int64_t(position);
  return report(sessionOf(session).rollback(SequenceId(sequence), wanted));
}

mlc_status mlc_sequence_rollback_limit(const mlc_session *session, mlc_sequence sequence, uint64_t *position) {
  return session && position ? give(sessionOf(session).rollbackLimit(SequenceId(sequence)), position) : nullArgument();
}

mlc_status mlc_sequence_reachable(const mlc_session *session, mlc_sequence sequence, uint64_t wanted,
                                  uint64_t *position) {
  if (!session || !position)
    return nullArgument();
  auto found = sessionOf(session).reachable(SequenceId(sequence), wanted > INT64_MAX ? INT64_MAX : int64_t(wanted));
  if (found && *found < 0)
    return report(Error(ErrorCode::NotFound, "the states of the sequence reach back to no position up to %llu",
                        (unsigned long long)wanted));
  return give(found, position);
}

mlc_status mlc_sequence_snapshot(mlc_session *session, mlc_sequence sequence, mlc_snapshot *snapshot) {
  if (!session || !snapshot)
    return nullArgument();
  auto created = sessionOf(session).snapshot(SequenceId(sequence));
  if (!created)
    return report(created.error());
  *snapshot = uint32_t(*created);
  return MLC_OK;
}

mlc_status mlc_sequence_restore(mlc_session *session, mlc_sequence sequence, mlc_snapshot snapshot) {
  return session ? report(sessionOf(session).restore(SequenceId(sequence), SnapshotId(snapshot))) : nullArgument();
}

mlc_status mlc_snapshot_destroy(mlc_session *session, mlc_snapshot snapshot) {
  return session ? report(sessionOf(session).releaseSnapshot(SnapshotId(snapshot))) : nullArgument();
}

mlc_status mlc_sequence_export(mlc_session *session, mlc_sequence sequence, mlc_chunk_sink sink, void *user) {
  if (!session || !sink)
    return nullArgument();
  struct Adapter {
    mlc_chunk_sink sink;
    void *user;
  } adapter{sink, user};
  ExportSink target{[](void *context, std::span<const uint8_t> chunk) -> Status {
                      Adapter &adapter = *static_cast<Adapter *>(context);
                      mlc_status status = adapter.sink(adapter.user, chunk.data(), chunk.size());
                      return status ? Status(Error(ErrorCode(status), "the sink refused a chunk")) : Status();
                    },
                    &adapter};
  return report(sessionOf(session).exportSequence(SequenceId(sequence), target));
}

mlc_status mlc_sequence_begin_import(mlc_session *session, mlc_sequence *sequence) {
  if (!session || !sequence)
    return nullArgument();
  auto created = sessionOf(session).beginImport();
  if (!created)
    return report(created.error());
  *sequence = uint32_t(*created);
  return MLC_OK;
}

mlc_status mlc_sequence_import(mlc_session *session, mlc_sequence sequence, const uint8_t *chunk, size_t size,
                               int *complete) {
  if (!session || !chunk || !complete)
    return nullArgument();
  auto taken = sessionOf(session).importChunk(SequenceId(sequence), {chunk, size});
  if (!taken)
    return report(taken.error());
  *complete = *taken;
  return MLC_OK;
}

mlc_status mlc_session_step(mlc_session *session, const mlc_segment *segments, size_t segment_count,
                            const int32_t *rows, size_t row_count) {
  if (!session || (!segments && segment_count) || (!rows && row_count))
    return nullArgument();
  session->logits = {};
  if (segment_count > sessionOf(session).sequences())
    return report(Error(ErrorCode::OutOfRange, "a step of %zu segments is more than the %llu sequences", segment_count,
                        (unsigned long long)sessionOf(session).sequences()));
  auto list = OwnedArray<StepSegment>::create(systemAllocator(), segment_count, "segments");
  if (!list)
    return report(list.error());
  for (size_t i = 0; i < segment_count; ++i) {
    if (!segments[i].tokens && segments[i].count)
      return nullArgument();
    (*list)[i] = {SequenceId(segments[i].sequence), {segments[i].tokens, segments[i].count}};
  }
  auto stepped = sessionOf(session).step(list->span(), {rows, row_count});
  if (!stepped)
    return report(stepped.error());
  session->logits = *stepped;
  return MLC_OK;
}

const float *mlc_session_logits(const mlc_session *session, size_t row) {
  return session && row < session->logits.rows ? session->logits.row(row).data() : nullptr;
}

void mlc_session_cancel(mlc_session *session) {
  if (session)
    sessionOf(session).requestCancel();
}

void mlc_session_clear_cancel(mlc_session *session) {
  if (session)
    sessionOf(session).clearCancel();
}

void mlc_sampling_init(mlc_sampling *sampling) {
  *sampling = {};
  sampling->size = sizeof *sampling;
  sampling->top_p = 1;
  sampling->repetition_penalty = 1;
}

/// The sampling of a caller's struct, or false.
static bool readSampling(const mlc_sampling *given, SamplingOptions &options) {
  mlc_sampling wanted;
  mlc_sampling_init(&wanted);
  if (!readStruct(given, wanted))
    return false;
  options.temperature = wanted.temperature;
  options.topK = wanted.top_k;
  options.topP = wanted.top_p;
  options.minP = wanted.min_p;
  options.repetitionPenalty = wanted.repetition_penalty;
  options.presencePenalty = wanted.presence_penalty;
  options.frequencyPenalty = wanted.frequency_penalty;
  options.seed = wanted.seed;
  return true;
}

mlc_status mlc_sampler_create(const mlc_model *model, const mlc_sampling *sampling, mlc_sampler **sampler) {
  if (!model || !sampler)
    return nullArgument();
  SamplingOptions options;
  if (!readSampling(sampling, options))
    return badSize("mlc_sampling");
  if (modelOf(model).isNetwork())
    return report(ErrorCode::InvalidArgument, "samplers are of language models, this is a network");
  auto created = Sampler::create(size_t(modelOf(model).bounds().vocab), options);
  if (!created)
    return report(created.error());
  void *memory = malloc(sizeof(mlc_sampler));
  if (!memory)
    return report(ErrorCode::OutOfMemory, "no memory for a sampler");
  *sampler = new (memory) mlc_sampler{std::move(*created)};
  return MLC_OK;
}

void mlc_sampler_destroy(mlc_sampler *sampler) {
  if (!sampler)
    return;
  sampler->~mlc_sampler();
  free(sampler);
}

mlc_status mlc_sampler_accept_prompt(mlc_sampler *sampler, const int32_t *tokens, size_t count) {
  if (!sampler || (!tokens && count))
    return nullArgument();
  sampler->sampler.acceptPrompt({tokens, count});
  return MLC_OK;
}

mlc_status mlc_sampler_sample(mlc_sampler *sampler, const float *logits, int32_t *token) {
  if (!sampler || !logits || !token)
    return nullArgument();
  auto drawn = sampler->sampler.sample({logits, sampler->sampler.vocab()});
  if (!drawn)
    return report(drawn.error());
  *token = *drawn;
  sampler->sampler.accept(*drawn);
  return MLC_OK;
}

void mlc_generation_init(mlc_generation *generation) {
  *generation = {};
  generation->size = sizeof *generation;
  mlc_sampling_init(&generation->sampling);
}

mlc_status mlc_generate(mlc_session *session, mlc_sequence sequence, const int32_t *prompt, size_t count,
                        const mlc_generation *given, mlc_generation_result *result) {
  if (!session || (!prompt && count))
    return nullArgument();
  mlc_generation wanted;
  GenerateOptions options;
  if (mlc_status status = readGeneration(given, wanted, options))
    return status;
  session->logits = {};
  return report(generate(sessionOf(session), SequenceId(sequence), {prompt, count}, options), result);
}

} // extern "C"

mlc_status mlc::capi::readGeneration(const mlc_generation *given, mlc_generation &wanted, GenerateOptions &options) {
  mlc_generation_init(&wanted);
  if (!readStruct(given, wanted))
    return badSize("mlc_generation");
  if (!readSampling(&wanted.sampling, options.sampling))
    return badSize("mlc_sampling");
  options.maxTokens = wanted.max_tokens;
  options.ignoreEnd = wanted.ignore_end;
  options.context = &wanted;
  if (wanted.on_token)
    options.onToken = [](void *context, int32_t token) {
      mlc_generation &wanted = *static_cast<mlc_generation *>(context);
      return wanted.on_token(wanted.user, token) != 0;
    };
  return MLC_OK;
}

mlc_status mlc::capi::report(const Result<GenerateResult> &generated, mlc_generation_result *result) {
  if (!generated)
    return report(generated.error());
  if (result)
    *result = {mlc_finish_reason(generated->finish),
               generated->promptTokens,
               generated->tokens,
               generated->promptMs,
               generated->firstTokenMs,
               generated->generateMs};
  return MLC_OK;
}
