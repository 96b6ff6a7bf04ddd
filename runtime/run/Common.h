//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What several commands share: opening a model, making a session of it, turning text into ids.
//
#pragma once

#include "runtime/llm/Session.h"
#include "runtime/run/Options.h"
#include "runtime/run/Output.h"

namespace mlc::cli {

/// The value of --threads and the lowered bounds. 0: the default.
struct SessionArguments {
  uint64_t threads = 0, context = 0, sequences = 0, kvMemory = 0, maxMemory = 0;
  const char *device = nullptr; // Of drafts and references, too, if they are for GPUs.
  bool noCode = false;
};

/// The GPUs of one model.
struct DeviceList {
  unsigned ordinals[kMaxRanks], count = 0;
  std::span<const unsigned> span() const { return {ordinals, count}; }
};
/// "0", or "0+1" of a model that several run together.
Result<DeviceList> parseDevices(std::string_view text);

/// Error messages name the file. `networks`: one may be opened, too. `device` false: the plan and the digests are
/// checked, no GPU is opened.
Result<Owned<Model>> openModel(const char *path, const SessionArguments &arguments, bool networks = false,
                               bool device = true);
/// Refuses what --device chose for a model that is not for GPUs, or for fewer. Empty or null: nothing was chosen.
Status checkDevice(const Model &model, std::span<const unsigned> gpus);
Status checkDevice(const Model &model, const char *device);
/// One sequence unless more are asked for. Error messages name the model's file.
Result<Owned<Session>> openSession(const Model &model, const SessionArguments &arguments);

/// Ids of `text` as a prompt is, or without special tokens. `file` names the model and `source` where the text is from,
/// for messages; `tokenizer` may be null.
Status encodeText(const char *file, const Tokenizer *tokenizer, std::string_view text, bool special, const char *source,
                  Buffer<int32_t> &ids);

/// "1,2,3" to ids below 2^31.
Status parseTokens(const char *list, Buffer<int32_t> &ids);

/// The most memory that this process had so far.
uint64_t peakResidentBytes();

/// The same error with the file in front.
Error inFile(const char *file, const Error &error);

// The largest text that a command reads.
constexpr size_t kMaxTextBytes = size_t(1) << 30;

// Rows of option tables that more than one command has.
#define MLC_THREADS_OPTION(ARGUMENTS)                                                                                  \
  {"threads", "N", "threads (default: the cores that this process may use)", OptionKind::count, &(ARGUMENTS).threads,  \
   1,         1024}
#define MLC_CONTEXT_OPTION(ARGUMENTS)                                                                                  \
  {"context", "N", "most positions of a sequence; lowers the artifact's", OptionKind::count, &(ARGUMENTS).context, 1}
#define MLC_KV_MEMORY_OPTION(ARGUMENTS)                                                                                \
  {"kv-memory", "BYTES", "memory of the KV pages; suffix K, M, G", OptionKind::bytes, &(ARGUMENTS).kvMemory, 1}
#define MLC_MAX_MEMORY_OPTION(ARGUMENTS)                                                                               \
  {"max-memory",                                                                                                       \
   "BYTES",                                                                                                            \
   "refuse a plan of weights, KV, arena and scratch above it; suffix K, M, G",                                         \
   OptionKind::bytes,                                                                                                  \
   &(ARGUMENTS).maxMemory,                                                                                             \
   1}
#define MLC_DEVICE_OPTION(ARGUMENTS)                                                                                   \
  {"device", "N", "GPU of an artifact for GPUs, from 0 (default 0), or 0+1 where several run it together",             \
   OptionKind::text, &(ARGUMENTS).device}
#define MLC_NO_CODE_OPTION(ARGUMENTS)                                                                                  \
  {"no-code", nullptr, "refuse an artifact that carries code", OptionKind::flag, &(ARGUMENTS).noCode}

} // namespace mlc::cli
