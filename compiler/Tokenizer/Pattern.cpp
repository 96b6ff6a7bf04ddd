//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Tokenizer/Pattern.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/ConvertUTF.h"

namespace mlc {
namespace {

constexpr unsigned maxNodes = 20000, maxRepeat = 255, maxGroups = 64;

/// A stretch of NFA: `exits` are the dangling edges (node, which of the two).
struct Fragment {
  unsigned start;
  std::vector<std::pair<unsigned, bool>> exits;
};

class Parser {
public:
  Parser(llvm::StringRef text, bool rustWords) : text(text), rustWords(rustWords) {}

  llvm::Expected<Pattern> run() {
    auto whole = alternatives(0);
    if (!whole)
      return whole.takeError();
    if (at != text.size())
      return fail("an unmatched )");
    unsigned end = node({NfaNode::Match, false, 0, 0, 0});
    connect(*whole, end);
    pattern.start = whole->start;
    return std::move(pattern);
  }

private:
  llvm::Error fail(const llvm::Twine &what, std::optional<size_t> where = {}) {
    return llvm::createStringError("%s at byte %zu of the pattern", what.str().c_str(), where.value_or(at));
  }
  bool more() const { return at < text.size(); }
  bool take(llvm::StringRef token) {
    if (!text.substr(at).starts_with(token))
      return false;
    at += token.size();
    return true;
  }
  unsigned node(NfaNode value) {
    pattern.nodes.push_back(value);
    return unsigned(pattern.nodes.size() - 1);
  }
  unsigned set(const CharSet &value) {
    auto known = llvm::find(pattern.sets, value);
    if (known != pattern.sets.end())
      return unsigned(known - pattern.sets.begin());
    pattern.sets.push_back(value);
    return unsigned(pattern.sets.size() - 1);
  }
  void connect(const Fragment &fragment, unsigned to) {
    for (auto [from, second] : fragment.exits)
      (second ? pattern.nodes[from].other : pattern.nodes[from].out) = to;
  }
  Fragment chars(CharSet value) {
    if (ignoreCase)
      value = value.foldCase();
    unsigned made = node({NfaNode::Chars, false, set(value), 0, 0});
    return {made, {{made, false}}};
  }
  /// A fork without a body: passes on.
  Fragment nothing() {
    unsigned made = node({NfaNode::Fork, false, 0, 0, 0});
    return {made, {{made, false}, {made, true}}};
  }

  llvm::Expected<Fragment> alternatives(unsigned depth) {
    if (depth > maxGroups)
      return fail("groups nested deeper than 64");
    bool outerCase = ignoreCase;
    auto result = sequence(depth);
    if (!result)
      return result.takeError();
    std::vector<Fragment> list{std::move(*result)};
    while (take("|")) {
      auto next = sequence(depth);
      if (!next)
        return next.takeError();
      list.push_back(std::move(*next));
    }
    ignoreCase = outerCase;
    // Forks from the last alternative backwards keep the order.
    Fragment whole = std::move(list.back());
    for (size_t i = list.size() - 1; i--;) {
      unsigned fork = node({NfaNode::Fork, false, 0, list[i].start, whole.start});
      whole.start = fork;
      whole.exits.insert(whole.exits.end(), list[i].exits.begin(), list[i].exits.end());
    }
    return whole;
  }

  llvm::Expected<Fragment> sequence(unsigned depth) {
    std::optional<Fragment> whole;
    while (more() && text[at] != '|' && text[at] != ')') {
      auto next = repeated(depth);
      if (!next)
        return next.takeError();
      if (!whole) {
        whole = std::move(*next);
        continue;
      }
      connect(*whole, next->start);
      whole->exits = std::move(next->exits);
    }
    return whole ? std::move(*whole) : nothing();
  }

