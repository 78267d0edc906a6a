
const form = document.getElementById("votes"), text = document.getElementById("text");
const total = form.querySelectorAll("fieldset").length;

function update() {
  const votes = Object.fromEntries(new FormData(form));
  text.value = JSON.stringify({comparison: identity, votes}, null, 1);
  document.getElementById("count").textContent =
    `${Object.keys(votes).length} of ${total} answered`;
}

form.addEventListener("change", update);

document.getElementById("save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text.value + "\n"], {type: "application/json"}));
  link.download = "votes.json";
  link.click();
  URL.revokeObjectURL(link.href);
});

document.getElementById("copy").addEventListener("click", () => {
  text.select();
  if (navigator.clipboard) navigator.clipboard.writeText(text.value);
  else document.execCommand("copy");   // pages opened from disk may have no clipboard
});

update();
