"""The page of `mshub serve` in headless Chromium, used as people use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import servelab as lab
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# A file dropped on the page as a browser does it: there is no other way than by an event that carries it.
_DROP = """([name, type, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
  for (const kind of ["dragover", "drop"]) {
    document.getElementById("drop").dispatchEvent(
      new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}"""
_PASTE = """([name, type, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
  dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer }));
}"""
# How many pixels of a box's outline have another colour than the picture itself, along its four sides.
_OUTLINED = """async ([x1, y1, x2, y2]) => {
  const canvas = document.getElementById("canvas");
  const drawn = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const own = document.createElement("canvas");
  [own.width, own.height] = [canvas.width, canvas.height];
  own.getContext("2d").drawImage(picture, 0, 0);
  const plain = own.getContext("2d").getImageData(0, 0, own.width, own.height);
  let differ = 0, looked = 0;
  const look = (x, y) => {
    x = Math.min(canvas.width - 1, Math.max(0, Math.round(x)));
    y = Math.min(canvas.height - 1, Math.max(0, Math.round(y)));
    const at = 4 * (y * canvas.width + x);
    looked += 1;
    if ([0, 1, 2].some((band) => Math.abs(drawn.data[at + band] - plain.data[at + band]) > 8)) differ += 1;
  };
  for (let step = 0; step <= 20; step++) {
    const x = x1 + ((x2 - x1) * step) / 20, y = y1 + ((y2 - y1) * step) / 20;
    look(x, y1); look(x, y2); look(x1, y); look(x2, y);
  }
  return differ / looked;
}"""


def prove(url: str, screenshot: Path | None = None) -> dict[str, Any]:
    """Use the page, and tell what was seen.

    Args:
        url: The server's, for the digits.
        screenshot: Where to write a picture of the page with what was found; None for nowhere.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_QUIET)
        try:
            page = browser.new_page(viewport={"width": 1100, "height": 760})
            asked: list[str] = []
            complaints: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            told = _used(page, url, screenshot)
            # The browser tells of the one refused request, and of the script that a stranger might bring.
            expected = [text for text in complaints if "422" in text or "inline script" in text]
            assert complaints == expected, complaints
            elsewhere = [one for one in asked if not one.startswith((url, "data:", "blob:"))]
            assert not elsewhere, elsewhere
            return {**told, "chromium": browser.version, "requests to other places": len(elsewhere)}
        finally:
            browser.close()


def _used(page: Page, url: str, screenshot: Path | None) -> dict[str, Any]:
    page.goto(url)
    expect(page.locator("#status")).to_have_text("Ready.")
    expect(page.locator("#card")).to_contain_text("Apache-2.0")
    expect(page.locator("#card")).to_contain_text(lab.DIGITS)

    with page.expect_response("**/v1/detect*") as answer:
        page.evaluate(_DROP, ["digits.png", "image/png", list(lab.DEMO)])
    rows = answer.value.json()["detections"]
    expect(page.locator("#status")).to_contain_text("digits.png")
    least = float(page.locator("#threshold").input_value())
    shown = [row for row in rows if row["score"] >= least]
    expect(page.locator("#rows tr")).to_have_count(len(shown))
    assert len(shown) == 11, shown
    names = page.locator("#rows td:first-child").all_inner_texts()
    assert names == [row["name"] for row in shown], names
    outlined = [page.evaluate(_OUTLINED, row["box"]) for row in shown]
    assert min(outlined) > 0.9, outlined
    if screenshot is not None:
        page.wait_for_timeout(200)
        page.screenshot(path=screenshot)

    # By keyboard alone: to the slider, up to the end, and what was found gets less.
    page.locator("#threshold").focus()
    for _ in range(62):
        page.keyboard.press("ArrowRight")
    higher = float(page.locator("#threshold").input_value())
    fewer = [row for row in rows if row["score"] >= higher]
    assert least < higher < 1
    assert 0 < len(fewer) < len(shown)
    expect(page.locator("#rows tr")).to_have_count(len(fewer))
    page.keyboard.press("Home")
    expect(page.locator("#rows tr")).to_have_count(len(rows))

    # The choice of a file is the first stop of the tabulator, and opens by the space bar.
    page.locator("body").click(position={"x": 1, "y": 1})
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    with page.expect_response("**/v1/detect*"):
        chooser.value.set_files({"name": "chosen.png", "mimeType": "image/png", "buffer": lab.DEMO})
    expect(page.locator("#status")).to_contain_text("chosen.png")

    with page.expect_response("**/v1/detect*"):
        page.evaluate(_PASTE, ["pasted.png", "image/png", list(lab.DEMO)])
    expect(page.locator("#status")).to_contain_text("pasted.png")

    # What is wrong is said in words, and what was there stays.
    page.evaluate(_DROP, ["<img src=x onerror=alert(1)>.png", "image/png", list(b"no picture")])
    expect(page.locator("#error")).to_contain_text("not a picture")
    page.evaluate(_DROP, ["notes.txt", "text/plain", list(b"notes")])
    expect(page.locator("#error")).to_contain_text("no picture")

    policy = page.request.get(url).headers["content-security-policy"]
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.hit = 1'}))")
    assert page.evaluate("window.hit === undefined"), "the policy lets scripts in"
    model = json.loads(page.request.get(urljoin(url, "v1/model")).text())
    assert model["license"] == "Apache-2.0"
    return {"boxes drawn": len(shown), "outlined": round(min(outlined), 3), "policy": policy}
