//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the files of the C API share: handles, and reporting a failure.
//
#pragma once

#include "runtime/capi/mlc.h"
#include "runtime/llm/Session.h"

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
inline mlc_status nullArgument() { return report(ErrorCode::InvalidArgument, "a required pointer is null"); }

} // namespace mlc::capi
