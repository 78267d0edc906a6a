"use strict";
// The parts of the page that are ours: the area that takes files, and the viewer.
(() => {
  // ---- the viewer: two versions of a picture, a divider between them, zoom to 100 %.

  function cut(viewer, percent) {
    const value = Math.min(100, Math.max(0, percent));
    viewer.querySelector(".rtf-stage").style.setProperty("--cut", value + "%");
    viewer.querySelector(".rtf-cut").value = value;
  }

  function drag(stage, event) {
    const box = stage.getBoundingClientRect();
    cut(stage.closest(".rtf-viewer"), 100 * (event.clientX - box.left) / box.width);
  }

  function zoom(button) {
    const viewer = button.closest(".rtf-viewer"), pane = viewer.querySelector(".rtf-pane");
    const stage = viewer.querySelector(".rtf-stage");
    const whole = button.getAttribute("aria-pressed") === "true";
    const middle = (pane.scrollLeft + pane.clientWidth / 2) / Math.max(1, pane.scrollWidth);
    // A picture's pixel is one of the screen's, however many of those a CSS pixel has.
    const width = Number(stage.dataset.width) / window.devicePixelRatio;
    stage.style.width = whole ? "" : width + "px";
    stage.style.maxWidth = whole ? stage.dataset.width + "px" : "none";
    viewer.classList.toggle("whole", !whole);
    button.setAttribute("aria-pressed", !whole);
    button.textContent = whole ? "Zoom to 100 %" : "Fit to the page";
    if (!whole) {
      pane.scrollLeft = middle * pane.scrollWidth - pane.clientWidth / 2;
      pane.scrollTop = (pane.scrollHeight - pane.clientHeight) / 2;
    }
  }

  function choose(select) {
    const viewer = select.closest(".rtf-viewer"), side = select.dataset.side;
    const name = select.selectedOptions[0].textContent;
    const picture = viewer.querySelector("img." + side);
    picture.src = select.value;
    picture.alt = name;
    viewer.querySelector(".tag." + side[0]).textContent = name;
    const [left, right] = ["left", "right"].map(s => viewer.querySelector("img." + s).alt);
    viewer.querySelector(".rtf-cut").setAttribute("aria-label", `divider between ${left} and ${right}`);
  }

  document.addEventListener("input", event => {
    if (event.target.matches?.(".rtf-cut")) cut(event.target.closest(".rtf-viewer"), Number(event.target.value));
  });
  document.addEventListener("change", event => {
    if (event.target.matches?.(".rtf-side")) choose(event.target);
  });
  document.addEventListener("click", event => {
    const button = event.target.closest?.(".rtf-zoom");
    if (button) zoom(button);
  });
  document.addEventListener("pointerdown", event => {
    const stage = event.target.closest?.(".rtf-stage");
    if (!stage || event.button !== 0) return;
    if (event.pointerType === "touch" && stage.closest(".whole")) return;   // a finger pans there
    event.preventDefault();   // no text selection, no picture dragged out of the page
    stage.setPointerCapture(event.pointerId);
    drag(stage, event);
  });
  document.addEventListener("pointermove", event => {
    const stage = event.target.closest?.(".rtf-stage");
    if (stage && stage.hasPointerCapture(event.pointerId)) drag(stage, event);
  });

  // ---- the area that takes files: dropped, pasted, picked; each is sent at once.

  function send(file, address, progress) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", address);
      request.upload.onprogress = event => event.lengthComputable && progress(event.loaded / event.total);
      request.onload = () => {
        let answer = {};
        try { answer = JSON.parse(request.responseText); } catch { /* a proxy's own words */ }
        if (request.status === 200) resolve(answer.id);
        else reject(new Error(answer.error || `the server answered ${request.status}`));
      };
      request.onerror = () => reject(new Error("the server cannot be reached, or the file is too large for it"));
      request.send(file);
    });
  }

  const hasFiles = event => event.dataTransfer?.types.includes("Files");
  // A browser would leave the page for a file that is dropped beside an area.
  for (const name of ["dragover", "drop"]) {
    window.addEventListener(name, event => { if (hasFiles(event)) event.preventDefault(); });
  }
  const visible = element => element.offsetParent !== null;

  // Makes a Gradio HTML component an input: its value is a list of {id, name}.
  function area(element, props, trigger, watch) {
    const root = element.querySelector(".rtf-area") ? element : element.parentElement;
    const many = Number(props.many), address = `${props.root}/page/upload?kind=${props.kind}`;
    const say = text => { root.querySelector(".rtf-area-note").textContent = text; };
    const files = () => Array.isArray(props.value) ? props.value : [];
    const update = value => { props.value = value; draw(); trigger("change"); };

    function draw() {
      root.querySelector(".rtf-files").replaceChildren(...files().map(file => {
        const line = document.createElement("li"), name = document.createElement("span");
        const button = document.createElement("button");
        name.textContent = file.name;
        Object.assign(button, {type: "button", textContent: "\u00d7"});
        button.dataset.remove = file.id;
        button.setAttribute("aria-label", `remove ${file.name}`);
        line.append(name, button);
        return line;
      }));
    }
    watch("value", draw);   // an example was chosen

    async function take(list) {
      const chosen = Array.from(list);
      if (!chosen.length) return;
      let kept = many > 1 ? files() : [];
      for (const file of chosen) {
        if (kept.length >= many) { say(`At most ${many} at a time.`); break; }
        try {
          const ending = encodeURIComponent((/\.[a-z0-9]{1,5}$/i.exec(file.name) || [""])[0].toLowerCase());
          const id = await send(file, `${address}&ending=${ending}`,
            share => say(`${file.name}: sending, ${Math.round(100 * share)} %`));
          kept = [...kept, {id, name: file.name || "pasted.png"}];
          update(kept);
          say("");
        } catch (error) {
          say(`${file.name}: ${error.message}`);
        }
      }
    }

    root.addEventListener("change", event => {
      if (event.target.type !== "file") return;
      event.stopPropagation();
      take(event.target.files).finally(() => { event.target.value = ""; });
    });
    root.addEventListener("click", event => {
      const button = event.target.closest("[data-remove]");
      if (button) update(files().filter(file => file.id !== button.dataset.remove));
    });
    for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
      root.addEventListener(name, event => {
        event.preventDefault();
        root.classList.toggle("rtf-over", name === "dragenter" || name === "dragover");
        if (name === "drop") take(event.dataTransfer.files);
      });
    }
    document.addEventListener("paste", event => {
      const pasted = event.clipboardData?.files;
      if (!pasted?.length || !visible(root) || props.pasted !== true) return;
      event.preventDefault();
      take(pasted);
    });
    document.addEventListener("drop", event => {
      if (event.defaultPrevented || !visible(root) || props.missed !== true) return;
      if (hasFiles(event)) take(event.dataTransfer.files);
    });
  }

  // ---- on a phone the status line may be below the visible part: it is scrolled into view, until
  // the visitor scrolls.

  let watching = null;
  const unwatch = () => { watching?.disconnect(); watching = null; };
  for (const name of ["wheel", "touchmove", "pointerdown", "keydown"]) {
    window.addEventListener(name, unwatch, {passive: true});
  }
  document.addEventListener("click", event => {
    const line = [...document.querySelectorAll(".rtf-status-line")].find(visible);
    if (!line || !event.target.closest?.("button.primary")) return;
    unwatch();
    watching = new MutationObserver(() => {
      if (line.getBoundingClientRect().top > window.innerHeight / 2) line.scrollIntoView();
    });
    watching.observe(line.parentElement, {childList: true, subtree: true});
  });

  window.restorePage = {area};
})();
