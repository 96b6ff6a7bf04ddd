//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "tests/unit/reference/GraphText.h"

#include "runtime/core/Float16.h"

#include <cmath>
#include <random>
#include <sstream>

namespace mlc::test {

std::vector<float> hashedWeight(const std::string &name, int64_t count) {
  uint32_t seed = 2166136261u;
  for (unsigned char byte : name)
    seed = (seed ^ byte) * 16777619u;
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t x = seed + uint32_t(i) * 2654435761u;
    x = (x ^ x >> 15) * 2246822519u;
    x = (x ^ x >> 13) * 3266489917u;
    x ^= x >> 16;
    values.push_back(float(x >> 8) / float(1 << 23) - 1);
  }
  return values;
}

namespace {

std::string number(double value) {
  char text[40];
  snprintf(text, sizeof text, "%.9e", value);
  return text;
}

class Builder {
public:
  Builder(const Geometry &geometry, float gain) : g(geometry), gain(gain) {}

  GraphModel build() {
    std::string embedding = matrix("model.embed_tokens.weight", g.vocabulary, g.hidden, false);
    body << "  %x0 = graph.embedding %tokens, " << embedding << " {scale = " << number(g.embeddingScale)
         << " : f32} : tensor<?xi32> -> " << rows(g.hidden) << "\n";
    int64_t rotary = g.rotaryDim ? g.rotaryDim : g.headDim;
    body << "  %angles = graph.rope_angles %batch {rotary_dim = " << rotary << " : i64, " << g.rope
         << "} : " << rows(rotary) << "\n";
    std::string x = "%x0";
    for (int64_t layer = 0; layer < g.layers; ++layer)
      x = block(x, layer, rotary);
    x = norm(x, "model.norm.weight", g.hidden);
    std::string picked = fresh();
    body << "  " << picked << " = graph.gather_rows " << x << ", %rows : " << rows(g.hidden) << ", tensor<?xi32> -> "
         << rows(g.hidden) << "\n";
    std::string head = g.tied ? embedding : matrix("lm_head.weight", g.vocabulary, g.hidden, false);
    std::string logits = product(picked, {head}, {}, g.hidden, g.vocabulary, "", false);
    if (g.logitCap != 0)
      logits = unary("graph.softcap " + logits + " {cap = " + number(g.logitCap) + " : f32}", g.vocabulary);
    std::ostringstream text;
    text << "graph.model \"test\" {vocab_size = " << g.vocabulary << " : i64, trained_context = " << g.context
         << " : i64" << (formDepends() ? ", prompt_form" : "") << "}\n"
         << "graph.extent @tokens\ngraph.extent @rows\n"
         << declarations.str() << "func.func @step(%batch: !graph.batch, %tokens: tensor<?xi32> {graph.dims = "
         << "[\"tokens\"]}, %rows: tensor<?xi32> {graph.dims = [\"rows\"]}) -> " << rows(g.vocabulary) << " {\n"
         << body.str() << "  return " << logits << " : " << rows(g.vocabulary) << "\n}\n";
    model.text = text.str();
    return std::move(model);
  }

private:
  static std::string rows(int64_t columns) { return "tensor<?x" + std::to_string(columns) + "xf32>"; }
  std::string fresh() { return "%v" + std::to_string(next++); }
  bool formDepends() const {
    return g.rope.find("dynamic") != std::string::npos || g.rope.find("longrope") != std::string::npos;
  }

  std::string declare(const std::string &name, std::vector<int64_t> shape, float base, float scale,
                      const std::string &quant) {
    int64_t count = 1;
    declarations << "graph.weight @\"" << name << "\" : tensor<";
    for (int64_t dim : shape) {
      declarations << dim << "x";
      count *= dim;
    }
    declarations << "f32> stored " << g.storage << (quant.empty() ? "" : " as <" + quant + ">") << "\n";
    std::vector<float> values = hashedWeight(name, count);
    for (float &value : values) {
      value = base + scale * value;
      if (g.storage == "f16")
        value = f16ToF32(f32ToF16(value));
      else if (g.storage == "bf16")
        value = bf16ToF32(f32ToBf16(value));
    }
    model.shapes[name] = std::move(shape);
    model.weights[name] = std::move(values);
    return "@\"" + name + "\"";
  }
  std::string matrix(const std::string &name, int64_t outputs, int64_t inputs, bool quantizable = true) {
    return declare(name, {outputs, inputs}, 0, gain, quantizable ? g.quant : "");
  }

