"""The style sheet, the palette and the script that all slider figures share."""

from __future__ import annotations

COLORS = {
    "blue": "#0072B2",
    "orange": "#D55E00",
    "green": "#009E73",
    "purple": "#AA4499",
    "grey": "#666666",
    "amber": "#B0690A",
}
"""The book's palette: at least 3 : 1 on white paper and on the dark theme."""

WIDTH, LEFT, RIGHT = 640, 58, 14
TOP, BASE = 34, 232  # the curves' highest point and their axis
POINTS = 160  # along a curve

STYLE = """#@id@{container-type:inline-size;width:100%;margin:.5em 0;color:inherit;
text-align:left}
#@id@ svg.plot{width:100%;height:auto;max-width:660px;display:block}
#@id@ text{fill:currentColor;font:15px system-ui,sans-serif}
#@id@ .axis{stroke:currentColor;stroke-width:1}
#@id@ .curve{fill:none;stroke-width:3;stroke-linejoin:round}
#@id@ .band{stroke-width:16}#@id@ .mark{stroke-width:4}
#@id@ .legend,#@id@ .readout{display:flex;flex-wrap:wrap;gap:.15em 1.3em;margin:.35em 0;
padding:0;max-width:660px;overflow:visible}
#@id@ .legend span,#@id@ .readout span{white-space:nowrap}
#@id@ .legend svg{width:34px;height:14px;vertical-align:-1px;margin-right:.4em}
#@id@ .readout b{font-variant-numeric:tabular-nums}
#@id@ .slider{display:grid;grid-template-columns:7em 1fr 3.2em;align-items:center;
gap:.7em;max-width:660px;margin:.2em 0}
#@id@ .slider input{width:100%;min-width:0;min-height:28px;margin:0}
#@id@ .slider output{text-align:right;font-variant-numeric:tabular-nums}
@container (max-width:480px){#@id@ text{font-size:25px}#@id@ .curve{stroke-width:4.5}
#@id@ .slider{grid-template-columns:5.6em 1fr 2.8em}}"""

SCRIPT = """(function(){const me=document.currentScript,
f=(me&&me.closest("figure"))||document.getElementById("@id@"),c=@config@,
state=@state@,curves=[@curves@],spots=[@spots@],all=s=>[...f.querySelectorAll(s)];
const clip=(y,a,b)=>Math.min(Math.max(y,a),b),
along=(y,a)=>c.left+(clip(y,a[0],a[1])-a[0])/(a[1]-a[0])*(c.right-c.left),
up=y=>c.base-(clip(y,c.y[0],c.y[1]*1.05)-c.y[0])/(c.y[1]-c.y[0])*(c.base-c.top),
text=(y,d)=>Number.isFinite(y)?(Math.abs(y)<.5*10**-d?0:y).toFixed(d):"–";
function draw(){const p={};for(const e of all("input"))p[e.name]=+e.value;
const v=state(p);
all("output").forEach(e=>e.textContent=text(p[e.dataset.of],2));
all("[data-value]").forEach(e=>e.textContent=text(v[e.dataset.value],3));
all(".curve").forEach((e,i)=>{let d="M";for(let k=0;k<=c.n;k++){
v.x=c.x[0]+k*(c.x[1]-c.x[0])/c.n;
d+=(k?"L":"")+along(v.x,c.x).toFixed(1)+","+up(curves[i](v)).toFixed(1)}
e.setAttribute("d",d)});
all(".spot").forEach((e,i)=>["x1","x2"].forEach((a,k)=>
e.setAttribute(a,along(spots[i][k](v),c.ruler).toFixed(1))))}
f.addEventListener("input",draw);draw()})()"""


def color(name: str) -> str:
    """The palette's colour of that name."""
    if name not in COLORS:
        raise ValueError(f"expected a colour among {list(COLORS)}; got {name!r}.")
    return COLORS[name]


def stroke(thing, width=None) -> str:
    """The style of a line: the colour and dash of a curve, band or mark."""
    thick = f";stroke-width:{width}" if width else ""
    dash = getattr(thing, "dash", "") or "none"
    return f'style="stroke:{color(thing.color)};stroke-dasharray:{dash}{thick}"'
