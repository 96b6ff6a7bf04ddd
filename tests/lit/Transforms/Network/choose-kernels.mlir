// RUN: mlc-opt %s --network-choose-kernels="kernels=xnnpack" | FileCheck %s
// RUN: mlc-opt %s --network-choose-kernels="kernels=own" | FileCheck %s --check-prefix=OWN
// RUN: mlc-opt %s --network-choose-kernels="kernels=auto isas=unknown" | FileCheck %s --check-prefix=AUTO
// RUN: mlc-opt %s --network-choose-kernels="kernels=xnnpack folds=false" | FileCheck %s --check-prefix=FOLDS
// RUN: mlc-opt %s --network-choose-kernels="kernels=xnnpack" --canonicalize --network-decompose --network-fuse --network-bufferize | FileCheck %s --check-prefix=BUFFERS

// OWN-NOT: kernel_choices
// OWN-NOT: call_kernel
// AUTO: {form = "conv2d c1 p16", kernel = "own", op = "conv", why = "not measured for unknown"}
// AUTO: {form = "softmax c1 r1", kernel = "own", op = "softmax", why = "compiled code does it together with its neighbours"}
// AUTO-SAME: {form = "softmax c1 r1", kernel = "own", op = "softmax", why = "not measured for unknown"}
// AUTO-NOT: call_kernel
// FOLDS: op = "conv", why = "XNNPACK's filters are weights"

// CHECK: module attributes {network.kernel_choices = [
// CHECK-SAME: {form = "conv2d c1 p16", kernel = "xnnpack.conv", op = "conv", why = "--kernels xnnpack"}
// CHECK-SAME: {kernel = "own", op = "pool", why = "XNNPACK pools by the maximum or the average alone"}
// CHECK-SAME: {form = "sigmoid e1", kernel = "xnnpack.unary", op = "divf", why = "--kernels xnnpack"}
// CHECK-SAME: {form = "add e1", kernel = "own", op = "addf", why = "the network calculates scalars on the way"}
// CHECK-SAME: {form = "qs8 conv2d c1 p16", kernel = "xnnpack.conv_qs8", op = "fptosi", why = "--kernels xnnpack"}
// CHECK-SAME: {form = "qs8 pointwise c1 p1", kernel = "xnnpack.conv_qs8", op = "fptosi", why = "--kernels xnnpack"}
// CHECK-SAME: {kernel = "own", op = "matmul", why = "XNNPACK's products are of f32"}
// CHECK-SAME: {kernel = "own", op = "fptosi", why = "XNNPACK's quantized filters have a zero point of 0"}
// CHECK-SAME: {form = "resize c1 p16", kernel = "xnnpack.resize", op = "resize", why = "--kernels xnnpack"}
graph.network "net"
graph.weight @k : tensor<6x3x3x3xf32> stored f32
graph.weight @k8 : tensor<8x4x3x3xi8> stored i8
graph.weight @k9 : tensor<6x9xi8> stored i8
graph.weight @s : tensor<9xf32> stored f32

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

