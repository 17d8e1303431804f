"""Each sample by one of several teachers, from Python: by source, tag, function and prompt; in compositions, recipes and training."""
import json

import pytest

import distill

numpy = pytest.importorskip("numpy")
VOCAB = 30
SAMPLES = [[3, 5, 7, 9, 11, 13], [4, 6, 8], [1, 2, 3, 4], [9, 8, 7, 6, 5]]
SOURCES, TAGS = ["pt", "en", "pt", "fr"], ["en", None, "pt", "pt"]


class Voice:
    """Logits that hang on the token before, and how often they were asked for."""

    def __init__(self, seed, env):
        self.table = numpy.random.default_rng(seed).normal(size=(VOCAB, VOCAB)).astype("float32") * 2
        self.passes, self.samples, self.sources = 0, 0, []
        self.teacher = distill.Teacher.from_function(self.score, distill.Form(vocab=VOCAB), env=env)

    def score(self, batch, first, count, target):
        if first == 0:
            self.passes += 1
            self.samples += len(batch)
            self.sources += batch.sources
        return self.table[numpy.asarray(batch.ids)[numpy.asarray(batch.rows)[first:first + count]]]

    def alone(self, sample):
        return self.table[SAMPLES[sample][:-1]]


def log_softmax(z):
    z = numpy.asarray(z, dtype="float64")
    z = z - z.max(-1, keepdims=True)
    return z - numpy.log(numpy.exp(z).sum(-1, keepdims=True))


@pytest.fixture
def voices(env):
    return {"en": Voice(1, env), "pt": Voice(2, env)}


def members(voices):
    return {name: voice.teacher for name, voice in voices.items()}


def expected(voices, choice):
    return numpy.concatenate([voices[name].alone(sample) for sample, name in enumerate(choice)])


def by_length(batch, sequence, source, tag):
    assert (source, tag) == (SOURCES[sequence], TAGS[sequence] or "")
    return "pt" if len(batch[sequence]) > 4 else None


def test_every_way_to_choose(voices):
    for by, keys, choice in ((None, {"default": "en"}, ["pt", "en", "pt", "en"]), ("source", {"map": {"fr": "pt"}}, ["pt", "en", "pt", "pt"]),
                             ("tag", {"default": "pt", "map": {"pt": "en"}}, ["en", "pt", "en", "en"]),
                             ("teacher", {"default": "en"}, ["en", "en", "pt", "pt"]), (by_length, {"default": "en"}, ["pt", "en", "en", "pt"]),
                             (lambda *_: 1, {}, ["pt"] * 4)):
        with distill.route(members(voices), by, **keys) as routed:
            assert (routed.score(SAMPLES, sources=SOURCES, tags=TAGS) == expected(voices, choice)).all(), (by, keys)


def test_one_pass_for_each_teacher_and_none_without_samples(voices):
    routed = distill.route(members(voices), default="en")
    routed.score(SAMPLES, sources=SOURCES)
    assert [(voice.passes, voice.samples) for voice in voices.values()] == [(1, 2), (1, 2)]
    assert voices["en"].sources == ["en", "fr"] and voices["pt"].sources == ["pt", "pt"]
    routed.score(SAMPLES, sources="pt")
    assert (voices["en"].passes, voices["pt"].passes) == (1, 2)


def test_the_likeliest_prompt(voices):
    rows, at = [], 0
    for sample in SAMPLES:
        rows += range(at + 1 + (len(sample) > 4), at + len(sample) - 1)
        at += len(sample)
    routed = distill.route(members(voices), "prompt_perplexity")
    got, want = routed.score(SAMPLES, rows), []
    for number, sample in enumerate(SAMPLES):
        end = 3 if len(sample) > 4 else 2
        nats = {name: -sum(log_softmax(voice.table[a])[b] for a, b in zip(sample[:end - 1], sample[1:end])) for name, voice in voices.items()}
        want.append(voices[min(nats, key=nats.get)].alone(number)[end - 1:])
    assert (got == numpy.concatenate(want)).all()
    with pytest.raises(distill.NotFound, match="no prompt"):
        routed.score(SAMPLES)


