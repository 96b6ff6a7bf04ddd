// RUN: mlc-opt %s -graph-quantize | FileCheck %s --check-prefix=KEEP
// RUN: mlc-opt %s -graph-quantize=mode=none | FileCheck %s --check-prefix=NONE
// RUN: mlc-opt %s -graph-quantize=mode=int8 | FileCheck %s --check-prefix=INT8
// RUN: mlc-opt %s -graph-quantize='mode=int4 group=32 asymmetric=true' | FileCheck %s --check-prefix=INT4
// RUN: mlc-opt %s -graph-quantize='mode=int4 head=keep' | FileCheck %s --check-prefix=HEAD
// RUN: not mlc-opt %s -graph-quantize=mode=int2 2>&1 | FileCheck %s --check-prefix=MODE
// RUN: not mlc-opt %s -graph-quantize=group=48 2>&1 | FileCheck %s --check-prefix=GROUP
// RUN: not mlc-opt %s -graph-quantize='mode=int8 head=fp8' 2>&1 | FileCheck %s --check-prefix=WORD

// MODE: error: --quant int2: choose keep, none, int8 or int4
// GROUP: error: --group 48: choose 32, 64 or 128
// WORD: error: --head fp8: choose int4, int8 or keep

graph.extent @tokens

// The embedding follows the head.
// KEEP: graph.weight @embed : tensor<100x256xf32> stored q6_k{{$}}
// NONE: graph.weight @embed : tensor<100x256xf32> stored q6_k expanded
// INT8: graph.weight @embed : {{.*}} as <bits = 8, group = 128>
// INT4: graph.weight @embed : {{.*}} as <bits = 8, group = 32>
// HEAD: graph.weight @embed : tensor<100x256xf32> stored q6_k{{$}}
graph.weight @embed : tensor<100x256xf32> stored q6_k

// What no product reads stays as it is.
// INT4: graph.weight @norm : tensor<256xf32> stored f32{{$}}
graph.weight @norm : tensor<256xf32> stored f32

// KEEP: graph.weight @up : tensor<96x256xf32> stored bf16{{$}}
// NONE: graph.weight @up : tensor<96x256xf32> stored bf16{{$}}
// INT8: graph.weight @up : tensor<96x256xf32> stored bf16 as <bits = 8, group = 128>
// INT4: graph.weight @up : tensor<96x256xf32> stored bf16 as <bits = 4, group = 32, asymmetric = true>
// HEAD: graph.weight @up : tensor<96x256xf32> stored bf16 as <bits = 4, group = 128>
graph.weight @up : tensor<96x256xf32> stored bf16

// 96 columns: 32 is the largest group that divides them.
// INT8: graph.weight @down : tensor<256x96xf32> stored f32 as <bits = 8, group = 32>
graph.weight @down : tensor<256x96xf32> stored f32

// INT8: graph.weight @head : tensor<100x256xf32> stored f32 as <bits = 8, group = 128>
// INT4: graph.weight @head : tensor<100x256xf32> stored f32 as <bits = 8, group = 32>
// HEAD: graph.weight @head : tensor<100x256xf32> stored f32{{$}}
graph.weight @head : tensor<100x256xf32> stored f32

func.func @step(%ids: tensor<?xi32> {graph.dims = ["tokens"]}) -> tensor<?x100xf32> {
  %0 = graph.embedding %ids, @embed : tensor<?xi32> -> tensor<?x256xf32>
  %1 = graph.rms_norm %0, @norm {eps = 1.0e-5 : f32} : tensor<?x256xf32>
  %2 = graph.linear %1, [@up] : tensor<?x256xf32> -> tensor<?x96xf32>
  %3 = graph.linear %2, [@down] : tensor<?x96xf32> -> tensor<?x256xf32>
  %4 = graph.linear %3, [@head] : tensor<?x256xf32> -> tensor<?x100xf32>
  %5 = graph.softcap %4 {cap = 30.0 : f32} : tensor<?x100xf32>
  return %5 : tensor<?x100xf32>
}
