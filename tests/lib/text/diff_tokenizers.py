#!/usr/bin/env python3
"""Compares `distill tokenize --batch` with the reference implementation (the package tokenizers).

usage: diff_tokenizers.py PROGRAM TOKENIZER_FOLDER [--seed N] [--count N] [TEXT_FILE ...]

Texts are random Unicode and pieces of the files. Exit code: 0 equal, 1 not, 77 the package is not installed."""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

try:
    from tokenizers import Tokenizer
except ImportError:
    print("skipped: the package tokenizers is not installed", file=sys.stderr)
    sys.exit(77)

RANGES = [(32, 127), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x600), (0x900, 0xE00), (0x1100, 0x1200), (0x2000, 0x2070),
          (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0x1F300, 0x1FA00), (1, 0xD800), (0xE000, 0x110000)]
WORDS = ["'s", "'LL", " ", "   ", "\t", "\r\n", "\n\n", "\u2581", "<s>", "</s>", "<unk>", "<|im_start|>", "<|endoftext|>", "<0x41>",
         "[INST]", "1234567", "\u180e", "\u017f", "\u00e9", "e\u0301", "the"]


def random_text(rng):
    weights = [rng.random() ** 3 for _ in range(len(RANGES) + 1)]
    parts = []
    for kind in rng.choices(range(len(RANGES) + 1), weights, k=rng.randrange(1, 200)):
        parts.append(rng.choice(WORDS) if kind == len(RANGES) else chr(rng.randrange(*RANGES[kind])))
    return "".join(parts)


def file_texts(paths):
    for path in paths:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            text = file.read()
        yield from (text[i:i + 20000] for i in range(0, len(text), 20000))


def our_ids(program, folder, texts, special):
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8", delete=False) as file:
        json.dump(texts, file)
    try:
        command = [program, "tokenize", folder, "--batch", file.name, "--json"] + ([] if special else ["--no-special"])
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["ids"]
    finally:
        os.unlink(file.name)


def compare(program, folder, texts, special):
    reference = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    reference.no_truncation()
    reference.no_padding()
    different = 0
    for text, ids in zip(texts, our_ids(program, folder, texts, special)):
        wanted = reference.encode(text, add_special_tokens=special).ids
        if ids == wanted:
            continue
        different += 1
        if different <= 5:
            at = next((i for i, pair in enumerate(zip(ids, wanted)) if pair[0] != pair[1]), min(len(ids), len(wanted)))
            print(f"{text[:80]!r}: from id {at} on {ids[at:at + 8]}, reference {wanted[at:at + 8]}")
    print(f"{folder}: {len(texts)} texts, special tokens {'on' if special else 'off'}: {different} differ")
    return different


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("folder")
    parser.add_argument("texts", nargs="*")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2000)
    args = parser.parse_intermixed_args()
    rng = random.Random(args.seed)
    texts = [random_text(rng) for _ in range(args.count)] + ["", " ", "\n"] + list(file_texts(args.texts))
    return 1 if compare(args.program, args.folder, texts, False) + compare(args.program, args.folder, texts, True) else 0


if __name__ == "__main__":
    sys.exit(main())
