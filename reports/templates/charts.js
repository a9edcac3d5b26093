"use strict";
// Plotly travels compressed. It is inflated and run as an inline script that the policy knows.
(async () => {
  const packed = document.getElementById("report-plotly");
  if (!packed) return;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const config = { responsive: true, displayModeBar: false };
  const MOST_ROWS = 60; // drawn at first; more are slow to draw and to read
  const plots = [...document.querySelectorAll("[data-plot]")];
  const pending = new Set(plots);
  const shown = new Map(); // plot: row numbers of its table
  let filter = {};
  let drawing = false;
  const PAPER_WIDTH = 640; // pixels: fits into a chart's frame on A4 and on Letter
  let onPaper = false;

  // Figures are drawn in light colours; in dark mode each is exchanged for its dark counterpart.
  function themed(node, key = "") {
    if (Array.isArray(node)) return node.map((item) => themed(item, key));
    if (node && typeof node === "object") {
      return Object.fromEntries(Object.entries(node).map(([name, item]) =>
        [name, themed(item, key === "colorscale" ? key : name)]));
    }
    return dark.matches && !onPaper && /color/.test(key) ? data.dark[node] ?? node : node;
  }

  const selectsOf = (chart) => [...document.querySelectorAll("select[data-chart]")].filter((one) => one.dataset.chart === chart);

  // Which rows of the table the filter lets through; what it cannot be asked is left as it is.
  function filterOf(chart) {
    const set = ["class", "subgroup", "region"].filter((name) => filter[name]);
    const asked = set.filter((name) => chartTable.has(chart, name));
    if (asked.includes("subgroup")) asked.push("attribute");
    return {
      passes: (row) => row !== null && asked.every((name) => chartTable.cell(chart, name, row) === filter[name]),
      ignored: [...set, ...(filter.attribute && !filter.subgroup ? ["subgroup"] : [])]
        .filter((name) => !chartTable.has(chart, name)),
    };
  }

  // The part of a figure that passes: rows that are left move together, and the height follows.
  function narrowed({ data: traces, layout }, passes, most) {
    if (!layout.meta?.row) return { data: traces, layout, left: 0 };
    const isGrid = (trace) => trace.type === "heatmap";
    const rows = new Set(), columns = new Set();
    for (const trace of traces) {
      trace.customdata.forEach((cells, i) => {
        const passing = isGrid(trace) ? cells.flatMap((row, x) => passes(row) ? [x] : []) : passes(cells) ? [0] : [];
        if (passing.length) rows.add(Math.round(trace.y[i]));
        passing.forEach((x) => columns.add(x));
      });
    }
    const ordered = [...rows].sort((a, b) => a - b);
    const kept = ordered.slice(0, most);
    const place = new Map(kept.map((row, i) => [row, i]));
    const across = [...columns].sort((a, b) => a - b);

    const cut = (trace) => {
      if (isGrid(trace)) {
        const grid = (cells) => kept.map((y) => across.map((x) => cells[y][x]));
        return { ...trace, x: across.map((_, i) => i), y: kept.map((_, i) => i),
          z: grid(trace.z), text: grid(trace.text), customdata: grid(trace.customdata) };
      }
      const points = trace.customdata.flatMap((row, i) => passes(row) && place.has(Math.round(trace.y[i])) ? [i] : []);
      const pick = (values) => Array.isArray(values) ? points.map((i) => values[i]) : values;
      const y = pick(trace.y).map((at) => place.get(Math.round(at)) + at - Math.round(at));
      const marker = { ...trace.marker, opacity: pick(trace.marker.opacity) };
      const bars = trace.error_x && { ...trace.error_x, array: pick(trace.error_x.array), arrayminus: pick(trace.error_x.arrayminus) };
      return { ...trace, x: pick(trace.x), y, text: pick(trace.text), customdata: pick(trace.customdata), marker,
        ...(bars && { error_x: bars }) };
    };
    const axis = ({ ticktext, ...rest }, at, more) => ({ ...rest, ticktext: at.map((i) => ticktext[i]), tickvals: at.map((_, i) => i), ...more });
    const rules = (layout.shapes ?? []).filter((shape) => shape.xref === "paper").slice(0, Math.max(0, kept.length - 1));
    const filled = (trace) => isGrid(trace) ? trace.customdata.flat().some((row) => row !== null) : trace.customdata.length;
    return {
      data: traces.map(cut).filter(filled),
      left: ordered.length - kept.length,
      layout: {
        ...layout,
        height: layout.height - layout.meta.row * (layout.yaxis.ticktext.length - kept.length),
        yaxis: axis(layout.yaxis, kept, { range: [kept.length - 0.5, -0.5] }),
        xaxis: traces.some(isGrid) ? axis(layout.xaxis, across, { range: [-0.5, across.length - 0.5] }) : layout.xaxis,
        shapes: [...rules, ...(layout.shapes ?? []).filter((shape) => shape.xref !== "paper")],
      },
    };
  }

  function prepared(plot, figure) {
    const chart = plot.dataset.plot;
    if (!data.tables?.[chart]) return figure;
    const { passes, ignored } = filterOf(chart);
    const { data: traces, layout, left } = narrowed(figure, passes, plot.dataset.all ? Infinity : MOST_ROWS);
    // All rows that pass, drawn or not: what is too many to draw is still in the table.
    const rows = figure.data.flatMap((trace) => trace.customdata.flat()).filter(passes);
    shown.set(plot, [...new Set(rows)].sort((a, b) => a - b));
    explain(plot, ignored, left);
    const hover = (row) => Array.isArray(row) ? row.map(hover) : row === null ? "" : chartTable.hover(chart, row);
    return { data: traces.map((trace) => ({ ...trace, customdata: trace.customdata.map(hover) })), layout };
  }

  function explain(plot, ignored, left) {
    const note = plot.closest("figure").querySelector(".chart-note");
    note.replaceChildren(ignored.length ? `Not split by ${ignored.join(" or ")}; this chart shows all. ` : "");
    if (left) {
      note.append(`${left} more rows are not drawn; choose a class or region above, or `, element("button",
        { type: "button", className: "button", textContent: "draw all", onclick: () => {
          plot.dataset.all = "true";
          draw(plot);
          plot.parentElement.focus(); // the button is gone
        } }));
    }
    note.hidden = !note.childNodes.length || !note.textContent;
  }

  function draw(plot) {
    pending.delete(plot);
    const chart = plot.dataset.plot;
    const key = selectsOf(chart).map((one) => one.value).join("-");
    const figure = data.charts[chart][key];
    shown.set(plot, []);
    const { data: traces, layout } = figure ? themed(prepared(plot, figure)) : { data: [] };
    if (!traces.length) {
      if (plot.classList.contains("js-plotly-plot")) Plotly.purge(plot);
      plot.classList.remove("js-plotly-plot"); // which purge leaves
      plot.style.height = "";
      plot.textContent = figure ? "Nothing here passes the filter." : "No data for this choice.";
    } else {
      if (!plot.classList.contains("js-plotly-plot")) plot.textContent = "";
      layout.font.family = layout.hoverlabel.font.family = getComputedStyle(document.body).fontFamily;
      plot.style.height = `${layout.height}px`; // resizing the window asks the element, not the layout
      if (onPaper) Object.assign(layout, { autosize: false, width: PAPER_WIDTH });
      Plotly.react(plot, traces, layout, config);
    }
    const table = plot.closest("figure").querySelector(".chart-table");
    if (table) fill(table);
  }

  // Charts in view are drawn at once, the others while the page is idle, the nearest first.
  const distance = (plot) => {
    const { top, bottom } = plot.getBoundingClientRect();
    return Math.max(0, top - innerHeight, -bottom);
  };
  const idle = () => new Promise((resolve) => {
    if ("requestIdleCallback" in window) requestIdleCallback(resolve, { timeout: 500 });
    else setTimeout(resolve);
  });
  async function drawPending() {
    if (drawing) return;
    drawing = true;
    document.documentElement.dataset.charts = "drawing";
    while (pending.size) {
      const nearest = [...pending].reduce((best, plot) => distance(plot) < distance(best) ? plot : best);
      if (distance(nearest) > 0) {
        performance.mark("report:interactive");
        await idle();
      }
      if (pending.has(nearest)) draw(nearest);
    }
    performance.mark("report:interactive");
    document.documentElement.dataset.charts = "ready";
    drawing = false;
  }

  function redraw() {
    plots.forEach((plot) => pending.add(plot));
    if (window.Plotly) drawPending();
  }

  document.addEventListener("report:filter", ({ detail }) => {
    filter = detail;
    for (const select of detail.attribute ? document.querySelectorAll("select[data-chart]") : []) {
      const option = select.dataset.choice === "Subgroups by" &&
        [...select.options].find((one) => one.dataset.name === detail.attribute);
      if (option) select.value = option.value;
    }
    redraw();
  });
  document.addEventListener("change", (event) => {
    const chart = event.target.dataset.chart;
    if (chart && window.Plotly) plots.filter((plot) => plot.dataset.plot === chart).forEach(draw);
  });
  dark.addEventListener("change", redraw);
  function print(onto) {
    onPaper = onto;
    if (!window.Plotly) return;
    plots.forEach((plot) => {
      Plotly.purge(plot); // else it keeps the last width
      draw(plot);
    });
  }
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));

  // The table of a chart, when it is asked for.
  const plotOf = (part) => part.closest("figure").querySelector("[data-plot]");
  const titleOf = (plot) => plot.closest("figure").querySelector("h3").textContent;
  function fill(table) {
    const plot = plotOf(table);
    const rows = shown.get(plot) ?? [];
    table.replaceChildren(table.firstElementChild,
      ...(table.open ? chartTable.view(plot.dataset.plot, rows, titleOf(plot)) : []));
  }
  document.querySelectorAll(".chart-table").forEach((table) => table.addEventListener("toggle", () => fill(table)));

  async function save(plot, format) {
    const name = `${plot.dataset.plot}.${format}`;
    if (format === "csv") {
      // The mark at the start tells spreadsheets that names are UTF-8.
      saveFile(name, "text/csv", "\ufeff", chartTable.csv(plot.dataset.plot, shown.get(plot) ?? []));
    } else if (plot.data) {
      const paper = getComputedStyle(document.documentElement).getPropertyValue("--surface").trim();
      const layout = { ...plot.layout, paper_bgcolor: paper };
      const size = { width: Math.max(900, plot.clientWidth), height: plot.layout.height, scale: format === "png" ? 2 : 1 };
      download(await Plotly.toImage({ data: plot.data, layout }, { format, ...size }), name);
    }
  }
  document.querySelectorAll("[data-export]").forEach((button) =>
    button.addEventListener("click", () => save(plotOf(button), button.dataset.export)));

  if (!("DecompressionStream" in window)) {
    plots.forEach((plot) => { plot.textContent = "Charts need a browser of 2023 or later."; });
    return;
  }
  const letters = atob(packed.textContent);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i); // a callback is slower
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  document.head.append(element("script", { textContent: await new Response(stream).text() }));
  packed.remove();
  await drawPending();
})();
