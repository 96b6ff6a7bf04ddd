//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// AMX tiles in software, so that the `amx` form is tested on every machine with AVX-512 and bf16 products: the same
// object code runs, and what the processor refuses a handler of SIGILL carries out, instruction by instruction as
// Intel's Software Developer's Manual (volume 2) defines it. What the manual forbids, such as shapes that do not fit,
// ends the program.
//
#pragma once

namespace mlc::test {

/// Whether the process can execute the tile instructions in software. The first call installs the handler; call it only
/// where the processor has none.
bool softwareTiles();

} // namespace mlc::test
