//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/Common.h"
#include "runtime/core/Cpus.h"
#include "targets/cpu/Isa.h"

#include <charconv>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

namespace mlc::cli {

Error inFile(const char *file, const Error &error) { return Error(error.code(), "%s: %s", file, error.message()); }

uint64_t peakResidentBytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return uint64_t(usage.ru_maxrss) * 1024;
}

static bool endsWith(std::string_view text, std::string_view suffix) {
  return text.size() > suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}

/// `text` as one word of a shell.
static void appendWord(Buffer<char> &line, std::string_view text) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/+=:,@%";
  if (!text.empty() && text.find_first_not_of(plain) == text.npos) {
    (void)line.append(text.data(), text.size());
    return;
  }
  (void)line.append('\'');
  for (char c : text)
    if (c == '\'')
      (void)line.append("'\\''", 4);
    else
      (void)line.append(c);
  (void)line.append('\'');
}

Status refuseCheckpoint(const char *path) {
  std::string_view source = path;
  struct stat info;
  bool exists = !stat(path, &info), directory = exists && S_ISDIR(info.st_mode);
  size_t suffix = 0;
  for (std::string_view known : {".gguf", ".safetensors", ".onnx", ".nir", ".mlir"})
    if (endsWith(source, known))
      suffix = known.size();
  if (!exists || !(directory || suffix))
    return {};
  // The directory is what compiles where the file is only a part of it.
  if (endsWith(source, ".safetensors")) {
    size_t slash = source.rfind('/');
    source = slash == source.npos ? "." : source.substr(0, slash ? slash : 1);
    directory = true;
    suffix = 0;
  }
  while (directory && source.size() > 1 && source.back() == '/')
    source.remove_suffix(1);
  std::string_view stem = source.substr(0, source.size() - suffix);
  if (stem == "." || stem == ".." || stem == "/")
    stem = "model";
  Buffer<char> in, out, target;
  appendWord(in, source);
  (void)target.append(stem.data(), stem.size());
  (void)target.append(".mlca", 5);
  appendWord(out, target.view());
  return Error(ErrorCode::InvalidArgument, "%s: a checkpoint, not an artifact; first: mlc compile %.*s -o %.*s", path,
               int(in.size()), in.view().data(), int(out.size()), out.view().data());
}

Result<DeviceList> parseDevices(std::string_view text) {
  DeviceList list;
  for (const char *at = text.data(), *end = at + text.size(); at <= end;) {
    unsigned ordinal = 0;
    auto [next, error] = std::from_chars(at, end, ordinal);
    if (error != std::errc() || ordinal > 255 || list.count == kMaxRanks || (next < end && *next != '+'))
      return Error(ErrorCode::InvalidArgument,
                   "--device %.*s: give the number of a GPU, or those of up to %u that run "
                   "a model together: 0+1",
                   int(std::min<size_t>(text.size(), 200)), text.data(), kMaxRanks);
    list.ordinals[list.count++] = ordinal;
    at = next + 1;
  }
  return list;
}

Status checkDevice(const Model &model, std::span<const unsigned> gpus) {
  if (gpus.empty() || (model.target().open && gpus.size() <= model.ranks()))
    return {};
  if (model.target().open)
    return Error(ErrorCode::InvalidArgument,
                 "--device: %zu GPUs for %s, which mlc compile --tensor-parallel made for %u", gpus.size(),
                 model.name(), model.ranks());
  return Error(ErrorCode::InvalidArgument, "--device %u: %s is compiled for CPUs; leave it out", gpus[0], model.name());
}

Status checkDevice(const Model &model, const char *device) {
  DeviceList gpus;
  if (device) {
    MLC_ASSIGN(gpus, parseDevices(device));
  }
  return checkDevice(model, gpus.span());
}

Result<Owned<Model>> openModel(const char *path, const SessionArguments &arguments, bool networks, bool device) {
  MLC_TRY(refuseCheckpoint(path));
  ModelOptions options;
  if (const char *form = getenv("MLC_ISA")) {
    auto isa = parseIsa(form);
    if (!isa)
      return inFile("MLC_ISA", isa.error());
    if (!machineRuns(*isa))
      return Error(ErrorCode::Unsupported, "MLC_ISA: this machine does not run the form '%s'", form);
    options.isa = *isa;
  }
  options.allowCode = !arguments.noCode;
  options.networks = networks;
  options.openDevice = device;
  options.threads = arguments.threads ? unsigned(arguments.threads) : usableCores();
  DeviceList gpus;
  if (arguments.device) {
    MLC_ASSIGN(gpus, parseDevices(arguments.device));
  }
  options.gpus = gpus.span();
  MLC_ASSIGN(Model * model, Model::open(path, options));
  return Owned<Model>(model);
}

Result<Owned<Session>> openSession(const Model &model, const SessionArguments &arguments) {
  SessionOptions options;
  options.context = arguments.context;
  options.sequences = arguments.sequences ? arguments.sequences : 1;
  options.kvMemory = arguments.kvMemory;
  options.maxMemory = arguments.maxMemory;
  options.threads = arguments.threads ? unsigned(arguments.threads) : usableCores();
  auto session = Session::create(model, options);
  if (!session)
    return inFile(model.name(), session.error());
  return Owned<Session>(*session);
}

Status encodeText(const char *file, const Tokenizer *tokenizer, std::string_view text, bool special, const char *source,
                  Buffer<int32_t> &ids) {
  if (!tokenizer)
    return Error(ErrorCode::Unsupported, "%s: has no tokenizer; give ids with --tokens", file);
  MLC_ASSIGN(Encoder encoder, Encoder::create(*tokenizer));
  auto encoded = encoder.encode(text, {special, special, {}});
  if (!encoded)
    return inFile(source, encoded.error());
  for (uint32_t id : *encoded)
    if (!ids.append(int32_t(id)))
      return Error(ErrorCode::OutOfMemory, "%s: no memory for its tokens", source);
  return {};
}

Status parseTokens(const char *list, Buffer<int32_t> &ids) {
  const char *at = list;
  for (;;) {
    while (*at == ' ')
      ++at;
    char *end;
    errno = 0;
    unsigned long long id = strtoull(at, &end, 10);
    if (*at < '0' || *at > '9' || errno || id > INT32_MAX)
      return Error(ErrorCode::InvalidArgument, "--tokens %.60s: not a list of token ids like 1,2,3", list);
    if (!ids.append(int32_t(id)))
      return Error(ErrorCode::OutOfMemory, "--tokens: no memory");
    for (at = end; *at == ' ';)
      ++at;
    if (!*at)
      return {};
    if (*at++ != ',')
      return Error(ErrorCode::InvalidArgument, "--tokens %.60s: not a list of token ids like 1,2,3", list);
  }
}

} // namespace mlc::cli
