//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/Commands.h"
#include "runtime/run/Common.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

namespace mlc::cli {

namespace {

/// Sections of named values, in one of three forms.
class Report {
public:
  virtual void section(const char *key, const char *title) = 0;
  virtual void text(const char *key, const char *value) = 0;
  virtual void count(const char *key, uint64_t value, const char *unit = "") = 0;

protected:
  ~Report() = default;
};

class TextReport final : public Report {
public:
  void section(const char *, const char *title) override {
    printf("%s%s\n", first ? "" : "\n", title);
    first = false;
  }
  void text(const char *key, const char *value) override { printf("  %-32s %s\n", key, value); }
  void count(const char *key, uint64_t value, const char *unit) override {
    printf("  %-32s %llu%s%s\n", key, (unsigned long long)value, *unit ? " " : "", unit);
  }

private:
  bool first = true;
};

class JsonReport final : public Report {
public:
  JsonReport() { json.open(nullptr, '{'); }
  void section(const char *key, const char *) override {
    closeSection();
    json.open(key, '{');
    open = true;
  }
  void text(const char *key, const char *value) override { json.text(key, value); }
  void count(const char *key, uint64_t value, const char *) override { json.count(key, value); }
  Status finish() {
    closeSection();
    json.close('}');
    return json.finish();
  }

private:
  void closeSection() {
    if (open)
      json.close('}');
  }
  JsonWriter json;
  bool open = false;
};

class HtmlReport final : public Report {
public:
  explicit HtmlReport(FILE *file) : file(file) {}
  void begin(const char *title) {
    fputs("<!doctype html><meta charset=\"utf-8\"><title>", file);
    escaped(title);
    fputs("</title><style>body{font:14px system-ui,sans-serif;margin:2em auto;max-width:60em}"
          "table{border-collapse:collapse;width:100%}td{border-bottom:1px solid #ddd;padding:3px 8px}"
          "td+td{text-align:right;font-variant-numeric:tabular-nums}</style><h1>",
          file);
    escaped(title);
    fputs("</h1>\n", file);
  }
  void section(const char *, const char *title) override {
    end();
    fputs("<h2>", file);
    escaped(title);
    fputs("</h2><table>\n", file);
    open = true;
  }
  void text(const char *key, const char *value) override {
    fputs("<tr><td>", file);
    escaped(key);
    fputs("<td>", file);
    escaped(value);
    fputc('\n', file);
  }
  void count(const char *key, uint64_t value, const char *unit) override {
    char number[64];
    snprintf(number, sizeof number, "%llu%s%s", (unsigned long long)value, *unit ? " " : "", unit);
    text(key, number);
  }
  void end() {
    if (open)
      fputs("</table>\n", file);
    open = false;
  }

private:
  void escaped(const char *value) {
    for (; *value; ++value)
      if (strchr("<>&\"", *value))
        fprintf(file, "&#%d;", *value);
      else
        fputc(*value, file);
  }
  FILE *file;
  bool open = false;
};

const char *textOr(const flatbuffers::String *text, const char *otherwise) { return text ? text->c_str() : otherwise; }

/// Bytes of KV pages that one sequence of the whole context needs.
uint64_t kvBytesOfSequence(const Model &model) {
  uint64_t bytes = 0;
  uint64_t pages = ceilDiv(model.bounds().context, uint64_t(kPagePositions));
  if (auto *states = model.metadata().states())
    for (const fb::State *state : *states)
      if (state->kv())
        bytes += model.executionPlan().target().kvLayout.pageBytes(*state->kv()) * pages;
  return bytes;
}

void describeModel(const Model &model, Report &report) {
  const fb::Artifact &metadata = model.metadata();
  const fb::Model &info = *metadata.model();
  report.section("model", "Model");
  report.text("architecture", textOr(info.architecture(), ""));
  report.text("name", textOr(info.name(), ""));
  report.text("license", textOr(info.license(), ""));
  report.count("vocab_size", info.vocab_size());
  report.count("context", info.context());
  report.count("trained_context", info.trained_context());
  report.count("batch", info.batch());
  report.count("rows", info.rows());
  report.count("sequences", info.sequences());
  report.text("tokenizer", model.tokenizer() ? "yes" : "no");
  report.section("artifact", "Artifact");
  report.count("bytes", model.fileBytes());
  if (const fb::Provenance *provenance = metadata.provenance()) {
    report.text("version", textOr(provenance->version(), ""));
    report.text("options", textOr(provenance->options(), ""));
  }
  if (const fb::Target *target = metadata.target()) {
    report.text("triple", textOr(target->triple(), ""));
    report.text("isa_family", textOr(target->isa_family(), ""));
  }
}

void describeMemory(const Model &model, Report &report) {
  const fb::Artifact &metadata = model.metadata();
  uint64_t segments[2] = {};
  if (metadata.segments())
    for (const fb::Segment *segment : *metadata.segments())
      segments[segment->kind() == fb::SegmentKind::code] += segment->size();
  ScratchNeed scratch = model.executionPlan().scratch(1);
  report.section("sizes", "Sizes by kind, and the memory plan");
  report.count("weights", segments[0], "bytes");
  report.count("code", segments[1], "bytes");
  report.count("metadata", model.fileBytes() - segments[0] - segments[1], "bytes");
  report.count("arena", metadata.arena_size(), "bytes");
  report.count("scratch", scratch.shared + scratch.perWorker, "bytes");
  report.count("kv_of_a_sequence", kvBytesOfSequence(model), "bytes");
  if (!metadata.constants())
    return;
  report.section("formats", "Weights by format");
  uint64_t byFormat[64] = {};
  for (const fb::Constant *constant : *metadata.constants())
    byFormat[constant->weight() ? unsigned(constant->weight()->format()) % 64 : 0] += constant->size();
  for (unsigned format = 0; format < 64; ++format)
    if (byFormat[format])
      report.count(fb::EnumNameWeightFormat(fb::WeightFormat(format)), byFormat[format], "bytes");
}

void describePlan(const Model &model, Report &report) {
  const fb::Artifact &metadata = model.metadata();
  const Plan &plan = model.executionPlan();
  report.section("states", "States");
  if (metadata.states())
    for (const fb::State *state : *metadata.states()) {
      char text[128];
      const fb::KvSpec &kv = *state->kv();
      snprintf(text, sizeof text, "kv %s, %u heads of %u, window %u", fb::EnumNameDType(kv.dtype()), kv.kv_heads(),
               kv.head_dim(), kv.window());
      report.text(state->name()->c_str(), text);
    }
  report.section("kernels", "Kernels (calls in the plan)");
  if (metadata.kernels())
    for (uint32_t i = 0; i < metadata.kernels()->size(); ++i) {
      char name[96];
      uint64_t calls = 0;
      for (const Plan::KernelCall &call : plan.kernelCalls())
        calls += call.kernel == plan.program().kernels[i];
      snprintf(name, sizeof name, "%.80s@%u", metadata.kernels()->Get(i)->name()->c_str(),
               metadata.kernels()->Get(i)->version());
      report.count(name, calls);
    }
  report.section("codes", "Code objects");
  if (metadata.codes())
    for (const fb::Code *code : *metadata.codes())
      report.text(code->name()->c_str(), textOr(code->triple(), ""));
  report.section("taps", "Taps");
  if (metadata.taps())
    for (const fb::Tap *tap : *metadata.taps())
      report.count(tap->name()->c_str(), tap->slot());
  report.section("weights", "Weights");
  if (metadata.constants())
    for (const fb::Constant *constant : *metadata.constants()) {
      char text[160];
      if (const fb::WeightDesc *weight = constant->weight())
        snprintf(text, sizeof text, "%s [%llu, %llu], %llu bytes", fb::EnumNameWeightFormat(weight->format()),
                 (unsigned long long)weight->n(), (unsigned long long)weight->k(), (unsigned long long)constant->size());
      else
        snprintf(text, sizeof text, "%llu bytes", (unsigned long long)constant->size());
      report.text(constant->name()->c_str(), text);
    }
}

void describe(const Model &model, Report &report) {
  describeModel(model, report);
  describeMemory(model, report);
  describePlan(model, report);
}

/// The page appears under its name when it is complete.
Status writeHtml(const Model &model, const char *path) {
  char temporary[4096];
  if (snprintf(temporary, sizeof temporary, "%s.%d.part", path, int(getpid())) >= int(sizeof temporary))
    return Error(ErrorCode::InvalidArgument, "%s: the path is too long", path);
  FILE *file = fopen(temporary, "wxe");
  if (!file)
    return Error(ErrorCode::Io, "%s: %s", path, strerror(errno));
  HtmlReport report(file);
  report.begin(model.name());
  describe(model, report);
  report.end();
  bool lost = fflush(file) || ferror(file);
  if (fclose(file) || lost || rename(temporary, path)) {
    Error error(ErrorCode::Io, "%s: %s", path, strerror(errno));
    unlink(temporary);
    return error;
  }
  return {};
}

Status inspect(const char *file, const SessionArguments &arguments, const char *html, bool asJson) {
  MLC_ASSIGN(Owned<Model> model, openModel(file, arguments));
  if (html)
    MLC_TRY(writeHtml(*model, html));
  if (asJson) {
    JsonReport report;
    describe(*model, report);
    return report.finish();
  }
  if (html)
    return {};
  TextReport report;
  describe(*model, report);
  return flushOutput();
}

} // namespace

int inspectCommand(int argc, char **argv) {
  SessionArguments arguments;
  const char *html = nullptr;
  bool json = false;
  const Option options[] = {
      {"json", nullptr, "one JSON object on stdout", OptionKind::flag, &json},
      {"html", "F", "write a page to look at", OptionKind::text, &html},
  };
  Command command{argv[0], "OUT.mlca", "What is inside: model, sizes by kind, memory plan, states, kernels, weights.",
                  options, "mlc inspect model.mlca --html model.html"};
  const char *file;
  if (Parsed parsed = parseOptions(command, argc, argv, file); parsed.leave)
    return parsed.status;
  if (Status done = inspect(file, arguments, html, json); !done)
    return fail(done.error());
  return 0;
}

} // namespace mlc::cli
