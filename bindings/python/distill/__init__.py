"""libdistill: distil large language models into small ones.

    import distill
    report = distill.run("recipe.yaml", {"train.steps": 500}, on_progress=print)
    print(report["student.perplexity"])

The handles are those of distill.h: Env, Options, Tokenizer, Teacher, Student, Dataset, Loss, Trainer, Classifier, Meter, Session,
Report; the constants too (distill.DISTILL_DENSE, ...). Handles close with `with`, close() or the garbage collector, in any order.
"""
from ._augment import augment, augment_plan
from ._base import Env, Options, Report, default_env, option_table
from ._callbacks import registered
from ._classifiers import Classifier, Verdict, choose
from ._communicator import mpi_communicator
from ._errors import (Cancelled, CallbackError, DistillError, EndOfData, FormatError, InvalidArgument, IOFailure, Mismatch, NotFound,
                      NumericError, OptionError, OutOfMemory, StageError, Unsupported)
from ._lib import lib
from ._models import Generation, Student, Teacher, Tokenizer
from . import _signatures, cache
from ._meter import Cost, Meter
from ._sessions import Session, SessionStats, Token, next_many
from ._targets import Form, Target, dense, hidden, one_hot, sampled, top_k
from ._tensor import View
from ._training import Dataset, Loss, LossResult, Progress, Sample, Trainer, evaluate, run
from ._worth import compare, evaluate_tasks, plan

__version__ = lib.distill_version().decode()


def inspect(path=None, env=None):
    """What a path is and whether it is whole; without path, what this library is."""
    return (env if env is not None else default_env()).inspect(path)


def schedule(turns, options=None, env=None):
    """Teacher.schedule: one teacher after another."""
    return Teacher.schedule(turns, options, env)


def blend(members, weights=None, options=None, env=None, **keys):
    """Teacher.blend: several teachers as one."""
    return Teacher.blend(members, weights, options, env, **keys)


def cached(path, teacher=None, options=None, env=None, **keys):
    """Teacher.cached: what a teacher says, kept in a file."""
    return Teacher.cached(path, teacher, options, env, **keys)


def route(members, by=None, options=None, env=None, **keys):
    """Teacher.route: each sample by one of several teachers."""
    return Teacher.route(members, by, options, env, **keys)


globals().update({name: value for name, value in vars(_signatures).items() if name.startswith("DISTILL_")})
