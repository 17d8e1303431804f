"""The example with the real model, on the quickstart's teacher and a few steps; and what it makes of figures."""
import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "examples" / "real")]
import outputs  # noqa: E402
import plan  # noqa: E402
import students  # noqa: E402
import tables  # noqa: E402
from evidence import Bench  # noqa: E402


@pytest.fixture(name="bench")
def _bench(tmp_path, monkeypatch):
    program = os.environ.get("DISTILL_PROGRAM")
    if not program:
        pytest.skip("DISTILL_PROGRAM is not set")
    monkeypatch.setattr(plan, "SHAPES", {"two layers": {"student.layers": [0, 7]}})
    text = (ROOT / "tests" / "data" / "sentences.txt").read_text(encoding="utf-8")
    (tmp_path / "data").mkdir()
    for part in ("train", "held"):
        (tmp_path / "data" / f"text_{part}.txt").write_text(text, encoding="utf-8")
    return Bench(program, tmp_path, plan.HERE)


@pytest.fixture(name="args")
def _args(bench):
    return argparse.Namespace(distill=bench.distill, teacher=str(ROOT / "examples" / "quickstart" / "teacher"), steps=2, calibration=64)


def test_every_kind_of_student_is_made_once(bench, args, capfd):
    start = plan.cut(bench, args, "two layers")
    assert start["training"]["steps"] == 0 and start["student"]["bytes"] == 4 * start["student"]["parameters"]
    times = {"distilled": 3.0, "hard": 2.0}
    found = {kind: students.run(bench, args, "two layers", times, kind) for kind in plan.KINDS}
    assert [run["steps"] for run in found.values()] == [2, 2, 3]
    for run in found.values():
        assert [tokens for tokens, _ in run["curve"]] == sorted({tokens for tokens, _ in run["curve"]}) and run["curve"][0][0] == 0
        assert len({(text["tokens"], text["teacher_perplexity"]) for _, text in run["curve"]}) == 1  # all on the same text
        assert run["curve"][-1][1]["forward_kl"] < run["curve"][0][1]["forward_kl"] and run["curve"][-1][0] == run["tokens"]
        assert run["last"]["text"]["nats"] < start["student"]["nats"]
    made = bench.folder / "two_layers-distilled" / "model.safetensors"
    when = made.stat().st_mtime_ns
    assert {kind: students.run(bench, args, "two layers", times, kind) for kind in plan.KINDS} == found and made.stat().st_mtime_ns == when
    assert plan.teacher_alone(start)["text"]["perplexity"] == pytest.approx(start["teacher"]["perplexity"])
    capfd.readouterr()


def test_steps_are_timed_in_turn(bench, args):
    if not (pathlib.Path(bench.distill).parent / "libdistill.so").exists():
        pytest.skip("no shared library beside the program")
    plan.cut(bench, args, "two layers")
    times = plan.step_times(bench, args, "two layers")
    assert times["distilled"] > 0 and times["hard"] > 0
    assert plan.step_times(bench, args, "two layers") == times  # kept


def test_files_of_every_type(bench, args):
    plan.cut(bench, args, "two layers")
    found = outputs.files(args.distill, bench.folder / "cut" / "two_layers", bench.folder / "data" / "text_held.txt")
    sizes = [found[name]["bytes"] for name in outputs.TYPES]
    assert sizes == sorted(sizes, reverse=True)
    assert found["q8_0"]["perplexity"] == pytest.approx(found["f32"]["perplexity"], rel=0.05)
    assert [path.name for path in (bench.folder / "cut" / "two_layers").glob("*.gguf")] == ["q8_0.gguf"]


def test_without_llama_cpp_it_is_skipped(tmp_path):
    assert outputs.llama_cpp("none", tmp_path, tmp_path) is None


def test_the_first_difference_counts():
    assert outputs.same([1, 2, 3], [1, 2, 4]) == 2 and outputs.same([1, 2], [1, 2, 3]) == 2 and outputs.same([5], [5]) == 1


def test_how_near_two_tokens_are_where_texts_part(monkeypatch, tmp_path):
    asked = []

    def call(_, *arguments):
        asked.append(json.loads((tmp_path / "asked.json").read_text()))
        assert "exact" in arguments
        return {"top": [[{"id": 7, "log_prob": -1.0}, {"id": 9, "log_prob": -1.25}]]}
    monkeypatch.setattr(outputs, "call", call)
    model = tmp_path / "m.gguf"
    assert outputs.apart("none", model, [1, 2], [3, 7, 5], [3, 9]) == 0.25 and asked == [[1, 2, 3]]
    assert outputs.apart("none", model, [1], [3, 7], [3, 7]) == 0 and outputs.apart("none", model, [1], [4], [7]) is None
    assert not (tmp_path / "asked.json").exists() and len(asked) == 2


