//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Reference/CheckpointWeights.h"

namespace mlc::reference {

llvm::Expected<const TensorInfo *> CheckpointWeights::find(graph::WeightOp weight) const {
  std::string file = checkpoint.source().str(), name = weight.getSymName().str();
  const TensorInfo *tensor = checkpoint.find(name);
  if (!tensor)
    return llvm::createStringError("%s: tensor \"%s\" is missing; the graph needs it", file.c_str(), name.c_str());
  llvm::ArrayRef<int64_t> shape = weight.getTensorType().getShape();
  if (!tensor->fits(shape))
    return llvm::createStringError("%s: tensor \"%s\" has shape %s, the graph needs %s", file.c_str(), name.c_str(),
                                   shapeText(tensor->shape).c_str(), shapeText(shape).c_str());
  // The values of graph.storage are those of the schema's formats.
  if (unsigned(weight.getStorage()) != unsigned(tensor->storage))
    return llvm::createStringError("%s: tensor \"%s\" is stored as %s, the graph says %s", file.c_str(), name.c_str(),
                                   storageName(tensor->storage).str().c_str(),
                                   graph::stringifyStorage(weight.getStorage()).str().c_str());
  return tensor;
}

llvm::Expected<std::vector<float>> CheckpointWeights::load(graph::WeightOp weight) {
  llvm::Expected<const TensorInfo *> tensor = find(weight);
  if (!tensor)
    return tensor.takeError();
  std::vector<float> values((*tensor)->elements());
  Checkpoint::readRows(**tensor, 0, (*tensor)->rows(), values.data());
  checkpoint.discardRows(**tensor, 0, (*tensor)->rows());
  return values;
}

llvm::Expected<std::vector<uint8_t>> CheckpointWeights::loadStored(graph::WeightOp weight) {
  llvm::Expected<const TensorInfo *> tensor = find(weight);
  if (!tensor)
    return tensor.takeError();
  std::vector<uint8_t> bytes((*tensor)->data, (*tensor)->data + (*tensor)->bytes);
  checkpoint.discardRows(**tensor, 0, (*tensor)->rows());
  return bytes;
}

} // namespace mlc::reference