def test_what_is_refused(env, voices):
    for by, keys, part in (("moon", {}, "none of source"), ("source", {"default": "de"}, "none of its teachers"),
                           ("source", {"map": {"x": "de"}}, "none of its teachers"), ("prompt_perplexity", {"map": {"x": "en"}}, "by=source|tag"),
                           (by_length, {"map": {"x": "en"}}, "beside fn"), ("source", {"of": ["en"]}, "teacher.route.of")):
        with pytest.raises(distill.DistillError) as told:
            distill.route(members(voices), by, **keys)
        assert part in str(told.value), told.value
        assert "\n" not in str(told.value)
    with pytest.raises(distill.DistillError, match="weight"):
        distill.route([{"teacher": voices["en"].teacher, "weight": 1.0}], env=env)
    with pytest.raises(distill.NotFound, match=r"source fr\) has no teacher in the route \(en, pt\)"):
        distill.route(members(voices)).score(SAMPLES, sources=SOURCES)
    with pytest.raises(ValueError, match="gave 'de'"):
        distill.route(members(voices), lambda *_: "de").score(SAMPLES)
    with pytest.raises(ValueError, match="3 sources for 4"):
        distill.route(members(voices)).score(SAMPLES, sources=["a", "b", "c"])


def test_functions_are_let_go(voices):
    before = distill.registered()
    routed = distill.route(members(voices), by_length)
    assert distill.registered() == before + 1
    routed.close()
    assert distill.registered() == before
    with pytest.raises(distill.DistillError):
        distill.route(members(voices), by_length, default="de")
    assert distill.registered() == before


def test_compositions(voices, tmp_path):
    en, pt = (log_softmax(expected(voices, [name] * 4)) for name in ("en", "pt"))
    routed = log_softmax(expected(voices, ["pt", "en", "pt", "en"]))
    route = distill.route(members(voices), default="en")
    blend = distill.blend({"r": route, "en": voices["en"].teacher}, [0.25, 0.75])
    assert numpy.allclose(blend.score(SAMPLES, sources=SOURCES), numpy.log(0.25 * numpy.exp(routed) + 0.75 * numpy.exp(en)), atol=2e-6)
    both = distill.blend(members(voices))
    mixed = distill.route({"pt": both, "en": voices["en"].teacher}, default="en")
    want = numpy.where(numpy.repeat([source == "pt" for source in SOURCES], [len(sample) - 1 for sample in SAMPLES])[:, None],
                       numpy.log((numpy.exp(en) + numpy.exp(pt)) / 2), en)
    assert numpy.allclose(log_softmax(mixed.score(SAMPLES, sources=SOURCES)), want, atol=2e-6)
    inner = distill.route({"fr": voices["pt"].teacher, "pt": route}, map={"en": "pt"})
    assert (inner.score(SAMPLES, sources=SOURCES) == expected(voices, ["pt", "en", "pt", "pt"])).all()


def write_sources(recipe, tmp_path):
    recipe["data"]["train"] = [{"path": str(tmp_path / "pt.jsonl"), "source": "pt"}, {"path": str(tmp_path / "en.jsonl"), "source": "en"}]
    for name, text in (("pt", "the inn %d is in the man"), ("en", "then the thing %d and the inn")):
        (tmp_path / (name + ".jsonl")).write_text("\n".join(json.dumps({"text": text % i}) for i in range(20)))


