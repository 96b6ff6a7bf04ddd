//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "tests/unit/support/TinyArtifact.h"
#include "runtime/artifact/Machine.h"
#include "targets/cpu/pack/Pack.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <unistd.h>

namespace mlc::test {
namespace {

using fb::DType;

// Assembles the plan: slots, kernels and ops in the order they are asked for.
class Assembler {
public:
  Assembler(TinyModel &model, const TinyOptions &options) : model(model), options(options), random(options.seed) {}

  void assemble();

private:
  fb::ArtifactT &meta() { return model.metadata; }

  // splitmix64, as a float in [-1, 1).
  float uniform() {
    uint64_t z = random += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return float(int64_t((z ^ (z >> 31)) >> 40)) * 0x1p-23f - 1;
  }

  uint32_t extent(const char *name, uint64_t bound) {
    auto extent = std::make_unique<fb::ExtentT>();
    extent->name = name;
    extent->bound = bound;
    meta().extents.push_back(std::move(extent));
    return uint32_t(meta().extents.size() - 1);
  }

  fb::SlotT &newSlot(const std::string &name, DType type, std::vector<fb::Dim> dims) {
    auto slot = std::make_unique<fb::SlotT>();
    slot->name = name;
    slot->dtype = type;
    slot->dims = std::move(dims);
    meta().slots.push_back(std::move(slot));
    return *meta().slots.back();
  }
  uint32_t lastSlot() const { return uint32_t(model.metadata.slots.size() - 1); }

  // [extent] or [extent, columns] in the arena; nothing is shared, so a test may look at every value.
  uint32_t activation(const std::string &name, int extent, uint64_t columns, DType type = DType::f32) {
    std::vector<fb::Dim> dims{fb::Dim(1, extent)};
    if (columns)
      dims.emplace_back(int64_t(columns), -1);
    fb::SlotT &slot = newSlot(name, type, std::move(dims));
    slot.offset = meta().arena_size;
    uint64_t bytes = meta().extents[size_t(extent)]->bound * (columns ? columns : 1) * 4;
    meta().arena_size = alignUp<uint64_t>(slot.offset + bytes, 64);
    return lastSlot();
  }

  // Space in the weights segment, named in the table of constants.
  uint64_t constant(const std::string &name, uint64_t bytes, const fb::WeightDesc *desc) {
    uint64_t start = alignUp<uint64_t>(model.weights.size(), 64);
    model.weights.resize(start + bytes);
    auto entry = std::make_unique<fb::ConstantT>();
    entry->name = name;
    entry->offset = start;
    entry->size = bytes;
    entry->source = {name};
    if (desc)
      entry->weight = std::make_unique<fb::WeightDesc>(*desc);
    meta().constants.push_back(std::move(entry));
    return start;
  }

  uint32_t segmentSlot(const std::string &name, DType type, std::vector<fb::Dim> dims, uint64_t offset) {
    fb::SlotT &slot = newSlot(name, type, std::move(dims));
    slot.space = fb::Space::segment;
    slot.offset = offset;
    return lastSlot();
  }

  // offset + scale * uniform.
  uint32_t vectorWeight(const std::string &name, uint64_t count, float scale, float offset) {
    uint64_t start = constant(name, count * sizeof(float), nullptr);
    for (uint64_t i = 0; i < count; ++i) {
      float value = offset + scale * uniform();
      memcpy(model.weights.data() + start + i * sizeof value, &value, sizeof value);
    }
    return segmentSlot(name, DType::f32, {fb::Dim(int64_t(count), -1)}, start);
  }

