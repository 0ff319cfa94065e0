// The operators' signatures. Kernels register themselves, for the CPU and for CUDA, in the file of each operator;
// autograd and meta kernels are in model_definitions/roi_gradients.py.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(repmet, m) {
  m.def(
      "roi_align(Tensor input, Tensor boxes, SymInt pooled_height, SymInt pooled_width, float spatial_scale, "
      "int sampling_ratio, bool aligned) -> Tensor");
  m.def(
      "roi_align_backward(Tensor grad, Tensor boxes, SymInt batch, SymInt channels, SymInt height, SymInt width, "
      "float spatial_scale, int sampling_ratio, bool aligned, bool channels_last, bool deterministic) -> Tensor");
  m.def(
      "roi_align_pyramid(Tensor[] inputs, Tensor boxes, SymInt pooled_height, SymInt pooled_width, "
      "float[] spatial_scales, int sampling_ratio, bool aligned, float finest_scale) -> Tensor");
  m.def(
      "roi_align_pyramid_backward(Tensor grad, Tensor boxes, SymInt batch, SymInt channels, SymInt[] heights, "
      "SymInt[] widths, float[] spatial_scales, int sampling_ratio, bool aligned, float finest_scale, "
      "bool channels_last, bool deterministic) -> Tensor[]");
  m.def(
      "roi_pool(Tensor input, Tensor boxes, SymInt pooled_height, SymInt pooled_width, float spatial_scale) "
      "-> (Tensor, Tensor)");
  m.def(
      "roi_pool_backward(Tensor grad, Tensor boxes, Tensor argmax, SymInt batch, SymInt channels, SymInt height, "
      "SymInt width, float spatial_scale, bool channels_last, bool deterministic) -> Tensor");
  m.def("nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor");
  m.def("batched_nms(Tensor boxes, Tensor scores, Tensor classes, float iou_threshold) -> Tensor");
}
