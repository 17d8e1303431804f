#!/usr/bin/env python3
"""Runs pytest as it is called, or says "skipped" (exit code 77) where pytest is not installed or every test was skipped."""
import sys

try:
    import pytest
except ImportError:
    print("skipped: pytest is not installed")
    sys.exit(77)


class Ran:
    any = skipped = False

    def pytest_collectreport(self, report): # a whole file
        Ran.skipped = Ran.skipped or report.skipped

    def pytest_runtest_logreport(self, report):
        Ran.any = Ran.any or report.when == "call" and not report.skipped
        Ran.skipped = Ran.skipped or report.skipped


code = pytest.main(["-q", "-rs", "-p", "no:cacheprovider"] + sys.argv[1:], plugins=[Ran()])
sys.exit(77 if code in (0, 5) and Ran.skipped and not Ran.any else code)
