// Boxes in the order of a grid over their centres, so that those which may overlap a given box lie in a few runs of memory.
//
// IoU > t needs centres closer than w (1 - t) / (2 t) in x, where w is the width of the box in question, and likewise in y:
// with v the other width, the overlap in x is over t (w + v) / (1 + t), hence the distance below (w + v) (1 - t) / (2 (1 + t)),
// and v is at most w / t. Centres of boxes that overlap at all are closer than (w + v) / 2.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "channel_block.h"

namespace repmet {

template <typename T>
struct Box {
  T x1, y1, x2, y2, area;

  // A box of no extent, a reversed or a non-finite one has IoU 0 or NaN with everything: it is kept and suppresses nothing.
  bool can_overlap() const {
    constexpr T infinity = std::numeric_limits<T>::infinity();
    return x2 > x1 && y2 > y1 && area < infinity && std::fabs(x1) < infinity && std::fabs(x2) < infinity;
  }
};

// inter / (a + b - inter) > threshold, in the operand order and rounding of the usual double loop.
template <typename T>
bool exceeds(const Box<T>& a, T x1, T y1, T x2, T y2, T area, double threshold) {
  const T left = std::max(x1, a.x1), top = std::max(y1, a.y1), right = std::min(x2, a.x2), bottom = std::min(y2, a.y2);
  T inter = std::max(T(0), right - left) * std::max(T(0), bottom - top);
#if defined(__GNUC__)
  asm("" : "+m"(inter));  // rounded here: a fused multiply-subtract below could decide a borderline pair differently
#endif
  return inter / (area + a.area - inter) > threshold;
}

// Areas that lost their precision obey no bound but the one on boxes that overlap at all.
template <typename T>
bool bounded(T least_area, double threshold) {
  return threshold > 0 && least_area > std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon();
}

// The threshold of the test without a division, a few ulp below the real one: `exceeds` decides.
template <typename T>
T lowered(T least_area, double threshold) {
  return bounded(least_area, threshold) ? static_cast<T>(threshold) * (T(1) - 8 * std::numeric_limits<T>::epsilon()) : T(0);
}

constexpr int64_t kLanes = 16;  // boxes compared at once

// Boxes as columns x1, y1, x2, y2, area, `stride` apart, with room for a whole vector behind the last.
template <typename T>
struct BoxColumns {
  T* x1;
  int64_t stride;
  T lowered;
  double threshold;

  // Gives an infinite area to what `box` suppresses in places [from, to): its IoU with anything is then 0. Whole vectors:
  // testing a few places more does no harm.
  REPMET_INLINE void sweep(const Box<T>& box, int64_t from, int64_t to) const {
    for (int64_t k = from; k < to; k += kLanes) {
      const T *left_edge = x1 + k, *top = left_edge + stride, *right_edge = top + stride, *bottom = right_edge + stride;
      T* const area = x1 + k + 4 * stride;
      std::array<char, kLanes> hit;
      int any = 0;
      for (int64_t j = 0; j < kLanes; ++j) {
        const T left = left_edge[j] > box.x1 ? left_edge[j] : box.x1;
        const T right = right_edge[j] < box.x2 ? right_edge[j] : box.x2;
        const T over = top[j] > box.y1 ? top[j] : box.y1, under = bottom[j] < box.y2 ? bottom[j] : box.y2;
        const T width = right - left > T(0) ? right - left : T(0), height = under - over > T(0) ? under - over : T(0);
        const T inter = width * height;
        // No division: the threshold is lowered by a few ulp, and `exceeds` decides.
        hit[j] = (inter > T(0)) & (inter >= lowered * (box.area + area[j] - inter));
        any |= hit[j];
      }
      if (!any) continue;
      for (int64_t j = 0; j < kLanes; ++j)
        if (hit[j] && exceeds(box, left_edge[j], top[j], right_edge[j], bottom[j], area[j], threshold))
          area[j] = std::numeric_limits<T>::infinity();
    }
  }
};

// keep[i] = 1 for each of at most `kRow` boxes that no kept box before it suppresses: each kept one is compared with all
// behind it, without a grid or memory of the heap.
constexpr int64_t kRow = 128;

template <typename T>
REPMET_INLINE void suppress_row(const Box<T>* boxes, int64_t count, double threshold, char* keep) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  constexpr int64_t stride = kRow + kLanes;
  std::array<T, 5 * stride> columns;
  T least_area = infinity;
  for (int64_t i = 0; i < count + kLanes; ++i) {  // those behind the last lie nowhere
    const Box<T> box = i < count ? boxes[i] : Box<T>{T(0), T(0), T(0), T(0), infinity};
    const bool valid = i < count && box.can_overlap();
    if (valid) least_area = std::min(least_area, box.area);
    columns[i] = box.x1;
    columns[stride + i] = box.y1;
    columns[2 * stride + i] = box.x2;
    columns[3 * stride + i] = box.y2;
    columns[4 * stride + i] = valid ? box.area : infinity;
    if (i < count) keep[i] = valid ? 1 : 2;  // 2: kept, and suppresses nothing
  }
  const BoxColumns<T> all{columns.data(), stride, lowered(least_area, threshold), threshold};
  for (int64_t i = 0; i < count; ++i) {
    if (keep[i] == 2) {
      keep[i] = 1;
    } else if (columns[4 * stride + i] == infinity) {
      keep[i] = 0;
    } else {
      all.sweep(boxes[i], i + 1, count);
    }
  }
}

