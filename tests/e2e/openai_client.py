# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The server through the openai package, unchanged: openai_client.py PORT. test_serve.py runs it."""
import asyncio
import json
import sys
import urllib.request

import openai

client = openai.OpenAI(base_url=f"http://127.0.0.1:{sys.argv[1]}/v1", api_key="none", max_retries=0, timeout=60)
MODEL = client.models.list().data[0].id
PROMPT = "ROMEO:\n"


def refused(kind, code, param, call):
    try:
        call()
    except kind as error:
        assert (error.code, error.param) == (code, param), (error.code, error.param, error)
        assert error.request_id, error
        return
    raise AssertionError(f"no {kind.__name__}")


assert client.models.retrieve(MODEL).id == MODEL

answer = client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=8, temperature=0, logprobs=3, echo=True, seed=1)
assert answer.object == "text_completion" and answer.id.startswith("cmpl-")
choice = answer.choices[0]
assert choice.text.startswith(PROMPT) and choice.finish_reason in ("stop", "length")
scores = choice.logprobs
assert scores.token_logprobs[0] is None and scores.text_offset[0] == 0
assert len(scores.tokens) == len(scores.token_logprobs) == len(scores.top_logprobs) == len(scores.text_offset)
assert "".join(scores.tokens).endswith(choice.text[len(PROMPT):])
assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens

chunks = list(client.completions.create(model=MODEL, prompt=[PROMPT, "KING:\n"], max_tokens=8, temperature=0, stream=True,
                                        stream_options={"include_usage": True}))
assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens <= 16
assert all(chunk.usage is None for chunk in chunks[:-1])
streamed = "".join(chunk.choices[0].text for chunk in chunks[:-1] if chunk.choices[0].index == 0)
assert PROMPT + streamed == choice.text, (streamed, choice.text)

several = client.completions.create(model=MODEL, prompt=PROMPT, n=2, best_of=3, max_tokens=5, temperature=1, seed=7,
                                    stop=["\n\n", "@"], presence_penalty=0.5, frequency_penalty=0.5, logit_bias={"5": -100},
                                    top_p=0.9, user="somebody")
assert [c.index for c in several.choices] == [0, 1] and all("\n\n" not in c.text for c in several.choices)

messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Who art thou?"}]}]
chat = client.chat.completions.create(model=MODEL, messages=messages, max_completion_tokens=8, temperature=0, logprobs=True,
                                      top_logprobs=2)
message = chat.choices[0].message
assert chat.object == "chat.completion" and message.role == "assistant" and message.content
tokens = chat.choices[0].logprobs.content
assert all(len(t.top_logprobs) == 2 and t.top_logprobs[0].logprob >= t.top_logprobs[1].logprob for t in tokens)
assert b"".join(bytes(t.bytes) for t in tokens).decode() == message.content
# What came back can be sent again as it is.
client.chat.completions.create(model=MODEL, messages=[*messages, message.model_dump(), {"role": "user", "content": "And?"}],
                               max_tokens=2)
parts = list(client.chat.completions.create(model=MODEL, messages=messages, max_tokens=8, temperature=0, stream=True))
assert parts[0].choices[0].delta.role == "assistant"
assert "".join(part.choices[0].delta.content or "" for part in parts) == message.content
assert parts[-1].choices[0].finish_reason in ("stop", "length")
assert len({part.id for part in parts}) == 1

# Space may stand between the parts of JSON, and this model would write nothing else.
spaces = {}
for text in ("\n", "\n\n", " ", "  ", "\t", "\r"):
    body = json.dumps({"content": text, "add_special": False}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/tokenize", body) as response:
        spaces |= {str(token): -100 for token in json.load(response)["tokens"]}
chosen = client.chat.completions.create(
    model=MODEL, messages=messages, temperature=0, max_tokens=40, logit_bias=spaces,
    response_format={"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": {
        "type": "object", "properties": {"good": {"type": "boolean"}}, "required": ["good"], "additionalProperties": False}}})
assert chosen.choices[0].message.content.replace(" ", "").replace("\n", "") in ('{"good":true}', '{"good":false}')

# base64 is what the client asks for by itself.
vectors = client.embeddings.create(model=MODEL, input=["one", "another"]).data
plain = client.embeddings.create(model=MODEL, input="one", encoding_format="float").data[0].embedding
assert [v.index for v in vectors] == [0, 1] and abs(sum(x * x for x in plain) - 1) < 1e-4
assert max(abs(a - b) for a, b in zip(vectors[0].embedding, plain)) < 1e-6

refused(openai.NotFoundError, "model_not_found", "model", lambda: client.completions.create(model="x", prompt=PROMPT))
refused(openai.BadRequestError, "context_length_exceeded", "prompt",
        lambda: client.completions.create(model=MODEL, prompt=[1] * 5000))
refused(openai.BadRequestError, "invalid_value", "temperature",
        lambda: client.completions.create(model=MODEL, prompt=PROMPT, temperature=5))
refused(openai.BadRequestError, "unknown_parameter", "colour",
        lambda: client.completions.create(model=MODEL, prompt=PROMPT, extra_body={"colour": 1}))
refused(openai.BadRequestError, "unsupported_parameter", "tools", lambda: client.chat.completions.create(
    model=MODEL, messages=messages, tools=[{"type": "function", "function": {"name": "f"}}]))


async def together():
    many = openai.AsyncOpenAI(base_url=client.base_url, api_key="none", max_retries=0, timeout=60)
    answers = await asyncio.gather(*(many.completions.create(model=MODEL, prompt=PROMPT, max_tokens=8, temperature=0)
                                     for _ in range(12)))
    assert {a.choices[0].text for a in answers} == {choice.text[len(PROMPT):]}
    assert len({a.id for a in answers}) == 12


asyncio.run(together())
print("conforms:", openai.__version__)
