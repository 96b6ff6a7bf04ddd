//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/tests/PtxInterpreter.h"

#include "runtime/core/Float16.h"
#include "targets/cuda/tests/PtxValues.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <type_traits>

namespace mlc::cuda::ptx {

namespace {

using Read = std::function<uint64_t(const Thread &)>;
using Step = std::function<void(Thread &)>;

/// Reads one function's instructions.
class Reader {
public:
  explicit Reader(Entry &entry) : entry(entry) {}

  void declare(std::string_view prefix, unsigned count) {
    for (unsigned i = 0; i < count; ++i)
      names["%" + std::string(prefix) + std::to_string(i)] = entry.registerCount++;
  }
  void label(std::string_view name) { labels[std::string(name)] = entry.code.size(); }

  /// `line` without its semicolon; false when it is not known.
  bool instruction(std::string_view line) {
    Read guard;
    bool negated = false;
    if (line.front() == '@') {
      size_t end = line.find(' ');
      negated = line[1] == '!';
      guard = operand(line.substr(negated ? 2 : 1, end - (negated ? 2 : 1)));
      line = trimmed(line.substr(end));
      if (!guard)
        return false;
    }
    size_t end = line.find_first_of(" \t");
    std::string_view opcode = line.substr(0, end);
    operands.clear();
    for (std::string_view rest = end == line.npos ? "" : line.substr(end); !rest.empty();) {
      size_t comma = rest.find(',');
      operands.push_back(trimmed(rest.substr(0, comma)));
      rest = comma == rest.npos ? "" : rest.substr(comma + 1);
    }
    parts.clear();
    for (std::string_view rest = opcode; !rest.empty();) {
      size_t dot = rest.find('.');
      parts.push_back(rest.substr(0, dot));
      rest = dot == rest.npos ? "" : rest.substr(dot + 1);
    }
    Step step = decode();
    if (!step)
      return false;
    if (guard)
      step = [guard, negated, step](Thread &t) {
        if (bool(guard(t)) != negated)
          step(t);
      };
    entry.code.push_back(std::move(step));
    return true;
  }

  /// A label that a branch names and nobody defines, or nothing.
  std::string missingLabel() const {
    for (const std::string &name : wanted)
      if (!labels->count(name))
        return name;
    return "";
  }

  static std::string_view trimmed(std::string_view text) {
    size_t first = text.find_first_not_of(" \t"), last = text.find_last_not_of(" \t");
    return first == text.npos ? std::string_view() : text.substr(first, last - first + 1);
  }

private:
  /// The parts between the first and the last are these.
  bool modified(std::initializer_list<std::string_view> wanted) const {
    return std::equal(parts.begin() + 1, parts.end() - 1, wanted.begin(), wanted.end());
  }

  Read operand(std::string_view text) const {
    if (auto found = names.find(std::string(text)); found != names.end())
      return [index = found->second](const Thread &t) { return t.registers[index]; };
    static const std::map<std::string_view, unsigned (*)(const Thread &)> special = {
        {"%tid.x", [](const Thread &t) { return t.thread.x; }},
        {"%tid.y", [](const Thread &t) { return t.thread.y; }},
        {"%ctaid.x", [](const Thread &t) { return t.block.x; }},
        {"%ctaid.y", [](const Thread &t) { return t.block.y; }},
        {"%ntid.x", [](const Thread &t) { return t.blockSize.x; }},
        {"%ntid.y", [](const Thread &t) { return t.blockSize.y; }},
        {"%nctaid.x", [](const Thread &t) { return t.grid.x; }},
        {"%nctaid.y", [](const Thread &t) { return t.grid.y; }}};
    if (auto found = special.find(text); found != special.end())
      return [read = found->second](const Thread &t) { return read(t); };
    if (text.empty())
      return {};
    std::string number(text);
    char *end = nullptr;
    bool real = text.size() > 2 && text[0] == '0' && (text[1] == 'f' || text[1] == 'd');
    uint64_t value = real             ? strtoull(number.c_str() + 2, &end, 16)
                     : text[0] == '-' ? uint64_t(strtoll(number.c_str(), &end, 0))
                                      : strtoull(number.c_str(), &end, 0);
    if (*end || end == number.c_str())
      return {};
    return [value](const Thread &) { return value; };
  }

