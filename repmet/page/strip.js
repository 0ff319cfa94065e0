// The strip of images: as many thumbnails as fit on the screen and a few more, of any number of images.
// Items are [name, accepted, found, seen, note]. They are sent once; `patch`, `go` and `reorder` send what changes.
const MARGIN = 4; // rows beyond either end

export default {
  template: `
  <div class="strip" ref="root" @scroll.passive="scrolled" role="listbox" aria-label="Images" data-test="strip">
    <div :style="{ height: places.length * row + 'px', position: 'relative' }">
      <div v-for="p in visible" :key="places[p]" class="strip-item" role="option" :aria-selected="places[p] === now"
           :class="{ 'strip-current': places[p] === now, 'strip-seen': rows[places[p]][3] }"
           :style="{ top: p * row + 'px', height: row - 6 + 'px' }" :title="rows[places[p]][4] || rows[places[p]][0]"
           :data-number="places[p]" @click="$emit('chosen', places[p])">
        <img v-if="!rows[places[p]][4]" :src="'/thumbnail/' + places[p]" decoding="async" alt="" draggable="false"/>
        <span v-else class="strip-bad">cannot be read</span>
        <span class="strip-counts">
          <b v-if="rows[places[p]][1]" class="strip-accepted">✓ {{ rows[places[p]][1] }}</b>
          <b v-if="rows[places[p]][2]" class="strip-found">{{ rows[places[p]][2] }} found</b>
        </span>
        <span class="strip-name">{{ short(rows[places[p]][0]) }}</span>
      </div>
    </div>
  </div>`,
  props: { items: Array, order: Array, current: Number },
  data: () => ({ rows: [], places: [], now: 0, top: 0, room: 600, row: 110 }),
  created() {
    this.rows = this.items.map((item) => [...item]);
    this.places = this.order;
    this.now = this.current;
  },
  mounted() {
    this.watcher = new ResizeObserver(() => {
      this.room = this.$refs.root.clientHeight;
      this.row = this.$refs.root.clientWidth < 120 ? 88 : 110;
    });
    this.watcher.observe(this.$refs.root);
    this.reveal();
  },
  unmounted() { this.watcher.disconnect(); },
  computed: {
    visible() {
      const first = Math.max(0, Math.floor(this.top / this.row) - MARGIN);
      const last = Math.min(this.places.length, Math.ceil((this.top + this.room) / this.row) + MARGIN);
      return Array.from({ length: Math.max(0, last - first) }, (_, i) => first + i);
    },
  },
  methods: {
    scrolled() { this.top = this.$refs.root.scrollTop; },
    patch(changes) { for (const [number, item] of changes) this.rows[number] = item; },
    go(number) { this.now = number; this.reveal(); },
    reorder(order) { this.places = order; this.$nextTick(this.reveal); },
    short(name) { return name.slice(name.lastIndexOf("/") + 1); },
    reveal() {
      const place = this.places.indexOf(this.now), root = this.$refs.root;
      if (place < 0 || !root) return;
      const from = place * this.row, to = from + this.row;
      if (from < root.scrollTop) root.scrollTop = from - this.row;
      else if (to > root.scrollTop + root.clientHeight) root.scrollTop = to - root.clientHeight + this.row;
    },
  },
};
