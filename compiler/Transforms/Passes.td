//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The passes over the graph dialect, in the order the compiler runs them (Pipeline.cpp).
//
#ifndef MLC_TRANSFORMS_PASSES
#define MLC_TRANSFORMS_PASSES

include "mlir/Pass/PassBase.td"

def SetBounds : Pass<"graph-set-bounds", "::mlir::ModuleOp"> {
  let summary = "Gives every extent its bound and the model its limits";
  let description = [{
    The artifact's memory is planned for these. `rows`, the rows of logits a step may ask for, is what 64 or the batch
    leave; a context beyond what the model's positions cover is refused, naming --rope.
  }];
  let options = [
    Option<"context", "context", "int64_t", "0", "Most positions of a sequence; 0: min(trained context, 8192)">,
    Option<"batch", "batch", "int64_t", "512", "Most tokens of a step">,
    Option<"sequences", "sequences", "int64_t", "8", "Most live sequences">];
}

def SetStateTypes : Pass<"graph-set-state-types", "::mlir::ModuleOp"> {
  let summary = "Chooses how states are stored, and at which positions recurrent ones stay";
  let description = [{
    conv states are f32. `checkpoint-every` leaves recurrent states at its multiples besides those of the last positions,
    so that a sequence can go back there.
  }];
  let options = [
    Option<"kv", "kv", "std::string", "\"f32\"", "f32, f16, bf16 or int8 (one scale a head and position)">,
    Option<"ssm", "ssm", "std::string", "\"f32\"", "f32 or bf16">,
    Option<"checkpointEvery", "checkpoint-every", "int64_t", "0", "Positions, a multiple of 16; 0: none">];
}

def Quantize : Pass<"graph-quantize", "::mlir::ModuleOp"> {
  let summary = "Decides how the artifact stores every weight";
  let description = [{
    `mode` keep leaves weights as the checkpoint stores them; none does too, and asks for block formats to be stored as
    f32; int8 and int4 quantize every matrix that a linear reads. The output head (the linear that feeds the function's
    result) and embeddings follow `head`: int4, int8 or keep; by default int8 when quantizing. A K that `group` does not
    divide takes the largest of 32, 64, 128 below it that does, else `group` with a padded tail.
  }];
  let options = [
    Option<"mode", "mode", "std::string", "\"keep\"", "keep, none, int8 or int4">,
    Option<"group", "group", "int64_t", "128", "32, 64 or 128 columns a scale">,
    Option<"asymmetric", "asymmetric", "bool", "false", "int4 with a zero point for each group">,
    Option<"head", "head", "std::string", "\"\"", "int4, int8 or keep">];
}

def GatherEarly : Pass<"graph-gather-early", "::mlir::ModuleOp"> {
  let summary = "Takes the wanted rows before the ops that work on each row alone";
  let description = [{
    What follows the last attention is computed for the rows whose logits are wanted, not for the whole prompt. A tap on
    a value that has fewer rows afterwards is recorded as inside its op.
  }];
  let statistics = [Statistic<"moved", "moved", "Ops that a gather moved before">];
}

