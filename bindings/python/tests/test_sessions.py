"""Sessions: the text of Teacher.generate, token by token; conversations, logits of one's own, stopping."""
import pathlib
import subprocess
import sys
import threading

import pytest

import distill

FORMAT = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}.{% endfor %}{% if add_generation_prompt %}a:{% endif %}"


@pytest.fixture(scope="module")
def model(model_folder, env):
    return distill.Teacher(model_folder, env=env)


def test_the_text_of_generate_token_by_token(model, by_cblas):
    whole = model.generate("the thing", temperature=0, max_tokens=9, top_logprobs=2)
    session = distill.Session(model, temperature=0, max_tokens=9, top_logprobs=2)
    tokens = list(session.append("the thing", special=True))
    assert [token.id for token in tokens] == whole.ids and b"".join(token.data for token in tokens).decode("utf-8", "replace") == whole.text
    assert [token.top for token in tokens] == whole.top and tokens[-1].finished == whole.finished
    assert all(token.nanoseconds > 0 and not token.from_draft for token in tokens)
    assert session.next() is None and list(session) == []
    again = session.append(whole.ids).generate()
    assert again.ids and len(again.top) == len(again.ids)
    stats = session.stats()
    assert stats.tokens == len(tokens) + len(again.ids) and stats.length == len(session.ids) and stats.first_token_seconds > 0
    assert (by_cblas or stats.kept_tokens > 0) and (stats.joules is None or stats.joules >= 0) and "tokens=" in repr(stats)
    assert stats.model_tokens >= stats.tokens and stats.flops > 0 and stats.seconds > 0 and stats.eur is None and stats.usd is None
    cost = {"powercap": "nowhere", "watts_per_core": 10, "eur_per_kwh": 0.3, "usd_per_million_tokens": 2}
    priced = distill.Session(model, options={"cost": cost, "generate": {"max_tokens": 4}})
    priced.append("the thing").generate()
    stats = priced.stats()
    assert stats.energy == "estimated" and stats.joules == 10 * stats.cpu_seconds and stats.eur == pytest.approx(stats.joules / 3.6e6 * 0.3)
    assert stats.usd == pytest.approx(2e-6 * stats.model_tokens)


def test_a_conversation_is_read_once(model, by_cblas):
    session = distill.Session(model, temperature=0, max_tokens=4)
    talk = [{"role": "user", "content": "the thing"}]
    answer = session.chat(talk, chat_template=FORMAT).generate()
    read = session.stats().prompt_tokens
    with model.tokenizer() as tokenizer:
        prompt = tokenizer.encode(tokenizer.chat(talk, chat_template=FORMAT), special=False)
    assert session.ids[:len(prompt)] == prompt and answer.ids == model.generate(prompt, temperature=0, max_tokens=4).ids
    session.chat(talk, chat_template=FORMAT).generate()
    stats = session.stats()
    assert stats.prompt_tokens == 2 * read and (by_cblas or stats.kept_tokens >= read - 1)
    session.truncate(3)
    assert session.ids == prompt[:3]
    session.truncate(0)
    assert session.stats().tokens == 0 and session.ids == []
    with pytest.raises(distill.NotFound, match="chat template"):
        session.chat(talk)
    with pytest.raises(distill.InvalidArgument):
        session.chat([], chat_template=FORMAT)


def test_configure_stop_and_draw(model):
    session = distill.Session(model, temperature=0, max_tokens=9)
    whole = session.append("the").generate()
    session.configure(temperature=0, max_tokens=2)
    assert session.append("the").generate().ids and session.stats().context == 64
    session.truncate(0)
    assert session.append("the").generate().ids == whole.ids[:2]
    session.configure(temperature=0, max_tokens=9)
    session.truncate(0)
    seen = []
    first = session.append("the").generate(lambda token: seen.append(token.id) or len(seen) < 3)
    assert first.ids == whole.ids[:3] == seen and session.generate().ids == whole.ids[3:]  # a later call goes on


