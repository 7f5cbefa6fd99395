// What pages can do with scripting that they do without it less well. Nothing here is needed to use them.
"use strict";

// Tells the gateway the zone of whoever reads, since pages have their times from there. One that was made for another
// zone is loaded anew: at once, unless somebody was quick to write in it, and once only. Without cookies nothing is done.
const tellZone = () => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";
  const cookie = `spaceport-zone=${zone}`;
  const told = () => document.cookie.split("; ").includes(cookie);
  if (!/^[\w+/-]+$/.test(zone)) return;
  if (!told()) {
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `${cookie}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
  }
  // Only a page that does nothing by being loaded says for which zone it was made.
  const made = document.documentElement.dataset.zone ?? zone;
  const typed = [...document.querySelectorAll("input, textarea")].some((field) => field.value !== field.defaultValue);
  if (made === zone || typed || !told() || sessionStorage.getItem("zone") === zone) return;
  sessionStorage.setItem("zone", zone);
  location.reload();
};
try {
  tellZone();
} catch {
  // Without a memory of the tab a second time would not be known for one. The next page has the zone.
}

// On a phone the bar scrolls: it begins at the page that is shown, also where CSS does not know how.
const bar = document.querySelector(".nav");
const here = bar?.querySelector("[aria-current]");
if (here) bar.scrollLeft = here.offsetLeft - (bar.clientWidth - here.offsetWidth) / 2 - bar.offsetLeft;

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

// Shows a page anew when a stream says that it is old, or when its time is over, unless somebody is busy with it: a menu
// is open, something is typed or marked.
const main = () => document.getElementById("main");
const busy = () => openMenus().length > 0 || document.activeElement.matches("input, textarea, select")
  || getSelection().toString() !== "";
const meta = (name) => document.querySelector(`meta[name=${name}]`);
// What a person has come to with the keyboard, and what they have unfolded, stays as it is.
const place = (element) => `${element.tagName} ${element.getAttribute("href") ?? element.textContent}`;
const freshen = async () => {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  const text = await answer.text();
  // Asked last: a menu may have been opened meanwhile.
  if (!answer.ok || answer.redirected || busy()) return;
  const page = new DOMParser().parseFromString(text, "text/html");
  const [old, fresh, at] = [main(), page.getElementById("main"), document.activeElement];
  if (fresh && fresh.innerHTML !== old.innerHTML) {
    const was = old.contains(at) ? place(at) : null;
    const unfolded = [...old.querySelectorAll("details[open] > summary")].map(place);
    old.replaceChildren(...fresh.childNodes);
    for (const summary of old.querySelectorAll("details > summary")) {
      if (unfolded.includes(place(summary))) summary.parentElement.open = true;
    }
    const now = was && [...old.querySelectorAll(at.tagName)].find((element) => place(element) === was);
    if (now) now.focus({ preventScroll: true });
  }
  meta("fresh").content = page.querySelector("meta[name=fresh]")?.content ?? "60";
};
if (meta("fresh")) {
  let due = false;
  const later = () => setTimeout(() => { due = true; later(); }, 1000 * meta("fresh").content);
  later();
  // A gateway that is away is asked again when the page's time is over.
  setInterval(() => {
    if (!due || document.hidden || busy()) return;
    due = false;
    freshen().catch(() => {});
  }, 250);
  if (meta("live")) new EventSource(meta("live").content).addEventListener("spaces", () => { due = true; });
}
