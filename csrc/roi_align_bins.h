// RoIAlign's inner loops on the CPU: one RoI and one packed block of 16 channels (channel_block.h), from the taps of its bins
// (roi_taps.h) to their values and, for the gradient, back.
#pragma once

#include <algorithm>
#include <cstdint>

#include "channel_block.h"
#include "roi_taps.h"

namespace repmet {

// Taps of one axis as plain pointers, offsets in elements of the packed block.
template <typename T>
struct TapView {
  const int64_t* offset;
  const T* weight;
  const int64_t* count;
  int64_t width, bins;
};

template <typename T, int kWidth>
REPMET_INLINE void pool_width(const T* block, const TapView<T>& y, const TapView<T>& x, T* out) {
  using V = typename Vector<T>::type;
  const int64_t width = kWidth > 0 ? kWidth : x.width;
  for (int64_t i = 0; i < y.bins; ++i) {
    for (int64_t j = 0; j < x.bins; ++j) {
      V sum = {};
      if (y.count[i] > 0 && x.count[j] > 0) {
        const int64_t* columns = x.offset + j * x.width;
        const T* column_weight = x.weight + j * x.width;
        for (int64_t a = i * y.width; a < (i + 1) * y.width; ++a) {
          const T* row = block + y.offset[a];
          V line = *reinterpret_cast<const V*>(row + columns[0]) * column_weight[0];
          for (int64_t b = 1; b < width; ++b) line += *reinterpret_cast<const V*>(row + columns[b]) * column_weight[b];
          sum += line * y.weight[a];
        }
      }
      *reinterpret_cast<V*>(out + (i * x.bins + j) * kBlock) = sum;
    }
  }
}

template <typename T, int kWidth>
REPMET_INLINE void spread_width(const T* grad, const TapView<T>& y, const TapView<T>& x, T* block) {
  using V = typename Vector<T>::type;
  const int64_t width = kWidth > 0 ? kWidth : x.width;
  for (int64_t i = 0; i < y.bins; ++i) {
    if (y.count[i] == 0) continue;
    for (int64_t j = 0; j < x.bins; ++j) {
      if (x.count[j] == 0) continue;
      const V g = *reinterpret_cast<const V*>(grad + (i * x.bins + j) * kBlock);
      const int64_t* columns = x.offset + j * x.width;
      const T* column_weight = x.weight + j * x.width;
      for (int64_t a = i * y.width; a < (i + 1) * y.width; ++a) {
        T* row = block + y.offset[a];
        const V line = g * y.weight[a];
        for (int64_t b = 0; b < width; ++b) *reinterpret_cast<V*>(row + columns[b]) += line * column_weight[b];
      }
    }
  }
}

// The usual numbers of taps as constants, so that the compiler unrolls their loop.
#define REPMET_BY_WIDTH(call)            \
  switch (x.width) {                     \
    case 0: break;                       \
    case 2: call(2); break;              \
    case 3: call(3); break;              \
    case 4: call(4); break;              \
    case 5: call(5); break;              \
    case 6: call(6); break;              \
    default: call(0); break;             \
  }

template <typename T>
REPMET_INLINE void pool_impl(const T* block, const TapView<T>& y, const TapView<T>& x, T* out) {
  if (x.width == 0 || y.width == 0) {
    std::fill(out, out + y.bins * x.bins * kBlock, T(0));
    return;
  }
#define REPMET_CALL(n) pool_width<T, n>(block, y, x, out)
  REPMET_BY_WIDTH(REPMET_CALL)
#undef REPMET_CALL
}

template <typename T>
REPMET_INLINE void spread_impl(const T* grad, const TapView<T>& y, const TapView<T>& x, T* block) {
  if (y.width == 0) return;
#define REPMET_CALL(n) spread_width<T, n>(grad, y, x, block)
  REPMET_BY_WIDTH(REPMET_CALL)
#undef REPMET_CALL
}

template <typename T>
TapView<T> view(AxisTaps<T>& taps, int64_t bins, int64_t stride, int64_t origin) {
  for (int64_t i = 0; i < bins; ++i)
    for (int64_t k = 0; k < taps.width && taps.count[i] > 0; ++k)
      taps.pixel[i * taps.width + k] = (taps.pixel[i * taps.width + k] - origin) * stride;
  return {taps.pixel.data(), taps.weight.data(), taps.count.data(), taps.width, bins};
}

}  // namespace repmet
