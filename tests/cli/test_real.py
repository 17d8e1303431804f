"""The real model of examples/real/fetch.sh against llama.cpp's figures (tests/real). Skipped where DISTILL_REAL_MODELS names no folder."""
import json
import os
import pathlib

import pytest

MODEL = pathlib.Path(os.environ.get("DISTILL_REAL_MODELS", "none")) / "SmolLM2-135M-Instruct.Q4_1.gguf"
FIGURES = pathlib.Path(__file__).resolve().parents[1] / "data" / "real"

pytestmark = pytest.mark.skipif(not MODEL.exists(), reason="DISTILL_REAL_MODELS names no folder with the model")


def figures(name):
    return json.loads((FIGURES / (name + ".json")).read_text())


def test_what_is_in_it(distill):
    found = distill("inspect", MODEL, "--json").json
    assert found["dtypes"] == {"Q4_1": 210, "F32": 61, "Q8_0": 1}
    assert found["tied"] is True and found["parameters"] == 134515008 and found["tensors"] == 272
    assert found["tokenizer"]["vocab_size"] == 49152


def test_ids_are_llama_cpp_s(distill):
    cases = figures("smollm2_widened")
    for text, ids in [(case["prompt"], case["ids"]) for case in cases["generated"]] + [(cases["scored"]["text"], cases["scored"]["ids"])]:
        assert distill("tokenize", MODEL, given=text.encode()).json["ids"] == ids
        assert distill("detokenize", MODEL, given=json.dumps(ids).encode()).out.rstrip("\n") == text.rstrip("\n")


def answer(distill, tmp_path, case, quantized):
    (tmp_path / "ids.json").write_text(json.dumps(case["ids"]))
    return distill("generate", MODEL, "--prompt-ids", tmp_path / "ids.json", "--max-tokens", len(case["answer"]), "--quantized", quantized,
                   "--json").json["ids"]


# llama.cpp at F32 weights of the same values: the products that it computes without rounding what they multiply.
@pytest.mark.parametrize("number", range(4))
def test_greedy_text_is_llama_cpp_s(distill, tmp_path, number):
    case = figures("smollm2_widened")["generated"][number]
    assert answer(distill, tmp_path, case, "exact") == case["answer"]


# On the quantised file itself its products round activations to 8 bits. Where two tokens are nearly as likely, the two ways of rounding differ, and
# so does the text from there on: ours is the same in two of the four rounded likewise, and in one without.
@pytest.mark.parametrize("number, quantized", [(0, "int8"), (2, "int8"), (1, "exact")])
def test_greedy_text_of_the_quantised_file(distill, tmp_path, number, quantized):
    case = figures("smollm2_q4_1")["generated"][number]
    assert answer(distill, tmp_path, case, quantized) == case["answer"]


@pytest.mark.parametrize("name, tolerance", [("smollm2_widened", 1e-3), ("smollm2_q4_1", 0.3)])
def test_scores_are_llama_cpp_s(distill, name, tolerance):
    case = figures(name)["scored"]
    nll = distill("score", MODEL, "--tokens", "-", "--json", given=json.dumps([case["ids"]]).encode()).json["nll"][0]
    assert len(nll) == len(case["log_probs"])
    assert max(abs(ours + theirs) for ours, theirs in zip(nll, case["log_probs"])) < tolerance
