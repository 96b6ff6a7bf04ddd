//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/artifact/InspectGraph.h"

namespace mlc {

using ull = unsigned long long;

static constexpr const char *kHead =
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>mlc artifact</title><style>"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 "
    "1rem;color:#1c2430;background:#fff}"
    "h1{font-size:1.4rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-top:2rem}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid "
    "#d8dee6;"
    "vertical-align:top;overflow-wrap:anywhere}td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:"
    "tabular-nums}.bar{display:flex;height:1.4rem;border-radius:.3rem;overflow:hidden;background:#eef1f5}"
    ".bar i{display:block}.w{background:#3f6fb5}.c{background:#c77b30}.m{background:#5b9b62}.p{background:#b9c1cc}"
    ".key i{display:inline-block;width:.8rem;height:.8rem;border-radius:.2rem;margin:0 .35rem 0 1rem}"
    "@media(prefers-color-scheme:dark){body{background:#14181e;color:#dbe2ea}th,td{border-color:#2c3540}"
    ".bar{background:#232b35}.g text{fill:#dbe2ea}}.g{font:11px system-ui,sans-serif}.g tspan{fill:#7d8896}.g "
    "rect{fill:#c77b30}.g .w rect{fill:#3f6fb5;fill-opacity:.55;stroke:#27456f;stroke-width:.3}.g circle{fill:#3f6fb5}"
    "</style></head><body>";

namespace {

class Page {
public:
  Page(const Artifact &artifact, std::span<const RamFigure> ram, const InspectSink &sink, std::span<const double> times)
      : artifact(artifact), meta(artifact.metadata()), facts(gatherFacts(artifact)), ram(ram), times(times), out(sink) {
  }

  void write() {
    out.put(kHead);
    head();
    sizes();
    functions();
    kernels();
    codes();
    states();
    constants();
    taps();
    graphs();
    out.put("</body></html>\n");
  }

private:
  void row(const char *label, const flatbuffers::String *value) {
    if (!value || !value->size())
      return;
    out.format("<tr><th>%s</th><td>", label);
    out.html(value);
    out.put("</td></tr>");
  }
  void row(const char *label, uint64_t value) { out.format("<tr><th>%s</th><td>%llu</td></tr>", label, ull(value)); }
  void rowSize(const char *label, uint64_t bytes) {
    out.format("<tr><th>%s</th><td>", label);
    out.size(bytes);
    out.put("</td></tr>");
  }
  void nameCell(const flatbuffers::String *name) {
    out.put("<tr><td>");
    out.html(name);
    out.put("</td>");
  }
  void sizeCell(uint64_t bytes) {
    out.put("<td class=\"n\">");
    out.size(bytes);
    out.put("</td>");
  }

  void head() {
    out.put("<h1>");
    for (const char *at = artifact.name(); *at; ++at)
      *at == '<' ? out.put("&lt;") : *at == '&' ? out.put("&amp;") : out.put(at, 1);
    out.put("</h1><table>");
    rowSize("size", artifact.fileSize());
    out.format("<tr><th>digest</th><td>%016llx</td></tr><tr><th>contents</th><td>%s</td></tr>", ull(artifact.digest()),
               facts.codeBytes ? "data and code" : "data only");
    if (meta.provenance()) {
      row("mlc", meta.provenance()->version());
      row("options", meta.provenance()->options());
    }
    if (meta.target())
      row("target", meta.target()->triple());
    if (const fb::Model *model = meta.model()) {
      row("architecture", model->architecture());
      row("model", model->name());
      row("license", model->license());
      row("vocabulary", model->vocab_size());
      row("context", model->context());
      row("tokens of a step", model->batch());
      row("sequences", model->sequences());
    }
    out.put("</table>");
  }

