"use strict";
(() => {
  const { pairs, trust } = data;

  // A picture with the heat map of one model; the description does not say whose.
  function stack(pair, side, what) {
    const [height, width] = pair.size ?? [1, 1];
    const alt = `${what}: heat map for ${short(pair[side].prediction)}`;
    const made = element("span", { className: "stack" },
      element("img", { src: pair.original, alt, decoding: "async" }),
      element("img", { className: "heat", src: pair[side].map, alt: "" }));
    made.style.aspectRatio = `${width} / ${height}`;
    return made;
  }

  function answerOf(pair, side) {
    const right = pair.label === pair[side].prediction;
    return element("span", { className: right ? "right" : "wrong" }, right ? "✓ " : "✕ ", nameOf(pair[side].prediction));
  }

  const shown = document.getElementById("pairs");
  shown?.append(...pairs.map((pair) => element("figure", { className: "pair" },
    element("div", {}, stack(pair, "before", "before"), stack(pair, "after", "after")),
    element("figcaption", {}, nameOf(pair.label), ": ", answerOf(pair, "before"), " → ", answerOf(pair, "after")))));

  // The blind choice between the two models.
  const box = document.getElementById("trust-test");
  if (!box) return;
  const OTHER = { before: "after", after: "before" };
  const CHOICES = [["left", "Left", "ArrowLeft"], ["none", "No difference", "ArrowDown"], ["right", "Right", "ArrowRight"]];
  const answers = [];

  const status = element("p", { className: "note" });
  status.setAttribute("aria-live", "polite");
  const question = element("p");
  const maps = element("div", { className: "trust-maps" });
  const buttons = element("div", { className: "choices" }, ...CHOICES.map(([choice, text]) =>
    element("button", { className: "button", type: "button", textContent: text, onclick: () => choose(choice) })));

  function choose(choice) {
    const { pair, left } = trust.trials[answers.length];
    const trusted = { left, right: OTHER[left], none: null }[choice];
    answers.push({ sample_id: pairs[pair].sample_id, left, choice, trusted });
    show();
  }

  // Two-sided exact sign test: how often even chances split n answers at least this unevenly.
  function signTest(one, other) {
    const n = one + other;
    let term = 0.5 ** n, tail = 0;
    for (let k = 0; k <= Math.min(one, other); k += 1) {
      tail += term;
      term *= (n - k) / (k + 1);
    }
    return Math.min(1, 2 * tail);
  }

  function score() {
    const count = (trusted) => answers.filter((answer) => answer.trusted === trusted).length;
    const [before, after, none] = [count("before"), count("after"), count(null)];
    return { n: answers.length, before, after, no_difference: none, p: signTest(before, after) };
  }

  function save() {
    const told = { study: "trust", runs: trust.runs, seed: trust.seed, score: score(), answers };
    saveFile("trust.json", "application/json", JSON.stringify(told, null, 2));
  }

  function start() {
    answers.length = 0;
    box.replaceChildren(status, question, maps, buttons);
    show();
    buttons.firstChild.focus();
  }

  function show() {
    if (answers.length === trust.trials.length) return finish();
    const { pair, left } = trust.trials[answers.length];
    const own = pairs[pair];
    status.textContent = `Picture ${answers.length + 1} of ${trust.trials.length}`;
    question.replaceChildren("Both models answer ", answerOf(own, left),
      own.label === own[left].prediction ? "" : element("span", {}, " (it is ", nameOf(own.label), ")"),
      ". Whose explanation do you trust more?");
    maps.replaceChildren(...[["left", left], ["right", OTHER[left]]].map(([where, side]) =>
      element("figure", {}, stack(own, side, where), element("figcaption", { textContent: where }))));
  }

  function finish() {
    const { n, before, after, no_difference: none, p } = score();
    const chance = before + after
      ? ` If the maps were equally good, a split at least this uneven would come about in ${Math.round(100 * p)} of 100 such tests.`
      : "";
    const again = element("button", { className: "button", type: "button", textContent: "Start again", onclick: start });
    const saving = element("button", { className: "button", type: "button", textContent: "Download the score (JSON)", onclick: save });
    const result = element("p", { tabIndex: -1 },
      element("b", { textContent: `You trusted the model after in ${after} of ${plural(n, "picture")}, the one before in ${before}; no difference in ${none}.` }), chance);
    box.replaceChildren(result, element("div", { className: "trust-done" }, saving, again));
    result.focus();
  }

  box.addEventListener("keydown", (event) => {
    const chosen = CHOICES.find(([, , key]) => key === event.key);
    if (!chosen || !buttons.isConnected) return;
    event.preventDefault();
    choose(chosen[0]);
  });
  box.append(element("button", { className: "button", type: "button", textContent: "Start", onclick: start }));
})();
