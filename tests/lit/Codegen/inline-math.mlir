// Regions become vector loops without calls, at every level of all architectures (scalar loops on armv7, whose vectors take subnormals for 0); constants are reached by distance.
// RUN: mlc compile %s --emit asm --cpu x86-64-v2 | FileCheck %s --check-prefixes=X86,V2
// RUN: mlc compile %s --emit asm --cpu x86-64-v3 | FileCheck %s --check-prefixes=X86,V3
// RUN: mlc compile %s --emit asm --cpu x86-64-v4 | FileCheck %s --check-prefixes=X86,V4
// RUN: mlc compile %s --emit asm --triple aarch64-linux-gnu | FileCheck %s --check-prefix=ARM
// RUN: mlc compile %s --emit asm --triple arm-linux-gnueabihf | FileCheck %s --check-prefix=ARM32
// RUN: mlc compile %s --emit asm | FileCheck %s --check-prefix=ALL
// RUN: mlc compile %s --emit exec --triple x86_64-linux-gnu | FileCheck %s --check-prefix=EXEC
// RUN: not mlc compile %s --emit exec --code none 2>&1 | FileCheck %s --check-prefix=NONE

// X86-NOT: call
// X86: mlc_region:
// X86-NOT: call
// V2: addps {{.*}}xmm
// V3: vfmadd{{.*}}ymm
// V4: vfmadd{{.*}}{{y|z}}mm
// X86-NOT: call
// X86-NOT: @GOT
// X86: retq

// ARM-NOT: {{[[:space:]]}}bl{{r?}}{{[[:space:]]}}
// ARM: mlc_region:
// ARM: fmla v{{[0-9]+}}.4s
// ARM-NOT: {{[[:space:]]}}bl{{r?}}{{[[:space:]]}}
// ARM-NOT: adrp
// ARM: ret

// ARM32: /* region_0 for armv7-a */
// ARM32-NOT: {{[[:space:]]}}bl{{x?}}{{[[:space:]]}}
// ARM32: /* region_0 for vfpv4 */
// ARM32-NOT: {{[[:space:]]}}bl{{x?}}{{[[:space:]]}}
// ARM32: vfma.f32

// ALL: /* region_0 for x86-64-v2 */
// ALL: /* region_0 for x86-64-v3 */
// ALL: /* region_0 for x86-64-v4 */
// ALL-NOT: region_1

// Two regions that differ in their columns alone share one code object.
// EXEC: exec.code @region_0 for "x86_64-linux-gnu" ["x86-64-v2", "x86-64-v3", "x86-64-v4"]
// EXEC-NOT: exec.code
// EXEC: exec.call_code @region_0(%{{.*}}, %{{.*}}) dims [512, 512, 512] items "tokens" grain 16
// EXEC: exec.call_code @region_0(%{{.*}}, %{{.*}}) dims [8, 8, 8] items 1 : i64 grain 1024

// NONE: 'math.exp' op has no kernel; let it be compiled with --code auto
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
