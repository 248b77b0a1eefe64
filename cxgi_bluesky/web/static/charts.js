// Small charts as SVG: an axis below with the number of exposures, least and largest value at the left.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Draw series, each {name, points: [[x, low, high], ...], band: whether low and high are bounds of a middle}, or say
// why there is none.
function drawChart(svg, series, total, none) {
  const width = svg.clientWidth || 400, height = svg.clientHeight || 120;
  const left = 44, right = 6, top = 8, bottom = 18;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const points = series.flatMap((one) => one.points);
  const parts = [];
  const base = height - bottom;
  parts.push(element("path", { class: "axis", d: `M${left} ${top}V${base}H${width - right}` }));
  if (points.length > 0) {
    const last = Math.max(total || 0, ...points.map((point) => point[0]), 1);
    let low = Math.min(...points.map((point) => point[1])), high = Math.max(...points.map((point) => point[2]));
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    low -= room; high += room;
    const x = (value) => (left + (width - left - right) * value / last).toFixed(1);
    const y = (value) => (base - (base - top) * (value - low) / (high - low)).toFixed(1);
    for (const one of series) {
      if (one.points.length === 0) continue;
      if (one.band && one.points.some((point) => point.length > 3)) {
        const upper = one.points.map((point) => `${x(point[0])} ${y(point[2])}`);
        const lower = one.points.map((point) => `${x(point[0])} ${y(point[1])}`).reverse();
        parts.push(element("path", { class: "band", d: `M${[...upper, ...lower].join("L")}Z` }));
      }
      const line = one.points.map((point) => point.length > 3
        ? `${x(point[0])} ${y(point[3])}` : point[1] === point[2]
          ? `${x(point[0])} ${y(point[1])}` : `${x(point[0])} ${y(point[1])}L${x(point[0])} ${y(point[2])}`);
      parts.push(element("path", { class: one.name, d: one.points.length > 1 ? `M${line.join("L")}` : `M${line[0]}h2` }));
    }
    const digits = (value) => Number(value.toPrecision(3)).toString();
    parts.push(element("text", { x: left - 5, y: top + 8, "text-anchor": "end" }, digits(high - room)));
    parts.push(element("text", { x: left - 5, y: base, "text-anchor": "end" }, digits(low + room)));
    parts.push(element("text", { x: left, y: height - 3 }, "0"));
    parts.push(element("text", { x: width - right, y: height - 3, "text-anchor": "end" }, `${last} patterns`));
  } else {
    parts.push(element("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, none));
  }
  svg.replaceChildren(...parts);
}
