//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Driver/Calibrate.h"

#include "compiler/Artifact/Writer.h"
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Driver/Progress.h"
#include "runtime/llm/Session.h"
#include "runtime/run/Common.h"
#include "targets/cpu/Isa.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Threading.h"

#include <cmath>

using namespace mlir;
using namespace mlc;

namespace {

/// Tokens of a window: each is a sequence of its own, begun as a prompt is.
constexpr uint64_t kWindow = 512;
/// The head's input is seen at one of so many positions: its columns are those of the norm before it, alike everywhere.
constexpr size_t kRowStride = 8;

/// Sums of squares of the columns that products read: of a mixture's, of each expert's.
class ColumnEnergies {
public:
  explicit ColumnEnergies(const Plan &plan) : products(plan.kernelCalls().size()) {
    const fb::Artifact &metadata = plan.metadata();
    for (auto [index, call] : llvm::enumerate(plan.kernelCalls())) {
      Product &product = products[index];
      const fb::WeightDesc *desc;
      if (call.attrsType == fb::KernelAttrs::LinearAttrs) {
        desc = &static_cast<const fb::LinearAttrs *>(call.attrs)->weight();
      } else if (call.attrsType == fb::KernelAttrs::MoeUpAttrs) {
        auto attrs = static_cast<const fb::MoeUpAttrs *>(call.attrs);
        desc = &attrs->weight(), product.experts = attrs->experts(), product.kind = Product::up;
      } else if (call.attrsType == fb::KernelAttrs::MoeDownAttrs) {
        auto attrs = static_cast<const fb::MoeDownAttrs *>(call.attrs);
        desc = &attrs->weight(), product.experts = attrs->experts(), product.kind = Product::down;
      } else {
        continue;
      }
      const fb::Slot &weight = *metadata.slots()->Get(plan.viewSlots()[call.firstView + 1]);
      for (const fb::Constant *constant : *metadata.constants())
        if (weight.space() == fb::Space::segment && constant->segment() == weight.segment() &&
            constant->offset() == weight.offset())
          product.constant = constant;
      product.columns = desc->k();
      product.sums.resize(product.experts * product.columns);
      product.rows.resize(product.experts);
    }
  }

  KernelObserver observer() {
    return {[](void *self, uint32_t call, const KernelContext &context) {
              static_cast<ColumnEnergies *>(self)->add(call, context.inputs);
            },
            this};
  }

  /// The mean square of every column of every weight that was read; one that holds a matrix for each expert has the
  /// columns of each. Those of an expert that no token chose all cost the same, 1.
  llvm::StringMap<std::vector<double>> means(llvm::function_ref<bool(llvm::StringRef)> hasExperts) const {
    struct Total {
      size_t columns;
      std::vector<double> sums, rows;
    };
    llvm::StringMap<Total> totals;
    for (const Product &product : products) {
      if (!product.constant || !product.constant->source())
        continue;
      size_t next = 0;
      for (const flatbuffers::String *source : *product.constant->source()) {
        Total &total = totals[source->c_str()];
        size_t first = 0, count = product.experts;
        if (!hasExperts(source->c_str()))
          first = next++ % product.experts, count = 1;
        total.columns = product.columns;
        total.sums.resize(count * product.columns);
        total.rows.resize(count);
        for (size_t i = 0; i < count; ++i)
          total.rows[i] += double(product.rows[first + i]);
        for (size_t i = 0; i < total.sums.size(); ++i)
          total.sums[i] += product.sums[first * product.columns + i];
      }
    }
    llvm::StringMap<std::vector<double>> means;
    for (auto &[name, total] : totals) {
      if (llvm::all_of(total.rows, [](double rows) { return rows == 0; }))
        continue;
      for (auto [i, sum] : llvm::enumerate(total.sums)) {
        double rows = total.rows[i / total.columns];
        sum = rows != 0 ? sum / rows : 1;
      }
      means[name] = std::move(total.sums);
    }
    return means;
  }

private:
  struct Product {
    enum Kind { linear, up, down } kind = linear;
    const fb::Constant *constant = nullptr;
    size_t experts = 1, columns = 0;
    std::vector<double> sums; // [experts][columns]
    std::vector<uint64_t> rows;
  };

