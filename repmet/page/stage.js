// The image with its boxes: zoom, pan, draw, drag a side, all of it here, so that no movement of the hand waits for the server.
// What was done is emitted: `began` with every press; `drawn` [x1, y1, x2, y2], `tapped` {key, x, y}, `corrected` {key, box}, `pressed` {key, ctrl, shift}.
// Boxes are in pixels of the image; `scale` and `origin` lead from there to the screen.
const FAR = 4; // screen pixels from which on a press is a drag
const GRIP = { mouse: 7, touch: 18, pen: 12 }; // how near to a side of the selected box a press takes it
const SMALL = 5; // screen pixels of a side below which nothing was drawn

export default {
  template: `
  <div class="stage" tabindex="0" ref="root" data-test="stage">
   <div class="stage-room" ref="frame">
    <svg ref="svg" width="100%" height="100%" :style="{ cursor }"
         @pointerdown="down" @pointermove="move" @pointerup="up" @pointercancel="cancel" @pointerleave="hover = null; aim = null"
         @wheel.prevent="wheel" @contextmenu.prevent>
      <image v-if="src" :href="src" :x="origin[0]" :y="origin[1]" :width="width * scale" :height="height * scale"
             preserveAspectRatio="none" :style="scale > 3 ? 'image-rendering: pixelated' : ''" @load="loaded = src" @error="loaded = src"/>
      <g v-if="aim && !hand && drag === null" class="stage-aim">
        <line :x1="aim[0]" y1="0" :x2="aim[0]" y2="100%"/><line x1="0" :y1="aim[1]" x2="100%" :y2="aim[1]"/>
      </g>
      <g v-for="b in placed" :key="b.key" :class="['box', 'box-' + (b.verdict || 'found'), b.key === selected && 'box-selected']"
         :data-key="b.key" :data-name="b.name" :data-verdict="b.verdict || 'found'" :data-score="b.score">
        <rect class="box-halo" :x="b.x" :y="b.y" :width="b.w" :height="b.h"/>
        <rect class="box-line" :x="b.x" :y="b.y" :width="b.w" :height="b.h" :stroke="b.colour"/>
        <path v-if="b.verdict === 'rejected'" class="box-line" :stroke="b.colour" :d="'M' + b.x + ' ' + b.y + 'l' + b.w + ' ' + b.h"/>
      </g>
      <g v-for="b in labelled" :key="'t' + b.key" class="tag" :transform="'translate(' + b.tx + ' ' + b.ty + ')'">
        <rect :width="b.tw" height="18" rx="3" :fill="b.colour"/>
        <text x="5" y="13" :fill="b.ink">{{ b.text }}</text>
      </g>
      <g v-if="grips.length"><rect v-for="(g, i) in grips" :key="i" class="grip" :x="g[0] - 4" :y="g[1] - 4" width="8" height="8"/></g>
      <rect v-if="rubber" class="rubber" :x="rubber.x" :y="rubber.y" :width="rubber.w" :height="rubber.h" :stroke="colour"/>
    </svg>
    <div v-if="note" class="stage-note" data-test="stage-note">{{ note }}</div>
   </div>
   <div class="stage-foot">
    <span class="stage-hint" data-test="hint">{{ hint }}</span>
    <button @click="hand = !hand" :aria-pressed="hand" title="Move the image instead of drawing (or hold the space bar)">
      <i class="q-icon notranslate material-icons">pan_tool_alt</i></button>
    <button @click="zoom(1 / 1.4)" title="Smaller (−)">−</button>
    <button @click="fit" title="Whole image (0)">{{ Math.round(scale * 100) }}%</button>
    <button @click="zoom(1.4)" title="Larger (+)">+</button>
   </div>
  </div>`,
  props: {
    src: String, width: Number, height: Number, boxes: Array, selected: String, colour: String, note: String, hint: String, ahead: Array,
  },
  data: () => ({
    scale: 1, origin: [0, 0], fitted: true, loaded: null, hand: false, space: false, hover: null, aim: null,
    drag: null, rubber: null, moved: null, fingers: {}, room: [1, 1],
  }),
  mounted() {
    this.watcher = new ResizeObserver(() => {
      this.room = [this.$refs.frame.clientWidth, this.$refs.frame.clientHeight];
      if (this.fitted) this.fit();
    });
    this.watcher.observe(this.$refs.frame);
    this.keydown = (e) => this.press(e);
    this.keyup = (e) => { if (e.key === " ") this.space = false; };
    window.addEventListener("keydown", this.keydown);
    window.addEventListener("keyup", this.keyup);
  },
  unmounted() {
    this.watcher.disconnect();
    window.removeEventListener("keydown", this.keydown);
    window.removeEventListener("keyup", this.keyup);
  },
  watch: {
    src() { this.drag = this.rubber = this.moved = null; this.fit(); },
    width() { this.fit(); },
    height() { this.fit(); },
    boxes() { this.moved = null; if (!this.drag) this.rubber = null; },
    ahead(next) { for (const src of next || []) new Image().src = src; },
  },
  computed: {
    placed() {
      return (this.boxes || []).map((b) => {
        const [x1, y1, x2, y2] = this.moved && this.moved.key === b.key ? this.moved.box : b.box;
        const [x, y] = this.outside(x1, y1);
        return { ...b, x, y, w: (x2 - x1) * this.scale, h: (y2 - y1) * this.scale };
      });
    },
    labelled() {
      const few = this.placed.length <= 40;
      return this.placed.filter((b) => few || b.key === this.selected || b.key === this.hover).map((b) => {
        const sign = { accepted: " ✓", rejected: " ✕" }[b.verdict] || " " + Math.round(b.score * 100) + "%";
        const whole = few && this.placed.length <= 15 || b.key === this.selected || b.key === this.hover;
        const text = (b.digit ? b.digit + " " : "") + (whole ? (b.name.length > 24 ? b.name.slice(0, 23) + "…" : b.name) : "") + sign;
        const tw = 10 + 7.2 * text.length;
        const tx = Math.max(0, Math.min(b.x, this.room[0] - tw)), ty = b.y >= 20 ? b.y - 19 : b.y + 1;
        return { ...b, text, tw, tx, ty };
      });
    },
    chosen() { return this.placed.find((b) => b.key === this.selected); },
    grips() {
      const b = this.chosen;
      if (!b || b.verdict === "rejected") return [];
      const [cx, cy, x2, y2] = [b.x + b.w / 2, b.y + b.h / 2, b.x + b.w, b.y + b.h];
      return [[b.x, b.y], [cx, b.y], [x2, b.y], [x2, cy], [x2, y2], [cx, y2], [b.x, y2], [b.x, cy]];
    },
    cursor() {
      if (this.drag && this.drag.kind === "pan") return "grabbing";
      if (this.hand || this.space) return "grab";
      if (this.hover && this.hover.startsWith("side:")) return this.hover.slice(5);
      return this.hover ? "pointer" : "crosshair";
    },
  },
  methods: {
    inside(x, y) { return [(x - this.origin[0]) / this.scale, (y - this.origin[1]) / this.scale]; },
    outside(x, y) { return [x * this.scale + this.origin[0], y * this.scale + this.origin[1]]; },
    place(e) { const r = this.$refs.svg.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; },
    fit() {
      const [w, h] = this.room;
      if (!this.width || !this.height || !w || !h) return;
      this.scale = Math.min((w - 24) / this.width, (h - 24) / this.height, 8);
      this.origin = [(w - this.width * this.scale) / 2, (h - this.height * this.scale) / 2];
      this.fitted = true;
    },
    zoom(by, at) {
      const [x, y] = at || [this.room[0] / 2, this.room[1] / 2];
      const least = Math.min(this.room[0] / this.width, this.room[1] / this.height, 1) / 2;
      const scale = Math.min(Math.max(this.scale * by, least), 32);
      const [ix, iy] = this.inside(x, y);
      this.scale = scale;
      this.origin = [x - ix * scale, y - iy * scale];
      this.fitted = false;
    },
    wheel(e) { this.zoom(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0015)), this.place(e)); },
    under(x, y) { // the smallest box there
      const there = this.placed.filter((b) => x >= b.x - 2 && x <= b.x + b.w + 2 && y >= b.y - 2 && y <= b.y + b.h + 2);
      return there.sort((a, b) => a.w * a.h - b.w * b.h)[0];
    },
    side(x, y, pointer) { // which sides of the selected box are taken there: [left, top, right, bottom]
      const b = this.chosen;
      if (!b || b.verdict === "rejected") return null;
      const grip = GRIP[pointer] || GRIP.mouse;
      const near = (p, q) => Math.abs(p - q) <= grip;
      const across = x >= b.x - grip && x <= b.x + b.w + grip, along = y >= b.y - grip && y <= b.y + b.h + grip;
      const sides = [near(x, b.x) && along, near(y, b.y) && across, near(x, b.x + b.w) && along, near(y, b.y + b.h) && across];
      if (sides[0] && sides[2]) sides[x < b.x + b.w / 2 ? 2 : 0] = false;
      if (sides[1] && sides[3]) sides[y < b.y + b.h / 2 ? 3 : 1] = false;
      return sides.some(Boolean) ? sides : null;
    },
    down(e) {
      this.$refs.root.focus({ preventScroll: true });
      this.$refs.svg.setPointerCapture(e.pointerId);
      const at = this.place(e);
      this.fingers[e.pointerId] = at;
      this.$emit("began");
      const pressed = Object.values(this.fingers);
      if (pressed.length === 2) { // two fingers move and zoom, whatever the first had begun
        this.drag = { kind: "pinch" };
        this.rubber = this.moved = null;
        return;
      }
      if (pressed.length > 2 || !this.src) return;
      if (e.button || this.hand || this.space) { this.drag = { kind: "pan", at }; return; }
      const sides = this.side(...at, e.pointerType);
      this.drag = sides ? { kind: "side", sides, key: this.selected, from: at, old: this.boxes.find((b) => b.key === this.selected).box }
        : { kind: "press", from: at };
    },
    move(e) {
      const at = this.place(e), drag = this.drag;
      if (e.pointerId in this.fingers) {
        if (drag && drag.kind === "pinch" && Object.keys(this.fingers).length === 2) {
          const before = Object.values(this.fingers);
          this.fingers[e.pointerId] = at;
          const after = Object.values(this.fingers);
          const middle = (p) => [(p[0][0] + p[1][0]) / 2, (p[0][1] + p[1][1]) / 2];
          const apart = (p) => Math.hypot(p[0][0] - p[1][0], p[0][1] - p[1][1]) || 1;
          const [from, to] = [middle(before), middle(after)];
          this.origin = [this.origin[0] + to[0] - from[0], this.origin[1] + to[1] - from[1]];
          this.zoom(apart(after) / apart(before), to);
          return;
        }
        this.fingers[e.pointerId] = at;
      }
      if (!drag) {
        this.aim = e.pointerType === "mouse" && this.src ? at : null;
        const sides = this.side(...at, e.pointerType), over = this.under(...at);
        const cursor = sides && ((sides[0] || sides[2]) && (sides[1] || sides[3]) ? ((sides[0] && sides[1]) || (sides[2] && sides[3]) ? "nwse-resize" : "nesw-resize")
          : sides[0] || sides[2] ? "ew-resize" : "ns-resize");
        this.hover = cursor ? "side:" + cursor : over ? over.key : null;
        return;
      }
      if (drag.kind === "pan") {
        this.origin = [this.origin[0] + at[0] - drag.at[0], this.origin[1] + at[1] - drag.at[1]];
        drag.at = at;
        this.fitted = false;
      } else if (drag.kind === "press" && Math.hypot(at[0] - drag.from[0], at[1] - drag.from[1]) > FAR) {
        drag.kind = "draw";
      }
      if (drag.kind === "draw") {
        const [[x1, x2], [y1, y2]] = [0, 1].map((i) => [Math.min(at[i], drag.from[i]), Math.max(at[i], drag.from[i])]);
        this.rubber = { x: x1, y: y1, w: x2 - x1, h: y2 - y1 };
      } else if (drag.kind === "side") {
        const by = [0, 1].map((i) => (at[i] - drag.from[i]) / this.scale);
        const box = drag.old.map((v, i) => (drag.sides[i] ? v + by[i % 2] : v));
        this.moved = { key: drag.key, box: [Math.min(box[0], box[2]), Math.min(box[1], box[3]), Math.max(box[0], box[2]), Math.max(box[1], box[3])] };
      }
    },
    up(e) {
      const at = this.place(e), drag = this.drag;
      delete this.fingers[e.pointerId];
      if (Object.keys(this.fingers).length) return;
      this.drag = null;
      if (!drag) return;
      if (drag.kind === "press") {
        const b = this.under(...at);
        this.$emit("tapped", { key: b ? b.key : null });
      } else if (drag.kind === "draw" && this.rubber) {
        const { x, y, w, h } = this.rubber;
        if (w < SMALL || h < SMALL) { this.rubber = null; return; }
        this.$emit("drawn", [...this.inside(x, y), ...this.inside(x + w, y + h)]); // the rubber band stays until the boxes come
      } else if (drag.kind === "side" && this.moved) {
        this.$emit("corrected", this.moved);
      }
    },
    cancel(e) { delete this.fingers[e.pointerId]; this.drag = this.rubber = this.moved = null; },
    clear() { this.rubber = this.moved = null; }, // what was drawn was not kept
    press(e) {
      const on = e.target, tag = on.tagName || "";
      if (/^(INPUT|TEXTAREA|SELECT)$/.test(tag) || on.isContentEditable || document.querySelector(".q-dialog")) return;
      if ((e.key === "Enter" || e.key === " ") && /^(BUTTON|A)$/.test(tag)) return;
      if (e.key.startsWith("Arrow") && on.closest && on.closest(".q-slider")) return;
      if (e.altKey || (e.metaKey && e.key.toLowerCase() !== "z")) return;
      if (e.key === " ") { this.space = true; e.preventDefault(); return; }
      if (e.key === "+" || e.key === "=") return this.zoom(1.25);
      if (e.key === "-") return this.zoom(0.8);
      if (e.key === "0" && !e.ctrlKey) return this.fit();
      if (e.ctrlKey && e.key.toLowerCase() !== "z") return;
      if (/^Arrow|^Enter$|^Delete$|^Backspace$|^Tab$|^Escape$/.test(e.key) || (e.ctrlKey && e.key.toLowerCase() === "z")) {
        if (e.key === "Tab" && on !== this.$refs.root && on !== document.body) return; // elsewhere it moves the focus
        e.preventDefault();
      }
      if (e.key === "Escape") { this.drag = this.rubber = this.moved = null; }
      if (e.key.length === 1 || /^Arrow|^Enter$|^Delete$|^Backspace$|^Tab$|^Escape$/.test(e.key)) {
        this.$emit("pressed", { key: e.key, ctrl: e.ctrlKey || e.metaKey, shift: e.shiftKey });
      }
    },
  },
};
