"use strict";
// The page of `mshub serve`. Texts of cards and files come from strangers: they are set as text, never as HTML.

const at = (id) => document.getElementById(id);
const LEAST = 0.05; // asked for once, so that the slider needs no further request
let model = null;
let picture = null; // the bitmap
let rows = [];
let asked = 0;
let drawnUrl = null;

function tell(status, error = "") {
  at("status").textContent = status;
  at("error").textContent = error;
}

function bytes(count) {
  return count < 1e6 ? `${Math.round(count / 1e3)} kB` : `${Math.round(count / 1e5) / 10} MB`;
}

async function reason(answer) {
  try {
    const { error } = await answer.json();
    return [error.message, error.expected && `expected ${error.expected}`, error.hint].filter(Boolean).join("; ");
  } catch {
    return `the server answered ${answer.status}`;
  }
}

function cell(text, number = false, kind = "td") {
  const made = document.createElement(kind);
  made.textContent = text;
  if (number) made.className = "number";
  return made;
}

async function start() {
  tell("Loading the model …");
  for (;;) {
    let answer;
    try {
      answer = await fetch("v1/model");
    } catch {
      tell("", "The server cannot be reached.");
      return;
    }
    if (answer.ok) {
      model = await answer.json();
      break;
    }
    if (answer.status !== 503) {
      tell("", `Not ready: ${await reason(answer)}.`);
      return;
    }
    tell(`Not ready yet: ${await reason(answer)} …`);
    await new Promise((wake) => setTimeout(wake, 1000));
  }
  const name = model.title || model.uid;
  document.title = `${name} · mshub`;
  at("title").textContent = name;
  at("facts").textContent = model.summary || "";
  const facts = {
    Card: model.uid,
    Task: model.task,
    Network: model.model_name,
    Data: (model.datasets || []).join(", "),
    Figures: model.metrics.join(", "),
    Author: model.author,
    Licence: model.license || "none given",
    Runs: `on ${model.engine}, ${model.precision}`,
    Classes: model.classes.slice(0, 12).join(", ") + (model.classes.length > 12 ? `, … (${model.classes.length})` : ""),
    Takes: `up to ${bytes(model.limits.max_bytes)}, ${Math.round(model.limits.max_pixels / 1e6)} megapixels`,
  };
  for (const [title, text] of Object.entries(facts)) {
    if (text) at("card").append(cell(title, false, "dt"), cell(text, false, "dd"));
  }
  if (model.score_threshold !== null) {
    at("threshold").min = LEAST;
    at("threshold").value = Math.max(LEAST, model.score_threshold);
    at("slider").hidden = false;
    at("value").textContent = Number(at("threshold").value).toFixed(2);
  }
  tell("Ready.");
}

async function look(file) {
  if (!file) return;
  const mine = ++asked;
  if (!model) return tell("", "The model is still being loaded.");
  if (file.size > model.limits.max_bytes) {
    return tell("", `${file.name} is too large: ${bytes(file.size)}; the server takes ${bytes(model.limits.max_bytes)}.`);
  }
  tell(`Looking at ${file.name || "the picture"} …`);
  const detects = model.score_threshold !== null;
  const query = detects ? `?score_threshold=${LEAST}&max_detections=${Math.min(300, model.limits.max_rows)}` : "";
  try {
    const began = performance.now();
    const answer = await fetch(model.path + query, {
      method: "POST",
      body: file,
      headers: { Accept: "application/json", "Content-Type": file.type || "application/octet-stream" },
    });
    if (mine !== asked) return;
    if (!answer.ok) return tell("", `Not done: ${await reason(answer)}.`);
    const row = await answer.json();
    // The server turns pictures as their EXIF data say, and so does the browser.
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
    if (mine !== asked) return;
    [picture, rows] = [bitmap, row.detections || row.classes];
    picture ??= Object.assign(document.createElement("canvas"), { width: row.size[1], height: row.size[0] });
    show();
    const unseen = bitmap ? "" : " This browser cannot show the picture itself.";
    tell(`${file.name || "The picture"}: ${Math.round(performance.now() - began)} ms.${unseen}`);
  } catch (error) {
    if (mine === asked) tell("", `Not done: the server cannot be reached (${error.message}).`);
  }
}

// The colours of the library's own drawings: hues that turn by the golden angle.
function colour(label) {
  return `oklch(${[70, 84, 60][label % 3]}% 0.2 ${(25 + label * 137.50776) % 360})`;
}

function show() {
  if (!picture) return;
  const canvas = at("canvas");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.hidden = false;
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0);
  const detects = model.score_threshold !== null;
  const least = Number(at("threshold").value);
  const shown = detects ? rows.filter((row) => row.score >= least) : rows;
  const line = Math.max(2, Math.round((canvas.width + canvas.height) / 500));
  const size = Math.max(12, Math.round((canvas.width + canvas.height) / 70));
  pen.font = `${size}px system-ui, sans-serif`;
  pen.textBaseline = "top";
  for (const { box, score, label, name } of detects ? [...shown].reverse() : []) {
    const [x1, y1, x2, y2] = box;
    pen.lineWidth = line;
    pen.strokeStyle = colour(label);
    pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const text = `${name} ${score.toFixed(2)}`;
    const width = pen.measureText(text).width + size / 2;
    const left = Math.max(0, Math.min(x1, canvas.width - width));
    const top = y1 >= size * 1.3 ? y1 - size * 1.3 : y1;
    pen.fillStyle = colour(label);
    pen.fillRect(left, top, width, size * 1.3);
    pen.fillStyle = "#000";
    pen.fillText(text, left + size / 4, top + size * 0.15);
  }
  const columns = detects ? ["Name", "Score", "Box"] : ["Name", "Score"];
  at("head").replaceChildren(...columns.map((text, index) => cell(text, index > 0, "th")));
  at("rows").replaceChildren(
    ...shown.map((row) => {
      const line = document.createElement("tr");
      line.append(cell(row.name), cell(row.score.toFixed(3), true));
      if (detects) line.append(cell(row.box.map(Math.round).join(" "), true));
      return line;
    }),
  );
  at("caption").textContent = `${shown.length} found`;
  at("table").hidden = false;
  canvas.toBlob((blob) => {
    if (drawnUrl) URL.revokeObjectURL(drawnUrl);
    if (!blob) return;
    drawnUrl = URL.createObjectURL(blob);
    at("drawn").href = drawnUrl;
    at("drawn").download = "mshub.png";
    at("links").hidden = false;
  });
}

function first(items) {
  const files = [...(items || [])].filter((item) => item.type.startsWith("image/") || item.type === "");
  if (!files.length) tell("", items && items.length ? "That is no picture." : "There is no file in what was dropped.");
  return files[0];
}

at("file").addEventListener("change", (event) => {
  look(event.target.files[0]);
  event.target.value = ""; // so that the same file may be chosen again
});
at("threshold").addEventListener("input", () => {
  at("value").textContent = Number(at("threshold").value).toFixed(2);
  show();
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") look(first(event.dataTransfer.files));
  });
}
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) look(first(event.clipboardData.files));
});

start();
