"""The table that compares losses: its statistics against known values, and the whole of it on a few steps."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "examples" / "quickstart")]
import losses  # noqa: E402
import paired  # noqa: E402


@pytest.mark.parametrize("freedom, t", [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (30, 2.042)])
def test_students_t_is_that_of_the_tables(freedom, t):
    assert abs(paired.t_two_sided(t, freedom) - 0.05) < 4e-5
    assert abs(paired.t_two_sided(0, freedom) - 1) < 1e-9


def test_a_difference_that_every_seed_shows_is_real_and_noise_is_not():
    base = [0.30, 0.34, 0.28, 0.33, 0.31]
    gap, chance = paired.paired([x - 0.01 + e for x, e in zip(base, (1e-3, -1e-3, 0, 5e-4, -5e-4))], base)
    assert abs(gap + 0.01) < 1e-9 and chance < 1e-3
    assert paired.paired([0.31, 0.32, 0.30, 0.31, 0.32], base)[1] > 0.5
    assert paired.paired(base, base) == (0, 1.0)


def test_holm_raises_and_keeps_the_order():
    assert paired.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == {"a": 0.03, "c": 0.06, "b": 0.06}


def test_every_built_in_loss_is_compared():
    table = (ROOT / "src" / "loss" / "loss_table.h").read_text()
    named = {line[5:].split(",")[0] for line in table.splitlines() if line.startswith("LOSS(")}
    assert sorted(named - {"dpo"}) == sorted(losses.LOSSES)  # which compares pairs, and there are none


def test_the_table_is_made_and_goes_on_where_it_stopped(tmp_path):
    program = os.environ.get("DISTILL_PROGRAM")
    if not program:
        pytest.skip("DISTILL_PROGRAM is not set")
    text = (ROOT / "tests" / "data" / "sentences.txt").read_text()
    for name in ("transfer.txt", "held_out.txt"):
        (tmp_path / name).write_text(text)
    command = [sys.executable, str(ROOT / "examples" / "quickstart" / "losses.py"), str(tmp_path), "--distill", program, "--data", str(tmp_path), "--quick",
               "--losses", "jsd,rank_hinge"]
    for again in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT / "examples")})
        assert done.returncode == 0, done.stderr
        assert "6/6 rank_hinge-2" in done.stderr and ("minutes to go" in done.stderr) != again, done.stderr
    found = json.loads((tmp_path / "losses.json").read_text())["losses"]
    assert list(found) == ["forward_kl", "jsd", "rank_hinge"]
    for loss, row in found.items():
        assert set(row) == set(losses.MEASURES) and all(len(one["seeds"]) == 2 for one in row.values())
        assert ("real" in row["nats"]) == (loss != "forward_kl")
    for needle in ("best KL: ", "best acceptance: ", "teacher: ", "jsd ", "perplexity"):
        assert needle in done.stdout


def without_installers(tmp_path):
    for name in ("cmake", "make", "apt-get", "sudo", "pip"):
        (tmp_path / name).write_text("#!/bin/sh\necho called >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    environment = dict(os.environ, PATH="%s:%s" % (tmp_path, os.environ["PATH"]))
    environment.pop("DISTILL", None)
    return environment


@pytest.mark.parametrize("script, more", [("examples/quickstart/losses.sh", []), ("tests/bench/race_losses.sh", ["no-library.so"])])
def test_an_unknown_loss_is_refused_before_anything_is_installed_or_built(script, more, tmp_path):
    environment = dict(without_installers(tmp_path), PEERS=str(tmp_path / "none"))
    said = subprocess.run(["bash", str(ROOT / script), *more, "--losses", "jsd,jds"], capture_output=True, text=True, env=environment, timeout=60)
    assert said.returncode == 2 and "called" not in said.stderr
    assert "jds" in said.stderr and "no such loss; there are forward_kl" in said.stderr and "rank_logistic" in said.stderr


@pytest.mark.parametrize("script", ["quickstart/losses", "augmentation/compare", "on_policy/compare", "teachers/cache", "teachers/noise",
                                    "teachers/specialists"])
def test_help_comes_before_anything_is_installed_or_built(script, tmp_path):
    environment = without_installers(tmp_path)
    said = subprocess.run(["bash", str(ROOT / "examples" / (script + ".sh")), "--help"], capture_output=True, text=True, env=environment, timeout=60)
    assert said.returncode == 0 and not said.stderr and "Leaves build/" in said.stdout
    assert "--distill" in said.stdout or script == "on_policy/compare"  # whose program needs the library
