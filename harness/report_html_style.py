"""The look of the HTML report: one style sheet, light and dark, from a phone's width to a desk's."""

STYLE = """
:root { color-scheme: light dark;
  --paper: #fcfcfa; --raised: #f4f4f0; --ink: #1d1f22; --muted: #5a6068; --line: #dfdfd8; --accent: #0b63a5;
  --bar: #cfe2f1; --good: #0a6b3d; --bad: #a33a00; --warn-paper: #fff4dc; --warn-line: #d9a93a; --mistake: #c44e00;
  --s0: #1d1f22; --s1: #0072b2; --s2: #c44e00; --s3: #00785a; --s4: #a8497d; --s5: #8a6100;
  --s6: #3a7fae; --s7: #6b6b6b;
}
@media (prefers-color-scheme: dark) { :root {
  --paper: #15171a; --raised: #1d2024; --ink: #e7e7e3; --muted: #a4aab1; --line: #33383e; --accent: #7dbdec;
  --bar: #1f4663; --good: #6fd09e; --bad: #ff9d66; --warn-paper: #33290f; --warn-line: #a57c1c; --mistake: #ff9d66;
  --s0: #e7e7e3; --s1: #56b4e9; --s2: #ff8c4a; --s3: #3ccf9f; --s4: #e39ac4; --s5: #e6b422;
  --s6: #9cc9e6; --s7: #a0a0a0;
} }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main, header { max-width: 72rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 3rem; }
main { padding-bottom: 5rem; }
h1 { font-size: 2.1rem; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 0.4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.4rem; line-height: 1.3; margin: 3.5rem 0 0.4rem; letter-spacing: -0.01em; }
h3 { font-size: 1.02rem; margin: 1.6rem 0 0.3rem; }
p { margin: 0.4rem 0 1rem; max-width: 46rem; }
a { color: var(--accent); }
.muted, .notes, figcaption, summary { color: var(--muted); }
.lead { color: var(--muted); font-size: 1.05rem; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; padding: 0.7rem 0; margin: 1.2rem 0 0;
  border-block: 1px solid var(--line); font-size: 0.92rem; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--paper); padding: 0.4rem 0.8rem; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
.findings { display: grid; grid-template-columns: max-content 1fr; gap: 0.55rem 1.4rem; margin: 1.6rem 0 0; }
.findings dt { font-weight: 600; }
.findings dd { margin: 0; max-width: 50rem; }
.notice { background: var(--warn-paper); border-left: 4px solid var(--warn-line); padding: 0.7rem 1rem;
  margin: 1.4rem 0 0; border-radius: 0 6px 6px 0; overflow-wrap: anywhere; }
.notice p, .notice details { margin: 0; max-width: none; }
.notes { font-size: 0.87rem; padding-left: 1.1rem; margin: 0.6rem 0; max-width: 58rem; overflow-wrap: anywhere; }
.notes li { margin: 0.15rem 0; }
.scroll { overflow-x: auto; margin: 0.3rem 0 0.8rem; }
table { border-collapse: collapse; font-size: 0.93rem; font-variant-numeric: tabular-nums; width: 100%; }
caption { text-align: left; color: var(--muted); font-size: 0.87rem; padding: 0.3rem 0 0.4rem; }
thead th { border-bottom: 1.5px solid var(--ink); border-top: 1.5px solid var(--ink); font-weight: 600; }
th, td { padding: 0.32rem 0.7rem; text-align: right; vertical-align: baseline; white-space: nowrap; }
th:first-child, td.left, th.left { text-align: left; }
th:first-child { padding-left: 0.1rem; overflow-wrap: anywhere; }
tbody th { font-weight: 400; }
tbody:last-child > tr:last-child > * { border-bottom: 1.5px solid var(--ink); }
tbody + tbody > tr:first-child > * { border-top: 1px solid var(--line); }
tbody tr:hover { background: var(--raised); }
.mean { border-left: 1px solid var(--line); }
.error { color: var(--muted); font-size: 0.86em; display: inline-block; min-width: 3.4em; text-align: right; }
.best .number, strong { font-weight: 700; }
.second .number { text-decoration: underline; text-underline-offset: 3px; text-decoration-thickness: 1px; }
.share { background: linear-gradient(to right, var(--bar) var(--part), transparent 0) no-repeat 0 50%;
  background-size: calc(100% - 3rem) 72%; }
.shares { table-layout: fixed; }
.shares th:first-child { width: 38%; }
.coefficients { table-layout: fixed; }
.coefficients th:first-child { width: 30%; }
.small { display: block; color: var(--muted); font-size: 0.86em; }
.higher { color: var(--good); font-weight: 600; }
.lower { color: var(--bad); font-weight: 600; }
.forest { table-layout: fixed; }
.forest th:first-child { width: 12rem; }
.forest th.numbers { width: 11.5rem; }
.forest th.verdict { width: 11rem; }
.forest svg { display: block; width: 100%; height: 2.1rem; }
.forest td, .forest tbody th { vertical-align: middle; }
.forest th.plot { text-align: center; }
.forest td.plot { padding-block: 0; }
.ring { fill: none; stroke: var(--muted); stroke-width: 1.2; }
.interval { stroke: var(--c); stroke-width: 2.4; }
.tabs { display: flex; flex-wrap: wrap; margin-top: 1rem; }
.tabs > input { position: absolute; opacity: 0; width: 1px; height: 1px; }
.tabs > label { order: 1; padding: 0.3rem 0.85rem; cursor: pointer; color: var(--muted); font-size: 0.93rem;
  border-bottom: 2px solid var(--line); }
.tabs > label:hover { color: var(--ink); }
.tabs > input:checked + label { color: var(--ink); font-weight: 600; border-color: var(--accent); }
.tabs > input:focus-visible + label { outline: 2px solid var(--accent); border-radius: 3px; }
.tabs > .panel { order: 2; display: none; width: 100%; min-width: 0; padding-top: 0.7rem; }
.tabs > input:checked + label + .panel { display: block; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15.5rem), 1fr));
  gap: 1.2rem 1.6rem; }
.matrices { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(45%, 13rem), 1fr)); gap: 1.2rem; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: 0.87rem; overflow-wrap: anywhere; }
figcaption b { color: var(--ink); font-weight: 600; }
svg { max-width: 100%; height: auto; display: block; overflow: visible; }
svg text { fill: var(--muted); font-size: 10.5px; font-variant-numeric: tabular-nums; }
.axis { stroke: var(--muted); stroke-width: 1; fill: none; }
.rule { stroke: var(--line); stroke-width: 1; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke: var(--c); }
.mark { fill: var(--c); stroke: var(--c); }
.points { fill: none; stroke: var(--c); stroke-linecap: round; stroke-width: 3; stroke-opacity: 0.5; }
.points.final { stroke-width: 4.6; stroke-opacity: 0.9; }
.box { fill: var(--c); fill-opacity: 0.28; stroke: var(--c); stroke-width: 1.2; }
.middle { stroke: var(--c); stroke-width: 2.4; }
.swatch { display: inline-block; width: 1.5rem; height: 0.6rem; vertical-align: baseline; }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); } .s3 { --c: var(--s3); }
.s4 { --c: var(--s4); } .s5 { --c: var(--s5); } .s6 { --c: var(--s6); } .s7 { --c: var(--s7); }
.dashed { stroke-dasharray: 5 3; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; padding: 0; margin: 0.6rem 0;
  font-size: 0.92rem; }
.matrix { width: 100%; max-width: 17rem; }
.matrix text { font-size: 0.62px; }
.edge { fill: none; stroke: var(--line); stroke-width: 1px; vector-effect: non-scaling-stroke; }
.right { fill: var(--accent); } .wrong { fill: var(--mistake); }
pre { margin: 0.3rem 0 0.6rem; padding: 0.6rem 0.8rem; overflow-x: auto; background: var(--raised); color: var(--ink);
  font: 0.8rem/1.45 ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: normal; border-radius: 4px; }
details { margin: 0.8rem 0; } summary { cursor: pointer; font-size: 0.92rem; }
@media (max-width: 40rem) {
  main, header { padding-inline: 1rem; }
  header { padding-top: 1.6rem; }
  h1 { font-size: 1.6rem; } h2 { margin-top: 2.6rem; }
  .findings { grid-template-columns: 1fr; gap: 0.1rem; } .findings dd { margin-bottom: 0.7rem; }
  table { font-size: 0.84rem; }
  th, td { padding: 0.32rem 0.3rem; }
  tbody th, .forest th:first-child { white-space: normal; }
  .error { display: block; min-width: 0; }
  .tabs > label { padding: 0.3rem 0.55rem; }
  .forest th:first-child { width: 23%; } .forest th.numbers { width: 24%; } .forest th.verdict { width: 21%; }
  .shares th:first-child { width: 36%; } .share { background-size: calc(100% - 1.7rem) 72%; }
  thead th:first-child { overflow-wrap: normal; }
  .forest td, .forest th { white-space: normal; }
}
@media print {
  .tabs > .panel { display: block; order: 0; } .tabs > label { order: 0; width: 100%; } nav { display: none; }
}
"""
