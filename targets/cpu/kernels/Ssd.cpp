//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ssd: state-space duality over pages of 16 positions. What a token gives depends on its page's base and the entries up
// to it alone, so every split into steps gives the same bits. A step has two stages: for every page of every segment
// and each group, b and c are packed and multiplied (and what is kept goes to the log); then every head of every
// segment goes through its pages. A decode step reads the base and writes none but where a page fills. This file
// checks, and splits the work; SsdF32.cpp, SsdBf16.cpp and SsdAmx.cpp do it.
//
#include "targets/cpu/kernels/Ssd.h"

#include "targets/cpu/Kernels.h"
#include "targets/cpu/RecurrentBase.h"

#include <cstring>

namespace mlc::cpu {

static_assert(kSsdPage == kRecurrentPage);
static_assert(sizeof(RecurrentPage) == 8 && offsetof(RecurrentPage, base) == 4);

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, ssdStep, SsdStepFn)
MLC_DECLARE_FORMS(MLC_BASIC_FORMS, ssdPackF32, SsdPackFn)
MLC_DECLARE_FORMS(MLC_BASIC_FORMS, ssdHeadF32, SsdHeadFn)
MLC_DECLARE_FORMS(MLC_BF16_FORMS, ssdPackBf16, SsdPackFn)
MLC_DECLARE_FORMS(MLC_TILE_FORMS, ssdHeadBf16, SsdHeadFn)

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 7, 1, 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::SsdAttrs>(call, "ssd"));
  uint64_t heads = attrs->heads(), dim = attrs->head_dim(), groups = attrs->groups(), state = attrs->state();
  if (!heads || !dim || !groups || !state || heads % groups || heads * dim > kMaxExtent || groups * state > kMaxExtent)
    return Error(ErrorCode::Corrupt, "ssd: %u heads of %u, %u groups, state %u: out of range, or groups do not divide",
                 attrs->heads(), attrs->head_dim(), attrs->groups(), attrs->state());
  if (!finite(attrs->dt_min()) || !(attrs->dt_max() >= attrs->dt_min()))
    return Error(ErrorCode::Corrupt, "ssd: the limits of dt must be finite below, and in order");
  if (attrs->products() > fb::Products::bf16)
    return Error(ErrorCode::Corrupt, "ssd: unknown products %u", unsigned(attrs->products()));
  MLC_TRY(checkRecurrentState(call, fb::StateKind::ssm, {heads, dim, state}, groups));
  MLC_TRY(checkMatrix(call.inputs[0], "x", DType::f32, heads * dim));
  MLC_TRY(checkMatrix(call.inputs[1], "dt", DType::f32, heads));
  MLC_TRY(checkMatrix(call.inputs[2], "b", DType::f32, groups * state));
  MLC_TRY(checkMatrix(call.inputs[3], "c", DType::f32, groups * state));
  const char *vectors[] = {"a", "d", "dt_bias"};
  for (size_t i = 0; i < 3; ++i)
    MLC_TRY(checkVector(call.inputs[4 + i], vectors[i], DType::f32, heads));
  MLC_TRY(checkMatrix(call.outputs[0], "the output", DType::f32, heads * dim));
  return checkTokenRows(call, 4);
}

static ScratchNeed scratch(const KernelCallInfo &call) {
  const auto *attrs = call.attrsAs<fb::SsdAttrs>();
  int64_t pages = mostRecurrentPages(call.maxTokens, call.maxSequences);
  int64_t head = ssdHeadScratch(attrs->head_dim(), attrs->state()),
          pack = ssdPackScratch(attrs->state()) * int64_t(sizeof(float));
  return {uint64_t(pages * attrs->groups() * ssdPackedSize(attrs->state()) +
                   alignUp<int64_t>(call.maxTokens * attrs->heads(), 16)) *
              sizeof(float),
          uint64_t(head > pack ? head : pack)};
}

namespace {

struct Functions {
  SsdStepFn *step;
  SsdPackFn *pack;
  SsdHeadFn *head;
};

/// One step of one call.
struct Step {
  const KernelContext &context;
  const Functions &functions;
  const fb::SsdAttrs &attrs = context.attrsAs<fb::SsdAttrs>();
  const RecurrentStateView &state = context.recurrentStates[0];
  std::span<const BatchSegment> segments = context.batch->segments;
  int64_t heads = attrs.heads(), dim = attrs.head_dim(), groups = attrs.groups(), size = attrs.state();
  int64_t packedSize = ssdPackedSize(size);
  float *dt = reinterpret_cast<float *>(context.sharedScratch); // [token][head]
  float *packed = dt + alignUp<int64_t>(context.batch->tokens * heads, 16);
  // Where the parts of a log entry begin.
  int64_t logB = heads * dim, logDt = logB + groups * size;

