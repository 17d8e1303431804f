#!/usr/bin/env python3
"""Keeps README.pt-BR.md in step with README.md: the same headings by level and number, the same commands and code but for comments,
the same numbers in tables; and every path that either names exists. Exit code 1 where something differs."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
COMMENT = re.compile(r"\s*(?:(?<=\s)#(?!include|define).*|//.*|/\*.*?\*/)\s*$")


def read(name):
    """(headings, code blocks without comments, rows of tables as their numbers)."""
    headings, blocks, tables, block = [], [], [], None
    for line in (ROOT / name).read_text(encoding="utf-8").split("\n"):
        if line.startswith("```"):
            if block is None:
                block = [line]
            else:
                blocks.append(block)
                block = None
        elif block is not None:
            text = COMMENT.sub("", " " + line).strip()
            text = re.sub(r'--prompt "[^"]*"', '--prompt TEXT', text)
            if text:
                block.append(text)
        elif re.match(r"#+ ", line):
            headings.append(line.split(" ")[0])
        elif line.startswith("|"):
            tables.append(re.findall(r"\d+(?:[.,]\d+)?", line.replace("**", "")))
    return headings, blocks, [[number.replace(",", ".") for number in row] for row in tables]


def missing_paths(name):
    """Paths in backquotes that begin with a folder or file of the tree and are not there."""
    text = (ROOT / name).read_text(encoding="utf-8")
    tops = {entry.name for entry in ROOT.iterdir()}
    for path in re.findall(r"`(\.?/?[\w.-]+(?:/[\w.-]+)+/?)`", text):
        if path.lstrip("./").split("/")[0] in tops and not path.startswith("build") and not (ROOT / path).exists():
            yield path


def main():
    names = ("README.md", "README.pt-BR.md")
    (headings, blocks, tables), (other_headings, other_blocks, other_tables) = map(read, names)
    found = []
    if headings != other_headings:
        found.append("headings differ: %s against %s" % (headings, other_headings))
    if len(blocks) != len(other_blocks):
        found.append("%d code blocks against %d" % (len(blocks), len(other_blocks)))
    for block, other in zip(blocks, other_blocks):
        if block != other:
            left, right = next((pair for pair in zip(block, other) if pair[0] != pair[1]), ("%d lines" % len(block), "%d lines" % len(other)))
            found.append("code differs:\n  %s\n  %s" % (left, right))
    for row, other in zip(tables, other_tables):
        if row != other:
            found.append("numbers of a table row differ: %s against %s" % (row, other))
    if len(tables) != len(other_tables):
        found.append("%d table rows against %d" % (len(tables), len(other_tables)))
    for name in names + ("CONTRIBUTING.md", "docs/architecture.md", "tests/README.md"):
        found += ["%s names %s, which is not there" % (name, path) for path in missing_paths(name)]
    print("\n".join(found) if found else "the READMEs are in step")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
