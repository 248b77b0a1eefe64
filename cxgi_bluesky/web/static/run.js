// A run's images: the slider moves the border between two of them, the switch lays the uncertainty over both.
"use strict";

const byId = (id) => document.getElementById(id);
const found = byId("images");
const images = found === null ? [] : JSON.parse(found.textContent);
const sides = ["a", "b"].filter((side) => byId(`image-${side}`) !== null);
const shown = { a: Math.min(1, images.length - 1), b: 0 };
const digits = (value, n) => Number(value.toPrecision(n)).toString();

function show() {
  const uncertain = byId("uncertain").checked;
  const texts = [];
  for (const side of sides) {
    const image = images[shown[side]], picture = byId(`image-${side}`), overlay = byId(`overlay-${side}`);
    const address = `/runs/${image.uid}/image.small.png`;
    if (picture.getAttribute("src") !== address) picture.src = address;
    picture.alt = `${document.querySelector("h1").textContent} by ${image.method} from ${image.exposures} patterns, ${image.size} by ${image.size} pixels`;
    overlay.hidden = !(uncertain && image.has_uncertainty);
    if (!overlay.hidden) overlay.src = `/runs/${image.uid}/uncertainty.small.png`;
    if (uncertain) texts.push(image.has_uncertainty ? `${image.method}: median ±${digits(image.uncertainty, 2)} (${image.uncertainty_kind})` : `${image.method}: no uncertainty stored`);
  }
  const right = images[shown.b];
  byId("low").textContent = digits(right.low, 3);
  byId("high").textContent = digits(right.high, 3);
  byId("scale").textContent = right.scale;
  byId("uncertain-text").textContent = texts.length > 0 ? `Amber covers what is uncertain. ${texts.join("; ")}` : "";
}

function split() {
  const share = byId("split").value;
  byId("layer-a").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
  byId("divider").style.left = `${share}%`;
}

if (images.length > 0) {
  byId("uncertain").addEventListener("change", show);
  for (const side of sides) {
    const choose = byId(`choose-${side}`);
    if (choose !== null) choose.addEventListener("change", () => { shown[side] = Number(choose.value); show(); });
  }
  if (byId("split") !== null) {
    byId("split").addEventListener("input", split);
    const frame = byId("frame");
    const drag = (event) => {
      if (event.buttons !== 1) return;
      const box = frame.getBoundingClientRect();
      byId("split").value = String(Math.round(100 * (event.clientX - box.left) / box.width));
      split();
    };
    frame.addEventListener("pointerdown", (event) => { event.preventDefault(); drag(event); });
    frame.addEventListener("pointermove", drag);
    split();
  }
  show();
}
