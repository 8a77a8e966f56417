"""docs/cards.md: its commands do what it shows, and its tables are those of the code.

``python tests/test_cards_docs.py`` writes the tables of networks and fields anew.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import PATIENCE, environment
from markdown_it import MarkdownIt

from mshub_ssd import networks
from mshub_ssd.cards import ASSET_FIELDS, examine_card
from mshub_ssd.lint import field_reference

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "cards.md"
REGENERATE = "python tests/test_cards_docs.py"


def network_table() -> str:
    """Every network that is known here, and what may be said of it."""
    lines = ["| key | classes by default | `num_classes` | further arguments |", "|---|---|---|---|"]
    forms: dict[str, str] = {}
    for key, spec in sorted(networks.NETWORKS.items(), key=lambda item: item[0].lower()):
        count = f"{spec.num_classes}, with the background" if spec.background else str(spec.num_classes)
        more = [name for name in spec.arguments if name not in ("num_classes", "classes")]
        lines.append(f"| `{key}` | {spec.classes} | {count} | {', '.join(f'`{name}`' for name in more)} |")
        forms |= {name: kind.text for name, kind in spec.arguments.items() if name != "classes"}
    lines += ["", "| argument | value |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in forms.items())]
    return "\n".join(lines).replace("|  |", "| |")


PARTS = {"networks": network_table, "fields": field_reference}


def with_parts(text: str) -> str:
    for name, write in PARTS.items():
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        after = rest.partition(f"<!-- end of {name} -->")[2]
        text = f"{before}<!-- {name} -->\n{write()}\n<!-- end of {name} -->{after}"
    return text


def tokens() -> list:
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(DOCUMENT.read_text(encoding="utf-8"))


def test_the_tables_are_current() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == with_parts(text), f"run: {REGENERATE}"
    assert REGENERATE in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_its_links_lead_somewhere() -> None:
    anchors = [
        re.sub(r"[^\w -]", "", after.content.lower()).replace(" ", "-")
        for token, after in itertools.pairwise(tokens())
        if token.type == "heading_open"
    ]
    assert len(anchors) == len(set(anchors))
    children = [child for token in tokens() for child in token.children or ()]
    for link in {str(child.attrs["href"]) for child in children if child.type == "link_open"}:
        file, _, anchor = link.partition("#")
        if file:
            assert (ROOT / "docs" / file).is_file(), link
        else:
            assert anchor in anchors, link


def test_examples_of_fields_can_be_read() -> None:
    blocks = [token.content for token in tokens() if token.type == "fence" and token.info == "yaml"]
    assert len(blocks) > 20, "the fields have examples"
    for block in blocks:
        for text in [block] if "\n " in block or "#" in block or "\n-" in block else block.splitlines():
            key = text.partition(":")[0]
            below = f"asset:\n- {text}\n  more: x" if key in ASSET_FIELDS else text
            problems = examine_card(f"---\n{below}\n---\n", uid="u").problems
            assert {problem.code for problem in problems} <= {"asset-link", "asset-sha256"}, text


def test_the_first_card_is_written_checked_and_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mindspore")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "mshub").write_text(f'#!/bin/sh\nexec {sys.executable} -m mshub_ssd "$@"\n', encoding="utf-8")
    (programs / "mshub").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    fences = [(token.info, token.content) for token in tokens() if token.type == "fence"]
    commands, said = 0, ""
    exports = ""
    for at, (language, code) in enumerate(fences):
        if language == "sh":
            exports += "".join(f"{line}\n" for line in code.splitlines() if line.startswith("export "))
            done = subprocess.run(
                ["sh", "-ec", exports + code], capture_output=True, text=True, env=environment(), timeout=PATIENCE
            )
            said, commands = done.stdout, commands + 1
            assert done.returncode == 0, code + done.stderr
        elif language == "python":
            script = f"{exports}exec {sys.executable} - <<'END'\n{code}END\n"
            done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, env=environment())
            assert (done.returncode, done.stdout) == (0, fences[at + 1][1]), done.stderr
        elif language == "text":
            assert said.startswith(code), said
    assert commands == 4
    assert "me/1.0/tiny_digits" in said


if __name__ == "__main__":
    DOCUMENT.write_text(with_parts(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
