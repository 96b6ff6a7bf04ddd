//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A function as pictures: its ops one below the other, joined by what they hand on, with the time of each where it was
// measured; and the arena over them. Nothing here is verified, so every index is looked at.
//
#include "runtime/artifact/InspectGraph.h"
#include "runtime/artifact/ProgramVerifier.h"

#include <algorithm>

namespace mlc {

namespace {

// More would be no picture; a row and the figure's width in pixels.
constexpr uint32_t kMostOps = 1500;
constexpr int kRow = 18, kWidth = 980, kNames = 150, kTimes = 760;
constexpr int kArenaHeight = 260;

class Graph {
public:
  Graph(const fb::Artifact &meta, const fb::Function &function, std::span<const double> times, TextWriter &out)
      : meta(meta), function(function), times(times), out(out), ops(function.body() ? function.body()->ops() : nullptr),
        count(std::min(countOf(ops), kMostOps)) {}

  void draw() {
    uint32_t slots = countOf(meta.slots());
    auto firstUses = OwnedArray<uint32_t>::create(systemAllocator(), slots, "slots");
    auto lastUses = OwnedArray<uint32_t>::create(systemAllocator(), slots, "slots");
    auto writers = OwnedArray<uint32_t>::create(systemAllocator(), slots, "slots");
    auto sizes = OwnedArray<uint64_t>::create(systemAllocator(), slots, "slots");
    if (!count || !firstUses || !lastUses || !writers || !sizes)
      return;
    first = std::move(*firstUses), last = std::move(*lastUses), writer = std::move(*writers), bytes = std::move(*sizes);
    for (uint32_t slot = 0; slot < slots; ++slot)
      bytes[slot] = sizeOf(*meta.slots()->Get(slot));
    drawOps();
    drawArena();
  }

private:
  /// At the largest extents; saturates.
  uint64_t sizeOf(const fb::Slot &slot) const {
    uint64_t size = slot.dtype() > DType::MAX ? 1 : dtypeSize(slot.dtype());
    for (uint32_t i = 0; i < countOf(slot.dims()); ++i) {
      const fb::Dim &dim = *slot.dims()->Get(i);
      uint64_t extent = dim.extent() >= 0 && uint32_t(dim.extent()) < countOf(meta.extents())
                            ? meta.extents()->Get(uint32_t(dim.extent()))->bound()
                            : 1;
      if (!checkedMul(size, uint64_t(dim.value()), size) || !checkedMul(size, extent, size))
        return UINT64_MAX;
    }
    return size;
  }

  /// Calls visit(slot, written, known) for the operands of an op and of all in its blocks; `known`: which way they go
  /// is.
  template <typename F> static void forEachOperand(const fb::Op &op, const F &visit) {
    auto each = [&](const flatbuffers::Vector<uint32_t> *list, bool written, bool known) {
      for (uint32_t i = 0; i < countOf(list); ++i)
        visit(list->Get(i), written, known);
    };
    auto block = [&](const fb::Block *inner) {
      for (uint32_t i = 0; inner && i < countOf(inner->ops()); ++i)
        forEachOperand(*inner->ops()->Get(i), visit);
    };
    if (auto *call = op.body_as_KernelCall()) {
      each(call->inputs(), false, true);
      each(call->outputs(), true, true);
    }
    if (auto *code = op.body_as_CallCode())
      each(code->slots(), false, false);
    if (auto *branch = op.body_as_If()) {
      block(branch->then_block());
      block(branch->else_block());
    }
    if (auto *loop = op.body_as_Loop())
      block(loop->body());
  }

  bool inArena(uint32_t slot) const {
    return slot < bytes.size() && meta.slots()->Get(slot)->space() == fb::Space::arena;
  }

  /// The op, counted from 1, that wrote where a view lies; 0: none.
  uint32_t writerAround(uint32_t view, uint32_t before) const {
    uint64_t offset = meta.slots()->Get(view)->offset();
    uint32_t found = 0;
    for (uint32_t op = before; op-- > 0 && !found;)
      forEachOperand(*ops->Get(op), [&](uint32_t slot, bool, bool) {
        if (inArena(slot) && writer[slot] == op + 1 && meta.slots()->Get(slot)->offset() <= offset &&
            offset - meta.slots()->Get(slot)->offset() < bytes[slot])
          found = op + 1;
      });
    return found;
  }

  void title(const fb::Op &op) {
    if (auto *call = op.body_as_KernelCall(); call && call->kernel() < countOf(meta.kernels()))
      return out.html(meta.kernels()->Get(call->kernel())->name());
    if (auto *code = op.body_as_CallCode(); code && code->code() < countOf(meta.codes()))
      return out.html(meta.codes()->Get(code->code())->name());
    out.put(op.body_as_If() ? "if" : op.body_as_Loop() ? "loop" : "call");
  }

  // A line from the op that wrote to the op that reads, the further out the longer.
  void join(uint32_t from, uint32_t to) {
    int reach = std::min(kNames - 12, 10 + int(to - from) * 3), x = kNames - 6;
    int y0 = int(from) * kRow + kRow / 2, y1 = int(to) * kRow + kRow / 2;
    out.format("<path d=\"M%d %dC%d %d %d %d %d %d\"/>", x, y0, x - reach, y0, x - reach, y1, x, y1);
  }

