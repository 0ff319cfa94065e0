// Validation of operator arguments and the few calls that go back to torch. Shared by the CPU and the CUDA part.
// Everything here uses libtorch's stable ABI only, so that one binary serves many torch versions.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace repmet {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Raises a Python RuntimeError that reads "repmet::<op>: <parts>".
template <typename... Parts>
void require(bool condition, const char* op, const Parts&... parts) {
  if (condition) return;
  std::ostringstream message;
  message << "repmet::" << op << ": ";
  (message << ... << parts);
  throw std::runtime_error(message.str());
}

inline const char* dtype_name(ScalarType type) {
  switch (type) {
    case ScalarType::Float: return "float32";
    case ScalarType::Double: return "float64";
    case ScalarType::Half: return "float16";
    case ScalarType::BFloat16: return "bfloat16";
    case ScalarType::Long: return "int64";
    case ScalarType::Int: return "int32";
    default: return "another dtype";
  }
}

inline std::string shape_of(const Tensor& tensor) {
  std::ostringstream text;
  text << "(";
  for (int64_t i = 0; i < tensor.dim(); ++i) text << (i ? ", " : "") << tensor.size(i);
  text << ")";
  return text.str();
}

inline bool is_floating(ScalarType type) {
  return type == ScalarType::Float || type == ScalarType::Double || type == ScalarType::Half ||
         type == ScalarType::BFloat16;
}

