"""distill chat at a terminal: what is typed, shown and stopped there. Needs tmux."""
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import uuid

import pytest
from conftest import PROGRAM

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="no tmux")


class Terminal:
    """A shell in a terminal of 80 x 24; the last lines that scrolled away count as shown."""

    def __init__(self, folder):
        self.folder, self.socket = folder, "distill-%s" % uuid.uuid4().hex[:12]
        environment = dict(os.environ, TERM="xterm-256color", LC_ALL="C.UTF-8", PS1="$ ", TMUX="")
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "-c", str(folder), "sh", environment=environment)

    def tmux(self, *arguments, environment=None):
        done = subprocess.run(["tmux", "-u", "-L", self.socket, *arguments], capture_output=True, timeout=60, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def type(self, text):
        self.tmux("send-keys", "-l", text)

    def line(self, text):
        self.type(text)
        self.keys("Enter")

    def screen(self):
        return self.tmux("capture-pane", "-p", "-J", "-S", "-200").rstrip()

    def wait(self, pattern, seconds=60):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.screen(), re.M):
            assert time.monotonic() < end, "no %r in\n%s" % (pattern, self.screen())
            time.sleep(0.05)

    def chat(self, model, *arguments, environment=""):
        words = [PROGRAM, "chat", model, "--chat-template", "plain", *arguments]
        self.line("%s %s; echo code=$?" % (environment, " ".join(shlex.quote(str(word)) for word in words)))
        self.wait(r"Ctrl-D leaves\.\n+> *$")

    def saved(self, name="kept.json"):
        self.line("/save " + name)
        self.wait(r"messages are in " + name)
        return [(message["role"], message["content"]) for message in json.loads((self.folder / name).read_text())["messages"]]


@pytest.fixture
def terminal(tmp_path):
    made = Terminal(tmp_path)
    yield made
    made.tmux("kill-server")


@pytest.fixture(scope="module")
def endless(model, tmp_path_factory):
    """The same model with more context than anybody waits for."""
    folder = tmp_path_factory.mktemp("endless") / "model"
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    config["max_position_embeddings"] = 1000000
    (folder / "config.json").write_text(json.dumps(config))
    return folder


ENDLESS = ("--max-tokens", 400000, "--context", 400000, "--logit-bias", "256=-1000")
SHORT = ("--max-tokens", 3, "--logit-bias", "104=1000")  # "hhh"


def test_lines_are_edited_and_come_back(terminal, model):
    terminal.chat(model, *SHORT)
    terminal.type("maçã 日本x")
    terminal.keys("BSpace", "C-a")
    terminal.type("(")
    terminal.keys("C-e")
    terminal.line(")")
    terminal.wait(r"^hhh\n\(cut after 3 tokens\)\n+> *$")
    terminal.keys("Up", "Enter")
    terminal.wait(r"hhh\n[^$]*\nhhh\n\(cut after 3 tokens\)\n+> *$")
    kept = terminal.saved()
    if [text for role, text in kept if role == "user"] != ["(maçã 日本)"] * 2:
        pytest.skip("built without libedit")
    assert [text for role, text in kept if role == "assistant"] == ["hhh"] * 2
    terminal.keys("C-d")
    terminal.wait("^code=0$")


def test_a_long_line_is_one_message(terminal, endless):
    terminal.chat(endless, *SHORT, "--context", 8000)
    for _ in range(10):
        terminal.type("0123456789" * 60)
    terminal.keys("Enter")
    terminal.wait(r"^hhh$")
    kept = terminal.saved()
    if len(kept[0][1]) == 4095:
        pytest.skip("built without libedit")
    assert kept[0] == ("user", "0123456789" * 600)


def test_control_c_stops_an_answer_and_not_the_program(terminal, endless):
    terminal.chat(endless, *ENDLESS)
    terminal.line("the")
    terminal.wait("thethe")
    terminal.keys("C-c")
    terminal.wait(r"^\(stopped\)\n+> *$")
    terminal.keys("C-c")
    terminal.wait(r"^\(Ctrl-D or /quit leaves\)\n+> *$")
    terminal.type("thrown away")
    terminal.wait("thrown away")  # the signal empties the terminal's queue
    terminal.keys("C-c")
    terminal.wait(r"thrown away(\^C\n\(Ctrl-D or /quit leaves\))?\s*\n+> *$")  # without libedit nobody knows what was typed
    kept = terminal.saved()
    assert [role for role, _ in kept] == ["user", "assistant"] and kept[1][1].startswith("thethe")
    terminal.line("/quit")
    terminal.wait("^code=0$")


def test_what_is_typed_meanwhile_waits(terminal, endless):
    terminal.chat(endless, *ENDLESS)
    terminal.line("the")
    terminal.wait("thethe")
    terminal.line("/quit")
    time.sleep(0.3)
    assert "quit" not in terminal.screen().split("Ctrl-D leaves.")[1]
    terminal.tmux("resize-window", "-x", "60", "-y", "20")
    shell = terminal.tmux("list-panes", "-F", "#{pane_pid}").strip()
    os.kill(int(subprocess.run(["pgrep", "-P", shell], capture_output=True, check=True).stdout), signal.SIGTERM)
    terminal.wait("^code=130$")
    terminal.line("stty -a")
    terminal.wait(r"[ ;]echo[ ;]")
    assert not re.search(r"-echo[ ;]|-icanon", terminal.screen())  # as it was found


def test_commands_and_errors_go_on(terminal, model):
    terminal.chat(model, *SHORT)
    terminal.line("/rest")
    terminal.wait("did you mean /reset")
    terminal.line("")
    terminal.line("/load none.json")
    terminal.wait("none.json: No such file")
    terminal.line('"""one')
    terminal.line('two"""')
    terminal.wait(r"^hhh$")
    terminal.line("/stats")
    terminal.wait(r"2 messages, \d+ of 64 tokens of context")
    terminal.line("/reset")
    terminal.wait(r"^\(a new conversation\)$")
    assert terminal.saved() == []


def test_a_model_cannot_steer_the_terminal(terminal, model):
    terminal.chat(model, "--max-tokens", 2, "--logit-bias", "27=1000")
    terminal.line("the")
    terminal.wait("^\ufffd\ufffd$")
    assert terminal.saved()[1][1] == "\x1b\x1b"


def test_a_terminal_that_can_do_nothing(terminal, model):
    terminal.chat(model, *SHORT, environment="TERM=dumb")
    terminal.line("maçã")
    terminal.wait(r"^hhh$")
    terminal.keys("C-c")
    terminal.wait(r"Ctrl-D or /quit leaves")
    assert terminal.saved() == [("user", "maçã"), ("assistant", "hhh")]
    terminal.keys("C-d")
    terminal.wait("^code=0$")


def test_only_answers_are_redirected(terminal, model):
    words = " ".join(shlex.quote(str(word)) for word in [PROGRAM, "chat", model, "--chat-template", "plain", *SHORT])
    terminal.line("%s > answers.txt; echo code=$?" % words)
    terminal.wait(r"Ctrl-D leaves\.\n+> *$")
    terminal.line("the")
    terminal.wait(r"> the\n[^>]*> *$")
    terminal.keys("C-d")
    terminal.wait("^code=0$")
    assert (terminal.folder / "answers.txt").read_text() == "hhh\n"
