//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The few symbols of a C++ library that runtime code refers to on paths that are never taken, for programs that link
// none. Weak, so that a program that links libmlc.a and a C++ library keeps the library's.
//
#include <cstdlib>

extern "C" __attribute__((visibility("hidden"), weak)) void __cxa_pure_virtual() { abort(); }

namespace std {
// What string_view::substr calls for a position beyond the end.
__attribute__((visibility("hidden"), weak)) void __throw_out_of_range_fmt(const char *, ...) { abort(); }
} // namespace std
