#!/usr/bin/env python3
"""Puts what students learn from and are measured on into FOLDER, and says what it is.

    text_train.txt, text_held.txt      WikiText-2's validation and test split where ASSETS has them, else WordNet's glosses (Debian's dict-wn)
    chat_train.jsonl, chat_held.jsonl  instructions as chats: alpaca_libre (those whose status is ok) and llms_from_scratch; only where ASSETS has them

What is held out is kept short (about 4,000 tokens of text), since every evaluation asks the teacher, too.
Usage: material.py FOLDER ASSETS [BYTES of text held out]
"""
import hashlib
import json
import pathlib
import subprocess
import sys

HELD_TEXT, TEXT_OF_A_CHAT = 16_500, 680  # bytes; chats are as many as these go into those
WORDNET = pathlib.Path(__file__).resolve().parents[1] / "quickstart" / "wordnet.py"


def wikitext(assets):
    folder = assets / "text" / "wikitext2"
    return ((folder / "valid.txt").read_text(encoding="utf-8"), (folder / "test.txt").read_text(encoding="utf-8"),
            "WikiText-2: the validation split, held out the beginning of the test split")


def glosses(folder):
    subprocess.run([sys.executable, str(WORDNET), str(folder / "wordnet")], check=True)
    return ((folder / "wordnet" / "transfer.txt").read_text(encoding="utf-8"), (folder / "wordnet" / "held_out.txt").read_text(encoding="utf-8"),
            "WordNet's glosses, since there is no WikiText-2 here")


def tasks(assets):
    """Instructions with their answers, of both sets; a few lines of the first are not JSON, and are left out."""
    for path in sorted((assets / "instruct" / "alpaca_libre").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").strip().split("\n"):
            try:
                task = json.loads(line)
            except json.JSONDecodeError:
                continue
            if task["status"] == "ok":
                yield task
    yield from json.loads((assets / "instruct" / "llms_from_scratch" / "instruction-data.json").read_text(encoding="utf-8"))


def chats(assets):
    """Each once, in the order of their hashes, the same everywhere."""
    found = set()
    for task in tasks(assets):
        asked, answer = "\n".join(part.strip() for part in (task["instruction"], task.get("input") or "") if part.strip()), task["output"].strip()
        if asked and answer:
            found.add(json.dumps({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}, ensure_ascii=False))
    return sorted(found, key=lambda line: hashlib.sha256(line.encode()).digest())


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    folder, assets, size = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) == 4 else HELD_TEXT
    folder.mkdir(parents=True, exist_ok=True)
    train, held, said = wikitext(assets) if (assets / "text" / "wikitext2").is_dir() else glosses(folder)
    (folder / "text_train.txt").write_text(train, encoding="utf-8")
    (folder / "text_held.txt").write_text(held[:size].rsplit("\n", 1)[0] + "\n", encoding="utf-8")
    if (assets / "instruct" / "alpaca_libre").is_dir():
        lines, count = chats(assets), max(1, size // TEXT_OF_A_CHAT)
        (folder / "chat_train.jsonl").write_text("\n".join(lines[count:]) + "\n", encoding="utf-8")
        (folder / "chat_held.jsonl").write_text("\n".join(lines[:count]) + "\n", encoding="utf-8")
        said += "; %d instructions of alpaca_libre and llms_from_scratch, %d more held out" % (len(lines) - count, count)
    else:
        said += "; no instructions, since there are none here"
    (folder / "material.txt").write_text(said + "\n", encoding="utf-8")
    print(said, file=sys.stderr)


if __name__ == "__main__":
    main()
