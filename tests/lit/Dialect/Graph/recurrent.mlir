// RUN: mlc-opt %s | mlc-opt | FileCheck %s
// RUN: mlc-opt %s --mlir-print-op-generic | mlc-opt | FileCheck %s
// What appends to a state survives even where its result is not used.
// RUN: mlc-opt %s -canonicalize -cse | FileCheck %s --check-prefix=KEPT

// CHECK: graph.state @conv conv sequence {channels = 20 : i64, kernel = 4 : i64}
// CHECK: graph.state @ssm ssm sequence {groups = 2 : i64, head_dim = 3 : i64, heads = 4 : i64, state_size = 2 : i64}
graph.state @conv conv sequence {channels = 20 : i64, kernel = 4 : i64}
graph.state @ssm ssm sequence {heads = 4 : i64, head_dim = 3 : i64, groups = 2 : i64, state_size = 2 : i64}
// Vectors and kernels of taps come with the axes of either kind of checkpoint.
graph.weight @w : tensor<20x4xf32> stored f32
graph.weight @w3 : tensor<20x1x4xf32> stored f32
graph.weight @bias : tensor<20xf32> stored f32
graph.weight @a : tensor<4xf32> stored f32
graph.weight @d : tensor<4x1xf32> stored f32
graph.weight @norm : tensor<12xf32> stored f32
graph.weight @norms : tensor<2x6xf32> stored f32

// CHECK-LABEL: func.func @conv1d_causal
// KEPT-LABEL: func.func @conv1d_causal
func.func @conv1d_causal(%x: tensor<?x20xf32>, %batch: !graph.batch) {
  // CHECK: graph.conv1d_causal %{{.*}}, %{{.*}}, @conv, @w bias @bias activation silu : tensor<?x20xf32>
  // KEPT-COUNT-2: graph.conv1d_causal
  %0 = graph.conv1d_causal %x, %batch, @conv, @w bias @bias activation silu : tensor<?x20xf32>
  // CHECK: graph.conv1d_causal %{{.*}}, %{{.*}}, @conv, @w3 : tensor<?x20xf32>
  %1 = graph.conv1d_causal %x, %batch, @conv, @w3 : tensor<?x20xf32>
  return
}

// CHECK-LABEL: func.func @ssd
// KEPT-LABEL: func.func @ssd
func.func @ssd(%x: tensor<?x12xf32>, %dt: tensor<?x4xf32>, %b: tensor<?x4xf32>, %c: tensor<?x4xf32>, %batch: !graph.batch) {
  // CHECK: graph.ssd %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, @ssm a @a log d @d dt_bias @a : tensor<?x12xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  // KEPT-COUNT-2: graph.ssd
  %0 = graph.ssd %x, %dt, %b, %c, %batch, @ssm a @a log d @d dt_bias @a : tensor<?x12xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  // CHECK: graph.ssd {{.*}}, @ssm a @a d @d dt_bias @a {dt_max = 1.000000e-01 : f32, dt_min = 1.000000e-03 : f32, products = #graph<products bf16>} : tensor<?x12xf32>
  %1 = graph.ssd %x, %dt, %b, %c, %batch, @ssm a @a d @d dt_bias @a {dt_min = 0.001 : f32, dt_max = 0.1 : f32, products = #graph<products bf16>} : tensor<?x12xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  return
}

// CHECK-LABEL: func.func @gated_rms_norm
func.func @gated_rms_norm(%x: tensor<?x12xf32>, %g: tensor<?x12xf32>) {
  // CHECK: graph.gated_rms_norm silu %{{.*}}, %{{.*}}, @norm {eps = 9.99999974E-6 : f32, group = 12 : i64} : tensor<?x12xf32>
  %0 = graph.gated_rms_norm silu %x, %g, @norm {eps = 1.0e-5 : f32, group = 12 : i64} : tensor<?x12xf32>
  // CHECK: graph.gated_rms_norm silu %{{.*}}, %{{.*}}, @norms {eps = 9.99999974E-6 : f32, group = 6 : i64, norm_before_gate} : tensor<?x12xf32>
  %1 = graph.gated_rms_norm silu %x, %g, @norms {eps = 1.0e-5 : f32, group = 6 : i64, norm_before_gate} : tensor<?x12xf32>
  return
}
