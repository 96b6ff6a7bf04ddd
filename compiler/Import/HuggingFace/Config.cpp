//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/HuggingFace/Config.h"

#include "compiler/Import/HuggingFace/Fields.h"
#include "compiler/Import/HuggingFace/RopeFields.h"
#include "compiler/Import/MappedFile.h"
#include "compiler/Support/Text.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <cmath>

using namespace llvm;
using nlohmann::json;

namespace mlc::hf {
namespace {

constexpr int64_t kHeads = -2, kDerived = -3;

/// What distinguishes the architectures' config classes: their names, the defaults of absent fields, the fields they
/// have.
struct Family {
  const char *modelType, *causalClass;
  int64_t kvHeads;       // Default of an absent num_key_value_heads: kHeads or a number; null always means the heads.
  int64_t headDim;       // Default of an absent head_dim: kDerived (hidden / heads) or a number.
  int64_t slidingWindow; // Default of an absent sliding_window; 0: none.
  double eps, theta;
  bool tied;
  int64_t bos, eos; // -1: none.
  bool attentionBias, mlpBias;
};
constexpr Family kFamilies[] = {
    {"llama", "LlamaForCausalLM", kHeads, kDerived, 0, 1e-6, 1e4, false, 1, 2, true, true},
    {"mistral", "MistralForCausalLM", 8, kDerived, 4096, 1e-6, 1e4, false, 1, 2, false, false},
    {"qwen2", "Qwen2ForCausalLM", 32, kDerived, 4096, 1e-6, 1e4, false, -1, -1, false, false},
    {"qwen3", "Qwen3ForCausalLM", 32, 128, 4096, 1e-6, 1e4, false, -1, -1, true, false},
    {"gemma2", "Gemma2ForCausalLM", 4, 256, 4096, 1e-6, 1e4, true, 2, 1, true, false},
    {"smollm3", "SmolLM3ForCausalLM", 4, kDerived, 0, 1e-6, 2e6, true, 128000, 128001, true, true},
    {"phi3", "Phi3ForCausalLM", kHeads, kDerived, 0, 1e-5, 1e4, false, 1, 32000, false, false},
};

/// Fields of every configuration class that do not reach the computation.
void ignoreCommon(Fields &fields) {
  fields.ignore({"model_type",
                 "torch_dtype",
                 "dtype",
                 "transformers_version",
                 "use_cache",
                 "initializer_range",
                 "attention_dropout",
                 "hidden_dropout",
                 "resid_pdrop",
                 "embd_pdrop",
                 "pad_token_id",
                 "_name_or_path",
                 "name_or_path",
                 "_commit_hash",
                 "output_hidden_states",
                 "output_attentions",
                 "return_dict",
                 "id2label",
                 "label2id",
                 "num_labels",
                 "problem_type",
                 "attn_implementation",
                 "_attn_implementation",
                 "_attn_implementation_autoset",
                 "pretraining_tp",
                 "chunk_size_feed_forward",
                 "auto_map",
                 "cache_implementation",
                 "unsloth_version",
                 "unsloth_fixed",
                 "transformers.js_config",
                 "is_llama_config",
                 "finetuning_task",
                 "task_specific_params"});
  // Old files keep the defaults of generation here; generation_config.json is what counts.
  fields.ignore({"max_length", "min_length", "do_sample", "num_beams", "temperature", "top_k", "top_p", "typical_p",
                 "repetition_penalty", "length_penalty", "num_return_sequences", "early_stopping",
                 "no_repeat_ngram_size", "num_beam_groups", "diversity_penalty", "output_scores",
                 "return_dict_in_generate", "remove_invalid_values"});
  fields.refuseUnlessOff({"is_encoder_decoder", "is_decoder", "add_cross_attention", "cross_attention_hidden_size",
                          "tie_encoder_decoder", "pruned_heads", "use_bidirectional_attention", "use_mrope",
                          "rope_interleaved", "layer_norm_eps", "num_experts", "num_local_experts"});
}

fb::Activation parseActivation(Fields &fields, StringRef name, StringRef fallback) {
  std::string text = fields.string(name).value_or(fallback.str());
  if (text == "silu" || text == "swish")
    return fb::Activation::silu;
  if (text == "gelu_pytorch_tanh" || text == "gelu_new" || text == "gelu_fast")
    return fb::Activation::gelu_tanh;
  if (text == "gelu")
    return fb::Activation::gelu_erf;
  if (text == "relu")
    return fb::Activation::relu;
  if (text == "relu2")
    return fb::Activation::relu2;
  fields.refuse(name, "the activation is not supported");
  return fb::Activation::silu;
}

/// An integer whose absence and null mean different things.
int64_t integerOr(Fields &fields, StringRef name, int64_t absent, int64_t null) {
  bool present = fields.present(name);
  std::optional<int64_t> value = fields.integer(name);
  return value ? *value : present ? null : absent;
}

/// Windows per layer from layer_types, or from `byDefault` where the file has none.
void parseWindows(Fields &fields, ModelConfig &config, int64_t window, function_ref<bool(int64_t)> byDefault) {
  std::vector<std::string> types = fields.strings("layer_types");
  config.windows.assign(size_t(config.layers), 0);
  if (!types.empty() && int64_t(types.size()) != config.layers)
    return fields.refuse("layer_types", "one entry for each of " + Twine(config.layers) + " layers is expected");
  for (int64_t i = 0; i < config.layers; ++i) {
    bool sliding = types.empty() ? byDefault(i) : types[size_t(i)] == "sliding_attention";
    if (!types.empty() && !sliding && types[size_t(i)] != "full_attention" && types[size_t(i)] != "attention")
      return fields.refuse("layer_types", "\"" + printable(types[size_t(i)]) + "\" is not supported");
    if (sliding && window <= 0)
      return fields.refuse("sliding_window", "layer " + Twine(i) + " slides, so a positive window is expected");
    config.windows[size_t(i)] = sliding ? window : 0;
  }
}

void parseSliding(Fields &fields, const Family &family, ModelConfig &config) {
  std::string_view type = family.modelType;
  int64_t window = 0;
  if (type != "llama") {
    window = integerOr(fields, "sliding_window", family.slidingWindow, 0);
    if (window < 0 || (fields.has("sliding_window") && window == 0))
      return fields.refuse("sliding_window", "a positive window or null is expected");
  }
  if (type == "qwen2" || type == "qwen3") {
    int64_t full = fields.integer("max_window_layers").value_or(28);
    if (!fields.boolean("use_sliding_window").value_or(false))
      window = 0;
    parseWindows(fields, config, window, [&](int64_t layer) { return window > 0 && layer >= full; });
  } else if (type == "gemma2") {
    parseWindows(fields, config, window, [](int64_t layer) { return layer % 2 == 0; });
  } else if (type == "smollm3") {
    if (!fields.boolean("use_sliding_window").value_or(false))
      window = 0;
    fields.ignore({"max_window_layers"});
    parseWindows(fields, config, window, [&](int64_t layer) { return window > 0 && !config.rotates[size_t(layer)]; });
  } else {
    // llama and phi3 have no layer_types; mistral's class ignores it, other implementations do not.
    config.windows.assign(size_t(config.layers), window);
  }
}

void parseNoRope(Fields &fields, ModelConfig &config) {
  std::vector<int64_t> flags = fields.integers("no_rope_layers");
  int64_t interval = fields.integer("no_rope_layer_interval").value_or(4);
  if (interval < 1)
    return fields.refuse("no_rope_layer_interval", "at least 1 is expected");
  if (fields.has("no_rope_layers") && int64_t(flags.size()) < config.layers)
    return fields.refuse("no_rope_layers", "one entry for each of " + Twine(config.layers) + " layers is expected");
  // Whatever the name says, 1 marks a layer that rotates.
  for (int64_t i = 0; i < config.layers; ++i)
    config.rotates[size_t(i)] = flags.empty() ? (i + 1) % interval != 0 : flags[size_t(i)] != 0;
}

void parseGemma(Fields &fields, ModelConfig &config) {
  config.normOffset = 1;
  config.sandwichNorms = true;
  config.embeddingScale = std::sqrt(double(config.hidden));
  std::optional<double> scalar = fields.number("query_pre_attn_scalar");
  if (scalar && *scalar <= 0)
    return fields.refuse("query_pre_attn_scalar", "a positive number is expected");
  config.attentionScale = 1 / std::sqrt(scalar.value_or(256));
  auto softcap = [&](const char *name, double absent) {
    bool present = fields.present(name);
    std::optional<double> value = fields.number(name);
    if (value && *value <= 0)
      fields.refuse(name, "a positive number or null is expected");
    return value ? *value : present ? 0 : absent;
  };
  config.attentionSoftcap = softcap("attn_logit_softcapping", 50);
  config.finalSoftcap = softcap("final_logit_softcapping", 30);
  config.activation = parseActivation(fields, "hidden_activation", "gelu_pytorch_tanh");
  if (fields.has("hidden_act") && parseActivation(fields, "hidden_act", "") != config.activation)
    fields.refuse("hidden_act", "hidden_activation says otherwise");
}

void refuseQuantized(Fields &fields) {
  for (const char *name : {"quantization_config", "compression_config"})
    if (const json *quantization = fields.object(name)) {
      auto method = quantization->find("quant_method");
      std::string text = method != quantization->end() && method->is_string() ? printable(method->get<std::string>())
                                                                              : "of an unnamed method";
      return fields.refuse(Twine(name) + ": checkpoints quantized by " + text +
                           " are not supported; use the unquantized model or a GGUF file");
    }
}

void parseFields(Fields &fields, const Family &family, ModelConfig &config) {
  std::string_view type = family.modelType;
  ignoreCommon(fields);
  refuseQuantized(fields);
  std::vector<std::string> classes = fields.strings("architectures");
  if (!classes.empty() && (classes.size() != 1 || classes[0] != family.causalClass))
    fields.refuse("architectures", Twine("only ") + family.causalClass + " is supported");

  config.architecture = type;
  config.hidden = fields.requiredInteger("hidden_size");
  config.layers = fields.requiredInteger("num_hidden_layers");
  config.heads = fields.requiredInteger("num_attention_heads");
  config.intermediate = fields.requiredInteger("intermediate_size");
  config.vocab = fields.requiredInteger("vocab_size");
  config.maxPositions = fields.requiredInteger("max_position_embeddings");
  if (!fields.failed() && (config.layers < 1 || config.layers > 4096))
    fields.refuse("num_hidden_layers", "1 to 4096 is expected");
  if (!fields.failed() && (config.heads < 1 || config.heads > 65536 || config.hidden < 1))
    fields.refuse("num_attention_heads", "1 to 65536 is expected, and a positive hidden_size");
  if (fields.failed())
    return;
  config.kvHeads = integerOr(fields, "num_key_value_heads", family.kvHeads, kHeads);
  if (config.kvHeads == kHeads)
    config.kvHeads = config.heads;
  config.headDim = integerOr(fields, "head_dim", family.headDim, kDerived);
  if (config.headDim == kDerived) {
    if (config.hidden % config.heads)
      return fields.refuse("hidden_size", "without head_dim, a multiple of num_attention_heads is expected");
    config.headDim = config.hidden / config.heads;
  }
  config.normEps = fields.number("rms_norm_eps").value_or(family.eps);
  config.tied = fields.boolean("tie_word_embeddings").value_or(family.tied);
  config.attentionScale = 1 / std::sqrt(double(config.headDim));
  config.qkvBias = type == "qwen2";
  if (family.attentionBias)
    config.qkvBias = config.outputBias = fields.boolean("attention_bias").value_or(false);
  else
    fields.refuseUnlessOff({"attention_bias"});
  if (family.mlpBias)
    config.mlpBias = fields.boolean("mlp_bias").value_or(false);
  else
    fields.refuseUnlessOff({"mlp_bias"});
  config.qkNorm = type == "qwen3";
  config.fusedQkv = config.fusedGateUp = type == "phi3";
  config.rotates.assign(size_t(config.layers), 1);
  if (type == "smollm3")
    parseNoRope(fields, config);
  if (type == "gemma2")
    parseGemma(fields, config);
  else
    config.activation = parseActivation(fields, "hidden_act", "silu");
  parseSliding(fields, family, config);
  parseRope(fields, family.theta, config);

  bool bosPresent = fields.present("bos_token_id"), eosPresent = fields.present("eos_token_id");
  if (std::optional<int64_t> bos = fields.integer("bos_token_id"))
    config.bos = *bos;
  else if (!bosPresent && family.bos >= 0 && family.bos < config.vocab)
    config.bos = family.bos;
  config.endTokens = fields.integerOrList("eos_token_id");
  if (!eosPresent && family.eos >= 0 && family.eos < config.vocab)
    config.endTokens = {family.eos};
}

std::string join(StringRef directory, StringRef name) {
  SmallString<128> path = directory;
  sys::path::append(path, name);
  return std::string(path);
}

} // namespace

Expected<ModelConfig> parseConfig(StringRef file, StringRef text) {
  auto document = parseJson(file, text);
  if (!document)
    return document.takeError();
  auto fail = [&](const Twine &what) { return createStringError(inconvertibleErrorCode(), file + ": " + what); };
  if (!document->is_object())
    return fail("no JSON object");
  auto type = document->find("model_type");
  if (type == document->end() || !type->is_string())
    return fail("model_type is missing; is it the config.json of a language model?");
  const Family *family = find_if(kFamilies, [&](const Family &entry) { return *type == entry.modelType; });
  if (family == std::end(kFamilies)) {
    std::string names;
    for (const Family &entry : kFamilies)
      names += (names.empty() ? "" : ", ") + std::string(entry.modelType);
    return fail("model_type \"" + printable(type->get<std::string>()) + "\" is not supported; supported are " + names);
  }
  ModelConfig config;
  config.source = file.str();
  Fields fields(file, *document);
  parseFields(fields, *family, config);
  if (Error error = fields.finish())
    return error;
  return config;
}

Error parseGenerationConfig(StringRef file, StringRef text, ModelConfig &config) {
  auto document = parseJson(file, text);
  if (!document)
    return document.takeError();
  if (!document->is_object())
    return createStringError(inconvertibleErrorCode(), file + ": no JSON object");
  Fields fields(file, *document);
  if (fields.has("eos_token_id"))
    config.endTokens = fields.integerOrList("eos_token_id");
  if (std::optional<int64_t> bos = fields.integer("bos_token_id"))
    config.bos = *bos;
  SamplingDefaults &sampling = config.sampling;
  sampling.sample = fields.boolean("do_sample").value_or(false);
  sampling.temperature = fields.number("temperature");
  sampling.topK = fields.integer("top_k");
  sampling.topP = fields.number("top_p");
  sampling.minP = fields.number("min_p");
  sampling.repetitionPenalty = fields.number("repetition_penalty");
  auto inside = [&](const char *name, std::optional<double> value, double low, double high) {
    if (value && !(*value >= low && *value <= high))
      fields.refuse(name,
                    Twine("a value from ") + std::to_string(low) + " to " + std::to_string(high) + " is expected");
  };
  inside("temperature", sampling.temperature, 0, 1e4);
  inside("top_k", sampling.topK, 0, 1 << 26);
  inside("top_p", sampling.topP, 0, 1);
  inside("min_p", sampling.minP, 0, 1);
  inside("repetition_penalty", sampling.repetitionPenalty, 1e-3, 1e3);
  // How far and by what means to generate is the caller's choice, not the model's.
  fields.ignore({"pad_token_id",
                 "transformers_version",
                 "_from_model_config",
                 "max_length",
                 "max_new_tokens",
                 "min_length",
                 "min_new_tokens",
                 "use_cache",
                 "cache_implementation",
                 "cache_config",
                 "max_cache_len",
                 "output_attentions",
                 "output_hidden_states",
                 "output_scores",
                 "output_logits",
                 "return_dict_in_generate",
                 "early_stopping",
                 "length_penalty",
                 "num_return_sequences",
                 "max_time",
                 "decoder_start_token_id",
                 "compile_config",
                 "disable_compile",
                 "trust_remote_code",
                 "eos_token_id",
                 "low_memory",
                 "max_window_size",
                 "chat_format",
                 "prefill_chunk_size",
                 "token_healing",
                 "use_mtp"});
  for (const char *name : {"num_beams", "num_beam_groups"})
    if (fields.integer(name).value_or(1) != 1)
      fields.refuse(name, "beam search is not supported");
  for (const char *name : {"typical_p", "encoder_repetition_penalty", "guidance_scale"})
    if (fields.number(name).value_or(1) != 1)
      fields.refuse(name, "this is not supported");
  fields.refuseUnlessOff({"no_repeat_ngram_size",
                          "bad_words_ids",
                          "force_words_ids",
                          "constraints",
                          "suppress_tokens",
                          "begin_suppress_tokens",
                          "forced_bos_token_id",
                          "forced_eos_token_id",
                          "sequence_bias",
                          "epsilon_cutoff",
                          "eta_cutoff",
                          "penalty_alpha",
                          "diversity_penalty",
                          "stop_strings",
                          "exponential_decay_length_penalty",
                          "watermarking_config",
                          "dola_layers",
                          "top_h",
                          "encoder_no_repeat_ngram_size",
                          "renormalize_logits",
                          "remove_invalid_values"});
  return fields.finish();
}

Expected<ModelConfig> readConfig(StringRef directory) {
  std::string path = join(directory, "config.json");
  auto text = readSmallFile(path);
  if (!text)
    return text.takeError();
  auto config = parseConfig(path, *text);
  if (!config)
    return config.takeError();
  config->name = sys::path::filename(StringRef(directory).rtrim('/')).str();
  std::string generation = join(directory, "generation_config.json");
  if (sys::fs::exists(generation)) {
    auto generationText = readSmallFile(generation);
    if (!generationText)
      return generationText.takeError();
    if (Error error = parseGenerationConfig(generation, *generationText, *config))
      return error;
  }
  if (Error error = checkConfig(*config))
    return error;
  return config;
}

} // namespace mlc::hf
