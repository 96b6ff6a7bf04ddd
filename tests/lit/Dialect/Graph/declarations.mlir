// RUN: mlc-opt %s | mlc-opt | FileCheck %s
// RUN: mlc-opt %s --mlir-print-op-generic | mlc-opt | FileCheck %s
// RUN: mlc-opt %s --emit-bytecode | mlc-opt | FileCheck %s

// CHECK: graph.model "llama" {end_tokens = array<i32: 2, 0>, license = "MIT", max_batch = 512 : i64, max_context = 2048 : i64, max_rows = 512 : i64, max_sequences = 8 : i64, name = "tiny", prompt_form, sampling = {temperature = 8.000000e-01 : f32}, trained_context = 2048 : i64, vocab_size = 32000 : i64}
graph.model "llama" {name = "tiny", vocab_size = 32000 : i64, trained_context = 2048 : i64, prompt_form,
  end_tokens = array<i32: 2, 0>, sampling = {temperature = 0.8 : f32}, license = "MIT", max_context = 2048 : i64,
  max_batch = 512 : i64, max_sequences = 8 : i64, max_rows = 512 : i64}

// CHECK: graph.extent @tokens at_most 512
graph.extent @tokens at_most 512
// CHECK: graph.extent @rows
// CHECK-NOT: at_most
graph.extent @rows

// CHECK: graph.weight @embed : tensor<32000x256xf32> stored bf16
graph.weight @embed : tensor<32000x256xf32> stored bf16
// CHECK: graph.weight @blk.0.attn_q.weight : tensor<256x256xf32> stored q4_k as <bits = 4, group = 32>
graph.weight @blk.0.attn_q.weight : tensor<256x256xf32> stored q4_k as <bits = 4, group = 32>
// CHECK: graph.weight @asymmetric : tensor<8x128xf32> stored f32 as <bits = 4, group = 128, asymmetric = true>
graph.weight @asymmetric : tensor<8x128xf32> stored f32 as <bits = 4, group = 128, asymmetric = true>
// CHECK: graph.weight @head : tensor<8x64xf32> stored f16 as <bits = 8, group = 64>
graph.weight @head : tensor<8x64xf32> stored f16 as <bits = 8, group = 64>

// CHECK: graph.weight @seen : tensor<8x2xf32> stored f32 {importance = array<f32: 2.500000e-01, 1.600000e+01>}
graph.weight @seen : tensor<8x2xf32> stored f32 {importance = array<f32: 0.25, 16.0>}
// CHECK: graph.weight @wide : tensor<2x256xf32> stored q6_k expanded
graph.weight @wide : tensor<2x256xf32> stored q6_k expanded
// CHECK: graph.weight @t0 : tensor<32xf32> stored q4_0
graph.weight @t0 : tensor<32xf32> stored q4_0
// CHECK: graph.weight @t1 : tensor<32xf32> stored q4_1
graph.weight @t1 : tensor<32xf32> stored q4_1
// CHECK: graph.weight @t2 : tensor<32xf32> stored q5_0
graph.weight @t2 : tensor<32xf32> stored q5_0
// CHECK: graph.weight @t3 : tensor<32xf32> stored q5_1
graph.weight @t3 : tensor<32xf32> stored q5_1
// CHECK: graph.weight @t4 : tensor<32xf32> stored q8_0
graph.weight @t4 : tensor<32xf32> stored q8_0
// CHECK: graph.weight @t5 : tensor<2x256xf32> stored q2_k
graph.weight @t5 : tensor<2x256xf32> stored q2_k
// CHECK: graph.weight @t6 : tensor<256xf32> stored q3_k
graph.weight @t6 : tensor<256xf32> stored q3_k
// CHECK: graph.weight @t7 : tensor<256xf32> stored q5_k
graph.weight @t7 : tensor<256xf32> stored q5_k
// CHECK: graph.weight @t8 : tensor<256xf32> stored q6_k
graph.weight @t8 : tensor<256xf32> stored q6_k

// CHECK: graph.state @l0 kv sequence {head_dim = 32 : i64, kv_heads = 4 : i64}
graph.state @l0 kv sequence {kv_heads = 4 : i64, head_dim = 32 : i64}
// CHECK: graph.state @l1 kv sequence {dtype = f16, head_dim = 32 : i64, kv_heads = 4 : i64, window = 128 : i64}
graph.state @l1 kv sequence {kv_heads = 4 : i64, head_dim = 32 : i64, window = 128 : i64, dtype = f16}
// CHECK: graph.state @l2 kv sequence {dtype = i8
graph.state @l2 kv sequence {kv_heads = 4 : i64, head_dim = 32 : i64, dtype = i8}