  void run() {
    int64_t pages = 0;
    for (const BatchSegment &segment : segments)
      pages += recurrentPages(segment);
    context.pool->parallelFor(pages * groups, 2, [&](int64_t begin, int64_t end, unsigned worker) {
      for (int64_t item = begin; item < end; ++item)
        prepare(item / groups, item % groups, worker);
    });
    // A token or two of a head are soon done.
    int64_t items = int64_t(segments.size()) * heads,
            grain = context.batch->tokens <= 2 * int64_t(segments.size()) ? 4 : 1;
    context.pool->parallelFor(items, grain, [&](int64_t begin, int64_t end, unsigned worker) {
      for (int64_t item = begin; item < end; ++item)
        head(size_t(item / heads), item % heads, worker);
    });
  }

private:
  void prepare(int64_t page, int64_t group, unsigned worker) {
    size_t s = 0;
    int64_t index = page;
    for (; index >= recurrentPages(segments[s]); ++s)
      index -= recurrentPages(segments[s]);
    const BatchSegment &segment = segments[s];
    const RecurrentSegment &view = state.segments[s];
    int64_t entry = segment.firstPosition % kSsdPage;
    SsdPackArgs args;
    args.begin = index ? 0 : entry;
    int64_t done = index ? index * kSsdPage - entry : 0, row = segment.firstRow + done;
    args.end = segment.length - done < kSsdPage - args.begin ? args.begin + segment.length - done : kSsdPage;
    for (int64_t j = 0; j < args.end; ++j)
      args.b[j] =
          (j < args.begin ? state.log(view.log, j) + logB : context.inputs[2].row<float>(row + j - args.begin)) +
          group * size;
    args.c = context.inputs[3].row<float>(row) + group * size;
    args.cStride = context.inputs[3].strides[0];
    args.state = size;
    args.packed = packed + (page * groups + group) * packedSize;
    args.scratch = reinterpret_cast<float *>(context.scratchOf(worker));
    functions.pack(args);
    if (group == 0)
      for (int64_t t = 0; t < args.end - args.begin; ++t)
        functions.step(context.inputs[1].row<float>(row + t), context.inputs[6].as<float>(), attrs.dt_min(),
                       attrs.dt_max(), dt + (row + t) * heads, heads);
    uint32_t block = view.pages[index].log;
    if (block == RecurrentStateView::kNoBlock)
      return;
    for (int64_t j = args.begin; j < args.end; ++j) {
      float *log = state.log(block, j);
      memcpy(log + logB + group * size, args.b[j], size_t(size) * sizeof(float));
      if (group)
        continue;
      memcpy(log, context.inputs[0].row<float>(row + j - args.begin), size_t(heads * dim) * sizeof(float));
      memcpy(log + logDt, dt + (row + j - args.begin) * heads, size_t(heads) * sizeof(float));
    }
  }

  void head(size_t s, int64_t head, unsigned worker) {
    const BatchSegment &segment = segments[s];
    const RecurrentSegment &view = state.segments[s];
    int64_t firstPage = 0, group = head / (heads / groups);
    for (size_t i = 0; i < s; ++i)
      firstPage += recurrentPages(segments[i]);
    SsdHeadArgs args;
    args.headDim = dim;
    args.state = size;
    DType dtype = state.state->recurrent()->dtype();
    args.bf16State = dtype == DType::bf16;
    args.firstEntry = segment.firstPosition % kSsdPage;
    args.tokens = segment.length;
    args.x = context.inputs[0].row<float>(segment.firstRow) + head * dim;
    args.xStride = context.inputs[0].strides[0];
    args.y = context.outputs[0].row<float>(segment.firstRow) + head * dim;
    args.yStride = context.outputs[0].strides[0];
    args.dt = dt + segment.firstRow * heads + head;
    args.dtStride = heads;
    const float *log = view.log == RecurrentStateView::kNoBlock ? nullptr : state.log(view.log, 0);
    args.logX = log ? log + head * dim : nullptr;
    args.logDt = log ? log + logDt + head : nullptr;
    args.logStride = int64_t(state.logStride);
    args.packed = packed + (firstPage * groups + group) * packedSize;
    args.packedStride = groups * packedSize;
    args.a = context.inputs[4].as<float>()[head];
    args.d = context.inputs[5].as<float>()[head];
    args.logA = attrs.log_a();
    SsmHeadLayout layout = ssmHeadLayout(uint64_t(dim), uint64_t(size), dtype);
    args.bases = state.bases + uint64_t(head) * layout.elements * dtypeSize(dtype);
    args.baseStride = int64_t(state.baseStride);
    args.base = view.base == RecurrentStateView::kNoBlock ? nullptr : args.bases + view.base * state.baseStride;
    args.kept = &view.pages->base;
    args.scratch = context.scratchOf(worker);
    functions.head(args);
  }
};

template <Isa isa> void run(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::SsdAttrs>();
  uint64_t columns = uint64_t(attrs.heads()) * attrs.head_dim(), states = uint64_t(attrs.groups()) * attrs.state();
  if (commonRows({{&context.inputs[0], columns},
                  {&context.inputs[1], attrs.heads()},
                  {&context.inputs[2], states},
                  {&context.inputs[3], states},
                  {&context.outputs[0], columns}}) != context.batch->tokens)
    return;
  constexpr Functions kF32{formFor(ssdStepForms, isa), formFor(ssdPackF32Forms, isa), formFor(ssdHeadF32Forms, isa)};
  constexpr Functions kBf16{formFor(ssdStepForms, isa), formFor(ssdPackBf16Forms, isa), formFor(ssdHeadBf16Forms, isa)};
  Step{context, attrs.products() == fb::Products::f32 ? kF32 : kBf16}.run();
}

} // namespace

MLC_KERNEL_FORMS(MLC_ALL_FORMS, ssdKernels, "ssd", check, scratch, run)

} // namespace mlc::cpu
