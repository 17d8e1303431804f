"""Targets that are kept in files."""
import pytest

import distill

numpy = pytest.importorskip("numpy")

SEQUENCES = [[1, 2, 3, 4, 5, 6], [9, 8, 7, 6], [3, 1, 4, 1, 5, 9, 2, 6]]


@pytest.fixture
def data(env):
    return distill.Dataset.from_tokens(SEQUENCES, env=env, sequence_length=16, pack=False)


def test_builds_reads_and_merges(model_folder, env, data, tmp_path):
    teacher, seen = distill.Teacher(model_folder, env=env), []
    distill.cache.build(tmp_path / "a.dtc", teacher, data, tier="hidden", on_progress=lambda p: seen.append((p.phase, p.done, p.total)))
    assert seen and seen[-1][0] == "caching" and seen[-1][1] == seen[-1][2]
    assert distill.inspect(tmp_path / "a.dtc", env=env).to_dict()["tier"] == "hidden"
    with distill.cached(tmp_path / "a.dtc", teacher) as kept:
        assert numpy.array_equal(kept.score(SEQUENCES), teacher.score(SEQUENCES))
    distill.cache.merge([tmp_path / "a.dtc"], tmp_path / "b.dtc", env=env)
    rows = sum(len(ids) - 1 for ids in SEQUENCES)
    assert distill.inspect(tmp_path / "b.dtc", env=env)["rows"] == rows


def test_what_does_not_fit_is_an_error(model_folder, env, data, tmp_path):
    teacher = distill.Teacher(model_folder, env=env)
    with pytest.raises(distill.NotFound, match="no target cache"):
        distill.Teacher.cached(tmp_path / "none.dtc", env=env)
    distill.cache.build(tmp_path / "s.dtc", teacher, data, tier="sampled", draws=12)
    with pytest.raises(distill.Mismatch, match="of 12, wanted is 13"):
        distill.Teacher.cached(tmp_path / "s.dtc", teacher, tier="sampled", draws=13)


def test_what_is_damaged_is_named(model_folder, env, data, tmp_path):
    path = tmp_path / "d.dtc"
    made = distill.cache.build(path, distill.Teacher(model_folder, env=env), data, tier="top_k", k=4).to_dict()
    assert made["added"] == made["rows"] == made["caches"][0]["rows"] and made["caches"][0]["path"] == str(path)
    assert distill.cache.inspect(path, env=env)["sequences"] == len(SEQUENCES)
    assert distill.cache.verify(path, env=env).to_dict()["whole"] is True
    whole = path.read_bytes()
    path.write_bytes(whole[:300] + bytes([whole[300] ^ 1]) + whole[301:])
    damaged = distill.cache.verify(path, env=env).to_dict()
    assert damaged["whole"] is False and damaged["damaged"][0]["offset"] == 256
    path.write_bytes(b"no cache at all, but long enough for a header")
    with pytest.raises(distill.FormatError, match="is no target cache"):
        distill.cache.inspect(path, env=env)


def test_a_new_cache_loses_nothing_where_it_can(env, model_folder, data, tmp_path):
    with distill.Teacher(model_folder, env=env) as one, distill.blend([one, distill.Teacher(model_folder, env=env)]) as both:
        assert distill.cache.build(tmp_path / "one", one, data).to_dict()["caches"][0]["tier"] == "hidden"
        assert distill.cache.build(tmp_path / "both", both, data).to_dict()["caches"][0]["tier"] == "top_k"
        distill.cache.build(tmp_path / "drawn", one, data, tier="sampled")
        assert distill.cache.build(tmp_path / "drawn", one, data).to_dict()["caches"][0]["tier"] == "sampled"


def test_a_recipe_is_enough(model_folder, env, tmp_path):
    (tmp_path / "text.txt").write_text("the thing is in the inn and then the man " * 20)
    recipe = {"teacher": {"path": str(model_folder), "cache": {"path": str(tmp_path / "r.dtc"), "tier": "full"}},
              "data": {"train": str(tmp_path / "text.txt"), "sequence_length": 16, "eval_fraction": 0.2}}
    assert distill.cache.build(options=recipe, env=env)["added"] > 0
    assert distill.cache.build(options=recipe, env=env)["added"] == 0


def log_softmax(z):
    z = z.astype("float64")
    return z - z.max(-1, keepdims=True) - numpy.log(numpy.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True))


def test_what_is_lost_is_what_the_formula_says(model_folder, env, data):
    teacher = distill.Teacher(model_folder, env=env)
    measured = distill.cache.measure(teacher, data, rows=0, tier="top_k", k=5, steps_per_nat=1024, temperature=2.0).to_dict()
    log_p = log_softmax(teacher.score(SEQUENCES)[:, :teacher.vocab_valid] / 2)
    p = numpy.exp(log_p)
    assert measured["rows"] == len(p) and "student" not in measured
    tiers = {(tier["tier"], tier.get("k"), tier.get("steps_per_nat")): tier for tier in measured["tiers"]}
    tier, order = tiers["top_k", 5, 1024], numpy.argsort(-log_p, axis=-1, kind="stable")
    decoded = log_p.copy()
    for row, ids in zip(decoded, order):  # what is not listed shares its mass alike
        row[ids[5:]] = numpy.log(numpy.exp(row[ids[5:]]).mean())
    kl = (p * (log_p - decoded)).sum(-1)
    assert abs(tier["forward_kl"] - kl.mean()) < 0.03 * kl.mean()  # rounding to 1/1024
    assert abs(tier["forward_kl_max"] - kl.max()) < 0.05 * kl.max()
    assert tier["forward_kl_listed"] < 1e-5
    error = numpy.sqrt(((p - numpy.exp(decoded)) ** 2).sum(-1)).mean()
    assert abs(tier["gradient_error"] - error) < 0.15 * error
    drawn = tiers["sampled", None, None]
    assert "forward_kl" not in drawn and drawn["gradient_error"] > 0


