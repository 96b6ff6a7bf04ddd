//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Driver/Source.h"

#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Driver/GgufTokenizer.h"
#include "compiler/Driver/NetworkStates.h"
#include "compiler/Import/HuggingFace/SafeTensors.h"
#include "compiler/Import/Importer.h"
#include "compiler/Import/ONNX/Import.h"
#include "compiler/Tokenizer/Sources.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;
using namespace mlc;

//===----------------------------------------------------------------------===//
// Diagnostics
//===----------------------------------------------------------------------===//

DiagnosticLine::DiagnosticLine(MLIRContext &context, std::string file) : context(context), file(std::move(file)) {
  handler = context.getDiagEngine().registerHandler([this](Diagnostic &diagnostic) {
    if (!line.empty() || diagnostic.getSeverity() != DiagnosticSeverity::Error)
      return success();
    line = this->file;
    if (auto where = diagnostic.getLocation()->findInstanceOf<FileLineColLoc>())
      line = (where.getFilename().getValue() + ":" + Twine(where.getLine()) + ":" + Twine(where.getColumn())).str();
    line += ": " + diagnostic.str();
    // One line, whatever an op prints like.
    for (char &c : line)
      if (c == '\n')
        c = ' ';
    return success();
  });
}

DiagnosticLine::~DiagnosticLine() { context.getDiagEngine().eraseHandler(handler); }

llvm::Error DiagnosticLine::error(StringRef otherwise) const {
  return llvm::createStringError(line.empty() ? file + ": " + otherwise.str() : line);
}

//===----------------------------------------------------------------------===//
// Tokenizers
//===----------------------------------------------------------------------===//

static llvm::Expected<std::vector<uint8_t>> buildTables(llvm::Expected<TokenizerModel> model, uint64_t vocabulary) {
  if (!model)
    return model.takeError();
  return buildTokenizerBuffer(*model, vocabulary);
}

llvm::Expected<std::vector<uint8_t>> mlc::readTokenizer(StringRef path, uint64_t vocabulary) {
  if (llvm::sys::fs::is_directory(path)) {
    if (!hasHuggingFaceTokenizer(path))
      return std::vector<uint8_t>();
    return buildTables(readHuggingFaceTokenizer(path), vocabulary);
  }
  if (path.ends_with(".model"))
    return buildTables(readSentencePiece(path), vocabulary);
  if (path.ends_with(".json"))
    return llvm::createStringError("%s: name the directory that holds it", path.str().c_str());
  auto file = gguf::open(path);
  if (!file)
    return file.takeError();
  auto fields = ggufTokenizerFields(file->metadata);
  if (!fields)
    return fields.takeError();
  if (!*fields)
    return std::vector<uint8_t>();
  return buildTables(fromGguf(**fields, path), vocabulary);
}

//===----------------------------------------------------------------------===//
// Sources
//===----------------------------------------------------------------------===//

static llvm::Expected<Checkpoint> openCheckpoint(StringRef path) {
  if (llvm::sys::fs::is_directory(path))
    return hf::openSafeTensors(path);
  if (path.ends_with(".safetensors"))
    return hf::openSafeTensorsFile(path);
  auto file = gguf::open(path);
  if (!file)
    return file.takeError();
  return std::move(file->checkpoint);
}

/// The weights that graph text names are in the checkpoint, as it says.
static llvm::Error checkWeights(ModuleOp module, const Checkpoint *checkpoint, StringRef path) {
  for (auto weight : module.getOps<graph::WeightOp>()) {
    std::string name = weight.getSymName().str();
    const TensorInfo *tensor = checkpoint ? checkpoint->find(name) : nullptr;
    if (!checkpoint)
      return llvm::createStringError("%s: names weights such as \"%s\"; give them with --weights", path.str().c_str(),
                                     name.c_str());
    std::string from = checkpoint->source().str();
    if (!tensor)
      return llvm::createStringError("%s: tensor \"%s\" is missing; %s needs it", from.c_str(), name.c_str(),
                                     path.str().c_str());
    if (!tensor->fits(weight.getTensorType().getShape()))
      return llvm::createStringError("%s: tensor \"%s\" has shape %s, %s says %s", from.c_str(), name.c_str(),
                                     shapeText(tensor->shape).c_str(), path.str().c_str(),
                                     shapeText(weight.getTensorType().getShape()).c_str());
    if (uint32_t(tensor->storage) != uint32_t(weight.getStorage()))
      return llvm::createStringError("%s: tensor \"%s\" is stored as %s, %s says %s", from.c_str(), name.c_str(),
                                     storageName(tensor->storage).str().c_str(), path.str().c_str(),
                                     graph::stringifyStorage(weight.getStorage()).str().c_str());
  }
  return llvm::Error::success();
}

/// Refuses values outside functions: declarations have none, and libMLIR 19 reads freed memory when it gives up on a
/// text with such forward references.
static llvm::Error checkNoLooseValues(StringRef path, StringRef text) {
  // Depth of braces inside which a function's body lies.
  StringRef start = text.ltrim();
  int body = start.starts_with("module") || start.starts_with("builtin.module") ? 2 : 1;
  int braces = 0, brackets = 0;
  unsigned line = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    line += c == '\n';
    if (c == '"') {
      for (++i; i < text.size() && text[i] != '"' && text[i] != '\n'; ++i)
        i += text[i] == '\\';
    } else if (text.substr(i).starts_with("//")) {
      i = std::min(text.find('\n', i), text.size()) - 1;
    } else if (c == '%' && braces < body && brackets == 0) {
      return llvm::createStringError("%s:%u: a value stands outside a function; only declarations may",
                                     path.str().c_str(), line);
    }
    braces += (c == '{') - (c == '}');
    brackets += (c == '(') - (c == ')');
  }
  return llvm::Error::success();
}