  llvm::Expected<Fragment> repeated(unsigned depth) {
    size_t begin = at;
    bool caseBefore = ignoreCase;
    auto once = atom(depth);
    if (!once)
      return once.takeError();
    unsigned low = 1, high = 1;
    size_t quantifier = at;
    bool counted = false;
    if (take("?"))
      low = 0;
    else if (take("*"))
      low = 0, high = unbounded;
    else if (take("+"))
      high = unbounded;
    else if (more() && text[at] == '{') {
      if (auto error = counts(low, high))
        return std::move(error);
      counted = true;
    } else {
      return once;
    }
    bool lazy = false;
    if (more() && text[at] == '+')
      return fail("a possessive quantifier");
    if (!counted)
      lazy = take("?");
    if (more() && llvm::StringRef("?*+{").contains(text[at]))
      return fail("a quantifier on a quantifier");
    // Copies of the atom are made by parsing it again.
    size_t after = at;
    auto copy = [&]() -> llvm::Expected<Fragment> {
      if (pattern.nodes.size() > maxNodes)
        return fail("a repetition too large", quantifier);
      at = begin;
      ignoreCase = caseBefore;
      auto again = atom(depth);
      at = after;
      return again;
    };
    std::optional<Fragment> whole;
    auto append = [&](Fragment next) {
      if (whole) {
        connect(*whole, next.start);
        whole->exits = std::move(next.exits);
      } else {
        whole = std::move(next);
      }
    };
    bool used = false;
    auto take1 = [&]() -> llvm::Expected<Fragment> {
      if (std::exchange(used, true))
        return copy();
      return std::move(*once);
    };
    auto fork = [&](unsigned body) {
      unsigned made = node({NfaNode::Fork, false, 0, lazy ? 0 : body, lazy ? body : 0});
      return made;
    };
    for (unsigned i = 0; i < low; ++i) {
      auto next = take1();
      if (!next)
        return next.takeError();
      if (i + 1 == low && high == unbounded) {
        unsigned loop = fork(next->start);
        connect(*next, loop);
        next->exits = {{loop, !lazy}};
      }
      append(std::move(*next));
    }
    if (high == unbounded && !low) {
      unsigned loop = fork(once->start);
      connect(*once, loop);
      append({loop, {{loop, !lazy}}});
    }
    std::vector<std::pair<unsigned, bool>> skips;
    for (unsigned i = low; high != unbounded && i < high; ++i) {
      auto next = take1();
      if (!next)
        return next.takeError();
      unsigned option = fork(next->start);
      skips.push_back({option, !lazy});
      append({option, std::move(next->exits)});
    }
    if (!whole)
      return nothing();
    whole->exits.insert(whole->exits.end(), skips.begin(), skips.end());
    return std::move(*whole);
  }

  llvm::Error counts(unsigned &low, unsigned &high) {
    size_t close = text.find('}', at);
    llvm::StringRef inside = close == text.npos ? "" : text.slice(at + 1, close);
    auto [first, second] = inside.split(',');
    bool range = inside.contains(',');
    low = 0;
    if ((first.empty() && !range) || (!first.empty() && first.getAsInteger(10, low)))
      return fail("a { that begins no count");
    high = range ? unbounded : low;
    if (!second.empty() && second.getAsInteger(10, high))
      return fail("a { that begins no count");
    if (low > maxRepeat || (high != unbounded && (high > maxRepeat || high < low)))
      return fail("a count above 255 or out of order");
    at = close + 1;
    return llvm::Error::success();
  }

  llvm::Expected<Fragment> atom(unsigned depth) {
    if (pattern.nodes.size() > maxNodes)
      return fail("a pattern too large");
    size_t begin = at;
    if (take("(?!") || take("(?=")) {
      bool negative = text[begin + 2] == '!';
      auto next = oneChar();
      if (!next)
        return next.takeError();
      if (!take(")"))
        return fail("a lookahead of more than one character", begin);
      CharSet allowed = ignoreCase ? next->foldCase() : *next;
      unsigned made = node({NfaNode::Ahead, negative, set(negative ? allowed.complement() : allowed), 0, 0});
      return Fragment{made, {{made, false}}};
    }
    if (take("(?i)")) {
      // To the end of the enclosing group, as alternatives() restores.
      ignoreCase = true;
      return nothing();
    }
    bool fold = take("(?i:");
    if (fold || take("(?:") || (!text.substr(at).starts_with("(?") && take("("))) {
      bool outer = std::exchange(ignoreCase, ignoreCase || fold);
      auto inside = alternatives(depth + 1);
      ignoreCase = outer;
      if (!inside)
        return inside.takeError();
      if (!take(")"))
        return fail("a group that is not closed", begin);
      return inside;
    }
    if (take("$")) {
      unsigned made = node({NfaNode::Ahead, true, set(CharSet('\n', '\n')), 0, 0});
      return Fragment{made, {{made, false}}};
    }
    auto single = oneChar();
    if (!single)
      return single.takeError();
    return chars(std::move(*single));
  }

  llvm::Expected<uint32_t> literal() {
    auto *from = reinterpret_cast<const llvm::UTF8 *>(text.data() + at), *source = from;
    auto *end = reinterpret_cast<const llvm::UTF8 *>(text.data() + text.size());
    llvm::UTF32 code;
    if (llvm::convertUTF8Sequence(&source, end, &code, llvm::strictConversion) != llvm::conversionOK)
      return fail("a byte that is not UTF-8");
    at += size_t(source - from);
    return code;
  }

  llvm::Expected<CharSet> oneChar() {
    if (!more())
      return fail("an end where a character should be");
    if (text[at] == '[')
      return charClass(0);
    if (text[at] == '\\')
      return escape(/*inClass=*/false);
    if (take("."))
      return CharSet('\n', '\n').complement();
    if (llvm::StringRef("^$*+?{}()|").contains(text[at]) && text[at] != '}' && text[at] != '{')
      return fail(llvm::Twine("an unsupported '") + text.substr(at, text[at] == '(' ? 4 : 1) + "'");
    auto code = literal();
    if (!code)
      return code.takeError();
    return CharSet(*code, *code);
  }

