// Where a RoI samples its feature map: shared by the CPU and the CUDA kernels, so that both agree.
//
// RoIAlign (He et al., Mask R-CNN, section 3): a RoI is cut into pooled_height x pooled_width bins, each bin is sampled
// at grid_h x grid_w regularly spaced points, bilinear interpolation gives the value at a point, and a bin is the mean
// of its points. Both the points and the interpolation are separable in x and y, so one axis at a time is enough here.
#pragma once

#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define REPMET_HD __host__ __device__ inline
#else
#define REPMET_HD inline
#endif

namespace repmet {

template <typename T>
REPMET_HD bool finite(T value) {
  return value - value == T(0);
}

// One axis of one RoI.
template <typename T>
struct SampleAxis {
  T start;  // coordinate of the RoI's lower edge on the feature map
  T bin;    // length of a bin, may be negative for a reversed box with `aligned`
  T grid;   // samples per bin (integer valued; kept in T because an adaptive grid of a huge box leaves int64)
  int64_t size;  // length of the feature map along this axis
};

// `low`, `high`: the box's edges on this axis. Non-finite geometry gives an axis without samples, so such a RoI pools to
// zero and receives no gradient.
template <typename T>
REPMET_HD SampleAxis<T> sample_axis(T low, T high, T scale, bool aligned, int64_t pooled, int64_t sampling_ratio,
                                    int64_t size) {
  const T offset = aligned ? T(0.5) : T(0);
  const T start = low * scale - offset;
  T extent = high * scale - offset - start;
  if (!finite(start) || !finite(extent)) return {T(0), T(0), T(0), size};
  if (!aligned && extent < T(1)) extent = T(1);  // without `aligned`, a RoI is at least one pixel
  T grid = sampling_ratio > 0 ? T(sampling_ratio) : std::ceil(extent / T(pooled));
  if (grid < T(0)) grid = T(0);
  return {start, extent / T(pooled), grid, size};
}

// Mean over the samples of a bin, with at least one so that an empty RoI gives 0 and not 0/0.
template <typename T>
REPMET_HD T samples_per_bin(const SampleAxis<T>& y, const SampleAxis<T>& x) {
  const T count = y.grid * x.grid;
  return count > T(1) ? count : T(1);
}

// The samples of bin `index` that can fall on the map: [first, last). All of them for an ordinary box; for a huge one
// the others are skipped instead of visited, which bounds the work by the size of the map.
template <typename T>
REPMET_HD void sample_range(const SampleAxis<T>& axis, int64_t index, int64_t* first, int64_t* last) {
  *first = 0;
  if (axis.size <= 0 || !(axis.grid >= T(1))) {
    *last = 0;
    return;
  }
  if (axis.grid <= T(64)) {
    *last = static_cast<int64_t>(axis.grid);
    return;
  }
  const double grid = axis.grid, step = static_cast<double>(axis.bin) / grid;
  const double origin = static_cast<double>(axis.start) + static_cast<double>(index) * axis.bin;
  double a = (-1.0 - origin) / step, b = (static_cast<double>(axis.size) - origin) / step;
  if (!(a == a) || !(b == b)) {  // a bin of no length: every sample is at the same place
    *last = static_cast<int64_t>(grid);
    return;
  }
  if (a > b) {
    const double swap = a;
    a = b;
    b = swap;
  }
  // Slack: single precision moves samples by a few ulp of their coordinate. Bounded, and with it the work.
  double slack = 4.0 + 1e-6 * (std::fabs(a) + std::fabs(b) + std::fabs(static_cast<double>(axis.start) / step));
  slack = slack < 4096.0 ? slack : 4096.0;
  a = std::floor(a - slack);
  b = std::ceil(b + slack);
  a = a < 0 ? 0 : a;
  b = b > grid ? grid : b;
  *first = a >= grid ? 0 : static_cast<int64_t>(a);
  *last = b <= a ? *first : static_cast<int64_t>(b);
}

// The two pixels a sample lies between and their weights; false where the sample is off the map.
template <typename T>
struct Tap {
  int64_t low, high;
  T low_weight, high_weight;
};

template <typename T>
REPMET_HD bool sample_tap(const SampleAxis<T>& axis, int64_t bin_index, int64_t sample, Tap<T>* tap) {
  T at = axis.start + T(bin_index) * axis.bin + (T(sample) + T(0.5)) * axis.bin / axis.grid;
  if (!(at >= T(-1) && at <= T(axis.size))) return false;
  if (at <= T(0)) at = T(0);
  tap->low = static_cast<int64_t>(at);
  if (tap->low >= axis.size - 1) {
    tap->low = tap->high = axis.size - 1;
    at = T(tap->low);
  } else {
    tap->high = tap->low + 1;
  }
  tap->high_weight = at - T(tap->low);
  tap->low_weight = T(1) - tap->high_weight;
  return true;
}

// RoIPool (Girshick, Fast R-CNN, section 2.1): integer bins, [begin, end) clipped to the map.
template <typename T>
struct PoolAxis {
  T start;  // integer valued; kept in T because a huge box leaves int64
  T bin;
  int64_t size;
  bool valid;
};

template <typename T>
REPMET_HD PoolAxis<T> pool_axis(T low, T high, T scale, int64_t pooled, int64_t size) {
  const T start = std::round(low * scale), end = std::round(high * scale);
  T length = end - start + T(1);
  if (!finite(start) || !finite(length)) return {T(0), T(0), size, false};
  if (length < T(1)) length = T(1);
  return {start, length / T(pooled), size, true};
}

template <typename T>
REPMET_HD int64_t clip_to_map(T value, int64_t size) {
  if (!(value > T(0))) return 0;
  return value >= T(size) ? size : static_cast<int64_t>(value);
}

template <typename T>
REPMET_HD void pool_range(const PoolAxis<T>& axis, int64_t index, int64_t* begin, int64_t* end) {
  *begin = *end = 0;
  if (!axis.valid) return;
  *begin = clip_to_map(std::floor(T(index) * axis.bin) + axis.start, axis.size);
  *end = clip_to_map(std::ceil(T(index + 1) * axis.bin) + axis.start, axis.size);
}

// Feature pyramid level of a box (Lin et al., Feature Pyramid Networks, equation 1, with k0 at `finest_scale`):
// floor(log2(sqrt(area) / finest_scale + 1e-6)), clipped to the levels there are.
REPMET_HD int64_t pyramid_level(float x1, float y1, float x2, float y2, float finest_scale, int64_t levels) {
  const float ratio = std::sqrt((x2 - x1) * (y2 - y1)) / finest_scale + 1e-6f;
  if (!(ratio >= 1.0f)) return 0;  // small, empty and NaN boxes
  int64_t level = 0;
  for (float bound = 2.0f; level + 1 < levels && ratio >= bound; bound *= 2.0f) ++level;
  return level;
}

}  // namespace repmet
