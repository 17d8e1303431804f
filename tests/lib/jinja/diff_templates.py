#!/usr/bin/env python3
"""Compares lib/jinja with the reference: jinja2 as the package transformers sets it up.

usage: diff_templates.py RENDER_TEMPLATES [--seed N] [--count N] [--corpus FILE.json] [--write FILE.json] [FILE.jinja ...]

RENDER_TEMPLATES is the program of render_templates.c. Templates are those of the files, of a corpus ({name: text}), and
random expressions. --write keeps what came out of each of the corpus, for docs/families.md (tests/data/jinja/templates.json): the
templates are others' and do not come into the repository. Exit code: 0 equal, 1 not, 77 the package is not installed."""
import argparse
import copy
import datetime
import hashlib
import json
import os
import random
import subprocess
import sys
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from conversations import conversations  # noqa: E402

try:
    import transformers
    from transformers.utils import chat_template_utils as reference
except ImportError:
    print("skipped: the package transformers is not installed", file=sys.stderr)
    sys.exit(77)

warnings.filterwarnings("ignore", category=SyntaxWarning)
NOW = datetime.datetime(2025, 3, 7, 16, 5, 9)
BASE = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def expected(template, context):
    try:
        compiled = reference._compile_jinja_template(template)
        return compiled.render(**copy.deepcopy(context)), None
    except Exception as error:  # the reference fails in many ways
        return None, "%s: %s" % (type(error).__name__, error)


def ours(program, cases):
    """One answer for each (template, context)."""
    lines = "".join(json.dumps({"template": template, "context": context, "date": NOW.timetuple()[:6]}) + "\n"
                    for template, context in cases)
    done = subprocess.run([program], input=lines.encode(), stdout=subprocess.PIPE, check=True).stdout
    return [json.loads(line) for line in done.decode().split("\n") if line]


def templates_on_conversations(templates):
    for name, text in templates:
        for talk, messages, keywords in conversations():
            if "continue_final_message" in keywords:
                continue
            messages = reference._alias_reasoning_fields(reference._normalize_chat_messages(messages))
            context = dict(BASE, messages=messages, tools=None, documents=None, add_generation_prompt=False)
            context.update(keywords)
            yield "%s on %s" % (name, talk), text, context


ATOMS = ["a", "b", "s", "t", "l", "m", "d", "n", "u", "e", "1", "0", "-2", "3.5", "'x'", "' Ab c '", "true", "false", "none", "[1, 2, 3]",
         "['b', 'A', 'c']", "{'k': 1, 'j': 'v'}", "(1, 2)", "range(4)", "''", "[]", "d.k", "d['list']", "m.content", "l[0]", "s[1]", "x.y"]
TEXT_FILTERS = ["trim", "upper", "lower", "title", "capitalize", "string", "length", "replace('a', 'bb')", "list", "first", "last", "reverse",
                "tojson", "tojson(indent=2)", "indent(2)", "indent(3, true)", "default('z')", "d('z', true)", "int", "float", "abs",
                "safe", "escape", "join('-')", "count", "unique | list", "sort", "dictsort", "items | list", "map('string') | list",
                "map('upper') | join(',')", "select | list", "reject('none') | list", "select('string') | list", "sum", "min", "max",
                "selectattr('k') | list", "map(attribute='k', default=7) | list", "round", "round(1, 'floor')", "sort(reverse=true)",
                "tojson(sort_keys=true)", "tojson(ensure_ascii=true)", "format(1, 'b')", "tojson(separators=(',', ':'))"]
METHODS = ["strip()", "lstrip('x ')", "rstrip()", "split()", "split('b')", "split(' ', 1)", "rsplit(' ', 1)", "rsplit()", "splitlines()",
           "startswith('x')", "endswith(('c', ' '))", "replace('b', '')", "replace('', '.')", "upper()", "title()", "capitalize()", "find('b')",
           "rfind(' ')", "get('k')", "get('zz', 4)", "items() | list", "keys() | list", "values() | list", "count('b')", "isdigit()",
           "isalpha()", "partition('b')", "rpartition(' ')", "removeprefix('x')", "removesuffix('c')", "join(['p', 'q'])", "lower()"]
TESTS = ["defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number", "integer", "float", "boolean", "true", "false",
         "equalto 1", "eq('x')", "in [1, 'x']", "divisibleby 2", "odd", "even", "callable", "lower", "upper", "sameas none", "ne 2", "lt 3", "ge 1"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">", "<=", ">=", "in", "not in", "and", "or"]
