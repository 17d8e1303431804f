"""The scripts of tests/bench say what they take, and look at it before anything is installed or runs. No race is run."""
import os
import pathlib
import subprocess
import sys

import pytest

BENCH = pathlib.Path(__file__).resolve().parents[1] / "bench"
RACES = ["race.sh", "race_fused.sh", "race_losses.sh", "race_tokenizers.sh"]


def bash(name, *arguments, **environment):
    return subprocess.run(["bash", BENCH / name, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False)


def refused(done, *parts):
    assert done.returncode == 2 and not done.stdout and done.stderr.count("\n") == 1, (done.returncode, done.stderr)
    assert all(part in done.stderr for part in (*parts, "--help")), done.stderr


@pytest.mark.parametrize("name", [*RACES, "peers.sh", "ranks.sh"])
def test_help(name, tmp_path):
    done = subprocess.run(["bash", BENCH / name, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "tests/bench/" + name in done.stdout and "set -euo" not in done.stdout and not done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", RACES)
def test_a_library_that_is_none(name, tmp_path):
    refused(bash(name), "LIBRARY is missing")
    refused(bash(name, "--rounds"), "LIBRARY comes first, not --rounds")
    refused(bash(name, str(tmp_path / "none.so")), "none.so: there is no such library")


def test_numbers_and_names(tmp_path):
    library = tmp_path / "lib.so"
    library.write_bytes(b"")
    for arguments, what in ((["0"], "BATCH"), (["4", "x"], "SEQUENCE"), (["4", "256", "-1"], "ROUNDS")):
        refused(bash("race.sh", library, *arguments), what, "a whole number from 1 on", repr(arguments[-1]))
    refused(bash("race.sh", library, "4", "256", "1", "fast"), "unexpected argument fast")
    refused(bash("race.sh", library, RACE_STEPS="0"), "RACE_STEPS")
    refused(bash("race.sh", library, RACE_PRECISIONS="fp16"), "fp16", "bf16 fp32")
    refused(bash("race.sh", library, RACE="tensorflow"), "tensorflow", "old_torch")
    refused(bash("race_losses.sh", library, "--losses", "jsd,none"), "none: no such loss")
    refused(bash("peers.sh", "--everything"), "unknown option --everything")
    refused(bash("peers.sh", str(tmp_path / "a"), "b"), "unexpected argument b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lib.so"]


@pytest.mark.parametrize("name, given", [("race_llama.py", ["sh", __file__]), ("race_augment.py", ["sh", __file__]), ("race_fused.py", [])])
def test_arguments_of_python(name, given):
    def refused_by_parser(*arguments, says):
        done = subprocess.run([sys.executable, BENCH / name, *arguments], env={**os.environ, "NODE_MODULES": ""}, capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == 2 and not done.stdout and done.stderr.startswith("usage: ") and says in done.stderr, done.stderr
    for number in ("0", "-3", "x", "1.5"):
        refused_by_parser(*given, "--rounds", number, says="argument --rounds: '%s' is no whole number from 1 on" % number)
    if given:
        refused_by_parser("none/of/it", __file__, says="none/of/it: there is no such program")
        refused_by_parser("sh", "none.gguf", says="none.gguf: there is no such file or folder")
    if name == "race_augment.py":
        refused_by_parser(*given, "--kinds", "warm", says="--kinds warm: there are greedy; drawn;")