  std::string norm(const std::string &x, const std::string &name, int64_t width, int64_t columns = 0) {
    std::string weight = declare(name, {width}, 1 - g.normOffset, 1, "");
    return unary("graph.rms_norm " + x + ", " + weight + " {eps = " + number(g.eps) +
                     " : f32, offset = " + number(g.normOffset) + " : f32}",
                 columns ? columns : width);
  }
  /// `op` with its one result of the operand's type.
  std::string unary(const std::string &op, int64_t columns) {
    std::string result = fresh();
    body << "  " << result << " = " << op << " : " << rows(columns) << "\n";
    return result;
  }
  std::string add(const std::string &a, const std::string &b, int64_t columns) {
    return unary("arith.addf " + a + ", " + b, columns);
  }

  std::string product(std::string x, const std::vector<std::string> &weights, const std::vector<std::string> &biases,
                      int64_t inputs, int64_t outputs, const std::string &residual = "", bool quantizable = true) {
    std::string type = rows(inputs);
    if (quantizable && !g.quant.empty() && g.quantizeInputs) {
      std::string quantized = fresh();
      std::string group = g.quant.substr(g.quant.find("group = ") + 8);
      type = "!graph.quantized<?, " + std::to_string(inputs) + ", group = " + group.substr(0, group.find(',')) + ">";
      body << "  " << quantized << " = graph.quantize_rows " << x << " : " << rows(inputs) << " -> " << type << "\n";
      x = quantized;
    }
    std::string result = fresh();
    body << "  " << result << " = graph.linear " << x << ", " << list(weights);
    if (!biases.empty())
      body << " bias " << list(biases);
    if (!residual.empty())
      body << " residual " << residual << " : " << rows(outputs);
    body << " : " << type << " -> " << rows(outputs) << "\n";
    return result;
  }
  static std::string list(const std::vector<std::string> &items) {
    std::string text = "[";
    for (size_t i = 0; i < items.size(); ++i)
      text += (i ? ", " : "") + items[i];
    return text + "]";
  }
  std::string projection(const std::string &x, const std::string &name, int64_t inputs, int64_t outputs, bool bias) {
    std::string weight = matrix(name + ".weight", outputs, inputs);
    std::vector<std::string> biases;
    if (bias)
      biases.push_back(declare(name + ".bias", {outputs}, 0, 1, ""));
    return product(x, {weight}, biases, inputs, outputs);
  }
  std::vector<std::string> split(const std::string &x, const std::vector<int64_t> &sizes) {
    std::vector<std::string> names;
    std::string results, types;
    int64_t total = 0;
    for (int64_t size : sizes) {
      names.push_back(fresh());
      results += (total ? ", " : "") + names.back();
      types += (total ? ", " : "") + rows(size);
      total += size;
    }
    body << "  " << results << " = graph.split " << x << " : " << rows(total) << " -> " << types << "\n";
    return names;
  }

  /// A constant of a Mamba head, `base` plus and minus `scale`.
  std::string constant(const std::string &name, float base, float scale) {
    return declare(name, {g.mambaHeads}, base, scale, "");
  }

