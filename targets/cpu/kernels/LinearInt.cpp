//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// linear on quantized rows: isum of a group of weights is the exact integer sum of (q - zero) * x. Where x has a scale
// for each group, acc = fma(float(isum), scale_w * scale_x, acc) in the order of groups; where several groups share
// one, part = fma(float(isum), scale_w, part) over them, then acc = fma(part, scale_x, acc). A format with offsets adds
// their product with the negated sum of x, of shared ones summed apart. Where the groups' own factors are integers,
// these meet isum exactly, and part = float(their sum) * scale. The same bits in every form and blocking.
//
#include "targets/cpu/kernels/IntRow.h"
#include "targets/cpu/kernels/IntUnpack.h"
#include "targets/cpu/kernels/LinearDot.h"
#include "targets/cpu/kernels/LinearGate.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

/// A row against panels (dotRow).
using RowCode = void (*)(const LinearInt &, const uint8_t *x, const uint8_t *const *panels, int64_t next, float *sums);

/// A format's code.
struct FormatCode {
  void (*unpack)(const LinearInt &, const Unpacked &);
  void (*unpackScaled)(const LinearInt &, const Unpacked &); // Null where tiles take quads.
  RowCode row;                                               // One panel; null without kRowKernels.
  RowCode rowTogether;                                       // kRowPanels of them; null where they are met one by one.
  DotCode dot[2];                                            // The second: several groups share a scale of x.
  DotWeights weights;                                        // As LinearInt::tiles takes them.
  bool bytes;                                                // Values are whole bytes, which nothing unpacks.
  bool packed;                                               // `dot` unpacks.
  int64_t tileBytes;                                         // Values of kSuperColumns, or a super-block.
  int64_t values;                                            // Where they begin in it.
  int64_t factors;                                           // f32 vectors of a group's, in lanes.
  bool supers;                                               // Scales are super.
};
template <int Bits, IntScale S, IntOffset M> constexpr FormatCode formatCode() {
  constexpr bool kOffset = M != IntOffset::none, kPacked = Bits == 4 && kUnpacksBeside;
  FormatCode code{};
  code.unpack = unpackPanel<Bits, S, M, false>;
  code.weights = kOffset ? DotWeights::plain : kSigned<Bits, S, M> ? DotWeights::ofSigned : DotWeights::withZero;
  code.bytes = Bits == 8;
  code.packed = kPacked;
  code.tileBytes = kSuperColumns * 2 * Bits;
  code.factors = kLanes * (kOffset ? 2 : 1);
  code.supers = isSuper(S);
  if constexpr (isSuper(S)) {
    code.tileBytes = kSuperBlock<Bits, M>.bytes;
    code.values = kSuperBlock<Bits, M>.values;
    code.dot[0] = code.dot[1] = kDotCode<dotBits(Bits), superScaling(Bits), kPacked>;
#if defined(__AVX512F__)
    code.unpackScaled = unpackPanel<Bits, S, M, true>;
    code.weights = kOffset ? DotWeights::scaledPlain : DotWeights::scaled;
#endif
  } else {
    code.dot[0] = kDotCode<dotBits(Bits), Scaling::alone, kPacked>;
    code.dot[1] = kDotCode<dotBits(Bits), Scaling::shared, kPacked>;
  }
  constexpr IntScale kScale = kSharesRow<Bits, M> ? IntScale::bf16 : S;
  if constexpr (kRowKernels && isSuper(S))
    code.row = dotSuperRow<Bits, S, M>;
  else if constexpr (kRowKernels)
    code.row = dotRow<Bits, kScale, M, 1>;
  if constexpr (kRowPanels > 1 && !isSuper(S) && kSharesRow<Bits, M>)
    code.rowTogether = dotRow<Bits, kScale, M, kRowPanels>;
  return code;
}

/// Most rows that tiles multiply a group at a time.
constexpr int64_t kSoonMultiplied = 64;

