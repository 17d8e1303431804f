#!/usr/bin/env python3
"""Lets transformers open the folders that we write of small models, and compares its logits with ours of the same folders.

usage: check_transformers.py DISTILL [--write]    DISTILL is the program; DISTILL_LIBRARY and PYTHONPATH name the binding

The models are those of tests/data/families, and the oracles of DISTILL_TEST_ASSETS; each is written as every type of a folder, and as F32 once
more from a GGUF file of it, where there can be one. Needs torch, numpy and transformers (5.24 made the stored figures). Prints a row for each
folder; exit code 1 where one is not loaded, where a weight is missing, left over or of another shape, or where logits are further apart than
float's rounding. --write stores what transformers said in tests/data/families/transformers.json: tests/lib/model/test_transformers.c compares
the folders that are written, and what we read in them, with these figures."""
import hashlib
import json
import os
import subprocess
import sys
import tempfile

import numpy
import torch
import transformers

import distill

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "data", "families")
WAYS = (("folder", "f32"), ("folder", "bf16"), ("folder", "f16"), ("gguf", "f32"))  # what is written from, and as which type
TOLERANCE = 5e-5
COLUMNS = "%-20s %-12s %-7s %-5s %s"


def folders():
    found = [os.path.join(DATA, name) for name in sorted(os.listdir(DATA))]
    oracles = os.path.join(os.environ.get("DISTILL_TEST_ASSETS", ""), "oracle", "models")
    if os.path.isdir(oracles):
        found += [os.path.join(oracles, name) for name in sorted(os.listdir(oracles))]
    return [folder for folder in found if os.path.exists(os.path.join(folder, "config.json"))]


def ids_of(folder):
    path = os.path.join(folder, "expected.npz")
    return numpy.load(path)["input_ids"] if os.path.exists(path) else numpy.array([[4, 5, 9, 14, 3, 22, 7, 11, 6]])


def export(program, model, to, type_name, out):
    done = subprocess.run([program, "export", model, "--to", to, "--type", type_name, "-o", out], capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else None


def written(program, folder, source, type_name, work):
    """(folder, None), or (None, why it is not written)."""
    out = os.path.join(work, "%s.%s.%s" % (os.path.basename(folder), source, type_name))
    if source == "gguf":
        why = export(program, folder, "gguf", "f32", out + ".gguf")
        if why:
            return None, why
        folder = out + ".gguf"
    why = export(program, folder, "hf", type_name, out)
    if why:
        sys.exit("%s is not written as a folder of %s: %s" % (folder, type_name, why))
    return out, None


def theirs(folder, ids):
    """(logits, what is wrong with the weights)"""
    model, told = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32,
                                                                    output_loading_info=True)
    with torch.no_grad():
        logits = model.eval()(input_ids=torch.tensor(ids)).logits.float().numpy()
    return logits, ", ".join("%s %s" % (key, sorted(map(str, told[key]))) for key in sorted(told) if told[key])


def ours(folder, ids):
    with distill.Teacher(folder) as teacher:
        return numpy.asarray(teacher.score(ids.tolist(), rows=list(range(ids.size)))).reshape(ids.shape + (-1,))


def digest(folder):
    sha = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        with open(os.path.join(folder, name), "rb") as file:
            sha.update(file.read())
    return sha.hexdigest()


def entry(folder, family, source, type_name):
    where = "data" if os.path.abspath(folder).startswith(os.path.abspath(DATA)) else "assets"
    return {"name": os.path.basename(folder), "where": where, "family": family, "from": source, "type": type_name}


def check(case, out, ids):
    """Whether both read the same; fills the case with what transformers said."""
    off = numpy.inf
    try:
        logits, wrong = theirs(out, ids)
        off = abs(ours(out, ids) - logits).max()
    except Exception as error:  # whatever either says of a folder that it does not open is a row
        wrong = "%s: %s" % (type(error).__name__, error)
    good = not wrong and off <= TOLERANCE
    print(COLUMNS % (case["name"], case["family"], case["from"], case["type"], "%.1e" % off), "" if good else "DIFFERS " + wrong, flush=True)
    if good:
        case.update(sha256=digest(out), ids=ids[0].tolist(), last_logits=[round(float(z), 6) for z in logits[0, -1]])
    return good


def store(cases):
    with open(os.path.join(DATA, "transformers.json"), "w", encoding="utf-8") as file:
        file.write('{"transformers": "%s", "torch": "%s", "cases": [\n' % (transformers.__version__, torch.__version__.split("+")[0]))
        file.write(",\n".join(json.dumps(case) for case in cases))
        file.write("\n]}\n")


def main():
    program, cases, bad = os.path.abspath(sys.argv[1]), [], 0
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print(COLUMNS % ("model", "family", "from", "type", "largest difference"))
    with tempfile.TemporaryDirectory() as work:
        for folder in folders():
            with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
                family = json.load(file)["model_type"]
            for source, type_name in WAYS:
                out, why = written(program, folder, source, type_name, work)
                if why:
                    print(COLUMNS % (os.path.basename(folder), family, source, type_name, "refused: " + why))
                    continue
                case = entry(folder, family, source, type_name)
                bad += not check(case, out, ids_of(folder))
                cases.append(case)
    print("%d folders, %d that differ" % (len(cases), bad))
    if sys.argv[2:] == ["--write"] and not bad:
        store(cases)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