  /// The address of "[%rd1+4]".
  Read address(std::string_view text) const {
    if (text.size() < 3 || text.front() != '[' || text.back() != ']')
      return {};
    text = text.substr(1, text.size() - 2);
    size_t plus = text.find('+');
    Read base = operand(text.substr(0, plus));
    if (!base || plus == text.npos)
      return base;
    Read offset = operand(text.substr(plus + 1));
    if (!offset)
      return {};
    return [=](const Thread &t) { return base(t) + offset(t); };
  }

  /// d = function(sources) on values of T, of as many operands as the function takes.
  template <typename T, typename... From, typename F> Step make(F function) const {
    if (operands.size() != 1 + sizeof...(From))
      return {};
    auto to = names.find(std::string(operands[0]));
    if (to == names.end())
      return {};
    return makeOf<T, From...>(to->second, function, std::index_sequence_for<From...>());
  }
  template <typename T, typename... From, typename F, size_t... I>
  Step makeOf(unsigned to, F function, std::index_sequence<I...>) const {
    std::array<Read, sizeof...(From)> reads{operand(operands[1 + I])...};
    for (const Read &read : reads)
      if (!read)
        return {};
    return [=](Thread &t) { t.registers[to] = toBits(T(function(fromBits<From>(reads[I](t))...))); };
  }

  Step decode() {
    std::string_view name = parts[0], type = parts.back();
    if (name == "ret" && parts.size() == 1)
      return [](Thread &t) { t.next = SIZE_MAX; };
    if (name == "bra" && operands.size() == 1)
      return branch();
    if (name == "cvt")
      return convert();
    if (name == "ld" || name == "st")
      return access();
    Step made;
    withType(type, [&](auto zero) {
      using T = decltype(zero);
      if constexpr (std::is_same_v<T, Half>) {
        // Of halves a sum or product in f32 rounded once more is the one rounded once.
        if (modified({"rn"}))
          made = halves();
      } else if constexpr (std::is_same_v<T, bool>) {
        made = bits<T>();
      } else if constexpr (std::is_floating_point_v<T>) {
        made = real<T>();
      } else if constexpr (std::is_integral_v<T>) {
        made = integral<T>();
      }
      if constexpr (!std::is_same_v<T, Half> && !std::is_same_v<T, Bfloat>)
        if (!made)
          made = any<T>();
    });
    return made;
  }

  Step halves() const {
    auto with = [&](auto function) {
      return make<Half, Half, Half>(
          [=](Half a, Half b) { return Half{f32ToF16(function(f16ToF32(a.bits), f16ToF32(b.bits)))}; });
    };
    return parts[0] == "add"   ? with([](float a, float b) { return a + b; })
           : parts[0] == "sub" ? with([](float a, float b) { return a - b; })
           : parts[0] == "mul" ? with([](float a, float b) { return a * b; })
                               : Step();
  }

  /// mov, selp and setp.
  template <typename T> Step any() const {
    if (parts[0] == "mov" && modified({}))
      return make<T, T>([](T a) { return a; });
    if (parts[0] == "selp" && modified({}))
      return make<T, T, T, bool>([](T a, T b, bool which) { return which ? a : b; });
    if (parts[0] != "setp" || parts.size() != 3)
      return {};
    std::string how(parts[1]);
    bool known = true;
    compare(how, T(), T(), known);
    return known ? make<bool, T, T>([how](T a, T b) {
      bool ignored = true;
      return compare(how, a, b, ignored);
    })
                 : Step();
  }

