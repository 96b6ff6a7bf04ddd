//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/Commands.h"
#include "runtime/run/Common.h"

namespace mlc::cli {

namespace {

struct TokenizeArguments {
  SessionArguments session;
  const char *text = nullptr, *file = nullptr, *decode = nullptr;
  bool noSpecial = false, json = false;
};

Status printIds(const TokenizeArguments &arguments, std::span<const int32_t> ids) {
  JsonWriter json;
  if (!arguments.json) {
    for (size_t i = 0; i < ids.size(); ++i)
      printf(i ? ",%d" : "%d", ids[i]);
    putchar('\n');
    return flushOutput();
  }
  json.open(nullptr, '{');
  json.open("tokens", '[');
  for (int32_t id : ids)
    json.count(nullptr, uint64_t(id));
  json.close(']');
  json.close('}');
  return json.finish();
}

Status decodeIds(const Model &model, const TokenizeArguments &arguments) {
  Buffer<int32_t> ids;
  MLC_TRY(parseTokens(arguments.decode, ids));
  if (!model.tokenizer())
    return Error(ErrorCode::Unsupported, "%s: the artifact has no tokenizer", model.name());
  // Special tokens are part of what was asked for.
  Decoder decoder(*model.tokenizer(), {/*skipSpecial=*/false});
  Buffer<char> text;
  TextSink sink{[](void *context, std::string_view piece) {
                  (void)static_cast<Buffer<char> *>(context)->append(piece.data(), piece.size());
                },
                &text};
  for (int32_t id : ids.span())
    if (Status fed = decoder.feed(uint32_t(id), sink); !fed)
      return inFile(model.name(), fed.error());
  decoder.flush(sink);
  if (!arguments.json) {
    fwrite(text.view().data(), 1, text.size(), stdout);
    putchar('\n');
    return flushOutput();
  }
  JsonWriter json;
  json.open(nullptr, '{');
  json.text("text", text.view());
  json.close('}');
  return json.finish();
}

Status tokenize(const char *file, const TokenizeArguments &arguments) {
  MLC_ASSIGN(Owned<Model> model, openModel(file, arguments.session));
  if (arguments.decode)
    return decodeIds(*model, arguments);
  Buffer<char> content;
  if (arguments.file)
    MLC_TRY(readAll(arguments.file, kMaxTextBytes, content));
  Buffer<int32_t> ids;
  MLC_TRY(encodeText(model->name(), model->tokenizer(), arguments.file ? content.view() : arguments.text,
                     !arguments.noSpecial, arguments.file ? arguments.file : "--text", ids));
  return printIds(arguments, ids.span());
}

} // namespace

int tokenizeCommand(int argc, char **argv) {
  TokenizeArguments arguments;
  const Option options[] = {
      {"text", "T", "the text", OptionKind::text, &arguments.text},
      {"file", "F", "the text of F, every byte of it", OptionKind::text, &arguments.file},
      {"decode", "1,2,3", "the text of these ids", OptionKind::text, &arguments.decode},
      {"no-special", nullptr, "no BOS or EOS added, special text is ordinary text", OptionKind::flag,
       &arguments.noSpecial},
      {"json", nullptr, "one JSON object on stdout", OptionKind::flag, &arguments.json},
  };
  Command command{argv[0], "SRC", "Text to token ids as a prompt is, or ids to text.", options,
                  "model.mlca --text \"Hello\""};
  const char *file;
  if (Parsed parsed = parseOptions(command, argc, argv, file); parsed.leave)
    return parsed.status;
  if (!!arguments.text + !!arguments.file + !!arguments.decode != 1) {
    printError("%s: give one of --text, --file and --decode", argv[0]);
    return 2;
  }
  if (Status done = tokenize(file, arguments); !done)
    return fail(done.error());
  return 0;
}

} // namespace mlc::cli
