//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/artifact/Inspect.h"
#include "runtime/llm/MemoryPlan.h"
#include "runtime/run/Commands.h"
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

static Status writeHtml(const Artifact &artifact, const Ram &ram, const char *path) {
  PartFile page;
  MLC_TRY(page.create(path));
  inspectHtml(artifact, ram.span(), sinkOf(page.stream()));
  return page.commit();
}

static Status inspect(const char *file, const char *html, bool json) {
  MLC_TRY(refuseCheckpoint(file));
  MLC_ASSIGN(Artifact artifact, Artifact::open(file));
  Ram ram(artifact);
  if (html)
    MLC_TRY(writeHtml(artifact, ram, html));
  if (json)
    inspectJson(artifact, ram.span(), sinkOf(stdout));
  else if (!html)
    inspectText(artifact, ram.span(), sinkOf(stdout));
  return flushOutput();
}

int inspectCommand(int argc, char **argv) {
  const char *html = nullptr;
  bool json = false;
  const Option options[] = {
      {"json", nullptr, "one JSON object on stdout", OptionKind::flag, &json},
      {"html", "F", "write a page to look at", OptionKind::text, &html},
  };
  Command command{argv[0], "OUT.mlca", "What is inside: model, sizes by kind, memory plan, states, kernels, weights.",
                  options, "model.mlca --html model.html"};
  const char *file;
  if (Parsed parsed = parseOptions(command, argc, argv, file); parsed.leave)
    return parsed.status;
  if (Status done = inspect(file, html, json); !done)
    return fail(done.error());
  return 0;
}

} // namespace mlc::cli
