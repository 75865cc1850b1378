// Asks for the newest events every ten seconds, while somebody looks and wants it.
"use strict";
const box = document.getElementById("live");
const list = document.getElementById("newest");
box.parentElement.hidden = false;
setInterval(async () => {
  if (!box.checked || document.hidden || list.contains(document.activeElement)) return;
  try {
    const answer = await fetch(list.dataset.from, { redirect: "error" });
    if (!answer.ok) throw new Error(answer.status);
    const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
    list.replaceChildren(...parsed.body.children);
  } catch {
    box.checked = false;
  }
}, Number(list.dataset.every));