  std::string mixer(const std::string &input, int64_t layer, const std::string &prefix) {
    const int64_t inner = g.mambaHeads * g.mambaDim, group = g.mambaGroups * g.mambaState, channels = inner + 2 * group;
    const std::string states = "@l" + std::to_string(layer);
    declarations << "graph.state " << states << ".conv conv sequence {channels = " << channels
                 << " : i64, kernel = " << g.mambaKernel << " : i64}\ngraph.state " << states
                 << ".ssm ssm sequence {heads = " << g.mambaHeads << " : i64, head_dim = " << g.mambaDim
                 << " : i64, groups = " << g.mambaGroups << " : i64, state_size = " << g.mambaState << " : i64}\n";
    std::string all = projection(input, prefix + "in_proj", g.hidden, inner + channels + g.mambaHeads, g.biases);
    if (g.mambaScales)
      all = unary("graph.scale_columns " + all +
                      " {factors = array<f32: 1.0, 0.5, 2.0>, columns = array<i64: " + std::to_string(inner) + ", " +
                      std::to_string(channels) + ", " + std::to_string(g.mambaHeads) + ">}",
                  inner + channels + g.mambaHeads);
    auto pieces = split(all, {inner, channels, g.mambaHeads});
    std::string weight = declare(prefix + "conv1d.weight", {channels, 1, g.mambaKernel}, 0, 0.7f, "");
    std::string bias = g.biases ? " bias " + declare(prefix + "conv1d.bias", {channels}, 0, 0.5f, "") : "";
    std::string mixed = unary("graph.conv1d_causal " + pieces[1] + ", %batch, " + states + ".conv, " + weight + bias +
                                  " activation silu",
                              channels);
    auto inputs = split(mixed, {inner, group, group});
    std::string a = constant(prefix + "A", g.mambaLogA ? 0.0f : -1.0f, 0.9f), d = constant(prefix + "D", 0.5f, 0.5f),
                dt = constant(prefix + "dt_bias", -0.5f, 1), y = fresh();
    body << "  " << y << " = graph.ssd " << inputs[0] << ", " << pieces[2] << ", " << inputs[1] << ", " << inputs[2]
         << ", %batch, " << states << ".ssm a " << a << (g.mambaLogA ? " log" : "") << " d " << d << " dt_bias " << dt
         << " {dt_min = 0.01 : f32} : " << rows(inner) << ", " << rows(g.mambaHeads) << ", " << rows(group) << "\n";
    if (g.mambaNorm)
      y = unary("graph.gated_rms_norm silu " + y + ", " + pieces[0] + ", " +
                    declare(prefix + "norm.weight", {inner}, 1, 0.5f, "") + " {eps = " + number(g.eps) +
                    " : f32, group = " + std::to_string(inner / g.mambaGroups) + " : i64" +
                    (g.mambaNormBeforeGate ? ", norm_before_gate" : "") + "}",
                inner);
    else
      y = unary("arith.mulf " + unary("graph.activation silu " + pieces[0], inner) + ", " + y, inner);
    return projection(y, prefix + "out_proj", inner, g.hidden, false);
  }

  std::string block(const std::string &x, int64_t layer, int64_t rotary) {
    std::string prefix = "model.layers." + std::to_string(layer) + ".";
    std::string input = norm(x, prefix + "input_layernorm.weight", g.hidden);
    bool recurrent = g.mambaEvery && layer % g.mambaEvery == 0;
    std::string output = recurrent ? mixer(input, layer, prefix + "mamba.") : attention(input, layer, prefix, rotary);
    return forward(x, output, prefix);
  }

