//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Runs a parsed template over one arena. The first error sticks: every function then returns at once, and what it
// returns is of no use. Steps, memory, depth and output are bounded.
//
#pragma once

#include "runtime/llm/chat/ChatTemplate.h"
#include "runtime/llm/chat/Syntax.h"

#include <optional>

namespace mlc::chat {

/// Text that grows, with the origin of every byte.
struct Output {
  char *data = nullptr;
  uint8_t *marks = nullptr;
  size_t size = 0, capacity = 0;
};

enum ObjectType : uint8_t { objectSpace, objectLoop, objectMacro, objectFunction, objectMethod };

struct Scope {
  struct Binding {
    uint32_t symbol;
    Value value;
  };
  Scope *parent = nullptr;
  ArenaList<Binding> bindings;
};

struct Loop {
  std::span<const Value> items;
  uint32_t index = 0, depth = 0;
  bool seen = false; // Of changed().
  List last;
};

struct Macro {
  const Stmt *definition;
  Scope *scope;
};

struct BoundMethod {
  Value base;
  Method which;
};

class Interpreter {
public:
  Interpreter(Arena &arena, const Program &program, const ChatLimits &limits, int64_t now)
      : arena(arena), program(program), limits(limits), clock(now) {}

  /// Binds a global variable.
  void define(uint32_t symbol, const Value &value) { bind(&globals, symbol, value); }
  /// The same by name; a name that the template does not mention is left out.
  void define(std::string_view name, const Value &value);
  Result<ChatText> run();
  const Text *textOf(std::string_view text, bool plain);

private:
  enum class Flow : uint8_t { normal, breakLoop, continueLoop };
  struct Call; // Arguments of a call, evaluated.
  struct Builder;
  friend struct Builder;

  // State.
  bool failed() const { return failure.has_value(); }
  void fail(const char *format, ...) __attribute__((format(printf, 2, 3)));
  void failWith(ErrorCode code, const char *format, ...) __attribute__((format(printf, 3, 4)));
  /// Counts work; false when there was too much.
  bool charge(uint64_t bytes = 0);
  void noMemory() {
    failWith(ErrorCode::OutOfRange, "the template takes more than %zu bytes of memory", limits.memory);
  }

  // Interpreter.cpp: statements, scopes, loops, macros.
  Flow statements(const Stmt *first);
  Flow statement(const Stmt &stmt);
  Flow loop(const Stmt &stmt);
  void assign(const Expr &target, const Value &value);
  void bind(Scope *where, uint32_t symbol, const Value &value);
  Value lookup(uint32_t symbol);
  Scope *push(Scope *parent);
  Value callMacro(const Macro &macro, const Call &call);
  void write(const Text &text);
  void put(Output &out, const char *data, const uint8_t *marks, bool plain, size_t size);
  const Text *finish(Output &out);

  // Evaluate.cpp: expressions.
  Value evaluate(const Expr *expr);
  Value evaluateKind(const Expr &expr);
  Value compareChain(const Expr &expr);
  Value arithmetic(const Expr &expr);
  Value sumOf(const Value &left, const Value &right);
  Value repeat(const Value &value, int64_t times);
  Value numeric(ExprKind kind, const Value &left, const Value &right);
  Value attribute(const Value &base, std::string_view name, bool itemFirst = false);
  Value subscript(const Value &base, const Value &index);
  Value item(const Value &base, int64_t index);
  Value slice(const Expr &expr);
  Value call(const Expr &expr);
  Value callFunction(Function which, const Call &call);
  bool evaluateArguments(const Arguments &arguments, Call &call);
  Value undefined(const char *what, std::string_view name);
  bool compare(uint16_t sign, const Value &left, const Value &right);
  bool equal(const Value &left, const Value &right, unsigned depth = 0);
  int order(const Value &left, const Value &right, unsigned depth = 0);
  bool contains(const Value &haystack, const Value &needle);
  bool truth(const Value &value);
  void refuseUndefined(const Value &value);

