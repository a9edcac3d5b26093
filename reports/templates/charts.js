"use strict";
// Plotly travels compressed. It is inflated and run as an inline script that the policy knows.
(async () => {
  const packed = document.getElementById("report-plotly");
  if (!packed) return;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const config = { responsive: true, displayModeBar: false };
  const PAPER_WIDTH = 640; // pixels: fits into a chart's frame on A4 and on Letter
  let onPaper = false;
  const plots = [...document.querySelectorAll("[data-plot]")];

  if (!("DecompressionStream" in window)) {
    plots.forEach((plot) => { plot.textContent = "Charts need a browser of 2023 or later."; });
    return;
  }
  const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  document.head.append(element("script", { textContent: await new Response(stream).text() }));
  packed.remove();

  // Figures are drawn in light colours; in dark mode each is exchanged for its dark counterpart.
  function themed(node, key = "") {
    if (Array.isArray(node)) return node.map((item) => themed(item, key));
    if (node && typeof node === "object") {
      return Object.fromEntries(Object.entries(node).map(([name, item]) =>
        [name, themed(item, key === "colorscale" ? key : name)]));
    }
    return dark.matches && !onPaper && /color/.test(key) ? data.dark[node] ?? node : node;
  }

  function draw(plot) {
    const chart = plot.dataset.plot;
    const selects = [...document.querySelectorAll("select[data-chart]")];
    const key = selects.filter((one) => one.dataset.chart === chart).map((one) => one.value).join("-");
    const figure = data.charts[chart][key];
    if (!figure) {
      Plotly.purge(plot);
      plot.textContent = "No data for this choice.";
      return;
    }
    if (!plot.classList.contains("js-plotly-plot")) plot.textContent = "";
    const { data: traces, layout } = themed(figure);
    layout.font.family = getComputedStyle(document.body).fontFamily;
    plot.style.height = `${layout.height}px`; // resizing the window asks the element, not the layout
    if (onPaper) Object.assign(layout, { autosize: false, width: PAPER_WIDTH });
    Plotly.react(plot, traces, layout, config);
  }

  document.addEventListener("change", (event) => {
    const chart = event.target.dataset.chart;
    if (chart) plots.filter((plot) => plot.dataset.plot === chart).forEach(draw);
  });
  function print(onto) {
    onPaper = onto;
    plots.forEach((plot) => { Plotly.purge(plot); draw(plot); }); // else it keeps the last width
  }
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  dark.addEventListener("change", () => plots.forEach(draw));
  for (const plot of plots) {
    draw(plot);
    await new Promise((resolve) => setTimeout(resolve));
  }
  document.documentElement.dataset.charts = "ready";
})();
