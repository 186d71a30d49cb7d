const svg = document.querySelector("svg"), hover = document.getElementById("hover"), choose = document.querySelector("select");

function pick(task) {
  svg.classList.toggle("picked", task !== "");
  for (const part of svg.querySelectorAll("[data-t]")) part.classList.toggle("on", part.dataset.t === task);
  choose.value = task;
}

function told(event) {
  const part = event.target.closest("[data-h]");
  hover.hidden = !part;
  if (!part) return;
  hover.textContent = part.dataset.h;
  const right = event.clientX + 16 + hover.offsetWidth > innerWidth, below = event.clientY + 16 + hover.offsetHeight > innerHeight;
  hover.style.left = Math.max(4, right ? event.clientX - 16 - hover.offsetWidth : event.clientX + 16) + "px";
  hover.style.top = Math.max(4, below ? event.clientY - 12 - hover.offsetHeight : event.clientY + 16) + "px";
}

svg.addEventListener("pointermove", told);
svg.addEventListener("pointerleave", () => { hover.hidden = true; });
svg.addEventListener("click", (event) => {
  const task = event.target.closest("[data-t]")?.dataset.t ?? "";
  pick(task === choose.value ? "" : task);
});
choose.addEventListener("change", () => pick(choose.value));
addEventListener("keydown", (event) => { if (event.key === "Escape") pick(""); });
for (const box of document.querySelectorAll("input")) {
  box.addEventListener("change", () => svg.classList.toggle("without-" + box.name, !box.checked));
}
