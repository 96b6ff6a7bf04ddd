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
#include "targets/cpu/kernels/IntUnpack.h"
#include "targets/cpu/kernels/LinearDot.h"
#include "targets/cpu/kernels/LinearGate.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

// Where one row is worth code of its own for every format: elsewhere it goes through unpacked weights as several do.
#if defined(__AVX2__) || defined(__aarch64__)
constexpr bool kRowKernels = true;
#else
constexpr bool kRowKernels = false;
#endif

/// How far ahead values are fetched. One stream the hardware fetches by itself: more than a little help disturbs it,
/// but for Intel's cores with tiles.
MLC_SIMD int64_t fetchAheadOf([[maybe_unused]] const LinearInt &a) {
#if defined(__x86_64__)
  if (!a.tiles)
    return kFetchAhead / 4;
#endif
  return kFetchAhead;
}

/// A group's integer sums, or two groups' (Halves): two chains, for one would wait for each product's latency.
template <int Bits> struct RowSums {
  DotSum<dotBits(Bits)> even, odd;
};
/// Adds the products of a unit, whose quads are the chains' in turns or the halves of.
template <int Bits, bool Halves> MLC_SIMD void addUnit(RowSums<Bits> &sums, const uint8_t *values, const uint8_t *x) {
  VB unit[8];
  loadUnit<Bits>(values, unit);
  for (int q = 0; q < 8; ++q) {
    auto &sum = (Halves ? q >= 4 : q % 2) ? sums.odd : sums.even;
    dotQuad(sum, unit[q], loadInt(x + 4 * q));
    dotFlush(sum, Halves ? q % 4 + 1 : q / 2 + 1);
  }
  if constexpr (dotBits(Bits) == 4) {
    dotFlush(sums.even, 8);
    dotFlush(sums.odd, 8);
  }
}

/// One row against one panel, from memory: decode reads each weight once. One stream, values then factors, has up
/// to 1.5 times the speed of two in turns (Zen 4): so many groups' integer sums wait for their factors.
constexpr int64_t kWaitingGroups = 256;
template <int Bits, IntScale S, IntOffset M>
void dotRow(const LinearInt &a, const uint8_t *x, const uint8_t *panel, float *sums) {
  VF acc = zero(), part = zero(), offset = zero();
  VI waiting[kWaitingGroups];
  const int64_t together = int64_t(1) << a.scaleShift;
  // The next panel follows this one: its values are fetched when this one's end.
  const int64_t ahead = fetchAheadOf(a);
  const uint8_t *valuesEnd = panel + a.scalesOffset;
  const int64_t gap = a.panelBytes - a.scalesOffset;
  // This panel's factors at once, if some are wanted before all of its values are read.
  if (a.groups > kWaitingGroups)
    for (int64_t i = a.scalesOffset; i < a.panelBytes; i += 64)
      fetchLine(panel + i);
  int64_t column = 0;
  for (int64_t g = 0; g < a.groups;) {
    const int64_t last = a.groups - g >= kWaitingGroups ? g + kWaitingGroups : a.groups;
    for (VI *into = waiting; into < waiting + (last - g);) {
      RowSums<Bits> isum;
      VI init{};
      if constexpr (M == IntOffset::none)
        init = set1(loadInt(x + a.xSums + 4 * (g + (into - waiting)))) << int(a.zeroShift);
      isum.even = isum.even.start(init);
      isum.odd = isum.odd.start(VI{});
      for (int64_t end = column + a.group; column < end; column += kUnit) {
        const uint8_t *values = unitAt<Bits, S, M>(panel, column), *next = beyondPanel(values + ahead, valuesEnd, gap);
        for (int i = 0; i < Bits; ++i)
          fetchLine(next + i * 64);
        addUnit<Bits, false>(isum, values, x + column);
      }
      *into++ = dotTotal(isum.even, init) + dotTotal(isum.odd, VI{});
    }
    for (const VI *isum = waiting; g < last; ++isum) {
      float xScale = loadFloat(x + a.xScales + 4 * (g >> a.scaleShift)), negated = 0;
      if constexpr (M != IntOffset::none)
        negated = float(loadInt(x + a.xSums + 4 * g));
      VF scales = groupScales<Bits, S, M>(a, panel, g);
      if (together == 1) {
        acc = fma(toFloat(*isum), scales * set1(xScale), acc);
        if constexpr (M != IntOffset::none)
          acc = fma(groupOffsets<Bits, M>(a, panel, g, scales), set1(negated * xScale), acc);
        ++g;
        continue;
      }
      part = fma(toFloat(*isum), scales, part);
      if constexpr (M != IntOffset::none)
        offset = fma(groupOffsets<Bits, M>(a, panel, g, scales), set1(negated), offset);
      if ((++g & (together - 1)) == 0) {
        if constexpr (M != IntOffset::none)
          part = part + offset;
        acc = fma(part, set1(xScale), acc);
        part = offset = zero();
      }
    }
  }
  store(sums, acc);
}