/// Rows [rowBegin, rowEnd) against the panels at `first` and `second`, which are unpacked a tile at a time.
void dotTile(const LinearInt &a, const FormatCode &code, int64_t rowBegin, int64_t rowEnd, const uint8_t *first,
             const uint8_t *second, int64_t nextPanels, const LinearScratch &s, TileState &tileState) {
  // What registers hold at once they multiply sooner.
  const bool tiles = a.tiles && rowEnd - rowBegin > kDotRows, scaled = tiles && code.unpackScaled;
  const bool direct = code.bytes || (code.packed && !tiles); // Nothing is unpacked before.
  // Whether what is multiplied last waits in the tiles while the next block is unpacked, in another place. Few rows are
  // multiplied as soon as something is unpacked.
  const bool waits = tiles && !scaled && !a.scaleShift;
  const int64_t columns = !waits ? kIntColumns / (scaled ? 2 : 1) // Two planes take twice the room.
                          : rowEnd - rowBegin > kSoonMultiplied ? kIntColumns / 2
                                                                : kIntColumns / 4,
                block = a.group < columns ? columns / a.group : 1;
  DotBlock b{};
  int64_t turn = 0;
  for (int64_t begin = 0; begin < a.groups; begin += block) {
    int64_t end = begin + block < a.groups ? begin + block : a.groups;
    float *factors = s.factors + turn * (kLinearFactors / 2);
    uint8_t *tile = s.tile + turn * kPanelsTogether * kIntColumns * kPanelColumns;
    turn = waits && !turn;
    const uint8_t *panels[] = {first, second};
    for (int64_t p = 0; p < (first == second ? 1 : kPanelsTogether); ++p) {
      // What is unpacked next: the following groups, or the next panels' first.
      const uint8_t *nextPanel = panels[p] + a.panelBytes * nextPanels,
                    *next = end < a.groups ? panels[p] + code.tileBytes * (end - begin) * a.group / kSuperColumns
                                           : nextPanel - code.tileBytes * begin * a.group / kSuperColumns;
      const Unpacked unpacked{panels[p],
                              tiles ? next : nullptr,
                              nextPanel,
                              begin,
                              end,
                              direct ? nullptr : tile + p * kIntColumns * kPanelColumns,
                              factors + p * code.factors,
                              s.supers + p * code.factors,
                              tiles};
      (scaled ? code.unpackScaled : code.unpack)(a, unpacked);
    }
    b.xStride = a.xStride;
    b.sumStride = a.groups * 4;
    b.w = direct ? first + code.tileBytes * begin * a.group / kSuperColumns + code.values : tile;
    b.wGap = code.values;
    // A single panel stands in for its missing neighbour, whose sums nobody reads.
    b.wPanel = first == second ? 0 : direct ? second - first : kIntColumns * kPanelColumns;
    b.factors = factors;
    b.supers = code.supers ? s.supers : nullptr;
    b.offsets = code.factors > kLanes;
    b.units = a.group / 16;
    b.groups = end - begin;
    b.together = int64_t(1) << a.scaleShift;
    b.ahead = first + (end < a.groups ? code.tileBytes * end * a.group / kSuperColumns : a.panelBytes * nextPanels);
    b.aheadBytes = code.tileBytes * (end - begin) * a.group / kSuperColumns;
    b.aheadGap = second - first - b.aheadBytes;
    b.x = a.x + rowBegin * a.xStride + begin * a.group;
    b.scales = a.x + rowBegin * a.xStride + a.xScales + 4 * (begin >> a.scaleShift);
    b.sums = a.sums + rowBegin * b.sumStride + 4 * begin;
    b.acc = s.acc;
    b.begins = begin == 0;
    if (end == a.groups && a.output.out && !a.output.expert && !a.output.gatePanels) {
      const LinearOutput &o = a.output;
      int64_t at = (first - a.weight) / a.panelBytes * kPanelColumns;
      b.fetched[0] = {o.out + rowBegin * o.stride + at, o.stride};
      if (o.residual)
        b.fetched[1] = {o.residual + rowBegin * o.residualStride + at, o.residualStride};
    }
    if (tiles)
      a.tiles(b, rowEnd - rowBegin, code.weights, a.scaleShift, tileState);
    else
      dotRows(code.dot[a.scaleShift != 0], b, rowEnd - rowBegin);
  }
  if (waits)
    a.tiles(b, 0, code.weights, a.scaleShift, tileState);
}

