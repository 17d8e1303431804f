"""Adds the loss of docs/adding-a-loss.md to a copy of the tree, as that page says, builds it and runs the tests of losses there.

usage: add_a_loss.py FOLDER [JOBS]       FOLDER is made; an earlier copy in it is brought up to date, so that a second run is short"""
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTS = ["loss_formulas", "loss_relations", "loss_worst", "loss_page"]


def blocks():
    """The page's pieces of C, in order: the file, the row, the formula, its case."""
    page = (ROOT / "docs" / "adding-a-loss.md").read_text()
    return re.findall(r"```c\n(.*?)```", page, re.DOTALL)


def put(path, before, text):
    """Text in front of the first line that begins so."""
    content = path.read_text()
    at = content.index("\n" + before) + 1
    path.write_text(content[:at] + text + content[at:])


def add(copy):
    file, row, formula, case = blocks()
    lines = file.count("\n")
    if lines >= 60:
        raise SystemExit("docs/adding-a-loss.md: the file has %d lines; under 60 was promised" % lines)
    (copy / "src/loss/kernels/points/hellinger.c").write_text(file)
    put(copy / "src/loss/loss_table.h", "LOSS(acceptance", row)
    put(copy / "tests/src/loss/loss_formulas.h", "static inline real f_dkd", formula + "\n")
    put(copy / "tests/src/loss/loss_formulas.h", '    {"taid", ', case)
    return lines


def run(*command, **options):
    subprocess.run([str(part) for part in command], check=True, **options)


def main():
    copy, jobs = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2] if len(sys.argv) > 2 else "2"
    for name in ["cmake", "src", "lib", "include", "pkgconfig", "share", "plugins", "tests", "docs"]:
        shutil.copytree(ROOT / name, copy / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.pyc"))
    for name in ["CMakeLists.txt", "README.md", "LICENSE"]:
        shutil.copy2(ROOT / name, copy / name)
    shutil.copytree(ROOT / "bindings", copy / "bindings", dirs_exist_ok=True)
    shutil.copytree(ROOT / "examples", copy / "examples", dirs_exist_ok=True)
    lines = add(copy)
    build = copy / "build" / "tests"
    run("cmake", "-S", copy, "-B", build, "-G", "Ninja", "-DDISTILL_TESTS=ON", "-DDISTILL_WERROR=ON", "-DCMAKE_BUILD_TYPE=Release")
    run("cmake", "--build", build, "-j", jobs, "--target", *["test_" + name for name in TESTS])
    page = subprocess.run([build / "tests" / "test_loss_page", "--print"], check=True, capture_output=True, text=True).stdout
    if "## hellinger" not in page:
        raise SystemExit("docs/losses.md would not have it")
    (copy / "docs" / "losses.md").write_text(page)
    for name in TESTS:
        run(build / "tests" / ("test_" + name), cwd=copy)
    print("a loss in one file of %d lines and a row: %s" % (lines, ", ".join(TESTS)))


if __name__ == "__main__":
    main()
