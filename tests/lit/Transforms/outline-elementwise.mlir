// RUN: mlc-opt %s -graph-outline-elementwise -split-input-file | FileCheck %s
// RUN: mlc-opt %s -graph-outline-elementwise=all -split-input-file | FileCheck %s --check-prefix=ALL

// A splat of any size becomes a constant of the body; what made it is gone.
// CHECK-LABEL: func.func @silu
func.func @silu(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // CHECK-NOT: tensor.dim
  // CHECK-NOT: linalg.fill
  // CHECK: %[[R:.*]] = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0 : tensor<?x64xf32>) outs(%arg0 : tensor<?x64xf32>) attrs = {mlc.region}
  // CHECK-NEXT: ^bb0(%[[X:.*]]: f32, %{{.*}}: f32):
  // CHECK-NEXT: %[[M:.*]] = arith.negf %[[X]] : f32
  // CHECK-NEXT: %[[E:.*]] = math.exp %[[M]] : f32
  // CHECK-NEXT: %[[ONE:.*]] = arith.constant 1.000000e+00 : f32
  // CHECK-NEXT: %[[Q:.*]] = arith.addf %[[ONE]], %[[E]] : f32
  // CHECK-NEXT: %[[S:.*]] = arith.divf %[[X]], %[[Q]] : f32
  // CHECK-NEXT: linalg.yield %[[S]] : f32
  // CHECK: return %[[R]]
  %c0 = arith.constant 0 : index
  %one = arith.constant 1.0 : f32
  %n = tensor.dim %x, %c0 : tensor<?x64xf32>
  %e = tensor.empty(%n) : tensor<?x64xf32>
  %ones = linalg.fill ins(%one : f32) outs(%e : tensor<?x64xf32>) -> tensor<?x64xf32>
  %m = arith.negf %x : tensor<?x64xf32>
  %p = math.exp %m : tensor<?x64xf32>
  %q = arith.addf %ones, %p : tensor<?x64xf32>
  %s = arith.divf %x, %q : tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}

// -----

// What kernels run stays with them, unless all is asked for.
// CHECK-LABEL: func.func @kernels
// ALL-LABEL: func.func @kernels
func.func @kernels(%x: tensor<?x64xf32>, %y: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // CHECK-NEXT: graph.activation silu
  // CHECK-NEXT: arith.addf
  // CHECK-NEXT: return
  // ALL: linalg.generic {{.*}}ins(%arg0, %arg1
  // ALL: math.exp
  // ALL: arith.addf
  // ALL: mlc.region
  // ALL-NOT: graph.activation
  %a = graph.activation silu %x : tensor<?x64xf32>
  %b = arith.addf %a, %y : tensor<?x64xf32>
  return %b : tensor<?x64xf32>
}

// -----

// Two results; a boolean inside; the first result keeps its tap, that of a value inside is remembered.
// CHECK-LABEL: func.func @two
func.func @two(%x: tensor<4x8xf32>, %y: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  // CHECK: %[[R:.*]]:2 = linalg.generic {{.*}} ins(%arg0, %arg1 : tensor<4x8xf32>, tensor<4x8xf32>) outs(%arg0, %arg0
  // CHECK-SAME: graph.inner_taps = ["hook_chosen"], graph.tap = "hook_root"
  // CHECK: math.sqrt
  // CHECK: arith.cmpf ogt
  // CHECK: arith.select
  // CHECK: return %[[R]]#0, %[[R]]#1
  %r = math.sqrt %x {graph.tap = "hook_root"} : tensor<4x8xf32>
  %c = arith.cmpf ogt, %r, %y : tensor<4x8xf32>
  %s = arith.select %c, %r, %y {graph.tap = "hook_chosen"} : tensor<4x8xi1>, tensor<4x8xf32>
  return %r, %s : tensor<4x8xf32>, tensor<4x8xf32>
}

// -----

// No region reaches itself through an op outside: exp and the sum lie on both sides of a softcap's norm.
// CHECK-LABEL: func.func @around
graph.weight @norm : tensor<64xf32> stored f32
func.func @around(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // CHECK: %[[E:.*]] = linalg.generic {{.*}}ins(%arg0 :
  // CHECK: math.exp
  // CHECK: %[[N:.*]] = graph.rms_norm %[[E]]
  // CHECK: linalg.generic {{.*}}ins(%[[N]], %[[E]] :
  // CHECK: math.absf
  // CHECK-NEXT: arith.addf
  %e = math.exp %x : tensor<?x64xf32>
  %n = graph.rms_norm %e, @norm {eps = 1.0e-5 : f32} : tensor<?x64xf32>
  %m = math.absf %n : tensor<?x64xf32>
  %s = arith.addf %m, %e : tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}

// -----

// An op between the members that reads an output of the region moves behind it.
// CHECK-LABEL: func.func @between
graph.weight @norm : tensor<64xf32> stored f32
func.func @between(%x: tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  // CHECK: %[[R:.*]]:2 = linalg.generic
  // CHECK: graph.rms_norm %[[R]]#0
  %e = math.exp %x : tensor<?x64xf32>
  %n = graph.rms_norm %e, @norm {eps = 1.0e-5 : f32} : tensor<?x64xf32>
  %m = math.absf %e : tensor<?x64xf32>
  return %n, %m : tensor<?x64xf32>, tensor<?x64xf32>
}

// -----

// A region written by hand joins.
// CHECK-LABEL: func.func @generic
#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @generic(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  // CHECK-COUNT-1: linalg.generic
  // CHECK: math.exp
  // CHECK-NEXT: math.tanh
  // CHECK-NOT: linalg.generic
  %e = tensor.empty() : tensor<4x8xf32>
  %g = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = math.exp %a : f32
    linalg.yield %0 : f32
  } -> tensor<4x8xf32>
  %t = math.tanh %g : tensor<4x8xf32>
  return %t : tensor<4x8xf32>
}

// -----

// Inside control flow, with a splat made outside, which is gone as well.
// CHECK-LABEL: func.func @branch
func.func @branch(%x: tensor<?x8xf32>, %flag: tensor<i1>) -> tensor<?x8xf32> {
  // CHECK-NOT: linalg.fill
  // CHECK: scf.if
  // CHECK: linalg.generic {{.*}}ins(%arg0 :
  // CHECK: arith.constant 2.000000e+00
  // CHECK: math.powf
  // CHECK: else
  %c0 = arith.constant 0 : index
  %two = arith.constant 2.0 : f32
  %n = tensor.dim %x, %c0 : tensor<?x8xf32>
  %e = tensor.empty(%n) : tensor<?x8xf32>
  %twos = linalg.fill ins(%two : f32) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
  %c = tensor.extract %flag[] : tensor<i1>
  %r = scf.if %c -> tensor<?x8xf32> {
    %p = math.powf %x, %twos : tensor<?x8xf32>
    scf.yield %p : tensor<?x8xf32>
  } else {
    scf.yield %x : tensor<?x8xf32>
  }
  return %r : tensor<?x8xf32>
}
