// RUN: mlc-opt %s --convert-graph-to-exec='isas=x86-64-v2' --exec-plan-memory --exec-verify-planned | FileCheck %s

// Scores, their largest, powers and the product with the values go by blocks of rows: what lies between has a place for
// each share of the work in place of all rows. 120 rows of 768 columns: blocks of 30 of scores and of powers.
#head = affine_map<(h, m, p, k, l) -> (h, m, k)>
#panel = affine_map<(h, m, p, k, l) -> (h, p, k, l)>
#out = affine_map<(h, m, p, k, l) -> (h, m, p, l)>
#all = affine_map<(h, m, n) -> (h, m, n)>
#row = affine_map<(h, m, n) -> (h, m)>
module {
  graph.network "net"
  // CHECK-LABEL: exec.func @main
  // CHECK-NOT: [2, 120, 48, 16]
  // CHECK: exec.slot [8, 1, 30, 48, 16]
  // CHECK: exec.slot [8, 1, 30]
  // CHECK: exec.slot [8, 1, 30, 768]
  // CHECK: exec.call_code @{{.*}} dims [] items 8 : i64 grain 1
  func.func @main(%q: memref<2x120x16xf32> {graph.name = "q"}, %k: memref<2x48x16x16xf32> {graph.name = "k"}, %v: memref<2x1x768x16xf32> {graph.name = "v"}) -> (memref<2x120x1x16xf32> {graph.name = "y"}) {
    %zero = arith.constant 0.0 : f32
    %lowest = arith.constant 0xFF800000 : f32
    %keys = memref.alloc() : memref<2x48x16x16xf32>
    memref.copy %k, %keys : memref<2x48x16x16xf32> to memref<2x48x16x16xf32>
    %scores = memref.alloc() : memref<2x120x48x16xf32>
    linalg.fill ins(%zero : f32) outs(%scores : memref<2x120x48x16xf32>)
    linalg.generic {indexing_maps = [#head, #panel, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "parallel"]} ins(%q, %keys : memref<2x120x16xf32>, memref<2x48x16x16xf32>) outs(%scores : memref<2x120x48x16xf32>) {
    ^bb0(%a: f32, %b: f32, %c: f32):
      %0 = arith.mulf %a, %b : f32
      %1 = arith.addf %c, %0 : f32
      linalg.yield %1 : f32
    }
    %flat = memref.collapse_shape %scores [[0], [1], [2, 3]] : memref<2x120x48x16xf32> into memref<2x120x768xf32>
    %largest = memref.alloc() : memref<2x120xf32>
    linalg.fill ins(%lowest : f32) outs(%largest : memref<2x120xf32>)
    linalg.generic {indexing_maps = [#all, #row], iterator_types = ["parallel", "parallel", "reduction"]} ins(%flat : memref<2x120x768xf32>) outs(%largest : memref<2x120xf32>) {
    ^bb0(%a: f32, %c: f32):
      %0 = arith.maximumf %c, %a : f32
      linalg.yield %0 : f32
    }
    %powers = memref.alloc() : memref<2x120x768xf32>
    linalg.generic {indexing_maps = [#all, #row, #all], iterator_types = ["parallel", "parallel", "parallel"]} ins(%flat, %largest : memref<2x120x768xf32>, memref<2x120xf32>) outs(%powers : memref<2x120x768xf32>) {
    ^bb0(%a: f32, %b: f32, %c: f32):
      %0 = arith.subf %a, %b : f32
      %1 = math.exp %0 : f32
      linalg.yield %1 : f32
    }
    %values = memref.alloc() : memref<2x1x768x16xf32>
    memref.copy %v, %values : memref<2x1x768x16xf32> to memref<2x1x768x16xf32>
    %y = memref.alloc() : memref<2x120x1x16xf32>
    linalg.fill ins(%zero : f32) outs(%y : memref<2x120x1x16xf32>)
    linalg.generic {indexing_maps = [#head, #panel, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "parallel"]} ins(%powers, %values : memref<2x120x768xf32>, memref<2x1x768x16xf32>) outs(%y : memref<2x120x1x16xf32>) {
    ^bb0(%a: f32, %b: f32, %c: f32):
      %0 = arith.mulf %a, %b : f32
      %1 = arith.addf %c, %0 : f32
      linalg.yield %1 : f32
    }
    return %y : memref<2x120x1x16xf32>
  }
}
