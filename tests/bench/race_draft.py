#!/usr/bin/env python3
"""What is accepted of a draft's greedy proposals by libdistill and by llama.cpp, on the same files, behind the same prompts: the two are to be
within 3 points. Usage: race_draft.py MODEL DRAFT TEXT NODE_FOLDER [--gamma 4] [--prompts 16] [--keys 48] [--tokens 64]
NODE_FOLDER holds node-llama-cpp (examples/real/install_llama.sh); models that are no GGUF are exported, in fp32. $DISTILL is the program."""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import distill


def gguf(program, model, folder, name):
    if str(model).endswith(".gguf"):
        return str(model)
    path = str(folder / (name + ".gguf"))
    subprocess.run([program, "export", model, "--to", "gguf", "--type", "f32", "-o", path], check=True, stdout=subprocess.DEVNULL)
    return path


def prompts(model, text, count, keys):
    ids = model.tokenizer().encode(pathlib.Path(text).read_text(encoding="utf-8"), special=False)
    step = max(1, (len(ids) - keys) // max(1, count - 1))
    return [list(map(int, ids[i * step:i * step + keys])) for i in range(count)]


def ours(model, draft, asked, keys):
    """{"ids", "looked", "accepted"} of each prompt: proposals up to the first that was refused."""
    found = []
    session = distill.Session(model, draft, temperature=0, max_tokens=asked["max_tokens"], draft_tokens=asked["gamma"], context=keys + asked["max_tokens"])
    for prompt in asked["prompts"]:
        session.truncate(0)
        session.append(prompt)
        ids, looked, accepted, run, seen = [], 0, 0, 0, 0
        for token in session:
            ids.append(token.id)
            run += token.from_draft
            if token.from_draft and not token.finished:
                continue
            proposed = session.stats().drafted - seen
            looked += run if token.from_draft else min(run + 1, proposed)
            accepted, run, seen = accepted + run, 0, seen + proposed
        found.append({"ids": ids, "looked": looked, "accepted": accepted})
    return found


def theirs(model, draft, asked, node, folder):
    (folder / "asked.json").write_text(json.dumps(asked))
    script = pathlib.Path(node) / "race_draft.mjs"  # beside node_modules, where its import is looked for
    if not script.exists() or script.resolve() != pathlib.Path(__file__).with_suffix(".mjs").resolve():
        shutil.copy(pathlib.Path(__file__).with_suffix(".mjs"), script)
    subprocess.run(["node", str(script), model, draft, str(folder / "asked.json"), str(folder / "answered.json")], check=True)
    return json.loads((folder / "answered.json").read_text())


def share(found):
    return sum(f["accepted"] for f in found) / max(1, sum(f["looked"] for f in found))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "draft", "text", "node"):
        parser.add_argument(name)
    for name, value in (("gamma", 4), ("prompts", 16), ("keys", 48), ("tokens", 64)):
        parser.add_argument("--" + name, type=int, default=value)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, program = pathlib.Path(temporary), os.environ.get("DISTILL", "distill")
        files = [gguf(program, path, folder, name) for path, name in ((args.model, "model"), (args.draft, "draft"))]
        env = distill.Env()
        model, draft = (distill.Teacher(path, env=env) for path in files)
        asked = {"gamma": args.gamma, "max_tokens": args.tokens, "prompts": prompts(model, args.text, args.prompts, args.keys)}
        mine, other = ours(model, draft, asked, args.keys), theirs(*files, asked, args.node, folder)
    same = sum(a["ids"] == b["ids"] for a, b in zip(mine, other))
    print("texts that are the same  %d of %d" % (same, len(mine)))
    for name, found in (("libdistill", mine), ("llama.cpp", other)):
        print("%-12s accepted %5.1f %% of %d proposals" % (name, 100 * share(found), sum(f["looked"] for f in found)))
    counted = [sum(f["counted"][key] for f in other) for key in ("validated", "refuted")]
    print("node-llama-cpp's own predictor: %d validated, %d refuted (see race_draft.mjs)" % tuple(counted))
    print("apart by %.2f points" % (100 * abs(share(mine) - share(other))))


if __name__ == "__main__":
    main()
