// RUN: mlc-opt %s | mlc-opt | FileCheck %s
// RUN: mlc-opt %s --mlir-print-op-generic | mlc-opt | FileCheck %s
// RUN: mlc-opt %s --emit-bytecode | mlc-opt | FileCheck %s

// CHECK: exec.model "llama" {arena_size = 4096 : i64, end_tokens = array<i32: 2>, max_batch = 8 : i64, max_context = 64 : i64, max_rows = 8 : i64, max_sequences = 2 : i64, trained_context = 64 : i64, vocab_size = 16 : i64}
exec.model "llama" {vocab_size = 16 : i64, trained_context = 64 : i64, end_tokens = array<i32: 2>, max_context = 64 : i64,
  max_batch = 8 : i64, max_sequences = 2 : i64, max_rows = 8 : i64, arena_size = 4096 : i64}
// CHECK: exec.extent @tokens at_most 8
exec.extent @tokens at_most 8
// CHECK: exec.constant @w : memref<512xui8> from ["q", "k"] as <8 x 16, panel_int4, group = 32, asymmetric = true> at 64
exec.constant @w : memref<512xui8> from ["q", "k"] as <8 x 16, panel_int4, group = 32, asymmetric = true> at 64
// CHECK: exec.constant @table : memref<2xf32> values [1.000000e+00, 5.000000e-01]
exec.constant @table : memref<2xf32> values [1.0, 0.5]
// CHECK: exec.state @kv {dtype = i8, head_dim = 8 : i64, kv_heads = 2 : i64, window = 32 : i64}
exec.state @kv {kv_heads = 2 : i64, head_dim = 8 : i64, window = 32 : i64, dtype = i8}
// CHECK: exec.code @gelu for "x86_64-unknown-linux-gnu" ["portable", "avx2"] {objects = [array<i8: -61>, array<i8: 15, 11>], source = "linalg"}
exec.code @gelu for "x86_64-unknown-linux-gnu" ["portable", "avx2"] {objects = [array<i8: -61>, array<i8: 15, 11>], source = "linalg"}

// CHECK: exec.func @other
exec.func @other {
  exec.return
}

// CHECK: exec.func @step
exec.func @step {
  // CHECK: %[[IN:.*]] = exec.slot ["tokens", 16] input 0 at 0 : memref<?x16xf32>
  %in = exec.slot ["tokens", 16] input 0 at 0 : memref<?x16xf32>
  // CHECK: %[[OUT:.*]] = exec.slot ["tokens", 16] at 512 {inner_taps = ["b"], tap = "a"} : memref<?x16xf32>
  %out = exec.slot ["tokens", 16] at 512 {tap = "a", inner_taps = ["b"]} : memref<?x16xf32>
  // CHECK: exec.view %[[OUT]] column 8 : memref<?x16xf32> to memref<?x8xf32, strided<[16, 1], offset: 8>>
  %half = exec.view %out column 8 : memref<?x16xf32> to memref<?x8xf32, strided<[16, 1], offset: 8>>
  // CHECK: %[[W:.*]] = exec.weight @w : memref<512xui8>
  %w = exec.weight @w : memref<512xui8>
  // CHECK: exec.kernel "linear" version 1 {has_bias = false}(%[[IN]], %[[W]]) -> (%[[OUT]]) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  exec.kernel "linear" version 1 {has_bias = false}(%in, %w) -> (%out) : (memref<?x16xf32>, memref<512xui8>) -> memref<?x16xf32>
  // CHECK: exec.kernel "kv_append" version 2 {} states [@kv](%{{.*}}) -> ()
  exec.kernel "kv_append" version 2 {} states [@kv](%half) -> () : (memref<?x8xf32, strided<[16, 1], offset: 8>>) -> ()
  // CHECK: exec.call_code @gelu(%[[IN]], %[[OUT]]) dims ["tokens", 16] items "tokens" grain 4 : memref<?x16xf32>, memref<?x16xf32>
  exec.call_code @gelu(%in, %out) dims ["tokens", 16] items "tokens" grain 4 : memref<?x16xf32>, memref<?x16xf32>
  %flag = exec.slot [] at 1024 : memref<i1>
  %count = exec.slot [] at 1088 : memref<i64>
  // CHECK: exec.if %{{.*}} : memref<i1> {
  // CHECK: } else {
  exec.if %flag : memref<i1> {
    exec.call @other
  } else {
    exec.call @other
  }
  // CHECK: exec.loop trips 4 at_most 4 {
  exec.loop trips 4 at_most 4 {
    // CHECK: exec.loop count %{{.*}} : memref<i64> while %{{.*}} : memref<i1> at_most 16 {
    exec.loop count %count : memref<i64> while %flag : memref<i1> at_most 16 {
      // CHECK: exec.call @other
      exec.call @other
    }
  }
  // CHECK: exec.return %[[OUT]] : memref<?x16xf32>
  exec.return %out : memref<?x16xf32>
}
