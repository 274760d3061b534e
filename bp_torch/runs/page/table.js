// A table's columns by name, and its cells and values in their own units. The network computes with (cell − mean) / scale.

const TABLE = DATA.table;
const VALUED = Boolean(TABLE) && DATA.classes === null; // its target is a column of real values
const SHOWN = 16; // columns that have a bar each; of more, those with the longest

// In its own unit, to so many digits more than the scale has. Beyond 5, float32 has lost them.
function inUnit(scaled, mean, scale, more) {
  if (scaled === null || Number.isNaN(scaled) || !(scale > 0)) return "–";
  const value = mean + scaled * scale,
    places = more - Math.floor(Math.log10(scale));
  if (Math.abs(value) >= 1e9 || places > 9) return num(value, 6);
  const rounded = Math.round(value * 10 ** places) / 10 ** places;
  return String(Number(rounded.toFixed(Math.max(places, 0)))).replace("-", "−");
}

const cell = (k, scaled) => inUnit(scaled, TABLE.mean[k], TABLE.scale[k], 5);
const outputValue = (scaled) => inUnit(scaled, TABLE.target_mean, TABLE.target_scale, 3);
const trueValue = (scaled) => inUnit(scaled, TABLE.target_mean, TABLE.target_scale, 5);
const targetName = () => fitted(TABLE.target, 140);
const scaledTarget = () => `a = (${clean(targetName())} − ${num(TABLE.target_mean, 4)}) / ${num(TABLE.target_scale, 4)}`;

// A bar for each column: its length is what the network computes with. cells: the numbers are the cells, in their units.
function columnBars(element, values, tone, scale, cells) {
  const all = Array.from(values.keys());
  const kept = new Set(all.sort((i, j) => Math.abs(values[j]) - Math.abs(values[i])).slice(0, SHOWN));
  const shown = Array.from(values.keys()).filter((k) => kept.has(k));
  bars(
    element,
    shown.map((k) => values[k]),
    {
      scale,
      tone,
      chosen: -1,
      still: true,
      centred: true,
      names: shown.map((k) => TABLE.columns[k]),
      texts: cells ? shown.map((k) => cell(k, values[k])) : undefined,
    },
  );
}

const longest = () => (DATA.inputs > SHOWN ? `, the ${SHOWN} longest bars of ${DATA.inputs}` : "");
