// RUN: mlc-opt %s -graph-round-scan | FileCheck %s

graph.state @ssm ssm sequence {heads = 4 : i64, head_dim = 3 : i64, groups = 2 : i64, state_size = 2 : i64}
graph.weight @a : tensor<4xf32> stored f32
func.func @f(%x: tensor<?x12xf32>, %dt: tensor<?x4xf32>, %b: tensor<?x4xf32>, %batch: !graph.batch) {
  // CHECK: graph.ssd {{.*}} {products = #graph<products bf16>}
  %0 = graph.ssd %x, %dt, %b, %b, %batch, @ssm a @a log d @a dt_bias @a : tensor<?x12xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  return
}
