// One example followed through the network: forward, backward, and the gradient of one neuron's weights.

const MISSING = "This run has no observations.safetensors, as runs of older versions: train again to see this.";
const FEW = 20; // outputs that are shown as bars; more are squares
const state = { example: 0, e: 0, layer: 0, neuron: 0 };

function follow() {
  const section = $("follow"),
    { observed } = DATA;
  if (!observed) {
    section.querySelectorAll(":scope > :not(h2)").forEach((element) => element.remove());
    return note(section, MISSING);
  }
  const arrays = Object.fromEntries(
    Object.entries(observed)
      .filter(([, v]) => v?.dtype)
      .map(([name, v]) => [name, unpack(v)]),
  );
  const layers = DATA.activations.map((_, l) => l);
  const value = (name, l) => at(arrays[`${name}.${l}`], state.e, state.example);
  const input = () => at(arrays.x, state.example),
    target = () => at(arrays.y, state.example);
  const entering = (l) => (l ? value("a", l - 1) : input());
  const inputScale = largest(arrays.x.values) || 1;
  const activationScale = layers.map((l) => largest(arrays[`a.${l}`].values) || 1);
  const outputs = [arrays[`a.${LAST - 1}`], arrays.y];
  const belowZero = outputs.some((array) => array.values.some((v) => v < 0));
  activationScale[LAST - 1] = Math.max(...outputs.map((array) => largest(array.values))) || 1;
  const asBars = (l) => isOutput(l) && observed.kept[l] <= FEW;

  // the largest |δ| of a layer: at this epoch, or over all of them
  const errorScale = (l) => {
    if (!$("same").checked) return largest(value("delta", l)) || 1;
    return Math.max(...observed.epochs.map((_, e) => largest(at(arrays[`delta.${l}`], e, state.example)))) || 1;
  };

  const part = (room, id, wide) => {
    const figure = figureIn(room, wide ? "wide" : "");
    figure.innerHTML = `<figcaption></figcaption>${wide ? `<div id="${id}"></div>` : `<canvas id="${id}" role="img"></canvas>`}`;
    return { caption: figure.firstElementChild, area: figure.lastElementChild, wide };
  };
  const ofLayer = (room, kind, l) => {
    const piece = part(room, `${kind}-${l}`, asBars(l));
    piece.area.addEventListener("click", (event) => {
      const j = asBars(l) ? event.target.closest("[data-j]")?.dataset.j : cellAt(piece.area, event, observed.kept[l]);
      if (j !== null && j !== undefined) choose(l, Number(j));
    });
    return piece;
  };
  // outputs by the name of their class; a lone one by that of its column, or of the class that it stands for
  const namesOf = (l) => {
    if (!isOutput(l)) return undefined;
    if (DATA.sizes.at(-1) === 1) return VALUED ? [TABLE.target] : observed.labels ? [DATA.classes[1]] : undefined;
    return observed.labels && observed.kept[l] === DATA.classes?.length ? DATA.classes : undefined;
  };
  const neuronName = (l, j) => (namesOf(l) ? `“${clean(fitted(namesOf(l)[j], 140))}”` : `neuron ${j}`);
  const show = (where, l, values, tone, scale, text, target) => {
    const chosen = l === state.layer ? state.neuron : -1;
    where.caption.innerHTML = text;
    if (where.wide)
      bars(where.area, values, {
        scale,
        tone,
        chosen,
        target,
        classes: observed.labels,
        centred: target && belowZero,
        names: namesOf(l),
        texts: VALUED && target ? Array.from(values, outputValue) : undefined,
      });
    else cells(where.area, values, tone, scale, chosen);
    where.area.setAttribute("aria-label", where.caption.textContent);
  };
  const some = (l) =>
    observed.kept[l] < DATA.sizes[l + 1]
      ? `, the first ${observed.kept[l]} of ${DATA.sizes[l + 1]}`
      : `, ${counted(observed.kept[l], "neuron")}`;

  const picturePart = part($("forward"), "input", Boolean(TABLE));
  const activations = layers.map((l) => ofLayer($("forward"), "a", l));
  const errors = [...layers].reverse().map((l) => [l, ofLayer($("backward"), "delta", l)]);
  const origin = part($("backward"), "origin", true),
    origins = document.createElement("p");
  origins.className = "sum";
  origin.area.after(origins);
  const [enters, times, gradient] = [
    part($("gradient"), "enters", Boolean(TABLE)),
    document.createElement("p"),
    part($("gradient"), "product", Boolean(TABLE)),
  ];
  times.className = "times";
  enters.area.closest("figure").after(times);

  const forward = () => {
    picture(picturePart.area, input(), "ink", inputScale);
    if (DATA.image) picturePart.area.style.width = `${176 * SHARE}px`;
    picturePart.caption.innerHTML = `<strong>Input, ${counted(DATA.sizes[0], TABLE ? "column" : "value")}</strong>
      <small>${TABLE ? `cells in their own units; a bar is a<sup>1</sup> = x, how far a cell lies from its column's mean${longest()}` : "a<sup>1</sup> = x"}</small>`;
    picturePart.area.setAttribute("aria-label", `Input: ${exampleName(state.example)}`);
    for (const l of layers) {
      const values = value("a", l),
        marked = asBars(l) ? target() : null;
      const text = marked
        ? VALUED
          ? `in ${clean(targetName())}; the line: what it is, ${trueValue(marked[0])}`
          : `${observed.labels ? "▸" : "the lines:"} the target${observed.labels ? "" : "s"}`
        : `from ${num(Math.min(...values))} to ${num(Math.max(...values))}`;
      show(
        activations[l],
        l,
        values,
        "activation",
        activationScale[l],
        `<strong>${layerName(l)}${some(l)}</strong><small>${upper("a", l)}, ${DATA.activations[l]}; ${text}</small>`,
        marked,
      );
    }
  };

  const backward = () => {
    for (const [l, where] of errors) {
      const values = value("delta", l),
        scale = errorScale(l),
        size = observed.kept[l] < DATA.sizes[l + 1] ? "" : `‖${upper("δ", l)}‖ = ${num(norm(values))}; `;
      const simple = DATA.cost === "quadratic" ? "" : `<small>with this cost it comes to ${upper("a", l)} − y</small>`;
      const unit = VALUED && isOutput(l) ? `<small>of ${scaledTarget()}, the number that the network computes with</small>` : "";
      const equation = isOutput(l)
        ? `<span class="eq"><b>BP1</b><span>δ<sup>L</sup> = ∇<sub>a</sub>C ⊙ σ′(z<sup>L</sup>)</span></span>${simple}${unit}`
        : `<span class="eq"><b>BP2</b><span>δ<sup>l</sup> = ((w<sup>l+1</sup>)<sup>T</sup> δ<sup>l+1</sup>) ⊙ σ′(z<sup>l</sup>)</span></span>`;
      show(
        where,
        l,
        values,
        "signed",
        scale,
        `<strong>${layerName(l)}</strong>${equation}<small>${size}full colour ±${num(scale)}</small>`,
      );
    }
  };

  // how the chosen neuron came to its δ: BP2's sum over the layer above, or BP1
  const explain = () => {
    const { layer: l, neuron: j } = state,
      slope = value("slope", l)[j],
      delta = value("delta", l)[j];
    const result = `δ<sub>j</sub> = ${num(delta)}`,
      named = `<strong>Where δ of ${neuronName(l, j)} comes from</strong>`;
    origin.area.innerHTML = "";
    if (isOutput(l)) {
      const unit = VALUED ? `; ${scaledTarget()}` : "";
      origin.caption.innerHTML = `${named}<small>neuron j = ${j} of the output layer${unit}</small>`;
      const difference = value("a", l)[j] - target()[j],
        subtract = `a<sub>j</sub> − y<sub>j</sub> = ${num(value("a", l)[j])} − ${num(target()[j])}`;
      origins.innerHTML =
        DATA.cost === "quadratic"
          ? `∂C<sub>x</sub>/∂a<sub>j</sub> = ${subtract} = ${num(difference)}<br>
            × σ′(z<sub>j</sub>) = ${num(slope)}<br><strong>${result}</strong>`
          : `<strong>${result}</strong>${DATA.cost.includes("entropy") ? `: ${subtract}; σ′ cancels with ∇<sub>a</sub>C` : ""}`;
      return;
    }
    if (!arrays[`w.${l + 1}`]) {
      origin.caption.innerHTML = `${named}<small>the weights above this layer are too many to be kept by epoch</small>`;
      origins.innerHTML = "";
      return;
    }
    const above = value("delta", l + 1),
      w = at(arrays[`w.${l + 1}`], state.e),
      n = DATA.sizes[l + 1];
    const terms = Float32Array.from(above, (d, k) => w[k * n + j] * d),
      sum = terms.reduce((total, t) => total + t, 0);
    origin.caption.innerHTML = `${named}<small>w<sub>kj</sub> δ<sub>k</sub> of each neuron k of ${theLayer(l + 1)}</small>`;
    if (terms.length <= FEW)
      bars(origin.area, terms, { scale: largest(terms) || 1, tone: "signed", chosen: -1, still: true, names: namesOf(l + 1) });
    else {
      origin.area.innerHTML = `<canvas role="img" aria-label="w times δ of each neuron above"></canvas>`;
      cells(origin.area.firstElementChild, terms, "signed", largest(terms) || 1, -1);
      origin.area.firstElementChild.className = "";
    }
    Object.assign(origins.dataset, { sum, slope, delta });
    origins.innerHTML = `Σ<sub>k</sub> w<sub>kj</sub> δ<sub>k</sub> = ${num(sum)}<br>
      × σ′(z<sub>j</sub>) = ${num(slope)}<br><strong>${result}</strong>`;
  };

  const product = () => {
    const { layer: l, neuron: j } = state,
      a = entering(l),
      delta = value("delta", l)[j];
    const slopes = Float32Array.from(a, (v) => v * delta),
      most = largest(slopes),
      scale = most || 1;
    const drawn = (where, values, tone, size) => {
      if (l) {
        const canvas = TABLE ? where.area.appendChild(document.createElement("canvas")) : where.area;
        if (TABLE) where.area.replaceChildren(canvas);
        cells(canvas, values, tone, size, -1);
        canvas.className = "";
        return;
      }
      picture(where.area, values, tone === "activation" && !TABLE ? "ink" : tone, size);
      if (DATA.image) where.area.style.width = `${176 * SHARE}px`;
    };
    drawn(enters, a, "activation", l ? activationScale[l - 1] : inputScale);
    drawn(gradient, slopes, "signed", scale);
    enters.caption.innerHTML = `<strong>What enters the neuron</strong><small>a<sub>k</sub> of ${l ? theLayer(l - 1) : TABLE ? "each column: (cell − its mean) / its standard deviation" : "the input"}</small>`;
    gradient.caption.innerHTML = `<strong>Gradient of its weights</strong>
      <span class="eq"><b>BP4</b><span>∂C/∂w<sub>jk</sub> = a<sub>k</sub> δ<sub>j</sub></span></span><small>${TABLE && !l ? "a full bar" : "full colour"} ±${num(most)}</small>`;
    times.innerHTML = `<span class="maths">× δ<sub>j</sub></span> = ${num(delta)} <span aria-hidden="true">⟶</span>`;
    enters.area.setAttribute("aria-label", enters.caption.textContent);
    gradient.area.setAttribute("aria-label", `${gradient.caption.textContent} of neuron ${j}`);
    gradient.area.dataset.most = most;
    const slope = value("slope", l)[j],
      top = observed.bounds[l][1][1],
      share = slope / top;
    const awake = Number.isNaN(slope)
      ? ""
      : share < 0.1
        ? ` σ′(z<sub>j</sub>) = ${num(slope)}
          is ${share > 0 ? `only ${percent(share, share < 0.01 ? 2 : 0)} of its largest` : "0"}: the neuron is
          saturated or inactive here, and all of its weights learn slowly from this example.`
        : ` σ′(z<sub>j</sub>) = ${num(slope)}, ${percent(share, 0)} of its largest.`;
    $("reading").innerHTML =
      `<span class="eq"><b>BP3</b><span>∂C/∂b<sub>j</sub> = δ<sub>j</sub></span></span> = ${num(delta)}
      for ${neuronName(l, j)} of ${theLayer(l)}, with activation ${num(value("a", l)[j])}${VALUED && isOutput(l) ? `, which is ${outputValue(value("a", l)[j])}` : ""}.${awake}
      Where a<sub>k</sub> is 0, so is the gradient of w<sub>jk</sub>.
      The gradient of C is the mean of such pictures over all examples of a batch.`;
  };

  const exampleName = (i) => `test example ${observed.chosen[i]}${observed.labels ? `, ${aClass(observed.labels[i])}` : VALUED ? `, ${targetName()} ${trueValue(at(arrays.y, i)[0])}` : ""}`;
  const epochName = (e) => (observed.epochs[e] ? counted(observed.epochs[e], "epoch") : "0 epochs: as it was created");

  const verdict = () => {
    const outputs = value("a", LAST - 1),
      cost = at(arrays.followed_cost, state.e, state.example)[0];
    const when = observed.epochs[state.e] ? `After ${counted(observed.epochs[state.e], "epoch")}` : "Before training";
    const whole = observed.kept[LAST - 1] === DATA.sizes.at(-1) && observed.labels,
      label = observed.labels?.[state.example];
    const predicted = outputs.length > 1 ? argmax(outputs) : Number(outputs[0] > 0.5);
    const named = (c) => aClass(c).replace(/^a /, "");
    const says = whole
      ? ` the network takes this ${clean(named(label))} for <strong>${clean(aClass(predicted))}</strong>,
        ${predicted === label ? "which is right" : "which is wrong"}; that output is ${num(Math.max(...outputs))}.`
      : VALUED
        ? ` the network says <strong>${clean(targetName())} ${outputValue(outputs[0])}</strong>; it is ${trueValue(target()[0])}.`
        : ` the outputs are ${listed(outputs)}; the targets ${listed(target())}.`;
    $("verdict").innerHTML = `${when}${says} Its cost is C<sub>x</sub> = ${num(cost)}.`;
  };

  const draw = () => {
    for (const [id, what] of [
      ["epoch", epochName],
      ["epoch2", epochName],
    ]) {
      $(id).value = state.e;
      $(id).setAttribute("aria-valuetext", what(state.e));
      $(`${id}-value`).textContent = what(state.e);
    }
    $("example").value = state.example;
    $("example").setAttribute("aria-valuetext", exampleName(state.example));
    $("example-value").textContent = exampleName(state.example);
    $("layer").value = state.layer;
    $("neuron").max = observed.kept[state.layer] - 1;
    $("neuron").value = state.neuron;
    const names = namesOf(state.layer);
    $("neuron-value").textContent = `j = ${state.neuron}${names ? `, ${fitted(names[state.neuron], 140)}` : ""}`;
    verdict();
    forward();
    backward();
    explain();
    product();
  };

  const choose = (l, j) => {
    Object.assign(state, { layer: l, neuron: Math.min(j, observed.kept[l] - 1) });
    draw();
  };
  state.e = observed.epochs.length - 1;
  state.example = Math.min(observed.chosen.length - 1, 5);
  state.neuron = strongest(value("delta", 0));
  $("layer").innerHTML = layers.map((l) => `<option value="${l}">${layerName(l)}</option>`).join("");
  $("example").max = observed.chosen.length - 1;
  $("epoch").max = $("epoch2").max = observed.epochs.length - 1;
  $("example").addEventListener("input", () => ((state.example = Number($("example").value)), draw()));
  for (const id of ["epoch", "epoch2"]) $(id).addEventListener("input", () => (stop(), goTo(Number($(id).value))));
  $("layer").addEventListener("change", () => {
    const l = Number($("layer").value);
    choose(l, strongest(value("delta", l)));
  });
  $("neuron").addEventListener("input", () => choose(state.layer, Number($("neuron").value)));
  $("same").addEventListener("change", draw);
  player(observed.epochs.length);
  onDraw(draw);
}

function goTo(e) {
  state.e = e;
  drawAll();
}

let timer = null;
function stop() {
  clearInterval(timer);
  timer = null;
  $("play").textContent = "▶";
  $("play").setAttribute("aria-label", "Play the epochs");
}

function player(count) {
  $("play").addEventListener("click", () => {
    if (timer) return stop();
    if (state.e === count - 1) goTo(0);
    $("play").textContent = "⏸";
    $("play").setAttribute("aria-label", "Pause");
    timer = setInterval(() => (state.e < count - 1 ? goTo(state.e + 1) : stop()), 450);
  });
}
