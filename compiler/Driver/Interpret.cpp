//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// mlc interpret: what `mlc run` does, by the reference interpreter on the graph.
//
#include "compiler/Driver/Calibrate.h"
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/CompileOptions.h"
#include "compiler/Driver/InterpretNetwork.h"
#include "compiler/Driver/Registry.h"
#include "compiler/Reference/CheckpointWeights.h"
#include "compiler/Reference/ReferenceModel.h"
#include "runtime/run/Generation.h"

#include <csignal>

using namespace mlir;
using namespace mlc;
using namespace mlc::cli;

namespace {

/// Tokens of one step: enough to share passes over the weights, few enough for their logits.
constexpr size_t kStepTokens = 32;

struct InterpretArguments {
  GenerationArguments generation;
  NetworkArguments network;
  bool f64 = false, afterTransforms = false;
  /// Options of `mlc compile`, as they were typed: name and value.
  const char *weights = nullptr, *tokenizer = nullptr, *rope = nullptr;
  TextList dims;
  const char *calibrate = nullptr;
  const char *target = nullptr, *quant = nullptr, *group = nullptr, *head = nullptr, *math = nullptr,
             *activations = nullptr, *kv = nullptr, *ssm = nullptr, *context = nullptr, *batch = nullptr,
             *sequences = nullptr;
  bool asymmetric = false;
};

volatile std::sig_atomic_t interrupted = 0;
void onInterrupt(int) { interrupted = 1; }

llvm::Error toError(const char *file, const Error &error) {
  return llvm::createStringError("%s: %s", file, error.message());
}

class Generation {
public:
  Generation(const char *file, reference::ReferenceModel &model, const Tokenizer *tokenizer,
             const InterpretArguments &arguments, GenerationOutput &output)
      : file(file), model(model), tokenizer(tokenizer), arguments(arguments.generation), output(output) {}

  llvm::Expected<GenerateResult> run(ArrayRef<int32_t> prompt) {
    double start = monotonicMs();
    uint64_t context = model.description().getMaxContext().value_or(model.description().getTrainedContext());
    if (llvm::Error error = checkPrompt(prompt, context))
      return error;
    auto sampler = Sampler::create(model.vocabulary(), arguments.sampling);
    if (!sampler)
      return toError(file, sampler.error());
    sampler->acceptPrompt({prompt.data(), prompt.size()});
    sequence = model.createSequence(prompt.size());

    GenerateResult result;
    result.promptTokens = prompt.size();
    while (!prompt.empty() && !interrupted) {
      size_t count = std::min(kStepTokens, prompt.size());
      if (llvm::Error error = feed(prompt.take_front(count), count == prompt.size()))
        return error;
      prompt = prompt.drop_front(count);
    }
    double fedAt = monotonicMs();
    result.promptMs = fedAt - start;
    // The last new token is never fed, so it needs no position.
    uint64_t room = context - result.promptTokens + 1;
    uint64_t most = arguments.maxTokens ? std::min(arguments.maxTokens, room) : room;
    while (result.tokens < most && !interrupted) {
      auto token = sampler->sample(last);
      if (!token)
        return toError(file, token.error());
      if (!result.tokens)
        result.firstTokenMs = monotonicMs() - start;
      if (!arguments.ignoreEnd && isEnd(*token)) {
        result.finish = FinishReason::stop;
        break;
      }
      sampler->accept(*token);
      ++result.tokens;
      if (!output.token(*token))
        interrupted = 1;
      if (result.tokens == most || interrupted)
        break;
      if (llvm::Error error = feed(*token, true))
        return error;
      ++result.decodeSteps;
    }
    if (interrupted)
      result.finish = FinishReason::cancelled;
    result.generateMs = monotonicMs() - fedAt;
    return result;
  }

private:
  llvm::Error checkPrompt(ArrayRef<int32_t> prompt, uint64_t context) {
    if (prompt.empty())
      return llvm::createStringError("%s: the prompt is empty; give at least one token", file);
    if (prompt.size() > context)
      return llvm::createStringError("%s: a prompt of %zu tokens does not fit the context of %llu", file, prompt.size(),
                                     (unsigned long long)context);
    for (int32_t token : prompt)
      if (token < 0 || token >= model.vocabulary())
        return llvm::createStringError("%s: token id %d is outside the vocabulary of %lld", file, token,
                                       (long long)model.vocabulary());
    return llvm::Error::success();
  }