  /// Rows in order, so the sums do not depend on threads.
  void add(uint32_t call, std::span<const TensorView> inputs) {
    Product &product = products[call];
    if (!product.constant)
      return;
    auto addRow = [&](size_t expert, const float *values) {
      for (double &sum : llvm::MutableArrayRef(product.sums).slice(expert * product.columns, product.columns)) {
        sum += double(*values) * double(*values);
        ++values;
      }
      ++product.rows[expert];
    };
    const TensorView &x = inputs[0];
    if (product.kind == Product::linear) {
      for (int64_t row = 0; row < x.dims[0]; ++row)
        addRow(0, x.row<const float>(row));
      return;
    }
    const TensorView &ids = inputs[2];
    std::vector<size_t> chosen(product.experts);
    for (int64_t token = 0; token < ids.dims[0]; ++token)
      for (int32_t id : llvm::ArrayRef(ids.row<const int32_t>(token), size_t(ids.dims[1])))
        if (size_t(id) < product.experts) {
          if (product.kind == Product::up)
            addRow(size_t(id), x.row<const float>(token));
          ++chosen[size_t(id)];
        }
    if (product.kind == Product::up)
      return;
    // Hidden rows lie one behind the other, by expert.
    const float *hidden = x.row<const float>(0);
    for (size_t expert = 0; expert < product.experts; ++expert)
      for (size_t row = 0; row < chosen[expert]; ++row, hidden += product.columns)
        addRow(expert, hidden);
  }

  std::vector<Product> products;
};

llvm::Error inFile(const std::string &file, const Error &error) {
  return llvm::createStringError("%s: %s", file.c_str(), error.message());
}

/// The text's token ids, without what a prompt begins with.
llvm::Expected<std::vector<int32_t>> readTokens(const Tokenizer &tokenizer, const CompileOptions &options,
                                                uint64_t &digest) {
  cli::Buffer<char> text;
  if (Status read = cli::readAll(options.calibrate.c_str(), cli::kMaxTextBytes, text); !read)
    return llvm::createStringError("--calibrate %s", read.error().message());
  if (!text.size())
    return llvm::createStringError("--calibrate %s: is empty; give text of the kind the model will see",
                                   options.calibrate.c_str());
  digest = digest64({reinterpret_cast<const uint8_t *>(text.span().data()), text.size()});
  auto encoder = Encoder::create(tokenizer);
  if (!encoder)
    return inFile(options.source.path, encoder.error());
  auto ids = encoder->encode(text.view(), {/*addSpecial=*/false, /*parseSpecial=*/true});
  if (!ids)
    return inFile("--calibrate " + options.calibrate, ids.error());
  if (ids->size() < kLeastCalibrationTokens)
    return llvm::createStringError("--calibrate %s: is %zu tokens, which say too little; give at least %zu, better "
                                   "some tens of thousands",
                                   options.calibrate.c_str(), ids->size(), kLeastCalibrationTokens);
  return std::vector<int32_t>(ids->begin(), ids->end());
}

/// The options that compile the source as it is stored, for this machine.
llvm::Expected<CompileOptions> storedOptions(const CompileOptions &options, uint64_t context) {
  std::string bound = std::to_string(context);
  std::vector<std::string> words = {"mlc compile", "--emit", "exec"};
  auto add = [&](const char *name, std::string value) { words.insert(words.end(), {name, std::move(value)}); };
  add("--quant", "keep");
  add("--math", "exact");
  add("--kv", "f32");
  add("--context", bound);
  add("--batch", bound);
  add("--sequences", "1");
  add("--code", options.pipeline.code);
  add("--", options.source.path);
  std::vector<char *> argv;
  for (std::string &word : words)
    argv.push_back(word.data());
  CompileOptions stored;
  if (parseCompileOptions(int(argv.size()), argv.data(), stored).leave)
    return llvm::createStringError("--calibrate: this machine cannot run the model");
  stored.threads = options.threads;
  return stored;
}

/// Feeds the tokens window by window.
llvm::Error run(Session &session, const Tokenizer &tokenizer, llvm::ArrayRef<int32_t> tokens,
                const CompileOptions &options) {
  llvm::SmallVector<int32_t> window;
  ProgressBar progress("calibrating with " + options.calibrate);
  size_t prefix = std::min<size_t>(tokenizer.prefix().size(), session.context() - 1);
  for (size_t done = 0; done < tokens.size(); progress.update(done, tokens.size())) {
    size_t count = std::min<size_t>(session.context() - prefix, tokens.size() - done);
    window.assign(tokenizer.prefix().begin(), tokenizer.prefix().begin() + prefix);
    llvm::append_range(window, tokens.slice(done, count));
    done += count;
    llvm::SmallVector<int32_t> rows;
    for (size_t row = kRowStride - 1; row < window.size() && rows.size() < session.maxRows(); row += kRowStride)
      rows.push_back(int32_t(row));
    auto sequence = session.createSequence(int64_t(window.size()));
    if (!sequence)
      return inFile(options.source.path, sequence.error());
    StepSegment segment{*sequence, {window.data(), window.size()}};
    if (auto step = session.step({&segment, 1}, rows); !step)
      return inFile(options.source.path, step.error());
    if (Status ended = session.destroySequence(*sequence); !ended)
      return inFile(options.source.path, ended.error());
  }
  return llvm::Error::success();
}

/// The path of a file in the output's directory, whose disk is asked to hold the artifact anyway.
std::string scratchPath(const CompileOptions &options) {
  llvm::SmallString<128> path;
  if (options.output == "-")
    llvm::sys::path::system_temp_directory(/*ErasedOnReboot=*/true, path);
  else
    path = llvm::sys::path::parent_path(options.output);
  llvm::sys::path::append(path, "calibration.mlca");
  return path.str().str();
}

} // namespace

