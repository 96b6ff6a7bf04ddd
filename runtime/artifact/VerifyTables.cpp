//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The tables of the plan: names, model, extents, slots, states, kernels, code objects, constants, taps.
//
#include "runtime/artifact/Machine.h"
#include "runtime/artifact/ProgramVerifier.h"

#include <algorithm>
#include <string_view>

namespace mlc {

using ull = unsigned long long;

Status ProgramVerifier::checkName(const flatbuffers::String *text, const char *what, unsigned index) const {
  bool good = text->size() >= 1 && text->size() <= kMaxNameBytes;
  for (uint32_t i = 0; good && i < text->size(); ++i)
    good = static_cast<unsigned char>(text->c_str()[i]) >= 0x20 && text->c_str()[i] != 0x7f;
  if (!good)
    return MLC_REFUSE(Name, ErrorCode::Corrupt, "%s: %s %u: its name must be 1 to %u printable bytes", name(), what,
                      index, kMaxNameBytes);
  return {};
}

template <typename T>
Status ProgramVerifier::checkTableNames(const flatbuffers::Vector<T> *tables, const char *what, unsigned limit) {
  uint32_t count = countOf(tables);
  if (count > limit)
    return MLC_REFUSE(TableCount, ErrorCode::Corrupt, "%s: %u entries in the table of %ss, at most %u", name(), count,
                      what, limit);
  struct Entry {
    uint64_t hash;
    uint32_t index;
  };
  MLC_ASSIGN(auto order, OwnedArray<Entry>::create(allocator, count, "names"));
  for (uint32_t i = 0; i < count; ++i) {
    const flatbuffers::String *text = tables->Get(i)->name();
    MLC_TRY(checkName(text, what, i));
    order[i] = {digest64({text->Data(), text->size()}), i};
  }
  std::sort(order.begin(), order.end(), [](const Entry &a, const Entry &b) { return a.hash < b.hash; });
  for (uint32_t i = 1; i < count; ++i)
    if (order[i].hash == order[i - 1].hash)
      return MLC_REFUSE(DuplicateName, ErrorCode::Corrupt, "%s: two %ss have the name '%.60s'", name(), what,
                        tables->Get(order[i].index)->name()->c_str());
  return {};
}

Status ProgramVerifier::checkNames() {
  if (countOf(meta.slots()) > kMaxSlots)
    return MLC_REFUSE(TableCount, ErrorCode::Corrupt, "%s: %u slots, at most %u", name(), countOf(meta.slots()),
                      kMaxSlots);
  MLC_TRY(checkTableNames(meta.extents(), "extent", kMaxExtents));
  MLC_TRY(checkTableNames(meta.states(), "state", kMaxStates));
  MLC_TRY(checkTableNames(meta.functions(), "function", kMaxFunctions));
  MLC_TRY(checkTableNames(meta.codes(), "code object", kMaxCodes));
  MLC_TRY(checkTableNames(meta.constants(), "constant", kMaxConstants));
  MLC_TRY(checkTableNames(meta.taps(), "tap", kMaxTaps));
  // A kernel may be there in two versions, so only its name's form is checked.
  uint32_t kernels = countOf(meta.kernels());
  if (kernels > kMaxKernels)
    return MLC_REFUSE(TableCount, ErrorCode::Corrupt, "%s: %u kernels, at most %u", name(), kernels, kMaxKernels);
  for (uint32_t i = 0; i < kernels; ++i)
    MLC_TRY(checkName(meta.kernels()->Get(i)->name(), "kernel", i));
  return {};
}

static bool architectureMatches(const flatbuffers::String *triple) {
  std::string_view architecture = kMachineTriple;
  architecture = architecture.substr(0, architecture.find('-'));
  return triple && triple->string_view().starts_with(architecture) && triple->c_str()[architecture.size()] == '-';
}

namespace {
/// Names one after the other, fit for a message.
struct NameList {
  char text[96] = "";
  void add(const flatbuffers::String *name) {
    size_t length = strlen(text);
    snprintf(text + length, sizeof text - length, "%s%s", length ? ", " : "", Printable(name->c_str()).c_str());
  }
};
} // namespace

Status ProgramVerifier::checkMachine() const {
  if (elsewhere)
    return {};
  if (const char *missing = missingFeature())
    return Error(ErrorCode::Unsupported,
                 "%s: this program is built for CPUs with %s, which this one lacks; build it for less", name(),
                 missing);
  const fb::Target *machine = meta.target();
  // Nothing of a device's artifact is the host's code.
  if (target.family && artifact.isFor(target.family))
    return {};
  bool family = machine && (!machine->isa_family() || !machine->isa_family()->size() ||
                            machine->isa_family()->string_view() == kMachineFamily);
  if (machine && architectureMatches(machine->triple()) && family)
    return {};
  NameList cpus;
  for (uint32_t i = 0; machine && i < countOf(machine->cpu()); ++i)
    cpus.add(machine->cpu()->Get(i));
  return MLC_REFUSE(TargetMachine, ErrorCode::Unsupported,
                    "%s: made for '%.60s'%s%s%s, this machine is %s (%s); compile it with mlc compile --triple %s",
                    name(), machine && machine->triple() ? Printable(machine->triple()->c_str()).c_str() : "no target",
                    *cpus.text ? " (" : "", cpus.text, *cpus.text ? ")" : "", kMachineTriple, machineLevel(),
                    kMachineTriple);
}

Status ProgramVerifier::checkModel() {
  const fb::Model *model = meta.model();
  if (!model)
    return {};
  uint64_t least = model->vocab_size() ? 1 : 0;
  struct Bound {
    const char *what;
    uint64_t value, most;
  };
  for (const Bound &bound :
       {Bound{"vocab_size", model->vocab_size(), kMaxVocabulary}, Bound{"context", model->context(), kMaxContext},
        Bound{"batch", model->batch(), kMaxBatch}, Bound{"sequences", model->sequences(), kMaxSequences},
        Bound{"rows", model->rows(), model->batch()}})
    if (bound.value < least || bound.value > bound.most)
      return MLC_REFUSE(ModelBounds, ErrorCode::Corrupt, "%s: model.%s is %llu, must be %llu to %llu", name(),
                        bound.what, ull(bound.value), ull(least), ull(bound.most));
  if (model->checkpoint_every() % uint64_t(kRecurrentPage) || model->checkpoint_every() > kMaxContext)
    return MLC_REFUSE(CheckpointEvery, ErrorCode::Corrupt,
                      "%s: model.checkpoint_every is %llu, must be a multiple of %lld up to %llu", name(),
                      ull(model->checkpoint_every()), static_cast<long long>(kRecurrentPage), ull(kMaxContext));
  for (uint32_t i = 0; i < countOf(model->end_tokens()); ++i)
    if (model->end_tokens()->Get(i) >= model->vocab_size())
      return MLC_REFUSE(EndToken, ErrorCode::Corrupt, "%s: end token %u is outside the vocabulary of %llu", name(),
                        model->end_tokens()->Get(i), ull(model->vocab_size()));
  if (const fb::Sampling *sampling = model->sampling()) {
    // Written so that a NaN fails.
    const char *wrong = !(sampling->temperature() >= 0 && sampling->temperature() <= 100) ? "temperature"
                        : !(sampling->top_p() > 0 && sampling->top_p() <= 1)              ? "top_p"
                        : !(sampling->min_p() >= 0 && sampling->min_p() <= 1)             ? "min_p"
                        : !(sampling->repetition_penalty() > 0 && sampling->repetition_penalty() <= 100)
                            ? "repetition_penalty"
                            : nullptr;
    if (wrong)
      return MLC_REFUSE(Sampling, ErrorCode::Corrupt, "%s: the sampling default %s is out of range", name(), wrong);
  }
  return {};
}

Status ProgramVerifier::checkExtents() {
  uint32_t count = countOf(meta.extents());
  MLC_ASSIGN(bounds, OwnedArray<int64_t>::create(allocator, count, "extents"));
  for (uint32_t i = 0; i < count; ++i) {
    const fb::Extent &extent = *meta.extents()->Get(i);
    if (!extent.bound() || extent.bound() > uint64_t(kMaxDim))
      return MLC_REFUSE(ExtentBound, ErrorCode::Corrupt, "%s: extent '%.60s' is bounded by %llu, must be 1 to %lld",
                        name(), extent.name()->c_str(), ull(extent.bound()), static_cast<long long>(kMaxDim));
    MLC_TRY(checkRule(i));
    bounds[i] = int64_t(extent.bound());
    // Of a network, these are names like any other.
    if (!meta.model() || !meta.model()->vocab_size())
      continue;
    if (extent.name()->string_view() == "tokens")
      program.tokensExtent = int32_t(i);
    if (extent.name()->string_view() == "rows")
      program.rowsExtent = int32_t(i);
  }
  const fb::Model *model = meta.model();
  if (!model || !model->vocab_size())
    return {};
  // Session and kernels size their buffers by the model's bounds, the plan by the extents'.
  if (program.tokensExtent < 0 || uint64_t(bounds[size_t(program.tokensExtent)]) != model->batch() ||
      program.rowsExtent < 0 || uint64_t(bounds[size_t(program.rowsExtent)]) != model->rows())
    return MLC_REFUSE(ModelExtent, ErrorCode::Corrupt,
                      "%s: the extents 'tokens' and 'rows' must be there, bounded by the model's batch and rows",
                      name());
  return {};
}

bool ProgramVerifier::dimValid(const fb::Dim &dim) const {
  int64_t bound = 1, value;
  if (dim.extent() < 0 && !dim.value())
    return true;
  if (dim.extent() >= 0) {
    if (size_t(dim.extent()) >= bounds.size() || meta.extents()->Get(uint32_t(dim.extent()))->least() < 0)
      return false;
    bound = bounds[size_t(dim.extent())];
  }
  return dim.value() >= 1 && checkedMul(dim.value(), bound, value) && value <= kMaxDim;
}

Status ProgramVerifier::checkSlot(unsigned index) {
  const fb::Slot &slot = *meta.slots()->Get(index);
  Printable text(slot.name() ? slot.name()->c_str() : "", slot.name() ? slot.name()->size() : 0);
  const char *label = text.c_str();
#define REFUSE_SLOT(CHECK, FORMAT, ...)                                                                                \
  MLC_REFUSE(CHECK, ErrorCode::Corrupt, "%s: slot %u '%.60s': " FORMAT, name(), index, label __VA_OPT__(, ) __VA_ARGS__)
  if (slot.dtype() > DType::MAX)
    return REFUSE_SLOT(SlotType, "unknown dtype %u", unsigned(slot.dtype()));
  uint32_t rank = countOf(slot.dims());
  if (rank > kMaxRank)
    return REFUSE_SLOT(SlotRank, "rank %u, at most %u", rank, kMaxRank);
  for (uint32_t i = 0; i < rank; ++i) {
    const fb::Dim &dim = *slot.dims()->Get(i);
    if (dim.extent() >= 0 && size_t(dim.extent()) >= bounds.size())
      return REFUSE_SLOT(SlotDimExtent, "dimension %u follows extent %d of %zu", i, dim.extent(), bounds.size());
    if (!dimValid(dim))
      return REFUSE_SLOT(SlotDim, "dimension %u is out of range", i);
  }
  uint32_t strides = countOf(slot.strides());
  if (strides && strides != rank)
    return REFUSE_SLOT(SlotStrides, "%u strides for rank %u", strides, rank);
  for (uint32_t i = 0; i < strides; ++i)
    if (slot.strides()->Get(i) < 0 || slot.strides()->Get(i) > kMaxDim)
      return REFUSE_SLOT(SlotStrides, "stride %u is out of range", i);

  // The largest extents give the largest view: sizes and packed strides grow with them.
  uint64_t bytes = dtypeSize(slot.dtype()), last = 0;
  bool fits = true;
  bool empty = false;
  for (uint32_t i = 0; i < rank && fits; ++i) {
    uint64_t dim = uint64_t(dimValue(*slot.dims()->Get(i), bounds.span()));
    empty = empty || !dim;
    if (strides && dim) {
      uint64_t reach;
      fits = checkedMul(dim - 1, uint64_t(slot.strides()->Get(i)), reach) && checkedAdd(last, reach, last) &&
             last <= kMaxViewBytes;
    } else if (dim) {
      fits = checkedMul(bytes, dim, bytes) && bytes <= kMaxViewBytes;
    }
  }
  if (strides)
    bytes = (last + 1) * dtypeSize(slot.dtype());
  if (empty)
    bytes = 0;
  if (!fits || bytes > kMaxViewBytes)
    return REFUSE_SLOT(SlotSize, "is larger than %llu bytes", ull(kMaxViewBytes));
  slotBytes[index] = bytes;

  if (slot.space() > fb::Space::MAX)
    return REFUSE_SLOT(SlotSpace, "unknown space %u", unsigned(slot.space()));
  // A buffer starts a cache line; a strided view may start at any element of one (of a kernel: at any word, see there).
  uint64_t alignment = strides ? dtypeSize(slot.dtype()) : kWeightsAlignment;
  if (slot.offset() % alignment)
    return REFUSE_SLOT(SlotAlignment, "offset %llu is no multiple of %llu", ull(slot.offset()), ull(alignment));
  if (slot.space() == fb::Space::arena) {
    if (!extentInside(slot.offset(), bytes, meta.arena_size()))
      return REFUSE_SLOT(SlotInArena, "%llu bytes at %llu leave the arena of %llu", ull(bytes), ull(slot.offset()),
                         ull(meta.arena_size()));
    return {};
  }
  if (!isWeights(slot.segment()))
    return REFUSE_SLOT(SlotSegment, "segment %u is no weights segment", slot.segment());
  if (!extentInside(slot.offset(), bytes, artifact.segment(slot.segment()).size()))
    return REFUSE_SLOT(SlotInSegment, "%llu bytes at %llu leave segment %u of %zu", ull(bytes), ull(slot.offset()),
                       slot.segment(), artifact.segment(slot.segment()).size());
#undef REFUSE_SLOT
  return {};
}

Status ProgramVerifier::checkSlots() {
  if (meta.arena_size() > kMaxArenaBytes)
    return MLC_REFUSE(ArenaSize, ErrorCode::Corrupt, "%s: an arena of %llu bytes, at most %llu", name(),
                      ull(meta.arena_size()), ull(kMaxArenaBytes));
  MLC_ASSIGN(slotBytes, OwnedArray<uint64_t>::create(allocator, countOf(meta.slots()), "slots"));
  for (uint32_t i = 0; i < countOf(meta.slots()); ++i)
    MLC_TRY(checkSlot(i));
  return {};
}

/// Whether the shapes of a recurrent state agree and are bounded.
static bool recurrentValid(const fb::State &state) {
  const fb::RecurrentSpec *spec = state.recurrent();
  bool conv = state.kind() == fb::StateKind::conv;
  if (!spec || countOf(spec->dims()) != (conv ? 2u : 3u) ||
      !(spec->dtype() == DType::f32 || (!conv && spec->dtype() == DType::bf16)))
    return false;
  uint64_t elements = 1;
  for (uint64_t dim : *spec->dims())
    if (!dim || !checkedMul(elements, dim, elements) || elements > kMaxRecurrentElements)
      return false;
  if (spec->log_columns() > kMaxLogColumns)
    return false;
  uint64_t first = spec->dims()->Get(0), second = spec->dims()->Get(1);
  if (conv)
    return second < kMaxConvKernel && spec->log_columns() == first && !spec->groups();
  // No factor is above kMaxRecurrentElements, so the sum cannot overflow.
  uint64_t groups = spec->groups();
  return groups && groups <= first && first % groups == 0 &&
         spec->log_columns() == first * second + groups * spec->dims()->Get(2) + first;
}

Status ProgramVerifier::checkStates() const {
  for (uint32_t i = 0; i < countOf(meta.states()); ++i) {
    const fb::State &state = *meta.states()->Get(i);
    const char *label = state.name()->c_str();
    if (isRecurrent(state) && state.scope() == fb::StateScope::sequence) {
      if (!recurrentValid(state))
        return MLC_REFUSE(
            RecurrentSpec, ErrorCode::Corrupt,
            "%s: state '%.60s': dimensions, log columns, groups or dtype of the %s state are out of range", name(),
            label, fb::EnumNameStateKind(state.kind()));
      continue;
    }
    if (state.kind() == fb::StateKind::carry && state.scope() == fb::StateScope::stream) {
      MLC_TRY(checkCarry(state));
      continue;
    }
    if (state.kind() != fb::StateKind::kv || state.scope() != fb::StateScope::sequence)
      return MLC_REFUSE(StateKind, ErrorCode::Unsupported,
                        "%s: state '%.60s': kind %u of scope %u is not in this runtime; use a newer mlc", name(), label,
                        unsigned(state.kind()), unsigned(state.scope()));
    const fb::KvSpec *spec = state.kv();
    bool type = spec && (spec->dtype() == DType::f32 || spec->dtype() == DType::f16 || spec->dtype() == DType::bf16 ||
                         spec->dtype() == DType::i8);
    if (!type || !spec->kv_heads() || !spec->head_dim() ||
        uint64_t(spec->kv_heads()) * spec->head_dim() > kMaxKvWidth || spec->window() > kMaxContext)
      return MLC_REFUSE(StateSpec, ErrorCode::Corrupt,
                        "%s: state '%.60s': heads, width, dtype or window is out of range", name(), label);
  }
  return {};
}

Status ProgramVerifier::checkKernels() {
  uint32_t count = countOf(meta.kernels());
  MLC_ASSIGN(program.kernels, OwnedArray<const KernelDef *>::create(allocator, count, "kernels"));
  for (uint32_t i = 0; i < count; ++i) {
    const fb::Kernel &kernel = *meta.kernels()->Get(i);
    program.kernels[i] = findKernel(target, kernel.name()->c_str(), kernel.version(), isa);
    if (!program.kernels[i])
      return MLC_REFUSE(KernelPresent, ErrorCode::Unsupported,
                        "%s: kernel '%.60s' version %u is not in this runtime; use the mlc release that compiled it",
                        name(), kernel.name()->c_str(), kernel.version());
  }
  return {};
}

// The rank of a code form's ISA level when this CPU runs it and `limit` allows it, else -1. Unknown levels are passed
// over: a later compiler may add one beside those that run here.
static int isaRank(const flatbuffers::String *level, Isa limit) {
  bool allowed = level->string_view() == "x86-64-v4"   ? limit >= Isa::avx512vnni
                 : level->string_view() == "x86-64-v3" ? limit >= Isa::avx2
                                                       : true;
  return allowed ? levelRank(level->string_view()) : -1;
}

// The driver finds it by its name, in an image of compiled regions.
Status ProgramVerifier::checkDeviceCode(const fb::Code &code) const {
  bool found = false;
  for (uint32_t i = 0; i < countOf(meta.images()); ++i)
    found |= isRegions(*meta.images()->Get(i));
  if (!found || countOf(code.variants()))
    return MLC_REFUSE(DeviceCode, ErrorCode::Corrupt, "%s: code '%.60s' is in no image of regions, or is the host's",
                      name(), code.name()->c_str());
  return {};
}

Status ProgramVerifier::checkCode(unsigned index) {
  const fb::Code &code = *meta.codes()->Get(index);
  const char *label = code.name()->c_str();
  if (target.family)
    return checkDeviceCode(code);
  if (!countOf(code.variants()) || (!elsewhere && !architectureMatches(code.triple())))
    return MLC_REFUSE(CodeVariants, ErrorCode::Unsupported,
                      "%s: code '%.60s' has no form for %s; compile it with mlc compile --triple %s", name(), label,
                      kMachineTriple, kMachineTriple);
  int best = -1;
  for (const fb::CodeVariant *variant : *code.variants()) {
    if (variant->segment() >= artifact.segmentCount() ||
        meta.segments()->Get(variant->segment())->kind() != fb::SegmentKind::code)
      return MLC_REFUSE(CodeSegment, ErrorCode::Corrupt, "%s: code '%.60s': segment %u is no code segment", name(),
                        label, variant->segment());
    std::span<const uint8_t> bytes = artifact.segment(variant->segment());
    if (!variant->size() || !extentInside(variant->entry(), variant->size(), bytes.size()))
      return MLC_REFUSE(CodeEntry, ErrorCode::Corrupt, "%s: code '%.60s': %llu bytes at %llu leave segment %u", name(),
                        label, ull(variant->size()), ull(variant->entry()), variant->segment());
    int rank = elsewhere ? -1 : isaRank(variant->isa(), isa);
    if (rank <= best)
      continue;
    best = rank;
    program.codes[index] =
        reinterpret_cast<CodeFunction>(reinterpret_cast<uintptr_t>(bytes.data()) + uintptr_t(variant->entry()));
  }
  if (best >= 0 || elsewhere)
    return {};
  NameList levels;
  for (const fb::CodeVariant *variant : *code.variants())
    levels.add(variant->isa());
  bool none = levelRank(machineLevel()) < 0;
  return MLC_REFUSE(CodeIsa, ErrorCode::Unsupported,
                    "%s: code '%.60s' is made for %s, this machine is %s; compile it with mlc compile --triple %s %s%s",
                    name(), label, levels.text, machineLevel(), kMachineTriple, none ? "--code none" : "--cpu ",
                    none ? "" : machineLevel());
}

Status ProgramVerifier::checkCodes() {
  MLC_ASSIGN(program.codes, OwnedArray<CodeFunction>::create(allocator, countOf(meta.codes()), "code objects"));
  for (uint32_t i = 0; i < countOf(meta.codes()); ++i)
    MLC_TRY(checkCode(i));
  return {};
}

Status ProgramVerifier::checkConstants() const {
  for (uint32_t i = 0; i < countOf(meta.constants()); ++i) {
    const fb::Constant &constant = *meta.constants()->Get(i);
    const char *label = constant.name()->c_str();
    if (!isWeights(constant.segment()))
      return MLC_REFUSE(ConstantSegment, ErrorCode::Corrupt, "%s: constant '%.60s': segment %u is no weights segment",
                        name(), label, constant.segment());
    if (!extentInside(constant.offset(), constant.size(), artifact.segment(constant.segment()).size()))
      return MLC_REFUSE(ConstantExtent, ErrorCode::Corrupt, "%s: constant '%.60s': %llu bytes at %llu leave segment %u",
                        name(), label, ull(constant.size()), ull(constant.offset()), constant.segment());
    if (constant.weight() && !*fb::EnumNameWeightFormat(constant.weight()->format()))
      return MLC_REFUSE(ConstantFormat, ErrorCode::Unsupported, "%s: constant '%.60s': unknown weight format %u",
                        name(), label, unsigned(constant.weight()->format()));
  }
  return {};
}

Status ProgramVerifier::checkTaps() const {
  for (uint32_t i = 0; i < countOf(meta.taps()); ++i) {
    const fb::Tap &tap = *meta.taps()->Get(i);
    if (tap.slot() >= countOf(meta.slots()) || meta.slots()->Get(tap.slot())->space() != fb::Space::arena)
      return MLC_REFUSE(TapSlot, ErrorCode::Corrupt, "%s: tap '%.60s': slot %u is no slot of the arena", name(),
                        tap.name()->c_str(), tap.slot());
  }
  return {};
}

Status ProgramVerifier::checkImages() const {
  uint32_t count = countOf(meta.images());
  auto refuse = [&](uint32_t index, const char *what) {
    return MLC_REFUSE(Image, ErrorCode::Corrupt, "%s: GPU image %u %s", name(), index, what);
  };
  if (count > kMaxImages || (target.family && !count))
    return refuse(count, "of at most 256: a GPU's artifact has one at least");
  for (uint32_t i = 0; i < count; ++i) {
    const fb::Image &image = *meta.images()->Get(i);
    if (image.segment() >= artifact.segmentCount() ||
        meta.segments()->Get(image.segment())->kind() != fb::SegmentKind::images)
      return refuse(i, "lies in no segment of images");
    std::span<const uint8_t> bytes = artifact.segment(image.segment());
    // The driver reads text up to a zero.
    if (!image.size() || !extentInside(image.offset(), image.size(), bytes.size()) ||
        bytes[size_t(image.offset() + image.size()) - 1])
      return refuse(i, "leaves its segment, or does not end with a zero");
  }
  return {};
}

bool ProgramVerifier::isWeights(uint32_t segment) const {
  // What another rank has in a segment's place is not read as it is.
  return segment < artifact.segmentCount() && meta.segments()->Get(segment)->kind() == fb::SegmentKind::weights &&
         !isOfOtherRank(meta, segment);
}

Status ProgramVerifier::checkRanks() const {
  auto refuse = [&](const char *what) {
    return MLC_REFUSE(Ranks, ErrorCode::Corrupt, "%s: %u ranks: %s", name(), meta.ranks(), what);
  };
  bool named = false;
  for (uint32_t i = 0; i < countOf(meta.required_features()); ++i)
    named = named || meta.required_features()->Get(i)->string_view() == "tensor_parallel";
  if (meta.ranks() < 1 || meta.ranks() > kMaxRanks || (meta.ranks() > 1) != named || (named && !target.family))
    return refuse("a GPU's artifact with the feature 'tensor_parallel' has 2 to 8, every other one 1");
  for (uint32_t i = 0; i < artifact.segmentCount(); ++i) {
    const fb::Segment &segment = *meta.segments()->Get(i);
    uint32_t others = countOf(segment.of_ranks());
    if (others && (others != meta.ranks() - 1 || segment.kind() != fb::SegmentKind::weights))
      return refuse("a segment of weights has one for each other rank, or none");
    for (uint32_t j = 0; j < others; ++j) {
      // Those of later ranks come later: none is named twice.
      uint32_t other = segment.of_ranks()->Get(j);
      const fb::Segment *its = other < artifact.segmentCount() ? meta.segments()->Get(other) : nullptr;
      if (!its || other <= (j ? segment.of_ranks()->Get(j - 1) : i) || its->kind() != segment.kind() ||
          its->size() != segment.size() || countOf(its->of_ranks()))
        return refuse("what another rank has in a segment's place is no segment like it");
    }
  }
  return {};
}

Status ProgramVerifier::verifyTables() {
  MLC_TRY(checkNames());
  MLC_TRY(checkMachine());
  MLC_TRY(checkRanks());
  MLC_TRY(checkModel());
  MLC_TRY(checkExtents());
  MLC_TRY(checkSlots());
  MLC_TRY(checkStates());
  MLC_TRY(checkKernels());
  MLC_TRY(checkCodes());
  MLC_TRY(checkConstants());
  MLC_TRY(checkImages());
  return checkTaps();
}

} // namespace mlc
