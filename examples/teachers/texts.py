#!/usr/bin/env python3
"""Cuts a Portuguese and an English text into what the specialists, the students and the evaluation see, all disjoint.

    teacher_pt.txt, teacher_en.txt    what each specialist is trained on
    transfer_pt.txt, transfer_en.txt  what students are distilled on; no teacher has seen it
    held_pt.txt, held_en.txt          for evaluation
    both.txt                          the specialists' texts together, for one tokenizer over both

Usage: texts.py FOLDER --portuguese FILE... --english FILE...
"""
import argparse
import pathlib

TRANSFER, HELD = 600_000, 250_000  # bytes, of each language
TEACHER_MAX = 6_000_000


def cut(paths, name, folder):
    """The end of every file goes to the evaluation, what stands before it to the students, the rest to the teacher."""
    texts = [pathlib.Path(path).read_text(encoding="utf-8") for path in paths]
    total = sum(len(text) for text in texts)
    if total < 3 * (TRANSFER + HELD):
        raise SystemExit(f"texts.py: {total} characters in {', '.join(map(str, paths))}: {3 * (TRANSFER + HELD)} are needed")
    parts = {"teacher": [], "transfer": [], "held": []}
    for text in texts:
        held, transfer = (int(len(text) * size / total) for size in (HELD, TRANSFER))
        rest = len(text) - held - transfer
        parts["teacher"].append(text[: min(rest, TEACHER_MAX)])
        parts["transfer"].append(text[rest : rest + transfer])
        parts["held"].append(text[rest + transfer :])
    for part, pieces in parts.items():
        (folder / f"{part}_{name}.txt").write_text("\n".join(pieces), encoding="utf-8")
    return "\n".join(parts["teacher"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--portuguese", nargs="+", required=True, metavar="FILE")
    parser.add_argument("--english", nargs="+", required=True, metavar="FILE")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    portuguese, english = cut(args.portuguese, "pt", args.folder), cut(args.english, "en", args.folder)
    size = min(len(portuguese), len(english))
    (args.folder / "both.txt").write_text(portuguese[:size] + "\n" + english[:size], encoding="utf-8")


if __name__ == "__main__":
    main()
