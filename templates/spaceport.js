// What pages can do with scripting that they do without it less well. Nothing here is needed to use them.
"use strict";

// Copies a command.
addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  const said = button.innerHTML;
  button.textContent = "Copied";
  setTimeout(() => { button.innerHTML = said; }, 2000);
});

// Closes a menu with Escape, and by a click elsewhere.
const openMenus = () => document.querySelectorAll("details.menu[open]");
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of openMenus()) {
    menu.open = false;
    if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
  }
});
addEventListener("click", (event) => {
  for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
});

// Shows a page anew that says how soon it is old, unless somebody is busy with it: a menu is open, or something is typed.
const main = () => document.getElementById("main");
const busy = () => openMenus().length > 0 || main().contains(document.activeElement) || getSelection().toString() !== "";
const freshen = async () => {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected || busy()) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const [old, fresh] = [main(), page.getElementById("main")];
  if (fresh && fresh.innerHTML !== old.innerHTML) old.replaceChildren(...fresh.childNodes);
  const soon = page.querySelector("meta[name=fresh]");
  document.querySelector("meta[name=fresh]").content = soon ? soon.content : "60";
};
const again = () => {
  const wait = document.querySelector("meta[name=fresh]");
  if (!wait) return;
  setTimeout(async () => {
    // A gateway that is away is asked again later.
    if (!document.hidden && !busy()) await freshen().catch(() => {});
    again();
  }, 1000 * wait.content);
};
again();
