// What the sections draw with: arrays, numbers, colours, pictures of values.

const DATA = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const KINDS = { f4: Float32Array, u1: Uint8Array, i1: Int8Array };

function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
  return { shape: packed.shape, values: new KINDS[packed.dtype](bytes.buffer) };
}

// What is left of an array when its first axes are fixed, as a view.
function at(array, ...index) {
  const offset = index.reduce((sum, i, axis) => sum * array.shape[axis] + i, 0);
  const size = array.shape.slice(index.length).reduce((product, n) => product * n, 1);
  return array.values.subarray(offset * size, (offset + 1) * size);
}

const largest = (values) => values.reduce((most, v) => Math.max(most, Math.abs(v) || 0), 0);
const norm = (values) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
const argmax = (values) => values.indexOf(values.reduce((most, v) => Math.max(most, v), -Infinity));
const strongest = (values) => argmax(values.map(Math.abs));
const clean = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const pen = document.createElement("canvas").getContext("2d");
const widthOf = (text) => ((pen.font = "12.5px system-ui, sans-serif"), pen.measureText(text).width);

// A text that is cut so that it takes at most so many pixels in the size of a label.
function fitted(text, room) {
  const letters = Array.from(text);
  if (letters.length <= 60 && widthOf(text) <= room) return text;
  letters.length = Math.min(letters.length, 60);
  while (letters.length > 1 && widthOf(`${letters.join("")}…`) > room) letters.pop();
  return `${letters.join("")}…`;
}

// Classes by name; in a sentence, numbers have an article and other names are quoted. Neither is clean.
const className = (c, room = 240) => fitted(DATA.classes?.[c] ?? String(c), room);
const aClass = (c) => (/^\d+$/.test(className(c)) ? `a ${className(c)}` : `“${className(c)}”`);
const counted = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
const superscript = (n) => String(n).replace(/./g, (c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻");

function num(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e5 || size < 1e-3) {
    const [head, power] = value.toExponential(digits - 2).split("e");
    return `${head.replace("-", "−")}·10${superscript(Number(power))}`;
  }
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}

const listed = (values) => Array.from(values.slice(0, 6), (v) => num(v)).join(", ") + (values.length > 6 ? "…" : "");
const percent = (share, digits = 2) => `${(100 * share).toFixed(digits)} %`;

// ---- colours, read from the style sheet so that both themes have their own

let theme = {};
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["zero", "ink", "active", "up", "down", "surface", "focus", "muted", "s2", "line"]) {
    const hex = style.getPropertyValue(`--${name}`).trim();
    theme[name] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  }
}

const mixed = (name, t) => theme.zero.map((z, i) => Math.round(z + (theme[name][i] - z) * Math.min(t, 1)));
const COLOURS = {
  ink: (t) => mixed(t < 0 ? "down" : "ink", Math.abs(t)),
  activation: (t) => mixed(t < 0 ? "s2" : "active", Math.abs(t)),
  signed: (t) => mixed(t < 0 ? "down" : "up", Math.abs(t)),
};
const css = ([r, g, b]) => `rgb(${r},${g},${b})`;

// ---- pictures of values

// The inputs of an example, or what belongs to them: a table's by column; an image where they are one; else a bar each.
const pictureElement = (label) => {
  const named = label === undefined ? "" : ` aria-label="${clean(label)}"`;
  return DATA.table ? `<div role="img"${named}></div>` : `<canvas role="img"${named}></canvas>`;
};

// Of the room's width, what an image takes: all of it, unless it is higher than wide.
const SHARE = DATA.image ? Math.min(1, DATA.image[1] / DATA.image[0]) : 1;

