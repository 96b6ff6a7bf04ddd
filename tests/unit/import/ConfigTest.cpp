//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// config.json of both transformers generations, generation_config.json, RoPE tables and --rope.
//
#include "compiler/Import/HuggingFace/Config.h"
#include "tests/unit/import/TestFiles.h"

#include <gmock/gmock.h>

using namespace mlc;
using namespace mlc::test;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

/// A config.json of `type` with small sizes and `extra` fields.
std::string text(const std::string &type, const std::string &extra = "") {
  return R"({"model_type":")" + type +
         R"(","hidden_size":64,"num_hidden_layers":4,"num_attention_heads":8,"intermediate_size":96,"vocab_size":512,)"
         R"("num_key_value_heads":4,"max_position_embeddings":128,"bos_token_id":1,"eos_token_id":2)" +
         (extra.empty() ? "" : "," + extra) + "}";
}

ModelConfig parse(const std::string &type, const std::string &extra = "") {
  auto config = hf::parseConfig("config.json", text(type, extra));
  if (config) {
    EXPECT_EQ(messageOf(checkConfig(*config)), "");
    return *config;
  }
  ADD_FAILURE() << llvm::toString(config.takeError());
  return {};
}

std::string refusalWith(const std::string &type, const std::string &extra) {
  auto config = hf::parseConfig("config.json", text(type, extra));
  std::string message = config ? messageOf(checkConfig(*config)) : llvm::toString(config.takeError());
  if (!message.empty() && message.rfind("config.json", 0) == 0)
    expectOneLine(message, "config.json: ");
  return message;
}

TEST(Config, BothGenerationsMeanTheSame) {
  ModelConfig old =
      parse("llama", R"("torch_dtype":"float32","rope_theta":5000.0,"rope_scaling":{"rope_type":"llama3",)"
                     R"("type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,)"
                     R"("original_max_position_embeddings":32})");
  ModelConfig now = parse("llama", R"("dtype":"float32","rope_parameters":{"rope_type":"llama3","rope_theta":5000.0,)"
                                   R"("factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,)"
                                   R"("original_max_position_embeddings":32})");
  for (const ModelConfig &config : {old, now}) {
    EXPECT_EQ(config.rope.type, fb::RopeScaling::llama3);
    EXPECT_EQ(config.rope.theta, 5000);
    EXPECT_EQ(config.rope.originalContext, 32);
    EXPECT_EQ(config.rope.rotaryDim, 8);
    EXPECT_EQ(config.headDim, 8);
    EXPECT_FALSE(config.tied);
    EXPECT_THAT(config.endTokens, ElementsAre(2));
  }
}

