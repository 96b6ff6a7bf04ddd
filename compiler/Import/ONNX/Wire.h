//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Takes the values of tensors out of an ONNX file before protobuf reads it, so that they stay where they are mapped.
//
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <string>

namespace mlc::onnx {

/// A ModelProto that says the same, except that each tensor with more than 256 bytes of raw_data has a `segment`
/// [begin, end) of `file` in its place. Refuses, naming the byte, what is not well-formed protobuf, nests deeper than a
/// model can, or has segments of its own.
llvm::Expected<std::string> withoutRawData(llvm::ArrayRef<uint8_t> file);

} // namespace mlc::onnx
