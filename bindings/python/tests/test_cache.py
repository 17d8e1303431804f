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
    with distill.Teacher.cached(tmp_path / "a.dtc", teacher) as kept:
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


def test_a_recipe_is_enough(model_folder, env, tmp_path):
    (tmp_path / "text.txt").write_text("the thing is in the inn and then the man " * 20)
    recipe = {"teacher": {"path": str(model_folder), "cache": {"path": str(tmp_path / "r.dtc"), "tier": "full"}},
              "data": {"train": str(tmp_path / "text.txt"), "sequence_length": 16, "eval_fraction": 0.2}}
    assert distill.cache.build(options=recipe, env=env)["added"] > 0
    assert distill.cache.build(options=recipe, env=env)["added"] == 0
