"""What clients of the OpenAI API ask for, and that it is what the program itself says of the same model."""
import json
import math

import pytest
from conftest import MODEL

PROMPT = "One day, a little girl named Lily"


def ids_of(server, text):
    return server.ask("/tokenize", {"prompt": text}).json["tokens"]


# ---- models, health, page ----

def test_models(server):
    found = server.ask("/v1/models").json
    assert found["object"] == "list" and [model["id"] for model in found["data"]] == ["small"]
    assert found["data"][0]["max_model_len"] == 256
    assert server.ask("/v1/models/small").json == found["data"][0]
    assert server.ask("/v1/models/other").status == 404


def test_health_and_heads(server):
    assert server.ask("/health").json == {"status": "ok"}
    head = server.ask("/health", method="HEAD")
    assert head.status == 200 and head.body == b""


def test_page(server):
    page = server.ask("/")
    assert page.status == 200 and page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert b"http://" not in page.body and b"https://" not in page.body, "something is loaded from elsewhere"


# ---- tokens ----

def test_tokens_there_and_back(server):
    found = server.ask("/tokenize", {"model": "small", "prompt": PROMPT, "add_special_tokens": False}).json
    assert found["count"] == len(found["tokens"]) and found["max_model_len"] == 256
    assert server.ask("/detokenize", {"tokens": found["tokens"]}).json == {"prompt": PROMPT}


def test_tokens_of_a_chat(server):
    messages = [{"role": "user", "content": "hello"}]
    open_end, closed = (server.ask("/tokenize", {"messages": messages, "add_generation_prompt": flag}).json for flag in (True, False))
    assert open_end["tokens"][:closed["count"]] == closed["tokens"] and open_end["count"] > closed["count"]
    assert server.ask("/detokenize", {"tokens": open_end["tokens"]}).json["prompt"].endswith("<|im_start|>assistant\n")


# ---- completions ----

def test_greedy_text_is_that_of_generate(server, distill):
    done = distill("generate", MODEL, "--prompt", PROMPT, "--max-tokens", 24, "--json")
    found = server.complete(PROMPT, max_tokens=24, temperature=0).json
    assert found["object"] == "text_completion" and found["model"] == "small" and found["id"].startswith("cmpl-")
    assert found["choices"] == [{"index": 0, "text": json.loads(done.stdout)["text"], "logprobs": None, "finish_reason": "length"}]
    usage = found["usage"]
    assert usage["prompt_tokens"] == len(ids_of(server, PROMPT)) and usage["completion_tokens"] == 24
    assert usage["total_tokens"] == usage["prompt_tokens"] + 24


def test_drawn_text_is_that_of_generate(server, distill):
    done = distill("generate", MODEL, "--prompt", PROMPT, "--max-tokens", 16, "--temperature", 0.9, "--top-p", 0.8, "--seed", 5, "--json")
    found = server.complete(PROMPT, max_tokens=16, temperature=0.9, top_p=0.8, seed=5).json
    assert found["choices"][0]["text"] == json.loads(done.stdout)["text"]


def test_ids_are_a_prompt(server):
    by_text, by_ids = (server.complete(prompt, temperature=0).json["choices"] for prompt in (PROMPT, ids_of(server, PROMPT)))
    assert by_text == by_ids


def test_several_prompts_and_answers(server):
    prompts = ["The dog", "The cat", "A boy"]
    found = server.complete(prompts, n=2, temperature=0.8, seed=3, max_tokens=6).json
    assert [choice["index"] for choice in found["choices"]] == list(range(6))
    assert found["usage"]["completion_tokens"] <= 36
    alone = server.complete("The dog", n=2, temperature=0.8, seed=3, max_tokens=6).json
    assert [choice["text"] for choice in alone["choices"]] == [choice["text"] for choice in found["choices"][:2]]
    assert len({choice["text"] for choice in found["choices"]}) > 1


def test_a_seed_is_kept_and_none_is_random(server):
    drawn = [server.complete(PROMPT, temperature=1, seed=7, max_tokens=12).json["choices"][0]["text"] for _ in range(2)]
    assert drawn[0] == drawn[1]
    other = {server.complete(PROMPT, temperature=1, max_tokens=12).json["choices"][0]["text"] for _ in range(4)}
    assert len(other) > 1


