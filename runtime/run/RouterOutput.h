//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// `mlc run --router-stats F.json`: the figures of a mixture's routers when the run has ended, and their alarms.
//
#pragma once

#include "runtime/llm/RouterStats.h"
#include "runtime/llm/Session.h"
#include "runtime/run/Output.h"

namespace mlc::cli {

struct RouterArguments {
  const char *file = nullptr;
  RouterOptions options;
};

#define MLC_ROUTER_OPTIONS(ARGUMENTS)                                                                                  \
  {"router-stats", "F.json", "write figures of the experts' routers, per layer, when the run has ended",               \
   OptionKind::text, &(ARGUMENTS).file},                                                                               \
      {"router-window",                                                                                                \
       "N",                                                                                                            \
       "tokens that these figures cover, the last ones (default 1024)",                                                \
       OptionKind::count,                                                                                              \
       &(ARGUMENTS).options.window,                                                                                    \
       kRouterBlocks,                                                                                                  \
       uint64_t(1) << 32},                                                                                             \
  {                                                                                                                    \
    "router-alarm", "E", "warn when a router's entropy falls below E (0 to 1) before its load's does",                 \
        OptionKind::real, &(ARGUMENTS).options.alarm                                                                   \
  }

/// Watches a session while it lives, when the arguments ask for it.
class RouterOutput {
public:
  /// Refuses --router-alarm without --router-stats, and a model without experts.
  Status open(Session &session, const RouterArguments &arguments);
  /// Writes the file, and a warning for each alarm to stderr.
  Status finish();

private:
  Owned<RouterStats> stats;
  PartFile file;
  const RouterArguments *arguments = nullptr;
};

} // namespace mlc::cli
