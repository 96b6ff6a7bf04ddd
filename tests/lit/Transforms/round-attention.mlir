// RUN: mlc-opt %s -graph-round-attention | FileCheck %s
// RUN: mlc-opt %s -graph-round-attention | mlc-opt | FileCheck %s

graph.state @kv kv sequence {kv_heads = 2 : i64, head_dim = 8 : i64, dtype = i8}
graph.state @brain kv sequence {kv_heads = 2 : i64, head_dim = 8 : i64, dtype = bf16}
graph.state @half kv sequence {kv_heads = 2 : i64, head_dim = 8 : i64, dtype = f16}

// CHECK-LABEL: func.func @attention
func.func @attention(%q: tensor<?x32xf32>, %k: tensor<?x16xf32>, %v: tensor<?x16xf32>, %batch: !graph.batch) {
  // CHECK: graph.attention {{.*}} {heads = 4 : i64, products = #graph<products i8>, scale = 3.535000e-01 : f32}
  %0 = graph.attention %q, %k, %v, %batch, @kv {heads = 4 : i64, scale = 0.3535 : f32} : tensor<?x32xf32>, tensor<?x16xf32>
  // CHECK: graph.attention {{.*}}@brain {heads = 4 : i64, products = #graph<products bf16>, scale = 3.535000e-01 : f32}
  %1 = graph.attention %q, %k, %v, %batch, @brain {heads = 4 : i64, scale = 0.3535 : f32} : tensor<?x32xf32>, tensor<?x16xf32>
  // Keys and values of f16 keep their precision.
  // CHECK: graph.attention {{.*}}@half {heads = 4 : i64, scale = 3.535000e-01 : f32}
  %2 = graph.attention %q, %k, %v, %batch, @half {heads = 4 : i64, scale = 0.3535 : f32} : tensor<?x32xf32>, tensor<?x16xf32>
  return
}

// Sums of more codes may not be exact in f32.
graph.state @wide kv sequence {kv_heads = 1 : i64, head_dim = 1025 : i64, dtype = i8}

// CHECK-LABEL: func.func @wide_heads
func.func @wide_heads(%q: tensor<?x1025xf32>, %batch: !graph.batch) {
  // CHECK: graph.attention {{.*}}@wide {heads = 1 : i64, scale = 1.000000e-01 : f32}
  %0 = graph.attention %q, %q, %q, %batch, @wide {heads = 1 : i64, scale = 0.1 : f32} : tensor<?x1025xf32>, tensor<?x1025xf32>
  return
}
