/*===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Ends a C test at the first thing that is not so.
*/
#ifndef MLC_TESTS_UNIT_CAPI_CHECK_H
#define MLC_TESTS_UNIT_CAPI_CHECK_H

#include "mlc.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(CONDITION)                                                                                               \
  do {                                                                                                                 \
    if (!(CONDITION)) {                                                                                                \
      fprintf(stderr, "%s:%d: %s; %s\n", __FILE__, __LINE__, #CONDITION, mlc_error_text());                            \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)

#endif
