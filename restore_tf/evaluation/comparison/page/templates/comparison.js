
document.querySelectorAll("table.sortable").forEach(makeSortable);

function pick(entry, side, row) {
  const chosen = Array.from(entry.querySelectorAll(".strip figure"))
    .find(figure => figure.dataset.row === row);
  const stage = entry.querySelector(".stage"), label = chosen.querySelector("b").textContent;
  const picture = stage.querySelector("img." + side);
  picture.src = chosen.querySelector("img").src;
  picture.alt = label;
  stage.querySelector(".tag." + side[0]).textContent = label;
  entry.querySelector("select." + side).value = row;
  const [left, right] = ["left", "right"].map(which => stage.querySelector("img." + which).alt);
  stage.querySelector("input").setAttribute("aria-label", `divider: ${left} left, ${right} right`);
}

const shown = document.getElementById("gallery");
if (shown) {
  makeSliders(shown);
  for (const entry of shown.querySelectorAll(".entry")) {
    for (const side of ["left", "right"]) {
      pick(entry, side, entry.dataset[side]);
      entry.querySelector("select." + side).addEventListener("change", event =>
        pick(entry, side, event.target.value));
    }
    // A click on a crop brings it to the slider's right side.
    entry.querySelector(".strip").addEventListener("click", event => {
      const figure = event.target.closest("figure");
      if (figure && event.target.tagName === "IMG") pick(entry, "right", figure.dataset.row);
    });
  }
}
