/*===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// mlc_router_stats_* from C: what holds of every router, whatever its weights, and what is refused. Takes the paths of
// the compiled tests/oracles/mixtral (two layers of six experts, two a token) and of a model without experts.
*/
#include "tests/unit/capi/Check.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

enum { LAYERS = 2, EXPERTS = 6, CHOSEN = 2, VOCAB = 61 };

/* Probabilities are floats. */
static int near(double a, double b) { return fabs(a - b) < 1e-6; }

/* `count` tokens of a sequence of its own, in one step; the last layer sees the rows alone whose logits are wanted. */
static void feed(mlc_session *session, size_t count) {
  int32_t tokens[64], rows[64];
  mlc_sequence sequence;
  for (size_t i = 0; i < count; ++i) {
    tokens[i] = (int32_t)(i * 7 % VOCAB);
    rows[i] = (int32_t)i;
  }
  CHECK(mlc_sequence_create(session, 0, &sequence) == MLC_OK);
  mlc_segment segment = {sequence, tokens, count};
  CHECK(mlc_session_step(session, &segment, 1, rows, count) == MLC_OK);
  CHECK(mlc_sequence_destroy(session, sequence) == MLC_OK);
}

static mlc_router_figures figures_of(const mlc_router_stats *stats, size_t layer) {
  mlc_router_figures figures;
  memset(&figures, 0xff, sizeof figures);
  figures.size = sizeof figures;
  CHECK(mlc_router_stats_get(stats, layer, &figures) == MLC_OK);
  CHECK(figures.size == sizeof figures && figures.experts == EXPERTS && figures.top_k == CHOSEN);
  return figures;
}

/* The figures that are functions of the experts' shares, from the shares. */
static void check_layer(const mlc_router_stats *stats, size_t layer, uint64_t tokens) {
  mlc_router_figures figures = figures_of(stats, layer);
  double load_sum = 0, mass_sum = 0, entropy = 0, squares = 0, most = 0, least = 1, balance = 0, distance = 0;
  uint32_t dead = 0;
  for (uint32_t expert = 0; expert < EXPERTS; ++expert) {
    double load = -1, mass = -1, alone = -1;
    CHECK(mlc_router_stats_share(stats, layer, expert, &load, &mass) == MLC_OK);
    CHECK(mlc_router_stats_share(stats, layer, expert, NULL, &alone) == MLC_OK && alone == mass);
    CHECK(mlc_router_stats_share(stats, layer, expert, &alone, NULL) == MLC_OK && alone == load);
    CHECK(load >= 0 && load <= 1 && mass > 0 && mass < 1);
    load_sum += load, mass_sum += mass;
    entropy -= load > 0 ? load * log(load) : 0;
    squares += (load * EXPERTS - 1) * (load * EXPERTS - 1);
    most = load > most ? load : most;
    least = load < least ? load : least;
    balance += EXPERTS * load * mass;
    distance += fabs(mass - load) / 2;
    dead += load == 0;
  }
  CHECK(figures.tokens == tokens);
  CHECK(near(load_sum, 1) && near(mass_sum, 1));
  CHECK(near(figures.load_entropy, entropy / log(EXPERTS)));
  CHECK(near(figures.load_cv, sqrt(squares / EXPERTS)));
  CHECK(near(figures.max_load, most * EXPERTS) && near(figures.min_load, least * EXPERTS));
  CHECK(near(figures.balance, balance) && near(figures.mass_load_distance, distance));
  CHECK(figures.dead_experts == dead);
  CHECK(figures.routing_entropy > 0 && figures.routing_entropy < 1);
  CHECK(figures.mean_squared_logsumexp > 0 && figures.routing_margin > 0);
}

static void test_figures(mlc_session *session) {
  mlc_router_stats *stats = NULL;
  CHECK(mlc_router_stats_create(session, 0, 0, &stats) == MLC_OK && stats);
  CHECK(mlc_router_stats_layers(stats) == LAYERS);
  for (size_t layer = 0; layer < LAYERS; ++layer) {
    mlc_router_figures none = figures_of(stats, layer);
    CHECK(none.tokens == 0 && none.routing_entropy == 0 && none.load_entropy == 0 && none.alarm_token == 0);
  }
  feed(session, 40);
  for (size_t layer = 0; layer < LAYERS; ++layer)
    check_layer(stats, layer, 40);
  feed(session, 3);
  check_layer(stats, 1, 43);
  mlc_router_stats_destroy(session, stats);

  /* A window of 16 tokens, of the 64. */
  CHECK(mlc_router_stats_create(session, 16, 0, &stats) == MLC_OK);
  feed(session, 64);
  mlc_router_figures last = figures_of(stats, 0);
  CHECK(last.tokens > 0 && last.tokens <= 16);
  check_layer(stats, 0, last.tokens);
  CHECK(last.alarm_token == 0);
  mlc_router_stats_destroy(session, stats);
}

