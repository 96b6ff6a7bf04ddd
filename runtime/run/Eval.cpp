//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/Choices.h"
#include "runtime/run/Commands.h"
#include "runtime/run/Common.h"
#include "runtime/run/Questions.h"

#include <unistd.h>

namespace mlc::cli {

namespace {

struct EvalArguments {
  SessionArguments session;
  const char *choices = nullptr;
  bool json = false;
};

Error onLine(const char *file, size_t line, const Error &error) {
  return Error(error.code(), "%s:%zu: %s", file, line, error.message());
}

/// Visits the lines that hold something, numbered from 1.
template <typename F> Status forEachLine(std::string_view text, F visit) {
  for (size_t begin = 0, number = 1; begin < text.size(); ++number) {
    size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.find_first_not_of(" \t\r") != line.npos)
      MLC_TRY(visit(line, number));
  }
  return {};
}

/// What was found out about all lines.
struct Tally {
  uint64_t questions = 0, right = 0, rightNormalised = 0;
  Buffer<double> logLikelihoods; // Of every choice of every line,
  Buffer<uint32_t> counts;       // so many of them,
  Buffer<uint32_t> chosen;       // and the two choices: by likelihood, by likelihood for the length.

  Status add(const Question &question, std::span<const double> values) {
    uint32_t best = 0, bestNormalised = 0;
    for (uint32_t i = 0; i < values.size(); ++i) {
      auto normalised = [&](uint32_t choice) { return values[choice] / double(choiceLength(question.choice(choice))); };
      if (values[i] > values[best])
        best = i;
      if (normalised(i) > normalised(bestNormalised))
        bestNormalised = i;
    }
    ++questions;
    right += best == question.answer;
    rightNormalised += bestNormalised == question.answer;
    uint32_t both[] = {best, bestNormalised};
    if (!logLikelihoods.append(values.data(), values.size()) || !counts.append(uint32_t(values.size())) ||
        !chosen.append(both, 2))
      return Error(ErrorCode::OutOfMemory, "no memory for the results");
    return {};
  }
};

/// The tokens of a question: of context and choice together, after what a prompt begins with.
class QuestionTokens {
public:
  QuestionTokens(const Tokenizer &tokenizer, Encoder &encoder) : tokenizer(tokenizer), encoder(encoder) {}

  Status encode(const Question &question) {
    MLC_TRY(append(question.context.view(), {}));
    size_t context = ids.size();
    for (size_t i = 0; i < question.choices(); ++i) {
      MLC_TRY(append(question.context.view(), question.choice(i)));
      if (!ends.append(ids.size()))
        return noMemory();
    }
    // A choice's tokens are those behind what the context alone gives: a token across the border is the choice's.
    for (size_t i = 0, begin = context; i < question.choices(); begin = ends.span()[i++]) {
      Choice choice{ids.span().subspan(begin, ends.span()[i] - begin), 0};
      while (choice.scored < context && choice.scored < choice.tokens.size() &&
             choice.tokens[choice.scored] == ids.span()[choice.scored])
        ++choice.scored;
      if (!choice.scored)
        return Error(ErrorCode::InvalidArgument,
                     "\"context\": is empty, and the tokenizer begins a text with no token; "
                     "nothing predicts the first one");
      if (choice.scored == choice.tokens.size())
        return Error(ErrorCode::InvalidArgument, "\"choices\"[%zu]: adds no token to the context", i);
      if (!list.append(choice))
        return noMemory();
    }
    return {};
  }
  std::span<const Choice> choices() const { return list.span(); }

private:
  static Error noMemory() { return Error(ErrorCode::OutOfMemory, "no memory for its tokens"); }
  Status append(std::string_view context, std::string_view choice) {
    Buffer<char> text;
    if (!text.append(context.data(), context.size()) || !text.append(choice.data(), choice.size()))
      return noMemory();
    MLC_ASSIGN(std::span<const uint32_t> encoded, encoder.encode(text.view(), {false, true, {}}));
    for (std::span<const uint32_t> part : {tokenizer.prefix(), encoded})
      for (uint32_t id : part)
        if (!ids.append(int32_t(id)))
          return noMemory();
    return {};
  }

