"""The checkpoint decides: which of several candidates it is for, with how many classes, and when nobody can tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mshub_ssd import networks, providers
from mshub_ssd.errors import MismatchError, TrustError, UsageError
from mshub_ssd.providers import Call, Code, Recipe

mindspore = pytest.importorskip("mindspore")
nn = mindspore.nn


class Small(nn.Cell):
    """A stem, and heads for classes and words."""

    def __init__(self, width: int, classes: int = 10, words: int = 0, anchors: int = 0, options: Any = None) -> None:
        super().__init__()
        classes = options["classes"] if options else classes
        self.stem = nn.Conv2d(3, width, 3, has_bias=True)
        self.head = nn.Dense(width, classes)
        if anchors:
            self.boxes = nn.Dense(width, anchors * (5 + classes))
        if words:
            self.embedding = nn.Embedding(words, width)


def recipe(key: str, level: Any = "repository", **kwargs: Any) -> Recipe:
    return Recipe(key, "a test", level=level, code=Code("a/b", "0" * 40), call=Call("small:Small", (), kwargs))


def build(one: Recipe) -> Small:
    assert one.call is not None
    kwargs = {name: value["dict"] if isinstance(value, dict) else value for name, value in one.call.kwargs.items()}
    return Small(*one.call.args, **kwargs)


def checkpoint(**kwargs: Any) -> dict[str, np.ndarray]:
    """A training cell's checkpoint of such a network."""
    types = networks.parameter_types(Small(**kwargs))
    return {
        **{f"network.{name}": np.full(shape, 0.5, dtype) for name, (shape, dtype) in types.items()},
        "learning_rate": np.zeros((), np.float32),
    }


CANDIDATES = [recipe("narrow", width=4), recipe("wide", width=8), recipe("wordy", width=8, words=100)]


@pytest.mark.parametrize(("key", "kwargs"), [("narrow", {}), ("wide", {}), ("wordy", {"words": 100})])
def test_a_checkpoint_loads_its_own_variant_out_of_all(key: str, kwargs: dict[str, int]) -> None:
    found = providers.fit(CANDIDATES, checkpoint(width=4 if key == "narrow" else 8, **kwargs), build)
    assert found.recipe.key == key
    assert found.report.ok
    assert set(found.values) == {parameter.name for parameter in found.network.get_parameters()}


@pytest.mark.parametrize(
    ("told", "made"),
    [
        ({"classes": 10}, {"classes": 3}),
        ({"classes": 10}, {"classes": 1000}),
        ({"classes": 8}, {"classes": 21}),  # the width is a size of the same value
        ({"classes": 10, "words": 100}, {"classes": 4, "words": 30_522}),
        ({"classes": 80, "anchors": 3}, {"classes": 20, "anchors": 3}),
        ({}, {"classes": 7}),  # the class's own default
        ({"options": {"dict": {"classes": 10}}}, {"classes": 5}),
    ],
    ids=str,
)
def test_the_same_network_with_other_counts(told: dict[str, Any], made: dict[str, int]) -> None:
    recipes = [recipe("other", width=4), recipe("one", width=8, **told)]
    found = providers.fit(recipes, checkpoint(width=8, **made), build)
    assert found.recipe.key == "one"
    assert found.report.ok
    assert found.network.head.weight.shape[0] == made["classes"]
    assert found.recipe.call is not None
    assert found.recipe.call.kwargs["width"] == 8


@pytest.mark.parametrize("made", [{"width": 5}, {"width": 8, "words": 7, "anchors": 2}], ids=str)
def test_one_that_fits_none_is_told_with_the_account_of_the_nearest(made: dict[str, int]) -> None:
    arrays = checkpoint(**made)
    if made["width"] == 5:
        arrays["network.head.bias"] = np.zeros(77, np.float32)  # no size explains that
    found = providers.fit(CANDIDATES, arrays, build)
    assert not found.report.ok
    assert found.report.wrong_shape or found.report.unexpected


def test_two_that_fit_equally_are_named() -> None:
    twins = [recipe("zoo:a/one", width=4, classes=10), recipe("zoo:a/two", width=4)]
    with pytest.raises(MismatchError, match="fits 2 networks equally") as caught:
        providers.fit(twins, checkpoint(width=4), build)
    assert "zoo:a/one" in str(caught.value.got)
    assert "zoo:a/two" in str(caught.value.got)
    assert "network: zoo:a/one" in str(caught.value.hint)


def test_code_that_is_trusted_more_comes_first() -> None:
    twins = [recipe("package:one", "package", width=4), recipe("zoo:one", width=4)]
    assert providers.fit(twins, checkpoint(width=4), build).recipe.key == "package:one"


def test_no_consent_is_asked_for_where_trusted_code_fits_and_else_it_is() -> None:
    def guarded(one: Recipe) -> Small:
        if one.level == "repository":
            raise TrustError("not yet")
        return build(one)

    twins = [recipe("package:one", "package", width=4), recipe("zoo:one", width=8)]
    assert providers.fit(twins, checkpoint(width=4), guarded).recipe.key == "package:one"
    with pytest.raises(TrustError):
        providers.fit(twins, checkpoint(width=8), guarded)


def test_what_cannot_be_built_is_left_out_unless_nothing_can() -> None:
    def broken(one: Recipe) -> Small:
        if one.key == "narrow":
            raise UsageError("it does not build")
        return build(one)

    assert providers.fit(CANDIDATES, checkpoint(width=8), broken).recipe.key == "wide"
    with pytest.raises(UsageError, match="does not build"):
        providers.fit(CANDIDATES[:1], checkpoint(width=4), broken)