def test_stop(server):
    whole = server.complete(PROMPT, temperature=0, max_tokens=30).json["choices"][0]["text"]
    word = whole.split()[4]
    found = server.complete(PROMPT, temperature=0, max_tokens=30, stop=[word, "never there"]).json["choices"][0]
    assert found["finish_reason"] == "stop" and found["text"] == whole[:whole.index(word)]
    first = server.complete(PROMPT, temperature=0, max_tokens=30, logprobs=0).json["choices"][0]["logprobs"]["tokens"][2]
    token = server.ask("/tokenize", {"prompt": first, "add_special_tokens": False}).json["tokens"]
    if len(token) == 1:
        found = server.complete(PROMPT, temperature=0, max_tokens=30, stop_token_ids=token).json
        assert found["choices"][0]["finish_reason"] == "stop" and found["usage"]["completion_tokens"] <= 3


def test_logit_bias(server):
    token = server.ask("/tokenize", {"prompt": " dog", "add_special_tokens": False}).json["tokens"][-1]
    found = server.complete(PROMPT, temperature=0, max_tokens=5, logit_bias={str(token): 100}).json["choices"][0]["text"]
    assert found == server.ask("/detokenize", {"tokens": [token, token]}).json["prompt"][-len("dog") - 1:] * 5 or found.count("dog") == 5


def test_frequency_penalty(server):
    token = server.ask("/tokenize", {"prompt": " dog", "add_special_tokens": False}).json["tokens"][-1]
    bias = {str(token): 40}
    often = server.complete(PROMPT, temperature=0, max_tokens=60, logit_bias=bias, logprobs=0).json["choices"][0]["logprobs"]["tokens"]
    once = server.complete(PROMPT, temperature=0, max_tokens=60, logit_bias=bias, logprobs=0, frequency_penalty=2).json["choices"][0]["logprobs"]["tokens"]
    assert often.count(often[0]) == 60 and 10 < once.count(often[0]) < 40
    after = server.complete(PROMPT, temperature=0, max_tokens=60, logit_bias=bias, logprobs=0).json["choices"][0]["logprobs"]["tokens"]
    assert after == often, "a penalty outlives its request"


def test_logprobs_of_completions(server, distill):
    found = server.complete(PROMPT, temperature=0, max_tokens=6, logprobs=3).json["choices"][0]
    table = found["logprobs"]
    assert "".join(table["tokens"]) == found["text"]
    assert len(table["token_logprobs"]) == len(table["top_logprobs"]) == len(table["text_offset"]) == 6
    for token, log_prob, top in zip(table["tokens"], table["token_logprobs"], table["top_logprobs"]):
        assert len(top) == 3 and top[token] == log_prob == max(top.values())
    assert [found["text"][at:at + len(token)] for at, token in zip(table["text_offset"], table["tokens"])] == table["tokens"]
    done = distill("generate", MODEL, "--prompt", PROMPT, "--max-tokens", 6, "--top-logprobs", 3, "--json")
    assert table["token_logprobs"] == pytest.approx(json.loads(done.stdout)["log_probs"], abs=1e-6)


def test_echo_scores_the_prompt(server, distill, tmp_path):
    ids = ids_of(server, PROMPT)
    (tmp_path / "ids.json").write_text(json.dumps([ids]))
    scored = json.loads(distill("score", MODEL, "--tokens", tmp_path / "ids.json", "--json").stdout)["nll"][0]
    found = server.complete(PROMPT, echo=True, logprobs=2, max_tokens=0).json
    choice = found["choices"][0]
    assert choice["text"] == PROMPT and choice["finish_reason"] == "length" and found["usage"]["completion_tokens"] == 0
    assert choice["logprobs"]["token_logprobs"][0] is None and choice["logprobs"]["top_logprobs"][0] is None
    assert [-value for value in choice["logprobs"]["token_logprobs"][1:]] == pytest.approx(scored, abs=1e-4)
    longer = server.complete(PROMPT, echo=True, logprobs=2, max_tokens=3, temperature=0).json["choices"][0]
    assert longer["text"].startswith(PROMPT) and len(longer["logprobs"]["tokens"]) == len(ids) + 3
    assert longer["logprobs"]["tokens"][:len(ids)] == choice["logprobs"]["tokens"]


