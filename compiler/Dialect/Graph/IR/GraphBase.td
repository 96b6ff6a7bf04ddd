//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The graph dialect: its rationale, types and attributes.
//
#ifndef MLC_DIALECT_GRAPH_IR_GRAPHBASE
#define MLC_DIALECT_GRAPH_IR_GRAPHBASE

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

def Graph_Dialect : Dialect {
  let name = "graph";
  let cppNamespace = "::mlc::graph";
  let summary = "Models as their families describe them: tensors with value semantics.";
  let description = [{
    What an importer writes and what every transform works on. Ops are the model families' own (`linear`, `attention`,
    `rope`, ...); everything generic is arith, math, tensor, linalg, scf and func.

    ```
    checkpoint --Import--> graph --Transforms--> graph (fused, quantized, bounded) --GraphToExec--> exec --> artifact
    ```

    A module holds one `graph.model`, the `graph.extent`s its dynamic dimensions follow, one `graph.weight` for each
    tensor of the checkpoint that it uses, one `graph.state` for everything that a sequence remembers, and functions.
    A language model has a function `@step(%batch: !graph.batch, %tokens: tensor<?xi32>, %rows: tensor<?xi32>) ->
    tensor<?xVxf32>`: one ragged batch in, the logits of the wanted rows out.
    A network (ONNX) has a `graph.network` in place of the model, and functions of tensors: `graph.name` on an argument or
    result is what a caller calls it, `graph.unsigned` says that its integers are unsigned.

    * Weights are never constants in the IR. `graph.weight @name` points into the checkpoint and states how the values
      are stored there; after `graph-quantize` also how they will be stored in the artifact.
    * A dynamic dimension follows a named extent: function arguments say so with `graph.dims = ["tokens"]`, and
      `graph-set-bounds` gives every extent its bound. No other dynamic dimension exists.
    * `graph.tap = "blocks.0.hook_resid_mid"` on an op names its first result as TransformerLens does. A fusion that
      removes the value moves the name into `graph.inner_taps` of the op that swallowed it.
    * Every rounding that the artifact will make is an op or an attribute here once the transforms have run, so that
      the reference interpreter is the oracle of quantized models too.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let hasRegionArgAttrVerify = 1;
  let hasRegionResultAttrVerify = 1;
}

class Graph_Type<string name, string typeMnemonic> : TypeDef<Graph_Dialect, name> { let mnemonic = typeMnemonic; }
class Graph_Attr<string name, string attrMnemonic> : AttrDef<Graph_Dialect, name> { let mnemonic = attrMnemonic; }

def Graph_BatchType : Graph_Type<"Batch", "batch"> {
  let summary = "The ragged batch of a step: segments (sequence, first position, length).";
}

def Graph_QuantizedType : Graph_Type<"Quantized", "quantized"> {
  let summary = "Rows of int8 with one f32 scale for every `group` columns: what quantize_rows gives.";
  let description = "`sums`: columns of the sums that integer products need beside them; 0: the group.";
  let parameters = (ins "int64_t":$columns, "int64_t":$group, DefaultValuedParameter<"int64_t", "0">:$sums);
  let assemblyFormat = "`<` `?` `,` $columns `,` `group` `=` $group (`,` `sums` `=` $sums^)? `>`";
}

def Graph_Storage : I32EnumAttr<"Storage", "How a checkpoint stores a tensor", [
  I32EnumAttrCase<"F32", 0, "f32">, I32EnumAttrCase<"F16", 1, "f16">, I32EnumAttrCase<"BF16", 2, "bf16">,
  I32EnumAttrCase<"I8", 16, "i8">, I32EnumAttrCase<"I16", 17, "i16">, I32EnumAttrCase<"I32", 18, "i32">,
  I32EnumAttrCase<"I64", 19, "i64">, I32EnumAttrCase<"F64", 20, "f64">, I32EnumAttrCase<"I1", 21, "i1">,
  I32EnumAttrCase<"Q4_0", 32, "q4_0">, I32EnumAttrCase<"Q4_1", 33, "q4_1">, I32EnumAttrCase<"Q5_0", 34, "q5_0">,
  I32EnumAttrCase<"Q5_1", 35, "q5_1">, I32EnumAttrCase<"Q8_0", 36, "q8_0">, I32EnumAttrCase<"Q2_K", 37, "q2_k">,
  I32EnumAttrCase<"Q3_K", 38, "q3_k">, I32EnumAttrCase<"Q4_K", 39, "q4_k">, I32EnumAttrCase<"Q5_K", 40, "q5_k">,
  I32EnumAttrCase<"Q6_K", 41, "q6_k">]> {
  let cppNamespace = "::mlc::graph";
  let genSpecializedAttr = 0;
}
def Graph_StorageAttr : EnumAttr<Graph_Dialect, Graph_Storage, "storage">;

def Graph_StateKind : I32EnumAttr<"StateKind", "What a state holds", [
  I32EnumAttrCase<"kv", 0>, I32EnumAttrCase<"cross", 1>, I32EnumAttrCase<"conv", 2>, I32EnumAttrCase<"ssm", 3>,
  I32EnumAttrCase<"membrane", 4>, I32EnumAttrCase<"trace", 5>, I32EnumAttrCase<"param", 6>,
  I32EnumAttrCase<"audio", 7>]> {
  let cppNamespace = "::mlc::graph";
  let genSpecializedAttr = 0;
}
def Graph_StateKindAttr : EnumAttr<Graph_Dialect, Graph_StateKind, "state_kind">;

def Graph_StateScope : I32EnumAttr<"StateScope", "Who owns a state", [
  I32EnumAttrCase<"sequence", 0>, I32EnumAttrCase<"stream", 1>, I32EnumAttrCase<"model", 2>]> {
  let cppNamespace = "::mlc::graph";
  let genSpecializedAttr = 0;
}
def Graph_StateScopeAttr : EnumAttr<Graph_Dialect, Graph_StateScope, "state_scope">;

def Graph_Activation : I32EnumAttr<"Activation", "Elementwise nonlinearity", [
  I32EnumAttrCase<"silu", 1>, I32EnumAttrCase<"gelu_tanh", 2>, I32EnumAttrCase<"gelu_erf", 3>,
  I32EnumAttrCase<"relu", 4>, I32EnumAttrCase<"relu2", 5>, I32EnumAttrCase<"tanh", 6>,
  I32EnumAttrCase<"sigmoid", 7>]> {
  let cppNamespace = "::mlc::graph";
  let genSpecializedAttr = 0;
}
def Graph_ActivationAttr : EnumAttr<Graph_Dialect, Graph_Activation, "activation">;

def Graph_RopeScaling : I32EnumAttr<"RopeScaling", "How rotary frequencies are stretched", [
  I32EnumAttrCase<"none", 0, "default">, I32EnumAttrCase<"linear", 1>, I32EnumAttrCase<"dynamic", 2>,
  I32EnumAttrCase<"yarn", 3>, I32EnumAttrCase<"longrope", 4>, I32EnumAttrCase<"llama3", 5>]> {
  let cppNamespace = "::mlc::graph";
  let genSpecializedAttr = 0;
}
def Graph_RopeScalingAttr : EnumAttr<Graph_Dialect, Graph_RopeScaling, "rope_scaling">;

def Graph_Products : I32EnumAttr<"Products", "What the factors of products are rounded to", [
  I32EnumAttrCase<"f32", 0>, I32EnumAttrCase<"bf16", 1>, I32EnumAttrCase<"i8", 2>]> {
  let cppNamespace = "::mlc::graph";
  let genSpecializedAttr = 0;
}
def Graph_ProductsAttr : EnumAttr<Graph_Dialect, Graph_Products, "products">;

def Graph_RouterForm : I32EnumAttr<"RouterForm", "How router logits become the weights of the chosen experts", [
  I32EnumAttrCase<"softmax_topk", 0>, I32EnumAttrCase<"topk_softmax", 1>, I32EnumAttrCase<"sigmoid", 2>]> {
  let cppNamespace = "::mlc::graph";
  let genSpecializedAttr = 0;
}
def Graph_RouterFormAttr : EnumAttr<Graph_Dialect, Graph_RouterForm, "router_form">;

def Graph_PoolKind : I32EnumAttr<"PoolKind", "What a window of a pooling gives", [
  I32EnumAttrCase<"max", 0>, I32EnumAttrCase<"average", 1>, I32EnumAttrCase<"average_padded", 2>,
  I32EnumAttrCase<"lp", 3>]> {
  let cppNamespace = "::mlc::graph";
  let genSpecializedAttr = 0;
}
def Graph_PoolKindAttr : EnumAttr<Graph_Dialect, Graph_PoolKind, "pool_kind">;

def Graph_ResizeCoordinates : I32EnumAttr<"ResizeCoordinates", "Where a place of a resized axis lies in the axis before", [
  I32EnumAttrCase<"half_pixel", 0>, I32EnumAttrCase<"align_corners", 1>, I32EnumAttrCase<"asymmetric", 2>]> {
  let cppNamespace = "::mlc::graph";
  let genSpecializedAttr = 0;
}
def Graph_ResizeCoordinatesAttr : EnumAttr<Graph_Dialect, Graph_ResizeCoordinates, "resize_coordinates">;

def Graph_ScatterKind : I32EnumAttr<"ScatterKind", "What an update does to the value that is there", [
  I32EnumAttrCase<"replace", 0>, I32EnumAttrCase<"add", 1>, I32EnumAttrCase<"multiply", 2>,
  I32EnumAttrCase<"max", 3>, I32EnumAttrCase<"min", 4>]> {
  let cppNamespace = "::mlc::graph";
  let genSpecializedAttr = 0;
}
def Graph_ScatterKindAttr : EnumAttr<Graph_Dialect, Graph_ScatterKind, "scatter_kind">;

def Graph_Cell : I32EnumAttr<"Cell", "What a recurrent layer does in a step", [
  I32EnumAttrCase<"rnn", 0>, I32EnumAttrCase<"rnn_relu", 1>, I32EnumAttrCase<"lstm", 2>, I32EnumAttrCase<"gru", 3>,
  I32EnumAttrCase<"gru_reset_first", 4>]> {
  let cppNamespace = "::mlc::graph";
  let genSpecializedAttr = 0;
}
def Graph_CellAttr : EnumAttr<Graph_Dialect, Graph_Cell, "cell">;

def Graph_QuantAttr : Graph_Attr<"Quant", "quant"> {
  let summary = "How the artifact stores a weight: `bits` 8 or 4, one scale for every `group` columns of a row.";
  let description = [{
    Symmetric: w ~ scale * q, q in [-127, 127] or [-8, 7]. Asymmetric: w ~ scale * (q - zero), q in [0, 15].
    docs/kernels.md states the search for the scale and every rounding.
  }];
  let parameters = (ins "unsigned":$bits, "int64_t":$group, DefaultValuedParameter<"bool", "false">:$asymmetric);
  let assemblyFormat = "`<` `bits` `=` $bits `,` `group` `=` $group (`,` `asymmetric` `=` $asymmetric^)? `>`";
  let genVerifyDecl = 1;
}

def Graph_ShardAttr : Graph_Attr<"Shard", "shard"> {
  let summary = "Which part of a tensor of the checkpoint a rank of tensor parallelism holds.";
  let description = [{
    The axis is cut into `pieces` (q, k and v of one matrix, say; their sum is its length), of which rank r holds the r-th
    of `ranks` equal parts, one piece behind the other. Without pieces rank 0 holds the whole tensor, the others zeros:
    what is added once.
  }];
  let parameters = (ins "int64_t":$ranks, "int64_t":$axis, OptionalArrayRefParameter<"int64_t">:$pieces);
  let assemblyFormat = "`<` `ranks` `=` $ranks `,` `axis` `=` $axis (`,` `pieces` `=` `[` $pieces^ `]`)? `>`";
}

#endif // MLC_DIALECT_GRAPH_IR_GRAPHBASE
