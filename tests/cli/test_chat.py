"""distill chat in a pipe: one line in, one answer out; what it keeps, saves, refuses and says."""
import json
import os
import re
import signal
import subprocess
import time

import pytest
from conftest import PROGRAM

FORMAT = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}.{% endfor %}{% if add_generation_prompt %}a:{% endif %}"
WIDE = 512  # tokens; the model's own context is 64


@pytest.fixture(scope="module")
def format(tmp_path_factory):
    path = tmp_path_factory.mktemp("format") / "own.jinja"
    path.write_text(FORMAT)
    return path


@pytest.fixture
def chat(distill, model, format):
    def run(given, *arguments):
        return distill("chat", model, "--chat-template", format, "--max-tokens", 4, *arguments, given=given)
    return run


def generated(distill, model, format, messages, tmp_path):
    (tmp_path / "talk.json").write_text(json.dumps(messages))
    done = distill("generate", model, "--messages", tmp_path / "talk.json", "--chat-template", format, "--max-tokens", 4, "--json")
    assert done.code == 0, done.err
    return done.json["text"]


def talked(path):
    return [(message["role"], message["content"]) for message in json.loads(path.read_text())["messages"]]


def test_answers_are_those_of_generate_and_nothing_else_is_printed(distill, model, chat, format, tmp_path):
    done = chat(b"the\nin\n/save %s\n" % os.fsencode(tmp_path / "kept.json"))
    assert (done.code, done.err) == (0, "")
    first = generated(distill, model, format, [{"role": "user", "content": "the"}], tmp_path)
    kept = talked(tmp_path / "kept.json")
    assert [role for role, _ in kept] == ["user", "assistant"] * 2
    assert kept[:3] == [("user", "the"), ("assistant", first), ("user", "in")]
    history = [{"role": role, "content": content} for role, content in kept[:3]]
    assert kept[3][1] == generated(distill, model, format, history, tmp_path)
    assert done.out == kept[1][1] + "\n" + kept[3][1] + "\n"
    assert not list(tmp_path.glob("*.tmp"))


def test_what_is_no_message(chat):
    for given in (b"", b"\n\n  \n", b"/quit\nthe\n", b"/system be short\n/reset\n"):
        done = chat(given)
        assert (done.code, done.out, done.err) == (0, "", "")
    assert chat(b"the").out == chat(b"\xef\xbb\xbfthe\r\n").out == chat(b"\nthe\n\n").out


def test_commands(chat, tmp_path):
    once = chat(b"the\n").out
    assert chat(b"the\n/reset\nthe\n").out == once + once
    kept = tmp_path / "kept.json"
    done = chat(b"/system be short\nthe\n/system\n/save %s\n" % os.fsencode(kept))
    assert talked(kept)[0] == ("system", "be short") and done.err == "be short\n"
    done = chat(b"/load %s\n/system \"\"\n/save %s\n" % (os.fsencode(kept), os.fsencode(tmp_path / "second.json")))
    assert done.code == 0 and talked(tmp_path / "second.json") == talked(kept)[1:]
    cost = ("--set", "cost.powercap=nowhere", "--set", "cost.watts_per_core=9", "--set", "cost.eur_per_kwh=0.3")
    done = chat(b"the\n/stats\n", *cost)
    assert "FLOP\n" in done.err and " J (estimated)\n" in done.err and "EUR 0.0" in done.err and "USD" not in done.err
    done = chat(b"the\n/stats\n/help\n")
    assert done.out == once and "written         " in done.err and "first token after" in done.err and "/system TEXT" in done.err


