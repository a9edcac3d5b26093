"use strict";
(() => {
  const { pictures, files, roles, fills, left_out: leftOut } = data.gallery;
  const SVG = "http://www.w3.org/2000/svg";
  const PAGE = 24;
  const ORDER = ["", "allowed", "core", "forbidden"]; // later ones are drawn on top
  const WHAT = {
    removal: { act: "region hidden", placebo: "same area elsewhere hidden" },
    swap: { act: "from another subgroup", placebo: "from the same subgroup" },
    sufficiency: { act: "only this region left" },
  };
  const short = (text, limit = 40) => text.length > limit ? `${text.slice(0, limit - 1)}…` : text;
  const name = (text) => element("bdi", { className: "name", title: text, textContent: short(String(text)) });
  const percent = (value) => Number.isFinite(value) ? `${Math.round(100 * value)}\u202f%` : "–";
  const decimal = (value) => Number.isFinite(value) ? value.toFixed(1).replace("-", "\u2212") : "–";
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
    return `Picture of ${short(String(picture.label))}, predicted as ${short(String(picture.prediction))}`;
  }

  function verdict(picture) {
    return isRight(picture)
      ? element("span", { className: "right" }, "✓ ", name(picture.prediction))
      : element("span", { className: "wrong" }, "✕ ", name(picture.prediction));
  }

  // The details of one picture.
  const dialog = document.getElementById("detail");
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

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
      changed ? element("span", { className: "wrong" }, "now ", name(variant.prediction_after))
        : element("span", { textContent: "answer unchanged" }));
  }

  function panels(...shown) {
    return element("div", { className: "panels" }, ...shown);
  }

  function open(picture, order) {
    const regions = Object.keys(picture.outlines ?? {});
    const alt = describe(picture);
    const maps = ["predicted", "true"].filter((which) => mapOf(picture, which));
    const heats = isRight(picture) ? maps.slice(0, 1) : maps;
    const step = (by) => {
      const next = order[order.indexOf(picture) + by];
      return element("button", { className: "button", type: "button", disabled: !next,
        textContent: by < 0 ? "‹ Previous" : "Next ›", onclick: () => open(next, order) });
    };
    const facts = Object.entries(picture.attributes ?? {}).flatMap(([key, value]) =>
      [name(key), ": ", name(value), " · "]);
    const head = element("div", { className: "dialog-head" },
      element("div", {},
        element("h3", { id: "detail-title" }, name(picture.label), " → ", verdict(picture),
          Number.isFinite(picture.score) ? ` at ${percent(picture.score)}` : ""),
        element("p", { className: "note" }, ...facts, "sample ", name(picture.sample_id),
          picture.chosen_for ? ` · chosen as: ${short(String(picture.chosen_for))}` : "")),
      element("nav", { ariaLabel: "Pictures" }, step(-1), step(1),
        element("button", { className: "button", type: "button", textContent: "Close", onclick: () => dialog.close() })));
    const body = [head, panels(
      panel(picture, { alt, outlines: regions }, "picture with its regions"),
      ...heats.map((which) => panel(picture, { alt: `${alt}, with heat map`, heat: mapOf(picture, which) },
        "what speaks for ", name(which === "true" ? picture.label : picture.prediction))),
      files[picture.guided] ? panel(picture, { file: picture.guided, alt: `${alt}, Guided Grad-CAM` },
        "fine detail (Guided Grad-CAM)") : null)];
    const shares = Object.entries(picture.shares ?? {}).sort((a, b) => b[1] - a[1]);
    if (shares.length) {
      body.push(element("h3", { textContent: "Share of the heat map" }), element("div", { className: "shares" },
        ...shares.flatMap(([region, share]) => [element("span", {}, name(region)),
          element("progress", { value: share ?? 0, max: 1, ariaLabel: `share on ${short(region)}` }),
          element("span", { textContent: percent(share) })])));
    }
    const variants = picture.variants ?? [];
    for (const region of new Set(variants.map((variant) => variant.region))) {
      body.push(element("h3", {}, "With ", name(region), " altered"),
        panels(...variants.filter((one) => one.region === region).map((one) => variantPanel(picture, one))));
    }
    dialog.replaceChildren(...body);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

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
  const gallery = document.getElementById("gallery");
  if (!gallery) return;
  const unique = (values) => [...new Set(values.filter((value) => value !== undefined && value !== null))];
  const regions = unique(pictures.flatMap((picture) => Object.keys(picture.shares ?? {})));

  function choice(label, options, first = null) {
    const select = element("select", { onchange: () => show() });
    if (first) select.append(new Option(first, ""));
    options.forEach(([text, value]) => select.append(new Option(short(String(text)), value)));
    const made = element("label", { hidden: options.length < 2 && first !== null }, short(label), select);
    made.select = select;
    return made;
  }

  const byName = (values) => unique(values).map(String).sort().map((value) => [value, value]);
  const attributes = unique(pictures.flatMap((one) => Object.keys(one.attributes ?? {})));
  const filters = [
    [choice("Class", byName(pictures.map((one) => one.label)), "all"), (one) => one.label],
    [choice("Predicted", byName(pictures.map((one) => one.prediction)), "all"), (one) => one.prediction],
    [choice("Answer", [["right", "right"], ["wrong", "wrong"]], "all"), (one) => isRight(one) ? "right" : "wrong"],
    [choice("Chosen as", byName(pictures.map((one) => one.chosen_for)), "all"), (one) => one.chosen_for],
    ...attributes.map((attribute) => [
      choice(attribute, byName(pictures.map((one) => one.attributes?.[attribute])), "all"),
      (one) => String(one.attributes?.[attribute])]),
  ];
  const drop = (picture) => Math.max(0, ...(picture.variants ?? [])
    .filter((one) => one.arm !== "placebo" && one.test !== "sufficiency")
    .map((one) => one.margin_before - one.margin_after).filter(Number.isFinite));
  const sort = choice("Sort by", [["as chosen", ""], ["largest change when altered", "drop"],
    ...regions.map((region) => [`attention on ${region}`, `share:${region}`])]);
  const view = choice("View", [["heat map, class predicted", "predicted"], ["heat map, true class", "true"],
    ["Guided Grad-CAM", "guided"], ["picture only", ""]]);
  const outline = element("input", { type: "checkbox", onchange: () => show() });
  const heat = element("input", { type: "range", min: 0, max: 1, step: 0.05, value: 0.75 });
  heat.addEventListener("input", () => gallery.style.setProperty("--heat", heat.value));
  const count = element("p", { className: "note" });
  count.setAttribute("aria-live", "polite");
  const grid = element("div", { className: "grid" });
  const more = element("button", { className: "button more", type: "button", onclick: () => show(shown + PAGE) });
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
      element("span", { className: "words" }, name(picture.label), " → ", verdict(picture)));
  }

  function show(limit = PAGE) {
    shown = limit;
    const fits = pictures.filter((picture) => filters.every(([control, value]) =>
      control.select.value === "" || String(value(picture)) === control.select.value));
    const key = sort.select.value;
    if (key === "drop") fits.sort((a, b) => drop(b) - drop(a));
    if (key.startsWith("share:")) {
      const region = key.slice("share:".length);
      fits.sort((a, b) => (b.shares?.[region] ?? -1) - (a.shares?.[region] ?? -1));
    }
    grid.replaceChildren(...fits.slice(0, shown).map((picture) => tile(picture, fits)));
    const rest = leftOut ? `; ${leftOut} more are in the run folder` : "";
    count.textContent = `${fits.length} of ${pictures.length} pictures${rest}. True class → answer of the model.`;
    more.textContent = `Show ${Math.min(PAGE, fits.length - shown)} more`;
    more.hidden = fits.length <= shown;
  }

  gallery.replaceChildren(
    element("div", { className: "controls" }, ...filters.map(([control]) => control), sort),
    element("div", { className: "controls" }, view,
      element("label", {}, "Heat map strength", heat),
      element("label", { className: "check" }, outline, "Outline regions")),
    count, grid, more);
  show();

  // The page's filter sets the gallery's own; a class or subgroup without pictures shows none.
  document.addEventListener("report:filter", ({ detail }) => {
    const set = ({ select }, value) => {
      if (![...select.options].some((option) => option.value === value)) select.append(new Option(short(value), value));
      select.value = value;
    };
    set(filters[0][0], detail.class);
    attributes.forEach((name, i) => set(filters.slice(-attributes.length)[i][0], name === detail.attribute ? detail.subgroup : ""));
    set(sort, regions.includes(detail.region) ? `share:${detail.region}` : "");
    show();
  });
})();
