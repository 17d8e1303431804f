"""What comes out of a student: files of each type, llama.cpp's text beside ours, answers in a chat. Each is made once and kept."""
import json
import pathlib
import shutil
import subprocess
import sys

TYPES = ("f32", "bf16", "q8_0", "q4_0")
COMPARED = ("q8_0", "f32")  # with llama.cpp, which rounds what it multiplies by Q8_0 to 8 bits; F32 tells that from a fault
QUESTIONS = ("What is the capital of France?", "Name three primary colors.", "Why do leaves fall in autumn?", "Write one sentence about the sea.",
             "Give me two tips for sleeping well.")
TEXTS = ("The capital of France is", "The game was released in", "In the following year , the", "Once upon a time, there was",
         "Water boils when it")
ANSWER, TEXT = 40, 24  # tokens
HERE = pathlib.Path(__file__).resolve().parent


def once(path, make):
    """What make gives, kept as JSON."""
    if not path.exists():
        found = make()
        path.write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def call(program, *arguments):
    done = subprocess.run([program, *map(str, arguments), "--json"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def perplexity(program, model, data):
    return call(program, "eval", "--student", model, "--data", data, "--set", "data.separator=", "--set", "data.sequence_length=256")["perplexity"]


def export(program, student, kind):
    """The student as a GGUF file; that of q8_0 stays there."""
    path = student / f"{kind}.gguf"
    path.unlink(missing_ok=True)
    call(program, "export", student, "--to", "gguf", "--type", kind, "-o", path)
    return path


def files(program, student, data):
    """{type: {bytes, perplexity}} of the student as one GGUF file."""
    found = {}
    for kind in TYPES:
        path = export(program, student, kind)
        found[kind] = {"bytes": path.stat().st_size, "perplexity": perplexity(program, path, data)}
        if kind != "q8_0":
            path.unlink()
    return found


def same(ours, theirs):
    """How many tokens are the same before the first that is not."""
    return next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))


def apart(program, model, prompt, ours, theirs):
    """By how many nats the two tokens where the texts part differ, by exact products; 0 where they do not part, None beyond what is listed."""
    at = same(ours, theirs)
    if at == max(len(ours), len(theirs)):
        return 0
    asked = model.with_name("asked.json")
    asked.write_text(json.dumps(prompt + ours[:at]))
    top = call(program, "generate", model, "--prompt-ids", asked, "--max-tokens", 1, "--quantized", "exact", "--top-logprobs", 50)["top"][0]
    asked.unlink()
    found = {entry["id"]: entry["log_prob"] for entry in top}
    first, second = (found.get(ids[at]) if at < len(ids) else None for ids in (ours, theirs))
    return None if first is None or second is None else abs(first - second)


def continued(program, model, node):
    """How far llama.cpp continues each text as we do: [{same, of, apart}]."""
    asked, answered = model.with_name("llama_asked.json"), model.with_name("llama_answered.json")
    asked.write_text(json.dumps({"max_tokens": TEXT, "prompts": TEXTS}))
    script = node / "llama.mjs"  # node looks for packages beside the script
    shutil.copyfile(HERE / "llama.mjs", script)
    if subprocess.run(["node", str(script), str(model), str(asked), str(answered)], check=False).returncode:
        sys.exit("llama.cpp does not take " + str(model))
    found = []
    for text, theirs in zip(TEXTS, json.loads(answered.read_text())):
        ours = call(program, "generate", model, "--prompt", text, "--max-tokens", TEXT)
        found.append({"text": text, "ours": ours["text"], "same": same(ours["ids"], theirs["ids"]), "of": max(len(ours["ids"]), len(theirs["ids"])),
                      "apart": apart(program, model, theirs["prompt"], ours["ids"], theirs["ids"])})
    return found


def llama_cpp(program, student, node):
    """{type: texts that llama.cpp continues}; None where it is not installed."""
    if not (node / "node_modules" / "node-llama-cpp").is_dir() or not shutil.which("node"):
        return None
    found = {}
    for kind in COMPARED:
        path = export(program, student, kind)
        found[kind] = continued(program, path, node)
        if kind != "q8_0":
            path.unlink()
    return found


def answers(program, model):
    return [call(program, "generate", model, "--chat", question, "--max-tokens", ANSWER, "--quantized", "exact")["text"].strip()
            for question in QUESTIONS]
