"""Checks anybody's distillation loss: its values and gradients on given rows, relations that every loss keeps, and which of the defects
that losses were seen with it shows. `python3 -m distill.conformance --help`; docs/conformance.md says how a loss is adapted."""
try:
    import numpy as _numpy  # noqa: F401
except ImportError as error:
    raise ImportError("distill.conformance needs numpy (pip install numpy)") from error

from ._cases import Case
from ._check import check
from ._defects import TABLE as defects

__all__ = ["Case", "check", "defects"]
