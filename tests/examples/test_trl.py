"""The example in TRL's trainer, where trl is installed: the loss falls, and every row with a label counts once."""
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("loss", ["forward_kl", "jsd"])
def test_a_torch_student_learns_in_trls_trainer(loss):
    pytest.importorskip("trl")
    pytest.importorskip("distill")
    command = [sys.executable, str(ROOT / "examples" / "python" / "trl_trainer.py"), "--loss", loss, "--steps", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    first, last = map(float, re.search(r"from (\S+) to (\S+) nats", done.stdout).groups())
    assert last < 0.6 * first, done.stdout
