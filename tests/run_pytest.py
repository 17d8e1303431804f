#!/usr/bin/env python3
"""Runs pytest as it is called, or says "skipped" (exit code 77) where pytest is not installed."""
import sys

try:
    import pytest
except ImportError:
    print("skipped: pytest is not installed")
    sys.exit(77)
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider"] + sys.argv[1:]))
