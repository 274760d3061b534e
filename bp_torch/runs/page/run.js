// The sections about the run as a whole.

// Whether the run chose its epoch by examples that were held out, and what the records' validation figures are of.
const CHOSEN = DATA.validation !== "test",
  VALIDATION = DATA.validation;

function heading() {
  const { name, sizes, activations, cost, config, test, totals, parameters } = DATA;
  $("name").textContent = name;
  const hidden = [...new Set(activations.slice(0, -1))].join(", ");
  $("summary").textContent =
    `A network of sizes ${sizes.join("–")}, ${hidden ? `${hidden} neurons, ` : ""}${activations.at(-1)} outputs and ${cost.replaceAll("_", " ")} cost, trained on ${config.dataset}${config.target ? ` to predict ${config.target}` : ""}.`;
  const classes = test.accuracy !== null;
  const tiles = [
    ["Test accuracy", classes ? percent(test.accuracy) : null],
    [classes ? `Accuracy of always “${className(test.commonest)}”` : "", classes ? percent(test.share) : null],
    ["Balanced accuracy", classes ? percent(test.balanced) : null],
    [`Root mean square error${VALUED ? `, in ${targetName()}` : ""}`, classes ? null : num(test.error, 5)],
    ["R²", classes ? null : num(test.r2, 4)],
    ["Test cost C", num(test.cost)],
    ["Epochs", totals ? totals.epochs.toLocaleString("en") : null],
    ["Weights, of epoch", totals?.kept ? totals.kept.toLocaleString("en") : null],
    ["Training alone", totals ? `${num(totals.seconds)} s` : null],
    ["With evaluating and saving", totals && totals.wall !== null ? `${num(totals.wall)} s` : null],
    ["Weights and biases", parameters.toLocaleString("en")],
  ];
  $("tiles").innerHTML = tiles
    .filter(([, value]) => value !== null)
    .map(([what, value]) => `<div><dt>${clean(what)}</dt><dd>${value}</dd></div>`)
    .join("");
  document.querySelector("nav").innerHTML = [...document.querySelectorAll("main section")]
    .map((s) => `<a href="#${s.id}">${s.querySelector("h2").textContent}</a>`)
    .join("");
}

function note(section, text) {
  const p = document.createElement("p");
  p.className = "note";
  p.textContent = text;
  section.append(p);
}

function thinned(section) {
  const [drawn, all] = [DATA.records.epoch.length, DATA.totals.epochs].map((n) => n.toLocaleString("en"));
  if (drawn !== all) note(section, `Of the ${all} epochs, ${drawn} are drawn, evenly spread from the first to the last.`);
}

function curves() {
  const section = $("curves"),
    room = section.querySelector(".charts"),
    { records, totals } = DATA;
  if (!records) return note(section, "No epoch was recorded in this run.");
  const x = records.epoch,
    some = (values) => values.some((v) => v !== null);
  const series = [{ name: "training", values: records.cost, colour: "var(--s1)" }];
  const penalised = records.penalty.some((v) => v);
  if (penalised)
    series.push({ name: "training, without the penalty", values: records.data_cost, colour: "var(--s1)", dash: true });
  if (some(records.validation_cost))
    series.push({ name: VALIDATION, values: records.validation_cost, colour: "var(--s0)" });
  chart(room, () => ({
    title: "Cost C by epoch",
    note: `training: each example's C<sub>x</sub> just before its batch's step${penalised ? `; ${VALIDATION}: without a penalty` : ""}`,
    x,
    series,
    log: true,
  }));
  if (some(records.validation_accuracy)) {
    const accuracy = { name: VALIDATION, values: records.validation_accuracy, colour: "var(--s0)" };
    const { commonest, share } = DATA.test;
    const always = { name: `always “${className(commonest)}”`, values: x.map(() => share), colour: "var(--muted)", dash: true };
    const [best, epoch] = totals.best,
      last = records.validation_accuracy.at(-1);
    const better = totals.kept
      ? `the run's weights are those of epoch ${totals.kept}, of the lowest validation cost`
      : CHOSEN
        ? `best ${percent(best)}, epoch ${epoch}`
        : `best ${percent(best)}, epoch ${epoch}: the best on these very examples, which flatters it, and its weights are not kept`;
    chart(room, () => ({
      title: `${CHOSEN ? "Validation" : "Test"} accuracy by epoch`,
      note: `at the end ${last === null ? "–" : percent(last)}, ${clean(always.name)} ${percent(share)}; ${best === last && !CHOSEN ? "no epoch was better" : better}`,
      x,
      series: share > 0.5 ? [accuracy, always] : [accuracy], // far below the curve it would flatten it
      format: (v) => `${num(100 * v)} %`,
    }));
  }
  if (VALUED && DATA.cost === "quadratic" && some(records.validation_cost)) {
    const error = (c) => (c === null ? null : Math.sqrt(2 * c) * TABLE.target_scale); // C is ½(y − a)² of scaled values
    const errors = [
      { name: VALIDATION, values: records.validation_cost.map(error), colour: "var(--s0)" },
      { name: "always their mean", values: x.map(() => DATA.test.spread), colour: "var(--muted)", dash: true },
    ];
    chart(room, () => ({
      title: "Root mean square error by epoch",
      note: `in ${clean(targetName())}; at the end ${num(errors[0].values.at(-1), 4)}`,
      x,
      series: errors,
      log: true,
    }));
  }
  if (new Set(records.lr).size > 1)
    chart(room, () => ({
      title: "Learning rate η by epoch",
      note: "that of the epoch's last step",
      x,
      series: [{ name: "η", values: records.lr, colour: "var(--s3)" }],
      least: 0,
    }));
  thinned(section);
}

