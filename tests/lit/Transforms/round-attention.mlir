// RUN: mlc-opt %s -graph-round-attention | FileCheck %s
// RUN: mlc-opt %s -graph-round-attention | mlc-opt | FileCheck %s

graph.state @kv kv sequence {kv_heads = 2 : i64, head_dim = 8 : i64, dtype = i8}
graph.state @half kv sequence {kv_heads = 2 : i64, head_dim = 8 : i64, dtype = f16}

// CHECK-LABEL: func.func @attention
func.func @attention(%q: tensor<?x32xf32>, %k: tensor<?x16xf32>, %v: tensor<?x16xf32>, %batch: !graph.batch) {
  // CHECK: graph.attention {{.*}} {heads = 4 : i64, products = #graph<products bf16>, scale = 3.535000e-01 : f32}
  %0 = graph.attention %q, %k, %v, %batch, @kv {heads = 4 : i64, scale = 0.3535 : f32} : tensor<?x32xf32>, tensor<?x16xf32>
  // Keys and values of f16 keep their precision.
  // CHECK: graph.attention {{.*}}@half {heads = 4 : i64, scale = 3.535000e-01 : f32}
  %1 = graph.attention %q, %k, %v, %batch, @half {heads = 4 : i64, scale = 0.3535 : f32} : tensor<?x32xf32>, tensor<?x16xf32>
  return
}
