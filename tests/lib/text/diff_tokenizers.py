#!/usr/bin/env python3
"""Compares `distill tokenize --batch` with the reference implementations: tokenizers, sentencepiece, llama.cpp's vectors.

usage: diff_tokenizers.py PROGRAM FOLDER_OR_FILE ... [--seed N] [--count N] [--lines N] [--code-points] [--text FILE ...]
                         [--node FOLDER]

Whatever is found under the folders (fetch_tokenizers.sh fills one) is a row of the table: tokenizer.json, SentencePiece
models, and vocabularies in GGUF, which become a tokenizer.json as the family has it, and are read by llama.cpp where
--node names a folder with node-llama-cpp. Texts are random Unicode, lines of
the message catalogues of this machine (--locale) and of files, and every code point. Exit code: 0 equal, 1 not, 77 the
package is not installed."""
import argparse
import glob
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

try:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
except ImportError:
    print("skipped: the package tokenizers is not installed", file=sys.stderr)
    sys.exit(77)

RANGES = [(32, 127), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x600), (0x900, 0xE00), (0x1100, 0x1200), (0x2000, 0x2070),
          (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0x1F300, 0x1FA00), (1, 0xD800), (0xE000, 0x110000)]
WORDS = ["'s", "'LL", " ", "   ", "\t", "\r\n", "\n\n", "\u2581", "<s>", "</s>", "<unk>", "<|im_start|>", "<|endoftext|>", "<0x41>",
         "[INST]", "1234567", "\u180e", "\u017f", "\u00e9", "e\u0301", "the"]
LANGUAGES = ["de", "fr", "es", "ru", "ja", "zh_CN", "ko", "ar", "hi", "el", "th", "he", "vi", "uk", "tr", "pl", "fi",
             "hu", "cs", "ta", "bn", "fa", "zh_TW", "ka", "am", "pt"]


# ---- texts ----
def random_text(rng):
    weights = [rng.random() ** 3 for _ in range(len(RANGES) + 1)]
    parts = []
    for kind in rng.choices(range(len(RANGES) + 1), weights, k=rng.randrange(1, 200)):
        parts.append(rng.choice(WORDS) if kind == len(RANGES) else chr(rng.randrange(*RANGES[kind])))
    return "".join(parts)


def file_texts(paths):
    for path in paths:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            text = file.read()
        yield from (text[i:i + 20000] for i in range(0, len(text), 20000))


def catalogue(path):
    """The lines of a .mo file."""
    with open(path, "rb") as file:
        data = file.read()
    if len(data) < 28:
        return
    order = "<" if data[:4] == b"\xde\x12\x04\x95" else ">"
    count, _, table = struct.unpack(order + "III", data[8:20])
    for i in range(count):
        size, at = struct.unpack(order + "II", data[table + 8 * i:table + 8 * i + 8])
        for text in data[at:at + size].decode("utf-8", "replace").split("\0"):
            yield from (line for line in text.split("\n") if len(line) > 8)


