"""Registration: Captum's namespace and, with Captum 0.8, the menu of Captum Insights."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from importlib.machinery import ModuleSpec

import captum.attr
import pytest
from captum.attr import IntegratedGradients

import captum_xdnn
from captum_xdnn import XIntegratedGradients


@pytest.fixture(autouse=True)
def _registered_again() -> Iterator[None]:
    yield
    captum_xdnn.register()


def test_importing_registers() -> None:
    assert captum.attr.XIntegratedGradients is XIntegratedGradients
    assert captum.attr.__all__.count("XIntegratedGradients") == 1


def test_registering_again_changes_nothing() -> None:
    before = list(captum.attr.__all__)
    captum_xdnn.register()
    assert captum.attr.__all__ == before


def test_unregistering_undoes_it_and_may_be_repeated() -> None:
    captum_xdnn.unregister()
    captum_xdnn.unregister()
    assert not hasattr(captum.attr, "XIntegratedGradients")
    assert "XIntegratedGradients" not in captum.attr.__all__
    assert captum.attr.IntegratedGradients is IntegratedGradients


def test_unregistering_leaves_what_others_put_there() -> None:
    captum.attr.XIntegratedGradients = IntegratedGradients
    captum_xdnn.unregister()
    assert captum.attr.XIntegratedGradients is IntegratedGradients


@pytest.fixture
def insights(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Captum 0.8's tables, in modules of 0.8's names."""
    for name in ("captum.insights", "captum.insights.attr_vis"):
        package = types.ModuleType(name)
        package.__path__ = []
        package.__spec__ = ModuleSpec(name, None, is_package=True)
        monkeypatch.setitem(sys.modules, name, package)
    config = types.ModuleType("captum.insights.attr_vis.config")
    name = IntegratedGradients.get_name()
    config.SUPPORTED_ATTRIBUTION_METHODS = [IntegratedGradients]
    config.ATTRIBUTION_NAMES_TO_METHODS = {name: IntegratedGradients}
    config.ATTRIBUTION_METHOD_CONFIG = {name: {"n_steps": 25}}
    monkeypatch.setitem(sys.modules, config.__name__, config)
    return config


def test_the_menu_of_insights(insights: types.ModuleType) -> None:
    captum_xdnn.register()
    captum_xdnn.register()
    name = XIntegratedGradients.get_name()
    assert [IntegratedGradients, XIntegratedGradients] == insights.SUPPORTED_ATTRIBUTION_METHODS
    assert insights.ATTRIBUTION_NAMES_TO_METHODS[name] is XIntegratedGradients
    assert insights.ATTRIBUTION_METHOD_CONFIG[name] == {"n_steps": 25}
    captum_xdnn.unregister()
    assert [IntegratedGradients] == insights.SUPPORTED_ATTRIBUTION_METHODS
    assert name not in insights.ATTRIBUTION_NAMES_TO_METHODS
    assert name not in insights.ATTRIBUTION_METHOD_CONFIG


def test_insights_that_cannot_be_imported_are_passed_over(
    insights: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, insights.__name__, None)  # type: ignore[arg-type]
    captum_xdnn.register()
    assert captum.attr.XIntegratedGradients is XIntegratedGradients


def test_the_class_is_a_subclass_with_captums_signature() -> None:
    import inspect

    assert issubclass(XIntegratedGradients, IntegratedGradients)
    theirs = inspect.signature(IntegratedGradients.attribute).parameters
    ours = inspect.signature(XIntegratedGradients.attribute).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    assert [p.default for p in ours.values()][: len(theirs)] == [p.default for p in theirs.values()]
    assert list(ours)[len(theirs) :] == ["create_graph", "tolerance", "max_steps"]
