// RUN: mlc-opt %s --network-decompose | FileCheck %s

// The extents of an expanded shape are those that the op names: MLIR would divide by what several dynamic extents of a
// group give, which is zero. A result that is written over does not keep the expanded shape alive.
module {
  graph.network "net"
  // CHECK-LABEL: func.func @expanded(
  // CHECK-SAME: %[[X:.*]]: tensor<?xf32>, %[[N:.*]]: index, %[[T:.*]]: index
  func.func @expanded(%x: tensor<?xf32>, %n: index, %t: index) -> (tensor<?x?x8xf32>, index) {
    %c1 = arith.constant 1 : index
    // CHECK: %[[E:.*]] = tensor.expand_shape %[[X]] {{\[\[}}0, 1, 2]] output_shape [%[[N]], %[[T]], 8]
    %e = tensor.expand_shape %x [[0, 1, 2]] output_shape [%n, %t, 8] : tensor<?xf32> into tensor<?x?x8xf32>
    // CHECK-NOT: floordiv
    // CHECK: %[[INTO:.*]] = tensor.empty(%[[N]], %[[T]])
    // CHECK: linalg.generic {{.*}} ins(%[[E]] : {{.*}}) outs(%[[INTO]] :
    %y = math.exp %e : tensor<?x?x8xf32>
    %extent = tensor.dim %y, %c1 : tensor<?x?x8xf32>
    // CHECK: return %{{.*}}, %[[T]]
    return %y, %extent : tensor<?x?x8xf32>, index
  }
}
