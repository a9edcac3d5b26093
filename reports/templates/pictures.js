"use strict";
(() => {
  const { pictures, files, roles, fills, terms, left_out: leftOut } = data.gallery;
  const SVG = "http://www.w3.org/2000/svg";
  const PAGE = 24;
  const ORDER = ["", "allowed", "core", "forbidden"]; // later ones are drawn on top
  const WHAT = {
    removal: { act: "region hidden", placebo: "same area elsewhere hidden" },
    swap: { act: "from another subgroup", placebo: "from the same subgroup" },
    sufficiency: { act: "only this region left" },
  };
  const RULES = { relies: "relies on a region", wrong: "failed", extreme: "extreme", typical: "typical", dead: "no heat map" };
  const decimal = (value) => Number.isFinite(value) ? minus(value.toFixed(1)) : "–";
  const term = (text, key) => {
    const made = element("span", { className: "term", tabIndex: 0, textContent: text });
    made.dataset.tip = terms[key];
    return made;
  };
  const isRight = (picture) => picture.label === picture.prediction;
  const mapOf = (picture, which) => files[picture.maps?.[which]] && picture.maps[which];

  // A picture with its heat map and outlines laid over it.
  function stack(picture, { file = picture.original, heat = null, outlines = [], alt = "" }) {
    const made = element("span", { className: "stack" },
      element("img", { src: files[file], alt, loading: "lazy", decoding: "async" }));
    const [height, width] = picture.size ?? [1, 1];
    made.style.aspectRatio = `${width} / ${height}`;
    if (heat) made.append(element("img", { className: "heat", src: files[heat], alt: "" }));
    const role = (region) => roles[picture.label]?.[region] ?? "";
    const drawn = outlines.filter((region) => picture.outlines?.[region])
      .sort((a, b) => ORDER.indexOf(role(a)) - ORDER.indexOf(role(b)));
    if (drawn.length) {
      const svg = document.createElementNS(SVG, "svg");
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.setAttribute("preserveAspectRatio", "none");
      svg.setAttribute("aria-hidden", "true");
      for (const kind of ["casing", "line"]) {
        for (const region of drawn) {
          const path = document.createElementNS(SVG, "path");
          path.setAttribute("d", picture.outlines[region]);
          path.setAttribute("class", `${kind} ${role(region)}`);
          svg.append(path);
        }
      }
      made.append(svg);
    }
    return made;
  }

  function describe(picture) {
    return `Picture of ${short(picture.label)}, predicted as ${short(picture.prediction)}`;
  }

  function verdict(picture) {
    return isRight(picture)
      ? element("span", { className: "right" }, "✓ ", nameOf(picture.prediction))
      : element("span", { className: "wrong" }, "✕ ", nameOf(picture.prediction));
  }

  // How strongly heat maps cover the pictures: one setting for the gallery and the dialog.
  const dialog = document.getElementById("detail");
  const gallery = document.getElementById("gallery");
  let strength = 0.75;
  function strengthSlider() {
    const slider = element("input", { className: "strength", type: "range", min: 0, max: 1, step: 0.05, value: strength });
    slider.addEventListener("input", () => {
      strength = slider.value;
      for (const place of [gallery, dialog]) place?.style.setProperty("--heat", strength);
      document.querySelectorAll("input.strength").forEach((one) => { one.value = strength; });
    });
    return element("label", {}, "Heat map strength", slider);
  }

  // What each of the classes in question says of a picture: the true one, and the answer.
  function sides(picture) {
    const predicted = { which: "predicted", label: picture.prediction, score: picture.score, shares: picture.shares ?? {} };
    const right = { which: "true", label: picture.label, score: picture.true_score, shares: picture.true_shares ?? {} };
    return isRight(picture) ? [predicted] : [right, predicted];
  }

  function bars(shares, order, most = null) {
    return element("div", { className: "shares" }, ...order.flatMap((region) => [
      element("span", { className: region === most ? "most" : "" }, nameOf(region)),
      element("progress", { value: shares[region] ?? 0, max: 1, ariaLabel: `share on ${short(region)}` }),
      element("span", { textContent: percent(shares[region]) })]));
  }

  const largestFirst = (all) => Object.keys(Object.assign({}, ...all)).sort((a, b) =>
    Math.max(...all.map((one) => one[b] ?? 0)) - Math.max(...all.map((one) => one[a] ?? 0)));

  // The details of one picture.
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", ({ key, target }) => {
    if (target.matches("input")) return; // the slider has its own use for arrows
    [...dialog.querySelectorAll("nav button")].find((one) => one.ariaKeyShortcuts === key)?.click();
  });

  function panel(picture, options, ...caption) {
    return element("figure", {}, stack(picture, options), element("figcaption", {}, ...caption));
  }

  function variantPanel(picture, variant) {
    const changed = variant.prediction_after !== picture.prediction;
    const what = WHAT[variant.test]?.[variant.arm] ?? variant.arm;
    const alt = `${describe(picture)}, altered: ${what}`;
    return panel(picture, { file: variant.file, alt },
      element("b", { textContent: what }), ` (${fills[variant.fill] ?? variant.fill})`, element("br"),
      `margin ${decimal(variant.margin_before)} → ${decimal(variant.margin_after)}`, element("br"),
      changed ? element("span", { className: "wrong" }, "now ", nameOf(variant.prediction_after))
        : element("span", { textContent: "answer unchanged" }));
  }

  function panels(...shown) {
    return element("div", { className: "panels" }, ...shown.filter(Boolean));
  }

  function chosenAs(picture) {
    const rule = RULES[picture.chosen_for] ?? short(picture.chosen_for);
    return picture.chosen_region ? `${rule} for ` : rule;
  }

  function open(picture, order, turned = 0) {
    const regions = Object.keys(picture.outlines ?? {});
    const alt = describe(picture);
    const asked = sides(picture);
    const step = (by) => {
      const next = order[order.indexOf(picture) + by];
      return element("button", { className: "button", type: "button", disabled: !next,
        ariaKeyShortcuts: by < 0 ? "ArrowLeft" : "ArrowRight",
        textContent: by < 0 ? "‹ Previous" : "Next ›", onclick: () => open(next, order, by) });
    };
    const [previous, next] = [step(-1), step(1)];
    const facts = Object.entries(picture.attributes ?? {}).flatMap(([key, value]) =>
      [nameOf(key), ": ", nameOf(value), " · "]);
    const head = element("div", { className: "dialog-head" },
      element("div", {},
        element("h3", { id: "detail-title" }, nameOf(picture.label), " → ", verdict(picture),
          Number.isFinite(picture.score) ? ` at ${percent(picture.score)}` : ""),
        element("p", { className: "note" }, ...facts, "sample ", nameOf(picture.sample_id),
          picture.chosen_for ? ` · chosen as: ${chosenAs(picture)}` : "", picture.chosen_region ? nameOf(picture.chosen_region) : "")),
      element("nav", { ariaLabel: "Pictures" }, previous, next,
        element("button", { className: "button", type: "button", textContent: "Close", onclick: () => dialog.close() })));
    const seen = (side, kind, speaks, score = "") => mapOf(picture, kind) && panel(picture,
      { alt: `${alt}, what ${speaks} ${short(side.label)}`, heat: mapOf(picture, kind) },
      `what ${speaks} `, nameOf(side.label), score);
    const body = [head, element("div", { className: "controls" }, strengthSlider()), panels(
      panel(picture, { alt, outlines: regions }, "picture with its regions"),
      ...asked.map((side) => seen(side, side.which, "speaks for",
        Number.isFinite(side.score) ? ` (score ${percent(side.score)})` : "")),
      files[picture.guided] ? panel(picture, { file: picture.guided, alt: `${alt}, Guided Grad-CAM` },
        "fine detail (Guided Grad-CAM)") : null)];
    const against = asked.map((side) => seen(side, `against-${side.which}`, "speaks against")).filter(Boolean);
    if (against.length) {
      body.push(element("h3", {}, "What speaks against (", term("counterfactual", "counterfactual"), ")"), panels(...against));
    }
    const told = asked.filter((side) => Object.keys(side.shares).length);
    if (told.length) {
      const order = largestFirst(told.map((side) => side.shares));
      body.push(element("h3", { textContent: "Share of the heat map" }), element("div", { className: "sides" },
        ...told.map((side) => element("div", {},
          told.length > 1 ? element("p", { className: "note" }, "for ", nameOf(side.label)) : null, bars(side.shares, order)))));
    }
    const variants = picture.variants ?? [];
    for (const region of new Set(variants.map((variant) => variant.region))) {
      body.push(element("h3", {}, "With ", nameOf(region), " altered"),
        panels(...variants.filter((one) => one.region === region).map((one) => variantPanel(picture, one))));
    }
    dialog.replaceChildren(...body);
    if (!dialog.open) dialog.showModal();
    const again = turned < 0 ? [previous, next] : [next, previous];
    if (turned) again.find((button) => !button.disabled).focus(); // the one pressed was replaced
    dialog.scrollTop = 0;
  }

  window.openPicture = open; // for the blind review

  // The strips of the flagged cues.
  const strips = document.querySelectorAll(".strip .shot");
  for (const shot of strips) {
    const picture = pictures[shot.dataset.picture];
    if (!picture) { shot.remove(); continue; }
    const region = shot.dataset.outline;
    const core = Object.keys(picture.outlines ?? {}).filter((one) => roles[picture.label]?.[one] === "core");
    const heat = mapOf(picture, "predicted") || mapOf(picture, "true");
    const order = [...shot.parentElement.children].map((one) => pictures[one.dataset.picture]).filter(Boolean);
    const share = picture.shares?.[region];
    shot.append(stack(picture, { heat, outlines: region ? [region] : core, alt: `${describe(picture)}, with heat map` }),
      element("span", { className: "words" }, verdict(picture),
        Number.isFinite(share) ? element("small", { textContent: ` ${percent(share)}` }) : null));
    shot.title = Number.isFinite(share) ? `${percent(share)} of the attention is on the region` : "";
    shot.addEventListener("click", () => open(picture, order));
  }

  // The gallery: filters, views, pages.
  if (!gallery) return;
  const unique = (values) => [...new Set(values.filter((value) => value !== undefined && value !== null))];
  const regions = unique(pictures.flatMap((picture) => Object.keys(picture.shares ?? {})));

  const redraw = () => show();
  function filterBy(label, options) {
    const made = choice(label, [["all", ""], ...options], redraw);
    made.hidden = options.length < 2;
    return made;
  }

  const byName = (values) => unique(values).map(String).sort().map((value) => [value, value]);
  const attributes = unique(pictures.flatMap((one) => Object.keys(one.attributes ?? {})));
  const filters = [
    [filterBy("Class", byName(pictures.map((one) => one.label))), (one) => one.label],
    [filterBy("Predicted", byName(pictures.map((one) => one.prediction))), (one) => one.prediction],
    [filterBy("Answer", [["right", "right"], ["wrong", "wrong"]]), (one) => isRight(one) ? "right" : "wrong"],
    [filterBy("Chosen as", byName(pictures.map((one) => one.chosen_for))
      .map(([value]) => [RULES[value] ?? value, value])), (one) => one.chosen_for],
    ...attributes.map((attribute) => [
      filterBy(attribute, byName(pictures.map((one) => one.attributes?.[attribute]))),
      (one) => String(one.attributes?.[attribute])]),
  ];
  const answerFilter = filters[2][0];
  const drop = (variant) => variant.margin_before - variant.margin_after;
  const mean = (values) => values.length ? values.reduce((a, b) => a + b, 0) / values.length : 0;
  const effect = (picture) => Math.max(-Infinity, ...(picture.variants ?? [])
    .filter((one) => one.arm === "act" && one.test !== "sufficiency").map((act) => drop(act) - mean(
      picture.variants.filter((one) => one.arm === "placebo" && one.test === act.test
        && one.region === act.region && one.fill === act.fill).map(drop))).filter(Number.isFinite));
  const surelyWrong = (picture) => (isRight(picture) ? -1 : 1) * (picture.score ?? 0);
  const sort = choice("Sort by", [["as chosen", ""], ["effect of altering, beyond the placebo", "effect"],
    ["wrong answers, most confident first", "wrong"],
    ...regions.map((region) => [`attention on ${region}`, `share:${region}`])], redraw);
  const rank = (key) => ({ effect, wrong: surelyWrong })[key]
    ?? ((picture) => picture.shares?.[key.slice("share:".length)] ?? -1);
  const has = (kind) => pictures.some((picture) => mapOf(picture, kind));
  const view = choice("View", [["heat map, class predicted", "predicted"], ["heat map, true class", "true"],
    ["against the class predicted", "against-predicted"], ["against the true class", "against-true"],
    ["Guided Grad-CAM", "guided"], ["picture only", ""]].filter(([, kind]) => !kind.startsWith("against") || has(kind)), redraw);
  const outline = element("input", { type: "checkbox", onchange: redraw });
  const count = element("p", { className: "note" });
  count.setAttribute("aria-live", "polite");
  const grid = element("div", { className: "grid" });
  const more = element("button", { className: "button more", type: "button", onclick: () => {
    const first = shown;
    show(shown + PAGE);
    grid.querySelectorAll(".shot")[first].focus();
  } });
  let shown = PAGE;

  function tile(picture, order) {
    const guided = view.select.value === "guided" && files[picture.guided] && picture.guided;
    const options = {
      file: guided || picture.original,
      heat: guided ? null : mapOf(picture, view.select.value),
      outlines: outline.checked ? Object.keys(picture.outlines ?? {}) : [],
      alt: describe(picture),
    };
    return element("button", { className: "shot", type: "button", onclick: () => open(picture, order) },
      stack(picture, options),
      element("span", { className: "words" }, nameOf(picture.label), " → ", verdict(picture)));
  }

  // An error explained: why not the true class, and why the one predicted (section 6.1 of the paper).
  function failure(picture, order) {
    const asked = sides(picture);
    const regionsShown = largestFirst(asked.map((side) => side.shares)).slice(0, 5);
    const apart = (region) => Math.abs((asked[1].shares[region] ?? 0) - (asked[0].shares[region] ?? 0));
    const most = Object.keys(asked[0].shares).length && regionsShown.length
      ? regionsShown.reduce((a, b) => apart(b) > apart(a) ? b : a) : null;
    const outlines = outline.checked ? Object.keys(picture.outlines ?? {}) : [];
    return element("article", { className: "failure" },
      element("button", { className: "shot", type: "button", onclick: () => open(picture, order) },
        stack(picture, { outlines, alt: describe(picture) }),
        element("span", { className: "words" }, nameOf(picture.label), " → ", verdict(picture))),
      ...asked.map((side) => element("figure", {},
        stack(picture, { heat: mapOf(picture, side.which), outlines,
          alt: `${describe(picture)}, what speaks for ${short(side.label)}` }),
        element("figcaption", {}, side.which === "true" ? "for the true class " : "for the answer ",
          element("b", {}, nameOf(side.label)), `, score ${percent(side.score)}`),
        Object.keys(side.shares).length ? bars(side.shares, regionsShown, most)
          : side.which === "true" && !("true_shares" in picture) ? null
          : element("small", { textContent: "No share: nothing speaks for it, or no region is marked." }))));
  }

  const errors = pictures.filter((picture) => !isRight(picture));
  let failing = false;
  const modes = [["All pictures", pictures, false], ["Failures side by side", errors, true]].map(([text, of, mode]) =>
    element("button", { className: "button", type: "button", textContent: `${text} (${of.length})`, disabled: !of.length,
      onclick: () => {
        failing = mode;
        sort.select.value = mode ? "wrong" : "";
        show();
      } }));

  function show(limit = PAGE) {
    shown = limit;
    modes.forEach((button, i) => button.setAttribute("aria-pressed", String(Boolean(i) === failing)));
    answerFilter.hidden = view.hidden = failing;
    const among = failing ? errors : pictures;
    const fits = among.filter((picture) => filters.every(([control, value]) =>
      control.hidden || control.select.value === "" || String(value(picture)) === control.select.value));
    const key = sort.select.value;
    if (key) fits.sort((a, b) => rank(key)(b) - rank(key)(a));
    grid.className = failing ? "failures" : "grid";
    grid.replaceChildren(...fits.slice(0, shown).map((picture) => (failing ? failure : tile)(picture, fits)));
    const rest = leftOut ? `; ${leftOut} more are in the run folder` : "";
    count.textContent = `${fits.length} of ${among.length} ${failing ? "errors among the pictures kept" : "pictures"}${rest}. True class → answer of the model.${
      failing ? " Bold: the region on which the two maps differ most." : ""}`;
    more.textContent = `Show ${Math.min(PAGE, fits.length - shown)} more`;
    more.hidden = fits.length <= shown;
  }

  const switcher = element("div", { className: "switch", ariaLabel: "Pictures or failures" }, ...modes);
  switcher.setAttribute("role", "group");
  gallery.replaceChildren(switcher,
    element("div", { className: "controls" }, ...filters.map(([control]) => control), sort),
    element("div", { className: "controls" }, view, strengthSlider(),
      element("label", { className: "check" }, outline, "Outline regions")),
    count, grid, more);
  show();

  // The page's filter sets the gallery's own; a class or subgroup without pictures shows none.
  document.addEventListener("report:filter", ({ detail }) => {
    const set = (control, value) => {
      const { select } = control;
      if (![...select.options].some((option) => option.value === value)) {
        select.append(new Option(short(value), value));
        control.hidden = false; // a hidden filter lets all through
      }
      select.value = value;
    };
    set(filters[0][0], detail.class);
    attributes.forEach((attribute, i) =>
      set(filters.at(i - attributes.length)[0], attribute === detail.attribute ? detail.subgroup : ""));
    set(sort, regions.includes(detail.region) ? `share:${detail.region}` : "");
    show();
  });
})();