static llvm::Expected<Source> openGraphText(const SourceOptions &options, MLIRContext &context) {
  Source source;
  DiagnosticLine line(context, options.path);
  auto text = llvm::MemoryBuffer::getFile(options.path);
  if (!text)
    return llvm::createStringError("%s: %s", options.path.c_str(), text.getError().message().c_str());
  if (llvm::Error error = checkNoLooseValues(options.path, (*text)->getBuffer()))
    return std::move(error);
  source.module = parseSourceString<ModuleOp>((*text)->getBuffer(), ParserConfig(&context), options.path);
  if (!source.module)
    return line.error("is not graph text");
  if (!options.rope.empty())
    return llvm::createStringError("%s: --rope changes a checkpoint's import; edit the text's graph.rope_angles",
                                   options.path.c_str());
  if (StringRef(options.weights).ends_with(".onnx"))
    return llvm::createStringError("%s: is a network, no checkpoint; --weights takes a GGUF file or a Hugging Face "
                                   "directory, and an ONNX file runs as it is",
                                   options.weights.c_str());
  if (!options.weights.empty()) {
    auto checkpoint = openCheckpoint(options.weights);
    if (!checkpoint)
      return checkpoint.takeError();
    source.checkpoint = std::move(*checkpoint);
  }
  if (llvm::Error error = checkWeights(*source.module, source.checkpoint ? &*source.checkpoint : nullptr, options.path))
    return std::move(error);
  return source;
}

static llvm::Expected<Source> openNetwork(const SourceOptions &options, MLIRContext &context) {
  Source source;
  DiagnosticLine line(context, options.path);
  if (!options.rope.empty())
    return llvm::createStringError("%s: --rope goes with language models", options.path.c_str());
  auto dims = onnx::parseDims(options.dims);
  if (!dims)
    return dims.takeError();
  auto imported = onnx::importNetwork(options.path, context, *dims);
  if (!imported)
    return imported.takeError();
  if (failed(verify(*imported->module)))
    return line.error("the imported graph does not verify");
  source.checkpoint = std::move(imported->checkpoint);
  source.module = std::move(imported->module);
  if (llvm::Error error = applyStates(*source.module, options.path, options.states))
    return std::move(error);
  return source;
}

/// --dim NAME<=MAX: bounds of extents.
static llvm::Error applyDims(ModuleOp module, const SourceOptions &options) {
  llvm::SmallVector<StringRef> entries;
  StringRef(options.dims).split(entries, ',', -1, /*KeepEmpty=*/false);
  for (StringRef entry : entries) {
    auto [name, bound] = entry.split("<=");
    int64_t value = 0;
    auto extent =
        SymbolTable::lookupNearestSymbolFrom<graph::ExtentOp>(module, StringAttr::get(module.getContext(), name));
    if (bound.getAsInteger(10, value) || value < 1)
      return llvm::createStringError("%s: --dim %s: write NAME<=MAX", options.path.c_str(), entry.str().c_str());
    if (!extent)
      return llvm::createStringError("%s: --dim %s: the graph has no extent of that name", options.path.c_str(),
                                     entry.str().c_str());
    extent.setBoundAttr(Builder(module.getContext()).getI64IntegerAttr(value));
  }
  return llvm::Error::success();
}

llvm::Expected<Source> mlc::openSource(const SourceOptions &options, MLIRContext &context) {
  Source source;
  bool text = StringRef(options.path).ends_with(".mlir");
  if (!llvm::sys::fs::exists(options.path))
    return llvm::createStringError("%s: no such file or directory", options.path.c_str());
  if (text) {
    auto opened = openGraphText(options, context);
    if (!opened)
      return opened.takeError();
    source = std::move(*opened);
  } else {
    if (!options.weights.empty() || !options.tokenizer.empty())
      return llvm::createStringError("%s: --weights and --tokenizer go with graph text (.mlir)", options.path.c_str());
    if (StringRef(options.path).ends_with(".onnx"))
      return openNetwork(options, context);
    DiagnosticLine line(context, options.path);
    auto imported = importCheckpoint(options.path, context, {options.rope});
    if (!imported)
      return imported.takeError();
    source.checkpoint = std::move(imported->checkpoint);
    source.module = std::move(imported->module);
    if (failed(verify(*source.module)))
      return line.error("the imported graph does not verify");
  }
  if (llvm::Error error = applyDims(*source.module, options))
    return std::move(error);
  if (llvm::Error error = applyStates(*source.module, options.path, options.states))
    return std::move(error);
  std::string tokenizer = text ? options.tokenizer : options.path;
  if (tokenizer.empty())
    return source;
  uint64_t vocabulary = 0;
  for (auto model : source.module->getOps<graph::ModelOp>())
    vocabulary = model.getVocabSize();
  auto tables = readTokenizer(tokenizer, vocabulary);
  if (!tables)
    return tables.takeError();
  if (text && tables->empty())
    return llvm::createStringError("%s: holds no tokenizer", tokenizer.c_str());
  source.tokenizer = std::move(*tables);
  return source;
}
