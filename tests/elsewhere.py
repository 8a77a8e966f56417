"""A fresh interpreter on Linux that can do only what Python can on Windows or macOS, and fails where it fails there.

What a system's Python lacks is taken away: modules, functions of `os`, flags, ``/proc`` and ``/sys``. On "windows",
what behaves otherwise does so here, too: an open file can be neither renamed, replaced nor removed, a read-only one
neither replaced nor removed, no folder can be opened, nothing takes a descriptor for a path, files have no owners, and
locks are those of a stand-in for ``msvcrt``. It is no proof that the library works there; it is one that no call is
left which cannot.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from faultserver import PATIENCE

MACOS = """
import builtins, io, multiprocessing, os, sys

for name in ("sched_getaffinity", "sched_setaffinity", "posix_fadvise", "posix_fallocate", "copy_file_range", "splice",
             "memfd_create", "eventfd", "pidfd_open", "O_NOATIME", "O_TMPFILE", "O_DIRECT", "O_PATH"):
    if hasattr(os, name):
        delattr(os, name)


def nowhere(real):
    def guarded(path, *args, **kwargs):
        if isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(("/proc/", "/sys/")):
            raise FileNotFoundError(2, "No such file or directory", os.fsdecode(path))
        return real(path, *args, **kwargs)
    return guarded


builtins.open = io.open = nowhere(io.open)
os.open, os.stat, os.lstat, os.listdir = map(nowhere, (os.open, os.stat, os.lstat, os.listdir))
"""

WINDOWS = """
import os, stat, sys, types
# What looks for msvcrt or fcntl itself comes first.
import fcntl, io, logging, multiprocessing, platformdirs, shutil, socket, ssl, subprocess, tempfile, threading

real = types.SimpleNamespace(**{name: getattr(os, name) for name in dir(os)})
flock = fcntl.flock
shutil._use_fd_functions = shutil._USE_CP_SENDFILE = False
for name in ("fcntl", "pwd", "grp", "resource", "termios", "syslog"):
    sys.modules[name] = None
for name in dir(os):
    if name in ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_CREAT", "O_EXCL", "O_TRUNC", "O_APPEND"):
        continue
    if name.startswith("O_") or name in (
        "geteuid", "getuid", "getegid", "getgid", "getgroups", "fork", "forkpty", "register_at_fork", "fchmod",
        "fchown", "chown", "lchown", "statvfs", "fstatvfs", "uname", "posix_fadvise", "posix_fallocate", "pread",
        "pwrite", "preadv", "pwritev", "sched_getaffinity", "sched_setaffinity", "mkfifo", "mknod", "setsid", "killpg",
        "getpgid", "copy_file_range", "memfd_create", "sendfile", "fdatasync", "sync", "chroot", "fchdir", "nice",
        "getpriority", "lockf", "readv", "writev", "splice", "eventfd", "pidfd_open", "fwalk", "getloadavg", "sysconf",
        "ttyname", "wait3", "wait4", "waitid", "confstr", "getxattr", "setxattr",
    ):
        delattr(os, name)
os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks = set(), set(), {real.stat}
os.O_BINARY, os.O_NOINHERIT = 1 << 28, 1 << 29
tempfile._bin_openflags = tempfile._text_openflags = tempfile._bin_openflags | os.O_BINARY
BINARY = set()
WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def refuse(path):
    raise PermissionError(13, "The process cannot access the file because it is being used by another process",
                          os.fsdecode(path))


def is_open(path):
    # Whether this process holds the file open.
    try:
        wanted = real.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    for number in map(int, real.listdir("/proc/self/fd")):
        try:
            if os.path.samestat(real.fstat(number), wanted):
                return True
        except OSError:
            pass
    return False


def is_read_only(path):
    try:
        status = real.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and not status.st_mode & stat.S_IWUSR


def by_path(path):
    if isinstance(path, int):
        raise TypeError("path should be string, bytes or os.PathLike, not int")
    return path


def no_dir_fd(*given):
    if any(one is not None for one in given):
        raise NotImplementedError("dir_fd unavailable on this platform")


def fake_open(path, flags, mode=0o777, *, dir_fd=None):
    no_dir_fd(dir_fd)
    if real.path.isdir(by_path(path)):
        raise PermissionError(13, "Permission denied", os.fsdecode(path))
    fd = real.open(path, flags & ~(os.O_BINARY | os.O_NOINHERIT) | real.O_CLOEXEC, mode)
    (BINARY.add if flags & os.O_BINARY else BINARY.discard)(fd)
    return fd


def text_mode(fd):
    # The C library would change line ends, and end at Ctrl-Z.
    assert fd in BINARY or not stat.S_ISREG(real.fstat(fd).st_mode), f"descriptor {fd} is in text mode"


def disk_usage(path):
    disk = real.statvfs(path)
    size = disk.f_frsize
    return shutil._ntuple_diskusage(disk.f_blocks * size, (disk.f_blocks - disk.f_bfree) * size, disk.f_bavail * size)


class FileIO(io.FileIO):
    def __init__(self, file, *args, **kwargs):
        if isinstance(file, int):
            text_mode(file)
        super().__init__(file, *args, **kwargs)


def fake_fdopen(fd, *args, **kwargs):
    text_mode(fd)
    return real.fdopen(fd, *args, **kwargs)


def fake_write(fd, data):
    text_mode(fd)
    return real.write(fd, data)


