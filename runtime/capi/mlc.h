/*===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The C API of the mlc runtime, version 1. docs/capi.md has a guide and an example.
//
// Rules. Handles are opaque. A function that can fail returns an mlc_status and says why in mlc_error_text(), one line,
// per thread, valid until the next failing call of that thread. Strings are UTF-8, zero-terminated. A model may be
// shared by threads; a session is used by one thread at a time, except mlc_session_cancel(). Destroy sessions before
// their model. Structs are set up by their _init function first, so that fields may be added later.
*/
#ifndef MLC_H
#define MLC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MLC_API_VERSION 1
#if defined(__GNUC__)
#define MLC_API __attribute__((visibility("default")))
#else
#define MLC_API
#endif

typedef enum mlc_status {
  MLC_OK = 0,
  MLC_INVALID_ARGUMENT = 1,
  MLC_NOT_FOUND = 2,
  MLC_IO = 3,
  MLC_OUT_OF_MEMORY = 4, /* an allocation, or the KV pool, is exhausted */
  MLC_CORRUPT = 5,       /* a digest, a size or a structure does not hold */
  MLC_UNSUPPORTED = 6,
  MLC_OUT_OF_RANGE = 7, /* a position, token or extent beyond the bounds */
  MLC_CANCELLED = 8,
  MLC_INTERNAL = 9
} mlc_status;

typedef struct mlc_model mlc_model;
typedef struct mlc_session mlc_session;
typedef struct mlc_sampler mlc_sampler;
typedef struct mlc_decoder mlc_decoder;
typedef uint32_t mlc_sequence; /* a handle; one that was destroyed is refused */
typedef uint32_t mlc_snapshot;

/* The version of the library that is linked: MLC_API_VERSION of its header, and its release as text. */
MLC_API uint32_t mlc_api_version(void);
MLC_API const char *mlc_version(void);
/* The last failure of this thread, "" if there was none. */
MLC_API const char *mlc_error_text(void);

/* ---- Models ---- */

typedef struct mlc_model_options {
  uint32_t size;      /* sizeof(mlc_model_options) */
  int allow_code;     /* 0: an artifact with code objects is refused; 1 by default */
  int verify_digests; /* 0: weights are not compared with their digests; 1 by default */
  uint32_t threads;   /* that compare digests; 1 by default */
} mlc_model_options;

typedef struct mlc_model_info {
  uint64_t vocab;     /* token ids are below it */
  uint64_t context;   /* most positions of a sequence */
  uint64_t batch;     /* most tokens of a step */
  uint64_t rows;      /* most rows of logits of a step */
  uint64_t sequences; /* most live sequences */
  int has_tokenizer;
  uint64_t digest; /* stands for the content of the artifact */
} mlc_model_info;

MLC_API void mlc_model_options_init(mlc_model_options *options);
/* Maps and verifies the artifact. `options` may be null. */
MLC_API mlc_status mlc_model_open(const char *path, const mlc_model_options *options, mlc_model **model);
MLC_API void mlc_model_destroy(mlc_model *model);
MLC_API mlc_status mlc_model_get_info(const mlc_model *model, mlc_model_info *info);
/* 1: a network, for mlc_network_create(); 0: a language model, for mlc_session_create(). */
MLC_API int mlc_model_is_network(const mlc_model *model);
/* 1 when `token` ends an answer. */
MLC_API int mlc_model_is_end_token(const mlc_model *model, int32_t token);

/* Text to ids. `as_prompt` != 0: as a prompt is (BOS and EOS by the tokenizer's rules, special text parsed). Writes at
   most `capacity` ids and always the full number to `count`; MLC_OUT_OF_RANGE when they did not fit. */
MLC_API mlc_status mlc_tokenize(const mlc_model *model, const char *text, size_t size, int as_prompt, int32_t *tokens,
                                size_t capacity, size_t *count);
/* Ids to text, not zero-terminated; as above. */
MLC_API mlc_status mlc_detokenize(const mlc_model *model, const int32_t *tokens, size_t count, char *text,
                                  size_t capacity, size_t *size);

/* Text as ids come. The sink gets whole characters; a null sink drops them: feed the prompt so, and what follows goes
   on where it ends. */
