//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/artifact/Inspect.h"
#include "runtime/artifact/ProgramVerifier.h"
#include "runtime/exec/Kernel.h"

#include <algorithm>

namespace mlc {

using ull = unsigned long long;

// Saturates: nothing here is verified.
static uint64_t times(uint64_t a, uint64_t b) {
  uint64_t product;
  return checkedMul(a, b, product) ? product : UINT64_MAX;
}
static uint64_t plus(uint64_t a, uint64_t b) {
  uint64_t sum;
  return checkedAdd(a, b, sum) ? sum : UINT64_MAX;
}

// FlatBuffers' own limits bound the depth and the number of tables here.
template <typename F> static void forEachOp(const fb::Block *block, const F &visit) {
  if (!block || !block->ops())
    return;
  for (const fb::Op *op : *block->ops()) {
    visit(*op);
    if (auto *branch = op->body_as_If()) {
      forEachOp(branch->then_block(), visit);
      forEachOp(branch->else_block(), visit);
    }
    if (auto *loop = op->body_as_Loop())
      forEachOp(loop->body(), visit);
  }
}

uint64_t countOps(const fb::Block *block) {
  uint64_t count = 0;
  forEachOp(block, [&](const fb::Op &) { ++count; });
  return count;
}

const flatbuffers::String *portName(const fb::Function &function, bool output, uint32_t index) {
  auto *names = output ? function.output_names() : function.input_names();
  return index < countOf(names) ? names->Get(index) : nullptr;
}

static void countKernelCalls(const fb::Artifact &meta, ArtifactFacts &facts) {
  auto counts = OwnedArray<uint64_t>::create(systemAllocator(), countOf(meta.kernels()), "kernels");
  auto codes = OwnedArray<uint64_t>::create(systemAllocator(), countOf(meta.codes()), "code objects");
  if (!counts || !codes || !meta.functions())
    return;
  facts.kernelCalls = std::move(*counts);
  facts.codeCalls = std::move(*codes);
  for (const fb::Function *function : *meta.functions())
    forEachOp(function->body(), [&](const fb::Op &op) {
      const fb::KernelCall *call = op.body_as_KernelCall();
      if (call && call->kernel() < facts.kernelCalls.size())
        ++facts.kernelCalls[call->kernel()];
      const fb::CallCode *code = op.body_as_CallCode();
      if (code && code->code() < facts.codeCalls.size())
        ++facts.codeCalls[code->code()];
    });
}

ArtifactFacts gatherFacts(const Artifact &artifact) {
  const fb::Artifact &meta = artifact.metadata();
  ArtifactFacts facts;
  facts.metadataBytes = artifact.header().metadataSize;
  for (unsigned i = 0; i < artifact.segmentCount(); ++i) {
    const fb::Segment &segment = *meta.segments()->Get(i);
    (segment.kind() == fb::SegmentKind::weights ? facts.weightBytes : facts.codeBytes) += segment.size();
  }
  facts.paddingBytes =
      artifact.fileSize() - kMetadataOffset - facts.metadataBytes - facts.weightBytes - facts.codeBytes;
  if (meta.constants())
    for (const fb::Constant *constant : *meta.constants()) {
      uint64_t &bytes =
          constant->weight() ? facts.bytesOfFormat[uint8_t(constant->weight()->format())] : facts.unpackedBytes;
      bytes = plus(bytes, constant->size());
    }
  uint64_t context = meta.model() ? meta.model()->context() : 0;
  uint64_t every = meta.model() ? meta.model()->checkpoint_every() : 0;
  if (meta.states())
    for (const fb::State *state : *meta.states()) {
      if (const fb::RecurrentSpec *recurrent = state->recurrent()) {
        uint64_t base = recurrent->dtype() == fb::DType::bf16 ? 2 : 4;
        for (uint32_t i = 0; i < countOf(recurrent->dims()); ++i)
          base = times(base, recurrent->dims()->Get(i));
        uint64_t log = times(recurrent->log_columns(), sizeof(float) * uint64_t(kRecurrentPage));
        facts.recurrentBytesPerSequence = plus(facts.recurrentBytesPerSequence,
                                               plus(times(base, plus(2, every ? context / every : 0)), times(log, 2)));
      }
      const fb::KvSpec *spec = state->kv();
      if (state->kind() != fb::StateKind::kv || !spec)
        continue;
      uint64_t element = spec->dtype() == fb::DType::f32 ? 4 : spec->dtype() == fb::DType::i8 ? 1 : 2;
      // K and V of each head, and the scales of int8.
      uint64_t row = plus(times(spec->head_dim(), element), spec->dtype() == fb::DType::i8 ? sizeof(float) : 0);
      uint64_t bytes = times(times(row, spec->kv_heads()), 2);
      facts.kvBytesPerPosition = plus(facts.kvBytesPerPosition, bytes);
      uint64_t kept = spec->window() && spec->window() < context ? spec->window() : context;
      facts.kvBytesPerSequence = plus(facts.kvBytesPerSequence, times(bytes, kept));
    }
  countKernelCalls(meta, facts);
  return facts;
}

void TextWriter::format(const char *text, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, text);
  int length = vsnprintf(line, sizeof line, text, arguments);
  va_end(arguments);
  put(line, std::min<size_t>(size_t(length), sizeof line - 1));
}

