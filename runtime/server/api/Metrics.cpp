//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/api/Metrics.h"
#include "runtime/server/http/Log.h"

#include <cstdio>
#include <unistd.h>

namespace mlc::server {

namespace {

std::string number(double value) {
  char text[32];
  snprintf(text, sizeof text, "%.9g", value);
  return text;
}

struct Page {
  std::string text;

  void begin(const char *name, const char *type, const char *help) {
    text += std::string("# HELP ") + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
  }
  void value(const std::string &name, const std::string &labels, const std::string &value) {
    text += name + (labels.empty() ? "" : "{" + labels + "}") + " " + value + "\n";
  }
  void histogram(const char *name, const std::string &labels, const Histogram &histogram) {
    uint64_t below = 0;
    for (size_t i = 0; i < histogram.counts.size(); ++i) {
      below += histogram.counts[i];
      std::string bound = i < Histogram::kBounds.size() ? number(Histogram::kBounds[i]) : "+Inf";
      value(std::string(name) + "_bucket", labels + ",le=\"" + bound + "\"", std::to_string(below));
    }
    value(std::string(name) + "_sum", labels, number(histogram.sum));
    value(std::string(name) + "_count", labels, std::to_string(histogram.count));
  }
};

/// Resident bytes of this process; 0 where the system does not say.
uint64_t residentBytes() {
  unsigned long long pages = 0, resident = 0;
  if (FILE *file = fopen("/proc/self/statm", "re")) {
    if (fscanf(file, "%llu %llu", &pages, &resident) != 2)
      resident = 0;
    fclose(file);
  }
  return resident * uint64_t(sysconf(_SC_PAGESIZE));
}

struct Number {
  const char *name, *type, *help;
  uint64_t EngineStats::*member;
};
constexpr Number kNumbers[] = {
    {"mlc_requests_accepted_total", "counter", "Requests that the engine took.", &EngineStats::accepted},
    {"mlc_requests_refused_total", "counter", "Requests refused because the queue was full.",
     &EngineStats::refusedFull},
    {"mlc_prompt_tokens_total", "counter", "Tokens of prompts, cached ones included.", &EngineStats::promptTokens},
    {"mlc_cached_tokens_total", "counter", "Tokens of prompts whose state was there already.",
     &EngineStats::cachedTokens},
    {"mlc_completion_tokens_total", "counter", "Tokens generated.", &EngineStats::completionTokens},
    {"mlc_processed_tokens_total", "counter", "Tokens through the model.", &EngineStats::processedTokens},
    {"mlc_steps_total", "counter", "Steps of the model.", &EngineStats::steps},
    {"mlc_prefix_cache_lookups_total", "counter", "Lookups in the prefix cache.", &EngineStats::cacheLookups},
    {"mlc_prefix_cache_hits_total", "counter", "Lookups that found a prefix.", &EngineStats::cacheHits},
    {"mlc_prefix_cache_evictions_total", "counter", "Prefixes given up for others.", &EngineStats::cacheEvictions},
    {"mlc_preemptions_total", "counter", "Sequences that gave up their memory and were computed again.",
     &EngineStats::preemptions},
    {"mlc_drafted_tokens_total", "counter", "Tokens that a draft proposed.", &EngineStats::draftedTokens},
    {"mlc_accepted_tokens_total", "counter", "Proposed tokens that were right.", &EngineStats::acceptedTokens},
    {"mlc_draft_failures_total", "counter", "Answers that went on without a draft because it failed.",
     &EngineStats::draftFailures},
    {"mlc_queued", "gauge", "Requests that wait for a slot.", &EngineStats::queued},
    {"mlc_running", "gauge", "Requests in progress.", &EngineStats::running},
    {"mlc_slots", "gauge", "Sequences that can be live at a time.", &EngineStats::sequences},
    {"mlc_slots_used", "gauge", "Sequences live.", &EngineStats::sequencesUsed},
    {"mlc_prefix_cache_entries", "gauge", "Prefixes kept.", &EngineStats::cacheEntries},
    {"mlc_kv_bytes", "gauge", "Bytes of the KV pool.", &EngineStats::kvBytes},
    {"mlc_kv_used_bytes", "gauge", "Bytes of its pages in use, the cache's included.", &EngineStats::kvBytesUsed},
};

struct Times {
  const char *name, *help;
  Histogram EngineStats::*member;
};
constexpr Times kTimes[] = {
    {"mlc_time_to_first_token_seconds", "From a request to its first token.", &EngineStats::firstToken},
    {"mlc_inter_token_seconds", "Between two tokens of an answer.", &EngineStats::interToken},
    {"mlc_queue_seconds", "From a request to its first step.", &EngineStats::queueTime},
    {"mlc_request_seconds", "From a request to the end of its answer.", &EngineStats::requestTime},
    {"mlc_step_seconds", "Of a step of the model.", &EngineStats::stepTime},
};

} // namespace

std::string metricsText(std::span<const ModelMetrics> models, const HttpServer::Counts &http, bool ready) {
  Page page;
  auto labels = [](const ModelMetrics &model) { return "model=" + jsonText(model.name); };
  page.begin("mlc_up", "gauge", "1 when requests are taken: not while loading or draining.");
  page.value("mlc_up", "", ready ? "1" : "0");
  for (const Number &metric : kNumbers) {
    page.begin(metric.name, metric.type, metric.help);
    for (const ModelMetrics &model : models)
      page.value(metric.name, labels(model), std::to_string(model.stats.*metric.member));
  }
  page.begin("mlc_requests_finished_total", "counter", "Requests that ended, by why.");
  for (const ModelMetrics &model : models)
    for (size_t i = 0; i < std::size(model.stats.finished); ++i)
      page.value("mlc_requests_finished_total", labels(model) + ",reason=\"" + finishReasonName(FinishReason(i)) + "\"",
                 std::to_string(model.stats.finished[i]));
  page.begin("mlc_draft_acceptance_ratio", "gauge",
             "Of the proposed tokens, those that were right; 0 without a draft.");
  for (const ModelMetrics &model : models) {
    double drafted = double(model.stats.draftedTokens);
    page.value("mlc_draft_acceptance_ratio", labels(model),
               number(drafted > 0 ? double(model.stats.acceptedTokens) / drafted : 0));
  }
  for (const Times &metric : kTimes) {
    page.begin(metric.name, "histogram", metric.help);
    for (const ModelMetrics &model : models)
      page.histogram(metric.name, labels(model), model.stats.*metric.member);
  }
  page.begin("mlc_http_connections", "gauge", "Open connections.");
  page.value("mlc_http_connections", "", std::to_string(http.connections));
  page.begin("mlc_http_requests", "gauge", "HTTP requests being answered, this one included.");
  page.value("mlc_http_requests", "", std::to_string(http.requests));
  page.begin("mlc_http_accepted_total", "counter", "Connections accepted.");
  page.value("mlc_http_accepted_total", "", std::to_string(http.accepted));
  page.begin("mlc_http_evicted_total", "counter", "Idle connections closed to make room.");
  page.value("mlc_http_evicted_total", "", std::to_string(http.evicted));
  page.begin("process_resident_memory_bytes", "gauge", "Resident memory, the mapped models included.");
  page.value("process_resident_memory_bytes", "", std::to_string(residentBytes()));
  return page.text;
}

} // namespace mlc::server