typedef void (*mlc_text_sink)(void *user, const char *text, size_t size);
MLC_API mlc_status mlc_decoder_create(const mlc_model *model, mlc_decoder **decoder);
MLC_API void mlc_decoder_destroy(mlc_decoder *decoder);
MLC_API mlc_status mlc_decoder_feed(mlc_decoder *decoder, int32_t token, mlc_text_sink sink, void *user);
/* Ends the text: an unfinished character comes out as U+FFFD. */
MLC_API mlc_status mlc_decoder_flush(mlc_decoder *decoder, mlc_text_sink sink, void *user);

/* ---- Sessions and sequences ---- */

/* Threads that sessions share. The steps of its batch sessions take turns, in the order of their coming; a step of a
   realtime session takes the threads from a batch step at the next chunk of its work (a few milliseconds at most), and
   the batch step goes on afterwards. Results are the same as alone. */
typedef struct mlc_pool mlc_pool;
typedef enum mlc_session_class { MLC_BATCH = 0, MLC_REALTIME = 1 } mlc_session_class;

/* `threads` counts the thread that steps; 0: the physical cores that this process may use. */
MLC_API mlc_status mlc_pool_create(uint32_t threads, mlc_pool **pool);
/* After the sessions on it. */
MLC_API void mlc_pool_destroy(mlc_pool *pool);
MLC_API uint32_t mlc_pool_threads(const mlc_pool *pool);

typedef struct mlc_session_options {
  uint32_t size;          /* sizeof(mlc_session_options) */
  uint64_t context;       /* 0: the model's; bounds may be lowered, never raised */
  uint64_t sequences;     /* 0: the model's */
  uint64_t batch;         /* 0: the model's */
  uint64_t kv_memory;     /* bytes of KV pages; 0: `sequences` times `context` positions */
  uint32_t snapshots;     /* most live snapshots; 8 by default */
  uint32_t imports;       /* most imports at a time; 1 by default */
  uint32_t threads;       /* of a pool of its own: 1 by default; 0: the physical cores that this process may use */
  mlc_pool *pool;         /* to share with other sessions; `threads` is then the pool's. Null by default: an own one */
  uint32_t session_class; /* an mlc_session_class; MLC_BATCH by default */
  /* Most bytes of weights, states, arena and scratch; 0: no limit. mlc_session_create refuses a plan above it with
     MLC_OUT_OF_MEMORY; mlc_error_text() has the figures. */
  uint64_t max_memory;
} mlc_session_options;

/* The function knows the fields of the first release, up to `threads`; the macro sets up the caller's whole struct. */
MLC_API void mlc_session_options_init(mlc_session_options *options);
MLC_API void mlc_session_options_init_size(mlc_session_options *options, size_t size);
#define mlc_session_options_init(options) mlc_session_options_init_size(options, sizeof *(options))
/* Allocates all that the session will ever use. */
MLC_API mlc_status mlc_session_create(const mlc_model *model, const mlc_session_options *options,
                                      mlc_session **session);
MLC_API void mlc_session_destroy(mlc_session *session);

/* `prompt_length`: tokens of the complete prompt (it fixes RoPE forms that depend on length); 0: those of the first
   segment. */
MLC_API mlc_status mlc_sequence_create(mlc_session *session, uint64_t prompt_length, mlc_sequence *sequence);
MLC_API mlc_status mlc_sequence_destroy(mlc_session *session, mlc_sequence sequence);
MLC_API mlc_status mlc_sequence_fork(mlc_session *session, mlc_sequence sequence, mlc_sequence *forked);
MLC_API mlc_status mlc_sequence_length(const mlc_session *session, mlc_sequence sequence, uint64_t *length);
/* Drops the positions from `position` on. Each of the last 16 positions works, all from the rollback limit on, and what
   mlc_sequence_reachable gives. */
MLC_API mlc_status mlc_sequence_rollback(mlc_session *session, mlc_sequence sequence, uint64_t position);
MLC_API mlc_status mlc_sequence_rollback_limit(const mlc_session *session, mlc_sequence sequence, uint64_t *position);
/* The highest position up to `wanted` that rollback takes, a checkpoint perhaps; MLC_NOT_FOUND when there is none. */
MLC_API mlc_status mlc_sequence_reachable(const mlc_session *session, mlc_sequence sequence, uint64_t wanted,
                                          uint64_t *position);
