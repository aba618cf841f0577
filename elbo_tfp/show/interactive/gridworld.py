"""Agents on a grid under a slider: where they go, and how they choose."""

from __future__ import annotations

import hashlib
import json
from html import escape

import numpy as np

from elbo_tfp.show.interactive import look

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""Up, right, down, left, as (row, column): the order of the actions."""

CELL, ARM = 100, 42  # of the drawing: a cell's side, the arm of a sure action

STYLE = """#@id@ .worlds{display:flex;flex-wrap:wrap;gap:.6em 1.6em;max-width:660px}
#@id@ .worlds>div{flex:1 1 270px}
#@id@ .worlds p{margin:.2em 0}
#@id@ .worlds svg{width:100%;height:auto;display:block}
#@id@ .worlds rect{stroke:currentColor;stroke-width:2}
#@id@ .worlds .visits{stroke:none}
#@id@ .worlds line{stroke:currentColor;stroke-width:9;stroke-linecap:round}
#@id@ .worlds text{font-size:44px}
#@id@ .slider{grid-template-columns:auto 1fr 3em}"""

SCRIPT = """(function(){const me=document.currentScript,
f=(me&&me.closest("figure"))||document.getElementById("@id@"),c=@data@,
all=s=>[...f.querySelectorAll(s)],state=@state@;
function draw(){const v=state(+f.querySelector("input").value);
f.querySelector("output").textContent=v.at;
all("[data-value]").forEach((e,i)=>e.textContent=v.readout[i]);
all(".visits").forEach((e,i)=>e.setAttribute("fill-opacity",v.visits[i]));
all("line").forEach((e,i)=>{e.setAttribute("x2",+e.getAttribute("x1")+v.arms[i][0]);
e.setAttribute("y2",+e.getAttribute("y1")+v.arms[i][1])})}
f.addEventListener("input",draw);draw()})()"""

STATE = """k=>({at:c.stops[k],readout:c.readout.map(r=>r[k]),
visits:c.visits[k].map(v=>v/100),
arms:c.policy[k].map((p,i)=>c.moves[i%4].map(m=>m*p))})"""


