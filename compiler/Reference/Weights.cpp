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

llvm::Expected<std::vector<uint8_t>> WeightSource::loadStored(graph::WeightOp weight) {
  return llvm::createStringError("weight @%s: this source has values, no stored blocks",
                                 weight.getSymName().str().c_str());
}

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
  int64_t columns = weight.getColumns();
  graph::QuantAttr quant = weight.getQuantAttr();
  if (!quant)
    return fb::WeightDesc(rows, columns, 0, cpu::panelOfBlock(fb::WeightFormat(uint32_t(weight.getStorage()))), false);
  return fb::WeightDesc(rows, columns, uint32_t(quant.getGroup()),
                        quant.getBits() == 8 ? fb::WeightFormat::panel_int8 : fb::WeightFormat::panel_int4,
                        quant.getAsymmetric());
}

/// Packs the weight panel by panel, since it is never needed whole: `visit(row, layout, panel, row of the panel)`.
template <typename Visit> static llvm::Error packAndVisit(WeightSource &source, graph::WeightOp weight, Visit &&visit) {
  fb::WeightDesc desc = descriptorOf(weight, weight.getRows());
  if (Status status = cpu::checkWeightDesc(desc); !status)
    return llvm::createStringError("weight @%s: %s", weight.getSymName().str().c_str(), status.error().message());
  fb::WeightDesc panel = descriptorOf(weight, cpu::kPanel);
  cpu::PanelLayout layout = cpu::panelLayout(panel);
  bool blocks = cpu::isBlockPanel(desc.format());
  std::vector<float> values;
  std::vector<uint8_t> stored;
  if (blocks) {
    llvm::Expected<std::vector<uint8_t>> loaded = source.loadStored(weight);
    if (!loaded)
      return loaded.takeError();
    stored = std::move(*loaded);
  } else {
    llvm::Expected<std::vector<float>> loaded = loadWhole(source, weight);
    if (!loaded)
      return loaded.takeError();
    values = std::move(*loaded);
  }
  uint64_t rowBytes = stored.size() / desc.n();
  std::vector<uint8_t> bytes(layout.bytes);
  std::vector<float> rows(cpu::kPanel * desc.k());
  // Each expert's columns have an importance of their own.
  llvm::ArrayRef<float> importance = weight.getImportance().value_or(llvm::ArrayRef<float>());
  uint64_t matrices = importance.empty() ? 1 : importance.size() / desc.k(), matrixRows = desc.n() / matrices, count;
  for (uint64_t begin = 0; begin < desc.n(); begin += count) {
    count = std::min<uint64_t>(cpu::kPanel, matrixRows - begin % matrixRows);
    if (blocks) {
      cpu::packBlocks(panel, 0, count, stored.data() + begin * rowBytes, bytes.data());
    } else {
      std::fill(rows.begin(), rows.end(), 0.0f);
      std::copy_n(values.begin() + begin * desc.k(), count * desc.k(), rows.begin());
      if (!cpu::packRows(panel, 0, cpu::kPanel, rows.data(), bytes.data(),
                         importance.empty() ? nullptr : importance.data() + begin / matrixRows * desc.k()))
        return llvm::createStringError("weight @%s holds a value that is not finite and cannot be quantized",
                                       weight.getSymName().str().c_str());
    }
    for (uint64_t r = 0; r < count; ++r)
      visit(begin + r, panel, layout, bytes.data(), r);
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
    int64_t columns = weight.getColumns();
    llvm::Error error = packAndVisit(source, weight, [&](uint64_t row, auto &desc, auto &, auto *panel, uint64_t r) {
      cpu::unpackRow(desc, panel, r, values.data() + row * columns);
    });
    if (error)
      return error;
  } else {
    llvm::Expected<std::vector<float>> loaded = loadWhole(source, weight);
    if (!loaded)
      return loaded.takeError();
    values = std::move(*loaded);
    if (weight.getBf16())
      for (float &value : values)
        value = bf16ToF32(f32ToBf16(value));
  }
  return llvm::ArrayRef<float>(plain[weight] = std::move(values));
}

llvm::Expected<const QuantizedWeight *> WeightStore::quantized(graph::WeightOp weight) {
  auto found = packed.find(weight);
  if (found != packed.end())
    return found->second.get();
  auto result = std::make_unique<QuantizedWeight>();
  result->rows = weight.getRows();
  result->columns = weight.getColumns();
  cpu::PanelLayout sizes = cpu::panelLayout(descriptorOf(weight, cpu::kPanel));
  result->group = sizes.group;
  result->groups = sizes.groups;
  result->codes.resize(result->rows * result->columns);
  result->scales.resize(result->rows * result->groups);
  result->offsets.resize(result->rows * result->groups);
  auto visit = [&](uint64_t row, auto &desc, auto &layout, auto *panel, uint64_t r) {
    for (int64_t g = 0; g < result->groups; ++g) {
      cpu::GroupFactors factors = cpu::groupFactors(desc, layout, panel, g, r);
      result->scales[row * result->groups + g] = factors.scale;
      result->offsets[row * result->groups + g] = factors.offset;
      for (int64_t k = g * result->group; k < std::min((g + 1) * result->group, result->columns); ++k)
        result->codes[row * result->columns + k] = int16_t(int(cpu::panelCode(layout, panel, k, r)) - factors.zero);
    }
  };
  if (llvm::Error error = packAndVisit(source, weight, visit))
    return error;
  return (packed[weight] = std::move(result)).get();
}

} // namespace mlc::reference
