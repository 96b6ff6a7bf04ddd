//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Text and ids in the C API.
//
#include "runtime/capi/Handles.h"

using namespace mlc;
using namespace mlc::capi;

struct mlc_decoder {
  Decoder decoder;
};

extern "C" {

static mlc_status noTokenizer(const Model &model) {
  return report(Error(ErrorCode::Unsupported, "%s: the artifact has no tokenizer", model.name()));
}

mlc_status mlc_tokenize(const mlc_model *model, const char *text, size_t size, int as_prompt, int32_t *tokens,
                        size_t capacity, size_t *count) {
  if (!model || (!text && size) || (!tokens && capacity) || !count)
    return nullArgument();
  if (!modelOf(model).tokenizer())
    return noTokenizer(modelOf(model));
  auto encoder = Encoder::create(*modelOf(model).tokenizer());
  if (!encoder)
    return report(encoder.error());
  auto ids = encoder->encode({text, size}, {as_prompt != 0, as_prompt != 0, {}});
  if (!ids)
    return report(ids.error());
  *count = ids->size();
  for (size_t i = 0; i < ids->size() && i < capacity; ++i)
    tokens[i] = int32_t((*ids)[i]);
  if (ids->size() > capacity)
    return report(Error(ErrorCode::OutOfRange, "%zu tokens do not fit a buffer of %zu", ids->size(), capacity));
  return MLC_OK;
}

mlc_status mlc_detokenize(const mlc_model *model, const int32_t *tokens, size_t count, char *text, size_t capacity,
                          size_t *size) {
  if (!model || (!tokens && count) || (!text && capacity) || !size)
    return nullArgument();
  if (!modelOf(model).tokenizer())
    return noTokenizer(modelOf(model));
  struct Target {
    char *text;
    size_t capacity, size;
  } target{text, capacity, 0};
  TextSink sink{[](void *context, std::string_view piece) {
                  Target &target = *static_cast<Target *>(context);
                  if (target.size < target.capacity)
                    memcpy(target.text + target.size, piece.data(),
                           piece.size() < target.capacity - target.size ? piece.size() : target.capacity - target.size);
                  target.size += piece.size();
                },
                &target};
  Decoder decoder(*modelOf(model).tokenizer());
  for (size_t i = 0; i < count; ++i)
    if (Status fed = decoder.feed(uint32_t(tokens[i]), sink); !fed)
      return report(fed.error());
  decoder.flush(sink);
  *size = target.size;
  if (target.size > capacity)
    return report(Error(ErrorCode::OutOfRange, "%zu bytes do not fit a buffer of %zu", target.size, capacity));
  return MLC_OK;
}

mlc_status mlc_decoder_create(const mlc_model *model, mlc_decoder **decoder) {
  if (!model || !decoder)
    return nullArgument();
  if (!modelOf(model).tokenizer())
    return noTokenizer(modelOf(model));
  void *memory = malloc(sizeof(mlc_decoder));
  if (!memory)
    return report(ErrorCode::OutOfMemory, "no memory for a decoder");
  *decoder = new (memory) mlc_decoder{Decoder(*modelOf(model).tokenizer())};
  return MLC_OK;
}

void mlc_decoder_destroy(mlc_decoder *decoder) { free(decoder); }

namespace {
/// A caller's sink behind a TextSink.
struct SinkAdapter {
  mlc_text_sink sink;
  void *user;
  TextSink textSink() {
    return {[](void *context, std::string_view text) {
              SinkAdapter &self = *static_cast<SinkAdapter *>(context);
              if (self.sink)
                self.sink(self.user, text.data(), text.size());
            },
            this};
  }
};
} // namespace

mlc_status mlc_decoder_feed(mlc_decoder *decoder, int32_t token, mlc_text_sink sink, void *user) {
  if (!decoder)
    return nullArgument();
  SinkAdapter adapter{sink, user};
  return report(decoder->decoder.feed(uint32_t(token), adapter.textSink()));
}

mlc_status mlc_decoder_flush(mlc_decoder *decoder, mlc_text_sink sink, void *user) {
  if (!decoder)
    return nullArgument();
  SinkAdapter adapter{sink, user};
  decoder->decoder.flush(adapter.textSink());
  return MLC_OK;
}

} // extern "C"
