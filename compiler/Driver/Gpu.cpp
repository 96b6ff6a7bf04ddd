//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Driver/Gpu.h"

#include "compiler/Codegen/GpuRegion.h"
#include "targets/cuda/Functions.h"
#include "targets/cuda/ImageContract.h"
#include "targets/cuda/Kernels.h"
#include "targets/cuda/KvPage.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlc;

llvm::Expected<std::vector<cuda::Image>> mlc::chooseImages(llvm::ArrayRef<std::string> names) {
  std::vector<cuda::Image> all = cuda::mlc_cuda_images();
  if (all.empty())
    return llvm::createStringError(
        "--target cuda: this mlc was built without nvcc and has no kernels; run toolchains/cuda.sh and build it again");
  if (names.empty())
    return all;
  std::vector<cuda::Image> chosen;
  for (const std::string &name : names) {
    cuda::Arch wanted = cuda::parseArch(name);
    const cuda::Image *best = nullptr;
    int bestRank = 0;
    for (const cuda::Image &image : all) {
      // PTX is asked for by its own name, or is the last resort.
      int rank = name == image.arch ? INT_MAX
                 : wanted.ptx       ? 0
                                    : cuda::archRank(cuda::parseArch(image.arch), wanted.number);
      if (rank > bestRank) {
        best = &image;
        bestRank = rank;
      }
    }
    if (!best) {
      std::string list = llvm::join(llvm::map_range(all, [](const cuda::Image &image) { return image.arch; }), ", ");
      return llvm::createStringError("--gpu %s: no kernels run there; this mlc has %s", name.c_str(), list.c_str());
    }
    if (!llvm::any_of(chosen, [&](const cuda::Image &image) { return image.bytes.data() == best->bytes.data(); }))
      chosen.push_back(*best);
  }
  return chosen;
}

llvm::Expected<std::string> mlc::regionPtx(mlir::ModuleOp module) {
  llvm::SmallVector<GpuRegion> regions;
  for (auto code : module.getOps<exec::CodeOp>())
    regions.push_back({code.getSymName(), code.getSource().value_or("")});
  return regions.empty() ? std::string() : compileGpuRegions(regions);
}

llvm::Expected<std::vector<cuda::Image>> mlc::regionImages(mlir::ModuleOp module, llvm::ArrayRef<cuda::Image> kernels,
                                                           llvm::StringRef ptxas,
                                                           std::vector<std::vector<uint8_t>> &storage) {
  std::vector<cuda::Image> images;
  auto ptx = regionPtx(module);
  if (!ptx)
    return ptx.takeError();
  if (ptx->empty())
    return images;
  auto program = findPtxas(ptxas);
  if (!program)
    return program.takeError();
  for (const cuda::Image &kernel : kernels) {
    if (program->empty() || cuda::parseArch(kernel.arch).ptx)
      continue;
    auto code = assemblePtx(*program, *ptx, kernel.arch);
    if (!code)
      return code.takeError();
    images.push_back({kRegionModule, kernel.arch, storage.emplace_back(std::move(*code))});
  }
  images.push_back({kRegionModule, kGpuRegionArch.data(), storage.emplace_back(ptx->begin(), ptx->end())});
  return images;
}

/// Bytes of an image in the segment: with the zero that ends it, at a multiple of 64.
static uint64_t imageBytes(const cuda::Image &image) { return llvm::alignTo(image.bytes.size() + 1, 64); }

void mlc::describeImages(llvm::ArrayRef<cuda::Image> images, fb::ArtifactT &artifact) {
  auto segment = std::make_unique<fb::SegmentT>();
  segment->kind = fb::SegmentKind::images;
  for (const cuda::Image &image : images) {
    auto table = std::make_unique<fb::ImageT>();
    table->module_ = image.module;
    table->arch = image.arch;
    table->contract = cuda::kImageContract;
    table->segment = uint32_t(artifact.segments.size());
    table->offset = segment->size;
    table->size = image.bytes.size() + 1;
    segment->size += imageBytes(image);
    artifact.images.push_back(std::move(table));
  }
  artifact.segments.push_back(std::move(segment));
  artifact.required_features.push_back("cuda");
  if (!artifact.codes.empty())
    artifact.required_features.push_back("cuda_regions");
}

