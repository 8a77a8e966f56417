"""What each rule is about: for the terminal, for programs, and as the reference ``docs/rules.md``."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from mshub_ssd.cards import ASSET_FIELDS, FIELDS, FORMS, Field
from mshub_ssd.errors import UsageError
from mshub_ssd.lint.config import Config, expand_codes
from mshub_ssd.lint.formats.shared import visible
from mshub_ssd.lint.rules import Rule, all_rules

__all__ = [
    "REGENERATE",
    "explained",
    "field_reference",
    "find_rules",
    "rule_facts",
    "rule_reference",
    "rule_table",
]

REGENERATE = "mshub validate --explain all --format markdown > docs/rules.md"
"""What writes the reference of the rules."""

_FIELDS_HEAD = (
    "| field | needed | what it is | in Python |",
    "|---|---|---|---|",
)

_COLUMNS = 100
_SCOPES = {
    "card": "one card",
    "tree": "all cards of the run together",
    "online": "what the network answers, with --online only",
}
_FIXES = {
    None: "none",
    "safe": "safe, with --fix",
    "unsafe": "changes what the card says, with --fix --unsafe-fixes",
    "sometimes": "for some findings; each says which option applies it",
}
_SHORT_FIXES = {None: "", "safe": "safe", "unsafe": "unsafe", "sometimes": "some"}
_GITHUB_DROPS = re.compile(r"[^\w\- ]")


def find_rules(wanted: Iterable[str]) -> list[Rule]:
    """The rules of some codes, beginnings of codes or names (separated by commas, too), or ``all``.

    Raises:
        UsageError: There is no such rule; names the nearest.
    """
    rules = all_rules()
    names = {rule.name: rule.code for rule in rules.values()}
    words = [part.strip() for text in wanted for part in text.split(",") if part.strip()]
    if not words:
        raise UsageError("no rule was named", where="--explain", expected="a code such as MC013, a name, or all")
    codes = expand_codes([names.get(word.lower().replace("_", "-"), word) for word in words], "explain")
    return [rules[code] for code in sorted(codes)]


def explained(rule: Rule) -> str:
    """A rule for the terminal."""
    blocks = [
        f"{rule.code} {rule.name}",
        _table(rule),
        f"What it finds\n{_wrapped(rule.what)}",
        f"Why it matters\n{_wrapped(rule.why)}",
        f"Objected to\n{_indented(rule.bad)}",
        f"As it should be\n{_indented(rule.good)}",
        "To keep a finding, say why\n"
        + _indented(
            f"in the fields, on the line or above it:  # mshub: ignore[{rule.code}] the reason\n"
            f"in the text:                             <!-- mshub: ignore[{rule.code}] the reason -->\n"
            f"for the whole card, in its fields:       # mshub: ignore-card[{rule.code}] the reason\n"
            f'for all cards, in mshub.toml:            ignore = ["{rule.code}"]'
        ),
    ]
    return "\n\n".join(blocks)


def rule_facts(rule: Rule, config: Config | None = None) -> dict[str, Any]:
    """A rule as JSON-ready values; with a configuration also whether it is on there, and how severe."""
    values: dict[str, Any] = {
        "code": rule.code,
        "name": rule.name,
        "severity": rule.severity,
        "scope": rule.scope,
        "profile": rule.profile,
        "fix": rule.fix,
        "what": rule.what,
        "why": rule.why,
        "bad": rule.bad,
        "good": rule.good,
    }
    if config is not None:
        values["severity"] = config.severities.get(rule.code, rule.severity)
        values["enabled"] = rule.code in config.enabled
    return values


def rule_table(rules: Sequence[Rule], config: Config) -> list[tuple[str, ...]]:
    """Rows of a table of rules under a configuration, headings first."""
    rows: list[tuple[str, ...]] = [("code", "severity", "runs", "fix", "name", "finds")]
    for rule in rules:
        runs = "no" if rule.code not in config.enabled else "online" if rule.scope == "online" else "yes"
        severity = config.severities.get(rule.code, rule.severity)
        rows.append((rule.code, severity, runs, _SHORT_FIXES[rule.fix], rule.name, _first_sentence(rule.what)))
    return rows


def rule_reference(rules: Sequence[Rule]) -> str:
    """Rules as a page of Markdown."""
    lines = [
        "# Rules",
        "",
        f"<!-- Written by `{REGENERATE}` from the rules themselves. -->",
        "",
        "What `mshub validate` checks. [linting.md](linting.md) says how to choose rules, change their severity and",
        "silence single findings; `mshub validate --explain CODE` shows one of these sections in the terminal.",
        "",
        "Errors and warnings make the exit code 1, infos do not. *Fix* says whether the rule's findings come with one:",
        "*safe* ones are applied by `--fix`, *unsafe* ones change what the card says and need `--unsafe-fixes`, too;",
        "*some* means that it depends on the finding. Codes are stable: one that is withdrawn is not used again.",
        "",
        "| code | name | severity | on | fix | finds |",
        "|---|---|---|---|---|---|",
    ]
    for rule in rules:
        on = "with `--online`" if rule.scope == "online" else "yes" if rule.profile == "default" else "strict"
        cells = (
            f"[{rule.code}](#{_anchor(rule)})",
            rule.name,
            rule.severity,
            on,
            _SHORT_FIXES[rule.fix],
            _first_sentence(rule.what),
        )
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |".replace("|  |", "| |"))
    for rule in rules:
        lines += ["", f"## {_title(rule)}", "", *rule.what.splitlines(), "", f"**Why.** {rule.why}", ""]
        lines += [
            f"{rule.severity.capitalize()}{'' if rule.profile == 'default' else ', of the profile `strict`'}. "
            f"Looks at {_marked(_SCOPES[rule.scope])}. Fix: {_marked(_FIXES[rule.fix])}.",
            "",
            "Objected to:",
            "",
            *_fenced(rule.bad),
            "",
            "As it should be:",
            "",
            *_fenced(rule.good),
        ]
    return "\n".join(lines)


def _title(rule: Rule) -> str:
    return f"{rule.code} {rule.name}"


def _anchor(rule: Rule) -> str:
    return _GITHUB_DROPS.sub("", _title(rule).lower()).replace(" ", "-")


def _table(rule: Rule) -> str:
    rows = [
        ("severity", rule.severity if rule.profile == "default" else f"{rule.severity}, with --profile strict"),
        ("looks at", _SCOPES[rule.scope]),
        ("fix", _FIXES[rule.fix]),
    ]
    return "\n".join(f"  {label:<10}{text}" for label, text in rows)


def _first_sentence(text: str) -> str:
    """The first sentence, in one line."""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.:]) (?=[A-Z])", paragraph, maxsplit=1)[0]


def _wrapped(text: str) -> str:
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return "\n\n".join(textwrap.fill(one, _COLUMNS, initial_indent="  ", subsequent_indent="  ") for one in paragraphs)


def _indented(text: str) -> str:
    return textwrap.indent("\n".join(map(visible, text.splitlines())), "  ")


def _marked(text: str) -> str:
    return re.sub(r"--[a-z-]+", r"`\g<0>`", text)


def _fenced(text: str) -> list[str]:
    # The examples hold fences of their own.
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *map(visible, text.splitlines()), fence]


def field_reference() -> str:
    """The fields of a card in Markdown, as ``docs/cards.md`` has them."""
    tables = (("", "card", FIELDS), ("asset-", "asset", ASSET_FIELDS))
    rows, sections = list[str](), list[str]()
    for above, owner, fields in tables:
        for key, field in fields.items():
            name = f"`{owner}.{field.attribute}`" if field.attribute else f'`card.extra["{key}"]`'
            anchor = f"{'' if key.startswith(above) else above}{key}"
            needed = "yes" if field.required else "official hub" if field.official else ""
            rows.append(f"| [{key}](#{anchor}) | {needed} | {field.title} | {name} |")
            sections += ["", f"### {anchor}", "", field.description, "", f"Written as {FORMS[field.kind]}."]
            if field.examples:
                sections += ["", "```yaml", *(f"{key}: {_as_yaml(field, one)}" for one in field.examples), "```"]
    return "\n".join([*_FIELDS_HEAD, *rows, *sections]).replace("|  |", "| |")


def _as_yaml(field: Field, value: object) -> str:
    plain = isinstance(value, str) and field.kind not in ("version", "date", "evaluation")
    return str(value) if plain else json.dumps(value)
