//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/RouterOutput.h"

namespace mlc::cli {

Status RouterOutput::open(Session &session, const RouterArguments &given) {
  if (!given.file) {
    if (given.options.alarm != 0)
      return Error(ErrorCode::InvalidArgument, "--router-alarm: give --router-stats too");
    return {};
  }
  arguments = &given;
  auto created = RouterStats::create(session.model().executionPlan(), given.options);
  if (!created)
    return Error(created.error().code(), "--router-stats: %s", created.error().message());
  stats = Owned<RouterStats>(*created);
  MLC_TRY(file.create(given.file));
  return session.observeKernels(stats->observer());
}

static void writeFigures(JsonWriter &json, const RouterFigures &figures) {
  json.text("layer", figures.layer);
  json.count("experts", figures.experts);
  json.count("top_k", figures.chosen);
  json.count("tokens", figures.tokens);
  json.number("routing_entropy", figures.routingEntropy);
  json.number("load_entropy", figures.loadEntropy);
  json.number("load_cv", figures.loadCv);
  json.number("max_load", figures.maxLoad);
  json.number("min_load", figures.minLoad);
  json.count("dead_experts", figures.deadExperts);
  json.number("balance", figures.balance);
  json.number("mass_load_distance", figures.massLoadDistance);
  json.number("mean_squared_logsumexp", figures.squaredLogsumexp);
  json.number("routing_margin", figures.margin);
}

Status RouterOutput::finish() {
  if (!arguments)
    return {};
  JsonWriter json(file.stream());
  json.open(nullptr, '{');
  json.count("window", arguments->options.window);
  json.number("alarm_below", double(arguments->options.alarm));
  json.open("layers", '[');
  for (size_t layer = 0; layer < stats->layers(); ++layer) {
    RouterFigures figures = stats->figures(layer);
    json.open(nullptr, '{');
    writeFigures(json, figures);
    json.open("load", '[');
    for (uint32_t e = 0; e < figures.experts; ++e)
      json.number(nullptr, stats->share(layer, e).load);
    json.close(']');
    json.open("gate_mass", '[');
    for (uint32_t e = 0; e < figures.experts; ++e)
      json.number(nullptr, stats->share(layer, e).mass);
    json.close(']');
    RouterAlarm alarm = stats->alarm(layer);
    if (alarm.token) {
      json.open("alarm", '{');
      json.count("token", alarm.token);
      json.number("routing_entropy", alarm.routingEntropy);
      json.number("load_entropy", alarm.loadEntropy);
      json.close('}');
      fprintf(stderr, "mlc: warning: %s: routing entropy %.3f is below %g at token %llu, the load's is %.3f\n",
              figures.layer, alarm.routingEntropy, double(arguments->options.alarm), (unsigned long long)alarm.token,
              alarm.loadEntropy);
    } else {
      json.null("alarm");
    }
    json.close('}');
  }
  json.close(']');
  json.close('}');
  MLC_TRY(json.finish());
  return file.commit();
}

} // namespace mlc::cli
