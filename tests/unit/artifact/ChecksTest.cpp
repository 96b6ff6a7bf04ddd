//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A file of every check of the loader and the verifier: each is refused by that very check, so a check that goes
// missing or is reached too late is noticed. The sources under test are built here with MLC_TRACE_CHECKS.
//
#include "runtime/artifact/ProgramVerifier.h"
#include "tests/unit/artifact/ChecksSupport.h"
#include "tests/unit/support/TinyNetwork.h"

#include <gtest/gtest.h>
#include <set>

namespace mlc {

Check lastRefused = Check::Count;

namespace {

using namespace mlc::test;

Status acceptAll(const KernelCallInfo &) { return {}; }
Status wantLinear(const KernelCallInfo &info) {
  if (!info.attrsAs<fb::LinearAttrs>())
    return Error(ErrorCode::Corrupt, "attributes of another kernel");
  return {};
}
ScratchNeed hugeScratch(const KernelCallInfo &) { return {1u << 20, uint64_t(1) << 62}; }

// Every kernel of the tiny model, accepting any call but a linear without its attributes; `huge` wants too much
// scratch.
const TargetRegistry &fakeTarget() {
  static const KernelDef kernels[] = {
      {"embedding", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"rope_angles", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"rms_norm", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"linear", 1, Isa::portable, wantLinear, nullptr, nullptr},
      {"rope", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"kv_append", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"attention", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"gated_activation", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"gather_rows", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"huge", 1, Isa::portable, acceptAll, hugeScratch, nullptr},
      {"binary", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"unary", 1, Isa::portable, acceptAll, nullptr, nullptr},
      {"copy", 1, Isa::portable, acceptAll, nullptr, nullptr},
  };
  static const KernelDef *const pointers[] = {&kernels[0],  &kernels[1],  &kernels[2], &kernels[3], &kernels[4],
                                              &kernels[5],  &kernels[6],  &kernels[7], &kernels[8], &kernels[9],
                                              &kernels[10], &kernels[11], &kernels[12]};
  static const TargetRegistry target{pointers, {}, {}};
  return target;
}

// Padding before the first segment, so that it can be damaged.
TinyModel paddedModel() {
  TinyModel model = smallModel();
  for (;; model.metadata.report += "r") {
    AlignedBytes file = modelBytes(model);
    if (headerOf(file)->metadataSize % kWeightsAlignment)
      return model;
  }
}

Result<Program> loadAndVerify(const std::string &path, const LoadOptions &options) {
  MLC_ASSIGN(Artifact artifact, Artifact::open(path.c_str(), options));
  // The same kernels on a device.
  TargetRegistry target = fakeTarget();
  if (artifact.isFor(kCudaFamily))
    target.family = kCudaFamily;
  return verifyProgram(artifact, target, Isa::portable, 2);
}

void writeBytes(const AlignedBytes &bytes, const std::string &path) {
  FILE *file = fopen(path.c_str(), "wb");
  ASSERT_TRUE(file && fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size());
  fclose(file);
}

void runCases(const std::vector<Case> &cases, std::set<Check> &covered) {
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case &item = cases[i];
    SCOPED_TRACE("case " + std::to_string(i) + " of check " + std::to_string(unsigned(item.check)));
    TinyModel model = paddedModel();
    if (item.onModel)
      item.onModel(model);
    std::string path = temporaryPath("case.mlca");
    if (item.onBytes) {
      AlignedBytes bytes = modelBytes(model);
      item.onBytes(bytes);
      if (item.repair)
        repairDigests(bytes.span());
      writeBytes(bytes, path);
    } else {
      writeModel(model, path);
    }
    lastRefused = Check::Count;
    Result<Program> result = loadAndVerify(path, item.options);
    ASSERT_FALSE(result);
    std::string message = result.error().message();
    EXPECT_EQ(unsigned(lastRefused), unsigned(item.check)) << message;
    EXPECT_EQ(message.find(path), 0u) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_LT(message.size(), 500u) << message;
    covered.insert(item.check);
  }
}

TEST(ArtifactChecks, UnchangedModelsPass) {
  TinyModel model = paddedModel();
  std::string path = temporaryPath("good.mlca");
  writeModel(model, path);
  auto program = loadAndVerify(path, {});
  ASSERT_TRUE(program) << program.error().message();
  EXPECT_EQ(program->step, 0);
  EXPECT_EQ(program->kernels.size(), model.metadata.kernels.size());
  EXPECT_EQ(program->tokensExtent, 0);
  EXPECT_EQ(program->rowsExtent, 1);
}

TEST(ArtifactChecks, ModelsForAGpuPass) {
  TinyModel model = paddedModel();
  addImage(model);
  std::string path = temporaryPath("gpu.mlca");
  writeModel(model, path);
  auto program = loadAndVerify(path, {});
  ASSERT_TRUE(program) << program.error().message();
}

TEST(ArtifactChecks, RegionsForAGpuPass) {
  TinyModel model = paddedModel();
  addRegion(model);
  std::string path = temporaryPath("region.mlca");
  writeModel(model, path);
  auto program = loadAndVerify(path, {});
  ASSERT_TRUE(program) << program.error().message();
  ASSERT_EQ(program->codes.size(), 1u);
  EXPECT_FALSE(program->codes[0]);
}

TEST(ArtifactChecks, NetworksPass) {
  NetworkBuilder builder = tinyNetwork();
  // An axis may have no elements, an extent any name, a function no names.
  (void)builder.slot("none", DType::f32, {fb::Dim(3, -1), fb::Dim(0, -1)});
  (void)builder.extent("tokens", 7);
  addFunction(builder.model, "helper");
  // Inside a port's range, and over half of another's.
  (void)builder.view(builder.main().inputs[0], 0, {fb::Dim(2, -1)}, {1});
  uint32_t over = builder.view(builder.main().inputs[1], 64, {fb::Dim(32, -1)}, {1});
  std::string path = temporaryPath("network.mlca");
  writeModel(builder.model, path);
  auto program = loadAndVerify(path, {});
  ASSERT_TRUE(program) << program.error().message();
  EXPECT_EQ(program->step, -1);
  EXPECT_EQ(program->tokensExtent, -1);
  // All ports and both ends of the state, but the one that is shared; disjoint, in order.
  std::set<uint32_t> slots;
  for (size_t i = 0; i < program->ranges.size(); ++i) {
    const MovableRange &range = program->ranges[i];
    slots.insert(range.slot);
    EXPECT_EQ(range.state, range.slot == builder.main().inputs[4] || range.slot == builder.main().outputs[0] ? 0 : -1);
    if (i)
      EXPECT_GE(range.offset, program->ranges[i - 1].offset + program->ranges[i - 1].bytes);
  }
  std::set<uint32_t> expected;
  expected.insert(builder.main().inputs.begin(), builder.main().inputs.end());
  expected.insert(builder.main().outputs.begin(), builder.main().outputs.end());
  expected.erase(builder.main().inputs[1]);
  expected.erase(builder.meta().slots[over] ? builder.main().inputs[2] : 0); // It reaches into the next one's, too.
  EXPECT_EQ(slots, expected);
}

TEST(ArtifactChecks, ControlFlowAndCodePass) {
  TinyModel model = paddedModel();
  uint32_t flag = addScalar(model, DType::boolean), count = addScalar(model, DType::i64);
  uint32_t callee = addFunction(model, "callee");
  addOp(ops(model), ifOf(flag));
  fb::LoopT loop = loopOf(1 << 20);
  loop.trip_count = loop.index = int32_t(count);
  loop.while_condition = int32_t(flag);
  addOp(loop.body->ops, callOf(callee));
  addOp(ops(model), std::move(loop));
  addTap(model, count);
  // Two columns of one buffer, one gated by the other in place.
  auto &call = firstCall(model, "gated_activation");
  fb::SlotT &gate = *model.metadata.slots[call.inputs[0]], &up = *model.metadata.slots[call.inputs[1]];
  gate.strides = up.strides = {48, 1};
  gate.offset = model.metadata.arena_size;
  up.offset = gate.offset + 24 * 4;
  model.metadata.arena_size += 16 * 48 * 4;
  *model.metadata.slots[call.outputs[0]] = gate;
  addCode(model);
  std::string path = temporaryPath("flow.mlca");
  writeModel(model, path);
  auto program = loadAndVerify(path, {});
  ASSERT_TRUE(program) << program.error().message();
  ASSERT_EQ(program->codes.size(), 1u);
  EXPECT_TRUE(program->codes[0]);
}

#if defined(__x86_64__)
TEST(ArtifactChecks, CodeIsOfTheBestLevelThatRuns) {
  __builtin_cpu_init();
  const bool runs[] = {bool(__builtin_cpu_supports("x86-64-v2")), bool(__builtin_cpu_supports("x86-64-v3")),
                       levelRank("x86-64-v4") >= 0};
  if (!runs[0])
    GTEST_SKIP() << "this machine runs none of the levels";
  TinyModel model = paddedModel();
  addCode(model);
  auto &variants = model.metadata.codes[0]->variants;
  variants[0]->size = 4;
  // Not in rising order, and one that no machine runs.
  const char *const names[] = {"x86-64-v4", "x86-64-v3", "x86-64-v9"};
  for (uint64_t i = 0; i < 3; ++i) {
    variants.push_back(std::make_unique<fb::CodeVariantT>(*variants[0]));
    variants.back()->isa = names[i];
    variants.back()->entry = 4 * (i + 1);
  }
  std::string path = temporaryPath("levels.mlca");
  writeModel(model, path);
  auto artifact = Artifact::open(path.c_str());
  ASSERT_TRUE(artifact) << artifact.error().message();
  const uintptr_t entries[] = {0, 8, 4};
  for (Isa limit : {Isa::portable, Isa::avx2, Isa::avx512vnni}) {
    auto program = verifyProgram(*artifact, fakeTarget(), limit, 1);
    ASSERT_TRUE(program) << program.error().message();
    uintptr_t expected = 0;
    const Isa needs[] = {Isa::portable, Isa::avx2, Isa::avx512vnni};
    for (unsigned level = 0; level < 3; ++level)
      if (runs[level] && needs[level] <= limit)
        expected = entries[level];
    EXPECT_EQ(reinterpret_cast<uintptr_t>(program->codes[0]) - reinterpret_cast<uintptr_t>(artifact->segment(1).data()),
              expected)
        << "limit " << int(limit);
  }
}
#endif

TEST(ArtifactChecks, EveryCheckRefusesItsOwnDamage) {
  std::set<Check> covered;
  runCases(fileCases(), covered);
  runCases(tableCases(), covered);
  runCases(functionCases(), covered);
  runCases(networkCases(), covered);
  for (unsigned i = 0; i < unsigned(Check::Count); ++i)
    EXPECT_TRUE(covered.count(Check(i))) << "no case for check " << i;
}

} // namespace
} // namespace mlc
