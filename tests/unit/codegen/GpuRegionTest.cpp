//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Regions for a GPU: their PTX, interpreted, against the CPU's code, bit for bit (every NaN is one). Functions one by
// one on extremes and drawn values, drawn regions of several ops, every remainder of rows and columns.
//
#include "compiler/Codegen/GpuRegion.h"
#include "targets/cuda/tests/PtxInterpreter.h"
#include "tests/unit/codegen/RegionTestSupport.h"

#include <cmath>
#include <gmock/gmock.h>
#include <random>

namespace mlc {
namespace {

using testing::HasSubstr;
namespace ptx = cuda::ptx;

/// A level with FMA that this machine runs, or null.
const char *fusedLevel() {
  for (const char *isa : runnableLevels())
    if (std::string_view(isa) != "x86-64-v2")
      return isa;
  return nullptr;
}

/// Regions in one image, ready to run.
class GpuCode {
public:
  explicit GpuCode(const std::vector<std::string> &sources) {
    std::vector<std::string> names;
    for (size_t i = 0; i < sources.size(); ++i)
      names.push_back("region_" + std::to_string(i));
    std::vector<GpuRegion> regions;
    for (size_t i = 0; i < sources.size(); ++i)
      regions.push_back({names[i], sources[i]});
    auto made = compileGpuRegions(regions);
    if (!made) {
      ADD_FAILURE() << llvm::toString(made.takeError());
      return;
    }
    text = *made;
    std::string error;
    module = ptx::parse(text, error);
    EXPECT_TRUE(module) << error;
  }

  /// As the runtime launches it, with blocks of `width` x `height`; `memory` is all that may be accessed.
  void run(size_t region, const std::vector<void *> &buffers, const std::vector<int64_t> &dims, int64_t rows,
           std::vector<std::pair<const void *, size_t>> memory, unsigned width = 32, unsigned height = 8) {
    ASSERT_TRUE(module);
    std::vector<uint64_t> parameters;
    for (void *buffer : buffers)
      parameters.push_back(uint64_t(uintptr_t(buffer)));
    for (int64_t dim : dims)
      parameters.push_back(uint64_t(dim));
    parameters.push_back(uint64_t(rows));
    const ptx::Entry &entry = module->at("region_" + std::to_string(region));
    ASSERT_EQ(entry.parameters, parameters.size());
    auto mayAccess = [&](uint64_t at, size_t bytes) {
      for (auto [start, size] : memory)
        if (at >= uint64_t(uintptr_t(start)) && at + bytes <= uint64_t(uintptr_t(start)) + size)
          return true;
      return false;
    };
    ptx::Dim grid{unsigned((dims[0] + width - 1) / width), unsigned((rows + height - 1) / height)};
    EXPECT_EQ(entry.run(grid, {width, height}, parameters, mayAccess), "");
  }

