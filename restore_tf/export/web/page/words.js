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
  return `${model} ${size.join("×")} ${kind}${note} (${megabytes(bytes)})`;
}

// How a restoration went.
export function summary({width, height, seconds, accelerator, threads}) {
  const where = accelerator === "webgpu" ? "WebGPU" :
    `the CPU (WebAssembly, ${threads} thread${threads === 1 ? "" : "s"})`;
  return `Restored ${width} × ${height} pixels in ${seconds.toFixed(1)} s on ${where}.`;
}

export function whereItRuns() {
  const threads = crossOriginIsolated ? `${navigator.hardwareConcurrency} threads` :
    "1 thread: the server does not send the headers that threads need " +
    "(Cross-Origin-Opener-Policy: same-origin, Cross-Origin-Embedder-Policy: require-corp)";
  const gpu = navigator.gpu ? "tried first, where it has an adapter" : "not in this browser";
  return `CPU with ${threads}; WebGPU: ${gpu}`;
}

// [[term, text]] for the page's foot.
export function facts({models, runtime, max_pixels: pixels, version}) {
  const lines = models.map(entry => [
    entry.file.replace(/^.*\//, ""),
    `tiles of ${entry.size.join("×")} pixels that share ${entry.overlap.join("×")} or more; ` +
      `${entry.psnr_to_float.toFixed(1)} dB from the network it was made of`,
  ]);
  return [
    ...lines,
    ["Runs on", whereItRuns()],
    ["Largest picture", `${pixels / 1e6} million pixels`],
    ["Result", "8 bits in sRGB, without the file's metadata; its orientation is applied"],
    ["Made by", `restore_tf ${version}; ${runtime.name} ${runtime.version}, ${runtime.licence}`],
  ];
}

function megabytes(count) {
  return `${(count / 1e6).toFixed(1)} MB`;
}