void TextWriter::plain(const flatbuffers::String *text) {
  for (uint32_t i = 0; text && i < text->size(); ++i) {
    char byte = text->c_str()[i];
    put(static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f ? "?" : &byte, 1);
  }
}

// Length of the UTF-8 character at `text`, 0 when there is none.
static size_t utf8Length(const unsigned char *text, size_t left) {
  auto tail = [&](size_t count, unsigned char low, unsigned char high) {
    if (left <= count || text[1] < low || text[1] > high)
      return false;
    for (size_t i = 2; i <= count; ++i)
      if (text[i] < 0x80 || text[i] > 0xbf)
        return false;
    return true;
  };
  unsigned char lead = text[0];
  if (lead < 0x80)
    return 1;
  if (lead >= 0xc2 && lead <= 0xdf)
    return tail(1, 0x80, 0xbf) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef)
    return tail(2, lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf) ? 3 : 0;
  if (lead >= 0xf0 && lead <= 0xf4)
    return tail(3, lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf) ? 4 : 0;
  return 0;
}

void TextWriter::json(const char *text, size_t size) {
  put("\"");
  for (size_t i = 0; i < size;) {
    auto *at = reinterpret_cast<const unsigned char *>(text) + i;
    size_t length = utf8Length(at, size - i);
    if (!length)
      put("\\ufffd");
    else if (*at == '"' || *at == '\\')
      format("\\%c", *at);
    else if (*at < 0x20 || *at == 0x7f)
      format("\\u%04x", *at);
    else
      put(text + i, length);
    i += length ? length : 1;
  }
  put("\"");
}

void TextWriter::json(const flatbuffers::String *text) {
  if (text)
    json(text->c_str(), text->size());
  else
    put("\"\"");
}

void TextWriter::html(const flatbuffers::String *text) {
  for (uint32_t i = 0; text && i < text->size(); ++i) {
    char byte = text->c_str()[i];
    if (byte == '&')
      put("&amp;");
    else if (byte == '<')
      put("&lt;");
    else if (byte == '"')
      put("&quot;");
    else
      put(&byte, 1);
  }
}

void TextWriter::size(uint64_t bytes) {
  static constexpr const char *kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024)
    return format("%llu B", ull(bytes));
  double value = double(bytes) / 1024;
  unsigned unit = 0;
  for (; value >= 1024 && unit < 5; ++unit)
    value /= 1024;
  format(value < 10 ? "%.2f %s" : "%.1f %s", value, kUnits[unit]);
}

