// RUN: mlc-opt %s --convert-graph-to-exec='isas=x86-64-v2' --exec-plan-memory --exec-verify-planned --mlir-elide-elementsattrs-if-larger=8 | FileCheck %s

module {
  graph.network "net"
  graph.weight @w : tensor<4xf32> stored f32
  // CHECK: exec.constant @w : memref<4xf32> from ["w"]
  // CHECK: exec.carry @carry.state of @main output 1 input 1
  // CHECK: exec.func @main attributes {input_names = ["x", "state"], output_names = ["y", "next"]}
  // CHECK-DAG: %[[X:.*]] = exec.slot [4] input 0
  // CHECK-DAG: %[[STATE:.*]] = exec.slot [4] input 1
  // CHECK-DAG: %[[W:.*]] = exec.weight @w
  // CHECK: %[[SUM:.*]] = exec.slot [4]
  // Small ops share a code object, the copy of an input that is an output included.
  // CHECK: %[[COPY:.*]] = exec.slot [4]
  // CHECK: exec.call_code @region_0(%[[X]], %[[W]], %[[SUM]], %[[COPY]]) dims [] items 1 : i64 grain 1
  // CHECK: exec.return %[[SUM]], %[[COPY]]
  func.func @main(%x: memref<4xf32> {graph.name = "x"}, %state: memref<4xf32> {graph.name = "state", graph.carry = "next"}, %w: memref<4xf32> {network.weight = @w}) -> (memref<4xf32> {graph.name = "y"}, memref<4xf32> {graph.name = "next"}) {
    %y = memref.alloc() : memref<4xf32>
    linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%x, %w : memref<4xf32>, memref<4xf32>) outs(%y : memref<4xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %s = arith.addf %a, %b : f32
      linalg.yield %s : f32
    }
    return %y, %x : memref<4xf32>, memref<4xf32>
  }
}