// Equal cells from `low` to `high`; those at the ends take what lies beyond.
struct CellAxis {
  double origin = 0.0, per_unit = 0.0, last = 0.0;

  CellAxis() = default;
  CellAxis(double low, double high, int64_t cells) {
    const double scale = static_cast<double>(cells) / (high - low);
    if (!(scale > 0 && scale < 1e300)) return;  // all in one place: one cell
    origin = low;
    per_unit = scale;
    last = static_cast<double>(cells - 1);
  }
  int64_t cell(double at) const {
    const double value = (at - origin) * per_unit;
    return static_cast<int64_t>(value > 0 ? std::min(value, last) : 0.0);
  }
};

template <typename T>
class BoxGrid {
 public:
  // `boxes` in descending score order.
  BoxGrid(const std::vector<Box<T>>& boxes, double threshold) : boxes_(boxes), threshold_(threshold) {
    std::vector<int32_t> valid;
    valid.reserve(boxes.size());
    T least_area = std::numeric_limits<T>::infinity();
    for (size_t i = 0; i < boxes.size(); ++i) {
      if (!boxes[i].can_overlap()) continue;
      valid.push_back(static_cast<int32_t>(i));
      least_area = std::min(least_area, boxes[i].area);
      widest_ = std::max(widest_, width(boxes[i]));
      highest_ = std::max(highest_, height(boxes[i]));
    }
    reach_ = bounded(least_area, threshold) ? (1.0 - std::min(threshold, 1.0)) / (2.0 * threshold) * 1.001 + 1e-5 : 1e300;
    lowered_ = lowered(least_area, threshold);
    x_ = strips_for(valid);
    place(valid);
  }

  // keep[i] = 1 for each box that no kept box before it suppresses; once only.
  // A suppressed box, and a kept one after its turn, gets an infinite area: its IoU with anything is then 0.
  REPMET_INLINE void suppress(char* keep) {
    constexpr T infinity = std::numeric_limits<T>::infinity();
    T* const area = columns_.data() + 4 * stride_;
    const BoxColumns<T> columns{columns_.data(), stride_, lowered_, threshold_};
    for (size_t i = 0; i < boxes_.size(); ++i) {
      const int64_t at = place_[i];
      keep[i] = at < 0 || area[at] != infinity;
      if (at < 0 || !keep[i]) continue;
      const Box<T>& box = boxes_[i];
      area[at] = infinity;
      const double x = middle_x(box), rx = radius(width(box), widest_, x);
      const double y = middle_y(box), ry = radius(height(box), highest_, y);
      for (int64_t s = x_.cell(x - rx), last = x_.cell(x + rx); s <= last; ++s) {
        const int32_t* const begin = begin_.data() + strips_[s].first;
        columns.sweep(box, begin[strips_[s].y.cell(y - ry)], begin[strips_[s].y.cell(y + ry) + 1]);
      }
    }
  }

