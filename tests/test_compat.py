"""The official client's public behaviour: what each call takes and gives, as scripts written for it expect."""

from __future__ import annotations

import builtins
import dataclasses
import datetime
import importlib.util
import inspect
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import compatlab
import pytest
from commands import PATIENCE, SOURCE, environment
from compatlab import CKPT, UID, Shelf, text

import mshub_ssd as mshub
from mshub_ssd import errors, settings

mindspore = pytest.importorskip("mindspore")

official, shelf = compatlab.official, compatlab.shelf  # fixtures
PAGE = (SOURCE / "docs" / "migration.md").read_text(encoding="utf-8")
DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
ADDRESS = "https://gitee.com/mindspore/hub/blob/master/mshub_res/assets/"


class Lookups:
    """Calls by the name that a row of the table gives, on what the fixtures made."""

    def __init__(self, client: ModuleType, cards: Shelf) -> None:
        self.client, self.cards = client, cards

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> Any:
        found: Any = self.client
        for part in name.split("."):
            # `mindspore_hub.load` is a function and hides the module of its name.
            found = sys.modules["mindspore_hub.load"] if part == "load_" else getattr(found, part)
        filled = [str(self.cards.folder / arg[1:]) if str(arg).startswith("@") else arg for arg in args]
        return found(*filled, **kwargs)


CELL = mindspore.nn.Cell
# call, arguments, keywords, and: the type of the result, or the result, or the error that is raised.
TABLE: list[tuple[str, tuple[Any, ...], dict[str, Any], Any]] = [
    ("load", (UID,), {}, CELL),
    ("load", (UID,), {"source": "gitee"}, CELL),
    ("load", (UID,), {"pretrained": False}, CELL),
    ("load", (UID,), {"pretrained": True, "force_reload": True}, CELL),
    ("load", (UID, 3), {}, CELL),
    ("load", (UID,), {"outputs": 3}, CELL),
    ("load", (f"{ADDRESS}{UID}.md",), {}, CELL),
    ("load", (f"{ADDRESS}{UID}.md".replace("gitee.com/mindspore", "github.com/mindspore-ai"),), {}, CELL),
    ("load", (f"@{UID}.md",), {"source": "local"}, CELL),
    ("load", (f"@{UID}.md",), {"source": "local", "pretrained": False}, CELL),
    ("load", ("mindspore/ascend/1.8/tiny_pets",), {}, CELL),
    ("load", (1,), {}, TypeError),
    ("load", (None,), {}, TypeError),
    ("load", (UID,), {"pretrained": "True"}, TypeError),
    ("load", (UID,), {"force_reload": 1.0}, TypeError),
    ("load", (UID,), {"force_reload": 1}, TypeError),
    ("load", (UID,), {"source": "gitlab"}, ValueError),
    ("load", (UID,), {"source": None}, ValueError),
    ("load", ("https://www.baidu.com",), {}, ValueError),
    ("load", (f"{ADDRESS}mindspore",), {}, ValueError),
    ("load", ("tiny-that-nobody-has",), {}, ValueError),
    ("load", ("two/parts",), {}, ValueError),
    ("load", ("a/b/c/d/e",), {}, ValueError),
    ("load", ("mindspore/1.6/test",), {}, Exception),
    ("load", ("test/test/test",), {}, Exception),
    ("load", ("@no/such/card.md",), {"source": "local"}, FileNotFoundError),
    ("load", ("mindspore/1.8/bare_pets",), {}, ValueError),  # no asset
    ("load", ("mindspore/1.8/bare_pets",), {"pretrained": False}, CELL),
    ("load", ("mindspore/1.8/strange_pets",), {}, KeyError),  # no such network
    ("load", ("mindspore/1.8/wrong_pets",), {}, Exception),  # another digest
    ("load", (UID,), {"colour": "red"}, TypeError),  # the constructor takes none
    ("load_.load", (UID,), {}, CELL),
    ("load_.load_weights", (UID,), {}, dict),
    ("load_.load_weights", (UID, "gitee", True), {}, dict),
    ("load_.load_weights", (UID,), {"source": "github", "force_reload": False}, dict),
    ("load_.load_weights", (f"{ADDRESS}{UID}.md",), {"source": "gitee"}, dict),
    ("load_.load_weights", (f"@{UID}.md", "local"), {}, dict),
    ("load_.load_weights", (mindspore.nn.Cell,), {}, TypeError),
    ("load_.load_weights", ("one",), {}, ValueError),
    ("load_weights", (UID,), {}, dict),
    ("hub_list", (), {}, list),
    ("hub_list", ("master",), {}, list),
    ("hub_list", ("r1.8",), {"force_reload": True}, list),
    ("hub_list", (None, False), {}, list),
    ("list.hub_list", (), {}, list),
    ("hub_list", (1.8,), {}, TypeError),
    ("hub_list", (), {"force_reload": "yes"}, TypeError),
    ("hub_list", ("1.8",), {}, ValueError),
    ("hub_list", ("nightly",), {}, ValueError),
    ("manage.get_hub_dir", (), {}, str),
    ("manage.set_hub_dir", (), {}, None),
    ("manage.set_hub_dir", ("@",), {}, None),
    ("manage.set_hub_dir", (), {"dir_path": "elsewhere"}, None),
    ("info.CellInfo", (f"@{UID}.md",), {}, object),
    ("info.CellInfo", ("@no/such/card.md",), {}, FileNotFoundError),
    ("info.CellInfo", (f"@{UID}.md", "more"), {}, TypeError),
    ("_utils.check.ValidMarkdown", (f"@{UID}.md",), {}, object),
    ("_utils.auto_rename.auto_rename", ("@no.ckpt", "@", f"@{UID}.md"), {}, FileNotFoundError),
    ("_utils.auto_rename.auto_rename", ("@no.ckpt", "@", "@no.md"), {}, FileNotFoundError),
    ("deploy.service.serving", ("tiny",), {"port": 8080}, NotImplementedError),
    ("deploy.benchmark.run_benchmark", ("tiny", ["cpu"], "here", "run.py"), {}, NotImplementedError),
    ("optimize.transfer.transform", (None, "m", "quantize", "cpu", None), {"use_sync": False}, NotImplementedError),
]


