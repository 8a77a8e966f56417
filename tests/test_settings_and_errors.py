"""Settings by precedence, and the error tree's promises."""

from __future__ import annotations

import pickle
from pathlib import Path

import platformdirs
import pytest

from mshub_ssd import errors, settings
from mshub_ssd.errors import MshubError, UsageError


@pytest.fixture
def user_file(monkeypatch: pytest.MonkeyPatch) -> Path:
    path = settings.user_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.parametrize("home", ["", "relative", "/srv/ann/", "/srv/../srv", "/dev/null"])
@pytest.mark.parametrize("chosen", [None, "", "relative", "/srv/chosen"])
def test_folders_are_where_platformdirs_has_them(
    monkeypatch: pytest.MonkeyPatch, home: str, chosen: str | None
) -> None:
    monkeypatch.setenv("HOME", home)
    for variable in ("MSHUB_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
        if chosen is not None and variable != "MSHUB_HOME":
            monkeypatch.setenv(variable, chosen)
    assert settings.user_file() == Path(platformdirs.user_config_dir("mshub", appauthor=False), "config.toml")
    assert settings.current().home == Path(platformdirs.user_cache_dir("mshub", appauthor=False))


def test_the_environment_wins_over_the_users_file_and_that_over_defaults(user_file: Path, tmp_path: Path) -> None:
    assert settings.current({}).offline is False
    user_file.write_text(f'home = "{tmp_path}/from-file"\noffline = true\nregistry = ["~/cards", "/srv/cards"]\n')
    read = settings.current({})
    assert read.home == tmp_path / "from-file"
    assert read.offline is True
    assert read.registry == (Path("~/cards").expanduser(), Path("/srv/cards"))
    over = settings.current({"MSHUB_HOME": str(tmp_path / "env"), "MSHUB_OFFLINE": "0", "MSHUB_REGISTRY": "/a:/b"})
    assert over.home == tmp_path / "env"
    assert over.offline is False
    assert over.registry == (Path("/a"), Path("/b"))


def test_home_is_absolute_whatever_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings.current({"MSHUB_HOME": "here"}).home == tmp_path / "here"


@pytest.mark.parametrize(("word", "on"), [("always", True), ("1", True), ("", False), ("off", False)])
def test_switches(word: str, on: bool) -> None:
    assert settings.current({"MSHUB_VERIFY": word}).verify_always is on


def test_unreadable_values_are_refused(user_file: Path) -> None:
    with pytest.raises(UsageError, match="MSHUB_OFFLINE"):
        settings.current({"MSHUB_OFFLINE": "perhaps"})
    user_file.write_text("home = \n")
    with pytest.raises(UsageError, match="TOML"):
        settings.current({})
    user_file.write_text("hoem = '/x'\n")
    with pytest.raises(UsageError, match="hoem"):
        settings.current({})


def test_the_token_is_in_no_repr() -> None:
    read = settings.current({"MSHUB_TOKEN": "geheim"})
    assert read.token == "geheim"
    assert "geheim" not in repr(read)


KINDS = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error") and name != "MshubError"]
BUILTINS = {
    "CardError": ValueError,
    "UnknownModelError": KeyError,
    "MissingCardError": FileNotFoundError,
    "ArgumentTypeError": TypeError,
    "IntegrityError": ValueError,
    "TransferError": ConnectionError,
    "OfflineError": ConnectionError,
    "DiskSpaceError": OSError,
    "CheckpointError": ValueError,
    "MismatchError": ValueError,
    "UnsupportedFormatError": ValueError,
    "MissingDependencyError": ImportError,
    "ForeignCodeError": RuntimeError,
    "TrustError": PermissionError,
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_error_is_ours_and_a_builtin_and_says_everything(kind: type[MshubError]) -> None:
    assert issubclass(kind, MshubError)
    assert issubclass(kind, BUILTINS.get(kind.__name__, ValueError))
    error = kind("it broke", where="here", expected="this", got="that", hint="type this")
    text = "it broke\n  where: here\n  expected: this\n  got: that\n  next: type this"
    assert str(error) == text
    assert str(kind("it broke")) == "it broke"
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.hint) == (kind, text, "type this")
