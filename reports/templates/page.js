"use strict";
const data = JSON.parse(document.getElementById("report-data").textContent);

// An element with properties and children; text always goes in as text.
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Names come from the data: of any length and direction.
function short(text, limit = 40) {
  const letters = [...String(text)];
  return letters.length > limit ? `${letters.slice(0, limit - 1).join("")}…` : String(text);
}
const nameOf = (text, limit) => element("bdi", { className: "name", title: text, textContent: short(text, limit) });

// Numbers, written as in the rest of the page.
const THIN = "\u202f";
const minus = (text) => text.replace("-", "\u2212");
const grouped = (number) => number.toLocaleString("en").replaceAll(",", THIN);
const plural = (number, word) => `${grouped(number)} ${word}${number === 1 ? "" : "s"}`;
function percent(value) {
  if (!Number.isFinite(value)) return "–";
  const points = 100 * value;
  const digits = Math.abs(points) >= 9.95 || Math.abs(points) < 0.05 ? 0 : 1;
  const text = points.toFixed(digits);
  return minus(Number(text) === 0 ? "0" : text) + THIN + "%";
}
const interval = (low, high) => `${percent(low).replace(`${THIN}%`, "")} to ${percent(high)}`;

// A labelled selector of [text, value]; it hides where there is nothing to choose.
function choice(label, options, onchange) {
  const select = element("select", { onchange });
  select.append(...options.map(([text, value]) => new Option(short(text), value)));
  const made = element("label", { hidden: options.length < 2 }, short(label), select);
  made.select = select;
  return made;
}

// Hands something to the reader as a file.
const download = (href, name) => element("a", { href, download: name.replace(/[^\w.-]+/g, "_") }).click();
function saveFile(name, type, ...parts) {
  const href = URL.createObjectURL(new Blob(parts, { type }));
  download(href, name);
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

// Explanations of terms, on hover and on focus, kept inside the window.
(() => {
  const tip = document.getElementById("tip");
  const show = (term) => {
    tip.textContent = term.dataset.tip;
    (term.closest("dialog") || document.body).append(tip);
    tip.hidden = false;
    term.setAttribute("aria-describedby", "tip");
    const at = term.getBoundingClientRect();
    const left = Math.min(at.left, innerWidth - tip.offsetWidth - 12);
    const above = at.top - tip.offsetHeight - 8;
    tip.style.left = `${Math.max(12, left)}px`;
    tip.style.top = `${above > 0 ? above : at.bottom + 8}px`;
  };
  const hide = () => { tip.hidden = true; };
  const on = (type, act) => document.addEventListener(type, (event) => {
    const term = event.target.closest?.(".term");
    if (term) act(term);
  });
  on("pointerover", show);
  on("pointerout", hide);
  on("focusin", show);
  on("focusout", hide);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", hide, { passive: true });
})();

// The bar marks the section in view.
(() => {
  const links = new Map();
  for (const link of document.querySelectorAll(".bar-links a")) links.set(link.hash.slice(1), link);
  const watch = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const link = links.get(target.id);
      if (isIntersecting) link?.setAttribute("aria-current", "true");
      else link?.removeAttribute("aria-current");
    }
  }, { rootMargin: "-30% 0px -65% 0px" });
  document.querySelectorAll("main > section").forEach((section) => watch.observe(section));
})();

// A link to a finding opens it; paper shows everything.
function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", openTarget);
openTarget();
(() => {
  let opened = [];
  const turn = (open) => opened.forEach((details) => { details.open = open; });
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open], .chart-table)")];
    turn(true);
  });
  addEventListener("afterprint", () => turn(false));
})();
