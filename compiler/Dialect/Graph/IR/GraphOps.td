//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The ops of the graph dialect. Shapes: T tokens of the step, R wanted rows, K and N columns.
//
#ifndef MLC_DIALECT_GRAPH_IR_GRAPHOPS
#define MLC_DIALECT_GRAPH_IR_GRAPHOPS

include "compiler/Dialect/Graph/IR/GraphBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Graph_Op<string mnemonic, list<Trait> traits = []> : Op<Graph_Dialect, mnemonic, traits>;

def Rows : Type<And<[RankedTensorOf<[F32]>.predicate, CPred<[{
                       ::llvm::cast<::mlir::RankedTensorType>($_self).getRank() > 0 &&
                       !::mlir::ShapedType::isDynamic(::llvm::cast<::mlir::RankedTensorType>($_self).getShape().back())
                     }]>]>, "f32 tensor whose last axis is static", "::mlir::RankedTensorType">;
def NetworkTensor : RankedTensorOf<[AnyFloat, AnySignlessInteger]>;
def WeightTensor : Type<NetworkTensor.predicate, "tensor of floats or signless integers", "::mlir::RankedTensorType">;
def Ids : 1DTensorOf<[I32]>;
def WeightRefs : TypedArrayAttrBase<FlatSymbolRefAttr, "weights">;
def WeightParts : TypedArrayAttrBase<WeightRefs, "lists of weights">;

//===--- Declarations ---===//

def Graph_ModelOp : Graph_Op<"model"> {
  let summary = "What the module is: architecture, vocabulary, context, end tokens, sampling defaults.";
  let description = [{
    `trained_context` is the checkpoint's own limit. `max_context`, `max_batch`, `max_sequences` and `max_rows` are the artifact's
    bounds and come from `graph-set-bounds`. `checkpoint_every`, from `graph-set-state-types`: recurrent states also stay
    at the multiples of so many positions. `prompt_form`: a RoPE form of the module depends on the length of the
    complete prompt. `sampling`: temperature, top_k, top_p, min_p, repetition_penalty, do_sample, where the checkpoint
    states them.
  }];
  let arguments = (ins StrAttr:$architecture, OptionalAttr<StrAttr>:$name, I64Attr:$vocab_size,
    I64Attr:$trained_context, UnitAttr:$prompt_form, OptionalAttr<DenseI32ArrayAttr>:$end_tokens,
    OptionalAttr<DictionaryAttr>:$sampling, OptionalAttr<StrAttr>:$license, OptionalAttr<I64Attr>:$max_context,
    OptionalAttr<I64Attr>:$max_batch, OptionalAttr<I64Attr>:$max_sequences, OptionalAttr<I64Attr>:$max_rows,
    OptionalAttr<I64Attr>:$checkpoint_every);
  let assemblyFormat = "$architecture attr-dict";
  let hasVerifier = 1;
}

def Graph_ExtentOp : Graph_Op<"extent", [Symbol]> {
  let summary = "A size that is known at run time; `bound` is the largest, once `graph-set-bounds` has run.";
  let arguments = (ins SymbolNameAttr:$sym_name, OptionalAttr<I64Attr>:$bound);
  let assemblyFormat = "$sym_name (`at_most` $bound^)? attr-dict";
  let hasVerifier = 1;
}

