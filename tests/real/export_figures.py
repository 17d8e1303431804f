#!/usr/bin/env python3
"""Writes tests/data/quant/exports.json: how far the matrices of the files that we write are from the model's, read by the package gguf, how far those of
llama.cpp's own quantiser would be, and what llama.cpp says about a text when it reads our files.

usage: export_figures.py DISTILL NODE_FOLDER     (packages gguf and numpy; NODE_FOLDER holds node_modules with node-llama-cpp)"""
import ctypes
import glob
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "support"))
from wide_model import IDS, make_wide  # noqa: E402

TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_k")


def tensors(path):
    """{name: (type, values in rows)} as the package reads them."""
    return {tensor.name: (tensor.tensor_type, dequantize(tensor.data, tensor.tensor_type).reshape([int(n) for n in reversed(tensor.shape)]))
            for tensor in GGUFReader(path).tensors}


def theirs(ggml, kind, x):
    """The values as llama.cpp's quantiser leaves them; None of types that are no blocks."""
    if kind.name in ("F32", "F16", "BF16"):
        return None
    ggml.ggml_quantize_init(int(kind))
    blocks = np.zeros(x.size * 2, np.uint8)
    used = ggml.ggml_quantize_chunk(int(kind), x.ctypes.data, blocks.ctypes.data, 0, len(x), x.shape[1], None)
    return dequantize(blocks[:used].reshape(len(x), -1), kind)


def rms(a, b):
    return float("%.6g" % np.sqrt(((a.astype(np.float64) - b) ** 2).mean()))


def errors(ggml, exact, path):
    found = {}
    for name, (kind, values) in tensors(path).items():
        x = np.ascontiguousarray(exact[name][1], np.float32)
        if x.ndim == 2:
            other = theirs(ggml, kind, x)
            found[name] = {"type": kind.name, "ours": rms(values, x), "llama_cpp": None if other is None else rms(other, x)}
    return found


def llama_says(node, files, work):
    script, out = node / "llama_logits.mjs", work / "said.json"
    shutil.copyfile(TESTS / "families" / "llama_logits.mjs", script)
    subprocess.run(["node", str(script), str(out)] + ["%s=%s" % (path, ",".join(map(str, IDS))) for path in files.values()], check=True)
    said = json.loads(out.read_text())
    found = {}
    for name, path in files.items():
        rows = said["files"][str(path)]
        if isinstance(rows, str):
            sys.exit("llama.cpp does not load %s: %s" % (path, rows))
        found[name] = [round(rows[i][str(following)], 5) for i, following in enumerate(IDS[1:])]
    return said["release"], found


def main():
    distill, node = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    ggml = ctypes.CDLL(glob.glob(str(node / "node_modules/@node-llama-cpp/*/bins/*/libggml-base.so"))[0])
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + 3 * [ctypes.c_int64] + [ctypes.c_void_p]
    work = pathlib.Path(tempfile.mkdtemp())
    model = make_wide(lambda *arguments: subprocess.run([distill, *map(str, arguments)], check=True), work)
    files = {name: work / (name + ".gguf") for name in TYPES}
    for name, path in files.items():
        subprocess.run([distill, "export", str(model), "--to", "gguf", "--type", name, "-o", str(path)], check=True, stdout=subprocess.DEVNULL)
    exact = tensors(files["f32"])
    release, said = llama_says(node, files, work)
    found = {name: {"tensors": errors(ggml, exact, path), "log_probs": said[name]} for name, path in files.items()}
    (TESTS / "data" / "quant" / "exports.json").write_text(json.dumps({"llama_cpp": release, "files": found}, indent=1) + "\n")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
