//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// /metrics in Prometheus' text format 0.0.4.
//
#pragma once

#include "runtime/server/api/ServedModel.h"
#include "runtime/server/http/HttpServer.h"

#include <span>

namespace mlc::server {

struct ModelMetrics {
  std::string name;
  EngineStats stats;
};

std::string metricsText(std::span<const ModelMetrics> models, const HttpServer::Counts &http, bool ready);

} // namespace mlc::server
