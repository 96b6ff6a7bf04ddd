//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Reference/ReferenceModel.h"

using namespace mlir;

namespace mlc::reference {
namespace {

template <typename T> class TypedModel : public ReferenceModel {
public:
  TypedModel(ModuleOp module, graph::ModelOp model, WeightSource &source, const Limits &limits)
      : ReferenceModel(model), interpreter(module, source, limits) {}

private:
  static ValueRef<T> wrap(HostValue<T> value) { return std::make_shared<const HostValue<T>>(std::move(value)); }

  llvm::Expected<std::vector<float>> run(Batch batch, Integers tokens, Integers rows) override {
    auto results = interpreter.call("step", {wrap(std::move(batch)), wrap(std::move(tokens)), wrap(std::move(rows))});
    if (!results)
      return results.takeError();
    const auto &logits = std::get<Floats<T>>(*results->front());
    return std::vector<float>(logits.data.begin(), logits.data.end());
  }
  void eraseStates(uint64_t sequence) override { interpreter.states.erase(sequence); }
  void forkStates(uint64_t from, uint64_t to) override { interpreter.states.fork(from, to); }

  Interpreter<T> interpreter;
};

/// What GraphDialect's description promises of a language model's @step.
bool isStep(FunctionType type, int64_t vocabulary) {
  auto isIds = [](Type each) {
    auto tensor = dyn_cast<RankedTensorType>(each);
    return tensor && tensor.getRank() == 1 && tensor.getElementType().isInteger(32);
  };
  if (type.getNumInputs() != 3 || type.getNumResults() != 1)
    return false;
  auto logits = dyn_cast<RankedTensorType>(type.getResult(0));
  return isa<graph::BatchType>(type.getInput(0)) && isIds(type.getInput(1)) && isIds(type.getInput(2)) && logits &&
         logits.getRank() == 2 && logits.getElementType().isF32() && logits.getDimSize(1) == vocabulary;
}

} // namespace

ReferenceModel::~ReferenceModel() = default;

llvm::Expected<std::unique_ptr<ReferenceModel>> ReferenceModel::create(ModuleOp module, WeightSource &source, bool f64,
                                                                       const Limits &limits) {
  auto models = module.getOps<graph::ModelOp>();
  auto step = module.lookupSymbol<func::FuncOp>("step");
  if (models.empty())
    return llvm::createStringError("the module has no graph.model");
  graph::ModelOp model = *models.begin();
  if (!step || !isStep(step.getFunctionType(), model.getVocabSize()))
    return llvm::createStringError("the module has no function @step(!graph.batch, tensor<?xi32>, tensor<?xi32>) -> "
                                   "tensor<?x%lldxf32>",
                                   (long long)model.getVocabSize());
  if (f64)
    return std::make_unique<TypedModel<double>>(module, model, source, limits);
  return std::make_unique<TypedModel<float>>(module, model, source, limits);
}

uint64_t ReferenceModel::createSequence(int64_t promptLength) {
  sequences[nextSequence] = {0, promptLength};
  return nextSequence++;
}

void ReferenceModel::destroySequence(uint64_t sequence) {
  sequences.erase(sequence);
  eraseStates(sequence);
}

uint64_t ReferenceModel::fork(uint64_t sequence) {
  sequences[nextSequence] = sequences[sequence];
  forkStates(sequence, nextSequence);
  return nextSequence++;
}

llvm::Error ReferenceModel::rollback(uint64_t sequence, int64_t position) {
  auto found = sequences.find(sequence);
  if (found == sequences.end() || position < 0 || position > found->second.length)
    return llvm::createStringError("sequence %llu has no position %lld", (unsigned long long)sequence,
                                   (long long)position);
  // The next step writes from here on; the states drop what lies behind then.
  found->second.length = position;
  return llvm::Error::success();
}

llvm::Expected<std::vector<float>> ReferenceModel::step(ArrayRef<StepTokens> segments, ArrayRef<int32_t> rows) {
  Batch batch;
  Integers tokens, wanted;
  for (const StepTokens &segment : segments) {
    auto found = sequences.find(segment.sequence);
    bool again = llvm::any_of(batch.segments, [&](const Segment &each) { return each.sequence == segment.sequence; });
    if (found == sequences.end() || again || segment.tokens.empty())
      return llvm::createStringError("a step needs live sequences, each once, with at least one token");
    batch.segments.push_back(
        {segment.sequence, found->second.length, int64_t(segment.tokens.size()), found->second.promptLength});
    tokens.data.insert(tokens.data.end(), segment.tokens.begin(), segment.tokens.end());
  }
  for (int32_t row : rows) {
    if (row < 0 || row >= int64_t(tokens.data.size()))
      return llvm::createStringError("row %d lies outside the step's %zu tokens", row, tokens.data.size());
    wanted.data.push_back(row);
  }
  tokens.shape = {int64_t(tokens.data.size())};
  wanted.shape = {int64_t(wanted.data.size())};
  llvm::Expected<std::vector<float>> logits = run(std::move(batch), std::move(tokens), std::move(wanted));
  if (logits)
    for (const StepTokens &segment : segments)
      sequences[segment.sequence].length += segment.tokens.size();
  return logits;
}

} // namespace mlc::reference