  /// Leaves the logits of the last token in `last` when it is `wanted`, and writes those of all when asked.
  llvm::Error feed(ArrayRef<int32_t> tokens, bool wanted) {
    SmallVector<int32_t> rows;
    for (size_t row = arguments.logits ? 0 : tokens.size() - wanted; row < tokens.size(); ++row)
      rows.push_back(int32_t(row));
    auto logits = model.step({{sequence, tokens}}, rows);
    if (!logits)
      return logits.takeError();
    size_t vocabulary = model.vocabulary();
    for (size_t row = 0; arguments.logits && row < rows.size(); ++row)
      if (Status written = output.logits({logits->data() + row * vocabulary, vocabulary}); !written)
        return llvm::createStringError(written.error().message());
    if (wanted)
      last.assign(logits->end() - vocabulary, logits->end());
    return llvm::Error::success();
  }

  /// As Model::isEndToken: the checkpoint's list, else the tokenizer's.
  bool isEnd(int32_t token) {
    if (auto ends = model.description().getEndTokens(); ends && !ends->empty())
      return llvm::is_contained(*ends, token);
    return tokenizer && llvm::any_of(tokenizer->endTokens(), [&](uint32_t end) { return end == uint32_t(token); });
  }

  const char *file;
  reference::ReferenceModel &model;
  const Tokenizer *tokenizer;
  const GenerationArguments &arguments;
  GenerationOutput &output;
  uint64_t sequence = 0;
  std::vector<float> last;
};

/// The options that are those of `mlc compile`, read and checked as there.
Parsed readCompileOptions(const char *file, const InterpretArguments &arguments, CompileOptions &options) {
  std::vector<std::string> words = {"mlc interpret", "--emit", "exec"};
  bool needTransforms = arguments.asymmetric;
  auto add = [&](const char *name, const char *value, bool transforms = true) {
    if (value)
      words.insert(words.end(), {name, value});
    needTransforms |= value && transforms;
  };
  add("--weights", arguments.weights, false);
  add("--tokenizer", arguments.tokenizer, false);
  add("--rope", arguments.rope, false);
  for (const char *dim : arguments.dims.span())
    add("--dim", dim, false);
  add("--target", arguments.target);
  add("--quant", arguments.quant);
  add("--group", arguments.group);
  add("--head", arguments.head);
  add("--calibrate", arguments.calibrate);
  add("--math", arguments.math);
  add("--activations", arguments.activations);
  add("--kv", arguments.kv);
  add("--ssm", arguments.ssm);
  add("--context", arguments.context);
  add("--batch", arguments.batch);
  add("--sequences", arguments.sequences);
  if (arguments.asymmetric)
    words.push_back("--asymmetric");
  words.insert(words.end(), {"--", file});
  if (needTransforms && !arguments.afterTransforms) {
    printError("options of mlc compile that the transforms read go with --after-transforms");
    return {true, 2};
  }
  std::vector<char *> argv;
  for (std::string &word : words)
    argv.push_back(word.data());
  return parseCompileOptions(int(argv.size()), argv.data(), options);
}

llvm::Error interpret(const char *file, InterpretArguments &arguments, CompileOptions &options) {
  double start = monotonicMs();
  std::unique_ptr<MLIRContext> context = makeContext();
  auto source = openSource(options.source, *context);
  if (!source)
    return source.takeError();
  ModuleOp module = *source->module;
  bool network = isNetwork(module);
  if (network && (arguments.generation.prompt || arguments.generation.promptFile || arguments.generation.tokens ||
                  arguments.generation.logits || arguments.afterTransforms))
    return llvm::createStringError("%s: is a network; it takes --input and --output-dir, no prompt, tokens, logits or "
                                   "--after-transforms",
                                   file);
  if (!network && (arguments.network.inputs.count || arguments.network.outputDir))
    return llvm::createStringError("%s: is a language model; --input and --output-dir go with networks", file);
  if (!options.calibrate.empty())
    if (llvm::Error error = calibrate(*source, options))
      return error;
  if (arguments.afterTransforms) {
    if (llvm::Error error = chooseMath(module, options))
      return error;
    if (llvm::Error error = runPasses(module, options.source.path,
                                      [&](PassManager &passes) { buildTransforms(passes, options.pipeline); }))
      return error;
  }
  std::unique_ptr<reference::WeightSource> weights = std::make_unique<reference::MapWeightSource>();
  if (source->checkpoint)
    weights = std::make_unique<reference::CheckpointWeights>(*source->checkpoint);
  if (network) {
    arguments.network.json = arguments.generation.json;
    arguments.network.f64 = arguments.f64;
    return interpretNetwork(file, module, *weights, arguments.network);
  }
  auto model = reference::ReferenceModel::create(module, *weights, arguments.f64);
  if (!model)
    return llvm::createStringError("%s: %s", file, llvm::toString(model.takeError()).c_str());

  std::optional<Tokenizer> tokenizer;
  if (!source->tokenizer.empty()) {
    auto created =
        Tokenizer::create(*flatbuffers::GetRoot<fb::Tokenizer>(source->tokenizer.data()), (*model)->vocabulary());
    if (!created)
      return toError(file, created.error());
    tokenizer = std::move(*created);
  }
  const Tokenizer *text = tokenizer ? &*tokenizer : nullptr;
  Buffer<int32_t> prompt;
  if (Status read = readPrompt(file, text, arguments.generation, prompt); !read)
    return llvm::createStringError(read.error().message());
  double loadMs = monotonicMs() - start;

  GenerationOutput output(text, arguments.generation);
  if (Status opened = output.open(prompt.span(), (*model)->vocabulary()); !opened)
    return llvm::createStringError(opened.error().message());
  Generation generation(file, **model, text, arguments, output);
  auto result = generation.run({prompt.span().data(), prompt.span().size()});
  if (!result)
    return result.takeError();
  if (Status done = output.finish(*result, loadMs); !done)
    return llvm::createStringError(done.error().message());
  return llvm::Error::success();
}

} // namespace

