"""`mshub serve`: a real server, asked by proper, hostile and slow clients."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import servelab as lab
from commands import SOURCE, environment, process, refused
from PIL import Image

import mshub_ssd as mshub
from mshub_ssd.errors import UsageError
from mshub_ssd.results import row_of
from mshub_ssd.serve import Limits, create_app

LIMITS = {"max_bytes": 1_000_000, "max_pixels": 1_000_000, "max_pictures": 3}
PAGE = SOURCE / "mshub_ssd" / "serve" / "page"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the servers of these tests share, so that the network's graph is made once."""
    return tmp_path_factory.mktemp("serve")


def options(**chosen: object) -> list[object]:
    return [part for name, value in chosen.items() for part in (f"--{name.replace('_', '-')}", value)]


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[lab.Server]:
    with lab.Server(*options(**LIMITS, timeout=lab.PATIENCE), home=home) as started:
        yield started


@pytest.fixture(scope="module")
def hasty(home: Path) -> Iterator[lab.Server]:
    """One that parts with slow clients soon; on a busy machine that may be anybody."""
    with lab.Server(*options(**LIMITS, timeout=2), home=home) as started:
        yield started


@pytest.fixture(scope="module")
def hub(home: Path) -> mshub.Hub:
    return mshub.Hub(home=home)


@pytest.fixture(scope="module")
def predict(hub: mshub.Hub, server: lab.Server) -> Iterator[mshub.Predictor]:
    with mshub.Predictor(lab.DIGITS, hub=hub) as made:
        yield made


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    into = io.BytesIO()
    Image.fromarray(pixels).save(into, kind)
    return into.getvalue()


@pytest.fixture(scope="module")
def shots() -> list[bytes]:
    """Sixteen pictures that differ in what is on them."""
    pixels = np.asarray(Image.open(io.BytesIO(lab.DEMO)).convert("RGB"))
    kinds = ("PNG", "JPEG", "WEBP", "BMP")
    return [encoded(pixels[: 480 - 15 * number, 20 * number :], kinds[number % 4]) for number in range(16)]


# --- answers


def test_a_picture_gives_the_row_that_the_library_gives(server: lab.Server, predict: mshub.Predictor) -> None:
    answer = server.detect(lab.DEMO)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == row_of(predict(lab.DEMO), None)
    # The type that curl --data-binary says is no form of ours, and no reason to refuse a picture.
    assert server.detect(lab.DEMO, content_type="application/x-www-form-urlencoded").json == answer.json
    assert server.raw(lab.chunked(lab.DEMO[:1000], lab.DEMO[1000:])).json == answer.json
    assert server.form(("image", "C:\\up\\größe.png", lab.DEMO)).json == {**answer.json, "image": "größe.png"}


def test_several_pictures_give_a_list_in_which_broken_ones_have_their_place(
    server: lab.Server, predict: mshub.Predictor, shots: list[bytes]
) -> None:
    answer = server.form(("images", "a.png", shots[0]), ("images", "b.txt", b"text"), ("images", "c.png", shots[4]))
    assert answer.status == 200
    first, broken, last = answer.json
    assert (first, last) == (row_of(predict(shots[0]), "a.png"), row_of(predict(shots[4]), "c.png"))
    assert (broken["image"], broken["error"]["code"]) == ("b.txt", "invalid-image")
    assert len(server.form(("image", "a", shots[0]), ("image", "b", shots[1])).json) == 2
    assert len(server.form(("images", "a", shots[0])).json) == 1, "a list where one was asked for"
    assert server.form(("image", "a", shots[0]), ("image", "b", shots[1]), query="?draw=1").code == "many-drawn"


def test_a_request_chooses_what_it_wants_of_a_picture(server: lab.Server, hub: mshub.Hub) -> None:
    every = hub.detect(lab.DIGITS, lab.DEMO)
    for query, chosen in (
        ("?score_threshold=0.9", {"score_threshold": 0.9}),
        ("?iou_threshold=0.1&max_detections=3", {"iou_threshold": 0.1, "max_detections": 3}),
        ("?classes=3&classes=7", {"classes": ["3", "7"]}),
        ("?score_threshold=0.01&max_detections=500", {"score_threshold": 0.01, "max_detections": 500}),
    ):
        found = hub.detect(lab.DIGITS, lab.DEMO, **chosen)
        assert server.detect(lab.DEMO, query).json == row_of(found, None)
        assert len(found) != len(every)
    told = server.detect(lab.DEMO, "?score_treshold=0.5").json["error"]
    assert (told["code"], told["hint"]) == ("unknown-parameter", "did you mean 'score_threshold'?")
    assert server.detect(lab.DEMO, "?max_detections=1&max_detections=2").code == "repeated-parameter"


