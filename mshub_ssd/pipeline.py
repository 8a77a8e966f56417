"""From pictures to results: a network's family and what runs it, joined."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mshub_ssd import engines, families
from mshub_ssd.ahead import NOT_YET, Limits, Stop, in_order
from mshub_ssd.cpu import thread_limit
from mshub_ssd.errors import ImageError, OfflineError, TransferError, UsageError
from mshub_ssd.pictures import RGB, name_of
from mshub_ssd.results import Failure

if TYPE_CHECKING:
    from mindspore import nn

__all__ = ["Pipeline", "as_kind", "family_of", "postprocess"]

Kind = TypeVar("Kind", bound=families.Family)

# What can be wrong with one picture and not with the next.
_BROKEN = (ImageError, TransferError, OfflineError)
# More threads than that do not help those who wait for slow pictures.
_MAX_THREADS = 32


class Pipeline:
    """A network ready for pictures; for any number of threads.

    Args:
        config: The network's.
        runner: What runs it.
        cell: The Cell behind the runner, if there is one.
        name: What messages call the network.

    Attributes:
        family: How the network sees pictures.
        runner: What runs it.
        config: The network's.

    Raises:
        UsageError: The network has no family.
    """

    def __init__(self, config: Any, runner: engines.Runner, *, cell: Any = None, name: str = "") -> None:
        self.family, self.runner, self.config = family_of(config, name), runner, config
        self._cell = cell
        self._closed = False

    @classmethod
    def of_cell(cls, cell: nn.Cell) -> Pipeline:
        """Ready a Cell: it runs with the weights that it has at each call.

        Raises:
            UsageError: It has no family.
        """
        config, name = getattr(cell, "config", None), repr(type(cell).__name__)
        return cls(config, engines.cell_runner(cell), cell=cell, name=name)

    def fits(self, cell: nn.Cell) -> bool:
        """Whether it was made for this Cell, as it is configured now."""
        return self._cell is cell and self.config is getattr(cell, "config", None)

    def family_as(self, wanted: type[Kind]) -> Kind:
        """The family, if it is of that kind.

        Raises:
            UsageError: It is of another.
        """
        return as_kind(self.family, wanted)

    def results(self, pictures: Sequence[RGB], options: Any) -> list[Any]:
        """What is on pictures.

        Args:
            pictures: RGB uint8 [h, w, 3] each.
            options: From the family's `options`.

        Raises:
            UsageError: The network is in training mode, or the Pipeline was closed.
        """
        self._check()
        inputs = [self.family.preprocess(picture) for picture in pictures]
        # One by one, since batches gain nothing on CPUs; engines with streams run several at once.
        outputs = self.runner.run_many([batch for batch, _ in inputs])
        found = zip(outputs, inputs, pictures, strict=True)
        return [
            self.family.postprocess(output, [transform], options, pictures=[picture])[0]
            for output, (_, transform), picture in found
        ]

    def stream(
        self,
        images: Iterable[Any],
        read: Callable[[Any], RGB],
        options: Any,
        *,
        batch: int | None = None,
        prefetch: int | None = None,
        strict: bool = True,
    ) -> Iterator[Any]:
        """What is on pictures, one after the other; threads read, run the network and look at its outputs meanwhile.

        Args:
            images: Any number of them, without an end too; a `Failure` among them comes out as it is.
            read: Makes a picture of each.
            options: From the family's `options`.
            batch: So many go through the network together; None for one.
            prefetch: So many are taken beyond those whose results are given out; None for enough to keep all busy.
            strict: Whether a broken picture is an error. Otherwise a `Failure` stands in its place.

        Raises:
            UsageError: A number makes no sense.
            MshubError: What `read` and `results` raise; of a picture that cannot be read `where` tells which it is.
        """
        for name, value, least in (("batch", batch, 1), ("prefetch", prefetch, 0)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise UsageError(
                    f"{name} is not a number of pictures", expected=f"{least} or more, or None", got=repr(value)[:80]
                )
        self._check()
        return self._flowing(images, read, options, batch or 1, prefetch, strict)

    def _flowing(
        self,
        images: Iterable[Any],
        read: Callable[[Any], RGB],
        options: Any,
        batch: int,
        prefetch: int | None,
        strict: bool,
    ) -> Iterator[Any]:
        flow = self.runner.flow()
        work = _Looking(self.family, flow, read, options, strict=strict, check=self._check)
        cores = thread_limit() or os.cpu_count() or 1

        # Enough that neither the network nor a reader waits.
        enough = batch * (flow.depth + 2) + 2 * cores
        # A reader more than processors: now and then one waits for Python while nothing else has work.
        limits = Limits(enough if prefetch is None else batch + prefetch, cores + 1, flow.depth)
        try:
            # A generator of its own, so that it ends before the flow does, however this one ends.
            with closing(in_order(_numbered(images), work, limits, batch=batch, max_threads=_MAX_THREADS)) as found:
                yield from found
        finally:
            flow.close()

    def postprocess(self, outputs: Any, image_size: Any, options: Any) -> Any:
        """`postprocess` for this network, which must not be in training mode."""
        self._check()
        return postprocess(self.family, outputs, image_size, options)

    def close(self) -> None:
        """Let go of the network; a Cell stays what it is."""
        if not self._closed:
            self._closed = True
            self.runner.close()

    def _check(self) -> None:
        if self._closed:
            raise UsageError("this network was closed", hint="make a new Predictor")
        if self._cell is not None and self._cell.training:
            raise UsageError(
                f"the network is in training mode, where {self.family.while_training}",
                hint="call network.set_train(False) first",
            )


def family_of(config: Any, name: str = "") -> families.Family:
    """The family of the network with this configuration.

    Args:
        config: The network's.
        name: What messages call the network.

    Raises:
        UsageError: It has none.
    """
    family = families.of(config)
    if family is None:
        raise UsageError(
            "this network is not of a kind that this library knows: it has no configuration of a known family",
            expected="a uid, or a network from mshub_ssd.load",
            got=name or None,
            hint="of a network of your own: let network.config name its family, see docs/families.md",
        )
    return family


def postprocess(family: families.Family, outputs: Any, image_size: Any, options: Any) -> Any:
    """Turn raw outputs into a result, or into a list of them; the network itself is not needed.

    Args:
        family: The network's.
        outputs: As the network returns them; those for one picture may lack the batch axis. Arrays or tensors.
        image_size: (height, width) of the original picture in pixels, or a list of these, one per picture.
        options: From the family's `options`.

    Raises:
        UsageError: The outputs do not fit the network, or not so many pictures.
    """
    arrays, sizes = engines.to_arrays(outputs), _several(image_size)
    if sizes is None:
        return family.result(arrays, family.transform(image_size), options)
    return family.postprocess(arrays, list(map(family.transform, sizes)), options)


def as_kind(family: families.Family, wanted: type[Kind]) -> Kind:
    """The family, if it is of that kind.

    Raises:
        UsageError: It is of another.
    """
    if isinstance(family, wanted):
        return family
    raise UsageError(
        f"this network is a {family.kind}: {family.does}",
        got=getattr(family.config, "name", None),
        hint=family.door,
    )


def _several(image_size: Any) -> list[Any] | None:
    """Sizes of several pictures; None for the size of one, and for what is none."""
    sizes = image_size.tolist() if hasattr(image_size, "tolist") else image_size
    if isinstance(sizes, list | tuple) and all(isinstance(size, Sequence) for size in sizes):
        return list(sizes)
    return None


def _numbered(images: Iterable[Any]) -> Iterator[Any]:
    number = 0
    for image in images:
        number += image is not NOT_YET
        yield image if image is NOT_YET else (number, image)


class _Seen:
    """A picture on its way through the network."""

    def __init__(self, picture: RGB, ready: Any, transform: families.Transform) -> None:
        self.picture, self.input, self.transform = picture, ready, transform


# Pictures in a batch, in order, and what is under way for those of each shape: nearly always one.
_Batch = tuple[Sequence["Failure | _Seen"], list[tuple[list[_Seen], engines.Running]]]


class _Looking:
    """What is done with the pictures of a stream, see `mshub_ssd.ahead.Work`.

    Attributes:
        flow: What runs the network.
    """

    def __init__(
        self,
        family: families.Family,
        flow: engines.Flow,
        read: Callable[[Any], RGB],
        options: Any,
        *,
        strict: bool,
        check: Callable[[], None],
    ) -> None:
        self.flow = flow
        self._family, self._read, self._options, self._strict, self._check = family, read, options, strict, check

    def prepare(self, numbered: tuple[int, Any], stop: Stop) -> Failure | _Seen:
        number, image = numbered
        if isinstance(image, Failure):
            return image
        try:
            try:
                picture = self._read(image)
            except MemoryError as error:
                raise ImageError("there is no room in memory for this picture", hint="make it smaller first") from error
            stop.check()
            return _Seen(picture, *self._family.preprocess(picture))
        except _BROKEN as error:
            if not self._strict:
                return Failure(name_of(image), error)
            place = error.where or name_of(image)
            error.where = f"picture {number}" + (f": {place}" if place else "")
            raise

    def start(self, batch: Sequence[Failure | _Seen]) -> _Batch:
        self._check()
        groups: dict[tuple[int, ...], list[_Seen]] = {}
        for one in batch:
            if isinstance(one, _Seen):
                groups.setdefault(one.input.shape, []).append(one)
        under_way = []
        for some in groups.values():
            inputs = some[0].input if len(some) == 1 else np.concatenate([one.input for one in some])
            under_way.append((some, self.flow.start(inputs)))
        return batch, under_way

    def is_done(self, batch: _Batch, seconds: float) -> bool:
        return all(running.is_done(seconds) for _, running in batch[1])

    def finish(self, batch: _Batch) -> Iterator[Any]:
        results: dict[_Seen, Any] = {}
        for some, running in batch[1]:
            transforms, pictures = [one.transform for one in some], [one.picture for one in some]
            found = self._family.postprocess(running.result(), transforms, self._options, pictures=pictures)
            results.update(zip(some, found, strict=True))
        return (one if isinstance(one, Failure) else results[one] for one in batch[0])

    def drop(self, batch: _Batch) -> None:
        """Closing the flow waits for all that is under way."""