function confusion() {
  const section = $("confusion"),
    { confusion: counts, classes, wrong, dataset, accuracy } = DATA.test;
  if (accuracy === null) return section.remove(); // of values; the links above are made of what is left
  if (!counts) {
    section.insertAdjacentHTML("beforeend", recalls());
    return note(section, `${classes} classes are too many for a matrix here; confusion.png of the run folder has it.`);
  }
  const names = counts.map((_, c) => clean(className(c))),
    short = counts.map((_, c) => clean(className(c, 100))),
    named = DATA.classes.some((name) => name.length > 2),
    totals = counts.map((row) => row.reduce((sum, n) => sum + n, 0));
  const most = Math.max(1, ...counts.flatMap((row, i) => row.filter((_, j) => i !== j)));
  const rows = counts.map(
    (row, i) =>
      `<tr><th scope="row" title="${names[i]}">${short[i]}</th>${row
        .map((n, j) => {
          const share = i === j ? (100 * n) / (totals[i] || 1) : 48 * Math.sqrt(n / most);
          const kind = n === 0 ? "none" : i === j && share > 55 ? "full" : "";
          return `<td class="${kind}" style="--share:${share.toFixed(0)};--tone:var(--${i === j ? "active" : "up"})"
            title="true ${names[i]}, taken for ${names[j]}: ${n}">${n}</td>`;
        })
        .join("")}</tr>`,
  );
  section.insertAdjacentHTML(
    "beforeend",
    `<p class="about">${counted(wrong, "mistake")} in ${counted(dataset, "test example")}.
      Rows: the true class; columns: what it was taken for. Mistakes are in the warm colour.</p>
    <div class="side"><div class="scroll">
      <table class="matrix ${named ? "named" : ""} ${named && classes > 4 ? "upright" : ""}"
        style="margin-top:12px;${classes > 12 ? `min-width:${classes * 26 + (named ? 100 : 0)}px` : ""}"><caption hidden>Confusion matrix</caption>
      <thead><tr><td style="background:none"></td>${short.map((name, c) => `<th scope="col" title="${names[c]}"><span>${name}</span></th>`).join("")}</tr></thead>
      <tbody>${rows.join("")}</tbody></table></div>
      <div class="pairs-list">${recalls()}${frequent(counts)}</div></div>`,
  );
}

// The pairs that are confused most.
function frequent(counts) {
  const pairs = counts
    .flatMap((row, i) => row.map((n, j) => [n, i, j]))
    .filter(([n, i, j]) => n && i !== j)
    .sort((a, b) => b[0] - a[0])
    .slice(0, 6);
  const rows = pairs.map(([n, i, j]) => `<div><dt>${clean(className(i))} taken for ${clean(className(j))}</dt><dd>${n}</dd></div>`);
  return rows.length
    ? `<h3>Most often</h3><dl class="settings" style="grid-template-columns:1fr">${rows.join("")}</dl>`
    : "";
}

// The share of each class's examples that are told right; of many classes, the lowest.
function recalls(most = 12) {
  const { recall, counts } = DATA.test;
  const told = recall.map((share, c) => [share, c]).filter(([share]) => share !== null);
  const shown = told.length <= most ? told : told.sort((a, b) => a[0] - b[0]).slice(0, most);
  const rows = shown.map(([share, c]) => `<div><dt>${clean(className(c))}</dt><dd>${percent(share, 1)} of ${counts[c]}</dd></div>`);
  const which = told.length <= most ? "Recall of each class" : `Recall, the ${most} lowest of ${told.length} classes`;
  return `<h3>${which}</h3><dl class="settings recall" style="grid-template-columns:1fr">${rows.join("")}</dl>`;
}

