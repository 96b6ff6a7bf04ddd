//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/GGUF/Config.h"

#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/GGUF/Keys.h"
#include "compiler/Support/Text.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/JSON.h"

#include <cmath>

using namespace llvm;

namespace mlc::gguf {
namespace {

void parseRope(Keys &keys, const Checkpoint &checkpoint, ModelConfig &config) {
  RopeConfig &rope = config.rope;
  rope.rotaryDim = keys.integer("rope.dimension_count").value_or(config.headDim);
  rope.theta = keys.number("rope.freq_base").value_or(10000);
  rope.originalContext = keys.integer("rope.scaling.original_context_length").value_or(config.maxPositions);
  std::optional<double> scale = keys.number("rope.scaling.factor"), oldScale = keys.number("rope.scale_linear");
  double factor = scale.value_or(oldScale.value_or(1)), attention = keys.number("rope.scaling.attn_factor").value_or(1);
  double betaFast = keys.number("rope.scaling.yarn_beta_fast").value_or(32),
         betaSlow = keys.number("rope.scaling.yarn_beta_slow").value_or(1);
  keys.ignore({"rope.scaling.finetuned"});
  keys.refuseUnlessOff({"rope.scaling.yarn_log_multiplier"});
  for (const char *name : {"rope.scaling.yarn_ext_factor", "rope.scaling.yarn_attn_factor"})
    if (keys.number(name).value_or(1) != 1)
      keys.refuseKey(name, "is not 1, which is not supported");
  StringRef type = keys.string("rope.scaling.type").value_or(factor != 1 ? "linear" : "none");
  rope.attentionFactor = attention;
  if (type == "yarn" && factor != 1) {
    rope.type = fb::RopeScaling::yarn;
    rope.factor = factor;
    rope.betaFast = betaFast;
    rope.betaSlow = betaSlow;
    rope.attentionFactor = attention * yarnAttentionFactor(factor);
  } else if (type == "linear" && factor != 1) {
    rope.type = fb::RopeScaling::linear;
    rope.factor = factor;
  } else if (type != "none" && type != "linear" && type != "yarn") {
    keys.refuseKey("rope.scaling.type",
                   "is \"" + printable(type) + "\", which is not supported; none, linear and yarn are");
  }
  const TensorInfo *factors = checkpoint.find("rope_freqs.weight");
  if (!factors)
    return;
  if (factors->shape.size() != 1 || factors->storage != StorageType::rows_f32 ||
      factors->shape[0] != rope.rotaryDim / 2)
    return keys.refuse("tensor \"rope_freqs.weight\" is " + storageName(factors->storage) + " " +
                       shapeText(factors->shape) + ", F32 [" + Twine(rope.rotaryDim / 2) + "] is expected");
  if (rope.type != fb::RopeScaling::default_)
    keys.refuse("tensor \"rope_freqs.weight\" together with scaling \"" + printable(type) + "\" is not supported");
  std::vector<float> values(size_t(factors->shape[0]));
  Checkpoint::readRows(*factors, 0, 1, values.data());
  rope.factors.assign(values.begin(), values.end());
}

void parseEndTokens(Keys &keys, const Metadata &metadata, ModelConfig &config) {
  // Some converters write 2^32 - 1 for "none".
  auto token = [&](const char *key) {
    std::optional<int64_t> value = keys.take(metadata.integer(key));
    return value && *value != UINT32_MAX ? value : std::nullopt;
  };
  config.bos = token("tokenizer.ggml.bos_token_id");
  for (const char *key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
    if (std::optional<int64_t> end = token(key); end && !is_contained(config.endTokens, *end))
      config.endTokens.push_back(*end);
}

/// The one number that layers which have any of it agree on; 0 when none has.
int64_t common(Keys &keys, const char *name, ArrayRef<int64_t> list) {
  int64_t found = 0;
  for (int64_t value : list) {
    if (value < 0 || (value && found && value != found)) {
      keys.refuseKey(name, "differs between layers, which is not supported");
      return 0;
    }
    found = value ? value : found;
  }
  return found;
}

/// What each layer is, by which of its sizes are not 0.
void parseLayers(Keys &keys, const Architecture &architecture, ModelConfig &config) {
  using Layers = Architecture::Layers;
  const Layers form = architecture.layers;
  const size_t layers = size_t(config.layers);
  if (form == Layers::decoder || form == Layers::parallel) {
    config.intermediate = keys.uniform("feed_forward_length", config.layers);
    config.heads = keys.uniform("attention.head_count", config.layers);
    config.kvHeads = keys.uniform("attention.head_count_kv", config.layers, config.heads);
    config.mixers.assign(layers, form == Layers::decoder ? Mixer::attention : Mixer::parallel);
    config.feedForwards.assign(layers, 1);
    return;
  }
  std::vector<int64_t> heads = keys.perLayer("attention.head_count", config.layers, 0), kvHeads, forward;
  config.heads = common(keys, "attention.head_count", heads);
  kvHeads = keys.perLayer("attention.head_count_kv", config.layers, config.heads);
  config.kvHeads = common(keys, "attention.head_count_kv", kvHeads);
  forward = keys.perLayer("feed_forward_length", config.layers, 0);
  config.intermediate = common(keys, "feed_forward_length", forward);
  if (keys.failed())
    return;
  for (size_t i = 0; i < layers; ++i) {
    bool attention = kvHeads[i] > 0 && heads[i] > 0, alone = form == Layers::single && forward[i] > 0;
    if (alone && attention)
      return keys.refuseKey("feed_forward_length", "gives layer " + Twine(i) + ", which attends, an MLP, too");
    config.mixers.push_back(attention ? Mixer::attention : alone ? Mixer::none : Mixer::mamba);
    config.feedForwards.push_back(forward[i] > 0);
  }
}

void parseSizes(Keys &keys, const Architecture &architecture, const Checkpoint &checkpoint, ModelConfig &config) {
  config.layers = keys.requiredInteger("block_count");
  config.hidden = keys.requiredInteger("embedding_length");
  config.maxPositions = keys.requiredInteger("context_length");
  if (!keys.failed() && (config.layers < 1 || config.layers > 4096))
    keys.refuseKey("block_count", "is " + Twine(config.layers) + "; 1 to 4096 is expected");
  if (keys.failed())
    return;
  parseLayers(keys, architecture, config);
  std::optional<int64_t> keyLength = keys.integer("attention.key_length"),
                         valueLength = keys.integer("attention.value_length");
  if (keys.failed())
    return;
  if (attends(config) && (config.heads < 1 || config.heads > 65536 || (!keyLength && config.hidden % config.heads)))
    return keys.refuseKey("attention.head_count", "is " + Twine(config.heads) +
                                                      "; without attention.key_length it must divide " +
                                                      Twine(config.hidden));
  config.headDim = attends(config) ? keyLength.value_or(config.hidden / config.heads) : 0;
  int64_t values = valueLength.value_or(config.headDim);
  if (attends(config) && values != config.headDim)
    return keys.refuseKey("attention.value_length", "is " + Twine(values) + ", the length of keys " +
                                                        Twine(config.headDim) + "; they must be equal");
  const TensorInfo *embedding = checkpoint.find("token_embd.weight");
  std::optional<int64_t> vocab = keys.integer("vocab_size");
  if (!embedding || embedding->shape.size() != 2)
    return keys.refuse("tensor \"token_embd.weight\" is missing or no matrix; does the file hold only a vocabulary?");
  config.vocab = embedding->shape[0];
  if (vocab && *vocab != config.vocab)
    keys.refuseKey("vocab_size", "is " + Twine(*vocab) + ", token_embd.weight has " + Twine(config.vocab) + " rows");
}

} // namespace

Expected<ModelConfig> readConfig(const Metadata &metadata, const Checkpoint &checkpoint) {
  auto fail = [&](const Twine &what) {
    return createStringError(inconvertibleErrorCode(), metadata.file() + ": " + what);
  };
  auto name = metadata.string("general.architecture");
  if (!name)
    return name.takeError();
  auto kind = metadata.string("general.type");
  if (!kind)
    return kind.takeError();
  if (StringRef text = kind->value_or("model"); text != "model")
    return fail("general.type is \"" + printable(text) + "\"; only models can be compiled");
  const Architecture *architecture = findGgufArchitecture(name->value_or(""));
  if (const char *missing = missingFeature(name->value_or("")))
    return fail("general.architecture \"" + printable(**name) + "\" is not supported: " + missing);
  if (!architecture) {
    std::string names;
    for (const Architecture *entry : architectures())
      if (entry->readKeys)
        names += (names.empty() ? "" : ", ") + std::string(entry->ggufName ? entry->ggufName : entry->name);
    return fail("general.architecture \"" + printable(name->value_or("")) + "\" is not supported; supported are " +
                names);
  }

  ModelConfig config;
  config.source = metadata.file().str();
  config.architecture = architecture->name;
  Keys keys(metadata, architecture->ggufName ? architecture->ggufName : architecture->name);
  auto text = [&](const char *key) {
    std::string value = keys.take(metadata.string(key)).value_or("").str();
    if (!json::isUTF8(value))
      keys.refuse(Twine("metadata key \"") + key + "\" is not UTF-8");
    return value;
  };
  config.name = text("general.name");
  config.license = text("general.license");
  parseSizes(keys, *architecture, checkpoint, config);
  if (!keys.failed()) {
    std::optional<double> eps = keys.number("attention.layer_norm_rms_epsilon");
    if (!eps)
      keys.refuseKey("attention.layer_norm_rms_epsilon", "is missing");
    config.normEps = eps.value_or(0);
    config.attentionScale =
        keys.number("attention.scale").value_or(config.headDim > 0 ? 1 / std::sqrt(double(config.headDim)) : 1);
    config.rotates.assign(size_t(config.layers), 1);
    int64_t window = keys.integer("attention.sliding_window").value_or(0);
    if (window < 0)
      keys.refuseKey("attention.sliding_window", "is negative");
    config.windows.assign(size_t(config.layers), window);
    if (!keys.boolean("attention.causal").value_or(true))
      keys.refuseKey("attention.causal", "is false, which is not supported");
    keys.ignore({"tensor_data_layout"});
    config.tied = !checkpoint.find("output.weight");
    parseRope(keys, checkpoint, config);
    parseEndTokens(keys, metadata, config);
    architecture->readKeys(keys, checkpoint, config);
    keys.refuseUnlessOff({"expert_count", "expert_used_count", "attention.max_alibi_bias", "attention.clamp_kqv",
                          "attn_logit_softcapping", "final_logit_softcapping", "logit_scale", "embedding_scale",
                          "residual_scale", "leading_dense_block_count", "nextn_predict_layers",
                          "use_parallel_residual"});
  }
  if (Error error = keys.finish())
    return error;
  if (Error error = checkConfig(config))
    return error;
  return config;
}

} // namespace mlc::gguf