int mlc::cli::interpretCommand(int argc, char **argv) {
  InterpretArguments arguments;
  const Option table[] = {
      MLC_GENERATION_OPTIONS(arguments.generation),
      {"input", "NAME=F.npy", "of a network: an input; once for each", OptionKind::texts, &arguments.network.inputs},
      {"output-dir", "D", "of a network: where every output goes, as NAME.npy", OptionKind::text,
       &arguments.network.outputDir},
      {"f64", nullptr, "compute in f64 instead of f32", OptionKind::flag, &arguments.f64},
      {"after-transforms", nullptr, "on the graph that the compiler lowers, every rounding and quantization in it",
       OptionKind::flag, &arguments.afterTransforms},
      {"weights", "F", "of graph text: the checkpoint its weights lie in", OptionKind::text, &arguments.weights},
      {"tokenizer", "DIR", "of graph text: where its tokenizer is", OptionKind::text, &arguments.tokenizer},
      {"rope", "R", "as for mlc compile", OptionKind::text, &arguments.rope},
      {"dim", "NAME=N", "as for mlc compile", OptionKind::texts, &arguments.dims},
      {"target", "T", "cpu or cuda, whose transforms differ", OptionKind::text, &arguments.target},
      {"quant", "Q", "of the transforms, as for mlc compile; so are the next", OptionKind::text, &arguments.quant},
      {"group", "N", "columns of one scale", OptionKind::text, &arguments.group},
      {"asymmetric", nullptr, "int4 with a zero point a group", OptionKind::flag, &arguments.asymmetric},
      {"head", "Q", "of head and embedding", OptionKind::text, &arguments.head},
      {"calibrate", "F", "text that shows which columns matter", OptionKind::text, &arguments.calibrate},
      {"math", "M", "exact or fast", OptionKind::text, &arguments.math},
      {"activations", "T", "int8 or bf16 rows for quantized weights", OptionKind::text, &arguments.activations},
      {"kv", "T", "how keys and values are kept", OptionKind::text, &arguments.kv},
      {"ssm", "T", "how states of Mamba layers are kept", OptionKind::text, &arguments.ssm},
      {"context", "N", "most positions of a sequence", OptionKind::text, &arguments.context},
      {"batch", "N", "most tokens of a step", OptionKind::text, &arguments.batch},
      {"sequences", "N", "most live sequences", OptionKind::text, &arguments.sequences},
      {"tap", nullptr, nullptr, OptionKind::unavailable, nullptr},
  };
  const Command command{
      argv[0], "SRC",
      "Runs a checkpoint (GGUF file, Hugging Face directory, ONNX network, graph text) by the reference interpreter:\n"
      "slow, and the oracle of every artifact.",
      table, "models/shakespeare --prompt \"ROMEO:\" --max-tokens 20"};
  const char *file;
  if (Parsed parsed = parseOptions(command, argc, argv, file); parsed.leave)
    return parsed.status;
  // A network has no prompt.
  bool network = StringRef(file).ends_with(".onnx") || arguments.network.inputs.count || arguments.network.outputDir;
  if (Parsed checked; !network && (checked = arguments.generation.check(argv[0])).leave)
    return checked.status;
  CompileOptions options;
  if (Parsed parsed = readCompileOptions(file, arguments, options); parsed.leave)
    return parsed.status;
  std::signal(SIGINT, onInterrupt);
  std::signal(SIGTERM, onInterrupt);
  std::signal(SIGPIPE, SIG_IGN);
  if (llvm::Error error = interpret(file, arguments, options)) {
    printError("%s", llvm::toString(std::move(error)).c_str());
    return 1;
  }
  return 0;
}
