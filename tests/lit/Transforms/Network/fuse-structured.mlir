// RUN: mlc-opt %s --network-fuse | FileCheck %s

#id = affine_map<(d0, d1) -> (d0, d1)>
#turned = affine_map<(d0, d1) -> (d1, d0)>

// Two transpositions around an addition cancel out.
// CHECK: #[[ID:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-LABEL: func.func @cancel
// CHECK-COUNT-1: linalg.generic {indexing_maps = [#[[ID]], #[[ID]]]
// CHECK-NOT: linalg.generic
func.func @cancel(%x: tensor<4x9xf32>) -> tensor<4x9xf32> {
  %e = tensor.empty() : tensor<9x4xf32>
  %f = tensor.empty() : tensor<4x9xf32>
  %a = linalg.generic {indexing_maps = [#turned, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x9xf32>) outs(%e : tensor<9x4xf32>) {
  ^bb0(%v: f32, %o: f32):
    linalg.yield %v : f32
  } -> tensor<9x4xf32>
  %b = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%a : tensor<9x4xf32>) outs(%e : tensor<9x4xf32>) {
  ^bb0(%v: f32, %o: f32):
    %s = arith.addf %v, %v : f32
    linalg.yield %s : f32
  } -> tensor<9x4xf32>
  %c = linalg.generic {indexing_maps = [#turned, #id], iterator_types = ["parallel", "parallel"]} ins(%b : tensor<9x4xf32>) outs(%f : tensor<4x9xf32>) {
  ^bb0(%v: f32, %o: f32):
    linalg.yield %v : f32
  } -> tensor<4x9xf32>
  return %c : tensor<4x9xf32>
}

#x = affine_map<(d0, d1, d2, d3) -> (d0, d2)>
#w = affine_map<(d0, d1, d2, d3) -> (d1, d2, d3)>
#y = affine_map<(d0, d1, d2, d3) -> (d0, d1, d3)>

// A product by panels keeps its form: what comes before it is not drawn in.
// CHECK-LABEL: func.func @product
// CHECK: %[[MOVED:.*]] = linalg.generic {{.*}}ins(%{{.*}} : tensor<6x4xf32>) outs(%{{.*}} : tensor<4x6xf32>)
// CHECK: linalg.generic {{.*}}ins(%[[MOVED]], %{{.*}} : tensor<4x6xf32>, tensor<2x6x16xf32>)
func.func @product(%x: tensor<6x4xf32>, %w: tensor<2x6x16xf32>, %start: tensor<4x2x16xf32>) -> tensor<4x2x16xf32> {
  %e = tensor.empty() : tensor<4x6xf32>
  %a = linalg.generic {indexing_maps = [#turned, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<6x4xf32>) outs(%e : tensor<4x6xf32>) {
  ^bb0(%v: f32, %o: f32):
    linalg.yield %v : f32
  } -> tensor<4x6xf32>
  %p = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction", "parallel"]} ins(%a, %w : tensor<4x6xf32>, tensor<2x6x16xf32>) outs(%start : tensor<4x2x16xf32>) {
  ^bb0(%v: f32, %u: f32, %o: f32):
    %m = arith.mulf %v, %u : f32
    %s = arith.addf %o, %m : f32
    linalg.yield %s : f32
  } -> tensor<4x2x16xf32>
  return %p : tensor<4x2x16xf32>
}

#six = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3, d4, d5)>
#first = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0)>

// A reshape is not taken over where the op would have more loops than a tensor may have axes (8).
// CHECK-LABEL: func.func @rank
// CHECK: linalg.generic {{.*}}ins(%{{.*}} : tensor<2xf32>) outs(%{{.*}} : tensor<2x3x2x3x2x3xf32>)
// CHECK: tensor.expand_shape {{.*}} into tensor<2x3x2x3x2x3x1x1x1xf32>
func.func @rank(%x: tensor<2xf32>) -> tensor<2x3x2x3x2x3x1x1x1xf32> {
  %e = tensor.empty() : tensor<2x3x2x3x2x3xf32>
  %a = linalg.generic {indexing_maps = [#first, #six], iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "parallel"]} ins(%x : tensor<2xf32>) outs(%e : tensor<2x3x2x3x2x3xf32>) {
  ^bb0(%v: f32, %o: f32):
    %s = arith.addf %v, %v : f32
    linalg.yield %s : f32
  } -> tensor<2x3x2x3x2x3xf32>
  %y = tensor.expand_shape %a [[0], [1], [2], [3], [4], [5, 6, 7, 8]] output_shape [2, 3, 2, 3, 2, 3, 1, 1, 1] : tensor<2x3x2x3x2x3xf32> into tensor<2x3x2x3x2x3x1x1x1xf32>
  return %y : tensor<2x3x2x3x2x3x1x1x1xf32>
}
