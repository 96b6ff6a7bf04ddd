//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The C API of a mixture's router figures.
//
#include "runtime/capi/Handles.h"
#include "runtime/llm/RouterStats.h"

#include <algorithm>
#include <stdio.h>
#include <string.h>

using namespace mlc;
using namespace mlc::capi;

static const RouterStats &statsOf(const mlc_router_stats *handle) {
  return *reinterpret_cast<const RouterStats *>(handle);
}

static mlc_status noLayer(size_t layer) {
  char message[64];
  snprintf(message, sizeof message, "layer %zu has no router", layer);
  return report(ErrorCode::OutOfRange, message);
}

mlc_status mlc_router_stats_create(mlc_session *session, uint64_t window, float alarm, mlc_router_stats **stats) {
  if (!session || !stats)
    return nullArgument();
  RouterOptions options;
  options.window = window ? window : options.window;
  options.alarm = alarm;
  auto created = RouterStats::create(sessionOf(session).model().executionPlan(), options);
  if (!created)
    return report(created.error());
  Owned<RouterStats> made(*created);
  if (Status watched = sessionOf(session).observeKernels(made->observer()); !watched)
    return report(watched.error());
  (void)made.release();
  *stats = reinterpret_cast<mlc_router_stats *>(*created);
  return MLC_OK;
}

void mlc_router_stats_destroy(mlc_session *session, mlc_router_stats *stats) {
  if (session)
    (void)sessionOf(session).observeKernels({});
  if (stats)
    RouterStats::destroy(reinterpret_cast<RouterStats *>(stats));
}

size_t mlc_router_stats_layers(const mlc_router_stats *stats) { return stats ? statsOf(stats).layers() : 0; }

mlc_status mlc_router_stats_get(const mlc_router_stats *stats, size_t layer, mlc_router_figures *figures) {
  if (!stats || !figures)
    return nullArgument();
  if (layer >= statsOf(stats).layers())
    return noLayer(layer);
  if (figures->size < sizeof(uint32_t))
    return report(ErrorCode::InvalidArgument, "mlc_router_figures: size is not set");
  RouterFigures from = statsOf(stats).figures(layer);
  mlc_router_figures to = {};
  to.size = figures->size;
  to.experts = from.experts;
  to.top_k = from.chosen;
  to.dead_experts = from.deadExperts;
  to.tokens = from.tokens;
  to.routing_entropy = from.routingEntropy;
  to.load_entropy = from.loadEntropy;
  to.load_cv = from.loadCv;
  to.max_load = from.maxLoad;
  to.min_load = from.minLoad;
  to.balance = from.balance;
  to.mass_load_distance = from.massLoadDistance;
  to.mean_squared_logsumexp = from.squaredLogsumexp;
  to.routing_margin = from.margin;
  to.alarm_token = statsOf(stats).alarm(layer).token;
  // A caller of an earlier release has fewer fields.
  memcpy(figures, &to, std::min<size_t>(figures->size, sizeof to));
  return MLC_OK;
}

mlc_status mlc_router_stats_share(const mlc_router_stats *stats, size_t layer, uint32_t expert, double *load,
                                  double *mass) {
  if (!stats)
    return nullArgument();
  if (layer >= statsOf(stats).layers() || expert >= statsOf(stats).figures(layer).experts)
    return noLayer(layer);
  RouterStats::Share share = statsOf(stats).share(layer, expert);
  if (load)
    *load = share.load;
  if (mass)
    *mass = share.mass;
  return MLC_OK;
}