def Graph_WeightOp : Graph_Op<"weight", [Symbol]> {
  let summary = "A tensor of the checkpoint, by its name there.";
  let description = [{
    `type` is the logical shape with f32 values (networks: with the values' own type), row-major, slowest axis first (GGUF's dimensions reversed); `storage`
    how the checkpoint holds it. From `graph-quantize`: `quant` says how the artifact will, and `expand` that it keeps
    a block format's values as f32; from `graph-round-products`: `rounded` that it rounds floats to bf16. `importance`,
    one for each column (of every expert, where the weight holds a matrix for each), is what a squared error there costs (--calibrate: the mean square of what the products read);
    quantization minimises their sum. With a `shard` (from `graph-shard-tensors`) `type` is what one rank holds.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<WeightTensor>:$type, Graph_StorageAttr:$storage,
    OptionalAttr<Graph_QuantAttr>:$quant, OptionalAttr<DenseF32ArrayAttr>:$importance,
    OptionalAttr<Graph_ShardAttr>:$shard, UnitAttr:$expand, UnitAttr:$bf16);
  let assemblyFormat = [{
    $sym_name `:` $type `stored` `` $storage (`as` $quant^)? (`expanded` $expand^)? (`rounded` $bf16^)? (`of` $shard^)? attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getTensorType();
    /// Length of the last axis, and the product of the others.
    int64_t getColumns();
    int64_t getRows();
    /// The quantized rows that meet this weight in integer products; null for float weights.
    QuantizedType getQuantizedRows();
  }];
}

def Graph_StateOp : Graph_Op<"state", [Symbol]> {
  let summary = "Something that a sequence remembers between steps.";
  let description = [{
    kind `kv`: keys and values of every position, `kv_heads` x `head_dim` each, stored as `dtype` (from
    `graph-set-state-types`; absent: as computed, f32). With a `window` w only the last w positions are ever read.
    kind `conv`: the last `kernel` - 1 rows of a causal convolution over `channels`, f32.
    kind `ssm`: the matrix [`head_dim`, `state_size`] of each of `heads` heads; heads / `groups` consecutive ones share
    b and c. With `dtype` bf16 it is rounded where a page of 16 positions begins (--ssm).
    The other kinds are reserved for the families that need them.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Graph_StateKindAttr:$kind, Graph_StateScopeAttr:$scope,
    DefaultValuedAttr<I64Attr, "0">:$kv_heads, DefaultValuedAttr<I64Attr, "0">:$head_dim,
    DefaultValuedAttr<I64Attr, "0">:$window, DefaultValuedAttr<I64Attr, "0">:$channels,
    DefaultValuedAttr<I64Attr, "0">:$kernel, DefaultValuedAttr<I64Attr, "0">:$heads,
    DefaultValuedAttr<I64Attr, "0">:$groups, DefaultValuedAttr<I64Attr, "0">:$state_size, OptionalAttr<TypeAttr>:$dtype);
  let assemblyFormat = "$sym_name `` $kind `` $scope attr-dict";
  let hasVerifier = 1;
}

//===--- Tokens in, rows out ---===//

def Graph_EmbeddingOp : Graph_Op<"embedding", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "y[t, :] = scale * weight[ids[t], :]";
  let arguments = (ins Ids:$ids, FlatSymbolRefAttr:$weight, DefaultValuedAttr<F32Attr, "1.0f">:$scale);
  let results = (outs Rows:$result);
  let assemblyFormat = "$ids `,` $weight attr-dict `:` type($ids) `->` type($result)";
}

def Graph_GatherRowsOp : Graph_Op<"gather_rows", [Pure]> {
  let summary = "y[r, :] = x[rows[r], :]; the rows whose logits are wanted.";
  let arguments = (ins Rows:$input, Ids:$rows);
  let results = (outs Rows:$result);
  let assemblyFormat = "$input `,` $rows attr-dict `:` type($input) `,` type($rows) `->` type($result)";
  let hasVerifier = 1;
}

def Graph_SplitOp : Graph_Op<"split", [Pure]> {
  let summary = "The last axis cut into consecutive pieces (torch.split).";
  let arguments = (ins Rows:$input);
  let results = (outs Variadic<Rows>:$results);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($results)";
  let hasVerifier = 1;
}

//===--- Products ---===//

def Graph_QuantizeRowsOp : Graph_Op<"quantize_rows", [Pure]> {
  let summary = "int8 per row and group: scale = max|x| / 127, q = round_half_even(x / scale).";
  let arguments = (ins Rows:$input);
  let results = (outs Graph_QuantizedType:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Graph_LinearOp : Graph_Op<"linear", [Pure,
                                         DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "y = x W^T + b (+ residual), W the concatenation of `weights` along their rows (torch.nn.Linear).";
  let description = [{
    x: [T, K]; each weight [N_i, K]; y: [T, sum N_i]. `biases`, where given, names one [N_i] for each weight. With a quantized input the product is
    y = sum over groups g, in order, of fma(float(sum_k q_x q_w), scale_x[g] * scale_w[g], y); docs/kernels.md.
    `bf16`: x is rounded to bf16 and every weight is `rounded`, or one of integers (what `graph-round-products` does);
    sums are f32.
    With a `gate` (what `graph-fuse-linear-gate` makes) the product's halves a, b of the columns give gate(a) * b, in f32 or quantized as
    quantize_rows does.
  }];
  let arguments = (ins AnyTypeOf<[Rows, Graph_QuantizedType]>:$input, Optional<Rows>:$residual,
    WeightRefs:$weights, OptionalAttr<WeightRefs>:$biases, OptionalAttr<Graph_ActivationAttr>:$gate, UnitAttr:$bf16);
  let results = (outs AnyTypeOf<[Rows, Graph_QuantizedType]>:$result);
  let assemblyFormat = [{
    $input `,` $weights (`bias` $biases^)? (`gate` $gate^)? (`bf16` $bf16^)? (`residual` $residual^ `:` type($residual))? attr-dict
    `:` type($input) `->` type($result)
  }];
}

def Graph_AllReduceOp : Graph_Op<"all_reduce", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "y = residual + x_0 + x_1 + ..., x_r the input of rank r, added in that order; on every rank.";
  let description = [{
    What `graph-shard-tensors` puts behind a product whose columns of x are spread over `ranks` (arXiv 1909.08053). Every
    rank has the same bits, whatever the batch.
  }];
  let arguments = (ins Rows:$input, Optional<Rows>:$residual, I64Attr:$ranks);
  let results = (outs Rows:$result);
  let assemblyFormat = "$input (`residual` $residual^ `:` type($residual))? attr-dict `:` type($input)";
  let hasVerifier = 1;
}

//===--- Mixtures of experts ---===//

def Graph_MoeOp : Graph_Op<"moe", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "y[t] = residual[t] + sum over the experts e chosen for t of p[t, e] * down_e h_e(x[t]) (arXiv 1701.06538).";
  let description = [{
    x: [T, K]; logits: [T, experts], what a router's linear gives, always of f32 rows; y: [T, N]. The top_k chosen experts
    add in rising order, each by a fused multiply-add to a sum that begins with the residual or 0.

    h_e(x): with one list in `into` and no `gated`, activation(W_e x). `gated`: activation(a) * b, where a and b are the
    halves of W_e x (one list), or the products with a list each: gate, then up. A list names one weight
    [experts, rows, columns], or a weight [rows, columns] for each expert. `down` is such a list.

    `router` (s: the scores that choose; ties go to the lower expert):
    * softmax_topk: p = softmax(logits); the top_k largest; `normalize` divides them by their sum (Mixtral, arXiv
      2401.04088; Qwen by norm_topk_prob).
    * topk_softmax: the top_k largest logits; p is the softmax over those (Granite).
    * sigmoid: p = sigmoid(logits), s = p + `selection_bias`; with `groups`, only the experts of the `top_groups` groups
      whose two best s have the largest sum take part; `normalize` divides by the sum + 1e-20 (DeepSeek-V3, arXiv
      2412.19437).
    Last, p is multiplied with `scale`.

    With a quantized x, `hidden` is what h is quantized to, as quantize_rows does; absent, h stays f32. `bf16`: x and h are
    rounded to bf16, and every expert's weight is `rounded` or one of integers.
  }];
  let arguments = (ins AnyTypeOf<[Rows, Graph_QuantizedType]>:$input, Rows:$logits, Optional<Rows>:$residual,
    Graph_RouterFormAttr:$router, WeightParts:$into, WeightRefs:$down, OptionalAttr<FlatSymbolRefAttr>:$selection_bias,
    I64Attr:$experts, I64Attr:$top_k, DefaultValuedAttr<I64Attr, "1">:$groups, DefaultValuedAttr<I64Attr, "1">:$top_groups,
    UnitAttr:$normalize, DefaultValuedAttr<F32Attr, "1.0f">:$scale, Graph_ActivationAttr:$activation, UnitAttr:$gated,
    OptionalAttr<TypeAttrOf<Graph_QuantizedType>>:$hidden, UnitAttr:$bf16);
  let results = (outs Rows:$result);
  let assemblyFormat = [{
    `` $router $input `,` $logits `into` $into `down` $down (`bias` $selection_bias^)?
    (`residual` $residual^ `:` type($residual))? attr-dict `:` type($input) `,` type($logits) `->` type($result)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Every expert's weight: those of `into`, then those of `down`.
    ::llvm::SmallVector<::mlir::FlatSymbolRefAttr> getExpertWeights();
    /// Rows of one expert in a list that holds `weight` first, when there are `experts`.
    static int64_t expertRows(WeightOp weight, int64_t experts);
  }];
}

def Graph_ScaleRowsOp : Graph_Op<"scale_rows", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "y[t, :] = f(s[t]) * x[t, :]: the gate of a shared expert (Qwen2-MoE, arXiv 2407.10671).";
  let arguments = (ins Rows:$input, Rows:$factors, Graph_ActivationAttr:$function);
  let results = (outs Rows:$result);
  let assemblyFormat = "`` $function $input `,` $factors attr-dict `:` type($input) `,` type($factors)";
  let hasVerifier = 1;
}