@pytest.mark.parametrize(("call", "args", "kwargs", "outcome"), TABLE, ids=lambda value: str(value)[-60:])
def test_calls_give_what_they_gave(
    call: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    outcome: Any,
    official: ModuleType,
    shelf: Shelf,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    shelf.put()
    shelf.put("mindspore/ascend/1.8/tiny_pets")
    shelf.put("mindspore/1.8/strange_pets", network="nobody_knows")
    shelf.put("mindspore/1.8/wrong_pets", digest='"' + "12" * 32 + '"')
    shelf.write("mindspore/1.8/bare_pets", text([]))
    act = Lookups(official, shelf)
    if isinstance(outcome, type) and issubclass(outcome, Exception):
        with pytest.raises(outcome) as caught:
            act(call, *args, **kwargs)
        ours = outcome is NotImplementedError or "more" in args or isinstance(caught.value, errors.MshubError)
        assert ours or type(caught.value) is FileNotFoundError
    elif outcome is None:
        assert act(call, *args, **kwargs) is None
    else:
        assert isinstance(act(call, *args, **kwargs), outcome)


SIGNATURES = {
    "load": "(name, *args, source='gitee', pretrained=True, force_reload=False, **kwargs)",
    "load_.load_weights": "(name, source='gitee', force_reload=False)",
    "hub_list": "(version=None, force_reload=False)",
    "manage.get_hub_dir": "()",
    "info.CellInfo.update": "(self, md_path)",
    "_utils.check.ValidMarkdown": "(filename)",
    "_utils.auto_rename.auto_rename": "(source_file_path, save_path, md_path)",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_have_their_names_order_and_values(name: str, official: ModuleType) -> None:
    found: Any = official
    for part in name.split("."):
        found = sys.modules["mindspore_hub.load"] if part == "load_" else getattr(found, part)
    signature = inspect.signature(found)
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    assert str(inspect.Signature(bare)) == SIGNATURES[name]


def test_modules_are_where_they_were(official: ModuleType) -> None:
    assert official.__all__ == ["load", "hub_list", "__version__"]
    assert official.__version__ == "2.0.0"
    code = (
        "from mindspore_hub import load, hub_list, __version__\n"
        "from mindspore_hub.load import load as again, load_weights\n"
        "from mindspore_hub.manage import set_hub_dir, get_hub_dir\n"
        "from mindspore_hub.info import CellInfo\n"
        "from mindspore_hub._utils.check import ValidMarkdown, sanity_check\n"
        "from mindspore_hub._utils.auto_rename import auto_rename\n"
        "import mindspore_hub.deploy.service, mindspore_hub.optimize.transfer as transfer\n"
        "assert load is again and mindspore_hub.load is load\n"
    )
    exec(code, {})
    with pytest.raises(ModuleNotFoundError, match=r"mindspore_hub\.download"):
        exec("import mindspore_hub.download", {})
    assert importlib.util.find_spec("mindspore_hub.info") is not None
    assert all(inspect.getdoc(module) for name, module in sys.modules.items() if name.startswith("mindspore_hub"))


def test_installing_twice_changes_nothing_and_another_package_is_not_touched(
    official: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {name: module for name, module in sys.modules.items() if name.startswith("mindspore_hub")}
    mshub.install_as_mindspore_hub(any_device=False)
    assert all(sys.modules[name] is module for name, module in before.items())
    real = ModuleType("mindspore_hub")
    monkeypatch.setitem(sys.modules, "mindspore_hub", real)
    with pytest.raises(errors.UsageError, match="imported already") as caught:
        mshub.install_as_mindspore_hub()
    assert "restart" in str(caught.value.hint)
    assert sys.modules["mindspore_hub"] is real


def test_the_weights_are_those_of_the_checkpoint(official: ModuleType, shelf: Shelf) -> None:
    shelf.put()
    network, weights = official.load(UID), official.load_weights(UID)
    assert {name: value.asnumpy().tolist() for name, value in weights.items()} == {
        value.name: value.asnumpy().tolist() for value in network.get_parameters()
    }
    assert isinstance(next(iter(weights.values())), mindspore.Parameter)
    other = official.load(UID, pretrained=False)
    assert mindspore.load_param_into_net(other, weights)[0] == []


def test_names_are_listed_once_without_publisher_and_version(official: ModuleType, shelf: Shelf) -> None:
    shelf.put()
    shelf.put("mindspore/1.10/tiny_pets")
    shelf.put("mindspore/1.9/small.v1_pets", mindspore_version='"1.9"')
    names = official.hub_list()
    assert names == sorted(set(names))
    assert {"tiny_pets", "small.v1_pets", "ssd300_coco2017"} <= set(names)
    assert names == mshub.hub_list("master", force_reload=True)
    assert "small.v1_pets" in official.hub_list("r1.9")
    assert not {"tiny_pets", "small.v1_pets"} & set(official.hub_list("r1.8"))
    assert "tiny_pets" in official.hub_list("r1.10")
    assert "tiny_pets" in official.hub_list("r2.3")
    assert set(official.hub_list("r1.3")) < set(official.hub_list("r1.8"))


def test_a_cards_facts_have_the_official_names(official: ModuleType, shelf: Shelf) -> None:
    path = shelf.put(train_backend="ascend", allow_cache_ckpt="True", accuracy="41.98", input_shape="[1, 2]")
    info = official.info.CellInfo(str(path))
    assert (info.name, info.backbone_name, info.type, info.fine_tunable) == ("tiny", "tiny", "cv", True)
    assert (info.model_version, info.mindspore_version) == ("1.10", "1.10")
    assert (info.dataset, info.evaluation, info.accuracy) == ("pets", "acc50", 41.98)
    assert (info.update_time, info.allow_cache_ckpt) == (datetime.date(2022, 6, 22), True)
    assert (info.repo_link, info.backend) == ("https://gitee.com/mindspore/models/tree/r1.8/official/cv/tiny", None)
    assert (info.author, info.user_id, info.used_for) == ("MindSpore team", "MindSpore", "inference")
    assert (info.license, info.input_shape) == ("Apache-2.0", [1, 2])
    assert info.asset[info.asset_id]["file-format"] == "ckpt"
    assert info.asset[info.asset_id]["asset-link"].startswith("http://127.0.0.1")
    assert "\n" not in repr(info)
    assert vars(mshub.CellInfo(UID)) == vars(info), "a uid does, too"
    info.update(shelf.put("mindspore/1.8/other_pets", model_name="other"))
    assert info.name == "other"
    assert not hasattr(info, "allow_cache_ckpt")
    assert not shelf.server.requests


def test_cards_are_validated_and_written_down(official: ModuleType, shelf: Shelf, tmp_path: Path) -> None:
    check = official._utils.check
    path = shelf.put(module_type="cv-object_detection", train_dataset="coco2017", mindspore_version='"1.8"')
    header, card = check.ValidMarkdown(str(path)).check_markdown_file(), mshub.info(UID)
    assert (header["module-type"], header["module-type-detail"]) == ("cv", "object_detection")
    assert (header["markdown_name"], header["asset-id"]) == ("tiny_pets", 0)
    check.ValidMarkdown(path).extract_info_to_json(tmp_path / "one.json")
    assert json.loads((tmp_path / "one.json").read_text())["model-name"] == "tiny"
    check.sanity_check(tmp_path / "all.json", path.parent)
    assert [json.loads(line)["uid"] for line in (tmp_path / "all.json").read_text().splitlines()] == ["tiny_pets"]
    with pytest.MonkeyPatch.context() as patch:  # a card of an archive is no file
        patch.setattr(mshub.Hub, "info", lambda *_: dataclasses.replace(card, path=None))
        assert official.info.CellInfo(UID).name == "tiny"
        with pytest.raises(FileNotFoundError):
            check.ValidMarkdown(UID).check_markdown_file()
    shelf.put(fine_tunable="perhaps")
    with pytest.raises(ValueError, match="fine-tunable") as caught:
        check.ValidMarkdown(path).check_markdown_file()
    assert str(caught.value.where).endswith(f":{caught.value.line}:{caught.value.column}")
    with pytest.raises(ValueError, match="fine-tunable"):
        check.sanity_check(tmp_path / "none.json", path.parent)
    assert not (tmp_path / "none.json").exists()
    assert not shelf.server.requests


def test_files_are_renamed_after_their_card(official: ModuleType, shelf: Shelf, tmp_path: Path) -> None:
    path = shelf.put(backbone_name='"../../up"', network=None, train_backend="ascend/gpu")
    (tmp_path / "weights.ckpt").write_bytes(CKPT)
    done = Path(official._utils.auto_rename.auto_rename(tmp_path / "weights.ckpt", str(tmp_path / "out"), path))
    assert done.read_bytes() == CKPT
    assert done.parent.parent == tmp_path / "out" / "cv"
    assert done.name.startswith("-..-up_ascend-gpu_1.10_pets_")
    assert done.suffix == ".ckpt"


def test_downloads_go_where_the_process_says(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.put()
    monkeypatch.chdir(tmp_path)
    try:
        assert mshub.get_hub_dir() == str(tmp_path / "mshub-home"), "MSHUB_HOME"
        mshub.set_hub_dir("own/cache")
        assert mshub.get_hub_dir() == str(tmp_path / "own" / "cache")
        monkeypatch.chdir("/")
        assert mshub.fetch(UID).is_relative_to(tmp_path / "own" / "cache")
        seen: list[str] = []
        thread = threading.Thread(target=lambda: seen.append(mshub.get_hub_dir()))
        thread.start()
        thread.join()
        assert seen == [str(tmp_path / "own" / "cache")], "of the process, not of the thread"
        assert mshub.Hub(home=tmp_path / "third").settings.home == tmp_path / "third"
        mshub.set_hub_dir(Path("~"))
        assert mshub.get_hub_dir() == str(Path.home())
        mshub.set_hub_dir()
        assert mshub.get_hub_dir() == str(tmp_path / "mshub-home")
        (tmp_path / "file").write_text("")
        refusals = [
            (3, TypeError),
            (b"x", TypeError),
            ("", ValueError),
            ("a\0b", ValueError),
            ("~nobody-x/a", ValueError),
        ]
        for wrong, kind in [*refusals, (tmp_path / "file" / "below", ValueError)]:
            with pytest.raises(kind) as caught:
                mshub.set_hub_dir(wrong)  # type: ignore[arg-type]
            assert isinstance(caught.value, errors.UsageError)
        assert mshub.get_hub_dir() == str(tmp_path / "mshub-home"), "what is refused changes nothing"
    finally:
        settings.set_home(None)


# --- scripts


def run_script(path: Path, code: str, *args: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    path.write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, *options, "-m", "mshub_ssd.compat", path.name, *args],
        capture_output=True,
        text=True,
        check=False,
        env=environment(GLOG_v="3"),
        cwd=path.parent,
        timeout=PATIENCE,
    )


SNIPPET = f"""
import mindspore_hub as mshub
from mindspore import context

context.set_context(mode=context.GRAPH_MODE,
                    device_target="Ascend",
                    device_id=0)

model = "{DIGITS}"
network = mshub.load(model)
network.set_train(False)
"""


def test_a_script_for_ascend_runs_on_the_cpu_and_says_so_once(tmp_path: Path) -> None:
    code = SNIPPET + (
        'context.set_context(device_target="ASCEND")\n'
        "import mindspore\n"
        'mindspore.set_device("Ascend", 1)\n'
        'mindspore.set_context(device_target="CPU")\n'
        'print(type(network).__name__, context.get_context("device_target"), context.get_context("mode"))\n'
        'try: context.set_context(device_target="toaster")\n'
        'except ValueError: print("refused by MindSpore")\n'
    )
    done = run_script(tmp_path / "infer.py", code)
    assert (done.returncode, done.stdout) == (0, "BackboneSSD CPU 0\nrefused by MindSpore\n"), done.stderr
    said = [line for line in done.stderr.splitlines() if "no Ascend" in line]
    assert said == ["infer.py:5: UserWarning: there is no Ascend here that MindSpore can use: running on the CPU"]


def test_a_notebook_for_ascend_runs_on_the_cpu_only_where_that_was_asked_for(tmp_path: Path) -> None:
    code = (
        "import importlib.util, sys, warnings\n"
        "import mshub_ssd\n"
        "mshub_ssd.install_as_mindspore_hub(any_device='any' in sys.argv)\n"
        "assert 'mindspore' not in sys.modules, 'not imported for that'\n"
        "assert importlib.util.find_spec('mindspore')\n"
        "import mindspore\n"
        "try: mindspore.set_context(device_target='Ascend')\n"
        "except RuntimeError as error: print('Unsupported' in str(error))\n"
        "waiting = any('mshub' in type(finder).__module__ for finder in sys.meta_path)\n"
        "print(mindspore.get_context('device_target'), waiting)\n"
    )
    for word, promised in (("any", "CPU False\n"), ("as it is", "True\nCPU False\n")):
        done = subprocess.run(
            [sys.executable, "-c", code, word], capture_output=True, text=True, check=False, env=environment()
        )
        assert (done.returncode, done.stdout) == (0, promised), done.stderr


def test_a_script_is_run_as_python_runs_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("VALUE = 7\n")
    code = (
        "import os, pickle, sys\n"
        "import beside\n"
        "class Kept: pass\n"
        "assert type(pickle.loads(pickle.dumps(Kept()))) is Kept\n"
        "assert sys.modules['__main__'].Kept is Kept and __file__ == 'main.py'\n"
        "print(__name__, sys.argv, sys.path[0] == os.getcwd(), beside.VALUE, 'mindspore' in sys.modules)\n"
        "sys.exit(int(sys.argv[1]))\n"
    )
    done = run_script(tmp_path / "main.py", code, "3", "-h")
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == "__main__ ['main.py', '3', '-h'] True 7 False\n"


def test_a_scripts_own_traceback_is_shown(tmp_path: Path) -> None:
    done = run_script(tmp_path / "main.py", "def fail():\n    return 1 / 0\nfail()\n")
    assert done.returncode == 1
    assert done.stderr.startswith('Traceback (most recent call last):\n  File "main.py", line 3, in <module>\n')
    assert "runpy" not in done.stderr
    assert "mshub_ssd" not in done.stderr
    done = run_script(tmp_path / "main.py", "x ===\n")
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, '  File "main.py", line 1')
    done = run_script(tmp_path / "main.py", "import mindspore_hub\nmindspore_hub.load('one')\n")
    assert done.returncode == 1
    assert "UsageError: this is neither a uid nor a card's address" in done.stderr
    done = run_script(tmp_path / "main.py", "raise SystemExit('no good')\n")
    assert (done.returncode, done.stderr) == (1, "no good\n")


def test_the_runner_refuses_what_is_no_script(tmp_path: Path) -> None:
    for args, code, stream, words in (
        ((), 2, "stderr", "usage: python -m mshub_ssd.compat SCRIPT"),
        (("--help",), 0, "stdout", "usage: python -m mshub_ssd.compat SCRIPT"),
        (("none.py",), 2, "stderr", "can't open file 'none.py': [Errno 2]"),
        ((str(tmp_path),), 2, "stderr", "Is a directory"),
    ):
        command = [sys.executable, "-m", "mshub_ssd.compat", *args]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), cwd=tmp_path)
        assert done.returncode == code
        assert words in getattr(done, stream)


# --- docs/migration.md


@pytest.mark.parametrize(("code", "promised"), re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", PAGE, re.DOTALL))
def test_the_pages_code_does_what_it_says(code: str, promised: str) -> None:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(GLOG_v="3"), cwd=SOURCE)
    assert (done.returncode, done.stdout) == (0, promised), done.stderr


def test_the_page_names_every_call_and_trap() -> None:
    assert PAGE.count("```python") == len(re.findall(r"```python\n.*?```\n\n```\n", PAGE, re.DOTALL))
    for call, _, _, _ in TABLE:
        assert call.rpartition(".")[2] in PAGE
    traps = (Path(__file__).parent / "test_compat_traps.py").read_text(encoding="utf-8")
    numbers = {int(number) for number in re.findall(r"def test_trap_(\d+)_", traps)}
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)] == sorted(numbers)
    for name in re.findall(r"`(\w+Error)`", PAGE):
        assert hasattr(errors, name) or hasattr(builtins, name)
