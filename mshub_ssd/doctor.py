"""Would loading work here, and if not, where does the chain break?"""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mshub_ssd import cpu, engines, foreign, networks, providers, settings
from mshub_ssd.cards import examine_card
from mshub_ssd.errors import MissingDependencyError, MshubError
from mshub_ssd.facts import asset_facts, code_facts, digest_text
from mshub_ssd.hub import Hub, default_hub
from mshub_ssd.redaction import hide, redact
from mshub_ssd.terminal import size_text

if TYPE_CHECKING:
    from mshub_ssd.cards import Card

__all__ = ["Diagnosis", "diagnose"]


@dataclass(frozen=True)
class Diagnosis:
    """One link of the chain.

    Attributes:
        subject: What was looked at.
        state: ``fault`` is what keeps models from being used, ``note`` what is worth knowing.
        text: What was found, in words.
        hint: What to do next.
        facts: The same for programs.
    """

    subject: str
    state: Literal["ok", "note", "fault"]
    text: str
    hint: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def diagnose(name: str | None = None, *, fetch: bool = False) -> list[Diagnosis]:
    """Look at all that loading needs, link by link.

    Args:
        name: A uid or the path of a card file; None for this machine only.
        fetch: Download the checkpoint if it is not here, and check it too.
    """
    found = list(_environment())
    states = {one.subject: one.state for one in found}
    if name is not None and states["settings"] != "fault":
        prove = None
        if "fault" not in states.values():
            prove = _parameters if states["device"] == "ok" else _graph
        found += _chain(default_hub(), name, fetch, prove)
    return found


def _environment() -> Iterator[Diagnosis]:
    version = settings.package_version()
    yield Diagnosis("mshub_ssd", "ok", f"{version}, in {Path(settings.__file__).parent}", facts={"version": version})
    python = platform.python_version()
    machine = f"{platform.system()} {platform.machine()}"
    yield Diagnosis("python", "ok", f"{python} on {machine}", facts={"version": python, "machine": machine})
    yield _tried("settings", _settings)
    for package in ("numpy", "mindspore", "mindcv", "mindyolo", "mindocr"):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # where it is missed, that is told below, or by the card, with what to do
        yield Diagnosis(package, "ok", version, facts={"version": version})
    yield _tried("device", _device)
    yield _tried("engines", _engines)
    isa = cpu.isa_plan()
    text = f"limited to {isa.limit}: {isa.reason}" if isa.limit else f"left as it is: {isa.reason}"
    yield Diagnosis("cpu", "ok", f"oneDNN's instruction set {text}", facts={"limit": isa.limit, "reason": isa.reason})


def _tried(subject: str, look: Callable[..., Diagnosis], *args: Any) -> Diagnosis:
    try:
        return look(*args)
    except MshubError as error:
        return _fault(subject, error)


def _fault(subject: str, error: MshubError) -> Diagnosis:
    rows = {"where": error.where, "expected": error.expected, "got": error.got}
    text = "\n".join([error.message, *(f"{label}: {value}" for label, value in rows.items() if value)])
    return Diagnosis(subject, "fault", text, error.hint, {"kind": type(error).__name__, "code": error.code, **rows})


def _settings() -> Diagnosis:
    hub = default_hub()
    home, offline = str(hub.settings.home), hub.settings.offline
    endpoint = redact(hub.settings.endpoint) if hub.settings.endpoint else None
    folders, count = [source.label for source in hub.registry.sources], len(hub.registry.uids())
    remarks = ["offline: the network is forbidden"] if offline else []
    remarks += [f"mirror {endpoint}"] if endpoint else []
    text = "; ".join([f"cache in {home}", *remarks, f"{count} cards in {' and '.join(folders)}"])
    facts = {"home": home, "offline": offline, "cards": count, "endpoint": endpoint, "registry": folders}
    return Diagnosis("settings", "ok", text, facts=facts)


def _device() -> Diagnosis:
    try:
        networks.require_mindspore()
    except MissingDependencyError as error:
        # Pictures need an engine; only `load` and training need this one.
        if "mindspore" in engines.installed() or not engines.installed():
            raise
        name = engines.choose().name
        text = f"MindSpore is not installed: pictures are looked at by {name}; load, load_weights and training need it"
        return Diagnosis("device", "note", text, error.hint, {"target": None})
    target = engines.device_target()
    return Diagnosis("device", "ok", target, facts={"target": target})


def _engines() -> Diagnosis:
    there, choice = engines.installed(), engines.choose()
    bf16 = "openvino" in there and engines.has_bf16()
    listed = ", ".join(f"{name} {version}" for name, version in there.items())
    text = f"{listed}; auto takes {choice.name}: {choice.reason}; bf16 {'can' if bf16 else 'cannot'} be asked for"
    facts = {"installed": there, "auto": choice.name, "reason": choice.reason, "bf16": bf16}
    return Diagnosis("engines", "ok", text, facts=facts)


def _chain(
    hub: Hub, name: str, fetch: bool, prove: Callable[[Hub, str, bool], Diagnosis] | None
) -> Iterator[Diagnosis]:
    """From a name to matched parameters, which are proven where that can be done here at all."""
    try:
        card, data = hub.read_card(name)
    except MshubError as error:
        yield _fault("card", error)
        return
    yield from _card(card, data)
    network = _tried("network", _network, card)
    yield network
    if network.state == "ok":
        yield from _doubts(card)
        consent = list(_code(card))
        yield from consent
        if any(one.subject == "consent" and one.state != "ok" for one in consent):
            prove = None  # it would be refused, and is no fault of the card
    asset = _tried("asset", _asset, hub, name, card)
    yield asset
    here = False
    if asset.state != "fault":
        file = _tried("file", _file, hub, name, fetch)
        here = file.state == "ok"
        yield file
    if prove is not None and network.state == "ok":
        yield _tried("parameters", prove, hub, name, here)