static void test_alarm(mlc_session *session) {
  mlc_router_stats *stats = NULL;
  CHECK(mlc_router_stats_create(session, 0, 0, &stats) == MLC_OK);
  feed(session, 64);
  mlc_router_figures plain = figures_of(stats, 0);
  mlc_router_stats_destroy(session, stats);
  /* A threshold between them: routing below and load above it is what the alarm is for. */
  CHECK(plain.routing_entropy < plain.load_entropy);
  float between = (float)((plain.routing_entropy + plain.load_entropy) / 2);
  CHECK(mlc_router_stats_create(session, 64, between, &stats) == MLC_OK);
  feed(session, 64);
  mlc_router_figures figures = figures_of(stats, 0);
  CHECK(figures.alarm_token > 0 && figures.alarm_token <= 64);
  mlc_router_stats_destroy(session, stats);
  /* Off again: a step that nobody watches. */
  feed(session, 5);
}

static void test_refusals(mlc_session *session, mlc_session *dense) {
  mlc_router_stats *stats = NULL;
  mlc_router_figures figures;
  double share;
  CHECK(mlc_router_stats_create(dense, 0, 0, &stats) == MLC_NOT_FOUND && stats == NULL);
  CHECK(mlc_router_stats_create(NULL, 0, 0, &stats) == MLC_INVALID_ARGUMENT);
  CHECK(mlc_router_stats_create(session, 0, 0, NULL) == MLC_INVALID_ARGUMENT);
  CHECK(mlc_router_stats_create(session, 3, 0, &stats) == MLC_INVALID_ARGUMENT); /* Fewer than the blocks. */
  CHECK(mlc_router_stats_layers(NULL) == 0);
  mlc_router_stats_destroy(session, NULL);
  CHECK(mlc_router_stats_create(session, 0, 0, &stats) == MLC_OK);
  figures.size = sizeof figures;
  CHECK(mlc_router_stats_get(stats, LAYERS, &figures) == MLC_OUT_OF_RANGE);
  CHECK(mlc_router_stats_get(stats, 0, NULL) == MLC_INVALID_ARGUMENT);
  CHECK(mlc_router_stats_get(NULL, 0, &figures) == MLC_INVALID_ARGUMENT);
  figures.size = 0;
  CHECK(mlc_router_stats_get(stats, 0, &figures) == MLC_INVALID_ARGUMENT);
  CHECK(mlc_router_stats_share(stats, 0, EXPERTS, &share, NULL) == MLC_OUT_OF_RANGE);
  CHECK(mlc_router_stats_share(stats, LAYERS, 0, &share, NULL) == MLC_OUT_OF_RANGE);
  CHECK(mlc_router_stats_share(stats, 0, 0, NULL, NULL) == MLC_OK);
  /* A caller of an earlier release, whose struct ends before the alarm: nothing behind it is written. */
  memset(&figures, 0x5a, sizeof figures);
  figures.size = offsetof(mlc_router_figures, alarm_token);
  feed(session, 4);
  CHECK(mlc_router_stats_get(stats, 0, &figures) == MLC_OK && figures.tokens == 4);
  CHECK(figures.alarm_token == UINT64_C(0x5a5a5a5a5a5a5a5a));
  mlc_router_stats_destroy(session, stats);
}

int main(int argc, char **argv) {
  mlc_model *mixture, *dense;
  mlc_session *session, *other;
  if (argc != 3)
    return 2;
  CHECK(mlc_model_open(argv[1], NULL, &mixture) == MLC_OK);
  CHECK(mlc_model_open(argv[2], NULL, &dense) == MLC_OK);
  CHECK(mlc_session_create(mixture, NULL, &session) == MLC_OK);
  CHECK(mlc_session_create(dense, NULL, &other) == MLC_OK);
  test_figures(session);
  test_alarm(session);
  test_refusals(session, other);
  mlc_session_destroy(other);
  mlc_session_destroy(session);
  mlc_model_destroy(dense);
  mlc_model_destroy(mixture);
  return 0;
}
