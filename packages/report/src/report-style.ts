import { Html } from "./html.js";

/** The page's style sheet; light and dark follow the reader's system. */
export const reportStyle = new Html(`
:root { color-scheme: light dark; --bora-ground: var(--page); --ink: #1a1a1a; --soft: #5c5c5c; --line: #d9d9d9; --page: #ffffff; --mark: #f3f1ea; }
@media (prefers-color-scheme: dark) {
  :root { --bora-low: #4aa3df; --bora-high: #f07f3c; --ink: #e8e6e3; --soft: #a3a09b; --line: #3a3a3a; --page: #161616; --mark: #25241f; }
}
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 68rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
p { margin: .5rem 0; max-width: 48rem; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
figure { margin: 1.5rem 0 0; }
figure svg { display: block; max-width: 100%; height: auto; color: var(--ink); }
figure svg.narrow { display: none; }
h3 { font-size: 1rem; margin: 2rem 0 0; font-weight: 600; }
.open { border: 1px solid #c77f0a; border-radius: .3rem; padding: .5rem .8rem; }
@media (max-width: 56rem) { figure svg.wide { display: none; } figure svg.narrow { display: block; } }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th { text-align: right; vertical-align: bottom; font-weight: 500; color: var(--soft); max-width: 7.5rem; }
th, td { padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); }
td { text-align: right; white-space: nowrap; }
th.text, td.text { text-align: left; }
tr.best td { background: var(--mark); font-weight: 600; }
.mark { font-weight: 400; color: var(--soft); }
ul.warnings { border-left: 3px solid #c77f0a; margin: .75rem 0; padding: .25rem 0 .25rem 1.75rem; max-width: 48rem; }
code { font: .82em ui-monospace, monospace; color: var(--soft); overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: 7rem 1fr; gap: .4rem 1rem; max-width: 56rem; }
dt { color: var(--soft); }
dd { margin: 0; }
@media (max-width: 36rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .6rem; } }
`);
