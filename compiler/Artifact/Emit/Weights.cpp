//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The weights segments: constants in the order of their offsets, packed from the checkpoint a tile of rows at a time.
// The first has what every rank has, each other one what one rank has of its own.
//
#include "compiler/Artifact/Emit/Emit.h"
#include "compiler/Artifact/Emit/Shards.h"
#include "targets/cpu/pack/Pack.h"

#include "llvm/Support/ThreadPool.h"

#include <atomic>

using namespace mlir;
using namespace mlc;

namespace {

/// f32 bytes of one tile; bounds the memory that compiling takes.
constexpr uint64_t kTileBytes = 16 << 20;

using Write = llvm::function_ref<llvm::Error(llvm::ArrayRef<uint8_t>)>;

class WeightEmitter {
public:
  WeightEmitter(const Checkpoint *checkpoint, unsigned threads, Write write)
      : checkpoint(checkpoint), pool(llvm::hardware_concurrency(threads)), threads(threads), write(write) {}

  /// What follows is the segment of `ofRank`, from its beginning on.
  void beginSegment(int64_t ofRank) {
    rank = ofRank;
    position = 0;
  }

  llvm::Error emit(exec::ConstantOp constant) {
    if (llvm::Error error = pad(*constant.getOffset()))
      return error;
    if (std::optional<ArrayRef<float>> values = constant.getValues())
      return append({reinterpret_cast<const uint8_t *>(values->data()), values->size() * sizeof(float)});
    if (std::optional<ElementsAttr> elements = constant.getElements())
      return append(bytesOf(cast<DenseElementsAttr>(*elements)));
    std::vector<const TensorInfo *> sources;
    for (auto name : constant.getSources()->getAsRange<StringAttr>()) {
      const TensorInfo *tensor = checkpoint ? checkpoint->find(name.getValue()) : nullptr;
      if (!tensor)
        return llvm::createStringError("%s: tensor \"%s\" is missing; the graph needs it",
                                       checkpoint ? checkpoint->source().str().c_str() : "no checkpoint",
                                       name.str().c_str());
      sources.push_back(tensor);
    }
    std::vector<TensorInfo> parts(sources.size());
    std::vector<std::vector<uint8_t>> copies(sources.size());
    if (std::optional<ArrayAttr> shards = constant.getShards())
      for (auto [i, shard] : llvm::enumerate(shards->getAsRange<DenseI64ArrayAttr>())) {
        parts[i] = partOf(*sources[i], shard, rank, copies[i]);
        if (parts[i].file == TensorInfo::kNoFile)
          checkpoint->discardRows(*sources[i], 0, sources[i]->rows());
        sources[i] = &parts[i];
      }
    if (!constant.getWeight()) {
      auto type = cast<MemRefType>(constant.getType());
      if (sources[0]->bytes != uint64_t(type.getNumElements() * exec::elementBytes(type.getElementType())))
        return llvm::createStringError("%s: tensor \"%s\" is not stored as the graph says",
                                       checkpoint->source().str().c_str(), sources[0]->name.c_str());
      return sources[0]->bytes ? copy(sources) : llvm::Error::success();
    }
    exec::WeightAttr weight = *constant.getWeight();
    fb::WeightDesc desc(weight.getN(), weight.getK(), weight.getGroup(), fb::WeightFormat(weight.getFormat()),
                        weight.getAsymmetric());
    auto allStored = [&](fb::WeightFormat format) {
      return llvm::all_of(sources, [&](const TensorInfo *tensor) { return tensor->storage == format; });
    };
    if (allStored(desc.format()))
      return copy(sources);
    blocks = cpu::isBlockPanel(desc.format());
    if (blocks && !allStored(cpu::blockOfPanel(desc.format())))
      return llvm::createStringError("%s: tensor \"%s\" is not stored as the graph says",
                                     checkpoint->source().str().c_str(), sources[0]->name.c_str());
    ArrayRef<float> importance = constant.getImportance().value_or(ArrayRef<float>());
    if (constant.getCount() == 1)
      return pack(desc, sources, importance);
    // Each matrix on its own, so that it begins a panel.
    for (const TensorInfo *tensor : sources)
      for (int64_t row = 0; row < tensor->rows(); row += desc.n()) {
        TensorInfo matrix = rowsOf(*tensor, row, desc.n());
        if (llvm::Error error = pack(desc, &matrix, importance.take_front(desc.k())))
          return error;
        importance = importance.drop_front(std::min<size_t>(importance.size(), desc.k()));
      }
    return llvm::Error::success();
  }

