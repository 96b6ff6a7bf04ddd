//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// `mlc run --chat`: a conversation on the terminal, or line by line from a pipe.
//
#pragma once

#include "runtime/run/Generation.h"

namespace mlc::cli {

struct ChatArguments {
  bool chat = false;
  const char *system = nullptr, *stop = nullptr;

  /// Combinations that no table sees.
  Parsed check(const GenerationArguments &generation) const;
};

#define MLC_CHAT_OPTIONS(ARGUMENTS)                                                                                    \
  {"chat", nullptr, "a conversation: a line of standard input is a turn", OptionKind::flag, &(ARGUMENTS).chat},        \
      {"system", "TEXT", "with --chat: the system message", OptionKind::text, &(ARGUMENTS).system}, {                  \
    "stop", "TEXT", "with --chat: an answer ends before this text", OptionKind::text, &(ARGUMENTS).stop                \
  }

/// Talks until the input ends. Every turn is rendered by the model's chat template; what the sequence already holds of
/// its tokens is not computed again.
Status chat(const char *file, const SessionArguments &session, const GenerationArguments &generation,
            const ChatArguments &arguments, const DraftArguments &draft);

} // namespace mlc::cli
