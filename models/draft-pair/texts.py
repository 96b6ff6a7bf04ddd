# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""JSON and Python that seeded generators write: what the draft and its verifier
learn beside prose. Values are drawn by Zipf's law and depend on each other, as
in real records and programs: an e-mail follows from a name, a currency from a
country, a body from its signature. Standard library only.

    python3 models/draft-pair/texts.py json|code SEED     prints one document
"""
import json
import random
import sys

FIRST = "Maria Asha John Wei Fatima Liam Elena Omar Priya Noah Ingrid Kofi Yuki Carlos Anna Dmitri Zara Pedro Hana Ivan".split()
LAST = "Garcia Rao Smith Chen Khan Murphy Rossi Haddad Sharma Brown Larsen Mensah Tanaka Silva Novak Petrov Ali Costa Sato Weber".split()
PLACES = [  # city, country, currency, zone
    ("London", "United Kingdom", "GBP", "Europe/London"), ("Pune", "India", "INR", "Asia/Kolkata"),
    ("Berlin", "Germany", "EUR", "Europe/Berlin"), ("Austin", "United States", "USD", "America/Chicago"),
    ("Lisbon", "Portugal", "EUR", "Europe/Lisbon"), ("Osaka", "Japan", "JPY", "Asia/Tokyo"),
    ("Accra", "Ghana", "GHS", "Africa/Accra"), ("Oslo", "Norway", "NOK", "Europe/Oslo"),
    ("Milan", "Italy", "EUR", "Europe/Rome"), ("Toronto", "Canada", "CAD", "America/Toronto")]
PRODUCTS = [  # sku, title, price, category
    ("KB-104", "Mechanical keyboard", 89.0, "peripherals"), ("MS-220", "Wireless mouse", 24.5, "peripherals"),
    ("MN-270", "Monitor, 27 inch", 249.0, "displays"), ("CB-010", "USB-C cable, 1 m", 7.9, "cables"),
    ("HD-510", "Headphones", 129.0, "audio"), ("DK-300", "Docking station", 179.0, "peripherals"),
    ("SP-020", "Desk speakers", 59.0, "audio"), ("LT-014", "Laptop stand", 39.0, "furniture")]
SENSORS = [("temperature", "celsius", 21.0), ("humidity", "percent", 45.0), ("pressure", "hectopascal", 1013.0),
           ("light", "lux", 320.0), ("noise", "decibel", 38.0)]
SERVICES = [("gateway", 8080), ("billing", 8081), ("search", 9200), ("accounts", 8443), ("mailer", 2525), ("reports", 8090)]


class Draw(random.Random):
    def zipf(self, values, steep=1.3):
        """One of the values; the k-th is k^-steep times as likely as the first."""
        return self.choices(values, [(k + 1) ** -steep for k in range(len(values))])[0]


# --- JSON -------------------------------------------------------------------

def person(r, number):
    first, last = r.zipf(FIRST), r.zipf(LAST)
    city, country, currency, zone = r.zipf(PLACES)
    active = r.random() < 0.8
    return {"id": number, "name": f"{first} {last}", "email": f"{first}.{last}@example.org".lower(),
            "role": r.zipf(["viewer", "editor", "admin"]), "active": active,
            "address": {"city": city, "country": country, "timezone": zone},
            "billing": {"currency": currency, "plan": "standard" if active else "none"}}


def order(r, number):
    items = []
    for sku, title, price, category in sorted({r.zipf(PRODUCTS) for _ in range(r.zipf([1, 2, 3]))}):
        items.append({"sku": sku, "title": title, "category": category, "unit_price": price, "quantity": r.zipf([1, 2, 3])})
    city, country, currency, _ = r.zipf(PLACES)
    paid = r.random() < 0.8
    return {"order_id": f"ORD-{number:06}", "currency": currency, "items": items, "ship_to": {"city": city, "country": country},
            "status": "paid" if paid else "pending", "paid": paid}


def reading(r, number):
    kind, unit, usual = r.zipf(SENSORS)
    return {"sequence": number, "sensor": kind, "unit": unit, "value": usual, "quality": r.zipf(["good", "good", "suspect"]),
            "battery": {"level": r.zipf([100, 90, 80]), "charging": False}}


def service(r, _):
    name, port = r.zipf(SERVICES)
    return {"service": name, "image": f"registry.example.org/{name}:latest", "port": port, "replicas": r.zipf([2, 1, 3]),
            "environment": {"LOG_LEVEL": r.zipf(["info", "debug", "warning"]), "PORT": str(port)},
            "healthcheck": {"path": f"/{name}/health", "interval_seconds": 30, "timeout_seconds": 5}}


COLLECTIONS = [("users", person), ("orders", order), ("readings", reading), ("services", service)]


def json_document(seed):
    r = Draw(f"json {seed}")
    name, record = r.zipf(COLLECTIONS, 0.3)
    first, count = r.randrange(1, 900), r.randrange(3, 8)
    body = {"version": 1, "kind": name, "count": count, name: [record(r, first + i) for i in range(count)]}
    return json.dumps(body, indent=2) + "\n"


# --- Python -----------------------------------------------------------------

NOUNS = "user order item account session message record event invoice product ticket report device channel payment".split()
FIELDS = [("name", "str"), ("count", "int"), ("price", "float"), ("active", "bool"), ("owner", "str"), ("size", "int"),
          ("email", "str"), ("limit", "int"), ("ratio", "float"), ("label", "str")]
EMPTY = {"str": '""', "int": "0", "float": "0.0", "bool": "False"}


def title(noun):
    return noun.capitalize()


def data_class(r, noun, fields):
    lines = ["@dataclass", f"class {title(noun)}:", f'    """One {noun}."""']
    lines += [f"    {name}: {kind} = {EMPTY[kind]}" for name, kind in fields]
    lines += ["", "    def to_dict(self):", "        return {"]
    lines += [f'            "{name}": self.{name},' for name, _ in fields]
    lines += ["        }", "", "    @classmethod", "    def from_dict(cls, data):", "        return cls("]
    lines += [f'            {name}=data.get("{name}", {EMPTY[kind]}),' for name, kind in fields]
    return lines + ["        )"]


def repository(r, noun, fields):
    return [
        f"class {title(noun)}Repository:", f'    """Keeps {noun}s by their id."""', "", "    def __init__(self):",
        f"        self._{noun}s = {{}}", "", f"    def add(self, {noun}_id, {noun}):",
        f"        if {noun}_id in self._{noun}s:", f'            raise KeyError(f"{noun} {{{noun}_id}} exists")',
        f"        self._{noun}s[{noun}_id] = {noun}", "", f"    def get(self, {noun}_id):",
        f"        return self._{noun}s.get({noun}_id)", "", f"    def remove(self, {noun}_id):",
        f"        if {noun}_id not in self._{noun}s:", f'            raise KeyError(f"{noun} {{{noun}_id}} is unknown")',
        f"        del self._{noun}s[{noun}_id]", "", "    def __len__(self):", f"        return len(self._{noun}s)"]


def loader(r, noun, fields):
    return [
        f"def load_{noun}s(path):", f'    """Reads {noun}s from a JSON file."""', '    with open(path, encoding="utf-8") as file:',
        "        data = json.load(file)", f"    return [{title(noun)}.from_dict(entry) for entry in data]"]


def saver(r, noun, fields):
    return [
        f"def save_{noun}s(path, {noun}s):", f'    """Writes {noun}s to a JSON file."""',
        f"    data = [{noun}.to_dict() for {noun} in {noun}s]", '    with open(path, "w", encoding="utf-8") as file:',
        "        json.dump(data, file, indent=2)"]


def grouping(r, noun, fields):
    field = r.zipf(fields)[0]
    return [
        f"def group_by_{field}({noun}s):", f'    """Groups {noun}s by their {field}."""', "    groups = {}",
        f"    for {noun} in {noun}s:", f"        groups.setdefault({noun}.{field}, []).append({noun})", "    return groups"]


def total(r, noun, fields):
    numbers = [f for f, kind in fields if kind in ("int", "float")] or ["count"]
    field = r.zipf(numbers)
    return [
        f"def total_{field}({noun}s):", f'    """The sum of the {noun}s\' {field}."""', "    total = 0",
        f"    for {noun} in {noun}s:", f"        if {noun}.{field} is None:", "            continue",
        f"        total += {noun}.{field}", "    return total"]


