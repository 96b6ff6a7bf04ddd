//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ISA forms by name, for options and messages. The limit that a test or MLC_ISA sets is passed to findKernel; there is
// no state.
//
#pragma once

#include "runtime/exec/Kernel.h"

namespace mlc {

/// "portable", "avx2", ...: the enumerator.
const char *isaName(Isa isa);
/// The form of that name; InvalidArgument names the ones there are.
Result<Isa> parseIsa(const char *name);
/// Whether this machine executes the form.
bool machineRuns(Isa isa);
/// The best form that this machine executes, at or below `limit`.
Isa limitedIsa(Isa limit);

} // namespace mlc