/// Calls product(met, panel, apart, next) for panels [begin, end), P at a time, each an equal part of the way from the
/// next, so that each is one stream through memory; of a gate half as many and those that they gate, side by side, for
/// its output may be quantized in order. The first met is `panel`, the others (the other pairs) lie `apart`, and what
/// is met after each `next` bytes from it. Returns where the rest begins, of fewer than twice as many.
template <int64_t P, typename F> int64_t meetPanels(const LinearInt &a, int64_t begin, int64_t end, const F &product) {
  const bool pairs = a.output.gatePanels != 0;
  const int64_t streams = pairs ? P / kPanelsTogether : P;
  int64_t each = (end - begin) / streams;
  // Streams that are whole pages apart would meet in the same few lines of the first cache.
  if (!pairs && each > 1 && each * a.panelBytes % kPageBytes == 0)
    --each;
  const int64_t apart = pairs ? 1 : each, step = pairs ? streams : 1;
  for (int64_t i = 0; i < each; ++i) {
    const uint8_t *met[P], *first = a.weight + (begin + i * step) * a.panelBytes;
    for (int64_t p = 0; p < P; ++p)
      met[p] = first + (pairs ? p / 2 * apart * a.panelBytes + p % 2 * a.gateBytes : p * apart * a.panelBytes);
    // Behind the last ones the same places of the next matrix.
    const int64_t next = i + 1 < each || !a.following ? step : -i * step;
    product(met, begin + i * step, apart, next * a.panelBytes + (i + 1 < each ? 0 : a.following));
  }
  return begin + each * streams;
}

/// One row against panels [begin, end): kRowPanels at a time where these are met together, the others one by one.
void writeRow(const LinearInt &a, const FormatCode &code, int64_t row, int64_t begin, int64_t end, LinearScratch s) {
  constexpr int64_t kMost = kRowPanels < kPanelsTogether ? kPanelsTogether : kRowPanels;
  const bool gated = a.output.gatePanels != 0, pairs = gated && a.gateBytes;
  const uint8_t *x = a.x + row * a.xStride;
  alignas(64) float sums[kMost * kLanes];
  s.acc = sums;
  if (kRowPanels > 1 && a.streams && code.rowTogether && (!gated || pairs))
    begin = meetPanels<kRowPanels>(a, begin, end,
                                   [&](const uint8_t *const *met, int64_t panel, int64_t apart, int64_t next) {
                                     code.rowTogether(a, x, met, next, sums);
                                     LinearScratch part = s;
                                     for (int64_t p = 0; p < kRowPanels; p += pairs ? kPanelsTogether : 1) {
                                       part.acc = sums + p * kLanes;
                                       if (pairs)
                                         writeGated(a.output, row, row + 1, panel + p / 2, part);
                                       else
                                         writeOutput(a.output, row, row + 1, panel + p * apart, 1, part);
                                     }
                                   });
  for (int64_t panel = begin; panel < end; ++panel) {
    const uint8_t *met[] = {a.weight + panel * a.panelBytes, a.weight + panel * a.panelBytes + a.gateBytes};
    code.row(a, x, met, a.panelBytes, sums);
    if (pairs)
      code.row(a, x, met + 1, a.panelBytes, sums + kLanes);
    if (gated)
      writeGated(a.output, row, row + 1, panel, s);
    else
      writeOutput(a.output, row, row + 1, panel, 1, s);
  }
}

/// Whether LinearInt::few takes these rows.
bool areFew(const LinearInt &a, int64_t rows) {
  const bool gated = a.output.gatePanels != 0;
  // Scales and sums of x find room behind what the products need.
  return a.few && rows <= kFewRows && a.format <= IntFormat::int4 && a.group == kFewGroup && !a.scaleShift &&
         (!gated || a.gateBytes) &&
         kFewBytes + a.groups * FewRows::padded(rows) * 8 <= kLinearTileBytes + (kLinearFactors + kLinearSupers) * 4;
}

