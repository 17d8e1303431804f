"""Files of every type against stored figures (tests/real/export_figures.py): how far their matrices are from the model's, and what llama.cpp reads in them.
Against the package gguf and llama.cpp themselves where they are: DISTILL_NODE names a folder with node_modules/node-llama-cpp."""
import json
import math
import os
import pathlib
import shutil
import subprocess

import pytest
from wide_model import IDS, make_wide, missed, tensors_of

TESTS = pathlib.Path(__file__).resolve().parents[1]
STORED = json.loads((TESTS / "data" / "quant" / "exports.json").read_text())["files"]
# llama.cpp rounds what it multiplies by such weights: to 16 bits, or to blocks of 8 bits.
TOLERANCES = {"f32": 1e-4, "f16": 6e-3, "bf16": 6e-2, "q8_0": 0.12, "q4_0": 0.12, "q4_k": 0.12}


@pytest.fixture(scope="module")
def wide(tmp_path_factory, distill):
    def run(*arguments):
        done = distill(*arguments)
        assert done.code == 0, done.err
    return make_wide(run, tmp_path_factory.mktemp("figures"))


@pytest.fixture(scope="module")
def files(wide, tmp_path_factory, distill):
    folder, made = tmp_path_factory.mktemp("exports"), {}
    for kind in STORED:
        made[kind] = folder / (kind + ".gguf")
        done = distill("export", wide, "--to", "gguf", "--type", kind, "-o", made[kind])
        assert done.code == 0, done.err
    return made


@pytest.fixture(scope="module")
def widened(files, distill):
    """What our decoders make of each file."""
    found = {}
    for kind, path in files.items():
        floats = path.with_suffix(".f32.gguf")
        assert distill("export", path, "--to", "gguf", "--type", "f32", "-o", floats).code == 0
        found[kind] = tensors_of(floats)
    return found


def test_the_stored_figures_are_of_every_type():
    assert set(STORED) == set(TOLERANCES)
    assert {t["type"] for t in STORED["q4_k"]["tensors"].values()} == {"Q4_K", "Q5_0"}
    assert all(t["llama_cpp"] is None for kind in ("f32", "f16", "bf16") for t in STORED[kind]["tensors"].values())


@pytest.mark.parametrize("kind", STORED)
def test_errors_are_those_that_gguf_reads_and_no_larger_than_llama_cpp_s(widened, kind):
    exact, got = widened["f32"], widened[kind]
    assert set(got) == set(exact) and set(STORED[kind]["tensors"]) < set(exact)
    for name, values in got.items():
        stored = STORED[kind]["tensors"].get(name)
        off = missed(exact[name], values)
        if stored is None:
            assert off == 0, name  # vectors stay
            continue
        assert off == pytest.approx(stored["ours"], rel=0.01), name
        assert stored["llama_cpp"] is None or off <= 1.05 * stored["llama_cpp"], name


def log_probs(distill, path):
    rows = distill("score", path, "--tokens", "-", "--json", given=json.dumps([IDS]).encode()).json["nll"][0]
    return [-value for value in rows]


@pytest.mark.parametrize("kind", STORED)
def test_log_probabilities_are_those_that_llama_cpp_reads(files, distill, kind):
    ours, theirs = log_probs(distill, files[kind]), STORED[kind]["log_probs"]
    assert len(ours) == len(theirs)
    assert max(abs(a - b) for a, b in zip(ours, theirs)) < TOLERANCES[kind]


# ---- where the others are ----
@pytest.mark.parametrize("kind", STORED)
def test_gguf_s_decoders_read_the_same_values(files, widened, kind):
    gguf = pytest.importorskip("gguf")
    numpy = pytest.importorskip("numpy")
    for tensor in gguf.GGUFReader(files[kind]).tensors:
        want = gguf.quants.dequantize(tensor.data, tensor.tensor_type).ravel()
        assert numpy.array_equal(numpy.frombuffer(widened[kind][tensor.name], numpy.float32), want), tensor.name


def test_llama_cpp_reads_the_same_now(files, distill, tmp_path):
    node = pathlib.Path(os.environ.get("DISTILL_NODE", "none"))
    if not (node / "node_modules" / "node-llama-cpp").is_dir() or not shutil.which("node"):
        pytest.skip("DISTILL_NODE names no folder with node-llama-cpp")
    script, out = node / "llama_logits.mjs", tmp_path / "said.json"
    shutil.copyfile(TESTS / "families" / "llama_logits.mjs", script)
    subprocess.run(["node", str(script), str(out)] + ["%s=%s" % (path, ",".join(map(str, IDS))) for path in files.values()], check=True)
    said = json.loads(out.read_text())["files"]
    for kind, path in files.items():
        theirs = [said[str(path)][i][str(following)] for i, following in enumerate(IDS[1:])]
        assert max(abs(a - b) for a, b in zip(log_probs(distill, path), theirs)) < TOLERANCES[kind], kind
        assert all(math.isfinite(value) for value in theirs)
