// What must happen in the browser: the theme, following the newest text, dialogs, and keys that are safe for Korean input.
(() => {
  const root = document.documentElement;
  const one = (selector) => document.querySelector(selector);
  const remember = (name, value) => { document.cookie = `${name}=${value};path=/;max-age=31536000;samesite=lax`; };
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const saved = document.cookie.match(/(?:^|; )dokja_theme=(light|dark)/);
  if (saved) root.dataset.theme = saved[1];

  const paintTheme = () => document.querySelectorAll(".theme").forEach((b) => b.setAttribute("aria-pressed", isDark()));
  window.dokja = {
    language(lang, title) {
      root.lang = lang; document.title = title; remember("dokja_lang", lang); paintTheme();
      if (document.activeElement === document.body) one(".tools button")?.focus();
    },
    toggleTheme() { root.dataset.theme = isDark() ? "light" : "dark"; remember("dokja_theme", root.dataset.theme); paintTheme(); },
    // The message that was typed, or null.
    take() {
      const field = one(".say");
      const text = field.value.trim();
      if (!text) { field.focus(); return null; }
      field.value = "";
      field.focus();
      return text;
    },
    give(text) { const field = one(".say"); if (field) { if (!field.value) field.value = text; field.focus(); } },
    // A question was accepted: follow its answer; who clicked an example goes on in the field (no keyboard pops up on a phone).
    asked() {
      this.follow = true;
      scrollTo(0, root.scrollHeight);
      if (document.activeElement === document.body && matchMedia("(pointer: fine)").matches) one(".say")?.focus();
    },
    // The address of the conversation that is shown, so that a reload finds it.
    address(path) { history.replaceState(history.state, "", path); },
    // A message is open for changing, or no longer.
    editing() {
      requestAnimationFrame(() => {
        const field = one(".edit-text") || one(".say");
        if (!field) return;
        field.focus();
        field.setSelectionRange(field.value.length, field.value.length);
      });
    },
    async copy(button) {
      const text = button.closest(".turn").querySelector(".text").textContent;
      try {
        await navigator.clipboard.writeText(text);
      } catch {  // without TLS there is no clipboard interface
        const field = Object.assign(document.createElement("textarea"), { value: text });
        document.body.append(field); field.select(); document.execCommand("copy"); field.remove(); button.focus();
      }
      const label = button.textContent;
      if (label === button.dataset.done) return;
      button.textContent = button.dataset.done; button.setAttribute("aria-live", "polite");
      setTimeout(() => { button.textContent = label; }, 1500);
    },
    // A dialog with a question: "" or what was typed, null when it was cancelled.
    ask(question, yes, no, value) {
      document.querySelectorAll(".menu[open]").forEach((menu) => { menu.open = false; });
      const dialog = document.createElement("dialog");
      const make = (tag, into, more) => { const e = Object.assign(document.createElement(tag), more); into.append(e); return e; };
      const form = make("form", dialog, { method: "dialog" });
      const label = make("label", form, { textContent: question });
      const field = value === undefined ? null : make("input", label, { value, maxLength: 200 });
      const buttons = make("div", form, { className: "acts" });
      const cancel = make("button", buttons, { type: "button", className: "quiet", textContent: no });
      make("button", buttons, { type: "submit", value: "yes", className: "main-button" + (field ? "" : " danger"), textContent: yes });
      dialog.className = "ask";
      document.body.append(dialog);
      return new Promise((done) => {
        cancel.onclick = () => dialog.close();
        dialog.onclose = () => { done(dialog.returnValue === "yes" ? (field ? field.value : "") : null); dialog.remove(); };
        dialog.showModal();
        field?.select();
      });
    },
    shortcuts() { one("dialog.shortcuts")?.showModal(); },
    side(open) {
      one(".side")?.classList.toggle("open", open);
      one(".side-open")?.setAttribute("aria-expanded", open);
      (open ? one(".side [aria-current], .side a") : one(".side-open"))?.focus();
    },
    follow: true,
  };

  const close = () => {
    const menu = one(".menu[open]");
    if (menu) { menu.open = false; menu.querySelector("summary").focus(); return true; }
    if (one(".side.open")) { window.dokja.side(false); return true; }
    const cancel = document.activeElement?.closest(".editing")?.querySelector(".cancel");
    if (cancel) { cancel.click(); return true; }
    return false;
  };
  const jumps = {
    KeyN: () => { location.href = "/"; },
    KeyL: () => { one(".side-open")?.checkVisibility() ? window.dokja.side(true) : one(".side a")?.focus(); },
    KeyM: () => one(".say")?.focus(),
    KeyK: () => window.dokja.shortcuts(),
  };

  document.addEventListener("keydown", (e) => {
    if (one("dialog[open]")) return;  // the browser's own keys
    if (e.key === "Escape") { if (!close()) one(".main-button.stop")?.click(); return; }
    if (e.altKey && e.shiftKey && jumps[e.code]) { e.preventDefault(); jumps[e.code](); return; }
    const field = e.target.classList;
    if (e.key === "ArrowUp" && field?.contains("say") && !e.target.value) {
      const edits = document.querySelectorAll(".turn.user .edit");
      if (edits.length) { e.preventDefault(); edits[edits.length - 1].click(); }
      return;
    }
    if (e.key !== "Enter" || e.shiftKey || !(field?.contains("say") || field?.contains("edit-text"))) return;
    // While a syllable is being composed, Enter belongs to the input method (229: Safari's way to say so).
    if (e.isComposing || e.keyCode === 229) return;
    e.preventDefault();
    (field.contains("say") ? one(".main-button.send") : e.target.closest(".turn").querySelector(".resend"))?.click();
  });
  document.addEventListener("click", (e) => {
    document.querySelectorAll(".menu[open]").forEach((menu) => { if (!menu.contains(e.target)) menu.open = false; });
  });

  // What was typed and not sent outlives its field: the page builds it anew in the other language, or for the next round.
  let typed = [];
  const fields = (within, which) => [...within.querySelectorAll(which)];
  const keepTyped = (changes) => {
    const gone = changes.flatMap((c) => [...c.removedNodes]).filter((node) => node.nodeType === 1 && !node.isConnected);
    const left = gone.flatMap((node) => fields(node, ".say, .edit-text"));
    typed = [...typed, ...left.filter((field) => field.value !== field.defaultValue)].filter((old) => {
      const field = fields(document, `.${old.classList[0]}`).find((f) => f.defaultValue === old.defaultValue);
      if (!field) return old.classList.contains("say");
      if (field.value === field.defaultValue) {
        field.value = old.value;
        field.setSelectionRange(old.selectionStart, old.selectionEnd);
      }
      return false;
    });
  };

  // Follow the newest text unless the reader has scrolled up.
  const atEnd = () => root.scrollHeight - root.scrollTop - innerHeight < 80;
  addEventListener("scroll", () => { window.dokja.follow = atEnd(); }, { passive: true });
  new MutationObserver((changes) => {
    keepTyped(changes);
    if (changes.some((c) => c.target.nodeType === 1 && c.target.classList.contains("theme"))) return;
    paintTheme();
    const inLog = changes.some((c) => (c.target.nodeType === 1 ? c.target : c.target.parentElement)?.closest(".log"));
    if (inLog && window.dokja.follow) scrollTo(0, root.scrollHeight);
  }).observe(root, { subtree: true, childList: true, characterData: true });
})();
