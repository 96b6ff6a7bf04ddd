/*===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// mlc_network_* from C, on the network of tests/unit/support/TinyNetwork.h: shapes, the caller's memory, streams, and
// what is refused.
*/
#include "tests/unit/capi/Check.h"

#include <stddef.h>
#include <string.h>

enum { X, Y, STEP, IDS };
enum { SUM, HALF, TOTAL, SAME };

static mlc_port_info port_of(const mlc_network *network, mlc_port_kind kind, size_t index) {
  mlc_port_info info;
  memset(&info, 0xff, sizeof info);
  info.size = sizeof info;
  CHECK(mlc_network_port(network, kind, index, &info) == MLC_OK);
  return info;
}

static void test_ports(mlc_network *network) {
  mlc_port_info info;
  size_t index = 77;
  CHECK(mlc_network_ports(network, MLC_INPUT) == 4 && mlc_network_ports(network, MLC_OUTPUT) == 4);
  CHECK(mlc_network_ports(network, MLC_STATE) == 1);
  CHECK(mlc_network_ports(network, (mlc_port_kind)3) == 0 && mlc_network_ports(NULL, MLC_INPUT) == 0);
  info = port_of(network, MLC_INPUT, X);
  CHECK(!strcmp(info.name, "x") && info.dtype == MLC_F32 && info.rank == 2 && info.bytes == 128);
  CHECK(info.most[0] == 4 && info.most[1] == 8 && info.dims[0] == 4);
  info = port_of(network, MLC_OUTPUT, SAME);
  CHECK(!strcmp(info.name, "same") && info.dtype == MLC_I64 && info.rank == 1 && info.bytes == 24);
  info = port_of(network, MLC_STATE, 0);
  CHECK(!strcmp(info.name, "steps") && info.bytes == 16 && info.dims[0] == 4);
  CHECK(mlc_network_find(network, MLC_OUTPUT, "total", &index) == MLC_OK && index == TOTAL);
  CHECK(mlc_network_find(network, MLC_INPUT, "z", &index) == MLC_NOT_FOUND);
  CHECK(strstr(mlc_error_text(), "x, y, step, ids"));
  CHECK(mlc_network_port(network, MLC_INPUT, 4, &info) == MLC_OUT_OF_RANGE);
  info.size = 0;
  CHECK(mlc_network_port(network, MLC_INPUT, 0, &info) == MLC_INVALID_ARGUMENT);
  /* A caller of an earlier release, whose struct would end here. */
  memset(&info, 0x5a, sizeof info);
  info.size = offsetof(mlc_port_info, dims);
  CHECK(mlc_network_port(network, MLC_INPUT, 0, &info) == MLC_OK && info.rank == 2 && info.dims[0] != 4);
}

