"""What happens in one throw-away process: code of a folder is run, and its networks are taken down; or built again."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import json
import os
import re
import resource
import runpy
import signal
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
from mindspore import nn

from . import leniency, recording


class DoneError(BaseException):
    """Enough was seen of a script."""


# --- processes --------------------------------------------------------------------------------------------------------


_report: Any = None


def report(known: dict[str, Any]) -> None:
    """Tell what is known so far, for the case that the time limit ends this process."""
    _report.seek(0)
    _report.truncate()
    json.dump(known, _report)
    _report.flush()


def in_child(job: Callable[[], dict[str, Any]], log: Path, limit: float) -> dict[str, Any]:
    """Run a job in a copy of this process; what it returns, or how it ended."""
    answer = log.with_suffix(".answer")
    answer.with_suffix(".part").write_text("")
    child = os.fork()
    if child == 0:
        os.setsid()
        global _report
        _report = answer.with_suffix(".part").open("w")  # before writing is refused
        with log.open("wb") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # The processor's time, so that a busy machine is no reason to fail; and the clock's, for one that waits.
        signal.setitimer(signal.ITIMER_PROF, limit + 1)
        signal.alarm(int(limit * 5) + 1)
        try:
            result = job()
        except BaseException as error:  # noqa: BLE001 (a child tells everything)
            traceback.print_exc()
            result = {"error": told_of(error)}
        sys.setprofile(None)
        try:
            report(result)
        finally:
            sys.stdout.flush()
            os._exit(0)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ValueError):  # not finished
        return json.loads(answer.with_suffix(".part").read_text())
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGALRM, signal.SIGPROF):
        return {"error": "TimeLimit"}
    return {"error": f"ended with {status}"}


def told_of(error: BaseException) -> str:
    """An error in a line."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:200]}"


# --- a folder as its scripts know it ----------------------------------------------------------------------------------


class Reads:
    """Files of a folder that were opened."""

    def __init__(self, folder: Path):
        self.folder = str(folder.resolve()) + "/"
        self.names: set[str] = set()


