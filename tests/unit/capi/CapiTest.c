/*===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// mlc.h from C: compiled as C11, linked with libmlc.so alone. Takes the path of a tiny artifact.
*/
#include "tests/unit/capi/Check.h"

#include <string.h>

typedef struct collected {
  int32_t tokens[64];
  size_t count, stop_after;
} collected;

static int collect(void *user, int32_t token) {
  collected *into = user;
  into->tokens[into->count++] = token;
  return into->count < into->stop_after;
}

/* Imports every chunk into another session as it comes. */
typedef struct transfer {
  mlc_session *session;
  mlc_sequence sequence;
  int complete;
} transfer;

static mlc_status forward(void *user, const uint8_t *chunk, size_t size) {
  transfer *to = user;
  return mlc_sequence_import(to->session, to->sequence, chunk, size, &to->complete);
}

static mlc_status refuse(void *user, const uint8_t *chunk, size_t size) {
  (void)user, (void)chunk, (void)size;
  return MLC_IO;
}

static void test_errors(const char *path) {
  mlc_model *model = NULL;
  mlc_model_options options;
  CHECK(mlc_model_open("/nowhere.mlca", NULL, &model) == MLC_NOT_FOUND ||
        mlc_model_open("/nowhere.mlca", NULL, &model) == MLC_IO);
  CHECK(strstr(mlc_error_text(), "/nowhere.mlca") == mlc_error_text());
  CHECK(mlc_model_open(NULL, NULL, &model) == MLC_INVALID_ARGUMENT);
  options.size = 1u << 20;
  CHECK(mlc_model_open(path, &options, &model) == MLC_INVALID_ARGUMENT);
  CHECK(model == NULL);
}

static void test_sequences(mlc_session *session, mlc_session *other, const mlc_model_info *info) {
  const int32_t prompt[] = {5, 9, 1, 33};
  const int32_t rows[] = {3};
  mlc_sequence sequence, forked;
  mlc_snapshot snapshot;
  uint64_t length = 0;
  float *first = malloc(info->vocab * sizeof(float));
  CHECK(mlc_sequence_create(session, 0, &sequence) == MLC_OK);
  mlc_segment segment = {sequence, prompt, 4};
  CHECK(mlc_session_step(session, &segment, 1, rows, 1) == MLC_OK);
  CHECK(mlc_session_logits(session, 1) == NULL);
  memcpy(first, mlc_session_logits(session, 0), info->vocab * sizeof(float));
  CHECK(mlc_sequence_length(session, sequence, &length) == MLC_OK && length == 4);
  CHECK(mlc_sequence_snapshot(session, sequence, &snapshot) == MLC_OK);
  CHECK(mlc_sequence_fork(session, sequence, &forked) == MLC_OK && forked != sequence);
  CHECK(mlc_sequence_rollback_limit(session, sequence, &length) == MLC_OK && length == 0);
  CHECK(mlc_sequence_reachable(session, sequence, 0, &length) == MLC_OK && length == 0);
  CHECK(mlc_sequence_reachable(session, sequence, 0, NULL) == MLC_INVALID_ARGUMENT);
  CHECK(mlc_sequence_rollback(session, sequence, 5) == MLC_OUT_OF_RANGE);
  CHECK(mlc_sequence_rollback(session, sequence, 0) == MLC_OK);
  CHECK(mlc_session_step(session, &segment, 1, rows, 1) == MLC_OK);
  CHECK(!memcmp(first, mlc_session_logits(session, 0), info->vocab * sizeof(float)));
  CHECK(mlc_sequence_restore(session, sequence, snapshot) == MLC_OK);
  CHECK(mlc_snapshot_destroy(session, snapshot) == MLC_OK);
  CHECK(mlc_snapshot_destroy(session, snapshot) == MLC_NOT_FOUND);

  transfer to = {other, 0, 0};
  CHECK(mlc_sequence_begin_import(other, &to.sequence) == MLC_OK);
  CHECK(mlc_sequence_export(session, forked, forward, &to) == MLC_OK && to.complete);
  CHECK(mlc_sequence_length(other, to.sequence, &length) == MLC_OK && length == 4);
  CHECK(mlc_sequence_destroy(other, to.sequence) == MLC_OK);
  CHECK(mlc_sequence_export(session, forked, refuse, NULL) == MLC_IO);
  CHECK(mlc_sequence_destroy(session, forked) == MLC_OK);
  CHECK(mlc_sequence_destroy(session, forked) == MLC_NOT_FOUND);

  mlc_session_cancel(session);
  CHECK(mlc_session_step(session, &segment, 1, rows, 1) == MLC_CANCELLED);
  mlc_session_clear_cancel(session);
  segment.count = 100000;
  CHECK(mlc_session_step(session, &segment, 1, rows, 1) == MLC_OUT_OF_RANGE);
  CHECK(mlc_sequence_destroy(session, sequence) == MLC_OK);
  free(first);
}

