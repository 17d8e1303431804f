"""The openai package of Python against the server; tests/serve/clients.sh installs it, and its brother of npm, and runs both."""
import pytest

openai = pytest.importorskip("openai", reason="the openai package is not installed (tests/serve/clients.sh)")


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url="http://127.0.0.1:%d/v1" % server.port, api_key="none", max_retries=0) as made:
        yield made


def test_models(client):
    assert [model.id for model in client.models.list()] == ["small"]


def test_chat(client):
    asked = {"model": "small", "messages": [{"role": "user", "content": "the cat"}], "max_tokens": 8, "temperature": 0}
    whole = client.chat.completions.create(**asked, logprobs=True, top_logprobs=2)
    text = whole.choices[0].message.content
    assert text and len(whole.choices[0].logprobs.content) == whole.usage.completion_tokens
    stream = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(choice.delta.content or "" for part in stream for choice in part.choices) == text
    assert stream[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_completions(client):
    whole = client.completions.create(model="small", prompt=["The dog", "The cat"], n=2, max_tokens=5, seed=1, logprobs=2, echo=True,
                                      stop=["\n\n"], presence_penalty=0.1, logit_bias={"5": -1}, extra_body={"prompt_logprobs": 1})
    assert len(whole.choices) == 4 and whole.choices[0].text.startswith("The dog")
    assert whole.choices[0].logprobs.token_logprobs[0] is None and whole.choices[0].prompt_logprobs[0] is None


def test_a_stream_that_is_left(client, server):
    with client.completions.create(model="small", prompt="One day", max_tokens=200, stream=True) as stream:
        next(iter(stream))
    server.wait_for("distill_requests_running", 0)


def test_errors(client, serve):
    for wrong, kind in (({"model": "other"}, openai.NotFoundError), ({"temperature": -1}, openai.BadRequestError),
                        ({"user": "me"}, openai.BadRequestError)):
        with pytest.raises(kind) as problem:
            client.completions.create(**{"model": "small", "prompt": "a", **wrong})
        assert problem.value.body["message"]
    with openai.OpenAI(base_url="http://127.0.0.1:%d/v1" % serve("--api-key-env", "MY_KEY", MY_KEY="k").port, api_key="wrong") as other:
        with pytest.raises(openai.AuthenticationError):
            other.models.list()
