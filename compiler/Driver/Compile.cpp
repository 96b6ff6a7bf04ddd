//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// mlc compile: source to graph to exec to file.
//
#include "compiler/Artifact/Emit/Emit.h"
#include "compiler/Codegen/RegionCode.h"
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Driver/Calibrate.h"
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/CompileOptions.h"
#include "compiler/Driver/Gpu.h"
#include "compiler/Driver/InterpretNetwork.h"
#include "compiler/Driver/Progress.h"
#include "compiler/Driver/Registry.h"
#include "compiler/Driver/Report.h"
#include "compiler/Reference/CheckpointWeights.h"
#include "compiler/Transforms/Network/FoldWeights.h"
#include "runtime/llm/chat/ChatTemplate.h"

#include "mlir/IR/AsmState.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Threading.h"
#include "llvm/Support/ToolOutputFile.h"

#include <csignal>
#include <unistd.h>

using namespace mlir;
using namespace mlc;

/// Writes `text` to `path` ("-": stdout) whole or not at all.
static llvm::Error writeText(const std::string &path, llvm::function_ref<void(llvm::raw_ostream &)> print) {
  std::error_code code;
  llvm::ToolOutputFile file(path, code, llvm::sys::fs::OF_Text);
  if (code)
    return llvm::createStringError("%s: %s", path.c_str(), code.message().c_str());
  print(file.os());
  file.os().flush();
  if (file.os().has_error()) {
    std::string reason = file.os().error().message();
    file.os().clear_error();
    return llvm::createStringError("%s: %s", path.c_str(), reason.c_str());
  }
  file.keep();
  return llvm::Error::success();
}

static llvm::Error printModule(const std::string &path, ModuleOp module) {
  return writeText(path, [&](llvm::raw_ostream &os) {
    OpPrintingFlags flags;
    flags.enableDebugInfo(false);
    module.print(os, flags);
    os << '\n';
  });
}

llvm::Error mlc::chooseMath(ModuleOp module, CompileOptions &options) {
  bool quantized = options.pipeline.quant == "int8" || options.pipeline.quant == "int4";
  if (options.pipeline.quant == "keep")
    for (auto weight : module.getOps<graph::WeightOp>())
      quantized |= weight.getStorage() >= graph::Storage::Q4_0;
  options.pipeline.fast = options.math.empty() ? quantized : options.math == "fast";
  // A GPU's tensor cores multiply a KV of bf16 as it lies there.
  const char *fast = options.pipeline.device ? "bf16" : "f16";
  options.pipeline.kv = !options.kv.empty() ? options.kv : options.pipeline.fast ? fast : "f32";
  options.pipeline.quantizeRows = !options.pipeline.device || options.activations == "int8";
  if (options.activations == "int8" && !quantized && !StringRef(options.pipeline.head).starts_with("int"))
    return llvm::createStringError("%s: --activations int8: no weights are quantized here; choose --quant int8 or int4",
                                   options.source.path.c_str());
  return llvm::Error::success();
}

llvm::Error mlc::runPasses(ModuleOp module, const std::string &file, llvm::function_ref<void(PassManager &)> build) {
  DiagnosticLine line(*module.getContext(), file);
  PassManager passes(module.getContext());
  build(passes);
  if (failed(passes.run(module)))
    return line.error("cannot be compiled");
  return llvm::Error::success();
}

static llvm::Error toError(const Error &error) { return llvm::createStringError(error.message()); }

/// Says what of the chat template is not understood: the artifact then cannot chat, and all else works.
static void checkChatTemplate(const Source &source, const std::string &path) {
  const fb::Tokenizer *tables =
      source.tokenizer.empty() ? nullptr : flatbuffers::GetRoot<fb::Tokenizer>(source.tokenizer.data());
  if (!tables)
    return;
  auto check = [&](const flatbuffers::String *text, const char *name) {
    if (!text || !text->size())
      return;
    if (auto chat = ChatTemplate::compile(text->string_view()); chat)
      ChatTemplate::destroy(*chat);
    else
      llvm::errs() << "mlc: warning: " << path << ": chat template" << name << ": " << chat.error().message()
                   << "; the artifact will refuse to chat\n";
  };
  check(tables->chat_template(), "");
  if (auto *named = tables->named_templates())
    for (const fb::NamedTemplate *each : *named)
      if (each->name()->string_view() == "tool_use")
        check(each->text(), " 'tool_use'");
}

