"use strict";
// Marks on findings: made in the page, kept by the browser, exported as a review and as waivers.
(() => {
  const bar = document.getElementById("review");
  if (!bar) return;
  const { run, findings, lasts } = data.review;
  const KIND = "cuecheck review";
  const KEY = `${KIND} ${run.audit} ${run.id} ${run.files["findings.json"]}`;
  const MARKS = { agree: "agree", dispute: "dispute", waive: "waive (accept for a time)" };
  const DONE = { agree: "✓ agreed", dispute: "✕ disputed", waive: "waiver" };
  const TEXTS = ["note", "reason", "owner", "created", "expires", "max_effect"];
  const marks = new Map(); // fingerprint: { mark, and texts as typed }
  const day = (ahead = 0) => new Date(Date.now() + ahead * 86_400_000).toISOString().slice(0, 10);
  const places = [...document.querySelectorAll(".review")];
  const fingerprintOf = (place) => place.dataset.fingerprint;

  // What the gate would refuse, in words, by field.
  const limit = (mark) => Number((Number(mark.max_effect) / 100).toFixed(6));
  const FAULTS = {
    reason: (mark) => mark.reason.trim() ? "" : "Say why this is accepted.",
    owner: (mark) => mark.owner.trim() ? "" : "Name who answers for it.",
    expires: (mark) => {
      if (!/^\d{4}-\d\d-\d\d$/.test(mark.expires)) return "Give the last day of the waiver.";
      return mark.expires < day() ? "This day is over; choose today or a later one." : "";
    },
    max_effect: (mark, { largest }) => {
      const covers = mark.max_effect !== "" && limit(mark) >= 0 && limit(mark) <= 1;
      if (!covers) return "Give a number from 0 to 100.";
      const seen = Math.ceil(1000 * largest) / 10;
      return limit(mark) < largest ? `The effect is up to ${seen}\u202f%; a waiver that covers less is void.` : "";
    },
  };
  const faultsOf = (fingerprint) => Object.keys(FAULTS)
    .filter((field) => FAULTS[field](marks.get(fingerprint), findings[fingerprint]));

  // One finding: the choice, a note, and what a waiver needs.
  function fieldset(place) {
    const fingerprint = fingerprintOf(place);
    const finding = findings[fingerprint];
    const mark = () => marks.get(fingerprint) ?? {};
    const choose = (chosen) => {
      if (chosen) marks.set(fingerprint, { ...fresh(finding), ...mark(), mark: chosen });
      else marks.delete(fingerprint);
      changed();
      draw(place);
      place.querySelector("input:checked").focus();
    };
    const radio = (value, label) => element("label", {}, element("input", { type: "radio",
      name: `mark-${fingerprint}`, checked: (mark().mark ?? "") === value, onchange: () => choose(value) }), label);
    const complain = (input, field) => {
      const fault = FAULTS[field]?.(mark(), finding) ?? "";
      input.setAttribute("aria-invalid", String(fault !== ""));
      input.parentElement.querySelector(".complaint").textContent = fault;
    };
    const field = (key, label, tag, properties = {}) => {
      const input = element(tag, { value: mark()[key], ...properties });
      input.dataset.field = key;
      input.addEventListener("input", () => { mark()[key] = input.value; changed(); });
      input.addEventListener("change", () => complain(input, key));
      input.complain = () => complain(input, key);
      return element("label", { className: tag === "textarea" ? "field wide" : "field" }, label, input,
        element("span", { className: "complaint", role: "status" }));
    };
    const waives = mark().mark === "waive";
    return element("fieldset", {}, element("legend", { textContent: "Your mark" }),
      element("div", { className: "choices" }, radio("", "none yet"),
        ...Object.entries(MARKS).filter(([value]) => value !== "waive" || finding.waivable)
          .map(([value, label]) => radio(value, label))),
      mark().mark ? field("note", "Note (for the review; optional)", "textarea", { rows: 2 }) : null,
      waives ? element("div", { className: "waiver" },
        field("reason", "Reason (goes into the verdict's text)", "textarea", { rows: 2 }),
        field("owner", "Owner", "input", { type: "text" }),
        field("expires", "Last day (UTC)", "input", { type: "date", min: day(), max: "9999-12-31" }),
        field("max_effect", "Largest effect accepted (%)", "input", { type: "number", min: 0, max: 100, step: "any" }),
        element("p", { className: "note",
          textContent: "An audit that shows a larger effect, or comes later, is blocked again." })) : null);
  }

  function fresh(finding) {
    return { note: "", reason: "", owner: reviewer.value, created: day(), expires: day(lasts),
      max_effect: String(Math.round(100 * finding.suggested)) };
  }

  function draw(place) {
    place.replaceChildren(fieldset(place));
  }

  // The bar: who reviews, how far it is, and the files.
  const reviewer = element("input", { type: "text", id: "reviewer", oninput: () => changed() });
  const count = element("p", { role: "status" });
  const message = element("p", { role: "status", className: "note" });
  const importer = element("input", { type: "file", accept: ".json,application/json", ariaLabel: "Import review" });
  const button = (textContent, onclick) => element("button", { className: "button", type: "button", textContent, onclick });
  const say = (text, bad = false) => {
    message.textContent = text;
    message.className = bad ? "complaint" : "note";
  };

  function changed() {
    say("");
    refresh();
    try {
      localStorage.setItem(KEY, JSON.stringify(asReview()));
    } catch {
      say("This browser does not keep your marks: export the review before you close the page.");
    }
  }

  function refresh() {
    const number = (chosen) => [...marks.values()].filter(({ mark }) => mark === chosen).length;
    const told = Object.keys(MARKS).filter(number).map((chosen) => `${number(chosen)} ${chosen}`).join(", ");
    count.textContent = `${marks.size} of ${plural(places.length, "finding")} marked${told ? `: ${told}` : ""}.`;
    next.disabled = marks.size === places.length;
    for (const place of places) {
      const mark = marks.get(fingerprintOf(place))?.mark;
      const title = place.closest("details").querySelector(".finding-name");
      title.querySelector(".mark")?.remove();
      if (mark) title.append(element("span", { className: `mark is-${mark}`, textContent: DONE[mark] }));
      if (mark) place.dataset.mark = mark;
      else delete place.dataset.mark;
    }
  }

  function openAt(place) {
    place.closest("details").open = true;
    draw(place);
    place.scrollIntoView({ block: "center" });
  }

  const next = button("Next unmarked", () => {
    const place = places.find((one) => !marks.has(fingerprintOf(one)));
    openAt(place);
    place.querySelector("input:checked").focus();
  });

  // Files.
  function asReview() {
    return { kind: KIND, version: 1, run, reviewer: reviewer.value, date: new Date().toISOString(),
      marks: [...marks].map(([fingerprint, { mark, note, ...waiver }]) => {
        const { name, status } = findings[fingerprint];
        return { fingerprint, finding: name, status, mark, note, ...(mark === "waive" ? waiver : {}) };
      }) };
  }

  function exportReview() {
    if (!reviewer.value.trim()) {
      say("Give the reviewer's name first.", true);
      reviewer.focus();
      return;
    }
    saveFile(`review-${run.id}.json`, "application/json", `${JSON.stringify(asReview(), null, 2)}\n`);
    say(`Exported ${plural(marks.size, "mark")}.`);
  }

  // A YAML string: JSON's are, but for characters that YAML 1.1 does not allow or takes for a line
  // break, and those that turn the direction of writing. The gate's reader expands ${NAME}.
  const UNSEEN = /[\u007f-\u00a0\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]/g;
  function quoted(text) {
    const whole = text.replace(/\p{Surrogate}/gu, "\ufffd").split("${").join("$${");
    return JSON.stringify(whole).replace(UNSEEN, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
  }

  function asWaivers(waived) {
    return [`# Waivers of the review of run ${quoted(run.id)} by ${quoted(reviewer.value)}.`,
      "# cuecheck gate RUN --waivers FILE", "waivers:",
      ...waived.flatMap(([fingerprint, mark]) => [
        `  - fingerprint: ${quoted(fingerprint)}`,
        `    finding: ${quoted(findings[fingerprint].name)}`,
        `    reason: ${quoted(mark.reason)}`,
        `    owner: ${quoted(mark.owner)}`,
        `    created: ${mark.created}`,
        `    expires: ${mark.expires}`,
        `    max_effect: ${limit(mark)}`])].join("\n") + "\n";
  }

  function exportWaivers() {
    const waived = [...marks].filter(([, { mark }]) => mark === "waive");
    const faulty = places.filter((place) => marks.get(fingerprintOf(place))?.mark === "waive"
      && faultsOf(fingerprintOf(place)).length);
    if (!waived.length) {
      say("No finding is marked as waived.", true);
    } else if (faulty.length) {
      faulty.reverse().forEach((place) => { // the first one last, so that it is in view
        openAt(place);
        place.querySelectorAll("[data-field]").forEach((input) => input.complain());
      });
      faulty.at(-1).querySelector("[aria-invalid='true']").focus();
      say(`${plural(faulty.length, "waiver")} must be completed first: see the marks in red.`, true);
    } else {
      saveFile(`waivers-${run.id}.yaml`, "application/yaml", asWaivers(waived));
      const lost = places.map(fingerprintOf)
        .filter((one) => findings[one].status === "WAIVED" && marks.get(one)?.mark !== "waive");
      const warning = " The file stands instead of the waivers that this run was judged with, "
        + `and lacks ${lost.length} of them: mark as waived what shall stay so.`;
      say(`Exported ${plural(waived.length, "waiver")}.${lost.length ? warning : ""}`);
    }
  }

  // Takes marks over from a review of this very run; returns how many.
  function take(review) {
    if (review?.kind !== KIND || !Array.isArray(review.marks)) {
      throw new Error("This file is not an exported review.");
    }
    if (review.run?.files?.["findings.json"] !== run.files["findings.json"]) {
      throw new Error("This review is of another run, with other findings.");
    }
    const known = review.marks.filter((one) => Object.hasOwn(findings, one?.fingerprint)
      && Object.hasOwn(MARKS, one.mark) && (one.mark !== "waive" || findings[one.fingerprint].waivable));
    for (const one of known) {
      const texts = TEXTS.filter((key) => typeof one[key] === "string").map((key) => [key, one[key]]);
      marks.set(one.fingerprint, { ...fresh(findings[one.fingerprint]), ...Object.fromEntries(texts), mark: one.mark });
    }
    if (typeof review.reviewer === "string") reviewer.value = review.reviewer;
    places.filter((place) => place.firstChild).forEach(draw);
    return known.length;
  }

  importer.addEventListener("change", async () => {
    const [file] = importer.files;
    if (!file) return;
    const text = await file.text();
    importer.value = "";
    try {
      const taken = take(JSON.parse(text));
      changed();
      say(`Took over ${plural(taken, "mark")}.`);
    } catch (error) {
      say(error instanceof SyntaxError ? "This file is not JSON." : error.message, true);
    }
  });

  bar.append(count, element("div", { className: "controls" },
    element("label", {}, "Reviewer", reviewer), next,
    button("Export waivers", exportWaivers), button("Export review", exportReview),
    element("label", { className: "button file" }, "Import review", importer)), message);
  try {
    const kept = localStorage.getItem(KEY);
    if (kept) take(JSON.parse(kept));
  } catch { /* no storage, or nothing of ours in it: the review starts empty */ }
  refresh();

  // Hundreds of findings may be there: each form is made when its finding is opened.
  document.addEventListener("toggle", ({ target }) => {
    const place = target.querySelector?.(".review");
    if (place && target.open && !place.firstChild) draw(place);
  }, true);
  places.filter((place) => place.closest("details").open).forEach(draw);
  addEventListener("beforeprint", () => places.filter((place) => place.dataset.mark).forEach(draw));
})();
