"""Requests that are wrong: the right status, an error object that names the field, and a server that goes on."""
import json
import signal

import pytest
from client import read_all

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SAY = [{"role": "user", "content": "hi"}]

FIELDS = [  # endpoint, what is added to a good request, the field that the error names
    (COMPLETIONS, {"temperature": -1}, "temperature"), (COMPLETIONS, {"temperature": "hot"}, "temperature"),
    (COMPLETIONS, {"top_p": 0}, "top_p"), (COMPLETIONS, {"top_p": 1.1}, "top_p"), (COMPLETIONS, {"n": 0}, "n"),
    (COMPLETIONS, {"n": 1.5}, "n"), (COMPLETIONS, {"n": 100000}, "n"), (COMPLETIONS, {"n": 2, "temperature": 0}, "n"),
    (COMPLETIONS, {"max_tokens": -1}, "max_tokens"), (COMPLETIONS, {"max_tokens": 10 ** 6}, "max_tokens"),
    (COMPLETIONS, {"max_tokens": 10 ** 30}, None), (COMPLETIONS, {"max_tokens": 0}, "max_tokens"),
    (COMPLETIONS, {"max_tokens": True}, "max_tokens"), (COMPLETIONS, {"seed": -1}, "seed"), (COMPLETIONS, {"stop": [""]}, "stop"),
    (COMPLETIONS, {"stop": 5}, "stop"), (COMPLETIONS, {"stop": ["x"] * 65}, "stop"), (COMPLETIONS, {"stop": "a\0b"}, "stop"),
    (COMPLETIONS, {"stop_token_ids": [-1]}, "stop_token_ids"), (COMPLETIONS, {"logit_bias": {"x": 1}}, "logit_bias"),
    (COMPLETIONS, {"logit_bias": {"1": 101}}, "logit_bias"), (COMPLETIONS, {"logit_bias": [1]}, "logit_bias"),
    (COMPLETIONS, {"logprobs": 21}, "logprobs"), (COMPLETIONS, {"logprobs": True}, "logprobs"),
    (COMPLETIONS, {"prompt_logprobs": 21}, "prompt_logprobs"), (COMPLETIONS, {"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
    (COMPLETIONS, {"stream": 1}, "stream"), (COMPLETIONS, {"stream_options": {"include_usage": True}}, "stream_options"),
    (COMPLETIONS, {"stream": True, "stream_options": {"other": 1}}, "stream_options"), (COMPLETIONS, {"echo": "yes"}, "echo"),
    (COMPLETIONS, {"prompt": 7}, "prompt"), (COMPLETIONS, {"prompt": {}}, "prompt"), (COMPLETIONS, {"prompt": [None]}, "prompt"),
    (COMPLETIONS, {"prompt": [1, "a"]}, "prompt"), (COMPLETIONS, {"prompt": ["a", 1]}, "prompt"), (COMPLETIONS, {"prompt": [999999]}, "prompt"),
    (COMPLETIONS, {"prompt": ["a"] * 200}, "prompt"), (COMPLETIONS, {"prompt": "word " * 2000}, "prompt"),
    (COMPLETIONS, {"suffix": "x"}, "suffix"), (COMPLETIONS, {"best_of": 3}, "best_of"), (COMPLETIONS, {"user": "me"}, "user"),
    (COMPLETIONS, {"temprature": 1}, "temprature"), (COMPLETIONS, {"messages": SAY}, "messages"),
    (CHAT, {"messages": []}, "messages"), (CHAT, {"messages": "hi"}, "messages"), (CHAT, {"messages": [{"role": "user"}]}, None),
    (CHAT, {"messages": [1]}, None), (CHAT, {"top_logprobs": 2}, "top_logprobs"), (CHAT, {"logprobs": 2}, "logprobs"),
    (CHAT, {"logprobs": True, "top_logprobs": 21}, "top_logprobs"), (CHAT, {"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
    (CHAT, {"tools": [{"type": "function"}]}, "tools"), (CHAT, {"response_format": {"type": "json_object"}}, "response_format"),
    (CHAT, {"echo": True}, "echo"), (CHAT, {"chat_template": "{{ 1 }}"}, "chat_template"),
    (CHAT, {"messages": SAY * 1000}, "messages"),
    ("/tokenize", {"prompt": 1}, "prompt"), ("/detokenize", {"tokens": ["a"]}, "tokens"), ("/detokenize", {"tokens": [999999]}, "tokens"),
]


@pytest.mark.parametrize("path,more,param", FIELDS, ids=lambda value: json.dumps(value)[:40] if not isinstance(value, str) else None)
def test_fields(server, path, more, param):
    good = {CHAT: {"messages": SAY}, COMPLETIONS: {"prompt": "hi"}, "/tokenize": {"prompt": "hi"}, "/detokenize": {"tokens": [1]}}[path]
    answer = server.ask(path, {**good, **more})
    assert answer.status == 400, answer.body
    assert answer.error["type"] == "invalid_request_error" and answer.error["message"]
    if param:
        assert answer.error["param"] == param, answer.body
    assert server.alive()


SAID = [  # what is added to a good request, what is said of it: the field, the value, the bound, the way out
    (COMPLETIONS, {"max_tokens": 10 ** 18}, "max_tokens: 1000000000000000000 is given, a whole number from 0 to 1000000000 is wanted"),
    (COMPLETIONS, {"seed": -1}, "seed: -1 is given, a whole number from 0 to 9007199253740992 is wanted"),
    (COMPLETIONS, {"top_p": 2.5}, "top_p: 2.5 is given, a number from 1e-06 to 1 is wanted"),
    (COMPLETIONS, {"stop": {"a" * 100: 1}}, "stop: {\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa... is given, "),
    (COMPLETIONS, {"stop": {"a" * 400000: ["b" * 400000]}}, "stop: {\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa... is given, "),
    (COMPLETIONS, {"max_tokens": "a" * 42}, "max_tokens: \"" + "a" * 42 + "\" is given, "),
    (COMPLETIONS, {"max_tokens": "a" * 43}, "max_tokens: \"" + "a" * 43 + "... is given, "),
    (COMPLETIONS, {"user": "me"}, "user: is not supported here; leave it out, or start the server with --ignore user"),
    (CHAT, {"model": ""}, "there is no model \"\" here, only "),
    (CHAT, {"messages": SAY + [{"role": "wizard", "content": "x"}]}, "message 2 has the role 'wizard'"),
    (CHAT, {"messages": [{"content": "x"}]}, "message 1 has no \"role\""),
    (CHAT, {"messages": [{"role": "user"}]}, "message 1 has no \"content\""),
]


@pytest.mark.parametrize("path,more,said", SAID, ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else None)
def test_what_is_said(server, path, more, said):
    answer = server.ask(path, {**({"messages": SAY} if path == CHAT else {"prompt": "hi"}), **more})
    assert answer.status in (400, 404) and answer.error["message"].startswith(said), answer.body


def test_a_long_name_is_no_mistyped_one(server):
    answer = server.ask(COMPLETIONS, {"k" * 900000: 1})
    assert answer.status == 400 and "not supported" in answer.error["message"] and "did you mean" not in answer.error["message"]


def test_a_model_without_a_template(serve):
    server = serve(template=None)
    answer = server.ask(CHAT, {"messages": SAY})
    assert answer.status == 400 and "--chat-template" in answer.error["message"] and answer.error["param"] == "messages"
    assert server.ask(COMPLETIONS, {"prompt": "hi", "max_tokens": 2}).status == 200
    plain = serve(template="plain").ask(CHAT, {"messages": SAY, "max_tokens": 2})
    assert plain.status == 200 and plain.json["usage"]["completion_tokens"] == 2


BODIES = [b"", b"{", b"[]", b"null", b"5", b'{"prompt": "a"', b'{"prompt": "a", "prompt": "b"}', b'{"prompt": NaN}', b'{"prompt": "\xff"}',
          b'{"prompt":' + b"[" * 100000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"\0" * 100, b'{"\\u0000": 1}', b'{"prompt": "\\ud800"}',
          b'{"prompt": 1e999}', b"\xef\xbb\xbf{}"]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:24]))
def test_bodies(server, body):
    answer = server.ask(COMPLETIONS, body)
    assert answer.status == 400 and answer.error["message"], answer.body
    assert server.alive()


def test_what_is_unknown_is_named_and_the_nearest_field(server):
    found = server.complete(temprature=1).error
    assert found["code"] == "unsupported_parameter" and "temperature" in found["message"]


def test_a_parameter_that_is_let_pass(serve):
    server = serve("--ignore", "user")
    assert server.complete(user="me", max_tokens=1).status == 200
    assert server.complete(users="me", max_tokens=1).status == 400


def test_nothing_asked_for_is_fine(server):
    assert server.complete(suffix=None, best_of=1, user=None, stop=None, logit_bias={}, presence_penalty=0).status == 200
    assert server.chat(tools=[], response_format={"type": "text"}, frequency_penalty=0, top_k=-1).status == 200


@pytest.mark.parametrize("path,method,status", [("/nothing", "GET", 404), ("/v1", "GET", 404), ("/v1/models/", "GET", 404), (CHAT, "GET", 405),
                                                (CHAT, "PUT", 405), (CHAT, "OPTIONS", 405), ("/v1/models", "DELETE", 405), ("/health", "BREW", 405)])
def test_paths_and_methods(server, path, method, status):
    answer = server.ask(path, method=method)
    assert answer.status == status and answer.error["message"]
    assert status != 405 or answer.headers["Allow"]


def test_another_model(server):
    answer = server.complete(model="gpt-4")
    assert answer.status == 404 and answer.error["code"] == "model_not_found"


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_content_type(server, kind):
    answer = server.ask(COMPLETIONS, b'{"prompt": "a"}', headers={"Content-Type": kind or ""})
    assert answer.status == 415


def test_a_name_that_was_made_to_lead_here(server):
    assert server.ask("/v1/models", headers={"Host": "evil.example"}).status == 403
    for good in ("localhost", "localhost:1", "127.0.0.1:9", "[::1]:9"):
        assert server.ask("/v1/models", headers={"Host": good}).status == 200


def test_large_bodies(serve):
    server = serve("--max-body", 1000)
    assert server.complete("x" * 2000).status == 413
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    opened = server.send(head + (b"3e8\r\n" + b"x" * 1000 + b"\r\n") * 4 + b"0\r\n\r\n")
    assert opened.recv(64).startswith(b"HTTP/1.1 413")
    opened.close()
    opened = server.send(head.replace(b"Transfer-Encoding: chunked", b"Content-Length: 99999999999999999999999"))
    assert opened.recv(64).split(b" ")[1] in (b"400", b"413")
    opened.close()
    opened = server.send(head.replace(b"Transfer-Encoding: chunked", b"Content-Length: -1"))
    assert opened.recv(64).split(b" ")[1] in (b"400", b"413")
    opened.close()
    assert server.complete("x", max_tokens=1).status == 200


RAW = [b"\r\n" * 1000, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0\1\2\3" * 100, b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
       b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
       b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
       b"GET /%00%ff/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n"]


@pytest.mark.parametrize("data", RAW, ids=lambda data: repr(data[:24]))
def test_bytes_that_are_no_request(server, data):
    opened = server.connect(timeout=5)
    try:
        opened.sendall(data)
        opened.shutdown(1)
        answer = read_all(opened)
        assert not answer.startswith(b"HTTP/1.1 200")
    except OSError:
        pass
    opened.close()
    assert server.alive() and server.ask("/health").status == 200


# ---- keys ----

def test_keys_from_a_file(serve, tmp_path):
    (tmp_path / "keys").write_text("first-key\n\n  second-key\r\n")
    server = serve("--api-key-file", tmp_path / "keys")
    for given in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer first-ke"}, {"Authorization": "Bearer first-key2"},
                  {"Authorization": "first-key"}, {"Authorization": "Basic first-key"}, {"Authorization": "Bearer first-key\tsecond-key"}):
        for path in ("/v1/models", "/metrics"):
            answer = server.ask(path, headers=given)
            assert answer.status == 401 and answer.error["type"] == "authentication_error" and answer.headers["WWW-Authenticate"] == "Bearer"
        assert server.ask(COMPLETIONS, {"prompt": "a"}, headers=given).status == 401
    for key in ("first-key", "second-key"):
        assert server.ask("/v1/models", headers={"Authorization": "Bearer " + key}).status == 200
    assert server.ask("/").status == server.ask("/health").status == 200