llvm::Error mlc::fillArtifact(ModuleOp module, const Source &source, const CompileOptions &options,
                              ArtifactWriter &writer, const std::string &title) {
  DiagnosticLine line(*module.getContext(), options.source.path);
  FailureOr<fb::ArtifactT> metadata = emitMetadata(module);
  if (failed(metadata))
    return line.error("cannot be written as an artifact");
  metadata->target = std::make_unique<fb::TargetT>();
  metadata->target->triple = options.pipeline.triple;
  metadata->target->isa_family = options.isaFamily;
  metadata->target->cpu = options.cpuNames;
  std::vector<cuda::Image> images;
  std::vector<std::vector<uint8_t>> regions;
  if (options.pipeline.device) {
    auto named = [&](llvm::Error error) {
      return llvm::createStringError("%s: %s", options.source.path.c_str(), llvm::toString(std::move(error)).c_str());
    };
    if (llvm::Error error = checkForCuda(*metadata))
      return named(std::move(error));
    auto chosen = chooseImages(options.gpus);
    if (!chosen)
      return named(chosen.takeError());
    images = std::move(*chosen);
    for (const cuda::Image &image : images)
      metadata->target->cpu.push_back(image.arch);
    auto compiled = regionImages(module, images, options.ptxas, regions);
    if (!compiled)
      return named(compiled.takeError());
    llvm::append_range(images, *compiled);
    describeImages(images, *metadata);
  }
  metadata->provenance = std::make_unique<fb::ProvenanceT>();
  metadata->provenance->version = MLC_VERSION;
  metadata->provenance->options = provenance(options);
  if (!source.tokenizer.empty())
    metadata->tokenizer.reset(flatbuffers::GetRoot<fb::Tokenizer>(source.tokenizer.data())->UnPack());

  ProgressBar progress(title);
  writer.setProgress(
      [](void *bar, uint64_t done, uint64_t total) { static_cast<ProgressBar *>(bar)->update(done, total); },
      &progress);
  if (Status begun = writer.begin(std::move(*metadata)); !begun)
    return toError(begun.error());
  unsigned threads = options.threads ? options.threads : llvm::hardware_concurrency().compute_thread_count();
  llvm::Error packed = emitWeights(module, source.checkpoint ? &*source.checkpoint : nullptr, threads,
                                   [&](ArrayRef<uint8_t> bytes) -> llvm::Error {
                                     Status written = writer.write({bytes.data(), bytes.size()});
                                     return written ? llvm::Error::success() : toError(written.error());
                                   });
  writer.setProgress(nullptr, nullptr);
  if (packed)
    return packed;
  if (std::vector<uint8_t> code = codeSegment(module); !code.empty())
    if (Status written = writer.write(code); !written)
      return toError(written.error());
  if (!images.empty())
    if (Status written = writer.write(imageSegment(images)); !written)
      return toError(written.error());
  return llvm::Error::success();
}

static llvm::Error writeArtifact(ModuleOp module, const Source &source, const CompileOptions &options) {
  auto writer = ArtifactWriter::create(options.output);
  if (!writer)
    return toError(writer.error());
  checkChatTemplate(source, options.source.path);
  if (llvm::Error error = fillArtifact(module, source, options, *writer, "writing " + options.output))
    return error;
  if (Status committed = writer->commit(); !committed)
    return toError(committed.error());
  // What does not divide is not spread: it shows here.
  if (int64_t ranks = ranksOf(module); ranks > 1) {
    auto mib = [](uint64_t bytes) { return double(bytes) / (1 << 20); };
    uint64_t own = weightsSize(module, /*sharded=*/true);
    llvm::errs() << llvm::formatv("mlc: note: {0}: each of {1} GPUs has {2:f1} MiB of weights, {3:f1} of them its part "
                                  "of what is spread\n",
                                  options.output, ranks, mib(weightsSize(module) + own), mib(own));
  }
  return llvm::Error::success();
}

/// The assembly of every code object, level by level.
static llvm::Error printAssembly(const CompileOptions &options, ModuleOp module) {
  std::string text;
  for (auto code : module.getOps<exec::CodeOp>())
    for (auto isa : code.getIsas().getAsRange<StringAttr>()) {
      auto assembly = assembleRegion(code.getSource().value_or(""), code.getTriple(), isa);
      if (!assembly)
        return assembly.takeError();
      text += ("/* " + code.getSymName() + " for " + isa.getValue() + " */\n" + *assembly + "\n").str();
    }
  if (text.empty())
    return llvm::createStringError("%s: --emit asm: nothing is compiled to code; kernels run every op",
                                   options.source.path.c_str());
  return writeText(options.output, [&](llvm::raw_ostream &os) { os << text; });
}

