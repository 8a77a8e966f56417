"""While code of others is imported or builds a network, it writes no file, opens no socket and starts no process."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from foreignlab import NETWORK, call, folder_of

from mshub_ssd import foreign
from mshub_ssd.errors import TrustError

ACTS = {
    "write a file": [
        "open('out.txt', 'w')",
        "open('out.txt', 'a')",
        "open('main.py', 'r+')",
        "__import__('pathlib').Path('out.txt').write_text('x')",
        "os.open('out.txt', os.O_CREAT | os.O_WRONLY)",
        "np.save('out.npy', np.ones(3))",
        "ms.save_checkpoint([{'name': 'a', 'data': ms.Tensor(1.0)}], 'out.ckpt')",
        "tempfile.NamedTemporaryFile()",
        "logging.FileHandler('out.log')",
        "shutil.copyfile('main.py', 'out.py')",
        "os.truncate('main.py', 0)",
        "sqlite3.connect('out.db')",
    ],
    "make a folder": ["os.mkdir('out')", "os.makedirs('/root_folder/out', exist_ok=True)", "tempfile.mkdtemp()"],
    "delete": ["os.remove('main.py')", "os.unlink('main.py')", "shutil.rmtree('.')", "os.rmdir('kept')"],
    "move a file": ["os.rename('main.py', 'out.py')", "os.replace('main.py', 'out.py')", "shutil.move('main.py', 'b')"],
    "make a link": ["os.symlink('main.py', 'out.py')", "os.link('main.py', 'out.py')"],
    "change a file's properties": ["os.chmod('main.py', 0)", "os.utime('main.py')"],
    "start a process": [
        "os.system('touch out.txt')",
        "subprocess.run(['touch', 'out.txt'])",
        "subprocess.check_output('touch out.txt', shell=True)",
        "os.popen('touch out.txt')",
        "os.fork()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.execv('/bin/true', ['true'])",
    ],
    "send a signal": ["os.kill(os.getpid(), 9)"],
    "start a thread": ["threading.Thread(target=print).start()"] if sys.version_info >= (3, 12) else [],
    "use the network": [
        "socket.socket()",
        "socket.create_connection(('127.0.0.1', PORT))",
        "socket.getaddrinfo('localhost', 80)",
        "urllib.request.urlopen('http://127.0.0.1:PORT/weights.ckpt')",
        "urllib.request.urlretrieve('http://127.0.0.1:PORT/weights.ckpt', 'out.ckpt')",
        "requests.get('http://127.0.0.1:PORT/weights.ckpt')",
    ],
    "load a compiled library": ["ctypes.CDLL('./out.so')"],
    "wait for somebody to type": ["input()"],
    "set up an audit hook": ["sys.addaudithook(print)"],
}
IMPORTS = (
    "import ctypes, logging, os, shutil, socket, sqlite3, subprocess, sys, tempfile, threading, urllib.request\n"
    "import numpy as np\nimport requests\nimport mindspore as ms\n"
)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.mark.parametrize(("act", "line"), [(act, line) for act, lines in ACTS.items() for line in lines])
def test_acts_are_refused_with_their_place(
    tmp_path: Path, listening: socket.socket, monkeypatch: pytest.MonkeyPatch, act: str, line: str
) -> None:
    folder = folder_of(
        tmp_path,
        {
            "kept/a": "",
            "main.py": f"{IMPORTS}{line.replace('PORT', str(listening.getsockname()[1]))}\nprint('went on')\n",
        },
    )
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.chdir(folder)
    with pytest.raises(TrustError, match=f"tried to {act}") as caught, foreign.isolated(folder) as code:
        code.resolve("main")
    assert caught.value.where == f"{folder / 'main.py'}:5"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == files
    assert not Path("/root_folder").exists()
    with pytest.raises(BlockingIOError):  # nobody came
        listening.accept()


@pytest.mark.parametrize("where", ["import", "construction", "late import"])
def test_refusals_that_the_code_catches_are_told_nevertheless(tmp_path: Path, where: str) -> None:
    attempt = "try:\n    open('weights.ckpt', 'wb')\nexcept Exception:\n    pass\n"
    inner = "".join(f"        {line}\n" for line in attempt.splitlines())
    folder = folder_of(
        tmp_path,
        {
            "src/net.py": NETWORK,
            "import.py": f"{attempt}from src.net import Net",
            "construction.py": f"from src.net import Net as Base\nclass Net(Base):\n    def __init__(self):\n"
            f"        super().__init__()\n{inner}",
            "late.py": attempt,
            "late import.py": "from src.net import Net as Base\nclass Net(Base):\n    def __init__(self):\n"
            "        super().__init__()\n        import late\n",
        },
    )
    with pytest.raises(TrustError, match="write a file") as caught:
        foreign.build(folder, call(f"{where}:Net"))
    assert caught.value.got == "weights.ckpt"
    assert str(folder) in str(caught.value.where)
    assert not list(tmp_path.rglob("weights.ckpt"))
    # Afterwards everything is allowed again, to everybody.
    (tmp_path / "mine.txt").write_text("x")
    subprocess.run([sys.executable, "-c", ""], check=True)


def test_a_network_that_downloads_weights_while_it_is_built(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        {
            "src/net.py": NETWORK
            + """
    class Pretrained(Net):
        def __init__(self, width):
            super().__init__(width)
            from urllib.request import urlretrieve
            try:
                urlretrieve("http://127.0.0.1:1/net.ckpt", "/tmp/net.ckpt")
            except OSError as error:
                print("no weights:", error)