/// Few rows against panels [begin, end), kFewPanels at a time.
void writeFew(const LinearInt &a, int64_t rowBegin, int64_t rowEnd, int64_t begin, int64_t end,
              const LinearScratch &s) {
  const bool pairs = a.output.gatePanels != 0;
  const LinearOutput &o = a.output;
  FewRows f{};
  f.x = a.x + rowBegin * a.xStride;
  f.rows = rowEnd - rowBegin;
  const int64_t padded = f.paddedRows();
  auto *scales = reinterpret_cast<float *>(s.tile + kFewBytes);
  uint8_t *sums = s.tile + kFewBytes + a.groups * padded * 4;
  __builtin_memset(scales, 0, size_t(2 * a.groups * padded * 4));
  for (int64_t row = 0; row < f.rows; ++row)
    for (int64_t g = 0; g < a.groups; ++g) {
      scales[g * padded + row] = loadFloat(f.x + row * a.xStride + a.xScales + 4 * g);
      __builtin_memcpy(sums + (g * padded + row) * 4, a.sums + ((rowBegin + row) * a.groups + g) * 4, 4);
    }
  f.scales = scales, f.sums = sums, f.work = s.tile;
  a.few(a, f);
  auto product = [&](const uint8_t *const *met, int64_t panel, int64_t apart, int64_t next) {
    __builtin_memcpy(f.panels, met, sizeof f.panels);
    f.next = next;
    if (!pairs && !o.expert) {
      f.fetched = o.out + rowBegin * o.stride + panel * kPanelColumns;
      f.fetchedApart = apart * kPanelColumns, f.fetchedStride = o.stride;
    }
    a.few(a, f);
    for (int64_t p = 0; p < kFewPanels && panel + p * apart / (pairs ? 2 : 1) < end; p += pairs ? kPanelsTogether : 1)
      for (int64_t row = rowBegin; row < rowEnd; row += kFewRows / 2) {
        const int64_t last = row + kFewRows / 2 < rowEnd ? row + kFewRows / 2 : rowEnd;
        LinearScratch part = s;
        part.acc = f.accOf(p, row > rowBegin);
        part.gated += (row - rowBegin) * o.group;
        if (pairs)
          writeGated(o, row, last, panel + p / 2, part);
        else
          writeOutput(o, row, last, panel + p * apart, 1, part);
      }
  };
  begin = meetPanels<kFewPanels>(a, begin, end, product);
  // The last panel stands in for those that are missing.
  while (begin < end) {
    const uint8_t *met[kFewPanels];
    for (int64_t p = 0; p < kFewPanels; ++p) {
      const int64_t panel = begin + (pairs ? p / 2 : p);
      met[p] = a.weight + (panel < end ? panel : end - 1) * a.panelBytes + (pairs ? p % 2 * a.gateBytes : 0);
    }
    product(met, begin, 1, a.panelBytes);
    begin += pairs ? kFewPanels / kPanelsTogether : kFewPanels;
  }
  f.rows = 0;
  a.few(a, f);
}

} // namespace

PrepareSumsFn prepareSums;
void prepareSums(const uint8_t *sums, int64_t count, int shift, uint8_t *out) {
  for (int64_t i = 0; i < count; ++i, sums += 4, out += 4) {
    int32_t value = loadInt(sums), shifted = int32_t(uint32_t(value) << (shift & 31));
    float converted = float(value);
    __builtin_memcpy(out, shift < 0 ? static_cast<void *>(&converted) : &shifted, 4);
  }
}

LinearIntFn linearInt;
void linearInt(const LinearInt &a, int64_t rowBegin, int64_t rowEnd, int64_t panelBegin, int64_t panelEnd,
               uint8_t *scratch) {
  LinearScratch s(scratch, a.rowTile);
  FormatCode code = withFormat(a.format, []<int Bits, IntScale S, IntOffset M>()
                                             __attribute__((always_inline)) { return formatCode<Bits, S, M>(); });
  if (code.row && rowEnd - rowBegin == 1)
    return writeRow(a, code, rowBegin, panelBegin, panelEnd, s);
  // A gate's panels pair with those of what it multiplies.
  if (kRowPanels == kPanelsOfRow && areFew(a, rowEnd - rowBegin))
    return writeFew(a, rowBegin, rowEnd, panelBegin, panelEnd, s);
  bool gated = a.output.gatePanels != 0;
  TileState tileState;
  for (int64_t panel = panelBegin; panel < panelEnd;) {
    // Quantized output is written panel by panel.
    int64_t panels = gated                                 ? (a.gateBytes ? kPanelsTogether : 1)
                     : panelEnd - panel >= kPanelsTogether ? kPanelsTogether
                                                           : 1;
    int64_t step = gated ? 1 : panels;
    const uint8_t *first = a.weight + panel * a.panelBytes;
    const uint8_t *second = panels == 1 ? first : first + (gated ? a.gateBytes : a.panelBytes);
    dotTile(a, code, rowBegin, rowEnd, first, second, step, s, tileState);
    if (gated)
      writeGated(a.output, rowBegin, rowEnd, panel, s);
    else
      writeOutput(a.output, rowBegin, rowEnd, panel, panels, s);
    panel += step;
  }
  if (tileState.shape)
    a.tiles({}, 0, code.weights, false, tileState);
}

} // namespace MLC_ISA_NS
} // namespace mlc::cpu
