//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/Chat.h"
#include "runtime/llm/chat/ChatTemplate.h"

#include <algorithm>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

namespace mlc::cli {

Parsed ChatArguments::check(const GenerationArguments &generation) const {
  if (!chat) {
    if (!system && !stop)
      return {};
    printError("--%s goes with --chat", system ? "system" : "stop");
    return {true, 2};
  }
  for (auto [given, name] : {std::pair(generation.prompt, "prompt"), std::pair(generation.promptFile, "prompt-file"),
                             std::pair(generation.tokens, "tokens"), std::pair(generation.logits, "logits")})
    if (given) {
      printError("--chat and --%s: give one of them; a chat takes its turns from standard input", name);
      return {true, 2};
    }
  if (stop && !*stop) {
    printError("--stop: give some text");
    return {true, 2};
  }
  return {};
}

namespace {

// What a signal handler can reach: the session whose answer it ends, and that Ctrl-C was pressed.
std::atomic<Session *> answering{nullptr};
std::atomic<bool> interrupted{false};
pthread_t reader;

void cancelAnswer(int) {
  // A worker may be given the signal; who waits for a line must wake.
  if (!pthread_equal(pthread_self(), reader)) {
    pthread_kill(reader, SIGINT);
    return;
  }
  interrupted.store(true);
  if (Session *session = answering.load())
    session->requestCancel();
}

/// Lines of the terminal at standard input, by a description of its own that does not block: Ctrl-C drops what was
/// typed, also between the moment that a line was there and its reading.
class Terminal {
public:
  Terminal() {
    const char *name = ttyname(STDIN_FILENO);
    input = name ? open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;
  }
  ~Terminal() {
    if (input >= 0)
      close(input);
  }
  enum class Came { line, interrupt, end };
  Result<Came> next(Buffer<char> &line) {
    sigset_t interrupt, before;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_BLOCK, &interrupt, &before);
    Result<Came> came = wait(line, before);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return came;
  }

private:
  /// `open`: the signals that may come while it waits, and only then.
  Result<Came> wait(Buffer<char> &line, const sigset_t &open) {
    for (line.truncate(0); !interrupted.load();) {
      pollfd waiting{input, POLLIN, 0};
      if (ppoll(&waiting, 1, nullptr, &open) < 0 && errno == EINTR)
        continue;
      char piece[1024];
      ssize_t size = read(input, piece, sizeof piece);
      if (size < 0 && (errno == EAGAIN || errno == EINTR))
        continue;
      if (size < 0)
        return Error(ErrorCode::Io, "standard input: %s", strerror(errno));
      if (size == 0)
        return Came::end;
      if (!line.append(piece, size_t(size)))
        return Error(ErrorCode::OutOfMemory, "no memory for the chat");
      if (piece[size - 1] == '\n')
        return Came::line;
    }
    return Came::interrupt;
  }
  int input;
};

/// Hands text on, but holds back what may be the beginning of the stop text.
class StopFilter {
public:
  StopFilter(std::string_view stop, Buffer<char> &kept, bool shows) : stop(stop), kept(kept), shows(shows) {}

  void write(std::string_view text) {
    if (stopped)
      return;
    lost |= !kept.append(text.data(), text.size());
    std::string_view all = kept.view();
    size_t end = all.size();
    if (!stop.empty()) {
      size_t from = given < stop.size() ? 0 : given - stop.size() + 1;
      size_t found = all.find(stop, from);
      stopped = found != all.npos;
      if (stopped)
        end = found;
      else
        for (size_t size = std::min(stop.size() - 1, all.size() - given); size; --size)
          if (all.ends_with(stop.substr(0, size))) {
            end = all.size() - size;
            break;
          }
    }
    show(end);
  }
  /// The text has ended: what was held back belongs to it.
  void finish() {
    if (!stopped)
      show(kept.size());
  }
  std::string_view text() const { return kept.view().substr(0, given); }

  bool stopped = false, lost = false;
  int writeError = 0;

private:
  void show(size_t end) {
    if (end <= given)
      return;
    std::string_view text = kept.view().substr(given, end - given);
    given = end;
    if (shows && (fwrite(text.data(), 1, text.size(), stdout) != text.size() || fflush(stdout)) && !writeError)
      writeError = errno;
  }
  std::string_view stop;
  Buffer<char> &kept;
  bool shows;
  size_t given = 0;
};

class Chat {
public:
  Chat(const Model &model, Session &session, ChatPrompt &prompt, const GenerationArguments &generation,
       const ChatArguments &arguments, DraftSession &draft)
      : model(model), session(session), prompt(prompt), generation(generation), arguments(arguments), draft(draft) {}

