
// The divider of every .stage in `root` follows pointers and, as a range input, keys.
function cut(stage, percent) {
  const value = Math.min(100, Math.max(0, percent));
  stage.style.setProperty("--cut", value + "%");
  stage.querySelector("input").value = value;
}

function drag(stage, event) {
  const box = stage.getBoundingClientRect();
  cut(stage, 100 * (event.clientX - box.left) / box.width);
}

function makeSliders(root) {
  root.addEventListener("input", event => {
    const stage = event.target.closest(".stage");
    if (stage) cut(stage, Number(event.target.value));
  });
  root.addEventListener("pointerdown", event => {
    const stage = event.target.closest(".stage");
    if (!stage || event.button !== 0) return;
    event.preventDefault();   // no text selection, no picture dragged out of the page
    stage.setPointerCapture(event.pointerId);
    stage.querySelector("input").focus({preventScroll: true, focusVisible: false});
    drag(stage, event);
  });
  root.addEventListener("pointermove", event => {
    const stage = event.target.closest(".stage");
    if (stage && stage.hasPointerCapture(event.pointerId)) drag(stage, event);
  });
}
