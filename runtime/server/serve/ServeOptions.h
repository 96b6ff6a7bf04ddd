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

namespace mlc::server {

struct ServeOptions {
  std::vector<ModelSource> models;
  HttpOptions http;
  ServiceOptions service;
  EngineOptions engine;
  ModelOptions model;
  unsigned threads = 1;
  LogForm log = LogForm::text;
  std::string draft; // The file of a draft model; empty: none.
};

/// Reads the command line; what is wrong is one line on stderr.
cli::Parsed readServeOptions(int argc, char **argv, ServeOptions &options);

/// "NAME=FILE", or a file that is named as it is called, without ".mlca".
Result<ModelSource> readModelSource(std::string_view argument);

} // namespace mlc::server