  // Rows are tensors of their own dtype to the plan, packed weights are bytes.
  uint32_t matrixWeight(const std::string &name, const fb::WeightDesc &desc, float scale) {
    std::vector<float> rows(desc.n() * desc.k());
    for (float &value : rows)
      value = scale * uniform();
    auto bytes = cpu::packedBytes(desc);
    uint64_t start = constant(name, bytes ? *bytes : 0, &desc);
    if (!bytes || !cpu::packRows(desc, 0, desc.n(), rows.data(), model.weights.data() + start))
      abort();
    fb::Dim n(int64_t(desc.n()), -1), k(int64_t(desc.k()), -1);
    switch (desc.format()) {
    case fb::WeightFormat::rows_f32:
      return segmentSlot(name, DType::f32, {n, k}, start);
    case fb::WeightFormat::rows_f16:
      return segmentSlot(name, DType::f16, {n, k}, start);
    case fb::WeightFormat::rows_bf16:
      return segmentSlot(name, DType::bf16, {n, k}, start);
    default:
      return segmentSlot(name, DType::u8, {fb::Dim(int64_t(*bytes), -1)}, start);
    }
  }

  fb::WeightDesc linearDesc(uint64_t n, uint64_t k) const {
    bool quantized = cpu::isQuantized(options.format);
    return fb::WeightDesc(n, k, quantized ? options.group : 0, options.format, false);
  }

  uint32_t kernel(const char *name) {
    for (size_t i = 0; i < meta().kernels.size(); ++i)
      if (meta().kernels[i]->name == name)
        return uint32_t(i);
    auto entry = std::make_unique<fb::KernelT>();
    entry->name = name;
    entry->version = 1;
    meta().kernels.push_back(std::move(entry));
    return uint32_t(meta().kernels.size() - 1);
  }

  template <typename Attrs>
  void call(const char *name, Attrs attrs, std::vector<uint32_t> inputs, std::vector<uint32_t> outputs,
            std::vector<uint32_t> states = {}) {
    fb::KernelCallT call;
    call.kernel = kernel(name);
    call.inputs = std::move(inputs);
    call.outputs = std::move(outputs);
    call.states = std::move(states);
    call.attrs.Set(std::move(attrs));
    auto op = std::make_unique<fb::OpT>();
    op->location = std::string(name) + "." + std::to_string(block->ops.size());
    op->body.Set(std::move(call));
    block->ops.push_back(std::move(op));
  }

  // Each value is quantized once for all the weights that it meets.
  uint32_t quantized(uint32_t x, uint64_t k, int extent) {
    auto [place, fresh] = quantizedRows.try_emplace(x, 0);
    if (fresh) {
      fb::WeightDesc desc = linearDesc(16, k);
      cpu::RowGroups groups = cpu::rowGroups(desc);
      uint64_t bytes = cpu::quantizedRow(desc).bytes;
      place->second = activation(meta().slots[x]->name + ".q", extent, bytes, DType::u8);
      call("quantize_rows", fb::QuantizeRowsAttrs(k, groups.group, groups.sumGroup), {x}, {place->second});
    }
    return place->second;
  }

  uint32_t linear(const std::string &name, uint32_t x, uint64_t n, uint64_t k, int extent, int residual = -1) {
    auto desc = linearDesc(n, k);
    bool integer = cpu::isQuantized(options.format);
    uint32_t weight = matrixWeight(name, desc, 1.7f / sqrtf(float(k)));
    uint32_t out = activation(name + ".out", extent, n);
    std::vector<uint32_t> inputs{integer ? quantized(x, k, extent) : x, weight};
    if (residual >= 0)
      inputs.push_back(uint32_t(residual));
    call("linear", fb::LinearAttrs(desc, integer, false, residual >= 0, false, fb::Activation::none, 0, 0, false),
         inputs, {out});
    return out;
  }

  uint32_t norm(const std::string &name, uint32_t x, int extent) {
    uint32_t weight = vectorWeight(name, options.hidden, 0.4f, 1);
    uint32_t out = activation(name + ".out", extent, options.hidden);
    call("rms_norm", fb::RmsNormAttrs(options.hidden, 1e-5f, 0), {x, weight}, {out});
    return out;
  }

  /// Columns [first, first + columns) of a slot of `width`.
  uint32_t columnsOf(uint32_t slot, uint64_t width, uint64_t first, uint64_t columns) {
    uint64_t offset = meta().slots[slot]->offset + first * sizeof(float);
    std::string name = meta().slots[slot]->name + "." + std::to_string(first);
    fb::SlotT &view = newSlot(name, DType::f32, {meta().slots[slot]->dims[0], fb::Dim(int64_t(columns), -1)});
    view.strides = {int64_t(width), 1};
    view.offset = offset;
    return lastSlot();
  }

