// Greedy non-maximum suppression on the CPU, for one class or for many at once.
//
// Boxes are visited in descending score order; a box is kept unless its IoU with a kept box exceeds the threshold. The
// result is exactly that of the textbook double loop. What makes it quick: the scores are sorted by radix (radix_sort.h), and
// each kept box is compared with a vector of its neighbours at a time (box_grid.h), which it suppresses; with all, where
// boxes are few.
#include <algorithm>
#include <vector>

#include "box_grid.h"
#include "channel_block.h"
#include "checks.h"
#include "radix_sort.h"

namespace repmet {
namespace {

REPMET_MULTIVERSION void suppress_in(BoxGrid<float>& grid, char* keep) {
  grid.suppress(keep);
}
REPMET_MULTIVERSION void suppress_in(BoxGrid<double>& grid, char* keep) {
  grid.suppress(keep);
}
REPMET_MULTIVERSION void suppress_few(const Box<float>* boxes, int64_t count, double threshold, char* keep) {
  suppress_row(boxes, count, threshold, keep);
}
REPMET_MULTIVERSION void suppress_few(const Box<double>* boxes, int64_t count, double threshold, char* keep) {
  suppress_row(boxes, count, threshold, keep);
}

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
  if (static_cast<int64_t>(boxes.size()) <= kRow) {
    return suppress_few(boxes.data(), static_cast<int64_t>(boxes.size()), threshold, keep);
  }
  BoxGrid<T> grid(boxes, threshold);
  suppress_in(grid, keep);
}

template <typename T>
Box<T> read_box(const T* b) {
  return {b[0], b[1], b[2], b[3], (b[2] - b[0]) * (b[3] - b[1])};
}

// Classes do not see each other: each is a problem of its own, and the problems run side by side.
template <typename T>
void suppress_by_class(const T* box, const std::vector<int32_t>& order, const int64_t* classes, double threshold, char* keep) {
  const int64_t count = static_cast<int64_t>(order.size());
  std::vector<Ranked<uint64_t>> ranks(count);  // index: the rank of a box among all
  for (int64_t i = 0; i < count; ++i) ranks[i] = {static_cast<uint64_t>(classes[order[i]]), static_cast<int32_t>(i)};
  radix_sort(ranks);
  std::vector<int64_t> begin{0};
  for (int64_t i = 1; i < count; ++i)
    if (ranks[i].key != ranks[i - 1].key) begin.push_back(i);
  begin.push_back(count);
  const int64_t groups = static_cast<int64_t>(begin.size()) - 1;
  // One thread handles at least 16384 boxes: below that, waking a second one costs more than it saves.
  torch::stable::parallel_for(0, groups, std::max<int64_t>(1, groups * 16384 / count), [&](int64_t from, int64_t to) {
    std::vector<Box<T>> boxes;
    std::vector<char> kept;
    for (int64_t g = from; g < to; ++g) {
      boxes.clear();
      for (int64_t i = begin[g]; i < begin[g + 1]; ++i) boxes.push_back(read_box(box + int64_t{4} * order[ranks[i].index]));
      kept.resize(boxes.size());
      suppress(boxes, threshold, kept.data());
      for (size_t i = 0; i < kept.size(); ++i) keep[ranks[begin[g] + static_cast<int64_t>(i)].index] = kept[i];
    }
  });
}

// keep[i] = 1 where the box of rank i stays.
template <typename T>
std::vector<char> solve(const T* box, const std::vector<int32_t>& order, const int64_t* classes, double threshold) {
  std::vector<char> keep(order.size());
  if (classes) {
    suppress_by_class(box, order, classes, threshold, keep.data());
    return keep;
  }
  std::vector<Box<T>> boxes(order.size());
  for (size_t i = 0; i < order.size(); ++i) boxes[i] = read_box(box + int64_t{4} * order[i]);
  suppress(boxes, threshold, keep.data());
  return keep;
}

Tensor run(const char* op, const Tensor& boxes, const Tensor& scores, const Tensor* classes, double threshold) {
  check_nms(op, boxes, scores, classes, threshold);
  const int64_t count = boxes.size(0);
  require(count < 2147483648LL, op, "too many boxes: ", count);
  if (count == 0) return empty({0}, ScalarType::Long, boxes);
  const ScalarType type = accumulate_type(boxes.scalar_type()), score_type = accumulate_type(scores.scalar_type());
  const Tensor dense = to_type(boxes, type), dense_scores = to_type(scores, score_type);
  const Tensor dense_classes = classes ? torch::stable::contiguous(*classes) : Tensor();
  const int64_t* const label = classes ? dense_classes.const_data_ptr<int64_t>() : nullptr;
  const std::vector<int32_t> order = score_type == ScalarType::Double
                                         ? descending_order(dense_scores.const_data_ptr<double>(), count)
                                         : descending_order(dense_scores.const_data_ptr<float>(), count);
  const std::vector<char> keep = type == ScalarType::Double ? solve(dense.const_data_ptr<double>(), order, label, threshold)
                                                            : solve(dense.const_data_ptr<float>(), order, label, threshold);
  const Tensor result = empty({std::count(keep.begin(), keep.end(), char{1})}, ScalarType::Long, boxes);
  int64_t* out = result.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i)
    if (keep[i]) *out++ = order[i];
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
