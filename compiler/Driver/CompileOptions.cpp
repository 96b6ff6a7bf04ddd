//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Driver/CompileOptions.h"
#include "compiler/Codegen/CpuNames.h"
#include "compiler/Codegen/GpuRegion.h"
#include "runtime/artifact/Machine.h"
#include "runtime/exec/Kernel.h"
#include "targets/cuda/Functions.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlc;
using namespace mlc::cli;

namespace {

/// What the option table writes to before it is checked.
struct Raw {
  const char *output = nullptr, *weights = nullptr, *tokenizer = nullptr, *target = "cpu", *triple = nullptr,
             *cpu = nullptr, *gpu = nullptr, *quant = "keep", *head = "", *math = "", *activations = "", *kv = "",
             *ssm = "f32", *rope = "", *code = "auto", *kernels = "auto", *xnnpack = MLC_XNNPACK_YEAR,
             *emit = "artifact", *report = "", *calibrate = nullptr, *ptxas = nullptr;
  TextList dims, states;
  uint64_t group = 128, context = 0, batch = 512, sequences = 8, threads = 0, checkpointEvery = 0, ranks = 1;
  bool asymmetric = false, strict = false;
};

bool oneOf(llvm::StringRef value, llvm::ArrayRef<llvm::StringRef> choices) {
  return llvm::is_contained(choices, value);
}

/// An option given several times is as one with commas.
std::string joined(const TextList &list) {
  std::string text;
  for (const char *item : list.span())
    (text += text.empty() ? "" : ",") += item;
  return text;
}

/// A usage error in one line.
Parsed usage(const char *option, const char *value, const char *choices) {
  printError("--%s %s: choose %s", option, value, choices);
  return {true, 2};
}

/// "a, b or c" of the names of --cpu.
std::string cpuChoices(const TargetTriple &target) {
  std::string text = "native";
  for (const CpuName &cpu : target.names)
    text += (", " + cpu.name).str();
  return text + " (with commas: several)";
}

/// This machine's level and features.
std::vector<std::string> nativeNames(const TargetTriple &target) {
  std::vector<std::string> names;
  for (const CpuName &cpu : target.names)
    if (cpu.isLevel() ? cpu.name == machineLevel() : machineHas(cpu.name))
      names.push_back(cpu.name.str());
  return names;
}

/// Of a GPU: nothing is the host's code, so every 64-bit host runs the same artifact.
Parsed checkCuda(const Raw &raw, CompileOptions &options) {
  auto refuse = [](const char *text) {
    printError("%s", text);
    return Parsed{true, 2};
  };
  if (raw.triple && llvm::StringRef(raw.triple) != "x86_64-linux-gnu" &&
      llvm::StringRef(raw.triple) != "aarch64-linux-gnu")
    return usage("triple", raw.triple, "x86_64-linux-gnu or aarch64-linux-gnu with --target cuda");
  if (raw.cpu)
    return refuse("--cpu: goes with --target cpu; --gpu chooses devices");
  if (llvm::StringRef(raw.activations) == "int8" && raw.asymmetric)
    return refuse("--activations int8: not with --asymmetric on a GPU; leave one out");
  if (llvm::StringRef(raw.kv) == "int8")
    return refuse("--kv int8: not with --target cuda; choose f32, f16 or bf16");
  llvm::SmallVector<llvm::StringRef> names;
  llvm::StringRef(raw.gpu ? raw.gpu : "").split(names, ',', -1, /*KeepEmpty=*/false);
  for (llvm::StringRef name : names) {
    if (!cuda::parseArch(std::string_view(name)).number)
      return usage("gpu", raw.gpu, "sm_80, sm_86, sm_87, sm_89, sm_90a or compute_80 (with commas: several)");
    options.gpus.push_back(name.str());
  }
  options.pipeline.device = true;
  options.pipeline.triple = kGpuTriple.str();
  options.isaFamily = kCudaFamily;
  return {};
}

Parsed checkTriple(const Raw &raw, CompileOptions &options) {
  std::string text = raw.triple ? raw.triple : kMachineTriple;
  const TargetTriple *target = findTargetTriple(text);
  if (!target)
    return usage("triple", text.c_str(), targetTripleNames().str().c_str());
  options.pipeline.triple = target->triple.str();
  options.isaFamily = target->family.str();
  if (!raw.cpu) {
    for (const CpuName &cpu : target->names) {
      options.cpuNames.push_back(cpu.name.str());
      if (cpu.isLevel())
        options.pipeline.cpus.push_back(cpu.name.str());
    }
    return {};
  }
  if (llvm::StringRef(raw.cpu) == "native") {
    if (target->triple != kMachineTriple) {
      printError("--cpu native: this machine is %s, not %s; name what the device has: %s", kMachineTriple,
                 target->triple.data(), cpuChoices(*target).c_str());
      return {true, 2};
    }
    options.cpuNames = nativeNames(*target);
  } else {
    llvm::SmallVector<llvm::StringRef> names;
    llvm::StringRef(raw.cpu).split(names, ',');
    for (llvm::StringRef name : names)
      options.cpuNames.push_back(name.str());
  }
  for (const std::string &name : options.cpuNames) {
    const CpuName *known = llvm::find_if(target->names, [&](const CpuName &cpu) { return cpu.name == name; });
    if (known == target->names.end())
      return usage("cpu", raw.cpu, cpuChoices(*target).c_str());
    // Of this machine the level alone: those that its features bring have nothing more.
    bool native = llvm::StringRef(raw.cpu) == "native";
    if ((!native || known->isLevel()) && !llvm::is_contained(options.pipeline.cpus, known->level))
      options.pipeline.cpus.push_back(known->level.str());
  }
  if (!options.pipeline.cpus.empty())
    return {};
  printError("--cpu native: this machine is below %s; build what it runs from the runtime alone with --code none",
             target->names.front().name.data());
  return {true, 2};
}

} // namespace

