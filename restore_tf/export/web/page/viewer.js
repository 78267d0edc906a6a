// Before and after under one divider, and the restored picture as a file.

const find = id => document.getElementById(id);
const viewer = find("viewer"), stage = viewer.querySelector(".stage"), slider = find("slider");
const [after, before] = ["right", "left"].map(side => stage.querySelector(`.${side}`));
let name = "picture";

// Shows a picture's file and what was made of it: {data: RGBA bytes, width, height}.
export async function show(file, {data, width, height}) {
  name = (file.name || "picture").replace(/\.[^.]*$/, "");
  Object.assign(after, {width, height});
  after.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
  const bitmap = await createImageBitmap(file, {imageOrientation: "from-image"});
  Object.assign(before, {width: bitmap.width, height: bitmap.height});
  before.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  stage.style.aspectRatio = `${width} / ${height}`;
  stage.style.width = `${width}px`;
  cut(50);
}

function cut(percent) {
  slider.value = Math.min(100, Math.max(0, percent));
  stage.style.setProperty("--cut", `${slider.value}%`);
}

function drag(event) {
  const box = stage.getBoundingClientRect();
  cut(100 * (event.clientX - box.left) / box.width);
}

// A file of the restored picture. JPEG has no transparency: white lies behind it.
async function save(kind, ending) {
  let canvas = after;
  if (kind === "image/jpeg") {
    canvas = new OffscreenCanvas(after.width, after.height);
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(after, 0, 0);
  }
  const blob = canvas === after ? await new Promise(resolve => after.toBlob(resolve, kind)) :
    await canvas.convertToBlob({type: kind, quality: 0.95});
  const link = Object.assign(document.createElement("a"), {
    href: URL.createObjectURL(blob),
    download: `${name}_restored.${ending}`,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

slider.addEventListener("input", () => cut(slider.value));
stage.addEventListener("pointerdown", event => {
  if (event.button !== 0) return;
  event.preventDefault();  // no text selection
  stage.setPointerCapture(event.pointerId);
  slider.focus({preventScroll: true, focusVisible: false});
  drag(event);
});
stage.addEventListener("pointermove", event => {
  if (stage.hasPointerCapture(event.pointerId)) drag(event);
});
find("png").addEventListener("click", () => save("image/png", "png"));
find("jpeg").addEventListener("click", () => save("image/jpeg", "jpg"));
find("zoom").addEventListener("click", event => {
  const actual = viewer.classList.toggle("actual");
  event.target.setAttribute("aria-pressed", actual);
  const frame = stage.parentNode;  // the divider stays in sight
  frame.scrollLeft = stage.offsetWidth * slider.value / 100 - frame.clientWidth / 2;
});