  template <typename T> Step real() const {
    std::string_view name = parts[0];
    if (modified({"rn"})) {
      if (name == "add")
        return make<T, T, T>([](T a, T b) { return a + b; });
      if (name == "sub")
        return make<T, T, T>([](T a, T b) { return a - b; });
      if (name == "mul")
        return make<T, T, T>([](T a, T b) { return a * b; });
      if (name == "div")
        return make<T, T, T>([](T a, T b) { return a / b; });
      if (name == "fma")
        return make<T, T, T, T>([](T a, T b, T c) { return std::fma(a, b, c); });
      if (name == "sqrt")
        return make<T, T>([](T a) { return std::sqrt(a); });
      if (name == "rcp")
        return make<T, T>([](T a) { return T(1) / a; });
    }
    if (!modified({}))
      return {};
    if (name == "neg")
      return make<T, T>([](T a) { return -a; });
    if (name == "abs")
      return make<T, T>([](T a) { return std::fabs(a); });
    if (name == "min")
      return make<T, T, T>([](T a, T b) { return lesser(a, b); });
    if (name == "max")
      return make<T, T, T>([](T a, T b) { return greater(a, b); });
    return {};
  }

  template <typename T> Step bits() const {
    if (!modified({}))
      return {};
    if (parts[0] == "and")
      return make<T, T, T>([](T a, T b) { return T(a & b); });
    if (parts[0] == "or")
      return make<T, T, T>([](T a, T b) { return T(a | b); });
    if (parts[0] == "xor")
      return make<T, T, T>([](T a, T b) { return T(a ^ b); });
    if (parts[0] == "not")
      return make<T, T>([](T a) {
        if constexpr (std::is_same_v<T, bool>)
          return !a;
        else
          return T(~a);
      });
    return {};
  }

  template <typename T> Step integral() const {
    using U = std::make_unsigned_t<T>;
    constexpr unsigned width = 8 * sizeof(T);
    std::string_view name = parts[0];
    if (Step made = bits<T>())
      return made;
    if (modified({"lo"}) && name == "mul")
      return make<T, T, T>([](T a, T b) { return T(uint64_t(a) * uint64_t(b)); });
    if (modified({"lo"}) && name == "mad")
      return make<T, T, T, T>([](T a, T b, T c) { return T(uint64_t(a) * uint64_t(b) + uint64_t(c)); });
    if (modified({"hi"}) && name == "mul")
      return make<T, T, T>([](T a, T b) { return T((__int128(a) * __int128(b)) >> width); });
    if constexpr (width == 32) {
      using Wide = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
      if (modified({"wide"}) && name == "mul")
        return make<Wide, T, T>([](T a, T b) { return Wide(a) * Wide(b); });
    }
    if (!modified({}))
      return {};
    if (name == "add")
      return make<T, T, T>([](T a, T b) { return T(U(a) + U(b)); });
    if (name == "sub")
      return make<T, T, T>([](T a, T b) { return T(U(a) - U(b)); });
    // Without a result where the program must not divide; the least by -1 overflows.
    if (name == "div")
      return make<T, T, T>([](T a, T b) {
        return !b ? T(-1) : U(b) == U(-1) && std::is_signed_v<T> ? T(-U(a)) : T(a / b);
      });
    if (name == "rem")
      return make<T, T, T>([](T a, T b) { return !b ? a : U(b) == U(-1) && std::is_signed_v<T> ? T(0) : T(a % b); });
    if (name == "min")
      return make<T, T, T>([](T a, T b) { return lesser(a, b); });
    if (name == "max")
      return make<T, T, T>([](T a, T b) { return greater(a, b); });
    if (name == "neg")
      return make<T, T>([](T a) { return T(-U(a)); });
    if (name == "abs")
      return make<T, T>([](T a) { return a < 0 ? T(-U(a)) : a; });
    if (name == "shl")
      return make<T, T, uint32_t>([](T a, uint32_t by) { return by < width ? T(uint64_t(U(a)) << by) : T(0); });
    if (name == "shr")
      return make<T, T, uint32_t>(
          [](T a, uint32_t by) { return by < width ? T(a >> by) : T(std::is_signed_v<T> && a < 0 ? -1 : 0); });
    if constexpr (!std::is_signed_v<T> && width >= 32) {
      if (name == "popc")
        return make<uint32_t, T>([](T a) { return uint32_t(std::popcount(a)); });
      if (name == "clz")
        return make<uint32_t, T>([](T a) { return uint32_t(std::countl_zero(a)); });
      if (name == "bfe")
        return make<T, T, uint32_t, uint32_t>([](T a, uint32_t from, uint32_t count) {
          T field = from < width ? T(a >> from) : T(0);
          return count < width ? T(field & ((T(1) << count) - 1)) : field;
        });
    }
    return {};
  }

