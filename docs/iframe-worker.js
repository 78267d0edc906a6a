// Search in pages that are opened from a disk. Browsers refuse workers there, so the search's script
// runs in a hidden frame that speaks as a worker does. Served pages keep the browser's own Worker.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this._inner = frame.contentWindow;
      this._frame = frame;
      this._listen = ({ source, data }) => {
        if (source !== this._inner) return;
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      window.addEventListener("message", this._listen);
      const inside = this._inner.document;
      inside.open();
      inside.write("<!doctype html><body></body>");
      inside.close();
      this._send = this._inner.postMessage.bind(this._inner);
      // What the script calls: an answer to the page, and further scripts, one after another.
      this._inner.eval(`
        postMessage = (data) => parent.postMessage(data, "*");
        importScripts = (...files) => files.reduce((before, file) => before.then(() =>
          new Promise((done, failed) => {
            const script = document.createElement("script");
            script.src = file;
            script.onload = done;
            script.onerror = () => failed(new Error(file + " cannot be read"));
            document.body.append(script);
          })), Promise.resolve());
      `);
      this._ready = new Promise((done) => {
        const script = inside.createElement("script");
        script.src = new URL(address, location.href);
        script.onload = done;
        inside.body.append(script);
      });
    }

    postMessage(data) {
      this._ready.then(() => this._send(data, "*"));
    }

    terminate() {
      window.removeEventListener("message", this._listen);
      this._frame.remove();
    }
  };
}
