//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/engine/PrefixCache.h"

#include <algorithm>

namespace mlc::server {

PromptForms::PromptForms(const Model &model) {
  if (!model.promptForm())
    return;
  // Where no kernel says otherwise, each length has its own.
  plain = ~uint64_t(0);
  byLength = true;
  for (const Plan::KernelCall &call : model.executionPlan().kernelCalls()) {
    if (call.attrsType != fb::KernelAttrs::RopeAnglesAttrs)
      continue;
    const auto &attrs = *static_cast<const fb::RopeAnglesAttrs *>(call.attrs);
    bool first = plain == ~uint64_t(0);
    plain = std::min<uint64_t>(plain, attrs.original_context());
    byLength = (!first && byLength) || attrs.scaling() != fb::RopeScaling::longrope;
  }
  if (plain == ~uint64_t(0))
    plain = 1;
}

uint64_t PromptForms::form(uint64_t promptLength) const {
  if (!plain || promptLength <= plain)
    return 0;
  return byLength ? promptLength : 1;
}

size_t commonPrefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  auto end = a.begin() + ptrdiff_t(std::min(a.size(), b.size()));
  return size_t(std::mismatch(a.begin(), end, b.begin()).first - a.begin());
}

PrefixCache::~PrefixCache() {
  while (!entries.empty())
    drop(entries.size() - 1);
}

void PrefixCache::drop(size_t index) {
  (void)session.releaseSnapshot(entries[index].snapshot);
  entries[index] = std::move(entries.back());
  entries.pop_back();
}

PrefixCache::Match PrefixCache::find(std::span<const int32_t> tokens, uint64_t form) {
  Match best;
  Entry *found = nullptr;
  for (Entry &entry : entries) {
    if (entry.form != form)
      continue;
    size_t shared = reusable(session, entry.snapshot, commonPrefix(entry.tokens, tokens));
    if (shared > best.tokens) {
      best = {entry.snapshot, shared};
      found = &entry;
    }
  }
  if (found)
    found->used = ++clock;
  return best;
}

void PrefixCache::insert(SequenceId sequence, std::span<const int32_t> tokens, uint64_t form) {
  if (!capacity || tokens.empty())
    return;
  for (size_t i = entries.size(); i-- > 0;) {
    Entry &entry = entries[i];
    if (entry.form != form)
      continue;
    size_t common = commonPrefix(entry.tokens, tokens);
    if (common == tokens.size() && reusable(session, entry.snapshot, common) == common) {
      entry.used = ++clock;
      return;
    }
    if (common == entry.tokens.size() && reusable(session, sequence, common) == common)
      drop(i);
  }
  while (entries.size() >= capacity)
    evict();
  auto snapshot = session.snapshot(sequence);
  if (!snapshot)
    return;
  entries.push_back({{tokens.begin(), tokens.end()}, *snapshot, form, ++clock});
}

bool PrefixCache::evict() {
  auto oldest =
      std::min_element(entries.begin(), entries.end(), [](const Entry &a, const Entry &b) { return a.used < b.used; });
  if (oldest == entries.end())
    return false;
  drop(size_t(oldest - entries.begin()));
  ++evicted;
  return true;
}

} // namespace mlc::server
