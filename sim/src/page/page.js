// Draws a story. The parts, in order: the story as things; time; what is shown; where things lie; drawing; finding
// what is under the pointer; pinning and stepping; panels; the address; input. All times are nanoseconds.
"use strict";
(() => {
  const story = JSON.parse(document.getElementById("story").textContent);
  const $ = (id) => document.getElementById(id);

  /// A new element. Children are elements or text; text is never markup.
  function el(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  // ---------------------------------------------------------------- the story as things

  // A thing has a type, its place in the story's list, what the story says of it (s), its times t0 ≤ t1 and the same in
  // drawn time (u0, u1), its node and key if it has them, and whether it is shown or faint.
  const LETTER = { call: "c", message: "m", event: "e", state: "s", fault: "x", spell: "p" };
  const things = [];
  const all = { call: [], message: [], event: [], state: [], fault: [], spell: [] };
  const byId = new Map();

  function add(type, i, s, t0, t1, more) {
    const thing = {
      type,
      i,
      s,
      id: LETTER[type] + i,
      t0,
      t1: Math.max(t0, t1),
      u0: 0,
      u1: 0,
      node: s.node ?? null,
      key: s.key ?? null,
      shown: true,
      faint: false,
      row: 0,
      ...more,
    };
    things.push(thing);
    all[type].push(thing);
    byId.set(thing.id, thing);
  }

  const median = (list) => (list.length ? list.sort((a, b) => a - b)[list.length >> 1] : 0);
  const flightUsual =
    median(story.messages.filter((m) => m.fate === "arrived" && m.at_ns !== null).map((m) => m.at_ns - m.sent_ns)) ||
    Math.max(1, story.end_ns / 500);
  const callUsual = median(story.calls.filter((c) => c.outcome === "ok").map((c) => c.to_ns - c.from_ns));
  const marksOf = [
    story.messages.map((m) => m.at_ns ?? m.sent_ns),
    story.events.map((e) => e.at_ns),
    story.calls.map((c) => c.to_ns),
    story.faults.map((f) => f.to_ns),
  ];
  // An empty story still has an axis.
  const END = Math.max(
    1,
    story.end_ns,
    ...marksOf.map((list) => list.reduce((a, b) => Math.max(a, b), 0)).filter((at) => at <= 4 * story.end_ns),
  );

  // How much of a message's way is drawn, and until when. What was lost on its way ends halfway.
  function wayOf(m) {
    const whole = Math.max(0, (m.at_ns ?? m.sent_ns + flightUsual) - m.sent_ns);
    if (m.fate === "lost" || m.fate === "cut") {
      // Halfway lies between two lanes; where it would lie on a lane, the end is drawn beyond it.
      const far = Math.abs(m.to - m.from),
        part = far > 0 && far % 2 === 0 ? 0.5 + 0.5 / far : 0.5;
      return { t1: m.sent_ns + whole * part, part };
    }
    const rest = story.end_ns - m.sent_ns;
    if (m.fate === "underway" && (m.at_ns === null || whole > rest)) {
      return { t1: Math.min(m.sent_ns + whole, END), part: m.at_ns === null ? 0.6 : Math.max(0.15, rest / whole) };
    }
    return { t1: m.sent_ns + whole, part: 1 };
  }

  story.calls.forEach((s, i) => add("call", i, s, s.from_ns, s.to_ns));
  story.messages.forEach((s, i) => {
    const way = wayOf(s);
    add("message", i, s, s.sent_ns, way.t1, { node: s.from, to: s.to, part: way.part });
  });
  story.events.forEach((s, i) => add("event", i, s, s.at_ns, s.at_ns));
  story.faults.forEach((s, i) =>
    add("fault", i, s, s.from_ns, s.to_ns, { whole: s.nodes.length === 0 || s.nodes.length >= story.nodes.length }),
  );
  story.spells.forEach((s, i) => add("spell", i, s, s.from_ns, s.to_ns));
  // A state lasts until the next one of the same key on the same node.
  const statesOf = new Map();
  story.states.forEach((s, i) => {
    add("state", i, s, s.at_ns, END);
    const place = s.node + "/" + s.key;
    const list = statesOf.get(place) || [];
    if (list.length) list[list.length - 1].t1 = s.at_ns;
    list.push(all.state[i]);
    statesOf.set(place, list);
  });

  const nodeName = (node) => story.nodes[node] ?? "n" + (node + 1);
  const count = (n) => n.toLocaleString("en");
  const FATES = ["arrived", "lost", "cut", "corrupted", "dead", "underway"];
  const FATE_SAYS = {
    arrived: "arrived",
    lost: "lost on its way",
    cut: "cut off by a partition",
    corrupted: "corrupted, and noticed",
    dead: "its receiver was down",
    underway: "on its way when the run ended",
  };
  const OUTCOME_SAYS = {
    ok: "ok",
    fail: "failed: it certainly did not happen",
    unknown: "unknown: nobody can say",
    open: "open when the run ended",
  };
  // A timer that fires says little; when one key is looked at it counts as another key's.
  const NOISE = new Set(["tick"]);

  // ---------------------------------------------------------------- time in words

  const THIN = "\u2009";
  function grouped(text) {
    const [whole, part] = text.split(".");
    const left = whole.replace(/\B(?=(\d{3})+$)/g, THIN);
    return part ? left + "." + part.replace(/(\d{3})(?=\d)/g, "$1" + THIN) : left;
  }

  /// A moment, exactly.
  function moment(ns) {
    const whole = Math.round(ns);
    return END >= 1e9
      ? grouped((whole / 1e9).toFixed(whole % 1000 ? 9 : 6)) + " s"
      : grouped((whole / 1e6).toFixed(whole % 1000 ? 6 : 3)) + " ms";
  }

  /// A length of time, about.
  function span(ns) {
    const [unit, size] = ns >= 1e9 ? ["s", 1e9] : ns >= 1e6 ? ["ms", 1e6] : ns >= 1e3 ? ["µs", 1e3] : ["ns", 1];
    const value = ns / size;
    const digits = unit === "ns" || value >= 100 ? 0 : value >= 10 ? 1 : 2;
    return (digits ? String(Number(value.toFixed(digits))) : value.toFixed(0)) + " " + unit;
  }

  /// Nanoseconds of "1.2s", "300ms", "15us" or "7ns"; a bare number counts seconds.
  function parseTime(text) {
    const match = /^([\d.]+)(s|ms|us|µs|ns)?$/.exec((text || "").replace(/\s/g, ""));
    if (!match || Number.isNaN(Number(match[1]))) return null;
    return Number(match[1]) * { s: 1e9, ms: 1e6, us: 1e3, µs: 1e3, ns: 1 }[match[2] || "s"];
  }

  // ---------------------------------------------------------------- drawn time

  // Drawn time u runs like time t, but a gap in which nothing shown begins or ends is drawn short: a break. Within a
  // break both run evenly, so what spans it is drawn across.
  let warp = { t: [0, END], u: [0, END], breaks: [], total: END };

  function makeWarp(compress) {
    if (!compress) return { t: [0, END], u: [0, END], breaks: [], total: END };
    const marks = [0, END];
    for (const thing of things) {
      if (!thing.shown) continue;
      marks.push(thing.t0);
      if (thing.t1 <= END) marks.push(thing.t1);
    }
    for (const at of [story.began_ns, story.healed_ns]) if (at !== null) marks.push(at);
    const sorted = Float64Array.from(marks).sort();
    const unit = Math.min(Math.max(2 * flightUsual, callUsual / 4), END / 40);
    const t = [0],
      u = [0],
      breaks = [];
    let at = 0,
      shortened = 0;
    for (const mark of sorted) {
      const gap = mark - at;
      if (gap > 4 * unit) {
        // Both ends of the gap keep their pace, so that what ends or begins there is not glued to the break.
        const from = at + unit / 2,
          to = mark - unit / 2;
        breaks.push({ t0: from, t1: to, u0: from - shortened, u1: from - shortened + unit });
        t.push(from, to);
        u.push(from - shortened, from - shortened + unit);
        shortened += to - from - unit;
      }
      at = mark;
    }
    t.push(END);
    u.push(END - shortened);
    return { t, u, breaks, total: END - shortened };
  }

  function along(from, to, value) {
    let low = 0,
      high = from.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (from[middle] <= value) low = middle;
      else high = middle;
    }
    const width = from[high] - from[low];
    return width > 0 ? to[low] + ((value - from[low]) * (to[high] - to[low])) / width : to[low];
  }
  const drawn = (t) => along(warp.t, warp.u, t);
  const timeAt = (u) => along(warp.u, warp.t, u);

  // ---------------------------------------------------------------- what is shown

  const view = { u0: 0, px: 1, y: 0 };
  const choice = { key: "", others: "shown", compress: true, failure: 0, search: "", light: "key", theme: "" };
  const off = {
    node: new Set(),
    kind: new Set(),
    fate: new Set(),
    event: new Set(),
    act: new Set(),
    outcome: new Set(),
  };
  let pin = null,
    hover = null,
    pointer = null,
    lit = null,
    matches = [],
    matchAt = -1;

  function isOff(thing) {
    const s = thing.s;
    switch (thing.type) {
      case "call":
        return off.node.has(thing.node) || off.act.has(s.act) || off.outcome.has(s.outcome);
      case "message":
        return off.node.has(s.from) || off.node.has(s.to) || off.kind.has(s.kind) || off.fate.has(s.fate);
      case "event":
        return (s.node !== null && off.node.has(s.node)) || off.event.has(s.kind);
      case "state":
        return off.node.has(s.node) || s.key !== choice.key;
      case "spell":
        return off.node.has(s.node);
      default:
        return false;
    }
  }

  function isOther(thing) {
    if (!choice.key || thing.key === choice.key) return false;
    if (thing.type === "message" || thing.type === "call") return true;
    return thing.type === "event" && (thing.key !== null || NOISE.has(thing.s.kind));
  }

  /// Decides anew what is shown, and keeps the times that are in view.
  function choose() {
    const [from, to] = [timeAt(view.u0), timeAt(view.u0 + plotWidth() / view.px)];
    const hidden = { call: 0, message: 0, event: 0 };
    for (const thing of things) {
      const other = choice.others !== "shown" && isOther(thing);
      thing.shown = !isOff(thing) && !(other && choice.others === "hidden");
      thing.faint = other;
      if (!thing.shown && thing.type in hidden) hidden[thing.type] += 1;
    }
    warp = makeWarp(choice.compress);
    for (const thing of things) {
      thing.u0 = drawn(thing.t0);
      thing.u1 = thing.t1 === thing.t0 ? thing.u0 : drawn(Math.min(thing.t1, END));
    }
    marksByLane = null;
    contents = null;
    mapImage = null;
    sayHidden(hidden);
    look();
    place();
    fitTimes(from, to);
    findLit();
  }

  function sayHidden(hidden) {
    const sum = hidden.call + hidden.message + hidden.event;
    const parts = Object.entries(hidden)
      .filter(([, n]) => n > 0)
      .map(([type, n]) => count(n) + " " + type + (n > 1 ? "s" : ""));
    const of = all.call.length + all.message.length + all.event.length;
    $("hides").textContent = sum ? `hides ${count(sum)} of ${count(of)}` : "";
    $("hides").title = parts.join(", ");
    $("hides").className = sum ? "some" : "";
    const foot = document.getElementById("filters-foot");
    if (foot) foot.textContent = sum ? "Hidden: " + parts.join(", ") + "." : "Nothing is hidden.";
  }

  // ---------------------------------------------------------------- where things lie

  const GUTTER = 96,
    AXIS = 24,
    FAULT_ROW = 17,
    ROWS_MAX = 9;
  const size = { w: 800, h: 500 };
  let lanes = [],
    laneOf = new Map(),
    top_ = AXIS,
    content = 0,
    faultRows = 1;
  const plotWidth = () => Math.max(50, size.w - GUTTER);
  const x = (u) => GUTTER + (u - view.u0) * view.px;

  /// Gives each of these the first row that is free, or the one that is soonest free when there are too many.
  function pack(list, rowsMax, room) {
    const ends = [];
    for (const thing of list) {
      let row = ends.findIndex((end) => end <= thing.u0);
      if (row < 0) row = ends.length < rowsMax ? ends.length : ends.indexOf(Math.min(...ends));
      ends[row] = Math.max(thing.u1, thing.u0 + room);
      thing.row = row;
    }
    return ends.length;
  }

  function place() {
    const nodes = story.nodes.map((_, node) => node).filter((node) => !off.node.has(node));
    const tiny = warp.total / 4000;
    faultRows = pack(all.fault, 5, warp.total / 60);
    top_ = AXIS + faultRows * FAULT_ROW + 16;
    const rows = nodes.map((node) =>
      pack(
        all.call.filter((c) => c.node === node && c.shown),
        ROWS_MAX,
        tiny,
      ),
    );
    const rowsSum = rows.reduce((a, b) => a + b, 0);
    const room = size.h - top_ - 6;
    const hasStates = choice.key !== "";
    // What is tried first is the most comfortable; what is left over becomes room between lanes.
    let fit = null;
    for (const [call, strip, gap, half] of [
      [18, 15, 34, 9],
      [15, 13, 24, 9],
      [12, 11, 18, 8],
      [9, 10, 12, 7],
      [6, 8, 8, 6],
      [5, 7, 5, 5],
    ]) {
      const band = hasStates ? strip : 0;
      const used = rowsSum * call + nodes.length * (2.6 * half + band + gap);
      fit = { call, band, half, gap: gap + Math.max(0, (room - used) / Math.max(1, nodes.length)) };
      if (used <= room) break;
    }
    fit.gap = Math.min(fit.gap, 190);
    let y = 0;
    lanes = nodes.map((node, i) => {
      const calls = y + fit.gap * 0.35;
      const line = calls + rows[i] * fit.call + fit.half * 1.6;
      const bottom = line + fit.half + fit.band + fit.gap * 0.65;
      const lane = {
        node,
        top: y,
        calls,
        call: fit.call,
        line,
        half: fit.half,
        strip: line + fit.half,
        band: fit.band,
        bottom,
      };
      y = bottom;
      return lane;
    });
    content = y;
    laneOf = new Map(lanes.map((lane) => [lane.node, lane]));
    view.y = Math.max(0, Math.min(view.y, content - (size.h - top_)));
  }

  const laneY = (node) => {
    const lane = laneOf.get(node);
    return lane ? top_ + lane.line - view.y : null;
  };

  function clampView() {
    const least = plotWidth() / (warp.total * 1.04);
    view.px = Math.max(least, Math.min(view.px, 0.4));
    const wide = plotWidth() / view.px;
    const margin = Math.max(wide * 0.2, warp.total * 0.02);
    view.u0 = Math.max(-margin, Math.min(view.u0, warp.total + margin - wide));
    view.y = Math.max(0, Math.min(view.y, content - (size.h - top_)));
  }

  function fitDrawn(u0, u1) {
    view.px = plotWidth() / Math.max(1, u1 - u0);
    view.u0 = u0;
    clampView();
    draw();
  }
  const fitTimes = (from, to) => fitDrawn(drawn(from), drawn(to));
  const fitAll = () => fitDrawn(-warp.total * 0.015, warp.total * 1.025);

  function zoom(by, at) {
    const u = view.u0 + (at - GUTTER) / view.px;
    view.px *= by;
    const before = view.px;
    clampView();
    if (view.px === before || by < 1) view.u0 = u - (at - GUTTER) / view.px;
    clampView();
    draw();
  }

  function pan(dx, dy) {
    view.u0 -= dx / view.px;
    view.y -= dy;
    clampView();
    draw();
  }

  // ---------------------------------------------------------------- colours

  const NAMES = [
    "ground",
    "card",
    "ink",
    "quiet",
    "line",
    "grid",
    "stripe",
    "lane",
    "break",
    "read",
    "write",
    "delete",
    "list",
    "bad",
    "good",
    "doubt",
    "oncall",
    ...FATES,
    "late",
    "fault",
    "slow",
    "spell",
    "pin",
    "found",
  ];
  let color = {},
    hatches = new Map(),
    contents = null;
  const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

  function readColors() {
    const dark = choice.theme ? choice.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    const style = getComputedStyle(document.documentElement);
    color = Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
    color.isDark = dark;
    hatches = new Map();
    contents = null;
    mapImage = null;
  }

  /// Stripes of this colour, leaning one way or the other.
  function hatch(ctx, ink, gap, falls, width) {
    const name = [ink, gap, falls, width].join();
    if (!hatches.has(name)) {
      const tile = document.createElement("canvas");
      tile.width = tile.height = gap;
      const pen = tile.getContext("2d");
      pen.strokeStyle = ink;
      pen.lineWidth = width;
      for (const shift of [-gap, 0, gap]) {
        pen.moveTo(shift - 1, falls ? -1 : gap + 1);
        pen.lineTo(shift + gap + 1, falls ? gap + 1 : -1);
      }
      pen.stroke();
      hatches.set(name, ctx.createPattern(tile, "repeat"));
    }
    return hatches.get(name);
  }

  /// The colour of what a disk holds: the same for the same content, told apart in order of first appearance.
  function contentColor(says) {
    if (!contents) {
      contents = new Map();
      for (const state of all.state) {
        if (state.s.key === choice.key && !contents.has(state.s.says)) contents.set(state.s.says, contents.size);
      }
    }
    if (says === "[]" || says === "") return null;
    const hue = (205 + (contents.get(says) ?? 0) * 137.5) % 360;
    return color.isDark ? `hsl(${hue} 42% 36%)` : `hsl(${hue} 60% 76%)`;
  }

  const actColor = (act) =>
    color[act] && ["read", "write", "delete", "list"].includes(act) ? color[act] : color.spell;

  // An event's shape and colour by its kind; kinds that are not listed are dots.
  const EVENT = {
    start: ["up", "good"],
    ready: ["up", "good"],
    restart: ["up", "good"],
    boot: ["up", "good"],
    up: ["up", "good"],
    resume: ["up", "good"],
    heal: ["diamond", "good"],
    quiet: ["diamond", "good"],
    begin: ["diamond", "good"],
    crash: ["cross", "bad"],
    panic: ["cross", "bad"],
    down: ["cross", "bad"],
    stop: ["cross", "bad"],
    broken: ["cross", "bad"],
    pause: ["cross", "slow"],
    note: ["diamond", "doubt"],
    complaint: ["diamond", "doubt"],
    tick: ["tick", "quiet"],
    timer: ["tick", "quiet"],
    read: ["ring", "read"],
    scan: ["ring", "list"],
    write: ["box", "write"],
    written: ["block", "write"],
    sync: ["block", "write"],
    synced: ["block", "write"],
  };
  const eventLook = (kind) => EVENT[kind] || ["dot", "spell"];

  // ---------------------------------------------------------------- drawing

  const base = $("base").getContext("2d"),
    over = $("over").getContext("2d"),
    map = $("map").getContext("2d");
  let waiting = { all: false, over: false },
    isAsked = false;

  function draw() {
    waiting.all = true;
    ask();
  }
  function drawOver() {
    waiting.over = true;
    ask();
  }
  function ask() {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => {
      isAsked = false;
      const whole = waiting.all;
      waiting = { all: false, over: false };
      if (whole) {
        drawBase();
        drawMap();
        writeHash();
      }
      drawOverlay();
    });
  }

  function fitCanvas(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const box = canvas.getBoundingClientRect();
    const [w, h] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (canvas.width !== w || canvas.height !== h) {
      canvas.width = w;
      canvas.height = h;
    }
    canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    return box;
  }

  function inPlot(ctx, body, upTo) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(GUTTER, upTo ?? top_, size.w - GUTTER, size.h);
    ctx.clip();
    body();
    ctx.restore();
  }

  /// The things of a type that the view holds.
  function inView(type) {
    const u1 = view.u0 + plotWidth() / view.px;
    const slack = 6 / view.px;
    return all[type].filter((thing) => thing.shown && thing.u0 <= u1 + slack && thing.u1 >= view.u0 - slack);
  }

  // Text on a canvas, with a halo in the ground's colour where it lies on lines.
  function write(ctx, text, at, y, ink, halo) {
    if (halo) {
      ctx.lineWidth = 3;
      ctx.lineJoin = "round";
      ctx.strokeStyle = halo;
      ctx.strokeText(text, at, y);
    }
    ctx.fillStyle = ink;
    ctx.fillText(text, at, y);
  }

  /// As much of a text as fits.
  function cut(ctx, text, width) {
    if (width < 8) return "";
    if (text.length > 200) text = text.slice(0, 200);
    if (ctx.measureText(text).width <= width) return text;
    let low = 0,
      high = text.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (ctx.measureText(text.slice(0, middle) + "…").width <= width) low = middle;
      else high = middle;
    }
    return low > 0 ? text.slice(0, low) + "…" : "";
  }

  function drawBase() {
    const ctx = base;
    fitCanvas($("base"));
    ctx.clearRect(0, 0, size.w, size.h);
    ctx.fillStyle = color.card;
    ctx.fillRect(0, 0, size.w, size.h);
    ctx.textBaseline = "middle";
    inPlot(ctx, () => {
      drawLaneGrounds(ctx);
      drawBreaks(ctx);
      drawFaultTints(ctx);
    });
    const ticks = axisTicks();
    inPlot(ctx, () => {
      ctx.strokeStyle = color.grid;
      ctx.lineWidth = 1;
      ctx.beginPath();
      for (const tick of ticks.list) {
        ctx.moveTo(Math.round(tick.x) + 0.5, top_);
        ctx.lineTo(Math.round(tick.x) + 0.5, size.h);
      }
      ctx.stroke();
      drawMoments(ctx);
      drawLanes(ctx);
      drawSpells(ctx, inView("spell"));
      drawStates(ctx, inView("state"));
      const messages = inView("message");
      const labels = [];
      drawMessages(
        ctx,
        messages.filter((m) => m.faint),
        { faint: true, amount: messages.length },
      );
      const clear = messages.filter((m) => !m.faint);
      drawMessages(ctx, clear, { amount: clear.length, labels });
      const calls = inView("call");
      drawStems(ctx, calls);
      drawEvents(
        ctx,
        inView("event").filter((e) => e.node !== null),
      );
      drawCalls(ctx, calls);
      drawLabels(ctx, labels, calls, inView("event"));
      drawFailure(ctx);
    });
    drawTop(ctx, ticks);
    drawGutter(ctx);
  }

  function drawLaneGrounds(ctx) {
    lanes.forEach((lane, i) => {
      if (i % 2 === 0) return;
      ctx.fillStyle = color.stripe;
      ctx.fillRect(GUTTER, top_ + lane.top - view.y, size.w, lane.bottom - lane.top);
    });
  }

  const faultColor = (kind) => (/slow|late|delay|skew|clock|double|dupl/.test(kind) ? color.slow : color.fault);

  function drawFaultTints(ctx) {
    for (const fault of inView("fault")) {
      const [x0, x1] = [x(fault.u0), Math.max(x(fault.u1), x(fault.u0) + 1)];
      ctx.fillStyle = ctx.strokeStyle = faultColor(fault.s.kind);
      for (const lane of lanes) {
        if (!fault.whole && !fault.s.nodes.includes(lane.node)) continue;
        ctx.globalAlpha = fault.whole ? 0.045 : 0.1;
        ctx.fillRect(x0, top_ + lane.top - view.y + 1, x1 - x0, lane.bottom - lane.top - 2);
        if (fault.whole) continue;
        ctx.globalAlpha = 0.35;
        ctx.strokeRect(x0 + 0.5, top_ + lane.top - view.y + 1.5, x1 - x0 - 1, lane.bottom - lane.top - 3);
        const room = Math.min(x1, size.w) - Math.max(x0, GUTTER) - 8;
        if (room > 30 && lane.bottom - lane.top > 44) {
          ctx.globalAlpha = 0.85;
          ctx.font = "11px " + FONT;
          ctx.fillText(cut(ctx, fault.s.kind, room), Math.max(x0, GUTTER) + 5, top_ + lane.bottom - view.y - 8);
        }
      }
    }
    ctx.globalAlpha = 1;
  }

  function drawBreaks(ctx) {
    for (const gap of warp.breaks) {
      const [x0, x1] = [x(gap.u0), x(gap.u1)];
      if (x1 < GUTTER || x0 > size.w || x1 - x0 < 2.5) continue;
      ctx.fillStyle = color.break;
      ctx.globalAlpha = x1 - x0 > 12 ? 0.75 : 0.5;
      const middle = (x0 + x1) / 2,
        half = Math.min((x1 - x0) / 2, 9);
      ctx.fillRect(middle - half, top_, 2 * half, size.h);
      ctx.globalAlpha = 1;
      if (x1 - x0 < 16) continue;
      ctx.strokeStyle = color.lane;
      ctx.lineWidth = 1;
      ctx.globalAlpha = 0.5;
      ctx.beginPath();
      for (const side of [-half, half]) {
        for (let y = top_, turn = 1; y <= size.h + 6; y += 6, turn = -turn) {
          if (y === top_) ctx.moveTo(middle + side, y);
          else ctx.lineTo(middle + side + turn * 1.5, y);
        }
      }
      ctx.stroke();
      ctx.globalAlpha = 1;
    }
  }

  function drawMoments(ctx) {
    ctx.setLineDash([5, 4]);
    ctx.lineWidth = 1;
    ctx.strokeStyle = color.quiet;
    ctx.beginPath();
    for (const at of [story.began_ns, story.healed_ns, story.end_ns]) {
      if (at === null) continue;
      ctx.moveTo(x(drawn(at)), top_);
      ctx.lineTo(x(drawn(at)), size.h);
    }
    ctx.stroke();
    ctx.setLineDash([]);
  }

  function drawLanes(ctx) {
    const end = Math.min(size.w, x(warp.total)),
      start = Math.max(GUTTER, x(0));
    ctx.strokeStyle = color.lane;
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    for (const lane of lanes) {
      const y = Math.round(laneY(lane.node)) + 0.25;
      ctx.moveTo(start, y);
      ctx.lineTo(end, y);
    }
    ctx.stroke();
  }

  function drawSpells(ctx, list) {
    for (const spell of list) {
      const lane = laneOf.get(spell.node);
      if (!lane) continue;
      const r = lane.half - 1,
        y = laneY(spell.node) - r,
        x0 = x(spell.u0),
        w = Math.max(2, x(spell.u1) - x0);
      const ink = spell.s.what === "slow" ? color.slow : spell.s.what === "paused" ? color.doubt : color.spell;
      ctx.fillStyle = color.card;
      ctx.fillRect(x0, y, w, 2 * r);
      ctx.globalAlpha = spell.s.what === "slow" ? 0.45 : 0.75;
      ctx.fillStyle = hatch(ctx, ink, spell.s.what === "down" ? 6 : 9, spell.s.what !== "paused", 1.4);
      ctx.fillRect(x0, y, w, 2 * r);
      ctx.strokeStyle = ink;
      ctx.lineWidth = 1;
      ctx.strokeRect(x0 + 0.5, y + 0.5, w - 1, 2 * r - 1);
      ctx.globalAlpha = 1;
      ctx.font = "600 11px " + FONT;
      const from = Math.max(x0, GUTTER) + 7;
      const text = cut(ctx, spell.s.what, Math.min(x0 + w, size.w) - from - 6);
      if (text.length > 2) {
        ctx.fillStyle = color.card;
        ctx.fillRect(from - 3, y + 1.5, ctx.measureText(text).width + 6, 2 * r - 3);
        write(ctx, text, from, y + r + 0.5, ink);
      }
    }
  }

  function drawStates(ctx, list) {
    ctx.font = "11px " + FONT;
    for (const state of list) {
      const lane = laneOf.get(state.node);
      if (!lane || !lane.band) continue;
      const y = Math.round(top_ + lane.strip - view.y) + 0.5,
        x0 = x(state.u0),
        w = Math.max(1.5, x(state.u1) - x0);
      const fill = contentColor(state.s.says);
      if (fill) {
        ctx.fillStyle = fill;
        ctx.fillRect(x0, y, w, lane.band - 1);
      }
      if (!state.s.is_synced) {
        ctx.globalAlpha = 0.45;
        ctx.fillStyle = hatch(ctx, color.ink, 6, false, 1.2);
        ctx.fillRect(x0, y, w, lane.band - 1);
        ctx.globalAlpha = 1;
      }
      ctx.strokeStyle = color.lane;
      ctx.lineWidth = 1;
      ctx.globalAlpha = w > 3 ? 0.8 : 0.25;
      ctx.strokeRect(x0, y, w, lane.band - 1);
      ctx.globalAlpha = 1;
      const from = Math.max(x0, GUTTER) + 4;
      const text = lane.band >= 9 ? cut(ctx, state.s.says, Math.min(x0 + w, size.w) - from - 3) : "";
      if (text) write(ctx, text, from, y + lane.band / 2, color.ink, fill || color.card);
    }
  }

  // Adds a message's shape to paths: its line, what is stroked at its end, and what is filled there.
  function shape(paths, fate, late, x0, y0, x1, y1, fine) {
    const { line, marks, heads } = paths;
    const length = Math.hypot(x1 - x0, y1 - y0) || 1;
    const [dx, dy] = [(x1 - x0) / length, (y1 - y0) / length];
    line.moveTo(x0, y0);
    if (fate === "corrupted" && fine && length > 20) {
      const steps = Math.min(400, Math.floor((length - 8) / 5));
      for (let i = 1; i <= steps; i++) {
        const way = ((length - 8) * i) / (steps + 1),
          side = i % 2 ? 3.2 : -3.2;
        line.lineTo(x0 + dx * way - dy * side, y0 + dy * way + dx * side);
      }
    }
    line.lineTo(x1, y1);
    const head = (open) => {
      const [bx, by] = [x1 - dx * 8, y1 - dy * 8];
      const path = open ? marks : heads;
      path.moveTo(bx - dy * 3.4, by + dx * 3.4);
      path.lineTo(x1, y1);
      path.lineTo(bx + dy * 3.4, by - dx * 3.4);
      if (!open) path.closePath();
    };
    const cross = (r) => {
      marks.moveTo(x1 - r, y1 - r);
      marks.lineTo(x1 + r, y1 + r);
      marks.moveTo(x1 - r, y1 + r);
      marks.lineTo(x1 + r, y1 - r);
    };
    const r = fine ? 1 : 0.7;
    if (fate === "lost") cross(4.2 * r);
    else if (fate === "cut") {
      cross(4.2 * r);
      marks.moveTo(x1 - dy * 9 * r, y1 + dx * 9 * r);
      marks.lineTo(x1 + dy * 9 * r, y1 - dx * 9 * r);
    } else if (fate === "dead") {
      cross(3 * r);
      marks.moveTo(x1 + 5.2 * r, y1);
      marks.arc(x1, y1, 5.2 * r, 0, 7);
    } else if (fine) head(fate === "underway");
    if (late && fine) {
      const [mx, my] = [(x0 + x1) / 2, (y0 + y1) / 2];
      heads.moveTo(mx, my - 5);
      heads.lineTo(mx + 4, my);
      heads.lineTo(mx, my + 5);
      heads.lineTo(mx - 4, my);
      heads.closePath();
    }
  }

  const newPaths = () => ({ line: new Path2D(), marks: new Path2D(), heads: new Path2D(), amount: 0 });

  function strokeShape(ctx, paths, ink, width, dashed, alpha) {
    ctx.globalAlpha = alpha;
    ctx.strokeStyle = ctx.fillStyle = ink;
    ctx.lineWidth = width;
    ctx.lineJoin = "round";
    ctx.setLineDash(dashed ? [5, 3.5] : []);
    ctx.stroke(paths.line);
    ctx.setLineDash([]);
    ctx.lineWidth = Math.max(1.5, width);
    ctx.globalAlpha = Math.min(1, alpha * 1.6);
    ctx.stroke(paths.marks);
    ctx.fill(paths.heads);
    ctx.globalAlpha = 1;
  }

  const flightColor = (s) => (s.fate === "arrived" && s.is_late ? color.late : color[s.fate]);

  /// Where a message is drawn: null when a lane of it is hidden.
  function wayDrawn(message) {
    const y0 = laneY(message.s.from),
      y1 = laneY(message.s.to);
    if (y0 === null || y1 === null) return null;
    return [x(message.u0), y0, x(message.u1), y0 + (y1 - y0) * message.part];
  }

  function drawMessages(ctx, list, { faint, strong, amount, labels }) {
    const fine = strong || amount < 2500;
    const plain = strong
      ? 1
      : faint
        ? amount < 800
          ? 0.2
          : 0.08
        : amount < 300
          ? 0.9
          : amount < 1200
            ? 0.55
            : amount < 4000
              ? 0.3
              : 0.16;
    const groups = new Map();
    const flush = (paths) => strokeShape(ctx, paths, paths.ink, paths.width, paths.dashed, paths.alpha);
    const columns = new Map();
    for (const message of list) {
      const way = wayDrawn(message);
      if (!way) continue;
      const s = message.s,
        usual = s.fate === "arrived" && !s.is_late;
      if (!fine && usual && way[2] - way[0] < 1.5) {
        const place = (Math.round(way[0]) * 64 + (s.from % 64)) * 64 + (s.to % 64),
          had = columns.get(place);
        if (had) had[0] += 1;
        else columns.set(place, [1, Math.round(way[0]), Math.min(way[1], way[3]), Math.abs(way[3] - way[1])]);
        continue;
      }
      const name = s.fate + s.is_late + s.is_double;
      let paths = groups.get(name);
      if (!paths) {
        const alpha = usual || faint ? plain : Math.max(plain, fine ? 0.8 : 0.3);
        paths = {
          ...newPaths(),
          ink: flightColor(s),
          dashed: s.is_double,
          alpha,
          width: (usual ? 1.1 : 1.3) + (strong ? 0.9 : 0),
          usual,
        };
        groups.set(name, paths);
      }
      if (s.from === s.to) loop(paths, way);
      else shape(paths, s.fate, s.is_late, ...way, fine && !(faint && amount > 300));
      paths.amount += 1;
      if (labels) labels.push([message, way]);
      // Small heaps keep strokes cheap, and let a crowd look denser than a few.
      if (usual && paths.amount >= 60) {
        flush(paths);
        groups.delete(name);
      }
    }
    drawColumns(ctx, columns, plain);
    const rest = [...groups.values()].sort((a, b) => b.usual - a.usual);
    rest.forEach(flush);
  }

  // In a crowd, messages that look upright and lie on each other are drawn as one, the denser the more there are.
  function drawColumns(ctx, columns, alpha) {
    const layers = new Map();
    for (const column of columns.values()) {
      const depth = Math.min(8, column[0]);
      if (!layers.has(depth)) layers.set(depth, []);
      layers.get(depth).push(column);
    }
    ctx.fillStyle = color.arrived;
    for (const [depth, list] of layers) {
      ctx.globalAlpha = 1 - (1 - alpha) ** depth;
      for (const [, at, y, h] of list) ctx.fillRect(at, y, 1, h);
    }
    ctx.globalAlpha = 1;
  }

  // A message from a node to itself leaves its lane and comes back.
  function loop(paths, [x0, y0, x1]) {
    paths.line.moveTo(x0, y0);
    paths.line.bezierCurveTo(x0, y0 - 16, x1, y0 - 16, x1, y0);
    paths.heads.moveTo(x1 - 3.4, y0 - 8);
    paths.heads.lineTo(x1, y0);
    paths.heads.lineTo(x1 + 3.4, y0 - 8);
  }

  function drawEvents(ctx, list, strong) {
    const groups = new Map();
    const group = (ink, fills, faint) => {
      const name = ink + fills + faint;
      if (!groups.has(name)) groups.set(name, { path: new Path2D(), ink, fills, faint });
      return groups.get(name).path;
    };
    const many = !strong && list.length > 1500;
    for (const event of list) {
      const y = event.node === null ? AXIS + faultRows * FAULT_ROW + 8 : laneY(event.node);
      if (y === null) continue;
      const [form, ink] = eventLook(event.s.kind);
      glyph(group, form, color[ink], event.faint && !strong, x(event.u0), y, many);
    }
    for (const { path, ink, fills, faint } of groups.values()) {
      ctx.globalAlpha = faint ? 0.25 : 1;
      ctx.strokeStyle = ctx.fillStyle = ink;
      ctx.lineWidth = fills === "hollow" ? 1.4 : 1.8;
      if (fills === "hollow") {
        ctx.fillStyle = color.card;
        ctx.fill(path);
        ctx.stroke(path);
      } else if (fills === "full") ctx.fill(path);
      else ctx.stroke(path);
    }
    ctx.globalAlpha = 1;
  }

  function glyph(group, form, ink, faint, at, y, small) {
    const r = small ? 2.4 : 3.6;
    if (form === "tick") {
      const p = group(ink, "line", faint);
      p.moveTo(at, y - 4);
      p.lineTo(at, y + 4);
    } else if (form === "ring") {
      const p = group(ink, "hollow", faint);
      p.moveTo(at + r, y);
      p.arc(at, y, r, 0, 7);
    } else if (form === "box") group(ink, "hollow", faint).rect(at - r + 0.5, y - r + 0.5, 2 * r - 1, 2 * r - 1);
    else if (form === "block") group(ink, "full", faint).rect(at - r, y - r, 2 * r, 2 * r);
    else if (form === "cross") {
      const p = group(ink, "line", false);
      p.moveTo(at - 5, y - 5);
      p.lineTo(at + 5, y + 5);
      p.moveTo(at - 5, y + 5);
      p.lineTo(at + 5, y - 5);
    } else if (form === "up") {
      const p = group(ink, "full", false);
      p.moveTo(at - 5, y + 5);
      p.lineTo(at, y - 5);
      p.lineTo(at + 5, y + 5);
      p.closePath();
    } else if (form === "diamond") {
      const p = group(ink, "full", false);
      p.moveTo(at, y - 6);
      p.lineTo(at + 5, y);
      p.lineTo(at, y + 6);
      p.lineTo(at - 5, y);
      p.closePath();
    } else {
      const p = group(ink, "full", faint);
      p.moveTo(at + r, y);
      p.arc(at, y, r - 0.4, 0, 7);
    }
  }

  function barOf(call) {
    const lane = laneOf.get(call.node);
    if (!lane) return null;
    const x0 = x(call.u0),
      x1 = Math.max(x(call.u1), x0 + 3);
    return {
      x0,
      x1,
      y: Math.round(top_ + lane.calls + call.row * lane.call - view.y) + 0.5,
      h: lane.call - (lane.call > 8 ? 2 : 1),
    };
  }

  function callText(call) {
    const s = call.s;
    return s.says.startsWith(s.act)
      ? s.key && !s.says.includes(s.key)
        ? s.key + " " + s.says
        : s.says
      : [s.key, s.act, s.says].filter(Boolean).join(" ");
  }

  // When few are in view, thin lines lead from a call's ends to its node's lane.
  function drawStems(ctx, list) {
    if (list.length > 160) return;
    for (const call of list) {
      const bar = barOf(call);
      if (!bar || call.faint) continue;
      const y = laneY(call.node);
      ctx.strokeStyle = actColor(call.s.act);
      ctx.globalAlpha = 0.55;
      ctx.lineWidth = 1;
      ctx.setLineDash([2, 2]);
      ctx.beginPath();
      ctx.moveTo(bar.x0 + 0.5, bar.y + bar.h);
      ctx.lineTo(bar.x0 + 0.5, y);
      if (call.s.outcome === "ok" || call.s.outcome === "fail") {
        ctx.moveTo(bar.x1 - 0.5, bar.y + bar.h);
        ctx.lineTo(bar.x1 - 0.5, y);
      }
      ctx.stroke();
    }
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
  }

  function drawCalls(ctx, list, strong) {
    ctx.font = "11.5px " + FONT;
    for (const call of list) {
      const bar = barOf(call);
      if (!bar) continue;
      ctx.globalAlpha = call.faint && !strong ? 0.22 : 1;
      drawBar(ctx, bar, actColor(call.s.act), call.s.outcome);
      if (bar.h < 10 || (call.faint && !strong)) continue;
      const left = Math.max(bar.x0, GUTTER) + (numberOf(call) && bar.x0 > GUTTER ? 10 : 5);
      const right = Math.min(bar.x1, size.w) - (call.s.outcome === "ok" ? 3 : 14);
      const text = right - left > 16 ? cut(ctx, callText(call), right - left) : "";
      const isFull = call.s.outcome === "ok";
      if (text.length > 2)
        write(
          ctx,
          text,
          left,
          bar.y + bar.h / 2 + 0.5,
          isFull ? color.oncall : color.ink,
          isFull ? null : color.card,
        );
    }
    ctx.globalAlpha = 1;
  }

  // A bar's fill says how the call ended: full, hollow with a cross, striped with a question mark, open to the right.
  function drawBar(ctx, { x0, x1, y, h }, ink, outcome) {
    const w = x1 - x0,
      middle = y + h / 2;
    ctx.strokeStyle = ctx.fillStyle = ink;
    ctx.lineWidth = 1.2;
    if (outcome === "ok") {
      ctx.fillRect(x0, y, w, h);
      return;
    }
    const alpha = ctx.globalAlpha;
    ctx.fillStyle = color.card;
    ctx.fillRect(x0, y, w, h);
    if (outcome !== "fail") {
      ctx.globalAlpha = alpha * 0.5;
      ctx.fillStyle = outcome === "open" ? ink : hatch(ctx, ink, 6, true, 2);
      if (outcome === "open") ctx.globalAlpha = alpha * 0.25;
      ctx.fillRect(x0, y, w, h);
      ctx.globalAlpha = alpha;
    }
    ctx.setLineDash(outcome === "unknown" ? [4, 2.5] : []);
    ctx.beginPath();
    if (outcome === "open") {
      ctx.moveTo(x1, y);
      ctx.lineTo(x0, y);
      ctx.lineTo(x0, y + h);
      ctx.lineTo(x1, y + h);
    } else ctx.rect(x0, y, w, h - 0.5);
    ctx.stroke();
    ctx.setLineDash([]);
    if (outcome === "fail") {
      const r = Math.min(4, h / 2 - 0.5),
        at = w > 10 ? x1 - 7 : x0 + w / 2;
      ctx.strokeStyle = color.bad;
      ctx.lineWidth = 1.8;
      ctx.beginPath();
      ctx.moveTo(at - r, middle - r);
      ctx.lineTo(at + r, middle + r);
      ctx.moveTo(at - r, middle + r);
      ctx.lineTo(at + r, middle - r);
      ctx.stroke();
    } else if (w > 12 && h > 8) {
      ctx.font = "700 12px " + FONT;
      write(ctx, outcome === "open" ? "…" : "?", x1 - 10, middle + 0.5, color.doubt, color.card);
      ctx.font = "11.5px " + FONT;
    }
  }

  // Labels of messages and events, where there is room: a label that would lie on another one is left out.
  function drawLabels(ctx, labels, calls, happened) {
    const taken = [];
    const free = (box) =>
      taken.every((other) => box[2] < other[0] || box[0] > other[2] || box[3] < other[1] || box[1] > other[3]);
    for (const call of calls) {
      const bar = barOf(call);
      if (bar) taken.push([bar.x0 - 1, bar.y - 1, bar.x1 + 1, bar.y + bar.h]);
    }
    for (const lane of lanes)
      if (lane.band) taken.push([0, top_ + lane.strip - view.y, size.w, top_ + lane.strip - view.y + lane.band]);
    if (labels.length <= 450) {
      ctx.font = "11px " + FONT;
      for (const [message, [x0, y0, x1, y1]] of labels) {
        const s = message.s,
          w = ctx.measureText(s.kind).width;
        if (Math.hypot(x1 - x0, y1 - y0) < 34) continue;
        for (const part of [0.3, 0.5, 0.7, 0.18, 0.82]) {
          const [cx, cy] = [x0 + (x1 - x0) * part, y0 + (y1 - y0) * part];
          const box = [cx + 4, cy - 7, cx + 4 + w + 2, cy + 7];
          if (cx < GUTTER || box[2] > size.w || !free(box)) continue;
          taken.push(box);
          write(ctx, s.kind, cx + 5, cy, flightColor(s), color.card);
          break;
        }
      }
    }
    const events = happened.filter((e) => e.node !== null && !e.faint && laneOf.has(e.node));
    if (events.length <= 500) {
      ctx.font = "10.5px " + FONT;
      const rank = (e) => (/crash|start|panic|note|heal/.test(e.s.kind) ? 0 : 1);
      for (const event of events.sort((a, b) => rank(a) - rank(b))) {
        const cx = x(event.u0),
          cy = laneY(event.node) - 9;
        const box = [cx + 3, cy - 6, cx + 5 + ctx.measureText(event.s.kind).width, cy + 6];
        if (!free(box)) continue;
        taken.push(box);
        write(
          ctx,
          event.s.kind,
          cx + 4,
          cy,
          rank(event) ? color.quiet : color[eventLook(event.s.kind)[1]],
          color.card,
        );
      }
    }
  }

  // The calls that the failure rests on: framed and numbered as in the list beside the diagram.
  function drawFailure(ctx) {
    failure()?.calls.forEach((place, i) => {
      const call = all.call[place],
        bar = call && call.shown && barOf(call);
      if (!bar || bar.x1 < GUTTER || bar.x0 > size.w) return;
      ctx.strokeStyle = color.bad;
      ctx.lineWidth = 2.5;
      ctx.strokeRect(bar.x0 - 2.5, bar.y - 2.5, bar.x1 - bar.x0 + 5, bar.h + 4.5);
      badge(ctx, Math.max(bar.x0 - 3, GUTTER + 9), bar.y + bar.h / 2, String(i + 1));
    });
  }

  function badge(ctx, at, y, text) {
    ctx.fillStyle = color.bad;
    ctx.strokeStyle = color.card;
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    ctx.arc(at, y, 8.5, 0, 7);
    ctx.fill();
    ctx.stroke();
    ctx.font = "700 11px " + FONT;
    ctx.textAlign = "center";
    write(ctx, text, at, y + 0.5, color.card);
    ctx.textAlign = "left";
  }

  // ---------------------------------------------------------------- the axis and the edges

  /// Times to mark, about evenly spread over the axis: the roundest ones that are not within a break.
  function axisTicks() {
    const u1 = view.u0 + plotWidth() / view.px,
      slot = 112;
    const seen = warp.breaks.filter((gap) => gap.u1 > view.u0 && gap.u0 < u1);
    const list = [];
    let least = Infinity;
    const push = (t, step) => {
      least = Math.min(least, step);
      list.push({ t, x: x(drawn(t)) });
    };
    if (!seen.length) {
      const want = slot / view.px,
        power = 10 ** Math.floor(Math.log10(want));
      const step = Math.max(
        1,
        [1, 2, 5, 10].map((n) => n * power).find((n) => n >= want),
      );
      for (let t = Math.max(0, Math.ceil(timeAt(view.u0) / step) * step); t <= END && drawn(t) <= u1; t += step)
        push(t, step);
    } else {
      for (let at = GUTTER; at < size.w; at += slot) {
        const from = timeAt(view.u0 + (at - GUTTER) / view.px),
          to = timeAt(view.u0 + (at + slot * 0.4 - GUTTER) / view.px);
        const pick = to > 0 && from < END ? roundest(Math.max(0, from), Math.min(to, END), seen) : null;
        if (pick) push(pick.t, pick.step);
      }
    }
    const seenNs = timeAt(u1) - timeAt(view.u0);
    const [unit, scale] = seenNs >= 2e9 ? ["s", 1e9] : seenNs >= 5e5 ? ["ms", 1e6] : ["µs", 1e3];
    const digits = Math.max(0, Math.min(6, Math.round(-Math.log10(least / scale) + 0.31)));
    for (const tick of list) tick.text = grouped((tick.t / scale).toFixed(digits)) + " " + unit;
    return { list };
  }

  function roundest(from, to, breaks) {
    for (let power = 1e12; power >= 1; power /= 10) {
      for (const n of [5, 2, 1]) {
        const step = n * power;
        for (let t = Math.ceil(from / step) * step, tries = 0; t <= to && tries < 6; t += step, tries++) {
          if (!breaks.some((gap) => t > gap.t0 && t < gap.t1)) return { t, step };
        }
      }
    }
    return null;
  }

  function drawTop(ctx, ticks) {
    ctx.fillStyle = color.card;
    ctx.fillRect(0, 0, size.w, top_);
    inPlot(
      ctx,
      () => {
        ctx.font = "11.5px " + FONT;
        ctx.strokeStyle = color.lane;
        ctx.lineWidth = 1;
        let free = -Infinity;
        for (const tick of ticks.list) {
          ctx.beginPath();
          ctx.moveTo(Math.round(tick.x) + 0.5, AXIS - 6);
          ctx.lineTo(Math.round(tick.x) + 0.5, AXIS);
          ctx.stroke();
          const at = tick.x + 3;
          if (at < free || at + 30 > size.w) continue;
          write(ctx, tick.text, at, 10, color.quiet);
          free = at + ctx.measureText(tick.text).width + 8;
        }
        drawBreakWords(ctx, ticks);
        drawFaultStrip(ctx);
        drawEvents(
          ctx,
          inView("event").filter((e) => e.node === null),
        );
        drawMomentWords(ctx);
      },
      0,
    );
    ctx.strokeStyle = color.line;
    ctx.lineWidth = 1;
    ctx.beginPath();
    ctx.moveTo(0, AXIS + 0.5);
    ctx.lineTo(size.w, AXIS + 0.5);
    ctx.moveTo(0, top_ + 0.5);
    ctx.lineTo(size.w, top_ + 0.5);
    ctx.stroke();
  }

  function drawBreakWords(ctx, ticks) {
    ctx.font = "10.5px " + FONT;
    for (const gap of warp.breaks) {
      const [x0, x1] = [x(gap.u0), x(gap.u1)],
        middle = (x0 + x1) / 2;
      if (x1 < GUTTER || x0 > size.w || x1 - x0 < 8) continue;
      ctx.fillStyle = color.card;
      ctx.fillRect(middle - 4, AXIS - 5, 8, 10);
      ctx.strokeStyle = color.lane;
      ctx.lineWidth = 1.2;
      ctx.beginPath();
      for (const side of [-3, 2]) {
        ctx.moveTo(middle + side - 1.5, AXIS + 4);
        ctx.lineTo(middle + side + 2.5, AXIS - 5);
      }
      ctx.stroke();
      const text = span(gap.t1 - gap.t0),
        w = ctx.measureText(text).width;
      const at = middle - w / 2;
      const hits = ticks.list.some((tick) => at < tick.x + 8 + tick.text.length * 6.2 && at + w > tick.x - 3);
      if (x1 - x0 > w + 4 && !hits) write(ctx, text, at, 10, color.doubt);
    }
  }

  function drawFaultStrip(ctx) {
    ctx.font = "11px " + FONT;
    for (const fault of inView("fault")) {
      const x0 = x(fault.u0),
        x1 = Math.max(x(fault.u1), x0 + 3),
        y = AXIS + 2 + fault.row * FAULT_ROW;
      const ink = faultColor(fault.s.kind);
      ctx.fillStyle = ctx.strokeStyle = ink;
      ctx.globalAlpha = fault.whole ? 0.3 : 0.16;
      ctx.fillRect(x0, y, x1 - x0, FAULT_ROW - 3);
      ctx.globalAlpha = 0.8;
      ctx.fillRect(x0, y, 2, FAULT_ROW - 3);
      ctx.globalAlpha = 1;
      const from = Math.max(x0, GUTTER) + 6;
      const text = cut(
        ctx,
        fault.s.says.includes(fault.s.kind) ? fault.s.says : fault.s.kind + ": " + fault.s.says,
        Math.min(x1, size.w) - from - 3,
      );
      if (text.length > 2) write(ctx, text, from, y + 7.5, color.ink);
    }
  }

  function drawMomentWords(ctx) {
    ctx.font = "10.5px " + FONT;
    for (const [at, text] of [
      [story.began_ns, "clients begin"],
      [story.healed_ns, "faults over"],
      [story.end_ns, "end"],
    ]) {
      if (at === null) continue;
      const cx = x(drawn(at)),
        w = ctx.measureText(text).width;
      const y = top_ - 7;
      if (all.event.some((e) => e.node === null && Math.abs(x(e.u0) - cx) < 12)) {
        write(ctx, text, cx + 9, y, color.quiet, color.card);
        continue;
      }
      write(ctx, text, cx + w + 4 > size.w ? cx - w - 4 : cx + 4, y, color.quiet, color.card);
    }
  }

  function drawGutter(ctx) {
    ctx.fillStyle = color.ground;
    ctx.fillRect(0, 0, GUTTER, size.h);
    const bad = new Set(failure()?.nodes || []);
    const zones = new Set(story.zones).size > 1;
    ctx.save();
    ctx.beginPath();
    ctx.rect(0, top_, GUTTER, size.h);
    ctx.clip();
    for (const lane of lanes) {
      const y = laneY(lane.node);
      if (bad.has(lane.node)) {
        ctx.fillStyle = color.bad;
        ctx.fillRect(0, top_ + lane.top - view.y + 2, 4, lane.bottom - lane.top - 4);
      }
      ctx.font = "650 13.5px " + FONT;
      write(ctx, cut(ctx, nodeName(lane.node), GUTTER - 18), 12, y, bad.has(lane.node) ? color.bad : color.ink);
      ctx.font = "11px " + FONT;
      if (zones && lane.bottom - lane.top > 46) write(ctx, "zone " + story.zones[lane.node], 12, y - 15, color.quiet);
      if (lane.band >= 9)
        write(
          ctx,
          cut(ctx, "disk: " + choice.key, GUTTER - 18),
          12,
          y + lane.half + lane.band / 2 + 0.5,
          color.quiet,
        );
      ctx.strokeStyle = color.line;
      ctx.beginPath();
      ctx.moveTo(0, Math.round(top_ + lane.bottom - view.y) + 0.5);
      ctx.lineTo(GUTTER, Math.round(top_ + lane.bottom - view.y) + 0.5);
      ctx.stroke();
    }
    ctx.restore();
    ctx.font = "11px " + FONT;
    write(ctx, "time", 12, 11, color.quiet);
    if (all.fault.length) write(ctx, "faults", 12, AXIS + FAULT_ROW / 2 + 1, color.quiet);
    ctx.strokeStyle = color.line;
    ctx.beginPath();
    ctx.moveTo(GUTTER - 0.5, 0);
    ctx.lineTo(GUTTER - 0.5, size.h);
    ctx.moveTo(0, AXIS + 0.5);
    ctx.lineTo(GUTTER, AXIS + 0.5);
    ctx.moveTo(0, top_ + 0.5);
    ctx.lineTo(GUTTER, top_ + 0.5);
    ctx.stroke();
    // A bar at the edge says that there is more above or below.
    const seen = size.h - top_;
    if (content > seen + 1) {
      ctx.fillStyle = color.lane;
      ctx.globalAlpha = 0.6;
      ctx.fillRect(size.w - 6, top_ + (view.y / content) * seen, 4, Math.max(20, (seen / content) * seen));
      ctx.globalAlpha = 1;
    }
  }

  // ---------------------------------------------------------------- the map of the whole run

  let mapImage = null;
  const mapX = (u) => GUTTER + (u / warp.total) * (plotWidth() - 8);
  const mapU = (at) => ((at - GUTTER) / (plotWidth() - 8)) * warp.total;

  function drawMap() {
    const box = fitCanvas($("map")),
      ctx = map,
      h = box.height;
    if (!mapImage || mapImage.width !== $("map").width) {
      drawMapGround(ctx, box);
      mapImage = document.createElement("canvas");
      mapImage.width = $("map").width;
      mapImage.height = $("map").height;
      mapImage.getContext("2d").drawImage($("map"), 0, 0);
    } else ctx.drawImage(mapImage, 0, 0, box.width, h);
    const x0 = mapX(Math.max(0, view.u0)),
      x1 = mapX(Math.min(warp.total, view.u0 + plotWidth() / view.px));
    ctx.fillStyle = color.ground;
    ctx.globalAlpha = 0.6;
    ctx.fillRect(GUTTER, 0, Math.max(0, x0 - GUTTER), h);
    ctx.fillRect(x1, 0, box.width, h);
    ctx.globalAlpha = 1;
    ctx.strokeStyle = color.pin;
    ctx.lineWidth = 2;
    ctx.strokeRect(x0, 1, Math.max(3, x1 - x0), h - 2);
    if (brush) {
      ctx.globalAlpha = 0.3;
      ctx.fillStyle = color.pin;
      ctx.fillRect(Math.min(brush.from, brush.to), 0, Math.abs(brush.to - brush.from), h);
      ctx.globalAlpha = 1;
    }
  }

  // What does not change as the view moves, drawn once: how much happens when, and what of it goes wrong.
  function drawMapGround(ctx, box) {
    const h = box.height;
    ctx.fillStyle = color.ground;
    ctx.fillRect(0, 0, box.width, h);
    const bins = Math.ceil(plotWidth() / 2),
      usual = new Float32Array(bins + 1),
      bad = new Float32Array(bins + 1);
    const bin = (u) => Math.max(0, Math.min(bins, Math.floor((mapX(u) - GUTTER) / 2)));
    for (const fault of all.fault) {
      ctx.globalAlpha = 0.14;
      ctx.fillStyle = faultColor(fault.s.kind);
      ctx.fillRect(mapX(fault.u0), 0, Math.max(1, mapX(fault.u1) - mapX(fault.u0)), h);
    }
    ctx.globalAlpha = 1;
    for (const message of all.message) {
      if (!message.shown || message.faint) continue;
      usual[bin(message.u0)] += 1;
      if (message.s.fate !== "arrived" && message.s.fate !== "underway") bad[bin(message.u0)] += 1;
    }
    for (const event of all.event) if (event.shown && !event.faint) usual[bin(event.u0)] += 0.5;
    const most = usual.reduce((a, b) => Math.max(a, b), 1);
    const tall = (n) => (n > 0 ? Math.max(1.5, Math.sqrt(n / most) * (h - 14)) : 0);
    ctx.fillStyle = color.arrived;
    for (let i = 0; i <= bins; i++) ctx.fillRect(GUTTER + i * 2, h - tall(usual[i]), 1.6, tall(usual[i]));
    ctx.fillStyle = color.lost;
    for (let i = 0; i <= bins; i++) ctx.fillRect(GUTTER + i * 2, h - tall(bad[i]), 1.6, tall(bad[i]));
    for (const event of all.event) {
      if (eventLook(event.s.kind)[0] !== "cross" || !event.shown) continue;
      ctx.fillRect(mapX(event.u0) - 0.5, 12, 1.5, h);
    }
    for (const place of failure()?.calls || []) {
      const at = all.call[place] && mapX(all.call[place].u0);
      if (at === undefined) continue;
      ctx.fillStyle = color.bad;
      ctx.beginPath();
      ctx.moveTo(at - 5, 1);
      ctx.lineTo(at + 5, 1);
      ctx.lineTo(at, 10);
      ctx.closePath();
      ctx.fill();
      ctx.fillRect(at - 0.5, 8, 1, h);
    }
    ctx.font = "11px " + FONT;
    ctx.textBaseline = "middle";
    write(ctx, "whole run", 12, h / 2 - 7, color.quiet);
    write(ctx, span(END), 12, h / 2 + 8, color.quiet);
  }

  // ---------------------------------------------------------------- what is lit up

  const failure = () => story.failures[choice.failure] || null;
  const numberOf = (call) => {
    const at = failure()?.calls.indexOf(call.i) ?? -1;
    return at < 0 ? 0 : at + 1;
  };

  /// All that led to a moment on a lane, or followed from it: times before or after which each node knows of it.
  function cone(node, t, forward) {
    const known = story.nodes.map(() => (forward ? Infinity : -Infinity));
    known[node] = t;
    const arrived = all.message.filter((m) => m.s.fate === "arrived" && m.s.at_ns !== null);
    if (forward) {
      arrived.sort((a, b) => a.s.sent_ns - b.s.sent_ns);
      for (const { s } of arrived) if (s.sent_ns >= known[s.from]) known[s.to] = Math.min(known[s.to], s.at_ns);
    } else {
      arrived.sort((a, b) => b.s.at_ns - a.s.at_ns);
      for (const { s } of arrived) if (s.at_ns <= known[s.to]) known[s.from] = Math.max(known[s.from], s.sent_ns);
    }
    return (thing) => {
      if (thing.type === "message") {
        return (
          thing.s.fate === "arrived" &&
          (forward ? thing.t0 >= known[thing.s.from] : thing.s.at_ns <= known[thing.s.to])
        );
      }
      if (thing.node === null) return false;
      return forward ? thing.t1 >= known[thing.node] : thing.t0 <= known[thing.node];
    };
  }

  /// Decides anew which things stand out: those found by a search, or those that belong to what is pinned.
  function findLit() {
    lit = null;
    if (choice.search) lit = matches.filter((thing) => thing.shown);
    else if (pin && choice.light !== "none") {
      const of = pin.thing;
      let test = null;
      if (choice.light === "past") test = cone(pin.lane ?? 0, pin.t, false);
      else if (choice.light === "future") test = cone(pin.lane ?? 0, pin.t, true);
      else if (of.type === "call")
        test = (thing) => thing.key === of.key && of.key !== null && thing.t0 <= of.t1 && thing.t1 >= of.t0;
      if (test) {
        const types = ["call", "message", "event", "state"];
        lit = things.filter((thing) => thing.shown && types.includes(thing.type) && (thing === of || test(thing)));
      }
    }
    drawOver();
  }

  function look() {
    const words = choice.search.toLowerCase();
    matches = [];
    if (words) {
      for (const thing of things) {
        if (!thing.shown) continue;
        const s = thing.s;
        thing.text ??= [
          s.says,
          s.kind,
          s.key,
          s.act,
          s.outcome,
          s.fate,
          s.what,
          thing.type,
          thing.type === "message" ? nodeName(s.from) + "→" + nodeName(s.to) : s.node != null ? nodeName(s.node) : "",
          s.is_late ? "late" : "",
          s.is_double ? "doubled" : "",
          s.session != null ? "session " + s.session : "",
        ]
          .filter(Boolean)
          .join(" ")
          .toLowerCase();
        if (thing.text.includes(words)) matches.push(thing);
      }
      matches.sort((a, b) => a.t0 - b.t0);
    }
    sayFound();
  }

  function sayFound() {
    $("found").textContent = !choice.search
      ? ""
      : matches.length
        ? (matchAt >= 0 ? matchAt + 1 + " of " : "") + count(matches.length)
        : "nothing";
  }

  function drawOverlay() {
    const ctx = over;
    fitCanvas($("over"));
    ctx.clearRect(0, 0, size.w, size.h);
    ctx.textBaseline = "middle";
    inPlot(ctx, () => {
      if (lit) {
        ctx.globalAlpha = 0.62;
        ctx.fillStyle = color.card;
        ctx.fillRect(GUTTER, top_, size.w, size.h);
        ctx.globalAlpha = 1;
        if (pin?.thing.type === "call" && !choice.search && choice.light === "key") {
          ctx.globalAlpha = 0.08;
          ctx.fillStyle = color.pin;
          ctx.fillRect(x(pin.thing.u0), top_, Math.max(2, x(pin.thing.u1) - x(pin.thing.u0)), size.h);
          ctx.globalAlpha = 1;
        }
        drawThings(ctx, lit);
        drawFailure(ctx);
      }
      if (pin) drawPin(ctx);
      if (hover && hover.thing !== pin?.thing) emphasise(ctx, hover.thing, color.ink);
    });
    drawCursor(ctx);
  }

  function drawThings(ctx, list) {
    const u1 = view.u0 + plotWidth() / view.px;
    const seen = list.filter((thing) => thing.u0 <= u1 && thing.u1 >= view.u0);
    const of = (type) => seen.filter((thing) => thing.type === type);
    drawSpells(ctx, of("spell"));
    drawStates(ctx, of("state"));
    const messages = of("message"),
      labels = [];
    drawMessages(ctx, messages, { strong: messages.length < 400, amount: messages.length, labels });
    drawEvents(
      ctx,
      of("event").filter((e) => e.node !== null),
      true,
    );
    drawCalls(ctx, of("call"), true);
    drawLabels(ctx, labels, of("call"), of("event"));
  }

  function emphasise(ctx, thing, ink) {
    ctx.strokeStyle = ink;
    ctx.lineWidth = 2;
    if (thing.type === "message") {
      const way = wayDrawn(thing);
      if (!way) return;
      drawMessages(ctx, [thing], { strong: true, amount: 1 });
      ctx.strokeStyle = ink;
      ctx.lineWidth = 2;
      for (const [cx, cy] of [
        [way[0], way[1]],
        [way[2], way[3]],
      ]) {
        ctx.beginPath();
        ctx.arc(cx, cy, 7, 0, 7);
        ctx.stroke();
      }
      ctx.font = "600 11px " + FONT;
      write(ctx, thing.s.kind, (way[0] + way[2]) / 2 + 7, (way[1] + way[3]) / 2, color.ink, color.card);
    } else if (thing.type === "call") {
      const bar = barOf(thing);
      if (bar) {
        drawCalls(ctx, [thing], true);
        ctx.strokeStyle = ink;
        ctx.lineWidth = 2;
        ctx.strokeRect(bar.x0 - 1.5, bar.y - 1.5, bar.x1 - bar.x0 + 3, bar.h + 3);
      }
    } else if (thing.type === "event") {
      const y = laneY(thing.node);
      if (y !== null) {
        ctx.beginPath();
        ctx.arc(x(thing.u0), y, 8.5, 0, 7);
        ctx.stroke();
      }
    } else if (thing.type === "state") {
      const lane = laneOf.get(thing.node);
      if (lane)
        ctx.strokeRect(x(thing.u0), top_ + lane.strip - view.y, Math.max(3, x(thing.u1) - x(thing.u0)), lane.band);
    } else if (thing.type === "spell") {
      const y = laneY(thing.node);
      if (y !== null) ctx.strokeRect(x(thing.u0), y - 7, Math.max(3, x(thing.u1) - x(thing.u0)), 14);
    } else {
      ctx.globalAlpha = 0.07;
      ctx.fillStyle = ink;
      ctx.fillRect(x(thing.u0), top_, Math.max(2, x(thing.u1) - x(thing.u0)), size.h);
      ctx.globalAlpha = 1;
    }
  }

  function drawPin(ctx) {
    const thing = pin.thing;
    ctx.setLineDash([3, 3]);
    ctx.strokeStyle = color.pin;
    ctx.lineWidth = 1;
    ctx.beginPath();
    for (const u of new Set([thing.u0, thing.u1])) {
      ctx.moveTo(x(u), top_);
      ctx.lineTo(x(u), size.h);
    }
    ctx.stroke();
    ctx.setLineDash([]);
    if (thing.type !== "event" || thing.node !== null) emphasise(ctx, thing, color.pin);
    const y = pin.lane !== null ? laneY(pin.lane) : null;
    if (y === null) return;
    // A bead on the lane says where stepping goes on from.
    ctx.fillStyle = color.pin;
    ctx.beginPath();
    ctx.moveTo(x(drawn(pin.t)) - 6, y + 15);
    ctx.lineTo(x(drawn(pin.t)), y + 7);
    ctx.lineTo(x(drawn(pin.t)) + 6, y + 15);
    ctx.fill();
  }

  function drawCursor(ctx) {
    ctx.font = "600 11px " + FONT;
    const flag = (at, text, ink) => {
      const w = ctx.measureText(text).width + 10;
      const left = Math.max(GUTTER, Math.min(at - w / 2, size.w - w));
      ctx.fillStyle = ink;
      ctx.fillRect(left, 1, w, 17);
      write(ctx, text, left + 5, 10, color.card);
    };
    if (pin && x(drawn(pin.t)) > GUTTER && x(drawn(pin.t)) < size.w) flag(x(drawn(pin.t)), moment(pin.t), color.pin);
    if (!pointer || pointer.x < GUTTER || drag) return;
    const t = timeAt(view.u0 + (pointer.x - GUTTER) / view.px);
    if (t < 0 || t > END) return;
    ctx.strokeStyle = color.quiet;
    ctx.globalAlpha = 0.5;
    ctx.lineWidth = 1;
    ctx.beginPath();
    ctx.moveTo(pointer.x + 0.5, 18);
    ctx.lineTo(pointer.x + 0.5, size.h);
    ctx.stroke();
    ctx.globalAlpha = 1;
    const since = pin ? "  " + (t >= pin.t ? "+" : "−") + span(Math.abs(t - pin.t)) : "";
    flag(pointer.x, moment(t) + since, color.ink);
  }

  // ---------------------------------------------------------------- what is under the pointer

  function segmentDistance(px, py, [x0, y0, x1, y1]) {
    const [dx, dy] = [x1 - x0, y1 - y0],
      length = dx * dx + dy * dy;
    const along_ = length ? Math.max(0, Math.min(1, ((px - x0) * dx + (py - y0) * dy) / length)) : 0;
    return Math.hypot(px - x0 - along_ * dx, py - y0 - along_ * dy);
  }

  const boxDistance = (px, py, x0, y0, x1, y1) =>
    Math.hypot(Math.max(x0 - px, 0, px - x1), Math.max(y0 - py, 0, py - y1));

  /// The thing nearest to a point, and at which of its ends; null when nothing is near. Small things win over large ones.
  function nearest(px, py) {
    if (px < GUTTER) return null;
    let best = null,
      least = 9;
    const offer = (thing, distance, lane, t) => {
      if (distance < least) {
        least = distance;
        best = { thing, lane, t };
      }
    };
    if (py < top_) {
      for (const event of inView("event"))
        if (event.node === null)
          offer(event, Math.hypot(px - x(event.u0), py - (AXIS + faultRows * FAULT_ROW + 8)) - 2, null, event.t0);
      for (const fault of inView("fault")) {
        const y = AXIS + 2 + fault.row * FAULT_ROW;
        offer(
          fault,
          boxDistance(px, py, x(fault.u0), y, x(fault.u1), y + FAULT_ROW) + 1,
          fault.whole ? null : (fault.s.nodes[0] ?? null),
          fault.t0,
        );
      }
      return best;
    }
    const dim = (thing) => (thing.faint ? 3 : 0);
    for (const event of inView("event")) {
      const y = event.node === null ? null : laneY(event.node);
      if (y !== null) offer(event, Math.hypot(px - x(event.u0), py - y) - 2 + dim(event), event.node, event.t0);
    }
    for (const call of inView("call")) {
      const bar = barOf(call);
      if (bar)
        offer(call, boxDistance(px, py, bar.x0, bar.y, bar.x1, bar.y + bar.h) + 0.3 + dim(call), call.node, call.t0);
    }
    for (const message of inView("message")) {
      const way = wayDrawn(message);
      if (!way) continue;
      const atSender =
        Math.hypot(px - way[0], py - way[1]) < Math.hypot(px - way[2], py - way[3]) || message.part < 1;
      offer(
        message,
        segmentDistance(px, py, way) + 0.8 + dim(message),
        atSender ? message.s.from : message.s.to,
        atSender ? message.t0 : message.t1,
      );
    }
    if (best && least < 3) return best;
    for (const state of inView("state")) {
      const lane = laneOf.get(state.node);
      if (!lane?.band) continue;
      const y = top_ + lane.strip - view.y;
      if (boxDistance(px, py, x(state.u0), y, x(state.u1), y + lane.band) < 0.5)
        offer(state, 0, state.node, state.t0);
    }
    for (const spell of inView("spell")) {
      const y = laneY(spell.node);
      if (y !== null && boxDistance(px, py, x(spell.u0), y - 8, x(spell.u1), y + 8) < 0.5)
        offer(spell, 3, spell.node, spell.t0);
    }
    return best;
  }

  // ---------------------------------------------------------------- pinning and stepping

  let marksByLane = null;

  /// All moments of a lane in order: what happened there, what was sent and what arrived.
  function marks(node) {
    if (!marksByLane) {
      marksByLane = story.nodes.map(() => []);
      const mark = (lane, t, thing, turn) => marksByLane[lane]?.push({ lane, t, thing, turn });
      for (const thing of things) {
        if (!thing.shown || thing.faint) continue;
        if (thing.type === "event" && thing.node !== null) mark(thing.node, thing.t0, thing, 1);
        else if (thing.type === "call") mark(thing.node, thing.t0, thing, 0);
        else if (thing.type === "state") mark(thing.node, thing.t0, thing, 2);
        else if (thing.type === "message") {
          mark(thing.s.from, thing.t0, thing, 3);
          if (thing.part === 1 && thing.s.from !== thing.s.to) mark(thing.s.to, thing.t1, thing, -1);
        }
      }
      for (const list of marksByLane) list.sort((a, b) => a.t - b.t || a.turn - b.turn || a.thing.i - b.thing.i);
    }
    return marksByLane[node] || [];
  }

  function setPin(thing, lane, t, mayMove) {
    pin = thing ? { thing, lane: lane === undefined ? thing.node : lane, t: t ?? thing.t0 } : null;
    if (pin && thing.type === "call" && thing.key && choice.key === "" && mayMove) setKey(thing.key);
    if (pin && mayMove) bringIntoView();
    findLit();
    showPinned();
    showRests();
    draw();
  }

  function bringIntoView() {
    const u = drawn(pin.t),
      wide = plotWidth() / view.px;
    if (u < view.u0 + wide * 0.04 || u > view.u0 + wide * 0.96) view.u0 = u - wide * 0.35;
    const lane = laneOf.get(pin.lane);
    const seen = size.h - top_;
    if (lane && (lane.calls < view.y || lane.bottom > view.y + seen))
      view.y = (lane.top + lane.bottom) / 2 - seen / 2;
    clampView();
  }

  function step(by) {
    const list = marks(pin.lane);
    let at = list.findIndex((mark) => mark.thing === pin.thing && mark.t === pin.t);
    if (at < 0) {
      const next = list.findIndex((mark) => mark.t > pin.t);
      at = next < 0 ? list.length : next;
      if (by > 0) at -= 1;
    }
    const mark = list[at + by];
    if (mark) setPin(mark.thing, mark.lane, mark.t, true);
  }

  function stepLane(by) {
    const at = lanes.findIndex((lane) => lane.node === pin.lane);
    const lane = lanes[at + by];
    if (!lane) return;
    const list = marks(lane.node);
    if (!list.length) return;
    const mark = list.reduce((best, mark) => (Math.abs(mark.t - pin.t) < Math.abs(best.t - pin.t) ? mark : best));
    setPin(mark.thing, mark.lane, mark.t, true);
  }

  function follow() {
    const { thing, lane } = pin;
    if (thing.type !== "message" || thing.part < 1) return;
    const isAtEnd = lane === thing.s.to && pin.t === thing.t1;
    setPin(thing, isAtEnd ? thing.s.from : thing.s.to, isAtEnd ? thing.t0 : thing.t1, true);
  }

  /// Shows what the chosen failure rests on.
  function toFailure() {
    const broken = failure();
    if (!broken) {
      fitAll();
      return;
    }
    const calls = broken.calls.map((place) => all.call[place]).filter(Boolean);
    let held = calls.length
      ? calls
      : things.filter((thing) => broken.key && thing.key === broken.key && thing.type !== "state");
    if (!held.length) {
      // Nothing else is known than the nodes: what went wrong is the last that they did, most likely.
      held = all.event.filter((event) => broken.nodes.includes(event.node) && !NOISE.has(event.s.kind)).slice(-20);
    }
    if (!held.length) {
      fitAll();
      return;
    }
    const u0 = Math.min(...held.map((thing) => thing.u0)),
      u1 = Math.max(...held.map((thing) => thing.u1));
    const margin = Math.max((u1 - u0) * 0.08, 3 * flightUsual);
    const homes = held.map((thing) => laneOf.get(thing.node)).filter(Boolean);
    if (homes.length)
      view.y =
        (Math.min(...homes.map((lane) => lane.top)) + Math.max(...homes.map((lane) => lane.bottom)) - size.h + top_) /
        2;
    fitDrawn(u0 - margin, u1 + margin);
  }

  function setKey(key) {
    choice.key = key;
    $("key").value = key;
    choose();
  }

  // ---------------------------------------------------------------- panels

  /// What there is to say of a thing: a title, pairs of words, and its own words.
  function describe(thing) {
    const s = thing.s;
    switch (thing.type) {
      case "call":
        return {
          title: `${s.act}${s.key ? " " + s.key : ""} at ${nodeName(s.node)}, session ${s.session}`,
          says: s.says,
          rows: [
            ["outcome", OUTCOME_SAYS[s.outcome]],
            ["called", moment(s.from_ns)],
            [s.outcome === "open" ? "open until" : "ended", moment(s.to_ns)],
            ["took", span(s.to_ns - s.from_ns)],
            numberOf(thing) ? ["number", `${numberOf(thing)} of those that the failure rests on`] : null,
          ],
        };
      case "message":
        return {
          title: `${s.kind} ${nodeName(s.from)} → ${nodeName(s.to)}${s.is_double ? ", second copy" : ""}${s.is_late ? ", late" : ""}`,
          says: s.says,
          rows: [
            ["fate", FATE_SAYS[s.fate]],
            ["key", s.key],
            ["sent", moment(s.sent_ns)],
            s.at_ns === null ? null : [s.fate === "arrived" ? "arrived" : "would arrive", moment(s.at_ns)],
            s.at_ns === null ? null : [s.fate === "arrived" ? "took" : "would take", span(s.at_ns - s.sent_ns)],
          ],
        };
      case "event":
        return {
          title: s.kind + (s.node === null ? "" : " on " + nodeName(s.node)),
          says: s.says,
          rows: [
            ["at", moment(s.at_ns)],
            ["key", s.key],
          ],
        };
      case "state":
        return {
          title: `${nodeName(s.node)} holds ${s.says} of ${s.key}`,
          says: s.is_synced ? "It would survive a crash." : "It is not synced: a crash would lose it.",
          rows: [
            ["from", moment(thing.t0)],
            ["until", thing.t1 >= END ? "the end" : moment(thing.t1)],
            ["for", span(thing.t1 - thing.t0)],
          ],
        };
      case "fault":
        return {
          title: "fault: " + s.kind,
          says: s.says,
          rows: [
            ["from", moment(s.from_ns)],
            ["until", moment(s.to_ns)],
            ["for", span(s.to_ns - s.from_ns)],
            ["nodes", thing.whole ? "all" : s.nodes.map(nodeName).join(" ")],
          ],
        };
      default:
        return {
          title: `${nodeName(s.node)} is ${s.what}`,
          says: "",
          rows: [
            ["from", moment(s.from_ns)],
            ["until", moment(s.to_ns)],
            ["for", span(s.to_ns - s.from_ns)],
          ],
        };
    }
  }

  const pairs = (rows) =>
    el(
      "dl",
      {},
      ...rows.filter((row) => row && row[1]).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
    );

  function showTip() {
    const tip = $("tip");
    tip.hidden = !hover || !pointer || !!drag;
    if (tip.hidden) return;
    const { title, rows, says } = describe(hover.thing);
    tip.replaceChildren(
      el("b", {}, title),
      el("div", { class: "says" }, says),
      el(
        "div",
        { class: "quiet" },
        rows
          .filter((row) => row && row[1])
          .map(([name, value]) => `${name} ${value}`)
          .join(" · "),
      ),
    );
    const stage = $("stage").getBoundingClientRect(),
      box = tip.getBoundingClientRect(),
      y0 = $("diagram").offsetTop;
    const left = pointer.x + 16 + box.width > stage.width ? pointer.x - box.width - 14 : pointer.x + 16;
    const below = pointer.y + y0 + 18;
    tip.style.left = Math.max(4, left) + "px";
    tip.style.top =
      (below + box.height > stage.height ? Math.max(4, pointer.y + y0 - box.height - 12) : below) + "px";
  }

  function diskTable(t) {
    if (!choice.key) return [];
    const rows = story.nodes.map((name, node) => {
      const list = statesOf.get(node + "/" + choice.key) || [];
      const state = list.filter((s) => s.t0 <= t).pop();
      const swatch = el("span", { class: "swatch" });
      const fill = state && contentColor(state.s.says);
      if (fill) swatch.style.background = fill;
      const says = state ? state.s.says + (state.s.is_synced ? "" : " (not synced)") : "nothing yet";
      return el("tr", {}, el("td", {}, name), el("td", {}, swatch, says));
    });
    return [el("h3", {}, `Disks then, ${choice.key}`), el("table", {}, ...rows)];
  }

  function showPinned() {
    const panel = $("pinned");
    if (!pin) {
      panel.replaceChildren(
        el("h2", {}, "Nothing pinned"),
        el(
          "p",
          { class: "quiet" },
          "Point at a thing to read it; click to pin it here. ← → then step along its node, " +
            "↑ ↓ change the node, Enter follows a message. Wheel zooms, drag moves, Shift+drag picks a span.",
        ),
      );
      return;
    }
    const { title, rows, says } = describe(pin.thing);
    const light = (name, text, hint) =>
      el(
        "button",
        {
          "aria-pressed": String(choice.light === name),
          title: hint,
          onclick: () => {
            choice.light = name;
            findLit();
            showPinned();
            draw();
          },
        },
        text,
      );
    const isMessage = pin.thing.type === "message" && pin.thing.part === 1;
    panel.replaceChildren(
      el("h2", {}, title),
      says ? el("pre", { class: "says" }, says) : "",
      pairs(rows),
      el(
        "div",
        { class: "row" },
        el("button", { onclick: () => step(-1), title: "←" }, "◂ before"),
        el("button", { onclick: () => step(1), title: "→" }, "after ▸"),
        isMessage ? el("button", { onclick: follow, title: "Enter" }, "other end") : "",
        el("button", { onclick: () => setPin(null), title: "Esc" }, "unpin"),
      ),
      el(
        "div",
        { class: "row" },
        light(
          "key",
          pin.thing.type === "call" ? "same key, its time" : "only this",
          "What a call lights up: everything on the same key in its time",
        ),
        light("past", "what led to it", "Everything that can have influenced this moment"),
        light("future", "what followed", "Everything that this moment can have influenced"),
        light("none", "all", "Nothing is dimmed"),
      ),
      ...diskTable(pin.t),
    );
  }

  function showRests() {
    const broken = failure(),
      panel = $("rests");
    if (!broken || !broken.calls.length) {
      panel.replaceChildren();
      return;
    }
    panel.replaceChildren(
      el("h2", {}, "The failure rests on these calls"),
      el(
        "ol",
        {},
        ...broken.calls.map((place, i) => {
          const call = all.call[place];
          if (!call) return "";
          const s = call.s;
          return el(
            "li",
            {},
            el(
              "button",
              { class: pin?.thing === call ? "on" : "", onclick: () => setPin(call, call.node, call.t0, true) },
              el("span", { class: "num" }, String(i + 1)),
              el(
                "span",
                { class: "what" },
                el("b", { class: "act-" + s.act }, nodeName(s.node)),
                " " + callText(call),
              ),
              el(
                "span",
                { class: "when" },
                `${moment(s.from_ns)}, took ${span(s.to_ns - s.from_ns)}, `,
                el("span", { class: "out-" + s.outcome }, s.outcome),
              ),
            ),
          );
        }),
      ),
    );
  }

  function showVerdict() {
    const box = $("verdict"),
      broken = failure();
    box.className = broken ? "broken" : "";
    const head = el(
      "div",
      { class: "head" },
      el("h1", {}, broken ? `✗ Broken: ${broken.check}` : "✓ Every check holds"),
      el("div", { class: "run" }, `${story.title} · ${story.nodes.length} nodes · ${span(END)}`),
    );
    const more = el("div", { class: "more" });
    if (broken) {
      const rests = [
        broken.key ? "key " + broken.key : "",
        broken.nodes.length ? "nodes " + broken.nodes.map(nodeName).join(" ") : "",
      ]
        .filter(Boolean)
        .join(" · ");
      if (story.failures.length > 1) {
        story.failures.forEach((other, i) =>
          more.append(
            el(
              "button",
              { "aria-pressed": String(i === choice.failure), onclick: () => pickFailure(i), title: other.says },
              `${i + 1} ${other.check}`,
            ),
          ),
        );
      }
      if (rests) more.append(el("span", { class: "quiet" }, rests));
    }
    head.append(more);
    const sizes = `${count(all.call.length)} calls, ${count(all.message.length)} messages, ${count(all.event.length)} events, ${count(all.fault.length)} faults.`;
    box.replaceChildren(head, el("div", { class: "words", tabindex: "0" }, broken ? broken.says : sizes));
    $("to-failure").hidden = !broken;
    document.title = (broken ? "✗ " + broken.check : "✓") + " – " + story.title;
  }

  function pickFailure(i) {
    choice.failure = i;
    pin = null;
    showVerdict();
    startAtFailure();
    showPinned();
    showRests();
  }

  function startAtFailure() {
    const broken = failure();
    if (broken?.key && story.keys.includes(broken.key)) {
      choice.key = broken.key;
      choice.others = "faint";
    }
    syncControls();
    choose();
    toFailure();
  }

  function syncControls() {
    $("key").value = choice.key;
    $("others").value = choice.others;
    $("others").disabled = !choice.key;
    $("compress").checked = choice.compress;
    $("search").value = choice.search;
  }

  function showFilters() {
    const tally = (list, of) =>
      list.reduce((sums, item) => sums.set(of(item), (sums.get(of(item)) || 0) + 1), new Map());
    const groups = [
      ["node", "Nodes", new Map(story.nodes.map((_, node) => [node, null])), nodeName],
      ["fate", "Fates", tally(story.messages, (m) => m.fate)],
      ["kind", "Messages", tally(story.messages, (m) => m.kind)],
      ["event", "Events", tally(story.events, (e) => e.kind)],
      ["act", "Calls", tally(story.calls, (c) => c.act)],
      ["outcome", "Outcomes", tally(story.calls, (c) => c.outcome)],
    ];
    const change = () => {
      showFilters();
      choose();
    };
    const sets = groups
      .filter(([, , values]) => values.size)
      .map(([name, title, values, say]) => {
        const sorted = [...values].sort((a, b) => (b[1] ?? 0) - (a[1] ?? 0));
        const whole = (isOn) => () => {
          off[name] = new Set(isOn ? [] : values.keys());
          change();
        };
        return el(
          "fieldset",
          {},
          el(
            "legend",
            {},
            title,
            el("button", { onclick: whole(true) }, "all"),
            el("button", { onclick: whole(false) }, "none"),
          ),
          ...sorted.map(([value, n]) =>
            el(
              "label",
              {},
              el("input", {
                type: "checkbox",
                checked: !off[name].has(value),
                onchange: (event) => {
                  if (event.target.checked) off[name].delete(value);
                  else off[name].add(value);
                  choose();
                },
              }),
              say ? say(value) : value,
              n === null ? "" : el("span", { class: "n" }, count(n)),
            ),
          ),
        );
      });
    $("filters").replaceChildren(
      ...sets,
      el(
        "div",
        { class: "foot" },
        el("span", { id: "filters-foot" }),
        el("span", { class: "space" }),
        el("button", { onclick: showEverything }, "Show everything"),
        el("button", { onclick: toggleFilters }, "Close"),
      ),
    );
  }

  function showEverything() {
    for (const name of Object.keys(off)) off[name] = new Set();
    choice.others = "shown";
    syncControls();
    showFilters();
    choose();
  }

  function toggleFilters() {
    const panel = $("filters");
    panel.hidden = !panel.hidden;
    $("filters-open").setAttribute("aria-expanded", String(!panel.hidden));
  }

  function showLegend() {
    const item = (text, paint) => {
      const canvas = el("canvas", {});
      const ratio = window.devicePixelRatio || 1;
      canvas.width = 42 * ratio;
      canvas.height = 18 * ratio;
      const ctx = canvas.getContext("2d");
      ctx.scale(ratio, ratio);
      ctx.textBaseline = "middle";
      paint(ctx);
      return el("span", {}, canvas, text);
    };
    const flight = (fate, late, double) => (ctx) => {
      const paths = newPaths(),
        half = fate === "lost" || fate === "cut";
      shape(paths, fate, late, 2, 4, half ? 24 : 36, half ? 10 : 13, true);
      strokeShape(ctx, paths, late ? color.late : color[fate], 1.4, double, 0.95);
    };
    const bar = (act, outcome) => (ctx) => drawBar(ctx, { x0: 2, x1: 39, y: 3, h: 12 }, actColor(act), outcome);
    const event = (kind) => (ctx) => {
      ctx.strokeStyle = color.lane;
      ctx.beginPath();
      ctx.moveTo(4, 9);
      ctx.lineTo(38, 9);
      ctx.stroke();
      const [form, ink] = eventLook(kind);
      glyph(
        (tint, fills) => ({ __proto__: null, tint, fills, ...recorder(ctx, tint, fills) }),
        form,
        color[ink],
        false,
        21,
        9,
        false,
      );
    };
    const strip = (isSynced, isEmpty) => (ctx) => {
      if (!isEmpty) {
        ctx.fillStyle = color.isDark ? "hsl(205 42% 36%)" : "hsl(205 60% 76%)";
        ctx.fillRect(2, 3, 37, 12);
      }
      if (!isSynced) {
        ctx.globalAlpha = 0.45;
        ctx.fillStyle = hatch(ctx, color.ink, 6, false, 1.2);
        ctx.fillRect(2, 3, 37, 12);
        ctx.globalAlpha = 1;
      }
      ctx.strokeStyle = color.lane;
      ctx.strokeRect(2.5, 3.5, 36, 11);
    };
    const spell = (what) => (ctx) => {
      const ink = what === "slow" ? color.slow : what === "paused" ? color.doubt : color.spell;
      ctx.fillStyle = hatch(ctx, ink, what === "down" ? 6 : 9, what !== "paused", 1.4);
      ctx.fillRect(2, 2, 37, 14);
      ctx.strokeStyle = ink;
      ctx.strokeRect(2.5, 2.5, 36, 13);
    };
    const kinds = [...new Set(story.events.map((e) => e.kind))].sort();
    const acts = [...new Set(["read", "write", "delete", ...story.calls.map((c) => c.act)])];
    const section = (title, ...items) => [el("h3", {}, title), el("div", { class: "items" }, ...items)];
    $("legend").lastElementChild.replaceChildren(
      ...section(
        "Messages",
        ...FATES.map((fate) =>
          item({ dead: "receiver down", cut: "cut off", underway: "on its way" }[fate] || fate, flight(fate)),
        ),
        item("late", flight("arrived", true)),
        item("second copy", flight("arrived", false, true)),
      ),
      ...section(
        "Calls",
        ...acts.map((act) => item(act, bar(act, "ok"))),
        item("failed", bar("write", "fail")),
        item("unknown", bar("write", "unknown")),
        item("open", bar("write", "open")),
        item("failure's call", (ctx) => {
          drawBar(ctx, { x0: 8, x1: 37, y: 4, h: 10 }, actColor("read"), "ok");
          ctx.strokeStyle = color.bad;
          ctx.lineWidth = 2;
          ctx.strokeRect(6, 2, 33, 14);
          badge(ctx, 9, 9, "1");
        }),
      ),
      ...(kinds.length ? section("Events", ...kinds.map((kind) => item(kind, event(kind)))) : []),
      ...section(
        "Disks: what is held of the key",
        item("synced", strip(true)),
        item("not synced", strip(false)),
        item("nothing held", strip(true, true)),
      ),
      ...section(
        "Nodes and faults",
        item("down", spell("down")),
        item("paused", spell("paused")),
        item("slow", spell("slow")),
        item("fault", (ctx) => {
          ctx.globalAlpha = 0.2;
          ctx.fillStyle = color.fault;
          ctx.fillRect(2, 3, 37, 12);
        }),
        item("idle, shortened", (ctx) => {
          ctx.fillStyle = color.break;
          ctx.fillRect(12, 1, 18, 16);
          ctx.strokeStyle = color.lane;
          for (const at of [12, 30]) {
            ctx.beginPath();
            for (let y = 1, turn = 1; y < 18; y += 4, turn = -turn) ctx.lineTo(at + turn, y);
            ctx.stroke();
          }
        }),
      ),
    );
  }

  // A path that draws at once: what a glyph of the legend is drawn on.
  function recorder(ctx, tint, fills) {
    const path = new Path2D();
    const later = () =>
      queueMicrotask(() => {
        ctx.fillStyle = ctx.strokeStyle = tint;
        ctx.lineWidth = 1.6;
        if (fills === "hollow") {
          ctx.fillStyle = color.card;
          ctx.fill(path);
          ctx.stroke(path);
        } else if (fills === "full") ctx.fill(path);
        else ctx.stroke(path);
      });
    later();
    return {
      moveTo: (...a) => path.moveTo(...a),
      lineTo: (...a) => path.lineTo(...a),
      arc: (...a) => path.arc(...a),
      rect: (...a) => path.rect(...a),
      closePath: () => path.closePath(),
    };
  }

  function copyButton(text) {
    const button = el(
      "button",
      {
        onclick: async () => {
          try {
            await navigator.clipboard.writeText(text);
          } catch {
            const area = el("textarea", {});
            area.value = text;
            document.body.append(area);
            area.select();
            document.execCommand("copy");
            area.remove();
          }
          button.textContent = "Copied";
          setTimeout(() => {
            button.textContent = "Copy";
          }, 1500);
        },
      },
      "Copy",
    );
    return button;
  }

  const ROWS_IN_TABLE = 5000;
  function callTable() {
    const rested = new Set(failure()?.calls || []);
    const rows = all.call.slice(0, ROWS_IN_TABLE).map((call) => {
      const s = call.s;
      return el(
        "tr",
        { class: rested.has(call.i) ? "rests" : "" },
        el("td", {}, el("button", { class: "link", "data-call": String(call.i) }, "show")),
        el("td", { class: "num" }, moment(s.from_ns)),
        el("td", { class: "num" }, span(s.to_ns - s.from_ns)),
        el("td", {}, String(s.session)),
        el("td", {}, nodeName(s.node)),
        el("td", { class: "act-" + s.act }, s.act),
        el("td", {}, s.key ?? ""),
        el("td", { class: "out-" + s.outcome }, s.outcome),
        el("td", { class: "says" }, s.says),
      );
    });
    const heads = ["", "called", "took", "session", "node", "act", "key", "outcome", "says"];
    const table = el(
      "table",
      {
        onclick: (event) => {
          const place = event.target.dataset?.call;
          if (place === undefined) return;
          const call = all.call[Number(place)];
          setPin(call, call.node, call.t0, true);
          window.scrollTo({ top: 0 });
        },
      },
      el(
        "caption",
        { class: "quiet" },
        rows.length < all.call.length
          ? `The first ${count(rows.length)} of ${count(all.call.length)} calls, in order.`
          : `All ${count(rows.length)} calls, in order. A red edge marks those that the failure rests on.`,
      ),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          ...heads.map((text) => el("th", { scope: "col", class: /called|took/.test(text) ? "num" : "" }, text)),
        ),
      ),
      el("tbody", {}, ...rows),
    );
    return [el("h2", {}, "All calls"), el("div", { class: "wide" }, table)];
  }

  const FOLDS = {
    scenario: () => [
      el("h2", {}, "The command that runs it again"),
      el("div", { class: "copied" }, el("pre", {}, story.command), copyButton(story.command)),
      el("h2", {}, "The scenario"),
      el("div", { class: "copied" }, el("pre", {}, story.scenario), copyButton(story.scenario)),
    ],
    calls: callTable,
  };

  function toggleFold(button) {
    const name = button.dataset.fold,
      panel = $("fold-" + name),
      opens = panel.hidden;
    panel.hidden = !opens;
    button.setAttribute("aria-expanded", String(opens));
    if (!opens) return;
    panel.replaceChildren(...FOLDS[name]());
    panel.scrollIntoView({ block: "nearest" });
  }

  function showHelp() {
    const keys = [
      ["← →", "the event before or after the pinned one on its node; else move"],
      ["↑ ↓", "the node above or below; else move"],
      ["Enter", "the other end of a pinned message; in the search, the next thing found"],
      ["[ ]", "the call before or after among those that the failure rests on"],
      ["f", "the failure"],
      ["0", "the whole run"],
      ["+ −", "zoom"],
      ["/", "search"],
      ["i", "idle time short or at length"],
      ["Esc", "unpin, close"],
      ["?", "this"],
    ];
    const mouse = [
      ["wheel", "zoom at the pointer"],
      ["Shift + wheel", "move in time"],
      ["Alt + wheel", "move up and down"],
      ["drag", "move"],
      ["Shift + drag", "zoom to a span; a drag on the map above does so, too"],
      ["click", "pin; on nothing: unpin"],
      ["double click", "zoom in"],
    ];
    const list = (rows) =>
      el("dl", {}, ...rows.flatMap(([key, text]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, text)]));
    $("help").replaceChildren(
      el("h2", {}, "Keys"),
      list(keys),
      el("h2", {}, "Mouse"),
      list(mouse),
      el("h2", {}, "Links"),
      el(
        "p",
        {},
        "The address follows the view, so it can be kept and sent: ",
        el("code", {}, "#from=1.2s&to=1.5s&key=k7&all=1"),
        ". all=1 shows other keys, others=hidden hides them, idle=1 draws idle time at length, failure=2 picks a failure, pin=c12 pins the call 12 " +
          "(m: message, e: event), q= searches, hide=kind:Probe,event:tick hides, theme=dark is dark.",
      ),
      el("form", { method: "dialog" }, el("button", {}, "Close")),
    );
    $("help").showModal();
  }

  // ---------------------------------------------------------------- the address

  let lastHash = "",
    hashTimer = 0;

  function readHash() {
    const query = new URLSearchParams(location.search),
      hash = new URLSearchParams(location.hash.slice(1));
    const value = (name) => hash.get(name) ?? query.get(name);
    if (value("theme")) choice.theme = value("theme") === "dark" ? "dark" : "light";
    const at = Number(value("failure"));
    if (at >= 1 && at <= story.failures.length) choice.failure = at - 1;
    return value;
  }

  function applyHash(value) {
    if (value("key") !== null) choice.key = story.keys.includes(value("key")) ? value("key") : "";
    if (["shown", "faint", "hidden"].includes(value("others"))) choice.others = value("others");
    if (value("all") === "1") choice.others = "shown";
    if (value("idle") !== null) choice.compress = value("idle") !== "1";
    if (["key", "past", "future", "none"].includes(value("light"))) choice.light = value("light");
    choice.search = value("q") || "";
    for (const part of (value("hide") || "").split(",")) {
      const [name, ...rest] = part.split(":"),
        what = rest.join(":");
      if (name === "node") {
        const node = story.nodes.indexOf(what);
        if (node >= 0) off.node.add(node);
      } else if (off[name] && what) off[name].add(what);
    }
    syncControls();
    showFilters();
    choose();
    const [from, to] = [parseTime(value("from")), parseTime(value("to"))];
    if (from !== null || to !== null) fitTimes(from ?? 0, to ?? END);
    const thing = byId.get(value("pin") || "");
    if (thing) setPin(thing, thing.node, thing.t0, from === null && to === null);
  }

  // The address follows the view a little later: browsers do not like it to change at every frame.
  function writeHash() {
    clearTimeout(hashTimer);
    hashTimer = setTimeout(() => {
      const sec = (ns) => String(Number((Math.max(0, Math.min(END, ns)) / 1e9).toFixed(9))) + "s";
      const parts = ["from=" + sec(timeAt(view.u0)), "to=" + sec(timeAt(view.u0 + plotWidth() / view.px))];
      const put = (name, value) => parts.push(name + "=" + encodeURIComponent(value));
      put("key", choice.key);
      if (choice.others === "shown") put("all", "1");
      else put("others", choice.others);
      if (!choice.compress) put("idle", "1");
      if (choice.failure) put("failure", choice.failure + 1);
      if (pin) put("pin", pin.thing.id);
      if (pin && choice.light !== "key") put("light", choice.light);
      if (choice.search) put("q", choice.search);
      const hide = Object.entries(off).flatMap(([name, set]) =>
        [...set].map((value) => name + ":" + (name === "node" ? nodeName(value) : value)),
      );
      if (hide.length) put("hide", hide.join(","));
      if (choice.theme) put("theme", choice.theme);
      lastHash = "#" + parts.join("&");
      try {
        history.replaceState(null, "", lastHash);
      } catch {
        /* Some browsers refuse this for files. */
      }
    }, 300);
  }

  // ---------------------------------------------------------------- input

  let drag = null,
    brush = null;
  const diagram = $("diagram");
  const spot = (event, of) => {
    const box = of.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  diagram.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const unit = event.deltaMode === 1 ? 16 : 1;
      const [dx, dy] = [event.deltaX * unit, event.deltaY * unit];
      if (event.altKey) pan(0, -dy);
      else if (event.shiftKey || Math.abs(dx) > Math.abs(dy)) pan(-(dx || dy), 0);
      else zoom(Math.exp(-dy * 0.0022), Math.max(GUTTER, spot(event, diagram).x));
    },
    { passive: false },
  );

  diagram.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const at = spot(event, diagram);
    drag = { ...at, x0: at.x, y0: at.y, moved: false, picks: event.shiftKey };
    diagram.setPointerCapture(event.pointerId);
  });

  diagram.addEventListener("pointermove", (event) => {
    const at = spot(event, diagram);
    pointer = at;
    if (drag) {
      if (!drag.moved && Math.hypot(at.x - drag.x0, at.y - drag.y0) > 4) {
        drag.moved = true;
        diagram.classList.add("drags");
      }
      if (drag.moved && drag.picks) {
        brush = { from: mapX(view.u0 + (drag.x0 - GUTTER) / view.px), to: mapX(view.u0 + (at.x - GUTTER) / view.px) };
        draw();
      } else if (drag.moved) pan(at.x - drag.x, at.y - drag.y);
      drag.x = at.x;
      drag.y = at.y;
      hover = null;
    } else hover = nearest(at.x, at.y);
    showTip();
    drawOver();
  });

  diagram.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const at = spot(event, diagram),
      was = drag;
    drag = null;
    diagram.classList.remove("drags");
    if (was.moved && was.picks) {
      brush = null;
      const us = [was.x0, at.x].map((px) => view.u0 + (px - GUTTER) / view.px).sort((a, b) => a - b);
      fitDrawn(us[0], us[1]);
    } else if (!was.moved) {
      const hit = nearest(at.x, at.y);
      if (hit) setPin(hit.thing, hit.lane, hit.t);
      else if (pin) setPin(null);
    }
    diagram.focus({ preventScroll: true });
  });

  diagram.addEventListener("pointerleave", () => {
    pointer = null;
    hover = null;
    showTip();
    drawOver();
  });
  diagram.addEventListener("dblclick", (event) => zoom(2.5, spot(event, diagram).x));

  const mapCanvas = $("map");
  mapCanvas.addEventListener("pointerdown", (event) => {
    const at = spot(event, mapCanvas).x,
      x0 = mapX(view.u0),
      x1 = mapX(view.u0 + plotWidth() / view.px);
    const inside = at > x0 && at < x1 && x1 - x0 < plotWidth() * 0.9;
    brush = inside ? null : { from: at, to: at };
    mapCanvas.dataset.pan = inside ? String(at) : "";
    mapCanvas.setPointerCapture(event.pointerId);
  });
  mapCanvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    const at = spot(event, mapCanvas).x;
    if (brush) {
      brush.to = at;
      draw();
      return;
    }
    if (!mapCanvas.dataset.pan) return;
    view.u0 += mapU(at) - mapU(Number(mapCanvas.dataset.pan));
    mapCanvas.dataset.pan = String(at);
    clampView();
    draw();
  });
  mapCanvas.addEventListener("pointerup", () => {
    if (!brush) return;
    const { from, to } = brush,
      wide = plotWidth() / view.px;
    brush = null;
    if (Math.abs(to - from) > 4) fitDrawn(mapU(Math.min(from, to)), mapU(Math.max(from, to)));
    else fitDrawn(mapU(from) - wide / 2, mapU(from) + wide / 2);
  });

  function nextMatch(by) {
    if (!matches.length) return;
    matchAt = (matchAt + by + matches.length) % matches.length;
    const thing = matches[matchAt];
    setPin(thing, thing.node, thing.t0, true);
    sayFound();
  }

  function nextRest(by) {
    const calls = failure()?.calls || [];
    if (!calls.length) return;
    const at = pin ? calls.indexOf(pin.thing.type === "call" ? pin.thing.i : -1) : -1;
    const call = all.call[calls[at < 0 ? (by > 0 ? 0 : calls.length - 1) : (at + by + calls.length) % calls.length]];
    if (call) setPin(call, call.node, call.t0, true);
  }

  const middle = () =>
    pin && x(drawn(pin.t)) > GUTTER && x(drawn(pin.t)) < size.w ? x(drawn(pin.t)) : GUTTER + plotWidth() / 2;
  const KEYS = {
    ArrowLeft: () => (pin?.lane != null ? step(-1) : pan(plotWidth() * 0.15, 0)),
    ArrowRight: () => (pin?.lane != null ? step(1) : pan(-plotWidth() * 0.15, 0)),
    ArrowUp: () => (pin?.lane != null ? stepLane(-1) : pan(0, 60)),
    ArrowDown: () => (pin?.lane != null ? stepLane(1) : pan(0, -60)),
    "+": () => zoom(1.5, middle()),
    "=": () => zoom(1.5, middle()),
    "-": () => zoom(1 / 1.5, middle()),
    "−": () => zoom(1 / 1.5, middle()),
    0: fitAll,
    f: toFailure,
    "?": showHelp,
    "/": () => $("search").focus(),
    "[": () => nextRest(-1),
    "]": () => nextRest(1),
    i: () => {
      choice.compress = !choice.compress;
      syncControls();
      choose();
    },
    Enter: () => pin && follow(),
    Escape: () => {
      if (!$("filters").hidden) toggleFilters();
      else if (choice.search) {
        choice.search = "";
        syncControls();
        look();
        findLit();
      } else setPin(null);
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
    const tag = event.target.tagName,
      typing = tag === "INPUT" && event.target.type === "search";
    if (typing) {
      if (event.key === "Enter") {
        event.preventDefault();
        nextMatch(event.shiftKey ? -1 : 1);
      }
      if (event.key === "Escape") {
        choice.search = "";
        syncControls();
        look();
        findLit();
        diagram.focus();
      }
      return;
    }
    if (["SELECT", "INPUT", "TEXTAREA"].includes(tag) && event.key !== "Escape") return;
    if (event.key === "Enter" && (tag === "BUTTON" || tag === "SUMMARY")) return;
    const action = KEYS[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  $("to-failure").addEventListener("click", toFailure);
  $("to-all").addEventListener("click", fitAll);
  $("zoom-in").addEventListener("click", () => zoom(1.6, middle()));
  $("zoom-out").addEventListener("click", () => zoom(1 / 1.6, middle()));
  $("compress").addEventListener("change", (event) => {
    choice.compress = event.target.checked;
    choose();
  });
  $("key").addEventListener("change", (event) => {
    choice.key = event.target.value;
    syncControls();
    choose();
    showPinned();
  });
  $("others").addEventListener("change", (event) => {
    choice.others = event.target.value;
    choose();
  });
  $("filters-open").addEventListener("click", toggleFilters);
  $("help-open").addEventListener("click", showHelp);
  $("theme").addEventListener("click", () => {
    choice.theme = color.isDark ? "light" : "dark";
    repaint();
  });
  $("search").addEventListener("input", (event) => {
    choice.search = event.target.value.trim();
    matchAt = -1;
    look();
    findLit();
    writeHash();
  });
  for (const button of document.querySelectorAll("[data-fold]"))
    button.addEventListener("click", () => toggleFold(button));
  document.addEventListener("pointerdown", (event) => {
    if (!$("filters").hidden && !event.target.closest(".drop")) toggleFilters();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  window.addEventListener("hashchange", () => {
    if (location.hash !== lastHash) applyHash(readHash());
  });

  function repaint() {
    readColors();
    showLegend();
    showPinned();
    draw();
  }

  new ResizeObserver(() => {
    const box = diagram.getBoundingClientRect();
    if (Math.abs(box.width - size.w) < 0.5 && Math.abs(box.height - size.h) < 0.5) return;
    const wide = plotWidth() / view.px;
    size.w = box.width;
    size.h = box.height;
    view.px = plotWidth() / wide;
    place();
    clampView();
    draw();
  }).observe(diagram);

  function start() {
    const value = readHash();
    $("key").replaceChildren(
      el("option", { value: "" }, "none"),
      ...story.keys.map((key) => el("option", { value: key }, key)),
    );
    $("digest").textContent = story.digest ? "trace " + story.digest : "";
    const box = diagram.getBoundingClientRect();
    size.w = box.width;
    size.h = box.height;
    readColors();
    showVerdict();
    showFilters();
    showLegend();
    if (!failure() && story.keys.length) choice.key = story.keys[0];
    if (failure()) startAtFailure();
    else {
      syncControls();
      choose();
      fitAll();
    }
    showPinned();
    showRests();
    if (
      [...new URLSearchParams(location.hash.slice(1)), ...new URLSearchParams(location.search)].some(
        ([name]) => name !== "theme",
      )
    )
      applyHash(value);
  }
  start();
})();
