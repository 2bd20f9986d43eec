#include "scanner.hpp"

#include <charconv>
#include <cstring>

namespace softgpu {
namespace {

bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

// Whether a place in a text is between quotation marks of its line.
bool is_quoted(string_view text, size_t at) {
    bool quoted = false;
    while (at > 0 && text[at - 1] != '\n') quoted ^= text[--at] == '"';
    return quoted;
}

string_view without_space(string_view text) {
    size_t at = 0;
    while (at < text.size() && is_space(text[at])) at++;
    return text.substr(at);
}

// Directives that end with their line, and not with a semicolon.
bool starts_line_directive(string_view text) {
    Cursor at(text);
    return at.take(".loc") || at.take(".file");
}

Words split(string_view text, char separator) {
    Words words;
    int depth = 0;
    size_t begin = 0;
    for (size_t i = 0; i <= text.size(); i++) {
        const char c = i < text.size() ? text[i] : separator;
        if (c == separator && (depth == 0 || i == text.size())) {
            const string_view word = trimmed(text.substr(begin, i - begin));
            if (!word.empty()) words.add(word);
            begin = i + 1;
        } else if (c == '{' || c == '[' || c == '(') {
            depth++;
        } else if (c == '}' || c == ']' || c == ')') {
            depth--;
        }
    }
    return words;
}

}  // namespace

bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || c == '%';
}

std::string without_comments(string_view text) {
    std::string result(text);
    size_t at = 0;
    while ((at = result.find('/', at)) != std::string::npos && at + 1 < result.size()) {
        const char next = result[at + 1];
        if ((next != '/' && next != '*') || is_quoted(result, at)) {
            at++;
            continue;
        }
        size_t end = next == '/' ? result.find('\n', at) : result.find("*/", at + 2);
        if (end == std::string::npos) {
            end = result.size();
        } else if (next == '*') {
            end += 2;
        }
        std::memset(&result[at], ' ', end - at);
        at = end;
    }
    return result;
}

string_view trimmed(string_view text) {
    text = without_space(text);
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    return text;
}

std::string one_line(string_view text) {
    std::string result;
    result.reserve(text.size());
    for (const char c : trimmed(text)) {
        if (!is_space(c)) {
            result += c;
        } else if (result.back() != ' ') {
            result += ' ';
        }
    }
    return result;
}

void Cursor::skip_space() {
    left = without_space(left);
}

bool Cursor::at_end() {
    return peek() == 0;
}

char Cursor::peek() {
    skip_space();
    return left.empty() ? 0 : left[0];
}

bool Cursor::take(char c) {
    if (peek() != c) return false;
    left.remove_prefix(1);
    return true;
}

bool Cursor::take(string_view word) {
    skip_space();
    if (!left.starts_with(word)) return false;
    if (left.size() > word.size() && is_name(left[word.size()])) return false;
    left.remove_prefix(word.size());
    return true;
}

string_view Cursor::word() {
    skip_space();
    size_t n = 0;
    while (n < left.size() && (is_name(left[n]) || (left[n] == '.' && n == 0))) n++;
    const string_view found = left.substr(0, n);
    left.remove_prefix(n);
    return found;
}

string_view Cursor::directive() {
    if (peek() != '.') throw Unknown("no directive: " + one_line(left.substr(0, 40)));
    return word().substr(1);
}

string_view Cursor::until(char c) {
    const size_t n = std::min(left.find(c), left.size());
    const string_view found = left.substr(0, n);
    left.remove_prefix(std::min(n + 1, left.size()));
    return found;
}

string_view Cursor::line() {
    return until('\n');
}

string_view Cursor::block(char open, char close) {
    until(open);
    int depth = 1;
    size_t n = 0;
    for (; n < left.size(); n++) {
        depth += (left[n] == open) - (left[n] == close);
        if (depth == 0) break;
    }
    const string_view found = left.substr(0, n);
    left.remove_prefix(std::min(n + 1, left.size()));
    return found;
}

s64 Cursor::number() {
    skip_space();
    s64 value = 0;
    const auto end = std::from_chars(left.data(), left.data() + left.size(), value).ptr;
    left.remove_prefix(end - left.data());
    return value;
}

Piece Body::next() {
    while (!left.empty() && (is_space(left[0]) || left[0] == ';')) left.remove_prefix(1);
    if (left.empty()) return {Piece::Kind::end, {}};
    if (left[0] == '{' || left[0] == '}') {
        const auto kind = left[0] == '{' ? Piece::Kind::open : Piece::Kind::close;
        left.remove_prefix(1);
        return {kind, {}};
    }
    size_t n = 0;
    while (n < left.size() && is_name(left[n])) n++;
    const bool colon = n > 0 && n < left.size() && left[n] == ':';
    if (colon && (n + 1 == left.size() || left[n + 1] != ':')) {
        const string_view name = left.substr(0, n);
        left.remove_prefix(n + 1);
        return {Piece::Kind::label, name};
    }
    const char end = starts_line_directive(left) ? '\n' : ';';
    n = std::min(left.find(end), left.size());
    const string_view statement = trimmed(left.substr(0, n));
    left.remove_prefix(n);
    return {Piece::Kind::statement, statement};
}

void Words::add(string_view w) {
    if (count == int(word.size())) throw Unknown("more parts than any instruction has");
    word[count++] = w;
}

bool Words::has(string_view w) const {
    for (const string_view x : *this)
        if (x == w) return true;
    return false;
}

Words split_commas(string_view text) {
    return split(text, ',');
}

Words split_dots(string_view text) {
    return split(text, '.');
}

Words vector_of(string_view operand) {
    if (operand.starts_with('{')) return split_commas(operand.substr(1, operand.size() - 2));
    Words one;
    one.add(operand);
    return one;
}

s64 integer(string_view word) {
    string_view digits = word;
    const bool negative = digits.starts_with('-');
    if (negative || digits.starts_with('+')) digits.remove_prefix(1);
    if (digits.ends_with('U')) digits.remove_suffix(1);
    int base = 10;
    if (digits.starts_with("0x") || digits.starts_with("0X")) {
        base = 16, digits.remove_prefix(2);
    } else if (digits.starts_with("0b") || digits.starts_with("0B")) {
        base = 2, digits.remove_prefix(2);
    } else if (digits.size() > 1 && digits[0] == '0') {
        base = 8, digits.remove_prefix(1);
    }
    u64 value = 0;
    const char* end = digits.data() + digits.size();
    const auto found = std::from_chars(digits.data(), end, value, base);
    if (found.ec != std::errc() || found.ptr != end)
        throw Unknown("no number: " + std::string(word));
    return s64(negative ? 0 - value : value);
}

}  // namespace softgpu
