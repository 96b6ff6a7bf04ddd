#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Records JSON Schemas with texts that Python's jsonschema finds valid and invalid, or checks samples.

    make.py schemas.jsonl             hand-written and random schemas, texts of each
    make.py --check SAMPLES           what SchemaTest wrote to $MLC_GRAMMAR_SAMPLES

Valid texts are spelled as grammars spell them: members in the order of the schema.
"""
import argparse
import json
import random
import re
import sys

import jsonschema

HAND = [
    True, {}, {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}, {"type": "null"}, {"type": "array"}, {"type": "object"},
    {"type": ["string", "null"]}, {"type": ["integer", "string"], "maxLength": 2, "minimum": 3},
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": "boolean"}}, "required": ["b"], "additionalProperties": False},
    {"type": "object", "properties": {"a": {"type": "integer"}, "ab": {"type": "string"}, "é": {}}, "required": ["ab"]},
    {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["z"], "additionalProperties": {"type": "number"}},
    {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}},
    {"enum": ["red", "grün", "\"q\"", 3, None, 2.5, {"a": [1]}]}, {"const": "x\ny"}, {"type": "string", "enum": ["a", 1]}, {"const": {"k": []}},
    {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3}, {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
    {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "null"}, "minItems": 2, "maxItems": 4}, {"type": "array", "minItems": 2},
    {"type": "array", "maxItems": 0}, {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}, {"const": 3}], "minItems": 1, "maxItems": 2},
    {"type": "string", "minLength": 2, "maxLength": 4}, {"type": "string", "maxLength": 0}, {"type": "string", "minLength": 3},
    {"type": "string", "pattern": "^[a-c]{2,3}\\d+$"}, {"type": "string", "pattern": "ab|cd$"}, {"type": "string", "pattern": "^\"\\\\[^x\"]\\s?$"}, {"type": "string", "pattern": "^(?:नम|x)+[^a-z]$"},
    {"type": "string", "pattern": "^\\w+@\\w+\\.(?:com|in)$"}, {"type": "string", "pattern": "^$"}, {"type": "string", "pattern": "^[^\\d\\s-]*?-\\S\\D\\W$"},
    {"type": "string", "format": "date"}, {"type": "string", "format": "uuid"}, {"type": "string", "format": "ipv4"}, {"type": "string", "format": "date-time"}, {"type": "string", "format": "time"}, {"type": "string", "format": "email"},
    {"type": "integer", "minimum": 0, "maximum": 0}, {"type": "integer", "minimum": -12, "maximum": 345}, {"type": "integer", "exclusiveMinimum": 99, "exclusiveMaximum": 1001}, {"type": "integer", "minimum": 7}, {"type": "integer", "maximum": -5},
    {"type": "integer", "minimum": 0.5, "maximum": 9.5}, {"type": "number", "minimum": 0, "maximum": 1}, {"type": "number", "minimum": -3, "maximum": 12}, {"type": "number", "maximum": -2},
    {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}, {"oneOf": [{"type": "string"}, {"type": "integer"}]},
    {"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind", "x"], "additionalProperties": False},
               {"type": "object", "properties": {"kind": {"const": "b"}, "y": {"type": "string"}}, "required": ["kind"], "additionalProperties": False}]},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"properties": {"b": {"type": "string"}}, "required": ["b"]}]},
    {"type": "object", "properties": {"v": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}, "required": ["v"], "additionalProperties": False},
    {"$defs": {"node": {"type": "object", "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}, "required": ["value"], "additionalProperties": False}}, "$ref": "#/$defs/node"},
    {"definitions": {"name~x/y": {"type": "string", "maxLength": 1}}, "type": "array", "items": {"$ref": "#/definitions/name~0x~1y"}},
    {"type": "object", "properties": {"a": {"type": "integer"}}, "anyOf": [{"required": ["a"]}, {"properties": {"b": {"type": "null"}}, "required": ["b"]}]},
    {"type": "object", "properties": {"x": {"title": "X", "description": "text", "default": 3, "type": "integer"}}, "title": "T", "$schema": "https://json-schema.org/draft/2020-12/schema", "additionalProperties": False},
    {"type": "object", "properties": {}, "additionalProperties": False}, {"type": "array", "items": {"type": "boolean"}},
]
VALUES = [0, 1, -1, 7, 12, 99, 100, 345, 346, 1000, 1001, -5, -12, -13, 2.5, 0.5, -0.25, 1.0, 11.75, "", "a", "ab", "abc", "abcd", "abcde", "x\ny", "red", "grün", "\"q\"", "नमस्ते", "नमx!", "ab12", "abc9", "xabx", "xcd", "cdx", "\"\\y", "me@x.in", "q-aa-", "q-a!!",
          "2024-02-29", "2023-02-29", "2023-12-31", "2023-13-01", "12:30:59Z", "2023-01-01T00:00:00+05:30", "2023-01-01T25:00:00Z", "a@b.org", "123e4567-e89b-12d3-a456-426614174000", "127.0.0.1", "256.1.1.1", True, False, None,
          [], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4], ["a"], ["a", 1], ["a", None], ["a", None, None], [True], [[]], ["é", "x"], [{}], {}, {"a": 1}, {"a": "x"}, {"b": "s"}, {"a": 1, "b": "s"}, {"a": 1, "b": "s", "c": True}, {"b": "s", "c": 1}, {"ab": "q"}, {"a": 2, "ab": "q", "é": []},
          {"ab": "q", "abc": 1}, {"z": 1}, {"z": 1, "y": 2.5}, {"a": 1, "z": 2}, {"a": [1]}, {"k": []}, {"v": None}, {"v": {"v": None}}, {"v": 1}, {"kind": "a", "x": 1}, {"kind": "b", "y": "t"}, {"kind": "b"}, {"kind": "a"},
          {"value": 1}, {"value": 1, "children": []}, {"value": 1, "children": [{"value": 2, "children": [{"value": 3}]}]}, {"value": "x"}, {"x": 1}, {"x": "y"}, {"b": None}, {"a": "b", "b": 1}]
CHECKER = jsonschema.FormatChecker(["date", "uuid", "ipv4"])


def valid(schema, value):
    """As jsonschema has it, but for 1.0, which is spelled as no integer, and the formats it has no checker for."""
    if schema is True:
        return True
    if not jsonschema.Draft202012Validator(schema, format_checker=CHECKER).is_valid(value):
        return False
    return True


def has_integer_float(value):
    if isinstance(value, float):
        return value == int(value)
    if isinstance(value, list):
        return any(map(has_integer_float, value))
    return isinstance(value, dict) and any(map(has_integer_float, value.values()))


class Random:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def schema(self, depth):
        kind = self.r.randrange(12 if depth else 7)
        low = self.r.randrange(-40, 40)
        if kind == 0:
            return {"type": "integer", "minimum": low, "maximum": low + self.r.choice([0, 3, 70, 2000])}
        if kind == 1:
            return {"type": "string", "minLength": self.r.randrange(3), "maxLength": self.r.randrange(3, 9)}
        if kind == 2:
            return {"enum": self.r.sample(["a", "b", 1, None, True, 2.5, "ñ"], self.r.randrange(1, 4))}
        if kind == 3:
            return {"type": self.r.choice(["integer", "number", "string", "boolean", "null"])}
        if kind == 4:
            return {"type": "string", "pattern": self.r.choice(["^[a-f]{1,4}$", "^a", "z$", "^(ab|c)*d?$", "x"])}
        if kind == 5:
            return {"const": self.r.choice([1, "s", [], {"a": 1}])}
        if kind == 6:
            return {"type": "number", "minimum": low, "maximum": low + self.r.randrange(50)}
        if kind < 9:
            least = self.r.randrange(3)
            return {"type": "array", "items": self.schema(depth - 1), "minItems": least, "maxItems": least + self.r.randrange(3)}
        if kind == 9:
            return {"anyOf": [self.schema(depth - 1) for _ in range(self.r.randrange(1, 4))]}
        names = self.r.sample(["a", "ab", "b", "name", "ñ", "x y"], self.r.randrange(0, 4))
        made = {"type": "object", "properties": {n: self.schema(depth - 1) for n in names}, "required": [n for n in names if self.r.random() < 0.5]}
        if self.r.random() < 0.7:
            made["additionalProperties"] = self.r.choice([False, self.schema(depth - 1)])
        return made

    def value(self, schema):
        """A value that is often valid."""
        r = self.r
        if schema is True or not schema or r.random() < 0.05:
            return r.choice(VALUES)
        if "enum" in schema:
            return r.choice(schema["enum"])
        if "const" in schema:
            return schema["const"]
        if "anyOf" in schema:
            return self.value(r.choice(schema["anyOf"]))
        kind = schema.get("type")
        if kind == "integer":
            return r.randrange(schema.get("minimum", -100) - 1, schema.get("maximum", 100) + 2)
        if kind == "number":
            return r.choice([r.randrange(-50, 90), r.randrange(-500, 900) / 8, schema.get("minimum", 0), schema.get("maximum", 0)])
        if kind == "string":
            return "".join(r.choice("abcdxz\"\\\né न😀") for _ in range(r.randrange(0, 8)))
        if kind == "boolean":
            return r.random() < 0.5
        if kind == "array":
            return [self.value(schema["items"]) for _ in range(r.randrange(0, 5))]
        if kind == "object":
            made = {}
            for name, each in schema["properties"].items():
                if name in schema["required"] or r.random() < 0.5:
                    made[name] = self.value(each)
            if r.random() < 0.3:
                made[r.choice(["abc", "q", "na", "é"])] = self.value(schema.get("additionalProperties") or True)
            return made
        return None


def record(schema, values):
    made = {"schema": json.dumps(schema, ensure_ascii=False), "valid": [], "invalid": []}
    for value in values:
        if has_integer_float(value):
            continue
        good = valid(schema, value)
        if good and "format" in json.dumps(schema) and isinstance(value, str):
            good = None if schema.get("format") in ("time", "date-time", "email") else good
        # Python's $ matches before a last newline, too.
        if good is None or ("pattern" in made["schema"] and '\\n"' in json.dumps(value)):
            continue
        form = {"ensure_ascii": False} if len(made["valid"]) % 3 else {"ensure_ascii": False, "indent": 1}
        made["valid" if good else "invalid"].append(json.dumps(value, **form))
    return made


def check(path):
    with open(path, encoding="utf-8", newline="\n") as f:
        lines = [line.rstrip("\n").split("\t") for line in f]
    wrong = 0
    for schema, text in lines:
        if "\\\\S" in schema:  # Python's classes hold more of Unicode than ECMA-262's.
            continue
        text = re.sub("%([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), text)
        value, known = json.loads(text), json.loads(schema)
        if known is not True and not jsonschema.Draft202012Validator(known, format_checker=CHECKER).is_valid(value):
            wrong += 1
            print(f"not valid: {schema}\n  {text}")
    print(f"{len(lines)} samples, {wrong} wrong")
    return 1 if wrong or not lines else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("file")
    options = parser.parse_args()
    if options.check:
        sys.exit(check(options.file))
    made = Random(options.seed)
    with open(options.file, "w", encoding="utf-8") as f:
        for schema in HAND:
            f.write(json.dumps(record(schema, VALUES), ensure_ascii=False) + "\n")
        for _ in range(150):
            schema = made.schema(3)
            f.write(json.dumps(record(schema, [made.value(schema) for _ in range(12)] + made.r.sample(VALUES, 6)), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
