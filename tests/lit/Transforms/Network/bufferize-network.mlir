// RUN: mlc-opt %s --network-bufferize --canonicalize | FileCheck %s

module {
  graph.network "test"
  graph.weight @w : tensor<4xf32> stored f32
  // Weights and constants are arguments that are only read.
  // CHECK-LABEL: func.func @main(
  // CHECK-SAME: %[[X:[a-z0-9]+]]: memref<4xf32> {{.*}}graph.name = "x"
  // CHECK-SAME: %[[W:[a-z0-9]+]]: memref<4xf32> {{.*}}network.weight = @w
  // CHECK-SAME: network.constant = dense<{{.*}}> : tensor<2xi64>
  func.func @main(%x: tensor<4xf32> {graph.name = "x"}, %yes: tensor<i1> {graph.name = "yes"}) -> (tensor<4xf32> {graph.name = "y"}, tensor<2xi64> {graph.name = "z"}) {
    %w = graph.read @w : tensor<4xf32>
    %c = arith.constant dense<[3, 4]> : tensor<2xi64>
    %lower = arith.constant 0 : index
    %upper = arith.constant 5 : index
    %step = arith.constant 1 : index
    // What iterations carry has one place.
    // CHECK: %[[PLACE:[a-z0-9_]+]] = memref.alloc
    // CHECK: memref.copy %[[X]], %[[PLACE]]
    // CHECK: scf.for
    // CHECK-NOT: iter_args
    // CHECK: linalg.generic {{.*}}ins({{.*}}%[[W]]
    %r = scf.for %i = %lower to %upper step %step iter_args(%s = %x) -> (tensor<4xf32>) {
      %e = tensor.empty() : tensor<4xf32>
      %n = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%s, %w : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) {
      ^bb0(%a: f32, %b: f32, %o: f32):
        %m = arith.mulf %a, %b : f32
        linalg.yield %m : f32
      } -> tensor<4xf32>
      scf.yield %n : tensor<4xf32>
    }
    return %r, %c : tensor<4xf32>, tensor<2xi64>
  }

  // A loop that starts from a part of a tensor has a buffer without the part's strides.
  // CHECK-LABEL: func.func @part
  // CHECK: %[[PART:[a-z0-9_]+]] = memref.subview {{.*}} to memref<2x1xf32, strided<[5, 1], offset: 3>>
  // CHECK: scf.for
  // CHECK-NOT: memref.cast
  func.func @part(%x: tensor<2x5xf32>) -> tensor<2x1xf32> {
    %lower = arith.constant 0 : index
    %upper = arith.constant 2 : index
    %step = arith.constant 1 : index
    %one = arith.constant 1.0 : f32
    %p = tensor.extract_slice %x[0, 3] [2, 1] [1, 1] : tensor<2x5xf32> to tensor<2x1xf32>
    %r = scf.for %i = %lower to %upper step %step iter_args(%s = %p) -> (tensor<2x1xf32>) {
      %n = tensor.insert %one into %s[%i, %lower] : tensor<2x1xf32>
      scf.yield %n : tensor<2x1xf32>
    }
    return %r : tensor<2x1xf32>
  }
}
