//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/artifact/Inspect.h"

#include <cmath>

namespace mlc {

using ull = unsigned long long;

namespace {

// Commas and keys of nested objects and arrays.
class JsonEmitter {
public:
  explicit JsonEmitter(TextWriter &out) : out(out) {}
  void open(const char *key, char bracket) {
    prefix(key);
    out.put(&bracket, 1);
    first = true;
  }
  void close(char bracket) {
    out.put(&bracket, 1);
    first = false;
  }
  void number(const char *key, uint64_t value) {
    prefix(key);
    out.format("%llu", ull(value));
  }
  void real(const char *key, double value) {
    prefix(key);
    // JSON knows no NaN and no infinity.
    std::isfinite(value) ? out.format("%.9g", value) : out.put("null");
  }
  void boolean(const char *key, bool value) {
    prefix(key);
    out.put(value ? "true" : "false");
  }
  void string(const char *key, const char *value) {
    prefix(key);
    out.json(value, strlen(value));
  }
  void string(const char *key, const flatbuffers::String *value) {
    prefix(key);
    out.json(value);
  }
  void strings(const char *key, const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>> *values) {
    open(key, '[');
    for (uint32_t i = 0; values && i < values->size(); ++i)
      string(nullptr, values->Get(i));
    close(']');
  }
  /// fn(table) between braces, for each table.
  template <typename T, typename F> void tables(const char *key, const flatbuffers::Vector<T> *values, const F &fn) {
    open(key, '[');
    for (uint32_t i = 0; values && i < values->size(); ++i) {
      open(nullptr, '{');
      fn(*values->Get(i), i);
      close('}');
    }
    close(']');
  }

private:
  void prefix(const char *key) {
    if (!first)
      out.put(", ");
    first = false;
    if (key)
      out.format("\"%s\": ", key);
  }
  TextWriter &out;
  bool first = true;
};

} // namespace

static void jsonSlot(JsonEmitter &json, const fb::Artifact &meta, uint32_t index) {
  json.number("slot", index);
  if (!meta.slots() || index >= meta.slots()->size())
    return;
  const fb::Slot &slot = *meta.slots()->Get(index);
  json.string("name", slot.name());
  json.string("dtype", fb::EnumNameDType(slot.dtype()));
  json.open("shape", '[');
  for (uint32_t i = 0; slot.dims() && i < slot.dims()->size(); ++i) {
    const fb::Dim &dim = *slot.dims()->Get(i);
    if (dim.extent() >= 0 && meta.extents() && uint32_t(dim.extent()) < meta.extents()->size() && dim.value() == 1)
      json.string(nullptr, meta.extents()->Get(uint32_t(dim.extent()))->name());
    else
      json.number(nullptr, uint64_t(dim.value()));
  }
  json.close(']');
}

static void jsonModel(JsonEmitter &json, const fb::Model &model) {
  json.open("model", '{');
  json.string("architecture", model.architecture());
  json.string("name", model.name());
  json.string("license", model.license());
  json.number("vocab_size", model.vocab_size());
  json.number("trained_context", model.trained_context());
  json.number("context", model.context());
  json.number("batch", model.batch());
  json.number("rows", model.rows());
  json.number("sequences", model.sequences());
  json.boolean("prompt_form", model.prompt_form());
  json.open("end_tokens", '[');
  for (uint32_t i = 0; model.end_tokens() && i < model.end_tokens()->size(); ++i)
    json.number(nullptr, model.end_tokens()->Get(i));
  json.close(']');
  if (const fb::Sampling *sampling = model.sampling()) {
    json.open("sampling", '{');
    json.boolean("do_sample", sampling->do_sample());
    json.real("temperature", double(sampling->temperature()));
    json.number("top_k", sampling->top_k());
    json.real("top_p", double(sampling->top_p()));
    json.real("min_p", double(sampling->min_p()));
    json.real("repetition_penalty", double(sampling->repetition_penalty()));
    json.close('}');
  }
  json.close('}');
}

static void jsonSizes(JsonEmitter &json, const fb::Artifact &meta, const ArtifactFacts &facts,
                      std::span<const RamFigure> ram) {
  json.open("sizes", '{');
  json.number("header", kMetadataOffset);
  json.number("metadata", facts.metadataBytes);
  json.number("weights", facts.weightBytes);
  json.number("code", facts.codeBytes);
  json.number("padding", facts.paddingBytes);
  json.open("weights_by_format", '{');
  for (unsigned format = 0; format < 256; ++format)
    if (const char *name = fb::EnumNameWeightFormat(fb::WeightFormat(format)); facts.bytesOfFormat[format])
      json.number(*name ? name : "unknown", facts.bytesOfFormat[format]);
  if (facts.unpackedBytes)
    json.number("vectors", facts.unpackedBytes);
  json.close('}');
  json.close('}');
  json.open("memory", '{');
  json.number("arena", meta.arena_size());
  json.number("kv_per_position", facts.kvBytesPerPosition);
  json.number("kv_per_sequence", facts.kvBytesPerSequence);
  json.number("recurrent_per_sequence", facts.recurrentBytesPerSequence);
  json.open("ram", '[');
  for (const RamFigure &figure : ram) {
    json.open(nullptr, '{');
    json.number("sequences", figure.sequences);
    json.number("weights", figure.weights);
    json.number("states", figure.states);
    json.number("arenas", figure.arenas);
    json.number("scratch_per_thread", figure.scratchPerThread);
    json.number("total", figure.total());
    json.close('}');
  }
  json.close(']');
  json.close('}');
}

static void jsonTables(JsonEmitter &json, const fb::Artifact &meta, const ArtifactFacts &facts) {
  json.tables("segments", meta.segments(), [&](const fb::Segment &segment, uint32_t) {
    json.string("kind", fb::EnumNameSegmentKind(segment.kind()));
    json.number("offset", segment.offset());
    json.number("size", segment.size());
  });
  json.tables("extents", meta.extents(), [&](const fb::Extent &extent, uint32_t) {
    json.string("name", extent.name());
    json.number("bound", extent.bound());
  });
  json.tables("states", meta.states(), [&](const fb::State &state, uint32_t) {
    json.string("name", state.name());
    json.string("kind", fb::EnumNameStateKind(state.kind()));
    json.string("scope", fb::EnumNameStateScope(state.scope()));
    if (const fb::KvSpec *spec = state.kv()) {
      json.number("kv_heads", spec->kv_heads());
      json.number("head_dim", spec->head_dim());
      json.string("dtype", fb::EnumNameDType(spec->dtype()));
      json.number("window", spec->window());
    }
    if (const fb::RecurrentSpec *spec = state.recurrent()) {
      json.string("dtype", fb::EnumNameDType(spec->dtype()));
      json.open("dims", '[');
      if (spec->dims())
        for (uint64_t dim : *spec->dims())
          json.number(nullptr, dim);
      json.close(']');
      json.number("groups", spec->groups());
      json.number("log_columns", spec->log_columns());
    }
    if (const fb::CarrySpec *spec = state.carry()) {
      for (uint32_t slot : {spec->input(), spec->output()}) {
        json.open(slot == spec->input() ? "input" : "output", '{');
        jsonSlot(json, meta, slot);
        json.close('}');
      }
    }
  });
  json.tables("kernels", meta.kernels(), [&](const fb::Kernel &kernel, uint32_t index) {
    json.string("name", kernel.name());
    json.number("version", kernel.version());
    json.number("calls", facts.callsOf(index));
  });
  json.tables("codes", meta.codes(), [&](const fb::Code &code, uint32_t index) {
    json.string("name", code.name());
    json.number("calls", facts.callsOfCode(index));
    json.string("triple", code.triple());
    json.tables("variants", code.variants(), [&](const fb::CodeVariant &variant, uint32_t) {
      json.string("isa", variant.isa());
      json.number("segment", variant.segment());
      json.number("entry", variant.entry());
      json.number("size", variant.size());
    });
  });
  if (meta.images())
    json.tables("images", meta.images(), [&](const fb::Image &image, uint32_t) {
      json.string("module", image.module_());
      json.string("arch", image.arch());
      json.number("size", image.size());
    });
  json.tables("functions", meta.functions(), [&](const fb::Function &function, uint32_t) {
    json.string("name", function.name());
    json.number("ops", countOps(function.body()));
    for (bool outputs : {false, true}) {
      auto *slots = outputs ? function.outputs() : function.inputs();
      json.open(outputs ? "outputs" : "inputs", '[');
      for (uint32_t i = 0; slots && i < slots->size(); ++i) {
        json.open(nullptr, '{');
        if (const flatbuffers::String *port = portName(function, outputs, i))
          json.string("port", port);
        jsonSlot(json, meta, slots->Get(i));
        json.close('}');
      }
      json.close(']');
    }
  });
  json.tables("constants", meta.constants(), [&](const fb::Constant &constant, uint32_t) {
    json.string("name", constant.name());
    json.number("segment", constant.segment());
    json.number("offset", constant.offset());
    json.number("size", constant.size());
    if (const fb::WeightDesc *weight = constant.weight()) {
      json.string("format", fb::EnumNameWeightFormat(weight->format()));
      json.number("n", weight->n());
      json.number("k", weight->k());
      json.number("group", weight->group());
      json.boolean("asymmetric", weight->asymmetric());
    }
    json.strings("source", constant.source());
  });
  json.tables("taps", meta.taps(), [&](const fb::Tap &tap, uint32_t) {
    json.string("tap", tap.name());
    jsonSlot(json, meta, tap.slot());
  });
}

void inspectJson(const Artifact &artifact, std::span<const RamFigure> ram, const InspectSink &sink) {
  TextWriter out(sink);
  JsonEmitter json(out);
  const fb::Artifact &meta = artifact.metadata();
  json.open(nullptr, '{');
  json.string("file", artifact.name());
  json.number("bytes", artifact.fileSize());
  json.number("format", artifact.header().version);
  char digest[17];
  snprintf(digest, sizeof digest, "%016llx", ull(artifact.digest()));
  json.string("digest", digest);
  ArtifactFacts facts = gatherFacts(artifact);
  json.boolean("code", facts.codeBytes != 0);
  json.strings("required_features", meta.required_features());
  json.number("ranks", meta.ranks());
  json.number("rank_weights", facts.weightBytes - bytesOfOtherRanks(meta));
  if (const fb::Provenance *provenance = meta.provenance()) {
    json.string("version", provenance->version());
    json.string("options", provenance->options());
  }
  if (const fb::Target *target = meta.target()) {
    json.open("target", '{');
    json.string("triple", target->triple());
    json.string("isa_family", target->isa_family());
    json.strings("cpu", target->cpu());
    json.close('}');
  }
  if (meta.model())
    jsonModel(json, *meta.model());
  json.boolean("tokenizer", meta.tokenizer() != nullptr);
  json.boolean("chat_template",
               meta.tokenizer() && meta.tokenizer()->chat_template() && meta.tokenizer()->chat_template()->size());
  jsonSizes(json, meta, facts, ram);
  jsonTables(json, meta, facts);
  json.string("report", meta.report());
  json.close('}');
  out.put("\n");
}

} // namespace mlc