static void test_generation(const mlc_model *model, mlc_session *session, const mlc_model_info *info) {
  const int32_t prompt[] = {5, 9, 1, 33};
  const int32_t rows[] = {3};
  collected into = {{0}, 0, 64};
  mlc_generation generation;
  mlc_generation_result result;
  mlc_sequence sequence;
  mlc_generation_init(&generation);
  generation.max_tokens = 10;
  generation.ignore_end = 1;
  generation.on_token = collect;
  generation.user = &into;
  CHECK(mlc_sequence_create(session, 0, &sequence) == MLC_OK);
  CHECK(mlc_generate(session, sequence, prompt, 4, &generation, &result) == MLC_OK);
  CHECK(result.finish_reason == MLC_FINISH_LENGTH && result.tokens == 10 && into.count == 10);

  /* The same by hand. */
  mlc_sampler *sampler;
  CHECK(mlc_sampler_create(model, NULL, &sampler) == MLC_OK);
  CHECK(mlc_sampler_accept_prompt(sampler, prompt, 4) == MLC_OK);
  CHECK(mlc_sequence_rollback(session, sequence, 0) == MLC_OK);
  mlc_segment segment = {sequence, prompt, 4};
  CHECK(mlc_session_step(session, &segment, 1, rows, 1) == MLC_OK);
  for (size_t i = 0; i < 10; ++i) {
    const int32_t last = 0;
    int32_t token;
    CHECK(mlc_sampler_sample(sampler, mlc_session_logits(session, 0), &token) == MLC_OK);
    CHECK(token == into.tokens[i]);
    mlc_segment next = {sequence, &token, 1};
    CHECK(mlc_session_step(session, &next, 1, &last, 1) == MLC_OK);
  }
  mlc_sampler_destroy(sampler);
  into.count = 0;
  into.stop_after = 3;
  CHECK(mlc_sequence_rollback(session, sequence, 0) == MLC_OK);
  CHECK(mlc_generate(session, sequence, prompt, 4, &generation, &result) == MLC_OK);
  CHECK(result.finish_reason == MLC_FINISH_CANCELLED && into.count == 3);
  generation.sampling.temperature = -1;
  CHECK(mlc_generate(session, sequence, prompt, 4, &generation, &result) == MLC_INVALID_ARGUMENT);
  CHECK(mlc_sequence_destroy(session, sequence) == MLC_OK);
  (void)info;
}

/* The text of a draft is the text without one. */
static void test_speculation(mlc_session *session, const mlc_model *model) {
  const int32_t prompt[] = {5, 9, 1, 33};
  collected plain = {{0}, 0, 100}, drafted = {{0}, 0, 100};
  mlc_sequence sequence;
  mlc_generation generation;
  mlc_generation_result result;
  mlc_session *draft;
  mlc_speculation_options options;
  mlc_speculation_stats stats = {0};
  mlc_speculator *speculator;
  mlc_generation_init(&generation);
  generation.max_tokens = 30;
  generation.ignore_end = 1;
  generation.on_token = collect;
  generation.user = &plain;
  CHECK(mlc_sequence_create(session, 0, &sequence) == MLC_OK);
  CHECK(mlc_generate(session, sequence, prompt, 4, &generation, &result) == MLC_OK);
  CHECK(mlc_session_create(model, NULL, &draft) == MLC_OK);
  mlc_speculation_options_init(&options);
  CHECK(mlc_speculator_create(session, &options, &speculator) == MLC_INVALID_ARGUMENT); /* No draft. */
  options.draft = session;
  CHECK(mlc_speculator_create(session, &options, &speculator) == MLC_INVALID_ARGUMENT);
  options.draft = draft;
  options.ngram = 1;
  options.draft_tokens = 17;
  CHECK(mlc_speculator_create(session, &options, &speculator) == MLC_INVALID_ARGUMENT);
  options.draft_tokens = 4;
  CHECK(mlc_speculator_create(session, &options, &speculator) == MLC_OK);
  CHECK(mlc_sequence_rollback(session, sequence, 0) == MLC_OK);
  generation.user = &drafted;
  CHECK(mlc_speculator_generate(speculator, sequence, prompt, 4, &generation, &result) == MLC_OK);
  CHECK(drafted.count == 30 && !memcmp(plain.tokens, drafted.tokens, sizeof plain.tokens));
  CHECK(mlc_speculator_get_stats(speculator, &stats) == MLC_INVALID_ARGUMENT);
  stats.size = sizeof stats;
  CHECK(mlc_speculator_get_stats(speculator, &stats) == MLC_OK);
  CHECK(stats.rounds && stats.accepted && stats.accepted <= stats.drafted);
  mlc_speculator_destroy(speculator);
  mlc_session_destroy(draft);
  CHECK(mlc_sequence_destroy(session, sequence) == MLC_OK);
}

