"use strict";
// The blind review: one explanation at a time, its class to be guessed.
(() => {
  const place = document.getElementById("blind-review");
  if (!place) return;
  const { classes, candidates: most } = data.blind;
  const { pictures, files } = data.gallery;
  const usable = data.blind.pictures.map((number) => pictures[number])
    .filter((picture) => picture && files[picture.maps.predicted]);
  const VIEWS = {
    guided: ["Guided Grad-CAM", (picture) => files[picture.guided]],
    masked: ["picture where the heat map is warm", () => true],
  };
  const Z = 1.959963984540054; // 95 %, two-sided
  const button = (properties, ...children) =>
    element("button", { className: "button", type: "button", ...properties }, ...children);

  // Mulberry32: the same seed gives the same order in every browser.
  function generator(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  function shuffled(list, random) {
    const drawn = [...list];
    for (let last = drawn.length - 1; last > 0; last -= 1) {
      const other = Math.floor(random() * (last + 1));
      [drawn[last], drawn[other]] = [drawn[other], drawn[last]];
    }
    return drawn;
  }

  // All classes, or the right one among drawn ones; always in the same order, which tells nothing.
  function candidatesFor(right, random) {
    const drawn = new Set([right, ...shuffled(classes.filter((one) => one !== right), random).slice(0, most - 1)]);
    return classes.filter((one) => drawn.has(one));
  }

  function wilson(right, total) {
    const rate = right / total;
    const centre = rate + Z ** 2 / (2 * total);
    const reach = Z * Math.sqrt(rate * (1 - rate) / total + Z ** 2 / (4 * total ** 2));
    const scale = 1 + Z ** 2 / total;
    return [Math.max(0, (centre - reach) / scale), Math.min(1, (centre + reach) / scale)];
  }

  function scoreOf(guesses) {
    const right = guesses.filter(({ guess, explained }) => guess === explained).length;
    const [low, high] = wilson(right, guesses.length);
    const chance = guesses.reduce((sum, one) => sum + 1 / one.candidates.length, 0) / guesses.length;
    return { right, total: guesses.length, low, high, chance };
  }

  // Before: how many, in which order, what is shown.
  function setUp(seed) {
    const views = Object.entries(VIEWS).filter(([, [, has]]) => usable.some(has));
    const number = (min, max, value) => element("input", { type: "number", min, max, value });
    const count = number(1, usable.length, Math.min(20, usable.length));
    const seeded = number(0, 2 ** 32 - 1, seed);
    const view = element("select", {}, ...views.map(([key, [label]]) => new Option(label, key)));
    const start = () => {
      const random = generator(Number(seeded.value));
      const [, has] = VIEWS[view.value];
      const wanted = Math.max(1, Math.floor(Number(count.value)) || 1);
      const tasks = shuffled(usable.filter(has), random).slice(0, wanted).map((picture) => {
        const explained = String(picture.prediction);
        return { picture, explained, candidates: candidatesFor(explained, random) };
      });
      ask({ seed: Number(seeded.value), view: view.value, tasks, guesses: [] });
    };
    place.replaceChildren(
      element("p", { textContent: `Pictures to choose from: ${usable.length}, one of each independent unit. `
        + "The right answer is the class that the map speaks for: the model's own." }),
      element("div", { className: "controls" },
        element("label", {}, "Pictures", count), element("label", {}, "Shown", view),
        element("label", {}, "Seed of the order", seeded), button({ textContent: "Start", onclick: start })));
  }

  // The picture that is shown: nothing in it or beside it says what it is.
  function covered({ picture }, view, alt) {
    const [height, width] = picture.size ?? [1, 1];
    const image = element("img", { src: files[view === "guided" ? picture.guided : picture.original], alt });
    if (view === "masked") {
      const mask = `url("${files[picture.maps.predicted]}")`;
      image.style.webkitMaskImage = mask;
      image.style.maskImage = mask;
    }
    const made = element("span", { className: "blind-picture" }, image);
    made.style.aspectRatio = `${width} / ${height}`;
    return made;
  }

  function ask(round) {
    const { tasks, guesses, view } = round;
    const task = tasks[guesses.length];
    if (!task) return tell(round);
    const where = `${guesses.length + 1} of ${tasks.length}`;
    const title = element("h3", { tabIndex: -1, textContent: `Explanation ${where}` });
    const question = "Which class does it speak for?";
    const guess = (one) => { guesses.push({ ...task, guess: one }); ask(round); };
    place.replaceChildren(title, covered(task, view, `Explanation ${where}`),
      element("p", { textContent: question }),
      element("div", { className: "guesses", role: "group", ariaLabel: question },
        ...task.candidates.map((one) => button({ onclick: () => guess(one) }, nameOf(one)))),
      button({ textContent: "Stop and score", disabled: !guesses.length, onclick: () => tell(round) }));
    title.focus({ preventScroll: true });
  }

  // After: the score, overall and by class, the mistakes, the file.
  function row(label, score) {
    const { right, total, chance } = score;
    const cells = [`${right} of ${total}`, percent(right / total), interval(score.low, score.high), percent(chance)];
    return element("tr", {}, element("th", { scope: "row" }, label),
      ...cells.map((textContent) => element("td", { textContent })));
  }

  function verdictOn({ low, high, chance }) {
    if (low > chance) return "Better than guessing: these explanations tell the classes apart.";
    if (high < chance) return "Worse than guessing: these explanations mislead.";
    return "Not shown to be better than guessing.";
  }

  function mistake(one, number, wrong) {
    const errs = one.picture.label !== one.explained;
    return element("li", {}, `Explanation ${number}: you said `, nameOf(one.guess), ", the map speaks for ", nameOf(one.explained),
      ...errs ? [" (the model errs: it is ", nameOf(one.picture.label), ")"] : [], " · ",
      button({ className: "link", textContent: "open the picture", ariaLabel: `open the picture of explanation ${number}`,
        onclick: () => window.openPicture(one.picture, wrong.map(({ picture }) => picture)) }));
  }

  function tell(round) {
    const { seed, view, guesses } = round;
    const score = scoreOf(guesses);
    const byClass = classes.map((one) => [one, guesses.filter(({ explained }) => explained === one)])
      .filter(([, own]) => own.length).map(([one, own]) => [one, scoreOf(own)]);
    const wrong = guesses.filter(({ guess, explained }) => guess !== explained);
    const title = element("h3", { tabIndex: -1,
      textContent: `${score.right} of ${score.total} right: ${percent(score.right / score.total)}` });
    const heads = ["class of the map", "right", "share", "95\u202f% interval (Wilson)", "guessing gives"]
      .map((textContent) => element("th", { scope: "col", textContent }));
    const scroll = element("div", { className: "table-scroll", tabIndex: 0, ariaLabel: "Score of the blind review" },
      element("table", {}, element("thead", {}, element("tr", {}, ...heads)),
        element("tbody", {}, row("all", score), ...byClass.map(([one, own]) => row(nameOf(one), own)))));
    scroll.setAttribute("role", "group");
    const save = () => saveFile(`blind-review-${data.review.run.id}.json`, "application/json", `${JSON.stringify({
      kind: "cuecheck blind review", version: 1, run: data.review.run, date: new Date().toISOString(),
      reviewer: document.getElementById("reviewer")?.value ?? "", seed, shown: view, score,
      by_class: byClass.map(([one, own]) => ({ class: one, ...own })),
      guesses: guesses.map(({ picture: { sample_id, label }, ...told }) => ({ sample_id, label, ...told })),
    }, null, 2)}\n`);
    place.replaceChildren(title,
      element("p", { textContent: `95\u202f% interval ${interval(score.low, score.high)}; `
        + `guessing gives ${percent(score.chance)}. ${verdictOn(score)}` }),
      scroll,
      ...wrong.length ? [element("h3", { textContent: "Mistakes" }),
        element("ul", { className: "mistakes" }, ...wrong.map((one) => mistake(one, guesses.indexOf(one) + 1, wrong)))] : [],
      element("div", { className: "controls" }, button({ textContent: "Export score", onclick: save }),
        button({ textContent: "Again, in another order", onclick: () => setUp(seed + 1) })));
    title.focus({ preventScroll: true });
  }

  setUp(1);
})();
