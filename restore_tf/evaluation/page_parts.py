"""The fixed parts of the report page: markup, style, script. `page` fills them.

The page is one file without any outside resource: it opens from disk, from a mail or behind a
web server alike. Without JavaScript all pictures are shown, side by side instead of overlaid.
`$` marks what is filled in; every value arrives escaped.
"""

from string import Template

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60656c; --line: #dfe2e6;
  --paper: #fff; --raised: #f5f6f8; --accent: #0b62c4; --better: #1a7f37; --worse: #c4320a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9ba1a8; --line: #33383f;
  --paper: #14171a; --raised: #1d2125; --accent: #6cb0ff; --better: #58c377; --worse: #ff8f66; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 72rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif;
  font-variant-numeric: tabular-nums; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
small, .soft { color: var(--soft); font-size: .85rem; font-weight: normal; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .45rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; }
#summary small { white-space: nowrap; }
#summary tr.restored { background: var(--raised); }
#summary tr:not(.restored) :is(th, b) { font-weight: normal; }
ul.notes { margin: .6rem 0; padding-left: 1.1rem; color: var(--soft); font-size: .85rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
button, input[type=search] { font: inherit; color: inherit; border: 1px solid var(--line);
  border-radius: .4rem; background: var(--raised); padding: .3rem .7rem; }
button { cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.tools { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; margin-bottom: .6rem; }
.tools input { flex: 1 1 12rem; max-width: 24rem; }
#images > thead th { padding: 0; position: sticky; top: 0; background: var(--paper); z-index: 3;
  box-shadow: inset 0 -1px var(--line); border: 0; }
#images > thead button { width: 100%; border: 0; background: none; padding: .45rem .7rem;
  text-align: inherit; font-weight: 600; }
th[aria-sort] button { color: var(--accent); }
th[aria-sort=ascending] button::after { content: " ▲"; font-size: .7em; }
th[aria-sort=descending] button::after { content: " ▼"; font-size: .7em; }
.line { cursor: pointer; }
.line:hover { background: var(--raised); }
.line .open { border: 0; padding: 0; background: none; color: var(--accent); text-align: left;
  font-weight: normal; overflow-wrap: anywhere; }
.line .open::before { content: "▸"; display: inline-block; width: 1.1em; }
.line .open[aria-expanded=true]::before { content: "▾"; }
.note { display: block; padding-left: 1.1em; }
.better { color: var(--better); } .worse { color: var(--worse); }
.detail > td { padding: .8rem .2rem 1.6rem; text-align: left; }
.viewer { margin: 0 auto; }
.stage { position: relative; overflow: hidden; border-radius: .4rem; background: var(--raised);
  cursor: ew-resize; touch-action: pan-y; user-select: none; width: 100%; }
.stage img { position: absolute; inset: 0; width: 100%; height: 100%; display: block;
  color: var(--soft); font-size: .85rem; }
.stage .left { clip-path: inset(0 calc(100% - var(--cut)) 0 0); }
.stage .divider { position: absolute; top: 0; bottom: 0; left: var(--cut); width: 2px;
  margin-left: -1px; background: #fff; box-shadow: 0 0 3px #000a; pointer-events: none; }
.stage .divider::after { content: "◂▸"; position: absolute; top: 50%; left: 50%; width: 2.2rem;
  height: 2.2rem; transform: translate(-50%, -50%); border-radius: 50%; background: #fff;
  color: #222; display: grid; place-items: center; font-size: .8rem; letter-spacing: .15em;
  text-indent: .15em; box-shadow: 0 0 4px #0008; }
.stage input { position: absolute; inset: auto 0 0; width: 100%; margin: 0; opacity: 0;
  pointer-events: none; }
.stage:has(input:focus-visible) { outline: 3px solid var(--accent); outline-offset: 2px; }
.tag { position: absolute; top: .5rem; padding: .05rem .5rem; border-radius: .3rem; color: #fff;
  background: #000a; font-size: .8rem; pointer-events: none; }
.tag.l { left: .5rem; } .tag.r { right: .5rem; }
.viewer figcaption { display: flex; flex-wrap: wrap; gap: .4rem .8rem; align-items: center;
  margin: .5rem 0 .8rem; font-size: .9rem; }
.viewer figcaption span { color: var(--soft); margin-left: auto; }
a { color: var(--accent); }
button[aria-pressed=true] { border-color: var(--accent); color: var(--accent); }
table.scores { width: auto; margin: 0 auto; font-size: .9rem; }
table.scores tr:last-child > * { border-bottom: 0; }
.missing { color: var(--soft); text-align: center; }
[hidden] { display: none; }
@media (max-width: 40rem) {
  th, td { padding: .4rem .35rem; }
  #images, #summary { font-size: .85rem; }
  #images > thead button { padding: .4rem .35rem; }
  #summary small { display: block; }
  #images, #images > thead, #images > tbody:not([hidden]), .detail:not([hidden]), .detail > td {
    display: block; }
  #images > thead { position: sticky; top: 0; z-index: 3; }
  #images > thead > tr, .line { display: grid; grid-template-columns: 1fr 6.5rem 4.5rem; }
  #images > thead .minor, .line .minor { display: none; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .4rem; }
}
@media (scripting: none) {
  .tools, .stage :is(input, .divider), figcaption button { display: none; }
  .detail[hidden] { display: table-row; }
  .stage { aspect-ratio: auto !important; display: flex; }
  .stage img { position: static; width: 50%; height: auto; }
  .stage .left { clip-path: none; order: -1; }
}
"""

SCRIPT = """
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
  const [left, right] = sharp ? ["restored", "sharp"] : ["blurry", "restored"];
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
"""

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<h1>$title</h1>
<div class=scroll><table id=summary>
$summary
</table></div>
<ul class=notes>$footnotes</ul>
<h2>Where these numbers come from</h2>
<dl>$provenance</dl>
<h2>Images <small>$count; scores of the restored picture; gain: $ranking against the blurry
input</small></h2>
<div class=tools>
<input id=filter type=search placeholder="filter by name" aria-label="filter by name">
<button id=toggle type=button aria-pressed=false>Open all</button>
</div>
<table id=images>
<thead><tr>$head</tr></thead>
$images
</table>
<script>$script</script>
</body>
</html>
""")

# The picture's own width is the limit: enlarging one would show the browser's interpolation.
VIEWER = Template(
    '<figure class=viewer style="max-width: ${width}px">'
    '<div class=stage style="aspect-ratio: $width / $height; --cut: 50%"$pictures>'
    '<img class=right src="$right" alt="restored" loading="lazy" decoding="async">'
    '<img class=left src="$left" alt="blurry" loading="lazy" decoding="async">'
    "<i class=divider></i>"
    '<b class="tag l">blurry</b><b class="tag r">restored</b>'
    '<input type=range min=0 max=100 value=50 aria-label="divider: blurry left, '
    'restored right"></div>'
    "<figcaption>$compare<span>open $links</span></figcaption></figure>"
)

COMPARE = (
    "<button type=button class=compare aria-pressed=false>Compare restored with sharp</button>"
)
