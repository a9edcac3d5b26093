"use strict";
const data = JSON.parse(document.getElementById("report-data").textContent);

// An element with properties and children; text always goes in as text.
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
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
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
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
