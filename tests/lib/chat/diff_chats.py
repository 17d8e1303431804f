#!/usr/bin/env python3
"""Compares Tokenizer.chat and the ids of what it gives with apply_chat_template of the package transformers.

usage: diff_chats.py [--corpus FILE.json] TOKENIZER_FOLDER...

The templates are the folder's own and those of a corpus ({name: text}, fetch_templates.py); the talks those of conversations.py. The
package distill must be importable. Exit code: 0 equal, 1 not, 77 transformers or jinja2 is not installed."""
import argparse
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "jinja"))
from conversations import conversations  # noqa: E402

try:
    import jinja2  # noqa: F401  without it transformers refuses every talk
    from transformers import AutoTokenizer
except ImportError as missing:
    print("skipped: the package %s is not installed" % missing.name, file=sys.stderr)
    sys.exit(77)
import distill  # noqa: E402


def wanted(reference, template, messages, keywords):
    try:
        text = reference.apply_chat_template(messages, chat_template=template, tokenize=False, **keywords)
        ids = reference.apply_chat_template(messages, chat_template=template, tokenize=True, return_dict=False, **keywords)
        return text, list(ids), None
    except Exception as error:  # the reference fails in many ways
        return None, None, "%s: %s" % (type(error).__name__, str(error)[:200])


def ours(tokenizer, template, messages, keywords):
    more = dict(keywords)
    prompt, goes_on = more.pop("add_generation_prompt", False), more.pop("continue_final_message", False)
    tools = more.pop("tools", None)
    try:
        text = tokenizer.chat(messages, tools=tools, answer=prompt, continue_last=goes_on, chat_template=template, **more)
        return text, tokenizer.encode(text, special=False), None
    except distill.DistillError as error:
        return None, None, str(error)


def compare(folder, templates):
    reference, tokenizer = AutoTokenizer.from_pretrained(folder), distill.Tokenizer(folder)
    cases = different = refused = unread = joined = 0
    for name, template in templates:
        if template is None and reference.chat_template is None:
            continue
        for talk, messages, keywords in conversations():
            cases += 1
            text, ids, error = wanted(reference, template, messages, keywords)
            got, got_ids, problem = ours(tokenizer, template, messages, keywords)
            refused += error is not None and problem is not None
            if (got, got_ids) == (text, ids):
                continue
            joined += "parts" in talk and error is not None and problem is None
            if "parts" in talk and error is not None:  # a template that takes texts alone gets parts as one text
                continue
            if problem and ("does not read" in problem or '"tools" must' in problem):  # what would change nothing
                unread += 1
                continue
            different += 1
            if different <= 10:
                print("%s on %s\n  want %r %s\n  got  %r %s" % (name, talk, text, error, got, problem))
                if got == text:
                    print("  ids  %r\n  not  %r" % (got_ids, ids))
    print("%s: %d cases, %d different, %d refused by both, %d with keys that the template does not read, %d with parts that the reference refuses"
          % (folder, cases, different, refused, unread, joined))
    return different


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--corpus")
    arguments = parser.parse_args()
    templates = [("own", None)]
    if arguments.corpus:
        with open(arguments.corpus, encoding="utf-8") as file:
            templates += json.load(file).items()
    return 1 if sum(compare(folder, templates) for folder in arguments.folders) else 0


if __name__ == "__main__":
    sys.exit(main())
