// A norm and the one linear that reads it become one kernel.
// RUN: mlc-opt %s -exec-fuse-norm-linear | FileCheck %s

#w = #exec.weight<16 x 16, panel_bf16, group = 0, asymmetric = false>
exec.extent @tokens at_most 8
exec.constant @norm : memref<16xf32> values [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
exec.constant @weight : memref<512xui8> from ["weight"] as #w

// Taps of what is gone end inside the linear.
// CHECK-LABEL: exec.func @fused
// CHECK-NOT: rms_norm
// CHECK: %[[X:.*]] = exec.slot ["tokens", 16] input 0
// CHECK: %[[G:.*]] = exec.weight @norm
// CHECK: %[[W:.*]] = exec.weight @weight
// CHECK: %[[Y:.*]] = exec.slot ["tokens", 16] {inner_taps = ["inner", "inside", "normed"], tap = "out"}
// CHECK: exec.kernel "norm_linear" version 1 {{{.*}}bf16 = true, eps = 9.99{{[0-9]*}}E-6 : f32, {{.*}}offset = 1.000000e+00 : f32, {{.*}}}(%[[X]], %[[G]], %[[W]]) -> (%[[Y]])
// CHECK: exec.kernel "linear"
exec.func @fused {
  %x = exec.slot ["tokens", 16] input 0 : memref<?x16xf32>
  %g = exec.weight @norm : memref<16xf32>
  %w = exec.weight @weight : memref<512xui8>
  %n = exec.slot ["tokens", 16] {tap = "normed", inner_taps = ["inside"]} : memref<?x16xf32>
  %y = exec.slot ["tokens", 16] {tap = "out", inner_taps = ["inner"]} : memref<?x16xf32>
  %z = exec.slot ["tokens", 16] : memref<?x16xf32>
  exec.kernel "rms_norm" version 1 {eps = 1.0e-5 : f32, offset = 1.0 : f32, width = 16 : i64}(%x, %g) -> (%n) : (memref<?x16xf32>, memref<16xf32>) -> memref<?x16xf32>
  exec.kernel "linear" version 1 {activation = "none", bf16 = true, gated = false, has_bias = false, has_residual = false, out_group = 0 : i64, out_sum_group = 0 : i64, quantized_input = false, weight = #w}(%n, %w) -> (%y) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  exec.kernel "linear" version 1 {activation = "none", bf16 = true, gated = false, has_bias = false, has_residual = false, out_group = 0 : i64, out_sum_group = 0 : i64, quantized_input = false, weight = #w}(%y, %w) -> (%z) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  exec.return %z : memref<?x16xf32>
}

// The last linear reads the hidden states, which are looked at.
// CHECK-LABEL: exec.func @last
// CHECK: exec.kernel "rms_norm"
// CHECK: exec.kernel "linear"
exec.func @last {
  %x = exec.slot ["tokens", 16] input 0 : memref<?x16xf32>
  %g = exec.weight @norm : memref<16xf32>
  %w = exec.weight @weight : memref<512xui8>
  %n = exec.slot ["tokens", 16] : memref<?x16xf32>
  %z = exec.slot ["tokens", 16] : memref<?x16xf32>
  exec.kernel "rms_norm" version 1 {eps = 1.0e-5 : f32, offset = 1.0 : f32, width = 16 : i64}(%x, %g) -> (%n) : (memref<?x16xf32>, memref<16xf32>) -> memref<?x16xf32>
  exec.kernel "linear" version 1 {activation = "none", bf16 = true, gated = false, has_bias = false, has_residual = false, out_group = 0 : i64, out_sum_group = 0 : i64, quantized_input = false, weight = #w}(%n, %w) -> (%z) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  exec.return %z : memref<?x16xf32>
}

// Both would norm.
// CHECK-LABEL: exec.func @two_readers
// CHECK: exec.kernel "rms_norm"
// CHECK: exec.kernel "linear"
// CHECK: exec.kernel "linear"
exec.func @two_readers {
  %x = exec.slot ["tokens", 16] input 0 : memref<?x16xf32>
  %g = exec.weight @norm : memref<16xf32>
  %w = exec.weight @weight : memref<512xui8>
  %n = exec.slot ["tokens", 16] : memref<?x16xf32>
  %y = exec.slot ["tokens", 16] : memref<?x16xf32>
  %z = exec.slot ["tokens", 16] : memref<?x16xf32>
  exec.kernel "rms_norm" version 1 {eps = 1.0e-5 : f32, offset = 1.0 : f32, width = 16 : i64}(%x, %g) -> (%n) : (memref<?x16xf32>, memref<16xf32>) -> memref<?x16xf32>
  exec.kernel "linear" version 1 {activation = "none", bf16 = true, gated = false, has_bias = false, has_residual = false, out_group = 0 : i64, out_sum_group = 0 : i64, quantized_input = false, weight = #w}(%n, %w) -> (%y) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  exec.kernel "linear" version 1 {activation = "none", bf16 = true, gated = false, has_bias = false, has_residual = false, out_group = 0 : i64, out_sum_group = 0 : i64, quantized_input = false, weight = #w}(%n, %w) -> (%z) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  exec.kernel "linear" version 1 {activation = "none", bf16 = true, gated = false, has_bias = false, has_residual = false, out_group = 0 : i64, out_sum_group = 0 : i64, quantized_input = false, weight = #w}(%y, %w) -> (%z) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  exec.return %z : memref<?x16xf32>
}

// Norms of parts of a row.
// CHECK-LABEL: exec.func @groups
// CHECK: exec.kernel "rms_norm"
exec.func @groups {
  %x = exec.slot ["tokens", 16] input 0 : memref<?x16xf32>
  %g = exec.weight @norm : memref<16xf32>
  %w = exec.weight @weight : memref<512xui8>
  %n = exec.slot ["tokens", 16] : memref<?x16xf32>
  %y = exec.slot ["tokens", 16] : memref<?x16xf32>
  %z = exec.slot ["tokens", 16] : memref<?x16xf32>
  exec.kernel "rms_norm" version 1 {eps = 1.0e-5 : f32, offset = 1.0 : f32, width = 8 : i64}(%x, %g) -> (%n) : (memref<?x16xf32>, memref<16xf32>) -> memref<?x16xf32>
  exec.kernel "linear" version 1 {activation = "none", bf16 = true, gated = false, has_bias = false, has_residual = false, out_group = 0 : i64, out_sum_group = 0 : i64, quantized_input = false, weight = #w}(%n, %w) -> (%y) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  exec.kernel "linear" version 1 {activation = "none", bf16 = true, gated = false, has_bias = false, has_residual = false, out_group = 0 : i64, out_sum_group = 0 : i64, quantized_input = false, weight = #w}(%y, %w) -> (%z) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  exec.return %z : memref<?x16xf32>
}

// Products of f32 have no such kernel.
// CHECK-LABEL: exec.func @floats
// CHECK: exec.kernel "rms_norm"
exec.func @floats {
  %x = exec.slot ["tokens", 16] input 0 : memref<?x16xf32>
  %g = exec.weight @norm : memref<16xf32>
  %w = exec.weight @weight : memref<512xui8>
  %n = exec.slot ["tokens", 16] : memref<?x16xf32>
  %y = exec.slot ["tokens", 16] : memref<?x16xf32>
  %z = exec.slot ["tokens", 16] : memref<?x16xf32>
  exec.kernel "rms_norm" version 1 {eps = 1.0e-5 : f32, offset = 1.0 : f32, width = 16 : i64}(%x, %g) -> (%n) : (memref<?x16xf32>, memref<16xf32>) -> memref<?x16xf32>
  exec.kernel "linear" version 1 {activation = "none", bf16 = false, gated = false, has_bias = false, has_residual = false, out_group = 0 : i64, out_sum_group = 0 : i64, quantized_input = false, weight = #w}(%n, %w) -> (%y) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  exec.kernel "linear" version 1 {activation = "none", bf16 = true, gated = false, has_bias = false, has_residual = false, out_group = 0 : i64, out_sum_group = 0 : i64, quantized_input = false, weight = #w}(%y, %w) -> (%z) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  exec.return %z : memref<?x16xf32>
}

// What the norm reads is another value by then.
// CHECK-LABEL: exec.func @overwritten
// CHECK: exec.kernel "rms_norm"
exec.func @overwritten {
  %x = exec.slot ["tokens", 16] input 0 : memref<?x16xf32>
  %g = exec.weight @norm : memref<16xf32>
  %w = exec.weight @weight : memref<512xui8>
  %a = exec.slot ["tokens", 16] : memref<?x16xf32>
  %n = exec.slot ["tokens", 16] : memref<?x16xf32>
  %y = exec.slot ["tokens", 16] : memref<?x16xf32>
  %z = exec.slot ["tokens", 16] : memref<?x16xf32>
  exec.kernel "copy" version 1 {}(%x) -> (%a) : (memref<?x16xf32>) -> memref<?x16xf32>
  exec.kernel "rms_norm" version 1 {eps = 1.0e-5 : f32, offset = 1.0 : f32, width = 16 : i64}(%a, %g) -> (%n) : (memref<?x16xf32>, memref<16xf32>) -> memref<?x16xf32>
  %v = exec.view %a column 8 : memref<?x16xf32> to memref<?x8xf32, strided<[16, 1], offset: 8>>
  exec.kernel "b" version 1 {}() -> (%v) : () -> memref<?x8xf32, strided<[16, 1], offset: 8>>
  exec.kernel "linear" version 1 {activation = "none", bf16 = true, gated = false, has_bias = false, has_residual = false, out_group = 0 : i64, out_sum_group = 0 : i64, quantized_input = false, weight = #w}(%n, %w) -> (%y) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  exec.kernel "linear" version 1 {activation = "none", bf16 = true, gated = false, has_bias = false, has_residual = false, out_group = 0 : i64, out_sum_group = 0 : i64, quantized_input = false, weight = #w}(%y, %w) -> (%z) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  exec.return %z : memref<?x16xf32>
}

// Blocks that are done would change the rows that others read.
// CHECK-LABEL: exec.func @in_place
// CHECK: exec.kernel "rms_norm"
exec.func @in_place {
  %x = exec.slot ["tokens", 16] input 0 : memref<?x16xf32>
  %g = exec.weight @norm : memref<16xf32>
  %w = exec.weight @weight : memref<512xui8>
  %a = exec.slot ["tokens", 16] : memref<?x16xf32>
  %n = exec.slot ["tokens", 16] : memref<?x16xf32>
  %z = exec.slot ["tokens", 16] : memref<?x16xf32>
  exec.kernel "copy" version 1 {}(%x) -> (%a) : (memref<?x16xf32>) -> memref<?x16xf32>
  exec.kernel "rms_norm" version 1 {eps = 1.0e-5 : f32, offset = 1.0 : f32, width = 16 : i64}(%a, %g) -> (%n) : (memref<?x16xf32>, memref<16xf32>) -> memref<?x16xf32>
  exec.kernel "linear" version 1 {activation = "none", bf16 = true, gated = false, has_bias = false, has_residual = false, out_group = 0 : i64, out_sum_group = 0 : i64, quantized_input = false, weight = #w}(%n, %w) -> (%a) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  exec.kernel "linear" version 1 {activation = "none", bf16 = true, gated = false, has_bias = false, has_residual = false, out_group = 0 : i64, out_sum_group = 0 : i64, quantized_input = false, weight = #w}(%a, %w) -> (%z) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  exec.return %z : memref<?x16xf32>
}
