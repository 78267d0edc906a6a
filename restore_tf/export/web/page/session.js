// A model of the manifest, loaded into LiteRT.js inside a worker. In WebAssembly's memory nothing is
// collected: what is made here is deleted by hand.

import {loadAndCompile, loadLiteRt, supportsFeature, Tensor} from "./litertjs/core/index.js";
import {restorePicture, runs} from "./colours.js";
import {isGray} from "./headers.js";

const WASM = new URL("./litertjs/core/wasm/", import.meta.url).href;
const THREADED = "litert_wasm_threaded_internal.js";
const BYTE = Math.fround(1 / 255);
const PROBE_LEVELS = 1;  // by which a graphics processor may differ on average, of 255

// Something that the person at the page can understand.
export class Problem extends Error {}

// Loads LiteRT.js and a model. A worker does this once: the library knows one runtime.
//
//   entry: of the manifest's models.
//   accelerator: "webgpu" or "cpu".
//   progress: takes the bytes of the model that came.
//
// Throws where there is no WebGPU, or where it cannot run the whole model.
export async function open(entry, accelerator, progress) {
  const threads = accelerator === "cpu" && self.crossOriginIsolated &&
    await supportsFeature("threads") && await supportsFeature("relaxedSimd");
  // LiteRT.js would look for its files beside this worker's.
  self.Module = {locateFile: name => WASM + name};
  if (threads) self.Module.mainScriptUrlOrBlob = WASM + THREADED;
  const runtime = await loadLiteRt(WASM, {threads});
  const bytes = await download(entry, progress);
  const wanted = accelerator === "webgpu" ? "webgpu" : "wasm";
  const compiled = await loadAndCompile(bytes, {
    accelerator: wanted,
    gpuOptions: {precision: "fp32"},
  });
  // Where a graphics processor lacks an operation, LiteRT.js has fallen back to one CPU thread.
  const whole = wanted === "wasm" || compiled.isFullyAccelerated;
  if (compiled.options.accelerator !== wanted || !whole) {
    throw new Problem("WebGPU lacks operations of this model.");
  }
  const session = new Session(entry, compiled, runtime, accelerator);
  if (accelerator === "webgpu") await session.check();
  return session;
}

class Session {
  constructor(entry, compiled, runtime, accelerator) {
    this.entry = entry;
    this.accelerator = accelerator;
    this.threads = accelerator === "cpu" ? runtime.liteRtWasm.getThreadCount() || 1 : 0;
    this.compiled = compiled;
    this.runtime = runtime;
    this.bytes = entry.input.type === "uint8";
  }

  // Bytes that WebAssembly holds; they never become fewer.
  get memory() {
    return this.runtime.liteRtWasm.HEAPU8.byteLength;
  }

  // Runs the model on one tile: bytes in, float32 in [0, 1] out.
  async run(tile) {
    const [height, width] = this.entry.size;
    const values = this.bytes ? toBytes(tile) : toFloats(tile);
    const input = new Tensor(values, [1, height, width, this.entry.channels]);
    let outputs = [];
    try {
      outputs = await this.compiled.run([input]);
      const restored = await outputs[0].data();
      return this.entry.output.type === "uint8" ? scaled(restored) : restored;
    } finally {
      input.delete();
      outputs.forEach(output => output.delete());
    }
  }

  // Throws where the numbers are not those that the exporter saw. Drivers have bugs.
  async check() {
    const [degraded, expected] = await Promise.all(
      this.entry.probe.map(async file => read(await (await fetched(file)).blob())));
    const found = await restorePicture(degraded, this.entry, tile => this.run(tile), () => {});
    let sum = 0;
    found.data.forEach((value, index) => { sum += Math.abs(value - expected.data[index]); });
    const levels = sum / (found.data.length * 3 / 4);
    if (!(levels <= PROBE_LEVELS)) {
      throw new Problem(`WebGPU's result is off by ${levels.toFixed(1)} levels on average.`);
    }
  }

  // Restores a picture's file; `progress` takes (tiles done, tiles in all).
  async restore(blob, progress) {
    const picture = await read(blob);
    const total = runs(picture, this.entry);
    let done = 0;
    progress(0, total);
    return restorePicture(picture, this.entry, tile => this.run(tile),
      () => progress(++done, total));
  }
}

async function fetched(file) {
  const answer = await fetch(new URL(file, import.meta.url));
  if (!answer.ok) throw new Problem(`${file} cannot be loaded (${answer.status}).`);
  return answer;
}

async function download(entry, progress) {
  const bytes = new Uint8Array(entry.bytes);
  const reader = (await fetched(entry.file)).body.getReader();
  let loaded = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (loaded + part.value.length <= bytes.length) bytes.set(part.value, loaded);
    loaded += part.value.length;
    progress(loaded);
  }
  if (loaded !== bytes.length) {
    throw new Problem(`${entry.file} has ${loaded} bytes, not ${entry.bytes}: copy it again.`);
  }
  return bytes;
}

// Pixels as a viewer shows them: EXIF's orientation is applied, colours are turned into sRGB.
async function read(blob) {
  const bitmap = await createImageBitmap(blob, {imageOrientation: "from-image"});
  const {width, height} = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const {data} = context.getImageData(0, 0, width, height);
  return {data, width, height, gray: await isGray(blob)};
}

function toFloats(tile) {
  if (tile instanceof Float32Array) return tile;
  const floats = new Float32Array(tile.length);
  for (let index = 0; index < tile.length; ++index) floats[index] = tile[index] / 255;
  return floats;
}

function toBytes(tile) {
  const clamped = new Uint8ClampedArray(tile.length);  // rounds halves to even, as NumPy
  const factor = tile instanceof Float32Array ? 255 : 1;
  for (let index = 0; index < tile.length; ++index) {
    clamped[index] = Math.fround(factor * tile[index]);
  }
  return new Uint8Array(clamped.buffer);
}

function scaled(bytes) {
  const floats = new Float32Array(bytes.length);
  for (let index = 0; index < bytes.length; ++index) floats[index] = bytes[index] * BYTE;
  return floats;
}