llvm::Error mlc::calibrate(Source &source, CompileOptions &options) {
  ModuleOp module = *source.module;
  const std::string &file = options.source.path;
  if (source.tokenizer.empty())
    return llvm::createStringError("%s: has no tokenizer, and --calibrate %s needs one to read the text", file.c_str(),
                                   options.calibrate.c_str());
  uint64_t vocabulary = 0, context = kWindow;
  for (auto model : module.getOps<graph::ModelOp>()) {
    vocabulary = model.getVocabSize();
    context = std::min<uint64_t>(context, model.getTrainedContext());
  }
  if (options.pipeline.context)
    context = std::min<uint64_t>(context, uint64_t(options.pipeline.context));
  auto tokenizer = Tokenizer::create(*flatbuffers::GetRoot<fb::Tokenizer>(source.tokenizer.data()), vocabulary);
  if (!tokenizer)
    return inFile(file, tokenizer.error());
  auto tokens = readTokens(*tokenizer, options, options.calibrationDigest);
  if (!tokens)
    return tokens.takeError();

  auto stored = storedOptions(options, context);
  if (!stored)
    return stored.takeError();
  OwningOpRef<ModuleOp> clone(module.clone());
  if (llvm::Error error = chooseMath(*clone, *stored))
    return error;
  if (llvm::Error error = runPasses(*clone, file, [&](PassManager &passes) {
        buildTransforms(passes, stored->pipeline);
        buildConversion(passes, stored->pipeline);
      }))
    return error;
  auto writer = ArtifactWriter::create(scratchPath(options), /*durable=*/false);
  if (!writer)
    return llvm::createStringError("--calibrate: %s", writer.error().message());
  if (llvm::Error error = fillArtifact(*clone, source, *stored, *writer, "preparing calibration"))
    return error;
  if (Status finished = writer->finish(); !finished)
    return llvm::createStringError("--calibrate: %s", finished.error().message());

  ModelOptions opening;
  opening.verifyDigests = false;
  // One form for all machines that have it, so that the artifact's bytes do not depend on where it was compiled.
  opening.isa = limitedIsa(Isa::avx2);
  auto opened = Model::open(writer->readablePath().c_str(), opening);
  if (!opened)
    return llvm::createStringError("--calibrate: %s", opened.error().message());
  Owned<Model> model(*opened);
  SessionOptions bounds;
  bounds.threads = options.threads ? options.threads : llvm::hardware_concurrency().compute_thread_count();
  auto created = Session::create(*model, bounds);
  if (!created)
    return inFile(file, created.error());
  Owned<Session> session(*created);
  ColumnEnergies energies(model->executionPlan());
  if (Status seen = session->observeKernels(energies.observer()); !seen)
    return inFile(file, seen.error());
  if (llvm::Error error = run(*session, *tokenizer, *tokens, options))
    return error;

  SymbolTable symbols(module);
  llvm::StringMap<std::vector<double>> means = energies.means([&](llvm::StringRef name) {
    auto weight = symbols.lookup<graph::WeightOp>(name);
    return weight && weight.getTensorType().getRank() == 3;
  });
  for (auto weight : module.getOps<graph::WeightOp>()) {
    auto found = means.find(weight.getSymName());
    int64_t rank = weight.getTensorType().getRank();
    if (found == means.end() || (rank != 2 && rank != 3))
      continue;
    llvm::SmallVector<float> importance;
    for (double mean : found->second)
      importance.push_back(float(mean));
    if (!llvm::all_of(importance, [](float value) { return std::isfinite(value); }))
      return llvm::createStringError("%s: --calibrate %s: the input of \"%s\" is not finite", file.c_str(),
                                     options.calibrate.c_str(), weight.getSymName().str().c_str());
    weight.setImportance(importance);
  }
  return llvm::Error::success();
}