TEST(Config, Families) {
  ModelConfig mistral = parse("mistral", R"("sliding_window":16,"head_dim":10)");
  EXPECT_THAT(mistral.windows, ElementsAre(16, 16, 16, 16));
  EXPECT_EQ(mistral.headDim, 10);
  EXPECT_THAT(parse("mistral").windows, ElementsAre(4096, 4096, 4096, 4096));
  EXPECT_THAT(parse("mistral", R"("sliding_window":null)").windows, ElementsAre(0, 0, 0, 0));

  ModelConfig qwen2 = parse("qwen2", R"("use_sliding_window":true,"sliding_window":32,"max_window_layers":2)");
  EXPECT_TRUE(qwen2.qkvBias);
  EXPECT_FALSE(qwen2.outputBias);
  EXPECT_THAT(qwen2.windows, ElementsAre(0, 0, 32, 32));
  EXPECT_THAT(parse("qwen2", R"("sliding_window":32)").windows, ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(parse("qwen2", R"("use_sliding_window":true,"sliding_window":32,"layer_types":["sliding_attention",)"
                             R"("full_attention","full_attention","sliding_attention"])")
                  .windows,
              ElementsAre(32, 0, 0, 32));

  ModelConfig qwen3 = parse("qwen3", R"("attention_bias":true)");
  EXPECT_EQ(qwen3.headDim, 128);
  EXPECT_TRUE(qwen3.qkNorm && qwen3.qkvBias && qwen3.outputBias);

  ModelConfig gemma =
      parse("gemma2", R"("query_pre_attn_scalar":16,"sliding_window":8,"final_logit_softcapping":null)");
  EXPECT_EQ(gemma.headDim, 256);
  EXPECT_EQ(gemma.attentionScale, 0.25);
  EXPECT_EQ(gemma.attentionSoftcap, 50);
  EXPECT_EQ(gemma.finalSoftcap, 0);
  EXPECT_EQ(gemma.embeddingScale, 8);
  EXPECT_EQ(gemma.normOffset, 1);
  EXPECT_TRUE(gemma.tied && gemma.sandwichNorms);
  EXPECT_EQ(gemma.activation, fb::Activation::gelu_tanh);
  EXPECT_THAT(gemma.windows, ElementsAre(8, 0, 8, 0));

  ModelConfig smol = parse("smollm3");
  EXPECT_THAT(smol.rotates, ElementsAre(1, 1, 1, 0));
  EXPECT_EQ(smol.rope.theta, 2e6);
  EXPECT_TRUE(smol.tied);
  EXPECT_THAT(parse("smollm3", R"("no_rope_layers":[0,1,0,1])").rotates, ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(parse("smollm3", R"("use_sliding_window":true,"sliding_window":8)").windows, ElementsAre(0, 0, 0, 8));

  ModelConfig phi = parse("phi3", R"("partial_rotary_factor":0.5,"original_max_position_embeddings":32,)"
                                  R"("rope_scaling":{"type":"su","short_factor":[1.0,1.5],"long_factor":[2.0,4.0]})");
  EXPECT_TRUE(phi.fusedQkv && phi.fusedGateUp);
  EXPECT_EQ(phi.rope.type, fb::RopeScaling::longrope);
  EXPECT_EQ(phi.rope.rotaryDim, 4);
  EXPECT_EQ(phi.rope.originalContext, 32);
  EXPECT_DOUBLE_EQ(phi.rope.attentionFactor, std::sqrt(1 + std::log(4.0) / std::log(32.0)));
}

TEST(Config, Multipliers) {
  ModelConfig granite = parse("granite", R"("embedding_multiplier":12,"residual_multiplier":0.22,)"
                                         R"("attention_multiplier":0.0625,"logits_scaling":8)");
  EXPECT_EQ(granite.embeddingScale, 12);
  EXPECT_EQ(granite.residualScale, 0.22);
  EXPECT_EQ(granite.attentionScale, 0.0625);
  EXPECT_EQ(granite.logitScale, 0.125);
  ModelConfig plain = parse("granite");
  EXPECT_EQ(plain.attentionScale, 1); // The class's default, whatever the head size.
  EXPECT_EQ(plain.embeddingScale * plain.residualScale * plain.logitScale, 1);
  EXPECT_THAT(refusalWith("granite", R"("logits_scaling":0)"), HasSubstr("logits_scaling"));
  EXPECT_THAT(refusalWith("granite", R"("residual_multiplier":-1)"), HasSubstr("the residual multiplier"));
}

/// The same sizes as a Mamba 2 model states them: 8 heads of 16 columns.
std::string mamba2(const std::string &extra = "") {
  return R"({"model_type":"mamba2","hidden_size":64,"num_hidden_layers":3,"vocab_size":512,"num_heads":8,"head_dim":16,)"
         R"("n_groups":2,"state_size":10,"bos_token_id":1,"eos_token_id":2)" +
         (extra.empty() ? "" : "," + extra) + "}";
}
const std::string kMamba = R"("mamba_n_heads":8,"mamba_d_head":16,"mamba_n_groups":2,"mamba_d_state":10)";

ModelConfig parseText(const std::string &json) {
  auto config = hf::parseConfig("config.json", json);
  EXPECT_EQ(config ? messageOf(checkConfig(*config)) : llvm::toString(config.takeError()), "");
  return config ? *config : ModelConfig();
}
std::string refusalOf(const std::string &json) {
  auto config = hf::parseConfig("config.json", json);
  std::string message = config ? messageOf(checkConfig(*config)) : llvm::toString(config.takeError());
  expectOneLine(message, "config.json: ");
  return message;
}

TEST(Config, Mamba2) {
  ModelConfig config = parseText(mamba2());
  EXPECT_THAT(config.mixers, ElementsAre(Mixer::mamba, Mixer::mamba, Mixer::mamba));
  EXPECT_THAT(config.feedForwards, ElementsAre(0, 0, 0));
  EXPECT_EQ(config.mamba.inner(), 128);
  EXPECT_EQ(config.mamba.channels(), 128 + 2 * 2 * 10);
  EXPECT_EQ(config.normEps, 1e-5);
  EXPECT_FALSE(attends(config) || hasFeedForward(config) || rotates(config));
  EXPECT_EQ(config.mamba.dtMax, INFINITY);
  // Infinity as Python's json and as transformers 5 write it; a string that holds the word is left alone.
  for (const char *most : {"Infinity", R"({"__float__":"Infinity"})"})
    EXPECT_EQ(parseText(mamba2(std::string(R"("_name_or_path":"\"Infinity","time_step_limit":[0.5,)") + most + "]"))
                  .mamba.dtMax,
              INFINITY);
  EXPECT_EQ(parseText(mamba2(R"("time_step_limit":[0.5,0.75])")).mamba.dtMin, 0.5);
  EXPECT_THAT(refusalOf(mamba2(R"("time_step_limit":[0.5])")), HasSubstr("time_step_limit"));
  EXPECT_THAT(refusalOf(mamba2(R"("time_step_limit":[0.5,-Infinity])")), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusalOf(mamba2(R"("time_step_limit":[0.5,0.25])")), HasSubstr("the limits of Mamba's time step"));
  EXPECT_THAT(refusalOf(mamba2(R"("expand":3)")), HasSubstr("heads times head_dim must be expand times hidden_size"));
  EXPECT_THAT(refusalOf(mamba2(R"("conv_kernel":1)")), HasSubstr("kernel is 1; 2 to 17 is expected"));
  EXPECT_THAT(refusalOf(mamba2(R"("chunk_size":0)")), HasSubstr("chunk_size is 0: a positive number is expected"));
  EXPECT_THAT(refusalOf(mamba2(R"("hidden_act":"gelu")")), HasSubstr("hidden_act is \"gelu\": only silu"));
  EXPECT_THAT(refusalOf(mamba2(R"("num_attention_heads":4)")), HasSubstr("num_attention_heads is 4: the field is not"));
  std::string groups = mamba2();
  groups.replace(groups.find("\"n_groups\":2"), 12, "\"n_groups\":3");
  EXPECT_THAT(refusalOf(groups), HasSubstr("8 Mamba heads are no multiple of 3 groups"));
}

TEST(Config, Hybrids) {
  const std::string layers = R"("layer_types":["mamba","attention","mamba","mamba"],)";
  ModelConfig granite = parse("granitemoehybrid", layers + kMamba +
                                                      R"(,"num_local_experts":0,)"
                                                      R"("shared_intermediate_size":40,"residual_multiplier":0.5)");
  EXPECT_THAT(granite.mixers, ElementsAre(Mixer::mamba, Mixer::attention, Mixer::mamba, Mixer::mamba));
  EXPECT_EQ(granite.intermediate, 40);
  EXPECT_FALSE(rotates(granite));
  ModelConfig now =
      parse("granitemoehybrid",
            R"("layer_types":["linear_attention","full_attention",)"
            R"("linear_attention","linear_attention"],)" +
                kMamba + R"(,"num_local_experts":0,"shared_intermediate_size":40,"position_embedding_type":"rope")");
  EXPECT_EQ(now.mixers, granite.mixers);
  EXPECT_TRUE(rotates(now));

  ModelConfig bamba = parse("bamba", R"("attn_layer_indices":[1,3],)" + kMamba);
  EXPECT_THAT(bamba.mixers, ElementsAre(Mixer::mamba, Mixer::attention, Mixer::mamba, Mixer::attention));
  EXPECT_EQ(bamba.rope.rotaryDim, 4);

  ModelConfig falcon = parse("falcon_h1", R"("mamba_d_ssm":80,"mamba_n_heads":8,"mamba_d_head":"auto",)"
                                          R"("mamba_n_groups":2,"mamba_d_state":10,"key_multiplier":0.5,)"
                                          R"("ssm_multipliers":[1,2,3,4,5],"mlp_multipliers":[0.5,0.25])");
  EXPECT_EQ(falcon.mamba.headDim, 10);
  EXPECT_FALSE(falcon.mamba.norm);
  EXPECT_DOUBLE_EQ(falcon.attentionScale, 0.5 / std::sqrt(8.0));
  EXPECT_THAT(falcon.mamba.pieceScales, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(falcon.downScale, 0.25);
  EXPECT_THAT(falcon.mixers, testing::Each(Mixer::parallel));

  const std::string sizes = R"(,"mamba_num_heads":8,"mamba_head_dim":16,"n_groups":2,"ssm_state_size":10)";
  ModelConfig nemotron = parse("nemotron_h", R"("hybrid_override_pattern":"M-*-")" + sizes);
  EXPECT_THAT(nemotron.mixers, ElementsAre(Mixer::mamba, Mixer::none, Mixer::attention, Mixer::none));
  EXPECT_THAT(nemotron.feedForwards, ElementsAre(0, 1, 0, 1));
  EXPECT_EQ(nemotron.activation, fb::Activation::relu2);
  EXPECT_EQ(nemotron.mamba.dtMin, 0.001);
  EXPECT_FALSE(nemotron.gatedMlp || rotates(nemotron));
  EXPECT_EQ(
      parse("nemotron_h", R"("layers_block_type":["linear_attention","mlp","full_attention","mlp"])" + sizes).mixers,
      nemotron.mixers);
}

TEST(Config, RefusesHybridsByName) {
  const std::string granite = kMamba + R"(,"num_local_experts":0)";
  EXPECT_THAT(refusalWith("granitemoehybrid", R"("layer_types":["mamba","attention"],)" + granite),
              HasSubstr("one entry for each of 4 layers is expected"));
  EXPECT_THAT(refusalWith("granitemoehybrid", R"("layer_types":["mamba","attention","conv","mamba"],)" + granite),
              HasSubstr("\"conv\" is not supported; mamba and attention are"));
  EXPECT_THAT(refusalWith("granitemoehybrid", R"("mamba_d_conv":20,)" + granite), HasSubstr("2 to 17 is expected"));
  EXPECT_THAT(refusalWith("granitemoehybrid", R"("mamba_chunk_size":0,)" + granite), HasSubstr("mamba_chunk_size"));
  EXPECT_THAT(refusalWith("granitemoehybrid", R"("position_embedding_type":"alibi",)" + granite),
              HasSubstr("position_embedding_type"));
  EXPECT_THAT(refusalWith("granitemoehybrid", R"("mamba_n_heads":7,"num_local_experts":0)"),
              HasSubstr("mamba_n_heads is 7: a divisor of the layer's 128 columns is expected"));
  EXPECT_THAT(refusalWith("granitemoehybrid", R"("mamba_n_heads":8,"mamba_n_groups":3,"num_local_experts":0)"),
              HasSubstr("mamba_n_groups is 3: a divisor of 8 heads is expected"));
  EXPECT_THAT(refusalWith("granitemoehybrid", R"("mamba_n_heads":8,"mamba_d_head":15,"num_local_experts":0)"),
              HasSubstr("8 heads of 16 fill the layer's 128 columns"));
  EXPECT_THAT(refusalWith("bamba", R"("attn_layer_indices":[4],)" + kMamba), HasSubstr("attn_layer_indices is [4]"));
  EXPECT_THAT(refusalWith("falcon_h1", R"("ssm_multipliers":[1,2],"mamba_d_ssm":null,)" + kMamba),
              HasSubstr("5 numbers are expected"));
  EXPECT_THAT(refusalWith("nemotron_h", R"("hybrid_override_pattern":"M-*")"),
              HasSubstr("num_hidden_layers says otherwise"));
  EXPECT_THAT(refusalWith("nemotron_h", R"("hybrid_override_pattern":"M-*Z")"), HasSubstr("\"Z\" is not supported"));
  EXPECT_THAT(refusalWith("nemotron_h", ""), HasSubstr("1 to 4096 layers are expected"));
}

const char *const kExperts = R"("num_experts":8,"num_experts_per_tok":2,"moe_intermediate_size":12,)"
                             R"("shared_expert_intermediate_size":20)";

TEST(Config, Mixtures) {
  ModelConfig mixtral = parse("mixtral", R"("num_local_experts":8,"num_experts_per_tok":2)");
  EXPECT_EQ(mixtral.moe.experts, 8);
  EXPECT_EQ(mixtral.moe.chosen, 2);
  EXPECT_EQ(mixtral.moe.intermediate, mixtral.intermediate);
  EXPECT_TRUE(mixtral.moe.normalize && mixtral.moe.in(0) && mixtral.moe.in(3));
  EXPECT_EQ(mixtral.normEps, 1e-5);
  EXPECT_EQ(mixtral.rope.theta, 1e6);

  ModelConfig qwen2 = parse("qwen2_moe", std::string(kExperts) + R"(,"decoder_sparse_step":2,"mlp_only_layers":[3])");
  EXPECT_THAT(qwen2.moe.layers, ElementsAre(0, 1, 0, 0));
  EXPECT_TRUE(qwen2.moe.sharedGate && qwen2.qkvBias && !qwen2.moe.normalize);
  EXPECT_EQ(qwen2.moe.sharedIntermediate, 20);
  EXPECT_THAT(parse("qwen2_moe",
                    std::string(kExperts) + R"(,"use_sliding_window":true,"sliding_window":8,"max_window_layers":3)")
                  .windows,
              ElementsAre(8, 0, 8, 0));
  EXPECT_THAT(parse("qwen2_moe", std::string(kExperts) + R"(,"sliding_window":0)").windows, ElementsAre(0, 0, 0, 0));
  ModelConfig qwen3 = parse("qwen3_moe", R"("num_experts":8,"num_experts_per_tok":2,"moe_intermediate_size":12,)"
                                         R"("norm_topk_prob":true,"use_sliding_window":true,"sliding_window":8)");
  EXPECT_TRUE(qwen3.qkNorm && qwen3.moe.normalize && !qwen3.moe.sharedIntermediate);
  EXPECT_THAT(qwen3.windows, ElementsAre(8, 8, 8, 8));

  ModelConfig granite = parse("granitemoeshared", R"("num_local_experts":8,"num_experts_per_tok":2,)"
                                                  R"("shared_intermediate_size":24)");
  EXPECT_EQ(granite.moe.form, fb::RouterForm::topk_softmax);
  EXPECT_EQ(granite.moe.sharedIntermediate, 24);
  EXPECT_FALSE(granite.moe.sharedGate);
  EXPECT_TRUE(parse("olmoe", R"("num_experts":8,"num_experts_per_tok":2)").qkNormWhole);

  ModelConfig glm = parse("glm4_moe", R"("n_routed_experts":8,"num_experts_per_tok":2,"moe_intermediate_size":12,)"
                                      R"("n_group":4,"topk_group":2,"routed_scaling_factor":2.5,)"
                                      R"("n_shared_experts":2,"num_nextn_predict_layers":1)");
  EXPECT_EQ(glm.moe.form, fb::RouterForm::sigmoid);
  EXPECT_TRUE(glm.moe.selectionBias && glm.moe.normalize);
  EXPECT_EQ(glm.moe.groups, 4);
  EXPECT_EQ(glm.moe.topGroups, 2);
  EXPECT_EQ(glm.moe.scale, 2.5);
  EXPECT_EQ(glm.moe.sharedIntermediate, 24);
  EXPECT_THAT(glm.moe.layers, ElementsAre(0, 1, 1, 1));
  EXPECT_EQ(glm.rope.rotaryDim, glm.headDim / 2);
  EXPECT_EQ(glm.unusedLayers, 1);
}

TEST(Config, MixturesRefused) {
  EXPECT_THAT(refusalWith("mixtral", ""), HasSubstr("num_local_experts is absent"));
  EXPECT_THAT(refusalWith("mixtral", R"("num_local_experts":8,"num_experts_per_tok":9)"), HasSubstr("9 of 8 experts"));
  EXPECT_THAT(refusalWith("mixtral", R"("num_local_experts":8,"num_experts":4,"num_experts_per_tok":2)"),
              HasSubstr("num_experts is 4"));
  EXPECT_THAT(refusalWith("mixtral", R"("num_local_experts":0,"num_experts_per_tok":2)"), HasSubstr("at least 1"));
  EXPECT_THAT(refusalWith("llama", R"("num_local_experts":8)"), HasSubstr("num_local_experts is 8"));
  EXPECT_THAT(refusalWith("qwen2_moe", std::string(kExperts) + R"(,"mlp_only_layers":[4])"),
              HasSubstr("mlp_only_layers"));
  EXPECT_THAT(refusalWith("qwen2_moe", std::string(kExperts) + R"(,"decoder_sparse_step":0)"),
              HasSubstr("decoder_sparse_step"));
  EXPECT_THAT(refusalWith("olmoe", R"("num_experts":8,"num_experts_per_tok":2,"clip_qkv":8.0)"), HasSubstr("clip_qkv"));
  EXPECT_THAT(refusalWith("glm4_moe", R"("n_routed_experts":8,"num_experts_per_tok":4,"moe_intermediate_size":12,)"
                                      R"("n_group":4,"topk_group":1)"),
              HasSubstr("1 of 4 groups"));
  EXPECT_THAT(refusalWith("glm4_moe", R"("n_routed_experts":8,"num_experts_per_tok":2,"moe_intermediate_size":12,)"
                                      R"("n_group":3)"),
              HasSubstr("groups of 8 experts"));
  EXPECT_THAT(refusalWith("deepseek_v3", ""), HasSubstr("multi-head latent attention"));
}

TEST(Config, RefusesByName) {
  EXPECT_THAT(refusalWith("mamba", ""), HasSubstr("model_type \"mamba\" is not supported"));
  EXPECT_THAT(refusalWith("llama", R"("residual_multiplier":0.5)"),
              HasSubstr("residual_multiplier is 0.5: the field is not known"));
  EXPECT_THAT(refusalWith("llama", R"("sliding_window":16)"), HasSubstr("sliding_window"));
  EXPECT_THAT(refusalWith("mistral", R"("attention_bias":true)"), HasSubstr("attention_bias is true"));
  EXPECT_THAT(refusalWith("llama", R"("hidden_act":"quick_gelu")"), HasSubstr("hidden_act is \"quick_gelu\""));
  EXPECT_THAT(refusalWith("llama", R"("hidden_act":7)"), HasSubstr("a string is expected"));
  EXPECT_THAT(refusalWith("llama", R"("rms_norm_eps":"x")"), HasSubstr("rms_norm_eps"));
  EXPECT_THAT(refusalWith("llama", R"("head_dim":7)"), HasSubstr("RoPE rotates 7"));
  EXPECT_THAT(refusalWith("llama", R"("rope_scaling":{"type":"ntk","factor":2.0})"),
              HasSubstr("rope_scaling.rope_type"));
  EXPECT_THAT(refusalWith("llama", R"("rope_scaling":{"type":"linear"})"), HasSubstr("rope_scaling.factor is absent"));
  EXPECT_THAT(refusalWith("llama", R"("rope_scaling":{"type":"linear","factor":2.0,"mrope_section":[1]})"),
              HasSubstr("mrope_section"));
  EXPECT_THAT(refusalWith("llama", R"("rope_scaling":{"type":"linear","rope_type":"yarn","factor":2.0})"),
              HasSubstr("says otherwise"));
  EXPECT_THAT(refusalWith("phi3", R"("rope_scaling":{"type":"longrope","short_factor":[1.0],"long_factor":[1.0]})"),
              HasSubstr("must hold 4"));
  EXPECT_THAT(refusalWith("llama", R"("quantization_config":{"quant_method":"gptq","bits":4})"),
              HasSubstr("quantized by gptq"));
  EXPECT_THAT(refusalWith("llama", R"("quantization_config":{"quant_method":"awq"})"), HasSubstr("awq"));
  EXPECT_THAT(refusalWith("llama", R"("quantization_config":{"quant_method":"bitsandbytes"})"),
              HasSubstr("bitsandbytes"));
  EXPECT_THAT(refusalWith("llama", R"("architectures":["LlamaForSequenceClassification"])"),
              HasSubstr("only LlamaForCausalLM"));
  EXPECT_THAT(refusalWith("qwen2", R"("layer_types":["full_attention"])"), HasSubstr("each of 4 layers"));
  EXPECT_THAT(
      refusalWith("qwen2", R"("layer_types":["sliding_attention","full_attention","full_attention","full_attention"])"),
      HasSubstr("sliding_window"));
  EXPECT_THAT(refusalWith("gemma2", R"("use_bidirectional_attention":true)"), HasSubstr("use_bidirectional_attention"));
  EXPECT_THAT(refusalWith("llama", R"("tie_word_embeddings":true,"tie_word_embeddings":false)"), HasSubstr("twice"));
  EXPECT_THAT(messageOf(hf::parseConfig("config.json", R"({"model_type":"llama"})")),
              HasSubstr("hidden_size is absent"));
  EXPECT_THAT(messageOf(hf::parseConfig("config.json", "{}")), HasSubstr("model_type is missing"));
  EXPECT_THAT(messageOf(hf::parseConfig("config.json", "[1]")), HasSubstr("no JSON object"));
}

// Every field to null, 0, 1, -1, 2^60, 1e300, true, "", [] and {}: refused in one line, or read.
TEST(Config, SurvivesMutatedFields) {
  const std::vector<std::string> names = {"hidden_size",
                                          "num_hidden_layers",
                                          "num_attention_heads",
                                          "num_key_value_heads",
                                          "head_dim",
                                          "intermediate_size",
                                          "vocab_size",
                                          "max_position_embeddings",
                                          "rms_norm_eps",
                                          "rope_theta",
                                          "bos_token_id",
                                          "eos_token_id",
                                          "hidden_act",
                                          "hidden_activation",
                                          "sliding_window",
                                          "use_sliding_window",
                                          "max_window_layers",
                                          "layer_types",
                                          "no_rope_layers",
                                          "no_rope_layer_interval",
                                          "rope_scaling",
                                          "rope_parameters",
                                          "partial_rotary_factor",
                                          "original_max_position_embeddings",
                                          "query_pre_attn_scalar",
                                          "attn_logit_softcapping",
                                          "final_logit_softcapping",
                                          "attention_bias",
                                          "mlp_bias",
                                          "tie_word_embeddings",
                                          "embedding_multiplier",
                                          "layer_types",
                                          "attn_layer_indices",
                                          "mamba_n_heads",
                                          "mamba_d_ssm",
                                          "mamba_d_state",
                                          "mamba_n_groups",
                                          "ssm_multipliers",
                                          "time_step_limit",
                                          "residual_multiplier",
                                          "attention_multiplier",
                                          "logits_scaling",
                                          "num_local_experts",
                                          "num_experts",
                                          "n_routed_experts",
                                          "num_experts_per_tok",
                                          "moe_intermediate_size",
                                          "shared_expert_intermediate_size",
                                          "decoder_sparse_step",
                                          "mlp_only_layers",
                                          "n_group",
                                          "topk_group",
                                          "first_k_dense_replace",
                                          "n_shared_experts",
                                          "routed_scaling_factor",
                                          "num_nextn_predict_layers",
                                          "quantization_config",
                                          "architectures",
                                          "unknown_field"};
  const std::vector<std::string> values = {"null",
                                           "0",
                                           "1",
                                           "-1",
                                           "1152921504606846976",
                                           "1e300",
                                           "true",
                                           "\"\"",
                                           "[]",
                                           "{}",
                                           R"({"rope_type":"yarn","factor":1e300})",
                                           R"({"type":"dynamic","factor":0.0})"};
  for (const char *type : {"llama", "mistral", "qwen2", "qwen3", "gemma2", "smollm3", "phi3", "granite", "mixtral",
                           "qwen2_moe", "glm4_moe", "granitemoehybrid", "bamba", "falcon_h1"}) {
    std::string base = text(type);
    for (const std::string &name : names)
      for (const std::string &value : values) {
        std::string mutated = base;
        size_t at = mutated.find("\"" + name + "\":");
        if (at == std::string::npos) {
          mutated.insert(mutated.size() - 1, ",\"" + name + "\":" + value);
        } else {
          size_t from = at + name.size() + 3, end = mutated.find_first_of(",}", from);
          mutated.replace(from, end - from, value);
        }
        auto config = hf::parseConfig("config.json", mutated);
        std::string message = config ? messageOf(checkConfig(*config)) : llvm::toString(config.takeError());
        if (!message.empty())
          expectOneLine(message, "config.json: ");
      }
  }
}

TEST(Config, Generation) {
  ModelConfig config = parse("llama");
  EXPECT_EQ(
      messageOf(hf::parseGenerationConfig("g.json",
                                          R"({"eos_token_id":[2,5],"do_sample":true,"temperature":0.6,"top_k":20,)"
                                          R"("top_p":0.9,"repetition_penalty":1.1,"transformers_version":"4"})",
                                          config)),
      "");
  EXPECT_THAT(config.endTokens, ElementsAre(2, 5));
  EXPECT_EQ(config.sampling.topK, 20);
  EXPECT_TRUE(config.sampling.sample);
  auto refused = [&](const char *text) { return messageOf(hf::parseGenerationConfig("g.json", text, config)); };
  EXPECT_THAT(refused(R"({"num_beams":4})"), HasSubstr("num_beams is 4"));
  EXPECT_THAT(refused(R"({"suppress_tokens":[1]})"), HasSubstr("suppress_tokens is [1]"));
  EXPECT_THAT(refused(R"({"something":1})"), HasSubstr("something is 1"));
  EXPECT_THAT(refused(R"({"top_p":2.0})"), HasSubstr("top_p is 2.0"));
}

TEST(Rope, Override) {
  ModelConfig config =
      parse("llama", R"("rope_scaling":{"type":"yarn","factor":4.0,"original_max_position_embeddings":64})");
  EXPECT_EQ(coveredPositions(config), 256);
  ModelConfig changed = config;
  EXPECT_EQ(messageOf(overrideRope(changed, "none")), "");
  EXPECT_EQ(changed.rope.type, fb::RopeScaling::default_);
  EXPECT_EQ(coveredPositions(changed), 64);
  EXPECT_EQ(messageOf(overrideRope(changed = parse("llama"), "linear:2")), "");
  EXPECT_EQ(coveredPositions(changed), 256);
  EXPECT_EQ(messageOf(overrideRope(changed = parse("llama"), "yarn:4,original=100")), "");
  EXPECT_EQ(coveredPositions(changed), 400);
  EXPECT_DOUBLE_EQ(changed.rope.attentionFactor, 0.1 * std::log(4.0) + 1);
  for (const char *bad : {"", "yarn", "yarn:", "yarn:0", "yarn:nan", "yarn:4,", "yarn:4,x=1", "yarn:4,original=0",
                          "linear:-1", "none:1", "ntk:2"})
    EXPECT_THAT(messageOf(overrideRope(changed, bad)), HasSubstr(std::string("--rope ") + bad)) << bad;
}

} // namespace
