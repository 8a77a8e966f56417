"""``doctor``: would loading work here, and if not, where does the chain break?"""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from mshub_ssd.cli.models import (
    asset_facts,
    complete_uid,
    digest_text,
    is_weak,
    json_option,
)
from mshub_ssd.cli.offline import offline_option
from mshub_ssd.cli.output import emit, emit_json, guarded_stdout, mshub_command, verbosity_options, without_secrets
from mshub_ssd.errors import MshubError
from mshub_ssd.redaction import hide, redact, scrub
from mshub_ssd.terminal import size_text

if TYPE_CHECKING:
    from mshub_ssd.cards import Asset, Card

__all__ = ["doctor_command"]


@dataclass(frozen=True)
class Finding:
    """One link of the chain.

    Attributes:
        subject: What was looked at.
        state: ``fault`` is what keeps `load` from working, ``note`` what is worth knowing.
        text: What was found, in words.
        hint: What to do next.
        facts: The same for programs.
    """

    subject: str
    state: Literal["ok", "note", "fault"]
    text: str
    hint: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@click.command("doctor")
@offline_option
@click.argument("uid", required=False, shell_complete=complete_uid)
@click.option("--fetch", is_flag=True, help="Download the checkpoint if it is not here, and check it too.")
@json_option
@verbosity_options
def doctor_command(uid: str | None, fetch: bool, as_json: bool) -> None:
    """Check all that loading needs, link by link.

    Without UID only this machine: versions, settings, device. With a UID, or the path of a card file, also its card,
    network, checkpoint and parameters. Downloads nothing unless --fetch is given. The exit code is 1 if something
    would keep the model from loading.
    """
    if fetch and uid is None:
        raise click.UsageError("--fetch needs a UID")
    with guarded_stdout():
        findings = list(_environment())
        faulty = {finding.subject for finding in findings if finding.state == "fault"}
        if uid is not None and "settings" not in faulty:
            findings += _chain(uid, fetch, builds=not faulty)
    faults = [finding for finding in findings if finding.state == "fault"]
    if as_json:
        answer = {"uid": uid, "ok": not faults, "findings": [asdict(finding) for finding in findings]}
        emit_json(without_secrets(answer))
    else:
        emit(scrub(_report(findings)))
        emit(f"\n{_verdict(len(faults), uid)}")
    if faults:
        click.get_current_context().exit(1)


def _environment() -> Iterator[Finding]:
    from mshub_ssd import cpu, settings
    from mshub_ssd.registry import default_registry

    version = settings.package_version()
    yield Finding("mshub_ssd", "ok", f"{version}, in {Path(settings.__file__).parent}", facts={"version": version})
    python = platform.python_version()
    machine = f"{platform.system()} {platform.machine()}"
    yield Finding("python", "ok", f"{python} on {machine}", facts={"version": python, "machine": machine})
    try:
        current = settings.current()
        registry = default_registry(current)
        count = len(registry.uids())
    except MshubError as error:
        yield _fault("settings", error)
    else:
        endpoint = redact(current.endpoint) if current.endpoint else None
        facts = {"home": str(current.home), "offline": current.offline, "cards": count, "endpoint": endpoint}
        roots = [str(root) for root in registry.roots]
        offline = ["offline: the network is forbidden"] if current.offline else []
        mirror = [f"mirror {endpoint}"] if endpoint else []
        text = "; ".join([f"cache in {current.home}", *offline, *mirror, f"{count} cards in {' and '.join(roots)}"])
        yield Finding("settings", "ok", text, facts={**facts, "registry": roots})
    yield from _mindspore()
    isa = cpu.isa_plan()
    text = f"limited to {isa.limit}: {isa.reason}" if isa.limit else f"left as it is: {isa.reason}"
    yield Finding("cpu", "ok", f"oneDNN's instruction set {text}", facts={"limit": isa.limit, "reason": isa.reason})


def _mindspore() -> Iterator[Finding]:
    from mshub_ssd import engines, networks

    for package in ("numpy", "mindspore"):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # told below, with what to do
        yield Finding(package, "ok", version, facts={"version": version})
    try:
        networks.require_mindspore()
        target = engines.device_target()
    except MshubError as error:
        yield _fault("device", error)
    else:
        yield Finding("device", "ok", target, facts={"target": target})


