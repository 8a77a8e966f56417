"""What programs are promised about errors: the table of codes, and the document's own examples."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from commands import environment, process
from markdown_it import MarkdownIt

from mshub_ssd import errors

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "errors.md").read_text(encoding="utf-8")
FENCES = [(token.info, token.content) for token in MarkdownIt().parse(TEXT) if token.type == "fence"]


def kinds(root: type[errors.MshubError] = errors.MshubError) -> set[type[errors.MshubError]]:
    return {root}.union(*map(kinds, (kind for kind in root.__subclasses__() if kind.__module__ == errors.__name__)))


def test_the_table_is_the_tree() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| `(\w+)` \| `(\w+)` \| \S.* \| \S.* \|$", TEXT, re.MULTILINE)
    tree = [(kind.code, kind.__name__, kind.__bases__[1].__name__) for kind in kinds() - {errors.MshubError}]
    assert sorted(rows) == sorted(tree)
    assert f"`{errors.MshubError.code}`" in TEXT
    assert errors.WeakDigestWarning.__name__ in TEXT


def test_codes_are_stable_words_of_their_own() -> None:
    codes = [vars(kind)["code"] for kind in kinds()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)
    assert "usage" not in codes, "it is the command line's"


def test_an_error_is_a_dictionary_for_json() -> None:
    error = errors.CardError("it broke", where="https://u:secret@host/x", hint="type this")
    expected = {"code": "invalid-card", "message": "it broke", "where": "https://...@host/x", "hint": "type this"}
    assert error.to_dict() | expected == error.to_dict()
    assert (error.to_dict()["expected"], error.to_dict()["got"]) == (None, None)


def test_the_documents_python_runs() -> None:
    (code,) = [content for language, content in FENCES if language == "python"]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment(), timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("not there\n")


def test_the_documents_command_answers_as_it_says() -> None:
    (command,) = [content for language, content in FENCES if language == "sh"]
    (promised,) = [json.loads(content) for language, content in FENCES if language == "json"]
    done = process(*command.split()[1:])
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert list(answer["error"]) == list(promised["error"])
    assert {key: text for key, text in promised["error"].items() if text != "..."}.items() <= answer["error"].items()
