// Greedy non-maximum suppression on the CPU, for one class or for many at once.
//
// Boxes are visited in descending score order; a box is kept unless its IoU with a kept box exceeds the threshold. The
// result is exactly that of the textbook double loop. What makes it quick:
//   - a box is compared with a vector of kept boxes at a time, and the first hit ends the comparison;
//   - kept boxes lie in vertical strips by their centre: IoU > t needs centres closer than w (1 - t) / (2 t), where w is
//     the width of the box in question, so only a few strips are looked at.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "channel_block.h"
#include "checks.h"

namespace repmet {
namespace {

constexpr int64_t kChunk = 32;  // boxes compared at once

template <typename T>
struct Box {
  T x1, y1, x2, y2, area;
};

// Boxes as columns, padded to whole chunks with boxes that overlap nothing.
template <typename T>
class Columns {
 public:
  void add(const Box<T>& box) {
    if (size_ % kChunk == 0) {
      const size_t room = values_.size();
      values_.resize(room + 5 * kChunk);
      T* chunk = values_.data() + room;
      std::fill(chunk, chunk + 2 * kChunk, std::numeric_limits<T>::infinity());
      std::fill(chunk + 2 * kChunk, chunk + 4 * kChunk, -std::numeric_limits<T>::infinity());
    }
    T* chunk = values_.data() + size_ / kChunk * 5 * kChunk;
    const int64_t lane = size_ % kChunk;
    const T row[5] = {box.x1, box.y1, box.x2, box.y2, box.area};
    for (int64_t k = 0; k < 5; ++k) chunk[k * kChunk + lane] = row[k];
    ++size_;
  }
  const T* data() const {
    return values_.data();
  }
  int64_t chunks() const {
    return (size_ + kChunk - 1) / kChunk;
  }

 private:
  std::vector<T> values_;  // chunk after chunk: kChunk x1, kChunk y1, kChunk x2, kChunk y2, kChunk areas
  int64_t size_ = 0;
};

// First chunk from `from` on with a pair that may exceed the threshold; `chunks` if there is none. No division: the
// threshold is lowered by a few ulp, and `exceeds` decides.
template <typename T>
REPMET_INLINE int64_t candidate_impl(const T* values, int64_t from, int64_t chunks, const Box<T>& box, T lowered) {
  for (int64_t c = from; c < chunks; ++c) {
    const T *x1 = values + c * 5 * kChunk, *y1 = x1 + kChunk, *x2 = y1 + kChunk, *y2 = x2 + kChunk, *area = y2 + kChunk;
    int hit = 0;
    for (int64_t k = 0; k < kChunk; ++k) {
      const T left = x1[k] > box.x1 ? x1[k] : box.x1, right = x2[k] < box.x2 ? x2[k] : box.x2;
      const T top = y1[k] > box.y1 ? y1[k] : box.y1, bottom = y2[k] < box.y2 ? y2[k] : box.y2;
      const T width = right - left > T(0) ? right - left : T(0), height = bottom - top > T(0) ? bottom - top : T(0);
      const T inter = width * height;
      hit |= (inter > T(0)) & (inter >= lowered * (box.area + area[k] - inter));
    }
    if (hit) return c;
  }
  return chunks;
}

REPMET_MULTIVERSION int64_t candidate(const float* values, int64_t from, int64_t chunks, const Box<float>& box,
                                      float lowered) {
  return candidate_impl(values, from, chunks, box, lowered);
}
REPMET_MULTIVERSION int64_t candidate(const double* values, int64_t from, int64_t chunks, const Box<double>& box,
                                      double lowered) {
  return candidate_impl(values, from, chunks, box, lowered);
}

// inter / (a + b - inter) > threshold, in the operand order and rounding of the usual double loop.
template <typename T>
bool exceeds(const Box<T>& a, T x1, T y1, T x2, T y2, T area, double threshold) {
  const T left = std::max(x1, a.x1), top = std::max(y1, a.y1), right = std::min(x2, a.x2), bottom = std::min(y2, a.y2);
  const T inter = std::max(T(0), right - left) * std::max(T(0), bottom - top);
  return inter / (area + a.area - inter) > threshold;
}

template <typename T>
bool suppressed(const Columns<T>& kept, const Box<T>& box, T lowered, double threshold) {
  const T* values = kept.data();
  for (int64_t c = candidate(values, 0, kept.chunks(), box, lowered); c < kept.chunks();
       c = candidate(values, c + 1, kept.chunks(), box, lowered)) {
    const T* v = values + c * 5 * kChunk;
    for (int64_t k = 0; k < kChunk; ++k)
      if (exceeds(box, v[k], v[k + kChunk], v[k + 2 * kChunk], v[k + 3 * kChunk], v[k + 4 * kChunk], threshold)) return true;
  }
  return false;
}

// Kept boxes by the x of their centre.
template <typename T>
class Strips {
 public:
  Strips(const std::vector<Box<T>>& boxes, double threshold) : threshold_(threshold) {
    lowered_ = static_cast<T>(threshold) * (T(1) - 8 * std::numeric_limits<T>::epsilon());
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (const Box<T>& box : boxes) {
      if (!can_overlap(box)) continue;
      low = std::min(low, centre(box));
      high = std::max(high, centre(box));
    }
    const int64_t count = std::clamp<int64_t>(static_cast<int64_t>(boxes.size()) / 64, 1, 4096);
    origin_ = low;
    per_unit_ = high > low && count > 1 ? static_cast<double>(count) / (high - low) : 0.0;
    if (!(per_unit_ < 1e300)) per_unit_ = 0.0;
    strips_.resize(per_unit_ > 0 ? count : 1);
    reach_ = threshold > 0 ? (1.0 - std::min(threshold, 1.0)) / (2.0 * threshold) * 1.001 + 1e-5 : 1e300;
  }