def test_time_left_is_that_of_what_was_run(tmp_path):
    bench = Bench("none", tmp_path, plan.HERE)
    bench.costs, bench.spent = {"a": 30, "b": 10}, [120.0, 20]
    assert bench.left() == ", about 4 minutes to go"


def evaluation(perplexity, kl, agreement):
    return {"tokens": 4074, "teacher_perplexity": 36.3, "perplexity": perplexity, "forward_kl": kl, "top1_agreement": agreement}


def found_by(kinds):
    """As students.py leaves it, with one student."""
    start = {"text": evaluation(2648571.0, 11.19, 0.003), "chat": evaluation(9.0, 2.0, 0.1)}
    last = {"text": evaluation(117.04, 1.71, 0.38), "chat": evaluation(8.0, 1.0, 0.5)}
    runs = {kind: {"steps": 90, "last": last, "curve": [(46000.0, last["text"]), (92000, last["text"])]} for kind in kinds}
    files = {name: {"bytes": 1e6, "perplexity": 117.0} for name in outputs.TYPES}
    texts = {"q8_0": [{"same": 24, "of": 24}, {"same": 7, "of": 24}]}
    student = {"parameters": 63713088, "start": start, "times": {"distilled": 2.6, "hard": 1.3}, "runs": runs, "files": files, "llama_cpp": texts,
               "answers": ["a | b"] * len(outputs.QUESTIONS)}
    teacher = {"parameters": 134515008, "answers": ["yes\nno"] * len(outputs.QUESTIONS),
               "sources": {"text": {"perplexity": 36.257}, "chat": {"perplexity": 6.04}}}
    return {"cpu": "a processor", "material": "a text", "teacher": teacher, "students": {"10 layers": student}}


STOPPED = """
import pathlib, signal, sys, time
place = pathlib.Path(next(a for a in sys.argv if a.startswith("output.path="))[12:])
def save(*_):
    time.sleep(0.8)  # longer than subprocess.run gives a child
    (place / "checkpoints" / "1").mkdir(parents=True)
    sys.exit(130)
signal.signal(signal.SIGINT, save)
if "--resume" in sys.argv:
    (place / "result.json").write_text("{}")
    sys.exit(0)
print("ready", file=sys.stderr, flush=True)
time.sleep(60)
"""


def test_an_interrupted_run_is_saved_and_goes_on(tmp_path):
    program, recipe, caller = tmp_path / "distill", tmp_path / "r.yaml", tmp_path / "caller.py"
    program.write_text("#!%s\n%s" % (sys.executable, STOPPED))
    program.chmod(0o755)
    recipe.write_text("loss: forward_kl\n")
    caller.write_text("import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nsys.path.insert(0, %r)\nfrom evidence import Bench\n"
                      "Bench(%r, %r, %r).run('one', 'r.yaml', {})\n" % (str(ROOT / "examples"), str(program), str(tmp_path), str(tmp_path)))
    with subprocess.Popen([sys.executable, str(caller)], stderr=subprocess.PIPE, text=True, start_new_session=True) as first:
        said = iter(first.stderr.readline, "")
        assert any("ready" in line for line in said)
        os.killpg(first.pid, signal.SIGINT)  # as a terminal does
        assert "Traceback" not in first.stderr.read()
    assert first.returncode == 130 and (tmp_path / "one" / "checkpoints" / "1").is_dir()
    assert subprocess.run([sys.executable, str(caller)], check=False).returncode == 0  # with --resume
    assert (tmp_path / "one" / "result.json").exists()


def test_tables_say_what_was_found():
    page = tables.page(found_by(plan.KINDS))
    assert "| teacher | 135 M |  |  | 0 | 100 % | 36.3 | 0 | 100 % | 6.0 |" in page
    assert "| 10 layers | 64 M | not yet | 0 | 11.19 | 0 % | 2,648,571 |" in page
    assert "| 10 layers | 64 M | hard labels, equal time | 90 | 1.71 | 38 % | 117.0 | 1.00 | 50 % | 8.0 |" in page
    assert "| 10 layers | distilled | 46,000 | 1.71 | 38 % | 117.0 |" in page
    assert "| 10 layers | Q8_0 | 1 of 2 texts | 24/24, 7/24 |" in page and "| 10 layers | 2.60 | 1.30 | 2.00 |" in page
    assert "yes no" in page and "a \\| b" in page
    widths = {}
    for line in page.splitlines():
        if line.startswith("|---"):
            widths["now"] = line.count("|")
        elif line.startswith("|") and "now" in widths:
            assert line.replace("\\|", "").count("|") == widths["now"], line
        elif not line:
            widths.clear()


def test_a_page_without_llama_cpp_says_so():
    found = found_by(["distilled"])
    found["students"]["10 layers"]["llama_cpp"] = None
    assert "skipped: not installed" in tables.page(found)
    assert json.dumps(found)