def test_a_home_is_meant_by_a_tilde(chat, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert chat(b"the\n/save ~/kept.json\n/load ~/kept.json\n").code == 0
    assert len(talked(tmp_path / "kept.json")) == 2
    assert "/save FILE" in chat(b"/save\n").err


def test_messages_of_several_lines_and_with_a_slash(chat, tmp_path):
    kept = tmp_path / "kept.json"
    done = chat(b'"""a\n\n  b"""\n"""\nc\n"""\n//quit\n/save %s\n' % os.fsencode(kept))
    assert done.code == 0, done.err
    assert [text for role, text in talked(kept) if role == "user"] == ["a\n\n  b", "c\n", "/quit"]
    done = chat(b"/quit\n", "--no-commands")
    assert done.code == 0 and done.out
    done = chat(b'the\n"""a\nb\n')
    assert done.code == 1 and 'line 2: """ is not ended by another one' in done.err


def test_a_conversation_from_a_file(distill, model, chat, format, tmp_path):
    start = tmp_path / "start.json"
    start.write_text(json.dumps([{"role": "system", "content": "s"}, {"role": "user", "content": "the"}]))
    done = chat(b"/save %s\n" % os.fsencode(tmp_path / "kept.json"), "--messages", start, "--system", "be short")
    assert (done.code, done.err) == (0, "")
    kept = talked(tmp_path / "kept.json")
    assert kept[:2] == [("system", "be short"), ("user", "the")] and done.out == kept[2][1] + "\n"  # a question that stands last is answered
    start.write_text("{}")
    assert "a list of messages is wanted" in chat(b"", "--messages", start).err
    start.write_text(json.dumps([{"role": "user", "content": "a", "contents": "b"}]))
    assert 'does not read "contents"' in chat(b"", "--messages", start).err


def fails(done, code, *parts):
    assert done.code == code, (done.code, done.err)
    assert all(part in done.err for part in parts), done.err
    assert done.err.count("\n") == 1, done.err


def test_what_is_refused(distill, model, chat, tmp_path):
    fails(distill("chat"), 2, "a model is missing")
    fails(distill("chat", model), 1, "has no chat template", "chatml, llama2, llama3, mistral")
    fails(distill("chat", tmp_path / "none", "--chat-template", "plain"), 1, "none")
    fails(distill("chat", model, "--temprature", 1), 2, "did you mean --temperature")
    fails(chat(b"", "--messages", "-"), 2, "stdin is what you say")
    fails(chat(b"", "--set", "train.steps=3"), 2, "train.steps", "session")
    fails(chat(b"", "--set", "session.context=9"), 2, "--context")
    fails(chat(b"/rest\n"), 1, "unknown command /rest; did you mean /reset")
    fails(chat(b"/save\n"), 1, "/save wants a file")
    fails(chat(b"/reset now\n"), 1, "/reset takes nothing")
    fails(chat(b"/save %s/none/x.json\n" % os.fsencode(tmp_path)), 1, "No such file")
    fails(chat(b"/load %s\n" % os.fsencode(tmp_path / "none.json")), 1, "none.json")
    fails(chat(b"a\xffb\n"), 1, "line 1: is not UTF-8")
    assert chat(b"/rest\nthe\n").out == ""  # what fails in a pipe ends it


def test_a_context_that_is_full_is_said(distill, model, chat):
    done = chat(b"the thing is in the inn\n" * 4, "--context", 40)
    assert done.code == 0 and "left out" in done.err and done.out.count("\n") >= 4, done.err
    done = chat(b"the thing is in the inn\n" * 4, "--context", 40, "--set", "session.overflow=refuse")
    assert done.code == 1 and "40" in done.err
    unlimited = distill("chat", model, "--chat-template", "plain", "--stop", "nonsense", given=b"the\n")
    assert unlimited.code == 0 and ("context of 64 tokens is full" in unlimited.err or not unlimited.err)


def test_a_draft_changes_nothing_but_speed(distill, model, chat):
    whole = chat(b"the\nin\n")
    done = chat(b"the\nin\n/stats\n", "--draft", model)
    assert done.code == 0 and done.out == whole.out and re.search(r"^drafted +\d+ tokens, \d+ of them accepted", done.err, re.M), done.err
    arguments = ("generate", model, "--prompt", "the", "--max-tokens", 9, "--json")
    assert distill(*arguments, "--draft", model).json == distill(*arguments).json
    fails(distill(*arguments, "--draft", model, "--temperature", 1, "--samples", 2), 2, "--draft goes with one answer")
    fails(chat(b"", "--draft", model.parent / "none"), 1, "none")


def test_nobody_reads_the_answer(model, format):
    with subprocess.Popen([PROGRAM, "chat", str(model), "--chat-template", str(format)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        process.stdout.close()
        process.stdin.write(b"the\n" * 100)
        process.stdin.close()
        assert process.wait(60) == 1
        assert process.stderr.read() == b"distill: stdout: Broken pipe\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_pipe(model, format, number):
    with subprocess.Popen([PROGRAM, "chat", str(model), "--chat-template", str(format), "--max-tokens", "2"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(b"the\n")
        process.stdin.flush()
        assert process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(number)
        assert process.wait(60) == 130


def test_generate_streams(distill, model):
    arguments = ("generate", model, "--prompt", "the", "--max-tokens", 6)
    whole = distill(*arguments, "--json").json
    assert distill(*arguments, "--stream").bytes == distill(*arguments).bytes
    lines = [json.loads(line) for line in distill(*arguments, "--stream", "--json").out.splitlines()]
    assert lines[-1] == whole and [line["token"]["id"] for line in lines[:-1]] == whole["ids"]
    assert "".join(line["token"]["text"] for line in lines[:-1]) == whole["text"]
    assert distill(*arguments, "--stream", "--samples", 2, "--temperature", 1).code == 2