int main(int argc, char **argv) {
  mlc_model *model;
  mlc_model_info info;
  mlc_session *session, *other;
  mlc_pool *pool;
  mlc_session_options options;
  mlc_decoder *decoder;
  size_t count = 0;
  if (argc != 2)
    return 2;
  CHECK(mlc_api_version() == MLC_API_VERSION);
  CHECK(*mlc_version());
  test_errors(argv[1]);
  CHECK(mlc_model_open(argv[1], NULL, &model) == MLC_OK);
  CHECK(mlc_model_get_info(model, &info) == MLC_OK && info.vocab == 67 && !info.has_tokenizer);
  CHECK(mlc_model_is_end_token(model, 2) && !mlc_model_is_end_token(model, 3));
  CHECK(mlc_tokenize(model, "a", 1, 1, NULL, 0, &count) == MLC_UNSUPPORTED);
  CHECK(mlc_decoder_create(model, &decoder) == MLC_UNSUPPORTED);
  mlc_session_options_init(&options);
  options.context = info.context + 1;
  CHECK(mlc_session_create(model, &options, &session) == MLC_OUT_OF_RANGE);
  mlc_session_options_init(&options);
  CHECK(options.size == sizeof options && options.snapshots == 8 && options.max_memory == 0);
  options.max_memory = 1000;
  CHECK(mlc_session_create(model, &options, &session) == MLC_OUT_OF_MEMORY);
  CHECK(strstr(mlc_error_text(), "weights") && strstr(mlc_error_text(), "arena"));
  /* What a program of the first release calls writes no further than its struct. */
  options.max_memory = 77;
  (mlc_session_options_init)(&options);
  CHECK(options.size < sizeof options && options.max_memory == 77);
  mlc_session_options_init(&options);
  CHECK(options.pool == NULL && options.session_class == MLC_BATCH);
  CHECK(mlc_pool_create(2000, &pool) == MLC_INVALID_ARGUMENT);
  CHECK(mlc_pool_create(0, &pool) == MLC_OK && mlc_pool_threads(pool) >= 1);
  mlc_pool_destroy(pool);
  CHECK(mlc_pool_create(2, &pool) == MLC_OK && mlc_pool_threads(pool) == 2);
  options.pool = pool;
  options.session_class = 7;
  CHECK(mlc_session_create(model, &options, &session) == MLC_INVALID_ARGUMENT);
  options.session_class = MLC_REALTIME;
  CHECK(mlc_session_create(model, &options, &session) == MLC_OK);
  options.session_class = MLC_BATCH;
  CHECK(mlc_session_create(model, &options, &other) == MLC_OK);
  test_sequences(session, other, &info);
  test_generation(model, other, &info);
  mlc_session_destroy(other);
  mlc_session_destroy(session);
  mlc_pool_destroy(pool);
  mlc_session_options_init(&options);
  options.threads = 2;
  CHECK(mlc_session_create(model, &options, &session) == MLC_OK);
  CHECK(mlc_session_create(model, NULL, &other) == MLC_OK);
  test_sequences(session, other, &info);
  test_generation(model, session, &info);
  test_speculation(session, model);
  mlc_session_destroy(other);
  mlc_session_destroy(session);
  mlc_model_destroy(model);
  return 0;
}
