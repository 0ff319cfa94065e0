// RoIAlign on the CPU, over one feature map or a feature pyramid, forward and backward.
//
// Work is cut into (level, image, block of 16 channels). A piece repacks its block (channel_block.h), applies all RoIs of
// that image to it (roi_align_bins.h) and writes their bins; backward adds into a packed block and writes that out. Pieces write disjoint
// memory in a fixed order, so there are no atomics and the result does not depend on the number of threads.
#include <algorithm>
#include <vector>

#include "channel_block.h"
#include "checks.h"
#include "feature_map.h"
#include "roi_align_bins.h"
#include "roi_geometry.h"
#include "roi_taps.h"

namespace repmet {
namespace {

template <typename T>
struct Roi {
  SampleAxis<T> y, x;
  int64_t index;
};

struct Pooling {
  int64_t pooled_height, pooled_width, sampling_ratio;
  bool aligned;
  double finest_scale;
  int64_t bins() const {
    return pooled_height * pooled_width;
  }
};

template <typename T>
Groups<Roi<T>> group_rois(const char* op, const Tensor& boxes, const std::vector<Map>& maps,
                          const std::vector<double>& scales, const Pooling& p) {
  const int64_t levels = static_cast<int64_t>(maps.size());
  const auto level_of = [&](const T* b) {
    return levels == 1 ? 0
                       : pyramid_level(static_cast<float>(b[1]), static_cast<float>(b[2]), static_cast<float>(b[3]),
                                       static_cast<float>(b[4]), static_cast<float>(p.finest_scale), levels);
  };
  return group_by_map<Roi<T>, T>(op, boxes, maps, level_of, [&](const T* b, int64_t level, int64_t index) {
    const Map& map = maps[level];
    const T scale = static_cast<T>(scales[level]);
    Roi<T> roi{sample_axis(b[2], b[4], scale, p.aligned, p.pooled_height, p.sampling_ratio, map.height),
               sample_axis(b[1], b[3], scale, p.aligned, p.pooled_width, p.sampling_ratio, map.width), index};
    if (!(roi.y.grid > T(0)) || !(roi.x.grid > T(0))) roi.y.size = roi.x.size = 0;  // no samples on one axis: none
    return roi;
  });
}

// Multiversioning needs plain functions, hence one pair per type.
REPMET_MULTIVERSION void pool(const float* block, const TapView<float>& y, const TapView<float>& x, float* out) {
  pool_impl(block, y, x, out);
}
REPMET_MULTIVERSION void pool(const double* block, const TapView<double>& y, const TapView<double>& x, double* out) {
  pool_impl(block, y, x, out);
}
REPMET_MULTIVERSION void spread(const float* grad, const TapView<float>& y, const TapView<float>& x, float* block) {
  spread_impl(grad, y, x, block);
}
REPMET_MULTIVERSION void spread(const double* grad, const TapView<double>& y, const TapView<double>& x, double* block) {
  spread_impl(grad, y, x, block);
}

template <typename T>
int64_t covered(const SampleAxis<T>& axis, int64_t pooled) {
  const T a = axis.start, b = axis.start + axis.bin * T(pooled);
  return std::max<int64_t>(clip_to_map(std::max(a, b) + T(2), axis.size) - clip_to_map(std::min(a, b), axis.size), 0);
}

template <typename S, typename T>
void forward_piece(const Map& map, int64_t image, int64_t block, const Roi<T>* rois, int64_t count, const Pooling& p,
                   S* output) {
  const int64_t first = block * kBlock, channels = std::min(kBlock, map.channels - first), bins = p.bins();
  const S* source = static_cast<const S*>(map.data) + image * map.stride_n + first * map.stride_c;
  // Few RoIs: repack only what each of them covers. Channels-last maps have the 16 channels side by side already.
  int64_t area = 0;
  for (int64_t r = 0; r < count; ++r)
    area += covered(rois[r].y, p.pooled_height) * covered(rois[r].x, p.pooled_width);
  const bool crop = area < map.height * map.width;
  const bool in_place = crop && std::is_same_v<S, T> && map.stride_c == 1 && channels == kBlock;
  const Scratch<T> scratch((map.height * map.width + bins) * kBlock);
  T* const result = scratch.data();
  T* const packed = result + bins * kBlock;
  if (!crop) pack_map(map, source, channels, packed);
  AxisTaps<T> ty, tx;
  std::vector<char> used;
  for (int64_t r = 0; r < count; ++r) {
    const Roi<T>& roi = rois[r];
    ty.collect(roi.y, p.pooled_height, T(1) / samples_per_bin(roi.y, roi.x));
    tx.collect(roi.x, p.pooled_width, T(1));
    if (in_place) {
      if constexpr (std::is_same_v<S, T>)
        pool(source, view(ty, p.pooled_height, map.stride_h, 0), view(tx, p.pooled_width, map.stride_w, 0), result);
    } else if (crop && ty.highest >= ty.lowest && tx.highest >= tx.lowest) {
      const int64_t width = tx.highest - tx.lowest + 1;
      used.assign(ty.highest - ty.lowest + 1, 0);
      for (int64_t i = 0; i < p.pooled_height; ++i)
        for (int64_t k = 0; k < ty.count[i]; ++k) used[ty.pixel[i * ty.width + k] - ty.lowest] = 1;
      for (size_t y = 0; y < used.size(); ++y)
        if (used[y])
          pack(source + (ty.lowest + static_cast<int64_t>(y)) * map.stride_h + tx.lowest * map.stride_w, map.stride_c,
               map.stride_w, width, channels, packed + static_cast<int64_t>(y) * width * kBlock);
      const int64_t top = ty.lowest, left = tx.lowest;
      pool(packed, view(ty, p.pooled_height, width * kBlock, top), view(tx, p.pooled_width, kBlock, left), result);
    } else {
      pool(packed, view(ty, p.pooled_height, map.width * kBlock, 0), view(tx, p.pooled_width, kBlock, 0), result);
    }
    unpack(result, bins, int64_t{1}, bins, channels, output + (roi.index * map.channels + first) * bins);
  }
}

template <typename S, typename T>
void backward_piece(const Map& map, int64_t image, int64_t block, const Roi<T>* rois, int64_t count, const Pooling& p,
                    const S* grad) {
  const int64_t first = block * kBlock, channels = std::min(kBlock, map.channels - first), bins = p.bins();
  const int64_t pixels = map.height * map.width;
  S* target = static_cast<S*>(map.data) + image * map.stride_n + first * map.stride_c;
  const Scratch<T> scratch((pixels + bins) * kBlock);
  T* const bin_grad = scratch.data();
  T* const packed = bin_grad + bins * kBlock;
  std::fill(packed, packed + pixels * kBlock, T(0));
  AxisTaps<T> ty, tx;
  for (int64_t r = 0; r < count; ++r) {
    const Roi<T>& roi = rois[r];
    ty.collect(roi.y, p.pooled_height, T(1) / samples_per_bin(roi.y, roi.x));
    tx.collect(roi.x, p.pooled_width, T(1));
    pack(grad + (roi.index * map.channels + first) * bins, bins, int64_t{1}, bins, channels, bin_grad);
    spread(bin_grad, view(ty, p.pooled_height, map.width * kBlock, 0), view(tx, p.pooled_width, kBlock, 0), packed);
  }
  unpack(packed, map.stride_c, map.stride_w, pixels, channels, target);  // `target` is fresh: its rows join
}

Tensor forward(const char* op, const std::vector<Tensor>& inputs, const Tensor& boxes, const std::vector<double>& scales,
               const Pooling& p) {
  check_pyramid(op, inputs, scales, p.finest_scale);
  check_boxes(op, boxes, inputs[0].scalar_type());
  check_same_device(op, inputs[0], "input", boxes, "boxes");
  for (const double scale : scales) check_pooling(op, p.pooled_height, p.pooled_width, scale);
  check_sampling(op, p.sampling_ratio);
  const ScalarType type = inputs[0].scalar_type();
  Tensor output = empty({boxes.size(0), inputs[0].size(1), p.pooled_height, p.pooled_width}, type, inputs[0]);
  if (output.numel() == 0) return output;
  const Tensor rois = to_type(boxes, accumulate_type(type));
  std::vector<Map> maps;
  for (const Tensor& input : inputs) maps.emplace_back(input);
  dispatch(type, op, [&](auto tag) {
    using S = decltype(tag);
    using T = typename Accumulate<S>::type;
    const auto groups = group_rois<T>(op, rois, maps, scales, p);
    S* out = output.mutable_data_ptr<S>();
    for_pieces(maps, groups, [&](const Map& map, int64_t image, int64_t block, const Roi<T>* r, int64_t n) {
      if (n > 0) forward_piece<S, T>(map, image, block, r, n, p, out);
    });
  });
  return output;
}

void backward(const char* op, const Tensor& grad, const Tensor& boxes, const std::vector<double>& scales,
              const Pooling& p, const std::vector<Tensor>& results) {
  check_boxes(op, boxes, grad.scalar_type());
  check_same_device(op, grad, "grad", boxes, "boxes");
  check_shape(op, grad, "grad", {boxes.size(0), results[0].size(1), grad.size(2), grad.size(3)});
  for (const double scale : scales) check_pooling(op, p.pooled_height, p.pooled_width, scale);
  check_sampling(op, p.sampling_ratio);
  const ScalarType type = grad.scalar_type();
  const Tensor dense = torch::stable::contiguous(grad), rois = to_type(boxes, accumulate_type(type));
  std::vector<Map> maps;
  for (const Tensor& result : results) maps.emplace_back(result, true);
  dispatch(type, op, [&](auto tag) {
    using S = decltype(tag);
    using T = typename Accumulate<S>::type;
    const auto groups = group_rois<T>(op, rois, maps, scales, p);
    const S* from = dense.const_data_ptr<S>();
    for_pieces(maps, groups, [&](const Map& map, int64_t image, int64_t block, const Roi<T>* r, int64_t n) {
      backward_piece<S, T>(map, image, block, r, n, p, from);
    });
  });
}

Tensor roi_align(const Tensor& input, const Tensor& boxes, int64_t pooled_height, int64_t pooled_width,
                 double spatial_scale, int64_t sampling_ratio, bool aligned) {
  return forward("roi_align", {input}, boxes, {spatial_scale}, {pooled_height, pooled_width, sampling_ratio, aligned, 1.0});
}

// `deterministic` changes nothing here: the CPU kernel always is.
Tensor roi_align_backward(const Tensor& grad, const Tensor& boxes, int64_t batch, int64_t channels, int64_t height,
                          int64_t width, double spatial_scale, int64_t sampling_ratio, bool aligned, bool channels_last,
                          bool /*deterministic*/) {
  const char* op = "roi_align_backward";
  check_features(op, grad);
  check_sizes(op, batch, channels, height, width);
  const Tensor result = empty({batch, channels, height, width}, grad.scalar_type(), grad, channels_last);
  backward(op, grad, boxes, {spatial_scale}, {grad.size(2), grad.size(3), sampling_ratio, aligned, 1.0}, {result});
  return result;
}

Tensor roi_align_pyramid(std::vector<Tensor> inputs, const Tensor& boxes, int64_t pooled_height, int64_t pooled_width,
                         std::vector<double> spatial_scales, int64_t sampling_ratio, bool aligned, double finest_scale) {
  return forward("roi_align_pyramid", inputs, boxes, spatial_scales,
                 {pooled_height, pooled_width, sampling_ratio, aligned, finest_scale});
}

std::vector<Tensor> roi_align_pyramid_backward(const Tensor& grad, const Tensor& boxes, int64_t batch, int64_t channels,
                                               std::vector<int64_t> heights, std::vector<int64_t> widths,
                                               std::vector<double> spatial_scales, int64_t sampling_ratio, bool aligned,
                                               double finest_scale, bool channels_last, bool /*deterministic*/) {
  const char* op = "roi_align_pyramid_backward";
  check_features(op, grad);
  require(!heights.empty() && heights.size() == widths.size() && heights.size() == spatial_scales.size(), op,
          "needs a height, a width and a scale per level");
  std::vector<Tensor> results;
  for (size_t i = 0; i < heights.size(); ++i) {
    check_sizes(op, batch, channels, heights[i], widths[i]);
    results.push_back(empty({batch, channels, heights[i], widths[i]}, grad.scalar_type(), grad, channels_last));
  }
  backward(op, grad, boxes, spatial_scales, {grad.size(2), grad.size(3), sampling_ratio, aligned, finest_scale}, results);
  return results;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(repmet, CPU, m) {
  m.impl("roi_align", TORCH_BOX(&roi_align));
  m.impl("roi_align_backward", TORCH_BOX(&roi_align_backward));
  m.impl("roi_align_pyramid", TORCH_BOX(&roi_align_pyramid));
  m.impl("roi_align_pyramid_backward", TORCH_BOX(&roi_align_pyramid_backward));
}

}  // namespace repmet
