"""``doctor``: would loading work here, and if not, where does the chain break?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mshub_ssd.cli.options import complete_uid, json_option, offline_option, verbosity_options
from mshub_ssd.cli.output import answer, guarded_stdout, without_secrets
from mshub_ssd.redaction import scrub

if TYPE_CHECKING:
    from mshub_ssd.doctor import Diagnosis

__all__ = ["doctor_command"]


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
    from mshub_ssd import doctor

    with guarded_stdout():
        findings = doctor.diagnose(uid, fetch=fetch)
    faults = sum(finding.state == "fault" for finding in findings)
    facts = {"uid": uid, "ok": not faults, "findings": [asdict(finding) for finding in findings]}
    loads = all(finding.state == "ok" for finding in findings if finding.subject == "device")
    text = f"{scrub(_report(findings))}\n\n{_verdict(faults, uid, loads)}"
    answer(without_secrets(facts), text, as_json, failed=bool(faults))


def _report(findings: Sequence[Diagnosis]) -> str:
    space = max(len(finding.subject) for finding in findings)
    lines = []
    for finding in findings:
        rows = finding.text.splitlines() + ([f"next: {finding.hint}"] if finding.hint else [])
        lines.append(f"{finding.state:<5}  {finding.subject:<{space}}  {rows[0]}")
        lines += [f"{'':<5}  {'':<{space}}  {row}" for row in rows[1:]]
    return "\n".join(lines)


def _verdict(faults: int, uid: str | None, loads: bool) -> str:
    if faults:
        return f"{faults} {'fault keeps' if faults == 1 else 'faults keep'} {uid or 'models'} from loading."
    if not loads:
        return f"{'Nothing found that would keep it from looking' if uid else 'Models can look'} at pictures here."
    return "Nothing found that would keep it from loading." if uid else "Models can be loaded here."
