//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The exec dialect: its rationale, attributes and ops.
//
#ifndef MLC_DIALECT_EXEC_IR_EXECOPS
#define MLC_DIALECT_EXEC_IR_EXECOPS

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Exec_Dialect : Dialect {
  let name = "exec";
  let cppNamespace = "::mlc::exec";
  let summary = "What the runtime executes: functions over planned buffers and named states.";
  let description = [{
    One to one with the artifact's metadata (runtime/artifact/schema.fbs): printing a module is reading the artifact.

    ```
    graph --GraphToExec--> exec (slots without offsets) --exec-plan-memory--> exec (planned) --Artifact--> model.mlca
    ```

    * A **slot** is a typed view of the activation arena; its dynamic dimensions follow named extents. A **view** is
      a range of columns of a slot. `exec.weight` is a constant of the weights segment. All three are memrefs.
    * A **state** lives outside the arena and is named; only kernels touch it.
    * An op is a kernel call with resolved attributes (a struct of the schema), a call of compiled code, or control
      flow: `if`, `loop` (bounded), `call`. Ops run in order and each reads and writes the slots it names; a slot
      holds what the last op wrote to it.
    * `exec-plan-memory` gives every slot its offset. `exec-verify-planned` is the gate behind it.
  }];
  let useDefaultAttributePrinterParser = 1;
}

class Exec_Op<string mnemonic, list<Trait> traits = []> : Op<Exec_Dialect, mnemonic, traits>;

def Exec_WeightFormat : I32EnumAttr<"WeightFormat", "How a constant lies in the weights segment", [
  I32EnumAttrCase<"rows_f32", 0>, I32EnumAttrCase<"rows_f16", 1>, I32EnumAttrCase<"rows_bf16", 2>,
  I32EnumAttrCase<"panel_f32", 8>, I32EnumAttrCase<"panel_f16", 9>, I32EnumAttrCase<"panel_bf16", 10>,
  I32EnumAttrCase<"panel_int8", 11>, I32EnumAttrCase<"panel_int4", 12>,
  I32EnumAttrCase<"block_q4_0", 32>, I32EnumAttrCase<"block_q4_1", 33>, I32EnumAttrCase<"block_q5_0", 34>,
  I32EnumAttrCase<"block_q5_1", 35>, I32EnumAttrCase<"block_q8_0", 36>, I32EnumAttrCase<"block_q2_k", 37>,
  I32EnumAttrCase<"block_q3_k", 38>, I32EnumAttrCase<"block_q4_k", 39>, I32EnumAttrCase<"block_q5_k", 40>,
  I32EnumAttrCase<"block_q6_k", 41>,
  I32EnumAttrCase<"panel_q4_0", 48>, I32EnumAttrCase<"panel_q4_1", 49>, I32EnumAttrCase<"panel_q5_0", 50>,
  I32EnumAttrCase<"panel_q5_1", 51>, I32EnumAttrCase<"panel_q8_0", 52>, I32EnumAttrCase<"panel_q2_k", 53>,
  I32EnumAttrCase<"panel_q3_k", 54>, I32EnumAttrCase<"panel_q4_k", 55>, I32EnumAttrCase<"panel_q5_k", 56>,
  I32EnumAttrCase<"panel_q6_k", 57>]> {
  let cppNamespace = "::mlc::exec";
  let genSpecializedAttr = 0;
}

def Exec_StateKind : I32EnumAttr<"StateKind", "What a state holds", [
  I32EnumAttrCase<"kv", 0>, I32EnumAttrCase<"conv", 2>, I32EnumAttrCase<"ssm", 3>]> {
  let cppNamespace = "::mlc::exec";
  let genSpecializedAttr = 0;
}
def Exec_ExtentRule : I32EnumAttr<"ExtentRule", "How an extent follows from its two terms", [
  I32EnumAttrCase<"add", 1>, I32EnumAttrCase<"multiply", 2>, I32EnumAttrCase<"floor_divide", 3>,
  I32EnumAttrCase<"ceil_divide", 4>, I32EnumAttrCase<"minimum", 5>, I32EnumAttrCase<"maximum", 6>]> {
  let cppNamespace = "::mlc::exec";
  let genSpecializedAttr = 0;
}
def Exec_ExtentRuleAttr : EnumAttr<Exec_Dialect, Exec_ExtentRule, "extent_rule">;
def Exec_StateKindAttr : EnumAttr<Exec_Dialect, Exec_StateKind, "state_kind">;