def real_lines(folder, count, rng):
    lines = []
    for language in LANGUAGES:
        own = set()
        for path in sorted(glob.glob(f"{folder}/{language}/LC_MESSAGES/*.mo")):
            own.update(catalogue(path))
        own = sorted(own)
        rng.shuffle(own)
        lines += own[:max(1, count // 20)]
    rng.shuffle(lines)
    return lines[:count]


def code_points():
    """Every one alone, inside a word and behind a space; 16 to a text."""
    every = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    for at in range(0, len(every), 16):
        yield " ".join(f"{c}a{c}b {c}{c}" for c in every[at:at + 16])


# ---- ours ----
def our_ids(program, path, texts, special):
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8", delete=False) as file:
        json.dump(texts, file)
    try:
        command = [program, "tokenize", path, "--batch", file.name, "--json"] + ([] if special else ["--no-special"])
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if result.returncode:
            return None, result.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
        return json.loads(result.stdout)["ids"], None
    finally:
        os.unlink(file.name)


# ---- references: texts, special -> ids ----
def of_tokenizers(reference):
    reference.no_truncation()
    reference.no_padding()
    return lambda texts, special: [e.ids for e in reference.encode_batch(texts, add_special_tokens=special)]


def of_sentencepiece(path):
    """Control tokens are no text for it: whoever spells one gets other ids."""
    import sentencepiece
    model = sentencepiece.SentencePieceProcessor(model_file=path)
    spelled = re.compile("|".join(re.escape(model.id_to_piece(i)) for i in range(model.get_piece_size())
                                  if model.is_control(i) or model.is_unknown(i)))
    return lambda texts, special: [None if spelled.search(t) else i for t, i in zip(texts, model.encode(texts))]


def of_llama_cpp(node, path):
    """The prebuilt one, which takes spelled control tokens for text. Its tables of Unicode are older (v0.5.0: 15)."""
    fields = gguf_fields(path)
    special = [t for t, kind in zip(fields["tokens"], fields.get("token_type", [])) if kind in (3, 4) and t]
    spelled = re.compile("|".join(map(re.escape, special)) or "(?!)")
    script = os.path.join(node, "llama_ids.mjs")
    shutil.copyfile(os.path.join(os.path.dirname(os.path.abspath(__file__)), "llama_ids.mjs"), script)

    def ids(texts, _):
        with tempfile.TemporaryDirectory() as folder:
            given, out = os.path.join(folder, "texts.json"), os.path.join(folder, "ids.json")
            with open(given, "w", encoding="utf-8") as file:
                json.dump(texts, file)
            subprocess.run(["node", script, path, given, out], check=True, stderr=subprocess.DEVNULL)
            with open(out, encoding="utf-8") as file:
                return [None if spelled.search(t) else i for t, i in zip(texts, json.load(file)["ids"])]
    return ids


def gguf_fields(path):
    import gguf
    reader = gguf.GGUFReader(path)
    return {name[15:]: field.contents() for name, field in reader.fields.items() if name.startswith("tokenizer.ggml.")}


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


# What stands in the tokenizer.json of the families whose vocabularies llama.cpp's source carries; Falcon's Punctuation
# by its expression, which knows of newer characters.
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = QWEN2.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")
IDEOGRAPHS = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"


def pre_tokenizer(name):
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    known = {"gpt-2": [words], "mpt": [words], "olmo": [words], "starcoder": [digits, words], "refact": [digits, words],
             "command-r": [digits, words], "smollm": [digits, words], "llama-bpe": [split(LLAMA3), letters],
             "qwen2": [split(QWEN2), letters], "qwen35": [split(QWEN35), letters],
             "falcon": [split(r"[\p{P}$+<=>^~|`]+"), words, split("[0-9][0-9][0-9]")],
             "deepseek-coder": [split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(IDEOGRAPHS), digits,
                                letters]}
    return pre_tokenizers.Sequence(known[name]) if name in known else None


def of_gguf_bpe(fields):
    special = [i for i, kind in enumerate(fields.get("token_type", [])) if kind in (3, 4)]
    tokens = fields["tokens"]
    merges = [tuple((m[0] + m[1:].split(" ", 1)[0], m[1:].split(" ", 1)[1])) for m in fields["merges"]]
    marked = fields["model"] == "gemma4"
    pre = pre_tokenizer(fields.get("pre"))
    if pre is None and not marked:
        return None
    ignore = fields.get("pre") in ("llama-bpe", "tekken")
    model = models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges, ignore_merges=ignore,
                       byte_fallback=marked, fuse_unk=marked, unk_token="<unk>" if marked else None)
    reference = Tokenizer(model)
    if marked:
        reference.normalizer = normalizers.Replace(" ", "\u2581")
    else:
        reference.pre_tokenizer = pre
    from tokenizers import AddedToken
    reference.add_tokens([AddedToken(tokens[i], special=True, normalized=False) for i in special])
    return of_tokenizers(reference)


def made_xlm_roberta(fields, folder):
    """A Unigram vocabulary as a SentencePiece model and as the tokenizer.json that transformers makes of it."""
    import sentencepiece.sentencepiece_model_pb2 as proto
    model = proto.ModelProto()
    charsmap = bytes(b & 255 for b in fields["precompiled_charsmap"])
    for text, score, kind in zip(fields["tokens"], fields["scores"], fields["token_type"]):
        model.pieces.add(piece=text, score=score, type=kind)
    model.trainer_spec.model_type = 1
    unk = fields.get("unknown_token_id", 3)
    model.trainer_spec.unk_id = unk
    model.normalizer_spec.precompiled_charsmap = charsmap
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = True
    model.normalizer_spec.escape_whitespaces = True
    with open(os.path.join(folder, "tokenizer.model"), "wb") as file:
        file.write(model.SerializeToString())
    reference = Tokenizer(models.Unigram(list(zip(fields["tokens"], [float(s) for s in fields["scores"]])), unk))
    reference.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap),
                                                 normalizers.Replace(Regex(" {2,}"), " ")])
    reference.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    reference.decoder = decoders.Metaspace(prepend_scheme="always")
    reference.save(os.path.join(folder, "tokenizer.json"))


