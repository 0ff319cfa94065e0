// RoIAlign on CUDA, over one feature map or a feature pyramid, forward and backward.
//
// Here are the operators: checks, results, launches. The kernels of forward and of the usual backward are in
// roi_align_bins.cuh, those of the deterministic backward in roi_align_gather.cuh.
#include "cuda_common.cuh"
#include "roi_align_bins.cuh"
#include "roi_align_gather.cuh"

namespace repmet {
namespace {

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
