// The page: takes a picture, has a worker restore it, and shows before and after.

import {show} from "./viewer.js";
import {facts, loading, modelLabel, summary, whereItRuns} from "./words.js";

const find = id => document.getElementById(id);
const manifest = await (await fetch("manifest.json")).json();
// A browser can know WebGPU and have no graphics processor for it.
const gpu = await navigator.gpu?.requestAdapter().catch(() => null) ?? null;
let picture = null;    // the file at hand
let request = 0;       // the newest one; what older ones answer is not shown
let worker = null;     // {worker, key, entry, busy}: it keeps its model for the next picture
const withoutGpu = new Map();  // {model's file: why this browser's WebGPU does not run it}

find("hint").hidden = true;
document.querySelector("main").hidden = false;
for (const [index, entry] of manifest.models.entries()) {
  find("model").add(new Option(modelLabel(entry), index));
}
find("models").hidden = manifest.models.length < 2;
find("facts").replaceChildren(...facts(manifest, gpu).flatMap(([term, text]) => [
  Object.assign(document.createElement("dt"), {textContent: term}),
  Object.assign(document.createElement("dd"), {textContent: text}),
]));

const entry = () => manifest.models[find("model").value];

function say(text, error = "") {
  find("status").textContent = text;
  find("error").textContent = error;
}

function busy(is) {
  if (worker) worker.busy = is;
  find("work").hidden = !is;
  find("again").hidden = is || picture === null;
  document.querySelector("progress").removeAttribute("value");
}

function fail(message) {
  busy(false);
  say("", message);
}

// The size that a viewer shows; an error where the browser cannot read the file.
async function sizeOf(file) {
  const address = URL.createObjectURL(file);
  try {
    const image = new Image();
    image.src = address;
    await new Promise((resolve, reject) => { image.onload = resolve; image.onerror = reject; });
    return [image.naturalWidth, image.naturalHeight];
  } finally {
    URL.revokeObjectURL(address);
  }
}

async function take(file) {
  if (!file) return;
  picture = null;
  if (worker?.busy) stop();
  busy(false);
  find("viewer").hidden = true;
  say("");
  const turn = ++request;
  let size;
  try {
    size = await sizeOf(file);
  } catch {
    fail(`${file.name || "The picture"} cannot be read: it is damaged, or of a kind that this ` +
      "browser does not know. PNG, JPEG and WebP are known to all.");
    return;
  }
  if (turn !== request) return;
  const pixels = size[0] * size[1];
  if (pixels > manifest.max_pixels) {
    fail(`${file.name || "The picture"} is too large: ${size[0]} × ${size[1]} pixels, ` +
      `${(pixels / 1e6).toFixed(1)} million. This page takes ${manifest.max_pixels / 1e6}.`);
    return;
  }
  picture = file;
  restore();
}

function restore() {
  const accelerator = find("accelerator").value === "auto" && gpu &&
    !withoutGpu.has(entry().file) ? "webgpu" : "cpu";
  const model = entry();
  const key = `${model.file} ${accelerator}`;
  if (worker?.key !== key) stop();
  worker ??= {worker: start(), key, entry: model};
  busy(true);
  worker.worker.postMessage({id: ++request, blob: picture, entry: model, accelerator});
}

function start() {
  const made = new Worker("worker.js");
  made.onmessage = ({data}) => { if (data.id === request) answered(data); };
  made.onerror = event => fail(`The page's worker stopped: ${event.message ?? "it did not load"}.`);
  return made;
}

// Ends the worker with all its memory, whatever it is doing.
function stop() {
  worker?.worker.terminate();
  worker = null;
}

function answered(answer) {
  if (answer.state === "loading") say(loading(answer, worker.entry));
  if (answer.state === "running") running(answer);
  if (answer.state === "done") done(answer);
  if (answer.state === "failed") { stop(); fail(answer.message); }
  if (answer.state === "refused") {
    withoutGpu.set(worker.entry.file, answer.message);
    restore();
  }
}

let began = 0;

function running({done, total}) {
  if (done === 0) began = performance.now();
  const bar = document.querySelector("progress");
  bar.max = total;
  bar.value = done;
  const left = done ? (performance.now() - began) / done * (total - done) / 1000 : NaN;
  const time = left > 1 ? `, about ${Math.ceil(left)} s left` : "";
  say(`Restoring: ${done} of ${total} tiles${time}`);
}

async function done(answer) {
  try {
    await show(picture, answer);
  } catch (error) {
    if (answer.id === request) fail(`The result cannot be shown: ${error?.message ?? error}`);
    return;
  }
  if (answer.id !== request) return;  // another picture was chosen meanwhile
  busy(false);
  say(summary(answer, withoutGpu.get(worker.entry.file)));
  find("viewer").hidden = false;
  document.body.dataset.seconds = answer.seconds;
  document.body.dataset.memory = answer.memory;
}

find("file").addEventListener("change", event => {
  take(event.target.files[0]);
  event.target.value = "";  // the same file may be chosen again
});
find("again").addEventListener("click", restore);
find("cancel").addEventListener("click", () => {
  ++request;
  stop();
  busy(false);
  say("Cancelled.");
});

const drop = find("drop");
addEventListener("dragover", event => { event.preventDefault(); drop.classList.add("over"); });
addEventListener("dragleave", () => drop.classList.remove("over"));
addEventListener("drop", event => {
  event.preventDefault();
  drop.classList.remove("over");
  take(event.dataTransfer.files[0]);
});
addEventListener("paste", event => take(event.clipboardData.files[0]));
document.body.dataset.ready = whereItRuns(gpu);