/// The PTX of every region.
static llvm::Error printPtx(const CompileOptions &options, ModuleOp module) {
  auto text = regionPtx(module);
  if (!text)
    return llvm::createStringError("%s: %s", options.source.path.c_str(), llvm::toString(text.takeError()).c_str());
  if (text->empty())
    return llvm::createStringError("%s: --emit ptx: nothing is compiled to code; kernels run every op",
                                   options.source.path.c_str());
  return writeText(options.output, [&](llvm::raw_ostream &os) { os << *text; });
}

static llvm::Error lowerLanguageModel(ModuleOp module, CompileOptions &options) {
  if (llvm::Error error = chooseMath(module, options))
    return error;
  return runPasses(module, options.source.path, [&](PassManager &passes) {
    buildTransforms(passes, options.pipeline);
    buildConversion(passes, options.pipeline);
  });
}

static llvm::Error lowerNetwork(const Source &source, CompileOptions &options) {
  ModuleOp module = *source.module;
  const std::string &path = options.source.path;
  if (options.pipeline.quant == "int8" || options.pipeline.quant == "int4")
    return llvm::createStringError("%s: --quant %s: networks keep their weights as they are stored; leave it out",
                                   path.c_str(), options.pipeline.quant.c_str());
  if (llvm::Error error = runPasses(module, path, [&](PassManager &passes) {
        buildNetworkDecomposition(passes, options.pipeline, bool(source.checkpoint));
      }))
    return error;
  if (source.checkpoint) {
    reference::CheckpointWeights weights(*source.checkpoint);
    if (llvm::Error error = graph::foldWeights(module, weights))
      return llvm::createStringError("%s: %s", path.c_str(), llvm::toString(std::move(error)).c_str());
  }
  return runPasses(module, path, [&](PassManager &passes) {
    buildNetworkTransforms(passes);
    buildConversion(passes, options.pipeline);
  });
}

static llvm::Error compile(CompileOptions &options) {
  std::unique_ptr<MLIRContext> context = makeContext();
  auto source = openSource(options.source, *context);
  if (!source)
    return source.takeError();
  ModuleOp module = *source->module;
  if (!options.calibrate.empty())
    if (llvm::Error error = calibrate(*source, options))
      return error;
  if (options.emit == "graph")
    return printModule(options.output, module);
  if (isNetwork(module) && options.pipeline.device)
    return llvm::createStringError("%s: --target cuda: networks run on the CPU; leave --target out",
                                   options.source.path.c_str());
  if (llvm::Error error = isNetwork(module) ? lowerNetwork(*source, options) : lowerLanguageModel(module, options))
    return error;
  if (options.strict)
    if (std::string slow = firstSlowPath(module); !slow.empty())
      return llvm::createStringError("%s: --strict: %s", options.source.path.c_str(), slow.c_str());
  if (llvm::Error error = options.emit == "exec"  ? printModule(options.output, module)
                          : options.emit == "asm" ? printAssembly(options, module)
                          : options.emit == "ptx" ? printPtx(options, module)
                                                  : writeArtifact(module, *source, options))
    return error;
  if (options.report.empty())
    return llvm::Error::success();
  return writeText(options.report, [&](llvm::raw_ostream &os) {
    os << llvm::formatv("{0:2}\n", llvm::json::Value(makeReport(module)));
  });
}

/// Ends the process at once and leaves no partial artifact.
static void stopOnSignal(int signal) {
  removePartialArtifacts();
  static constexpr char line[] = "\nmlc: error: stopped by a signal; no partial file is left\n";
  if (write(STDERR_FILENO, line, sizeof line - 1) < 0) {
  }
  _exit(signal == SIGINT ? 130 : 143);
}

int mlc::cli::compileCommand(int argc, char **argv) {
  CompileOptions options;
  if (Parsed parsed = parseCompileOptions(argc, argv, options); parsed.leave)
    return parsed.status;
  std::signal(SIGINT, stopOnSignal);
  std::signal(SIGTERM, stopOnSignal);
  if (llvm::Error error = compile(options)) {
    printError("%s", llvm::toString(std::move(error)).c_str());
    return 1;
  }
  return 0;
}