  Status run() {
    bool person = isatty(STDIN_FILENO);
    if (arguments.system)
      MLC_TRY(add("system", arguments.system));
    struct sigaction action = {}, before = {};
    action.sa_handler = cancelAnswer;
    action.sa_flags = SA_RESTART; // Nothing that is being written is cut.
    reader = pthread_self();
    if (person)
      sigaction(SIGINT, &action, &before);
    Status done = turns(person);
    if (person)
      sigaction(SIGINT, &before, nullptr);
    return done;
  }

private:
  static Error noMemory() { return Error(ErrorCode::OutOfMemory, "no memory for the chat"); }

  Status turns(bool person) {
    char *read = nullptr;
    size_t room = 0;
    Terminal terminal;
    Buffer<char> typed;
    auto all = [&]() -> Status {
      for (;;) {
        std::string_view text;
        if (person) {
          interrupted.store(false);
          fputs("> ", stderr);
          fflush(stderr);
          MLC_ASSIGN(Terminal::Came came, terminal.next(typed));
          if (came != Terminal::Came::line)
            fputc('\n', stderr);
          if (came == Terminal::Came::interrupt)
            continue;
          if (came == Terminal::Came::end)
            return {};
          text = typed.view();
        } else {
          ssize_t size = getline(&read, &room, stdin);
          if (size < 0)
            return ferror(stdin) ? Status(Error(ErrorCode::Io, "standard input: %s", strerror(errno))) : Status();
          text = std::string_view(read, size_t(size));
        }
        while (!text.empty() && (text.back() == '\n' || text.back() == '\r'))
          text.remove_suffix(1);
        if (text.empty())
          continue;
        size_t before = messages.size();
        Status done = turn(text);
        if (done)
          continue;
        // A person may say it in another way; what was wrong with it is said in one line.
        if (!person || done.error().code() == ErrorCode::Io)
          return done;
        fflush(stdout);
        fprintf(stderr, "mlc: warning: %s\n", done.error().message());
        messages.truncate(before);
      }
    };
    Status done = all();
    free(read);
    return done;
  }

  /// Adds a message to the JSON of the conversation.
  Status add(const char *role, std::string_view text) {
    bool kept =
        messages.append(messages.size() ? ',' : '[') && put("{\"role\":\"") && put(role) && put("\",\"content\":\"");
    for (char c : text) {
      char escape[8];
      if (uint8_t(c) < 0x20)
        snprintf(escape, sizeof escape, "\\u%04x", uint8_t(c));
      else
        snprintf(escape, sizeof escape, c == '"' || c == '\\' ? "\\%c" : "%c", c);
      kept = kept && put(escape);
    }
    return kept && put("\"}") ? Status() : Status(noMemory());
  }
  bool put(std::string_view text) { return messages.append(text.data(), text.size()); }

  Status turn(std::string_view text) {
    double start = monotonicMs();
    MLC_TRY(add("user", text));
    size_t open = messages.size();
    if (!put("]"))
      return noMemory();
    auto encoded = prompt.encode({messages.view(), {}, {}});
    messages.truncate(open);
    if (!encoded)
      return encoded.error();
    MLC_ASSIGN(size_t kept, keep(*encoded));
    Buffer<char> answer;
    StopFilter filter(arguments.stop ? arguments.stop : "", answer, !generation.json);
    Decoder decoder(*model.tokenizer());
    struct Taker {
      Chat &self;
      StopFilter &filter;
      Decoder &decoder;
      TextSink sink() {
        return {[](void *context, std::string_view piece) { static_cast<StopFilter *>(context)->write(piece); },
                &filter};
      }
    } taker{*this, filter, decoder};
    // The text goes on where the prompt ends, so a leading space stays.
    TextSink nowhere{[](void *, std::string_view) {}, nullptr};
    for (int32_t id : held.span())
      MLC_TRY(decoder.feed(uint32_t(id), nowhere));
    size_t promptSize = held.size();
    GenerateOptions options;
    options.maxTokens = generation.maxTokens;
    options.ignoreEnd = generation.ignoreEnd;
    options.sampling = generation.sampling;
    options.sampling.seed += turnNumber;
    options.history = held.span().first(kept);
    options.context = &taker;
    options.onToken = [](void *context, int32_t id) {
      Taker &taker = *static_cast<Taker *>(context);
      taker.filter.lost |= !taker.self.held.append(id) || !taker.decoder.feed(uint32_t(id), taker.sink());
      return !taker.filter.lost && !taker.filter.writeError && !taker.filter.stopped;
    };
    session.clearCancel();
    answering.store(&session);
    if (interrupted.load()) // Since the prompt.
      session.requestCancel();
    auto result = draft.generate(session, sequence, held.span().subspan(kept), options);
    answering.store(nullptr);
    session.clearCancel();
    // What is held is what was fed: the last new token was not.
    MLC_ASSIGN(int64_t length, session.length(sequence));
    size_t newTokens = held.size() - promptSize;
    Buffer<int32_t> ids;
    bool copied = ids.append(held.span().data() + promptSize, newTokens);
    held.truncate(size_t(length));
    if (!result)
      return result.error();
    decoder.flush(taker.sink());
    filter.finish();
    if (filter.lost || !copied)
      return noMemory();
    if (filter.writeError)
      return Error(ErrorCode::Io, "standard output: %s", strerror(filter.writeError));
    if (filter.stopped)
      result->finish = FinishReason::stop;
    ++turnNumber;
    MLC_TRY(add("assistant", filter.text()));
    if (generation.json)
      return printJson(*result, filter.text(), ids.span(), promptSize, kept, monotonicMs() - start);
    putchar('\n');
    return flushOutput();
  }