  /// Zeros up to `offset`.
  llvm::Error pad(uint64_t offset) {
    static constexpr uint8_t zeros[64] = {};
    while (position < offset)
      if (llvm::Error error = append({zeros, size_t(std::min<uint64_t>(64, offset - position))}))
        return error;
    return llvm::Error::success();
  }

private:
  llvm::Error append(llvm::ArrayRef<uint8_t> bytes) {
    position += bytes.size();
    return write(bytes);
  }

  /// Row-major, little-endian; a boolean is a byte.
  static std::vector<uint8_t> bytesOf(DenseElementsAttr elements) {
    unsigned size = exec::elementBytes(elements.getElementType());
    std::vector<uint8_t> bytes;
    bytes.reserve(elements.getNumElements() * size);
    auto put = [&](const APInt &bits) {
      uint64_t value = bits.getZExtValue();
      bytes.insert(bytes.end(), reinterpret_cast<uint8_t *>(&value), reinterpret_cast<uint8_t *>(&value) + size);
    };
    if (isa<FloatType>(elements.getElementType()))
      for (const APFloat &value : elements.getValues<APFloat>())
        put(value.bitcastToAPInt());
    else
      for (const APInt &value : elements.getValues<APInt>())
        put(value);
    return bytes;
  }

  llvm::Error copy(llvm::ArrayRef<const TensorInfo *> sources) {
    for (const TensorInfo *tensor : sources) {
      int64_t rows = tensor->rows();
      uint64_t rowBytes = tensor->bytes / rows;
      int64_t step = std::max<int64_t>(1, kTileBytes / std::max<uint64_t>(rowBytes, 1));
      for (int64_t row = 0; row < rows; row += step) {
        int64_t end = std::min(rows, row + step);
        if (llvm::Error error = append({tensor->data + row * rowBytes, size_t((end - row) * rowBytes)}))
          return error;
        checkpoint->discardRows(*tensor, row, end);
      }
    }
    return llvm::Error::success();
  }

  /// `count` whole rows of a tensor from `row` on.
  static TensorInfo rowsOf(const TensorInfo &tensor, int64_t row, int64_t count) {
    TensorInfo part = tensor;
    uint64_t rowBytes = tensor.bytes / tensor.rows();
    part.shape = {count, tensor.columns()};
    part.data += row * rowBytes;
    part.offset += row * rowBytes;
    part.bytes = count * rowBytes;
    return part;
  }

  /// Vectors behind one another are one row of the descriptor; matrices lie one under the other.
  llvm::Error pack(const fb::WeightDesc &desc, llvm::ArrayRef<const TensorInfo *> sources,
                   llvm::ArrayRef<float> importance) {
    bool vector = desc.n() == 1;
    uint64_t columns = desc.k(), rows = desc.n();
    // A multiple of the panel for every worker.
    uint64_t slice = std::max<uint64_t>(cpu::kPanel, kTileBytes / 4 / columns / threads / cpu::kPanel * cpu::kPanel);
    slice = std::min(slice, llvm::alignTo(llvm::divideCeil(rows, uint64_t(threads)), cpu::kPanel));
    uint64_t step = slice * threads;
    // Blocks are packed as they are, everything else from f32.
    uint64_t rowBytes = blocks ? sources[0]->bytes / sources[0]->rows() : columns * sizeof(float);
    std::vector<uint8_t> tile(std::min(step, llvm::alignTo(rows, cpu::kPanel)) * rowBytes);
    std::vector<uint8_t> packed;
    for (uint64_t begin = 0; begin < rows; begin += step) {
      uint64_t end = std::min(rows, begin + step), base = cpu::packedOffset(desc, begin);
      packed.assign(cpu::packedOffset(desc, end) - base, 0);
      std::atomic<bool> good{true};
      for (uint64_t first = begin; first < end; first += slice)
        pool.async([&, first] {
          uint64_t last = std::min(end, first + slice);
          uint8_t *at = tile.data() + (first - begin) * rowBytes;
          if (blocks) {
            readBlocks(sources, first, last, rowBytes, at);
            return cpu::packBlocks(desc, first, last, at, packed.data() + (cpu::packedOffset(desc, first) - base));
          }
          auto *values = reinterpret_cast<float *>(at);
          if (vector)
            readVectors(sources, values);
          else
            readMatrices(sources, first, last, values);
          if (!cpu::packRows(desc, first, last, values, packed.data() + (cpu::packedOffset(desc, first) - base),
                             importance.empty() ? nullptr : importance.data()))
            good = false;
        });
      pool.wait();
      if (!good)
        return llvm::createStringError("%s: tensor \"%s\" holds a value that is not finite; it cannot be quantized",
                                       checkpoint->source().str().c_str(), nameAt(sources, begin).c_str());
      if (llvm::Error error = append(packed))
        return error;
      discard(sources, begin, end);
    }
    return llvm::Error::success();
  }

