// Parts of a page that the server writes anew; without this script, loading the page does the same.
"use strict";

const EVERY_MS = 2000;

for (const part of document.querySelectorAll("[data-refresh]")) {
  let shown = null, said = null;
  const refresh = async () => {
    let answer = null;
    try {
      answer = await fetch(part.dataset.refresh, { cache: "no-store" });
      if (answer.status === 401) location.reload(); // the login has ended
      const text = answer.ok ? await answer.text() : shown;
      if (text !== shown) {
        const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
        part.innerHTML = text;
        if (focused) (document.getElementById(focused) || part.querySelector("button:enabled") || part).focus();
        shown = text;
      }
    } catch { /* the next one may arrive */ }
    part.toggleAttribute("data-old", answer === null || !answer.ok);
    const say = part.querySelector("[data-say]");
    if (say !== null && said !== say.dataset.say) {
      if (said !== null) document.getElementById("changed").textContent = say.dataset.say;
      said = say.dataset.say;
    }
    setTimeout(refresh, EVERY_MS);
  };
  setTimeout(refresh, EVERY_MS);
}