  /// Makes the sequence hold the longest beginning of `ids` that it can, and gives its length; at least one id is left
  /// to feed. `held` becomes `ids`.
  Result<size_t> keep(std::span<const uint32_t> ids) {
    if (ids.empty())
      return Error(ErrorCode::InvalidArgument, "the chat template makes no text of this");
    if (ids.size() >= session.context())
      return Error(ErrorCode::OutOfRange,
                   "the chat has %zu tokens and no longer fits the context of %llu; start a new one", ids.size(),
                   (unsigned long long)session.context());
    size_t same = 0;
    while (same < held.size() && same + 1 < ids.size() && uint32_t(held.span()[same]) == ids[same])
      ++same;
    // A RoPE form that depends on the length of the whole prompt is another one now.
    if (model.promptForm())
      same = 0;
    if (sequence != SequenceId::none) {
      // Of recurrent states up to a checkpoint only.
      MLC_ASSIGN(int64_t reached, session.reachable(sequence, int64_t(same)));
      same = size_t(std::max<int64_t>(reached, 0));
      if (!same) {
        MLC_TRY(session.destroySequence(sequence));
        sequence = SequenceId::none;
      } else {
        MLC_TRY(session.rollback(sequence, int64_t(same)));
      }
    }
    if (sequence == SequenceId::none) {
      same = 0;
      MLC_ASSIGN(sequence, session.createSequence());
    }
    held.truncate(same);
    for (size_t i = same; i < ids.size(); ++i)
      if (!held.append(int32_t(ids[i]))) {
        held.truncate(same);
        return noMemory();
      }
    return same;
  }

  Status printJson(const GenerateResult &result, std::string_view text, std::span<const int32_t> ids, size_t promptSize,
                   size_t kept, double turnMs) {
    JsonWriter json;
    json.open(nullptr, '{');
    json.count("turn", turnNumber);
    json.text("text", text);
    json.count("prompt_tokens", promptSize);
    json.count("cached_tokens", kept);
    json.open("tokens", '[');
    for (int32_t id : ids)
      json.count(nullptr, uint64_t(id));
    json.close(']');
    json.text("finish_reason", finishReasonName(result.finish));
    json.open("timings", '{');
    json.number("turn_ms", turnMs);
    json.number("prompt_ms", result.promptMs);
    json.number("first_token_ms", result.firstTokenMs);
    json.number("generate_ms", result.generateMs);
    json.number("tokens_per_s", result.tokensPerSecond());
    json.close('}');
    json.close('}');
    return json.finish();
  }

  const Model &model;
  Session &session;
  ChatPrompt &prompt;
  const GenerationArguments &generation;
  const ChatArguments &arguments;
  DraftSession &draft;
  Buffer<char> messages; // "[{...},{...}", without the closing bracket.
  Buffer<int32_t> held;  // Tokens of the sequence's positions.
  SequenceId sequence = SequenceId::none;
  uint64_t turnNumber = 0;
};

} // namespace

Status chat(const char *file, const SessionArguments &sessionArguments, const GenerationArguments &generation,
            const ChatArguments &arguments, const DraftArguments &draftArguments) {
  MLC_ASSIGN(Owned<Model> model, openModel(file, sessionArguments));
  MLC_TRY(checkDevice(*model, sessionArguments.device));
  auto created = ChatPrompt::create(model->tokenizer());
  if (!created)
    return inFile(file, created.error());
  Owned<ChatPrompt> prompt(*created);
  MLC_ASSIGN(Owned<Session> session, openSession(*model, sessionArguments));
  DraftSession draft;
  MLC_TRY(draft.open(*session, sessionArguments, draftArguments));
  Status done = Chat(*model, *session, *prompt, generation, arguments, draft).run();
  return done || done.error().code() == ErrorCode::Io ? done : Status(inFile(file, done.error()));
}

} // namespace mlc::cli
