"use strict";

// Tables are sorted by their heads' buttons. A tbody is a row, sorted by the data-value of the cells
// of its .line; names, the first column, by the tbody's data-name.
function compare(a, b) {
  if (a === b) return 0;
  if (a === "") return 1;   // a missing score goes last, whatever the direction
  if (b === "") return -1;
  if (a === "nan") return -1;
  if (b === "nan") return 1;
  return Number(a.replace("inf", "Infinity")) - Number(b.replace("inf", "Infinity"));
}

function sortBy(table, head) {
  const heads = Array.from(head.parentNode.children), column = heads.indexOf(head);
  const opposite = {ascending: "descending", descending: "ascending"};
  const now = head.getAttribute("aria-sort");
  const order = now ? opposite[now] : head.dataset.first;
  heads.forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const value = group => group.querySelector(".line").children[column].dataset.value;
  const names = new Intl.Collator(undefined, {numeric: true});
  const keyed = Array.from(table.tBodies, group => [value(group), group.dataset.name, group]);
  keyed.sort(([a, nameA], [b, nameB]) => {
    if (column === 0) return sign * names.compare(nameA, nameB);
    const missing = a === "" || b === "";
    return (missing ? 1 : sign) * compare(a, b) || names.compare(nameA, nameB);
  });
  table.append(...keyed.map(entry => entry[2]));
}

function makeSortable(table) {
  table.tHead.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (button) sortBy(table, button.parentNode);
  });
}