  const Tokenizer &tokenizer;
  Encoder &encoder;
  Buffer<int32_t> ids; // The context's, then each choice's with the context before it.
  Buffer<size_t> ends;
  Buffer<Choice> list;
};

Status print(const Tally &tally, bool asJson) {
  double all = double(tally.questions), accuracy = double(tally.right) / all,
         normalised = double(tally.rightNormalised) / all;
  if (!asJson) {
    printf("questions           %llu\naccuracy            %.6f\naccuracy_normalised %.6f\n",
           (unsigned long long)tally.questions, accuracy, normalised);
    return flushOutput();
  }
  JsonWriter json;
  json.open(nullptr, '{');
  json.count("questions", tally.questions);
  json.number("accuracy", accuracy);
  json.number("accuracy_normalised", normalised);
  json.open("lines", '[');
  size_t at = 0;
  for (size_t line = 0; line < tally.questions; ++line) {
    json.open(nullptr, '{');
    json.count("choice", tally.chosen.span()[2 * line]);
    json.count("choice_normalised", tally.chosen.span()[2 * line + 1]);
    json.open("log_likelihoods", '[');
    for (uint32_t i = 0; i < tally.counts.span()[line]; ++i)
      json.number(nullptr, tally.logLikelihoods.span()[at++]);
    json.close(']');
    json.close('}');
  }
  json.close(']');
  json.close('}');
  return json.finish();
}

Status evaluate(const char *path, const EvalArguments &arguments) {
  MLC_ASSIGN(Owned<Model> model, openModel(path, arguments.session));
  MLC_TRY(checkDevice(*model, arguments.session.device));
  if (!model->tokenizer())
    return Error(ErrorCode::Unsupported, "%s: has no tokenizer, which eval needs to read %s", model->name(),
                 arguments.choices);
  Buffer<char> text;
  MLC_TRY(readAll(arguments.choices, kMaxTextBytes, text));
  // Every line is read before any is scored, so that a mistake in the last one is not found an hour later.
  uint64_t total = 0;
  MLC_TRY(forEachLine(text.view(), [&](std::string_view line, size_t number) -> Status {
    Question question;
    if (Status parsed = parseQuestion(line, question); !parsed)
      return onLine(arguments.choices, number, parsed.error());
    ++total;
    return {};
  }));
  if (!total)
    return Error(ErrorCode::InvalidArgument, "%s: holds no question", arguments.choices);

  SessionArguments bounds = arguments.session;
  bounds.sequences = model->bounds().sequences;
  MLC_ASSIGN(Owned<Session> session, openSession(*model, bounds));
  MLC_ASSIGN(ChoiceScorer scorer, ChoiceScorer::create(*session));
  MLC_ASSIGN(Encoder encoder, Encoder::create(*model->tokenizer()));
  bool terminal = isatty(STDERR_FILENO);
  Tally tally;
  Status scored = forEachLine(text.view(), [&](std::string_view line, size_t number) -> Status {
    auto score = [&]() -> Status {
      Question question;
      MLC_TRY(parseQuestion(line, question));
      QuestionTokens tokens(*model->tokenizer(), encoder);
      MLC_TRY(tokens.encode(question));
      MLC_ASSIGN(auto values, OwnedArray<double>::create(systemAllocator(), question.choices(), "choices"));
      MLC_TRY(scorer.score(tokens.choices(), values.span()));
      return tally.add(question, values.span());
    };
    if (Status done = score(); !done)
      return onLine(arguments.choices, number, done.error());
    if (terminal)
      fprintf(stderr, "\r%llu of %llu questions%s", (unsigned long long)tally.questions, (unsigned long long)total,
              tally.questions == total ? "\n" : "");
    return {};
  });
  MLC_TRY(scored);
  return print(tally, arguments.json);
}

} // namespace

int evalCommand(int argc, char **argv) {
  EvalArguments arguments;
  const Option options[] = {
      {"choices", "F.jsonl", "the questions", OptionKind::text, &arguments.choices},
      MLC_CONTEXT_OPTION(arguments.session),
      MLC_KV_MEMORY_OPTION(arguments.session),
      MLC_THREADS_OPTION(arguments.session),
      MLC_DEVICE_OPTION(arguments.session),
      MLC_NO_CODE_OPTION(arguments.session),
      {"json", nullptr, "one JSON object on stdout, with the log-likelihood of every choice", OptionKind::flag,
       &arguments.json},
  };
  Command command{argv[0], "OUT.mlca",
                  "Multiple choice. Each line of the file is an object: \"context\": a string, \"choices\": strings "
                  "that go on from\n"
                  "it as they are (give the space between), \"answer\": the number of the right one, from 0. The model "
                  "chooses what\n"
                  "it finds likeliest; normalised: likeliest for each character, spaces before it not counted.",
                  options, "model.mlca --choices questions.jsonl"};
  const char *file;
  if (Parsed parsed = parseOptions(command, argc, argv, file); parsed.leave)
    return parsed.status;
  if (!arguments.choices) {
    printError("%s: give --choices F.jsonl", argv[0]);
    return 2;
  }
  if (Status done = evaluate(file, arguments); !done)
    return fail(done.error());
  return 0;
}

} // namespace mlc::cli
