"use strict";
// Restores pictures beside the page, which stays alive meanwhile. A classic worker: LiteRT.js loads
// its WebAssembly by importScripts, which modules do not have.
//
//   takes {id, blob, entry, accelerator}
//   gives {id, state: "loading", loaded: bytes of the model}, {id, state: "running", done, total},
//     {id, state: "done", data, width, height, seconds, accelerator, threads, memory},
//     {id, state: "refused", message}: WebGPU will not do, or {id, state: "failed", message}

let session = null;  // a promise, once the first picture came

self.onmessage = async ({data: {id, blob, entry, accelerator}}) => {
  const tell = (state, rest, transfer) => self.postMessage({id, state, ...rest}, transfer ?? []);
  const load = async () => (await import("./session.js")).open(
    entry, accelerator, loaded => tell("loading", {loaded}));
  tell("loading", {loaded: 0});
  try {
    session ??= load();
    await session;
  } catch (error) {
    const state = accelerator === "webgpu" ? "refused" : "failed";
    tell(state, {message: String(error?.message ?? error)});
    return;
  }
  try {
    const ready = await session;
    const begin = performance.now();
    const restored = await ready.restore(blob, (done, total) => tell("running", {done, total}));
    tell("done", {
      ...restored,
      seconds: (performance.now() - begin) / 1000,
      accelerator: ready.accelerator,
      threads: ready.threads,
      memory: ready.memory,
    }, [restored.data.buffer]);
  } catch (error) {
    tell("failed", {message: describe(error)});
  }
};

function describe(error) {
  if (error instanceof RangeError) return "There is not enough memory for this picture.";
  if (error?.name === "InvalidStateError" || error?.name === "EncodingError") {
    return "This browser cannot read the picture: it is damaged, or of a kind it does not know.";
  }
  return String(error?.message ?? error);
}
