//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The ops that networks (ONNX) add. Shapes: B images or sequences of the batch, C channels of the input, M of the output,
// G groups; D... and O... the spatial extents of input and output, K... those of a window.
//
#ifndef MLC_DIALECT_GRAPH_IR_NETWORKOPS
#define MLC_DIALECT_GRAPH_IR_NETWORKOPS

def Graph_NetworkOp : Graph_Op<"network"> {
  let summary = "The module is a network: functions of named tensors, with neither tokens nor sequences.";
  let arguments = (ins StrAttr:$name, OptionalAttr<StrAttr>:$producer);
  let assemblyFormat = "$name attr-dict";
}

def Graph_ReadOp : Graph_Op<"read", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "The values of a weight.";
  let arguments = (ins FlatSymbolRefAttr:$weight);
  let results = (outs NetworkTensor:$result);
  let assemblyFormat = "$weight attr-dict `:` type($result)";
}

class Graph_WindowOp<string mnemonic> : Graph_Op<mnemonic, [Pure]> {
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Graph_ConvOp : Graph_WindowOp<"conv"> {
  let summary = "y[b, m, o...] = bias[m] + sum over c, k... of x[b, c of m's group, o * stride + k * dilation - pad] * filter[m, c, k...]";
  let description = [{
    x: [B, C, D...]; filter: [M, C / groups, K...]; bias: [M]; y: [B, M, O...] (torch.nn.ConvNd). `pads` holds the zeros in
    front of every spatial axis and then those behind; O = (D + pads - (K - 1) * dilation - 1) / stride + 1, rounded down.
  }];
  let arguments = (ins NetworkTensor:$input, NetworkTensor:$filter, Optional<NetworkTensor>:$bias,
    DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$dilations, DenseI64ArrayAttr:$pads,
    DefaultValuedAttr<I64Attr, "1">:$groups);
  let results = (outs NetworkTensor:$result);
}

def Graph_ConvTransposeOp : Graph_WindowOp<"conv_transpose"> {
  let summary = "y[b, m, i * stride + k * dilation - pad] += x[b, c, i...] * filter[c, m of c's group, k...], from bias[m]";
  let description = [{
    x: [B, C, D...]; filter: [C, M / groups, K...]; bias: [M]; y: [B, M, O...] (torch.nn.ConvTransposeNd). The result's
    type says O, or where it does not O = (D - 1) * stride + (K - 1) * dilation + 1 - pads; what falls outside of it (cut by
    `pads`, the begins alone) is dropped, what nothing reaches is bias.
  }];
  let arguments = (ins NetworkTensor:$input, NetworkTensor:$filter, Optional<NetworkTensor>:$bias,
    DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$dilations, DenseI64ArrayAttr:$pads,
    DefaultValuedAttr<I64Attr, "1">:$groups);
  let results = (outs NetworkTensor:$result);
}

def Graph_PoolOp : Graph_WindowOp<"pool"> {
  let summary = "y[b, c, o...] = the max, average or p-norm of a window of x[b, c, ...]";
  let description = [{
    x: [B, C, D...]; y: [B, C, O...], O from the result's type. `pads` as conv's. `average` divides by how many values lie in
    the window, `average_padded` counts the padding in too, but nothing behind it. `indices`, of a max: the row-major
    index into x of the (first) largest value.
  }];
  let arguments = (ins NetworkTensor:$input, Graph_PoolKindAttr:$kind, DenseI64ArrayAttr:$kernel,
    DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$dilations, DenseI64ArrayAttr:$pads,
    DefaultValuedAttr<I64Attr, "2">:$p);
  let results = (outs NetworkTensor:$result, Optional<NetworkTensor>:$indices);
}

def Graph_ResizeOp : Graph_WindowOp<"resize"> {
  let summary = "y[b, c, o, p] = x[b, c, ...] interpolated linearly between the rows and columns beside o and p.";
  let description = [{
    x: [B, C, D, E]; y: [B, C, O, P]. Place o of O lies at (o + 0.5) * D / O - 0.5 (`half_pixel`), o * (D - 1) / (O - 1)
    (`align_corners`; 0 where O = 1) or o * D / O (`asymmetric`) of D, kept in [0, D - 1] (ONNX's Resize, mode linear).
  }];
  let arguments = (ins NetworkTensor:$input, Graph_ResizeCoordinatesAttr:$coordinates);
  let results = (outs NetworkTensor:$result);
  let extraClassDeclaration = [{
    /// Between which values of the input a place of the result lies, and the share of the one behind it.
    struct Between {
      int64_t before, behind;
      double share;
    };
    /// Of place `place` of spatial axis `axis` (2 or 3).
    Between between(unsigned axis, int64_t place);
  }];
}

def Graph_MatmulOp : Graph_WindowOp<"matmul"> {
  let summary = "y[..., m, n] = sum over k of a[..., m, k] * b[..., k, n]; a leading axis of 1 meets any (numpy.matmul).";
  let description = "Integers are multiplied and summed in the result's type, sign-extended.";
  let arguments = (ins NetworkTensor:$a, NetworkTensor:$b);
  let results = (outs NetworkTensor:$result);
}

def Graph_DequantizeBlocksOp : Graph_WindowOp<"dequantize_blocks"> {
  let summary = "y[k, n] = (code[n, k] - zero[n, k / block]) * scale[n, k / block], the matrix of a product.";
  let description = [{
    y: [K, N]; scales: [N, blocks], blocks = K / block rounded up. Codes have `bits` bits (2, 4 or 8), from 0 up, several
    to a byte, the lowest bits first: codes: i8 [N, blocks * block * bits / 8]. zeros: as packed, i8 [N, (blocks * bits + 7)
    / 8], or floats [N, blocks]; without them half of what the bits hold (com.microsoft's MatMulNBits).
    `rounds`: a product with y may round its other factor to 8 bits a row, and scales, which are known to be positive, to
    bf16 (accuracy_level 4). Then bits = 4, there are no zeros, and blocks are whole, of a multiple of 32.
  }];
  let arguments = (ins NetworkTensor:$codes, NetworkTensor:$scales, Optional<NetworkTensor>:$zeros, I64Attr:$bits,
    I64Attr:$block, UnitAttr:$rounds);
  let results = (outs NetworkTensor:$result);
  let extraClassDeclaration = [{
    /// Of what ONNX or a file may say: bits, block and K.
    static bool takes(int64_t bits, int64_t block, int64_t k);
    /// Code `place` of a packed row lies in byte place / perByte(), from this bit on.
    int64_t perByte() { return 8 / int64_t(getBits()); }
  }];
}

def Graph_SoftmaxOp : Graph_Op<"softmax", [Pure, SameOperandsAndResultType]> {
  let summary = "y = e^(x - max x) / sum e^(x - max x) along `axis`; `log`: its logarithm.";
  let description = "Of f16 and bf16 the powers and their sum are rounded too, as onnx's own reference does; a logarithm is rounded once.";
  let arguments = (ins RankedTensorOf<[AnyFloat]>:$input, I64Attr:$axis, UnitAttr:$log);
  let results = (outs RankedTensorOf<[AnyFloat]>:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Graph_ScatterOp : Graph_WindowOp<"scatter"> {
  let summary = "For i = 0, 1, ...: y[indices[i, :], ...] = that value (kind) updates[i, ...], from y = into.";
  let description = [{
    into, y: [D...]; indices: [N, R] (i64) of the leading R axes, each in [0, D); updates: [N, what is left of D...].
    `is_unsigned`: how max and min compare integers.
  }];
  let arguments = (ins NetworkTensor:$into, NetworkTensor:$indices, NetworkTensor:$updates, Graph_ScatterKindAttr:$kind,
    UnitAttr:$is_unsigned);
  let results = (outs NetworkTensor:$result);
}

def Graph_SortOp : Graph_WindowOp<"sort"> {
  let summary = "The values along `axis` in order, and the indices (i64) that they had; equal ones stay as they stood.";
  let description = "NaN counts as larger than every number. `is_unsigned`: how integers compare.";
  let arguments = (ins NetworkTensor:$input, I64Attr:$axis, UnitAttr:$descending, UnitAttr:$is_unsigned);
  let results = (outs NetworkTensor:$values, NetworkTensor:$indices);
}

def Graph_NonzeroOp : Graph_WindowOp<"nonzero"> {
  let summary = "i64 [rank, N]: the coordinates of the N values that are not zero, in row-major order. A run finds N.";
  let arguments = (ins NetworkTensor:$input);
  let results = (outs NetworkTensor:$result);
}

def Graph_NonMaxSuppressionOp : Graph_WindowOp<"non_max_suppression"> {
  let summary = "i64 [N, 3]: batch, class and box of the boxes that are kept, class by class, best score first.";
  let description = [{
    boxes: [B, K, 4], two corners (y, x, y, x), with `centers` (x, y, width, height); scores: [B, classes, K]. Of each batch
    and class: the boxes whose score is above `least` (a scalar; all without it), best first (the first of equal ones), but
    those whose intersection over union with one already kept exceeds `overlap`; at most `most` (i64). A run finds N.
  }];
  let arguments = (ins NetworkTensor:$boxes, NetworkTensor:$scores, NetworkTensor:$most, NetworkTensor:$overlap,
    Optional<NetworkTensor>:$least, UnitAttr:$centers);
  let results = (outs NetworkTensor:$result);
}

def Graph_RecurrentOp : Graph_Op<"recurrent", [Pure, AttrSizedOperandSegments]> {
  let summary = "A recurrent layer over a sequence, in one direction.";
  let description = [{
    x: [T, B, C]; H hidden values; w: [G * H, C]; r: [G * H, H]; bias: [2 * G * H], those of w and of r; h0, c0: [B, H];
    y: [T, B, H]; h, c: [B, H], those of the last step. G gates in ONNX's order, s = sigmoid, z_g = x w_g^T + bias:
    rnn, rnn_relu (1): h = f(z + h r^T + bias_r), f tanh or relu.
    lstm (i, o, f, c): c = s(f) c + s(i) tanh(c'), h = s(o) tanh(c); each of i, o, f, c' is z + h r^T + bias_r;
      with `peepholes` [3 * H] (i, o, f) times c is added, the new c for o.
    gru (z, r, h): h = (1 - s(z)) tanh(z_h + s(r) (h r_h^T + bias_r)) + s(z) h; gru_reset_first: (s(r) h) r_h^T + bias_r
      in the place of that product.
    `reverse`: from the last step to the first. `lengths` [B] (i32): steps of each sequence; y is 0 behind them, and h and c
    are those of the last of them.
  }];
  let arguments = (ins NetworkTensor:$x, NetworkTensor:$w, NetworkTensor:$r, NetworkTensor:$bias, NetworkTensor:$h0,
    Optional<NetworkTensor>:$c0, Optional<NetworkTensor>:$peepholes, Optional<NetworkTensor>:$lengths,
    Graph_CellAttr:$cell, UnitAttr:$reverse);
  let results = (outs NetworkTensor:$y, NetworkTensor:$h, Optional<NetworkTensor>:$c);
  let assemblyFormat = [{
    `` $cell (`reverse` $reverse^)? $x `,` $w `,` $r `,` $bias `,` $h0 (`cell` $c0^)? (`peepholes` $peepholes^)? (`lengths` $lengths^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

#endif // MLC_DIALECT_GRAPH_IR_NETWORKOPS
