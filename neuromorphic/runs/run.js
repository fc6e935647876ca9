"use strict";
// The page of a run: nodes that can be chosen, the schedule step by step, and the raster of spikes.
const run = JSON.parse(document.getElementById("run").textContent);
const byName = new Map(run.nodes.map(node => [node.name, node]));
const graph = document.querySelector("svg.graph");
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const mono = "11px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";

function element(tag, text, parent) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

// A canvas of this size in CSS pixels, sharp on every screen.
function sheet(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.clearRect(0, 0, width, height);
  return pen;
}

const shortened = (name, most) => name.length > most ? `…${name.slice(1 - most)}` : name;

// --- the graph ---

const map = graph.parentElement;
map.scrollLeft = (map.scrollWidth - map.clientWidth) / 2;

const size = shape => shape.join(" × ") || "1";
const three = value => Number(value.toPrecision(3)).toString();

function reach(name, next) {
  const seen = new Set([name]);
  const waiting = [name];
  while (waiting.length) {
    for (const other of next(byName.get(waiting.pop()))) {
      if (!seen.has(other)) { seen.add(other); waiting.push(other); }
    }
  }
  return seen;
}

let chosen = null;

function choose(name) {
  chosen = name === chosen ? null : name;
  graph.classList.toggle("traced", chosen !== null);
  for (const mark of graph.querySelectorAll(".near, .on, .chosen")) mark.classList.remove("near", "on", "chosen");
  for (const node of graph.querySelectorAll("[data-node]")) {
    node.setAttribute("aria-pressed", String(node.dataset.node === chosen));
  }
  const panel = document.getElementById("node");
  panel.replaceChildren();
  if (chosen === null) {
    element("p", "No node is chosen.", panel).className = "note";
    return;
  }
  const before = reach(chosen, node => node.sources.map(([source]) => source));
  const behind = reach(chosen, node => node.readers);
  const node = byName.get(chosen);
  const beside = new Set([chosen, ...node.readers, ...node.sources.map(([source]) => source)]);
  for (const mark of graph.querySelectorAll("[data-node]")) {
    const other = mark.dataset.node;
    mark.classList.toggle("chosen", other === chosen);
    mark.classList.toggle("near", beside.has(other));
    mark.classList.toggle("on", before.has(other) || behind.has(other));
  }
  for (const edge of graph.querySelectorAll("[data-from]")) {
    const {from, to} = edge.dataset;
    edge.classList.toggle("near", from === chosen || to === chosen);
    edge.classList.toggle("on", (before.has(from) && before.has(to)) || (behind.has(from) && behind.has(to)));
  }
  describe(node, panel);
}

function describe(node, panel) {
  element("h3", node.name, panel).className = "name";
  const list = element("dl", undefined, panel);
  const row = (term, text) => { element("dt", term, list); return element("dd", text, list); };
  row("type", node.words ? `${node.type}: ${node.words}` : node.type);
  row("shapes", `${size(node.input_shape)} → ${size(node.shape)}`);
  row("latency", `${node.latency} step${node.latency === 1 ? "" : "s"}`);
  for (const what of ["neurons", "parameters", "synapses"]) {
    if (node[what]) row(what, node[what].toLocaleString("en"));
  }
  if (node.rates) row("rate by step", node.rates.map(three).join(", "));
  for (const [title, [compared, differ]] of Object.entries(node.agreement)) {
    row(`as ${title}`, differ ? `${differ.toLocaleString("en")} of ${compared.toLocaleString("en")} differ` : "every spike");
  }
  if (node.proof) {
    const {exact, bits_needed: bits, limit, rung, reason} = node.proof;
    const needed = bits === undefined || bits === null ? "" : `, ${bits} of ${limit} bits needed`;
    row("proof", `${exact ? "exact" : "not proven exact"}${needed}${rung ? ` (${rung})` : ""}${reason ? `: ${reason}` : ""}`);
  }
  if (node.cores) row("cores", String(node.cores));
  const links = (term, names) => {
    if (!names.length) return;
    const place = row(term);
    for (const [name, waits] of names) {
      const button = element("button", waits ? `${name}, waits ${waits}` : name, place);
      button.type = "button";
      button.className = "name";
      button.addEventListener("click", () => { choose(name); show(name); });
    }
  };
  links("reads", node.sources);
  links("is read by", node.readers.map(name => [name, 0]));
  if (node.weights) histogram(node.weights, panel);
}