def Exec_WeightAttr : AttrDef<Exec_Dialect, "Weight"> {
  let mnemonic = "weight";
  let summary = "schema.fbs's WeightDesc: n rows of k columns in a format; group: columns of one scale (0: none).";
  let parameters = (ins "int64_t":$n, "int64_t":$k, "int64_t":$group, EnumParameter<Exec_WeightFormat>:$format,
                        "bool":$asymmetric);
  let assemblyFormat = "`<` $n `x` $k `,` $format `,` `group` `=` $group `,` `asymmetric` `=` $asymmetric `>`";
}

def Buffer : MemRefOf<[AnyType]>;
def Scalar : MemRefRankOf<[I1, I64], [0]>;

//===--- Declarations ---===//

def Exec_ModelOp : Exec_Op<"model"> {
  let summary = "The artifact's Model table, and the arena's size once planned.";
  let arguments = (ins StrAttr:$architecture, OptionalAttr<StrAttr>:$name, I64Attr:$vocab_size,
    I64Attr:$trained_context, UnitAttr:$prompt_form, OptionalAttr<DenseI32ArrayAttr>:$end_tokens,
    OptionalAttr<DictionaryAttr>:$sampling, OptionalAttr<StrAttr>:$license, I64Attr:$max_context,
    I64Attr:$max_batch, I64Attr:$max_sequences, I64Attr:$max_rows, OptionalAttr<I64Attr>:$checkpoint_every,
    OptionalAttr<I64Attr>:$arena_size);
  let assemblyFormat = "$architecture attr-dict";
  let builders = [
    // A network, which has neither tokens nor sequences.
    OpBuilder<(ins "::llvm::StringRef":$architecture, "::mlir::StringAttr":$name), [{
      $_state.addAttribute(getArchitectureAttrName($_state.name), $_builder.getStringAttr(architecture));
      $_state.addAttribute(getNameAttrName($_state.name), name);
      for (::mlir::StringAttr bound : {getVocabSizeAttrName($_state.name), getTrainedContextAttrName($_state.name),
                                       getMaxContextAttrName($_state.name), getMaxBatchAttrName($_state.name),
                                       getMaxSequencesAttrName($_state.name), getMaxRowsAttrName($_state.name)})
        $_state.addAttribute(bound, $_builder.getI64IntegerAttr(0));
    }]>];
}

def Exec_ExtentOp : Exec_Op<"extent", [Symbol]> {
  let summary = "A run-time size and its bound; a kernel or the caller of the step sets it.";
  let description = [{
    With a `rule` it follows from two terms, a number or an extent in front of it each: `add`, `multiply`,
    `floor_divide`, `ceil_divide`, `minimum`, `maximum`. A run in which it is not `least` to `bound` is refused.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$bound, OptionalAttr<Exec_ExtentRuleAttr>:$rule,
    OptionalAttr<AnyAttrOf<[I64Attr, StrAttr]>>:$left, OptionalAttr<AnyAttrOf<[I64Attr, StrAttr]>>:$right,
    DefaultValuedAttr<I64Attr, "0">:$least);
  let assemblyFormat = "$sym_name `at_most` $bound (`is` $rule^ $left $right)? attr-dict";
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "int64_t":$bound), [{
    $_state.addAttribute(getSymNameAttrName($_state.name), $_builder.getStringAttr(name));
    $_state.addAttribute(getBoundAttrName($_state.name), $_builder.getI64IntegerAttr(bound));
  }]>];
  let hasVerifier = 1;
}