  void part(const char *style, uint64_t bytes) {
    out.format("<i class=\"%s\" style=\"width:%.3f%%\"></i>", style,
               100.0 * double(bytes) / double(artifact.fileSize()));
  }
  void key(const char *style, const char *label, uint64_t bytes) {
    out.format("<i class=\"%s\"></i>%s ", style, label);
    out.size(bytes);
  }
  void sizes() {
    out.put("<h2>Sizes</h2><div class=\"bar\">");
    part("w", facts.weightBytes);
    part("c", facts.codeBytes);
    part("m", facts.metadataBytes);
    part("p", facts.paddingBytes);
    out.put("</div><p class=\"key\">");
    key("w", "weights", facts.weightBytes);
    key("c", "code", facts.codeBytes);
    key("m", "metadata", facts.metadataBytes);
    key("p", "padding", facts.paddingBytes);
    out.put("</p><table>");
    for (unsigned format = 0; format < 256; ++format)
      if (facts.bytesOfFormat[format])
        rowSize(fb::EnumNameWeightFormat(fb::WeightFormat(format)), facts.bytesOfFormat[format]);
    rowSize("activations at run time", meta.arena_size());
    rowSize("KV of a position", facts.kvBytesPerPosition);
    rowSize("KV of a full sequence", facts.kvBytesPerSequence);
    if (facts.recurrentBytesPerSequence)
      rowSize("recurrent states of a sequence", facts.recurrentBytesPerSequence);
    for (const RamFigure &figure : ram) {
      out.format("<tr><th>RAM of %llu sequence%s</th><td>", ull(figure.sequences), figure.sequences == 1 ? "" : "s");
      out.size(figure.total());
      out.put(": weights ");
      out.size(figure.weights);
      out.put(", states ");
      out.size(figure.states);
      out.put(", arenas ");
      out.size(figure.arenas);
      out.put("</td></tr>");
    }
    out.put("</table>");
  }

  void slots(const fb::Function &function, bool outputs) {
    auto *list = outputs ? function.outputs() : function.inputs();
    out.put("<td>");
    for (uint32_t i = 0; list && i < list->size(); ++i) {
      out.put(i ? ", " : "");
      if (const flatbuffers::String *port = portName(function, outputs, i)) {
        out.html(port);
        out.put(" ");
      }
      // Extent names may hold markup; a shape without them would say less.
      if (meta.slots() && list->Get(i) < meta.slots()->size())
        shape(*meta.slots()->Get(list->Get(i)));
    }
    out.put("</td>");
  }
  void shape(const fb::Slot &slot) {
    out.put(fb::EnumNameDType(slot.dtype()));
    out.put("[");
    for (uint32_t i = 0; slot.dims() && i < slot.dims()->size(); ++i) {
      const fb::Dim &dim = *slot.dims()->Get(i);
      out.put(i ? ", " : "");
      bool follows = dim.extent() >= 0 && meta.extents() && uint32_t(dim.extent()) < meta.extents()->size();
      if (follows)
        out.html(meta.extents()->Get(uint32_t(dim.extent()))->name());
      if (!follows || dim.value() != 1)
        out.format(follows ? "*%lld" : "%lld", static_cast<long long>(dim.value()));
    }
    out.put("]");
  }

