"""The proof of a recipe: the library builds it, with the adapters that it lists, and it is run forward."""

from __future__ import annotations

import inspect
import json
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .gathering import Folder, proved

# What capturing used, and the adapter of the library that gives it to the code alone.
_ADAPTERS = (
    (r"easydict", "easydict"),
    (r"easydict-builtin", "easydict-builtin"),
    (r"numpy", "numpy-aliases"),
    (r"float32", "float32"),
    (r"moved:.*\.ms_function", "ms_function"),
    (r"moved:.*\.ms_class", "ms_class"),
    (r"moved:mindspore\._checkparam\.(Validator|Rel)", "validator"),
    (r"moved:.*\.ResizeBilinear", "resize-bilinear"),
    (r".*mindspore\.profiler\.profiling.*", "profiling"),
    (r"(module|name|moved):mindspore\.dataset\..*(c_transforms|py_transforms).*", "old-transforms"),
    (r"signature:(to_tensor|init_data)", "to-tensor"),
    (r"signature:EmbeddingLookup\..*", "embedding-lookup"),
    (r"no-checkpoints", "no-checkpoints"),
    (r"signature:ScalarCast", "scalar-cast"),
    (r"signature:set_parameter_data", "parameter-data"),
    (r"early-cell", "early-cell"),
)
_HINTS = (
    (r"For 'ScalarCast'", "scalar-cast"),
    (r"no attribute 'ResizeBilinear'", "resize-bilinear"),
    (r"module 'numpy' has no attribute", "numpy-aliases"),
    (r"No such file or directory", "cwd"),
    (r"Cast\(\)\(input=None", "cast-none"),
    (r"Operator\[Gather\], the inputs number", "gather-v2"),
    (r"ResizeNearestNeighbor\(size=Tuple<float", "resize-nearest"),
)
# What needs no adapter: the library does it always, or recipes tell it otherwise.
_NEEDLESS = re.compile(r"context|arguments|folders|file:.*")


def adapters_of(used: Iterable[str], known: Iterable[str]) -> tuple[list[str], list[str]]:
    """The library's adapters for what capturing used, and what none of them gives.

    Args:
        used: As `leniency.used` has it.
        known: Names of the library's adapters, those with a parameter as `name:WHAT`.
    """
    plain = {name for name in known if ":" not in name}
    adapters: set[str] = set()
    unknown = []
    for name in used:
        if _NEEDLESS.fullmatch(name) or name.startswith("called:"):
            continue
        adapter = next((adapter for pattern, adapter in _ADAPTERS if re.fullmatch(pattern, name)), None)
        kind, _, rest = name.partition(":")
        if adapter is None and kind == "stub":
            adapter = rest if rest in plain else f"stub:{rest}"
        elif adapter is None and kind == "local":
            module, _, file = rest.partition("=")
            adapter = f"renamed:{module}={file[: -len('.py')].replace('/', '.')}"
        elif adapter is None and kind == "module":
            adapter = f"stub:{rest}"
        elif adapter is None and kind == "name":
            adapter = f"stub:{rest.rpartition('.')[0]}"
        if adapter is None:
            unknown.append(name)
        else:
            adapters.add(adapter)
    return sorted(adapters), unknown


_WORD = re.compile(r"\w+")


def pruned(value: Any, words: set[str]) -> Any:
    """A call without attributes of configurations that the code never speaks of."""
    if isinstance(value, list):
        return [pruned(item, words) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("object"), dict):
        kept = {name: pruned(item, words) for name, item in value["object"].items() if name in words}
        return {**value, "object": kept}
    if value.get("callable") == "easydict:EasyDict" and value["args"] and "dict" in value["args"][0]:
        told = value["args"][0]["dict"]
        return {**value, "args": [{"dict": _pruned_dict(told, words)}]}
    return {key: pruned(item, words) for key, item in value.items()}


def _pruned_dict(told: dict[str, Any], words: set[str]) -> dict[str, Any]:
    kept = {}
    for name, item in told.items():
        if name in words:
            inner = isinstance(item, dict) and isinstance(item.get("dict"), dict)
            kept[name] = {"dict": _pruned_dict(item["dict"], words)} if inner else pruned(item, words)
    return kept