Parsed mlc::parseCompileOptions(int argc, char **argv, CompileOptions &options) {
  Raw raw;
  const Option table[] = {
      {"o", "OUT", "where the artifact (or the text of --emit) goes", OptionKind::text, &raw.output},
      {"weights", "F", "of graph text: the checkpoint its weights lie in", OptionKind::text, &raw.weights},
      {"tokenizer", "DIR", "of graph text: the directory, GGUF or .model file with the tokenizer", OptionKind::text,
       &raw.tokenizer},
      {"target", "T", "cpu (default) or cuda: an NVIDIA GPU, from sm_80 on", OptionKind::text, &raw.target},
      {"triple", "T", "x86_64-linux-gnu, aarch64-linux-gnu or arm-linux-gnueabihf (default: this machine's)",
       OptionKind::text, &raw.triple},
      {"cpu", "LIST", "levels that compiled code is made for, or native (default: all of the triple)", OptionKind::text,
       &raw.cpu},
      {"gpu", "LIST", "of --target cuda: devices whose kernels it carries, sm_80 or sm_90a say (default: all)",
       OptionKind::text, &raw.gpu},
      {"tensor-parallel", "N",
       "of --target cuda: spread heads, MLPs and experts over 2 to 8 GPUs that run it together (default: 1)",
       OptionKind::count, &raw.ranks, 1, 8},
      {"quant", "Q", "keep (default), none, int8 or int4", OptionKind::text, &raw.quant},
      {"group", "N", "columns of one scale: 32, 64 or 128 (default)", OptionKind::count, &raw.group},
      {"asymmetric", nullptr, "int4 with a zero point a group", OptionKind::flag, &raw.asymmetric},
      {"head", "Q", "int4, int8 or keep for head and embedding (default: int8 when quantizing)", OptionKind::text,
       &raw.head},
      {"calibrate", "F", "text that shows which columns matter to int8 and int4 weights", OptionKind::text,
       &raw.calibrate},
      {"math", "M", "exact or fast (default: exact for float weights, fast when any are quantized)", OptionKind::text,
       &raw.math},
      {"activations", "T",
       "int8 or bf16: rows that meet quantized weights. CPUs have int8; GPUs bf16 (default), or int8 for prompts and "
       "large batches at some accuracy",
       OptionKind::text, &raw.activations},
      {"kv", "T", "f32, f16, bf16 or int8 (default: f32 with exact, else f16; for GPUs bf16)", OptionKind::text,
       &raw.kv},
      {"ssm", "T", "f32 (default) or bf16: states of Mamba layers", OptionKind::text, &raw.ssm},
      {"checkpoint-every", "N", "keep recurrent states at multiples of N positions, N of 16, to go back to",
       OptionKind::count, &raw.checkpointEvery, 16, 1 << 20},
      {"context", "N", "most positions of a sequence (default: the model's, up to 8192)", OptionKind::count,
       &raw.context, 1, 1 << 24},
      {"batch", "N", "most tokens of a step (default 512)", OptionKind::count, &raw.batch, 1, 1 << 16},
      {"sequences", "N", "most live sequences (default 8)", OptionKind::count, &raw.sequences, 1, 1 << 12},
      {"rope", "R", "yarn:F[,original=N], linear:F or none, in place of the checkpoint's scaling", OptionKind::text,
       &raw.rope},
      {"code", "C",
       "auto (default): compile what no kernel runs; all: every elementwise op of a language model; none: no code",
       OptionKind::text, &raw.code},
      {"ptxas", "F",
       "of --target cuda: what makes machine code of compiled ops (default: ptxas of the build's toolkit or of PATH, "
       "if "
       "any), or none: the driver does",
       OptionKind::text, &raw.ptxas},
      {"kernels", "K",
       "own, xnnpack (every op that XNNPACK can do; needs libmlc-xnnpack.so where it runs) or auto (default: of a "
       "network, those that are measured to be faster)",
       OptionKind::text, &raw.kernels},
      {"xnnpack", "YEAR",
       "of which year its XNNPACK will be: 2022, or 2024 with operators for 8- and 4-bit products "
       "(default: this build's, " MLC_XNNPACK_YEAR ")",
       OptionKind::text, &raw.xnnpack},
      {"dim", "NAME=N",
       "fix a dimension or an input (NAME=[N,...]) of a network, or bound one: NAME<=MAX (more: commas, or once more)",
       OptionKind::texts, &raw.dims},
      {"state", "OUT=IN",
       "of a network: what input IN reads is output OUT of the run before (more: commas, or once more)",
       OptionKind::texts, &raw.states},
      {"emit", "E", "artifact (default), graph, exec, or of compiled code asm or (--target cuda) ptx", OptionKind::text,
       &raw.emit},
      {"report", "F.json", "write which kernel every op got and what runs slower than asked", OptionKind::text,
       &raw.report},
      {"strict", nullptr, "refuse what --report would call slow", OptionKind::flag, &raw.strict},
      {"threads", "N", "threads that pack weights (default: all)", OptionKind::count, &raw.threads, 1, 1024},
      {"tap", nullptr, "", OptionKind::unavailable, nullptr},
      {"mpo-plan", nullptr, "", OptionKind::unavailable, nullptr},
  };
  const Command command{argv[0], "SRC",
                        "Compiles a checkpoint (GGUF file, Hugging Face directory, ONNX file, graph text) to an "
                        "artifact.",
                        table, "models/shakespeare -o shakespeare.mlca --quant int4"};
  const char *source = nullptr;
  if (Parsed parsed = parseOptions(command, argc, argv, source); parsed.leave)
    return parsed;
  if (!oneOf(raw.target, {"cpu", "cuda"}))
    return usage("target", raw.target, "cpu or cuda");
  bool forCuda = llvm::StringRef(raw.target) == "cuda";
  if (raw.gpu && !forCuda) {
    printError("--gpu %s: goes with --target cuda", raw.gpu);
    return {true, 2};
  }
  if (!oneOf(raw.quant, {"keep", "none", "int8", "int4"}))
    return usage("quant", raw.quant, "keep, none, int8 or int4");
  if (raw.group != 32 && raw.group != 64 && raw.group != 128)
    return usage("group", std::to_string(raw.group).c_str(), "32, 64 or 128");
  if (!oneOf(raw.head, {"", "int4", "int8", "keep"}))
    return usage("head", raw.head, "int4, int8 or keep");
  if (!oneOf(raw.math, {"", "exact", "fast"}))
    return usage("math", raw.math, "exact or fast");
  if (!oneOf(raw.activations, {"", "int8", "bf16"}))
    return usage("activations", raw.activations, "int8 or bf16");
  if (*raw.activations && llvm::StringRef(raw.math) == "exact") {
    printError("--activations %s: not with --math exact, whose rows are f32; leave one out", raw.activations);
    return {true, 2};
  }
  if (!forCuda && llvm::StringRef(raw.activations) == "bf16") {
    printError("--activations bf16: goes with --target cuda; a CPU's rows are int8 where they meet quantized weights");
    return {true, 2};
  }
  if (!oneOf(raw.kv, {"", "f32", "f16", "bf16", "int8"}))
    return usage("kv", raw.kv, "f32, f16, bf16 or int8");
  if (!oneOf(raw.ssm, {"f32", "bf16"}))
    return usage("ssm", raw.ssm, "f32 or bf16");
  if (raw.checkpointEvery % 16)
    return usage("checkpoint-every", std::to_string(raw.checkpointEvery).c_str(), "a multiple of 16");
  if (!oneOf(raw.code, {"auto", "all", "none"}))
    return usage("code", raw.code, "auto, all or none");
  if (!oneOf(raw.kernels, {"auto", "own", "xnnpack"}))
    return usage("kernels", raw.kernels, "auto, own or xnnpack");
  if (!oneOf(raw.xnnpack, {"2022", "2024"}))
    return usage("xnnpack", raw.xnnpack, "2022 or 2024");
  if (forCuda && llvm::StringRef(raw.kernels) == "xnnpack") {
    printError("--kernels xnnpack: not with --target cuda; leave it out");
    return {true, 2};
  }
  if (raw.ranks > 1 && !forCuda) {
    printError("--tensor-parallel %u: goes with --target cuda", unsigned(raw.ranks));
    return {true, 2};
  }
  if (raw.ranks > 1 && raw.calibrate) {
    printError("--tensor-parallel %u: not with --calibrate, whose columns are those of whole weights; leave one out",
               unsigned(raw.ranks));
    return {true, 2};
  }
  if (raw.ptxas && !forCuda) {
    printError("--ptxas %s: goes with --target cuda", raw.ptxas);
    return {true, 2};
  }
  if (!oneOf(raw.emit, {"artifact", "graph", "exec", forCuda ? "ptx" : "asm"}))
    return usage("emit", raw.emit, forCuda ? "artifact, graph, exec or ptx" : "artifact, graph, exec or asm");
  auto quantizes = [](llvm::StringRef word) { return word == "int4" || word == "int8"; };
  if (raw.calibrate && !quantizes(raw.quant) && !quantizes(raw.head)) {
    printError("--calibrate %s: goes with --quant int4 or int8; nothing is quantized here", raw.calibrate);
    return {true, 2};
  }
  if (!raw.output && llvm::StringRef(raw.emit) == "artifact") {
    printError("needs -o OUT.mlca; see mlc compile --help");
    return {true, 2};
  }
  options.source = {source,
                    raw.weights ? raw.weights : "",
                    raw.tokenizer ? raw.tokenizer : "",
                    raw.rope,
                    joined(raw.dims),
                    joined(raw.states)};
  options.output = raw.output ? raw.output : "-";
  options.emit = raw.emit;
  options.report = raw.report;
  options.math = raw.math;
  options.activations = raw.activations;
  options.kv = raw.kv;
  options.calibrate = raw.calibrate ? raw.calibrate : "";
  options.strict = raw.strict;
  options.threads = unsigned(raw.threads);
  options.pipeline.ranks = int64_t(raw.ranks);
  options.pipeline.quant = raw.quant;
  options.pipeline.head = raw.head;
  options.pipeline.group = int64_t(raw.group);
  options.pipeline.asymmetric = raw.asymmetric;
  options.pipeline.ssm = raw.ssm;
  options.pipeline.checkpointEvery = int64_t(raw.checkpointEvery);
  options.pipeline.context = int64_t(raw.context);
  options.pipeline.batch = int64_t(raw.batch);
  options.pipeline.sequences = int64_t(raw.sequences);
  options.pipeline.code = raw.code;
  options.ptxas = raw.ptxas ? raw.ptxas : "";
  options.pipeline.kernels = raw.kernels;
  llvm::to_integer(raw.xnnpack, options.pipeline.xnnpack);
  return forCuda ? checkCuda(raw, options) : checkTriple(raw, options);
}

