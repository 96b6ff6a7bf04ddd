// RUN: mlc-opt %s --network-decompose --network-fuse --network-bufferize --convert-graph-to-exec='isas=x86-64-v2' --exec-plan-memory --exec-verify-planned | FileCheck %s

// Extents of the inputs are handed to code; shapes of inputs and outputs name them, and memory is that of the bounds:
// 2 x 40 x 32 floats each.
module {
  graph.network "net"
  graph.extent @n at_most 2
  graph.extent @t at_most 40
  // CHECK: exec.model "network" {arena_size = 20480 : i64
  // CHECK: exec.extent @n at_most 2
  // CHECK: exec.extent @t at_most 40
  // CHECK-LABEL: exec.func @main
  // CHECK: %[[X:.*]] = exec.slot ["n", "t", 32] input 0
  // CHECK: %[[Y:.*]] = exec.slot ["n", "t", 4, 8]
  // CHECK: exec.call_code @{{.*}}(%[[X]], %[[Y]]) dims ["n", "t"]
  func.func @main(%x: tensor<?x?x32xf32> {graph.dims = ["n", "t", ""], graph.name = "x"}) -> (tensor<?x?x4x8xf32> {graph.name = "y"}) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %n = tensor.dim %x, %c0 : tensor<?x?x32xf32>
    %t = tensor.dim %x, %c1 : tensor<?x?x32xf32>
    %flat = tensor.collapse_shape %x [[0, 1, 2]] : tensor<?x?x32xf32> into tensor<?xf32>
    %heads = tensor.expand_shape %flat [[0, 1, 2, 3]] output_shape [%n, %t, 4, 8] : tensor<?xf32> into tensor<?x?x4x8xf32>
    %y = math.exp %heads : tensor<?x?x4x8xf32>
    return %y : tensor<?x?x4x8xf32>
  }
}
