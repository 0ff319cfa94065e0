// Greedy non-maximum suppression on CUDA, for one class or for many at once.
//
// Boxes are sorted by score; a bit matrix says which later boxes each box would suppress; one block of threads then walks
// over the boxes in order, 64 at a time. The matrix stays on the device and is made in slabs of rows of bounded size, so a
// million boxes need no more memory than ten thousand. Only the number of kept boxes goes to the host.
#include <cmath>
#include <limits>

#include "cuda_common.cuh"

namespace repmet {
namespace {

using Word = unsigned long long;
constexpr int kWord = 64;
constexpr int64_t kSlabBytes = int64_t{64} << 20;

// Products and sums rounded one by one, as on the CPU: a fused multiply-add could decide a borderline pair differently.
__device__ inline float multiply(float a, float b) {
  return __fmul_rn(a, b);
}
__device__ inline double multiply(double a, double b) {
  return __dmul_rn(a, b);
}

template <typename T>
struct Corners {
  T x1, y1, x2, y2;
};

template <typename T>
__device__ inline bool exceeds(const Corners<T>& a, const Corners<T>& b, T threshold) {
  const T left = a.x1 < b.x1 ? b.x1 : a.x1, top = a.y1 < b.y1 ? b.y1 : a.y1;
  const T right = b.x2 < a.x2 ? b.x2 : a.x2, bottom = b.y2 < a.y2 ? b.y2 : a.y2;
  const T width = right - left, height = bottom - top;
  const T inter = multiply(width > T(0) ? width : T(0), height > T(0) ? height : T(0));
  const T area_a = multiply(a.x2 - a.x1, a.y2 - a.y1), area_b = multiply(b.x2 - b.x1, b.y2 - b.y1);
  return inter / (area_a + area_b - inter) > threshold;
}

template <typename T>
__global__ void gather_kernel(const T* boxes, const int64_t* classes, const int64_t* order, const int64_t count,
                              Corners<T>* sorted, int64_t* sorted_classes) {
  const int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  if (i >= count) return;
  const T* box = boxes + order[i] * 4;
  sorted[i] = {box[0], box[1], box[2], box[3]};
  if (classes) sorted_classes[i] = classes[order[i]];
}

// Block (column word, row word of the slab) of 64 threads: bit j of mask[i][word] says that box i suppresses box 64 word + j.
template <typename T>
__global__ void mask_kernel(const Corners<T>* boxes, const int64_t* classes, const int64_t count, const int64_t words,
                            const int64_t first_word, const T threshold, const Word* removed, Word* mask) {
  const int64_t row_word = first_word + blockIdx.y, column_word = first_word + blockIdx.x;
  if (column_word < row_word || column_word >= words) return;
  __shared__ Corners<T> column[kWord];
  __shared__ int64_t column_class[kWord];
  const int64_t mine = column_word * kWord + threadIdx.x;
  if (mine < count) {
    column[threadIdx.x] = boxes[mine];
    if (classes) column_class[threadIdx.x] = classes[mine];
  }
  __syncthreads();
  const int64_t i = row_word * kWord + threadIdx.x;
  if (i >= count || (removed[row_word] >> threadIdx.x & 1)) return;
  const Corners<T> box = boxes[i];
  const int64_t label = classes ? classes[i] : 0;
  const int64_t end = count - column_word * kWord;
  Word bits = 0;
  for (int j = column_word == row_word ? threadIdx.x + 1 : 0; j < kWord && j < end; ++j) {
    if (classes && column_class[j] != label) continue;
    if (exceeds(box, column[j], threshold)) bits |= Word{1} << j;
  }
  mask[(i - first_word * kWord) * words + column_word] = bits;
}

// One block: goes over the slab's rows in order, 64 at a time, and marks what the kept ones suppress.
__global__ void __launch_bounds__(1024) walk_kernel(const Word* mask, const int64_t count, const int64_t words,
                                                    const int64_t first_word, const int64_t last_word, Word* removed, bool* keep) {
  __shared__ Word diagonal[kWord], kept;
  for (int64_t word = first_word; word < last_word; ++word) {
    const int64_t row = word * kWord + threadIdx.x;
    if (threadIdx.x < kWord) {
      const bool alive = row < count && !(removed[word] >> threadIdx.x & 1);  // rows that are not have no mask
      diagonal[threadIdx.x] = alive ? mask[(row - first_word * kWord) * words + word] : 0;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      Word gone = removed[word], stay = 0;
      for (int i = 0; i < kWord && word * kWord + i < count; ++i) {
        if (gone >> i & 1) continue;
        stay |= Word{1} << i;
        gone |= diagonal[i];
      }
      kept = stay;
    }
    __syncthreads();
    const Word stay = kept;
    if (threadIdx.x < kWord && row < count) keep[row] = stay >> threadIdx.x & 1;
    for (int64_t w = word + 1 + threadIdx.x; w < words; w += blockDim.x) {
      Word gone = removed[w];
      for (Word left = stay; left; left &= left - 1)
        gone |= mask[((word - first_word) * kWord + __ffsll(static_cast<long long>(left)) - 1) * words + w];
      removed[w] = gone;
    }
    __syncthreads();
  }
}

// The largest T that is not above the threshold: value > threshold then means the same in T as in double.
template <typename T>
T at_most(double threshold) {
  const T rounded = static_cast<T>(threshold);
  return static_cast<double>(rounded) > threshold ? std::nextafter(rounded, -std::numeric_limits<T>::infinity()) : rounded;
}

template <typename T>
void launch(const Tensor& boxes, const int64_t* classes, const Tensor& order, double threshold, const Tensor& keep) {
  const int64_t count = boxes.size(0), words = (count + kWord - 1) / kWord;
  const cudaStream_t stream = stream_of(boxes);
  const Tensor sorted = empty({count, 4}, boxes.scalar_type(), boxes);
  const Tensor sorted_classes = empty({classes ? count : 0}, ScalarType::Long, boxes);
  auto* const corners = reinterpret_cast<Corners<T>*>(sorted.mutable_data_ptr<T>());
  int64_t* const labels = classes ? sorted_classes.mutable_data_ptr<int64_t>() : nullptr;
  gather_kernel<T><<<static_cast<unsigned>((count + 255) / 256), 256, 0, stream>>>(
      boxes.const_data_ptr<T>(), classes, order.const_data_ptr<int64_t>(), count, corners, labels);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  const int64_t slab = std::clamp<int64_t>(kSlabBytes / (words * kWord * static_cast<int64_t>(sizeof(Word))), 1,
                                           std::min<int64_t>(words, 65535));
  Tensor removed = empty({words}, ScalarType::Long, boxes);
  torch::stable::zero_(removed);
  const Tensor mask = empty({slab * kWord, words}, ScalarType::Long, boxes);
  Word* const gone = reinterpret_cast<Word*>(removed.mutable_data_ptr<int64_t>());
  Word* const bits = reinterpret_cast<Word*>(mask.mutable_data_ptr<int64_t>());
  for (int64_t first = 0; first < words; first += slab) {
    const int64_t last = std::min(words, first + slab);
    const dim3 grid(static_cast<unsigned>(words - first), static_cast<unsigned>(last - first));
    mask_kernel<T><<<grid, kWord, 0, stream>>>(corners, labels, count, words, first, at_most<T>(threshold), gone, bits);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
    walk_kernel<<<1, 1024, 0, stream>>>(bits, count, words, first, last, gone, keep.mutable_data_ptr<bool>());
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
}

Tensor masked_select(const Tensor& values, const Tensor& mask) {
  using torch::stable::detail::from;
  std::array<StableIValue, 2> stack{from(values), from(mask)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::masked_select", "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

Tensor run(const char* op, const Tensor& boxes, const Tensor& scores, const Tensor* classes, double threshold) {
  check_nms(op, boxes, scores, classes, threshold);
  const torch::stable::accelerator::DeviceGuard guard(boxes.get_device_index());
  const int64_t count = boxes.size(0);
  require(count < 2147483648LL, op, "too many boxes for the CUDA kernels: ", count);
  if (count == 0) return empty({0}, ScalarType::Long, boxes);
  const ScalarType type = accumulate_type(boxes.scalar_type());
  const Tensor dense = to_type(boxes, type), order = torch::stable::contiguous(argsort_descending(scores));
  const Tensor dense_classes = classes ? torch::stable::contiguous(*classes) : Tensor();
  const int64_t* labels = classes ? dense_classes.const_data_ptr<int64_t>() : nullptr;
  const Tensor keep = empty({count}, ScalarType::Bool, boxes);
  if (type == ScalarType::Double) launch<double>(dense, labels, order, threshold, keep);
  else launch<float>(dense, labels, order, threshold, keep);
  return masked_select(order, keep);
}

Tensor nms(const Tensor& boxes, const Tensor& scores, double iou_threshold) {
  return run("nms", boxes, scores, nullptr, iou_threshold);
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const Tensor& classes, double iou_threshold) {
  return run("batched_nms", boxes, scores, &classes, iou_threshold);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(repmet, CUDA, m) {
  m.impl("nms", TORCH_BOX(&nms));
  m.impl("batched_nms", TORCH_BOX(&batched_nms));
}

}  // namespace repmet
