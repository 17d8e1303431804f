"""Folders and files that the user may not write to or look into: one clear line, nothing half-written."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest
from conftest import PROGRAM

NOBODY = 65534
IS_ROOT = os.geteuid() == 0


def run(*arguments):
    """As a user whom permissions hold for."""
    other = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if IS_ROOT else {}
    done = subprocess.run([PROGRAM] + [str(item) for item in arguments], capture_output=True, text=True, timeout=300, check=False, **other)
    return done.returncode, done.stderr.strip().split("\n")[-1]


@pytest.fixture(scope="module")
def place(model):
    """A folder that everybody can reach: those of pytest are their owner's alone."""
    if sys.version_info < (3, 9) and IS_ROOT:
        pytest.skip("python before 3.9 cannot run a program as another user")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="distill-permissions-"))
    shutil.copytree(model, folder / "model")
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / "closed").mkdir()
    try:
        if run("--version")[0] != 0:
            pytest.skip("another user cannot run the program")
    except PermissionError:
        pytest.skip("this user may not run a program as another one")
    yield folder
    (folder / "closed").chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("form,name", [("gguf", "x.gguf"), ("hf", "x")])
def test_an_export_into_a_folder_that_is_read_only(place, form, name):
    (place / "closed").chmod(0o555)
    code, said = run("export", place / "model", "--to", form, "--type", "f32", "-o", place / "closed" / name)
    assert code == 1 and ("%s: " % (place / "closed" / name)) in said and said.endswith("cannot be created: Permission denied")
    assert not list((place / "closed").iterdir())


def test_a_run_whose_output_cannot_be_made_says_so(place):
    (place / "closed").chmod(0o555)
    (place / "text.txt").write_text("the thing is in the inn and then the man\n" * 40)
    (place / "recipe.yaml").write_text("teacher: {path: model}\nstudent: {from: teacher, layers: [0]}\ndata: {train: text.txt, sequence_length: 24}\n"
                                       "train: {steps: 1, batch_size: 1}\noutput: {path: closed/out, format: both, type: bf16}\n")
    code, said = run("run", place / "recipe.yaml")
    assert code == 1 and "closed/out: the folder cannot be created: Permission denied" in said
    assert not list((place / "closed").iterdir())


@pytest.mark.parametrize("command", [("inspect",), ("tokenize",), ("generate", "--prompt", "the")])
def test_what_nobody_may_look_at_is_not_called_missing(place, command):
    (place / "closed").chmod(0o000)
    code, said = run(command[0], place / "closed" / "model", *command[1:])
    assert code == 1 and said == "distill: %s: cannot be opened: Permission denied" % (place / "closed" / "model")
    code, said = run(command[0], place / "absent", *command[1:])
    assert code == 1 and "cannot be opened" not in said