def test_prompt_logprobs(server, distill, tmp_path):
    ids = ids_of(server, PROMPT)
    (tmp_path / "ids.json").write_text(json.dumps([ids]))
    scored = json.loads(distill("score", MODEL, "--tokens", tmp_path / "ids.json", "--json").stdout)["nll"][0]
    rows = server.complete(PROMPT, prompt_logprobs=5, max_tokens=1).json["choices"][0]["prompt_logprobs"]
    assert rows[0] is None and len(rows) == len(ids)
    for row, token, value in zip(rows[1:], ids[1:], scored):
        assert 5 <= len(row) <= 6 and row[str(token)]["logprob"] == pytest.approx(-value, abs=1e-4)
        ranked = sorted((item for item in row.values() if item["rank"]), key=lambda item: item["rank"])
        assert [item["rank"] for item in ranked] == [1, 2, 3, 4, 5]
        assert [item["logprob"] for item in ranked] == sorted((item["logprob"] for item in ranked), reverse=True)
        assert all(isinstance(item["decoded_token"], str) for item in row.values())
    chosen = server.complete(PROMPT, prompt_logprobs=0, max_tokens=1).json["choices"][0]["prompt_logprobs"]
    assert [len(row) for row in chosen[1:]] == [1] * (len(ids) - 1)


# ---- chats ----

def test_chat(server):
    found = server.chat(temperature=0).json
    assert found["object"] == "chat.completion" and found["id"].startswith("chatcmpl-")
    choice = found["choices"][0]
    assert choice["message"]["role"] == "assistant" and choice["message"]["content"] and choice["finish_reason"] in ("length", "stop")
    prompt = server.ask("/tokenize", {"messages": [{"role": "user", "content": "the cat"}]}).json
    assert found["usage"]["prompt_tokens"] == prompt["count"]
    as_text = server.complete(prompt["tokens"], temperature=0).json["choices"][0]["text"]
    assert as_text == choice["message"]["content"]
    same = server.ask("/v1/chat/completions", {"messages": [{"role": "user", "content": "the cat"}], "max_completion_tokens": 8, "temperature": 0})
    assert same.json["choices"] == found["choices"]


def test_chat_logprobs(server):
    found = server.chat(temperature=0, logprobs=True, top_logprobs=2, max_tokens=4).json["choices"][0]
    content = found["logprobs"]["content"]
    assert len(content) == 4 and b"".join(bytes(item["bytes"]) for item in content).decode() == found["message"]["content"]
    for item in content:
        assert len(item["top_logprobs"]) == 2 and item["top_logprobs"][0]["logprob"] == item["logprob"] <= 0
    plain = server.chat(temperature=0, logprobs=True, max_tokens=4).json["choices"][0]["logprobs"]["content"]
    assert [item["logprob"] for item in plain] == [item["logprob"] for item in content] and plain[0]["top_logprobs"] == []


def test_the_second_turn_reads_only_what_is_new(server):
    messages = [{"role": "user", "content": "Tell me about a dog and its friend, the cat."}]
    first = server.ask("/v1/chat/completions", {"messages": messages, "temperature": 0, "max_tokens": 12}).json
    messages += [first["choices"][0]["message"], {"role": "user", "content": "And then?"}]
    messages[1].pop("refusal")
    second = server.ask("/v1/chat/completions", {"messages": messages, "temperature": 0, "max_tokens": 4}).json
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"]


def test_an_answer_goes_on(server):
    messages = [{"role": "user", "content": "Say something"}, {"role": "assistant", "content": "Once upon"}]
    found = server.ask("/tokenize", {"messages": messages, "continue_final_message": True}).json
    assert server.ask("/detokenize", {"tokens": found["tokens"]}).json["prompt"].endswith("Once upon")


# ---- streams ----