function picture(canvas, values, colour, scale) {
  if (DATA.table) return columnBars(canvas, values, colour === "signed" ? "signed" : "activation", scale, colour === "ink");
  if (!DATA.image) return inputBars(canvas, values, colour, scale);
  const [height, width] = DATA.image;
  canvas.className = "pixels";
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d"),
    image = context.createImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    image.data.set([...COLOURS[colour](values[i] / scale || 0), 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

function inputBars(canvas, values, colour, scale) {
  const width = 240,
    height = 120,
    context = sized(canvas, width, height);
  const middle = values.some((v) => v < 0) ? height / 2 : height - 1,
    room = middle - 1;
  const step = width / values.length;
  values.forEach((v, k) => {
    const t = Math.max(-1, Math.min(1, v / scale || 0));
    context.fillStyle = css(COLOURS[colour](t < 0 ? Math.min(t, -0.45) : Math.max(t, 0.45)));
    context.fillRect(
      k * step,
      middle - Math.max(t, 0) * room,
      Math.max(step * 0.8, 1),
      Math.max(Math.abs(t) * room, 1),
    );
  });
  context.fillStyle = css(theme.muted);
  context.fillRect(0, middle, width, 1);
}

function sized(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.aspectRatio = `${width} / ${height}`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
}

const cellColumns = (n) => (n <= 12 ? n : Math.ceil(Math.sqrt(n * 1.2)));
const cellSize = (n) => Math.max(8, Math.min(36, Math.floor(252 / cellColumns(n))));

// A square for each neuron of a layer, row by row; the chosen one is framed.
function cells(canvas, values, colour, scale, chosen) {
  const columns = cellColumns(values.length),
    size = cellSize(values.length),
    gap = size > 14 ? 3 : 1;
  const context = sized(canvas, columns * size, Math.ceil(values.length / columns) * size);
  canvas.classList.add("cells");
  values.forEach((v, j) => {
    const x = (j % columns) * size,
      y = Math.floor(j / columns) * size;
    context.fillStyle = css(COLOURS[colour](v / scale || 0));
    context.beginPath();
    context.roundRect(x + gap / 2, y + gap / 2, size - gap, size - gap, Math.min(5, size / 5));
    context.fill();
    if (j === chosen) {
      context.strokeStyle = css(theme.ink);
      context.lineWidth = 2;
      context.beginPath();
      context.roundRect(x + 1, y + 1, size - 2, size - 2, Math.min(6, size / 5));
      context.stroke();
    }
  });
}

function cellAt(canvas, event, count) {
  const box = canvas.getBoundingClientRect(),
    columns = cellColumns(count),
    size = box.width / columns;
  const j = Math.floor((event.clientY - box.top) / size) * columns + Math.floor((event.clientX - box.left) / size);
  return j >= 0 && j < count ? j : null;
}

// A horizontal bar for each of a few values, with its label and number. classes: the target is the marked one; otherwise
// a line shows each target. names: labels in place of the numbers. texts: what stands at the right in place of the values.
function bars(element, values, { scale, tone, chosen, target, classes, centred, still, names, texts }) {
  const width = Math.max(element.clientWidth, 220);
  const labels = Array.from(values, (_, j) => (names ? fitted(names[j], Math.max(90, 0.35 * width)) : String(j)));
  const numbers = texts ?? Array.from(values, (v) => num(v));
  const step = 23,
    left = Math.max(30, Math.ceil(Math.max(...labels.map(widthOf))) + 22),
    right = Math.max(78, Math.ceil(Math.max(...numbers.map(widthOf))) + 18);
  const signed = tone === "signed",
    middle = signed || centred,
    zero = middle ? (left + width - right) / 2 : left;
  const room = middle ? zero - left : width - right - left;
  const rows = Array.from(values, (v, j) => {
    const length = Math.min(Math.abs(v / scale) || 0, 1) * room,
      y = j * step;
    const colour = signed ? (v < 0 ? "--down" : "--up") : v < 0 ? "--s2" : "--active";
    const aim = target && zero + (target[j] / scale) * room;
    const mark = !target
      ? ""
      : !classes
        ? `<line x1="${aim}" x2="${aim}" y1="${y + 2}" y2="${y + step - 2}" stroke="var(--ink)" stroke-width="2"/>`
        : target[j] > 0.5
          ? `<text class="strong" x="5" y="${y + 16}">▸</text>`
          : "";
    return `<g data-j="${j}" ${still ? "" : 'style="cursor:pointer"'}>
      <rect x="0" y="${y}" width="${width}" height="${step}" rx="6" fill="${j === chosen ? "var(--grid)" : "transparent"}"/>
      <text class="strong" x="${left - 8}" y="${y + 16}" text-anchor="end">${names ? `<title>${clean(names[j])}</title>` : ""}${clean(labels[j])}</text>
      <rect x="${v < 0 ? zero - length : zero}" y="${y + 5}"
        width="${Math.max(length, 0.5)}" height="${step - 10}" rx="3" fill="var(${colour})"/>${mark}
      <text class="${j === chosen ? "strong" : ""}" x="${width - 6}" y="${y + 16}" text-anchor="end">${numbers[j]}</text></g>`;
  });
  const height = values.length * step;
  element.innerHTML = `<svg viewBox="0 0 ${width} ${height}" aria-hidden="true">
    <line class="axis" x1="${zero}" x2="${zero}" y1="0" y2="${height}"/>${rows.join("")}</svg>`;
}

function figureIn(parent, className = "") {
  const figure = document.createElement("figure");
  figure.className = className;
  parent.append(figure);
  return figure;
}

// Layers by the book's number, where the inputs are layer 1.
const LAST = DATA.sizes.length - 1;
const isOutput = (l) => l === LAST - 1;
const layerName = (l) => (isOutput(l) ? "Output layer" : LAST === 2 ? "Hidden layer" : `Hidden layer ${l + 1}`);
const theLayer = (l) => (LAST === 2 || isOutput(l) ? `the ${layerName(l).toLowerCase()}` : layerName(l).toLowerCase());
const layerColour = (l) => `var(--s${l % 6})`;
const upper = (letter, l) => `${letter}<sup>${l + 2}</sup>`;
