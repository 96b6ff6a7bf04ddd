// RUN: mlc-opt %s --network-decompose --split-input-file --verify-diagnostics | FileCheck %s

// A convolution: channels last, the filter in panels of its outputs, the bias behind the product.
module {
  graph.network "conv"
  // CHECK-LABEL: func.func @conv
  func.func @conv(%x: tensor<1x3x8xf32>, %w: tensor<16x3x3xf32>, %b: tensor<16xf32>) -> tensor<1x16x8xf32> {
    // CHECK: linalg.fill {{.*}} -> tensor<1x10x3xf32>
    // CHECK: tensor.insert_slice {{.*}}[0, 1, 0] [1, 8, 3] [1, 1, 1] : tensor<1x8x3xf32> into tensor<1x10x3xf32>
    // CHECK: linalg.generic {{.*}}ins(%{{.*}}, %{{.*}} : tensor<1x10x1x3xf32>, tensor<1x1x3x3x16xf32>) outs(%{{.*}} : tensor<1x8x1x1x16xf32>)
    // CHECK: arith.mulf {{.*}} fastmath<reassoc,contract>
    // CHECK: arith.addf {{.*}} fastmath<reassoc,contract>
    // CHECK-NOT: graph.conv
    %y = graph.conv %x, %w, %b {dilations = array<i64: 1>, pads = array<i64: 1, 1>, strides = array<i64: 1>} : (tensor<1x3x8xf32>, tensor<16x3x3xf32>, tensor<16xf32>) -> tensor<1x16x8xf32>
    return %y : tensor<1x16x8xf32>
  }
}

// -----

// Few columns: no panels. Halves are summed as floats.
module {
  graph.network "matmul"
  // CHECK-LABEL: func.func @matmul
  func.func @matmul(%a: tensor<4x6xf16>, %b: tensor<6x3xf16>) -> tensor<4x3xf16> {
    // CHECK: linalg.generic {{.*}}ins(%{{.*}}, %{{.*}} : tensor<4x6xf32>, tensor<6x3xf32>) outs(%{{.*}} : tensor<4x3xf32>)
    // CHECK: arith.truncf
    %y = graph.matmul %a, %b : (tensor<4x6xf16>, tensor<6x3xf16>) -> tensor<4x3xf16>
    return %y : tensor<4x3xf16>
  }
}

// -----

// Sums of short integers are exact in f32: 514 products of u8 and i8, whose weights stay i8. Of other integers nothing is
// known.
module {
  graph.network "integers"
  graph.weight @w : tensor<600x16xi8> stored i8
  // CHECK-LABEL: func.func @integers
  func.func @integers(%x: tensor<4x600xi8>, %z: tensor<4x600xi32>) -> (tensor<4x16xi32>, tensor<4x16xi32>) {
    %w = graph.read @w : tensor<600x16xi8>
    %0 = arith.extui %x : tensor<4x600xi8> to tensor<4x600xi32>
    %1 = arith.extsi %w : tensor<600x16xi8> to tensor<600x16xi32>
    // CHECK-COUNT-2: linalg.generic {{.*}}ins(%{{.*}}, %{{.*}} : tensor<4x300xf32>, tensor<1x300x16xi8>) outs(%{{.*}} : tensor<4x1x16xf32>)
    // CHECK: arith.addi
    %y = graph.matmul %0, %1 : (tensor<4x600xi32>, tensor<600x16xi32>) -> tensor<4x16xi32>
    // CHECK: linalg.generic {{.*}}ins(%{{.*}}, %{{.*}} : tensor<4x600xi32>, tensor<600x16xi32>) outs(%{{.*}} : tensor<4x16xi32>)
    %u = graph.matmul %z, %1 : (tensor<4x600xi32>, tensor<600x16xi32>) -> tensor<4x16xi32>
    return %y, %u : tensor<4x16xi32>, tensor<4x16xi32>
  }
}

// -----