def test_a_stream_is_the_same_text(server):
    whole = server.complete(PROMPT, temperature=0.7, seed=2, max_tokens=20, n=2).json
    stream = server.complete(PROMPT, temperature=0.7, seed=2, max_tokens=20, n=2, stream=True, stream_options={"include_usage": True})
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    events = stream.events
    for index in range(2):
        parts = [choice for event in events for choice in event["choices"] if choice["index"] == index]
        assert "".join(part["text"] for part in parts) == whole["choices"][index]["text"]
        assert [part["finish_reason"] for part in parts if part["finish_reason"]] == [whole["choices"][index]["finish_reason"]]
    assert events[-1]["choices"] == [] and events[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert all(event["usage"] is None for event in events[:-1]) and len({event["id"] for event in events}) == 1


def test_a_chat_streams(server):
    whole = server.chat(temperature=0, logprobs=True, top_logprobs=1).json["choices"][0]
    events = server.chat(temperature=0, logprobs=True, top_logprobs=1, stream=True).events
    assert events[0]["object"] == "chat.completion.chunk" and events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    parts = [event["choices"][0] for event in events[1:]]
    assert "".join(part["delta"].get("content", "") for part in parts) == whole["message"]["content"]
    content = [item for part in parts if part["logprobs"] for item in part["logprobs"]["content"]]
    assert content == whole["logprobs"]["content"] and all("usage" not in event for event in events)


def test_a_stream_echoes(server):
    events = server.complete(PROMPT, echo=True, stream=True, temperature=0, max_tokens=2).events
    assert events[0]["choices"][0]["text"] == PROMPT


# ---- drafts ----

def test_a_draft_changes_no_greedy_text(server, serve):
    drafting = serve("--context", 256, "--draft", MODEL)
    for more in ({}, {"logprobs": 2}, {"stop": ["of"]}, {"frequency_penalty": 1}):
        asked = {"prompt": PROMPT, "temperature": 0, "max_tokens": 40, **more}
        assert drafting.complete(**asked).json["choices"] == server.complete(**asked).json["choices"], more
    found = drafting.metrics()
    assert 0 < found["distill_tokens_accepted_total"] <= found["distill_tokens_drafted_total"]


# ---- metrics ----

def test_metrics(server):
    before = server.metrics()
    server.complete(PROMPT, max_tokens=5, temperature=0)
    after = server.metrics()
    name = 'distill_requests_total{endpoint="/v1/completions",code="200"}'
    assert after[name] == before.get(name, 0) + 1
    assert after["distill_tokens_total"] == before["distill_tokens_total"] + 5
    for histogram in ("request", "queue", "first_token"):
        assert after["distill_%s_seconds_count" % histogram] == before["distill_%s_seconds_count" % histogram] + 1
        assert after['distill_%s_seconds_bucket{le="+Inf"}' % histogram] == after["distill_%s_seconds_count" % histogram]
    assert after["distill_token_seconds_count"] == before["distill_token_seconds_count"] + 4
    assert math.isfinite(after["distill_request_seconds_sum"]) and after["process_open_fds"] > 3
    for name in ("seconds", "cpu_seconds", "model_flops"):
        assert after["distill_%s_total" % name] > before["distill_%s_total" % name]
    assert after["distill_model_tokens_total"] >= before["distill_model_tokens_total"] + 5
    assert "distill_usd_total" not in after


def test_metrics_of_money_and_of_energy_that_is_estimated(serve):
    server = serve("--set", "cost.powercap=nowhere", "--set", "cost.watts_per_core=10", "--set", "cost.usd_per_million_tokens=3")
    server.complete(PROMPT, max_tokens=5)
    found = server.metrics()
    text = server.ask("/metrics").body.decode()
    assert "# HELP distill_cpu_seconds_total CPU time of all threads since it serves; process_cpu_seconds_total begins with the process" in text
    assert "since the process began; distill_cpu_seconds_total begins when it serves" in text
    assert found["process_cpu_seconds_total"] > 0
    assert found["distill_joules_estimated_total"] == pytest.approx(10 * found["distill_cpu_seconds_total"]) and "distill_joules_total" not in found
    assert found["distill_usd_total"] == pytest.approx(3e-6 * found["distill_model_tokens_total"]) and "distill_eur_total" not in found
