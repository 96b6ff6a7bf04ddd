// RUN: mlc-opt %s | mlc-opt | FileCheck %s
// RUN: mlc-opt %s --mlir-print-op-generic | mlc-opt | FileCheck %s
// An attention appends to its state, so it survives even where its result is not used.
// RUN: mlc-opt %s -canonicalize -cse | FileCheck %s

graph.state @kv kv sequence {kv_heads = 2 : i64, head_dim = 8 : i64}

// CHECK-LABEL: func.func @attention
func.func @attention(%q: tensor<?x32xf32>, %k: tensor<?x16xf32>, %v: tensor<?x16xf32>, %batch: !graph.batch) {
  // CHECK: graph.attention %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, @kv {heads = 4 : i64, scale = 3.535000e-01 : f32} : tensor<?x32xf32>, tensor<?x16xf32>
  %0 = graph.attention %q, %k, %v, %batch, @kv {heads = 4 : i64, scale = 0.3535 : f32} : tensor<?x32xf32>, tensor<?x16xf32>
  // CHECK: graph.attention {{.*}} {heads = 4 : i64, scale = 3.535000e-01 : f32, softcap = 5.000000e+01 : f32}
  %1 = graph.attention %q, %k, %v, %batch, @kv {heads = 4 : i64, scale = 0.3535 : f32, softcap = 50.0 : f32} : tensor<?x32xf32>, tensor<?x16xf32>
  return
}
