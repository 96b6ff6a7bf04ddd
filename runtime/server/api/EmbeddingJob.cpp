//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/api/EmbeddingJob.h"
#include "runtime/server/api/Answers.h"
#include "runtime/server/http/Log.h"

#include <bit>
#include <cmath>

namespace mlc::server {

namespace {

class EmbeddingSink final : public Sink {
public:
  EmbeddingSink(std::shared_ptr<EmbeddingJob> job, size_t index) : job(std::move(job)), index(index) {}
  bool onTokens(const TokensEvent &) override { return true; }
  void onEmbedding(std::span<const float> values) override { job->embedding(index, values); }
  void onDone(const DoneEvent &event) override { job->ended(event); }

private:
  std::shared_ptr<EmbeddingJob> job;
  size_t index;
};

/// Divides by the Euclidean norm; zeros stay.
void normalise(std::vector<float> &vector) {
  double sum = 0;
  for (float value : vector)
    sum += double(value) * value;
  double scale = sum > 0 ? 1 / std::sqrt(sum) : 0;
  for (float &value : vector)
    value = float(value * scale);
}

} // namespace

std::string base64Text(std::span<const uint8_t> bytes) {
  static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j)
      group = group << 8 | (j < count ? bytes[i + j] : 0);
    for (size_t j = 0; j < 4; ++j)
      text += j <= count ? digits[group >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

std::shared_ptr<Sink> EmbeddingJob::sink(size_t index) {
  return std::make_shared<EmbeddingSink>(std::static_pointer_cast<EmbeddingJob>(shared_from_this()), index);
}

void EmbeddingJob::complete() {
  // OpenAI's form is f32, little-endian, as every machine that this runs on has it.
  static_assert(std::endian::native == std::endian::little);
  JsonItems items;
  for (size_t i = 0; i < vectors.size(); ++i) {
    normalise(vectors[i]);
    std::string text;
    if (base64) {
      text = "\"" +
             base64Text({reinterpret_cast<const uint8_t *>(vectors[i].data()), vectors[i].size() * sizeof(float)}) +
             "\"";
    } else {
      JsonItems numbers;
      for (float value : vectors[i])
        numbers.add(logprobJson(value));
      text = numbers.list();
    }
    items.add("{\"object\":\"embedding\",\"index\":" + std::to_string(i) + ",\"embedding\":" + text + "}");
  }
  std::string tokens = std::to_string(usage.promptTokens);
  exchange->respond({200,
                     "{\"object\":\"list\",\"data\":" + items.list() + ",\"model\":" + jsonText(model->name()) +
                         ",\"usage\":{\"prompt_tokens\":" + tokens + ",\"total_tokens\":" + tokens + "}}",
                     "application/json",
                     {}});
}

} // namespace mlc::server
