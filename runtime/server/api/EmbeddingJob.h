//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Embeddings: of each input one vector of length 1.
//
#pragma once

#include "runtime/server/api/ExchangeJob.h"

namespace mlc::server {

class EmbeddingJob : public ExchangeJob {
public:
  EmbeddingJob(std::shared_ptr<Exchange> exchange, std::shared_ptr<ServedModel> model, Preparer &preparer, bool base64,
               size_t inputs)
      : ExchangeJob(std::move(exchange), std::move(model), preparer), base64(base64), vectors(inputs) {}

  void embedding(size_t index, std::span<const float> values) { vectors[index].assign(values.begin(), values.end()); }
  using ExchangeJob::ended;

private:
  std::shared_ptr<Sink> sink(size_t index) override;
  void complete() override;

  bool base64;
  std::vector<std::vector<float>> vectors;
};

/// RFC 4648, with padding.
std::string base64Text(std::span<const uint8_t> bytes);

} // namespace mlc::server
