//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/Options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifndef MLC_VERSION
#define MLC_VERSION "0.1.0"
#endif

namespace mlc::cli {

void printError(const char *format, ...) {
  char text[1200];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  // One line whatever a file name or an argument holds.
  for (char *at = text; *at; ++at)
    if ((unsigned char)*at < 0x20 || *at == 0x7f)
      *at = '?';
  fflush(stdout);
  fprintf(stderr, "mlc: error: %s\n", text);
}

int fail(const Error &error) {
  printError("%s", error.message());
  return 1;
}

int fail(const char *file, const Error &error) {
  printError("%s: %s", file, error.message());
  return 1;
}

static void printHelp(const Command &command) {
  printf("usage: %s %s [options]\n\n%s\n\noptions:\n", command.name, command.positional, command.summary);
  auto line = [](const char *name, const char *placeholder, const char *help) {
    char left[64];
    // One letter takes one dash.
    snprintf(left, sizeof left, "%s%s%s%s", name[1] ? "--" : "-", name, placeholder ? " " : "",
             placeholder ? placeholder : "");
    printf("  %-24s %s\n", left, help);
  };
  for (const Option &option : command.options)
    if (option.kind != OptionKind::unavailable)
      line(option.name, option.placeholder, option.help);
  line("help", nullptr, "this text");
  line("version", nullptr, "the version");
  printf("\nexample:\n  %s %s\n", command.name, command.example);
}

static bool parseCount(const char *text, bool suffixes, uint64_t &value) {
  char *end;
  if (*text < '0' || *text > '9')
    return false;
  errno = 0;
  value = strtoull(text, &end, 10);
  if (errno || end == text)
    return false;
  unsigned shift = !suffixes ? 0 : *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
  end += shift != 0;
  if (*end || value > UINT64_MAX >> shift)
    return false;
  value <<= shift;
  return true;
}

/// Takes `value` into the option's target, or names the mistake.
static bool take(const Option &option, const char *dashes, const char *value) {
  switch (option.kind) {
  case OptionKind::text:
    *static_cast<const char **>(option.target) = value;
    return true;
  case OptionKind::texts: {
    TextList &list = *static_cast<TextList *>(option.target);
    if (list.count == TextList::kMost) {
      printError("%s%s: given more than %u times", dashes, option.name, TextList::kMost);
      return false;
    }
    list.items[list.count++] = value;
    return true;
  }
  case OptionKind::count:
  case OptionKind::bytes: {
    uint64_t number;
    if (!parseCount(value, option.kind == OptionKind::bytes, number)) {
      printError("%s%s %s: not a number%s", dashes, option.name, value,
                 option.kind == OptionKind::bytes ? " of bytes (suffix K, M or G)" : "");
      return false;
    }
    if (number < option.least || number > option.most) {
      if (option.most == UINT64_MAX)
        printError("%s%s %s: choose %llu or more", dashes, option.name, value, (unsigned long long)option.least);
      else
        printError("%s%s %s: choose %llu to %llu", dashes, option.name, value, (unsigned long long)option.least,
                   (unsigned long long)option.most);
      return false;
    }
    *static_cast<uint64_t *>(option.target) = number;
    return true;
  }
  case OptionKind::real: {
    char *end;
    float number = strtof(value, &end);
    if (end == value || *end || !isfinite(number)) {
      printError("%s%s %s: not a number", dashes, option.name, value);
      return false;
    }
    *static_cast<float *>(option.target) = number;
    return true;
  }
  default:
    return true;
  }
}

Parsed parseOptions(const Command &command, int argc, char **argv, const char *&file) {
  size_t count;
  file = nullptr;
  return parseOptions(command, argc, argv, {&file, 1}, count);
}

Parsed parseOptions(const Command &command, int argc, char **argv, std::span<const char *> files, size_t &count) {
  constexpr Parsed usage{true, 2};
  count = 0;
  bool onlyFiles = false;
  for (int i = 1; i < argc; ++i) {
    const char *argument = argv[i];
    if (onlyFiles || argument[0] != '-' || !argument[1]) {
      if (count == files.size()) {
        if (count == 1)
          printError("%s: one file is enough, %s comes first; see %s --help", argument, files[0], command.name);
        else
          printError("%s: %zu files are the most; see %s --help", argument, count, command.name);
        return usage;
      }
      files[count++] = argument;
      continue;
    }
    if (!strcmp(argument, "--")) {
      onlyFiles = true;
      continue;
    }
    if (!strcmp(argument, "--help") || !strcmp(argument, "-h")) {
      printHelp(command);
      return {true, fflush(stdout) ? 1 : 0};
    }
    if (!strcmp(argument, "--version")) {
      puts("mlc " MLC_VERSION);
      return {true, fflush(stdout) ? 1 : 0};
    }
    const char *dashes = argument[1] == '-' ? "--" : "-";
    const char *name = argument + strlen(dashes);
    size_t length = strcspn(name, "=");
    const Option *option = nullptr;
    for (const Option &candidate : command.options)
      if (strlen(candidate.name) == length && !memcmp(candidate.name, name, length) &&
          (candidate.name[1] != 0) == (dashes[1] != 0))
        option = &candidate;
    if (!option) {
      printError("%.*s: unknown option; see %s --help", int(length + strlen(dashes)), argument, command.name);
      return usage;
    }
    if (option->kind == OptionKind::unavailable) {
      printError("%s%s: not available in this version", dashes, option->name);
      return usage;
    }
    if (command.given)
      *command.given |= uint64_t(1) << (option - command.options.data());
    if (option->kind == OptionKind::flag) {
      if (name[length]) {
        printError("%s%s takes no value", dashes, option->name);
        return usage;
      }
      *static_cast<bool *>(option->target) = true;
      continue;
    }
    const char *value = name[length] ? name + length + 1 : i + 1 < argc ? argv[++i] : nullptr;
    if (!value) {
      printError("%s%s needs a value, %s", dashes, option->name, option->placeholder);
      return usage;
    }
    if (!take(*option, dashes, value))
      return usage;
  }
  if (!count) {
    printError("%s: give %s; see %s --help", command.name, command.positional, command.name);
    return usage;
  }
  return {};
}

} // namespace mlc::cli
