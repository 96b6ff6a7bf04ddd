// RUN: mlc-opt %s --network-choose-kernels="kernels=xnnpack" | FileCheck %s
// RUN: mlc-opt %s --network-choose-kernels="kernels=own" | FileCheck %s --check-prefix=OWN
// RUN: mlc-opt %s --network-choose-kernels="kernels=auto isas=unknown" | FileCheck %s --check-prefix=AUTO
// RUN: mlc-opt %s --network-choose-kernels="kernels=xnnpack folds=false" | FileCheck %s --check-prefix=FOLDS
// RUN: mlc-opt %s --network-choose-kernels="kernels=xnnpack" --canonicalize --network-decompose --network-fuse --network-bufferize | FileCheck %s --check-prefix=BUFFERS

// OWN-NOT: kernel_choices
// OWN-NOT: call_kernel
// AUTO: {form = "conv2d c1 p16", kernel = "own", op = "conv", why = "not measured for unknown"}
// AUTO-NOT: call_kernel
// FOLDS: op = "conv", why = "XNNPACK's filters are weights"

// CHECK: module attributes {network.kernel_choices = [
// CHECK-SAME: {form = "conv2d c1 p16", kernel = "xnnpack.conv", op = "conv", why = "--kernels xnnpack"}
// CHECK-SAME: {kernel = "own", op = "pool", why = "XNNPACK pools by the maximum or the average alone"}
// CHECK-SAME: {form = "sigmoid e1", kernel = "xnnpack.unary", op = "divf", why = "--kernels xnnpack"}
// CHECK-SAME: {form = "add e1", kernel = "own", op = "addf", why = "the network calculates scalars on the way"}
graph.network "net"
graph.weight @k : tensor<6x3x3x3xf32> stored f32

// CHECK-LABEL: func.func @windows
// CHECK: %[[X:.*]] = linalg.generic {{.*}}ins(%{{.*}} : tensor<1x3x8x8xf32>) outs(%{{.*}} : tensor<1x8x8x3xf32>)
// CHECK: %[[K:.*]] = linalg.generic {{.*}}ins(%{{.*}} : tensor<6x3x3x3xf32>) outs(%{{.*}} : tensor<6x3x3x3xf32>)
// CHECK: graph.call_kernel "xnnpack.conv" {batch = 1 : i64, dilation_height = 1 : i64, dilation_width = 1 : i64, groups = 1 : i64, has_bias = false, height = 8 : i64, in = 3 : i64, kernel_height = 3 : i64, kernel_width = 3 : i64, out = 6 : i64, out_height = 8 : i64, out_width = 8 : i64, pad_bottom = 1 : i64, pad_left = 1 : i64, pad_right = 1 : i64, pad_top = 1 : i64, stride_height = 1 : i64, stride_width = 1 : i64, width = 8 : i64}(%[[X]], %[[K]] : tensor<1x8x8x3xf32>, tensor<6x3x3x3xf32>) into %{{.*}} : tensor<1x8x8x6xf32> -> tensor<1x8x8x6xf32>
// CHECK: graph.pool
// BUFFERS-LABEL: func.func @windows
// BUFFERS: graph.call_kernel "xnnpack.conv" {{.*}} : memref<1x8x8x3xf32>, memref<6x3x3x3xf32>) into %{{.*}} : memref<1x8x8x6xf32>
func.func @windows(%x: tensor<1x3x8x8xf32> {graph.name = "x"}) -> (tensor<1x6x8x8xf32> {graph.name = "y"}, tensor<1x3x4x4xf32> {graph.name = "z"}) {
  %k = graph.read @k : tensor<6x3x3x3xf32>
  %y = graph.conv %x, %k {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>} : (tensor<1x3x8x8xf32>, tensor<6x3x3x3xf32>) -> tensor<1x6x8x8xf32>
  %z = graph.pool %x {kind = #graph<pool_kind lp>, kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : (tensor<1x3x8x8xf32>) -> tensor<1x3x4x4xf32>
  return %y, %z : tensor<1x6x8x8xf32>, tensor<1x3x4x4xf32>
}

// ONNX's Sigmoid is four ops.
// CHECK-LABEL: func.func @sigmoid
// CHECK-NEXT: %[[E:.*]] = tensor.empty
// CHECK-NEXT: %[[Y:.*]] = graph.call_kernel "xnnpack.unary" {op = "sigmoid"}(%arg0 : tensor<7xf32>) into %[[E]]
// CHECK-NEXT: return %[[Y]]
func.func @sigmoid(%x: tensor<7xf32> {graph.name = "x"}) -> (tensor<7xf32> {graph.name = "y"}) {
  %one = arith.constant dense<1.0> : tensor<7xf32>
  %n = arith.negf %x : tensor<7xf32>
  %e = math.exp %n : tensor<7xf32>
  %s = arith.addf %e, %one : tensor<7xf32>
  %y = arith.divf %one, %s : tensor<7xf32>
  return %y : tensor<7xf32>
}

// CHECK-LABEL: func.func @scalars
// CHECK-NOT: call_kernel
func.func @scalars(%x: tensor<7xf32> {graph.name = "x"}) -> (tensor<7xf32> {graph.name = "y"}) {
  %c0 = arith.constant 0 : index
  %s = tensor.extract %x[%c0] : tensor<7xf32>
  %f = tensor.splat %s : tensor<7xf32>
  %y = arith.addf %x, %f : tensor<7xf32>
  return %y : tensor<7xf32>
}