 private:
  static double width(const Box<T>& box) {
    return static_cast<double>(box.x2) - box.x1;
  }
  static double height(const Box<T>& box) {
    return static_cast<double>(box.y2) - box.y1;
  }
  static double middle_x(const Box<T>& box) {
    return 0.5 * (static_cast<double>(box.x1) + box.x2);
  }
  static double middle_y(const Box<T>& box) {
    return 0.5 * (static_cast<double>(box.y1) + box.y2);
  }

  // Vertical strips. A few boxes far off must not spoil the resolution for the rest, so strips lie between two quantiles.
  CellAxis strips_for(const std::vector<int32_t>& valid) const {
    const size_t count = valid.size();
    if (count < 128) return {};
    std::vector<double> sample(256);
    for (size_t k = 0; k < sample.size(); ++k) sample[k] = middle_x(boxes_[valid[k * count / sample.size()]]);
    std::sort(sample.begin(), sample.end());
    return {sample[4], sample[251], static_cast<int64_t>(std::sqrt(static_cast<double>(count) / 4))};
  }

  // Each strip is cut into cells of 4 boxes or so; counting sort by cell, into columns that end with room for a whole vector.
  void place(const std::vector<int32_t>& valid) {
    struct Extent {
      double low = std::numeric_limits<double>::infinity(), high = -low;
      int32_t count = 0;
    };
    const int32_t count = static_cast<int32_t>(valid.size());
    std::vector<Extent> extents(static_cast<size_t>(x_.last) + 1);
    std::vector<int32_t> cell(count);
    for (int32_t k = 0; k < count; ++k) {
      const Box<T>& box = boxes_[valid[k]];
      cell[k] = static_cast<int32_t>(x_.cell(middle_x(box)));
      Extent& extent = extents[cell[k]];
      extent.low = std::min(extent.low, middle_y(box));
      extent.high = std::max(extent.high, middle_y(box));
      ++extent.count;
    }
    int32_t cells = 0;
    for (const Extent& extent : extents) {
      const int32_t wanted = x_.last > 0 ? extent.count / 4 + 1 : 1;
      strips_.push_back({CellAxis(extent.low, extent.high, wanted), cells});
      cells += wanted;
    }
    begin_.assign(cells + 1, 0);
    for (int32_t k = 0; k < count; ++k) {
      const Strip& strip = strips_[cell[k]];
      cell[k] = strip.first + static_cast<int32_t>(strip.y.cell(middle_y(boxes_[valid[k]])));
      ++begin_[cell[k] + 1];
    }
    for (int32_t c = 0; c < cells; ++c) begin_[c + 1] += begin_[c];
    std::vector<int32_t> next(begin_.begin(), begin_.end() - 1);
    stride_ = count + kLanes;
    columns_.resize(5 * stride_);
    std::fill(columns_.begin() + 4 * stride_ + count, columns_.end(), std::numeric_limits<T>::infinity());
    place_.assign(boxes_.size(), -1);
    for (int32_t k = 0; k < count; ++k) {
      const Box<T>& box = boxes_[valid[k]];
      const int32_t at = next[cell[k]]++;
      place_[valid[k]] = at;
      T* column = columns_.data() + at;
      column[0] = box.x1;
      column[stride_] = box.y1;
      column[2 * stride_] = box.x2;
      column[3 * stride_] = box.y2;
      column[4 * stride_] = box.area;
    }
  }

  double radius(double length, double longest, double at) const {
    return std::min(reach_ * length, 0.5 * (length + longest)) * (1.0 + 1e-6) + 1e-6 * std::fabs(at);
  }

  struct Strip {
    CellAxis y;
    int32_t first;  // cell
  };

  const std::vector<Box<T>>& boxes_;
  double threshold_, reach_, widest_ = 0.0, highest_ = 0.0;
  T lowered_;
  CellAxis x_;
  std::vector<Strip> strips_;
  std::vector<int32_t> begin_, place_;  // first place of each cell; place of each box, -1 where it is not in the grid
  std::vector<T> columns_;              // x1, y1, x2, y2, area
  int64_t stride_;                      // from column to column
};

}  // namespace repmet