std::string mlc::provenance(const CompileOptions &options) {
  const PipelineOptions &pipeline = options.pipeline;
  std::string text = pipeline.device ? "--target cuda" : "--triple " + pipeline.triple;
  if (!options.gpus.empty())
    text += " --gpu " + llvm::join(options.gpus, ",");
  if (pipeline.ranks > 1)
    text += " --tensor-parallel " + std::to_string(pipeline.ranks);
  text += " --quant " + pipeline.quant;
  text += " --group " + std::to_string(pipeline.group);
  if (pipeline.asymmetric)
    text += " --asymmetric";
  if (!pipeline.head.empty())
    text += " --head " + pipeline.head;
  if (!options.calibrate.empty())
    text += " --calibrate xxh3:" + llvm::utohexstr(options.calibrationDigest, /*LowerCase=*/true, /*Width=*/16);
  text += std::string(" --math ") + (pipeline.fast ? "fast" : "exact") + " --kv " + pipeline.kv;
  if (pipeline.device && options.activations == "int8")
    text += " --activations int8";
  if (pipeline.ssm != "f32")
    text += " --ssm " + pipeline.ssm;
  if (pipeline.checkpointEvery)
    text += " --checkpoint-every " + std::to_string(pipeline.checkpointEvery);
  text += " --code " + pipeline.code;
  if (pipeline.kernels != "auto")
    text += " --kernels " + pipeline.kernels;
  if (pipeline.kernels != "own" && pipeline.xnnpack != PipelineOptions().xnnpack)
    text += " --xnnpack " + std::to_string(pipeline.xnnpack);
  return text;
}
