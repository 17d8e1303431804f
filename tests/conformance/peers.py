#!/usr/bin/env python3
"""Checks the losses of released packages (peer_losses.py) and writes what was found as a table: docs/conformance-peers.md.
Run by peers.sh, which makes an environment with the packages."""
import argparse
import importlib.metadata
import pathlib

import peer_losses

from distill import conformance

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "conformance-peers.md"
PACKAGES = ("trl", "liger-kernel", "transformers", "torch")


def found(result):
    if result["ok"]:
        return "nothing"
    said = ["**%s**: %s" % (defect["name"], defect["sentence"]) for defect in result["defects"]]
    said += ["no known defect: %s" % name for name in result["unexplained"]]
    if not said:
        said = ["%s: %s" % (item["name"], item["problem"]) for part in ("cases", "relations") for item in result[part] if item["problem"]]
    return "; ".join(said)


def page():
    versions = ", ".join("%s %s" % (name, importlib.metadata.version(name)) for name in PACKAGES)
    lines = ["# What the conformance suite finds in released packages", "",
             "Made by `tests/conformance/peers.sh`, which installs the packages and runs the suite (`docs/conformance.md`) on their losses, called as their "
             "trainers call them (`tests/conformance/peer_losses.py`).", "", "Versions: %s." % versions, "",
             "| loss | checked as | found |", "|---|---|---|"]
    for name, (function, what) in peer_losses.LOSSES.items():
        result = conformance.check(function)
        lines.append("| %s (`%s`) | %s | %s |" % (what, name, result["claim"], found(result).replace("|", "\\|")))
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing: fail where the page is another")
    text = page() if parser.parse_args().check is False else None
    if text is None:
        raise SystemExit(0 if page() == PAGE.read_text(encoding="utf-8") else "docs/conformance-peers.md is another: run tests/conformance/peers.sh")
    PAGE.write_text(text, encoding="utf-8")