def test_a_recipe_trains_resumes_and_evaluates(recipe, env, tmp_path):
    write_sources(recipe, tmp_path)
    recipe["data"]["eval"] = [dict(part) for part in recipe["data"]["train"]]
    model = recipe["teacher"]["path"]
    recipe["teachers"] = {"pt": {"path": model}, "en": {"path": model, "temperature": 2.0}}
    recipe["teacher"] = {"route": {"by": "source"}}
    recipe["student"] = {"path": model}
    recipe["train"]["steps"] = 8
    report = distill.run(recipe, env=env)
    assert report["eval.sources.pt.forward_kl"] >= 0 and report["eval.sources.en.forward_kl"] > report["eval.sources.pt.forward_kl"]
    whole, recipe["output"] = (tmp_path / "out" / "model.safetensors").read_bytes(), str(tmp_path / "stopped")
    with pytest.raises(distill.Cancelled):
        distill.run(recipe, env=env, on_progress=lambda progress: progress.step < 3)
    distill.run(recipe, resume=True, env=env)
    assert (tmp_path / "stopped" / "model.safetensors").read_bytes() == whole
    del recipe["teachers"]["pt"]
    recipe["output"] = str(tmp_path / "unrouted")
    with pytest.raises(distill.NotFound, match=r"source pt\) has no teacher in the route \(en\)"):
        distill.run(recipe, env=env)


SAME, FROM = [[3, 5, 7, 9, 11, 13]] * 2, ["pt", "en"]


def test_routes_and_caches_of_each_other(env, voices, tmp_path):
    want = log_softmax(numpy.concatenate([voices[name].table[SAME[0][:-1]] for name in FROM]))
    close = lambda teacher: numpy.abs(log_softmax(teacher.score(SAME, sources=FROM)) - want).max() < 0.01  # noqa: E731
    path = {name: tmp_path / (name + ".dtc") for name in ("en", "pt", "both")}
    with distill.route({name: distill.Teacher.cached(path[name], voices[name].teacher, tier="full") for name in FROM}) as routed:
        assert close(routed)
    asked = {name: voice.passes for name, voice in voices.items()}
    with distill.route({name: distill.Teacher.cached(path[name], env=env) for name in FROM}) as routed:
        assert close(routed)
    assert asked == {name: voice.passes for name, voice in voices.items()}
    with distill.Teacher.cached(path["both"], distill.route(members(voices)), tier="full") as kept:
        assert close(kept)
    with distill.Teacher.cached(path["both"], env=env) as kept:
        assert close(kept)
        with pytest.raises(distill.NotFound, match="lacks sequence"):
            kept.score(SAME, sources=["pt", "fr"])
    assert distill.cache.inspect(path["both"], env=env)["sequences"] == 2  # one text of two sources


def test_a_blend_with_a_function_is_kept(env, model_folder, recipe, tmp_path):
    live, voice = distill.Teacher(model_folder, env=env), None
    calls = []

    def score(batch, first, count, target):
        calls.append(count)
        return numpy.tile(numpy.arange(live.vocab_size, dtype="float32") % 7, (count, 1))

    voice = distill.Teacher.from_function(score, distill.Form(vocab=live.vocab_size), env=env)
    task = {key: value for key, value in recipe.items() if key not in ("teacher", "student", "output")}
    task["data"].pop("eval")
    blend = distill.blend({"a": live, "b": distill.Teacher(model_folder, env=env), "f": voice}, [0.5, 0.3, 0.2])
    cache = {"path": str(tmp_path / "kept.dtc"), "tier": "top_k", "k": 64, "temperature": 2.0}

    def losses(task, teacher):
        with distill.Trainer(task, student=distill.Student(model_folder, env=env), teacher=teacher, env=env) as trainer:
            return [progress.loss for progress in trainer]

    first = losses(dict(task, teacher={"cache": cache}), blend)  # what the recipe says of the cache goes around the blend
    assert calls
    calls.clear()
    with distill.Teacher.cached(cache["path"], env=env) as alone:
        assert losses(task, alone) == first
    with distill.Teacher.cached(cache["path"], blend, tier="top_k", k=64, temperature=2.0) as kept:
        assert losses(task, kept) == first
    assert not calls