MLC_API mlc_status mlc_sequence_snapshot(mlc_session *session, mlc_sequence sequence, mlc_snapshot *snapshot);
/* Makes the sequence equal to the snapshot, which stays until it is destroyed. */
MLC_API mlc_status mlc_sequence_restore(mlc_session *session, mlc_sequence sequence, mlc_snapshot snapshot);
MLC_API mlc_status mlc_snapshot_destroy(mlc_session *session, mlc_snapshot snapshot);

/* Receives whole chunks; a status other than MLC_OK ends the export with it. */
typedef mlc_status (*mlc_chunk_sink)(void *user, const uint8_t *chunk, size_t size);
MLC_API mlc_status mlc_sequence_export(mlc_session *session, mlc_sequence sequence, mlc_chunk_sink sink, void *user);
/* A sequence to be filled by mlc_sequence_import; destroy it to give up. */
MLC_API mlc_status mlc_sequence_begin_import(mlc_session *session, mlc_sequence *sequence);
/* Takes one exported chunk, in any order; *complete becomes 1 when the sequence is whole and may take steps. */
MLC_API mlc_status mlc_sequence_import(mlc_session *session, mlc_sequence sequence, const uint8_t *chunk, size_t size,
                                       int *complete);

/* ---- Steps ---- */

typedef struct mlc_segment {
  mlc_sequence sequence;
  const int32_t *tokens;
  size_t count;
} mlc_segment;

/* Processes the segments, each sequence at most once, and computes the logits of `rows` (row numbers in the order of
   the concatenated tokens). On failure no sequence has changed. */
MLC_API mlc_status mlc_session_step(mlc_session *session, const mlc_segment *segments, size_t segment_count,
                                    const int32_t *rows, size_t row_count);
/* Logits of the i-th row asked for: info.vocab floats, valid until the next step. Null when there is no such row. */
MLC_API const float *mlc_session_logits(const mlc_session *session, size_t row);
/* Ends the step or generation in progress, or the next one, with MLC_CANCELLED, also inside a long op and while it
   waits for its turn on a pool; any thread, also a signal handler. */
MLC_API void mlc_session_cancel(mlc_session *session);
MLC_API void mlc_session_clear_cancel(mlc_session *session);

/* ---- Routers of a mixture of experts ---- */

typedef struct mlc_router_stats mlc_router_stats;

/* One layer's router over the last tokens; docs/runtime.md defines the figures. Of no token, every figure is 0. */
typedef struct mlc_router_figures {
  uint32_t size; /* sizeof(mlc_router_figures), set by the caller */
  uint32_t experts, top_k, dead_experts;
  uint64_t tokens; /* in the window */
  double routing_entropy, load_entropy, load_cv, max_load, min_load, balance, mass_load_distance;
  double mean_squared_logsumexp, routing_margin;
  uint64_t alarm_token; /* of the layer, when its routing entropy fell below the threshold first; 0: it did not */
} mlc_router_figures;

/* Watches the steps of `session` from now on: `window` tokens a layer (0: 1024), an alarm when the routing entropy is
   below `alarm` (0: none) and the load's is not. MLC_NOT_FOUND of a model without experts. One at a time. */
MLC_API mlc_status mlc_router_stats_create(mlc_session *session, uint64_t window, float alarm,
                                           mlc_router_stats **stats);
/* Before its session; the session is no longer watched. */
MLC_API void mlc_router_stats_destroy(mlc_session *session, mlc_router_stats *stats);
MLC_API size_t mlc_router_stats_layers(const mlc_router_stats *stats);
MLC_API mlc_status mlc_router_stats_get(const mlc_router_stats *stats, size_t layer, mlc_router_figures *figures);
/* An expert's share of the choices, and of the gates' mass. Either may be null. */
MLC_API mlc_status mlc_router_stats_share(const mlc_router_stats *stats, size_t layer, uint32_t expert, double *load,
                                          double *mass);

/* ---- Sampling and generation ---- */

typedef struct mlc_sampling {
  uint32_t size;            /* sizeof(mlc_sampling) */
  float temperature;        /* 0, the default: greedy, ties to the lowest id */
  uint32_t top_k;           /* 0: off */
  float top_p;              /* 1: off */
  float min_p;              /* 0: off */
  float repetition_penalty; /* 1: off; counts the prompt too */
  float presence_penalty;   /* 0: off; generated tokens only */
  float frequency_penalty;  /* 0: off; generated tokens only */
  uint64_t seed;
} mlc_sampling;