static void test_runs(mlc_network *network, mlc_network *other) {
  const int64_t two[] = {2, 8}, nine[] = {2, 9};
  const int64_t ids[] = {1, -2, 3};
  float x[16], sum[16], state[4];
  CHECK(mlc_network_set_shape(network, X, nine, 2) == MLC_OUT_OF_RANGE);
  CHECK(mlc_network_set_shape(network, X, two, 1) == MLC_INVALID_ARGUMENT);
  CHECK(mlc_network_set_shape(network, 9, two, 2) == MLC_OUT_OF_RANGE);
  CHECK(mlc_network_set_shape(network, X, two, 2) == MLC_OK);
  CHECK(port_of(network, MLC_OUTPUT, SUM).dims[0] == 2 && port_of(network, MLC_INPUT, Y).bytes == 64);
  for (int i = 0; i < 16; ++i) {
    x[i] = (float)i;
    ((float *)mlc_network_input(network, Y))[i] = -4;
  }
  memcpy(mlc_network_input(network, IDS), ids, sizeof ids);
  CHECK(mlc_network_bind_input(network, X, x, sizeof x) == MLC_OK && mlc_network_input(network, X) == x);
  CHECK(mlc_network_bind_output(network, SUM, sum, sizeof sum - 1) == MLC_INVALID_ARGUMENT);
  CHECK(mlc_network_bind_output(network, SUM, sum, sizeof sum) == MLC_OK);
  CHECK(mlc_network_bind_output(network, 4, sum, sizeof sum) == MLC_OUT_OF_RANGE);
  for (int run = 1; run <= 3; ++run) {
    ((float *)mlc_network_input(network, STEP))[1] = 2;
    CHECK(mlc_network_run(network) == MLC_OK);
    CHECK(((const float *)mlc_network_output(network, TOTAL))[1] == (float)(2 * run));
  }
  CHECK(sum[3] == 0 && sum[15] == 11);
  CHECK(((const float *)mlc_network_output(network, HALF))[7] == 15);
  CHECK(!memcmp(mlc_network_output(network, SAME), ids, sizeof ids));
  CHECK(mlc_network_output(network, 4) == NULL && mlc_network_input(network, 4) == NULL);
  /* The stream goes on elsewhere, and begins anew here. */
  CHECK(mlc_network_read_state(network, 0, state, sizeof state) == MLC_OK && state[1] == 6);
  CHECK(mlc_network_read_state(network, 0, state, 4) == MLC_INVALID_ARGUMENT);
  CHECK(mlc_network_write_state(other, 0, state, 15) == MLC_INVALID_ARGUMENT);
  CHECK(mlc_network_write_state(other, 1, state, sizeof state) == MLC_OUT_OF_RANGE);
  CHECK(mlc_network_write_state(other, 0, state, sizeof state) == MLC_OK);
  ((float *)mlc_network_input(other, STEP))[1] = 1;
  CHECK(mlc_network_run(other) == MLC_OK);
  CHECK(((const float *)mlc_network_output(other, TOTAL))[1] == 7);
  mlc_network_cancel(network);
  CHECK(mlc_network_run(network) == MLC_CANCELLED);
  mlc_network_clear_cancel(network);
  CHECK(mlc_network_reset(network) == MLC_OK && mlc_network_run(network) == MLC_OK);
  CHECK(((const float *)mlc_network_output(network, TOTAL))[1] == 2);
}

static void test_refusals(const mlc_model *model, const mlc_model *language) {
  mlc_network *network;
  mlc_session *session;
  mlc_sampler *sampler;
  mlc_network_options options;
  mlc_model_info info;
  CHECK(mlc_model_is_network(model) && !mlc_model_is_network(language) && !mlc_model_is_network(NULL));
  CHECK(mlc_model_get_info(model, &info) == MLC_OK && info.vocab == 0 && !mlc_model_is_end_token(model, 2));
  CHECK(mlc_session_create(model, NULL, &session) == MLC_INVALID_ARGUMENT);
  CHECK(mlc_sampler_create(model, NULL, &sampler) == MLC_INVALID_ARGUMENT);
  CHECK(mlc_network_create(language, NULL, &network) == MLC_INVALID_ARGUMENT);
  CHECK(mlc_network_create(NULL, NULL, &network) == MLC_INVALID_ARGUMENT);
  mlc_network_options_init(&options);
  options.session_class = 2;
  CHECK(mlc_network_create(model, &options, &network) == MLC_INVALID_ARGUMENT);
  mlc_network_options_init(&options);
  options.function = "decode";
  CHECK(mlc_network_create(model, &options, &network) == MLC_NOT_FOUND);
  mlc_network_options_init(&options);
  options.max_memory = 1000;
  CHECK(mlc_network_create(model, &options, &network) == MLC_OUT_OF_MEMORY);
  CHECK(mlc_network_run(NULL) == MLC_INVALID_ARGUMENT && mlc_network_reset(NULL) == MLC_INVALID_ARGUMENT);
  mlc_network_destroy(NULL);
}

int main(int argc, char **argv) {
  mlc_model *model, *language;
  mlc_network *network, *other;
  mlc_network_options options;
  mlc_pool *pool;
  if (argc != 3)
    return 2;
  CHECK(mlc_model_open(argv[1], NULL, &model) == MLC_OK);
  CHECK(mlc_model_open(argv[2], NULL, &language) == MLC_OK);
  test_refusals(model, language);
  CHECK(mlc_pool_create(2, &pool) == MLC_OK);
  mlc_network_options_init(&options);
  options.pool = pool;
  options.session_class = MLC_REALTIME;
  CHECK(mlc_network_create(model, NULL, &network) == MLC_OK);
  CHECK(mlc_network_create(model, &options, &other) == MLC_OK);
  test_ports(network);
  test_runs(network, other);
  mlc_network_destroy(other);
  mlc_network_destroy(network);
  mlc_pool_destroy(pool);
  mlc_model_destroy(language);
  mlc_model_destroy(model);
  return 0;
}
