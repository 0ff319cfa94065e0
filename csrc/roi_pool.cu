// RoIPool (maximum over integer bins) on CUDA, forward with the index of each maximum, and backward.
//
// The work is cut as in roi_align.cu: RoI and channels for forward and the usual backward, which adds with atomics; tiles of
// pixels that gather, RoI after RoI, for the deterministic backward.
#include <limits>

#include "cuda_common.cuh"

namespace repmet {
namespace {

template <typename T>
struct PoolRoi {
  PoolAxis<T> y, x;
  int64_t image;
};

template <typename T>
__device__ PoolRoi<T> read_roi(const T* box, const DeviceMap& map, int64_t batch, int height, int width) {
  const T scale = static_cast<T>(map.scale);
  PoolRoi<T> roi{pool_axis(box[2], box[4], scale, height, map.height), pool_axis(box[1], box[3], scale, width, map.width),
                 image_of(box, batch)};
  if (roi.image < 0) roi.y.valid = roi.x.valid = false;
  return roi;
}

// Block (r, k): RoI r, channels k * chunk and up.
template <typename S, typename T>
__global__ void __launch_bounds__(kThreads) forward_kernel(const DeviceMap map, const int64_t batch, const int64_t all_channels,
                                                           const T* boxes, const int height, const int width, const int chunk,
                                                           S* output, int* argmax) {
  const int64_t r = blockIdx.x, first = static_cast<int64_t>(blockIdx.y) * chunk;
  const PoolRoi<T> roi = read_roi(boxes + r * 5, map, batch, height, width);
  const int bins = height * width;
  const int channels = static_cast<int>(min(static_cast<int64_t>(chunk), all_channels - first));
  const S* source = static_cast<const S*>(map.data) + (roi.image < 0 ? 0 : roi.image) * map.stride_n + first * map.stride_c;
  const int64_t target = (r * all_channels + first) * bins;
  const bool by_channel = map.stride_c == 1 && map.stride_w != 1;
  for (int at = threadIdx.x; at < channels * bins; at += blockDim.x) {
    const int channel = by_channel ? at % channels : at / bins, bin = by_channel ? at / channels : at % bins;
    int64_t y_begin, y_end, x_begin, x_end;
    pool_range(roi.y, bin / width, &y_begin, &y_end);
    pool_range(roi.x, bin % width, &x_begin, &x_end);
    const bool empty = y_end <= y_begin || x_end <= x_begin;
    const S* plane = source + channel * map.stride_c;
    T best = empty ? T(0) : std::numeric_limits<T>::lowest();
    int where = -1;
    for (int64_t y = y_begin; y < y_end; ++y) {
      for (int64_t x = x_begin; x < x_end; ++x) {
        const T candidate = static_cast<T>(plane[y * map.stride_h + x * map.stride_w]);
        if (candidate > best) {
          best = candidate;
          where = static_cast<int>(y * map.width + x);
        }
      }
    }
    output[target + channel * bins + bin] = static_cast<S>(best);
    argmax[target + channel * bins + bin] = where;
  }
}

// `map` is the gradient, in T and zero to begin with.
template <typename S, typename T>
__global__ void __launch_bounds__(kThreads) backward_kernel(const DeviceMap map, const int64_t batch, const int64_t all_channels,
                                                            const T* boxes, const int bins, const int64_t total,
                                                            const S* grad, const int* argmax) {
  const int64_t pixels = map.height * map.width;
  for (int64_t at = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; at < total;
       at += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int64_t channel = at / bins % all_channels, r = at / bins / all_channels, pixel = argmax[at];
    const int64_t image = image_of(boxes + r * 5, batch);
    if (pixel < 0 || pixel >= pixels || image < 0) continue;
    T* plane = static_cast<T*>(const_cast<void*>(map.data)) + image * map.stride_n + channel * map.stride_c;
    atomicAdd(plane + pixel / map.width * map.stride_h + pixel % map.width * map.stride_w, static_cast<T>(grad[at]));
  }
}

// Whether a bin of the axis can hold a pixel of [low, high].
template <typename T>
__device__ bool touches(const PoolAxis<T>& axis, int64_t pooled, int64_t low, int64_t high) {
  return axis.valid && axis.start <= T(high) + T(1) && axis.start + axis.bin * T(pooled) >= T(low) - T(1);
}

// Block (tile, channels, image): every pixel gathers the gradients of the bins whose maximum it is, RoI after RoI.
template <typename S, typename T>
__global__ void __launch_bounds__(kThreads) gather_kernel(const DeviceMap map, const int64_t batch, const int64_t all_channels,
                                                          const T* boxes, const int64_t count, const int height,
                                                          const int width, const S* grad, const int* argmax) {
  __shared__ int list[kThreads], warp_hits[kThreads / 32];
  const int64_t across = (map.width + kTileColumns - 1) / kTileColumns;
  const int64_t top = blockIdx.x / across * kTileRows, left = blockIdx.x % across * kTileColumns;
  const int64_t image = blockIdx.z, first = static_cast<int64_t>(blockIdx.y) * kTileChannels;
  const int64_t y = top + threadIdx.x / kTileColumns, x = left + threadIdx.x % kTileColumns;
  const int channels = static_cast<int>(min(static_cast<int64_t>(kTileChannels), all_channels - first));
  const int bins = height * width, pixel = static_cast<int>(y * map.width + x);
  T sum[kTileChannels] = {};
  for (int64_t base = 0; base < count; base += kThreads) {
    const int64_t mine = base + threadIdx.x;
    bool hit = false;
    if (mine < count) {
      const PoolRoi<T> roi = read_roi(boxes + mine * 5, map, batch, height, width);
      hit = roi.image == image && touches(roi.y, height, top, top + kTileRows - 1) &&
            touches(roi.x, width, left, left + kTileColumns - 1);
    }
    const int hits = select_in_order(hit, static_cast<int>(threadIdx.x), list, warp_hits);
    for (int k = 0; k < hits && y < map.height && x < map.width; ++k) {
      const int64_t r = base + list[k];
      const PoolRoi<T> roi = read_roi(boxes + r * 5, map, batch, height, width);
      for (int i = 0; i < height; ++i) {
        int64_t begin, end;
        pool_range(roi.y, i, &begin, &end);
        if (y < begin || y >= end) continue;
        for (int j = 0; j < width; ++j) {
          pool_range(roi.x, j, &begin, &end);
          if (x < begin || x >= end) continue;
          const int64_t at = (r * all_channels + first) * bins + i * width + j;
          for (int c = 0; c < channels; ++c)
            if (argmax[at + c * bins] == pixel) sum[c] += static_cast<T>(grad[at + c * bins]);
        }
      }
    }
    __syncthreads();  // `list` is in use until here
  }
  if (y >= map.height || x >= map.width) return;
  S* target = static_cast<S*>(const_cast<void*>(map.data)) + image * map.stride_n + first * map.stride_c +
              y * map.stride_h + x * map.stride_w;
  for (int c = 0; c < channels; ++c) target[c * map.stride_c] = static_cast<S>(sum[c]);
}

template <typename S, typename T>
void launch_forward(const Tensor& input, const DeviceMap& map, const Tensor& rois, const Tensor& output, const Tensor& argmax) {
  const int64_t channels = input.size(1), bins = output.size(2) * output.size(3), chunk = channels_per_block(channels, bins);
  const dim3 grid(static_cast<unsigned>(rois.size(0)), static_cast<unsigned>((channels + chunk - 1) / chunk));
  forward_kernel<S, T><<<grid, kThreads, 0, stream_of(output)>>>(
      map, input.size(0), channels, rois.const_data_ptr<T>(), static_cast<int>(output.size(2)),
      static_cast<int>(output.size(3)), static_cast<int>(chunk), output.mutable_data_ptr<S>(), argmax.mutable_data_ptr<int>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename S, typename T>
void launch_backward(const DeviceMap& map, int64_t batch, const Tensor& rois, const Tensor& grad, const Tensor& argmax) {
  const int64_t total = grad.numel(), blocks = std::min<int64_t>((total + kThreads - 1) / kThreads, 1 << 20);
  backward_kernel<S, T><<<static_cast<unsigned>(blocks), kThreads, 0, stream_of(grad)>>>(
      map, batch, grad.size(1), rois.const_data_ptr<T>(), static_cast<int>(grad.size(2) * grad.size(3)), total,
      grad.const_data_ptr<S>(), argmax.const_data_ptr<int>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename S, typename T>
void launch_gather(const char* op, const DeviceMap& map, int64_t batch, const Tensor& rois, const Tensor& grad,
                   const Tensor& argmax) {
  const dim3 grid = tile_grid(op, map.height, map.width, batch, grad.size(1));
  gather_kernel<S, T><<<grid, kThreads, 0, stream_of(grad)>>>(
      map, batch, grad.size(1), rois.const_data_ptr<T>(), rois.size(0), static_cast<int>(grad.size(2)),
      static_cast<int>(grad.size(3)), grad.const_data_ptr<S>(), argmax.const_data_ptr<int>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

void check_grid(const char* op, const Tensor& boxes, int64_t channels, int64_t bins) {
  const int64_t chunk = channels_per_block(channels, bins);
  require(boxes.size(0) < 2147483648LL && (channels + chunk - 1) / chunk < 65536 && bins < 1 << 24, op,
          "too many RoIs, channels or bins for the CUDA kernels");
}

std::tuple<Tensor, Tensor> roi_pool(const Tensor& input, const Tensor& boxes, int64_t pooled_height, int64_t pooled_width,
                                    double spatial_scale) {
  const char* op = "roi_pool";
  check_features(op, input);
  check_boxes(op, boxes, input.scalar_type());
  check_same_device(op, input, "input", boxes, "boxes");
  check_pooling(op, pooled_height, pooled_width, spatial_scale);
  check_plane(op, input.size(2), input.size(3));
  const torch::stable::accelerator::DeviceGuard guard(input.get_device_index());
  const ScalarType type = input.scalar_type();
  const std::vector<int64_t> shape{boxes.size(0), input.size(1), pooled_height, pooled_width};
  const Tensor output = empty(shape, type, input), argmax = empty(shape, ScalarType::Int, input);
  if (output.numel() == 0) return {output, argmax};
  check_grid(op, boxes, input.size(1), pooled_height * pooled_width);
  const Tensor rois = to_type(boxes, accumulate_type(type));
  const DeviceMap map = device_map(op, input, spatial_scale);
  dispatch(type, op, [&](auto tag) {
    using S = decltype(tag);
    launch_forward<S, typename Accumulate<S>::type>(input, map, rois, output, argmax);
  });
  return {output, argmax};
}

Tensor roi_pool_backward(const Tensor& grad, const Tensor& boxes, const Tensor& argmax, int64_t batch, int64_t channels,
                         int64_t height, int64_t width, double spatial_scale, bool channels_last, bool deterministic) {
  const char* op = "roi_pool_backward";
  check_pool_backward(op, grad, boxes, argmax, batch, channels, height, width, spatial_scale);
  const torch::stable::accelerator::DeviceGuard guard(grad.get_device_index());
  const ScalarType type = grad.scalar_type(), sums = deterministic ? type : accumulate_type(type);
  Tensor result = empty({batch, channels, height, width}, sums, grad, channels_last);
  if (!deterministic) torch::stable::zero_(result);
  if (result.numel() > 0 && (deterministic || grad.numel() > 0)) {
    check_grid(op, boxes, channels, grad.size(2) * grad.size(3));
    const Tensor dense = torch::stable::contiguous(grad), where = torch::stable::contiguous(argmax);
    const Tensor rois = to_type(boxes, accumulate_type(type));
    const DeviceMap map = device_map(op, result, spatial_scale);
    dispatch(type, op, [&](auto tag) {
      using S = decltype(tag);
      using T = typename Accumulate<S>::type;
      if (deterministic) launch_gather<S, T>(op, map, batch, rois, dense, where);
      else launch_backward<S, T>(map, batch, rois, dense, where);
    });
  }
  return sums == type ? result : torch::stable::to(result, type);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(repmet, CUDA, m) {
  m.impl("roi_pool", TORCH_BOX(&roi_pool));
  m.impl("roi_pool_backward", TORCH_BOX(&roi_pool_backward));
}

}  // namespace repmet