def test_a_key_from_a_variable(serve):
    server = serve("--api-key-env", "MY_KEY", MY_KEY="secret")
    assert server.ask("/v1/models").status == 401
    assert server.ask("/v1/models", headers={"Authorization": "bearer secret"}).status == 200


def test_wrong_starts(distill, tmp_path, server):
    (tmp_path / "empty").write_text("\n")
    for arguments, said in ((["--port", server.port], "in use"), (["--port", 70000], "--port"), (["--api-key-file", tmp_path / "none"], "none"),
                            (["--api-key-file", tmp_path / "empty"], "no key"), (["--api-key-env", "NOT_THERE_AT_ALL"], "NOT_THERE_AT_ALL"),
                            (["--host", "no.such.host.invalid"], "--host"), (["--places", 0], "--places"), (["--set", "loss.type=tvd"], "loss.type"),
                            (["--context", 10 ** 8], "context"), (["--chat-template", tmp_path / "no.jinja"], "no.jinja"),
                            (["--draft", tmp_path / "no"], "no")):
        done = distill("serve", server.process.args[2], *arguments)
        assert done.returncode in (1, 2) and said in done.stderr.decode(), (arguments, done.stderr)
        assert len(done.stderr.decode().strip().splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order(serve, number):
    server = serve()
    assert server.complete(max_tokens=2).status == 200
    code, said = server.stop(number)
    assert code == 0 and (said == "" or "products by cblas are alike for 4" in said and said.count("\n") == 1)
