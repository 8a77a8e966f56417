"""Reading strangers' entry points: what is refused is a proof, what is not understood is let pass."""

from __future__ import annotations

import random
import sys
import textwrap
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mshub_ssd.lint.entry_point import read_entry_point

IDIOMS = {
    "if": """
        def create_network(name, *args, **kwargs):
            backbone = kwargs["backbone"]
            if name == "ssd":
                return SSD(backbone, *args)
            if "yolo" == name:
                return YOLO(*args, **kwargs)
            raise NotImplementedError(f"{name} is not implemented in the repo")
        """,
    "elif": """
        def create_network(name, **kwargs):
            if name == "ssd":
                net = SSD()
            elif name in ("yolo", "yolov4"):
                net = YOLO()
            else:
                raise ValueError
            return net
        """,
    "falls off the end": """
        def create_network(network_name):
            if isinstance(network_name, str):
                print(network_name)
            if network_name.lower() in ["ssd", "yolo"]:
                return build(network_name)
        """,
    "none": """
        def create_network(name):
            if not (name != "ssd" and "yolo" != name):
                return build(name)
            return None
        """,
    "the other way round": """
        def create_network(name, **kwargs):
            if name not in {"ssd", "yolo"} or kwargs is None:
                raise NotImplementedError(f"{name} is not one of {known()}")
            from src.networks import build
            return build(name, **kwargs)
        """,
    "assert": """
        def create_network(name):
            assert name in {"ssd", "yolo"}, f"{name} is unknown"
            return build(name)
        """,
}
DOUBTS = {
    "a table": """
        NETWORKS = {"ssd": SSD, "yolo": YOLO}

        def create_network(name, *args, **kwargs):
            return NETWORKS[name](*args, **kwargs)
        """,
    "a helper": """
        def pick(kind):
            if kind == "ssd":
                return SSD

        def create_network(name, *args, **kwargs):
            return pick(name)(*args, **kwargs)
        """,
    "except": """
        def create_network(name):
            try:
                return TABLE[name]()
            except KeyError as error:
                raise NotImplementedError(name) from error
        """,
    "part of a text": """
        def create_network(name):
            if name.startswith("ssd") or "yolo" in name:
                return build(name)
            raise ValueError
        """,
    "registry": """
        NETWORKS = {}

        def register(key):
            def enter(build):
                NETWORKS[key] = build
                return build
            return enter

        @register("other")
        def other():
            return 1

        def create_network(name):
            return NETWORKS[name]()
        """,
    "filled elsewhere": """
        NETWORKS = {}
        fill(NETWORKS)

        def create_network(name):
            return NETWORKS[name]()
        """,
    "second name": """
        NETWORKS = {}
        table = NETWORKS
        table["other"] = 1

        def create_network(name):
            return NETWORKS[name]()
        """,
    "two names at once": """
        table = NETWORKS = {}
        table["other"] = 1

        def create_network(name):
            return NETWORKS[name]()
        """,
    "global": """
        NETWORKS = None

        def fill():
            global NETWORKS
            NETWORKS = load()

        def create_network(name):
            fill()
            return NETWORKS[name]()
        """,
    "star": """
        NETWORKS = {}
        from src.networks import *

        def create_network(name):
            return NETWORKS[name]()
        """,
    "merged": """
        NETWORKS = {"ssd": SSD, **more()}

        def create_network(name):
            return NETWORKS[name]()
        """,
    "extended": """
        KNOWN = ["ssd"]
        KNOWN += more()

        def create_network(name):
            if name not in KNOWN:
                raise ValueError
            return build(name)
        """,
    "appended in a loop": """
        KNOWN = ["ssd"]
        for module in modules():
            KNOWN.append(module.name)

        def create_network(name):
            if name not in KNOWN:
                raise ValueError
            return build(name)
        """,
    "sought in a loop": """
        PAIRS = [("ssd", SSD)]

        def create_network(name):
            for key, build in PAIRS:
                if key == name:
                    return build()
            raise ValueError
        """,
    "given otherwise": """
        def create_network(*args, **kwargs):
            if kwargs["name"] == "ssd":
                return SSD()
            raise ValueError
        """,
    "decorated": """
        @with_aliases
        def create_network(name):
            if name == "ssd":
                return SSD()
            raise ValueError
        """,
    "generator": """
        def create_network(name):
            if name == "ssd":
                return
            yield build(name)
        """,
    "pattern": """
        import re

        def create_network(name):
            if re.match("ssd.*", name):
                return SSD()
            raise ValueError
        """,
    "renamed": """
        def create_network(name):
            name = ALIASES.get(name, name)
            if name == "ssd":
                return SSD()
            raise ValueError
        """,
    "by text": """
        def create_network(name):
            build = globals().get(name)
            if build is None:
                raise ValueError
            return build()
        """,
    "defined twice": """
        if FAST:
            def create_network(name):
                return build(name)
        else:
            def create_network(name):
                raise ValueError
        """,
    "found elsewhere": """
        TABLE = {"ssd": SSD}

        def create_network(name):
            try:
                return TABLE[name]()
            except KeyError:
                return build(name)
        """,
    "a default": """
        TABLE = {"ssd": SSD}

        def create_network(name):
            try:
                make = TABLE[name]
            except KeyError:
                make = Default
            return make()
        """,
    "found before it raised": """
        def create_network(name):
            found = None
            try:
                found = build(name)
                raise Done
            except Done:
                pass
            return found
        """,
    "found in a loop": """
        def create_network(name):
            found = None
            for key in keys():
                found = build(name)
            return found
        """,
    "found in a with": """
        def create_network(name):
            found = None
            with context() as found:
                pass
            return found
        """,
    "an alias or": """
        def create_network(name):
            kind = alias(name) or "none"
            if kind == "none":
                raise ValueError
            return build(kind)
        """,
    "not reached": """
        TABLE = {"ssd": SSD}

        def create_network(name):
            if known(name) or TABLE[name]:
                return build(name)
            raise ValueError
        """,
    "unpacked": """
        def pick(kind=None):
            if not kind:
                return build()
            raise ValueError

        def create_network(name):
            return pick(*[""])
        """,
    "a table in a table": """
        GROUPS = {"small": ["ssd"]}
        GROUPS["small"].append("other")

        def create_network(name):
            if name not in GROUPS["small"]:
                raise ValueError
            return build(name)
        """,
    "imported": "from src.hub import create_network",
    "another file's": "from src.hub import *",
    "assigned": "create_network = Factory({'ssd': SSD})",
    "a class": """
        class create_network:
            def __new__(cls, name):
                return build(name)
        """,
}


