// RoIAlign's forward and its usual backward on CUDA.
//
// A block of threads takes one RoI and a few dozen channels. It first writes the pixels and weights of every bin, per axis and
// with repeated pixels merged, to shared memory, so that the geometry is worked out once and not once per channel. Backward
// adds with atomics.
#pragma once

#include "cuda_common.cuh"

namespace repmet {
namespace {

// Everything a block needs to know of its RoI.
template <typename T>
struct DeviceRoi {
  SampleAxis<T> y, x;
  T factor;
  int64_t image;
  int level;
};

template <typename T>
__device__ DeviceRoi<T> read_roi(const T* box, const Pyramid& pyramid, const PoolShape& p) {
  DeviceRoi<T> roi;
  roi.image = image_of(box, pyramid.batch);
  roi.level = level_of(box, pyramid);
  const DeviceMap& map = pyramid.level[roi.level];
  const T scale = static_cast<T>(map.scale);
  roi.y = sample_axis(box[2], box[4], scale, p.aligned, p.height, p.sampling_ratio, map.height);
  roi.x = sample_axis(box[1], box[3], scale, p.aligned, p.width, p.sampling_ratio, map.width);
  if (!(roi.y.grid > T(0)) || !(roi.x.grid > T(0)) || roi.image < 0) roi.y.size = roi.x.size = 0;
  roi.factor = T(1) / samples_per_bin(roi.y, roi.x);
  return roi;
}

constexpr int kListTaps = 8;   // merged taps of a bin that shared memory holds
constexpr int kListBins = 32;  // bins per axis that it holds

template <typename T>
struct BinTaps {
  int count;
  int offset[kListTaps];
  T weight[kListTaps];
};

template <typename T>
__device__ void add_tap(BinTaps<T>* bin, int offset, T weight) {
  for (int k = bin->count - 1; k >= 0 && k >= bin->count - 2; --k) {
    if (bin->offset[k] == offset) {
      bin->weight[k] += weight;
      return;
    }
  }
  bin->offset[bin->count] = offset;
  bin->weight[bin->count++] = weight;
}

template <typename T>
__device__ void collect_bin(const SampleAxis<T>& axis, int64_t index, int64_t stride, T factor, BinTaps<T>* bin) {
  bin->count = 0;
  int64_t first, last;
  sample_range(axis, index, &first, &last);
  for (int64_t sample = first; sample < last; ++sample) {
    Tap<T> tap;
    if (!sample_tap(axis, index, sample, &tap)) continue;
    add_tap(bin, static_cast<int>(tap.low * stride), tap.low_weight * factor);
    add_tap(bin, static_cast<int>(tap.high * stride), tap.high_weight * factor);
  }
}

// The taps of all bins in shared memory, where they fit; all threads of the block must call it.
template <typename T>
__device__ bool collect_bins(const DeviceRoi<T>& roi, const DeviceMap& map, const PoolShape& p, BinTaps<T>* lists) {
  const bool fits = p.height <= kListBins && p.width <= kListBins && roi.y.grid <= T(kListTaps / 2) &&
                    roi.x.grid <= T(kListTaps / 2);
  if (fits) {
    for (int i = threadIdx.x; i < p.height + p.width; i += blockDim.x) {
      if (i < p.height) collect_bin(roi.y, i, map.stride_h, roi.factor, lists + i);
      else collect_bin(roi.x, i - p.height, map.stride_w, T(1), lists + i);
    }
  }
  __syncthreads();
  return fits;
}

template <typename S, typename T>
__device__ T pool_listed(const S* plane, const BinTaps<T>& y, const BinTaps<T>& x) {
  T sum = T(0);
  for (int a = 0; a < y.count; ++a) {
    T line = T(0);
    for (int b = 0; b < x.count; ++b) line += x.weight[b] * static_cast<T>(plane[y.offset[a] + x.offset[b]]);
    sum += y.weight[a] * line;
  }
  return sum;
}

// Calls visit(offset, weight) for every tap of a bin, without lists.
template <typename T, typename Visit>
__device__ void walk_bin(const DeviceRoi<T>& roi, const DeviceMap& map, int i, int j, const Visit& visit) {
  int64_t y_first, y_last, x_first, x_last;
  sample_range(roi.y, i, &y_first, &y_last);
  sample_range(roi.x, j, &x_first, &x_last);
  for (int64_t a = y_first; a < y_last; ++a) {
    Tap<T> y;
    if (!sample_tap(roi.y, i, a, &y)) continue;
    for (int64_t b = x_first; b < x_last; ++b) {
      Tap<T> x;
      if (!sample_tap(roi.x, j, b, &x)) continue;
      const int64_t low = y.low * map.stride_h, high = y.high * map.stride_h;
      const int64_t left = x.low * map.stride_w, right = x.high * map.stride_w;
      visit(low + left, y.low_weight * x.low_weight * roi.factor);
      visit(low + right, y.low_weight * x.high_weight * roi.factor);
      visit(high + left, y.high_weight * x.low_weight * roi.factor);
      visit(high + right, y.high_weight * x.high_weight * roi.factor);
    }
  }
}

// Block (r, k): RoI r, channels k * chunk and up.
template <typename S, typename T>
__global__ void __launch_bounds__(kThreads) forward_kernel(const Pyramid pyramid, const T* boxes, const PoolShape p,
                                                           const int chunk, S* output) {
  __shared__ BinTaps<T> lists[2 * kListBins];
  const int64_t r = blockIdx.x, first = static_cast<int64_t>(blockIdx.y) * chunk;
  const DeviceRoi<T> roi = read_roi(boxes + r * 5, pyramid, p);
  const DeviceMap& map = pyramid.level[roi.level];
  const bool listed = collect_bins(roi, map, p, lists);
  const int bins = p.height * p.width;
  const int channels = static_cast<int>(min(static_cast<int64_t>(chunk), pyramid.channels - first));
  const S* source = static_cast<const S*>(map.data) + (roi.image < 0 ? 0 : roi.image) * map.stride_n + first * map.stride_c;
  S* target = output + (r * pyramid.channels + first) * bins;
  const bool by_channel = map.stride_c == 1 && map.stride_w != 1;  // neighbouring threads read neighbouring addresses
  for (int at = threadIdx.x; at < channels * bins; at += blockDim.x) {
    const int channel = by_channel ? at % channels : at / bins, bin = by_channel ? at / channels : at % bins;
    const int i = bin / p.width, j = bin % p.width;
    const S* plane = source + channel * map.stride_c;
    T value = T(0);
    if (listed) {
      value = pool_listed(plane, lists[i], lists[p.height + j]);
    } else {
      walk_bin(roi, map, i, j, [&](int64_t offset, T weight) { value += weight * static_cast<T>(plane[offset]); });
    }
    target[channel * bins + bin] = static_cast<S>(value);
  }
}

// The maps of `pyramid` are the gradients, in T and zero to begin with.
template <typename S, typename T>
__global__ void __launch_bounds__(kThreads) backward_kernel(const Pyramid pyramid, const T* boxes, const PoolShape p,
                                                            const int chunk, const S* grad) {
  __shared__ BinTaps<T> lists[2 * kListBins];
  const int64_t r = blockIdx.x, first = static_cast<int64_t>(blockIdx.y) * chunk;
  const DeviceRoi<T> roi = read_roi(boxes + r * 5, pyramid, p);
  const DeviceMap& map = pyramid.level[roi.level];
  const bool listed = collect_bins(roi, map, p, lists);
  if (roi.image < 0) return;
  const int bins = p.height * p.width;
  const int channels = static_cast<int>(min(static_cast<int64_t>(chunk), pyramid.channels - first));
  T* target = static_cast<T*>(const_cast<void*>(map.data)) + roi.image * map.stride_n + first * map.stride_c;
  const S* from = grad + (r * pyramid.channels + first) * bins;
  const bool by_channel = map.stride_c == 1 && map.stride_w != 1;
  for (int at = threadIdx.x; at < channels * bins; at += blockDim.x) {
    const int channel = by_channel ? at % channels : at / bins, bin = by_channel ? at / channels : at % bins;
    const int i = bin / p.width, j = bin % p.width;
    const T g = static_cast<T>(from[channel * bins + bin]);
    T* plane = target + channel * map.stride_c;
    if (listed) {
      const BinTaps<T>&y = lists[i], &x = lists[p.height + j];
      for (int a = 0; a < y.count; ++a)
        for (int b = 0; b < x.count; ++b) atomicAdd(plane + y.offset[a] + x.offset[b], g * y.weight[a] * x.weight[b]);
    } else {
      walk_bin(roi, map, i, j, [&](int64_t offset, T weight) { atomicAdd(plane + offset, g * weight); });
    }
  }
}

}  // namespace
}  // namespace repmet
