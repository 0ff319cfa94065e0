// A wall of thumbnails in sections, one a class; as many elements as are seen. Images are chosen by clicks, dragged onto a
// section, or named by keys. Sections are {name, title, digit, colour, ink, items: [[number, share, labelled], ...]}.
const MARGIN = 3; // rows beyond either end
const HEAD = 44, CELL = 132; // pixels

export default {
  template: `
  <div class="wall" ref="root" tabindex="0" data-test="wall" @scroll.passive="scrolled" @keydown="pressed">
    <div :style="{ height: plan.height + 'px', position: 'relative' }">
      <template v-for="line in visible" :key="line.key">
        <div v-if="line.head" class="wall-head" :style="{ top: line.top + 'px' }" :data-section="line.section.title"
             @dragover.prevent @drop.prevent="dropped(line.section)">
          <span v-if="line.section.digit" class="supports-digit" :style="{ background: line.section.colour, color: line.section.ink }">
            {{ line.section.digit }}</span>
          <b>{{ line.section.title }}</b>
          <span class="wall-count">{{ count(line.section) }}</span>
          <button v-if="line.section.name !== null && chosen.length" @click="$emit('assign', { numbers: chosen, name: line.section.name })">
            put {{ chosen.length }} here</button>
        </div>
        <div v-else class="wall-row" :style="{ top: line.top + 'px' }" @dragover.prevent @drop.prevent="dropped(line.section)">
          <div v-for="item in line.items" :key="item[0]" class="wall-item" draggable="true" :data-number="item[0]"
               :class="{ 'wall-chosen': isChosen(item[0]), 'wall-labelled': item[2] }"
               :style="{ '--class': line.section.colour || 'var(--line)' }" :title="names[item[0]]"
               @click="clicked($event, item[0])" @dblclick="$emit('assign', { numbers: [item[0]], name: line.section.name })"
               @dragstart="dragged($event, item[0])">
            <img :src="'/thumbnail/' + item[0]" decoding="async" alt="" draggable="false"/>
            <span class="wall-mark">{{ item[2] ? '✓' : item[1] === null ? '' : Math.round(100 * item[1]) + '%' }}</span>
          </div>
        </div>
      </template>
    </div>
  </div>`,
  props: { sections: Array, names: Array },
  data: () => ({ chosen: [], last: null, top: 0, room: 600, columns: 6 }),
  mounted() {
    this.watcher = new ResizeObserver(() => {
      this.room = this.$refs.root.clientHeight;
      this.columns = Math.max(1, Math.floor((this.$refs.root.clientWidth - 24) / CELL));
    });
    this.watcher.observe(this.$refs.root);
    this.$refs.root.focus();
  },
  unmounted() { this.watcher.disconnect(); },
  computed: {
    plan() {
      const lines = [];
      let top = 0;
      for (const section of this.sections) {
        lines.push({ key: "h" + section.title, head: true, section, top, height: HEAD });
        top += HEAD;
        for (let k = 0; k < section.items.length; k += this.columns) {
          lines.push({ key: section.title + "/" + k, section, items: section.items.slice(k, k + this.columns), top, height: CELL });
          top += CELL;
        }
      }
      return { lines, height: top + 24, flat: this.sections.flatMap((section) => section.items.map((item) => item[0])) };
    },
    visible() {
      const from = this.top - MARGIN * CELL, to = this.top + this.room + MARGIN * CELL;
      return this.plan.lines.filter((line) => line.top + line.height >= from && line.top <= to);
    },
  },
  methods: {
    scrolled() { this.top = this.$refs.root.scrollTop; },
    clear() { this.chosen = []; },
    isChosen(number) { return this.chosen.includes(number); },
    count(section) {
      const labelled = section.items.filter((item) => item[2]).length;
      const rest = section.items.length - labelled;
      return section.name === null ? `${rest}` : `✓ ${labelled}   ${rest} sorted here`;
    },
    clicked(event, number) {
      this.$refs.root.focus();
      if (event.shiftKey && this.last !== null) {
        const [a, b] = [this.plan.flat.indexOf(this.last), this.plan.flat.indexOf(number)].sort((x, y) => x - y);
        this.chosen = [...new Set([...this.chosen, ...this.plan.flat.slice(Math.max(a, 0), b + 1)])];
      } else if (this.isChosen(number)) {
        this.chosen = this.chosen.filter((other) => other !== number);
      } else {
        this.chosen = [...this.chosen, number];
      }
      this.last = number;
      this.$emit("selected", this.chosen);
    },
    dragged(event, number) {
      if (!this.isChosen(number)) this.chosen = [number];
      event.dataTransfer.setData("text/plain", String(number));
      event.dataTransfer.effectAllowed = "move";
      this.$emit("selected", this.chosen);
    },
    dropped(section) {
      if (this.chosen.length) this.$emit("assign", { numbers: this.chosen, name: section.name });
    },
    pressed(event) {
      const ctrl = event.ctrlKey || event.metaKey;
      if (event.key === "Escape") this.clear();
      const ours = /^[1-9]$/.test(event.key) || ["Delete", "Backspace", "Enter", "c", "C", "?"].includes(event.key);
      if ((ours && !ctrl) || (ctrl && event.key.toLowerCase() === "z")) {
        event.preventDefault();
        this.$emit("pressed", { key: event.key, ctrl, numbers: this.chosen });
      }
    },
  },
};