def Exec_ConstantOp : Exec_Op<"constant", [Symbol]> {
  let summary = "A piece of the weights segment: `sources` packed one under the other as `weight` says, or `values`.";
  let description = [{
    Without `weight`, one source lies there as the checkpoint stores it. `elements`: values of any type.
    `importance`, one for each column of each matrix, weighs the squared errors that packing minimises. `count` matrices
    of `weight`, each packed on its own, lie one behind the other: the sources hold their rows (the experts of a mixture).
    `shards`, where a rank of tensor parallelism holds a part: of each source ranks, axis and pieces (graph.shard), or
    nothing when it holds the whole; such constants have offsets of their own.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<Buffer>:$type, OptionalAttr<Exec_WeightAttr>:$weight,
    OptionalAttr<StrArrayAttr>:$sources, OptionalAttr<DenseF32ArrayAttr>:$values, OptionalAttr<I64Attr>:$offset,
    OptionalAttr<DenseF32ArrayAttr>:$importance, DefaultValuedAttr<I64Attr, "1">:$count,
    OptionalAttr<ElementsAttr>:$elements, OptionalAttr<TypedArrayAttrBase<DenseI64ArrayAttr, "shards">>:$shards);
  let assemblyFormat = [{
    $sym_name `:` $type (`from` $sources^)? (`as` $weight^)? (`values` $values^)? (`elements` $elements^)?
    (`shards` $shards^)? (`at` $offset^)? attr-dict
  }];
  let hasVerifier = 1;
}

def Exec_StateOp : Exec_Op<"state", [Symbol]> {
  let summary = "Something that every sequence remembers, of one of the schema's kinds.";
  let description = [{
    `kv`: pages of 64 positions, kv_heads x head_dim of dtype; window 0: all are kept. `conv` and `ssm`: a base of `dims`
    in dtype and a log of `log_columns` f32 values for each position; `groups` of an ssm state's b and c.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name,
    DefaultValuedAttr<Exec_StateKindAttr, "::mlc::exec::StateKind::kv">:$kind, TypeAttr:$dtype,
    OptionalAttr<I64Attr>:$kv_heads, OptionalAttr<I64Attr>:$head_dim, OptionalAttr<I64Attr>:$window,
    OptionalAttr<DenseI64ArrayAttr>:$dims, OptionalAttr<I64Attr>:$log_columns, OptionalAttr<I64Attr>:$groups);
  let assemblyFormat = "$sym_name attr-dict";
  let hasVerifier = 1;
}

def Exec_CarryOp : Exec_Op<"carry", [Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "What a run of `function` hands to the next: its output number `output` is input `input` of that.";
  let description = "The two ports change places after each run, so nothing is copied. Until the first run they hold zeros.";
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$function, I64Attr:$output, I64Attr:$input);
  let assemblyFormat = "$sym_name `of` $function `output` $output `input` $input attr-dict";
}

def Exec_CodeOp : Exec_Op<"code", [Symbol]> {
  let summary = "Position-independent machine code of one region, a variant for each ISA level.";
  let description = [{
    `objects[i]`, for `isas[i]`, is the raw text; its entry is at byte 0. ABI: int32_t f(void *const *buffers,
    const int64_t *dims, int64_t begin, int64_t end). `source` keeps the region's linalg form for `--emit exec`.
    A GPU's (triple nvptx64-nvidia-cuda) has no objects: all regions are made one image when the artifact is written.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$triple, StrArrayAttr:$isas, ArrayAttr:$objects,
    OptionalAttr<StrAttr>:$source);
  let assemblyFormat = "$sym_name `for` $triple $isas attr-dict";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    bool isForGpu() { return getTriple().starts_with("nvptx64"); }
  }];
}

def Exec_FuncOp : Exec_Op<"func", [Symbol, IsolatedFromAbove, SingleBlock, NoTerminator, NoRegionArguments]> {
  let summary = "A function over slots; slots with `input` are its inputs, exec.return names its outputs.";
  let description = [{
    A network's function names its ports. Their slots share bytes with nothing, so that a caller may put memory of its own
    in their place.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, OptionalAttr<StrArrayAttr>:$input_names,
    OptionalAttr<StrArrayAttr>:$output_names);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
}

//===--- Buffers ---===//

def Exec_SlotOp : Exec_Op<"slot", [MemoryEffects<[MemAlloc]>]> {
  let summary = "A buffer of the arena. dims: a size or the name of an extent for each axis.";
  let arguments = (ins ArrayAttr:$dims, OptionalAttr<I64Attr>:$input, OptionalAttr<I64Attr>:$offset,
    OptionalAttr<StrAttr>:$tap, OptionalAttr<StrArrayAttr>:$inner_taps);
  let results = (outs Buffer:$result);
  let assemblyFormat = "$dims (`input` $input^)? (`at` $offset^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Exec_ViewOp : Exec_Op<"view", [Pure]> {
  let summary = "Columns [column, column + width) of a slot.";
  let arguments = (ins Buffer:$source, I64Attr:$column);
  let results = (outs Buffer:$result);
  let assemblyFormat = "$source `column` $column attr-dict `:` type($source) `to` type($result)";
  let hasVerifier = 1;
}

def Exec_WeightOp : Exec_Op<"weight", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "A constant as a buffer; read-only.";
  let arguments = (ins FlatSymbolRefAttr:$constant);
  let results = (outs Buffer:$result);
  let assemblyFormat = "$constant attr-dict `:` type($result)";
}

