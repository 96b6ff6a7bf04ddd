// RUN: mlc-opt %s | mlc-opt | FileCheck %s

// The ops of networks, as they are read and written.

graph.network "g" {producer = "hand"}
graph.weight @w : tensor<6x2x3xf32> stored f32
graph.weight @ids : tensor<4xi64> stored i64
graph.extent @batch at_most 4

// CHECK: graph.network "g" {producer = "hand"}
// CHECK: graph.weight @ids : tensor<4xi64> stored i64
// CHECK: func.func @main(%{{.*}}: tensor<?x4x9xf32> {graph.dims = ["batch", "", ""], graph.name = "x"}, %{{.*}}: tensor<3xi8> {graph.name = "u", graph.unsigned}) -> (tensor<?x6x2xf32> {graph.name = "y"}, tensor<3xi8> {graph.name = "v", graph.unsigned})
func.func @main(%x: tensor<?x4x9xf32> {graph.dims = ["batch", "", ""], graph.name = "x"}, %u: tensor<3xi8> {graph.name = "u", graph.unsigned})
    -> (tensor<?x6x2xf32> {graph.name = "y"}, tensor<3xi8> {graph.name = "v", graph.unsigned}) {
  // CHECK: graph.read @w : tensor<6x2x3xf32>
  %w = graph.read @w : tensor<6x2x3xf32>
  // CHECK: graph.conv %{{.*}}, %{{.*}} {dilations = array<i64: 1>, groups = 2 : i64, pads = array<i64: 1, 1>, strides = array<i64: 2>} : (tensor<?x4x9xf32>, tensor<6x2x3xf32>) -> tensor<?x6x5xf32>
  %c = graph.conv %x, %w {strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: 1, 1>, groups = 2 : i64} : (tensor<?x4x9xf32>, tensor<6x2x3xf32>) -> tensor<?x6x5xf32>
  // CHECK: graph.pool %{{.*}} {dilations = array<i64: 1>, kernel = array<i64: 3>, kind = #graph<pool_kind max>, pads = array<i64: 0, 0>, strides = array<i64: 2>}
  %p = graph.pool %c {kind = #graph<pool_kind max>, kernel = array<i64: 3>, strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: 0, 0>} : (tensor<?x6x5xf32>) -> tensor<?x6x2xf32>
  // CHECK: graph.softmax %{{.*}} {axis = 2 : i64, log} : tensor<?x6x2xf32>
  %s = graph.softmax %p {axis = 2 : i64, log} : tensor<?x6x2xf32>
  return %s, %u : tensor<?x6x2xf32>, tensor<3xi8>
}

// CHECK: graph.recurrent lstm reverse %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} cell %{{.*}} :
func.func @cell(%x: tensor<5x1x3xf32>, %w: tensor<8x3xf32>, %r: tensor<8x2xf32>, %b: tensor<16xf32>, %h: tensor<1x2xf32>) -> tensor<5x1x2xf32> {
  %y, %hn, %cn = graph.recurrent lstm reverse %x, %w, %r, %b, %h cell %h : (tensor<5x1x3xf32>, tensor<8x3xf32>, tensor<8x2xf32>, tensor<16xf32>, tensor<1x2xf32>, tensor<1x2xf32>) -> (tensor<5x1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>)
  // CHECK: graph.matmul %{{.*}}, %{{.*}} : (tensor<5x1x2xf32>, tensor<5x2x1xf32>) -> tensor<5x1x1xf32>
  %t = tensor.expand_shape %r [[0], [1, 2]] output_shape [8, 2, 1] : tensor<8x2xf32> into tensor<8x2x1xf32>
  %five = tensor.extract_slice %t[0, 0, 0] [5, 2, 1] [1, 1, 1] : tensor<8x2x1xf32> to tensor<5x2x1xf32>
  %m = graph.matmul %y, %five : (tensor<5x1x2xf32>, tensor<5x2x1xf32>) -> tensor<5x1x1xf32>
  return %y : tensor<5x1x2xf32>
}

// CHECK-LABEL: func.func @resize
func.func @resize(%x: tensor<?x3x8x6xf32>) -> tensor<?x3x4x12xf32> {
  // CHECK: graph.resize %{{.*}} {coordinates = #graph<resize_coordinates half_pixel>} : (tensor<?x3x8x6xf32>) -> tensor<?x3x4x12xf32>
  %y = graph.resize %x {coordinates = #graph<resize_coordinates half_pixel>} : (tensor<?x3x8x6xf32>) -> tensor<?x3x4x12xf32>
  return %y : tensor<?x3x4x12xf32>
}

// CHECK-LABEL: func.func @selection
func.func @selection(%f: tensor<4x3xf32>, %i: tensor<2x1xi64>, %u: tensor<2x3xf32>) -> (tensor<4x3xf32>, tensor<2x?xi64>) {
  // CHECK: graph.scatter %{{.*}}, %{{.*}}, %{{.*}} {kind = #graph<scatter_kind add>} : (tensor<4x3xf32>, tensor<2x1xi64>, tensor<2x3xf32>) -> tensor<4x3xf32>
  %s = graph.scatter %f, %i, %u {kind = #graph<scatter_kind add>} : (tensor<4x3xf32>, tensor<2x1xi64>, tensor<2x3xf32>) -> tensor<4x3xf32>
  // CHECK: graph.sort %{{.*}} {axis = 1 : i64, descending} : (tensor<4x3xf32>) -> (tensor<4x3xf32>, tensor<4x3xi64>)
  %v, %o = graph.sort %s {axis = 1 : i64, descending} : (tensor<4x3xf32>) -> (tensor<4x3xf32>, tensor<4x3xi64>)
  // CHECK: graph.nonzero %{{.*}} : (tensor<4x3xf32>) -> tensor<2x?xi64>
  %n = graph.nonzero %v : (tensor<4x3xf32>) -> tensor<2x?xi64>
  return %v, %n : tensor<4x3xf32>, tensor<2x?xi64>
}

// CHECK-LABEL: func.func @boxes
func.func @boxes(%b: tensor<1x6x4xf32>, %s: tensor<1x2x6xf32>, %most: tensor<i64>, %overlap: tensor<f32>) -> tensor<?x3xi64> {
  // CHECK: graph.non_max_suppression %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} {centers}
  %k = graph.non_max_suppression %b, %s, %most, %overlap {centers} : (tensor<1x6x4xf32>, tensor<1x2x6xf32>, tensor<i64>, tensor<f32>) -> tensor<?x3xi64>
  return %k : tensor<?x3xi64>
}

// CHECK-LABEL: func.func @blocks
func.func @blocks(%c: tensor<5x32xi8>, %s: tensor<5x2xf32>, %z: tensor<5x1xi8>, %f: tensor<5x2xf32>) {
  // CHECK: graph.dequantize_blocks %{{.*}}, %{{.*}} {bits = 4 : i64, block = 32 : i64, rounds} : (tensor<5x32xi8>, tensor<5x2xf32>) -> tensor<64x5xf32>
  %0 = graph.dequantize_blocks %c, %s {bits = 4 : i64, block = 32 : i64, rounds} : (tensor<5x32xi8>, tensor<5x2xf32>) -> tensor<64x5xf32>
  // CHECK: graph.dequantize_blocks %{{.*}}, %{{.*}}, %{{.*}} {bits = 4 : i64, block = 32 : i64} : (tensor<5x32xi8>, tensor<5x2xf32>, tensor<5x1xi8>) -> tensor<50x5xf32>
  %1 = graph.dequantize_blocks %c, %s, %z {bits = 4 : i64, block = 32 : i64} : (tensor<5x32xi8>, tensor<5x2xf32>, tensor<5x1xi8>) -> tensor<50x5xf32>
  // CHECK: graph.dequantize_blocks %{{.*}}, %{{.*}}, %{{.*}} {bits = 8 : i64, block = 16 : i64} : (tensor<5x32xi8>, tensor<5x2xf32>, tensor<5x2xf32>) -> tensor<32x5xf32>
  %2 = graph.dequantize_blocks %c, %s, %f {bits = 8 : i64, block = 16 : i64} : (tensor<5x32xi8>, tensor<5x2xf32>, tensor<5x2xf32>) -> tensor<32x5xf32>
  return
}