  void functions() {
    if (!meta.functions())
      return;
    out.put("<h2>Functions</h2><table><tr><th>name</th><th>inputs</th><th>outputs</th><th class=\"n\">ops</th></tr>");
    for (const fb::Function *function : *meta.functions()) {
      nameCell(function->name());
      slots(*function, false);
      slots(*function, true);
      out.format("<td class=\"n\">%llu</td></tr>", ull(countOps(function->body())));
    }
    out.put("</table>");
  }
  void kernels() {
    if (!meta.kernels())
      return;
    out.put("<h2>Kernels</h2><table><tr><th>name</th><th class=\"n\">version</th><th class=\"n\">calls</th></tr>");
    for (uint32_t i = 0; i < meta.kernels()->size(); ++i) {
      nameCell(meta.kernels()->Get(i)->name());
      out.format("<td class=\"n\">%u</td><td class=\"n\">%llu</td></tr>", meta.kernels()->Get(i)->version(),
                 ull(facts.callsOf(i)));
    }
    out.put("</table>");
  }
  void codes() {
    if (!meta.codes())
      return;
    out.put("<h2>Code objects</h2><table><tr><th>name</th><th>forms</th><th class=\"n\">calls</th></tr>");
    for (uint32_t i = 0; i < meta.codes()->size(); ++i) {
      nameCell(meta.codes()->Get(i)->name());
      out.put("<td>");
      if (auto *variants = meta.codes()->Get(i)->variants())
        for (uint32_t k = 0; k < variants->size(); ++k) {
          out.put(k ? ", " : "");
          out.html(variants->Get(k)->isa());
        }
      out.format("</td><td class=\"n\">%llu</td></tr>", ull(facts.callsOfCode(i)));
    }
    out.put("</table>");
  }
  void states() {
    if (!meta.states())
      return;
    out.put("<h2>States</h2><table><tr><th>name</th><th>kind</th><th>dtype</th><th class=\"n\">heads</th>"
            "<th class=\"n\">head width</th><th class=\"n\">window</th></tr>");
    for (const fb::State *state : *meta.states()) {
      nameCell(state->name());
      out.format("<td>%s</td>", fb::EnumNameStateKind(state->kind()));
      if (const fb::KvSpec *spec = state->kv())
        out.format("<td>%s</td><td class=\"n\">%u</td><td class=\"n\">%u</td><td class=\"n\">%u</td>",
                   fb::EnumNameDType(spec->dtype()), spec->kv_heads(), spec->head_dim(), spec->window());
      if (const fb::CarrySpec *spec = state->carry(); spec && meta.slots() && spec->input() < meta.slots()->size()) {
        out.put("<td></td><td colspan=\"3\">");
        shape(*meta.slots()->Get(spec->input()));
        out.put("</td>");
      }
      if (const fb::RecurrentSpec *spec = state->recurrent()) {
        out.format("<td>%s</td><td colspan=\"3\">", fb::EnumNameDType(spec->dtype()));
        const char *between = "";
        if (spec->dims())
          for (uint64_t dim : *spec->dims()) {
            out.format("%s%llu", between, ull(dim));
            between = " × ";
          }
        out.put("</td>");
      }
      out.put("</tr>");
    }
    out.put("</table>");
  }
  void constants() {
    if (!meta.constants())
      return;
    out.put(
        "<h2>Constants</h2><table><tr><th>name</th><th>format</th><th class=\"n\">shape</th><th class=\"n\">bytes</th>"
        "</tr>");
    for (const fb::Constant *constant : *meta.constants()) {
      nameCell(constant->name());
      if (const fb::WeightDesc *weight = constant->weight())
        out.format("<td>%s</td><td class=\"n\">%llu × %llu</td>", fb::EnumNameWeightFormat(weight->format()),
                   ull(weight->n()), ull(weight->k()));
      else
        out.put("<td></td><td></td>");
      sizeCell(constant->size());
      out.put("</tr>");
    }
    out.put("</table>");
  }
  void taps() {
    if (!meta.taps())
      return;
    out.put("<h2>Taps</h2><table><tr><th>name</th><th>shape</th></tr>");
    for (const fb::Tap *tap : *meta.taps()) {
      nameCell(tap->name());
      out.put("<td>");
      if (meta.slots() && tap->slot() < meta.slots()->size())
        shape(*meta.slots()->Get(tap->slot()));
      out.put("</td></tr>");
    }
    out.put("</table>");
  }

  /// Of the first functions: those that callers know.
  void graphs() {
    uint64_t before = 0; // Ops of the functions before.
    for (uint32_t i = 0; meta.functions() && i < meta.functions()->size() && i < 4; ++i) {
      const fb::Function &function = *meta.functions()->Get(i);
      out.put("<h2>");
      out.html(function.name());
      out.put("</h2>");
      inspectGraph(meta, function, before < times.size() ? times.subspan(size_t(before)) : std::span<const double>(),
                   out);
      before += countOps(function.body());
    }
  }

  const Artifact &artifact;
  const fb::Artifact &meta;
  ArtifactFacts facts;
  std::span<const RamFigure> ram;
  std::span<const double> times;
  TextWriter out;
};

} // namespace

void inspectHtml(const Artifact &artifact, std::span<const RamFigure> ram, const InspectSink &sink,
                 std::span<const double> times) {
  Page(artifact, ram, sink, times).write();
}

} // namespace mlc