std::vector<uint8_t> mlc::imageSegment(llvm::ArrayRef<cuda::Image> images) {
  std::vector<uint8_t> bytes;
  for (const cuda::Image &image : images) {
    size_t end = bytes.size() + imageBytes(image);
    bytes.insert(bytes.end(), image.bytes.begin(), image.bytes.end());
    bytes.resize(end);
  }
  return bytes;
}

static llvm::Error refuse(const fb::OpT &op, const std::string &what) {
  return llvm::createStringError("--target cuda: %s%s%s", what.c_str(), op.location.empty() ? "" : ", of ",
                                 op.location.c_str());
}

static llvm::Error checkOp(const fb::ArtifactT &artifact, const fb::OpT &op) {
  const fb::KernelCallT *call = op.body.AsKernelCall();
  if (!call)
    return op.body.type == fb::OpBody::Call || op.body.type == fb::OpBody::CallCode
               ? llvm::Error::success()
               : refuse(op, "branches and loops do not run on a GPU");
  const fb::KernelT &kernel = *artifact.kernels[call->kernel];
  if (!findKernel(cudaTarget(), kernel.name.c_str(), kernel.version, Isa::portable))
    return refuse(op, "there is no kernel for " + kernel.name);
  auto note = [&](const Error &error) { return refuse(op, kernel.name + ": " + error.message()); };
  const fb::NormLinearAttrs *normed = call->attrs.AsNormLinearAttrs();
  if (const fb::LinearAttrs *attrs = normed ? &normed->linear() : call->attrs.AsLinearAttrs())
    if (Status good = cuda::checkLinearAttrs(*attrs); !good)
      return note(good.error());
  if (const fb::EmbeddingAttrs *attrs = call->attrs.AsEmbeddingAttrs())
    if (auto stored = cuda::storedAs(attrs->weight()); !stored)
      return note(stored.error());
  if (const fb::AttentionAttrs *attrs = call->attrs.AsAttentionAttrs())
    if (Status good = cuda::checkAttentionAttrs(*attrs); !good)
      return note(good.error());
  auto noteExperts = [&](const auto *attrs) -> llvm::Error {
    if (Status good = cuda::checkExperts(attrs->experts(), attrs->top_k()); !good)
      return note(good.error());
    if (Status good = cuda::checkExpertWeight(attrs->weight(), attrs->bf16(), attrs->quantized_input()); !good)
      return note(good.error());
    return llvm::Error::success();
  };
  if (const fb::MoeUpAttrs *attrs = call->attrs.AsMoeUpAttrs())
    return noteExperts(attrs);
  if (const fb::MoeDownAttrs *attrs = call->attrs.AsMoeDownAttrs())
    return noteExperts(attrs);
  if (const fb::SsdAttrs *attrs = call->attrs.AsSsdAttrs())
    if (Status good = cuda::checkSsdAttrs(*attrs); !good)
      return note(good.error());
  return llvm::Error::success();
}

llvm::Error mlc::checkForCuda(const fb::ArtifactT &artifact) {
  if (!artifact.model)
    return llvm::createStringError("--target cuda: networks run on the CPU; leave --target out");
  for (const auto &state : artifact.states)
    if (state->kind == fb::StateKind::kv && !cuda::kvPageBytes(*state->kv))
      return llvm::createStringError(
          "--target cuda: state %s: KV of %u heads of %u in %s is not stored on a GPU; choose "
          "--kv f32, f16 or bf16",
          state->name.c_str(), state->kv->kv_heads(), state->kv->head_dim(), fb::EnumNameDType(state->kv->dtype()));
  for (const auto &function : artifact.functions)
    for (const auto &op : function->body->ops)
      if (llvm::Error error = checkOp(artifact, *op))
        return error;
  return llvm::Error::success();
}