function histogram(weights, panel) {
  const zeros = weights.zeros ? `, ${weights.zeros.toLocaleString("en")} of them zero` : "";
  element("p", `${weights.size.toLocaleString("en")} weights${zeros}`, panel).className = "note";
  if (!weights.counts.length) return;
  const canvas = element("canvas", undefined, panel);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Histogram of the weights from ${three(weights.low)} to ${three(weights.high)}`);
  const width = 300, height = 90;
  const pen = sheet(canvas, width, height + 16);
  const most = Math.max(...weights.counts);
  const bar = width / weights.counts.length;
  pen.fillStyle = colour("--blue");
  weights.counts.forEach((count, i) => {
    const tall = count / most * height;
    pen.fillRect(i * bar, height - tall, bar - 1, tall);
  });
  pen.fillStyle = colour("--faint");
  pen.font = mono;
  pen.fillText(three(weights.low), 0, height + 13);
  pen.textAlign = "center"; pen.fillText("0", width / 2, height + 13);
  pen.textAlign = "right"; pen.fillText(three(weights.high), width, height + 13);
}

function show(name) {
  const mark = [...graph.querySelectorAll("[data-node]")].find(node => node.dataset.node === name);
  if (mark) mark.scrollIntoView({block: "nearest", inline: "nearest"});
}

for (const mark of graph.querySelectorAll("[data-node]")) {
  mark.setAttribute("tabindex", "0");
  mark.setAttribute("role", "button");
  mark.setAttribute("aria-pressed", "false");
  mark.addEventListener("click", () => choose(mark.dataset.node));
  mark.addEventListener("keydown", event => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(mark.dataset.node); }
  });
}

// --- the schedule ---

const slider = document.getElementById("moment");
const gantt = document.getElementById("gantt");
const play = document.getElementById("play");
const answering = run.nodes.filter(node => node.rates !== null || node.latency === run.depth);
const rows = [...answering].sort((a, b) => a.latency - b.latency);
const moments = run.depth + run.steps;
slider.max = String(moments - 1);

function drawSchedule() {
  const now = Number(slider.value);
  const names = Math.min(230, gantt.parentElement.clientWidth * 0.45), tall = 15;
  const most = Math.floor(names / 6.8);
  const cell = Math.max(1, Math.min(22, 900 / moments));
  const pen = sheet(gantt, names + moments * cell + 10, rows.length * tall + 22);
  const shades = [colour("--blue"), colour("--sky")];
  pen.font = mono;
  rows.forEach((node, i) => {
    pen.fillStyle = colour("--ink");
    pen.fillText(shortened(node.name, most), 0, i * tall + 12);
    for (let t = 0; t < run.steps; t++) {
      const x = names + (node.latency + t) * cell;
      pen.fillStyle = node.latency + t === now ? colour("--amber") : shades[t % 2];
      pen.fillRect(x, i * tall + 2, Math.max(1, cell - 1), tall - 3);
      if (cell > 12) {
        pen.fillStyle = t % 2 || node.latency + t === now ? "#10151a" : colour("--paper");
        pen.textAlign = "center";
        pen.fillText(String(t + 1), x + cell / 2, i * tall + 12);
        pen.textAlign = "left";
      }
    }
  });
  pen.strokeStyle = colour("--red");
  pen.lineWidth = 2;
  pen.strokeRect(names + now * cell - 1, 0, cell + 1, rows.length * tall + 2);
  pen.fillStyle = colour("--faint");
  pen.fillText(`step ${now + 1} of ${moments}`, names, rows.length * tall + 17);
  let busy = 0;
  for (const mark of graph.querySelectorAll("[data-node]")) {
    const step = now - byName.get(mark.dataset.node).latency;
    const answers = step >= 0 && step < run.steps;
    mark.classList.toggle("answers", answers);
  }
  for (const node of rows) busy += now >= node.latency && now - node.latency < run.steps ? 1 : 0;
  document.getElementById("said-moment").textContent = `${now + 1} of ${moments}: ${busy} of ${rows.length} layers answer`;
}

let timer = null;

function stop() {
  clearInterval(timer);
  timer = null;
  play.textContent = "Play";
  play.setAttribute("aria-pressed", "false");
}

play.addEventListener("click", () => {
  if (timer !== null) { stop(); return; }
  play.textContent = "Stop";
  play.setAttribute("aria-pressed", "true");
  if (Number(slider.value) === moments - 1) slider.value = "0";
  timer = setInterval(() => {
    slider.value = String(Number(slider.value) + 1);
    drawSchedule();
    if (Number(slider.value) === moments - 1) stop();
  }, 350);
});
slider.addEventListener("input", drawSchedule);

// --- the raster ---

const raster = run.raster;
const bits = Uint8Array.from(atob(raster.bits), character => character.charCodeAt(0));
const neurons = raster.populations.reduce((sum, population) => sum + population.neurons.length, 0);
const picker = document.getElementById("image");
for (let i = 0; i < raster.images; i++) element("option", String(i + 1), picker).value = String(i);
if (run.first && run.first.image < raster.images) picker.value = String(run.first.image);

function spiked(image, step, neuron) {
  const place = (image * raster.steps + step) * neurons + neuron;
  return bits[place >> 3] >> (7 - (place & 7)) & 1;
}

const head = 12, gap = 16;

// A small picture for each population, as many side by side as there is room for.
function drawRaster() {
  const image = Number(picker.value);
  const canvas = document.getElementById("raster");
  const room = canvas.parentElement.clientWidth;
  const cell = Math.max(2, Math.min(40, 160 / raster.steps));
  const wide = Math.max(150, raster.steps * cell);
  const columns = Math.max(1, Math.floor((room + gap) / (wide + gap)));
  const row = 2;
  const tall = Math.max(...raster.populations.map(population => population.neurons.length), 0) * row + head + gap;
  const pen = sheet(canvas, Math.max(wide, columns * (wide + gap) - gap), Math.ceil(raster.populations.length / columns) * tall);
  pen.font = mono;
  const most = Math.floor(wide / 6.7);
  let neuron = 0;
  raster.populations.forEach((population, i) => {
    const x = i % columns * (wide + gap), top = Math.floor(i / columns) * tall;
    pen.fillStyle = colour("--ink");
    pen.fillText(shortened(population.name, most), x, top + 9);
    pen.fillStyle = colour("--shade");
    pen.fillRect(x, top + head, raster.steps * cell, population.neurons.length * row);
    pen.fillStyle = colour("--blue-ink");
    population.neurons.forEach((index, k) => {
      const y = top + head + k * row;
      for (let t = 0; t < raster.steps; t++) {
        if (spiked(image, t, neuron)) pen.fillRect(x + t * cell, y, Math.max(1, cell - 1), row);
      }
      if (run.first && run.first.image === image && run.first.node === population.name && index === run.first.flat) {
        pen.strokeStyle = colour("--red");
        pen.lineWidth = 2;
        pen.strokeRect(x + run.first.step * cell - 2, y - 3, cell + 3, row + 6);
      }
      neuron += 1;
    });
  });
}

picker.addEventListener("change", drawRaster);

function drawAll() { drawSchedule(); drawRaster(); }
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
window.addEventListener("resize", drawAll);
drawAll();
