// What the CUDA kernels share: the stream, launch checks, pyramids as kernel arguments, and the ordered selection of RoIs.
#pragma once

#include <cuda_runtime.h>

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include <algorithm>
#include <vector>

#include "checks.h"
#include "roi_geometry.h"

namespace repmet {

constexpr int kThreads = 256;
constexpr int kMaxLevels = 8;

inline cudaStream_t stream_of(const Tensor& tensor) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

struct DeviceMap {
  const void* data;
  int64_t height, width, stride_n, stride_c, stride_h, stride_w;
  double scale;
};

struct Pyramid {
  DeviceMap level[kMaxLevels];
  int levels;
  int64_t batch, channels;
  float finest_scale;
};

struct PoolShape {
  int height, width, sampling_ratio;
  bool aligned;
};

// Offsets within one channel of one image are int32 in the kernels.
inline DeviceMap device_map(const char* op, const Tensor& t, double scale) {
  const double reach = static_cast<double>(t.size(2)) * t.stride(2) + static_cast<double>(t.size(3)) * t.stride(3);
  require(reach < 2147483648.0, op, "a feature map of ", shape_of(t), " is too large for the CUDA kernels");
  return {t.const_data_ptr(), t.size(2), t.size(3), t.stride(0), t.stride(1), t.stride(2), t.stride(3), scale};
}

inline Pyramid make_pyramid(const char* op, const std::vector<Tensor>& maps, const std::vector<double>& scales,
                            double finest_scale) {
  require(static_cast<int>(maps.size()) <= kMaxLevels, op, "at most ", kMaxLevels, " levels on CUDA, got ", maps.size());
  Pyramid pyramid{};
  pyramid.levels = static_cast<int>(maps.size());
  pyramid.batch = maps[0].size(0);
  pyramid.channels = maps[0].size(1);
  pyramid.finest_scale = static_cast<float>(finest_scale);
  for (size_t i = 0; i < maps.size(); ++i) pyramid.level[i] = device_map(op, maps[i], scales[i]);
  return pyramid;
}

// Image of a box, or -1 where its index is outside the batch: reading it on the host to raise would cost a
// synchronisation, so such a RoI pools to zero.
template <typename T>
__device__ inline int64_t image_of(const T* box, int64_t batch) {
  return box[0] > T(-1) && box[0] < T(batch) ? static_cast<int64_t>(box[0]) : -1;
}

template <typename T>
__device__ inline int level_of(const T* box, const Pyramid& pyramid) {
  if (pyramid.levels == 1) return 0;
  return static_cast<int>(pyramid_level(static_cast<float>(box[1]), static_cast<float>(box[2]),
                                        static_cast<float>(box[3]), static_cast<float>(box[4]), pyramid.finest_scale,
                                        pyramid.levels));
}

// Channels that one block of threads handles: enough bins to keep its threads busy for a few rounds.
inline int64_t channels_per_block(int64_t channels, int64_t bins) {
  return std::clamp<int64_t>(6 * kThreads / std::max<int64_t>(bins, 1), 1, channels);
}

// Writes `value` of each thread with `hit` to list[0..], in thread order; returns how many. All kThreads must call it.
__device__ inline int select_in_order(bool hit, int value, int* list, int* warp_hits) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const unsigned votes = __ballot_sync(0xffffffffu, hit);
  if (lane == 0) warp_hits[warp] = __popc(votes);
  __syncthreads();
  int before = 0, total = 0;
  for (int w = 0; w < kThreads / 32; ++w) {
    if (w < warp) before += warp_hits[w];
    total += warp_hits[w];
  }
  if (hit) list[before + __popc(votes & ((1u << lane) - 1))] = value;
  __syncthreads();
  return total;
}

// Tiles of the deterministic backward kernels: 8 rows of 32 pixels, one thread per pixel, a warp per row.
constexpr int kTileRows = kThreads / 32, kTileColumns = 32, kTileChannels = 8;
constexpr int64_t kTileBins = 128;  // bins per axis that fit the shared memory

inline dim3 tile_grid(const char* op, int64_t height, int64_t width, int64_t batch, int64_t channels) {
  const int64_t tiles = ((height + kTileRows - 1) / kTileRows) * ((width + kTileColumns - 1) / kTileColumns);
  const int64_t blocks = (channels + kTileChannels - 1) / kTileChannels;
  require(tiles < 2147483648LL && blocks < 65536 && batch < 65536, op, "the input is too large for the CUDA kernels");
  return dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(blocks), static_cast<unsigned>(batch));
}

}  // namespace repmet
