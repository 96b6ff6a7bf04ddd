//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the files of the C API share: handles, and reporting a failure.
//
#pragma once

#include "runtime/capi/mlc.h"
#include "runtime/llm/Generate.h"

/// A session, and the logits of its last step.
struct mlc_session {
  mlc::Session *session;
  mlc::LogitsView logits;
};

namespace mlc::capi {

// A model's handle is the object itself under another name.
inline const Model &modelOf(const mlc_model *handle) { return *reinterpret_cast<const Model *>(handle); }
inline Session &sessionOf(mlc_session *handle) { return *handle->session; }
inline const Session &sessionOf(const mlc_session *handle) { return *handle->session; }

/// Keeps the message for mlc_error_text and gives the code as a status.
mlc_status report(ErrorCode code, const char *message);
inline mlc_status report(const Error &error) { return report(error.code(), error.message()); }
inline mlc_status report(const Status &status) { return status ? MLC_OK : report(status.error()); }
/// A size field that no _init function has set.
mlc_status badSize(const char *what);
inline mlc_status nullArgument() { return report(ErrorCode::InvalidArgument, "a required pointer is null"); }

/// Reads a struct of a caller that may be older or newer: `given` tells its size, fields it lacks keep their defaults.
template <typename T> bool readStruct(const T *given, T &known) {
  if (!given)
    return true;
  uint32_t size = given->size;
  if (size < sizeof size || size > sizeof known)
    return false;
  memcpy(static_cast<void *>(&known), given, size);
  return true;
}

/// A caller's generation, null for the defaults, as `options` and `wanted`, which the options point to.
mlc_status readGeneration(const mlc_generation *given, mlc_generation &wanted, GenerateOptions &options);
/// Its outcome; `result` may be null.
mlc_status report(const Result<GenerateResult> &generated, mlc_generation_result *result);

} // namespace mlc::capi
