// Blocks of 16 channels for the CPU kernels: one image's (C, H, W) slice, 16 channels at a time, is repacked so that the
// 16 values of a pixel lie side by side (one cache line of float32). A RoI kernel then handles 16 channels with one
// vector instruction, and the packed block of a usual feature map stays in the second level cache.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

// Runtime dispatch: the compiler emits these functions for several instruction sets and the loader picks one. The binary
// never depends on the machine that built it.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(REPMET_NO_MULTIVERSION)
#define REPMET_MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define REPMET_MULTIVERSION
#endif
#define REPMET_INLINE inline __attribute__((always_inline))

namespace repmet {

constexpr int64_t kBlock = 16;

// 16 values, of any alignment; the compiler splits it into what the processor has.
template <typename T>
struct Vector {
  typedef T type __attribute__((vector_size(kBlock * sizeof(T)), aligned(sizeof(T)), may_alias));
};

inline int64_t blocks_of(int64_t channels) {
  return (channels + kBlock - 1) / kBlock;
}

// dst[i][c] = src[c * channel_stride + i * pixel_stride] for i < count, c < channels; lanes beyond `channels` are 0.
template <typename S, typename T>
REPMET_INLINE void pack_any(const S* src, int64_t channel_stride, int64_t pixel_stride, int64_t count, int64_t channels,
                            T* dst) {
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t c = 0; c < channels; ++c) dst[i * kBlock + c] = static_cast<T>(src[c * channel_stride + i * pixel_stride]);
    for (int64_t c = channels; c < kBlock; ++c) dst[i * kBlock + c] = T(0);
  }
}

// The inverse: dst[c * channel_stride + i * pixel_stride] = src[i][c].
template <typename T, typename S>
REPMET_INLINE void unpack_any(const T* src, int64_t channel_stride, int64_t pixel_stride, int64_t count,
                              int64_t channels, S* dst) {
  if (pixel_stride == 1) {
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t i = 0; i < count; ++i) dst[c * channel_stride + i] = static_cast<S>(src[i * kBlock + c]);
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    for (int64_t c = 0; c < channels; ++c) dst[c * channel_stride + i * pixel_stride] = static_cast<S>(src[i * kBlock + c]);
}

typedef float Quad __attribute__((vector_size(16), aligned(4), may_alias));
#if defined(__clang__) || __GNUC__ >= 12
#define REPMET_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int QuadIndex __attribute__((vector_size(16)));
#define REPMET_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, QuadIndex{__VA_ARGS__})
#endif

// Transposes four rows of four: 8 shuffles, the same instructions on every x86 and on NEON.
REPMET_INLINE void transpose_quad(Quad& a, Quad& b, Quad& c, Quad& d) {
  const Quad ab_low = REPMET_SHUFFLE(a, b, 0, 4, 1, 5), ab_high = REPMET_SHUFFLE(a, b, 2, 6, 3, 7);
  const Quad cd_low = REPMET_SHUFFLE(c, d, 0, 4, 1, 5), cd_high = REPMET_SHUFFLE(c, d, 2, 6, 3, 7);
  a = REPMET_SHUFFLE(ab_low, cd_low, 0, 1, 4, 5);
  b = REPMET_SHUFFLE(ab_low, cd_low, 2, 3, 6, 7);
  c = REPMET_SHUFFLE(ab_high, cd_high, 0, 1, 4, 5);
  d = REPMET_SHUFFLE(ab_high, cd_high, 2, 3, 6, 7);
}

// Contiguous pixels of 16 float32 channels, the case that matters: 4 x 4 transposes.
inline void pack_float(const float* src, int64_t channel_stride, int64_t count, float* dst) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (int64_t c = 0; c < kBlock; c += 4) {
      const float* at = src + c * channel_stride + i;
      Quad rows[4];
      for (int k = 0; k < 4; ++k) rows[k] = *reinterpret_cast<const Quad*>(at + k * channel_stride);
      transpose_quad(rows[0], rows[1], rows[2], rows[3]);
      for (int k = 0; k < 4; ++k) *reinterpret_cast<Quad*>(dst + (i + k) * kBlock + c) = rows[k];
    }
  }
  pack_any(src + i, channel_stride, 1, count - i, kBlock, dst + i * kBlock);
}

inline void unpack_float(const float* src, int64_t channel_stride, int64_t count, float* dst) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (int64_t c = 0; c < kBlock; c += 4) {
      Quad rows[4];
      for (int k = 0; k < 4; ++k) rows[k] = *reinterpret_cast<const Quad*>(src + (i + k) * kBlock + c);
      transpose_quad(rows[0], rows[1], rows[2], rows[3]);
      float* at = dst + c * channel_stride + i;
      for (int k = 0; k < 4; ++k) *reinterpret_cast<Quad*>(at + k * channel_stride) = rows[k];
    }
  }
  unpack_any(src + i * kBlock, channel_stride, 1, count - i, kBlock, dst + i);
}

template <typename S, typename T>
void pack(const S* src, int64_t channel_stride, int64_t pixel_stride, int64_t count, int64_t channels, T* dst) {
  if constexpr (std::is_same_v<S, float>) {
    if (channels == kBlock && pixel_stride == 1) return pack_float(src, channel_stride, count, dst);
  }
  if constexpr (std::is_same_v<S, T>) {
    if (channels == kBlock && channel_stride == 1) {
      for (int64_t i = 0; i < count; ++i) std::memcpy(dst + i * kBlock, src + i * pixel_stride, kBlock * sizeof(T));
      return;
    }
  }
  pack_any(src, channel_stride, pixel_stride, count, channels, dst);
}

template <typename T, typename S>
void unpack(const T* src, int64_t channel_stride, int64_t pixel_stride, int64_t count, int64_t channels, S* dst) {
  if constexpr (std::is_same_v<S, float>) {
    if (channels == kBlock && pixel_stride == 1) return unpack_float(src, channel_stride, count, dst);
  }
  if constexpr (std::is_same_v<S, T>) {
    if (channels == kBlock && channel_stride == 1) {
      for (int64_t i = 0; i < count; ++i) std::memcpy(dst + i * pixel_stride, src + i * kBlock, kBlock * sizeof(T));
      return;
    }
  }
  unpack_any(src, channel_stride, pixel_stride, count, channels, dst);
}

// Scratch memory of a thread, kept between calls so that a small RoI layer does not pay for fresh pages each time;
// what is larger than `kKeep` is given back.
template <typename T>
class Scratch {
 public:
  explicit Scratch(int64_t count) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(T) + 64;
    if (bytes > capacity()) {
      store().reset();
      capacity() = 0;
      store().reset(static_cast<char*>(std::malloc(bytes)));
      if (!store()) throw std::bad_alloc();
      capacity() = bytes;
    }
    const auto address = reinterpret_cast<uintptr_t>(store().get());
    data_ = reinterpret_cast<T*>((address + 63) / 64 * 64);
  }
  ~Scratch() {
    if (capacity() > kKeep) {
      store().reset();
      capacity() = 0;
    }
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() const {
    return data_;
  }

 private:
  static constexpr size_t kKeep = size_t{8} << 20;
  struct Free {
    void operator()(char* memory) const {
      std::free(memory);
    }
  };
  static std::unique_ptr<char, Free>& store() {
    static thread_local std::unique_ptr<char, Free> memory;
    return memory;
  }
  static size_t& capacity() {
    static thread_local size_t bytes = 0;
    return bytes;
  }
  T* data_;
};

}  // namespace repmet
