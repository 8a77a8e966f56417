"""Text as it is searched: words, Chinese pairs of characters, names without their hyphens, and near spellings."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable

__all__ = [
    "allowed_edits",
    "deletions",
    "english",
    "fold",
    "is_chinese",
    "is_version",
    "near",
    "says_little",
    "spelled",
    "squeezed",
    "together",
    "tokens",
    "written_as_one",
]

_CHINESE = r"\u3400-\u9fff\uf900-\ufaff"
_VERSION = r"[0-9]+(?:\.[0-9]+)+"
# Of text that is ASCII, the same in a third of the time.
_ASCII_TOKEN = re.compile(rf"{_VERSION}(?![a-z0-9])|[a-z0-9]+")
_ASCII_GAP = re.compile(r"[^a-z0-9]+")
# Methods that cards call by their English names, and who reads Chinese does not; tasks have a table of their own.
_METHODS = {
    "二值": ("binary", "binarized"),
    "低比特": ("lowbit",),
    "剪枝": ("pruning", "pruned"),
    "对抗": ("adversarial",),
    "对比学习": ("contrastive",),
    "强化学习": ("reinforcement",),
    "微调": ("finetune", "finetuning"),
    "扩散": ("diffusion",),
    "扩散模型": ("diffusion",),
    "数据增强": ("augmentation",),
    "残差": ("residual",),
    "注意力": ("attention",),
    "知识蒸馏": ("distillation",),
    "联邦学习": ("federated",),
    "蒸馏": ("distillation",),
    "轻量": ("lightweight",),
    "轻量化": ("lightweight",),
    "量化": ("quantization", "quantized"),
    "预训练": ("pretrained",),
}
# What people add to a name or a task in Chinese, and cards leave out.
_LITTLE = frozenset({"的", "与", "和", "用于", "基于", "模型", "网络", "算法", "任务"})
_LONGEST_KNOWN = 12  # characters of a word that is looked for in others
_LETTERS = re.compile(r"[a-z]+")


@functools.cache
def _token() -> re.Pattern[str]:
    # It takes milliseconds to compile, and most lists do without.
    return re.compile(rf"{_VERSION}(?![^\W_])|[{_CHINESE}]+|[^\W_{_CHINESE}]+")


def is_chinese(letter: str) -> bool:
    """Whether a character is a Chinese one."""
    return "\u3400" <= letter <= "\u9fff" or "\uf900" <= letter <= "\ufaff"


def _counts(letter: str) -> bool:
    return letter.isalnum() or is_chinese(letter)


def fold(text: str) -> str:
    """Text without the differences of case, width and accents' encoding."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def squeezed(text: str) -> str:
    """A name without what people leave out of it: ``ResNet-50`` and ``resnet_50`` are ``resnet50``."""
    return _ASCII_GAP.sub("", text.lower()) if text.isascii() else "".join(filter(_counts, fold(text)))


def tokens(text: str) -> list[str]:
    """Words in their order, versions whole; Chinese, which has no spaces, as pairs of characters that overlap."""
    if text.isascii():
        return _ASCII_TOKEN.findall(text.lower())
    found: list[str] = []
    for word in _token().findall(fold(text)):
        if is_chinese(word[0]):
            found += [word[at : at + 2] for at in range(max(1, len(word) - 1))]
        else:
            found.append(word)
    return found


def is_version(word: str) -> bool:
    """Whether a folded word is a version with a point in it."""
    return re.fullmatch(_VERSION, word) is not None


def spelled(texts: Iterable[str]) -> set[str]:
    """The words that a misspelt one may have been meant as: runs of letters, four or more."""
    return {run for text in texts for run in _LETTERS.findall(fold(text)) if len(run) >= 4}


def together(texts: tuple[str, ...]) -> str:
    """A text of which the tokens are the pairs of its characters."""
    return "".join([*(pair[0] for pair in texts[:-1]), *texts[-1:]])


def english(word: str) -> tuple[str, ...]:
    """What a Chinese word for a method is called in English."""
    return _METHODS.get(word, ())


def says_little(word: str) -> bool:
    """Whether a Chinese word may be left out of a search."""
    return word in _LITTLE


def written_as_one(text: str, known: Callable[[str], bool]) -> list[str]:
    """The words of a folded text with Chinese in it, which has no spaces: known ones, and what stands between them.

    Of known words the first counts, and of those that begin with it the longest. Runs of Latin letters stay whole.

    Args:
        text: A text without spaces.
        known: Whether a text is a word, but for methods and what says little.
    """
    pieces = re.findall(rf"[{_CHINESE}]|[^{_CHINESE}]+", text)
    found, rest, at = list[str](), list[str](), 0
    while at < len(pieces):
        for end in range(min(at + _LONGEST_KNOWN, len(pieces)), at, -1):
            word = "".join(pieces[at:end])
            if word in _LITTLE or word in _METHODS or known(word):
                found += [*_token().findall("".join(rest)), word]
                rest, at = [], end
                break
        else:
            rest.append(pieces[at])
            at += 1
    return found + _token().findall("".join(rest))


def allowed_edits(word: str) -> int:
    """So many letters of a word may be wrong: one in five."""
    return len(word) // 5


def deletions(word: str) -> set[str]:
    """A word, and itself with one letter left out: words that share one of these differ by two edits at most."""
    return {word, *(word[:at] + word[at + 1 :] for at in range(len(word)))}


def near(word: str, text: str, edits: int) -> int | None:
    """Fewest edits that make `word` of any part of `text`; None if there are more than that.

    An edit is a letter too many, too few, or wrong, or two that have changed places.
    """
    # Sellers' algorithm: the first row is all zeros, so that a match may begin anywhere.
    before: list[int] = []
    row = [0] * (len(text) + 1)
    for i, letter in enumerate(word, 1):
        older, before, row = before, row, [i] + [0] * len(text)
        for j, other in enumerate(text, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == text[j - 2] and word[i - 2] == other:
                row[j] = min(row[j], older[j - 2] + 1)
        if min(row) > edits:
            return None
    return min(row) if min(row) <= edits else None