def test_a_plan_writes_nothing(model_folder, env, data, tmp_path):
    plan = distill.cache.plan(tmp_path / "p.dtc", distill.Teacher(model_folder, env=env), data, tier="full")
    assert plan["missing"] == sum(len(ids) - 1 for ids in SEQUENCES) and plan["bytes"] > 0 and plan["seconds"] >= 0
    assert not list(tmp_path.iterdir())


def test_a_run_from_hidden_states_is_the_live_run(recipe, env, tmp_path):
    """Whole runs, students as they are saved: from the live teacher, while the file is filled, and from the file."""
    saved = []
    for name in ("live", "filled", "read"):
        teacher = dict(recipe["teacher"]) if isinstance(recipe["teacher"], dict) else {"path": recipe["teacher"]}
        if name != "live":
            teacher["cache"] = {"path": str(tmp_path / "run.dtc"), "tier": "hidden"}
        report = distill.run(dict(recipe, teacher=teacher, output=str(tmp_path / name)), env=env)
        saved.append(((tmp_path / name / "model.safetensors").read_bytes(), report["student.forward_kl"]))
    live, filled, read = saved
    assert filled[0] == read[0]
    assert filled[1] == pytest.approx(live[1], abs=1e-6)
    students = [distill.Teacher(tmp_path / name, env=env).score(SEQUENCES) for name in ("live", "read")]
    assert numpy.abs(students[0] - students[1]).max() < 1e-4


def test_draws_have_a_kl_by_the_entropy_that_is_kept_with_them(model_folder, env, data, tmp_path):
    teacher = distill.Teacher(model_folder, env=env)
    distill.cache.build(tmp_path / "s.dtc", teacher, data, tier="sampled", draws=4000)
    assert (tmp_path / "s.dtc").read_bytes()[8] == 2
    student = distill.Student(model_folder, env=env)  # the teacher itself: nothing is left but the noise of the draws
    found = distill.evaluate(student, data, distill.Teacher.cached(tmp_path / "s.dtc", env=env)).to_dict()
    assert "soft_cross_entropy" not in found and "forward_kl_median" not in found and found["teacher_target"] == "SAMPLED"
    assert found["forward_kl"] == pytest.approx(0, abs=0.05) and found["forward_kl_temperature"] == 1
    distill.cache.build(tmp_path / "h.dtc", teacher, data, tier="hidden")
    assert distill.evaluate(student, data, distill.Teacher.cached(tmp_path / "h.dtc", teacher))["forward_kl"] == pytest.approx(0, abs=1e-6)


def test_draws_without_their_entropy_have_a_soft_cross_entropy_and_no_kl(recipe, model_folder, env, data, tmp_path):
    """A host's draws, with and without: the same gradient, the value by its name."""
    teacher, student = distill.Teacher(model_folder, env=env), distill.Student(model_folder, env=env)
    valid, random = teacher.vocab_valid, numpy.random.default_rng(2)

    def drawn(with_entropy):
        def score(batch, first, count, target):
            offsets, rows = numpy.asarray(batch.offsets), numpy.asarray(batch.rows)[first:first + count]
            whole = [numpy.asarray(batch.ids)[a:b].tolist() for a, b in zip(offsets, offsets[1:])]
            log_p = log_softmax(numpy.concatenate([teacher.score([ids + [0]]) for ids in whole])[rows][:, :valid])
            for row in range(count):
                ids, counts = numpy.unique(random.choice(valid, 500, p=numpy.exp(log_p[row]) / numpy.exp(log_p[row]).sum()), return_counts=True)
                target.ids[row], target.values[row] = -1, 0
                target.ids[row, :len(ids)], target.values[row, :len(ids)] = ids, counts
                if with_entropy:
                    target.entropy[row] = -(numpy.exp(log_p[row]) * log_p[row]).sum()
        return distill.Teacher.from_function(score, distill.Form(vocab=valid, draws=500, entropy=with_entropy), env=env)

    log_p = log_softmax(teacher.score(SEQUENCES)[:, :valid])
    entropy = -(numpy.exp(log_p) * log_p).sum(-1).mean()
    without = distill.evaluate(student, data, drawn(False)).to_dict()
    assert not [key for key in without if "forward_kl" in key] and without["soft_cross_entropy"] == pytest.approx(entropy, rel=0.1)
    found = distill.evaluate(student, data, drawn(True)).to_dict()
    assert "soft_cross_entropy" not in found and abs(found["forward_kl"]) < 0.15 * entropy


def test_logits_of_another_temperature_are_kept_as_they_are_meant(env, tmp_path):
    numpy = pytest.importorskip("numpy")
    table = numpy.random.default_rng(4).normal(size=(30, 30)).astype("float32") * 3
    warm = distill.Teacher.from_function(lambda batch, first, count, target: table[numpy.asarray(batch.ids)[numpy.asarray(batch.rows)[first:first + count]]],
                                         distill.Form(vocab=30, temperature=2.0), env=env)
    kept = distill.cached(tmp_path / "warm.dtc", warm, tier="full")
    for temperature in (1.0, 2.0):
        assert numpy.allclose(kept.log_probs([1, 2, 3, 4, 5], temperature=temperature), warm.log_probs([1, 2, 3, 4, 5], temperature=temperature), atol=0.02)
