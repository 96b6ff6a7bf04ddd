//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Reference/Weights.h"

#include "runtime/core/Float16.h"
#include "targets/cpu/pack/Pack.h"

#include <cmath>
#include <cstring>

using namespace mlir;

namespace mlc::reference {

WeightSource::~WeightSource() = default;

llvm::Expected<std::vector<float>> MapWeightSource::load(graph::WeightOp weight) {
  auto found = values.find(weight.getSymName());
  if (found == values.end())
    return llvm::createStringError("there are no values for weight @%s", weight.getSymName().str().c_str());
  return found->second;
}

static llvm::Expected<std::vector<float>> loadWhole(WeightSource &source, graph::WeightOp weight) {
  llvm::Expected<std::vector<float>> values = source.load(weight);
  if (values && int64_t(values->size()) != weight.getTensorType().getNumElements())
    return llvm::createStringError("weight @%s has %zu values, its type %lld", weight.getSymName().str().c_str(),
                                   values->size(), (long long)weight.getTensorType().getNumElements());
  return values;
}

/// The descriptor that GraphToExec gives `rows` rows of the packed weight on the CPU target.
static fb::WeightDesc descriptorOf(graph::WeightOp weight, int64_t rows) {
  graph::QuantAttr quant = weight.getQuantAttr();
  return fb::WeightDesc(rows, weight.getTensorType().getDimSize(1), uint32_t(quant.getGroup()),
                        quant.getBits() == 8 ? fb::WeightFormat::panel_int8 : fb::WeightFormat::panel_int4,
                        quant.getAsymmetric());
}

/// Visits rows of the packed weight: `visit(row, values, scales)` with scales[group].
template <typename Visit> static llvm::Error packAndVisit(WeightSource &source, graph::WeightOp weight, Visit &&visit) {
  llvm::Expected<std::vector<float>> values = loadWhole(source, weight);
  if (!values)
    return values.takeError();
  fb::WeightDesc desc = descriptorOf(weight, weight.getTensorType().getDimSize(0));
  if (Status status = cpu::checkWeightDesc(desc); !status)
    return llvm::createStringError("weight @%s: %s", weight.getSymName().str().c_str(), status.error().message());
  // Panel by panel: the packed matrix is never needed whole.
  fb::WeightDesc panel = descriptorOf(weight, cpu::kPanel);
  cpu::PanelLayout layout = cpu::panelLayout(panel);
  std::vector<uint8_t> bytes(layout.bytes);
  std::vector<float> row(desc.k()), scales(layout.groups), rows(cpu::kPanel * desc.k());
  for (uint64_t begin = 0; begin < desc.n(); begin += cpu::kPanel) {
    uint64_t count = std::min<uint64_t>(cpu::kPanel, desc.n() - begin);
    std::fill(rows.begin(), rows.end(), 0.0f);
    std::copy_n(values->begin() + begin * desc.k(), count * desc.k(), rows.begin());
    if (!cpu::packRows(panel, 0, cpu::kPanel, rows.data(), bytes.data(),
                       weight.getImportance() ? weight.getImportance()->data() : nullptr))
      return llvm::createStringError("weight @%s holds a value that is not finite and cannot be quantized",
                                     weight.getSymName().str().c_str());
    for (uint64_t r = 0; r < count; ++r) {
      cpu::unpackRow(panel, bytes.data(), r, row.data());
      for (uint64_t g = 0; g < layout.groups; ++g) {
        uint16_t bits;
        memcpy(&bits, bytes.data() + layout.scalesOffset + (g * cpu::kPanel + r) * 2, 2);
        scales[g] = bf16ToF32(bits);
      }
      visit(begin + r, llvm::ArrayRef<float>(row), llvm::ArrayRef<float>(scales));
    }
  }
  return llvm::Error::success();
}

llvm::Expected<llvm::ArrayRef<float>> WeightStore::floats(graph::WeightOp weight) {
  auto found = plain.find(weight);
  if (found != plain.end())
    return llvm::ArrayRef<float>(found->second);
  std::vector<float> values;
  if (weight.getQuant()) {
    values.resize(weight.getTensorType().getNumElements());
    int64_t columns = weight.getTensorType().getDimSize(1);
    llvm::Error error = packAndVisit(source, weight, [&](uint64_t row, llvm::ArrayRef<float> unpacked, auto) {
      std::copy(unpacked.begin(), unpacked.end(), values.begin() + row * columns);
    });
    if (error)
      return error;
  } else {
    llvm::Expected<std::vector<float>> loaded = loadWhole(source, weight);
    if (!loaded)
      return loaded.takeError();
    values = std::move(*loaded);
  }
  return llvm::ArrayRef<float>(plain[weight] = std::move(values));
}

llvm::Expected<const QuantizedWeight *> WeightStore::quantized(graph::WeightOp weight) {
  auto found = packed.find(weight);
  if (found != packed.end())
    return found->second.get();
  auto result = std::make_unique<QuantizedWeight>();
  result->rows = weight.getTensorType().getDimSize(0);
  result->columns = weight.getTensorType().getDimSize(1);
  result->group = weight.getQuantAttr().getGroup();
  result->groups = llvm::divideCeil(result->columns, result->group);
  result->codes.resize(result->rows * result->columns);
  result->scales.resize(result->rows * result->groups);
  auto visit = [&](uint64_t row, llvm::ArrayRef<float> values, llvm::ArrayRef<float> scales) {
    std::copy(scales.begin(), scales.end(), result->scales.begin() + row * result->groups);
    for (int64_t k = 0; k < result->columns; ++k) {
      float scale = scales[k / result->group];
      // value = (q - zero) * scale, rounded: the quotient lies next to the integer.
      result->codes[row * result->columns + k] = scale == 0 ? 0 : int16_t(std::lrint(values[k] / scale));
    }
  };
  if (llvm::Error error = packAndVisit(source, weight, visit))
    return error;
  return (packed[weight] = std::move(result)).get();
}

} // namespace mlc::reference
