"""Run Captum's own tests of Integrated Gradients and its relatives twice: as is, and swapped.

    python tests/captum_suite/run_captum_tests.py CAPTUM_CHECKOUT/tests

Captum's wheel has no tests, so they are read from a checkout of its repository. What passes
unswapped must pass swapped. A test that fails unswapped (of a checkout newer than the installed
Captum, say) is named and does not count. The exit status is 0 if nothing got worse.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from class_swap import NAMES, classes_are, family

FILES = (
    "attr/test_integrated_gradients_basic.py",
    "attr/test_integrated_gradients_classification.py",
    "attr/layer/test_layer_integrated_gradients.py",
    "attr/layer/test_layer_conductance.py",
    "attr/layer/test_internal_influence.py",
    "attr/neuron/test_neuron_integrated_gradients.py",
    "attr/neuron/test_neuron_conductance.py",
    "attr/test_targets.py",
    "attr/test_hook_removal.py",
    "attr/test_dataloader_attr.py",
    "attr/test_input_layer_wrapper.py",
    "attr/test_gradient_shap.py",
    "attr/test_deeplift_basic.py",
    "attr/test_deeplift_classification.py",
    "attr/test_jit.py",
    "attr/test_data_parallel.py",
    "metrics/test_infidelity.py",
    "metrics/test_sensitivity.py",
)
FAILED = ("failed", "error")


@dataclass
class Recorder:
    """A pytest plugin that keeps the outcome of every test and the text of every failure."""

    outcomes: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    routes: Counter[str] = field(default_factory=Counter)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self._keep(report.nodeid, report.outcome, report.longreprtext)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._keep(report.nodeid, "error", report.longreprtext)

    def _keep(self, test: str, outcome: str, text: str) -> None:
        for name in NAMES:  # generated tests are named after the class
            test = test.replace(f"X{name}", name)
        if self.outcomes.get(test) not in FAILED:
            self.outcomes[test] = outcome
            if outcome in FAILED:
                self.failures[test] = text


@contextmanager
def counted(classes: Iterable[type], routes: Counter[str]) -> Iterator[None]:
    """Count the routes that calls of ``attribute`` take, by the class that was called."""
    nested = False

    def counting(kind: type) -> Callable[..., Any]:
        plain = kind.attribute.__wrapped__

        @functools.wraps(plain)
        def attribute(self: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal nested
            if nested:  # an object inside of another one
                return plain(self, *args, **kwargs)
            nested, route = True, "an error"
            try:
                result = plain(self, *args, **kwargs)
                route = self.last_route
                return result
            finally:
                nested = False
                routes[f"{kind.__name__} {route}"] += 1

        # Captum calls what its decorator wraps.
        return functools.wraps(attribute)(lambda *args, **kwargs: attribute(*args, **kwargs))

    with ExitStack() as stack:
        for kind in classes:
            stack.enter_context(mock.patch.object(kind, "attribute", counting(kind)))
        yield


def run(tests: Path, files: list[str], *, swapped: bool) -> Recorder:
    """Run the files in this process, which should be a fresh one."""
    recorder = Recorder()
    torch.set_num_threads(1)
    os.chdir(tests.parent)
    sys.path.insert(0, str(tests.parent))
    with ExitStack() as stack:
        if swapped:
            holders = stack.enter_context(classes_are(family()))
            print(f"rebound in {', '.join(holders)}", flush=True)
            stack.enter_context(counted(family().values(), recorder.routes))
        quiet = ["-qq", "--tb=short", "--show-capture=no", "--disable-warnings", "--no-summary"]
        alone = ["-c", os.devnull, "--rootdir", str(tests.parent), "-p", "no:cacheprovider"]
        alone.append("--continue-on-collection-errors")  # one file must not hide the others
        pytest.main([*alone, *quiet, *(str(tests / name) for name in files)], plugins=[recorder])
    return recorder


def run_afresh(tests: Path, files: list[str], *, swapped: bool) -> Recorder:
    """Run the files in a process of their own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(run, tests, files, swapped=swapped).result()


def counts(recorder: Recorder) -> str:
    found = Counter(recorder.outcomes.values())
    return (
        ", ".join(f"{number} {outcome}" for outcome, number in sorted(found.items())) or "nothing"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", type=Path, help="the folder tests of a checkout of Captum")
    tests = parser.parse_args().tests.resolve()
    files = [name for name in FILES if (tests / name).is_file()]
    if not files:
        parser.error(f"{tests} has none of {', '.join(FILES)}")
    for name in sorted(set(FILES) - set(files)):
        print(f"not there: {name}")

    unswapped = run_afresh(tests, files, swapped=False)
    swapped = run_afresh(tests, files, swapped=True)

    worse = []
    for test in sorted(unswapped.outcomes.keys() | swapped.outcomes.keys()):
        before, after = unswapped.outcomes.get(test), swapped.outcomes.get(test)
        if before == after and before in FAILED:
            print(f"fails in both: {test}")
        elif before in FAILED and after == "passed":
            print(f"passes only swapped: {test}")
        elif before != after:
            worse.append(test)
            print(f"\n{test}: {before} -> {after}\n{swapped.failures.get(test, '')}")
    print(f"\nunswapped: {counts(unswapped)}")
    print(f"swapped:   {counts(swapped)}")
    print(f"worse:     {len(worse)}")
    for route, number in sorted(swapped.routes.items()):
        print(f"{number:6} calls of {route}")
    return int(bool(worse) or "passed" not in swapped.outcomes.values())


if __name__ == "__main__":
    sys.exit(main())
