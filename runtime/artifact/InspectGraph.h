//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The pictures of inspectHtml.
//
#pragma once

#include "runtime/artifact/Inspect.h"

namespace mlc {

/// The ops of a function and the arena over them, as SVG. `times`: microseconds of its ops, none when it is empty.
void inspectGraph(const fb::Artifact &meta, const fb::Function &function, std::span<const double> times,
                  TextWriter &out);

} // namespace mlc
