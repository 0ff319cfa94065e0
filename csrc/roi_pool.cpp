// RoIPool (maximum over integer bins) on the CPU, forward with the index of each maximum, and backward.
//
// Work is cut as in roi_align.cpp: (image, block of 16 channels), disjoint outputs, no atomics, a fixed order.
#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "channel_block.h"
#include "checks.h"
#include "feature_map.h"
#include "roi_geometry.h"

namespace repmet {
namespace {

template <typename T>
struct Roi {
  PoolAxis<T> y, x;
  int64_t index;
};

// The pixels of each bin on one axis, relative to `origin`.
template <typename T>
struct Ranges {
  std::vector<int64_t> begin, end;
  int64_t lowest, highest;  // [lowest, highest) holds all bins

  void collect(const PoolAxis<T>& axis, int64_t pooled) {
    begin.resize(pooled);
    end.resize(pooled);
    lowest = axis.size;
    highest = 0;
    for (int64_t i = 0; i < pooled; ++i) {
      pool_range(axis, i, &begin[i], &end[i]);
      if (end[i] <= begin[i]) continue;
      lowest = std::min(lowest, begin[i]);
      highest = std::max(highest, end[i]);
    }
    if (highest < lowest) lowest = highest = 0;
  }
};

// An integer as wide as T, so that a comparison of values selects indices lane by lane.
template <typename T>
using Index = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;

struct Window {  // where the packed pixels lie on the map
  int64_t top, left, packed_width, map_width;
};

template <typename T>
struct BinView {
  const int64_t *y_begin, *y_end, *x_begin, *x_end;
  int64_t height, width;
};

// 32 bytes of a block: without AVX-512, GCC takes comparisons of wider vectors apart lane by lane.
template <typename T>
struct Part {
  static constexpr int64_t lanes = 32 / sizeof(T), count = kBlock / lanes;
  typedef T type __attribute__((vector_size(32), aligned(sizeof(T)), may_alias));
};

template <typename T>
REPMET_INLINE void maximum_impl(const T* packed, const Window& window, const BinView<T>& bins, T* value, Index<T>* argmax) {
  using V = typename Part<T>::type;
  using I = typename Part<Index<T>>::type;
  constexpr int64_t parts = Part<T>::count, lanes = Part<T>::lanes;
  for (int64_t i = 0; i < bins.height; ++i) {
    for (int64_t j = 0; j < bins.width; ++j) {
      const bool empty = bins.y_end[i] <= bins.y_begin[i] || bins.x_end[j] <= bins.x_begin[j];
      V best[parts];
      I where[parts];
      for (int64_t p = 0; p < parts; ++p) {
        best[p] = V{} + (empty ? T(0) : std::numeric_limits<T>::lowest());
        where[p] = I{} - 1;
      }
      if (!empty) {
        for (int64_t y = bins.y_begin[i]; y < bins.y_end[i]; ++y) {
          const T* at = packed + ((y - window.top) * window.packed_width + bins.x_begin[j] - window.left) * kBlock;
          Index<T> pixel = static_cast<Index<T>>(y * window.map_width + bins.x_begin[j]);
          for (int64_t x = bins.x_begin[j]; x < bins.x_end[j]; ++x, at += kBlock, ++pixel) {
            for (int64_t p = 0; p < parts; ++p) {
              const V candidate = *reinterpret_cast<const V*>(at + p * lanes);
              const auto larger = candidate > best[p];
              best[p] = larger ? candidate : best[p];
              where[p] = larger ? I{} + pixel : where[p];
            }
          }
        }
      }
      for (int64_t p = 0; p < parts; ++p) {
        const int64_t to = (i * bins.width + j) * kBlock + p * lanes;
        *reinterpret_cast<V*>(value + to) = best[p];
        *reinterpret_cast<I*>(argmax + to) = where[p];
      }
    }
  }
}

REPMET_MULTIVERSION void maximum(const float* packed, const Window& window, const BinView<float>& bins, float* value,
                                 int32_t* argmax) {
  maximum_impl(packed, window, bins, value, argmax);
}
REPMET_MULTIVERSION void maximum(const double* packed, const Window& window, const BinView<double>& bins, double* value,
                                 int64_t* argmax) {
  maximum_impl(packed, window, bins, value, argmax);
}

template <typename T>
Groups<Roi<T>> group_rois(const char* op, const Tensor& boxes, const std::vector<Map>& maps, int64_t pooled_height,
                          int64_t pooled_width, double spatial_scale) {
  const T scale = static_cast<T>(spatial_scale);
  return group_by_map<Roi<T>, T>(
      op, boxes, maps, [](const T*) { return int64_t{0}; },
      [&](const T* b, int64_t, int64_t index) {
        return Roi<T>{pool_axis(b[2], b[4], scale, pooled_height, maps[0].height),
                      pool_axis(b[1], b[3], scale, pooled_width, maps[0].width), index};
      });
}

template <typename S, typename T>
void forward_piece(const Map& map, int64_t image, int64_t block, const Roi<T>* rois, int64_t count, int64_t pooled_height,
                   int64_t pooled_width, S* output, int32_t* argmax) {
  const int64_t first = block * kBlock, channels = std::min(kBlock, map.channels - first);
  const int64_t bins = pooled_height * pooled_width;
  const S* source = static_cast<const S*>(map.data) + image * map.stride_n + first * map.stride_c;
  std::vector<Ranges<T>> ys(1), xs(1);
  Ranges<T>&y = ys[0], &x = xs[0];
  int64_t area = 0;
  for (int64_t r = 0; r < count && area < map.height * map.width; ++r) {
    y.collect(rois[r].y, pooled_height);
    x.collect(rois[r].x, pooled_width);
    area += (y.highest - y.lowest) * (x.highest - x.lowest);
  }
  const bool crop = area < map.height * map.width;  // few RoIs: repack only what each of them covers
  const Scratch<T> scratch((map.height * map.width + 2 * bins) * kBlock);
  T* const value = scratch.data();
  Index<T>* const where = reinterpret_cast<Index<T>*>(value + bins * kBlock);
  T* const packed = value + 2 * bins * kBlock;
  if (!crop) pack_map(map, source, channels, packed);
  for (int64_t r = 0; r < count; ++r) {
    y.collect(rois[r].y, pooled_height);
    x.collect(rois[r].x, pooled_width);
    Window window{0, 0, map.width, map.width};
    if (crop) {
      window = {y.lowest, x.lowest, x.highest - x.lowest, map.width};
      for (int64_t row = y.lowest; row < y.highest; ++row)
        pack(source + row * map.stride_h + x.lowest * map.stride_w, map.stride_c, map.stride_w, window.packed_width,
             channels, packed + (row - y.lowest) * window.packed_width * kBlock);
    }
    const BinView<T> view{y.begin.data(), y.end.data(), x.begin.data(), x.end.data(), pooled_height, pooled_width};
    maximum(packed, window, view, value, where);
    const int64_t at = (rois[r].index * map.channels + first) * bins;
    unpack(value, bins, int64_t{1}, bins, channels, output + at);
    if constexpr (sizeof(T) == sizeof(int32_t)) {  // moves bits only, so the float32 transpose serves for indices
      unpack(reinterpret_cast<const float*>(where), bins, int64_t{1}, bins, channels, reinterpret_cast<float*>(argmax + at));
    } else {
      unpack_any(where, bins, 1, bins, channels, argmax + at);
    }
  }
}

// One plane (a channel of an image) at a time: it fits the first level cache, and its RoIs add into it in order.
template <typename S, typename T>
void backward_piece(const Map& map, int64_t image, int64_t block, const Roi<T>* rois, int64_t count, int64_t bins,
                    const S* grad, const int32_t* argmax) {
  const int64_t first = block * kBlock, channels = std::min(kBlock, map.channels - first);
  const int64_t pixels = map.height * map.width;
  S* target = static_cast<S*>(map.data) + image * map.stride_n + first * map.stride_c;
  const bool direct = std::is_same_v<S, T> && map.stride_w == 1;
  constexpr int64_t kRun = 64;
  const Scratch<T> scratch(direct ? 0 : (pixels + kRun) * kBlock);
  T* const planes = direct ? reinterpret_cast<T*>(target) : scratch.data();
  const int64_t plane_stride = direct ? map.stride_c : pixels;
  for (int64_t c = 0; c < channels; ++c) {
    T* const plane = planes + c * plane_stride;
    std::fill(plane, plane + pixels, T(0));
    for (int64_t r = 0; r < count; ++r) {
      const int64_t at = (rois[r].index * map.channels + first + c) * bins;
      for (int64_t i = 0; i < bins; ++i) {
        const int64_t pixel = argmax[at + i];
        if (pixel >= 0 && pixel < pixels) plane[pixel] += static_cast<T>(grad[at + i]);  // -1: the bin was empty
      }
    }
  }
  if (direct) return;
  T* const run = scratch.data() + pixels * kBlock;
  for (int64_t i = 0; i < pixels; i += kRun) {
    const int64_t length = std::min(kRun, pixels - i);
    pack(planes + i, pixels, int64_t{1}, length, channels, run);
    unpack(run, map.stride_c, map.stride_w, length, channels, target + i * map.stride_w);
  }
}

std::tuple<Tensor, Tensor> roi_pool(const Tensor& input, const Tensor& boxes, int64_t pooled_height, int64_t pooled_width,
                                    double spatial_scale) {
  const char* op = "roi_pool";
  check_features(op, input);
  check_boxes(op, boxes, input.scalar_type());
  check_same_device(op, input, "input", boxes, "boxes");
  check_pooling(op, pooled_height, pooled_width, spatial_scale);
  check_plane(op, input.size(2), input.size(3));
  const ScalarType type = input.scalar_type();
  const std::vector<int64_t> shape{boxes.size(0), input.size(1), pooled_height, pooled_width};
  Tensor output = empty(shape, type, input), argmax = empty(shape, ScalarType::Int, input);
  if (output.numel() == 0) return {output, argmax};
  const Tensor rois = to_type(boxes, accumulate_type(type));
  const std::vector<Map> maps{Map(input)};
  dispatch(type, op, [&](auto tag) {
    using S = decltype(tag);
    using T = typename Accumulate<S>::type;
    const auto groups = group_rois<T>(op, rois, maps, pooled_height, pooled_width, spatial_scale);
    S* out = output.mutable_data_ptr<S>();
    int32_t* where = argmax.mutable_data_ptr<int32_t>();
    for_pieces(maps, groups, [&](const Map& map, int64_t image, int64_t block, const Roi<T>* r, int64_t n) {
      if (n > 0) forward_piece<S, T>(map, image, block, r, n, pooled_height, pooled_width, out, where);
    });
  });
  return {output, argmax};
}

// `deterministic` changes nothing here: the CPU kernel always is.
Tensor roi_pool_backward(const Tensor& grad, const Tensor& boxes, const Tensor& argmax, int64_t batch, int64_t channels,
                         int64_t height, int64_t width, double spatial_scale, bool channels_last, bool /*deterministic*/) {
  const char* op = "roi_pool_backward";
  check_pool_backward(op, grad, boxes, argmax, batch, channels, height, width, spatial_scale);
  const ScalarType type = grad.scalar_type();
  const Tensor result = empty({batch, channels, height, width}, type, grad, channels_last);
  const Tensor dense = torch::stable::contiguous(grad), where = torch::stable::contiguous(argmax);
  const Tensor rois = to_type(boxes, accumulate_type(type));
  const std::vector<Map> maps{Map(result, true)};
  const int64_t bins = grad.size(2) * grad.size(3);
  dispatch(type, op, [&](auto tag) {
    using S = decltype(tag);
    using T = typename Accumulate<S>::type;
    const auto groups = group_rois<T>(op, rois, maps, grad.size(2), grad.size(3), spatial_scale);
    const S* from = dense.const_data_ptr<S>();
    const int32_t* index = where.const_data_ptr<int32_t>();
    for_pieces(maps, groups, [&](const Map& map, int64_t image, int64_t block, const Roi<T>* r, int64_t n) {
      backward_piece<S, T>(map, image, block, r, n, bins, from, index);
    });
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(repmet, CPU, m) {
  m.impl("roi_pool", TORCH_BOX(&roi_pool));
  m.impl("roi_pool_backward", TORCH_BOX(&roi_pool_backward));
}

}  // namespace repmet
