//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The cost model learns a machine that it does not know, and never promises more than was seen.
//
#include "runtime/server/engine/CostModel.h"

#include <cmath>
#include <gtest/gtest.h>
#include <random>

namespace mlc::server {
namespace {

/// A machine: reading the weights, then products, then the head, then attention.
double machine(const StepShape &shape) {
  return 12 + 0.9 * double(std::max<int64_t>(0, shape.tokens - 4)) + (shape.rows ? 5 : 0) + 0.4 * double(shape.rows) +
         2e-4 * shape.reach;
}

StepShape step(int64_t tokens, int64_t rows, int64_t depth) {
  StepShape shape;
  shape.add(depth, tokens, rows);
  return shape;
}

TEST(EngineCost, LearnsAMachine) {
  CostModel model;
  std::mt19937 random(1);
  std::uniform_real_distribution<double> noise(0.97, 1.03);
  for (int64_t tokens : {1, 1, 4, 8, 16, 32})
    model.learn(step(tokens, 0, 0), machine(step(tokens, 0, 0)));
  model.learn(step(1, 1, 0), machine(step(1, 1, 0)));
  for (int i = 0; i < 400; ++i) {
    int64_t answers = 1 + int64_t(random() % 8), chunk = int64_t(random() % 24);
    StepShape shape;
    for (int64_t k = 0; k < answers; ++k)
      shape.add(int64_t(random() % 1500), 1, 1);
    shape.add(int64_t(random() % 1500), chunk, 0);
    model.learn(shape, machine(shape) * noise(random));
  }
  for (int i = 0; i < 100; ++i) {
    StepShape shape;
    for (int64_t k = 1 + int64_t(random() % 8); k-- > 0;)
      shape.add(int64_t(random() % 1500), 1, 1);
    shape.add(int64_t(random() % 1500), int64_t(random() % 24), 0);
    EXPECT_NEAR(model.predict(shape) / machine(shape), 1, 0.12) << shape.tokens << " " << shape.rows;
  }
  // A piece of a prompt that is cut to 40 ms takes no longer, and not much less.
  StepShape answers = step(1, 1, 500);
  int64_t count = model.fit(answers, 200, 512, false, 40);
  StepShape cut = answers;
  cut.add(200, count, 0);
  EXPECT_LE(machine(cut), 44);
  EXPECT_GE(machine(cut), 30);
}

TEST(EngineCost, WhatWasNeverSeenIsTakenAsProportional) {
  CostModel model;
  model.learn(step(1, 0, 0), 10);
  model.learn(step(16, 0, 0), 20);
  EXPECT_NEAR(model.predict(step(64, 0, 0)), 80, 2);
  EXPECT_LE(model.fit({}, 0, 512, false, 40), 32);
  EXPECT_GE(model.fit({}, 0, 512, false, 40), 24);
}

TEST(EngineCost, ForgetsABadBeginning) {
  // Everything took ten times as long at first; then the machine is as it is, and steps are as large as they may be.
  CostModel model;
  for (int64_t tokens : {1, 1, 4, 8, 16, 32})
    model.learn(step(tokens, 0, 0), 10 * machine(step(tokens, 0, 0)));
  model.learn(step(1, 1, 0), 10 * machine(step(1, 1, 0)));
  int tooLong = 0, full = 0;
  for (int i = 0; i < 1000; ++i) {
    // Answers in turns with prompts, as many as the model allows.
    StepShape shape;
    shape.add(300, 1, i % 2);
    if (i % 2)
      while (shape.rows < 64) {
        StepShape with = shape;
        with.add(300, 1, 1);
        if (model.atMost(with) > 40)
          break;
        shape = with;
      }
    else
      shape.add(300, model.fit(shape, 300, 512, false, 40), 0);
    double ms = machine(shape);
    model.learn(shape, ms);
    tooLong += i >= 500 && ms > 44;
    full += i >= 500 && ms > 32;
  }
  EXPECT_LE(tooLong, 25);
  EXPECT_GE(full, 450);
}

TEST(EngineCost, HoldsWithoutSenseInItsInput) {
  CostModel model;
  EXPECT_EQ(model.predict(step(8, 1, 0)), 0);
  model.learn(step(0, 0, 0), 5);
  model.learn(step(4, 1, 0), -1);
  for (double ms : {0.0, 1e-9, 1e9, 0.0, 5.0})
    for (int64_t tokens : {1, 70000, 3})
      model.learn(step(tokens, tokens % 5, 100000), ms);
  for (int64_t tokens : {1, 2, 100, 100000})
    EXPECT_TRUE(std::isfinite(model.predict(step(tokens, tokens, 1000000))));
  EXPECT_EQ(model.fit({}, 0, 0, false, 40), 0);
}

} // namespace
} // namespace mlc::server