def finder(r, noun, fields):
    field = r.zipf(fields)[0]
    return [
        f"def find_by_{field}({noun}s, {field}):", f'    """The first {noun} with this {field}, or None."""',
        f"    for {noun} in {noun}s:", f"        if {noun}.{field} == {field}:", f"            return {noun}", "    return None"]


def test_case(r, noun, fields):
    field, kind = r.zipf(fields)
    value = {"str": '"test"', "int": "3", "float": "1.5", "bool": "True"}[kind]
    return [
        f"class {title(noun)}Test(unittest.TestCase):", f"    def test_{field}_is_kept(self):",
        f"        {noun} = {title(noun)}({field}={value})", f"        self.assertEqual({noun}.{field}, {value})", "",
        "    def test_round_trip(self):", f"        {noun} = {title(noun)}({field}={value})",
        f"        self.assertEqual({title(noun)}.from_dict({noun}.to_dict()), {noun})"]


def main_function(r, noun, fields):
    return [
        "def main():", f'    parser = argparse.ArgumentParser(description="Lists {noun}s.")',
        f'    parser.add_argument("path", help="JSON file of {noun}s")',
        '    parser.add_argument("--limit", type=int, default=10)', "    args = parser.parse_args()",
        f"    for {noun} in load_{noun}s(args.path)[:args.limit]:", f"        print({noun})", "", "",
        'if __name__ == "__main__":', "    main()"]


PARTS = [repository, loader, saver, grouping, total, finder, test_case]


def code_document(seed):
    r = Draw(f"code {seed}")
    noun = r.zipf(NOUNS, 0.8)
    fields = sorted({r.zipf(FIELDS, 0.8) for _ in range(r.randrange(3, 6))}, key=FIELDS.index)
    parts = [data_class, *sorted(r.sample(PARTS, r.randrange(3, 6)), key=PARTS.index), main_function]
    blocks = ["\n".join(part(r, noun, fields)) for part in parts]
    imports = ["import argparse", "import json"]
    if test_case in parts:
        imports.append("import unittest")
    opening = f'"""Handles {noun}s."""\n' + "\n".join(imports) + "\nfrom dataclasses import dataclass"
    return "\n\n\n".join([opening, *blocks]) + "\n"


WRITERS = {"json": json_document, "code": code_document}


def documents(kind, size):
    """(to train on, held out): distinct documents of about `size` characters
    in all, every tenth held out; a document that was seen is not held out."""
    train, held_out, seen, total, seed = [], [], set(), 0, 0
    while total < size:
        text = WRITERS[kind](seed)
        if text not in seen:
            (held_out if seed % 10 == 9 else train).append(text)
            seen.add(text)
            total += len(text)
        seed += 1
    return train, held_out


if __name__ == "__main__":
    print(WRITERS[sys.argv[1]](int(sys.argv[2])), end="")
