//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// An ONNX file, read and checked as a whole; the values of its tensors stay mapped. Knows nothing of MLIR.
//
#pragma once

#include "compiler/Import/Checkpoint.h"
#include "onnx/onnx.pb.h"

#include "llvm/ADT/StringMap.h"

namespace mlc::onnx {

/// The highest versions that are understood.
inline constexpr int64_t kOldestIr = 3, kNewestIr = 14, kNewestOpset = 28;

/// The name of a TensorProto.DataType, or its number: "float16", "24".
std::string dataTypeName(int32_t type);
/// Printable, and cut where it is long: for messages.
std::string quoted(llvm::StringRef name);

class Model {
public:
  static llvm::Expected<Model> read(llvm::StringRef path);

  const ::onnx::ModelProto &proto() const { return model; }
  llvm::StringRef path() const { return source; }
  /// The version that the model imports of `domain` ("ai.onnx" is ""); 0: none.
  int64_t opset(llvm::StringRef domain) const;

  /// A tensor's values: type, shape and where they lie, checked against one another. What messages call it: `what`.
  llvm::Expected<TensorInfo> tensor(const ::onnx::TensorProto &tensor, const llvm::Twine &what);

  /// Hands over what the infos of tensor() point into.
  llvm::Expected<Checkpoint> takeCheckpoint(std::vector<TensorInfo> tensors);

private:
  llvm::Expected<unsigned> openExternal(llvm::StringRef location, const llvm::Twine &what);

  ::onnx::ModelProto model;
  std::string source;
  std::vector<std::unique_ptr<MappedFile>> files; // The model's own first.
  std::vector<std::vector<uint8_t>> loose;
  llvm::StringMap<unsigned> external;
};

} // namespace mlc::onnx
