#!/usr/bin/env python3
"""Cuts WordNet's glosses (Debian's package dict-wn) into three disjoint texts, one gloss per line:

    teacher.txt   8.1 MB  what the shipped teacher was trained on
    transfer.txt  0.6 MB  what students are distilled on; the teacher has never seen it
    held_out.txt  the rest, for evaluation

Synonyms repeat a gloss, so glosses are made unique first; their order is that of their SHA-256, the same everywhere.
Usage: wordnet.py FOLDER [wn.dict.dz]
"""
import gzip
import hashlib
import pathlib
import re
import sys

SOURCE = "/usr/share/dictd/wn.dict.dz"
SENSE = re.compile(r"^\s+(?:(?:n|v|adj|adv) )?\d+: (.*)")
LINKS = re.compile(r"\s*\[(?:syn|ant|also):[^\]]*\]")
TEACHER, TRANSFER = 8_100_000, 600_000  # bytes


def glosses(path):
    """Every sense of the dictionary as one line, without its list of synonyms."""
    gloss = None
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            sense = SENSE.match(line)
            if gloss is not None and (sense or not line.startswith("     ") and not (line.startswith("  ") and line.strip())):
                yield LINKS.sub("", gloss).strip()
                gloss = None
            if sense:
                gloss = sense.group(1).strip()
            elif gloss is not None:
                gloss += " " + line.strip()
    if gloss is not None:
        yield LINKS.sub("", gloss).strip()


def main():
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        return
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    folder, source = pathlib.Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else SOURCE
    if not pathlib.Path(source).exists():
        sys.exit(f"{source} is missing: install the package dict-wn")
    every = list(glosses(source))
    unique = sorted({g for g in every if g}, key=lambda g: hashlib.sha256(g.encode()).digest())
    parts, sizes = {"teacher": [], "transfer": [], "held_out": []}, {"teacher": TEACHER, "transfer": TRANSFER}
    names = iter(parts)
    name, used = next(names), 0
    for gloss in unique:
        if used >= sizes.get(name, float("inf")):
            name, used = next(names), 0
        parts[name].append(gloss)
        used += len(gloss.encode()) + 1
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in parts.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    counts = ", ".join(f"{name} {len(lines)}" for name, lines in parts.items())
    print(f"{len(every)} glosses, {len(unique)} unique: {counts}", file=sys.stderr)


if __name__ == "__main__":
    main()
