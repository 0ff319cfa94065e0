// The pixels and weights that make one bin of RoIAlign, per axis, with repeated pixels merged (CPU).
//
// A bin is sum_y sum_x wy wx value(y, x) / count: the 2-D sum over samples of bilinear interpolation separates into one
// short list of (pixel, weight) for each axis. All bins of a RoI get lists of one length (padded with weight 0 on a
// pixel that is in the list anyway), so that the inner loop has a fixed length.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "roi_geometry.h"

namespace repmet {

template <typename T>
struct AxisTaps {
  int64_t width = 0;             // taps per bin
  int64_t lowest = 0, highest = -1;  // pixels used by any bin
  std::vector<int64_t> pixel;    // (pooled, width)
  std::vector<T> weight;         // (pooled, width)
  std::vector<int64_t> count;    // (pooled,), 0: the bin lies off the map

  void collect(const SampleAxis<T>& axis, int64_t pooled, T factor) {
    raw_.clear();
    count.assign(pooled, 0);
    width = 0;
    lowest = axis.size;
    highest = -1;
    for (int64_t bin = 0; bin < pooled; ++bin) {
      const size_t begin = raw_.size();
      int64_t first, last;
      sample_range(axis, bin, &first, &last);
      for (int64_t sample = first; sample < last; ++sample) {
        Tap<T> tap;
        if (!sample_tap(axis, bin, sample, &tap)) continue;
        add(begin, tap.low, tap.low_weight);
        add(begin, tap.high, tap.high_weight);
        lowest = std::min(lowest, tap.low);
        highest = std::max(highest, tap.high);
      }
      count[bin] = static_cast<int64_t>(raw_.size() - begin);
      width = std::max(width, count[bin]);
    }
    pixel.assign(pooled * width, 0);
    weight.assign(pooled * width, T(0));
    size_t from = 0;
    for (int64_t bin = 0; bin < pooled; ++bin) {
      for (int64_t k = 0; k < width; ++k) {
        if (count[bin] == 0) break;
        const bool real = k < count[bin];
        pixel[bin * width + k] = real ? raw_[from + k].pixel : pixel[bin * width + k - 1];
        weight[bin * width + k] = real ? raw_[from + k].weight * factor : T(0);
      }
      from += count[bin];
    }
  }

 private:
  struct Raw {
    int64_t pixel;
    T weight;
  };
  std::vector<Raw> raw_;

  // Samples run along the axis, so a pixel that was met before is among the last two.
  void add(size_t begin, int64_t at, T value) {
    for (size_t i = raw_.size(); i > begin && i + 2 > raw_.size(); --i) {
      if (raw_[i - 1].pixel == at) {
        raw_[i - 1].weight += value;
        return;
      }
    }
    raw_.push_back({at, value});
  }
};

}  // namespace repmet
