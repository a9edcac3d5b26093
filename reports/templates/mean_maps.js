"use strict";
// Mean maps: one small canvas per class and subgroup, on one colour scale.
(() => {
  const place = document.getElementById("mean-maps");
  if (!place) return;
  const { classes, gaps, attributes, frames, outlines, least, heat, below, above } =
    JSON.parse(document.getElementById("mean-maps-data").textContent);
  const ROWS = 12; // classes shown together
  const FINE = 5; // pixels of a canvas per place of a map
  const MISSING = 255;
  const times = (value) => `${minus(value.toFixed(value < 9.95 ? 1 : 0))}×`;

  const subgroups = choice("Subgroups by", attributes.slice(1).map((one, i) => [one.name, i + 1]), show);
  const frame = choice("Frame", frames.map((one, i) =>
    [one.region === null ? "whole picture" : `aligned on ${one.region}`, i]), show);
  const against = choice("Show", [["mean maps", ""]], show);
  const rows = choice("Classes", Array.from({ length: Math.ceil(classes.length / ROWS) }, (_, i) =>
    [`${i * ROWS + 1} to ${Math.min(classes.length, (i + 1) * ROWS)} of ${classes.length}`, i]), show);
  const outline = choice("Outline", [...outlines.map((one, i) => [one.region, i]), ["none", ""]], show);
  const body = element("div");
  const legend = element("div", { className: "map-legend" });
  let filter = {};

  // Numbers of a map in multiples of an even spread; NaN outside the picture.
  const decoded = new Map();
  function numbers(content, peak) {
    const key = `${peak} ${content}`;
    if (!decoded.has(key)) {
      decoded.set(key, Float32Array.from(atob(content), (letter) => {
        const byte = letter.charCodeAt(0);
        return byte === MISSING ? NaN : (byte / (MISSING - 1)) ** 2 * peak;
      }));
    }
    return decoded.get(key);
  }

  const mix = (a, b, t) => a.map((value, i) => value + t * (b[i] - value));
  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const cold = rgb(below), warm = rgb(above);
  function colour(value, limit, signed) {
    if (Number.isNaN(value)) return [0, 0, 0, 0];
    const t = Math.max(-1, Math.min(1, value / limit));
    if (signed) return [...(t < 0 ? cold : warm), 255 * Math.abs(t)];
    const at = Math.sqrt(Math.max(0, t)) * (heat.length - 1); // weak attention stays visible
    const from = Math.min(Math.floor(at), heat.length - 2);
    return [...mix(heat[from], heat[from + 1], at - from), 255];
  }

  // A map at FINE times its size; between the middles of its places values change linearly.
  function refined(values, [height, width]) {
    const between = (at, count) => {
      const clipped = Math.max(0, Math.min(count - 1, (at + 0.5) / FINE - 0.5));
      const low = Math.min(Math.floor(clipped), Math.max(0, count - 2));
      return [low, Math.min(low + 1, count - 1), clipped - low];
    };
    const across = Array.from({ length: width * FINE }, (_, x) => between(x, width));
    const line = (row, [left, right, part]) => values[row * width + left] * (1 - part) + values[row * width + right] * part;
    return Array.from({ length: height * FINE }, (_, y) => {
      const [top, bottom, part] = between(y, height);
      return across.map((at) => line(top, at) * (1 - part) + line(bottom, at) * part);
    });
  }

  function picture(values, size, region, limit, signed) {
    const lines = refined(values, size);
    const canvas = element("canvas", { width: size[1] * FINE, height: size[0] * FINE });
    const drawing = canvas.getContext("2d");
    const image = drawing.createImageData(canvas.width, canvas.height);
    const half = region && Math.max(...region) / 2;
    const inside = region && refined(region, size).map((line) => line.map((value) => value > half));
    lines.forEach((line, y) => line.forEach((value, x) => {
      const edge = inside && (inside[y][x] !== (inside[y + 1]?.[x] ?? inside[y][x]) || inside[y][x] !== (inside[y][x + 1] ?? inside[y][x]));
      image.data.set(edge ? [...(signed ? [128, 128, 128] : [255, 255, 255]), 230] : colour(value, limit, signed), 4 * (y * canvas.width + x));
    }));
    drawing.putImageData(image, 0, 0);
    return canvas;
  }

  function where(values, [height, width]) {
    const known = [...values].map((value) => Number.isNaN(value) ? -Infinity : value);
    const at = known.indexOf(Math.max(...known));
    const third = (place, count) => Math.min(2, Math.floor(3 * (place + 0.5) / count));
    return `${["upper", "middle", "lower"][third(Math.floor(at / width), height)]} ${
      ["left", "centre", "right"][third(at % width, width)]}`;
  }

  function tile(shown, { size, region }, label, traced, limit, signed) {
    const { level, cell, values } = shown;
    const [n, clusters, dead, absent] = cell;
    const left = [dead ? `${grouped(dead)} dead` : "", absent ? `${grouped(absent)} without ${short(region, 20)}` : ""]
      .filter(Boolean).join(", ");
    const box = element("div", { className: "mean-map" });
    box.style.aspectRatio = `${size[1]} / ${size[0]}`;
    if (values) {
      const canvas = picture(values, size, traced, limit, signed);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${signed ? "Difference of mean attention" : "Mean attention"}, ${short(label)}, `
        + `${short(level)}: highest ${times(Math.max(...[...values].filter((value) => !Number.isNaN(value))))} at the ${where(values, size)}`);
      box.append(canvas);
      if (region !== null) box.append(element("span", { className: "box" }));
    } else {
      box.classList.add("small");
      box.append(element("span", { textContent: clusters < least ? `too few: ${clusters} of ${least}` : "no map to compare" }));
    }
    return element("figure", {}, box, element("figcaption", {}, nameOf(level), element("small", { textContent:
      ` ${plural(n, "map")}${clusters === n ? "" : `, ${grouped(clusters)} independent`}${left ? `; left out: ${left}` : ""}` })));
  }

  function cellsOf(of, attribute, row) {
    const take = (which) => attributes[which].levels.map((level, k) => ({ level, cell: of.cells[which][row][k] }));
    return [...take(0), ...(attribute ? take(attribute) : [])].filter(({ cell }) => cell)
      .map((one) => ({ ...one, values: one.cell[4] && numbers(one.cell[4], of.peak) }));
  }

  function offerReferences(attribute) {
    const kept = against.select.value;
    const levels = attribute ? attributes[attribute].levels : [];
    const options = [["mean maps", ""], ...levels.map((level, k) => [`difference from ${short(level, 24)}`, k])];
    against.select.replaceChildren(...options.map(([text, value]) => new Option(text, value)));
    against.select.value = kept in levels ? kept : "";
    against.hidden = levels.length < 2;
  }

  function show() {
    const attribute = Number(subgroups.select.value) || 0;
    offerReferences(attribute);
    const of = frames[Number(frame.select.value)];
    const signed = against.select.value !== "";
    const reference = signed ? attributes[attribute].levels[against.select.value] : null;
    const first = Number(rows.select.value) * ROWS;
    rows.hidden = Boolean(filter.class) || classes.length <= ROWS;
    const numbered = classes.map((label, i) => ({ label, i, gap: gaps[i] }));
    const asked = filter.class ? numbered.filter(({ label }) => label === filter.class) : numbered.slice(first, first + ROWS);
    const one = filter.attribute === attributes[attribute].name && filter.subgroup;
    const lines = asked.map((line) => {
      const cells = cellsOf(of, attribute, line.i);
      if (!signed) return { ...line, cells: cells.filter(({ level }, k) => !one || k === 0 || level === one) };
      const base = cells.find(({ level }, k) => k > 0 && level === reference)?.values;
      const compared = cells.slice(1).filter(({ level }) => level !== reference && (!one || level === one))
        .map((cell) => ({ ...cell, values: cell.values && base && cell.values.map((value, k) => value - base[k]) }));
      return { ...line, cells: compared };
    });
    const whole = of.region === null;
    outline.hidden = !whole || !outlines.length;
    const drawn = whole && outline.select.value !== "" ? outlines[outline.select.value] : null;
    const traced = (i) => drawn?.maps[i] ? numbers(drawn.maps[i], 1) : null;
    const spread = lines.flatMap(({ cells }) => cells.flatMap(({ values }) => [...values ?? []]))
      .filter((value) => !Number.isNaN(value)).map(Math.abs);
    const limit = spread.reduce((a, b) => Math.max(a, b), signed ? 0.5 : 1);
    body.className = lines.every(({ cells }) => cells.length <= 3) ? "mean-rows paired" : "mean-rows";
    if (!lines.some(({ cells }) => cells.length)) {
      body.replaceChildren(element("p", { className: "empty", textContent: "No mean map passes the filter." }));
    } else body.replaceChildren(...lines.map(({ label, i, gap, cells }) => element("div", { className: "mean-row" },
      element("h3", {}, nameOf(label), gap === null ? null : element("small", { textContent:
        ` accuracy differs by up to ${Math.round(100 * gap)} points between two subgroups` })),
      element("div", { className: "mean-cells" }, ...cells.map((one) => tile(one, of, label, traced(i), limit, signed))))));
    const bar = element("span", { className: "ramp" });
    bar.style.background = signed
      ? `linear-gradient(to right, ${below}, transparent, ${above})`
      : `linear-gradient(to right, ${heat.map((stop) => `rgb(${stop})`).join(", ")})`;
    const other = signed && nameOf(reference);
    legend.replaceChildren(element("span", { textContent: signed ? times(-limit) : "0" }), bar,
      ...signed ? [element("span", {}, `+${times(limit)}, in multiples of an even spread; blue: less than `, other, ", orange: more")]
        : [element("span", { textContent: `${times(limit)} an even spread (middle of the scale: ${times(limit / 4)})` })],
      whole ? drawn ? element("span", {}, "· line: where ", nameOf(drawn.region), " lies most often in the class") : ""
        : element("span", {}, "· dashed: the box of ", nameOf(of.region)));
  }

  place.replaceChildren(element("div", { className: "controls" }, subgroups, frame, outline, against, rows), legend, body);
  show();

  document.addEventListener("report:filter", ({ detail }) => {
    filter = detail;
    const set = ({ select }, found) => { if (found >= 0) select.value = found; };
    set(subgroups, detail.attribute ? attributes.findIndex((one) => one.name === detail.attribute) : -1);
    set(outline, outlines.findIndex((one) => one.region === detail.region));
    show();
  });
})();