  std::string text;

private:
  std::unique_ptr<ptx::Module> module;
};

/// Floats of every kind: extremes, then values of all exponents, then ordinary ones.
std::vector<float> drawnFloats(size_t count, unsigned seed) {
  std::vector<float> values = {0.f,        -0.f,      1.f,         -1.f,       0.5f,    -0.5f,   1.5f,
                               2.5f,       1e-45f,    -1e-45f,     1.17e-38f,  -1e-39f, 3.4e38f, -3.4e38f,
                               8388607.5f, 8388608.f, -87.3f,      -87.6f,     88.7f,   88.9f,   0.49999997f,
                               16777216.f, INFINITY,  -INFINITY,   NAN,        10.f,    -10.f,   3.1415927f,
                               1.5707964f, 1e10f,     -4194304.5f, 0.99999994f};
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> ordinary(-20, 20);
  while (values.size() < count) {
    uint32_t bits = uint32_t(random());
    float any;
    memcpy(&any, &bits, sizeof any);
    values.push_back(values.size() % 3 == 0 ? any : ordinary(random));
  }
  return values;
}

bool sameBits(float a, float b) { return (std::isnan(a) && std::isnan(b)) || !memcmp(&a, &b, sizeof a); }

/// Runs both forms of every source on the same values of two inputs.
void expectSame(const std::vector<std::string> &sources, const std::vector<std::string> &labels, unsigned inputs,
                size_t count) {
  const char *isa = fusedLevel();
  if (!isa)
    GTEST_SKIP() << "this machine has no FMA";
  GpuCode gpu(sources);
  ASSERT_FALSE(gpu.text.empty());
  std::vector<float> a = drawnFloats(count, 1), b = drawnFloats(count, 2);
  std::shuffle(b.begin(), b.end(), std::mt19937(3));
  for (size_t i = 0; i < sources.size(); ++i) {
    std::vector<float> host(count), device(count);
    Mapped code(compiled(sources[i], isa));
    auto columns = int64_t(count);
    std::vector<int64_t> dims(2 + inputs, columns);
    auto buffers = [&](std::vector<float> &out) {
      std::vector<void *> list{a.data()};
      if (inputs == 2)
        list.push_back(b.data());
      list.push_back(out.data());
      return list;
    };
    ASSERT_EQ(code(buffers(host).data(), dims.data(), 0, 1), 0);
    size_t bytes = count * sizeof(float);
    gpu.run(i, buffers(device), dims, 1, {{a.data(), bytes}, {b.data(), bytes}, {device.data(), bytes}}, 256, 1);
    for (size_t k = 0; k < count; ++k)
      ASSERT_TRUE(sameBits(host[k], device[k]))
          << labels[i] << " of " << a[k] << (inputs == 2 ? " and " + std::to_string(b[k]) : "") << ": " << host[k]
          << " on the CPU, " << device[k] << " of the PTX";
  }
}

constexpr const char *kUnary[] = {"exp",   "exp2",  "expm1", "log",       "log2", "log10", "log1p", "tanh",
                                  "erf",   "sin",   "cos",   "tan",       "atan", "sinh",  "cosh",  "asinh",
                                  "acosh", "atanh", "sqrt",  "rsqrt",     "cbrt", "asin",  "acos",  "absf",
                                  "floor", "ceil",  "round", "roundeven", "trunc"};
constexpr const char *kBinary[] = {"arith.addf",     "arith.subf",     "arith.mulf",    "arith.divf",
                                   "arith.maximumf", "arith.minimumf", "arith.maxnumf", "arith.minnumf",
                                   "arith.remf",     "math.atan2",     "math.copysign", "math.powf"};

TEST(GpuRegion, EveryFunctionHasTheCpusBits) {
  std::vector<std::string> sources, labels;
  for (const char *op : kUnary) {
    sources.push_back(source("    %r = math." + std::string(op) + " %a : f32"));
    labels.push_back(op);
  }
  sources.push_back(source("    %r = arith.negf %a : f32"));
  labels.push_back("negf");
  expectSame(sources, labels, 1, 3001);
}

TEST(GpuRegion, EveryFunctionOfTwoHasTheCpusBits) {
  std::vector<std::string> sources, labels;
  for (const char *op : kBinary) {
    sources.push_back(source("    %r = " + std::string(op) + " %a, %b : f32", 2));
    labels.push_back(op);
  }
  for (const char *predicate :
       {"oeq", "ogt", "oge", "olt", "ole", "one", "ord", "ueq", "ugt", "uge", "ult", "ule", "une", "uno"}) {
    sources.push_back(source(
        "    %p = arith.cmpf " + std::string(predicate) + ", %a, %b : f32\n    %r = arith.select %p, %a, %b : f32", 2));
    labels.push_back(predicate);
  }
  sources.push_back(source("    %r = math.fma %a, %b, %a : f32", 2));
  labels.push_back("fma");
  expectSame(sources, labels, 2, 3001);
}

// Inside, values may have any type; what goes to an integer fits there.
TEST(GpuRegion, EveryTypeInsideHasTheCpusBits) {
  std::vector<std::string> sources, labels;
  auto add = [&](const std::string &label, const std::string &body) {
    sources.push_back(source(body));
    labels.push_back(label);
  };
  const char *wide[] = {"exp", "log",   "sqrt", "sin",   "cos",   "tan",       "atan",  "tanh",  "sinh", "cosh",
                        "erf", "floor", "ceil", "trunc", "round", "roundeven", "log1p", "expm1", "absf"};
  for (const char *op : wide)
    add("f64 " + std::string(op), "    %0 = arith.extf %a : f32 to f64\n    %1 = math." + std::string(op) +
                                      " %0 : f64\n    %r = arith.truncf %1 : f64 to f32");
  // Of bf16 the CPU's levels have no conversion.
  for (const char *type : {"f16"})
    for (const char *op : {"arith.addf", "arith.subf", "arith.mulf", "arith.divf"}) {
      std::string t = type;
      add(t + " " + op, "    %h = arith.constant 3.0 : " + t + "\n    %0 = arith.truncf %a : f32 to " + t +
                            "\n    %1 = " + op + " %0, %h : " + t + "\n    %r = arith.extf %1 : " + t + " to f32");
    }
  // |x| up to 100.
  const std::string tamed = "    %l = arith.constant 100.0 : f32\n    %m = arith.constant -100.0 : f32\n"
                            "    %c = arith.minnumf %a, %l : f32\n    %d = arith.maxnumf %c, %m : f32\n"
                            "    %z = arith.constant 0.0 : f32\n    %o = arith.cmpf ord, %d, %d : f32\n"
                            "    %x = arith.select %o, %d, %z : f32\n";
  for (const char *type : {"i8", "i16", "i32", "i64"}) {
    std::string t = type,
                head = tamed + "    %i = arith.fptosi %x : f32 to " + t + "\n    %k = arith.constant 3 : " + t + "\n",
                end = "    %r = arith.sitofp %j : " + t + " to f32";
    for (const char *op : {"addi", "subi", "muli", "divsi", "remsi", "andi", "ori", "xori", "shli", "shrsi", "shrui",
                           "divui", "remui", "maxsi", "minsi", "maxui", "minui"})
      add(t + " " + op, head + "    %j = arith." + op + " %i, %k : " + t + "\n" + end);
    for (const char *op : {"ctlz", "cttz", "ctpop", "absi"})
      add(t + " " + op, head + "    %j = math." + std::string(op) + " %i : " + t + "\n" + end);
    for (const char *predicate : {"eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge"})
      add(t + " " + predicate, head + "    %p = arith.cmpi " + predicate + ", %i, %k : " + t +
                                   "\n    %j = arith.select %p, %k, %i : " + t + "\n" + end);
    add(t + " unsigned", tamed + "    %y = math.absf %x : f32\n    %i = arith.fptoui %y : f32 to " + t +
                             "\n    %r = arith.uitofp %i : " + t + " to f32");
  }
  expectSame(sources, labels, 1, 801);
}

/// A body of `ops` drawn ops on %a and %b.
std::string drawnBody(std::mt19937 &random, unsigned ops) {
  std::string body;
  std::vector<std::string> values = {"%a", "%b"};
  auto pick = [&] { return values[random() % values.size()]; };
  for (unsigned i = 0; i < ops; ++i) {
    std::string name = i + 1 == ops ? "%r" : "%v" + std::to_string(i), x = pick(), y = pick(), line;
    switch (random() % 5) {
    case 0:
    case 1:
      line = name + " = math." + kUnary[random() % std::size(kUnary)] + " " + x + " : f32";
      break;
    case 2:
    case 3:
      line = name + " = " + kBinary[random() % std::size(kBinary)] + " " + x + ", " + y + " : f32";
      break;
    default:
      line = "%p" + std::to_string(i) + " = arith.cmpf olt, " + x + ", " + y + " : f32\n    " + name +
             " = arith.select %p" + std::to_string(i) + ", " + y + ", " + pick() + " : f32";
    }
    body += "    " + line + "\n";
    values.push_back(name);
  }
  return body;
}

TEST(GpuRegion, DrawnRegionsHaveTheCpusBits) {
  std::mt19937 random(11);
  std::vector<std::string> sources, labels;
  for (unsigned i = 0; i < 40; ++i) {
    std::string body = drawnBody(random, 2 + i % 9);
    sources.push_back(source(body, 2));
    labels.push_back("region " + std::to_string(i) + "\n" + body);
  }
  expectSame(sources, labels, 2, 601);
}

TEST(GpuRegion, EveryRemainderOfRowsAndColumns) {
  GpuCode gpu({source("    %0 = arith.mulf %a, %b : f32\n    %1 = math.absf %0 : f32\n"
                      "    %2 = math.sqrt %1 : f32\n    %r = arith.subf %2, %b : f32",
                      2)});
  constexpr float kUntouched = 12345;
  std::mt19937 random(1);
  std::uniform_real_distribution<float> draw(-4, 4);
  for (auto [width, height] : {std::pair(256u, 1u), {64u, 4u}, {8u, 32u}, {1u, 256u}})
    for (int64_t columns : {1, 2, 7, 8, 9, 63, 64, 65, 255, 256, 257, 300})
      for (int64_t rows : {1, 2, 3, 4, 5, 31, 32, 33}) {
        const std::vector<int64_t> dims = {columns, columns + 13, columns, columns + 1};
        std::vector<float> a(size_t(rows * dims[1])), b(size_t(rows * dims[2])),
            out(size_t(rows * dims[3]), kUntouched);
        for (float &value : a)
          value = draw(random);
        for (float &value : b)
          value = draw(random);
        gpu.run(0, {a.data(), b.data(), out.data()}, dims, rows,
                {{a.data(), a.size() * 4}, {b.data(), b.size() * 4}, {out.data(), out.size() * 4}}, width, height);
        for (int64_t i = 0; i < int64_t(out.size()); ++i) {
          int64_t row = i / dims[3], column = i % dims[3];
          float expected = kUntouched;
          if (column < columns) {
            float x = a[size_t(row * dims[1] + column)], y = b[size_t(row * dims[2] + column)];
            expected = std::sqrt(std::fabs(x * y)) - y;
          }
          ASSERT_EQ(out[size_t(i)], expected) << rows << "x" << columns << " at " << i;
        }
      }
}

// Nothing that rounds otherwise, calls or spills; one entry a region; the same bytes each time.
TEST(GpuRegion, TextIsExactAndTheSameEachTime) {
  std::vector<std::string> sources;
  for (const char *op : kUnary)
    sources.push_back(source("    %r = math." + std::string(op) + " %a : f32"));
  GpuCode gpu(sources);
  EXPECT_EQ(gpu.text, GpuCode(sources).text);
  for (const char *never : {".approx", ".ftz", ".full", "call", ".local", ".extern", "libdevice", " fma.f", "mad.f",
                            "div.f", "\tadd.f", "\tmul.f", "\tsub.f"})
    EXPECT_EQ(gpu.text.find(never), std::string::npos) << never;
  EXPECT_THAT(gpu.text, HasSubstr(".target sm_80"));
  size_t entries = 0;
  for (size_t at = 0; (at = gpu.text.find(".entry region_", at)) != std::string::npos; ++at)
    ++entries;
  EXPECT_EQ(entries, sources.size());
}

TEST(GpuRegion, RefusesByName) {
  auto refused = [](const std::string &text) {
    const GpuRegion region{"region_7", text};
    auto made = compileGpuRegions(region);
    if (made)
      return std::string("compiled");
    std::string reason = llvm::toString(made.takeError());
    EXPECT_EQ(reason.find('\n'), std::string::npos) << reason;
    return reason;
  };
  EXPECT_THAT(refused(source("    %0 = arith.extf %a : f32 to f64\n    %1 = math.cbrt %0 : f64\n"
                             "    %r = arith.truncf %1 : f64 to f32")),
              HasSubstr("math.cbrt"));
  EXPECT_THAT(refused(source("    %0 = arith.fptosi %a : f32 to i128\n    %1 = arith.sitofp %0 : i128 to f32\n"
                             "    %r = arith.addf %1, %1 : f32")),
              HasSubstr("region_7: a region cannot be compiled: integers of more than 64 bits"));
  EXPECT_THAT(refused("func.func @f() { return }"), HasSubstr("region_7: a region without a linalg.generic"));
  EXPECT_THAT(refused("nonsense"), HasSubstr("cannot be compiled"));
}

// The interpreter reads what it knows, and nothing else.
TEST(GpuRegion, TheInterpreterRefusesWhatItDoesNotKnow) {
  std::string text = GpuCode({source("    %r = arith.divf %a, %a : f32\n")}).text, error;
  size_t at = text.find("div.rn.f32");
  ASSERT_NE(at, std::string::npos) << text;
  for (const char *other :
       {"div.approx.f32", "div.full.f32", "div.rn.ftz.f32", "div.f32", "divide.rn.f32", "add.f32"}) {
    std::string changed = text;
    changed.replace(at, strlen("div.rn.f32"), other);
    EXPECT_FALSE(ptx::parse(changed, error)) << other;
    EXPECT_THAT(error, HasSubstr(other));
  }
}

TEST(Ptxas, IsFoundByName) {
  EXPECT_EQ(cantFail(findPtxas("none")), "");
  auto none = findPtxas("/nowhere/ptxas");
  ASSERT_FALSE(bool(none));
  EXPECT_EQ(llvm::toString(none.takeError()), "--ptxas /nowhere/ptxas: no such program");
  std::string ptxas = cantFail(findPtxas(""));
  if (ptxas.empty())
    GTEST_SKIP() << "there is no ptxas";
  GpuCode gpu({source("    %r = math.exp %a : f32")});
  for (const char *arch : {"sm_80", "sm_90a"}) {
    std::vector<uint8_t> code = cantFail(assemblePtx(ptxas, gpu.text, arch));
    EXPECT_EQ(memcmp(code.data(), "\177ELF", 4), 0);
    EXPECT_EQ(code, cantFail(assemblePtx(ptxas, gpu.text, arch)));
  }
  auto wrong = assemblePtx(ptxas, "nonsense", "sm_80");
  ASSERT_FALSE(bool(wrong));
  std::string reason = llvm::toString(wrong.takeError());
  EXPECT_THAT(reason, testing::MatchesRegex(".*ptxas for sm_80: .*; --ptxas none leaves it to the driver"));
  EXPECT_EQ(reason.find('\n'), std::string::npos);
}

} // namespace
} // namespace mlc