// ONNX's QLinearConv is many ops; XNNPACK's kernel takes i8 and gives i8.
// CHECK-LABEL: func.func @quantized
// CHECK: %[[X:.*]] = linalg.generic {{.*}}ins(%arg0 : tensor<1x4x5x5xi8>) outs(%{{.*}} : tensor<1x5x5x4xi8>)
// CHECK: %[[K:.*]] = linalg.generic {{.*}} outs(%{{.*}} : tensor<8x3x3x4xi8>)
// CHECK: graph.call_kernel "xnnpack.conv_qs8" {{{.*}}has_bias = true, has_scales = false, {{.*}}scale = 5.000000e-03 : f32, {{.*}}zero_in = 3 : i64, zero_out = -4 : i64}(%[[X]], %[[K]], %{{.*}} : tensor<1x5x5x4xi8>, tensor<8x3x3x4xi8>, tensor<8xi32>) into %{{.*}} : tensor<1x5x5x8xi8>
// CHECK-NOT: graph.conv
// BUFFERS-LABEL: func.func @quantized
// BUFFERS: graph.call_kernel "xnnpack.conv_qs8"
func.func @quantized(%x: tensor<1x4x5x5xi8> {graph.name = "x"}) -> (tensor<1x8x5x5xi8> {graph.name = "y"}) {
  %k = graph.read @k8 : tensor<8x4x3x3xi8>
  %b = arith.constant dense<7> : tensor<8xi32>
  %three = arith.constant dense<3> : tensor<1x4x5x5xi32>
  %scale = arith.constant dense<5.000000e-03> : tensor<1x8x5x5xf32>
  %zero = arith.constant dense<-4.0> : tensor<1x8x5x5xf32>
  %low = arith.constant dense<-128.0> : tensor<1x8x5x5xf32>
  %high = arith.constant dense<127.0> : tensor<1x8x5x5xf32>
  %0 = arith.extsi %x : tensor<1x4x5x5xi8> to tensor<1x4x5x5xi32>
  %1 = arith.subi %0, %three : tensor<1x4x5x5xi32>
  %2 = arith.extsi %k : tensor<8x4x3x3xi8> to tensor<8x4x3x3xi32>
  %3 = graph.conv %1, %2, %b {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>} : (tensor<1x4x5x5xi32>, tensor<8x4x3x3xi32>, tensor<8xi32>) -> tensor<1x8x5x5xi32>
  %4 = arith.sitofp %3 : tensor<1x8x5x5xi32> to tensor<1x8x5x5xf32>
  %5 = arith.mulf %4, %scale : tensor<1x8x5x5xf32>
  %6 = math.roundeven %5 : tensor<1x8x5x5xf32>
  %7 = arith.addf %6, %zero : tensor<1x8x5x5xf32>
  %8 = arith.maximumf %7, %low : tensor<1x8x5x5xf32>
  %9 = arith.minimumf %8, %high : tensor<1x8x5x5xf32>
  %y = arith.fptosi %9 : tensor<1x8x5x5xf32> to tensor<1x8x5x5xi8>
  return %y : tensor<1x8x5x5xi8>
}

// QLinearMatMul with a scale for each column is a convolution of one tap.
// CHECK-LABEL: func.func @columns
// CHECK: %[[S:.*]] = graph.read @s
// CHECK: %[[K:.*]] = linalg.generic {{.*}} outs(%{{.*}} : tensor<9x6xi8>)
// CHECK: graph.call_kernel "xnnpack.conv_qs8" {{{.*}}has_bias = false, has_scales = true, {{.*}}out_width = 4 : i64{{.*}}zero_in = 0 : i64, zero_out = 0 : i64}(%arg0, %[[K]], %{{.*}} : tensor<4x6xi8>, tensor<9x6xi8>, tensor<9xf32>) into %{{.*}} : tensor<4x9xi8>
func.func @columns(%x: tensor<4x6xi8> {graph.name = "x"}) -> (tensor<4x9xi8> {graph.name = "y"}) {
  %k = graph.read @k9 : tensor<6x9xi8>
  %s = graph.read @s : tensor<9xf32>
  %e = tensor.empty() : tensor<4x9xf32>
  %low = arith.constant dense<-128.0> : tensor<4x9xf32>
  %high = arith.constant dense<127.0> : tensor<4x9xf32>
  %0 = arith.extsi %x : tensor<4x6xi8> to tensor<4x6xi32>
  %1 = arith.extsi %k : tensor<6x9xi8> to tensor<6x9xi32>
  %2 = graph.matmul %0, %1 : (tensor<4x6xi32>, tensor<6x9xi32>) -> tensor<4x9xi32>
  %3 = arith.sitofp %2 : tensor<4x9xi32> to tensor<4x9xf32>
  %4 = linalg.generic {indexing_maps = [affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]} ins(%s : tensor<9xf32>) outs(%e : tensor<4x9xf32>) {
  ^bb0(%in: f32, %out: f32):
    linalg.yield %in : f32
  } -> tensor<4x9xf32>
  %5 = arith.mulf %3, %4 : tensor<4x9xf32>
  %6 = math.roundeven %5 : tensor<4x9xf32>
  %7 = arith.maximumf %6, %low : tensor<4x9xf32>
  %8 = arith.minimumf %7, %high : tensor<4x9xf32>
  %y = arith.fptosi %8 : tensor<4x9xf32> to tensor<4x9xi8>
  return %y : tensor<4x9xi8>
}

