"""Reading strangers' entry points: what is refused is a proof, what is not understood is let pass."""

from __future__ import annotations

import textwrap
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mshub_ssd.lint.entry_point import EntryPoint

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
            network = None
            if isinstance(network_name, str) and network_name.lower() in ["ssd", "yolo"]:
                network = build(network_name)
            return network
        """,
    "key": """
        NETWORKS = {"ssd": SSD, "yolo": YOLO}

        def create_network(name, *args, **kwargs):
            return NETWORKS[name](*args, **kwargs)
        """,
    "get": """
        NETWORKS = {"ssd": SSD, "yolo": YOLO}

        def create_network(name, *args, **kwargs):
            build = NETWORKS.get(name)
            if not build:
                raise KeyError(f"{name}: choose one of {list(NETWORKS)}")
            return build(*args, **kwargs)
        """,
    "get without a look": """
        NETWORKS = {"ssd": SSD, "yolo": YOLO}

        def create_network(name, *args, **kwargs):
            return NETWORKS.get(name)(*args, **kwargs)
        """,
    "keys": """
        networks: dict = {"ssd": SSD, "yolo": YOLO}
        known = list(networks.keys())

        def create_network(name, *args, **kwargs):
            if name not in known:
                raise NotImplementedError(", ".join(known))
            return networks[name](*args, **kwargs)
        """,
    "assert": """
        KNOWN = {"ssd", "yolo"}

        def create_network(name):
            assert name in KNOWN, f"{name} is unknown"
            return build(name)
        """,
    "except": """
        NETWORKS = dict_of_networks = {"ssd": SSD}
        TABLE = {"ssd": SSD, "yolo": YOLO}

        def create_network(name):
            try:
                found = TABLE[name]
            except KeyError as error:
                raise NotImplementedError(name) from error
            else:
                return found()
        """,
    "helpers": """
        def ssd(*args, **kwargs):
            return SSD(*args, **kwargs)

        def pick(kind, strict):
            if kind == "ssd":
                return ssd
            if kind == "yolo":
                return YOLO
            return None

        def create_network(name, *args, **kwargs):
            return pick(kind=name, strict=True)(*args, **kwargs)
        """,
    "a helper that checks": """
        def check(name):
            if name not in ("ssd", "yolo"):
                raise ValueError(name)

        def create_network(name):
            check(name)
            return build(name)
        """,
    "part of a text": """
        def create_network(name):
            if name.startswith("ssd") or "yolo" in name:
                return build(name)
            raise ValueError
        """,
    "choice": """
        def create_network(name):
            build = SSD if name == "ssd" else YOLO if name == "yolo" else None
            return build()
        """,
}
DOUBTS = {
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
    entry = EntryPoint(textwrap.dedent(text))
    assert entry.fault is None
    assert [name for name in ("ssd", "yolo", "other", "") if entry.refuses(name)] == ["other", ""]


@pytest.mark.parametrize("text", DOUBTS.values(), ids=DOUBTS)
def test_where_there_is_a_doubt_nothing_is_refused(text: str) -> None:
    entry = EntryPoint(textwrap.dedent(text))
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
    entry = EntryPoint(text)
    assert (entry.fault, entry.refuses("ssd")) == (fault, False)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "-" * 60_000 + "1\ndef create_network(name): raise X",
        "x = " + "[" * 150 + "]" * 150 + "\ndef create_network(name): raise X",
        "def create_network(name):\n    return " + ".a".join(["x"] * 9000),
        "def create_network(name):\n    x = " + " or ".join(["u"] * 9000) + "\n    raise X",
        "def create_network(name):\n    if name == 'a': return 1\n"
        + "".join(f"    elif name == 'a{number}': return 1\n" for number in range(1500)),
        "def f(a):\n    return 1\n    " + "; ".join(f"x{number} = 1" for number in range(3000)) + "\n"
        "def create_network(name):\n" + "    f(1)\n" * 3000 + "    raise X",
        "def create_network(name):\n"
        + "".join(f"    x{number} = u\n" for number in range(1500))
        + "    if u: y = 1\n" * 1500
        + "    raise X",
        "def f(a): return g(a) or g(a)\ndef g(a): return f(a) or f(a)\ndef create_network(name): return f(name)",
        "def create_network(name):\n    x = 'x' * 9\n" + "    x = x.replace('', x)\n" * 60 + "    return x",
        "def create_network(name):\n    x = 'ab'\n" + "    x = x.replace('a', x)\n" * 60 + "    return x",
    ],
)
def test_nothing_takes_long(text: str) -> None:
    assert len(text) < 65_536 + 40_000
    begun = time.process_time()
    EntryPoint(text).refuses("ssd")
    assert time.process_time() - begun < 1


# Programs for the proof by trial: what they ask at run time, the reader cannot know.
_names = st.sampled_from(["a", "b", "ab", "A"])
_variables = st.sampled_from(["name", "x", "y", "T", "L", "U"])
_atoms = st.one_of(
    _variables,
    _names.map(repr),
    st.sampled_from(["None", "1", "True", "coin()", "helper(name)", "picky(name)", "x", "name.lower()", "T", "L"]),
)
_tables = st.lists(_names, max_size=3).flatmap(
    lambda keys: st.sampled_from(
        [
            repr(keys),
            repr(tuple(keys)),
            "{" + ", ".join(f"{key!r}: thing" for key in keys) + "}",
            f"[*more(), {keys!r}]",
        ]
    )
)
_values = st.one_of(
    _atoms,
    _tables,
    st.builds("T.get({})".format, _atoms),
    st.builds("T[{}]".format, _atoms),
    st.builds("{}()".format, _variables),
    st.builds("({} if {} else {})".format, _atoms, _atoms, _atoms),
)
_tests = st.recursive(
    st.one_of(
        st.builds("{} {} {}".format, _atoms, st.sampled_from(["==", "!=", "in", "not in", "is", "is not"]), _atoms),
        _atoms,
    ),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("(not {})".format, inner),
    ),
    max_leaves=3,
)


def _block(lines: list[str]) -> str:
    return textwrap.indent("\n".join(lines), "    ")


def _statements(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    blocks = st.lists(inner, min_size=1, max_size=3).map(_block)
    return st.one_of(
        st.builds("if {}:\n{}\nelse:\n{}".format, _tests, blocks, blocks),
        st.builds("if {}:\n{}".format, _tests, blocks),
        st.builds("for x in {}:\n{}\nelse:\n{}".format, st.sampled_from(["T", "L", "[1]"]), blocks, blocks),
        st.builds("while coin():\n{}".format, blocks),
        st.builds("with swallow() as y:\n{}".format, blocks),
        st.builds("try:\n{}\nexcept KeyError as y:\n{}\nelse:\n{}".format, blocks, blocks, blocks),
        st.builds("try:\n{}\nexcept Exception:\n{}\nfinally:\n{}".format, blocks, blocks, blocks),
    )


_simple = st.one_of(
    st.builds("{} = {}".format, st.sampled_from(["x", "y", "name", "T", "L"]), _values),
    st.builds("x = y = {}".format, _values),
    st.builds("x, y = {}".format, _values),
    st.builds("return {}".format, _values),
    st.builds("return {}".format, _values),
    st.builds("assert {}".format, _tests),
    st.builds("{}".format, _values),
    st.builds("x = ({} := {})".format, st.sampled_from(["x", "y"]), _values),
    st.sampled_from(
        [
            "raise ValueError",
            "return",
            "pass",
            "x += 'a'",
            "T['b'] = thing",
            "L.append('b')",
            "T.update(b=thing)",
            "del x",
        ]
    ),
    st.sampled_from(["x = T", "x['b'] = thing", "x.append('b')", "fill(T)", "y = [x for x in L]", "import x"]),
)
_program = st.builds(
    "U = {}\nT = {}\nL = {}\n{}\n"
    "def helper(name):\n{}\n"
    "def picky(name, x=1):\n    if name not in ('a', 'ab'):\n        raise KeyError\n    return x\n"
    "def create_network(name, y=None, **kwargs):\n{}\n".format,
    _tables,
    _tables,
    _tables,
    st.sampled_from(
        [
            "",
            "T['b'] = thing",
            "if coin():\n    T = L",
            "for x in L:\n    T[x] = thing",
            "def g():\n    global L\n    L = []",
        ]
    ),
    st.lists(st.recursive(_simple, _statements, max_leaves=3), min_size=1, max_size=3).map(_block),
    st.lists(st.recursive(_simple, _statements, max_leaves=6), min_size=1, max_size=6).map(_block),
)


class _Swallow:
    def __init__(self, coin: Any) -> None:
        self.coin = coin

    def __enter__(self) -> object:
        return self

    def __exit__(self, *_: object) -> bool:
        return bool(self.coin())


def _runs(text: str, name: str, tosses: list[bool]) -> object:
    """What really comes of it: the returned value, or None where it raises."""
    left = [*tosses]

    def coin() -> bool:
        return left.pop() if left else False

    def fill(table: Any) -> None:
        if isinstance(table, dict):
            table["b"] = thing
        elif isinstance(table, list):
            table.append("b")

    def thing(*_: object, **__: object) -> object:
        return thing

    space: dict[str, Any] = {
        "coin": coin,
        "fill": fill,
        "thing": thing,
        "more": list,
        "swallow": lambda: _Swallow(coin),
    }
    try:
        exec(compile(text, "<program>", "exec"), space)  # noqa: S102 - made here
        return space["create_network"](name)
    except Exception:  # noqa: BLE001 - whatever it is, the name is refused
        return None


@settings(max_examples=600, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(_program, st.lists(st.booleans(), max_size=6))
def test_what_is_refused_is_refused_by_the_program_itself(text: str, tosses: list[bool]) -> None:
    entry = EntryPoint(text)
    for name in ("a", "b", "ab", "zz"):
        if entry.refuses(name):
            assert _runs(text, name, tosses) is None, f"{name} is taken by\n{text}"


def test_the_proof_by_trial_sees_both() -> None:
    """The programs above are refused often enough for the proof to mean something."""
    seen = {True: 0, False: 0}

    @settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(_program)
    def count(text: str) -> None:
        seen[EntryPoint(text).refuses("zz")] += 1

    count()
    assert min(seen.values()) > 30
