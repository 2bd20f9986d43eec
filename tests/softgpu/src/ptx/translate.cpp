// Bodies, declarations and plain instructions.
#include "translate.hpp"

#include <algorithm>

#include "translator.hpp"

namespace softgpu {

Program translate(const ModuleText& module, const std::map<std::string, GlobalVariable>& variables,
                  const FunctionText& entry) {
    return Translator(module, variables).translate(entry);
}

Program Translator::translate(const FunctionText& entry) {
    program.name = entry.name;
    program.files = module.files;
    sinks.fill(-1);
    for (const VariableDeclaration& v : module.variables)
        if (v.space == "shared") shared_variables.push_back(v);
    try {
        program.parameter_bytes =
            lay_out(declared_parameters(entry.parameters), program.parameters);
        program.most_threads = most_threads(entry.directives);
        Frame frame{entry, SourceLines({}), {}, {}, {}, {}};
        body(frame);
        shared.finish(program);
    } catch (const Unknown& unknown) {
        const std::string where = current.empty() ? "" : " in `" + one_line(current) + "`";
        throw Unknown("kernel " + program.name + ": " + unknown.what() + where);
    }
    program.local_bytes = s32(aligned(u64(program.local_bytes), 16));
    program.registers = std::move(file.bytes());
    return std::move(program);
}

void Translator::body(Frame& of) {
    frames.push_back(&of);
    scopes.open();
    const size_t outer_variables = local_variables.size();
    const u64 outer_end = local_end;
    int depth = 0;
    string_view label;
    Body pieces(of.function.body);
    for (Piece p = pieces.next(); p.kind != Piece::Kind::end; p = pieces.next()) {
        switch (p.kind) {
            case Piece::Kind::open:
                depth++;
                scopes.open();
                break;
            case Piece::Kind::close:
                if (depth-- == 0) throw Unknown("a brace closes what is not open");
                scopes.close();
                break;
            case Piece::Kind::label:
                label = p.text;
                if (!of.labels.try_emplace(label, s32(program.code.size())).second)
                    throw Unknown("two labels " + std::string(label));
                break;
            default:
                if (p.text.starts_with(".branchtargets")) {
                    branch_targets(label, p.text);
                } else {
                    statement(p.text);
                }
        }
    }
    if (depth) throw Unknown("a brace is not closed");
    resolve_jumps(of);
    local_variables.resize(outer_variables);
    local_end = outer_end;
    scopes.close();
    frames.pop_back();
}

void Translator::statement(string_view text) {
    current = text;
    if (text[0] == '.') return declare(text);
    const size_t outer_temporaries = temporaries.size();
    instruction(text);
    while (temporaries.size() > outer_temporaries) {
        file.release(temporaries.back());
        temporaries.pop_back();
    }
}

void Translator::declare(string_view statement) {
    Cursor at(statement);
    if (at.take(".loc")) {
        frames.back()->lines.take(at.rest());
    } else if (at.take(".reg")) {
        scopes.declare_registers(at.rest());
    } else if (at.take(".pragma")) {
        const size_t mask = statement.find("used_bytes_mask");
        if (mask == string_view::npos) return;
        Cursor value(statement.substr(mask));
        value.take("used_bytes_mask");
        used_bytes = u32(integer(value.word()));
    } else if (statement.starts_with(".param")) {
        for (const ParameterDeclaration& p : declared_parameters(statement))
            scopes.declare_passed(p.name);
    } else if (!at.take(".file")) {
        declare_variable(statement);
    }
}

void Translator::declare_variable(string_view statement) {
    const VariableDeclaration v = declared_variable(statement);
    if (v.space == "shared") {
        if (!shared_variable(v.name)) shared_variables.push_back(v);
    } else if (v.space == "local") {
        const u64 offset = aligned(local_end, v.alignment);
        local_variables.push_back({v.name, offset});
        local_end = offset + v.bytes;
        program.local_bytes = std::max(program.local_bytes, s32(local_end));
    } else {
        throw Unknown("a directive in a function");
    }
}

void Translator::instruction(string_view text) {
    using Handler = void (Translator::*)();
    static const std::unordered_map<string_view, Handler> handlers = {
        {"bra", &Translator::branch},
        {"brx", &Translator::branch_by_index},
        {"ret", &Translator::leave},
        {"exit", &Translator::leave},
        {"call", &Translator::call},
        {"bar", &Translator::block_barrier},
        {"barrier", &Translator::block_barrier},
        {"ld", &Translator::load},
        {"ldu", &Translator::load},
        {"st", &Translator::store},
        {"atom", &Translator::atomic},
        {"red", &Translator::atomic},
        {"cp", &Translator::copy},
        {"ldmatrix", &Translator::load_matrix},
        {"setp", &Translator::compare},
        {"mov", &Translator::move},
        {"cvt", &Translator::convert},
        {"shfl", &Translator::shuffle},
        {"vote", &Translator::vote},
        {"match", &Translator::of_warp},
        {"redux", &Translator::of_warp},
        {"mma", &Translator::multiply_matrices},
        {"membar", &Translator::fence},
        {"fence", &Translator::fence},
        {"prefetch", &Translator::without_effect},
        {"prefetchu", &Translator::without_effect},
        {"applypriority", &Translator::without_effect},
        {"createpolicy", &Translator::without_effect},
        {"griddepcontrol", &Translator::without_effect},
        {"pmevent", &Translator::without_effect},
    };
    Cursor at(text);
    guard = {};
    if (at.take('@')) {
        guard.negated = at.take('!');
        guard.place = operand(at.word(), 'p');
    }
    const string_view rest = trimmed(at.rest());
    const size_t length = std::min(rest.find_first_of(" \t\n\r"), rest.size());
    mnemonic = rest.substr(0, length);
    operand_text = trimmed(rest.substr(length));
    parts = split_dots(mnemonic);
    operands = split_commas(operand_text);
    statement_number = -1;
    const auto handler = handlers.find(parts[0]);
    if (handler == handlers.end()) {
        plain();
    } else {
        (this->*handler->second)();
    }
}

// An operation says how wide its operands are.
void Translator::plain() {
    const Operation& o = operation(mnemonic);
    if (int(o.widths.size()) != operands.count)
        throw Unknown(softgpu::text("%s takes %zu operands, not %d", o.name.c_str(),
                                    o.widths.size(), operands.count));
    Arguments arguments;
    for (int i = 0; i < operands.count; i++) arguments.add(operand(operands[i], o.widths[i]));
    put(o, arguments);
}

void Translator::without_effect() {
    put("nothing", {});
}

// A fence for the threads of a block orders nothing that a barrier of the block does not.
void Translator::fence() {
    const bool is_of_block = parts.has("cta") || parts.has("proxy");
    put(is_of_block ? "nothing" : "fence", {});
}

const Operation& Translator::operation(string_view name) {
    const auto known = operations.find(name);
    if (known != operations.end()) return *known->second;
    const Operation* o = find_operation(std::string(name));
    if (!o) throw Unknown("no instruction " + std::string(name));
    operations[o->name] = o;
    return *o;
}

Instruction& Translator::put(string_view name, const Arguments& arguments) {
    return put(operation(name), arguments);
}

Instruction& Translator::put(const Operation& operation, const Arguments& arguments) {
    if (statement_number < 0) {
        statement_number = s32(program.statements.size());
        program.statements.push_back({one_line(current), frames.back()->lines.now()});
    }
    Instruction& i = program.code.emplace_back();
    i.operation = &operation;
    i.guard = guard.place;
    i.guard_negated = guard.negated;
    i.statement = statement_number;
    i.arg = arguments.place;
    return i;
}

}  // namespace softgpu