  Step convert() const {
    std::string_view to = parts[parts.size() - 2], from = parts.back();
    if (parts.size() < 3 || parts.size() > 4)
      return {};
    std::string_view rounding = parts.size() == 4 ? parts[1] : "";
    if (to == "f16" && from == "f32" && rounding == "rn")
      return make<Half, float>([](float a) { return Half{f32ToF16(a)}; });
    if (to == "bf16" && from == "f32" && rounding == "rn")
      return make<Bfloat, float>([](float a) { return Bfloat{f32ToBf16(a)}; });
    if (to == "f32" && from == "f16" && rounding.empty())
      return make<float, Half>([](Half a) { return f16ToF32(a.bits); });
    Step made;
    withType(to, [&](auto toZero) {
      withType(from, [&](auto fromZero) {
        using To = decltype(toZero);
        using From = decltype(fromZero);
        constexpr bool toReal = std::is_floating_point_v<To>, fromReal = std::is_floating_point_v<From>;
        if constexpr ((toReal || std::is_integral_v<To>) && (fromReal || std::is_integral_v<From>)) {
          if constexpr (!toReal && !fromReal) {
            // A register wider than the type holds it extended.
            if (rounding.empty())
              made =
                  make<std::conditional_t<std::is_signed_v<To>, int64_t, uint64_t>, From>([](From a) { return To(a); });
          } else if constexpr (!toReal) {
            if (rounding == "rzi")
              made = make<To, From>([](From a) { return saturated<To>(a); });
          } else if constexpr (std::is_same_v<To, From>) {
            made = rounding == "rni"   ? make<To, From>([](From a) { return std::nearbyint(a); })
                   : rounding == "rzi" ? make<To, From>([](From a) { return std::trunc(a); })
                   : rounding == "rmi" ? make<To, From>([](From a) { return std::floor(a); })
                   : rounding == "rpi" ? make<To, From>([](From a) { return std::ceil(a); })
                                       : Step();
          } else if ((rounding == "rn") == !(sizeof(To) > sizeof(From) && fromReal)) {
            made = make<To, From>([](From a) { return To(a); });
          }
        }
      });
    });
    return made;
  }

  Step branch() {
    if (parts.size() > 2 || (parts.size() == 2 && parts[1] != "uni"))
      return {};
    wanted.emplace_back(operands[0]);
    return [labels = labels.map, name = wanted.back()](Thread &t) { t.next = labels->at(name); };
  }

  Step access() {
    bool load = parts[0] == "ld";
    if (operands.size() != 2 || parts.size() < 3)
      return {};
    if (parts[1] == "param") {
      std::string prefix = "[" + entry.name + "_param_";
      std::string name(operands[1]);
      auto to = names.find(std::string(operands[0]));
      if (!load || !name.starts_with(prefix) || to == names.end() || !(parts.back() == "u64" || parts.back() == "b64"))
        return {};
      unsigned long index = strtoul(name.c_str() + prefix.size(), nullptr, 10);
      if (index >= entry.parameters)
        return {};
      return [to = to->second, index](Thread &t) { t.registers[to] = t.parameters[index]; };
    }
    if (parts[1] != "global" || (load ? !(modified({"global"}) || modified({"global", "nc"})) : !modified({"global"})))
      return {};
    Step made;
    Read at = address(operands[load ? 1 : 0]), value = operand(operands[load ? 0 : 1]);
    auto to = names.find(std::string(operands[0]));
    if (!at || !value || (load && to == names.end()))
      return {};
    withType(parts.back(), [&](auto zero) {
      constexpr size_t bytes = sizeof zero;
      made = [=, to = load ? to->second : 0](Thread &t) {
        uint64_t address = at(t);
        if (address % bytes || !(*t.mayAccess)(address, bytes)) {
          t.error = "bytes outside of the device's memory, or misaligned";
          return;
        }
        auto *memory = reinterpret_cast<uint8_t *>(uintptr_t(address));
        if (load) {
          t.registers[to] = 0;
          memcpy(&t.registers[to], memory, bytes);
        } else {
          uint64_t held = value(t);
          memcpy(memory, &held, bytes);
        }
      };
    });
    return made;
  }

