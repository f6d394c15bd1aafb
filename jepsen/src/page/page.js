// Draws the calls of a story as bars in lanes. The parts, in order: the story as columns; the axis; what is shown; where
// lanes lie; drawing; the overview; finding what is under the pointer; choosing; searching; the address; input.
// A bar is a number i, its fields stand in columns. Positions and times on the axis are both called u.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const story = JSON.parse($("story").textContent);
  const text = (number) => story.texts[number || 0];
  const count = (number) => number.toLocaleString("en");

  // ---------------------------------------------------------------- the story as columns

  const OK = 0, FAIL = 1, UNKNOWN = 2;
  const KINDS = ["ok", "fail", "info"];
  const bars = unpack(story.bars);
  const total = bars.from.length;

  function unpack(packed) {
    const n = packed.from.length;
    const column = (name) => (packed[name].length ? packed[name] : new Array(n).fill(0));
    const all = { from: new Float64Array(n), to: new Float64Array(n), t0: new Float64Array(n), t1: new Float64Array(n) };
    for (const name of ["lane", "process", "f", "key", "argument", "result", "node", "error", "label", "place"]) {
      all[name] = Float64Array.from(column(name));
    }
    all.place_end = Float64Array.from(column("place_end"));
    all.outcome = packed.outcome.map((outcome) => outcome & 3);
    all.keyed = packed.outcome.map((outcome) => outcome >> 2);
    const time = column("time"), took = column("took");
    for (let i = 0, from = 0, t = 0; i < n; i++) {
      all.from[i] = from += packed.from[i];
      all.to[i] = packed.length[i] ? from + packed.length[i] : -1;
      all.t0[i] = t += time[i];
      all.t1[i] = t + took[i];
      all.place[i] += from;
      all.place_end[i] += all.to[i];
    }
    return all;
  }

  const lanes = Array.from({ length: story.lanes }, () => []);
  for (let i = 0; i < total; i++) lanes[bars.lane[i]].push(i);
  const times = story.overview.times_ns;
  const samples = story.overview.open.length;

  /// The letter of the witness' nth call, as the words have it.
  function letters(n) {
    const letter = String.fromCharCode(65 + (n % 26));
    return n < 26 ? letter : letters(Math.floor(n / 26) - 1) + letter;
  }

  /// An event in the words of the history.
  function said(i, end) {
    const kind = end ? KINDS[bars.outcome[i]] : "invoke";
    const key = bars.keyed[i] & (end ? 2 : 1) ? text(bars.key[i]) : "";
    const parts = ["process", story.processes[bars.process[i]], kind, text(bars.f[i]), key];
    return parts.concat(text((end ? bars.result : bars.argument)[i])).filter((part) => part !== "").join(" ");
  }

  function span(ns) {
    const [unit, size] = ns >= 1e9 ? ["s", 1e9] : ns >= 1e6 ? ["ms", 1e6] : ns >= 1e3 ? ["µs", 1e3] : ["ns", 1];
    return Number((ns / size).toPrecision(4)) + " " + unit;
  }

  // ---------------------------------------------------------------- the axis

  // Along the axis u runs by position or by time. A call that nobody saw end is drawn until its lane's next one.
  let byTime = false;
  const u0 = new Float64Array(total), u1 = new Float64Array(total), known = new Float64Array(total);
  let START = 0, END = 1;

  function measure() {
    START = byTime ? times[0] : 0;
    END = byTime ? Math.max(times[times.length - 1], START + 1) : Math.max(story.events, 1);
    for (let i = 0; i < total; i++) {
      u0[i] = byTime ? bars.t0[i] : bars.from[i];
      known[i] = bars.to[i] < 0 ? u0[i] : byTime ? Math.max(bars.t1[i], u0[i]) : bars.to[i];
    }
    for (const lane of lanes) {
      lane.forEach((i, n) => {
        const next = n + 1 < lane.length ? u0[lane[n + 1]] : END;
        u1[i] = bars.outcome[i] === UNKNOWN ? Math.max(next, known[i]) : known[i];
      });
    }
  }

  /// Where a position of the history lies on the axis.
  function along(position) {
    if (!byTime) return position;
    const at = (Math.min(position, story.events) / story.events) * samples, n = Math.min(Math.floor(at), samples - 1);
    return times[n] + (times[n + 1] - times[n]) * (at - n);
  }

  /// The line or index of the event at a position, as far as the calls around it tell.
  function placeAt(position) {
    const i = Math.max(0, lowest(0, total, (k) => bars.from[k] > position) - 1);
    return total ? Math.round(bars.place[i] + position - bars.from[i]) : position;
  }

  /// The first number from low to high for which something is so, if it is so for all that follow.
  function lowest(low, high, is) {
    while (low < high) {
      const middle = (low + high) >> 1;
      if (is(middle)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  // ---------------------------------------------------------------- what is shown

  const GUTTER = 84, AXIS = 20, ROW = 16, TALL = 26, THIN = 4;
  const picture = $("picture"), overview = $("overview"), frame = $("lanes-frame");
  const faultRows = Math.min(3, overlap(story.faults));
  const HEAD = AXIS + faultRows * ROW;
  let view = { a: 0, b: 1 };
  let current = story.witnesses.length ? 0 : -1;
  let key = 0, chosen = -1, hovered = -1;
  let found = new Set(), results = [];
  let badges = new Map();

  function overlap(faults) {
    const ends = [];
    let most = 0;
    for (const [, from, until] of faults) {
      const free = ends.findIndex((end) => end <= from);
      ends[free < 0 ? ends.length : free] = until ?? Infinity;
      most = Math.max(most, ends.length);
    }
    return most;
  }

  const isWitness = (i) => badges.has(i);
  const isFaint = (i) => key !== 0 && bars.key[i] !== key && !badges.has(i) && !found.has(i) && i !== chosen;

  function show(a, b) {
    const least = byTime ? Math.max((END - START) / 1e7, 10) : 3;
    const width = Math.min(Math.max(b - a, least), (END - START) * 1.06);
    const middle = (a + b) / 2, margin = (END - START) * 0.03;
    const from = Math.min(Math.max(middle - width / 2, START - margin), END + margin - width);
    view = { a: from, b: from + width };
    redraw();
  }

  const zoom = (factor, u = (view.a + view.b) / 2) => show(u - (u - view.a) * factor, u + (view.b - u) * factor);
  const pan = (part) => show(view.a + (view.b - view.a) * part, view.b + (view.b - view.a) * part);

  /// Shows all calls of the current violation, with some room around; of an endless one its beginning counts.
  function showWitness() {
    const list = current < 0 ? [] : story.witnesses[current].bars;
    if (!list.length) return show(START, byTime ? END : Math.min(END, 300));
    const from = Math.min(...list.map((i) => u0[i])), to = Math.max(...list.map((i) => known[i]));
    const room = Math.max((to - from) * 0.12, byTime ? 1000 : 6);
    show(from - room, to + room);
  }

  function turnTo(number) {
    current = number;
    badges = new Map(number < 0 ? [] : story.witnesses[number].bars.map((i, n) => [i, letters(n)]));
    key = number < 0 ? 0 : story.witnesses[number].key;
    $("key").value = String(key);
    document.querySelectorAll(".violation").forEach((one, n) => one.classList.toggle("current", n === number));
  }

  // ---------------------------------------------------------------- where lanes lie

  let tops = [], heights = [];

  function isIdle(lane) {
    const next = lowest(0, lane.length, (n) => u1[lane[n]] >= view.a);
    return next === lane.length || u0[lane[next]] > view.b;
  }

  function layOut() {
    const mode = $("lanes").value;
    const special = new Set([...badges.keys()].map((i) => bars.lane[i]));
    if (chosen >= 0) special.add(bars.lane[chosen]);
    // Where not all lanes have room, those in which nothing is shown leave theirs to the others.
    const room = frame.clientHeight - HEAD - special.size * TALL;
    const isCrowded = mode === "fit" && room < (lanes.length - special.size) * TALL;
    const folded = new Set(isCrowded ? lanes.map((_, n) => n).filter((n) => !special.has(n) && isIdle(lanes[n])) : []);
    const rest = Math.max(1, lanes.length - special.size - folded.size);
    const share = Math.min(Math.max((room - folded.size * THIN) / rest, THIN), TALL);
    const usual = mode === "tall" ? TALL : mode === "witness" ? THIN : share;
    let y = HEAD;
    lanes.forEach((_, lane) => {
      tops[lane] = y;
      heights[lane] = special.has(lane) ? TALL : folded.has(lane) ? THIN : usual;
      y += heights[lane];
    });
    $("lanes-space").style.height = Math.max(0, y - frame.clientHeight + 4) + "px";
  }

  // ---------------------------------------------------------------- drawing

  // The colours are those of the drawings, so that both change together.
  let paint = {};
  const HUES = {
    read: "read", get: "read", r: "read", dequeue: "read", drain: "read", contains: "read",
    write: "write", put: "write", w: "write", add: "write", append: "write", enqueue: "write", inc: "write",
    increment: "write", cas: "cas", delete: "delete", remove: "delete", dec: "delete", decrement: "delete",
  };
  const hues = story.texts.map((name) => (Object.hasOwn(HUES, name) ? HUES[name] : "other"));

  function readColours() {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "gw");
    svg.style.cssText = "position:absolute;width:0;height:0";
    document.body.append(svg);
    const of = (name) => {
      const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
      shape.setAttribute("class", "gw-" + name);
      svg.append(shape);
      const { fill, stroke } = getComputedStyle(shape);
      return { fill, stroke };
    };
    const style = getComputedStyle(document.documentElement);
    paint = { mark: style.getPropertyValue("--mark"), ink: style.getPropertyValue("--ink"), quiet: style.getPropertyValue("--quiet") };
    paint.line = style.getPropertyValue("--line");
    for (const name of ["read", "write", "cas", "delete", "other", "witness", "badge", "fault", "moment", "ground", "lane"]) {
      paint[name] = of(name);
    }
    paint.letter = style.getPropertyValue("--on");
    paint.faulty = style.getPropertyValue("--doubt");
    svg.remove();
    const tile = document.createElement("canvas");
    tile.width = tile.height = 6;
    const pen = tile.getContext("2d");
    pen.globalAlpha = 0.5;
    pen.strokeStyle = paint.quiet;
    pen.lineWidth = 1;
    for (const d of [-6, 0, 6]) {
      pen.moveTo(d, 6);
      pen.lineTo(d + 6, 0);
    }
    pen.stroke();
    paint.hatch = tile;
  }

  function drawLegend() {
    const shown = new Set(Array.from(bars.f, (f) => hues[f]));
    const items = ["read", "write", "cas", "delete", "other"].filter((hue) => shown.has(hue)).map((hue) => {
      const item = document.createElement("span"), swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = paint[hue].fill;
      swatch.style.borderColor = paint[hue].stroke;
      item.append(swatch, hue);
      return item;
    });
    const says = ["hatched: failed", "torn, dashed: nobody knows", "faint: another key", "letters: calls of the violation"];
    says.push("keys: arrows + − move and zoom, n p step through the violation, [ ] through a process, 0 shows all");
    $("legend").replaceChildren(...items, ...says.map((words) => {
      const item = document.createElement("span");
      item.textContent = words;
      return item;
    }));
  }

  let isDue = false;
  function redraw() {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      drawLanes();
      drawOverview();
    });
  }

  /// A canvas as large as it is shown, in the pixels of the screen; its pen and its size.
  function sheet(canvas, height) {
    const ratio = window.devicePixelRatio || 1, width = canvas.parentElement.clientWidth;
    canvas.style.width = width + "px";
    canvas.style.height = height + "px";
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    return { pen, width, height };
  }

  const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
  const xOf = (u, width) => GUTTER + ((u - view.a) / (view.b - view.a)) * (width - GUTTER);
  const uOf = (x, width) => view.a + ((x - GUTTER) / (width - GUTTER)) * (view.b - view.a);

  function drawLanes() {
    layOut();
    const { pen, width, height } = sheet(picture, frame.clientHeight);
    const scroll = frame.scrollTop;
    pen.textBaseline = "middle";
    drawFaults(pen, width, height);
    const shown = lanes.map((_, n) => n).filter((n) => tops[n] + heights[n] >= scroll + HEAD && tops[n] <= scroll + height);
    inside(pen, GUTTER - 1, width, height, scroll, () => {
      pen.fillStyle = paint.line;
      for (const n of shown) if (heights[n] >= 8) pen.fillRect(GUTTER, tops[n] + heights[n] - 0.5, width, 0.5);
      for (const n of shown) drawLane(pen, width, lanes[n], tops[n], heights[n]);
    });
    inside(pen, 0, width, height, scroll, () => {
      for (const n of shown) if (heights[n] >= 10) nameLane(pen, lanes[n], tops[n], heights[n]);
    });
    pen.globalAlpha = 1;
    drawAxis(pen, width);
  }

  /// Draws within the area of the lanes, as far as they are scrolled.
  function inside(pen, left, width, height, scroll, draw) {
    pen.save();
    pen.beginPath();
    pen.rect(left, HEAD, width - left, height - HEAD);
    pen.clip();
    pen.translate(0, -scroll);
    draw();
    pen.restore();
  }

  function drawLane(pen, width, lane, y, h) {
    const first = lowest(0, lane.length, (n) => u1[lane[n]] >= view.a);
    const late = [];
    let covered = -1;
    for (let n = first; n < lane.length && u0[lane[n]] <= view.b; n++) {
      const i = lane[n];
      if (isWitness(i) || i === chosen || found.has(i)) {
        late.push(i);
        continue;
      }
      // What ends within a pixel that is drawn already would not be seen.
      const x = Math.round(xOf(u0[i], width)), end = xOf(u1[i], width);
      if (end < covered) continue;
      covered = Math.max(x + 1, end);
      drawBar(pen, width, i, y, h);
    }
    late.sort((a, b) => isWitness(a) - isWitness(b)).forEach((i) => drawBar(pen, width, i, y, h));
  }

  /// The process that the lane is of; where several share it, the one that is shown first.
  function nameLane(pen, lane, y, h) {
    if (!lane.length) return;
    const first = lowest(0, lane.length - 1, (n) => u1[lane[n]] >= view.a);
    const name = story.processes[bars.process[lane[first]]];
    pen.fillStyle = paint.quiet;
    pen.font = `${h >= 15 ? 12 : 10}px ${FONT}`;
    pen.textAlign = "right";
    const isLong = h >= 15 && widthOf(pen, "process " + name) <= GUTTER - 12;
    pen.fillText(fit(pen, (isLong ? "process " : "") + name, GUTTER - 12), GUTTER - 8, y + h / 2);
    pen.textAlign = "left";
  }

  function drawBar(pen, width, i, y, h) {
    const left = Math.max(xOf(u0[i], width), GUTTER - 9);
    let right = Math.min(xOf(u1[i], width), width + 9);
    const isOpen = bars.outcome[i] === UNKNOWN, special = isWitness(i) || i === chosen || found.has(i);
    right = Math.max(right, left + (special ? 4 : 1));
    const gap = h >= 15 ? 3 : h >= 8 ? 1.5 : 0.5;
    const top = y + gap, tall = h - 2 * gap, hue = paint[hues[bars.f[i]]];
    pen.globalAlpha = isFaint(i) ? 0.22 : 1;
    if (right - left <= 3 && !special) {
      pen.fillStyle = hue.stroke;
      pen.fillRect(left, top, right - left, tall);
      return;
    }
    outline(pen, left, top, right, tall, isOpen && right <= width);
    pen.fillStyle = hue.fill;
    pen.fill();
    if (isOpen) fadeTail(pen, xOf(known[i], width), left, top, right, tall);
    if (bars.outcome[i] === FAIL) {
      pen.fillStyle = pen.createPattern(paint.hatch, "repeat");
      pen.fill();
    }
    const stroke = isWitness(i) ? paint.witness.stroke : hue.stroke;
    pen.strokeStyle = i === chosen || i === hovered ? paint.mark : found.has(i) ? paint.faulty : stroke;
    pen.lineWidth = special && right - left > 7 ? 2.4 : special ? 1.5 : i === hovered ? 2 : 1;
    pen.setLineDash(isOpen ? [5, 3] : []);
    pen.stroke();
    pen.setLineDash([]);
    if (right - left <= 22 && badges.has(i) && tall >= 13) drawBadge(pen, badges.get(i), (left + right) / 2, top + tall / 2);
    else if (h >= 10 && right - left > 12) labelBar(pen, i, Math.max(left, GUTTER), right, top, tall);
  }

  /// A bar's shape. The end of a call that nobody saw end is torn.
  function outline(pen, left, top, right, tall, isTorn) {
    pen.beginPath();
    if (!isTorn || right - left < 8) return pen.roundRect(left, top, right - left, tall, Math.min(4, (right - left) / 3, tall / 3));
    pen.moveTo(left, top);
    pen.lineTo(right, top);
    for (let n = 1; n <= 6; n++) pen.lineTo(right - (n % 2 ? 5 : 0), top + (tall * n) / 6);
    pen.lineTo(left, top + tall);
    pen.closePath();
  }

  /// After the moment at which a call's end became unknown it is a mere possibility.
  function fadeTail(pen, from, left, top, right, tall) {
    const start = Math.max(from, left);
    if (right - start < 12) return;
    pen.save();
    pen.clip();
    pen.globalAlpha *= 0.6;
    pen.fillStyle = paint.ground.fill;
    pen.fillRect(start, top, right - start, tall);
    pen.restore();
  }

  function labelBar(pen, i, left, right, top, tall) {
    const size = tall >= 13 ? 12 : 10;
    let x = left + 5;
    if (badges.has(i) && tall >= 13) {
      drawBadge(pen, badges.get(i), x + 5, top + tall / 2);
      x += 16;
    }
    if (isFaint(i)) return;
    pen.fillStyle = paint.ink;
    pen.font = `${size}px ${FONT}`;
    const label = fitLabel(pen, i, right - x - 3);
    pen.fillText(label, x, top + tall / 2 + 0.5);
    const node = text(bars.node[i]), end = x + widthOf(pen, label);
    if (!label || !node || right - end < widthOf(pen, node) + 14) return;
    pen.fillStyle = paint.quiet;
    pen.font = `10px ${FONT}`;
    pen.fillText(node, Math.min(right, picture.clientWidth) - widthOf(pen, node) - 5, top + tall / 2 + 0.5);
  }

  function drawBadge(pen, letter, x, y) {
    pen.fillStyle = paint.badge.fill;
    pen.beginPath();
    pen.arc(x, y, 7.5, 0, 7);
    pen.fill();
    pen.fillStyle = paint.letter;
    pen.font = `700 ${letter.length > 1 ? 8 : 10}px ${FONT}`;
    pen.textAlign = "center";
    pen.fillText(letter, x, y + 0.5);
    pen.textAlign = "left";
  }

  const widths = new Map();
  function widthOf(pen, words) {
    const name = pen.font + words;
    if (!widths.has(name)) {
      if (widths.size > 20000) widths.clear();
      widths.set(name, pen.measureText(words).width);
    }
    return widths.get(name);
  }

  /// As much of the words as there is room for; nothing if that says nothing.
  function fit(pen, words, room) {
    if (room < 8) return "";
    const whole = widthOf(pen, words);
    if (whole <= room) return words;
    const letters = Math.floor((room / whole) * words.length) - 1;
    return letters < 2 ? "" : words.slice(0, letters) + "…";
  }

  /// A call's label; where that finds no room, without the function, which the colour says, too; then the bare value.
  function fitLabel(pen, i, room) {
    const label = text(bars.label[i]), rest = label.slice(text(bars.f[i]).length).trim();
    const fits = [label, rest, rest.replace(/^→ /, "")].find((words) => words && widthOf(pen, words) <= room);
    return fits ?? (room > 45 ? fit(pen, label, room) : "");
  }

  function drawFaults(pen, width, height) {
    const ends = [];
    for (const [name, from, until] of story.faults) {
      const start = along(from), end = until === null ? END * 2 : along(until);
      if (end < view.a || start > view.b) continue;
      const x = Math.max(xOf(start, width), GUTTER), x1 = Math.min(xOf(end, width), width);
      let row = ends.findIndex((taken) => taken <= x);
      if (row < 0) row = ends.length;
      const y = AXIS + Math.min(row, faultRows - 1) * ROW;
      if (from === until) {
        pen.strokeStyle = paint.moment.stroke;
        pen.lineWidth = 1.5;
        pen.setLineDash([6, 3]);
        pen.beginPath();
        pen.moveTo(x, y);
        pen.lineTo(x, height);
        pen.stroke();
        pen.setLineDash([]);
      } else {
        pen.globalAlpha = 0.17;
        pen.fillStyle = paint.fault.fill;
        pen.fillRect(x, y, Math.max(x1 - x, 2), height - y);
        pen.globalAlpha = 1;
      }
      if (row >= faultRows) continue;
      pen.fillStyle = paint.faulty;
      pen.font = `12px ${FONT}`;
      pen.fillText(name, x + 4, y + ROW / 2);
      ends[row] = Math.max(x1, x + widthOf(pen, name) + 10);
    }
  }

  function drawAxis(pen, width) {
    pen.fillStyle = paint.ground.fill;
    pen.fillRect(0, 0, width, AXIS);
    pen.fillStyle = paint.quiet;
    pen.strokeStyle = paint.quiet;
    pen.lineWidth = 1;
    pen.font = `11px ${FONT}`;
    pen.fillText(byTime ? "time" : story.place, 8, AXIS / 2);
    const rough = ((view.b - view.a) * 90) / Math.max(width - GUTTER, 1), ten = 10 ** Math.floor(Math.log10(rough));
    const step = Math.max([1, 2, 5, 10].map((n) => n * ten).find((n) => n >= rough), byTime ? 1e-9 : 1);
    for (let u = Math.ceil(Math.max(view.a, START) / step) * step; u <= Math.min(view.b, END); u += step) {
      const x = xOf(u, width);
      pen.beginPath();
      pen.moveTo(x, AXIS - 4);
      pen.lineTo(x, AXIS);
      pen.stroke();
      const label = byTime ? span(u) : count(placeAt(u));
      pen.fillText(label, Math.min(x + 3, width - widthOf(pen, label) - 2), AXIS / 2);
    }
  }

  // ---------------------------------------------------------------- the overview

  const OVERVIEW = 58;
  const whereOver = (u, width) => ((u - START) / (END - START)) * width;

  function drawOverview() {
    const { pen, width, height } = sheet(overview, OVERVIEW);
    const most = story.overview.open.reduce((a, b) => Math.max(a, b), 1), foot = height - 6;
    pen.fillStyle = paint.fault.fill;
    for (const [, from, until] of story.faults) {
      const x = whereOver(along(from), width), x1 = until === null ? width : whereOver(along(until), width);
      pen.globalAlpha = 0.35;
      pen.fillRect(x, 8, Math.max(x1 - x, 1.5), foot - 8);
    }
    pen.globalAlpha = 0.55;
    for (let n = 0; n < samples; n++) {
      const [x, x1] = [n, n + 1].map((s) => whereOver(along((s / samples) * story.events), width));
      const share = (number) => (number / most) * (foot - 14);
      pen.fillStyle = paint.read.stroke;
      pen.fillRect(x, foot - share(story.overview.open[n]), Math.max(x1 - x, 0.5), share(story.overview.open[n]));
      const doubt = story.overview.failed[n] + story.overview.unknown[n];
      pen.fillStyle = paint.faulty;
      if (doubt) pen.fillRect(x, foot, Math.max(x1 - x, 1), 6);
    }
    pen.globalAlpha = 1;
    if (key) drawKey(pen, width, foot);
    if (!story.is_whole) {
      pen.fillStyle = paint.mark;
      for (const [from, to] of story.windows) {
        pen.fillRect(whereOver(along(from), width), height - 2, Math.max(whereOver(along(to) - along(from) + START, width), 2), 2);
      }
    }
    story.witnesses.forEach((witness, number) => {
      pen.fillStyle = paint.witness.stroke;
      for (const i of witness.bars) {
        const x = whereOver(u0[i], width), tall = number === current ? 9 : 5;
        pen.beginPath();
        pen.moveTo(x - 4, 0);
        pen.lineTo(x + 4, 0);
        pen.lineTo(x, tall);
        pen.fill();
      }
    });
    const a = whereOver(view.a, width), b = whereOver(view.b, width);
    pen.strokeStyle = paint.mark;
    pen.lineWidth = 2;
    pen.strokeRect(Math.max(a, 1), 1, Math.max(Math.min(b, width - 1) - Math.max(a, 1), 3), height - 2);
    pen.globalAlpha = 0.12;
    pen.fillStyle = paint.mark;
    pen.fillRect(a, 0, b - a, height);
    pen.globalAlpha = 1;
  }

  /// Where the chosen key's calls are.
  function drawKey(pen, width, foot) {
    pen.fillStyle = paint.quiet;
    let last = -1;
    for (let i = 0; i < total; i++) {
      const x = Math.round(whereOver(u0[i], width));
      if (bars.key[i] !== key || x === last) continue;
      pen.fillRect(x, foot - 2, 1, 2);
      last = x;
    }
  }

  // ---------------------------------------------------------------- finding what is under the pointer

  function barAt(x, y) {
    if (x < GUTTER || y < HEAD) return -1;
    const down = y + frame.scrollTop, lane = lowest(0, lanes.length, (n) => tops[n] > down) - 1;
    if (lane < 0 || down > tops[lane] + heights[lane]) return -1;
    // A bar of a pixel is hard to meet, so the nearest within four counts.
    const width = picture.clientWidth, list = lanes[lane];
    const near = uOf(x + 4, width) - uOf(x, width), u = uOf(x, width);
    let best = -1, least = near;
    for (let n = lowest(0, list.length, (k) => u1[list[k]] >= u - near); n < list.length && u0[list[n]] <= u + near; n++) {
      const i = list[n], away = Math.max(u0[i] - u, u - u1[i], 0);
      if (away < least || (best >= 0 && away === least && !isFaint(i))) [best, least] = [i, away];
    }
    return best;
  }

  const OUTCOME_SAYS = ["ok: it happened", "failed: it certainly did not happen", "unknown: it may have happened, or may yet"];

  /// What is known of a call: pairs of a name and words.
  function facts(i) {
    const list = [];
    const end = (is, position, place, t) =>
      [is, `${story.place} ${count(place)}${times.length ? ", " + (t / 1e9).toFixed(9).replace(/0{3,6}$/, "") + " s" : ""}`, said(i, is === "completed")];
    list.push(end("invoked", bars.from[i], bars.place[i], bars.t0[i]));
    if (bars.to[i] >= 0) list.push(end("completed", bars.to[i], bars.place_end[i], bars.t1[i]));
    list.push(["outcome", OUTCOME_SAYS[bars.outcome[i]]]);
    if (bars.error[i]) list.push(["error", text(bars.error[i])]);
    if (bars.node[i]) list.push(["node", text(bars.node[i])]);
    if (bars.to[i] >= 0) {
      const took = times.length ? span(bars.t1[i] - bars.t0[i]) + ", " : "";
      list.push(["took", `${took}${count(bars.to[i] - bars.from[i] - 1)} events between`]);
    }
    return list;
  }

  function tell(parent, i) {
    const title = document.createElement("b"), list = document.createElement("dl");
    title.textContent = `${badges.has(i) ? badges.get(i) + "  " : ""}${text(bars.label[i])}${bars.key[i] ? ", key " + text(bars.key[i]) : ""}`;
    for (const [name, words, event] of facts(i)) {
      const dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = name;
      dd.textContent = words;
      if (event) {
        const code = document.createElement("code");
        code.textContent = event;
        dd.append("  ", code);
      }
      list.append(dt, dd);
    }
    parent.replaceChildren(title, list);
  }

  function hover(i, x, y) {
    if (i !== hovered) {
      hovered = i;
      redraw();
    }
    const tip = $("tip");
    tip.hidden = i < 0;
    if (i < 0) return;
    tell(tip, i);
    const stage = $("stage").getBoundingClientRect(), area = picture.getBoundingClientRect();
    const left = area.left - stage.left + x + 14, top = area.top - stage.top + y + 16;
    tip.style.left = Math.max(4, Math.min(left, stage.width - tip.offsetWidth - 4)) + "px";
    tip.style.top = (top + tip.offsetHeight > stage.height ? top - tip.offsetHeight - 30 : top) + "px";
  }

  // ---------------------------------------------------------------- choosing

  function choose(i, isCentred) {
    chosen = i;
    const box = $("chosen");
    if (i < 0) box.replaceChildren("Choose a call to see what was recorded of it.");
    else {
      tell(box, i);
      box.dataset.position = bars.from[i];
    }
    if (i >= 0 && isCentred) bringIntoView(i);
    redraw();
  }

  function bringIntoView(i) {
    const width = view.b - view.a, end = Math.max(known[i], u0[i]);
    if (u0[i] < view.a + width * 0.04 || Math.min(end, u0[i] + width / 2) > view.b - width * 0.04) {
      const wide = Math.max(width, (end - u0[i]) * 1.3), middle = (u0[i] + end) / 2;
      show(middle - wide / 2, middle + wide / 2);
    }
    layOut();
    const y = tops[bars.lane[i]];
    if (y < frame.scrollTop + HEAD || y + TALL > frame.scrollTop + frame.clientHeight) {
      frame.scrollTop = y - frame.clientHeight / 2;
    }
  }

  /// The call with an event at a position.
  function holding(position) {
    for (let i = lowest(0, total, (k) => bars.from[k] > position) - 1; i >= 0; i--) {
      if (bars.from[i] === position || bars.to[i] === position) return i;
    }
    return -1;
  }

  function step(list, by) {
    if (!list.length) return;
    const at = list.indexOf(chosen);
    choose(list[at < 0 ? (by > 0 ? 0 : list.length - 1) : (at + by + list.length) % list.length], true);
  }

  // ---------------------------------------------------------------- searching

  function search() {
    const words = $("search").value.trim().toLowerCase();
    const place = /^(line|event|index)\s+(\d+)$/.exec(words), process = /^process\s+(\S+)$/.exec(words);
    let is = () => false;
    if (place) is = (i) => bars.place[i] === Number(place[2]) || (bars.to[i] >= 0 && bars.place_end[i] === Number(place[2]));
    else if (process) is = (i) => story.processes[bars.process[i]].toLowerCase() === process[1];
    else if (words) {
      const hits = story.texts.map((one) => one.toLowerCase().includes(words));
      is = (i) => ["label", "key", "argument", "result", "node", "error"].some((name) => bars[name][i] && hits[bars[name][i]]);
    }
    results = [];
    for (let i = 0; i < total; i++) if (is(i)) results.push(i);
    found = new Set(results);
    tellFound();
    redraw();
  }

  function tellFound() {
    const at = results.indexOf(chosen);
    $("found").textContent = !$("search").value.trim() ? "" : at < 0 ? `${count(results.length)} found` : `${count(at + 1)} of ${count(results.length)}`;
  }

  // ---------------------------------------------------------------- the address

  /// "#v2" is the second violation, "#v2-p17" its event at position 17.
  function follow() {
    const match = /^#v(\d+)(?:-p(\d+))?$/.exec(location.hash);
    if (!match || Number(match[1]) < 1 || Number(match[1]) > story.witnesses.length) return false;
    const number = Number(match[1]) - 1, details = $("v" + (number + 1));
    const isNew = number !== current || view.b - view.a >= END - START;
    turnTo(number);
    if (details) details.open = true;
    if (details && isNew) details.scrollIntoView({ block: "nearest" });
    if (isNew) showWitness();
    if (match[2] === undefined) return true;
    const i = holding(Number(match[2]));
    if (i >= 0) choose(i, true);
    else show(along(Number(match[2])) - (view.b - view.a) / 2, along(Number(match[2])) + (view.b - view.a) / 2);
    document.querySelectorAll("#words a.on").forEach((link) => link.classList.remove("on"));
    document.querySelectorAll(`#words a[href="${match[0]}"]`).forEach((link) => link.classList.add("on"));
    if ($("stage").getBoundingClientRect().top > window.innerHeight * 0.8) $("stage").scrollIntoView();
    return true;
  }

  // ---------------------------------------------------------------- input

  /// Calls `move` with the way of a pointer that is held down, and `end` when it is let go.
  function dragging(target, begin, move, end) {
    target.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      const start = { x: event.clientX, y: event.clientY, ...begin(event) };
      const on = (e) => move(e, start), off = (e) => {
        target.removeEventListener("pointermove", on);
        target.removeEventListener("pointerup", off);
        target.removeEventListener("pointercancel", off);
        end(e, start);
      };
      target.setPointerCapture(event.pointerId);
      target.addEventListener("pointermove", on);
      target.addEventListener("pointerup", off);
      target.addEventListener("pointercancel", off);
    });
  }

  const within = (canvas, event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top, box.width];
  };

  function listen() {
    let isDragged = false;
    dragging(picture, () => ({ ...view, scroll: frame.scrollTop }), (event, start) => {
      if (Math.abs(event.clientX - start.x) + Math.abs(event.clientY - start.y) > 4) isDragged = true;
      if (!isDragged) return;
      const by = ((start.x - event.clientX) / (picture.clientWidth - GUTTER)) * (start.b - start.a);
      frame.scrollTop = start.scroll + start.y - event.clientY;
      show(start.a + by, start.b + by);
    }, (event) => {
      if (!isDragged) choose(barAt(...within(picture, event)), false);
      isDragged = false;
    });
    picture.addEventListener("pointermove", (event) => {
      const [x, y] = within(picture, event);
      hover(isDragged ? -1 : barAt(x, y), x, y);
    });
    picture.addEventListener("pointerleave", () => hover(-1));
    picture.addEventListener("wheel", (event) => {
      event.preventDefault();
      const [x, , width] = within(picture, event), lines = event.deltaMode ? 30 : 1;
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan(((event.deltaX || event.deltaY) * lines) / width);
      else zoom(1.0016 ** (event.deltaY * lines), uOf(x, width));
    }, { passive: false });
    // In the overview a click centres the window there, a drag within the window moves it, and one elsewhere makes a new one.
    const uOver = (event) => START + (within(overview, event)[0] / overview.clientWidth) * (END - START);
    dragging(overview, (event) => {
      const u = uOver(event), isWithin = u > view.a && u < view.b && view.b - view.a < (END - START) * 0.9;
      return { ...view, u, isWithin };
    }, (event, start) => {
      const u = uOver(event);
      if (Math.abs(event.clientX - start.x) < 4) return;
      if (start.isWithin) show(start.a + u - start.u, start.b + u - start.u);
      else show(Math.min(u, start.u), Math.max(u, start.u));
    }, (event, start) => {
      const half = (start.b - start.a) / 2;
      if (Math.abs(event.clientX - start.x) < 4) show(start.u - half, start.u + half);
    });
    frame.addEventListener("scroll", redraw);
    new ResizeObserver(redraw).observe(frame);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (readColours(), drawLegend(), redraw()));
    const click = (id, act) => $(id).addEventListener("click", act);
    click("to-witness", showWitness);
    click("to-all", () => show(START, END));
    click("zoom-in", () => zoom(0.6));
    click("zoom-out", () => zoom(1 / 0.6));
    $("key").addEventListener("change", () => ((key = Number($("key").value)), redraw()));
    $("lanes").addEventListener("change", redraw);
    $("clock").addEventListener("change", () => {
      const middle = placeOf((view.a + view.b) / 2), width = (view.b - view.a) / (END - START);
      byTime = $("clock").checked;
      measure();
      show(along(middle) - (width * (END - START)) / 2, along(middle) + (width * (END - START)) / 2);
      if (badges.size) showWitness();
    });
    $("search").addEventListener("input", search);
    $("search").addEventListener("keydown", (event) => {
      if (event.key === "Enter") step(results, event.shiftKey ? -1 : 1);
      tellFound();
    });
    window.addEventListener("hashchange", follow);
    // A link that is followed twice changes no address.
    $("words").addEventListener("click", (event) => {
      const link = event.target.closest("a[href^='#v']");
      if (link && link.getAttribute("href") === location.hash) follow();
    });
    document.querySelectorAll(".violation").forEach((details, number) =>
      details.addEventListener("toggle", () => {
        if (!details.open || number === current) return;
        turnTo(number);
        showWitness();
      }),
    );
    window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
    document.addEventListener("keydown", onKey);
  }

  /// The position at a place of the axis, about.
  function placeOf(u) {
    if (!byTime) return u;
    return (lowest(0, samples, (n) => times[n + 1] >= u) / samples) * story.events;
  }

  const KEYS = {
    ArrowLeft: () => pan(-0.15), ArrowRight: () => pan(0.15),
    ArrowUp: () => (frame.scrollTop -= 60), ArrowDown: () => (frame.scrollTop += 60),
    "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6),
    Home: () => show(START, START + view.b - view.a), End: () => show(END - view.b + view.a, END),
    0: () => show(START, END), f: showWitness,
    n: () => step([...badges.keys()], 1), p: () => step([...badges.keys()], -1),
    "]": () => chosen >= 0 && step(lanes[bars.lane[chosen]], 1), "[": () => chosen >= 0 && step(lanes[bars.lane[chosen]], -1),
    "/": () => $("search").focus(), Escape: () => choose(-1),
  };
  const EVERYWHERE = new Set(["0", "f", "n", "p", "/", "+", "-", "Escape"]);

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const isHere = event.target === frame || EVERYWHERE.has(event.key);
    if (!isHere || !Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    KEYS[event.key]();
  }

  function begin() {
    if (!total) return;
    document.documentElement.classList.add("drawn");
    $("stage").hidden = false;
    const keys = [...new Set(bars.key)].filter((one) => one).sort((a, b) => text(a).localeCompare(text(b), "en", { numeric: true }));
    const option = (value, words) => $("key").append(new Option(words, String(value)));
    option(0, "all");
    keys.forEach((one) => option(one, text(one)));
    $("key").parentElement.hidden = keys.length < 2;
    $("clock-label").hidden = !times.length;
    $("to-witness").hidden = !story.witnesses.length;
    if (!story.is_whole) {
      $("partial").hidden = false;
      $("partial").textContent = `Of ${count(story.operations)} operations only ${count(total)} are drawn: ${story.witnesses.length ? "those around the violations" : "the first ones"}. The strip above is of all; a blue line below it says which parts are here.`;
    }
    readColours();
    drawLegend();
    measure();
    listen();
    choose(-1);
    turnTo(current);
    showWitness();
    follow();
  }

  begin();
})();