  // Values.cpp: what values are made of.
  std::span<const Value> iterate(const Value &value);
  bool integerOf(const Value &value, int64_t &out);
  bool realOf(const Value &value, double &out);
  size_t lengthOf(const Value &value);
  Value listOf(std::span<const Value> items, ListForm form = ListForm::list);
  Value string(const Text &text);
  Value string(std::string_view text) { return Value::string(textOf(text, false)); }
  Value pairsOf(const Value &dict, ListForm form);
  Value characters(const Text &text);
  static const char *nameOf(const Value &value);

  // Print.cpp: str(), repr(), json.dumps().
  Text print(const Value &value);
  void printInto(Builder &out, const Value &value, bool quoted, unsigned depth);
  void quote(Builder &out, const Text &text);
  void printReal(Builder &out, double value);
  struct JsonForm;
  void jsonInto(Builder &out, const Value &value, const JsonForm &form, unsigned depth);
  void jsonString(Builder &out, const Text &text, bool ascii);
  Value toJson(const Value &value, const Call &call);

  // Texts.cpp: strings.
  Value trim(const Text &text, const Value &chars, bool left, bool right);
  Value split(const Text &text, const Call &call, bool fromRight);
  Value splitLines(const Text &text, bool keep);
  Value replace(const Text &text, const Text &from, const Text &to, int64_t most);
  Value join(const Text &separator, const Value &values, std::string_view attribute);
  Value changeCase(const Text &text, int how);
  Value indent(const Text &text, const Call &call);
  bool affix(const Text &text, const Value &affixes, bool end);
  Value sliceText(const Text &text, int64_t from, int64_t to, int64_t step);
  size_t charactersIn(std::string_view text);
  Value callMethod(const BoundMethod &method, const Call &call);
  Value textMethod(const Text &text, Method which, const Call &call);
  Value otherMethod(const Value &base, Method which, const Call &call);
  Value loopMethod(Loop &state, Method which, const Call &call);

  // Filters.cpp.
  Value filter(const Expr &expr);
  Value filterTexts(Filter which, const Value &value, const Call &call);
  Value filterSequence(Filter which, const Value &value, const Call &call);
  Value choose(const Value &value, const Call &call, bool byAttribute, bool wanted);
  Value mapped(const Value &value, const Call &call);
  Value sorted(const Value &value, const Call &call);
  Value sortedDict(const Value &value, const Call &call);
  Value extreme(const Value &value, const Call &call, bool most);
  void sortValues(Value *items, const Value *keys, size_t count, bool reverse, bool ignoreCase);
  Value keyOf(const Value &value, const Value &path, bool ignoreCase);
  Value byPath(const Value &value, const Value &path);
  Value applyFilter(Filter which, const Value &value, const Call &call);
  bool test(const Expr &expr);
  bool applyTest(Test which, const Value &value, std::span<const Value> arguments);

  Arena &arena;
  const Program &program;
  const ChatLimits &limits;
  int64_t clock;
  Scope globals;
  Scope *scope = nullptr;
  Output main;
  Output *out = &main;
  Loop *current = nullptr;
  uint64_t steps = 0;
  unsigned depth = 0;
  uint32_t line = 0;
  std::optional<Error> failure;
};

/// Evaluated arguments: by place first, then by name.
struct Interpreter::Call {
  ArenaList<Value> positional;
  struct Named {
    std::string_view name;
    Value value;
  };
  ArenaList<Named> named;
  /// The argument at `place` or of `name`, or null.
  const Value *get(uint32_t place, std::string_view name) const {
    if (place < positional.size)
      return &positional[place];
    for (const Named &entry : named)
      if (entry.name == name)
        return &entry.value;
    return nullptr;
  }
};

/// Appends to a text of its own.
struct Interpreter::Builder {
  Interpreter &self;
  Output out;
  void add(std::string_view text, bool plain = false) { self.put(out, text.data(), nullptr, plain, text.size()); }
  void add(const Text &text) { self.put(out, text.data, text.marks, text.plain, text.size); }
  const Text *text() { return self.finish(out); }
  Value value() { return Value::string(text()); }
};

/// Stops what nests too deep.
class Depth {
public:
  explicit Depth(unsigned &depth) : depth(depth) { ++depth; }
  ~Depth() { --depth; }

private:
  unsigned &depth;
};

/// How deep evaluation, values and macros may nest.
constexpr unsigned kMaxNesting = 200;

} // namespace mlc::chat
