"""What work costs while it runs: time, memory, energy, money."""
import ctypes

from . import _signatures as c
from ._base import Handle, Report, default_env, options_for, raw_or_none, sized
from ._errors import call

ENERGY = {c.DISTILL_ENERGY_NONE: None, c.DISTILL_ENERGY_MEASURED: "measured", c.DISTILL_ENERGY_ESTIMATED: "estimated"}


class Cost:
    """seconds, cpu_seconds, peak_bytes, tokens, flops; energy "measured" (of whole packages, other processes included), "estimated" or None;
    joules, idle_watts, eur and usd, None where they are not known."""

    def __init__(self, raw):
        for name, _ in c.distill_cost._fields_[2:]:
            value = getattr(raw, name)
            setattr(self, name, None if name in ("joules", "idle_watts", "eur", "usd") and value < 0 else value)
        self.energy = ENERGY[raw.energy]

    def __repr__(self):
        return "<distill.Cost %s>" % ", ".join("%s=%r" % item for item in sorted(vars(self).items()))


class Meter(Handle):
    """Runs from when it is made:

        with distill.Meter({"watts_per_core": 12}) as meter:
            distill.run("recipe.yaml")
            print(meter.read())

    Options are those of section cost. Where the system has energy counters, idleness is measured first (idle_seconds)."""
    _kind = c.distill_meter

    def __init__(self, options=None, env=None, **keys):
        self.env = env if env is not None else default_env()
        self._create("meter_start", self.env.raw, raw_or_none(options_for(self.env, "cost", options, keys)))

    def read(self):
        raw = sized(c.distill_cost)
        call("meter_read", self.raw, raw)
        return Cost(raw)

    def report(self):
        """The same with names and reasons, as "cost" of a run's result: energy_of, energy_problem."""
        raw = ctypes.POINTER(c.distill_report)()
        call("meter_report", self.raw, raw)
        return Report._wrap(raw, self.env)
