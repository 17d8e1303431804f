#!/usr/bin/env python3
"""Writes tests/data/quant/blocks.npz: random blocks of every block-quantised dtype that is read, and their values as the package gguf
gives them.

usage: quant_oracle.py OUT.npz

Blocks are random bytes. Their scales of 16 bits go through zero, the smallest and largest denormals, the largest number, both infinities
and NaN; those of MXFP4 through the ends of the range."""
import sys

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# where the scales of 16 bits stand
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "MXFP4": []}
SPECIAL = [0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0x3c00, 0xb555]
EXPONENTS = [0, 1, 2, 3, 126, 127, 128, 253, 254, 255]


def blocks_of(name, count, rng):
    size, width = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    blocks = rng.integers(0, 256, (count, width), dtype=np.uint8)
    blocks[-1] = 0
    blocks[-2] = 255
    for number, at in enumerate(SCALES[name]):
        for i, bits in enumerate(SPECIAL):
            row = blocks[i + number * len(SPECIAL)]
            row[at:at + 2] = np.frombuffer(np.uint16(bits).tobytes(), np.uint8)
        for row in blocks[2 * len(SPECIAL):-2]:  # the sizes that real weights have
            row[at:at + 2] = np.frombuffer(np.float16(rng.normal() * 0.01).tobytes(), np.uint8)
    if name == "MXFP4":
        blocks[:-2, 0] = rng.integers(110, 128, 30)
        blocks[:len(EXPONENTS), 0] = EXPONENTS
    return blocks, size


def main(path):
    rng = np.random.default_rng(7)
    out = {}
    for name in SCALES:
        blocks, size = blocks_of(name, 32, rng)
        with np.errstate(all="ignore"):
            values = dequantize(blocks, GGMLQuantizationType[name])
        out[name.lower() + ".blocks"] = blocks.ravel()
        out[name.lower() + ".values"] = values.astype(np.float32).ravel()
        assert values.size == 32 * size
    np.savez_compressed(path, **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
