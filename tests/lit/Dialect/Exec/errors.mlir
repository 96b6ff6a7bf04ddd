// RUN: mlc-opt %s -split-input-file -verify-diagnostics

// expected-error @below {{needs a static shape}}
exec.constant @w : memref<?xf32> values [1.0]

// -----

// expected-error @below {{needs either sources, values or elements}}
exec.constant @w : memref<1xf32>

// -----

// expected-error @below {{with several sources needs the format they are packed in}}
exec.constant @w : memref<2xf32> from ["a", "b"]

// -----

// expected-error @below {{elements must fill the type}}
exec.constant @w : memref<2xf32> elements dense<1.0> : tensor<3xf32>

// -----

// expected-error @below {{which is no exec.func with named ports}}
exec.carry @c of @f output 0 input 0
exec.func @f {
}

// -----

// expected-error @below {{names a port that @f lacks}}
exec.carry @c of @f output 1 input 0
exec.func @f attributes {input_names = ["x"], output_names = ["y"]} {
}

// -----

// expected-error @below {{values must be f32 and fill the type}}
exec.constant @w : memref<2xf32> values [1.0]

// -----

// expected-error @below {{needs one object for each isa}}
exec.code @c for "x86_64" ["avx2"] {objects = []}

// -----

// expected-error @below {{objects must be arrays of bytes}}
exec.code @c for "x86_64" ["avx2"] {objects = ["text"]}

// -----

exec.func @f {
  // expected-error @below {{needs a contiguous type and one dim for each of its axes}}
  %0 = exec.slot [4] : memref<4x8xf32>
  exec.return
}

// -----

exec.func @f {
  // expected-error @below {{dim 1 does not match its type}}
  %0 = exec.slot [4, 9] : memref<4x8xf32>
  exec.return
}

// -----

exec.func @f {
  // expected-error @below {{dim 0 must name an exec.extent, on a dynamic axis}}
  %0 = exec.slot ["tokens", 8] : memref<?x8xf32>
  exec.return
}

// -----

exec.extent @tokens at_most 281474976710656
exec.func @f {
  // expected-error @below {{is absurdly large at its extents' bounds}}
  %0 = exec.slot ["tokens", 8] : memref<?x8xf32>
  exec.return
}

// -----

exec.func @f {
  // expected-error @below {{offset must not be negative}}
  %0 = exec.slot [8] at -64 : memref<8xf32>
  exec.return
}

// -----

exec.func @f {
  %0 = exec.slot [4, 8] : memref<4x8xf32>
  // expected-error @below {{columns lie outside the source's 8}}
  %1 = exec.view %0 column 6 : memref<4x8xf32> to memref<4x4xf32, strided<[8, 1], offset: 6>>
  exec.return
}

// -----

exec.func @f {
  %0 = exec.slot [4, 8] : memref<4x8xf32>
  // expected-error @below {{must keep the element type and every axis but the last, which is static}}
  %1 = exec.view %0 column 0 : memref<4x8xf32> to memref<3x4xf32, strided<[8, 1]>>
  exec.return
}

// -----

exec.func @f {
  %0 = exec.slot [4, 8] : memref<4x8xf32>
  // expected-error @below {{columns must be contiguous}}
  %1 = exec.view %0 column 0 : memref<4x8xf32> to memref<4x4xf32, strided<[8, 2]>>
  exec.return
}

// -----

exec.func @f {
  // expected-error @below {{names @w, which is no exec.constant}}
  %0 = exec.weight @w : memref<8xf32>
  exec.return
}

// -----

exec.constant @w : memref<1xf32> values [1.0]
exec.func @f {
  // expected-error @below {{must have the constant's type 'memref<1xf32>'}}
  %0 = exec.weight @w : memref<8xf32>
  exec.return
}

// -----

exec.func @f {
  // expected-error @below {{names @kv, which is no exec.state}}
  exec.kernel "attention" version 1 {} states [@kv]() -> () : () -> ()
  exec.return
}

// -----

exec.constant @w : memref<1xf32> values [1.0]
exec.func @f {
  %0 = exec.weight @w : memref<1xf32>
  // expected-error @below {{writes to a constant}}
  exec.kernel "rms_norm" version 1 {}() -> (%0) : () -> memref<1xf32>
  exec.return
}

// -----

exec.func @f {
  %0 = exec.slot [4] : memref<4xf32>
  // expected-error @below {{names @c, which is no exec.code}}
  exec.call_code @c(%0) dims [] items 4 grain 1 : memref<4xf32>
  exec.return
}

// -----

exec.func @f {
  // expected-error @below {{names @g, which is no exec.func}}
  exec.call @g
  exec.return
}

// -----

exec.func @f {
  // expected-error @below {{needs either a number of trips or a slot that counts them}}
  exec.loop at_most 4 {
  }
  exec.return
}

// -----

exec.code @c for "x86_64" ["avx2"] {objects = [array<i8: -61>]}
exec.func @f {
  %0 = exec.slot [4] : memref<4xf32>
  // expected-error @below {{grain must be positive}}
  exec.call_code @c(%0) dims [] items 4 grain 0 : memref<4xf32>
  exec.return
}