VALUES = {"a": 7, "b": -3, "s": "Hello <World> it's", "t": "  x\ty\r\nz\n ", "l": ["x", 1, None, True, 2.5, "Ab"],
          "m": {"role": "user", "content": " caf\u00e9 \u00dfx "}, "d": {"k": 1, "list": [{"k": 1}, {"k": 2}, {"z": 3}], "B": "x", "a": None},
          "n": None, "e": [], "f": 1e16, "g": 1e-05, "h": 0.1}


def random_expression(rng, depth):
    kind = rng.randrange(9) if depth > 0 else 0
    def inner():
        return random_expression(rng, depth - 1)
    if kind <= 1:
        return rng.choice(ATOMS)
    if kind == 2:
        return "(%s) | %s" % (inner(), rng.choice(TEXT_FILTERS))
    if kind == 3:
        return "(%s).%s" % (inner(), rng.choice(METHODS))
    if kind == 4:
        return "(%s) is %s%s" % (inner(), rng.choice(["", "not "]), rng.choice(TESTS))
    if kind == 5:
        return "%s %s %s" % (inner(), rng.choice(OPERATORS), inner())
    if kind == 6:
        return "(%s if %s else %s)" % (inner(), inner(), inner())
    if kind == 7:
        bounds = [rng.choice(["", "0", "1", "-1", "-2", "2", "9"]) for _ in range(2)]
        return "(%s)[%s:%s%s]" % (inner(), bounds[0], bounds[1], rng.choice(["", ":", ":2", ":-1", ":-2"]))
    return rng.choice(["not %s", "-%s", "[%s, 1]", "{'q': %s}", "(%s)[0]", "(%s)[-1]", "(%s)['k']", "(%s).content"]) % inner()


SPACES = ["", " ", "\n", "  ", "\n\n", " \n ", "x", "\t", "\ny\n"]
TAGS = ["{%%%s if a %s%%}", "{%%%s endif %s%%}", "{{%s s %s}}", "{#%s note %s#}", "{%%%s set q = 1 %s%%}", "{%%%s raw %%}{{ r }} {%% endraw %s%%}"]


def random_layout(rng):
    out, open_ifs = [], 0
    for _ in range(rng.randrange(2, 9)):
        tag = rng.choice(TAGS)
        if "endif" in tag and not open_ifs:
            continue
        open_ifs += ("if a" in tag) - ("endif" in tag)
        right = ["", "-"] if "{{" in tag and "raw" not in tag else ["", "-", "+"]
        out += [rng.choice(SPACES), tag % (rng.choice(["", "-", "+"]), rng.choice(right)), rng.choice(SPACES)]
    return "".join(out) + "{% endif %}" * open_ifs + rng.choice(SPACES)


def random_templates(seed, count):
    rng = random.Random(seed)
    for i in range(count):
        text = "{{ %s }}" % random_expression(rng, 3) if i % 4 else random_layout(rng)
        yield "random %d" % i, text, dict(VALUES)


def compare(program, cases, lenient):
    """lenient: what the reference renders and we refuse, by name, is counted and no difference."""
    different = refused = failed = 0
    cases = list(cases)
    for (name, text, context), answer in zip(cases, ours(program, [case[1:] for case in cases])):
        want, error = expected(text, context)
        got = answer.get("text")
        failed += error is not None
        if got == want:
            continue
        if got is None and lenient:
            refused += 1
            if lenient > 1:
                print("refused: %s: %s\n    %s" % (name, text[:200], answer["error"]))
            continue
        different += 1
        if different <= 40:
            print("%s\n  template %.300s\n  want %r %s\n  got  %r %s" % (name, text, want, error, got, answer.get("error")))
    print("%d cases, %d different, %d refused by us alone, %d that the reference refuses" % (len(cases), different, refused, failed))
    return different


def write(program, path, corpus):
    """{template: its hash, and on how many conversations it was rendered and how often otherwise than the reference does}."""
    told = {}
    for name, text in sorted(corpus.items()):
        cases = list(templates_on_conversations([(name, text)]))
        answers = ours(program, [case[1:] for case in cases])
        different = sum(answer.get("text") != expected(*case[1:])[0] for case, answer in zip(cases, answers))
        told[name] = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "conversations": len(cases), "different": different}
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps({"transformers": transformers.__version__, "templates": told}, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--corpus")
    parser.add_argument("--write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--show-refused", action="store_true")
    arguments = parser.parse_args()
    reference.datetime = Clock
    templates = [(path, open(path, encoding="utf-8").read()) for path in arguments.files]
    if arguments.corpus:
        with open(arguments.corpus, encoding="utf-8") as file:
            corpus = json.load(file)
        templates += corpus.items()
        if arguments.write:
            write(arguments.program, arguments.write, corpus)
    different = compare(arguments.program, templates_on_conversations(templates), 0)
    different += compare(arguments.program, random_templates(arguments.seed, arguments.count), 1 + arguments.show_refused)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