  // A box of no extent, a reversed or a non-finite one has IoU 0 or NaN with everything: it is kept and suppresses nothing.
  static bool can_overlap(const Box<T>& box) {
    return box.x2 > box.x1 && box.y2 > box.y1 && box.area < std::numeric_limits<T>::infinity() &&
           std::fabs(box.x1) < std::numeric_limits<T>::infinity() && std::fabs(box.x2) < std::numeric_limits<T>::infinity();
  }
  bool suppresses(const Box<T>& box) const {
    const double at = centre(box), radius = reach_ * (static_cast<double>(box.x2) - box.x1) + 1e-6 * std::fabs(at);
    for (int64_t s = strip(at - radius), last = strip(at + radius); s <= last; ++s)
      if (suppressed(strips_[s], box, lowered_, threshold_)) return true;
    return false;
  }
  void add(const Box<T>& box) {
    strips_[strip(centre(box))].add(box);
  }

 private:
  static double centre(const Box<T>& box) {
    return 0.5 * (static_cast<double>(box.x1) + box.x2);
  }
  int64_t strip(double x) const {
    const double at = (x - origin_) * per_unit_, last = static_cast<double>(strips_.size() - 1);
    return !(at > 0) ? 0 : at >= last ? static_cast<int64_t>(last) : static_cast<int64_t>(at);
  }
  std::vector<Columns<T>> strips_;
  double origin_, per_unit_, reach_, threshold_;
  T lowered_;
};

// A negative threshold lets boxes that do not touch suppress each other: no shortcut holds.
template <typename T>
void plain_double_loop(const std::vector<Box<T>>& boxes, double threshold, char* keep) {
  for (size_t i = 0; i < boxes.size(); ++i) {
    keep[i] = 1;
    for (size_t j = 0; j < i && keep[i]; ++j)
      if (keep[j] && exceeds(boxes[i], boxes[j].x1, boxes[j].y1, boxes[j].x2, boxes[j].y2, boxes[j].area, threshold))
        keep[i] = 0;
  }
}

// keep[i] = 1 for each kept box; `boxes` are in descending score order.
template <typename T>
void suppress(const std::vector<Box<T>>& boxes, double threshold, char* keep) {
  if (threshold < 0) return plain_double_loop(boxes, threshold, keep);
  Strips<T> strips(boxes, threshold);
  for (size_t i = 0; i < boxes.size(); ++i) {
    keep[i] = 1;
    if (!Strips<T>::can_overlap(boxes[i])) continue;
    if (strips.suppresses(boxes[i])) keep[i] = 0;
    else strips.add(boxes[i]);
  }
}

template <typename T>
std::vector<Box<T>> boxes_in_order(const T* box, const int64_t* order, const std::vector<int64_t>* positions, int64_t count) {
  std::vector<Box<T>> boxes(count);
  for (int64_t i = 0; i < count; ++i) {
    const T* b = box + order[positions ? (*positions)[i] : i] * 4;
    boxes[i] = {b[0], b[1], b[2], b[3], (b[2] - b[0]) * (b[3] - b[1])};
  }
  return boxes;
}

// Classes do not see each other: each is a problem of its own, and the problems run side by side.
template <typename T>
void suppress_by_class(const T* box, const int64_t* order, const int64_t* classes, int64_t count, double threshold,
                       char* keep) {
  std::vector<int64_t> position(count);
  for (int64_t i = 0; i < count; ++i) position[i] = i;
  std::stable_sort(position.begin(), position.end(),
                   [&](int64_t a, int64_t b) { return classes[order[a]] < classes[order[b]]; });
  std::vector<int64_t> begin{0};
  for (int64_t i = 1; i < count; ++i)
    if (classes[order[position[i]]] != classes[order[position[i - 1]]]) begin.push_back(i);
  begin.push_back(count);
  const int64_t groups = static_cast<int64_t>(begin.size()) - 1;
  // One thread handles at least 16384 boxes: below that, waking a second one costs more than it saves.
  torch::stable::parallel_for(0, groups, std::max<int64_t>(1, groups * 16384 / std::max<int64_t>(count, 1)),
                              [&](int64_t from, int64_t to) {
    std::vector<char> kept;
    for (int64_t g = from; g < to; ++g) {
      const std::vector<int64_t> mine(position.begin() + begin[g], position.begin() + begin[g + 1]);
      kept.resize(mine.size());
      suppress(boxes_in_order(box, order, &mine, static_cast<int64_t>(mine.size())), threshold, kept.data());
      for (size_t i = 0; i < mine.size(); ++i) keep[mine[i]] = kept[i];
    }
  });
}

Tensor run(const char* op, const Tensor& boxes, const Tensor& scores, const Tensor* classes, double threshold) {
  check_nms(op, boxes, scores, classes, threshold);
  const int64_t count = boxes.size(0);
  const ScalarType type = accumulate_type(boxes.scalar_type());
  if (count == 0) return empty({0}, ScalarType::Long, boxes);
  const Tensor dense = to_type(boxes, type), order = torch::stable::contiguous(argsort_descending(scores));
  const int64_t* rank = order.const_data_ptr<int64_t>();
  std::vector<char> keep(count);
  const Tensor dense_classes = classes ? torch::stable::contiguous(*classes) : Tensor();
  const int64_t* label = classes ? dense_classes.const_data_ptr<int64_t>() : nullptr;
  const auto solve = [&](const auto* box) {
    if (label) suppress_by_class(box, rank, label, count, threshold, keep.data());
    else suppress(boxes_in_order(box, rank, nullptr, count), threshold, keep.data());
  };
  if (type == ScalarType::Double) solve(dense.const_data_ptr<double>());
  else solve(dense.const_data_ptr<float>());
  const Tensor result = empty({std::count(keep.begin(), keep.end(), char{1})}, ScalarType::Long, boxes);
  int64_t* out = result.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i)
    if (keep[i]) *out++ = rank[i];
  return result;
}

Tensor nms(const Tensor& boxes, const Tensor& scores, double iou_threshold) {
  return run("nms", boxes, scores, nullptr, iou_threshold);
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const Tensor& classes, double iou_threshold) {
  return run("batched_nms", boxes, scores, &classes, iou_threshold);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(repmet, CPU, m) {
  m.impl("nms", TORCH_BOX(&nms));
  m.impl("batched_nms", TORCH_BOX(&batched_nms));
}

}  // namespace repmet
