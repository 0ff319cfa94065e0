// RoIAlign on CUDA, over one feature map or a feature pyramid, forward and backward.
//
// Forward and the usual backward: a block of threads takes one RoI and a few dozen channels. It first writes the pixels and
// weights of every bin, per axis and with repeated pixels merged, to shared memory, so that the geometry is worked out once
// and not once per channel. Backward adds with atomics.
// The deterministic backward is in roi_align_gather.cuh.
#include "cuda_common.cuh"
#include "roi_align_gather.cuh"

namespace repmet {
namespace {

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

template <typename S, typename T>
void launch_forward(const Pyramid& pyramid, const Tensor& rois, const PoolShape& p, const Tensor& output) {
  const int64_t chunk = channels_per_block(pyramid.channels, int64_t{p.height} * p.width);
  const dim3 grid(static_cast<unsigned>(rois.size(0)), static_cast<unsigned>((pyramid.channels + chunk - 1) / chunk));
  forward_kernel<S, T><<<grid, kThreads, 0, stream_of(output)>>>(pyramid, rois.const_data_ptr<T>(), p,
                                                                static_cast<int>(chunk), output.mutable_data_ptr<S>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename S, typename T>
void launch_backward(const Pyramid& pyramid, const Tensor& rois, const PoolShape& p, const Tensor& grad) {
  const int64_t chunk = channels_per_block(pyramid.channels, int64_t{p.height} * p.width);
  const dim3 grid(static_cast<unsigned>(rois.size(0)), static_cast<unsigned>((pyramid.channels + chunk - 1) / chunk));
  backward_kernel<S, T><<<grid, kThreads, 0, stream_of(grad)>>>(pyramid, rois.const_data_ptr<T>(), p,
                                                               static_cast<int>(chunk), grad.const_data_ptr<S>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

void check_grid(const char* op, const Tensor& boxes, int64_t channels, int64_t bins) {
  const int64_t blocks = (channels + channels_per_block(channels, bins) - 1) / channels_per_block(channels, bins);
  require(boxes.size(0) < 2147483648LL && blocks < 65536, op, "too many RoIs or channels for the CUDA kernels");
  require(bins < 1 << 24, op, "output_size is too large for the CUDA kernels");
}

Tensor forward(const char* op, const std::vector<Tensor>& inputs, const Tensor& boxes, const std::vector<double>& scales,
               int64_t pooled_height, int64_t pooled_width, int64_t sampling_ratio, bool aligned, double finest_scale) {
  check_pyramid(op, inputs, scales, finest_scale);
  check_boxes(op, boxes, inputs[0].scalar_type());
  check_same_device(op, inputs[0], "input", boxes, "boxes");
  for (const double scale : scales) check_pooling(op, pooled_height, pooled_width, scale);
  check_sampling(op, sampling_ratio);
  const torch::stable::accelerator::DeviceGuard guard(inputs[0].get_device_index());
  const ScalarType type = inputs[0].scalar_type();
  const Tensor output = empty({boxes.size(0), inputs[0].size(1), pooled_height, pooled_width}, type, inputs[0]);
  if (output.numel() == 0) return output;
  check_grid(op, boxes, inputs[0].size(1), pooled_height * pooled_width);
  const Tensor rois = to_type(boxes, accumulate_type(type));
  const Pyramid pyramid = make_pyramid(op, inputs, scales, finest_scale);
  const PoolShape p{static_cast<int>(pooled_height), static_cast<int>(pooled_width),
                    static_cast<int>(std::max<int64_t>(sampling_ratio, 0)), aligned};
  dispatch(type, op, [&](auto tag) {
    using S = decltype(tag);
    launch_forward<S, typename Accumulate<S>::type>(pyramid, rois, p, output);
  });
  return output;
}

struct Size {
  int64_t batch, channels;
  std::vector<int64_t> heights, widths;
};

std::vector<Tensor> backward(const char* op, const Tensor& grad, const Tensor& boxes, const Size& size,
                             const std::vector<double>& scales, int64_t sampling_ratio, bool aligned, double finest_scale,
                             bool channels_last, bool deterministic) {
  check_features(op, grad);
  check_boxes(op, boxes, grad.scalar_type());
  check_same_device(op, grad, "grad", boxes, "boxes");
  require(!size.heights.empty() && size.heights.size() == size.widths.size() && size.heights.size() == scales.size(), op,
          "needs a height, a width and a scale per level");
  require(finest_scale > 0, op, "finest_scale must be positive, got ", finest_scale);
  check_shape(op, grad, "grad", {boxes.size(0), size.channels, grad.size(2), grad.size(3)});
  for (const double scale : scales) check_pooling(op, grad.size(2), grad.size(3), scale);
  check_sampling(op, sampling_ratio);
  require(!deterministic || std::max(grad.size(2), grad.size(3)) <= kTileBins, op, "the deterministic backward takes up to ",
          kTileBins, " bins per axis, got (", grad.size(2), ", ", grad.size(3), ")");
  const torch::stable::accelerator::DeviceGuard guard(grad.get_device_index());
  const ScalarType type = grad.scalar_type(), sums = deterministic ? type : accumulate_type(type);
  std::vector<Tensor> results;
  for (size_t i = 0; i < size.heights.size(); ++i) {
    check_sizes(op, size.batch, size.channels, size.heights[i], size.widths[i]);
    Tensor result = empty({size.batch, size.channels, size.heights[i], size.widths[i]}, sums, grad, channels_last);
    if (!deterministic) torch::stable::zero_(result);
    results.push_back(result);
  }
  const Tensor dense = torch::stable::contiguous(grad), rois = to_type(boxes, accumulate_type(type));
  const Pyramid pyramid = make_pyramid(op, results, scales, finest_scale);
  const PoolShape p{static_cast<int>(grad.size(2)), static_cast<int>(grad.size(3)),
                    static_cast<int>(std::max<int64_t>(sampling_ratio, 0)), aligned};
  if (deterministic || grad.numel() > 0) {
    check_grid(op, boxes, std::max<int64_t>(size.channels, 1), grad.size(2) * grad.size(3));
    dispatch(type, op, [&](auto tag) {
      using S = decltype(tag);
      using T = typename Accumulate<S>::type;
      if (deterministic) launch_gather<S, T>(op, pyramid, rois, p, dense);
      else launch_backward<S, T>(pyramid, rois, p, dense);
    });
  }
  if (sums != type)
    for (Tensor& result : results) result = torch::stable::to(result, type);
  return results;
}

Tensor roi_align(const Tensor& input, const Tensor& boxes, int64_t pooled_height, int64_t pooled_width,
                 double spatial_scale, int64_t sampling_ratio, bool aligned) {
  return forward("roi_align", {input}, boxes, {spatial_scale}, pooled_height, pooled_width, sampling_ratio, aligned, 1.0);
}

Tensor roi_align_backward(const Tensor& grad, const Tensor& boxes, int64_t batch, int64_t channels, int64_t height,
                          int64_t width, double spatial_scale, int64_t sampling_ratio, bool aligned, bool channels_last,
                          bool deterministic) {
  return backward("roi_align_backward", grad, boxes, {batch, channels, {height}, {width}}, {spatial_scale}, sampling_ratio,
                  aligned, 1.0, channels_last, deterministic)[0];
}

Tensor roi_align_pyramid(std::vector<Tensor> inputs, const Tensor& boxes, int64_t pooled_height, int64_t pooled_width,
                         std::vector<double> spatial_scales, int64_t sampling_ratio, bool aligned, double finest_scale) {
  return forward("roi_align_pyramid", inputs, boxes, spatial_scales, pooled_height, pooled_width, sampling_ratio, aligned,
                 finest_scale);
}

std::vector<Tensor> roi_align_pyramid_backward(const Tensor& grad, const Tensor& boxes, int64_t batch, int64_t channels,
                                               std::vector<int64_t> heights, std::vector<int64_t> widths,
                                               std::vector<double> spatial_scales, int64_t sampling_ratio, bool aligned,
                                               double finest_scale, bool channels_last, bool deterministic) {
  return backward("roi_align_pyramid_backward", grad, boxes, {batch, channels, heights, widths}, spatial_scales,
                  sampling_ratio, aligned, finest_scale, channels_last, deterministic);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(repmet, CUDA, m) {
  m.impl("roi_align", TORCH_BOX(&roi_align));
  m.impl("roi_align_backward", TORCH_BOX(&roi_align_backward));
  m.impl("roi_align_pyramid", TORCH_BOX(&roi_align_pyramid));
  m.impl("roi_align_pyramid_backward", TORCH_BOX(&roi_align_pyramid_backward));
}

}  // namespace repmet
