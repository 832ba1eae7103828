"""The style sheet of a report's page; colours by Okabe and Ito, which colour-blind readers tell apart."""

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --rule: #c8c8c8; --soft: #555555;
  --c1: #0072b2; --c2: #b36b00; --c3: #007a57; --flag: #9c3d00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181b; --rule: #44484d; --soft: #a9aeb5;
  --c1: #56b4e9; --c2: #e69f00; --c3: #2fc795; --flag: #ff9a57; } }
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; } h3 { font-size: 1.05rem; }
.flag, .missing { color: var(--flag); } .flag { font-weight: 600; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .5rem; border-bottom: 1px solid var(--rule); }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; break-inside: avoid; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; } svg .grid { stroke: var(--rule); stroke-width: 1; }
polyline { fill: none; stroke-width: 2; }
polyline.c1 { stroke: var(--c1); } polyline.c2 { stroke: var(--c2); } polyline.c3 { stroke: var(--c3); }
.legend { list-style: none; display: flex; gap: 1.5rem; padding: 0; margin: 0; font-size: .875rem; }
.key { display: inline-block; width: 1.2rem; height: .3rem; margin-right: .4rem; vertical-align: middle; }
.key.c1 { background: var(--c1); } .key.c2 { background: var(--c2); } .key.c3 { background: var(--c3); }
@media print { :root { --ink: #000; --paper: #fff; --rule: #bbb; --soft: #333; --c1: #0072b2; --c2: #b36b00;
  --c3: #007a57; --flag: #9c3d00; } main { max-width: none; } tr { break-inside: avoid; }
  details::details-content { content-visibility: visible; } }
"""
