//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Templates beside what jinja2 makes of them (data/make.py), limits, and where text came from.
//
#include "runtime/llm/chat/ChatTemplate.h"
#include "runtime/llm/value/Value.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

using namespace mlc;

namespace {

std::string readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// A value of a case as JSON again; the cases hold nothing that this form could change.
void write(std::string &out, const Value &value) {
  auto quoted = [&](std::string_view text) {
    out += '"';
    for (char c : text) {
      char escape[8];
      if (c == '"' || c == '\\')
        (out += '\\') += c;
      else if (uint8_t(c) < 0x20)
        snprintf(escape, sizeof escape, "\\u%04x", c), out += escape;
      else
        out += c;
    }
    out += '"';
  };
  char number[40];
  switch (value.kind) {
  case Kind::boolean:
    out += value.flag ? "true" : "false";
    break;
  case Kind::integer:
    out += std::to_string(value.integer);
    break;
  case Kind::real:
    snprintf(number, sizeof number, "%.17g", value.real);
    out += number;
    if (!strpbrk(number, ".e"))
      out += ".0";
    break;
  case Kind::big:
    out += value.view();
    break;
  case Kind::string:
    quoted(value.view());
    break;
  case Kind::list:
    out += '[';
    for (const Value &item : *value.list) {
      if (&item != value.list->begin())
        out += ',';
      write(out, item);
    }
    out += ']';
    break;
  case Kind::dict:
    out += '{';
    for (const Dict::Entry &entry : value.dict->entries) {
      if (&entry != value.dict->entries.begin())
        out += ',';
      quoted(entry.key->view());
      out += ':';
      write(out, entry.value);
    }
    out += '}';
    break;
  default:
    out += "null";
  }
}

/// The case's member as JSON, or nothing where it is absent or null.
std::string member(const Dict &dict, const char *name) {
  std::string text;
  const Value *value = dict.find(name);
  if (value && !value->is(Kind::none))
    write(text, *value);
  return text;
}
std::string textMember(const Dict &dict, const char *name) {
  const Value *value = dict.find(name);
  return value && value->is(Kind::string) ? std::string(value->view()) : std::string();
}

struct Rendered {
  bool ok;
  std::string text, error;
  std::vector<TextRange> plain;
};

Rendered render(std::string_view source, const ChatInput &input, const ChatTemplate::Specials &specials = {},
                const ChatLimits &limits = {}) {
  auto compiled = ChatTemplate::compile(source);
  if (!compiled)
    return {false, "", std::string("compile: ") + compiled.error().message(), {}};
  Owned<ChatTemplate> chat(*compiled);
  auto made = chat->render(input, specials, limits);
  if (!made)
    return {false, "", made.error().message(), {}};
  return {true, std::string(made->text), "", {made->plain.begin(), made->plain.end()}};
}

void compareAll(const std::string &path) {
  std::ifstream lines(path);
  ASSERT_TRUE(lines) << path;
  size_t count = 0, refused = 0, wrong = 0;
  for (std::string line; std::getline(lines, line);) {
    Arena arena(size_t(64) << 20);
    auto parsed = parseJson(arena, line);
    ASSERT_TRUE(parsed) << parsed.error().message() << ": " << line.substr(0, 200);
    const Dict &made = *parsed->dict, &given = *made.find("input")->dict;
    std::string file = textMember(made, "file");
    std::string source = file.empty() ? textMember(made, "source") : readFile(MLC_CHAT_DATA "/templates/" + file);
    std::string messages = member(given, "messages"), tools = member(given, "tools"),
                variables = member(given, "variables"), bos = textMember(given, "bos"), eos = textMember(given, "eos");
    const Value *prompt = given.find("add_generation_prompt");
    ChatInput input{messages, tools, variables, !prompt || prompt->flag, 1764547200};
    Rendered got = render(source, input, {bos, eos});
    ++count;
    const Value *text = made.find("text");
    std::string name = textMember(made, "name");
    if (!text) {
      EXPECT_FALSE(got.ok) << name << "\n"
                           << source << "\ngave " << got.text << "\njinja2: " << textMember(made, "error");
      wrong += got.ok;
      continue;
    }
    // Refusing what is not of the subset is right; a different text never is.
    if (!got.ok &&
        (got.error.find("not supported") != std::string::npos || got.error.find("has no text") != std::string::npos ||
         got.error.find("64 bits") != std::string::npos)) {
      ++refused;
      EXPECT_TRUE(name.starts_with("random")) << name << ": " << got.error;
      continue;
    }
    EXPECT_TRUE(got.ok) << name << ": " << got.error << "\n" << source;
    EXPECT_EQ(got.text, text->view()) << name << "\n" << source;
    wrong += !got.ok || got.text != text->view();
    if (wrong > 20)
      FAIL() << "and more";
  }
  EXPECT_GT(count, 100u);
  EXPECT_LT(refused * 20, count) << "too much is refused";
  printf("%zu cases, %zu refused by name\n", count, refused);
}

TEST(ChatTemplate, RendersAsJinjaDoes) {
  setenv("TZ", "UTC", 1);
  compareAll(MLC_CHAT_DATA "/cases.jsonl");
}

/// More random programs: data/make.py --only-random --seed N --count N FILE, and MLC_CHAT_CASES=FILE.
TEST(ChatTemplate, RendersFurtherCasesAsJinjaDoes) {
  const char *path = getenv("MLC_CHAT_CASES");
  if (!path)
    GTEST_SKIP() << "MLC_CHAT_CASES names no file";
  setenv("TZ", "UTC", 1);
  compareAll(path);
}

TEST(ChatTemplate, RefusesByNameWhatItDoesNotKnow) {
  const std::pair<const char *, const char *> cases[] = {
      {"{% include 'x' %}", "line 1: the tag 'include' is not supported"},
      {"\n{% call f() %}{% endcall %}", "line 2: the tag 'call' is not supported"},
      {"{{ x | urlize }}", "the filter 'urlize' is not supported"},
      {"{{ x is sameas 1 }}", "the test 'sameas' is not supported"},
      {"{{ lipsum() }}", "lipsum is not supported"},
      {"{{ f() }}", "the function 'f' is not supported"},
      {"{{ x.encode() }}", "the method 'encode' is not supported"},
      {"{{ x.__class__ }}", "the attribute '__class__' is not supported"},
      {"{{ x.append(1) }}", "the method 'append' is not supported"},
      {"{% for x in y recursive %}{% endfor %}", "recursive loops are not supported"},
      {"{% set x = y | safe %}", "the filter 'safe' is supported at the end of an output only"},
      {"{% if x %}", "{% endif %} is missing"},
      {"{{ x", "an expression without its end }}"},
      {"{% break %}", "break outside a loop"},
      {"{{ f(*x) }}", "arguments by * and ** are not supported"},
  };
  for (auto [source, message] : cases) {
    auto compiled = ChatTemplate::compile(source);
    ASSERT_FALSE(compiled) << source;
    EXPECT_NE(std::string(compiled.error().message()).find(message), std::string::npos)
        << source << ": " << compiled.error().message();
  }
}

TEST(ChatTemplate, HostileTemplatesEnd) {
  ChatLimits limits;
  limits.steps = 1'000'000;
  limits.memory = size_t(16) << 20;
  limits.output = size_t(1) << 20;
  std::string deep = "{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}", many, nots = "{{ ";
  for (int i = 0; i < 3000; ++i)
    many += "{% if 1 %}";
  for (int i = 0; i < 5000; ++i)
    nots += "not ";
  const std::string sources[] = {
      "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
      "{% for i in range(100000) %}0123456789012345678901234567890123456789{% endfor %}",
      "{% set ns = namespace(x='a') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
      "{{ 'a' * 1000000000 }}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
      "{% set ns = namespace(x=[]) %}{% for i in range(30) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson "
      "}}",
      "{% set ns = namespace(x=[]) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x == [ns.x] }}",
      "{{ range(100000) | map('string') | join(range(100000) | join) }}",
      "{{ ('a' * 100000).replace('', 'b' * 100000) }}",
      deep,
      many,
      nots + "1 }}",
      "{{ [" + std::string(5000, '[') + " }}",
      "{{ 2 ** 100000000000 }}",
      "{{ -9223372036854775807 - 2 }}",
  };
  for (const std::string &source : sources) {
    Rendered got = render(source, {"[]", "", ""}, {}, limits);
    EXPECT_FALSE(got.ok) << source.substr(0, 80);
  }
}

TEST(ChatTemplate, KnowsWhatCameFromTheInput) {
  auto plain = [](const char *source, const char *messages) {
    Rendered got = render(source, {messages, "", ""}, {"<s>", "</s>"});
    EXPECT_TRUE(got.ok) << got.error;
    std::string marked;
    size_t at = 0;
    for (TextRange range : got.plain) {
      marked +=
          got.text.substr(at, range.begin - at) + "[" + got.text.substr(range.begin, range.end - range.begin) + "]";
      at = range.end;
    }
    return marked + got.text.substr(at);
  };
  const char *hi = R"([{"role": "user", "content": " <s>Hi "}])";
  EXPECT_EQ(plain("{{ bos_token ~ messages[0].role }}: {{ messages[0].content | trim }}!", hi), "<s>[user]: [<s>Hi]!");
  EXPECT_EQ(plain("{{ ('<s>' + messages[0].content)[2:6] | upper }}", hi), ">[ <S]");
  EXPECT_EQ(plain("{{ messages | tojson }}", hi), R"([{"[role]": "[user]", "[content]": "[ <s>Hi ]"}])");
  EXPECT_EQ(plain("{{ messages[0].content.replace('<s>', '</s>').split() | join('+') }}", hi), "</s>[Hi]");
  EXPECT_EQ(plain("{{ messages[0] }}", hi), "{'[role]': '[user]', '[content]': '[ <s>Hi ]'}");
  EXPECT_EQ(plain("{% for c in 'a' ~ messages[0].role %}{{ c }}{% endfor %}{% set x %}{{ messages[0].role }}{% endset "
                  "%}{{ x }}",
                  hi),
            "a[useruser]");
}

TEST(ChatTemplate, NamesWrongInput) {
  EXPECT_EQ(render("x", {"{}", "", ""}).error, "messages: not an array");
  EXPECT_EQ(render("x", {"[", "", ""}).error, "messages: ends at byte 1, where a value is missing");
  EXPECT_EQ(render("x", {"[]", "[1,]", ""}).error, "tools: byte 4: expected a value");
  EXPECT_EQ(render("{{ raise_exception('Never ' ~ messages) }}", {"[]", "", ""}).error,
            "the chat template refuses: Never []");
  EXPECT_EQ(render("\n{{ messages[0].content }}", {"[]", "", ""}).error,
            "line 2: 'an item that is not there' is undefined");
}

} // namespace