  std::string attention(const std::string &input, int64_t layer, const std::string &prefix, int64_t rotary) {
    int64_t q = g.heads * g.headDim, kv = g.kvHeads * g.headDim;
    std::string query, key, value;
    if (g.fusedProjections) {
      auto parts = split(projection(input, prefix + "self_attn.qkv_proj", g.hidden, q + 2 * kv, g.biases), {q, kv, kv});
      query = parts[0], key = parts[1], value = parts[2];
    } else {
      query = projection(input, prefix + "self_attn.q_proj", g.hidden, q, g.biases);
      key = projection(input, prefix + "self_attn.k_proj", g.hidden, kv, g.biases);
      value = projection(input, prefix + "self_attn.v_proj", g.hidden, kv, g.biases);
    }
    if (g.qkNorm) {
      query = norm(query, prefix + "self_attn.q_norm.weight", g.headDim, q);
      key = norm(key, prefix + "self_attn.k_norm.weight", g.headDim, kv);
    }
    if (!g.nopeEvery || (layer + 1) % g.nopeEvery) {
      auto rotate = [&](const std::string &rotated, int64_t columns) {
        std::string result = fresh();
        body << "  " << result << " = graph.rope " << rotated << ", %angles {head_dim = " << g.headDim << " : i64"
             << (g.interleaved ? ", interleaved" : "") << "} : " << rows(columns) << ", " << rows(rotary) << "\n";
        return result;
      };
      query = rotate(query, q);
      key = rotate(key, kv);
    }
    std::string state = "@l" + std::to_string(layer) + ".kv";
    declarations << "graph.state " << state << " kv sequence {kv_heads = " << g.kvHeads
                 << " : i64, head_dim = " << g.headDim << " : i64";
    if (g.window && (!g.alternate || layer % 2 == 0))
      declarations << ", window = " << g.window << " : i64";
    declarations << (g.kvType.empty() ? "" : ", dtype = " + g.kvType) << "}\n";
    double scale = g.attentionScale != 0 ? double(g.attentionScale) : 1 / std::sqrt(double(g.headDim));
    std::string attended = fresh();
    body << "  " << attended << " = graph.attention " << query << ", " << key << ", " << value << ", %batch, " << state
         << " {heads = " << g.heads << " : i64, scale = " << number(scale)
         << " : f32, softcap = " << number(g.attentionCap) << " : f32} : " << rows(q) << ", " << rows(kv) << "\n";
    return projection(attended, prefix + "self_attn.o_proj", q, g.hidden, false);
  }

  /// What follows the mixer's output: the residual and the MLP.
  std::string forward(const std::string &x, std::string output, const std::string &prefix) {
    // Gemma 2's second norm has this name; its first MLP norm is pre_feedforward_layernorm.
    if (g.postNorms)
      output = norm(output, prefix + "post_attention_layernorm.weight", g.hidden);
    std::string middle = add(x, output, g.hidden);

    std::string normName = g.postNorms ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight";
    std::string input = norm(middle, prefix + normName, g.hidden);
    std::string gate, up;
    if (g.fusedProjections) {
      auto parts = split(projection(input, prefix + "mlp.gate_up_proj", g.hidden, 2 * g.intermediate, false),
                         {g.intermediate, g.intermediate});
      gate = parts[0], up = parts[1];
    } else {
      gate = projection(input, prefix + "mlp.gate_proj", g.hidden, g.intermediate, false);
      up = projection(input, prefix + "mlp.up_proj", g.hidden, g.intermediate, false);
    }
    gate = unary("graph.activation " + g.activation + " " + gate, g.intermediate);
    std::string product = unary("arith.mulf " + gate + ", " + up, g.intermediate);
    output = projection(product, prefix + "mlp.down_proj", g.intermediate, g.hidden, false);
    if (g.postNorms)
      output = norm(output, prefix + "post_feedforward_layernorm.weight", g.hidden);
    return add(middle, output, g.hidden);
  }

  const Geometry &g;
  float gain;
  GraphModel model;
  std::ostringstream declarations, body;
  int next = 0;
};

} // namespace

GraphModel buildModel(const Geometry &geometry, float gain) { return Builder(geometry, gain).build(); }

std::string safetensors(const GraphModel &model, const std::string &storage) {
  std::string header, data;
  const char *dtype = storage == "f32" ? "F32" : storage == "f16" ? "F16" : "BF16";
  for (const auto &[name, values] : model.weights) {
    std::string shape;
    for (int64_t dim : model.shapes.at(name))
      shape += (shape.empty() ? "" : ",") + std::to_string(dim);
    size_t begin = data.size();
    for (float value : values) {
      uint32_t bits = std::bit_cast<uint32_t>(value);
      if (storage != "f32")
        bits = storage == "f16" ? f32ToF16(value) : f32ToBf16(value);
      data.append(reinterpret_cast<const char *>(&bits), storage == "f32" ? 4 : 2);
    }
    header += (header.empty() ? "{\"" : ",\"") + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + shape +
              "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(data.size()) + "]}";
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  uint64_t length = header.size();
  return std::string(reinterpret_cast<const char *>(&length), 8) + header + data;
}