def test_a_drawn_picture_where_one_is_wanted(server: lab.Server, predict: mshub.Predictor) -> None:
    drawn = np.asarray(predict(lab.DEMO).draw())
    for query, accept, kind in (
        ("?draw=1", "application/json", "PNG"),
        ("", "image/png", "PNG"),
        ("", "text/html;q=0.9, image/*;q=0.8, */*;q=0.1", "PNG"),
        ("", "image/jpeg", "JPEG"),
        ("?draw=jpeg", "*/*", "JPEG"),
    ):
        answer = server.detect(lab.DEMO, query, accept=accept)
        assert (answer.status, answer.headers["content-type"]) == (200, f"image/{kind.lower()}")
        with Image.open(io.BytesIO(answer.body)) as picture:
            assert picture.format == kind
            assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - drawn).mean() < (1 if kind == "PNG" else 8)
    for query, accept in (("?draw=0", "image/png"), ("", "*/*"), ("", "text/html"), ("", "image/png;q=0, */*;q=x")):
        assert server.detect(lab.DEMO, query, accept=accept).headers["content-type"] == "application/json"
    assert server.detect(lab.DEMO, "?draw=gif").code == "invalid-argument"


def test_pictures_are_turned_as_their_exif_says_and_sizes_are_those(server: lab.Server) -> None:
    picture, into = Image.open(io.BytesIO(lab.DEMO)).convert("RGB"), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(into, "JPEG", exif=exif)
    assert server.detect(into.getvalue()).json["size"] == [640, 480]


def test_it_describes_itself(server: lab.Server) -> None:
    model = server.ask("GET", "/v1/model").json
    assert (model["uid"], model["kind"], model["license"]) == (lab.DIGITS, "detector", "Apache-2.0")
    assert model["classes"] == [str(digit) for digit in range(10)]
    assert model["limits"]["max_bytes"] == LIMITS["max_bytes"]
    described = server.ask("GET", "/openapi.json").json
    schemas = described["components"]
    resolvable = {"components": schemas}
    for answer, name in (
        (server.detect(lab.DEMO).json, "Row"),
        (server.detect(b"").json, "Refusal"),
        (server.form(("images", "a", b"a")).json[0], "Failure"),
    ):
        jsonschema.validate(answer, {**resolvable, "$ref": f"#/components/schemas/{name}"})
    post = described["paths"]["/v1/detect"]["post"]
    assert {one["name"] for one in post["parameters"]} >= {"score_threshold", "classes", "draw"}
    told = server.ask("POST", "/v1/classify", lab.DEMO).json["error"]
    assert (told["code"], told["hint"]) == ("wrong-kind", "POST /v1/detect")


