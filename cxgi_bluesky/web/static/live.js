// The running scan: each message is the newest state, whole; what came before is not needed.
"use strict";

const byId = (id) => document.getElementById(id);
const LOST_AFTER_MS = 7000, AGAIN_MS = 3000;
let state = JSON.parse(byId("first-state").textContent);
let charts = JSON.parse(byId("first-charts").textContent);
let chosen = null, announced = "", heardAt = performance.now(), clockAhead = 0, source = null;

function say(id, text) {
  const place = byId(id);
  if (place.textContent !== text) place.textContent = text;
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "-";
  const whole = Math.max(0, Math.round(seconds));
  const h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60, s = whole % 60;
  return h > 0 ? `${h} h ${String(m).padStart(2, "0")} min` : m > 0 ? `${m} min ${String(s).padStart(2, "0")} s` : `${s} s`;
}

const number = (value, digits) => (typeof value === "number" ? Number(value.toPrecision(digits)).toString() : "-");
const fixed = (value, digits) => (typeof value === "number" ? value.toFixed(digits) : "-");
const serverNow = () => Date.now() / 1000 + clockAhead;

function runName(run) {
  const parts = run.scan_id === null || run.scan_id === undefined ? [] : [`scan ${run.scan_id}`];
  if (run.sample) parts.push(run.sample);
  else if (run.purpose !== "image") parts.push(`${run.purpose} scan`);
  if (run.rest_of) parts.push(`the rest of ${String(run.rest_of).slice(0, 8)}`);
  return parts.join(", ") || "scan";
}

function phaseText() {
  if (state.phase === "none") return "No scan is running";
  if (state.phase === "ended") return state.exit_status === "success" ? "Finished" : `Ended: ${state.exit_status}${state.reason ? `, ${state.reason}` : ""}`;
  const quiet = state.event_time === null ? 0 : serverNow() - state.event_time;
  return quiet > state.quiet_after_s ? `No exposure for ${duration(quiet)}: paused, or waiting for beam` : "Measuring";
}

function announce() {
  const text = state.phase === "none" ? "No scan is running" : `${runName(state.run)}: ${phaseText().replace(/ for [^:]*/, "")}`;
  if (text !== announced) byId("announce").textContent = announced = text;
}

function showImage() {
  const images = state.images || [];
  const methods = images.map((image) => image.method);
  if (chosen === null || !methods.includes(chosen)) chosen = methods.length > 0 ? methods[0] : null;
  const fieldset = byId("methods");
  if (fieldset.dataset.methods !== methods.join()) {
    fieldset.dataset.methods = methods.join();
    for (const label of fieldset.querySelectorAll("label")) label.remove();
    for (const method of methods.length > 1 ? methods : []) {
      const label = document.createElement("label"), input = document.createElement("input");
      Object.assign(input, { type: "radio", name: "method", value: method, checked: method === chosen });
      input.addEventListener("change", () => { chosen = method; userChose = true; showImage(); });
      label.append(input, ` ${method}`);
      fieldset.append(label);
    }
  }
  if (!userChose) chosen = methods.length > 0 ? methods[0] : null;
  for (const input of fieldset.querySelectorAll("input")) input.checked = input.value === chosen;
  const image = images.find((one) => one.method === chosen);
  byId("frame").hidden = !image;
  byId("no-image").hidden = Boolean(image);
  byId("greys").hidden = !image;
  if (!image) {
    say("no-image-text", state.phase === "none" ? "No scan is running" : "The first image comes soon");
    for (const id of ["bar-text", "image-text", "quality-text", "caution"]) say(id, "");
    byId("bar").setAttribute("width", 0);
    return;
  }
  const picture = byId("image"), overlay = byId("overlay"), address = `/live/${image.png}.png`;
  if (picture.getAttribute("src") !== address) picture.src = address;
  const width = state.run.pixel_um ? `, ${number(image.size * state.run.pixel_um, 4)} µm wide` : "";
  picture.alt = `Image of ${runName(state.run)} by ${image.method} from ${image.exposures} patterns, ${image.size} by ${image.size} pixels${width}`;
  const uncertain = byId("uncertain").checked && image.overlay !== null;
  overlay.hidden = !uncertain;
  if (uncertain && overlay.getAttribute("src") !== `/live/${image.overlay}.png`) overlay.src = `/live/${image.overlay}.png`;
  byId("mark").hidden = !image.mark;
  say("mark", image.mark || "");
  byId("bar").setAttribute("width", image.bar ? image.bar.percent : 0);
  say("bar-text", image.bar ? image.bar.text : "");
  say("low", number(image.low, 3));
  say("high", number(image.high, 3));
  say("image-text", `${image.method}, ${image.exposures} patterns (${fixed(100 * image.exposures / image.size ** 2, 1)} %), ${image.scale}`);
  const quality = [];
  if (typeof image.quality.psnr_db === "number") quality.push(`PSNR ${fixed(image.quality.psnr_db, 1)} dB (${fixed(image.quality.psnr_low_db, 1)} to ${fixed(image.quality.psnr_high_db, 1)}, 68 %), without a truth`);
  if (image.uncertainty !== null) quality.push(`uncertainty ±${number(image.uncertainty, 2)} (${image.uncertainty_kind}, median)`);
  else if (byId("uncertain").checked) quality.push("no uncertainty by this method");
  say("quality-text", quality.join(" · "));
  say("caution", image.cautions.join("; "));
}
let userChose = false;

