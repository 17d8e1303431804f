"""A model whose rows have blocks of 256 and of 32 values, and its GGUF files of F32 read without packages."""
import array
import json
import math
import struct
import sys

from tiny_model import CONFIG, write_model

SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # GGUF's types of values, in bytes
TEXT, LIST = 8, 9
IDS = [84, 104, 101, 32, 109, 97, 110, 32, 260, 259, 5, 77, 200, 31, 8, 150, 255, 44]


def make_wide(run, folder):
    """folder/made: weights drawn from a seed; run calls the program. Rows of 256, and of 288 inside the MLP's last matrix, which 256 does not divide."""
    write_model(folder)
    config = dict(CONFIG, vocab_size=261, hidden_size=256, intermediate_size=288, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                  initializer_range=0.08)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "text.txt").write_text("the thing is in the inn and then the man\n" * 8)
    (folder / "recipe.yaml").write_text("student: {config: config.json}\ndata: {train: text.txt, sequence_length: 24}\nloss: cross_entropy\n"
                                        "train: {steps: 0, batch_size: 2, seed: 5}\noutput: {path: made/, type: f32}\n")
    run("run", folder / "recipe.yaml", "--quiet")
    return folder / "made"


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, form):
        self.at += struct.calcsize(form)
        return struct.unpack_from("<" + form, self.data, self.at - struct.calcsize(form))[0]

    def text(self):
        size = self.number("Q")
        self.at += size
        return self.data[self.at - size:self.at].decode()

    def skip(self, kind):
        if kind == TEXT:
            self.text()
        elif kind == LIST:
            inner, count = self.number("I"), self.number("Q")
            for _ in range(count):
                self.skip(inner)
        else:
            self.at += SCALARS[kind]


def tensors_of(path):
    """{name: array of floats} of a GGUF file whose tensors are F32."""
    reader = Reader(path.read_bytes())
    assert reader.data[:4] == b"GGUF"
    reader.at = 8
    count, keys = reader.number("Q"), reader.number("Q")
    for _ in range(keys):
        reader.text()
        reader.skip(reader.number("I"))
    found = []
    for _ in range(count):
        name, dims = reader.text(), reader.number("I")
        values = math.prod(reader.number("Q") for _ in range(dims))
        assert reader.number("I") == 0, name
        found.append((name, values, reader.number("Q")))
    start = -(-reader.at // 32) * 32
    out = {}
    for name, values, offset in found:
        out[name] = array.array("f", reader.data[start + offset:start + offset + 4 * values])
        if sys.byteorder == "big":
            out[name].byteswap()
    return out


def missed(want, got):
    """Root of the mean square of what the values are off by."""
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(want, got)) / len(want))