@pytest.mark.parametrize("text", IDIOMS.values(), ids=IDIOMS)
def test_the_usual_idioms_are_understood(text: str) -> None:
    entry = read_entry_point(textwrap.dedent(text))
    assert entry.fault is None
    assert [name for name in ("ssd", "yolo", "other", "") if entry.refuses(name)] == ["other", ""]


@pytest.mark.parametrize("text", DOUBTS.values(), ids=DOUBTS)
def test_where_there_is_a_doubt_nothing_is_refused(text: str) -> None:
    entry = read_entry_point(textwrap.dedent(text))
    assert entry.fault is None
    assert not entry.refuses("other")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "has no create_network"),
        ("def create_networks(name): pass", "has no create_network"),
        ("print 'create_network'", "is no Python"),
        ("def create_network(name:", "is no Python"),
        ("def create_network(name): return 1\0", "is no Python"),
    ],
)
def test_what_is_no_entry_point(text: str, fault: str) -> None:
    entry = read_entry_point(text)
    assert (entry.fault, entry.refuses("ssd")) == (fault, False)


@pytest.fixture(params=[1_000, 10_000])
def recursion_limit(request: pytest.FixtureRequest) -> Iterator[None]:
    """Python's own limit, and the one that `import mindspore` sets: deep code is then followed much further."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(request.param)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("recursion_limit")
@pytest.mark.parametrize(
    "text",
    [
        "x = " + "-" * 60_000 + "1\ndef create_network(name): raise X",
        "x = " + "[" * 150 + "]" * 150 + "\ndef create_network(name): raise X",
        "def create_network(name):\n    return " + ".a".join(["x"] * 9000),
        "def create_network(name):\n    return " + "(y := " * 190 + "x" + ".a" * 9000 + ")" * 190,
        "def create_network(name):\n    x = " + " or ".join(["u"] * 9000) + "\n    raise X",
        "def create_network(name):\n    if name == 'a': return 1\n"
        + "".join(f"    elif name == 'a{number}': return 1\n" for number in range(1500)),
        "def f(a):\n    return 1\n    " + "; ".join(f"x{number} = 1" for number in range(3000)) + "\n"
        "def create_network(name):\n" + "    f(1)\n" * 3000 + "    raise X",
        "def create_network(name):\n"
        + "".join(f"    x{number} = u\n" for number in range(1500))
        + "    if u: y = 1\n" * 1500
        + "    raise X",
        "".join(f"def f{level}(a):\n" + f"    f{level + 1}(a)\n" * 100 for level in range(4))
        + "def create_network(name):\n    f0(name)\n    raise X",
        "def f(a): return g(a) or g(a)\ndef g(a): return f(a) or f(a)\ndef create_network(name): return f(name)",
        "def create_network(name):\n    x = 'x' * 9\n" + "    x = x.replace('', x)\n" * 60 + "    return x",
        "def create_network(name):\n    x = 'ab'\n" + "    x = x.replace('a', x)\n" * 60 + "    return x",
    ],
)
def test_nothing_takes_long(text: str) -> None:
    assert len(text) < 65_536 + 40_000
    begun = time.thread_time()
    read_entry_point(text).refuses("ssd")
    assert time.thread_time() - begun < 1


class Chance(random.Random):
    """Makes programs for the proof by trial: what they ask at run time, the reader cannot know."""

    def variable(self) -> str:
        return self.choice(["name", "x", "y", "T", "L", "U"])

    def atom(self) -> str:
        texts = [
            "'a'",
            "'b'",
            "'ab'",
            "'A'",
            "None",
            "1",
            "True",
            "coin()",
            "helper(name)",
            "picky(name)",
            "name.lower()",
        ]
        return self.variable() if self.random() < 0.5 else self.choice(texts)

    def table(self) -> str:
        keys = self.choices(["a", "b", "ab", "A"], k=self.randrange(4))
        pairs = ", ".join(f"{key!r}: thing" for key in keys)
        return self.choice([repr(keys), repr(tuple(keys)), f"{{{pairs}}}", f"{{{pairs}}}", f"[*more(), {keys!r}]"])

    def value(self) -> str:
        atom = self.atom()
        others = [
            f"T.get({atom})",
            f"T[{atom}]",
            f"{self.variable()}()",
            f"({atom} if {self.test()} else {self.atom()})",
        ]
        return self.choice([atom, atom, self.table(), *others])

    def test(self, depth: int = 0) -> str:
        if depth < 2 and self.random() < 0.3:
            first = self.test(depth + 1)
            return self.choice([f"({first} {self.choice(['and', 'or'])} {self.test(depth + 1)})", f"(not {first})"])
        operator = self.choice(["==", "!=", "in", "in", "not in", "is", "is not"])
        return self.choice([self.atom(), *[f"{self.atom()} {operator} {self.atom()}"] * 3])

    def block(self, depth: int, most: int = 2) -> str:
        return textwrap.indent("\n".join(self.statement(depth) for _ in range(self.randint(1, most))), "    ")

    def statement(self, depth: int) -> str:
        if depth < 2 and self.random() < 0.5:
            first, second, third = (self.block(depth + 1) for _ in range(3))
            return self.choice(
                [
                    *[f"if {self.test()}:\n{first}\nelse:\n{second}", f"if {self.test()}:\n{first}"] * 2,
                    f"for x in list({self.choice('TL')}):\n{first}\nelse:\n{second}",
                    f"while coin():\n{first}",
                    f"with swallow() as y:\n{first}",
                    f"try:\n{first}\nexcept KeyError as y:\n{second}\nelse:\n{third}",
                    f"try:\n{first}\nexcept Exception:\n{second}\nfinally:\n{third}",
                ]
            )
        value = self.value()
        return self.choice(
            [
                *[f"{self.choice(['x', 'y', 'name', 'T', 'L'])} = {value}"] * 4,
                *[f"return {value}"] * 4,
                *["raise ValueError"] * 3,
                *(f"assert {self.test()}", value, "return", "x += 'a'", "T['b'] = thing", "L.append('b')", "del x"),
                *("T.update(b=thing)", "x = T", "x['b'] = thing", "x.append('b')", "fill(T)", "y = [x for x in L]"),
                *(f"x = y = {value}", f"x, y = {value}", f"x = ({self.choice('xy')} := {value})", "import x"),
            ]
        )

    def program(self) -> str:
        odd = [
            "T['b'] = thing",
            "if coin():\n    T = L",
            "for x in U:\n    T[x] = thing",
            "def g():\n    global L\n    L = []",
        ]
        return (
            f"U = {self.table()}\nT = {self.table()}\nL = {self.table()}\n{self.choice([*[''] * 4, *odd])}\n"
            f"def helper(name):\n{self.block(2)}\n"
            "def picky(name, x=1):\n    if name not in ('a', 'ab'):\n        raise KeyError\n    return x\n"
            f"def create_network(name, y=None, **kwargs):\n{self.block(0, 5)}\n"
        )


class Swallow:
    def __init__(self, coin: Callable[[], bool]) -> None:
        self.coin = coin

    def __enter__(self) -> object:
        return self

    def __exit__(self, *_: object) -> bool:
        return self.coin()


def outcome(text: str, name: str, chance: random.Random) -> object:
    """What really comes of it: the returned value, or None where it raises."""
    tosses = iter([chance.random() < 0.5 for _ in range(6)])

    def coin() -> bool:
        return next(tosses, False)

    def fill(table: Any) -> None:
        if isinstance(table, dict):
            table["b"] = thing
        elif isinstance(table, list):
            table.append("b")

    def thing(*_: object, **__: object) -> object:
        return thing

    space: dict[str, Any] = {"coin": coin, "fill": fill, "thing": thing, "more": list, "swallow": lambda: Swallow(coin)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(text, space)
        return space["create_network"](name)
    except Exception:  # noqa: BLE001 - whatever it is, the name is refused
        return None


def trial(programs: int, seed: int) -> Counter[bool]:
    """Compare the reader's verdicts with what the programs do; returns how often it refused."""
    chance, seen = Chance(seed), Counter[bool]()
    for _ in range(programs):
        text = chance.program()
        entry = read_entry_point(text)
        for name in ("a", "b", "ab", "zz"):
            refused = entry.refuses(name)
            seen[refused] += 1
            assert not refused or outcome(text, name, chance) is None, f"{name} is taken by\n{text}"
    return seen


def test_what_is_refused_is_refused_by_the_program_itself() -> None:
    seen = trial(500, seed=1)
    # Often enough for the proof to mean something.
    assert min(seen[True], seen[False]) > 300
