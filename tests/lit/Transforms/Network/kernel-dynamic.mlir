// RUN: mlc-opt %s --network-choose-kernels="kernels=xnnpack xnnpack=2024" | FileCheck %s
// RUN: mlc-opt %s --network-choose-kernels="kernels=xnnpack" | FileCheck %s --check-prefix=OLDER
// RUN: mlc-opt %s --network-choose-kernels="kernels=xnnpack xnnpack=2024 folds=false" | FileCheck %s --check-prefix=FOLDS
// RUN: mlc-opt %s --network-choose-kernels="kernels=auto xnnpack=2024 isas=x86-64-v4" | FileCheck %s --check-prefix=AUTO

// CHECK: {form = "qd8 linear r4 w1", kernel = "xnnpack.linear_qd8", op = "sitofp", why = "--kernels xnnpack"}
// CHECK-SAME: {kernel = "own", op = "sitofp", why = "XNNPACK's matrices of i8 have a zero point of 0"}
// CHECK-SAME: {kernel = "own", op = "sitofp", why = "XNNPACK's rows of i8 have one zero point"}
// CHECK-SAME: {form = "qb4 linear r4 w1", kernel = "xnnpack.linear_qb4", op = "matmul", why = "--kernels xnnpack"}
// OLDER: {kernel = "own", op = "sitofp", why = "XNNPACK's products of i8 that give f32 need one of 2024 (--xnnpack 2024)"}
// OLDER: {form = "linear r4 w1", kernel = "xnnpack.linear", op = "matmul", why = "--kernels xnnpack"}
// FOLDS: {kernel = "own", op = "sitofp", why = "XNNPACK's products are with one matrix of weights"}
// FOLDS: {kernel = "own", op = "matmul", why = "XNNPACK's products are with one matrix of weights"}
// AUTO: {form = "qd8 linear r4 w1", kernel = "own", op = "sitofp", why = "x86-64-v4: own {{.*}} us, XNNPACK {{.*}} us"}
graph.network "net"
graph.weight @w : tensor<6x9xi8> stored i8
graph.weight @c : tensor<5x32xi8> stored i8
graph.weight @s : tensor<5x2xf32> stored f32

// x and its zero point are of u8: both less 128.
// CHECK-LABEL: func.func @dynamic
// CHECK-DAG: %[[W:.*]] = graph.read @w
// CHECK-DAG: %[[HALF:.*]] = arith.constant dense<-128> : tensor<4x6xi8>
// CHECK-DAG: %[[X:.*]] = arith.xori %arg0, %[[HALF]] : tensor<4x6xi8>
// CHECK-DAG: %[[Z:.*]] = arith.subi %{{.*}}, %{{.*}} : tensor<1xi32>
// CHECK: graph.call_kernel "xnnpack.linear_qd8" {has_bias = false, k = 6 : i64, n = 9 : i64, transposed = true}(%[[X]], %[[W]], %[[Z]] : tensor<4x6xi8>, tensor<6x9xi8>, tensor<1xi32>) into %{{.*}} : tensor<4x9xf32>
// CHECK-NOT: graph.matmul
func.func @dynamic(%x: tensor<4x6xi8> {graph.name = "x"}, %z: tensor<i8> {graph.name = "z"}) -> (tensor<4x9xf32> {graph.name = "y"}) {
  %w = graph.read @w : tensor<6x9xi8>
  %e = tensor.empty() : tensor<4x6xi32>
  %0 = arith.extui %x : tensor<4x6xi8> to tensor<4x6xi32>
  %1 = arith.extui %z : tensor<i8> to tensor<i32>
  %2 = linalg.generic {indexing_maps = [affine_map<(i, j) -> ()>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]} ins(%1 : tensor<i32>) outs(%e : tensor<4x6xi32>) {
  ^bb0(%in: i32, %out: i32):
    linalg.yield %in : i32
  } -> tensor<4x6xi32>
  %3 = arith.subi %0, %2 : tensor<4x6xi32>
  %4 = arith.extsi %w : tensor<6x9xi8> to tensor<6x9xi32>
  %5 = graph.matmul %3, %4 : (tensor<4x6xi32>, tensor<6x9xi32>) -> tensor<4x9xi32>
  %y = arith.sitofp %5 : tensor<4x9xi32> to tensor<4x9xf32>
  return %y : tensor<4x9xf32>
}

