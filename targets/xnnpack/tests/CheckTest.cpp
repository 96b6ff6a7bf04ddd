//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// check() of XNNPACK's kernels against hostile calls. It is part of every build, also of those that load no XNNPACK.
//
#include "targets/xnnpack/tests/Cases.h"

using namespace mlc;
using namespace mlc::test;

namespace {

TEST(XnnCheck, TakesValidCalls) {
  for (XnnCase &c : xnnCases())
    EXPECT_EQ(c.call->check(), "") << c.call->name;
}

TEST(XnnCheck, EveryOperandIsChecked) {
  for (XnnCase &c : xnnCases()) {
    KernelCallInfo info = c.call->info();
    const KernelDef *kernel = c.call->kernel(Isa::portable);
    std::vector<TensorView> inputs(info.inputs.begin(), info.inputs.end()),
        outputs(info.outputs.begin(), info.outputs.end());
    for (size_t i = 0; i < inputs.size() + outputs.size(); ++i) {
      TensorView &view = i < inputs.size() ? inputs[i] : outputs[i - inputs.size()], original = view;
      auto expectTaken = [&](bool taken, const char *what) {
        KernelCallInfo changed = info;
        changed.inputs = inputs;
        changed.outputs = outputs;
        EXPECT_EQ(bool(kernel->check(changed)), taken) << c.call->name << ": " << what << " of operand " << i;
        view = original;
      };
      auto expectRefused = [&](const char *what) { expectTaken(false, what); };
      view.dtype = DType::f16;
      expectRefused("dtype");
      int64_t elements = 1;
      for (unsigned a = 0; a < original.rank; ++a)
        elements *= original.dims[a];
      view.rank = 0;
      expectTaken(elements == 1, "rank"); // A scalar is one element.
      for (unsigned a = 0; a < original.rank; ++a)
        for (int64_t dim : {original.dims[a] + 1, original.dims[a] - 1, int64_t(0), int64_t(-1), INT64_MAX}) {
          view.dims[a] = dim;
          expectRefused("extent");
        }
      if (original.dims[original.rank - 1] > 1) {
        view.strides[original.rank - 1] = 2;
        expectRefused("stride");
      }
    }
    for (size_t i = 1; i < inputs.size(); ++i) {
      if (!c.call->constant[i])
        continue;
      c.call->constant[i] = false;
      EXPECT_NE(c.call->check(), "") << c.call->name << ": input " << i << " that is no constant";
      c.call->constant[i] = true;
    }
    KernelCallInfo fewer = c.call->info();
    fewer.inputs = fewer.inputs.first(fewer.inputs.size() - 1);
    EXPECT_FALSE(bool(kernel->check(fewer))) << c.call->name;
    KernelCallInfo other = c.call->info();
    other.attrsType = fb::KernelAttrs::NONE;
    EXPECT_FALSE(bool(kernel->check(other))) << c.call->name;
  }
}

// Each byte of the attributes, and each word: what is not refused asks for the memory that the operands have.
TEST(XnnCheck, ChangedAttributes) {
  Random random(11);
  unsigned refused = 0, accepted = 0;
  for (XnnCase &c : xnnCases()) {
    std::vector<uint8_t> original = c.attrs;
    for (size_t at = 0; at < original.size(); ++at)
      for (unsigned width : {1u, 4u, 8u})
        for (uint64_t value : {uint64_t(0), uint64_t(1), ~uint64_t(0), uint64_t(1) << 31, uint64_t(random())}) {
          if (at % width || at + width > original.size())
            continue;
          memcpy(c.attrs.data() + at, &value, width);
          ++(c.call->check().empty() ? accepted : refused);
          c.attrs = original;
        }
  }
  EXPECT_GT(refused, 3000u);
  EXPECT_GT(accepted, 100u);
}

TEST(XnnCheck, WindowsOutOfBounds) {
  Random random(3);
  const XnnWindow window{9, 11, 1, 5, 7, 3, 1, 1, 1, 1};
  auto checkOf = [&](XnnWindow changed, int64_t outHeight) {
    XnnCase c = convCase(random, window, 1, false);
    fb::XnnWindowAttrs attrs = windowAttrs(changed, 1, outHeight, 11, false);
    memcpy(c.attrs.data(), &attrs, sizeof attrs);
    return c.call->check();
  };
  EXPECT_EQ(checkOf(window, 9), "");
  EXPECT_THAT(checkOf(window, 10), ::testing::HasSubstr("height: 10 outputs do not follow from 9 inputs"));
  XnnWindow changed = window;
  changed.stride = 0;
  EXPECT_THAT(checkOf(changed, 9), ::testing::HasSubstr("height: an extent"));
  XnnCase dilated = poolCase(random, true, {11, 9, 1, 6, 6, 3, 1, 2, 1, 1}, 1);
  EXPECT_THAT(dilated.call->check(), ::testing::HasSubstr("a dilated maximum has no pads"));
  changed = window;
  changed.groups = 0;
  EXPECT_THAT(checkOf(changed, 9), ::testing::HasSubstr("groups"));
}

} // namespace