  void drawOps() {
    double most = 0, total = 0;
    for (uint32_t i = 0; i < count && i < times.size(); ++i)
      most = std::max(most, times[i]), total += times[i];
    out.format("<svg class=\"g\" viewBox=\"0 0 %d %d\" width=\"100%%\"><g fill=\"none\" stroke=\"#8aa0bd\">", kWidth,
               int(count) * kRow + 4);
    for (uint32_t i = 0; i < count; ++i) {
      uint32_t joined = 0; // Once an op.
      forEachOperand(*ops->Get(i), [&](uint32_t slot, bool written, bool known) {
        if (!inArena(slot))
          return;
        if (!first[slot])
          first[slot] = i + 1;
        last[slot] = i + 1;
        // Code says not which way a buffer goes: who touches one first writes it, unless it is a view.
        bool view = countOf(meta.slots()->Get(slot)->strides()) != 0;
        uint32_t from = writer[slot] ? writer[slot] : view ? writerAround(slot, i) : 0;
        if (known ? written : !from && !isInput(slot)) {
          writer[slot] = i + 1;
          return;
        }
        if (from && from != i + 1 && from != joined) {
          join(from - 1, i);
          joined = from;
        }
      });
    }
    out.put("</g>");
    for (uint32_t i = 0; i < count; ++i) {
      const fb::Op &op = *ops->Get(i);
      int y = int(i) * kRow + kRow / 2;
      out.format("<circle cx=\"%d\" cy=\"%d\" r=\"3\"/><text x=\"%d\" y=\"%d\">%u ", kNames - 4, y, kNames + 6, y + 4,
                 i);
      title(op);
      out.put(" <tspan>");
      out.html(op.location());
      forEachOperand(op, [&](uint32_t slot, bool, bool) {
        if (inArena(slot) && writer[slot] == i + 1) {
          out.put(" → ");
          shape(*meta.slots()->Get(slot));
        }
      });
      out.put("</tspan></text>");
      if (i < times.size() && total > 0)
        out.format("<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"10\"/><text x=\"%d\" y=\"%d\">%.2f us</text>",
                   kTimes, y - 5, most > 0 ? times[i] / most * 120 : 0.0, kTimes + 126, y + 4, times[i]);
    }
    out.put("</svg>");
    if (count < countOf(ops))
      out.format("<p>and %u ops more</p>", countOf(ops) - count);
  }

  bool isInput(uint32_t slot) const {
    auto *inputs = function.inputs();
    return inputs && std::find(inputs->begin(), inputs->end(), slot) != inputs->end();
  }

  void shape(const fb::Slot &slot) {
    out.format("%s[", slot.dtype() > DType::MAX ? "?" : fb::EnumNameDType(slot.dtype()));
    for (uint32_t i = 0; i < countOf(slot.dims()); ++i) {
      const fb::Dim &dim = *slot.dims()->Get(i);
      out.put(i ? "," : "");
      bool follows = dim.extent() >= 0 && uint32_t(dim.extent()) < countOf(meta.extents());
      if (follows)
        out.html(meta.extents()->Get(uint32_t(dim.extent()))->name());
      if (!follows || dim.value() != 1)
        out.format(follows ? "*%lld" : "%lld", static_cast<long long>(dim.value()));
    }
    out.put("]");
  }

  // Buffers over the ops that use them; ports live from the first op to the last.
  void drawArena() {
    double arena = double(meta.arena_size());
    if (arena <= 0)
      return;
    out.put("<h3>Memory over time</h3>");
    out.format("<svg class=\"g\" viewBox=\"0 0 %d %d\" width=\"100%%\"><g class=\"w\">", kWidth, kArenaHeight + 20);
    unsigned drawn = 0;
    for (uint32_t slot = 0; slot < bytes.size() && drawn < 4 * kMostOps; ++slot) {
      const fb::Slot &table = *meta.slots()->Get(slot);
      if (!first[slot] || countOf(table.strides()) || table.offset() > meta.arena_size())
        continue;
      ++drawn;
      double width = double(kWidth) / count, x = isPort(slot, false) ? 0 : width * (first[slot] - 1);
      double end = isPort(slot, true) ? kWidth : width * last[slot];
      double y = double(table.offset()) / arena * kArenaHeight,
             height = std::min(double(bytes[slot]) / arena * kArenaHeight, double(kArenaHeight));
      out.format("<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"><title>", x, y, end - x,
                 std::max(height, 0.5));
      out.html(table.name());
      out.put(" ");
      shape(table);
      out.put("</title></rect>");
    }
    out.format("</g><text x=\"0\" y=\"%d\">op 0</text><text x=\"%d\" y=\"%d\">op %u</text></svg>", kArenaHeight + 14,
               kWidth - 60, kArenaHeight + 14, count - 1);
  }

  bool isPort(uint32_t slot, bool outputs) const {
    auto *list = outputs ? function.outputs() : function.inputs();
    return list && std::find(list->begin(), list->end(), slot) != list->end();
  }

  const fb::Artifact &meta;
  const fb::Function &function;
  std::span<const double> times;
  TextWriter &out;
  const flatbuffers::Vector<flatbuffers::Offset<fb::Op>> *ops;
  uint32_t count;
  // Of every slot: the ops, counted from 1, that use it first and last, and that wrote it (0: none); its size.
  OwnedArray<uint32_t> first, last, writer;
  OwnedArray<uint64_t> bytes;
};

} // namespace

void inspectGraph(const fb::Artifact &meta, const fb::Function &function, std::span<const double> times,
                  TextWriter &out) {
  Graph(meta, function, times, out).draw();
}

} // namespace mlc