  Entry &entry;
  std::map<std::string, unsigned> names;
  /// Shared with the branches that go there.
  struct Labels {
    std::shared_ptr<std::map<std::string, size_t>> map = std::make_shared<std::map<std::string, size_t>>();
    std::map<std::string, size_t> *operator->() const { return map.get(); }
    size_t &operator[](const std::string &name) { return (*map)[name]; }
  } labels;
  std::vector<std::string> wanted;
  std::vector<std::string_view> operands, parts;
};

} // namespace

std::unique_ptr<Module> parse(std::string_view text, std::string &error) {
  auto module = std::make_unique<Module>();
  std::unique_ptr<Reader> reader;
  Entry *entry = nullptr;
  unsigned number = 0;
  auto fail = [&](std::string_view line) {
    error = "line " + std::to_string(number) + ": not understood: " + std::string(line);
    return nullptr;
  };
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == text.npos ? "" : text.substr(end + 1);
    ++number;
    line = Reader::trimmed(line.substr(0, line.find("//")));
    if (line.empty() || line == "{" || line == ")" || line.starts_with(".version ") ||
        line.starts_with(".target sm_80") || line.starts_with(".address_size 64"))
      continue;
    if (line == "}") {
      if (!entry || !reader)
        return fail(line);
      if (std::string missing = reader->missingLabel(); !missing.empty())
        return fail(missing);
      reader.reset();
    } else if (constexpr std::string_view start = ".visible .entry "; line.starts_with(start) && line.back() == '(') {
      std::string name(line.substr(start.size(), line.size() - start.size() - 1));
      entry = &(*module)[name];
      entry->name = name;
      reader = std::make_unique<Reader>(*entry);
    } else if (!reader) {
      return fail(line);
    } else if (line.starts_with(".param .u64 ")) {
      ++entry->parameters;
    } else if (line.starts_with(".reg .")) {
      // ".reg .b32 \t%r<12>;"
      size_t percent = line.find('%'), open = line.find('<');
      if (percent == line.npos || open == line.npos)
        return fail(line);
      reader->declare(line.substr(percent + 1, open - percent - 1),
                      unsigned(atoi(std::string(line.substr(open + 1)).c_str())));
    } else if (line.back() == ':') {
      reader->label(line.substr(0, line.size() - 1));
    } else if (line.back() != ';' || !reader->instruction(line.substr(0, line.size() - 1))) {
      return fail(line);
    }
  }
  return module;
}

std::string Entry::run(Dim grid, Dim block, const std::vector<uint64_t> &given,
                       const std::function<bool(uint64_t, size_t)> &mayAccess) const {
  constexpr size_t kMostSteps = 1 << 20;
  Thread t;
  t.parameters = given.data();
  t.mayAccess = &mayAccess;
  t.blockSize = block;
  t.grid = grid;
  for (t.block.y = 0; t.block.y < grid.y; ++t.block.y)
    for (t.block.x = 0; t.block.x < grid.x; ++t.block.x)
      for (t.thread.y = 0; t.thread.y < block.y; ++t.thread.y)
        for (t.thread.x = 0; t.thread.x < block.x; ++t.thread.x) {
          // What is read before it is written is nothing that works by chance.
          t.registers.assign(registerCount, 0xdeadbeefdeadbeef);
          t.next = 0;
          for (size_t steps = 0; t.next < code.size(); ++steps) {
            code[t.next++](t);
            if (!t.error.empty())
              return name + ": " + t.error;
            if (steps > kMostSteps)
              return name + ": does not end";
          }
        }
  return "";
}

} // namespace mlc::cuda::ptx