// The type that sums are kept in: float32 for everything but float64.
inline ScalarType accumulate_type(ScalarType type) {
  return type == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

inline void check_same_device(const char* op, const Tensor& a, const char* a_name, const Tensor& b, const char* b_name) {
  require(a.device() == b.device(), op, a_name, " and ", b_name, " must be on one device");
}

// boxes (R, 5) in the dtype of the features, or float32 beside half and bfloat16 features.
inline void check_boxes(const char* op, const Tensor& boxes, ScalarType features) {
  require(boxes.dim() == 2 && boxes.size(1) == 5, op, "boxes must be (R, 5): image index, x1, y1, x2, y2; got ",
          shape_of(boxes));
  const auto type = boxes.scalar_type();
  require(type == features || type == accumulate_type(features), op, "boxes are ", dtype_name(type),
          ", the features ", dtype_name(features), "; they must match (or boxes be float32 beside half precision)");
}

inline void check_features(const char* op, const Tensor& input) {
  require(input.dim() == 4, op, "input must be (N, C, H, W), got ", shape_of(input));
  require(is_floating(input.scalar_type()), op, "input must be a floating point tensor, not ",
          dtype_name(input.scalar_type()));
}

constexpr int64_t kLargestPooledSide = 4096;
constexpr int64_t kLargestSamplingRatio = 1024;

inline void check_pooling(const char* op, int64_t pooled_height, int64_t pooled_width, double spatial_scale) {
  require(pooled_height > 0 && pooled_width > 0 && pooled_height <= kLargestPooledSide &&
              pooled_width <= kLargestPooledSide,
          op, "output_size must be within 1..", kLargestPooledSide, ", got (", pooled_height, ", ", pooled_width, ")");
  require(spatial_scale > 0 && spatial_scale <= 3.0e38, op, "spatial_scale must be positive and finite, got ",
          spatial_scale);
}

inline void check_sampling(const char* op, int64_t sampling_ratio) {
  require(sampling_ratio <= kLargestSamplingRatio, op, "sampling_ratio must be at most ", kLargestSamplingRatio,
          " (0 or less: adaptive), got ", sampling_ratio);
}

// The size of a gradient that is to be made: each side sane, and strides representable even where another side is 0.
inline void check_sizes(const char* op, int64_t batch, int64_t channels, int64_t height, int64_t width) {
  double product = 1.0;
  for (const int64_t side : {batch, channels, height, width}) product *= static_cast<double>(std::max<int64_t>(side, 1));
  require(batch >= 0 && channels >= 0 && height >= 0 && width >= 0 && product < 1.0e18, op,
          "the input's size must be four counts, got (", batch, ", ", channels, ", ", height, ", ", width, ")");
}

inline void check_shape(const char* op, const Tensor& tensor, const char* name, const std::vector<int64_t>& shape) {
  bool same = tensor.dim() == static_cast<int64_t>(shape.size());
  std::ostringstream wanted;
  for (size_t i = 0; i < shape.size(); ++i) {
    same = same && tensor.size(static_cast<int64_t>(i)) == shape[i];
    wanted << (i ? ", " : "") << shape[i];
  }
  require(same, op, name, " must be (", wanted.str(), "), got ", shape_of(tensor));
}

// RoIPool keeps the index of a maximum within its plane as int32.
inline void check_plane(const char* op, int64_t height, int64_t width) {
  require(static_cast<double>(height) * width <= 2147483647.0, op, "a plane of ", height, " x ", width,
          " has more pixels than int32 can count");
}

inline void check_pool_backward(const char* op, const Tensor& grad, const Tensor& boxes, const Tensor& argmax,
                                int64_t batch, int64_t channels, int64_t height, int64_t width, double spatial_scale) {
  check_features(op, grad);
  check_sizes(op, batch, channels, height, width);
  check_boxes(op, boxes, grad.scalar_type());
  check_same_device(op, grad, "grad", boxes, "boxes");
  check_same_device(op, grad, "grad", argmax, "argmax");
  require(argmax.scalar_type() == ScalarType::Int, op, "argmax must be int32, not ", dtype_name(argmax.scalar_type()));
  check_shape(op, grad, "grad", {boxes.size(0), channels, grad.size(2), grad.size(3)});
  check_shape(op, argmax, "argmax", {boxes.size(0), channels, grad.size(2), grad.size(3)});
  check_pooling(op, grad.size(2), grad.size(3), spatial_scale);
  check_plane(op, height, width);
}

inline void check_nms(const char* op, const Tensor& boxes, const Tensor& scores, const Tensor* classes, double threshold) {
  require(boxes.dim() == 2 && boxes.size(1) == 4, op, "boxes must be (N, 4): x1, y1, x2, y2; got ", shape_of(boxes));
  require(is_floating(boxes.scalar_type()) && is_floating(scores.scalar_type()), op,
          "boxes and scores must be floating point tensors, not ", dtype_name(boxes.scalar_type()), " and ",
          dtype_name(scores.scalar_type()));
  check_shape(op, scores, "scores", {boxes.size(0)});
  check_same_device(op, boxes, "boxes", scores, "scores");
  require(threshold == threshold, op, "iou_threshold is NaN");
  if (classes == nullptr) return;
  check_shape(op, *classes, "classes", {boxes.size(0)});
  check_same_device(op, boxes, "boxes", *classes, "classes");
  require(classes->scalar_type() == ScalarType::Long, op, "classes must be int64, not ",
          dtype_name(classes->scalar_type()));
}

inline Tensor to_type(const Tensor& tensor, ScalarType type) {
  return torch::stable::contiguous(tensor.scalar_type() == type ? tensor : torch::stable::to(tensor, type));
}

inline void check_pyramid(const char* op, const std::vector<Tensor>& inputs, const std::vector<double>& scales,
                   double finest_scale) {
  require(!inputs.empty() && inputs.size() == scales.size(), op, "needs one scale per level, got ", inputs.size(),
          " levels and ", scales.size(), " scales");
  require(finest_scale > 0, op, "finest_scale must be positive, got ", finest_scale);
  for (const Tensor& level : inputs) {
    check_features(op, level);
    require(level.scalar_type() == inputs[0].scalar_type(), op, "all levels must have one dtype");
    require(level.size(0) == inputs[0].size(0) && level.size(1) == inputs[0].size(1), op,
            "all levels must have the same batch size and channels");
    check_same_device(op, inputs[0], "input", level, "every level");
  }
}

// Fresh memory that the kernels write in full. Not torch.empty, which fills it under deterministic algorithms first.
inline Tensor empty(const std::vector<int64_t>& shape, ScalarType type, const Tensor& like, bool channels_last = false) {
  std::vector<int64_t> stride(shape.size(), 1);
  for (int64_t i = static_cast<int64_t>(shape.size()) - 2; i >= 0; --i)
    stride[i] = stride[i + 1] * std::max<int64_t>(shape[i + 1], 1);
  if (channels_last) {
    const int64_t channels = std::max<int64_t>(shape[1], 1), width = std::max<int64_t>(shape[3], 1);
    stride = {std::max<int64_t>(shape[2], 1) * width * channels, 1, width * channels, channels};
  }
  const auto device = like.device();
  AtenTensorHandle handle = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(
      static_cast<int64_t>(shape.size()), shape.data(), stride.data(),
      torch::stable::detail::to<int32_t>(torch::stable::detail::from(type)),
      torch::stable::detail::to<int32_t>(torch::stable::detail::from(device.type())), device.index(), &handle));
  return Tensor(handle);
}

// Indices (N,) that sort `scores` in descending order; equal scores keep their order.
inline Tensor argsort_descending(const Tensor& scores) {
  using torch::stable::detail::from;
  std::array<StableIValue, 4> stack{from(scores), from(std::optional<bool>(true)), from(int64_t{0}), from(true)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::sort", "stable", stack.data(), TORCH_ABI_VERSION));
  const Tensor values = torch::stable::detail::to<Tensor>(stack[0]);  // takes ownership, so that it is freed
  return torch::stable::detail::to<Tensor>(stack[1]);
}

// Calls body(T{}) with the C++ type of `type`.
template <typename Body>
void dispatch(ScalarType type, const char* op, Body&& body) {
  switch (type) {
    case ScalarType::Float: return body(float{});
    case ScalarType::Double: return body(double{});
    case ScalarType::Half: return body(c10::Half{});
    case ScalarType::BFloat16: return body(c10::BFloat16{});
    default: require(false, op, "no kernel for ", dtype_name(type));
  }
}

template <typename T>
struct Accumulate {
  using type = float;
};
template <>
struct Accumulate<double> {
  using type = double;
};

}  // namespace repmet
