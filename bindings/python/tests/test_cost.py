"""Meters: what work costs, with where its energy is from."""
import pytest

import distill


def test_a_meter_tells_what_passes_took(model_folder, env):
    teacher = distill.Teacher(model_folder, env=env)
    with distill.Meter(env=env, powercap="nowhere", watts_per_core=7.5, eur_per_kwh=0.3) as meter:
        teacher.generate([258, 10], max_tokens=4, temperature=0.0)
        cost, report = meter.read(), meter.report().to_dict()
    assert cost.tokens == 2 + 4 - 1 and cost.flops > 0 and cost.cpu_seconds > 0 and cost.peak_bytes > 0
    assert cost.energy == "estimated" and cost.joules > 0 and cost.idle_watts is None and cost.usd is None
    assert cost.eur == pytest.approx(cost.joules / 3.6e6 * 0.3)
    assert report["energy"] == "estimated" and "nowhere: no such folder" in report["energy_problem"]
    with pytest.raises(distill.OptionError, match="watts_per_core"):
        distill.Meter(env=env, watts_per_core=-1)


def test_counters_of_packages_are_added(tmp_path, env):
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    for name, text in (("name", "package-0"), ("energy_uj", "500"), ("max_energy_range_uj", "1000")):
        (zone / name).write_text(text + "\n")
    meter = distill.Meter({"cost": {"powercap": str(tmp_path), "idle_seconds": 0.01}}, env=env)
    (zone / "energy_uj").write_text("100\n")
    cost = meter.read()
    assert cost.energy == "measured" and cost.joules == pytest.approx(600e-6) and cost.idle_watts is None
    assert meter.report().to_dict()["energy_of"] == ["package-0"]