def test_its_page_asks_nobody_else_and_lets_no_strange_script_in(server: lab.Server) -> None:
    answer = server.ask("GET", "/")
    policy = answer.headers["content-security-policy"]
    assert (answer.headers["content-type"], policy.split(";")[0]) == ("text/html; charset=utf-8", "default-src 'none'")
    assert "unsafe" not in policy
    text = answer.body.decode()
    assert "<script>" not in text
    assert not re.search(r"\son\w+=|style=", text)
    for link in re.findall(r'(?:src|href)="([^"#]+)"', text):
        assert not re.match(r"\w+:|/", link)
        assert server.ask("GET", f"/{link}").status in (200, 200)
    script = (PAGE / "page.js").read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|https?://", script)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_metrics_and_the_log_tell_of_requests_and_no_secrets(server: lab.Server) -> None:
    before = server.metrics()
    server.detect(lab.DEMO, "?classes=S3CR3T", authorization="Bearer S3CR3T")
    server.ask("GET", "/S3CR3T?token=S3CR3T")
    server.detect(lab.DEMO)
    after = server.metrics()

    def more(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert more('mshub_requests_total{code="200",path="/v1/detect"}') == 1
    assert more('mshub_requests_total{code="400",path="/v1/detect"}') == 1
    assert more('mshub_requests_total{code="404",path="other"}') == 1
    assert more('mshub_refusals_total{reason="invalid-argument"}') == 1
    assert more("mshub_pictures_total") == more("mshub_batch_pictures_sum") == 1
    assert (after["mshub_ready"], after["mshub_queue_pictures"], after["mshub_held_bytes"]) == (1, 0, 0)
    assert '"POST /v1/detect" 400' in server.said()
    assert "S3CR3T" not in server.said() + server.ask("GET", "/metrics").body.decode()


# --- clients that mean no good


def test_hostile_clients_get_a_clear_answer_and_others_theirs(server: lab.Server, predict: mshub.Predictor) -> None:
    row = row_of(predict(lab.DEMO), None)
    before = server.memory("VmRSS")
    for name, (client, allowed) in lab.hostile(**LIMITS).items():
        answer = client(server)
        assert answer.status in allowed, (name, answer)
        if answer.status >= 400:
            assert set(answer.json["error"]) >= {"code", "message"}, name
    assert server.detect(lab.DEMO).json == row
    assert server.memory() - before < 100 << 20
    assert server.metrics()["mshub_held_bytes"] == 0
    assert "Traceback" not in server.said()


def test_slow_clients_are_parted_with_and_hold_nobody_up(hasty: lab.Server) -> None:
    head = b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 1000
    slow = [
        (lambda: hasty.raw(*lab.trickle(head), pause=0.05), "slow-request"),
        (lambda: hasty.raw(b""), "slow-request"),
        (lambda: hasty.raw(lab.request()[:500], *lab.trickle(lab.DEMO[500:700]), pause=0.05), "slow-body"),
        (lambda: hasty.raw(lab.request(length=len(lab.DEMO) + 1)), "slow-body"),
        (lambda: hasty.raw(lab.chunked(b"a", end=False)), "slow-body"),
    ]
    with ThreadPoolExecutor(len(slow)) as pool:
        waiting = [pool.submit(client) for client, _ in slow]
        while hasty.ask("GET", "/healthz").status != 200:
            time.sleep(0.1)
        for one, (_, code) in zip(waiting, slow, strict=True):
            assert (one.result().status, one.result().code) == (408, code)
    assert hasty.metrics()["mshub_held_bytes"] == 0


def test_who_does_not_take_an_answer_does_not_keep_it(hasty: lab.Server) -> None:
    noise = encoded(np.random.default_rng(0).integers(0, 256, (990, 990, 3), dtype=np.uint8), "JPEG")
    until = time.monotonic() + lab.PATIENCE
    with contextlib.ExitStack() as clients:
        while hasty.metrics().get('mshub_refusals_total{reason="slow-reader"}', 0) < 1:
            assert time.monotonic() < until
            client = clients.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", hasty.port))
            client.sendall(lab.request(noise, "/v1/detect?draw=1"))  # two megabytes as a PNG
            time.sleep(3)
    while hasty.metrics()["mshub_held_bytes"]:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_an_answer_on_a_kept_connection_is_followed_by_the_next(server: lab.Server) -> None:
    with server.connected() as client:
        for body in (lab.DEMO, b"no picture", lab.DEMO):
            client.sendall(lab.request(body))
            assert lab.received(client).status == (200 if body is lab.DEMO else 422)
        # A body that was refused unread would be taken for the next request: this connection ends.
        client.sendall(lab.request(b"GET / HTTP/1.1\r\n\r\n", length=10**9))
        answer = lab.received(client)
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert client.recv(100) == b""


# --- many clients, and the end


def test_many_at_once_get_their_own_rows_and_batches_are_made(
    home: Path, predict: mshub.Predictor, shots: list[bytes]
) -> None:
    rows = [row_of(predict(data), None) for data in shots]
    with lab.Server(*options(max_queue=64, batch=4, timeout=lab.PATIENCE), "--no-access-log", home=home) as server:
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(server.detect, shots * 3))
        assert [answer.json for answer in answers] == rows * 3
        told = server.metrics()
        assert told["mshub_pictures_total"] == told["mshub_batch_pictures_sum"] == 48
        assert told["mshub_batch_pictures_count"] < 48
        assert told['mshub_batch_pictures_bucket{le="4.0"}'] == told["mshub_batch_pictures_count"]
        assert server.stop() == 0
    assert server.said() == "stopped: what was let in has been answered\n"


