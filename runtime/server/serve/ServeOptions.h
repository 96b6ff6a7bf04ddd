//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The options of the server and what they mean for its parts.
//
#pragma once

#include "runtime/run/Draft.h"
#include "runtime/server/api/Service.h"

#include <algorithm>

namespace mlc::server {

struct ServeOptions {
  std::vector<ModelSource> models;
  HttpOptions http;
  ServiceOptions service;
  EngineOptions engine;
  ModelOptions model;
  std::vector<cli::DeviceList> devices; // GPUs, a list for each model; empty: the first of all.
  unsigned threads = 1;
  LogForm log = LogForm::text;
  std::string draft; // The file of a draft model; empty: none.

  /// How model number `i` is opened.
  ModelOptions modelOptions(size_t i) const {
    ModelOptions options = model;
    if (!devices.empty())
      options.gpus = devices[std::min(i, devices.size() - 1)].span();
    return options;
  }
};

/// Reads the command line; what is wrong is one line on stderr.
cli::Parsed readServeOptions(int argc, char **argv, ServeOptions &options);

/// "NAME=FILE", or a file that is named as it is called, without ".mlca".
Result<ModelSource> readModelSource(std::string_view argument);

} // namespace mlc::server