def ShardTensors : Pass<"graph-shard-tensors", "::mlir::ModuleOp"> {
  let summary = "Spreads products over ranks that run the same plan (--tensor-parallel)";
  let description = [{
    A product whose input comes, through ops that work on columns alone, from products of whole rows (attention's output
    and what gives q, k and v; an MLP's down and its gate and up) is cut there: each rank has some heads or hidden
    columns, the rows of the weights that give them, and the columns of the weight that reads them (arXiv 1909.08053). A
    mixture's experts are cut likewise. What a rank has of y is added up by all_reduce. Shapes become those of one rank,
    which all have, so there is one plan; weights remember their part. Where something does not divide (heads, blocks of
    the checkpoint, a norm over whole rows) the product stays whole on every rank, as do embeddings, the head, routers
    and recurrent layers; a model with nothing to spread is refused. Taps of values that are spread are dropped.
  }];
  let options = [Option<"ranks", "ranks", "int64_t", "2", "GPUs that run the plan together">];
  let statistics = [Statistic<"sharded", "sharded", "Products whose columns are spread">];
}

def QuantizeActivations : Pass<"graph-quantize-activations", "::mlir::ModuleOp"> {
  let summary = "Inserts quantize_rows before products with int8, int4 and block weights (--math fast)";
  let description = [{
    One quantize_rows serves every linear with the same input and groups. Without this pass (--math exact) such products
    take f32 rows and dequantized weights. For a GPU (--activations int8) experts keep the rows that they have.
  }];
  let options = [Option<"experts", "experts", "bool", "true", "Also rows that meet the experts of a mixture">];
}

def RoundAttention : Pass<"graph-round-attention", "::mlir::ModuleOp"> {
  let summary = "Rounds the factors of attention's products to bf16 or int8 (--math fast)";
  let description = [{
    Where keys and values are stored as bf16 or int8: nothing more of them is lost. Queries are rounded as keys are
    stored, probabilities to bf16. Stored as f32 or f16 they keep their precision.
  }];
}

def RoundScan : Pass<"graph-round-scan", "::mlir::ModuleOp"> {
  let summary = "Rounds the factors of the scan's products to bf16 (--math fast)";
  let description = "States keep their dtype: only what is multiplied is rounded, sums are f32.";
}

def RoundProducts : Pass<"graph-round-products", "::mlir::ModuleOp"> {
  let summary = "Products with weights of floats become bf16 products with f32 sums (--math fast)";
  let description = [{
    The weights are stored rounded to bf16, and each linear rounds its input. A weight that an embedding reads too is
    rounded for both. With `integers`, for a GPU, rows that meet weights of integers, experts' too, are rounded; integers
    are bf16 numbers themselves, and their scales are applied to sums.
  }];
  let options = [Option<"integers", "integers", "bool", "false", "Also where weights are integers">];
}

def FuseLinear : Pass<"graph-fuse-linear", "::mlir::ModuleOp"> {
  let summary = "Merges linears of one input into one product over concatenated weights, then splits";
  let description = [{
    q, k, v and gate, up: their rows are computed in one pass over the input. Only weights that will be stored alike
    merge, and only where all or none have a bias.
  }];
  let statistics = [Statistic<"merged", "merged", "Linears merged into a sibling">];
}

def FuseResidual : Pass<"graph-fuse-residual", "::mlir::ModuleOp"> {
  let summary = "Moves a residual addition into the linear before it";
  let statistics = [Statistic<"fused", "fused", "Additions fused">];
}

def FuseGate : Pass<"graph-fuse-gate", "::mlir::ModuleOp"> {
  let summary = "activation(gate) * up becomes gated_activation";
  let statistics = [Statistic<"fused", "fused", "Gates fused">];
}

def FuseLinearGate : Pass<"graph-fuse-linear-gate", "::mlir::ModuleOp"> {
  let summary = "gated_activation of the two halves of a quantized product moves into the linear";
  let description = [{
    The halves must be whole panels of 16 columns. Where quantize_rows alone reads the result, the linear gives quantized
    rows at once: what lies between never reaches memory. With `device`, for a GPU, also of bf16 products; its gates have
    no biases and give rows of f32.
  }];
  let options = [Option<"device", "device", "bool", "false", "As a GPU's kernels have gates">];
  let statistics = [Statistic<"fused", "fused", "Gates fused">];
}

def FuseNorm : Pass<"graph-fuse-norm", "::mlir::ModuleOp"> {
  let summary = "An addition and the rms_norm of its sum become add_rms_norm";
  let statistics = [Statistic<"fused", "fused", "Norms fused">];
}

def OutlineElementwise : Pass<"graph-outline-elementwise", "::mlir::ModuleOp"> {
  let summary = "Gathers elementwise ops without a kernel into regions that are compiled (--code auto)";
  let description = [{
    Connected elementwise arith and math ops of one block and one shape, [rows, columns] or [columns], become one
    linalg.generic with the attribute mlc.region; splat constants (arith.constant, linalg.fill, tensor.splat) become
    constants of its body. Ops that kernels run (activations, binary arithmetic) join only a region that holds an op
    which none runs, or with `all`. A region reads and writes f32 alone.
  }];
  let options = [Option<"all", "all", "bool", "false", "Compile what kernels run, too">];
  let statistics = [Statistic<"regions", "regions", "Regions made">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect"];
}

def VerifyReady : Pass<"graph-verify-ready", "::mlir::ModuleOp"> {
  let summary = "The gate before GraphToExec: bounds set, states typed, every op one that GraphToExec lowers";
}

#endif // MLC_TRANSFORMS_PASSES
