// PTX as text: comments, words, statements.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "engine/types.hpp"

namespace softgpu {

using std::string_view;

// The text with its comments made white.
std::string without_comments(string_view text);

// Without white space at both ends.
string_view trimmed(string_view text);

// With single spaces for white space.
std::string one_line(string_view text);

// Walks over a text word by word. Each `take` skips white space first.
class Cursor {
  public:
    explicit Cursor(string_view text) : left(text) {}

    string_view rest() const { return left; }
    bool at_end();
    char peek();                  // 0 at the end
    bool take(char c);            // whether it was next
    bool take(string_view word);  // whether the next word was this one
    string_view word();           // an identifier, a number or a directive with its dot
    string_view directive();      // what must come, without its dot
    string_view until(char c);    // what comes before it, which is taken too
    string_view line();           // the rest of the line
    string_view block(char open, char close);  // between the next two that belong together
    s64 number();                              // 0 if there is none

  private:
    void skip_space();

    string_view left;
};

// A function's body in pieces.
struct Piece {
    enum class Kind : u8 { end, open, close, label, statement };
    Kind kind;
    string_view text;  // of a label its name; of a statement all but the semicolon
};

class Body {
  public:
    explicit Body(string_view text) : left(text) {}
    Piece next();

  private:
    string_view left;
};

// A few pieces of a text.
struct Words {
    std::array<string_view, 24> word;
    int count = 0;

    void add(string_view w);
    string_view operator[](int i) const { return word[i]; }
    string_view last() const { return count ? word[count - 1] : string_view(); }
    bool has(string_view w) const;
    const string_view* begin() const { return word.data(); }
    const string_view* end() const { return word.data() + count; }
};

// Pieces between commas that stand in no parentheses, brackets or braces.
Words split_commas(string_view text);
// Pieces between dots.
Words split_dots(string_view text);
// The elements of {a, b}; of another operand, itself.
Words vector_of(string_view operand);

// Whether a character may stand in a name.
bool is_name(char c);

// An integer as PTX writes it; throws Unknown.
s64 integer(string_view word);

}  // namespace softgpu
