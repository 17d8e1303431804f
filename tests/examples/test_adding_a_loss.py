"""The loss of docs/adding-a-loss.md is short and compiles, in doubles and in floats; tests/losses/add_a_loss.py builds and tests it."""
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "losses"))
import add_a_loss  # noqa: E402


def test_the_file_is_short_and_the_pieces_have_their_places(tmp_path):
    file, row, formula, case = add_a_loss.blocks()
    assert file.count("\n") < 60 and row.startswith("LOSS(hellinger") and "f_hellinger" in formula and "f_hellinger" in case
    for name in ("src/loss", "tests/src/loss"):
        shutil.copytree(ROOT / name, tmp_path / name)
    assert add_a_loss.add(tmp_path) < 60
    table = (tmp_path / "src" / "loss" / "loss_table.h").read_text()
    assert table.index("LOSS(hellinger") < table.index("LOSS(acceptance")


@pytest.mark.parametrize("flags", [[], ["-DDK_AS_FLOATS"]])
def test_the_file_compiles(flags, tmp_path):
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler")
    source = tmp_path / "hellinger.c"
    source.write_text(add_a_loss.blocks()[0])
    command = [compiler, "-std=gnu11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-DDK_ISA_SUFFIX=_portable", *flags,
               "-include", "compute/simd.h", *("-I%s" % (ROOT / name) for name in ("src", "lib", "include")), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