MLC_API void mlc_sampling_init(mlc_sampling *sampling);
MLC_API mlc_status mlc_sampler_create(const mlc_model *model, const mlc_sampling *sampling, mlc_sampler **sampler);
MLC_API void mlc_sampler_destroy(mlc_sampler *sampler);
MLC_API mlc_status mlc_sampler_accept_prompt(mlc_sampler *sampler, const int32_t *tokens, size_t count);
/* Draws the next token from info.vocab logits and counts it. */
MLC_API mlc_status mlc_sampler_sample(mlc_sampler *sampler, const float *logits, int32_t *token);

typedef enum mlc_finish_reason {
  MLC_FINISH_STOP = 0,
  MLC_FINISH_LENGTH = 1,
  MLC_FINISH_CANCELLED = 2
} mlc_finish_reason;

typedef struct mlc_generation {
  uint32_t size;       /* sizeof(mlc_generation) */
  uint64_t max_tokens; /* 0: until the context is full */
  int ignore_end;      /* 1: goes on past end tokens */
  mlc_sampling sampling;
  int (*on_token)(void *user, int32_t token); /* 0 ends the generation as cancelled; may be null */
  void *user;
} mlc_generation;

typedef struct mlc_generation_result {
  mlc_finish_reason finish_reason;
  uint64_t prompt_tokens, tokens;
  double prompt_ms, first_token_ms, generate_ms;
} mlc_generation_result;

MLC_API void mlc_generation_init(mlc_generation *generation);
/* Feeds the prompt to the sequence and generates. `result` may be null. */
MLC_API mlc_status mlc_generate(mlc_session *session, mlc_sequence sequence, const int32_t *prompt, size_t count,
                                const mlc_generation *generation, mlc_generation_result *result);

/* ---- Speculation (docs/speculation.md) ---- */

/* Generates with drafted tokens that the model reads several at a time. The text is distributed as without, and with
   temperature 0 it is the same text. */
typedef struct mlc_speculator mlc_speculator;
#define MLC_MAX_DRAFT_TOKENS 16

typedef struct mlc_speculation_options {
  uint32_t size;         /* sizeof(mlc_speculation_options) */
  uint32_t draft_tokens; /* of each draft, at most MLC_MAX_DRAFT_TOKENS; 0, the default: as many as pay */
  mlc_session *draft;    /* of a smaller model with the same vocabulary and context, used by nobody else; may be null */
  int ngram;             /* 1: what followed earlier in the text is a draft too; 0 by default */
} mlc_speculation_options;

/* Counts of all generations so far. */
typedef struct mlc_speculation_stats {
  uint32_t size; /* sizeof(mlc_speculation_stats), set by the caller */
  uint64_t rounds, drafted, accepted, rollbacks;
  uint64_t judged[MLC_MAX_DRAFT_TOKENS], stayed[MLC_MAX_DRAFT_TOKENS]; /* by place in the draft */
  uint64_t lengths[MLC_MAX_DRAFT_TOKENS + 1];                          /* rounds by drafted tokens; [0]: plain steps */
  double draft_ms, verify_ms, plain_ms, draft_prompt_ms, rollback_ms;
} mlc_speculation_stats;

MLC_API void mlc_speculation_options_init(mlc_speculation_options *options);
/* A draft session, ngram, or both. Both sessions outlive it; give them one mlc_pool. */
MLC_API mlc_status mlc_speculator_create(mlc_session *session, const mlc_speculation_options *options,
                                         mlc_speculator **speculator);
/* Before its sessions. */
MLC_API void mlc_speculator_destroy(mlc_speculator *speculator);
/* As mlc_generate on the speculator's session. */
MLC_API mlc_status mlc_speculator_generate(mlc_speculator *speculator, mlc_sequence sequence, const int32_t *prompt,
                                           size_t count, const mlc_generation *generation,
                                           mlc_generation_result *result);
MLC_API mlc_status mlc_speculator_get_stats(const mlc_speculator *speculator, mlc_speculation_stats *stats);

/* ---- Networks (docs/capi.md) ---- */

/* A network ready to run: used by one thread at a time, except mlc_network_cancel(). A run allocates nothing. */
typedef struct mlc_network mlc_network;
#define MLC_MAX_RANK 8

typedef enum mlc_dtype {
  MLC_F32 = 0,
  MLC_F16 = 1,
  MLC_BF16 = 2,
  MLC_F64 = 3,
  MLC_I8 = 4,
  MLC_U8 = 5,
  MLC_I16 = 6,
  MLC_U16 = 7,
  MLC_I32 = 8,
  MLC_U32 = 9,
  MLC_I64 = 10,
  MLC_U64 = 11,
  MLC_BOOL = 12
} mlc_dtype;