Geometry randomGeometry(uint32_t seed) {
  std::mt19937 random(seed);
  auto pick = [&](int64_t low, int64_t high) { return low + int64_t(random() % uint32_t(high - low + 1)); };
  auto chance = [&](int percent) { return pick(1, 100) <= percent; };
  Geometry g;
  g.vocabulary = pick(11, 70);
  g.layers = pick(1, 3);
  g.kvHeads = pick(1, 3);
  g.heads = g.kvHeads * pick(1, 4);
  g.headDim = 2 * pick(2, 20);
  g.hidden = pick(5, 90);
  g.intermediate = pick(5, 130);
  g.eps = chance(50) ? 1e-5f : 1e-6f;
  g.activation = std::vector<std::string>{"silu", "gelu_tanh", "gelu_erf", "relu", "relu2"}[pick(0, 4)];
  g.window = chance(40) ? pick(1, 9) : 0;
  g.alternate = chance(50);
  g.attentionCap = chance(30) ? 5.0f : 0.0f;
  g.logitCap = chance(30) ? 3.0f : 0.0f;
  g.attentionScale = chance(30) ? 0.3f : 0.0f;
  g.normOffset = chance(30) ? 1.0f : 0.0f;
  g.embeddingScale = chance(30) ? 3.5f : 1.0f;
  g.qkNorm = chance(30);
  g.biases = chance(30);
  g.tied = chance(30);
  g.fusedProjections = chance(30);
  g.postNorms = chance(30);
  g.interleaved = chance(30);
  g.nopeEvery = chance(20) ? 2 : 0;
  if (chance(30))
    g.rotaryDim = 2 * pick(1, g.headDim / 2);
  g.storage = std::vector<std::string>{"f32", "f16", "bf16"}[pick(0, 2)];
  int64_t half = (g.rotaryDim ? g.rotaryDim : g.headDim) / 2;
  auto factors = [&] {
    std::string text = "array<f64: ";
    for (int64_t i = 0; i < half; ++i)
      text += (i ? ", " : "") + number(1 + double(pick(0, 400)) / 100);
    return text + ">";
  };
  switch (pick(0, 5)) {
  case 0:
    g.rope = "theta = 10000.0";
    break;
  case 1:
    g.rope = "theta = 10000.0, scaling = #graph<rope_scaling linear>, factor = 2.5";
    break;
  case 2:
    g.rope = "theta = 10000.0, scaling = #graph<rope_scaling dynamic>, factor = 2.5, original_context = 8";
    break;
  case 3:
    g.rope = "theta = 50000.0, scaling = #graph<rope_scaling yarn>, factor = 4.0, original_context = 16, "
             "beta_fast = 8.0, beta_slow = 1.0, attention_factor = 1.139";
    break;
  case 4:
    g.rope = "theta = 10000.0, scaling = #graph<rope_scaling longrope>, original_context = 8, attention_factor = "
             "1.19, short_factors = " +
             factors() + ", long_factors = " + factors();
    break;
  default:
    g.rope = "theta = 500000.0, scaling = #graph<rope_scaling llama3>, factor = 8.0, original_context = 16, "
             "low_freq_factor = 1.0, high_freq_factor = 4.0";
  }
  return g;
}

void addRandomMixers(Geometry &g, uint32_t seed) {
  std::mt19937 random(seed);
  auto pick = [&](int64_t low, int64_t high) { return low + int64_t(random() % uint32_t(high - low + 1)); };
  auto chance = [&](int percent) { return pick(1, 100) <= percent; };
  g.mambaEvery = pick(1, 2);
  g.mambaGroups = pick(1, 3);
  g.mambaHeads = g.mambaGroups * pick(1, 3);
  g.mambaDim = pick(1, 37);
  g.mambaState = pick(1, 35);
  g.mambaKernel = pick(2, 5);
  g.mambaNorm = chance(70);
  g.mambaNormBeforeGate = chance(30);
  g.mambaLogA = chance(60);
  g.mambaScales = chance(30);
}

} // namespace mlc::test