  uint32_t recurrentState(const std::string &name, fb::StateKind kind, DType type, std::vector<uint64_t> dims,
                          uint64_t columns, uint64_t groups) {
    auto state = std::make_unique<fb::StateT>();
    state->name = name;
    state->kind = kind;
    state->recurrent = std::make_unique<fb::RecurrentSpecT>();
    state->recurrent->dtype = type;
    state->recurrent->dims = std::move(dims);
    state->recurrent->log_columns = columns;
    state->recurrent->groups = groups;
    meta().states.push_back(std::move(state));
    return uint32_t(meta().states.size() - 1);
  }

  uint32_t attentionLayer(const std::string &prefix, uint32_t hidden, uint32_t angles);
  uint32_t recurrentLayer(const std::string &prefix, uint32_t hidden);
  uint32_t layer(unsigned index, uint32_t hidden, uint32_t angles);

  TinyModel &model;
  const TinyOptions &options;
  uint64_t random;
  int tokens = 0;
  fb::BlockT *block = nullptr;
  std::map<uint32_t, uint32_t> quantizedRows;
};

uint32_t Assembler::recurrentLayer(const std::string &prefix, uint32_t hidden) {
  uint64_t heads = options.ssmHeads, inner = heads * options.ssmHeadDim, bc = options.ssmGroups * options.ssmState,
           channels = inner + 2 * bc, width = inner + channels + heads;
  uint32_t conv =
      recurrentState(prefix + "conv", fb::StateKind::conv, DType::f32, {channels, options.convKernel - 1}, channels, 0);
  uint32_t ssm = recurrentState(prefix + "ssm", fb::StateKind::ssm, options.ssm,
                                {heads, options.ssmHeadDim, options.ssmState}, inner + bc + heads, options.ssmGroups);

  uint32_t x = norm(prefix + "mixer_norm", hidden, tokens);
  uint32_t projected = linear(prefix + "in", x, width, options.hidden, tokens);
  fb::WeightDesc taps(channels, options.convKernel, 0, fb::WeightFormat::rows_f32, false);
  uint32_t convolved = activation(prefix + "convolved", tokens, channels);
  call("conv1d_causal", fb::Conv1dAttrs(channels, options.convKernel, fb::Activation::silu, true),
       {columnsOf(projected, width, inner, channels), matrixWeight(prefix + "taps", taps, 1),
        vectorWeight(prefix + "conv_bias", channels, 0.2f, 0)},
       {convolved}, {conv});
  uint32_t scanned = activation(prefix + "scanned", tokens, inner);
  call("ssd",
       fb::SsdAttrs(options.ssmHeads, options.ssmHeadDim, options.ssmGroups, options.ssmState, 0, 10, true,
                    options.products),
       {columnsOf(convolved, channels, 0, inner), columnsOf(projected, width, inner + channels, heads),
        columnsOf(convolved, channels, inner, bc), columnsOf(convolved, channels, inner + bc, bc),
        vectorWeight(prefix + "a", heads, 1, 0), vectorWeight(prefix + "d", heads, 1, 0),
        vectorWeight(prefix + "dt_bias", heads, 1, -1)},
       {scanned}, {ssm});
  uint32_t gated = activation(prefix + "gated", tokens, inner);
  call("gated_rms_norm", fb::GatedRmsNormAttrs(inner / options.ssmGroups, 1e-5f, fb::Activation::silu, false),
       {scanned, columnsOf(projected, width, 0, inner), vectorWeight(prefix + "gate_norm", inner, 0.4f, 1)}, {gated});
  return linear(prefix + "out", gated, options.hidden, inner, tokens, int(hidden));
}

uint32_t Assembler::attentionLayer(const std::string &prefix, uint32_t hidden, uint32_t angles) {
  unsigned qWidth = options.heads * options.headDim, kvWidth = options.kvHeads * options.headDim;

  auto state = std::make_unique<fb::StateT>();
  state->name = prefix + "kv";
  state->kv = std::make_unique<fb::KvSpec>(options.kvHeads, options.headDim, options.kv, options.window);
  meta().states.push_back(std::move(state));
  uint32_t kv = uint32_t(meta().states.size() - 1);

  uint32_t x = norm(prefix + "attn_norm", hidden, tokens);
  uint32_t q = linear(prefix + "q", x, qWidth, options.hidden, tokens);
  uint32_t k = linear(prefix + "k", x, kvWidth, options.hidden, tokens);
  uint32_t v = linear(prefix + "v", x, kvWidth, options.hidden, tokens);
  uint32_t qr = activation(prefix + "q_rot", tokens, qWidth), kr = activation(prefix + "k_rot", tokens, kvWidth);
  call("rope", fb::RopeAttrs(options.heads, options.headDim, options.headDim, false), {q, angles}, {qr});
  call("rope", fb::RopeAttrs(options.kvHeads, options.headDim, options.headDim, false), {k, angles}, {kr});
  call("kv_append", fb::KvAppendAttrs(options.kvHeads, options.headDim), {kr, v}, {}, {kv});
  uint32_t attended = activation(prefix + "attn", tokens, qWidth);
  call("attention",
       fb::AttentionAttrs(options.heads, options.kvHeads, options.headDim, 1 / sqrtf(float(options.headDim)), 0,
                          options.window, options.products),
       {qr}, {attended}, {kv});
  return linear(prefix + "o", attended, options.hidden, qWidth, tokens, int(hidden));
}

uint32_t Assembler::layer(unsigned index, uint32_t hidden, uint32_t angles) {
  std::string prefix = "l" + std::to_string(index) + ".";
  bool recurrent = options.ssmHeads && (!options.attention || index % 2 == 0);
  uint32_t middle = recurrent ? recurrentLayer(prefix, hidden) : attentionLayer(prefix, hidden, angles);
  uint32_t y = norm(prefix + "mlp_norm", middle, tokens);
  uint32_t gate = linear(prefix + "gate", y, options.inner, options.hidden, tokens);
  uint32_t up = linear(prefix + "up", y, options.inner, options.hidden, tokens);
  uint32_t act = activation(prefix + "act", tokens, options.inner);
  call("gated_activation", fb::GatedActivationAttrs(fb::Activation::silu), {gate, up}, {act});
  return linear(prefix + "down", act, options.hidden, options.inner, tokens, int(middle));
}

void Assembler::assemble() {
  tokens = int(extent("tokens", options.batch));
  int rows = int(extent("rows", options.rows));
  auto function = std::make_unique<fb::FunctionT>();
  function->name = "step";
  function->body = std::make_unique<fb::BlockT>();
  block = function->body.get();

  uint32_t ids = activation("ids", tokens, 0, DType::i32), rowIds = activation("rows", rows, 0, DType::i32);
  fb::WeightDesc table(options.vocab, options.hidden, 0, fb::WeightFormat::rows_f32, false);
  uint32_t embedding = matrixWeight("embedding", table, 1);
  uint32_t hidden = activation("embedding.out", tokens, options.hidden);
  call("embedding", fb::EmbeddingAttrs(table, 1), {ids, embedding}, {hidden});

  unsigned half = options.headDim / 2;
  uint32_t frequencies = vectorWeight("rope.frequencies", half, 0, 0);
  meta().slots[frequencies]->dims = {fb::Dim(1, -1), fb::Dim(int64_t(half), -1)};
  for (unsigned i = 0; i < half; ++i) {
    float value = powf(options.ropeTheta, -2.0f * float(i) / float(options.headDim));
    memcpy(model.weights.data() + meta().slots[frequencies]->offset + i * sizeof value, &value, sizeof value);
  }
  uint32_t angles = activation("angles", tokens, options.headDim);
  call("rope_angles",
       fb::RopeAnglesAttrs(options.headDim, fb::RopeScaling::default_, options.ropeTheta, 1, 1, options.context),
       {frequencies}, {angles});

  for (unsigned i = 0; i < options.layers; ++i)
    hidden = layer(i, hidden, angles);
  uint32_t chosen = activation("chosen", rows, options.hidden);
  call("gather_rows", fb::GatherRowsAttrs(options.hidden), {hidden, rowIds}, {chosen});
  uint32_t last = norm("final_norm", chosen, rows);
  uint32_t logits = linear("head", last, options.vocab, options.hidden, rows);

  function->inputs = {ids, rowIds};
  function->outputs = {logits};
  meta().functions.push_back(std::move(function));

  auto segment = std::make_unique<fb::SegmentT>();
  segment->size = model.weights.size();
  meta().segments.push_back(std::move(segment));

  auto info = std::make_unique<fb::ModelT>();
  info->architecture = "llama";
  info->name = "tiny";
  info->vocab_size = options.vocab;
  info->context = info->trained_context = options.context;
  info->batch = options.batch;
  info->rows = options.rows;
  info->sequences = options.sequences;
  info->checkpoint_every = options.checkpointEvery;
  info->end_tokens = {2};
  info->sampling = std::make_unique<fb::SamplingT>();
  meta().model = std::move(info);
  meta().provenance = std::make_unique<fb::ProvenanceT>();
  meta().provenance->version = "0.1.0";
  meta().target = std::make_unique<fb::TargetT>();
  meta().target->triple = kMachineTriple;
}

// The directory of this process's test files.
struct Scratch {
  std::string path;
  Scratch() {
    std::string pattern = (std::filesystem::temp_directory_path() / "mlc-test-XXXXXX").string();
    if (!mkdtemp(pattern.data()))
      abort();
    path = pattern;
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

[[noreturn]] void die(const Error &error) {
  fprintf(stderr, "tiny artifact: %s\n", error.message());
  abort();
}

} // namespace

TinyOptions smallestOptions() {
  TinyOptions options;
  options.layers = 1;
  options.hidden = 8;
  options.heads = 2;
  options.kvHeads = 1;
  options.headDim = 4;
  options.inner = 12;
  options.vocab = 11;
  return options;
}

TinyOptions hybridOptions() {
  TinyOptions options;
  options.ssmHeads = 4;
  return options;
}

TinyModel makeTinyModel(const TinyOptions &options) {
  TinyModel model;
  Assembler(model, options).assemble();
  return model;
}

void writeModel(const TinyModel &model, const std::string &path) {
  auto writer = ArtifactWriter::create(path, false);
  if (!writer)
    die(writer.error());
  if (Status begun = writer->begin(model.metadata); !begun)
    die(begun.error());
  if (Status written = writer->write(model.weights); !written)
    die(written.error());
  if (Status committed = writer->commit(); !committed)
    die(committed.error());
}

AlignedBytes &AlignedBytes::operator=(std::span<const uint8_t> bytes) {
  length = bytes.size();
  storage.resize(ceilDiv<size_t>(length, 64));
  if (length)
    memcpy(data(), bytes.data(), length);
  return *this;
}

AlignedBytes readBytes(const std::string &path) {
  int descriptor = open(path.c_str(), O_RDONLY);
  if (descriptor < 0)
    die(Error(ErrorCode::Io, "%s: %s", path.c_str(), strerror(errno)));
  std::vector<uint8_t> bytes(std::filesystem::file_size(path));
  if (read(descriptor, bytes.data(), bytes.size()) != ssize_t(bytes.size()))
    die(Error(ErrorCode::Io, "%s: %s", path.c_str(), strerror(errno)));
  close(descriptor);
  return AlignedBytes(bytes);
}

AlignedBytes modelBytes(const TinyModel &model) {
  std::string path = temporaryPath("bytes.mlca");
  writeModel(model, path);
  AlignedBytes bytes = readBytes(path);
  unlink(path.c_str());
  return bytes;
}

std::string temporaryPath(const std::string &name) {
  static Scratch scratch;
  return scratch.path + "/" + name;
}

} // namespace mlc::test