"""
        },
    )
    with pytest.raises(TrustError, match="use the network") as caught:
        foreign.build(folder, call("src.net:Pretrained", 3))
    assert "http://127.0.0.1:1/net.ckpt" in str(caught.value.got)
    assert foreign.build(folder, call("src.net:Net", 3)).conv.weight.shape[0] == 3


def test_reading_is_free_and_so_is_nothing_at_all(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        {
            "main.py": "import os\ntext = open(__file__).read()\nnames = os.listdir(os.path.dirname(__file__))\n"
            "nothing = open(os.devnull, 'w')\nnothing.write('x')\nnothing.close()\n"
        },
    )
    with foreign.isolated(folder) as code:
        assert code.resolve("main:names") == ["main.py"]


def test_installed_packages_do_what_they_do_anywhere_when_they_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(
        tmp_path / "installed",
        {
            "mshub_test_package/__init__.py": "import os, sys\n"
            "with open(os.path.join(os.path.dirname(__file__), 'x'), 'w'):\n    pass\n"
            "def write():\n    open(__file__ + '.x', 'w')\n"
        },
    )
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    folder = folder_of(
        tmp_path / "code",
        {"main.py": "import mshub_test_package as p", "worse.py": "from mshub_test_package import write\n\n\nwrite()"},
    )
    with foreign.isolated(folder) as code:
        code.resolve("main")
    assert (tmp_path / "installed/mshub_test_package/x").exists()
    with pytest.raises(TrustError) as caught, foreign.isolated(folder) as code:
        code.resolve("worse")
    assert caught.value.where == f"{folder / 'worse.py'}:4"
    sys.modules.pop("mshub_test_package")


def test_other_threads_are_not_guarded(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "code", {"main.py": "import time\ntime.sleep(0.2)\n"})
    wrote = []
    inside = threading.Event()

    def write() -> None:
        inside.wait(30)
        (tmp_path / "theirs.txt").write_text("x")
        wrote.append(subprocess.run([sys.executable, "-c", ""], check=True).returncode)

    other = threading.Thread(target=write)
    other.start()
    with foreign.isolated(folder) as code:
        inside.set()
        code.resolve("main")
        other.join()
    assert wrote == [0]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_threads_of_the_code_are_guarded_with_it(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        {
            "main.py": f"""
                import threading

                def write():
                    open({str(tmp_path / "out.txt")!r}, "w")

                thread = threading.Thread(target=write)
                thread.start()
                thread.join()
            """
        },
    )
    with pytest.raises(TrustError, match=r"start a thread|write a file"), foreign.isolated(folder) as code:
        code.resolve("main")
    assert not (tmp_path / "out.txt").exists()


def test_the_first_refusal_is_told_whatever_comes_after(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        {"main.py": "import os\ntry:\n    os.mkdir('a')\nexcept OSError:\n    os.system('true')\nraise ValueError\n"},
    )
    with pytest.raises(TrustError, match="make a folder"), foreign.isolated(folder) as code:
        code.resolve("main")
