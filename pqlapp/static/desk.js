// Single keys for the desk, and dialogs over the queue. Without this script every page still works.

const typing = (element) =>
  element.isContentEditable || ["INPUT", "SELECT", "TEXTAREA"].includes(element.tagName);
const rows = () => [...document.querySelectorAll(".row")];
const current = () => document.activeElement?.closest(".row");
const openDialog = () => document.querySelector("dialog[open]");

function moveTo(row) {
  row?.querySelector(".open").focus();
  row?.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const all = rows();
  const at = all.indexOf(current());
  moveTo(all[at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)]);
}

// ---- dialogs over the queue

function ask(verb, row) {
  const dialog = document.getElementById(`${verb}-dialog`);
  if (!dialog || !row) return false;
  dialog.querySelector("[data-name]").textContent = row.dataset.name;
  const form = dialog.querySelector("form[data-verb]");
  form.action = `/leads/${row.dataset.lead}/${verb}/`;
  form.reset();
  form.elements.next.value = document.querySelector('[form="act"][name="next"]').value;
  dialog.returnTo = row;
  dialog.showModal();
  return true;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-verb]");
  if (link && !event.ctrlKey && !event.metaKey && ask(link.dataset.verb, link.closest(".row"))) event.preventDefault();
  for (const menu of document.querySelectorAll("details.menu[open], details.act[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("dialog form[data-verb]");
  if (!form || !window.htmx) return;
  event.preventDefault();
  const values = Object.fromEntries(new FormData(form, event.submitter));
  const dialog = form.closest("dialog");
  const row = dialog.returnTo;
  dialog.close();
  moveTo(row);
  window.htmx.ajax("POST", form.action, { target: "#queue", swap: "outerHTML", values });
});

// ---- the focus stays where the work is

let place = -1;
document.addEventListener("htmx:beforeRequest", (event) => {
  place = event.detail.requestConfig.verb === "post" ? rows().indexOf(current()) : -1;
});
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.id !== "queue" || place < 0) return;
  const all = rows();
  if (all.length) moveTo(all[Math.min(place, all.length - 1)]);
  else document.getElementById("main").focus();
  place = -1;
});

function say(words, kind = "error") {
  const message = document.createElement("p");
  message.className = `message ${kind}`;
  message.textContent = words;
  document.getElementById("messages").replaceChildren(message);
}

document.addEventListener("htmx:responseError", () => say("That did not work: the page may be out of date. Reload it."));
document.addEventListener("htmx:sendError", () => say("The server cannot be reached. Try again in a moment."));

// ---- parts that renew themselves: what was unfolded or scrolled stays so, and the first event is told to everybody

let unfolded = [];
let scrolled = [];
let heard = document.getElementById("source")?.dataset.heard;
document.addEventListener("htmx:beforeSwap", (event) => {
  const inside = [...event.target.querySelectorAll("[id]")];
  unfolded = inside.filter((each) => each.open).map((each) => each.id);
  scrolled = inside.filter((each) => each.scrollLeft).map((each) => [each.id, each.scrollLeft]);
});
document.addEventListener("htmx:afterSwap", () => {
  for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
  for (const [id, left] of scrolled) document.getElementById(id)?.scrollTo(left, 0);
  const now = document.getElementById("source")?.dataset.heard;
  if (heard === "no" && now === "yes") say("Your first event is here.", "success");
  heard = now;
});

// ---- the editor of rules: what was counted goes to its rows; a row that is gone meanwhile is let alone

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id !== "counts") return;
  for (const told of [...event.target.children]) {
    document.getElementById(told.dataset.for)?.replaceChildren(...told.childNodes);
  }
});

// ---- the editor of rules: what is typed while the sheet is on its way stays, and nobody leaves by mistake

const WRITTEN = "#editor :is(input, textarea, select):not([type=hidden], [hidden])";
const written = () => new Map([...document.querySelectorAll(WRITTEN)].map((each) => [each.id, each.value]));
let sent = new Map();
let typed = [];
let isUnsaved = false;

document.addEventListener("input", (event) => {
  if (event.target.closest("#editor")) isUnsaved = true;
});
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.target.id === "editing") sent = written();
});
document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (event.detail.xhr.getResponseHeader("HX-Redirect")) isUnsaved = false; // it was saved
});
document.addEventListener("htmx:beforeSwap", (event) => {
  // A button moves rows, so that places mean others; a choice lets them stay where they are.
  if (event.target.id !== "editing" || event.detail.requestConfig.parameters._do) return;
  typed = [...written()].filter(([id, value]) => sent.get(id) !== value);
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id !== "editing") return;
  isUnsaved = document.getElementById("editor").dataset.unsaved === "yes";
  for (const [id, value] of typed) {
    const cell = document.getElementById(id);
    if (!cell || cell.value === value) continue;
    cell.value = value;
    cell.dispatchEvent(new Event("input", { bubbles: true }));
  }
  typed = [];
});
window.addEventListener("beforeunload", (event) => {
  if (isUnsaved) event.preventDefault();
});

// ---- deadlines count down: in the words of the server's filter `due`

function span(minutes) {
  if (minutes < 60) return `${minutes} min`;
  return minutes < 2 * 24 * 60 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 60 / 24)} d`;
}

setInterval(() => {
  for (const due of document.querySelectorAll("[data-due]")) {
    const left = (new Date(due.dataset.due) - Date.now()) / 60000;
    due.textContent = left > 0 ? `due in ${span(Math.floor(left))}` : `${span(Math.floor(-left))} overdue`;
    const shown = due.closest(".due");
    shown.classList.toggle("late", left <= 0);
    shown.classList.toggle("soon", left > 0 && left <= 60);
  }
}, 20000);

// ---- keys

function unfold(id) {
  const details = document.getElementById(id);
  if (!details || details.tagName !== "DETAILS") return;
  details.open = true;
  details.querySelector("button, input:not([type=hidden]), select").focus();
}

const act = (verb) => {
  const row = current();
  if (row) row.querySelector(`[data-verb="${verb}"]`)?.click();
  else if (verb === "accept") document.getElementById("accept")?.click();
  else unfold(verb);
};

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  a: () => act("accept"),
  s: () => act("snooze"),
  x: () => act("disqualify"),
  r: () => unfold("recycle"),
  u: () => (document.getElementById("undo-last") || document.getElementById("undo-move"))?.click(),
  q: () => document.getElementById("to-queue")?.click(),
  "/": () => document.getElementById("q")?.focus(),
  "?": () => document.getElementById("help")?.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    const open = document.querySelector("details.menu[open], details.act[open]");
    if (open) {
      open.open = false;
      open.querySelector("summary").focus();
    }
    return;
  }
  if (document.body.dataset.keys === "off" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing(event.target) || openDialog() || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
});

// A link from the queue names the form that it is about.
if (location.hash) unfold(location.hash.slice(1));