class Prover:
    """Proves the recipes of one folder.

    Args:
        folder: The folder, with its recipes.
        child: What runs a job in a process of its own.
        limit: Seconds to build and to run forward in; a quarter more for the library's own part.
        known: Names of the library's adapters.
    """

    def __init__(self, folder: Folder, child: Callable[..., dict[str, Any]], limit: float, known: Iterable[str]):
        self.folder, self.child, self.limit, self.known = folder, child, limit, list(known)

    def work(self) -> int:
        """Prove every recipe at every branch where it was built; how many were not proved before."""
        new = 0
        siblings = [recipe["inputs"] for recipe in self.folder.recipes if recipe["inputs"]]
        for recipe in self.folder.recipes:
            if "final" not in recipe:
                recipe["final"] = self._final(recipe, siblings)
                new += 1
        return new

    def _words(self, recipe: dict[str, Any]) -> set[str]:
        words: set[str] = set()
        for branch, proof in recipe["proofs"].items():
            for name in proof.get("blobs", ()):
                file = self.folder.copy(branch) / name
                if name.endswith(".py") and file.is_file():
                    words.update(_WORD.findall(file.read_text(errors="replace")))
        return words

    def _final(self, recipe: dict[str, Any], siblings: list[Any]) -> dict[str, Any]:
        """What holds of a recipe: the call to write down, adapters, where it builds and whether it runs."""
        branches = [b for b in self.folder.order() if "same" not in recipe["proofs"].get(b, {}) and proved(recipe, b)]
        used = {name for branch in branches for name in recipe["proofs"][branch]["used"]}
        adapters, unknown = adapters_of(used, self.known)
        adapters += [f"folder:{place}" for place in recipe["call"].get("folders", ())]
        adapters += [f"environ:{name}={value}" for name, value in recipe["call"].get("environ", {}).items()]
        inputs = [one for one in [recipe["inputs"], *siblings] if one]
        inputs = [one for told in inputs for one in (_single(told), told, _plain(_single(told)), _plain(told))]
        inputs = [one for number, one in enumerate(inputs) if one not in inputs[:number]][:6]
        final: dict[str, Any] = {"branches": {}, "unknown": unknown, "errors": {}, "runs": None}
        short = {"call": pruned(recipe["call"], self._words(recipe)), "adapters": adapters}
        chosen: dict[str, Any] | None = None
        for branch in branches:
            if chosen is None:
                chosen = self._first(recipe, branch, short, inputs, final)
                if chosen is None and short["call"] != recipe["call"]:
                    chosen = self._first(recipe, branch, {**short, "call": recipe["call"]}, inputs, final)
            elif not self._try(recipe, branch, chosen, None, final):
                # Another state of the code may need the whole configuration, or another adapter.
                final["errors"].setdefault(branch, "?")
        if chosen:
            final |= chosen
        return final

    def _try(
        self,
        recipe: dict[str, Any],
        branch: str,
        attempt: dict[str, Any],
        inputs: list[Any] | None,
        final: dict[str, Any],
    ) -> bool:
        told = self._build(branch, attempt, inputs)
        if told.get("digest") != recipe["digest"]:
            final["errors"][branch] = told.get("error") or "other parameters"
            return False
        final["errors"].pop(branch, None)
        final["branches"][branch] = told
        final["runs"] = final["runs"] or told.get("runs")
        return True

    def _first(
        self, recipe: dict[str, Any], branch: str, attempt: dict[str, Any], inputs: list[Any], final: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Find what it takes to build a recipe: adapters and arguments are added as errors ask for them."""
        for _ in range(4):
            if self._try(recipe, branch, attempt, inputs, final):
                break
            error, adapters, call = final["errors"][branch], attempt["adapters"], attempt["call"]
            if "ended the program" in error and "argv" not in call:
                argv = recipe["proofs"][branch].get("argv")
                if not argv:
                    return None
                attempt = {**attempt, "call": {**call, "argv": argv}}
            elif re.search(r"\.\./src/", error) and "cwd:src" not in adapters:
                attempt = {**attempt, "adapters": [*adapters, "cwd:src"]}
            elif "FileNotFoundError" in error and "cwd" not in adapters:
                attempt = {**attempt, "adapters": [*adapters, "cwd"]}
            else:
                return None
        else:
            return None
        attempt = self._hinted(recipe, branch, attempt, inputs, final)
        told = final["branches"][branch]
        if not final["runs"] and told["errors"][-1:] == ["TimeLimit"] and _smaller(inputs) != inputs:
            self._try(recipe, branch, attempt, _smaller(inputs), final)
        told = final["branches"][branch]
        if not final["runs"] and "float32" not in attempt["adapters"] and told["errors"] != ["TimeLimit"]:
            single = {**attempt, "adapters": [*attempt["adapters"], "float32"]}
            if self._try(recipe, branch, single, inputs, final) and final["runs"]:
                return single
            final["errors"].pop(branch, None)
            final["branches"][branch] = told
        return attempt

    def _hinted(
        self, recipe: dict[str, Any], branch: str, attempt: dict[str, Any], inputs: list[Any], final: dict[str, Any]
    ) -> dict[str, Any]:
        """The attempt with the adapters that running forward asks for."""
        for _ in range(2):
            told = final["branches"][branch]
            wanted = [name for error in told["errors"] for pattern, name in _HINTS if re.search(pattern, error)]
            new = [name for name in dict.fromkeys(wanted) if name not in attempt["adapters"]]
            if final["runs"] or not new:
                break
            more = {**attempt, "adapters": [*attempt["adapters"], *new]}
            if self._try(recipe, branch, more, inputs, final):
                attempt = more
            else:
                final["errors"].pop(branch, None)
                final["branches"][branch] = told
                break
        return attempt

    def _build(self, branch: str, attempt: dict[str, Any], inputs: list[Any] | None) -> dict[str, Any]:
        started = time.monotonic()
        job = {**attempt, "inputs": inputs, "field": self.folder.path.split("/")[1]}
        told = self.child("prove", self.folder.copy(branch), job, self.limit * 1.25)
        told["seconds"] = round(time.monotonic() - started, 1)
        return told


def _single(inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same for a batch of one, if a batch is what they have in common."""
    if len({tuple(one["shape"][:1]) for one in inputs}) != 1:
        return inputs
    return [{**one, "shape": [1, *one["shape"][1:]] if one["shape"] else []} for one in inputs]


def _plain(inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same in single precision: scripts often leave numbers as NumPy has them."""
    return [{**one, "type": "float32" if one["type"] in ("float64", "float16") else one["type"]} for one in inputs]


def prove(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Build by the library, in a process that is thrown away, and run forward.

    Args:
        folder: A copy of the model's folder.
        job: `call`, `adapters`, `inputs` (a list of alternatives; None: it is not run), `field` (cv, nlp).
    """
    import os

    from mshub_ssd import foreign
    from mshub_ssd.providers import Call

    from . import running

    call = job["call"]
    network = foreign.build(
        folder, Call(call["callable"], tuple(call["args"]), call["kwargs"], tuple(call.get("argv", ()))),
        adapters=job["adapters"], initialised=True,
    )  # fmt: skip
    listed = running.parameters(network)
    told: dict[str, Any] = {"parameters": len(listed), "digest": running.digest(listed), "errors": []}
    if job["inputs"] is None:
        return told
    network.set_train(False)
    os.chdir(folder)
    waiting = list(job["inputs"] or guesses(network, call, job["field"]))
    while waiting:
        inputs = waiting.pop(0)
        running.report({**told, "errors": [*told["errors"], "TimeLimit"]})
        try:
            network(*[running.sample(one, "float32" in job["adapters"]) for one in inputs])
        except Exception as error:  # noqa: BLE001 (any error of the code is told)
            told["errors"].append(running.told_of(error))
            if "missing 1 required positional argument" in str(error):  # what evaluation compares with
                waiting.append([*inputs, {"shape": inputs[0]["shape"][:1], "type": "int32"}])
            elif "positional arguments but" in str(error) and len(inputs) > 1:  # what only evaluation's wrapper takes
                waiting.append(inputs[:-1])
        else:
            told["runs"] = inputs
            break
    return told


def _smaller(inputs: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """The same with smaller pictures, for networks that take any size, and take their time."""

    def smaller(one: dict[str, Any]) -> dict[str, Any]:
        *first, height, width = one["shape"] if len(one["shape"]) >= 4 else [0, 0]
        if min(height, width) < 64 or not first:
            return one
        return {**one, "shape": [*first, *(max(32, side // 4 // 32 * 32) for side in (height, width))]}

    return [[smaller(one) for one in told] for told in inputs]


# Pictures whose shape nobody tells.
_SIDES = (224, 256, 32, 64, 128, 299, 512)


def guesses(network: Any, call: dict[str, Any], field: str) -> list[list[dict[str, Any]]]:
    """What a network may take whose script does not say: whether it does is seen at once."""
    parameters = inspect.signature(network.construct).parameters.values()
    count = sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    found = []
    if count == 1:
        shapes = _first_layer(network)
        if field == "cv" and not shapes:
            shapes = [[1, 3, side, side] for side in _SIDES]
        found = [[{"shape": shape, "type": "float32"}] for shape in shapes]
    if 1 <= count <= 4 and (field == "nlp" or (count == 1 and not found)):
        text = json.dumps(call)
        lengths, batches = (
            [int(size) for size in re.findall(rf'"(?:{names})": (\d+)', text)]
            for names in ("seq_length|max_seq_length|max_length|word_len", "batch_size|eval_batch_size")
        )
        for batch in dict.fromkeys([1, *batches[:1], 16]):
            found.append([{"shape": [batch, (lengths or [128])[0]], "type": "int32"}] * count)
    return found


def _first_layer(network: Any) -> list[list[int]]:
    """Shapes that the first layer of a network takes."""
    for _, cell in network.cells_and_names():
        kind, channels = type(cell).__name__, getattr(cell, "in_channels", 0)
        if kind == "Conv2d":
            return [[1, channels, side, side] for side in _SIDES]
        if kind == "Conv3d":
            return [[1, channels, 16, 112, 112], [1, channels, 64, 64, 64], [1, channels, 32, 128, 128]]
        if kind == "Conv1d":
            return [[1, channels, 200], [1, channels, 1024]]
        if kind == "Dense":
            return [[1, channels], [1, 16, channels], [16, channels]]
        if kind in ("Embedding", "EmbeddingLookup"):
            return []
    return []