def enter(folder: Path, roots: list[Path], argv: list[str]) -> Reads:
    """Work in a folder, guarded (no writing outside it, no sockets, no processes); which of its files are read."""
    reads = Reads(folder)
    scratch = reads.folder
    refused = {"socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}
    writing = {
        "os.mkdir",
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.symlink",
        "os.link",
        "os.truncate",
        "shutil.rmtree",
    }

    def inside(name: Any) -> bool:
        if isinstance(name, int):
            return True
        path = os.path.abspath(os.fsdecode(name))
        return path.startswith((scratch, "/dev/", "/proc/"))

    def audit(event: str, told: tuple[Any, ...]) -> None:
        if event == "open":
            name, _, flags = told
            if name is None or isinstance(name, int):
                return
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not inside(name):
                raise PermissionError(f"refused: writing {os.fsdecode(name)}")
            path = os.path.abspath(os.fsdecode(name))
            if path.startswith(scratch) and "__pycache__" not in path:
                reads.names.add(path[len(scratch) :])
        elif event in refused:
            raise PermissionError(f"refused: {event} {told[:1]}")
        elif event in writing and not inside(told[0]):
            raise PermissionError(f"refused: {event} {told[0]}")

    home = folder / ".home"
    home.mkdir(exist_ok=True)
    os.environ["HOME"] = str(home)
    os.chdir(roots[0])
    sys.dont_write_bytecode = True
    sys.path[:] = [str(root) for root in roots] + [p for p in sys.path if p and not p.startswith(str(Path.cwd()))]
    sys.argv[:] = argv
    importlib.invalidate_caches()
    leniency.begin([folder, *roots])
    sys.addaudithook(audit)
    return reads


def parameters(network: nn.Cell) -> list[list[Any]]:
    """Names and shapes of a network's parameters."""
    return [[parameter.name, list(parameter.shape)] for parameter in network.get_parameters()]


def digest(listed: list[list[Any]]) -> str:
    """A short name of a list of parameters, whatever their order."""
    return hashlib.sha256(json.dumps(sorted(listed)).encode()).hexdigest()[:16]


def shapes(listed: list[list[Any]]) -> str:
    """A short name of the shapes of a list of parameters, in their order, whatever they are called."""
    return hashlib.sha256(json.dumps([shape for _, shape in listed]).encode()).hexdigest()[:16]


# --- capturing --------------------------------------------------------------------------------------------------------


class _Checkpoint(dict[str, Any]):
    """A checkpoint that has every parameter."""

    def __missing__(self, key: str) -> Any:
        return mindspore.Parameter(mindspore.Tensor(np.zeros(1, np.float32)), name=key)

    def __contains__(self, key: object) -> bool:
        return True

    def get(self, key: str, default: Any = None) -> Any:
        """Whatever is asked for."""
        return self[key]

    def pop(self, key: str, *default: Any) -> Any:
        """Whatever is asked for."""
        return self[key]


class Seen:
    """Networks that a script hands to MindSpore, and what it feeds them."""

    def __init__(self) -> None:
        self.networks: list[tuple[str, nn.Cell]] = []
        self.inputs: dict[int, list[dict[str, Any]]] = {}
        self.listed: dict[int, list[list[Any]]] = {}

    def note(self, how: str, network: Any) -> None:
        """A network was handed over."""
        if isinstance(network, nn.Cell) and all(known is not network for _, known in self.networks):
            self.networks.append((how, network))
            self.listed[id(network)] = parameters(network)  # another cell around it would rename them

    def feed(self, network: Any, inputs: Any) -> None:
        """A network's inputs were told."""
        told = []
        for one in inputs:
            if not isinstance(one, mindspore.Tensor):
                return
            told.append({"shape": list(one.shape), "type": str(one.dtype).rpartition(".")[2].lower()})
        if told:
            self.inputs.setdefault(id(network), told)


def intercept(seen: Seen) -> None:
    """Let the functions that load, export and evaluate tell instead of doing it."""
    from mindspore import train
    from mindspore.train import serialization

    def load_checkpoint(*args: Any, **kwargs: Any) -> Any:
        network = kwargs.get("net", args[1] if len(args) > 1 else None)
        seen.note("load", network)
        return _Checkpoint()

    def load_param_into_net(net: Any = None, *args: Any, **kwargs: Any) -> Any:
        seen.note("load", net)
        return [], []

    def export(net: Any = None, *inputs: Any, **kwargs: Any) -> None:
        seen.note("export", net)
        seen.feed(net, inputs)

    leniency.replace(serialization.load_checkpoint, load_checkpoint)
    leniency.replace(serialization.load_param_into_net, load_param_into_net)
    leniency.replace(serialization.export, export)
    original = train.Model.__init__

    def init(self: Any, network: Any, *args: Any, **kwargs: Any) -> None:
        seen.note("model", network)
        self._predict_network = network
        with contextlib.suppress(Exception):
            original(self, network, *args, **kwargs)

    def done(self: Any, *args: Any, **kwargs: Any) -> None:
        raise DoneError

    def predict(self: Any, *inputs: Any, **kwargs: Any) -> None:
        seen.feed(self._predict_network, inputs)
        raise DoneError

    train.Model.__init__ = init
    train.Model.eval = train.Model.train = done
    train.Model.predict = predict
    called = nn.Cell.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if any(known is self for _, known in seen.networks):
            seen.feed(self, args)
            raise DoneError
        return called(self, *args, **kwargs)

    nn.Cell.__call__ = call
    exists, isfile = os.path.exists, os.path.isfile
    os.path.exists = lambda path: str(path).endswith(".ckpt") or exists(path)  # type: ignore[assignment]
    os.path.isfile = lambda path: str(path).endswith(".ckpt") or isfile(path)  # type: ignore[assignment]


def capture(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Run a script or a conf file, and tell the networks that came of it.

    Args:
        folder: A copy of the model's folder.
        job: `script` or `conf` (a file), `name` (for conf files), `argv`, `functions`.
    """
    file = job.get("conf") or job["script"]
    script = folder / file
    seen = Seen()
    roots = [folder] if script.parent == folder else [folder, script.parent]
    dotted = file[: -len(".py")].replace("/", ".")
    if (script.parent / "src").is_dir() and len(roots) > 1:  # a folder of its own within the folder
        roots.reverse()
        dotted = script.stem
    enter(folder, roots, [str(script), *job.get("argv", [])])
    recording.start(folder, dotted)
    intercept(seen)
    error = ""
    if job.get("functions"):
        recording.watch_functions()
    try:
        if "conf" in job:
            conf = importlib.import_module(dotted)
            seen.note("conf", _created(conf.create_network, job["name"]))
        elif job.get("resilient"):
            run_resiliently(script)
        else:
            runpy.run_path(str(script), run_name="__main__")
    except (Exception, SystemExit, DoneError) as caught:  # noqa: BLE001 (told)
        traceback.print_exc()
        error = told_of(caught)
    sys.setprofile(None)
    if not seen.networks:
        for cell in recording.outermost()[:4]:
            seen.note("made", cell)
    return {
        "networks": [_described(how, network, seen) for how, network in seen.networks],
        "error": error,
        "used": sorted(leniency.used),
    }


_COUNTS = ("num_classes", "num_class", "class_num", "n_class", "n_classes", "nclass", "classes")


def _created(create: Callable[..., Any], name: str) -> Any:
    """What a conf file makes; where it insists on a number of classes, some number: checkpoints tell the right one."""
    kwargs: dict[str, Any] = {}
    for _ in range(4):
        try:
            return create(name, **kwargs)
        except (KeyError, TypeError) as error:
            wanted = re.findall(r"'(\w+)'", str(error))
            new = [count for count in wanted if count in _COUNTS and count not in kwargs]
            if not new:
                raise
            kwargs |= dict.fromkeys(new, 10)
    return create(name, **kwargs)


class _Resilient(ast.NodeTransformer):
    """Each statement of a script for itself: one that fails is left out, and what it sets is unknown."""

    def _body(self, body: list[ast.stmt]) -> list[ast.stmt]:
        return [self._kept(self.visit(statement)) for statement in body]

    def _kept(self, statement: ast.stmt) -> ast.stmt:
        if isinstance(
            statement,
            (
                ast.FunctionDef,
                ast.ClassDef,
                ast.Return,
                ast.Global,
                ast.Nonlocal,
                ast.Pass,
                ast.Break,
                ast.Continue,
                ast.AsyncFunctionDef,
            ),
        ):
            return statement
        names = [n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            names = [(n.asname or n.name).partition(".")[0] for n in statement.names if n.name != "*"]
        simple = isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Import, ast.ImportFrom))
        rest = [ast.parse(f"{name} = _unknown()").body[0] for name in names] if simple else [ast.Pass()]
        caught = ast.Tuple([ast.Name("Exception", ast.Load()), ast.Name("SystemExit", ast.Load())], ast.Load())
        handler = ast.ExceptHandler(caught, None, [ast.parse("_failed()").body[0], *rest])
        return ast.copy_location(ast.Try([statement], [handler], [], []), statement)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        return node

    def _with_body(self, node: Any) -> Any:
        if isinstance(node, ast.FunctionDef) and node.name in ("construct", "__init__"):
            return node
        node.body = self._body(node.body)
        if getattr(node, "orelse", None):
            node.orelse = self._body(node.orelse)
        return node

    visit_Module = visit_FunctionDef = visit_If = visit_With = visit_For = visit_While = _with_body  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        return node

    def visit_Try(self, node: ast.Try) -> ast.Try:
        return node


def run_resiliently(script: Path) -> None:
    """Run a script; statements that fail are left out."""
    body = ast.parse(script.read_text())
    future = [node for node in body.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    body.body = [node for node in body.body if node not in future]
    tree = _Resilient().visit(body)
    tree.body = [*future, *tree.body]
    main = types.ModuleType("__main__")
    vars(main).update(__file__=str(script), _unknown=leniency.Unknown, _failed=traceback.print_exc)
    sys.modules["__main__"] = main
    exec(compile(ast.fix_missing_locations(tree), str(script), "exec"), vars(main))


def _described(how: str, network: nn.Cell, seen: Seen) -> dict[str, Any]:
    listed = seen.listed[id(network)]
    told: dict[str, Any] = {"how": how, "class": f"{type(network).__module__}:{type(network).__qualname__}"}
    told["parameters"] = len(listed)
    told["elements"] = int(sum(np.prod(shape, dtype=np.int64) for _, shape in listed))
    told["digest"] = digest(listed)
    told["shapes"] = shapes(listed)
    told["inputs"] = seen.inputs.get(id(network))
    if told["inputs"] is None and len(seen.inputs) == 1:
        told["inputs"] = next(iter(seen.inputs.values()))
    try:
        told["call"] = recording.call_of(network)
    except recording.UnwritableError as problem:
        told["unwritable"] = str(problem)
    except RecursionError:
        told["unwritable"] = "nested without end"
    told["functions"] = recording.functions_of(network)
    return told


# --- building again ---------------------------------------------------------------------------------------------------


def sample(one: dict[str, Any], single: bool = False) -> mindspore.Tensor:
    """An input of a shape and type: zeros for indices, something else for the rest."""
    shape, kind = one["shape"], one["type"]
    if single and kind == "float16":
        kind = "float32"
    if "float" in kind:
        data = np.random.default_rng(0).random(shape, np.float32)
    elif kind == "bool":
        data = np.ones(shape, bool)
    else:
        data = np.zeros(shape, np.int64)
    return mindspore.Tensor(data, getattr(mindspore, kind))


def replay(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Build a network from its recipe alone, with whatever leniency it takes.

    Args:
        folder: A copy of the model's folder.
        job: `call`, which may have `folders`, further places of modules, and `environ`, variables of the environment.
    """
    from mindspore.train import serialization

    def nothing(*args: Any, **kwargs: Any) -> Any:
        leniency.used.add("no-checkpoints")
        return {}

    call = job["call"]
    roots = [folder, *[folder / place for place in call.get("folders", ())]]
    reads = enter(folder, roots, [str(folder / "main.py"), *call.get("argv", [])])
    os.environ.update(call.get("environ", {}))
    for function in (serialization.load_checkpoint, serialization.load_param_into_net):
        leniency.replace(function, nothing)
    network = recording.make(call)
    listed = parameters(network)
    told: dict[str, Any] = {
        "parameters": len(listed),
        "elements": int(sum(np.prod(shape, dtype=np.int64) for _, shape in listed)),
        "digest": digest(listed),
        "shapes": shapes(listed),
        "reads": sorted(reads.names),
        "used": sorted(leniency.used),
        "argv": list(leniency.filled),
    }
    return told
