//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/artifact/Inspect.h"
#include "runtime/llm/MemoryPlan.h"
#include "runtime/run/Commands.h"
#include "runtime/run/JsonReader.h"
#include "runtime/run/Options.h"
#include "runtime/run/Output.h"

namespace mlc::cli {

static InspectSink sinkOf(FILE *file) {
  return {[](void *context, const char *text, size_t size) { fwrite(text, 1, size, static_cast<FILE *>(context)); },
          file};
}

/// RAM at one sequence and at all that the artifact allows; nothing where the plan does not verify.
struct Ram {
  RamFigure figures[2];
  size_t count = 0;
  explicit Ram(const Artifact &artifact) {
    const fb::Model *model = artifact.metadata().model();
    add(artifact, 1);
    if (count && model && model->sequences() > 1)
      add(artifact, model->sequences());
  }
  void add(const Artifact &artifact, uint64_t sequences) {
    if (auto plan = planMemory(artifact, sequences))
      figures[count++] = {sequences, plan->weights, plan->states, plan->arenas(), plan->scratchPerThread};
  }
  std::span<const RamFigure> span() const { return {figures, count}; }
};

/// The "us" of every object in "ops" of what mlc bench --profile --json printed.
static Status readTimes(std::string_view text, Buffer<double> &times) {
  JsonReader reader(text);
  MLC_TRY(reader.open('{', "what mlc bench --profile --json prints"));
  bool firstKey = true;
  Buffer<char> key;
  for (;;) {
    MLC_ASSIGN(bool more, reader.next('{', firstKey));
    if (!more)
      return reader.finish();
    key.truncate(0);
    MLC_TRY(reader.key(key));
    if (key.view() != "ops") {
      MLC_TRY(reader.skip());
      continue;
    }
    MLC_TRY(reader.open('[', "a list of ops"));
    for (bool firstOp = true;;) {
      MLC_ASSIGN(bool another, reader.next('[', firstOp));
      if (!another)
        break;
      MLC_TRY(reader.open('{', "an op"));
      double us = 0;
      for (bool firstField = true;;) {
        MLC_ASSIGN(bool field, reader.next('{', firstField));
        if (!field)
          break;
        key.truncate(0);
        MLC_TRY(reader.key(key));
        if (key.view() != "us") {
          MLC_TRY(reader.skip());
          continue;
        }
        MLC_ASSIGN(us, reader.number("microseconds"));
      }
      if (!times.append(us))
        return Error(ErrorCode::OutOfMemory, "no memory for its ops");
    }
  }
}

static Status writeHtml(const Artifact &artifact, const Ram &ram, const char *path, const char *profile) {
  Buffer<char> text;
  Buffer<double> times;
  if (profile) {
    MLC_TRY(readAll(profile, size_t(1) << 28, text));
    if (Status read = readTimes(text.view(), times); !read)
      return Error(read.error().code(), "%s: %s", profile, read.error().message());
    if (!times.size())
      return Error(ErrorCode::InvalidArgument, "%s: no times of ops; make it with mlc bench --profile --json", profile);
  }
  PartFile page;
  MLC_TRY(page.create(path));
  inspectHtml(artifact, ram.span(), sinkOf(page.stream()), times.span());
  return page.commit();
}

static Status inspect(const char *file, const char *html, const char *profile, bool json) {
  MLC_TRY(refuseCheckpoint(file));
  MLC_ASSIGN(Artifact artifact, Artifact::open(file));
  Ram ram(artifact);
  if (html)
    MLC_TRY(writeHtml(artifact, ram, html, profile));
  if (json)
    inspectJson(artifact, ram.span(), sinkOf(stdout));
  else if (!html)
    inspectText(artifact, ram.span(), sinkOf(stdout));
  return flushOutput();
}

int inspectCommand(int argc, char **argv) {
  const char *html = nullptr, *profile = nullptr;
  bool json = false;
  const Option options[] = {
      {"json", nullptr, "one JSON object on stdout", OptionKind::flag, &json},
      {"html", "F", "write a page to look at", OptionKind::text, &html},
      {"profile", "F.json", "with --html: times of ops, from mlc bench --profile --json", OptionKind::text, &profile},
  };
  Command command{argv[0], "OUT.mlca", "What is inside: model, sizes by kind, memory plan, states, kernels, weights.",
                  options, "model.mlca --html model.html"};
  const char *file;
  if (Parsed parsed = parseOptions(command, argc, argv, file); parsed.leave)
    return parsed.status;
  if (profile && !html) {
    printError("--profile goes with --html");
    return 2;
  }
  if (Status done = inspect(file, html, profile, json); !done)
    return fail(done.error());
  return 0;
}

} // namespace mlc::cli