function mistakes() {
  const section = $("mistakes"),
    { mistakes: rows, accuracy, wrong } = DATA.test;
  if (accuracy === null) section.querySelector("h2").textContent = "The worst examples";
  if (!rows.length) return note(section, "There is not one mistake on the test set.");
  const about =
    accuracy === null
      ? `The test examples with the largest cost C<sub>x</sub>${VALUED ? `: what ${clean(targetName())} is → what the network says` : ""}.`
      : `The ${rows.length} of ${wrong} mistakes with the largest cost C<sub>x</sub>: the true class → what it was
        taken for, and the output of that.`;
  section.insertAdjacentHTML(
    "beforeend",
    `<p class="about">${about}${TABLE ? ` Cells in their own units; a bar is how far a cell lies from its column's mean${longest()}.` : ""}</p>
      <div class="gallery" style="--tile:${DATA.image ? 88 : TABLE ? 240 : 150}px"></div>`,
  );
  gallery(
    section.lastElementChild,
    rows.length,
    unpack(DATA.test.pixels),
    "ink",
    { u1: 255, i1: 127 }[DATA.test.pixels.dtype],
    (i) => {
      const row = rows[i];
      const value = VALUED ? `<strong>${trueValue(row.true)} → ${outputValue(row.predicted)}</strong>` : "";
      const verdict = accuracy === null ? value : `<strong>${clean(className(row.true))} → ${clean(className(row.predicted))}</strong>`;
      return [
        `${verdict}<small>${accuracy === null ? `C<sub>x</sub> ${num(row.cost)}` : `output ${num(row.output)}`}</small><small>no. ${row.index}</small>`,
        accuracy === null
          ? `Test example ${row.index}`
          : `Test example ${row.index}: ${aClass(row.true)} taken for ${aClass(row.predicted)}`,
      ];
    },
  );
}

function weights() {
  const section = $("weights"),
    { values, scale } = DATA.weights,
    pixels = unpack(values),
    all = DATA.sizes[1];
  const count = pixels.shape[0],
    some = count < all ? `the first ${count} of ${all} neurons` : counted(count, "neuron");
  section.insertAdjacentHTML(
    "beforeend",
    `<p class="about">What the first layer looks for at the end of training (${some}): w<sub>jk</sub> of every
      ${TABLE ? `column k, for a step of one standard deviation of it${longest()}` : "input k"}.
      Warm weights excite the neuron, cool ones inhibit it; ${TABLE ? "a full bar" : "full colour"} is ±${num(scale)}.</p>
      <div class="gallery" style="--tile:${DATA.image ? 72 : TABLE ? 240 : 150}px"></div>`,
  );
  gallery(section.lastElementChild, count, pixels, "signed", TABLE ? scale : 127, (j) => [
    `<small>neuron ${j}</small>`,
    `Weights of neuron ${j}`,
  ]);
}

// scale: what a full colour or bar is; left out, the largest value.
function gallery(room, count, array, colour, scale = largest(array.values) || 1, caption) {
  const canvases = [];
  for (let i = 0; i < count; i++) {
    const figure = figureIn(room),
      [text, label] = caption(i);
    figure.innerHTML = `${pictureElement(label)}<figcaption>${text}</figcaption>`;
    canvases.push(figure.firstElementChild);
    if (DATA.image) figure.firstElementChild.style.width = `${100 * SHARE}%`;
  }
  onDraw(() => canvases.forEach((canvas, i) => picture(canvas, at(array, i), colour, scale)));
}

function norms() {
  const section = $("norms"),
    room = section.querySelector(".charts"),
    { observed } = DATA;
  if (!observed) return void (room.remove(), note(section, MISSING));
  const layers = DATA.activations.map((_, l) => l);
  const series = (packed, letter, dash) =>
    layers.map((l) => ({
      name: layerName(l).toLowerCase(),
      label: `${layerName(l).toLowerCase()}, ${letter}<sup>${l + 2}</sup>`,
      values: observed.epochs.map((_, e) => at(packed, e, l)[0]),
      colour: layerColour(l),
      dash,
    }));
  const of = (name) => unpack(observed[name]),
    now = () => observed.epochs[state.e];
  const [error, w, b] = ["error_norm", "weight_gradient_norm", "bias_gradient_norm"].map(of);
  chart(room, () => ({
    title: `Error norm ‖δ<sup>l</sup>‖ ${tag("BP1, BP2")}`,
    note: "mean of the examples' ‖δ‖",
    x: observed.epochs,
    series: series(error, "δ"),
    log: true,
    now: now(),
  }));
  chart(room, () => ({
    title: `Weight gradient ‖∂C/∂w<sup>l</sup>‖ ${tag("BP4")}`,
    note: "norm of the mean over the examples",
    x: observed.epochs,
    series: series(w, "w"),
    log: true,
    now: now(),
  }));
  chart(room, () => ({
    title: `Bias gradient ‖∂C/∂b<sup>l</sup>‖ ${tag("BP3")}`,
    note: "norm of the mean over the examples",
    x: observed.epochs,
    series: series(b, "b", true),
    log: true,
    now: now(),
  }));
}

const tag = (name) => `<span class="eq"><b>${name}</b></span>`;

function saturation() {
  const section = $("saturation"),
    room = section.querySelector(".charts"),
    { observed } = DATA;
  if (!observed) return void (room.remove(), section.querySelector(".controls").remove(), note(section, MISSING));
  room.classList.add("pairs");
  const kinds = [
    ["activation_counts", "activation", "a", "var(--active)"],
    ["slope_counts", "slope", "σ′", "var(--s3)"],
  ];
  for (const l of DATA.activations.keys()) {
    kinds.forEach(([name, word, letter, colour], kind) => {
      const array = unpack(observed[name]),
        [low, high] = observed.bounds[l][kind],
        figure = figureIn(room);
      const all = observed.epochs.map((_, e) => at(array, e, l)),
        total = all[0].reduce((sum, n) => sum + n, 0);
      if (!total)
        return void (figure.innerHTML = `<figcaption><strong>${layerName(l)}: ${letter}</strong>
          <small>softmax mixes its outputs: it has no σ′ of one z</small></figcaption>`);
      const most = Math.max(...all.map((counts) => largest(counts) / total));
      onDraw(() => {
        const counts = all[state.e],
          edge = counts[0] / total,
          ends = (counts[0] + counts[counts.length - 1]) / total;
        const text = kind
          ? `${percent(edge, 0)} in the lowest bin: σ′ near 0`
          : `${percent(ends, 0)} in the outer bins`;
        histogram(figure, counts, {
          title: `${layerName(l)}: ${letter}`,
          note: `${word} of its neurons${VALUED && isOutput(l) ? `, ${scaledTarget()}` : ""}. ${text}`,
          low,
          high,
          most,
          colour,
        });
      });
    });
  }
}

function timings() {
  const section = $("timings"),
    room = section.querySelector(".charts"),
    { records, totals } = DATA;
  if (!records) return note(section, "No epoch was recorded in this run.");
  const { seconds, wall, median, least, most, rate } = totals,
    batch = DATA.config.batch_size;
  const rows = [
    ["All epochs, training alone", `${num(seconds)} s`],
    ["All epochs, with preparing, evaluating and saving", wall === null ? "not kept by the version that trained" : `${num(wall)} s`],
    ["An epoch of training alone, median", `${num(median)} s`],
    ["Fastest, slowest", `${num(least)} s, ${num(most)} s`],
    ["Examples a second, median", rate ? Math.round(rate).toLocaleString("en") : "–"],
    ["A step", rate && batch ? `${num((1e6 * batch) / rate)} µs for a batch of ${batch}` : "–"],
  ];
  const figure = figureIn(room);
  chart(room, () => ({
    title: "Seconds by epoch",
    note: "training alone, without evaluating and saving",
    least: 0,
    x: records.epoch,
    series: [{ name: "seconds", values: records.seconds, colour: "var(--s4)" }],
  }));
  figure.innerHTML = `<figcaption><strong>Time of training</strong></figcaption>
    <dl class="settings" style="grid-template-columns:1fr">${rows.map(([what, value]) => `<div><dt>${what}</dt><dd>${value}</dd></div>`).join("")}</dl>`;
  thinned(section);
}

function settings() {
  const { versions = {}, sizes, table, sha256, ...config } = DATA.config;
  const rows = [
    ["sizes", sizes ?? DATA.sizes],
    ...Object.entries(config).map(([what, v]) => [what.replaceAll("_", " "), v]),
    ...Object.entries(versions),
  ];
  const text = (value) =>
    value === null
      ? "none"
      : Array.isArray(value)
        ? value.join(", ")
        : typeof value === "object"
          ? JSON.stringify(value)
          : value;
  $("settings").insertAdjacentHTML(
    "beforeend",
    `<dl class="settings">${rows.map(([what, value]) => `<div><dt>${clean(what)}</dt><dd>${clean(text(value))}</dd></div>`).join("")}</dl>`,
  );
}
