"use strict";
// Restores pictures beside the page, so that the page stays alive. A classic worker: LiteRT.js loads
// its WebAssembly by importScripts, which modules do not have.
//
//   takes {id, blob, entry, accelerator}
//   gives {id, state: "loading"}, {id, state: "running", done, total},
//     {id, state: "done", data, width, height, seconds, accelerator, threads, memory},
//     {id, state: "refused", message}: WebGPU will not do, or {id, state: "failed", message}

let session = null;  // a promise, once the first picture came

self.onmessage = async ({data: {id, blob, entry, accelerator}}) => {
  const tell = (state, rest, transfer) => self.postMessage({id, state, ...rest}, transfer ?? []);
  tell("loading");
  try {
    session ??= import("./session.js").then(module => module.open(entry, accelerator));
    await session;
  } catch (error) {
    tell(accelerator === "webgpu" ? "refused" : "failed", {message: String(error?.message ?? error)});
    return;
  }
  const {threads, memory, ...loaded} = await session;
  try {
    const begin = performance.now();
    const restored = await (await session).restore(
      blob, (done, total) => tell("running", {done, total}));
    tell("done", {
      ...restored,
      seconds: (performance.now() - begin) / 1000,
      accelerator: loaded.accelerator,
      threads,
      memory: (await session).memory,
    }, [restored.data.buffer]);
  } catch (error) {
    tell("failed", {message: describe(error)});
  }
};

function describe(error) {
  if (error instanceof RangeError) return "There is not enough memory for this picture.";
  if (error?.name === "InvalidStateError" || error?.name === "EncodingError") {
    return "This browser cannot read the picture: it is damaged, or of a kind that it does not know.";
  }
  return String(error?.message ?? error);
}