  static void readVectors(llvm::ArrayRef<const TensorInfo *> sources, float *out) {
    for (const TensorInfo *tensor : sources) {
      Checkpoint::readRows(*tensor, 0, tensor->rows(), out);
      out += tensor->elements();
    }
  }

  template <typename F>
  static void overlaps(llvm::ArrayRef<const TensorInfo *> sources, uint64_t begin, uint64_t end, F visit) {
    uint64_t start = 0;
    for (const TensorInfo *tensor : sources) {
      uint64_t stop = start + tensor->rows(), from = std::max(begin, start), to = std::min(end, stop);
      if (from < to)
        visit(*tensor, from - start, to - start, from - begin);
      start = stop;
    }
  }
  static void readMatrices(llvm::ArrayRef<const TensorInfo *> sources, uint64_t begin, uint64_t end, float *out) {
    overlaps(sources, begin, end, [&](const TensorInfo &tensor, uint64_t from, uint64_t to, uint64_t at) {
      Checkpoint::readRows(tensor, from, to, out + at * tensor.columns());
    });
  }
  static void readBlocks(llvm::ArrayRef<const TensorInfo *> sources, uint64_t begin, uint64_t end, uint64_t rowBytes,
                         uint8_t *out) {
    overlaps(sources, begin, end, [&](const TensorInfo &tensor, uint64_t from, uint64_t to, uint64_t at) {
      std::copy_n(tensor.data + from * rowBytes, (to - from) * rowBytes, out + at * rowBytes);
    });
  }
  void discard(llvm::ArrayRef<const TensorInfo *> sources, uint64_t begin, uint64_t end) {
    overlaps(sources, begin, end, [&](const TensorInfo &tensor, uint64_t from, uint64_t to, uint64_t) {
      checkpoint->discardRows(tensor, from, to);
    });
  }
  static std::string nameAt(llvm::ArrayRef<const TensorInfo *> sources, uint64_t row) {
    std::string name = sources[0]->name;
    overlaps(sources, row, row + 1,
             [&](const TensorInfo &tensor, uint64_t, uint64_t, uint64_t) { name = tensor.name; });
    return name;
  }

  const Checkpoint *checkpoint;
  llvm::DefaultThreadPool pool;
  unsigned threads;
  Write write;
  bool blocks = false;   // Of the constant being packed.
  uint64_t position = 0; // In the segment.
  int64_t rank = 0;
};

} // namespace

llvm::Error mlc::emitWeights(ModuleOp module, const Checkpoint *checkpoint, unsigned threads, Write write) {
  std::vector<exec::ConstantOp> constants(module.getOps<exec::ConstantOp>().begin(),
                                          module.getOps<exec::ConstantOp>().end());
  llvm::sort(constants, [](exec::ConstantOp a, exec::ConstantOp b) { return *a.getOffset() < *b.getOffset(); });
  WeightEmitter emitter(checkpoint, std::max(1u, threads), write);
  auto segment = [&](bool sharded, int64_t rank) -> llvm::Error {
    emitter.beginSegment(rank);
    for (exec::ConstantOp constant : constants)
      if (bool(constant.getShards()) == sharded)
        if (llvm::Error error = emitter.emit(constant))
          return error;
    return emitter.pad(weightsSize(module, sharded));
  };
  if (llvm::Error error = segment(false, 0))
    return error;
  for (int64_t rank = 0, ranks = ranksOf(module); ranks > 1 && rank < ranks; ++rank)
    if (llvm::Error error = segment(true, rank))
      return error;
  return llvm::Error::success();
}
