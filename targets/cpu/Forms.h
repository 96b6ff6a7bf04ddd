//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The ISA forms a kernel source is compiled for, as lists X(form, arguments). Every source has the basic forms; those
// that gain from further instructions name a longer list here and in CMakeLists.txt. A form is also the namespace of
// its code.
//
#pragma once

#ifndef MLC_ISA_NS
#define MLC_ISA_NS portable
/// The portable compilation also holds the kernel's check, scratch and run.
#define MLC_ISA_BASE 1
#else
#define MLC_ISA_BASE 0
#endif

#if defined(__x86_64__)
#define MLC_BASIC_FORMS(X, ...) X(portable, __VA_ARGS__) X(avx2, __VA_ARGS__) X(avx512vnni, __VA_ARGS__)
/// With byte products of 256 bits.
#define MLC_DOT_FORMS(X, ...)                                                                                          \
  X(portable, __VA_ARGS__) X(avx2, __VA_ARGS__) X(avxvnni, __VA_ARGS__) X(avx512vnni, __VA_ARGS__)
/// With bf16 products; AVX-512 without them takes the form before.
#define MLC_BF16_FORMS(X, ...) X(portable, __VA_ARGS__) X(avx2, __VA_ARGS__) X(avx512bf16, __VA_ARGS__)
/// And a source of their own with tiles.
#define MLC_TILE_FORMS(X, ...) MLC_BF16_FORMS(X, __VA_ARGS__) X(amx, __VA_ARGS__)
#define MLC_ALL_FORMS(X, ...)                                                                                          \
  X(portable, __VA_ARGS__)                                                                                             \
  X(avx2, __VA_ARGS__)                                                                                                 \
  X(avxvnni, __VA_ARGS__) X(avx512vnni, __VA_ARGS__) X(avx512bf16, __VA_ARGS__) X(amx, __VA_ARGS__)
#elif defined(__aarch64__)
#define MLC_BASIC_FORMS(X, ...) X(portable, __VA_ARGS__)
#define MLC_DOT_FORMS(X, ...) X(portable, __VA_ARGS__) X(dotprod, __VA_ARGS__) X(i8mm, __VA_ARGS__)
#define MLC_BF16_FORMS(X, ...) X(portable, __VA_ARGS__) X(bf16, __VA_ARGS__)
#define MLC_TILE_FORMS MLC_BF16_FORMS
#define MLC_ALL_FORMS(X, ...) X(portable, __VA_ARGS__) X(dotprod, __VA_ARGS__) X(i8mm, __VA_ARGS__) X(bf16, __VA_ARGS__)
#else
#define MLC_BASIC_FORMS(X, ...) X(portable, __VA_ARGS__)
#define MLC_DOT_FORMS(X, ...) X(portable, __VA_ARGS__)
#define MLC_BF16_FORMS(X, ...) X(portable, __VA_ARGS__)
#define MLC_TILE_FORMS MLC_BF16_FORMS
#define MLC_ALL_FORMS(X, ...) X(portable, __VA_ARGS__)
#endif