void TextWriter::shape(const fb::Artifact &metadata, uint32_t slot) {
  if (slot >= countOf(metadata.slots()))
    return put("?");
  const fb::Slot &table = *metadata.slots()->Get(slot);
  put(fb::EnumNameDType(table.dtype()));
  put("[");
  for (uint32_t i = 0; i < countOf(table.dims()); ++i) {
    const fb::Dim &dim = *table.dims()->Get(i);
    if (i)
      put(", ");
    bool follows = dim.extent() >= 0 && size_t(dim.extent()) < countOf(metadata.extents());
    if (!follows || dim.value() != 1)
      format("%lld", static_cast<long long>(dim.value()));
    if (follows) {
      put(dim.value() != 1 ? "*" : "");
      plain(metadata.extents()->Get(uint32_t(dim.extent()))->name());
    }
  }
  put("]");
}

static void textModel(const fb::Model &model, TextWriter &out) {
  out.put("  model      ");
  out.plain(model.architecture());
  if (model.name() && model.name()->size()) {
    out.put(", ");
    out.plain(model.name());
  }
  if (model.vocab_size())
    out.format(", vocabulary %llu, trained for %llu positions", ull(model.vocab_size()), ull(model.trained_context()));
  if (model.license() && model.license()->size()) {
    out.put(", license ");
    out.plain(model.license());
  }
  out.format("\n  bounds     context %llu, batch %llu, rows %llu, sequences %llu\n", ull(model.context()),
             ull(model.batch()), ull(model.rows()), ull(model.sequences()));
  if (const fb::Sampling *sampling = model.sampling())
    out.format("  sampling   %s, temperature %g, top-k %u, top-p %g, min-p %g, repeat penalty %g\n",
               sampling->do_sample() ? "on" : "greedy", double(sampling->temperature()), sampling->top_k(),
               double(sampling->top_p()), double(sampling->min_p()), double(sampling->repetition_penalty()));
  if (countOf(model.end_tokens())) {
    out.put("  end tokens");
    for (uint32_t token : *model.end_tokens())
      out.format(" %u", token);
    out.put("\n");
  }
}

static void textRam(const RamFigure &figure, bool first, TextWriter &out) {
  out.format("%s%llu sequence%s: ", first ? "  RAM        " : "             ", ull(figure.sequences),
             figure.sequences == 1 ? "" : "s");
  out.size(figure.total());
  out.put(" = weights ");
  out.size(figure.weights);
  out.put(" + states ");
  out.size(figure.states);
  out.put(" + arenas ");
  out.size(figure.arenas);
  out.put(" (each thread more: ");
  out.size(figure.scratchPerThread);
  out.put(")\n");
}

static void textPort(const fb::Artifact &meta, const fb::Function &function, bool output, uint32_t index,
                     TextWriter &out) {
  if (const flatbuffers::String *port = portName(function, output, index)) {
    out.plain(port);
    out.put(" ");
  }
  out.shape(meta, (output ? function.outputs() : function.inputs())->Get(index));
}

static void textStreams(const fb::Artifact &meta, TextWriter &out) {
  const char *title = "  streams    ";
  for (uint32_t i = 0; i < countOf(meta.states()); ++i) {
    const fb::State &state = *meta.states()->Get(i);
    if (!state.carry())
      continue;
    out.put(title);
    title = "             ";
    out.plain(state.name());
    out.put(" ");
    out.shape(meta, state.carry()->input());
    out.put("\n");
  }
}

static void textFunctions(const fb::Artifact &meta, TextWriter &out) {
  for (uint32_t i = 0; i < countOf(meta.functions()); ++i) {
    const fb::Function &function = *meta.functions()->Get(i);
    out.put(i ? "             " : "  functions  ");
    out.plain(function.name());
    out.put("(");
    for (uint32_t k = 0; k < countOf(function.inputs()); ++k) {
      out.put(k ? ", " : "");
      textPort(meta, function, false, k, out);
    }
    out.put(") -> (");
    for (uint32_t k = 0; k < countOf(function.outputs()); ++k) {
      out.put(k ? ", " : "");
      textPort(meta, function, true, k, out);
    }
    out.format("), %llu ops\n", ull(countOps(function.body())));
  }
}

