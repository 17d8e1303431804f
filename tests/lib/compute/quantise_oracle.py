#!/usr/bin/env python3
"""Writes tests/data/quant/rounding.npz: values, and the sum of squares by which blocks of llama.cpp's quantiser miss them.

usage: quantise_oracle.py LIBGGML_BASE.so OUT.npz     (the library lies in the npm package node-llama-cpp)"""
import ctypes
import sys

import numpy as np
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize

TYPES = {"q8_0": GGMLQuantizationType.Q8_0, "q4_0": GGMLQuantizationType.Q4_0, "q5_0": GGMLQuantizationType.Q5_0,
         "q4_k": GGMLQuantizationType.Q4_K}


def values(rng):
    """Rows of 256 as weights are: normal, with outliers, of one sign, of many sizes, around an offset, sparse, constant, tiny."""
    normal = rng.normal(size=(16, 256)) * 0.02
    outliers = normal * (1 + 20 * (rng.random((16, 256)) < 0.01))
    sizes = normal * np.exp(rng.normal(size=(16, 1)) * 3) * np.repeat(np.exp(rng.normal(size=(16, 8))), 32, axis=1)
    sparse = normal * (rng.random((16, 256)) < 0.1)
    rows = [normal, outliers, np.abs(normal), -np.abs(normal), sizes, normal + 0.05, normal - 0.01, sparse, np.zeros((1, 256)),
            np.full((1, 256), 0.25), np.full((1, 256), -3.0), normal[:2] * 1e-4, normal[:2] * 1e3]
    return np.concatenate(rows).astype(np.float32)


def main(library, out):
    ggml = ctypes.CDLL(library)
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + 3 * [ctypes.c_int64] + [ctypes.c_void_p]
    x = values(np.random.default_rng(3))
    saved = {"values": x}
    for name, kind in TYPES.items():
        ggml.ggml_quantize_init(int(kind))
        blocks = np.zeros(x.size * 2, np.uint8)
        used = ggml.ggml_quantize_chunk(int(kind), x.ctypes.data, blocks.ctypes.data, 0, len(x), 256, None)
        got = dequantize(blocks[:used].reshape(len(x), -1), kind)
        saved[name] = ((got.astype(np.float64) - x) ** 2).sum(axis=1)
    np.savez_compressed(out, **saved)


if __name__ == "__main__":
    main(*sys.argv[1:])