class GridFigure:
    """One world, several agents, one slider: shades show visits, arms show choices.

    Args:
        rows: the map, strings of equal length: `S` start, `G` goal, `X` hazard, `.`.
        stops: the numbers that the slider stops at, `[N]`.
        agents: name -> (policy `[N, cells, 4]`, visits `[N, cells]`); cells row by row,
            actions up, right, down, left. The darkest cell of an agent's stop has its
            largest visits; goal and hazards are not shaded.
        readout: label -> `[N]` numbers, shown with one decimal.
        label: what the slider moves.
        alt: what one sees, for those who do not see it.
        start: the number of the stop that is drawn first.

    Raises:
        ValueError: if the shapes do not fit the map and the stops.
    """

    def __init__(self, rows, stops, agents, readout, *, label, alt, start=0):
        self.rows, self.label, self.alt, self.start = list(rows), label, alt, int(start)
        self.agents = list(agents)
        sides = {len(row) for row in rows}
        cells, num = sum(map(len, rows)), len(stops)
        parts = list(agents.values())
        good = [(num, cells, 4), (num, cells)]
        found = {tuple(map(np.shape, part)) for part in parts} | {tuple(good)}
        sizes = {len(values) for values in readout.values()} | {num}
        if len(sides) != 1 or len(found) > 1 or len(sizes) > 1 or not 0 <= start < num:
            raise ValueError(
                f"expected rows of one length, agents with shapes {good}, readouts of "
                f"{num} numbers and a start below that; got rows of {sorted(sides)}, "
                f"{sorted(found)}, {sorted(sizes)} and {start}."
            )
        text = "".join(rows)
        self.floor = [k for k, letter in enumerate(text) if letter not in "GX"]
        policy = [np.asarray(p)[:, self.floor] for p, _ in parts]
        visits = [np.asarray(v)[:, self.floor] for _, v in parts]
        visits = [0.75 * (v / v.max(1, keepdims=True)) ** 0.5 for v in visits]
        self.readout = {k: [f"{v:.1f}" for v in vs] for k, vs in readout.items()}
        self.data = {
            "stops": [f"{stop:g}" for stop in stops],
            "readout": list(self.readout.values()),
            "moves": [[column, row] for row, column in MOVES],
            "policy": _rounded(ARM * np.stack(policy, 1)),
            "visits": _rounded(100 * np.stack(visits, 1)),
        }
        key = json.dumps(vars(self), sort_keys=True)
        self.id = "elbo-" + hashlib.sha256(key.encode()).hexdigest()[:8]
        self.html = self._render()

    def state(self, stop: int) -> dict:
        """What is drawn at a stop: `at`, `readout`, `visits` and `arms`, all agents."""
        data = self.data
        return {
            "at": data["stops"][stop],
            "readout": [row[stop] for row in data["readout"]],
            "visits": [v / 100 for v in data["visits"][stop]],
            "arms": [
                [m * p for m in data["moves"][i % 4]]
                for i, p in enumerate(data["policy"][stop])
            ],
        }

    def script(self) -> str:
        """`state` in JavaScript."""
        return f"(c=>{STATE})({json.dumps(self.data)})"

    def _render(self) -> str:
        now, name = self.state(self.start), f"{self.id}-stop"
        share = len(self.floor)
        worlds = "".join(
            f"<div><p>{escape(agent)}</p>"
            + self._world(now, slice(i * share, (i + 1) * share))
            + "</div>"
            for i, agent in enumerate(self.agents)
        )
        shown = "".join(
            f'<span>{escape(label)} = <b data-value="{i}">{values[self.start]}</b>'
            "</span>"
            for i, (label, values) in enumerate(self.readout.items())
        )
        style = (look.STYLE + STYLE).replace("@id@", self.id).replace("\n", "")
        script = SCRIPT.replace("@state@", STATE).replace("@id@", self.id)
        script = script.replace("@data@", json.dumps(self.data, separators=(",", ":")))
        return (
            f'<figure class="elbo-fig" id="{self.id}"><style>{style}</style>\n'
            f'<div class="worlds" role="img" aria-label="{escape(self.alt)}">{worlds}'
            f'</div>\n<div class="slider"><label for="{name}">{escape(self.label)}'
            f'</label><input id="{name}" type="range" min="0" step="1" '
            f'max="{len(self.data["stops"]) - 1}" value="{self.start}" '
            f'autocomplete="off"><output for="{name}" aria-live="off">{now["at"]}'
            f'</output></div>\n<p class="readout" aria-live="polite">{shown}</p>\n'
            f"<script>{script}</script></figure>"
        )

    def _world(self, now, part) -> str:
        width = len(self.rows[0])
        drawn, visits = [], now["visits"][part]
        arms = now["arms"][4 * part.start : 4 * part.stop]
        blue, orange = look.color("blue"), look.color("orange")
        for k, letter in enumerate("".join(self.rows)):
            x, y = CELL * (k % width), CELL * (k // width)
            place = f'x="{x}" y="{y}" width="{CELL}" height="{CELL}"'
            hazard = f'fill="{orange}" fill-opacity=".35"'
            fill = hazard if letter == "X" else 'fill="none"'
            if k in self.floor:
                shade = visits[self.floor.index(k)]
                drawn.append(
                    f'<rect class="visits" {place} fill="{blue}" '
                    f'fill-opacity="{shade:g}"/>'
                )
            drawn.append(f"<rect {place} {fill}/>")
            if letter in "GX":
                at = f'x="{x + CELL / 2:g}" y="{y + CELL / 2 + 16:g}"'
                drawn.append(f'<text {at} text-anchor="middle">{letter}</text>')
        for i, k in enumerate(self.floor):
            x, y = CELL * (k % width + 0.5), CELL * (k // width + 0.5)
            for dx, dy in arms[4 * i : 4 * i + 4]:
                ends = f'x1="{x:g}" y1="{y:g}" x2="{x + dx:g}" y2="{y + dy:g}"'
                drawn.append(f"<line {ends}/>")
        box = f"-2 -2 {CELL * width + 4} {CELL * len(self.rows) + 4}"
        return f'<svg viewBox="{box}" aria-hidden="true">{"".join(drawn)}</svg>'

    def _repr_mimebundle_(self, include=None, exclude=None):
        shown = ", ".join(f"{k} = {v[self.start]}" for k, v in self.readout.items())
        plain = f"A grid with a slider, to be moved in a browser ({shown})"
        return {"text/html": self.html, "text/plain": plain}


def _rounded(table):
    """`[N, agents, ...]` as whole numbers, one flat list per stop."""
    whole = np.rint(table).astype(int)
    return whole.reshape(len(whole), -1).tolist()
