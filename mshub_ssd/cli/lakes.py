"""``--ray`` of ``detect`` and ``classify``: many pictures, looked at by the machines of a Ray cluster."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import click

from mshub_ssd.cli.output import answer, guarded_stdout, on_terminal, without_secrets
from mshub_ssd.errors import MshubError
from mshub_ssd.terminal import Bar, counted

__all__ = ["looked_by_ray", "ray_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


_OPTIONS = (
    click.option(
        "--ray",
        "on_ray",
        is_flag=True,
        help="Let the machines of a Ray cluster look. --out is a folder or an address; what is in it is gone on with.",
    ),
    click.option("--address", metavar="ADDRESS", help="Of the Ray cluster.  [default: RAY_ADDRESS, else this machine]"),
    click.option(
        "--actors",
        type=click.IntRange(min=1),
        metavar="N",
        help="With --ray, so many look at once.  [default: one per CPU of the cluster]",
    ),
)


def ray_options(command: Command) -> Command:
    """Decorator: the options that `looked_by_ray` takes out of ``output``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def looked_by_ray(
    kind: str, model: str, images: Sequence[str], chosen: Mapping[str, Any], output: dict[str, Any]
) -> bool:
    """Look at pictures on a cluster if that was asked for, and answer with what was done.

    Args:
        kind: ``detector`` or ``classifier``.
        model: A uid, or the path of a card.
        images: Files, folders, patterns and urls, or ``-`` for a list of them on standard input.
        chosen: Options of `mshub_ssd.ray.Detector` or `Classifier`.
        output: The command's other options; those of `ray_options` are taken out.

    Returns:
        False where it was not asked for.

    Raises:
        BadParameter: The options do not fit together.
    """
    on_ray, address, actors = (output.pop(name) for name in ("on_ray", "address", "actors"))
    out, as_json = output["out"], output["as_json"]
    if not on_ray:
        for name, value in (("--address", address), ("--actors", actors)):
            if value is not None:
                raise click.BadParameter("this means nothing without --ray", param_hint=f"'{name}'")
        return False
    if out is None:
        raise click.BadParameter("--ray writes its results into a folder: --out FOLDER", param_hint="'--out'")
    if output["out_dir"] is not None:
        raise click.BadParameter("--ray draws nothing", param_hint="'--out-dir'")
    if output["form"] not in (None, "parquet"):
        raise click.BadParameter("--ray writes Parquet files", param_hint="'--format'")
    _look(kind, model, list(_named(images)), str(out), chosen, address=address, actors=actors, as_json=as_json)
    return True


def _look(
    kind: str,
    model: str,
    named: Sequence[str],
    out: str,
    chosen: Mapping[str, Any],
    *,
    address: str | None,
    actors: int | None,
    as_json: bool,
) -> None:
    from mshub_ssd import ray

    begun = time.perf_counter()
    shown = as_json or not on_terminal()
    with guarded_stdout(), Bar("pictures", len(named), unit="picture", shown=shown) as bar:
        done = ray.run(kind, model, named, out, options=chosen, address=address, actors=actors, told=bar.reach)
    seconds = round(time.perf_counter() - begun, 2)
    place = without_secrets(done.out)
    lines = [f"{counted(done.pictures, 'picture')} in {place}, {seconds:.1f} s"]
    if done.before:
        lines.append(f"{done.before} of them had been looked at before")
    if done.failures:
        lines.append(f"{done.failures} of them could not be looked at: see the column error_message")
    facts = {**vars(done), "out": place, "model": model, "seconds": seconds}
    answer(facts, "\n".join(lines), as_json, failed=bool(done.failures))


def _named(images: Sequence[str]) -> Iterator[str]:
    """The pictures that names mean.

    Raises:
        MshubError: In one of its kinds: a name means nothing, a folder or a store cannot be listed.
        BadParameter: One of them is a video.
    """
    from mshub_ssd import bulk

    for one in bulk.Sources(images, bulk.Input(sys.stdin.buffer)):
        if one is None:  # not there yet
            continue
        item, _ = one
        if isinstance(item.picture, MshubError):
            raise item.picture
        if item.frame is not None:
            raise click.BadParameter(f"{item.name}: --ray looks at pictures, not at videos", param_hint="'PATH...'")
        yield item.name
