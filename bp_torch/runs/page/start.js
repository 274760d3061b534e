// Everything is drawn once, and again when the width, the theme or the epoch changes.

function onDraw(draw) {
  drawings.push(draw);
}

function chart(room, options) {
  const figure = figureIn(room);
  onDraw(() => lines(figure, options()));
}

function drawAll() {
  for (const draw of drawings) draw();
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  $("theme").querySelector("span").textContent = name === "dark" ? "Light" : "Dark";
  readTheme();
  drawAll();
}

const drawings = [];
const dark = matchMedia("(prefers-color-scheme: dark)");
for (const section of [follow, curves, confusion, mistakes, weights, norms, saturation, timings, settings, heading])
  section();
setTheme(dark.matches ? "dark" : "light");
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
$("theme").addEventListener("click", () =>
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  requestAnimationFrame(drawAll);
});
