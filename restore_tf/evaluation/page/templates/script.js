"use strict";
const table = document.getElementById("images");
const groups = () => Array.from(table.tBodies);

function show(group, open) {
  group.querySelector(".detail").hidden = !open;
  group.querySelector(".open").setAttribute("aria-expanded", open);
}

function compare(a, b) {
  if (a === b) return 0;
  if (a === "") return 1;   // a missing score goes last, whatever the direction
  if (b === "") return -1;
  if (a === "nan") return -1;
  if (b === "nan") return 1;
  return Number(a.replace("inf", "Infinity")) - Number(b.replace("inf", "Infinity"));
}

function sortBy(head) {
  const heads = Array.from(head.parentNode.children), column = heads.indexOf(head);
  const opposite = {ascending: "descending", descending: "ascending"};
  const now = head.getAttribute("aria-sort");
  const order = now ? opposite[now] : head.dataset.first;
  heads.forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const value = group => group.querySelector(".line").children[column].dataset.value;
  const names = new Intl.Collator(undefined, {numeric: true});
  const keyed = groups().map(group => [value(group), group.dataset.name, group]);
  keyed.sort(([a, nameA], [b, nameB]) => {
    if (column === 0) return sign * names.compare(nameA, nameB);
    const missing = a === "" || b === "";
    return (missing ? 1 : sign) * compare(a, b) || names.compare(nameA, nameB);
  });
  table.append(...keyed.map(entry => entry[2]));
}

function cut(stage, percent) {
  const value = Math.min(100, Math.max(0, percent));
  stage.style.setProperty("--cut", value + "%");
  stage.querySelector("input").value = value;
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

table.tHead.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button) sortBy(button.parentNode);
});

table.addEventListener("click", event => {
  const button = event.target.closest(".compare");
  if (button) {
    choose(button.closest(".viewer"), button.getAttribute("aria-pressed") !== "true");
    return;
  }
  const line = event.target.closest(".line");
  if (line) show(line.parentNode, line.nextElementSibling.hidden);
});

table.addEventListener("input", event => {
  const stage = event.target.closest(".stage");
  if (stage) cut(stage, Number(event.target.value));
});

function drag(stage, event) {
  const box = stage.getBoundingClientRect();
  cut(stage, 100 * (event.clientX - box.left) / box.width);
}

table.addEventListener("pointerdown", event => {
  const stage = event.target.closest(".stage");
  if (!stage || event.button !== 0) return;
  event.preventDefault();   // no text selection, no picture dragged out of the page
  stage.setPointerCapture(event.pointerId);
  stage.querySelector("input").focus({preventScroll: true, focusVisible: false});
  drag(stage, event);
});

table.addEventListener("pointermove", event => {
  const stage = event.target.closest(".stage");
  if (stage && stage.hasPointerCapture(event.pointerId)) drag(stage, event);
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