// A filter with a zero point of its own stays with own code.
// CHECK-LABEL: func.func @shifted_filter
// CHECK: graph.matmul
func.func @shifted_filter(%x: tensor<4x6xi8> {graph.name = "x"}) -> (tensor<4x9xi8> {graph.name = "y"}) {
  %k = graph.read @k9 : tensor<6x9xi8>
  %two = arith.constant dense<2> : tensor<6x9xi32>
  %scale = arith.constant dense<5.000000e-03> : tensor<4x9xf32>
  %low = arith.constant dense<-128.0> : tensor<4x9xf32>
  %high = arith.constant dense<127.0> : tensor<4x9xf32>
  %0 = arith.extsi %x : tensor<4x6xi8> to tensor<4x6xi32>
  %1 = arith.extsi %k : tensor<6x9xi8> to tensor<6x9xi32>
  %2 = arith.subi %1, %two : tensor<6x9xi32>
  %3 = graph.matmul %0, %2 : (tensor<4x6xi32>, tensor<6x9xi32>) -> tensor<4x9xi32>
  %4 = arith.sitofp %3 : tensor<4x9xi32> to tensor<4x9xf32>
  %5 = arith.mulf %4, %scale : tensor<4x9xf32>
  %6 = math.roundeven %5 : tensor<4x9xf32>
  %7 = arith.maximumf %6, %low : tensor<4x9xf32>
  %8 = arith.minimumf %7, %high : tensor<4x9xf32>
  %y = arith.fptosi %8 : tensor<4x9xf32> to tensor<4x9xi8>
  return %y : tensor<4x9xi8>
}

// CHECK-LABEL: func.func @resize
// CHECK: graph.call_kernel "xnnpack.resize" {batch = 1 : i64, channels = 3 : i64, coordinates = "align_corners", height = 8 : i64, out_height = 15 : i64, out_width = 4 : i64, width = 8 : i64}(%{{.*}} : tensor<1x8x8x3xf32>) into %{{.*}} : tensor<1x15x4x3xf32>
func.func @resize(%x: tensor<1x3x8x8xf32> {graph.name = "x"}) -> (tensor<1x3x15x4xf32> {graph.name = "y"}) {
  %y = graph.resize %x {coordinates = #graph<resize_coordinates align_corners>} : (tensor<1x3x8x8xf32>) -> tensor<1x3x15x4xf32>
  return %y : tensor<1x3x15x4xf32>
}

// A softmax in front of a product is a part of that: its scores are in the cache.
// CHECK-LABEL: func.func @attention
// CHECK-COUNT-2: graph.call_kernel "xnnpack.softmax"
func.func @attention(%x: tensor<4x6xf32> {graph.name = "x"}, %v: tensor<6x8xf32> {graph.name = "v"}) -> (tensor<4x8xf32> {graph.name = "y"}, tensor<4x6xf32> {graph.name = "p"}) {
  %s = graph.softmax %x {axis = 1 : i64} : tensor<4x6xf32>
  %y = graph.matmul %s, %v : (tensor<4x6xf32>, tensor<6x8xf32>) -> tensor<4x8xf32>
  %p = graph.softmax %x {axis = 1 : i64} : tensor<4x6xf32>
  return %y, %p : tensor<4x8xf32>, tensor<4x6xf32>
}

// Places of the padding are moved into the image: where windows are dilated along one axis, to others than theirs.
// CHECK-LABEL: func.func @dilated_pools
// CHECK: graph.pool
// CHECK: graph.call_kernel "xnnpack.max_pool"
func.func @dilated_pools(%x: tensor<1x3x8x8xf32> {graph.name = "x"}) -> (tensor<1x3x8x8xf32> {graph.name = "y"}, tensor<1x3x4x8xf32> {graph.name = "z"}) {
  %y = graph.pool %x {kind = #graph<pool_kind max>, kernel = array<i64: 1, 3>, strides = array<i64: 1, 1>, dilations = array<i64: 2, 1>, pads = array<i64: 0, 1, 0, 1>} : (tensor<1x3x8x8xf32>) -> tensor<1x3x8x8xf32>
  %z = graph.pool %x {kind = #graph<pool_kind max>, kernel = array<i64: 3, 1>, strides = array<i64: 1, 1>, dilations = array<i64: 2, 1>, pads = array<i64: 0, 0, 0, 0>} : (tensor<1x3x8x8xf32>) -> tensor<1x3x4x8xf32>
  return %y, %z : tensor<1x3x8x8xf32>, tensor<1x3x4x8xf32>
}
