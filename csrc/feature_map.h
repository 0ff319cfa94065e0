// Feature maps, and RoIs grouped by the map they lie on: what the pooling kernels of the CPU share.
#pragma once

#include <cstdint>
#include <vector>

#include "channel_block.h"
#include "checks.h"

namespace repmet {

// A feature map as its strides say; `data` belongs to the caller.
struct Map {
  void* data;
  int64_t batch, channels, height, width;
  int64_t stride_n, stride_c, stride_h, stride_w;

  explicit Map(const Tensor& t, bool writable = false)
      : data(writable ? t.mutable_data_ptr() : const_cast<void*>(t.const_data_ptr())),
        batch(t.size(0)), channels(t.size(1)), height(t.size(2)), width(t.size(3)),
        stride_n(t.stride(0)), stride_c(t.stride(1)), stride_h(t.stride(2)), stride_w(t.stride(3)) {}

  bool rows_join() const {  // one row follows another, so that the whole map is one run of pixels
    return stride_h == width * stride_w || height == 1;
  }
};

// Packs 16 channels of one image; `source` points at the first of them.
template <typename S, typename T>
void pack_map(const Map& map, const S* source, int64_t channels, T* packed) {
  if (map.rows_join()) return pack(source, map.stride_c, map.stride_w, map.height * map.width, channels, packed);
  for (int64_t y = 0; y < map.height; ++y)
    pack(source + y * map.stride_h, map.stride_c, map.stride_w, map.width, channels, packed + y * map.width * kBlock);
}

// RoIs grouped by (level, image): those of group g are rois[begin[g]] .. rois[begin[g + 1]], in their given order.
template <typename R>
struct Groups {
  std::vector<int64_t> begin;
  std::vector<R> rois;
};

// Counting sort of boxes (R, 5). `level_of(box)` names the map, `roi_of(box, level, index)` makes the RoI.
template <typename R, typename T, typename LevelOf, typename RoiOf>
Groups<R> group_by_map(const char* op, const Tensor& boxes, const std::vector<Map>& maps, const LevelOf& level_of,
                       const RoiOf& roi_of) {
  const T* box = boxes.const_data_ptr<T>();
  const int64_t count = boxes.size(0), batch = maps[0].batch;
  std::vector<int64_t> key(count);
  Groups<R> groups;
  groups.begin.assign(static_cast<int64_t>(maps.size()) * batch + 1, 0);
  for (int64_t r = 0; r < count; ++r) {
    const T* b = box + r * 5;
    require(b[0] > T(-1) && b[0] < T(batch), op, "boxes[", r, "] names image ", b[0], " of a batch of ", batch);
    key[r] = level_of(b) * batch + static_cast<int64_t>(b[0]);
    ++groups.begin[key[r] + 1];
  }
  for (size_t g = 1; g < groups.begin.size(); ++g) groups.begin[g] += groups.begin[g - 1];
  groups.rois.resize(count);
  std::vector<int64_t> next(groups.begin.begin(), groups.begin.end() - 1);
  for (int64_t r = 0; r < count; ++r) groups.rois[next[key[r]]++] = roi_of(box + r * 5, key[r] / batch, r);
  return groups;
}

// Calls piece(map, image, block, rois, count) for every (level, image, block of 16 channels), several at a time.
template <typename R, typename Piece>
void for_pieces(const std::vector<Map>& maps, const Groups<R>& groups, const Piece& piece) {
  const int64_t blocks = blocks_of(maps[0].channels), batch = maps[0].batch;
  const int64_t pieces = static_cast<int64_t>(maps.size()) * batch * blocks;
  torch::stable::parallel_for(0, pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t block = i % blocks, group = i / blocks;
      piece(maps[group / batch], group % batch, block, groups.rois.data() + groups.begin[group],
            groups.begin[group + 1] - groups.begin[group]);
    }
  });
}

}  // namespace repmet