  llvm::Expected<CharSet> escape(bool inClass) {
    size_t begin = at++;
    if (!more())
      return fail("a lone backslash", begin);
    char c = text[at];
    auto single = [](uint32_t code) { return CharSet(code, code); };
    ++at;
    switch (c) {
    case 's':
      return CharSet::whiteSpace();
    case 'S':
      return CharSet::whiteSpace().complement();
    case 'd':
      return *CharSet::property("Nd");
    case 'D':
      return CharSet::property("Nd")->complement();
    case 'w':
      return CharSet::word(rustWords);
    case 'W':
      return CharSet::word(rustWords).complement();
    case 'n':
      return single('\n');
    case 'r':
      return single('\r');
    case 't':
      return single('\t');
    case 'f':
      return single('\f');
    case 'v':
      return single('\v');
    case 'x':
    case 'u': {
      llvm::StringRef digits;
      if (take("{")) {
        size_t close = text.find('}', at);
        digits = text.slice(at, close);
        at = close == text.npos ? text.size() : close + 1;
      } else {
        digits = text.substr(at, c == 'u' ? 4 : 2);
        at += digits.size();
      }
      uint32_t code;
      if (digits.getAsInteger(16, code) || code >= CharSet::limit)
        return fail("a bad hexadecimal escape", begin);
      return single(code);
    }
    case 'p':
    case 'P': {
      llvm::StringRef name;
      if (take("{")) {
        size_t close = text.find('}', at);
        name = text.slice(at, close);
        at = close == text.npos ? text.size() : close + 1;
      } else {
        name = text.substr(at++, 1);
      }
      bool negated = (c == 'P') ^ name.consume_front("^");
      auto property = CharSet::property(name);
      if (!property)
        return fail(llvm::Twine("the unsupported property \\p{") + name + "}", begin);
      return negated ? property->complement() : *property;
    }
    default:
      if (llvm::isAlnum(c) || uint8_t(c) >= 0x80)
        return fail(llvm::Twine("the unsupported escape \\") + llvm::Twine(c), begin);
      return single(uint32_t(c));
    }
  }

  llvm::Expected<CharSet> charClass(unsigned depth) {
    size_t begin = at++;
    if (depth > maxGroups)
      return fail("classes nested deeper than 64");
    bool negated = take("^"), first = true;
    CharSet whole;
    for (;; first = false) {
      if (!more())
        return fail("a class that is not closed", begin);
      if (text[at] == ']' && !first)
        break;
      if (text.substr(at).starts_with("[:"))
        return fail("a POSIX bracket [:");
      if (text.substr(at).starts_with("&&"))
        return fail("a class intersection &&");
      bool range = false;
      CharSet item;
      if (text[at] == '[') {
        auto inner = charClass(depth + 1);
        if (!inner)
          return inner.takeError();
        item = std::move(*inner);
      } else if (text[at] == '\\') {
        auto inner = escape(/*inClass=*/true);
        if (!inner)
          return inner.takeError();
        item = std::move(*inner);
        range = true;
      } else {
        auto code = literal();
        if (!code)
          return code.takeError();
        item = CharSet(*code, *code);
        range = true;
      }
      bool one = item.ranges().size() == 1 && item.ranges()[0].first == item.ranges()[0].last;
      if (range && one && at + 1 < text.size() && text[at] == '-' && text[at + 1] != ']') {
        ++at;
        auto high = text[at] == '\\' ? escape(true) : literalSet();
        if (!high)
          return high.takeError();
        uint32_t low = item.ranges()[0].first, top = high->ranges().empty() ? 0 : high->ranges()[0].first;
        if (high->ranges().size() != 1 || high->ranges()[0].last != top || top < low)
          return fail("a range out of order");
        item = CharSet(low, top);
      }
      whole.add(item);
    }
    ++at;
    if (ignoreCase)
      whole = whole.foldCase();
    return negated ? whole.complement() : whole;
  }
  llvm::Expected<CharSet> literalSet() {
    auto code = literal();
    if (!code)
      return code.takeError();
    return CharSet(*code, *code);
  }

  static constexpr unsigned unbounded = ~0u;
  llvm::StringRef text;
  size_t at = 0;
  bool rustWords, ignoreCase = false;
  Pattern pattern;
};

} // namespace

llvm::Expected<Pattern> parsePattern(llvm::StringRef text, bool rustWords) { return Parser(text, rustWords).run(); }

std::string escapePattern(llvm::StringRef text) {
  std::string result;
  for (char c : text) {
    if (llvm::StringRef("\\^$.|?*+()[]{}-&").contains(c))
      result += '\\';
    result += c;
  }
  return result;
}

} // namespace mlc