function showNumbers() {
  byId("live").dataset.phase = state.phase;
  say("phase", phaseText());
  say("image-title", state.phase === "running" ? "Running scan" : state.phase === "ended" ? "Last scan" : "Live");
  announce();
  if (state.phase === "none") {
    say("run-text", "This page shows a scan as soon as one begins.");
    return;
  }
  const { run, exposures, time, open, stage, diode } = state;
  say("run-text", `${runName(run)}${run.board ? ` · board ${run.board}` : ""}${state.others > 0 ? ` · ${state.others} more under way` : ""}`);
  const share = exposures.total ? exposures.done / exposures.total : 0;
  byId("progress").value = share;
  say("done", exposures.total ? `${exposures.done} / ${exposures.total}` : `${exposures.done}`);
  const since = state.event_time === null ? 0 : Math.max(0, serverNow() - state.event_time);
  say("time-left", time.left_s === null ? "-" : duration(time.left_s));
  const elapsed = (time.ended === null ? serverNow() : time.ended) - time.begun;
  say("elapsed", duration(elapsed));
  const simulated = open.open_s > elapsed + 1;
  say("open-label", simulated ? "Exposed (simulated)" : "Exposed so far");
  say("open-left-label", simulated ? "Left (simulated)" : "Exposure left");
  say("open-left", open.left_s === null ? "-" : duration(open.left_s));
  const allowed = typeof open.allowed_s === "number" ? ` / ${duration(open.allowed_s)}` : "";
  say("open", typeof open.open_s === "number" ? duration(open.open_s) + allowed : "-");
  say("repeats", typeof open.repeats === "number" ? String(open.repeats) : "-");
  say("shutter", state.shutter);
  if (stage) {
    const where = typeof stage.x === "number" ? ` at ${fixed(stage.x, 3)}, ${fixed(stage.y, 3)} mm` : "";
    say("stage", stage.tile === null ? "-" : `tile ${stage.tile}${where}`);
  }
  if (diode) {
    const sigma = typeof diode.sigma === "number" ? ` ±${number(diode.sigma, 2)}` : "";
    const what = diode.pattern === null ? diode.of : `${diode.of} ${diode.pattern}`;
    say("diode", `${number(diode.bucket, 4)}${sigma} ${diode.unit}, ${what}`);
  }
  say("age", state.event_time === null ? "-" : state.phase === "ended" ? new Date(state.event_time * 1000).toLocaleTimeString() : since < 2 ? "just now" : `${duration(since)} ago`);
}

function showCharts() {
  const total = charts.total || 0;
  say("buckets-unit", charts.unit ? `(${charts.unit})` : "");
  drawChart(byId("buckets"), [{ name: "bucket", points: charts.buckets || [] }], total, "nothing measured yet");
  const methods = Object.keys(charts.quality || {}).sort((a, b) => (a === "correlation") - (b === "correlation"));
  const series = methods.slice(0, 2).map((method, n) => ({
    name: `series${n}`, band: n === 0,
    points: charts.quality[method].map(([x, middle, low, high]) => (low === high ? [x, middle, middle] : [x, low, high, middle])),
  }));
  drawChart(byId("quality"), series, total, state.phase === "ended" ? "none in this scan" : "no value yet");
  say("quality-note", charts.quality_note || "");
  say("quality-title", charts.quality_label || "Quality");
  byId("quality-legend").replaceChildren(...methods.slice(0, 2).map((method) => {
    const item = document.createElement("span");
    item.textContent = method;
    return item;
  }));
}

function connected(on) {
  const chip = byId("connection");
  chip.dataset.state = on ? "on" : "off";
  say("connection", on ? "connected" : "connection lost");
}

function heard() {
  heardAt = performance.now();
  connected(true);
}

function follow() {
  if (source !== null) source.close();
  source = new EventSource("/events");
  source.addEventListener("state", (event) => {
    heard();
    const before = state.run ? state.run.uid : null;
    state = JSON.parse(event.data);
    if (state.run && state.run.uid !== before) userChose = false;
    showNumbers();
    showImage();
    // For who measures how far behind the page is: when the exposure shown was stored, and when it was shown.
    if (state.event_time) Object.assign(byId("live").dataset, { event: state.event_time, shown: Date.now() / 1000, done: state.exposures.done });
  });
  source.addEventListener("charts", (event) => { heard(); charts = JSON.parse(event.data); showCharts(); });
  source.addEventListener("ping", (event) => { heard(); clockAhead = Number(event.data) - Date.now() / 1000; });
  source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) setTimeout(follow, AGAIN_MS); });
}

byId("uncertain").addEventListener("change", showImage);
window.addEventListener("resize", showCharts);
setInterval(() => {
  if (performance.now() - heardAt > LOST_AFTER_MS) {
    connected(false);
    heardAt = performance.now();
    follow();
  }
  showNumbers();
}, 1000);
showNumbers();
showImage();
showCharts();
follow();
