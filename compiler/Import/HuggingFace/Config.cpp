//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/HuggingFace/Config.h"

#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/HuggingFace/FamilyFields.h"
#include "compiler/Import/HuggingFace/Fields.h"
#include "compiler/Import/HuggingFace/RopeFields.h"
#include "compiler/Import/MappedFile.h"
#include "compiler/Support/Text.h"

#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <cmath>

using namespace llvm;

namespace mlc::hf {
namespace {

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
}

/// What no family but the one that reads it has.
void refuseForeign(Fields &fields) {
  fields.refuseUnlessOff({"is_encoder_decoder", "is_decoder", "add_cross_attention", "cross_attention_hidden_size",
                          "tie_encoder_decoder", "pruned_heads", "use_bidirectional_attention", "use_mrope",
                          "rope_interleaved", "layer_norm_eps", "num_experts", "num_local_experts"});
  fields.ignore({"output_router_logits", "router_aux_loss_coef", "router_jitter_noise", "aux_loss_alpha", "seq_aux"});
}

/// An integer whose absence and null mean different things.
int64_t integerOr(Fields &fields, StringRef name, int64_t absent, int64_t null) {
  bool present = fields.present(name);
  std::optional<int64_t> value = fields.integer(name);
  return value ? *value : present ? null : absent;
}

void refuseQuantized(Fields &fields) {
  for (const char *name : {"quantization_config", "compression_config"})
    if (const nlohmann::json *quantization = fields.object(name)) {
      auto method = quantization->find("quant_method");
      std::string text = method != quantization->end() && method->is_string() ? printable(method->get<std::string>())
                                                                              : "of an unnamed method";
      return fields.refuse(Twine(name) + ": checkpoints quantized by " + text +
                           " are not supported; use the unquantized model or a GGUF file");
    }
}

/// num_hidden_layers that are all alike.
void readUniformLayers(Fields &fields, ModelConfig &config) {
  config.layers = readLayerCount(fields);
  config.mixers.assign(size_t(config.layers), Mixer::attention);
  config.feedForwards.assign(size_t(config.layers), 1);
}

/// Heads and the MLP's size.
void parseAttention(Fields &fields, const Architecture &architecture, ModelConfig &config) {
  config.heads = fields.requiredInteger("num_attention_heads");
  config.intermediate = fields.requiredInteger("intermediate_size");
  if (!fields.failed() && (config.heads < 1 || config.heads > 65536))
    fields.refuse("num_attention_heads", "1 to 65536 is expected");
  config.kvHeads = integerOr(fields, "num_key_value_heads", architecture.kvHeads, Architecture::kLikeHeads);
  if (config.kvHeads == Architecture::kLikeHeads)
    config.kvHeads = config.heads;
  config.headDim = integerOr(fields, "head_dim", architecture.headDim, Architecture::kFromHidden);
  if (fields.failed())
    return;
  if (config.headDim == Architecture::kFromHidden) {
    if (config.hidden % config.heads)
      return fields.refuse("hidden_size", "without head_dim, a multiple of num_attention_heads is expected");
    config.headDim = config.hidden / config.heads;
  }
  config.attentionScale = 1 / std::sqrt(double(config.headDim));
}

void parseFields(Fields &fields, const Architecture &architecture, ModelConfig &config) {
  ignoreCommon(fields);
  refuseQuantized(fields);
  std::vector<std::string> classes = fields.strings("architectures");
  if (!classes.empty() && (classes.size() != 1 || classes[0] != architecture.causalClass))
    fields.refuse("architectures", Twine("only ") + architecture.causalClass + " is supported");

  config.architecture = architecture.name;
  config.hidden = fields.requiredInteger("hidden_size");
  config.vocab = fields.requiredInteger("vocab_size");
  config.maxPositions = architecture.maxPositions == Architecture::kNone
                            ? fields.requiredInteger("max_position_embeddings")
                            : fields.integer("max_position_embeddings").value_or(architecture.maxPositions);
  if (!fields.failed() && (config.hidden < 1 || config.hidden > (1 << 20)))
    fields.refuse("hidden_size", "1 to 1048576 is expected");
  (architecture.readLayers ? architecture.readLayers : readUniformLayers)(fields, config);
  config.normEps = fields.number(architecture.normEpsName).value_or(architecture.normEps);
  config.tied = fields.boolean("tie_word_embeddings").value_or(architecture.tied);
  config.windows.assign(size_t(config.layers), 0);
  config.rotates.assign(size_t(config.layers), 1);
  if (!architecture.mambaOnly)
    parseAttention(fields, architecture, config);
  if (fields.failed())
    return;
  architecture.readFields(fields, config);
  refuseForeign(fields);
  if (rotates(config))
    parseRope(fields, architecture.theta, config);
  else // Nothing rotates, whatever they say.
    fields.ignore({"rope_parameters", "rope_scaling", "rope_theta", "partial_rotary_factor"});

  bool bosPresent = fields.present("bos_token_id"), eosPresent = fields.present("eos_token_id");
  if (std::optional<int64_t> bos = fields.integer("bos_token_id"))
    config.bos = bos;
  else if (!bosPresent && architecture.bos >= 0 && architecture.bos < config.vocab)
    config.bos = architecture.bos;
  config.endTokens = fields.integerOrList("eos_token_id");
  if (!eosPresent && architecture.eos >= 0 && architecture.eos < config.vocab)
    config.endTokens = {architecture.eos};
}

std::string join(StringRef directory, StringRef name) {
  SmallString<128> path = directory;
  sys::path::append(path, name);
  return std::string(path);
}

} // namespace

Expected<ModelConfig> parseConfig(StringRef file, StringRef text) {
  auto document = parseJson(file, tagInfinities(text));
  if (!document)
    return document.takeError();
  auto fail = [&](const Twine &what) { return createStringError(inconvertibleErrorCode(), file + ": " + what); };
  if (!document->is_object())
    return fail("no JSON object");
  auto type = document->find("model_type");
  if (type == document->end() || !type->is_string())
    return fail("model_type is missing; is it the config.json of a language model?");
  const Architecture *architecture = findArchitecture(type->get_ref<const std::string &>());
  if (const char *missing = missingFeature(type->get_ref<const std::string &>()))
    return fail("model_type \"" + printable(type->get_ref<const std::string &>()) + "\" is not supported: " + missing);
  if (!architecture) {
    std::string names;
    for (const Architecture *entry : architectures())
      names += (names.empty() ? "" : ", ") + std::string(entry->name);
    return fail("model_type \"" + printable(type->get_ref<const std::string &>()) +
                "\" is not supported; supported are " + names);
  }
  ModelConfig config;
  config.source = file.str();
  Fields fields(file, *document);
  parseFields(fields, *architecture, config);
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
  for (int64_t token : config.endTokens)
    if (token < 0 || token >= config.vocab)
      fields.refuse("eos_token_id", "the vocabulary ends at " + Twine(config.vocab - 1));
  if (std::optional<int64_t> bos = fields.integer("bos_token_id"))
    config.bos = bos;
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