def _card(card: Card, data: bytes) -> Iterator[Diagnosis]:
    path = None if card.path is None else str(card.path)
    yield Diagnosis("card", "ok", card.place, facts={"uid": card.uid, "path": path, "origin": card.origin})
    for problem in examine_card(data, uid=card.uid, path=card.path, origin=card.origin).problems:
        place = f"{problem.span.line}:{problem.span.column}: " if problem.span else ""
        yield Diagnosis("card", "note", f"{place}{problem.message}", problem.hint, {"code": problem.code})


def _doubts(card: Card) -> Iterator[Diagnosis]:
    for doubt in providers.doubts(card, providers.choose_network(card)):
        yield Diagnosis("network", "note", doubt.message, doubt.hint, {"field": doubt.field})


def _network(card: Card) -> Diagnosis:
    plan = providers.plan(card, pretrained=False)
    recipe = plan.recipe
    constructor = recipe.call.callable if recipe.call else recipe.provider or networks.describe(recipe.key)
    facts = {"key": recipe.key, "reason": recipe.reason, "constructor": constructor, **code_facts(recipe)}
    more = f"; {len(plan.others)} other candidates, the checkpoint decides" if plan.others else ""
    return Diagnosis("network", "ok", f"{recipe.key}, by {recipe.reason}: {constructor}{more}", facts=facts)


def _code(card: Card) -> Iterator[Diagnosis]:
    """Whose code would run: a package, or a repository, which needs consent; and whether it is here."""
    recipe = providers.plan(card, pretrained=False).recipe
    code = recipe.code
    if code is None:
        return
    text = providers.code_text(recipe) or ""
    if recipe.adapters:
        text += f"; adapters: {', '.join(recipe.adapters)}"
    if recipe.level == "package":
        yield Diagnosis("code", "ok", text, facts=code_facts(recipe))
        return
    places = {
        (one.repository, one.commit, one.path): one.place for one in foreign.code_in_caches(default_hub().settings)
    }
    place = places.get((code.name, code.version, code.path))
    text += f"; in the cache: {place}" if place else "; not here yet: loading fetches it"
    allowed = foreign.is_allowed(code.name, code.version)
    hint = f"read it: mshub trust show {shlex.quote(card.uid)}; then: mshub trust add {code.name}@{code.version}"
    yield Diagnosis(
        "consent",
        "ok" if allowed else "note",
        f"given for {code.name}@{code.version}" if allowed else f"not given for {code.name}@{code.version}",
        None if allowed else hint,
        {"given": allowed, **code_facts(recipe)},
    )
    yield Diagnosis("code", "ok", text, facts={**code_facts(recipe), "place": place and str(place)})


def _asset(hub: Hub, name: str, card: Card) -> Diagnosis:
    file_format = hub.checkpoint(name).format
    asset = providers.choose_asset(card)[0]
    text = f"{file_format}, {hide(asset.url)}, sha256 {digest_text(asset.sha256, asset.sha256_digits)}"
    facts = {**asset_facts(asset), "file_format": file_format}
    if (asset.sha256_digits or 64) == 64:
        return Diagnosis("asset", "ok", text, facts=facts)
    hint = f"get the file, and give the whole digest in the card: mshub fetch {shlex.quote(name)}"
    return Diagnosis("asset", "note", text, hint, facts)


def _file(hub: Hub, name: str, fetch: bool) -> Diagnosis:
    plan = hub.plan_fetch(name)
    if plan.path is None and not fetch:
        text = f"not here; load would download it from {', else '.join(plan.shown)}"
        hint = f"mshub doctor {shlex.quote(name)} --fetch"
        return Diagnosis("file", "note", text, hint, {"path": None, "sources": list(plan.shown)})
    path = plan.path or hub.fetch(name)
    size = path.stat().st_size
    return Diagnosis("file", "ok", f"verified, {size_text(size)}: {path}", facts={"path": str(path), "size": size})


def _graph(hub: Hub, name: str, here: bool) -> Diagnosis:
    """The proof where MindSpore is not: compile it for an engine."""
    engine = engines.choose().name
    if not here:
        text = f"whether they fit cannot be told without the checkpoint; {engine} would run the network"
        return Diagnosis("parameters", "note", text, facts={"engine": engine})
    hub.compile(name, engine).close()
    return Diagnosis(
        "parameters", "ok", f"all of the network's found in the checkpoint; {engine} runs it", facts={"engine": engine}
    )


def _parameters(hub: Hub, name: str, here: bool) -> Diagnosis:
    """The proof: load it, as far as it can be loaded without a download."""
    network = hub.load(name, pretrained=here)
    count = len(list(network.get_parameters()))
    if not here:
        text = f"the network was built and has {count}; whether the checkpoint's fit cannot be told without it"
        return Diagnosis("parameters", "note", text, facts={"network": count})
    report = network.load_report
    facts = {
        "network": count,
        "loaded": len(report.loaded),
        "ignored": len(report.ignored),
        "prefix": report.prefix,
        "layout": report.layout,
    }
    text = f"all {count} found in the checkpoint"
    text += f", {report.prefix!r} taken off their names" if report.prefix else ""
    text += f", translated from {report.layout}" if report.layout else ""
    text += f", {len(report.ignored)} entries of training state left out" if report.ignored else ""
    return Diagnosis("parameters", "ok", text, facts=facts)
