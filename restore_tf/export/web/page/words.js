// What the page says in numbers.

const KINDS = {
  float32: "all digits",
  float16: "half the download",
  dynamic_int8: "a quarter of the download",
  int8: "8 bits",
  uint8: "8 bits, quick on CPUs",
  mixed_int8: "mostly 8 bits",
};

export function modelLabel({model, kind, size, bytes}) {
  const note = KINDS[kind] ? `: ${KINDS[kind]}` : "";
  return `${model} ${size.join("×")} ${kind}, ${megabytes(bytes)}${note}`;
}

// How far a model's download came, in bytes.
export function loading({loaded}, {bytes}) {
  return `Loading the model: ${(loaded / 1e6).toFixed(1)} of ${megabytes(bytes)}`;
}

// How a restoration went; `refused`: why it was not by WebGPU, where that was tried.
export function summary({width, height, seconds, accelerator, threads}, refused) {
  const where = accelerator === "webgpu" ? "WebGPU" :
    `the CPU (WebAssembly, ${threads} thread${threads === 1 ? "" : "s"})`;
  const why = accelerator === "cpu" && refused ? ` ${refused}` : "";
  return `Restored ${width} × ${height} pixels in ${seconds.toFixed(1)} s on ${where}.${why}`;
}

// What this browser can compute with; gpu: WebGPU's adapter, or null.
export function whereItRuns(gpu) {
  const threads = crossOriginIsolated ? `${navigator.hardwareConcurrency} threads` :
    "1 thread: the server does not send the headers that threads need " +
    "(Cross-Origin-Opener-Policy: same-origin, Cross-Origin-Embedder-Policy: require-corp)";
  const name = [gpu?.info?.vendor, gpu?.info?.architecture].filter(Boolean).join(" ");
  return gpu ? `WebGPU${name && ` (${name})`}, or the CPU with ${threads}` :
    `the CPU with ${threads}; this browser offers no WebGPU`;
}

// [[term, text]] for the page's foot.
export function facts({models, runtime, max_pixels: pixels, version}, gpu) {
  const lines = models.map(entry => [
    entry.file.replace(/^.*\//, ""),
    `tiles of ${entry.size.join("×")} pixels that share ${entry.overlap.join("×")} or more; ` +
      `${entry.psnr_to_float.toFixed(1)} dB from the network it was made of`,
  ]);
  return [
    ...lines,
    ["Runs on", whereItRuns(gpu)],
    ["Largest picture", `${pixels / 1e6} million pixels`],
    ["Result", "8 bits in sRGB, without the file's metadata; its orientation is applied"],
    ["Made by", `restore_tf ${version}; ${runtime.name} ${runtime.version}, ${runtime.licence}`],
  ];
}

function megabytes(count) {
  return `${(count / 1e6).toFixed(1)} MB`;
}
