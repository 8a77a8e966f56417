"""What `mshub new` makes of answers that are odd: each is taken as it is meant, or refused with what to type."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

import pytest
from commands import refused, run
from faultserver import FaultServer
from test_cli_new import REST, TOLD, checkpoint, clean, new, other

import mshub_ssd as mshub
from mshub_ssd.cards import read_card

mindspore = pytest.importorskip("mindspore")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def told_but(*options: str) -> list[str]:
    return [part for pair in TOLD.items() if pair[0] not in options for part in pair]


def card_of(folder: Path, *args: object) -> list[object]:
    """The command for a card of no known network, with other answers."""
    rest = told_but(*(str(arg) for arg in args))
    file = folder / "net.ckpt"
    if not file.exists():
        other(file)
    base = ["new", "me/1.0/n_b", "--checkpoint", file, "--copy", "--task", "nlp-chat", "--no-input"]
    return [*base, *rest, *args]


def hint_of(told: str) -> list[str]:
    """What an error says to do next, as a shell takes it."""
    return shlex.split(told.partition("next: ")[2].splitlines()[0])


# --- networks


@pytest.mark.parametrize("text", ["~", "null", "{}", "[ssd300]", "{num_classes: 3}", "{name: ssd300", ": :"])
def test_what_names_no_network_is_refused(folder: Path, text: str) -> None:
    told = refused(*card_of(folder, "--network", text))
    assert "where: --network\n" in told
    assert "ssd_vgg16" in told
    assert "--network KEY" in told


@pytest.mark.parametrize("option", ["network", "checkpoint", "summary", "author", "classes", "dataset", "sha256"])
def test_an_empty_option_is_refused_and_the_advice_can_be_followed(folder: Path, option: str) -> None:
    args = card_of(folder, f"--{option}", "X")[:-2]
    if option == "checkpoint":
        del args[2:4]
    for empty in ("", " ", "-"):
        if (option, empty) != ("network", "-"):
            told = refused(*args, f"--{option}", empty)
            assert f"--{option} has no value" in told
            assert ("or leave it out" in told) == (option not in ("checkpoint", "summary"))
    if option not in ("checkpoint", "summary"):
        assert new(*args[1:])["findings"] == []


@pytest.mark.parametrize("text", ["none", "None", "-"])
def test_no_network_is_an_answer(folder: Path, text: str) -> None:
    file = checkpoint(folder / "net.ckpt")
    args = ("--checkpoint", file, "--copy", "--network", text, "--task", "cv-object_detection", *REST)
    facts = new("me/1.0/n_b", *args)
    assert (facts["network"], read_card(facts["path"]).network) == (None, None)
    assert any("no network" in line for line in facts["notes"])


@pytest.mark.parametrize("key", ["sppnet_zfnet", "sppnet_single"])
def test_hidden_units_are_read_from_the_shapes(folder: Path, key: str) -> None:
    file = checkpoint(folder / "net.ckpt", key, num_classes=5, hidden_units=64)
    facts = new("me/1.0/mine_fish", "--checkpoint", file, "--copy", "--classes", "a,b,c,d,e", *REST)
    card = read_card(facts["path"])
    assert card.network is not None
    assert key == "sppnet_single" or card.network.name == key
    assert dict(card.network.arguments) == {"num_classes": 5, "hidden_units": 64}
    assert any("hidden_units 64" in line and "num_classes 5" in line for line in facts["notes"])
    clean(Path(facts["path"]))
    assert mshub.load(facts["path"]).load_report.ok
    given = new(
        *("me/1.0/mine_fish", "--checkpoint", file, "--copy", "--classes", "a,b,c,d,e", *REST, "--force"),
        *("--network", "sppnet_zfnet" if key == "sppnet_zfnet" else "sppnet_mult"),
    )
    assert any("hidden_units 64" in line for line in given["notes"])


def test_all_networks_that_are_equally_near_are_named(folder: Path) -> None:
    from test_cli_new import shapes

    from mshub_ssd import checkpoints

    arrays = {name: array for name, array in shapes("sppnet_zfnet").items() if not name.startswith("fc")}
    checkpoints.write(folder / "net.ckpt", arrays)
    told = refused("new", "me/1.0/n_b", "--checkpoint", "net.ckpt", "--copy", "--no-input", *REST, code=2)
    assert "the nearest are sppnet_mult and sppnet_single and sppnet_zfnet" in told


def test_an_answer_that_fits_takes_back_that_none_does(folder: Path) -> None:
    file = checkpoint(folder / "net.ckpt", "ssd_mobilenetV2", num_classes=3, image_size=160, last_channels=64)
    args = ["me/1.0/mine_fish", "--checkpoint", file, "--copy", "--classes", "cod,eel", *REST]
    given = "{name: ssd_mobilenetV2, image_size: 160}"
    advice = refused("new", *args, "--no-input", "--network", given).partition("next: ")[2]
    assert "last_channels" in advice
    assert "image_size" not in advice
    assert "num_classes" not in advice
    facts = new(*args, "--network", "{name: ssd_mobilenetV2, last_channels: 64, image_size: 160}")
    assert not any("fits no known network" in line for line in facts["notes"])
    assert any("num_classes 3, last_channels 64, image_size 160" in line for line in facts["notes"])


@pytest.mark.parametrize(
    ("key", "arguments", "wrong"),
    [
        ("ssd300", {"num_classes": 4}, {"num_classes": 5}),
        ("sppnet_zfnet", {"num_classes": 5, "hidden_units": 64}, {"num_classes": 5, "hidden_units": 32}),
        ("ssd300", {}, {"num_classes": 5}),
    ],
)
def test_a_wrong_number_is_told_with_the_right_one(
    folder: Path, key: str, arguments: dict[str, int], wrong: dict[str, int]
) -> None:
    file = checkpoint(folder / "net.ckpt", key, **arguments)
    count = arguments.get("num_classes", 81) - key.startswith("ssd")
    names = ",".join(f"c{number}" for number in range(count))
    args = ["me/1.0/mine_fish", "--checkpoint", file, "--copy", "--classes", names, *REST]
    mapping = ", ".join(f"{name}: {value}" for name, value in wrong.items())
    told = refused("new", *args, "--no-input", "--network", f"{{name: {key}, {mapping}}}")
    name = next(name for name, value in wrong.items() if value != arguments.get(name, 81))
    assert f"expected: {name}: {arguments.get(name, 81)}\n" in told
    assert f"got: {name}: {wrong[name]}\n" in told
    facts = new(*args, *hint_of(told))
    assert facts["network"] == key


# --- figures


@pytest.mark.parametrize(
    ("text", "value", "spread"),
    [
        ("mAP 0.243 \u00b1 0.002", 0.243, 0.002),
        ("mAP: 0.243 +/- 0.002", 0.243, 0.002),
        ("mAP 0,243 \u00b1 0,002", 0.243, 0.002),
        ("mAP: 41,5", 41.5, None),
        ("mAP: 41.5", 41.5, None),
    ],
)
def test_spreads_are_kept_and_decimal_commas_are_told(
    folder: Path, text: str, value: float, spread: float | None
) -> None:
    facts = new(*card_of(folder, "--evaluation", text)[1:])
    card = read_card(facts["path"])
    assert [(one.name, one.value, one.spread) for one in card.metrics] == [("mAP", value, spread)]
    shown = f"{value} \u00b1 {spread}" if spread else f"{value}"
    assert f"| mAP | {shown} |" in card.body
    assert any("decimal comma" in line and str(value) in line for line in facts["notes"]) == ("," in text)
    clean(Path(facts["path"]))


def test_figures_that_are_none_are_told_with_the_reason(folder: Path) -> None:
    told = refused(*card_of(folder, "--evaluation", "params: 1,234"))
    assert "may be 1234 or 1.234" in told
    assert "where: --evaluation\n" in told
    for between in (", ", "; "):
        args = [*card_of(folder, "--evaluation", f"mAP: 25.1{between}AP50: 43.2"), "--force"]
        told = refused(*args)
        assert "|" in told
        facts = new(*args[1:-3], *hint_of(told), "--force")
        assert [one.value for one in read_card(facts["path"]).metrics] == [25.1, 43.2]
    assert "twice" in refused(*card_of(folder, "--evaluation", "mAP: 1 | mAP: 2"), "--force")


# --- options


def test_a_list_of_classes_that_is_not_there_is_no_class(folder: Path) -> None:
    for name in ("nams.txt", "lists/names"):
        told = refused(*card_of(folder, "--classes", name))
        assert "no such file" in told
        assert name in told


def test_errors_name_the_option_and_no_file_that_is_not_there(folder: Path) -> None:
    for option, text in (("dataset", " , "), ("network", "{name: ssd300, num_classes: x}"), ("summary", "bell \a")):
        assert f"where: --{option}\n" in refused(*card_of(folder, f"--{option}", text)), option


def test_a_file_that_will_be_published_is_verified_here(folder: Path, fault_server: FaultServer) -> None:
    file = checkpoint(folder / "net.ckpt")
    url = "https://example.org/files/lite_coco2017.ckpt"
    args = ["me/1.0/lite_coco2017", "--checkpoint", file, "--url", url, *REST]
    new(*args, "--dry-run")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert digest not in run("cache", "ls").stdout
    facts = new(*args)
    (asset,) = read_card(facts["path"]).assets
    assert (asset.url, asset.sha256, asset.size) == (url, digest, file.stat().st_size)
    assert [path.suffix for path in Path(facts["path"]).parent.iterdir()] == [".md"], "no copy"
    clean(Path(facts["path"]))
    file.unlink()
    assert mshub.load(facts["path"]).load_report.ok, "it is in the cache"


@pytest.mark.parametrize(
    ("more", "code", "expected"),
    [
        (["--url", "files/net.ckpt"], 1, "https://"),
        (["--url", "https://example.org/net.pth"], 1, "another kind of file"),
        (["--url", "https://example.org/net.ckpt", "--fetch"], 2, "--fetch"),
        (["--checkpoint", "https://example.org/net.ckpt"], 2, "--url"),
    ],
)
def test_what_is_no_place_for_the_file_is_refused(folder: Path, more: list[str], code: int, expected: str) -> None:
    assert expected in refused(*card_of(folder), *more, code=code)
    assert not list(folder.rglob("*.md"))


def test_a_url_of_a_url_is_refused(folder: Path) -> None:
    url = "https://example.org/net.ckpt"
    told = refused("new", "me/1.0/n_b", "--checkpoint", url, "--url", url, "--no-input", *REST)
    assert "an address already" in told