def test_a_full_queue_refuses_at_once_and_a_stop_answers_what_was_let_in(home: Path, predict: mshub.Predictor) -> None:
    into = io.BytesIO()
    Image.linear_gradient("L").resize((2000, 2000)).save(into, "PNG", compress_level=1)
    large, row = into.getvalue(), row_of(predict(into.getvalue()), None)
    with (
        lab.Server(*options(max_queue=4, max_connections=40, timeout=lab.PATIENCE), home=home) as server,
        ThreadPoolExecutor(40) as pool,
    ):
        many = [pool.submit(server.detect, large) for _ in range(24)]
        answers = [one.result() for one in many]
        full = [answer for answer in answers if answer.status == 503]
        assert full
        assert {(answer.code, answer.headers["retry-after"].isdecimal()) for answer in full} == {("queue-full", True)}
        assert all(answer.json == row for answer in answers if answer.status == 200)

        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
        assert server.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").code == "busy"
        for client in silent:
            client.close()

        while server.raw(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").status != 200:
            time.sleep(0.02)
        waiting = [pool.submit(server.detect, large) for _ in range(4)]
        while server.metrics()["mshub_queue_pictures"] < 4:
            time.sleep(0.001)
        kept = server.connected()
        with kept as client:
            server.process.terminate()
            while server.ask("GET", "/readyz").status == 200:
                time.sleep(0.001)
            client.sendall(lab.request())
            late = lab.received(client)
        assert (late.status, late.code, late.headers["connection"]) == (503, "stopping", "close")
        assert all(one.result().json == row for one in waiting)
        assert server.process.wait(timeout=lab.PATIENCE) == 0


def test_who_goes_away_is_not_waited_for(server: lab.Server, predict: mshub.Predictor) -> None:
    before = server.metrics()['mshub_requests_total{code="200",path="/v1/detect"}']
    for _ in range(8):
        with server.connected() as client:
            client.sendall(lab.request())
    until = time.monotonic() + lab.PATIENCE
    while server.metrics()["mshub_queue_pictures"]:
        assert time.monotonic() < until
    assert server.detect(lab.DEMO).json == row_of(predict(lab.DEMO), None)
    assert server.metrics()['mshub_requests_total{code="200",path="/v1/detect"}'] >= before + 1


# --- beginnings


def test_the_command_refuses_what_cannot_be_served(server: lab.Server) -> None:
    assert "ssdmobilenetv2_digits" in refused("serve", "mshub/1.0/ssdmobilenetv2_digit")
    said = refused("serve", lab.DIGITS, "--port", server.port)
    assert "cannot listen there" in said
    assert "--port 0" in said
    assert "max_pixels" in refused("serve", lab.DIGITS, "--max-pixels", 10**9)
    assert refused("serve", lab.DIGITS, "--timeout", 0, code=2)


def test_what_is_found_wrong_while_loading_ends_the_command(home: Path) -> None:
    done = process("serve", lab.DIGITS, "--port", 0, "--top-k", 3, "-q")
    assert (done.returncode, "top_k means nothing to a detector" in done.stderr) == (1, True), done.stderr


def test_an_app_says_at_once_what_makes_no_sense() -> None:
    for wrong in ({"batch": 0}, {"max_wait_ms": -1}, {"max_wait_ms": float("nan")}, {"precision": "f8"}):
        with pytest.raises(UsageError):
            create_app(lab.DIGITS, **wrong)
    for name in ("max_bytes", "max_queue", "timeout", "max_pixels"):
        for value in (0, -1, float("inf"), True, "9"):
            with pytest.raises(UsageError, match=name):
                Limits(**{name: value})


# --- docs/serving.md

DOCUMENT = (SOURCE / "docs" / "serving.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```\n\n```\n(.*?)```", DOCUMENT, re.DOTALL)


def test_the_documents_commands_do_what_they_show(server: lab.Server) -> None:
    (begin, *asked), (code,) = ([block for block in BLOCKS if block[0] == kind] for kind in ("sh", "python"))
    assert begin[1].splitlines()[-1] == f"mshub serve {lab.DIGITS}"
    assert begin[2] == f"serving {lab.DIGITS} at http://127.0.0.1:8000/\n"
    for _, command, promised in asked:
        line = command.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=SOURCE)
        assert (done.returncode, done.stdout) == (0, promised), done.stderr
    done = subprocess.run(
        [sys.executable, "-c", code[1]], capture_output=True, text=True, env=environment(), cwd=SOURCE
    )
    assert (done.returncode, done.stdout) == (0, code[2]), done.stderr


def test_the_document_has_the_commands_own_limits() -> None:
    told = process("serve", "--help").stdout
    for name, value in re.findall(r"`(--[a-z-]+)` \((\d+)(?: s)?\)", DOCUMENT):
        assert re.search(rf"{name} .*?\[default: {value}(\.0)?[;\]]", told, re.DOTALL), (name, value)
    assert (Limits().max_bytes, Limits().max_held_bytes, Limits().max_pixels) == (32 << 20, 256 << 20, 50_000_000)