# ---- the table ----
def first_difference(text, ours, wanted):
    at = next((i for i, pair in enumerate(zip(ours, wanted)) if pair[0] != pair[1]), min(len(ours), len(wanted)))
    return f"{text[:80]!a}: from id {at} on {ours[at:at + 8]}, reference {wanted[at:at + 8]}"


def compare(program, name, path, reference, sets, both=True):
    different = 0
    cells = []
    for title, texts in sets.items():
        bad = 0
        for special in ([False, True] if both and title != "code points" else [False]):
            ids, error = our_ids(program, path, texts, special)
            if ids is None:
                print(f"{name:<34} refused: {error}", flush=True)
                return 0
            wanted = reference(texts, special)
            wrong = [i for i in range(len(texts)) if wanted[i] is not None and ids[i] != wanted[i]]
            for i in wrong[:max(0, 3 - bad)]:
                print("   ", title, first_difference(texts[i], ids[i], wanted[i]))
            bad += len(wrong)
        cells.append(f"{title} {bad}/{len(texts)}")
        different += bad
    print(f"{name:<34} " + ", ".join(cells), flush=True)
    return different


def compare_vectors(program, path):
    """llama.cpp's own: texts, and a line of ids for each."""
    with open(path + ".inp", encoding="utf-8", newline="") as file:
        texts = file.read().split("\n__ggml_vocab_test__\n")
    with open(path + ".out", encoding="utf-8") as file:
        wanted = [[int(i) for i in line.split()] for line in file.read().split("\n")]
    return compare(program, os.path.basename(path) + " vectors", path, lambda t, s: wanted[:len(t)], {"vectors": texts},
                   False)


def compare_gguf(program, path, sets, node):
    different = compare_vectors(program, path) if os.path.exists(path + ".inp") else 0
    fields = gguf_fields(path)
    name = os.path.basename(path)
    if node:
        different += compare(program, name + " in llama.cpp", path, of_llama_cpp(node, path), sets, False)
    if fields["model"] == "t5":
        with tempfile.TemporaryDirectory() as folder:
            made_xlm_roberta(fields, folder)
            model = os.path.join(folder, "tokenizer.model")
            different += compare(program, name + " as .model", model, of_sentencepiece(model), sets, False)
            os.unlink(model)
            json_path = os.path.join(folder, "tokenizer.json")
            different += compare(program, name + " as .json", folder, of_tokenizers(Tokenizer.from_file(json_path)), sets)
        return different
    reference = of_gguf_bpe(fields) if fields["model"] in ("gpt2", "gemma4") else None
    return different + compare(program, name, path, reference, sets, False) if reference else different


def find(path):
    if os.path.isfile(path):
        yield path
    for folder, _, names in sorted(os.walk(path)):
        for name in sorted(names):
            if name == "tokenizer.json" or ".model" in name or (name.startswith("ggml-vocab") and name.endswith(".gguf")):
                yield os.path.join(folder, name)


def compare_path(program, path, sets, node):
    parts = [p for p in os.path.abspath(path).split(os.sep)[:-1] if p not in ("package", "models", "data", "resources")]
    name = f"{parts[-1] if len(parts) < 2 else parts[-2] if parts[-1].islower() and '-' in parts[-2] else parts[-1]}"
    if path.endswith(".gguf"):
        return compare_gguf(program, path, sets, node)
    if path.endswith(".json"):
        return compare(program, name, os.path.dirname(path) or ".", of_tokenizers(Tokenizer.from_file(path)), sets)
    with tempfile.TemporaryDirectory() as folder: # alone, and under the name that models have
        alone = os.path.join(folder, "tokenizer.model")
        os.symlink(os.path.abspath(path), alone)
        try:
            reference = of_sentencepiece(path)
        except (ImportError, RuntimeError):
            return 0
        return compare(program, os.path.basename(path), alone, reference, sets, False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--text", action="append", default=[], help="a file whose text is tokenised too")
    parser.add_argument("--locale", default="/usr/share/locale", help="folder of message catalogues")
    parser.add_argument("--lines", type=int, default=20000, help="how many lines of the catalogues")
    parser.add_argument("--code-points", action="store_true", help="every code point, too")
    parser.add_argument("--node", help="folder with node_modules/node-llama-cpp")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2000, help="how many random texts")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    sets = {"random": [random_text(rng) for _ in range(args.count)] + ["", " ", "\n"]}
    lines = real_lines(args.locale, args.lines, rng) + list(file_texts(args.text))
    if lines:
        sets["lines"] = lines
    if args.code_points:
        sets["code points"] = list(code_points())
    return 1 if sum([compare_path(args.program, p, sets, args.node) for path in args.paths for p in find(path)]) else 0


if __name__ == "__main__":
    sys.exit(main())