def _chain(name: str, fetch: bool, *, builds: bool) -> Iterator[Finding]:
    """From a name to matched parameters; `builds` says whether networks can be built here at all."""
    from mshub_ssd import networks, providers
    from mshub_ssd.hub import default_hub

    hub = default_hub()
    try:
        card = hub.info(name)
    except MshubError as error:
        yield _fault("card", error)
        return
    yield from _card(card)
    network = False
    try:
        choice = providers.choose_network(card)
    except MshubError as error:
        yield _fault("network", error)
    else:
        network = True
        constructor = networks.describe(choice.key)
        facts = {"key": choice.key, "reason": choice.reason, "constructor": constructor}
        yield Finding("network", "ok", f"{choice.key}, by {choice.reason}: {constructor}", facts=facts)
    here = False
    try:
        asset, file_format = providers.choose_asset(card)
    except MshubError as error:
        found = hub.standing(card)
        yield _fault("asset", found.error or error)
    else:
        text = f"{file_format}, {hide(asset.url)}, sha256 {digest_text(asset)}"
        hint = f"get the file, and give the whole digest in the card: {mshub_command()} fetch {shlex.quote(name)}"
        facts = {**asset_facts(asset), "file_format": file_format}
        weak = is_weak(asset)
        yield Finding("asset", "note" if weak else "ok", text, hint if weak else None, facts)
        file = _file(name, card, asset, fetch)
        here = file.state == "ok"
        yield file
    if network and builds:
        yield _parameters(name, here)


def _card(card: Card) -> Iterator[Finding]:
    from mshub_ssd.cards import examine_card, read_bytes

    assert card.path is not None  # it was read from there
    yield Finding("card", "ok", str(card.path), facts={"uid": card.uid, "path": str(card.path)})
    try:
        data = read_bytes(card.path)
    except OSError as error:  # it could be read a moment ago
        yield Finding("card", "fault", f"the card cannot be read any more: {error.strerror}")
        return
    for problem in examine_card(data, uid=card.uid, path=card.path).problems:
        place = f"{problem.span.line}:{problem.span.column}: " if problem.span else ""
        yield Finding("card", "note", f"{place}{problem.message}", problem.hint, {"code": problem.code})


def _file(name: str, card: Card, asset: Asset, fetch: bool) -> Finding:
    from mshub_ssd import store
    from mshub_ssd.hub import default_hub

    assert asset.sha256 is not None  # choose_asset saw to it
    try:
        target = card.resolve(asset)
        if isinstance(target, str) and not fetch:
            found = store.cached([target], asset.sha256)
            if found is None:
                sources = list(store.plan([target], asset.sha256).shown)
                text = f"not here; load would download it from {', else '.join(sources)}"
                hint = f"{mshub_command()} doctor {shlex.quote(name)} --fetch"
                return Finding("file", "note", text, hint, {"path": None, "sources": sources})
        path = default_hub().fetch(name)
    except MshubError as error:
        return _fault("file", error)
    size = path.stat().st_size
    return Finding("file", "ok", f"verified, {size_text(size)}: {path}", facts={"path": str(path), "size": size})


def _parameters(name: str, here: bool) -> Finding:
    """The proof: load it, as far as it can be loaded without a download."""
    from mshub_ssd.hub import default_hub

    try:
        network = default_hub().load(name, pretrained=here)
    except MshubError as error:
        return _fault("parameters", error)
    count = len(list(network.get_parameters()))
    if not here:
        text = f"the network was built and has {count}; whether the checkpoint's fit cannot be told without it"
        return Finding("parameters", "note", text, facts={"network": count})
    report = network.load_report
    facts = {
        "network": count,
        "loaded": len(report.loaded),
        "ignored": len(report.ignored),
        "prefix": report.prefix,
        "layout": report.layout,
    }
    ignored = f", {len(report.ignored)} entries of training state left out" if report.ignored else ""
    prefix = f", {report.prefix!r} taken off their names" if report.prefix else ""
    layout = f", translated from {report.layout}" if report.layout else ""
    return Finding("parameters", "ok", f"all {count} found in the checkpoint{prefix}{layout}{ignored}", facts=facts)


def _fault(subject: str, error: MshubError) -> Finding:
    rows = [("where", error.where), ("expected", error.expected), ("got", error.got)]
    facts = {"kind": type(error).__name__, "code": error.code, **dict(rows)}
    text = "\n".join([error.message, *(f"{label}: {text}" for label, text in rows if text)])
    return Finding(subject, "fault", text, error.hint, facts)


def _report(findings: list[Finding]) -> str:
    space = max(len(finding.subject) for finding in findings)
    lines = []
    for finding in findings:
        rows = finding.text.splitlines() + ([f"next: {finding.hint}"] if finding.hint else [])
        lines.append(f"{finding.state:<5}  {finding.subject:<{space}}  {rows[0]}")
        lines += [f"{'':<5}  {'':<{space}}  {row}" for row in rows[1:]]
    return "\n".join(lines)


def _verdict(faults: int, uid: str | None) -> str:
    if faults:
        return f"{faults} {'fault keeps' if faults == 1 else 'faults keep'} {uid or 'models'} from loading."
    return "Nothing found that would keep it from loading." if uid else "Models can be loaded here."
