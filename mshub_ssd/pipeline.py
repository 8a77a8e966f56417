"""From pictures to results: a network's family and what runs it, joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from mshub_ssd import engines, families
from mshub_ssd.errors import ImageError, UsageError
from mshub_ssd.pictures import RGB, name_of

if TYPE_CHECKING:
    from mindspore import nn

__all__ = ["Pipeline", "as_kind", "family_of", "postprocess"]

Kind = TypeVar("Kind", bound=families.Family)


class Pipeline:
    """A network ready for pictures; for any number of threads.

    Args:
        config: The network's.
        runner: What runs it.
        streams: So many pictures are given to the runner at once.
        cell: The Cell behind the runner, if there is one.
        name: What messages call the network.

    Attributes:
        family: How the network sees pictures.
        runner: What runs it.
        config: The network's.

    Raises:
        UsageError: The network has no family.
    """

    def __init__(
        self, config: Any, runner: engines.Runner, *, streams: int | None = None, cell: Any = None, name: str = ""
    ) -> None:
        self.family, self.runner, self.config = family_of(config, name), runner, config
        self._streams, self._cell = streams or 1, cell
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

    def stream(self, images: Iterable[Any], read: Callable[[Any], RGB], options: Any) -> Iterator[Any]:
        """What is on pictures, one after the other; the next ones are read while the network looks at these.

        Args:
            images: Any number of them, without an end too.
            read: Makes a picture of each.
            options: From the family's `options`.

        Raises:
            MshubError: What `read` and `results` raise; of a picture that cannot be read `where` tells which it is.
        """
        numbered = enumerate(images, 1)
        with ThreadPoolExecutor(1, thread_name_prefix="mshub-pictures") as reader:
            # Taken from the user's iterable here, where it is expected to run.
            ahead = self._ahead(reader, numbered, read)
            while ahead is not None:
                now, ahead = ahead, self._ahead(reader, numbered, read)
                try:
                    pictures = now.result()
                except BaseException:
                    if ahead is not None:
                        ahead.cancel()
                    raise
                yield from self.results(pictures, options)

    def _ahead(
        self, reader: ThreadPoolExecutor, numbered: Iterator[tuple[int, Any]], read: Callable[[Any], RGB]
    ) -> Future[list[RGB]] | None:
        """The next pictures, as many as the runner takes at once, being read; None after the last one."""
        some = list(islice(numbered, self._streams))
        return reader.submit(_read_all, some, read) if some else None

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


def _read_all(numbered: Sequence[tuple[int, Any]], read: Callable[[Any], RGB]) -> list[RGB]:
    pictures = []
    for number, image in numbered:
        try:
            pictures.append(read(image))
        except ImageError as error:
            place = error.where or name_of(image)
            error.where = f"picture {number}" + (f": {place}" if place else "")
            raise
    return pictures
