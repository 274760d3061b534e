// Line charts and histograms, drawn at the width they have, so that their text keeps its size.

function ticks(low, high, most) {
  const rough = (high - low) / most || 1,
    power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const ticks = [];
  for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + step * 1e-9; t += step)
    ticks.push(Number(t.toPrecision(12)));
  return ticks;
}

// Powers of ten; where these are few, 1, 2 and 5 times them; where those are few too, even steps.
function logTicks(low, high) {
  const powers = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++) powers.push(p);
  const step = Math.ceil(powers.length / 7),
    inside = (t) => t >= low * 0.999 && t <= high * 1.001;
  for (const heads of [[1], [1, 3], [1, 2, 5]]) {
    const ticks = powers
      .filter((p) => p % step === 0)
      .flatMap((p) => heads.map((h) => h * 10 ** p))
      .filter(inside);
    if (ticks.length > 2) return ticks;
  }
  return ticks(low, high, 4).filter((t) => t > 0);
}

// series: [{name, values, colour, dash}] over x; null breaks a line. now: an x that is marked.
function lines(figure, { title, note, x, series, log, format = num, label = "epoch", now, least }) {
  const width = Math.max(figure.clientWidth, 240),
    height = 225,
    left = 58,
    right = 12,
    top = 12,
    bottom = 40;
  const usable = (v) => v !== null && Number.isFinite(v) && (!log || v > 0);
  const all = series.flatMap((s) => Array.from(s.values).filter(usable));
  let [low, high] = all.length ? [Math.min(...all), Math.max(...all)] : [0, 1];
  if (least !== undefined) low = Math.min(low, least);
  if (log) [low, high] = [low * 0.9, high * 1.1 || 1];
  else
    [low, high] =
      low === high
        ? [low * 0.9 - 0.05, high * 1.1 + 0.05]
        : [low === least ? low : low - (high - low) * 0.06, high + (high - low) * 0.06];
  const first = x[0],
    last = x[x.length - 1],
    place = log ? Math.log : (v) => v;
  const px = (v) =>
    last === first ? (left + width - right) / 2 : left + ((v - first) / (last - first)) * (width - left - right);
  const py = (v) => height - bottom - ((place(v) - place(low)) / (place(high) - place(low))) * (height - top - bottom);
  const grid = (log ? logTicks(low, high) : ticks(low, high, 4)).map(
    (t) =>
      `<line class="rule" x1="${left}" x2="${width - right}" y1="${py(t)}" y2="${py(t)}"/>
      <text x="${left - 8}" y="${py(t) + 4}" text-anchor="end">${format(t)}</text>`,
  );
  const below = ticks(first, last, width < 400 ? 5 : 8)
    .filter(Number.isInteger)
    .map((t) => `<text x="${px(t)}" y="${height - bottom + 18}" text-anchor="middle">${t}</text>`);
  const drawn = series.map((s) => {
    let path = "",
      pen = "M";
    const dots = [];
    s.values.forEach((v, i) => {
      if (!usable(v)) return void (pen = "M");
      path += `${pen}${px(x[i]).toFixed(1)},${py(v).toFixed(1)}`;
      pen = "L";
      if (x.length <= 40)
        dots.push(
          `<circle cx="${px(x[i]).toFixed(1)}" cy="${py(v).toFixed(1)}" r="2.8"
            fill="${s.colour}"><title>${clean(s.name)}, ${label} ${x[i]}: ${format(v)}</title></circle>`,
        );
    });
    return `<path class="line" stroke="${s.colour}" ${s.dash ? 'stroke-dasharray="5 4"' : ""} d="${path}"/>${dots.join("")}`;
  });
  const marked =
    now === undefined ? "" : `<line class="now" x1="${px(now)}" x2="${px(now)}" y1="${top}" y2="${height - bottom}"/>`;
  const legend = series.map(
    (s) =>
      `<span><svg class="sample" viewBox="0 0 22 10" aria-hidden="true"><path class="line" stroke="${s.colour}"
      ${s.dash ? 'stroke-dasharray="5 4"' : ""} d="M0,5H22"/></svg>${s.label ?? clean(s.name)}</span>`,
  );
  const ends = series
    .map((s) => `${s.name} from ${format(s.values[0])} to ${format(s.values[s.values.length - 1])}`)
    .join("; ");
  figure.innerHTML = `<figcaption><strong>${title}</strong>${note ? `<small>${note}</small>` : ""}</figcaption>
    ${series.length > 1 ? `<div class="legend">${legend.join("")}</div>` : ""}
    <svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${clean(ends)}">${grid.join("")}
    <line class="axis" x1="${left}" x2="${width - right}" y1="${height - bottom}" y2="${height - bottom}"/>
    ${marked}${drawn.join("")}${below.join("")}<text x="${(left + width - right) / 2}" y="${height - 4}" text-anchor="middle">${label}</text></svg>`;
}

// A histogram with the bounds of its axis; most: the share that fills the height.
function histogram(figure, counts, { title, note, low, high, most, colour }) {
  const width = Math.max(figure.clientWidth, 120),
    height = 128,
    bottom = 20,
    top = 16;
  const total = counts.reduce((sum, n) => sum + n, 0) || 1,
    step = width / counts.length;
  const edge = (i) => low + ((high - low) * i) / counts.length;
  const columns = Array.from(counts, (n, i) => {
    const tall = (n / total / most) * (height - top - bottom);
    return `<rect x="${i * step + 1}" y="${height - bottom - tall}" width="${step - 2}" height="${tall}" rx="1.5"
      fill="${colour}"><title>${num(edge(i))} to ${num(edge(i + 1))}: ${percent(n / total, 1)}</title></rect>`;
  });
  const peak = argmax(counts);
  figure.innerHTML = `<figcaption><strong>${title}</strong><small>${note}</small></figcaption>
    <svg viewBox="0 0 ${width} ${height}" role="img"
      aria-label="${percent(counts[peak] / total, 0)} lie near ${num(edge(peak + 0.5))}">
    ${columns.join("")}<line class="axis" x1="0" x2="${width}" y1="${height - bottom}" y2="${height - bottom}"/>
    <text x="0" y="${height - 4}">${num(low)}</text><text x="${width}" y="${height - 4}" text-anchor="end">${num(high)}</text></svg>`;
}
