//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// `mlc serve` and `mlc-serve`: the command line of the server.
//
#pragma once

namespace mlc::server {

/// argv[0] is what the user typed for the command ("mlc serve"). Returns the exit status as the commands of
/// runtime/run/Commands.h do: 0 drained or stopped by a signal, 1 failed, 2 usage.
int serveCommand(int argc, char **argv);

} // namespace mlc::server
