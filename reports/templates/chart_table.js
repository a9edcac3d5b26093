"use strict";
// The tables behind the charts, by row number: on hover, as CSV, as a table.
const chartTable = (() => {
  const MOST_ROWS = 500;
  const SAY = {
    percent,
    "signed percent": (value) => (percent(value).match(/^[1-9]|^0\./) ? "+" : "") + percent(value),
    ratio: (value) => `${Number(value.toPrecision(2))}×`,
    p: (value) => value < 0.001 ? "< 0.001" : value.toFixed(3),
    count: grouped,
    number: (value) => minus(String(Number(value.toPrecision(3)))),
  };

  const columnsOf = (chart) => data.tables[chart];
  const isText = (column) => "levels" in column;
  const valueOf = (column, row) => isText(column) ? column.levels[column.codes[row]] : column.values[row];
  const say = (column, row) => {
    const value = valueOf(column, row);
    if (isText(column)) return value;
    return value === null ? "–" : SAY[column.format](value);
  };
  const has = (chart, name) => columnsOf(chart).some((column) => column.name === name);
  const cell = (chart, name, row) => valueOf(columnsOf(chart).find((column) => column.name === name), row);

  // Plotly reads a few tags in texts of its own; what comes from the data is shown literally.
  function literal(text) {
    const lines = [...text].slice(0, 200).join("").match(/.{1,48}(?:\s|$)|.{1,48}/gu) ?? [""];
    const safe = lines.map((line) => line.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;"));
    return /[\u0590-\u08ff]/.test(text) ? safe.map((line) => `\u2068${line}\u2069`).join("<br>") : safe.join("<br>");
  }

  // "share 24 % (19 to 29 %)": columns X, X low and X high are told in one line.
  function hover(chart, row) {
    const columns = columnsOf(chart);
    const byName = new Map(columns.map((column) => [column.name, column]));
    const isEnd = ({ name }) => byName.has(name.replace(/ (low|high)$/, "")) && / (low|high)$/.test(name);
    return columns.filter((column) => !isEnd(column) && ![null, "", "*"].includes(valueOf(column, row)))
      .map((column) => {
        const low = byName.get(`${column.name} low`), high = byName.get(`${column.name} high`);
        const interval = low && valueOf(low, row) !== null ? ` (${say(low, row)} to ${say(high, row)})` : "";
        return `${column.name} <b>${literal(say(column, row))}</b>${interval}`;
      }).join("<br>");
  }

  // A text that a spreadsheet would run as a formula gets an apostrophe in front.
  function quoted(value) {
    const text = typeof value === "string" && /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : String(value ?? "");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  function csv(chart, rows) {
    const columns = columnsOf(chart);
    const lines = [columns.map((column) => column.name), ...rows.map((row) => columns.map((column) => valueOf(column, row)))];
    return lines.map((line) => `${line.map(quoted).join(",")}\r\n`).join("");
  }

  function view(chart, rows, title) {
    const columns = columnsOf(chart);
    const made = (row, column) => element("td", { className: isText(column) ? "" : "number" },
      isText(column) ? nameOf(say(column, row), 48) : say(column, row));
    const table = element("table", {},
      element("thead", {}, element("tr", {}, ...columns.map(({ name }) => element("th", { scope: "col", textContent: name })))),
      element("tbody", {}, ...rows.slice(0, MOST_ROWS).map((row) => element("tr", {}, ...columns.map((column) => made(row, column))))));
    const scroll = element("div", { className: "table-scroll", tabIndex: 0, role: "group", ariaLabel: `Table of ${title}` }, table);
    const rest = rows.length - MOST_ROWS;
    return rest > 0 ? [scroll, element("p", { className: "note", textContent: `${rest} more rows are in the CSV.` })] : [scroll];
  }

  return { has, cell, hover, csv, view };
})();
