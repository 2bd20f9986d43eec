// The lines of the source that .loc gives: of the statement that follows, and of where its
// function was inlined.
#pragma once

#include <unordered_map>
#include <vector>

#include "engine/program.hpp"
#include "scanner.hpp"

namespace softgpu {

class SourceLines {
  public:
    // `outer` are the lines of the call where the function stands whose statements follow.
    explicit SourceLines(std::vector<SourceLine> outer) : outer(std::move(outer)) {}

    // What follows .loc: FILE LINE COLUMN[, function_name NAME, inlined_at FILE LINE COLUMN]
    void take(string_view loc);

    // Of the statement that follows, the innermost first.
    std::vector<SourceLine> now() const;

  private:
    struct Place {
        SourceLine line;
        s32 caller;  // in `places`, -1: none
    };

    std::vector<SourceLine> outer;
    std::vector<Place> places;
    std::unordered_map<u64, s32> latest;  // the last place with a file, a line and a column
    s32 current = -1;
};

}  // namespace softgpu