/// The same of super-blocks, each of which meets two scales of x.
template <int Bits, IntScale S, IntOffset M>
void dotSuperRow(const LinearInt &a, const uint8_t *x, const uint8_t *panel, float *sums) {
  constexpr SuperBlock kBlock = kSuperBlock<Bits, M>;
  constexpr bool kHalves = superGroup(Bits) < kUnit, kOffsets = M != IntOffset::none;
  constexpr int64_t kScaled = 128; // Columns that share a scale of x.
  const uint8_t *xSums = x + a.xSums, *xScale = x + a.xScales;
  const int64_t ahead = fetchAheadOf(a);
  VF acc = zero();
  for (const uint8_t *end = panel + a.panelBytes; panel < end; panel += kBlock.bytes)
    for (int64_t begin = 0; begin < kSuperColumns; begin += kScaled, xScale += 4) {
      VI integers{};
      VF part = zero(), offset = zero();
      auto addGroup = [&](int64_t g, VI isum) __attribute__((always_inline)) {
        if constexpr (kIntegers<Bits, S>)
          integers += isum * groupFactors<Bits, S, M>(panel, g);
        else
          part = fma(toFloat(isum), groupScales<Bits, S, M>(a, panel, g), part);
        if constexpr (kOffsets)
          offset = fma(groupOffsets<Bits, M>(a, panel, g, zero()), set1(float(loadInt(xSums))), offset);
        xSums += 4;
      };
      for (int64_t column = begin; column < begin + kScaled; column += kUnit, x += kUnit) {
        RowSums<Bits> isum;
        VI init[2] = {};
        if constexpr (!kOffsets) {
          init[0] = set1(loadInt(xSums)) << int(a.zeroShift);
          if constexpr (kHalves)
            init[1] = set1(loadInt(xSums + 4)) << int(a.zeroShift);
        }
        isum.even = isum.even.start(init[0]);
        isum.odd = isum.odd.start(init[1]);
        fetchUnit<Bits, S, M>(panel + ahead, column);
        addUnit<Bits, kHalves>(isum, unitAt<Bits, S, M>(panel, column), x);
        VI first = dotTotal(isum.even, init[0]), second = dotTotal(isum.odd, init[1]);
        const int64_t g = column / superGroup(Bits);
        if constexpr (kHalves) {
          addGroup(g, first);
          addGroup(g + 1, second);
        } else {
          addGroup(g, first + second);
        }
      }
      part = (kIntegers<Bits, S> ? toFloat(integers) : part) * superScales<Bits, M>(panel, 0);
      if constexpr (kOffsets)
        part = fma(offset, superOffsets<Bits, M>(panel, 0), part);
      acc = fma(part, set1(loadFloat(xScale)), acc);
    }
  store(sums, acc);
}

/// A format's code.
struct FormatCode {
  void (*unpack)(const LinearInt &, const Unpacked &);
  void (*unpackScaled)(const LinearInt &, const Unpacked &);                           // Null where tiles take quads.
  void (*row)(const LinearInt &, const uint8_t *x, const uint8_t *panel, float *sums); // Null without kRowKernels.
  DotCode dot[2];     // The second: several groups share a scale of x.
  DotWeights weights; // As LinearInt::tiles takes them.
  bool bytes;         // Values are whole bytes, which nothing unpacks.
  bool packed;        // `dot` unpacks.
  int64_t tileBytes;  // Values of kSuperColumns, or a super-block.
  int64_t values;     // Where they begin in it.
  int64_t factors;    // f32 vectors of a group's, in lanes.
  bool supers;        // Scales are super.
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
  if constexpr (kRowKernels && isSuper(S))
    code.row = dotSuperRow<Bits, S, M>;
  else if constexpr (kRowKernels)
    code.row = dotRow<Bits, S, M>;
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
  // A gate's panels pair with those of what it multiplies.
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
    if (code.row && rowEnd - rowBegin == 1) {
      const uint8_t *x = a.x + rowBegin * a.xStride;
      code.row(a, x, first, s.acc);
      if (panels > 1)
        code.row(a, x, second, s.acc + kLanes);
    } else {
      dotTile(a, code, rowBegin, rowEnd, first, second, step, s, tileState);
    }
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
