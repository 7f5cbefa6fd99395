// Keeps a table of live rows up to date. Without it the page shows how things were when it was loaded.
"use strict";
(() => {
  const table = document.querySelector("table[data-live]");
  if (!table) return;
  const body = table.tBodies[0];
  const state = document.querySelector("[data-live-state]");
  const pause = document.querySelector("[data-pause]");
  const say = document.querySelector("[data-say]");
  const none = document.querySelector("[data-none]");
  const longest = 250;
  // New rows that wait until a menu in the table is closed: it must not move while somebody writes in it.
  const waiting = [];
  let stream = null;

  const show = (text, kind) => {
    state.textContent = text;
    state.className = "state " + kind;
  };
  const rowOf = (id) => document.getElementById("s-" + id) ?? waiting.find((row) => row.id === "s-" + id);
  const put = (row, name, text) => {
    const cell = row.querySelector(`[data-cell="${name}"]`);
    if (cell && cell.textContent !== text) cell.textContent = text;
    return cell;
  };
  const change = (row, cells) => {
    for (const name of ["channels", "down", "up", "idle"]) put(row, name, cells[name]);
    put(row, "silent", cells.silent ? "gateway silent" : "");
    row.querySelector('[data-cell="idle"]').classList.toggle("warm", cells.warm);
  };
  // A row that is over stays where it is: somebody may be about to click on it.
  const over = (row) => {
    row.classList.add("over");
    put(row, "channels", "none");
    put(row, "idle", "ended").classList.remove("warm");
    row.querySelector(".do").replaceChildren();
  };
  const add = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    const row = holder.content.querySelector("tr");
    const known = rowOf(row.id.slice(2));
    if (!known) {
      waiting.push(row);
      return;
    }
    for (const cell of row.querySelectorAll("[data-cell]")) {
      const old = put(known, cell.dataset.cell, cell.textContent);
      old.classList.toggle("warm", cell.classList.contains("warm"));
    }
  };
  const settle = () => {
    if (!body.querySelector("details[open]")) body.prepend(...waiting.splice(0).reverse());
    none.hidden = body.rows.length > 0;
  };
  const tell = (told) => {
    if (told.say !== undefined) say.textContent = told.say;
    for (const cells of told.changed ?? []) {
      const row = rowOf(cells.id);
      if (row) change(row, cells);
    }
    for (const id of told.over ?? []) {
      const row = rowOf(id);
      if (row) over(row);
    }
    for (const html of told.rows ?? []) add(html);
    settle();
    if (told.live !== undefined) {
      const live = new Set(told.live.map((id) => "s-" + id));
      for (const row of [...body.rows, ...waiting]) if (!live.has(row.id)) over(row);
    }
    const gone = [...body.querySelectorAll("tr.over")];
    while (body.rows.length > longest && gone.length > 0) gone.pop().remove();
  };
  table.addEventListener("toggle", settle, true);

  const close = () => {
    if (stream) stream.close();
    stream = null;
  };
  const open = () => {
    if (stream || document.hidden || pause.getAttribute("aria-pressed") === "true") return;
    stream = new EventSource(table.dataset.live);
    stream.addEventListener("sessions", (event) => {
      tell(JSON.parse(event.data));
      show("Live", "running");
    });
    stream.onerror = () => {
      if (stream && stream.readyState === EventSource.CLOSED) show("Not live: reload the page", "failed");
      else show("Connecting", "starting");
    };
  };
  pause.addEventListener("click", () => {
    const pressed = pause.getAttribute("aria-pressed") !== "true";
    pause.setAttribute("aria-pressed", String(pressed));
    if (pressed) {
      close();
      show("Paused", "stopped");
    } else {
      show("Connecting", "starting");
      open();
    }
  });
  // A page that nobody looks at needs no stream: browsers allow few to one site.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  show("Connecting", "starting");
  open();
})();
