#!/usr/bin/env python3
"""report.py [BUILD]: figures of the gates; with a build of gcov counters that ran its tests, also line coverage of lib/ and src/."""
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def files(top, *ends):
    for folder, _, names in os.walk(os.path.join(ROOT, top)):
        for name in sorted(names):
            if name.endswith(ends):
                yield os.path.relpath(os.path.join(folder, name), ROOT)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def coverage(build):
    """{folder: (lines that ran, lines)}"""
    lines = {}
    counters = [os.path.join(ROOT, path) for path in files(build, ".gcda")]
    for first in range(0, len(counters), 20):
        done = subprocess.run(["gcov", "--json-format", "--stdout"] + counters[first:first + 20], capture_output=True, text=True, check=True)
        for report in done.stdout.splitlines():
            for file in json.loads(report)["files"] if report.strip() else []:
                found = re.search(r"(?:^|/)((?:lib|src)/.*\.[ch])$", file["file"])
                if found and os.path.exists(os.path.join(ROOT, found.group(1))):
                    for line in file["lines"]:
                        key = found.group(1), line["line_number"]
                        lines[key] = lines.get(key, 0) + line["count"]
    folders = {}
    for (path, _), count in lines.items():
        ran, whole = folders.get("/".join(path.split("/")[:2]), (0, 0))
        folders["/".join(path.split("/")[:2])] = ran + (count > 0), whole + 1
    return folders


def functions():
    """(lines, file:line name) of every function in lib/ and src/: braces of functions stand alone at the margin."""
    found = []
    for path in list(files("lib", ".c")) + list(files("src", ".c")):
        begin = head = None
        for number, line in enumerate(read(path).split("\n"), 1):
            signature = re.match(r"[a-z_].*?\b(\w+)\(", line)
            if signature:
                head = number, signature.group(1)
                if line.endswith("}"):
                    found.append((1, "%s:%d %s" % (path, number, head[1])))
            elif line == "{" and head:
                begin = head
            elif line == "}" and begin:
                found.append((number - begin[0] + 1, "%s:%d %s" % (path, *begin)))
                begin = head = None
    return sorted(found, reverse=True)


def gate(name, *command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    says = (done.stdout + done.stderr).strip().split("\n")
    print("%-22s %s" % (name, "skipped" if done.returncode == 77 else says[-1]))


def main():
    if len(sys.argv) > 1:
        folders = coverage(sys.argv[1])
        for folder, (ran, whole) in sorted(folders.items()):
            print("%-22s %5.1f %% of %d lines" % (folder, 100 * ran / whole, whole))
        for top in ("lib", "src"):
            ran, whole = (sum(pair[i] for folder, pair in folders.items() if folder.startswith(top + "/")) for i in (0, 1))
            print("%-22s %5.1f %% of %d lines" % (top + "/ in all", 100 * ran / max(whole, 1), whole))
    cases = sum(len(re.findall(r"^TEST\(", read(path), re.M)) for path in files("tests", ".c", ".cpp"))
    python = sum(len(re.findall(r"^def test_", read(path), re.M)) for top in ("tests", "bindings") for path in files(top, ".py"))
    print("%-22s %d in C and C++, %d in Python" % ("test cases", cases, python))
    gate("layers", sys.executable, "-B", "tests/layers.py")
    gate("format", "bash", "tests/format.sh")
    print("%-22s %d exported functions" % ("ABI", len(re.findall(r"^ +distill_\w+;", read("src/libdistill.map"), re.M))))
    corpora = [os.path.join(ROOT, path) for path in files("tests/fuzz/corpora", "")]
    print("%-22s %d inputs, %d bytes" % ("fuzz corpora", len(corpora), sum(map(os.path.getsize, corpora))))
    found = functions()
    sizes = [size for size, _ in found]
    print("%-22s %d, median %d lines, %d over 60" % ("functions", len(sizes), sizes[len(sizes) // 2], sum(size > 60 for size in sizes)))
    for size, name in found[:5]:
        print("%22d %s" % (size, name))


if __name__ == "__main__":
    main()
