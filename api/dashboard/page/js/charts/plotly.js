// Brings plotly when the first chart wants it: the page is there before its largest file.

let brought = null;

/** Return plotly, once it is there. */
export function plotly() {
  brought ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = document.querySelector('meta[name="plotly"]').content;
    script.async = true;
    script.addEventListener("load", () => resolve(globalThis.Plotly));
    script.addEventListener("error", () => {
      brought = null;
      reject(new Error("the script of the charts could not be loaded"));
    });
    document.head.append(script);
  });
  return brought;
}

/** Plotly reads a little markup in texts (b, a, span …); return a text that it shows as it is. */
export function plain(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("$", "&#36;");
}
