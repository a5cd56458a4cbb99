"""Run Captum's own tests of Integrated Gradients twice: as they are, and with the class swapped.

    python tests/captum_suite/run_captum_tests.py CAPTUM_CHECKOUT/tests

Captum's wheel has no tests, so they are read from a checkout of its repository. What passes
unswapped must pass swapped. A test that fails unswapped (of a checkout newer than the installed
Captum, say) is named and does not count. The exit status is 0 if nothing got worse.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from class_swap import NAME, integrated_gradients_is

FILES = (
    "attr/test_integrated_gradients_basic.py",
    "attr/test_integrated_gradients_classification.py",
    "attr/layer/test_layer_integrated_gradients.py",
    "attr/neuron/test_neuron_integrated_gradients.py",
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
        # Generated tests are named after the class.
        test = test.replace(f"X{NAME}", NAME)
        if self.outcomes.get(test) not in FAILED:
            self.outcomes[test] = outcome
            if outcome in FAILED:
                self.failures[test] = text


class RouteCounter(logging.Handler):
    """Counts what the package says of each function that it is given."""

    def __init__(self, routes: Counter[str]) -> None:
        super().__init__(logging.INFO)
        self._routes = routes

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        names = {"single pass": "single_pass", "hoisted": "hoisted"}
        self._routes[next((r for text, r in names.items() if text in said), "captum")] += 1


def run(tests: Path, files: list[str], *, swapped: bool) -> Recorder:
    """Run the files in this process, which should be a fresh one."""
    recorder = Recorder()
    os.chdir(tests.parent)
    sys.path.insert(0, str(tests.parent))
    with ExitStack() as stack:
        if swapped:
            from captum_xdnn import XIntegratedGradients

            holders = stack.enter_context(integrated_gradients_is(XIntegratedGradients))
            print(f"rebound in {', '.join(holders)}", flush=True)
            logger = logging.getLogger("captum_xdnn")
            logger.setLevel(logging.INFO)
            logger.addHandler(RouteCounter(recorder.routes))
        quiet = ["-qq", "--tb=short", "--show-capture=no", "--disable-warnings", "--no-summary"]
        alone = ["-c", os.devnull, "--rootdir", str(tests.parent), "-p", "no:cacheprovider"]
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
    routes = ", ".join(f"{number} to {route}" for route, number in sorted(swapped.routes.items()))
    print(f"\nunswapped: {counts(unswapped)}")
    print(f"swapped:   {counts(swapped)} (functions sent {routes or 'nowhere'})")
    print(f"worse:     {len(worse)}")
    return int(bool(worse) or "passed" not in swapped.outcomes.values())


if __name__ == "__main__":
    sys.exit(main())
