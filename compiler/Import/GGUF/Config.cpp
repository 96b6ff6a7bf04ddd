//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/GGUF/Config.h"

#include "compiler/Support/Text.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/Twine.h"

#include <cmath>

using namespace llvm;

namespace mlc::gguf {
namespace {

/// Reads keys below "ARCHITECTURE." and remembers which; the first problem is kept.
class Keys {
public:
  Keys(const Metadata &metadata, StringRef architecture) : metadata(metadata), prefix((architecture + ".").str()) {}

  std::optional<int64_t> integer(StringRef name) { return take(metadata.integer(full(name))); }
  std::optional<double> number(StringRef name) { return take(metadata.number(full(name))); }
  std::optional<bool> boolean(StringRef name) { return take(metadata.boolean(full(name))); }
  std::optional<StringRef> string(StringRef name) { return take(metadata.string(full(name))); }
  int64_t requiredInteger(StringRef name) {
    std::optional<int64_t> value = integer(name);
    if (!value)
      refuse(Twine("metadata key \"") + prefix + name + "\" is missing");
    return value.value_or(0);
  }
  /// One number, or an array that holds the same one for every layer.
  std::optional<int64_t> uniform(StringRef name, int64_t layers) {
    const Value *value = metadata.find(prefix + name.str());
    if (!value || value->type != ValueType::array)
      return integer(name);
    std::optional<std::vector<int64_t>> list = take(metadata.integers(full(name)));
    if (!list)
      return std::nullopt;
    if (int64_t(list->size()) != layers || !all_equal(*list) || list->empty()) {
      refuse(Twine("metadata key \"") + prefix + name + "\" differs between layers, which is not supported");
      return std::nullopt;
    }
    return list->front();
  }
  void ignore(StringRef name) { known.insert(full(name)); }
  template <typename T> std::optional<T> take(Expected<std::optional<T>> value) {
    if (value)
      return *value;
    std::string text = toString(value.takeError());
    if (problem.empty())
      problem = std::move(text);
    return std::nullopt;
  }
  void refuse(const Twine &what) {
    if (problem.empty())
      problem = (metadata.file() + ": " + what).str();
  }
  void refuseUnlessZero(StringRef name) {
    if (number(name).value_or(0) != 0)
      refuse(Twine("metadata key \"") + prefix + name + "\" is not 0, which is not supported");
  }
  Error finish() {
    std::vector<StringRef> unknown;
    for (const auto &entry : metadata.all())
      if (entry.getKey().starts_with(prefix) && !known.contains(entry.getKey()))
        unknown.push_back(entry.getKey());
    sort(unknown); // The map's order is no promise.
    if (!unknown.empty())
      refuse("metadata key \"" + printable(unknown.front()) + "\" is not known and may change the result");
    return problem.empty() ? Error::success() : createStringError(inconvertibleErrorCode(), problem);
  }
  bool failed() const { return !problem.empty(); }

private:
  std::string full(StringRef name) {
    std::string key = prefix + name.str();
    known.insert(key);
    return key;
  }
  const Metadata &metadata;
  std::string prefix, problem;
  StringSet<> known;
};

void parseRope(Keys &keys, const Checkpoint &checkpoint, ModelConfig &config) {
  RopeConfig &rope = config.rope;
  // llama's q and k rows are permuted so that neighbours rotate; the qwen family's are as trained.
  rope.interleaved = config.architecture == "llama";
  rope.rotaryDim = keys.integer("rope.dimension_count").value_or(config.headDim);
  rope.theta = keys.number("rope.freq_base").value_or(10000);
  rope.originalContext = keys.integer("rope.scaling.original_context_length").value_or(config.maxPositions);
  std::optional<double> oldLinear = keys.number("rope.scale_linear"), factor = keys.number("rope.scaling.factor");
  double attention = keys.number("rope.scaling.attn_factor").value_or(1);
  keys.ignore("rope.scaling.finetuned");
  keys.refuseUnlessZero("rope.scaling.yarn_log_multiplier");
  if (keys.number("rope.scaling.yarn_ext_factor").value_or(1) != 1)
    keys.refuse("rope.scaling.yarn_ext_factor is not 1, which is not supported");
  StringRef type = keys.string("rope.scaling.type").value_or(oldLinear ? "linear" : "none");
  if (type == "none" || ((type == "linear" || type == "yarn") && factor.value_or(oldLinear.value_or(1)) == 1)) {
    rope.type = fb::RopeScaling::default_;
    rope.attentionFactor = attention;
  } else if (type == "linear") {
    rope.type = fb::RopeScaling::linear;
    rope.factor = factor.value_or(oldLinear.value_or(1));
    rope.attentionFactor = attention;
  } else if (type == "yarn") {
    rope.type = fb::RopeScaling::yarn;
    rope.factor = *factor;
    rope.betaFast = keys.number("rope.scaling.yarn_beta_fast").value_or(32);
    rope.betaSlow = keys.number("rope.scaling.yarn_beta_slow").value_or(1);
    rope.attentionFactor = attention * yarnAttentionFactor(rope.factor);
  } else {
    keys.refuse("rope.scaling.type \"" + printable(type) + "\" is not supported; none, linear and yarn are");
  }
  keys.ignore("rope.scaling.yarn_beta_fast");
  keys.ignore("rope.scaling.yarn_beta_slow");
  if (const TensorInfo *factors = checkpoint.find("rope_freqs.weight")) {
    if (factors->shape.size() != 1 || factors->storage != StorageType::rows_f32 ||
        factors->shape[0] != rope.rotaryDim / 2)
      return keys.refuse("tensor \"rope_freqs.weight\" is " + storageName(factors->storage) + " " +
                         shapeText(factors->shape) + ", F32 [" + Twine(rope.rotaryDim / 2) + "] is expected");
    if (rope.type != fb::RopeScaling::default_)
      keys.refuse("tensor \"rope_freqs.weight\" together with scaling \"" + printable(type) + "\" is not supported");
    rope.factors = factors->name;
  }
}

void parseEndTokens(Keys &keys, const Metadata &metadata, ModelConfig &config) {
  std::optional<int64_t> bos = keys.take(metadata.integer("tokenizer.ggml.bos_token_id"));
  // Some converters write 2^32 - 1 for "none".
  auto given = [](std::optional<int64_t> token) { return token && *token >= 0 && *token != UINT32_MAX; };
  if (given(bos))
    config.bos = bos;
  for (const char *key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    std::optional<int64_t> token = keys.take(metadata.integer(key));
    if (given(token) && !is_contained(config.endTokens, *token))
      config.endTokens.push_back(*token);
  }
}

/// Whether the tensor stands in the first layer; every layer must then have it, which building the graph sees.
bool layerHas(const Checkpoint &checkpoint, const char *name) {
  return checkpoint.find((Twine("blk.0.") + name).str()) != nullptr;
}

void parseSizes(Keys &keys, const Metadata &metadata, const Checkpoint &checkpoint, ModelConfig &config) {
  config.layers = keys.requiredInteger("block_count");
  config.hidden = keys.requiredInteger("embedding_length");
  config.maxPositions = keys.requiredInteger("context_length");
  if (!keys.failed() && (config.layers < 1 || config.layers > 4096))
    keys.refuse("block_count is " + Twine(config.layers) + "; 1 to 4096 is expected");
  config.intermediate = keys.uniform("feed_forward_length", config.layers).value_or(0);
  config.heads = keys.uniform("attention.head_count", config.layers).value_or(0);
  config.kvHeads = keys.uniform("attention.head_count_kv", config.layers).value_or(config.heads);
  std::optional<int64_t> keyLength = keys.integer("attention.key_length"),
                         valueLength = keys.integer("attention.value_length");
  if (keys.failed())
    return;
  if (config.heads < 1 || config.heads > 65536 || (!keyLength && config.hidden % config.heads))
    return keys.refuse("attention.head_count is " + Twine(config.heads) +
                       "; without attention.key_length it must divide "
                       "embedding_length " +
                       Twine(config.hidden));
  config.headDim = keyLength.value_or(config.hidden / config.heads);
  if (valueLength.value_or(config.headDim) != config.headDim)
    return keys.refuse("attention.value_length " + Twine(*valueLength) + " differs from the key length " +
                       Twine(config.headDim) + ", which is not supported");
  const TensorInfo *embedding = checkpoint.find("token_embd.weight");
  std::optional<int64_t> vocab = keys.integer("vocab_size");
  if (!embedding || embedding->shape.size() != 2)
    return keys.refuse("tensor \"token_embd.weight\" is missing or no matrix; does the file hold only a vocabulary?");
  config.vocab = embedding->shape[0];
  if (vocab && *vocab != config.vocab)
    keys.refuse("vocab_size is " + Twine(*vocab) + ", token_embd.weight has " + Twine(config.vocab) + " rows");
}

} // namespace

Expected<ModelConfig> readConfig(const Metadata &metadata, const Checkpoint &checkpoint) {
  auto fail = [&](const Twine &what) {
    return createStringError(inconvertibleErrorCode(), metadata.file() + ": " + what);
  };
  auto architecture = metadata.string("general.architecture");
  if (!architecture)
    return architecture.takeError();
  auto kind = metadata.string("general.type");
  if (!kind)
    return kind.takeError();
  if (*kind && **kind != "model")
    return fail("general.type is \"" + printable(**kind) + "\"; only models can be compiled");
  StringRef name = architecture->value_or("");
  if (name != "llama" && name != "qwen2" && name != "qwen3")
    return fail("general.architecture \"" + printable(name) + "\" is not supported; supported are llama, qwen2, qwen3");

  ModelConfig config;
  config.source = metadata.file().str();
  config.architecture = name.str();
  Keys keys(metadata, name);
  config.name = keys.take(metadata.string("general.name")).value_or("").str();
  config.license = keys.take(metadata.string("general.license")).value_or("").str();
  parseSizes(keys, metadata, checkpoint, config);
  if (!keys.failed()) {
    config.normEps = keys.number("attention.layer_norm_rms_epsilon").value_or(1e-5);
    config.attentionScale = keys.number("attention.scale").value_or(1 / std::sqrt(double(config.headDim)));
    config.rotates.assign(size_t(config.layers), 1);
    config.windows.assign(size_t(config.layers), keys.integer("attention.sliding_window").value_or(0));
    if (config.windows[0] < 0)
      keys.refuse("attention.sliding_window is negative");
    if (!keys.boolean("attention.causal").value_or(true))
      keys.refuse("attention.causal is false, which is not supported");
    for (const char *zero : {"expert_count", "expert_used_count", "attention.max_alibi_bias", "attention.clamp_kqv",
                             "attn_logit_softcapping", "final_logit_softcapping", "logit_scale", "embedding_scale",
                             "residual_scale", "leading_dense_block_count", "nextn_predict_layers"})
      keys.refuseUnlessZero(zero);
    if (keys.boolean("use_parallel_residual").value_or(false))
      keys.refuse("use_parallel_residual is not supported");
    keys.ignore("tensor_data_layout");
    parseRope(keys, checkpoint, config);
    parseEndTokens(keys, metadata, config);
    config.tied = !checkpoint.find("output.weight");
    config.qkvBias = name == "qwen2" || layerHas(checkpoint, "attn_q.bias");
    config.outputBias = layerHas(checkpoint, "attn_output.bias");
    config.mlpBias = layerHas(checkpoint, "ffn_down.bias");
    config.qkNorm = name == "qwen3";
  }
  if (Error error = keys.finish())
    return error;
  if (Error error = checkConfig(config))
    return error;
  return config;
}

} // namespace mlc::gguf
