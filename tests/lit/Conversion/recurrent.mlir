// A Mamba-2 mixer, from values to kernel calls.
// RUN: mlc-opt %s -graph-set-bounds='batch=32 sequences=2' -graph-set-state-types='ssm=bf16 checkpoint-every=64' -graph-verify-ready -convert-graph-to-exec | FileCheck %s
// Printing what was planned and reading it again changes nothing.
// RUN: mlc-opt %s -graph-set-bounds -graph-set-state-types -convert-graph-to-exec -exec-plan-memory -exec-verify-planned -o %t.mlir
// RUN: mlc-opt %t.mlir | diff - %t.mlir
// RUN: mlc-opt %t.mlir --mlir-print-op-generic | mlc-opt | diff - %t.mlir

// CHECK: exec.model "mamba2" {checkpoint_every = 64 : i64
graph.model "mamba2" {vocab_size = 40 : i64, trained_context = 128 : i64}
graph.extent @tokens
graph.extent @rows
// CHECK: exec.state @l0.conv {dims = array<i64: 20, 3>, dtype = f32, kind = #exec<state_kind conv>, log_columns = 20 : i64}
graph.state @l0.conv conv sequence {channels = 20 : i64, kernel = 4 : i64}
// CHECK: exec.state @l0.ssm {dims = array<i64: 4, 3, 2>, dtype = bf16, groups = 2 : i64, kind = #exec<state_kind ssm>, log_columns = 20 : i64}
graph.state @l0.ssm ssm sequence {heads = 4 : i64, head_dim = 3 : i64, groups = 2 : i64, state_size = 2 : i64}
graph.weight @embed : tensor<40x36xf32> stored f32
graph.weight @w : tensor<20x1x4xf32> stored bf16
graph.weight @bias : tensor<20xf32> stored f32
graph.weight @a : tensor<4xf32> stored f32
graph.weight @d : tensor<4x1xf32> stored f32
graph.weight @dt : tensor<4xf32> stored f32
graph.weight @norm : tensor<2x6xf32> stored f32
graph.weight @out : tensor<40x12xf32> stored f32

func.func @step(%batch: !graph.batch, %tokens: tensor<?xi32> {graph.dims = ["tokens"]},
                %rows: tensor<?xi32> {graph.dims = ["rows"]}) -> tensor<?x40xf32> {
  // CHECK: %[[ALL:.*]] = exec.slot ["tokens", 36]
  %x = graph.embedding %tokens, @embed : tensor<?xi32> -> tensor<?x36xf32>
  // Pieces are scaled where they lie; one by 1 is left alone.
  // CHECK: exec.kernel "unary" {{.*}}scale_out = 2.000000e+00
  // CHECK-NOT: exec.kernel "unary"
  %s = graph.scale_columns %x {factors = array<f32: 2.0, 1.0>, columns = array<i64: 12, 24>} : tensor<?x36xf32>
  %gate, %xbc, %dt = graph.split %s : tensor<?x36xf32> -> tensor<?x12xf32>, tensor<?x20xf32>, tensor<?x4xf32>
  // CHECK-DAG: %[[XBC:.*]] = exec.view %[[ALL]] column 12
  // CHECK-DAG: %[[DT:.*]] = exec.view %[[ALL]] column 32
  // CHECK: %[[W:.*]] = exec.weight @w : memref<20x4xf32>
  // CHECK: exec.kernel "conv1d_causal" version 1 {activation = "silu", channels = 20 : i64, has_bias = true, kernel = 4 : i64} states [@l0.conv](%[[XBC]], %[[W]], %{{.*}}) -> (%[[CONV:.*]]) :
  %c = graph.conv1d_causal %xbc, %batch, @l0.conv, @w bias @bias activation silu : tensor<?x20xf32>
  // CHECK-DAG: %[[X:.*]] = exec.view %[[CONV]] column 0
  // CHECK-DAG: %[[B:.*]] = exec.view %[[CONV]] column 12
  // CHECK-DAG: %[[C:.*]] = exec.view %[[CONV]] column 16
  %i, %b, %cc = graph.split %c : tensor<?x20xf32> -> tensor<?x12xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  // CHECK: %[[D:.*]] = exec.weight @d : memref<4xf32>
  // CHECK: exec.kernel "ssd" version 1 {dt_max = 0x7F800000 : f32, dt_min = 0.000000e+00 : f32, groups = 2 : i64, head_dim = 3 : i64, heads = 4 : i64, log_a = true, products = "f32", state = 2 : i64} states [@l0.ssm](%[[X]], %[[DT]], %[[B]], %[[C]], %{{.*}}, %[[D]], %{{.*}}) -> (%[[Y:.*]]) :
  %y = graph.ssd %i, %dt, %b, %cc, %batch, @l0.ssm a @a log d @d dt_bias @dt : tensor<?x12xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  // CHECK: exec.kernel "gated_rms_norm" version 1 {activation = "silu", {{.*}}group = 6 : i64, norm_before_gate = false}(%[[Y]],
  %n = graph.gated_rms_norm silu %y, %gate, @norm {eps = 1.0e-5 : f32, group = 6 : i64} : tensor<?x12xf32>
  %r = graph.gather_rows %n, %rows : tensor<?x12xf32>, tensor<?xi32> -> tensor<?x12xf32>
  %l = graph.linear %r, [@out] : tensor<?x12xf32> -> tensor<?x40xf32>
  return %l : tensor<?x40xf32>
}
