// RUN: mlc-opt %s --network-bufferize | FileCheck %s

// Several dynamic extents in a group: a view whose extents are those that the op names, without a copy.
module {
  graph.network "net"
  graph.extent @n at_most 6
  graph.extent @t at_most 4
  // CHECK-LABEL: func.func @main(
  // CHECK: %[[ROWS:.*]] = memref.alloc(%{{.*}}) {{.*}} : memref<?xf32>
  // CHECK: memref.expand_shape %[[ROWS]] {{\[\[}}0, 1]] output_shape [%[[N:.*]], %[[T:.*]]] : memref<?xf32> into memref<?x?xf32>
  // CHECK-NOT: memref.copy
  func.func @main(%x: tensor<?x?xf32> {graph.dims = ["n", "t"], graph.name = "x"}) -> (tensor<?x?xf32> {graph.name = "y"}) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %n = tensor.dim %x, %c0 : tensor<?x?xf32>
    %t = tensor.dim %x, %c1 : tensor<?x?xf32>
    %count = arith.muli %n, %t : index
    %flat = tensor.collapse_shape %x [[0, 1]] : tensor<?x?xf32> into tensor<?xf32>
    %into = tensor.empty(%count) : tensor<?xf32>
    %powers = linalg.exp ins(%flat : tensor<?xf32>) outs(%into : tensor<?xf32>) -> tensor<?xf32>
    %e = tensor.expand_shape %powers [[0, 1]] output_shape [%n, %t] : tensor<?xf32> into tensor<?x?xf32>
    %out = tensor.empty(%n, %t) : tensor<?x?xf32>
    %y = linalg.exp ins(%e : tensor<?x?xf32>) outs(%out : tensor<?x?xf32>) -> tensor<?x?xf32>
    return %y : tensor<?x?xf32>
  }
}
