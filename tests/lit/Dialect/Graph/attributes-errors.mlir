// RUN: mlc-opt %s -split-input-file -verify-diagnostics

func.func @f(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error @+1 {{graph.tap must be a string on an op with a result}}
  %0 = graph.softcap %x {cap = 1.0 : f32, graph.tap = 3 : i64} : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

// expected-error @+1 {{graph.tap must be a string on an op with a result}}
graph.weight @w : tensor<8xf32> stored f32 {graph.tap = "embed"}

// -----

func.func @f(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error @+1 {{graph.inner_taps must be an array of strings}}
  %0 = graph.softcap %x {cap = 1.0 : f32, graph.inner_taps = ["a", 1 : i64]} : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

// expected-error @+1 {{unknown attribute "graph.tapped" of the graph dialect}}
func.func private @f() attributes {graph.tapped = "x"}

// -----

// expected-error @+1 {{unknown argument attribute "graph.tap" of the graph dialect}}
func.func private @f(tensor<?xf32> {graph.tap = "x"})

// -----

// expected-error @+1 {{graph.dims must be an array with one string for each axis of a tensor argument}}
func.func private @f(tensor<?x8xf32> {graph.dims = ["tokens"]})

// -----

// expected-error @+1 {{graph.dims must be an array with one string for each axis of a tensor argument}}
func.func private @f(i32 {graph.dims = []})

// -----

graph.extent @tokens
// expected-error @+1 {{graph.dims must name an extent for exactly the dynamic axes}}
func.func private @f(tensor<?x8xf32> {graph.dims = ["tokens", "tokens"]})

// -----

// expected-error @+1 {{graph.dims must name an extent for exactly the dynamic axes}}
func.func private @f(tensor<?xf32> {graph.dims = [""]})

// -----

// expected-error @+1 {{graph.dims names @tokens, which is no graph.extent}}
func.func private @f(tensor<?xf32> {graph.dims = ["tokens"]})
