// RoIAlign's deterministic backward on CUDA.
//
// A block of threads takes a tile of pixels and walks over the RoIs that touch it in order; each pixel gathers what it is due.
// Nothing is added by two threads, so the result is the same in every run.
#pragma once

#include "cuda_common.cuh"
#include "roi_align_bins.cuh"

namespace repmet {
namespace {

// What pixel `at` of an axis receives from bin `index`: the sum of its weights over the samples next to it.
template <typename T>
__device__ T pixel_weight(const SampleAxis<T>& axis, int64_t index, int64_t at) {
  int64_t first, last;
  sample_range(axis, index, &first, &last);
  if (last - first > 4) {  // only samples within a pixel of `at`; those off the map count for its edge
    const double step = static_cast<double>(axis.bin) / static_cast<double>(axis.grid);
    const double origin = static_cast<double>(axis.start) + static_cast<double>(index) * axis.bin;
    const double from = at == 0 ? -1.0 : at - 1.0, to = at == axis.size - 1 ? static_cast<double>(axis.size) : at + 1.0;
    double a = (from - origin) / step, b = (to - origin) / step;
    if (a > b) {
      const double swap = a;
      a = b;
      b = swap;
    }
    const double slack = 2.0 + 1e-6 * (fabs(a) + fabs(b) + fabs(static_cast<double>(axis.start) / step));
    if (a == a && b == b) {
      if (a - slack > static_cast<double>(first)) first = a - slack >= static_cast<double>(last) ? last : static_cast<int64_t>(a - slack);
      if (b + slack < static_cast<double>(last)) last = b + slack <= static_cast<double>(first) ? first : static_cast<int64_t>(b + slack) + 1;
    }
  }
  T weight = T(0);
  for (int64_t sample = first; sample < last; ++sample) {
    Tap<T> tap;
    if (!sample_tap(axis, index, sample, &tap)) continue;
    if (tap.low == at) weight += tap.low_weight;
    if (tap.high == at) weight += tap.high_weight;
  }
  return weight;
}

// Whether any sample can touch pixels [low, high] of the axis.
template <typename T>
__device__ bool touches(const SampleAxis<T>& axis, int64_t pooled, int64_t low, int64_t high) {
  if (axis.size <= 0) return false;
  const T a = axis.start, b = axis.start + axis.bin * T(pooled);
  return max(a, b) >= T(low) - T(2) && min(a, b) <= T(high) + T(2);
}

// Block (tile, channels, image) of one level: see the top of the file. `target` is (N, C, H, W) in S with the map's strides.
template <typename S, typename T>
__global__ void __launch_bounds__(kThreads) gather_kernel(const Pyramid pyramid, const int level, const T* boxes,
                                                          const int64_t count, const PoolShape p, const S* grad) {
  extern __shared__ unsigned char shared[];
  T* const weight_y = reinterpret_cast<T*>(shared);              // (bins, rows of the tile)
  T* const weight_x = weight_y + p.height * kTileRows;           // (bins, columns of the tile)
  __shared__ int list[kThreads], warp_hits[kThreads / 32];
  const DeviceMap& map = pyramid.level[level];
  const int64_t across = (map.width + kTileColumns - 1) / kTileColumns;
  const int64_t top = blockIdx.x / across * kTileRows, left = blockIdx.x % across * kTileColumns;
  const int64_t image = blockIdx.z, first = static_cast<int64_t>(blockIdx.y) * kTileChannels;
  const int row = threadIdx.x / kTileColumns, column = threadIdx.x % kTileColumns;
  const int channels = static_cast<int>(min(static_cast<int64_t>(kTileChannels), pyramid.channels - first));
  const int bins = p.height * p.width;
  T sum[kTileChannels] = {};
  for (int64_t base = 0; base < count; base += kThreads) {
    const int64_t mine = base + threadIdx.x;
    bool hit = false;
    if (mine < count) {
      const DeviceRoi<T> roi = read_roi(boxes + mine * 5, pyramid, p);
      hit = roi.level == level && roi.image == image && touches(roi.y, p.height, top, top + kTileRows - 1) &&
            touches(roi.x, p.width, left, left + kTileColumns - 1);
    }
    const int hits = select_in_order(hit, static_cast<int>(threadIdx.x), list, warp_hits);
    for (int k = 0; k < hits; ++k) {
      const int64_t r = base + list[k];
      const DeviceRoi<T> roi = read_roi(boxes + r * 5, pyramid, p);
      __syncthreads();  // the weights of the RoI before are in use until here
      for (int i = threadIdx.x; i < p.height * kTileRows; i += blockDim.x)
        weight_y[i] = pixel_weight(roi.y, i / kTileRows, top + i % kTileRows) * roi.factor;
      for (int i = threadIdx.x; i < p.width * kTileColumns; i += blockDim.x)
        weight_x[i] = pixel_weight(roi.x, i / kTileColumns, left + i % kTileColumns);
      __syncthreads();
      const S* from = grad + (r * pyramid.channels + first) * bins;
      for (int i = 0; i < p.height; ++i) {
        const T wy = weight_y[i * kTileRows + row];
        if (wy == T(0)) continue;
        for (int j = 0; j < p.width; ++j) {
          const T weight = wy * weight_x[j * kTileColumns + column];
          if (weight == T(0)) continue;
          for (int c = 0; c < channels; ++c) sum[c] += weight * static_cast<T>(from[c * bins + i * p.width + j]);
        }
      }
    }
    __syncthreads();  // `list` is in use until here
  }
  const int64_t y = top + row, x = left + column;
  if (y >= map.height || x >= map.width) return;
  S* target = static_cast<S*>(const_cast<void*>(map.data)) + image * map.stride_n + first * map.stride_c +
              y * map.stride_h + x * map.stride_w;
  for (int c = 0; c < channels; ++c) target[c * map.stride_c] = static_cast<S>(sum[c]);
}

template <typename S, typename T>
void launch_gather(const char* op, const Pyramid& pyramid, const Tensor& rois, const PoolShape& p, const Tensor& grad) {
  const size_t shared = (static_cast<size_t>(p.height) * kTileRows + static_cast<size_t>(p.width) * kTileColumns) * sizeof(T);
  for (int level = 0; level < pyramid.levels; ++level) {
    const DeviceMap& map = pyramid.level[level];
    if (map.height * map.width * pyramid.batch * pyramid.channels == 0) continue;
    const dim3 grid = tile_grid(op, map.height, map.width, pyramid.batch, pyramid.channels);
    gather_kernel<S, T><<<grid, kThreads, shared, stream_of(grad)>>>(pyramid, level, rois.const_data_ptr<T>(), rois.size(0),
                                                                    p, grad.const_data_ptr<S>());
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
}

}  // namespace
}  // namespace repmet