void inspectText(const Artifact &artifact, std::span<const RamFigure> ram, const InspectSink &sink) {
  TextWriter out(sink);
  const fb::Artifact &meta = artifact.metadata();
  ArtifactFacts facts = gatherFacts(artifact);
  out.put(artifact.name());
  out.put(": ");
  out.size(artifact.fileSize());
  out.format(", format %u, digest %016llx, %s\n", artifact.header().version, ull(artifact.digest()),
             !facts.codeBytes         ? "data only"
             : countOf(meta.images()) ? "carries a GPU's kernels"
                                      : "carries code objects");
  if (const fb::Provenance *provenance = meta.provenance()) {
    out.put("  made by    mlc ");
    out.plain(provenance->version());
    out.put(" ");
    out.plain(provenance->options());
    out.put("\n");
  }
  if (const fb::Target *target = meta.target()) {
    out.put("  target     ");
    out.plain(target->triple());
    for (uint32_t i = 0; i < countOf(target->cpu()); ++i) {
      out.put(i ? ", " : countOf(meta.images()) ? ", gpu " : ", cpu ");
      out.plain(target->cpu()->Get(i));
    }
    out.put("\n");
  }
  if (meta.model())
    textModel(*meta.model(), out);
  if (meta.tokenizer() && countOf(meta.tokenizer()->chat_template()))
    out.format("  chat       template of %u bytes\n", countOf(meta.tokenizer()->chat_template()));
  out.put("  sizes      weights ");
  out.size(facts.weightBytes);
  if (meta.ranks() > 1) {
    out.format(" (%u GPUs, each ", meta.ranks());
    out.size(facts.weightBytes - bytesOfOtherRanks(meta));
    out.put(")");
  }
  out.put(", code ");
  out.size(facts.codeBytes);
  out.put(", metadata ");
  out.size(facts.metadataBytes);
  out.put("\n  memory     activations ");
  out.size(meta.arena_size());
  if (facts.kvBytesPerPosition) {
    out.put(", KV ");
    out.size(facts.kvBytesPerPosition);
    out.put(" a position, ");
    out.size(facts.kvBytesPerSequence);
    out.put(" a full sequence");
  }
  if (facts.recurrentBytesPerSequence) {
    out.put(", recurrent states ");
    out.size(facts.recurrentBytesPerSequence);
    out.put(" a sequence");
  }
  out.put("\n");
  for (const RamFigure &figure : ram)
    textRam(figure, &figure == ram.data(), out);
  textFunctions(meta, out);
  textStreams(meta, out);
  for (uint32_t i = 0; i < countOf(meta.codes()); ++i) {
    out.put(i ? "             " : "  codes      ");
    out.plain(meta.codes()->Get(i)->name());
    // A GPU's are in every image of regions.
    uint32_t forms = countOf(meta.codes()->Get(i)->variants());
    for (uint32_t image = 0; image < countOf(meta.images()); ++image)
      forms += isRegions(*meta.images()->Get(image));
    out.format(": %llu calls, %u forms\n", ull(facts.callsOfCode(i)), forms);
  }
  for (uint32_t i = 0; i < countOf(meta.kernels()); ++i) {
    out.put(i ? "             " : "  kernels    ");
    out.plain(meta.kernels()->Get(i)->name());
    out.format(" %u: %llu calls\n", meta.kernels()->Get(i)->version(), ull(facts.callsOf(i)));
  }
  for (uint32_t i = 0; i < countOf(meta.constants()); ++i) {
    const fb::Constant &constant = *meta.constants()->Get(i);
    out.put(i ? "             " : "  constants  ");
    out.plain(constant.name());
    if (const fb::WeightDesc *weight = constant.weight())
      out.format(" %s [%llu, %llu]", fb::EnumNameWeightFormat(weight->format()), ull(weight->n()), ull(weight->k()));
    out.put(" ");
    out.size(constant.size());
    out.put("\n");
  }
  for (uint32_t i = 0; i < countOf(meta.taps()); ++i) {
    const fb::Tap &tap = *meta.taps()->Get(i);
    out.put(i ? "             " : "  taps       ");
    out.plain(tap.name());
    out.put(" ");
    out.shape(meta, tap.slot());
    out.put("\n");
  }
}

} // namespace mlc
