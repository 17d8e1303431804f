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
    distill.build_cache(tmp_path / "a.dtc", teacher, data, tier="hidden", on_progress=lambda p: seen.append((p.phase, p.done, p.total)))
    assert seen and seen[-1][0] == "caching" and seen[-1][1] == seen[-1][2]
    assert distill.inspect(tmp_path / "a.dtc", env=env).to_dict()["tier"] == "hidden"
    with distill.Teacher.cached(tmp_path / "a.dtc", teacher) as kept:
        assert numpy.array_equal(kept.score(SEQUENCES), teacher.score(SEQUENCES))
    distill.merge_caches([tmp_path / "a.dtc"], tmp_path / "b.dtc", env=env)
    rows = sum(len(ids) - 1 for ids in SEQUENCES)
    assert distill.inspect(tmp_path / "b.dtc", env=env)["rows"] == rows


def test_what_does_not_fit_is_an_error(model_folder, env, data, tmp_path):
    teacher = distill.Teacher(model_folder, env=env)
    with pytest.raises(distill.NotFound, match="no target cache"):
        distill.Teacher.cached(tmp_path / "none.dtc", env=env)
    distill.build_cache(tmp_path / "s.dtc", teacher, data, tier="sampled", draws=12)
    with pytest.raises(distill.Mismatch, match="of 12, wanted is 13"):
        distill.Teacher.cached(tmp_path / "s.dtc", teacher, tier="sampled", draws=13)