//===--- Norms, positions, attention ---===//

def Graph_RmsNormOp : Graph_Op<"rms_norm", [Pure, SameOperandsAndResultType,
                                            DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "y = x / sqrt(mean(x^2) + eps) * (weight + offset), over groups of the weight's width (arXiv 1910.07467).";
  let description = [{
    A weight narrower than the row norms every group of that width on its own (Qwen3's per-head norms).
    offset 1 is Gemma's form.
  }];
  let arguments = (ins Rows:$input, FlatSymbolRefAttr:$weight, F32Attr:$eps,
    DefaultValuedAttr<F32Attr, "0.0f">:$offset);
  let results = (outs Rows:$result);
  let assemblyFormat = "$input `,` $weight attr-dict `:` type($result)";
}

def Graph_AddRmsNormOp : Graph_Op<"add_rms_norm", [Pure, SameOperandsAndResultType,
                                                   DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "sum = x + residual; result = rms_norm(sum). What `graph-fuse-norm` makes.";
  let arguments = (ins Rows:$input, Rows:$residual, FlatSymbolRefAttr:$weight, F32Attr:$eps,
    DefaultValuedAttr<F32Attr, "0.0f">:$offset);
  let results = (outs Rows:$sum, Rows:$result);
  let assemblyFormat = "$input `,` $residual `,` $weight attr-dict `:` type($result)";
}

def Graph_RopeAnglesOp : Graph_Op<"rope_angles", [Pure]> {
  let summary = "[cos | sin] of position * inverse frequency for every token of the step: f32[T, rotary_dim].";
  let description = [{
    inv_freq[i] = theta^(-2i / rotary_dim), then by `scaling` (transformers' modeling_rope_utils):
    linear: / factor. dynamic: for a prompt of L > original_context positions theta becomes
    theta * (factor * L / original_context - (factor - 1))^(d / (d - 2)). yarn: arXiv 2309.00071, `beta_fast`,
    `beta_slow`, `truncate`. longrope: / long_factors when the prompt is longer than original_context, else
    / short_factors. llama3: bands from `low_freq_factor` and `high_freq_factor`. `factors`, where the checkpoint
    states them per frequency (GGUF's rope_freqs), divide instead. cos and sin are both multiplied by
    `attention_factor`. position * inv_freq is rounded to f32 before cos and sin.
    The length that dynamic and longrope look at is that of the sequence's complete prompt.
  }];
  let arguments = (ins Graph_BatchType:$batch, I64Attr:$rotary_dim, F64Attr:$theta,
    DefaultValuedAttr<Graph_RopeScalingAttr, "::mlc::graph::RopeScaling::none">:$scaling,
    DefaultValuedAttr<F64Attr, "1.0">:$factor, DefaultValuedAttr<F64Attr, "1.0">:$attention_factor,
    DefaultValuedAttr<I64Attr, "0">:$original_context,
    OptionalAttr<F64Attr>:$beta_fast, OptionalAttr<F64Attr>:$beta_slow, OptionalAttr<BoolAttr>:$truncate,
    OptionalAttr<F64Attr>:$low_freq_factor, OptionalAttr<F64Attr>:$high_freq_factor,
    OptionalAttr<DenseF64ArrayAttr>:$short_factors, OptionalAttr<DenseF64ArrayAttr>:$long_factors,
    OptionalAttr<DenseF64ArrayAttr>:$factors);
  let results = (outs Rows:$result);
  let assemblyFormat = "$batch attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Graph_RopeOp : Graph_Op<"rope", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Rotates the first rotary_dim columns of every head by the step's angles (arXiv 2104.09864).";
  let description = [{
    Pairs are (i, i + rotary_dim/2), or (2i, 2i+1) when `interleaved` (GGUF's llama checkpoints).
    y_a = x_a cos - x_b sin, y_b = x_b cos + x_a sin. rotary_dim is the angles' column count.
  }];
  let arguments = (ins Rows:$input, Rows:$angles, I64Attr:$head_dim, UnitAttr:$interleaved);
  let results = (outs Rows:$result);
  let assemblyFormat = "$input `,` $angles attr-dict `:` type($input) `,` type($angles)";
  let hasVerifier = 1;
}

def Graph_AttentionOp : Graph_Op<"attention", [AllTypesMatch<["query", "result"]>, AllTypesMatch<["key", "value"]>, MemoryEffects<[MemRead, MemWrite]>,
                                               DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Appends key and value to the state, then softmax(scale q k^T, causal) v over the sequence.";
  let description = [{
    query: [T, heads * head_dim]; key, value: [T, kv_heads * head_dim]; heads a multiple of kv_heads (GQA, arXiv
    2305.13245). `softcap` c: s = c * tanh(s / c) before the mask (Gemma 2). With the state's window w the token at
    position p sees (p - w, p]. `products` bf16 (`graph-round-attention`) rounds the factors of both products to bf16:
    q * (scale * log2 e), k as stored, e = 2^(s - ceil(max s)) and v as stored. i8, of an int8 state with a head_dim of
    at most 1024, takes scores from the codes of k and of q, which is quantized as quantize_rows does, one scale for each
    row and head; their scales multiply s, and v's multiply e before it is rounded to bf16. The normaliser is the sum of
    the unrounded e.
  }];
  let arguments = (ins Rows:$query, Rows:$key, Rows:$value, Graph_BatchType:$batch, FlatSymbolRefAttr:$state,
    I64Attr:$heads, F32Attr:$scale, DefaultValuedAttr<F32Attr, "0.0f">:$softcap,
    DefaultValuedAttr<Graph_ProductsAttr, "::mlc::graph::Products::f32">:$products);
  let results = (outs Rows:$result);
  let assemblyFormat = [{
    $query `,` $key `,` $value `,` $batch `,` $state attr-dict `:` type($query) `,` type($key)
  }];
}

//===--- Recurrent layers: Mamba-2 (arXiv 2405.21060) ---===//

def Graph_Conv1dCausalOp : Graph_Op<"conv1d_causal", [AllTypesMatch<["input", "result"]>, MemoryEffects<[MemRead, MemWrite]>,
                                                      DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "y[t, c] = f(bias[c] + sum over j < K of weight[c, j] * x[t - K + 1 + j, c]), by channel, zeros before 0.";
  let description = [{
    torch.nn.Conv1d with groups = C and K - 1 rows of padding in front (arXiv 2312.00752, figure 3). x: [T, C]; weight:
    [C, K], or [C, 1, K]; rows before the step's first come from the state, of kind conv.
  }];
  let arguments = (ins Rows:$input, Graph_BatchType:$batch, FlatSymbolRefAttr:$state, FlatSymbolRefAttr:$weight,
    OptionalAttr<FlatSymbolRefAttr>:$bias, OptionalAttr<Graph_ActivationAttr>:$function);
  let results = (outs Rows:$result);
  let assemblyFormat = [{
    $input `,` $batch `,` $state `,` $weight (`bias` $bias^)? (`activation` $function^)? attr-dict `:` type($input)
  }];
}

def Graph_SsdOp : Graph_Op<"ssd", [AllTypesMatch<["input", "result"]>, AllTypesMatch<["b", "c"]>,
                                   MemoryEffects<[MemRead, MemWrite]>, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "State-space duality: h_t = exp(dt_t A) h_(t-1) + dt_t x_t b_t^T; y_t = h_t c_t + D x_t, for each head.";
  let description = [{
    arXiv 2405.21060, section 6, in transformers' form: dt_t = min(max(softplus(dt[t] + dt_bias), dt_min), dt_max), with
    softplus(v) = ln(1 + e^v), and v itself above 20; A = -e^a with `log_a`, else a (GGUF). x: [T, heads * head_dim];
    dt: [T, heads]; b, c: [T, groups * state_size]; a, d, dt_bias: one value a head. h lies in the state, of kind ssm.
    `products` bf16 (`graph-round-scan`) rounds factors as docs/kernels.md states.
  }];
  let arguments = (ins Rows:$input, Rows:$dt, Rows:$b, Rows:$c, Graph_BatchType:$batch, FlatSymbolRefAttr:$state,
    FlatSymbolRefAttr:$a, FlatSymbolRefAttr:$d, FlatSymbolRefAttr:$dt_bias, UnitAttr:$log_a,
    DefaultValuedAttr<F32Attr, "0.0f">:$dt_min, OptionalAttr<F32Attr>:$dt_max,
    DefaultValuedAttr<Graph_ProductsAttr, "::mlc::graph::Products::f32">:$products);
  let results = (outs Rows:$result);
  let assemblyFormat = [{
    $input `,` $dt `,` $b `,` $c `,` $batch `,` $state `a` $a (`log` $log_a^)? `d` $d `dt_bias` $dt_bias attr-dict
    `:` type($input) `,` type($dt) `,` type($b)
  }];
}

def Graph_GatedRmsNormOp : Graph_Op<"gated_rms_norm", [Pure, SameOperandsAndResultType,
                                                       DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "y = norm(x * f(gate)) * weight, or norm(x) * weight * f(gate) with `norm_before_gate`.";
  let description = [{
    norm(v) = v / sqrt(mean(v^2) + eps) over every `group` columns on their own (Mamba-2's RMSNormGated; Falcon-H1's has
    norm_before_gate). The weight holds one value a column.
  }];
  let arguments = (ins Rows:$input, Rows:$gate, FlatSymbolRefAttr:$weight, Graph_ActivationAttr:$function,
    F32Attr:$eps, I64Attr:$group, UnitAttr:$norm_before_gate);
  let results = (outs Rows:$result);
  let assemblyFormat = "`` $function $input `,` $gate `,` $weight attr-dict `:` type($result)";
}

//===--- Elementwise ---===//

def Graph_ActivationOp : Graph_Op<"activation", [Pure, SameOperandsAndResultType]> {
  let summary = "y = f(x): silu x/(1+e^-x), gelu_tanh, gelu_erf, relu, relu2 max(x,0)^2, tanh, sigmoid.";
  let arguments = (ins Rows:$input, Graph_ActivationAttr:$function);
  let results = (outs Rows:$result);
  let assemblyFormat = "`` $function $input attr-dict `:` type($result)";
}

def Graph_GatedActivationOp : Graph_Op<"gated_activation", [Pure, SameOperandsAndResultType]> {
  let summary = "y = f(gate) * up (GLU variants, arXiv 2002.05202). What `graph-fuse-gate` makes.";
  let arguments = (ins Rows:$gate, Rows:$up, Graph_ActivationAttr:$function);
  let results = (outs Rows:$result);
  let assemblyFormat = "`` $function $gate `,` $up attr-dict `:` type($result)";
}

def Graph_SoftcapOp : Graph_Op<"softcap", [Pure, SameOperandsAndResultType]> {
  let summary = "y = cap * tanh(x / cap) (Gemma 2).";
  let arguments = (ins Rows:$input, F32Attr:$cap);
  let results = (outs Rows:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Graph_ScaleOp : Graph_Op<"scale", [Pure, SameOperandsAndResultType]> {
  let summary = "y = factor * x (Granite's multipliers).";
  let arguments = (ins Rows:$input, F32Attr:$factor);
  let results = (outs Rows:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Graph_ScaleColumnsOp : Graph_Op<"scale_columns", [Pure, SameOperandsAndResultType]> {
  let summary = "y[t, c] = factors[i] * x[t, c], i the piece of `columns` (consecutive ones) that holds c (Falcon-H1's muP vector).";
  let arguments = (ins Rows:$input, DenseF32ArrayAttr:$factors, DenseI64ArrayAttr:$columns);
  let results = (outs Rows:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
  let hasVerifier = 1;
}

include "compiler/Dialect/Graph/IR/NetworkOps.td"

#endif // MLC_DIALECT_GRAPH_IR_GRAPHOPS
