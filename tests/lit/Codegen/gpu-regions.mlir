// Regions of a GPU: one entry each in one PTX image; exact forms alone, no call, no local memory.
// RUN: mlc compile %s --target cuda --emit ptx > %t.ptx
// RUN: FileCheck %s --input-file %t.ptx
// RUN: FileCheck %s --input-file %t.ptx --check-prefix=NEVER
// RUN: mlc compile %s --target cuda --emit ptx | cmp - %t.ptx
// RUN: mlc compile %s --target cuda --emit exec | FileCheck %s --check-prefix=EXEC
// RUN: not mlc compile %s --target cuda --emit exec --code none 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: %refused --status 2 -- mlc compile %s --target cuda --emit asm | FileCheck %s --check-prefix=ASM
// RUN: %refused --status 2 -- mlc compile %s --emit ptx | FileCheck %s --check-prefix=PTX
// RUN: %refused --status 2 -- mlc compile %s --ptxas none --emit exec | FileCheck %s --check-prefix=PTXAS

// CHECK: .version 7.0
// CHECK: .target sm_80
// CHECK: .entry region_0(
// CHECK-COUNT-6: .param .u64
// CHECK: ld.global.nc.f32
// CHECK: fma.rn.f32
// CHECK: div.rn.f32
// CHECK: st.global.f32
// CHECK: .entry region_1(
// CHECK: sqrt.rn.f32
// CHECK-NOT: .entry

// NEVER-NOT: {{approx|ftz|\.full|call|\.local|extern|(add|sub|mul|mad|div|fma)\.f(32|64)}}

// EXEC: exec.code @region_0 for "nvptx64-nvidia-cuda" [] {objects = [], source =
// EXEC: exec.call_code @region_0(%{{.*}}, %{{.*}}) dims [512, 512, 512] items "tokens" grain 16
// EXEC: exec.call_code @region_0(%{{.*}}, %{{.*}}) dims [8, 8, 8] items 1 : i64
// EXEC: exec.code @region_1 for "nvptx64-nvidia-cuda" []
// EXEC-NOT: exec.code
// EXEC: exec.call_code @region_1(%{{.*}}, %{{.*}}) dims [512, 512, 512] items "tokens"

// NONE: 'math.exp' op has no kernel; let it be compiled with --code auto
// ASM: --emit asm: choose artifact, graph, exec or ptx
// PTX: --emit ptx: choose artifact, graph, exec or asm
// PTXAS: --ptxas none: goes with --target cuda
graph.model "net" {vocab_size = 1 : i64, trained_context = 128 : i64}
graph.extent @tokens
graph.extent @rows
func.func @f(%x: tensor<?x512xf32> {graph.dims = ["tokens", ""]}, %v: tensor<8xf32>) -> (tensor<?x512xf32>, tensor<8xf32>) {
  %e = math.exp %x : tensor<?x512xf32>
  %t = math.tanh %e : tensor<?x512xf32>
  %ev = math.exp %v : tensor<8xf32>
  %tv = math.tanh %ev : tensor<8xf32>
  return %t, %tv : tensor<?x512xf32>, tensor<8xf32>
}
func.func @g(%x: tensor<?x512xf32> {graph.dims = ["tokens", ""]}) -> tensor<?x512xf32> {
  %e = math.sqrt %x : tensor<?x512xf32>
  return %e : tensor<?x512xf32>
}