def fake_rename(source, target, *, src_dir_fd=None, dst_dir_fd=None):
    no_dir_fd(src_dir_fd, dst_dir_fd)
    if os.path.lexists(target):
        raise FileExistsError(17, "File exists", os.fsdecode(target))
    fake_replace(source, target)


def fake_replace(source, target, *, src_dir_fd=None, dst_dir_fd=None):
    no_dir_fd(src_dir_fd, dst_dir_fd)
    for path in (by_path(source), by_path(target)):
        if is_open(path):
            refuse(path)
    if is_read_only(target) or real.path.isdir(target):
        refuse(target)
    real.replace(source, target)


def fake_unlink(path, *, dir_fd=None):
    no_dir_fd(dir_fd)
    if is_open(by_path(path)) or is_read_only(path):
        refuse(path)
    real.unlink(path)


def fake_rmdir(path, *, dir_fd=None):
    no_dir_fd(dir_fd)
    real.rmdir(by_path(path))


def fake_stat(path, *, dir_fd=None, follow_symlinks=True):
    no_dir_fd(dir_fd)
    return ownerless(real.stat(path, follow_symlinks=follow_symlinks))


def ownerless(status):
    # Nobody's, and open to everybody, as Windows tells it.
    mode = stat.S_IFMT(status.st_mode) | (0o444 if not status.st_mode & stat.S_IWUSR else 0o666)
    fields = list(status)
    fields[0], fields[4], fields[5] = mode | (0o111 if stat.S_ISDIR(mode) else 0), 0, 0
    names = [name for name in dir(status) if name.startswith("st_") and name.endswith(("time", "time_ns"))]
    return os.stat_result(fields, {name: getattr(status, name) for name in names})


def fake_link(source, target, *, src_dir_fd=None, dst_dir_fd=None, follow_symlinks=True):
    no_dir_fd(src_dir_fd, dst_dir_fd)
    if not follow_symlinks:
        raise NotImplementedError("link: follow_symlinks unavailable on this platform")
    real.link(by_path(source), target)


def fake_utime(path, times=None, *, ns=None, dir_fd=None, follow_symlinks=True):
    no_dir_fd(dir_fd)
    real.utime(by_path(path), times, **({} if ns is None else {"ns": ns}))


def fake_chmod(path, mode, *, dir_fd=None, follow_symlinks=True):
    # Of all modes there is but one bit: read-only.
    no_dir_fd(dir_fd)
    now = real.stat(by_path(path)).st_mode
    real.chmod(path, now | stat.S_IWUSR if mode & stat.S_IWUSR else now & ~WRITE_BITS)


def fake_listdir(path="."):
    return real.listdir(by_path(path))


io.FileIO, os.fdopen = FileIO, fake_fdopen
shutil.disk_usage = disk_usage
os.open, os.write, os.rename, os.replace, os.link = fake_open, fake_write, fake_rename, fake_replace, fake_link
os.unlink = os.remove = fake_unlink
os.rmdir, os.stat, os.utime, os.chmod, os.listdir = fake_rmdir, fake_stat, fake_utime, fake_chmod, fake_listdir
os.lstat = lambda path, *, dir_fd=None: fake_stat(path, dir_fd=dir_fd, follow_symlinks=False)
os.fstat = lambda fd: ownerless(real.fstat(fd))

msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_UNLCK, msvcrt.LK_LOCK, msvcrt.LK_NBLCK = 0, 1, 2


def locking(fd, mode, count):
    assert mode in (0, 2) and count == 1
    # What is locked nobody else can read: so it must be where nothing is.
    assert real.lseek(fd, 0, 1) > real.fstat(fd).st_size
    try:
        flock(fd, 8 if mode == 0 else 2 | 4)
    except BlockingIOError:
        raise PermissionError(13, "Permission denied") from None


msvcrt.locking = locking
sys.modules["msvcrt"] = msvcrt

import ctypes


class CDLL(ctypes.CDLL):
    def __init__(self, name, *args, **kwargs):
        if name is None:
            raise TypeError("argument of type 'NoneType' is not iterable")
        super().__init__(None if name == "ucrtbase" else name, *args, **kwargs)


ctypes.CDLL = CDLL
"""

SYSTEMS = {"macos": MACOS, "windows": WINDOWS}

COMMAND = """
import pathlib

if hasattr(pathlib, "_NormalAccessor"):  # of Python 3.10, which took the functions for its own when it was imported
    for name in ("stat", "open", "listdir", "chmod", "rmdir", "rename", "replace", "unlink", "link"):
        setattr(pathlib._NormalAccessor, name, staticmethod(getattr(os, name)))


def mshub(*words, code=0):
    # The command in this process; its answer to programs.
    import json
    from click.testing import CliRunner
    from mshub_ssd.cli.app import cli
    done = CliRunner().invoke(cli, [*map(str, words), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)
"""


def run_on(system: str, code: str, *, first: str = "", **environ: str) -> str:
    """What the code prints on one of `SYSTEMS`.

    Args:
        system: Its name.
        code: A program, to which ``mshub(*words)`` is the command.
        first: What goes before, on Linux: imports of others' packages, which ask what they run on.
        environ: More variables.
    """
    done = subprocess.run(
        [sys.executable, "-c", first + SYSTEMS[system] + COMMAND + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        cwd=Path(__file__).parent,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