/* A state is what a run hands to the next one; it is neither input nor output. */
typedef enum mlc_port_kind { MLC_INPUT = 0, MLC_OUTPUT = 1, MLC_STATE = 2 } mlc_port_kind;

typedef struct mlc_network_options {
  uint32_t size;          /* sizeof(mlc_network_options) */
  uint32_t threads;       /* of a pool of its own: 1, the default: the caller's alone; 0: the physical cores */
  mlc_pool *pool;         /* to share with sessions and networks; null by default: an own one */
  uint32_t session_class; /* an mlc_session_class; MLC_BATCH by default */
  uint64_t max_memory;    /* most bytes of weights, arena and scratch; 0: no limit */
  const char *function;   /* of the artifact; null: "main" */
} mlc_network_options;

typedef struct mlc_port_info {
  uint32_t size;    /* sizeof(mlc_port_info), set by the caller */
  const char *name; /* lives as long as the model */
  uint32_t dtype;   /* an mlc_dtype */
  uint32_t rank;
  int64_t dims[MLC_MAX_RANK]; /* of the next run */
  int64_t most[MLC_MAX_RANK]; /* bounds of what mlc_network_set_shape() takes; equal to dims where an axis is fixed */
  uint64_t bytes;             /* of the next run; values are row-major */
} mlc_port_info;

MLC_API void mlc_network_options_init(mlc_network_options *options);
/* Allocates all that the network will ever use. Its states begin as zeros. */
MLC_API mlc_status mlc_network_create(const mlc_model *model, const mlc_network_options *options,
                                      mlc_network **network);
/* Before its model and its pool. */
MLC_API void mlc_network_destroy(mlc_network *network);
MLC_API size_t mlc_network_ports(const mlc_network *network, mlc_port_kind kind);
MLC_API mlc_status mlc_network_port(const mlc_network *network, mlc_port_kind kind, size_t index, mlc_port_info *info);
/* The index of the port `name`; MLC_NOT_FOUND names those that are there. */
MLC_API mlc_status mlc_network_find(const mlc_network *network, mlc_port_kind kind, const char *name, size_t *index);

/* The shape of an input of the next runs, and with it what follows from it: other inputs and the outputs. Every axis
   begins at its bound. MLC_OUT_OF_RANGE beyond the bounds; MLC_INVALID_ARGUMENT when another input has said otherwise
   since the last run. */
MLC_API mlc_status mlc_network_set_shape(mlc_network *network, size_t input, const int64_t *dims, size_t rank);
/* The network's own memory of an input, to be written before each run, or what is bound; null: no such input. */
MLC_API void *mlc_network_input(mlc_network *network, size_t input);
/* An output, valid until the next run. */
MLC_API const void *mlc_network_output(const mlc_network *network, size_t output);
/* The next runs read the input from `data`, or write the output to it: nothing is copied. It is aligned for the port's
   elements, holds `bytes`, which are enough for the shape of each run (for the largest where a kernel works on an axis
   behind the first that may change; the error says how many), overlaps nothing that is bound elsewhere, and lives until
   it is bound anew; null: the network's own memory again. MLC_UNSUPPORTED when the network keeps other values in the
   port's memory as well. */
MLC_API mlc_status mlc_network_bind_input(mlc_network *network, size_t input, const void *data, size_t bytes);
MLC_API mlc_status mlc_network_bind_output(mlc_network *network, size_t output, void *data, size_t bytes);

/* On failure the states are as before. */
MLC_API mlc_status mlc_network_run(mlc_network *network);
/* Ends the run in progress, or the next one, with MLC_CANCELLED; any thread, also a signal handler. */
MLC_API void mlc_network_cancel(mlc_network *network);
MLC_API void mlc_network_clear_cancel(mlc_network *network);
/* All states become zeros: a new stream. */
MLC_API mlc_status mlc_network_reset(mlc_network *network);
/* Exactly the state's bytes. A stream that was read goes on bitwise in every network of the same artifact. */
MLC_API mlc_status mlc_network_read_state(const mlc_network *network, size_t state, void *data, size_t bytes);
MLC_API mlc_status mlc_network_write_state(mlc_network *network, size_t state, const void *data, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