// An axis that keeps its extent is left alone; the other is a sum of two values of known places.
module {
  graph.network "resize"
  // CHECK-LABEL: func.func @resize
  func.func @resize(%x: tensor<1x2x3x5xf32>) -> tensor<1x2x6x5xf32> {
    // CHECK-DAG: arith.constant dense<[0, 0, 0, 1, 1, 2]> : tensor<6xi64>
    // CHECK-DAG: arith.constant dense<[1, 1, 1, 2, 2, 2]> : tensor<6xi64>
    // CHECK-DAG: arith.constant dense<[1.000000e+00, 7.500000e-01, 2.500000e-01, 7.500000e-01, 2.500000e-01, 1.000000e+00]> : tensor<6xf32>
    // CHECK: linalg.generic {{.*}}outs(%{{.*}} : tensor<1x2x6x5xf32>)
    // CHECK: arith.addf
    // CHECK-NOT: linalg.generic
    %y = graph.resize %x {coordinates = #graph<resize_coordinates half_pixel>} : (tensor<1x2x3x5xf32>) -> tensor<1x2x6x5xf32>
    return %y : tensor<1x2x6x5xf32>
  }
}

// -----

// One division a row, and powers of what is not above zero.
module {
  graph.network "softmax"
  // CHECK-LABEL: func.func @softmax
  func.func @softmax(%x: tensor<4x6xf32>) -> tensor<4x6xf32> {
    // CHECK: arith.maxnumf
    // CHECK: arith.subf
    // CHECK: math.exp {{.*}} {mlc.not_positive} : f32
    // CHECK: arith.addf
    // CHECK: ^bb0(%[[POWER:.*]]: f32, %[[SUM:.*]]: f32, %{{.*}}: f32):
    // CHECK: %[[INVERSE:.*]] = arith.divf %{{.*}}, %[[SUM]] : f32
    // CHECK: arith.mulf %[[POWER]], %[[INVERSE]] : f32
    %y = graph.softmax %x {axis = 1 : i64} : tensor<4x6xf32>
    return %y : tensor<4x6xf32>
  }
}

// -----

// Of an attention the sums divide what the product gives, not the scores.
module {
  graph.network "attention"
  // CHECK-LABEL: func.func @attention
  func.func @attention(%x: tensor<4x6xf32>, %v: tensor<6x3xf32>) -> tensor<4x3xf32> {
    // CHECK: %[[POWERS:.*]] = linalg.generic {{.*}}ins(%{{.*}} : tensor<4x6xf32>) outs(%{{.*}} : tensor<4x6xf32>)
    // CHECK: math.exp
    // CHECK: %[[SUMS:.*]] = linalg.generic {{.*}}ins(%[[POWERS]] : tensor<4x6xf32>) outs(%{{.*}} : tensor<4xf32>)
    // CHECK: %[[PRODUCT:.*]] = linalg.generic {{.*}}ins(%[[POWERS]], %{{.*}} : tensor<4x6xf32>, tensor<6x3xf32>)
    // CHECK: linalg.generic {{.*}}ins(%[[PRODUCT]], %[[SUMS]] : tensor<4x3xf32>, tensor<4xf32>)
    // CHECK: arith.divf
    %p = graph.softmax %x {axis = 1 : i64} : tensor<4x6xf32>
    %y = graph.matmul %p, %v : (tensor<4x6xf32>, tensor<6x3xf32>) -> tensor<4x3xf32>
    return %y : tensor<4x3xf32>
  }
}

// -----

// A sum over five steps is a loop over them; the input's products come first.
module {
  graph.network "gru"
  // CHECK-LABEL: func.func @gru
  func.func @gru(%x: tensor<5x1x8xf32>, %w: tensor<48x8xf32>, %r: tensor<48x16xf32>, %b: tensor<96xf32>, %h: tensor<1x16xf32>) -> (tensor<5x1x16xf32>, tensor<1x16xf32>) {
    // CHECK: linalg.generic {{.*}}ins(%{{.*}}, %{{.*}} : tensor<5x8xf32>, tensor<3x8x16xf32>)
    // CHECK: scf.for
    // CHECK: tensor.extract_slice {{.*}} : tensor<5x1x48xf32> to tensor<1x48xf32>
    // CHECK: scf.yield
    %y, %n = graph.recurrent gru %x, %w, %r, %b, %h {operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<5x1x8xf32>, tensor<48x8xf32>, tensor<48x16xf32>, tensor<96xf32>, tensor<1x16xf32>) -> (tensor<5x1x16xf32>, tensor<1x16xf32>)
    return %y, %n : tensor<5x1x16xf32>, tensor<1x16xf32>
  }
}

// -----

// An index that follows from a value is kept inside.
module {
  graph.network "gather"
  // CHECK-LABEL: func.func @gather
  func.func @gather(%x: tensor<7xf32>, %i: tensor<4xi64>) -> tensor<4xf32> {
    %e = tensor.empty() : tensor<4xf32>
    // CHECK: arith.minsi
    // CHECK: arith.maxsi
    // CHECK: tensor.extract
    %y = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%i : tensor<4xi64>) outs(%e : tensor<4xf32>) {
    ^bb0(%at: i64, %out: f32):
      %k = arith.index_cast %at : i64 to index
      %v = tensor.extract %x[%k] : tensor<7xf32>
      linalg.yield %v : f32
    } -> tensor<4xf32>
    return %y : tensor<4xf32>
  }
}

// -----

module {
  graph.network "dynamic"
  func.func @nonzero(%x: tensor<7xf32>) -> tensor<1x?xi64> {
    // expected-error @+1 {{'graph.nonzero' op has no compiled form where an extent is known at run time only}}
    %y = graph.nonzero %x : (tensor<7xf32>) -> tensor<1x?xi64>
    return %y : tensor<1x?xi64>
  }
}

// -----

// The code is shifted down in its byte; the zero point is half of what its bits hold.
module {
  graph.network "blocks"
  // CHECK-LABEL: func.func @blocks
  func.func @blocks(%c: tensor<5x32xi8>, %s: tensor<5x2xf32>) -> tensor<64x5xf32> {
    // CHECK: linalg.generic {{.*}}outs(%{{.*}} : tensor<64x5xf32>)
    // CHECK-DAG: %[[K:.*]] = linalg.index 0
    // CHECK-DAG: %[[N:.*]] = linalg.index 1
    // CHECK-DAG: %[[BLOCK:.*]] = arith.divsi %[[K]], %c32
    // CHECK-DAG: %[[PLACE:.*]] = arith.divsi %[[K]], %c2
    // CHECK: %[[BYTE:.*]] = tensor.extract %arg0[%[[N]], %[[PLACE]]] : tensor<5x32xi8>
    // CHECK: %[[CODE:.*]] = arith.andi %{{.*}}, %c15_i8
    // CHECK: arith.uitofp %[[CODE]] : i8 to f32
    // CHECK: arith.subf %{{.*}}, %cst
    // CHECK: tensor.extract %arg1[%[[N]], %[[BLOCK]]] : tensor<5x2xf32>
    // CHECK: arith.mulf
    %y = graph.dequantize_blocks %c, %s {bits = 4 : i64, block = 32 : i64} : (tensor<5x32xi8>, tensor<5x2xf32>) -> tensor<64x5xf32>
    return %y : tensor<64x5xf32>
  }
}