//===--- Execution ---===//

def Exec_KernelOp : Exec_Op<"kernel", [AttrSizedOperandSegments, MemoryEffects<[MemRead, MemWrite]>,
                                       DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Calls a kernel of the target, by name and version; `fields` are those of its schema struct.";
  let arguments = (ins StrAttr:$name, I64Attr:$version, Variadic<Buffer>:$inputs, Variadic<Buffer>:$outputs,
    DefaultValuedAttr<TypedArrayAttrBase<FlatSymbolRefAttr, "states">, "{}">:$states, DictionaryAttr:$fields);
  let assemblyFormat = [{
    $name `version` $version $fields (`states` $states^)? `(` $inputs `)` `->` `(` $outputs `)` attr-dict
    `:` functional-type($inputs, $outputs)
  }];
}

def Exec_CallCodeOp : Exec_Op<"call_code", [MemoryEffects<[MemRead, MemWrite]>,
                                            DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Calls compiled code over [0, items) in chunks of `grain`; items: a size or an extent's name.";
  let arguments = (ins FlatSymbolRefAttr:$code, Variadic<Buffer>:$buffers, ArrayAttr:$dims, AnyAttrOf<[I64Attr, StrAttr]>:$items,
    I64Attr:$grain);
  let assemblyFormat = "$code `(` $buffers `)` `dims` $dims `items` $items `grain` $grain attr-dict `:` type($buffers)";
}

def Exec_IfOp : Exec_Op<"if", [SingleBlock, NoTerminator, NoRegionArguments, RecursiveMemoryEffects]> {
  let summary = "Runs one of two blocks as a boolean slot says.";
  let arguments = (ins Scalar:$condition);
  let regions = (region SizedRegion<1>:$thenBlock, SizedRegion<1>:$elseBlock);
  let assemblyFormat = "$condition `:` type($condition) $thenBlock `else` $elseBlock attr-dict";
}

def Exec_LoopOp : Exec_Op<"loop", [SingleBlock, NoTerminator, NoRegionArguments, RecursiveMemoryEffects,
                                   AttrSizedOperandSegments]> {
  let summary = "Runs its block min(trips, max_trips) times; trips: a number, or a slot of one i64.";
  let description = [{
    Loop-carried buffers and states are the slots and states that the block both reads and writes. `while`, where
    given, is a boolean slot read before each iteration.
  }];
  let arguments = (ins Optional<Scalar>:$trip_count, Optional<Scalar>:$condition, OptionalAttr<I64Attr>:$trips,
    I64Attr:$max_trips);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    (`trips` $trips^)? (`count` $trip_count^ `:` type($trip_count))? (`while` $condition^ `:` type($condition))?
    `at_most` $max_trips $body attr-dict
  }];
  let hasVerifier = 1;
}

def Exec_CallOp : Exec_Op<"call", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Runs another function over its own slots.";
  let arguments = (ins FlatSymbolRefAttr:$callee);
  let assemblyFormat = "$callee attr-dict";
}

def Exec_ReturnOp : Exec_Op<"return", [HasParent<"FuncOp">]> {
  let summary = "The function's outputs.";
  let arguments = (ins Variadic<Buffer>:$outputs);
  let assemblyFormat = "($outputs^ `:` type($outputs))? attr-dict";
}

#endif // MLC_DIALECT_EXEC_IR_EXECOPS