def test_logits_of_ones_own(model):
    before = distill.registered()
    session = distill.Session(model, temperature=0, max_tokens=3)
    session.on_logits(lambda row: row.__setitem__(104, 1e4))
    assert session.append("the").generate().ids == [104] * 3

    def fails(row):
        raise KeyError("mine")
    session.on_logits(fails)
    with pytest.raises(KeyError, match="mine"):
        session.append("the").generate()
    session.on_logits(lambda row: False)
    with pytest.raises(distill.Cancelled):
        session.append("the").generate()
    session.on_logits(None)
    assert session.append("the").generate().ids
    assert distill.registered() == before


def test_cancel_from_another_thread(model):
    session = distill.Session(model, temperature=0, max_tokens=50)
    session.append("the")
    threading.Thread(target=session.cancel).start()
    with pytest.raises(distill.Cancelled):
        while True:
            session.append("the").generate(lambda token: None)
            session.truncate(0)
    session.cancel(False)
    session.truncate(0)
    assert session.append("the").generate().ids


def test_forks_go_side_by_side(model):
    session = distill.Session(model, temperature=0, max_tokens=6, places=3)
    whole = session.append("the thing").generate().ids
    session.truncate(0)
    session.append("the thing")
    first = session.next()
    twin = session.fork()
    assert first.id == whole[0] and twin.generate().ids == whole[1:]
    twin.truncate(0)
    twin.append("in")
    alone = twin.fork().generate().ids
    written = {session: [first.id], twin: []}
    while (tokens := distill.next_many(written)) is not None:
        for one, token in zip(written, tokens):
            written[one] += [] if token is None else [token.id]
    assert written[session] == whole and written[twin] == alone
    with pytest.raises(distill.StageError, match="places"):
        twin.fork(), session.fork(), session.fork()


def test_a_draft_changes_nothing_but_speed(model):
    plain = distill.Session(model, temperature=0, max_tokens=9).append("the thing").generate()
    session = distill.Session(model, draft=model, temperature=0, max_tokens=9, draft_tokens=3)
    tokens = list(session.append("the thing"))
    stats = session.stats()
    assert [token.id for token in tokens] == plain.ids and any(token.from_draft for token in tokens)
    assert 0 < stats.accepted <= stats.drafted and stats.accepted == sum(token.from_draft for token in tokens)


def test_mistakes_have_names(model, env):
    with pytest.raises(distill.OptionError, match="session.context"):
        distill.Session(model, contxt=3)
    with pytest.raises(distill.DistillError, match="samples"):
        distill.Session(model, temperature=1, samples=2)
    session = distill.Session(model, context=16)
    with pytest.raises(distill.InvalidArgument, match="16"):
        session.append([5] * 40)
    with pytest.raises(distill.InvalidArgument, match="4000"):
        session.append([4000])
    with session:
        pass
    with pytest.raises(ValueError, match="closed"):
        session.append("the")


def test_what_is_no_model_and_no_list_of_messages_is_said(model_folder):
    with pytest.raises(TypeError, match="a Teacher is wanted"):
        distill.Session(str(model_folder))
    teacher = distill.Teacher(model_folder)
    for taker in (distill.Session(teacher), distill.Tokenizer(model_folder)):
        for wrong in ({"messages": []}, "hello"):
            with pytest.raises(TypeError, match="a list of"):
                taker.chat(wrong)


def test_control_c_reaches_python(model_folder):
    script = ("import distill, os, signal, threading\n"
              "session = distill.Session(distill.Teacher(%r), temperature=0, max_tokens=40)\n"
              "session.append('the')\n"
              "try:\n"
              "    for token in session: os.kill(os.getpid(), signal.SIGINT)\n"
              "except KeyboardInterrupt: print('stopped')\n"
              "session.append('the')\n"
              "print(len(session.generate().ids) > 0)\n" % str(model_folder))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["stopped", "True"], done.stderr


def test_the_example(model_folder):
    example = pathlib.Path(__file__).resolve().parents[3] / "examples" / "python" / "chat.py"
    done = subprocess.run([sys.executable, str(example), str(model_folder), "--chat-template", FORMAT, "--max-tokens", "4"],
                          input="the\nin\n", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stdout.count("\n") >= 2, done.stderr
