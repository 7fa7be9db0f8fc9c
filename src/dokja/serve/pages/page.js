// What must happen in the browser: the theme, following the newest text, and keys that are safe for Korean input.
(() => {
  const root = document.documentElement;
  const remember = (name, value) => { document.cookie = `${name}=${value};path=/;max-age=31536000;samesite=lax`; };
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const saved = document.cookie.match(/(?:^|; )dokja_theme=(light|dark)/);
  if (saved) root.dataset.theme = saved[1];

  const paintTheme = () => document.querySelectorAll(".theme").forEach((b) => b.setAttribute("aria-pressed", isDark()));
  window.dokja = {
    language(lang, title) { 
      root.lang = lang; document.title = title; remember("dokja_lang", lang); paintTheme();
      if (document.activeElement === document.body) document.querySelector(".tools button")?.focus();
    },
    toggleTheme() { root.dataset.theme = isDark() ? "light" : "dark"; remember("dokja_theme", root.dataset.theme); paintTheme(); },
    // The message that was typed, or null; an answer in progress keeps it in the field.
    take() {
      const field = document.querySelector(".say");
      const text = field.value.trim();
      if (!text) { field.focus(); return null; }
      field.value = "";
      field.focus();
      return text;
    },
    give(text) { const field = document.querySelector(".say"); if (!field.value) field.value = text; field.focus(); },
    // A question was accepted: follow its answer; who clicked an example goes on in the field (no keyboard pops up on a phone).
    asked() {
      this.follow = true;
      if (document.activeElement === document.body && matchMedia("(pointer: fine)").matches) document.querySelector(".say").focus();
    },
    follow: true,
  };

  document.addEventListener("keydown", (e) => {
    if (e.key === "Escape") { document.querySelector(".main-button.stop")?.click(); return; }
    if (e.key !== "Enter" || e.shiftKey || !e.target.classList?.contains("say")) return;
    // While a syllable is being composed, Enter belongs to the input method (229: Safari's way to say so).
    if (e.isComposing || e.keyCode === 229) return;
    e.preventDefault();
    document.querySelector(".main-button.send")?.click();
  });

  // Follow the newest text unless the reader has scrolled up.
  const atEnd = () => root.scrollHeight - root.scrollTop - innerHeight < 80;
  addEventListener("scroll", () => { window.dokja.follow = atEnd(); }, { passive: true });
  new MutationObserver((changes) => {
    if (changes.some((c) => c.target.nodeType === 1 && c.target.classList.contains("theme"))) return;
    paintTheme();
    const inLog = changes.some((c) => (c.target.nodeType === 1 ? c.target : c.target.parentElement)?.closest(".log"));
    if (inLog && window.dokja.follow) scrollTo(0, root.scrollHeight);
  }).observe(root, { subtree: true, childList: true, characterData: true });
})();
