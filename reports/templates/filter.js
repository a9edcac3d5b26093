"use strict";
// One choice of class, subgroup and region for all charts, maps and pictures. It is announced as
// "report:filter" and kept in the address, so that a link shows the same.
(() => {
  const bar = document.getElementById("filter");
  if (!bar) return;
  const START = "#filter?";
  const selects = Object.fromEntries([...bar.querySelectorAll("select")].map((one) => [one.name, one]));
  const clear = bar.querySelector("button");

  function chosen() {
    const { attribute = "", subgroup = "" } = selects.subgroup.selectedOptions[0]?.dataset ?? {};
    return { class: selects.class.value, attribute, subgroup, region: selects.region.value };
  }

  function announce() {
    const detail = chosen();
    clear.hidden = Object.values(detail).every((value) => value === "");
    document.dispatchEvent(new CustomEvent("report:filter", { detail }));
  }

  function restore() {
    if (!location.hash.startsWith(START)) return;
    const wanted = Object.fromEntries(new URLSearchParams(location.hash.slice(START.length)));
    for (const name of ["class", "region"]) {
      selects[name].value = wanted[name] ?? "";
      if (selects[name].selectedIndex < 0) selects[name].value = "";
    }
    const options = [...selects.subgroup.options];
    selects.subgroup.selectedIndex = Math.max(0, options.findIndex(({ dataset }) =>
      dataset.attribute === wanted.attribute && dataset.subgroup === (wanted.subgroup ?? "")));
    announce();
    bar.nextElementSibling.scrollIntoView({ behavior: "instant" }); // the bar itself may be stuck in view
  }

  function change() {
    announce();
    const set = Object.entries(chosen()).filter(([, value]) => value !== "");
    history.replaceState(null, "", set.length ? START + new URLSearchParams(set) : "#filter");
  }

  bar.addEventListener("change", change);
  clear.addEventListener("click", () => {
    Object.values(selects).forEach((select) => { select.selectedIndex = 0; });
    change();
    selects.class.focus(); // the button is gone
  });
  addEventListener("hashchange", restore);
  document.addEventListener("DOMContentLoaded", restore);
})();
