
const table = document.getElementById("images");
const groups = () => Array.from(table.tBodies);
makeSortable(table);
makeSliders(table);

function show(group, open) {
  group.querySelector(".detail").hidden = !open;
  group.querySelector(".open").setAttribute("aria-expanded", open);
}

function choose(viewer, sharp) {
  const stage = viewer.querySelector(".stage");
  const [left, right] = sharp ? ["restored", "sharp"] : ["degraded", "restored"];
  for (const [side, kind] of [["left", left], ["right", right]]) {
    const picture = stage.querySelector("." + side);
    picture.src = stage.dataset[kind];
    picture.alt = kind;
    stage.querySelector(".tag." + side[0]).textContent = kind;
  }
  stage.querySelector("input").setAttribute("aria-label", `divider: ${left} left, ${right} right`);
  viewer.querySelector(".compare").setAttribute("aria-pressed", sharp);
}

table.addEventListener("click", event => {
  const button = event.target.closest(".compare");
  if (button) {
    choose(button.closest(".viewer"), button.getAttribute("aria-pressed") !== "true");
    return;
  }
  const line = event.target.closest(".line");
  if (line) show(line.parentNode, line.nextElementSibling.hidden);
});

document.getElementById("filter").addEventListener("input", event => {
  const wanted = event.target.value.toLowerCase();
  groups().forEach(group => { group.hidden = !group.dataset.name.toLowerCase().includes(wanted); });
});

document.getElementById("toggle").addEventListener("click", event => {
  const open = event.target.getAttribute("aria-pressed") !== "true";
  event.target.setAttribute("aria-pressed", open);
  event.target.textContent = open ? "Close all" : "Open all";
  groups().forEach(group => show(group, open));
});

groups().slice(0, 1).forEach(group => show(group, true));