// CHECK-LABEL: func.func @shifted_matrix
// CHECK: graph.matmul
func.func @shifted_matrix(%x: tensor<4x6xi8> {graph.name = "x"}) -> (tensor<4x9xf32> {graph.name = "y"}) {
  %w = graph.read @w : tensor<6x9xi8>
  %seven = arith.constant dense<7> : tensor<6x9xi32>
  %0 = arith.extsi %x : tensor<4x6xi8> to tensor<4x6xi32>
  %1 = arith.extui %w : tensor<6x9xi8> to tensor<6x9xi32>
  %2 = arith.subi %1, %seven : tensor<6x9xi32>
  %3 = graph.matmul %0, %2 : (tensor<4x6xi32>, tensor<6x9xi32>) -> tensor<4x9xi32>
  %y = arith.sitofp %3 : tensor<4x9xi32> to tensor<4x9xf32>
  return %y : tensor<4x9xf32>
}

// CHECK-LABEL: func.func @zero_of_each_row
// CHECK: graph.matmul
func.func @zero_of_each_row(%x: tensor<4x6xi8> {graph.name = "x"}, %z: tensor<4xi32> {graph.name = "z"}) -> (tensor<4x9xf32> {graph.name = "y"}) {
  %w = graph.read @w : tensor<6x9xi8>
  %e = tensor.empty() : tensor<4x6xi32>
  %0 = arith.extsi %x : tensor<4x6xi8> to tensor<4x6xi32>
  %1 = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]} ins(%z : tensor<4xi32>) outs(%e : tensor<4x6xi32>) {
  ^bb0(%in: i32, %out: i32):
    linalg.yield %in : i32
  } -> tensor<4x6xi32>
  %2 = arith.subi %0, %1 : tensor<4x6xi32>
  %3 = arith.extsi %w : tensor<6x9xi8> to tensor<6x9xi32>
  %4 = graph.matmul %2, %3 : (tensor<4x6xi32>, tensor<6x9xi32>) -> tensor<4x9xi32>
  %y = arith.sitofp %4 : tensor<4x9xi32> to tensor<4x9xf32>
  return %y : tensor<4x9xf32>
}

// Two matrices, one under the other: a product of two values.
// CHECK-LABEL: func.func @two_matrices
// CHECK: graph.matmul
func.func @two_matrices(%x: tensor<2x4x32xf32> {graph.name = "x"}) -> (tensor<2x4x5xf32> {graph.name = "y"}) {
  %c = graph.read @c : tensor<5x32xi8>
  %s = graph.read @s : tensor<5x2xf32>
  %w = graph.dequantize_blocks %c, %s {bits = 4 : i64, block = 32 : i64, rounds} : (tensor<5x32xi8>, tensor<5x2xf32>) -> tensor<64x5xf32>
  %two = tensor.expand_shape %w [[0, 1], [2]] output_shape [2, 32, 5] : tensor<64x5xf32> into tensor<2x32x5xf32>
  %y = graph.matmul %x, %two : (tensor<2x4x32xf32>, tensor<2x32x5xf32>) -> tensor<2x4x5xf32>
  return %y : tensor<2x4x5xf32>
}

// CHECK-LABEL: func.func @blocks
// CHECK-DAG: %[[C:.*]] = graph.read @c
// CHECK-DAG: %[[S:.*]] = graph.read @s
// CHECK: graph.call_kernel "xnnpack.linear_qb4" {block = 32 : i64, k = 64 : i64, n = 5 : i64}(%arg0, %[[C]], %[[S]] : tensor<4x64xf32>, tensor<5x32xi8>, tensor<5x2xf32>) into %{{.*}} : tensor<4x5xf32>
// CHECK-NOT: graph.matmul
// OLDER-LABEL: func.func @blocks
// OLDER: graph.dequantize_blocks
// OLDER: graph.call_kernel "xnnpack.linear"
func.func @blocks(%x: tensor<4x64xf32> {graph.name = "x"}) -> (tensor<4x5xf32> {graph.name = "y"}) {
  %c = graph.read @c : tensor<5x32xi8>
  %s = graph.read @s : tensor<5x2xf32>
  %w = graph.dequantize_blocks %c, %s {bits = 4 : i64, block = 32 : i64, rounds} : (tensor<5x32xi8>, tensor<5x2xf32>) -> tensor<64x5xf32>
  %y = graph.matmul %x, %w : (tensor<4x64xf32>, tensor<64x5xf32>) -> tensor<4x5xf32>
  return %y : tensor<4x5xf32>
}
