"use strict";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// ---------------------------------------------------------------- where each number comes from

/** Let the cells of a result show what a list says of them, in a line that is read aloud. */
function explainNumbers(list, hint) {
  const told = document.createElement("p");
  told.className = "told";
  told.setAttribute("role", "status");
  told.textContent = hint;
  list.closest("details").before(told);
  const cells = new Map(
    all("li", list).map((item) => [document.querySelector(item.dataset.cell), item]),
  );

  function show(cell) {
    clearMarks();
    const item = cells.get(cell);
    told.textContent = item.textContent;
    cell.classList.add("here");
    for (const part of all(item.dataset.parts)) part.classList.add("part");
  }

  function neighbour(cell, key) {
    const { row, col } = cell.dataset;
    const down = { ArrowUp: -1, ArrowDown: 1 }[key] ?? 0;
    const right = { ArrowLeft: -1, ArrowRight: 1 }[key] ?? 0;
    const at = (other) => +other.dataset.row === +row + down && +other.dataset.col === +col + right;
    return [...cells.keys()].find(at);
  }

  for (const [cell, item] of cells) {
    cell.classList.add("made");
    if (cell.tagName === "SPAN") {
      cell.setAttribute("role", "math"); // what can have the focus needs a role and a name
      cell.setAttribute("aria-label", item.textContent.split(" = ")[0]);
    }
    cell.addEventListener("pointerenter", () => show(cell));
    cell.addEventListener("focus", () => {
      for (const other of cells.keys()) other.tabIndex = other === cell ? 0 : -1;
      show(cell);
    });
    cell.addEventListener("keydown", (event) => {
      if (event.key === "Escape") clearMarks();
      if (!event.key.startsWith("Arrow")) return;
      event.preventDefault(); // the page would scroll
      neighbour(cell, event.key)?.focus();
    });
    cell.tabIndex = cell === cells.keys().next().value ? 0 : -1; // one tab stop for all
  }
}

function clearMarks() {
  for (const cell of all(".here, .part")) cell.classList.remove("here", "part");
}

// ---------------------------------------------------------------- the pass, step by step

/** Buttons that go through the steps of the pass; before the first, after the last: all. */
function stepThrough(figure) {
  const steps = all("[data-step]", figure);
  const told = figure.querySelector(".told");
  const controls = figure.querySelector(".controls");
  let at = -1;

  function go(to) {
    at = to < -1 ? steps.length - 1 : to === steps.length ? -1 : to;
    const name = steps[at]?.dataset.step;
    const later = new Set(at < 0 ? [] : steps.slice(at + 1).map((step) => step.dataset.step));
    for (const part of all("[data-of], [data-with]", figure)) {
      const names = [part.dataset.of, ...(part.dataset.with ?? "").split(" ")];
      part.classList.toggle("later", later.has(part.dataset.of));
      part.classList.toggle("now", at >= 0 && names.includes(name));
    }
    for (const step of steps) step.classList.toggle("now", step === steps[at]);
    told.textContent =
      at < 0
        ? `The whole pass, ${steps.length} steps.`
        : `Step ${at + 1} of ${steps.length}, ${steps[at].dataset.stage}: ${steps[at].textContent}`;
  }

  for (const button of all("button", controls)) {
    const { by, to } = button.dataset;
    button.addEventListener("click", () =>
      go(by ? at + Number(by) : steps.findIndex((step) => step.dataset.stage === to)),
    );
  }
  controls.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") go(at - 1);
    if (event.key === "ArrowRight") go(at + 1);
  });
  controls.hidden = told.hidden = false;
  go(-1);
}

// ---------------------------------------------------------------- the penalty under sliders

/** Four digits, as Python writes them: 0.25, 8.816e-05. */
function digits(x) {
  const [mantissa, exponent] = x.toExponential(3).split("e");
  if (exponent >= -4 && exponent < 4) return String(Number(x.toPrecision(4)));
  return `${Number(mantissa)}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
}

const points = (pairs) => pairs.map(([x, y]) => `${x},${-y}`).join(" ");

/** Sliders that pick a stop, one for each of λ and η; every number was computed before. */
function slide(figure, stops) {
  const sliders = all("input", figure);

  function show() {
    const [lam, eta] = sliders.map((slider) => slider.valueAsNumber);
    const stop = stops.at[lam][eta];
    for (const slider of sliders) {
      const told = stops[slider.name][slider.valueAsNumber];
      slider.setAttribute("aria-valuetext", told);
      slider.parentElement.querySelector("output").textContent = told;
    }
    figure.querySelector(".told").textContent = stop.told;
    showCurve(figure.querySelector(".curve svg"), stop);
    const rows = all("tbody tr", figure);
    all(".walk svg", figure).forEach((svg, w) => {
      const walks = stop.walks.map((walk) => walk?.[w]);
      showWalk(svg, w, stops, walks);
      const numbers = [stop.u[w], stop.prox[w], ...walks.map((walk) => walk?.at(-1))];
      numbers.forEach((x, k) => {
        rows[w].cells[k + 1].textContent = x === undefined ? "diverges" : digits(x);
      });
    });
  }

  for (const slider of sliders) slider.addEventListener("input", show);
  figure.querySelector(".controls").hidden = false;
  show();
}

function showCurve(svg, { curve, u, prox }) {
  if (!svg) return;
  const [end, threshold] = [curve.at(-1)[0], curve.at(-2)[0]];
  svg.setAttribute("viewBox", `${-end} ${-end} ${2 * end} ${2 * end}`);
  svg.querySelector("rect").setAttribute("x", -threshold);
  svg.querySelector("rect").setAttribute("width", 2 * threshold);
  svg.querySelector("polyline").setAttribute("points", points(curve));
  svg.parentElement.querySelector("span").textContent = digits(end);
  all("path", svg).forEach((dot, w) => dot.setAttribute("d", `M${u[w]} ${-prox[w]}h0`));
}

function showWalk(svg, w, { weights, methods, steps }, walks) {
  const every = [0, ...walks.flatMap((walk) => walk ?? [])];
  const [low, high] = [Math.min(...every), Math.max(...every)];
  const margin = (high - low) * 0.1 || 1;
  svg.setAttribute("viewBox", `0 ${-high - margin} ${steps} ${high - low + 2 * margin}`);
  all("polyline", svg).forEach((line, m) => {
    line.setAttribute("points", points([...(walks[m] ?? []).entries()]));
  });
  const told = walks.map((walk, m) => {
    return `${methods[m]} ${walk ? walk.map(digits).join(", ") : "it diverges"}`;
  });
  svg.querySelector("title").textContent = `${weights[w]}: ${told.join("; ")}`;
  svg.parentElement.querySelector("span").textContent = `${digits(low)} to ${digits(high)}`;
}

const HINT = "Point at a number of a result, or go to it with Tab: here stands what made it.";
all("details.made ul").forEach((list, k) => explainNumbers(list, k ? "" : HINT));
for (const figure of all("figure.pass")) stepThrough(figure);
for (const figure of all("figure.sliders")) {
  slide(figure, JSON.parse(document.getElementById("stops").textContent));
}
