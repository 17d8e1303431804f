#!/usr/bin/env python3
"""Makes tests/data/families/llama_cpp.json: what llama.cpp says about the GGUF files that we write of small models.

usage: make_llama_cpp.py DISTILL NODE_FOLDER

DISTILL is the program, NODE_FOLDER holds node_modules with node-llama-cpp. The models are those of tests/data/families, and the oracles of
DISTILL_TEST_ASSETS. Needs numpy and gguf. The models have no tokenizer, which llama.cpp asks for, so the copies that it reads get one of
made-up words. tests/lib/model/test_llama_cpp.c compares the same files, as we read them, with these figures."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import gguf
import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "data", "families")
TYPES = ("f32", "q8_0")
ROWS = (0, 7, 16)  # whose log-probabilities are kept
# the weights of another folder once more, and longrope of short texts: llama.cpp asks how long its context is, which has at least 256 places
LEFT_OUT = ("gpt2_fp16", "llama_bf16", "llama_sharded", "phi4_mini_short")
NO_WINDOWS = ("mistral", "mixtral", "phi3")  # whose windows llama.cpp leaves out: rows inside the first one are compared


def add_vocabulary(path, to):
    reader = gguf.GGUFReader(path)
    family = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(to, family)
    for key, field in reader.fields.items():
        if key.startswith(("GGUF.", "tokenizer.")) or key == "general.architecture":
            continue
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(key, field.contents())
        else:
            writer.add_key_value(key, field.contents(), field.types[0])
    size = reader.fields[family + ".vocab_size"].contents()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(["<unk>", "<s>", "</s>", "\u010a"] + ["t%d" % i for i in range(4, size)])
    writer.add_token_types([3, 3, 3] + [1] * (size - 3))
    writer.add_token_merges(["t 4"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, numpy.array(tensor.data), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def folders():
    found = [os.path.join(DATA, name) for name in sorted(os.listdir(DATA))]
    oracles = os.path.join(os.environ.get("DISTILL_TEST_ASSETS", ""), "oracle", "models")
    if os.path.isdir(oracles):
        found += [os.path.join(oracles, name) for name in sorted(os.listdir(oracles)) ]
    return [folder for folder in found
            if os.path.basename(folder) not in LEFT_OUT and os.path.exists(os.path.join(folder, "config.json"))]


def exported(distill, folder, type_name, work):
    """(path, None) of a file that llama.cpp can read, or (None, why we refuse to write it)."""
    path = os.path.join(work, "%s.%s.gguf" % (os.path.basename(folder), type_name))
    done = subprocess.run([distill, "export", folder, "--to", "gguf", "--type", type_name, "-o", path + ".bare"],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        return None, done.stderr.strip()
    add_vocabulary(path + ".bare", path)
    return path, None


def entry(folder, type_name, ids):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    family, window = config["model_type"], config.get("sliding_window")
    end = window if window and family in NO_WINDOWS else len(ids)
    where = "data" if os.path.abspath(folder).startswith(os.path.abspath(DATA)) else "assets"
    return {"name": os.path.basename(folder), "where": where, "family": family, "type": type_name, "ids": ids,
            "rows": [row for row in ROWS if row < end]}


def fill(case, rows):
    """Log-probabilities by id; of ids that llama.cpp gave no probability there is a null."""
    size = max(len(row) for row in rows)
    case["log_probs"] = [[None if rows[row].get(str(id)) is None else round(rows[row][str(id)], 5) for id in range(size)]
                         for row in case["rows"]]


def ask(node, jobs, work):
    script = os.path.join(node, "llama_logits.mjs")
    shutil.copy(os.path.join(HERE, "llama_logits.mjs"), script)
    out = os.path.join(work, "out.json")
    subprocess.run(["node", script, out] + jobs, check=True)
    with open(out, encoding="utf-8") as file:
        return json.load(file)


def main():
    distill, node = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    work = tempfile.mkdtemp()
    cases, jobs = [], []
    for folder in folders():
        ids = numpy.load(os.path.join(folder, "expected.npz"))["input_ids"][0].tolist() \
            if os.path.exists(os.path.join(folder, "expected.npz")) else [1, 5, 9, 14, 3, 22, 7, 11, 6]
        for type_name in TYPES:
            path, why = exported(distill, folder, type_name, work)
            case = entry(folder, type_name, ids)
            if why:
                print(case["name"], type_name, "refused:", why)
                continue
            jobs.append("%s=%s" % (path, ",".join(map(str, ids))))
            cases.append((case, path))
    answers = ask(node, jobs, work)
    for case, path in cases:
        answer = answers["files"][path]
        if isinstance(answer, str):
            sys.exit("%s as %s is written, and llama.cpp does not load it: %s" % (case["name"], case["type"], answer))
        fill(case, answer)
    with open(os.path.join(node, "node_modules", "node-llama-cpp", "package.json"), encoding="utf-8") as file:
        version = json.load(file)["version"]
    with open(os.path.join(DATA, "llama_cpp.json"), "w", encoding="utf-8") as file:
        file.write('{"node_llama_cpp": "%s", "llama_cpp": "%s", "cases": [\n' % (version, answers["release"]))
        file.write(",\n".join(json.dumps(case) for case, _ in cases))
        file.write("\n]}\n")
    shutil.rmtree(work)


main()
