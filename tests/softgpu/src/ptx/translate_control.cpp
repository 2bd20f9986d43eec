// Branches, calls, barriers of the block.
#include "translator.hpp"

namespace softgpu {

void Translator::jump_to(string_view label) {
    put("bra", {});
    frames.back()->jumps.push_back({program.code.size() - 1, label});
}

void Translator::branch() {
    jump_to(operands[0]);
}

// brx.idx is a branch for each label of its table.
void Translator::branch_by_index() {
    const auto table = frames.back()->tables.find(operands[1]);
    if (guard.place >= 0 || table == frames.back()->tables.end()) throw Unknown("no branch");
    const s32 index = operand(operands[0], 'w');
    const s32 is_it = temporary('p').place;
    u64 number = 0;
    for (const string_view label : table->second) {
        guard = {};
        put("setp.eq.u32", {is_it, index, file.constant(number++, 'w').place});
        guard.place = is_it;
        jump_to(label);
    }
    guard = {};
}

// NAME: .branchtargets LABEL, LABEL, ...
void Translator::branch_targets(string_view name, string_view list) {
    Cursor at(list);
    at.take(".branchtargets");
    do frames.back()->tables[name].push_back(at.word());
    while (at.take(','));
}

// In a function that is inlined, ret is a branch to its end.
void Translator::leave() {
    if (frames.size() == 1 || parts[0] == "exit") {
        put(parts[0], {});
    } else {
        put("bra", {});
        frames.back()->returns.push_back(program.code.size() - 1);
    }
}

void Translator::resolve_jumps(Frame& of) {
    for (const Frame::Jump& jump : of.jumps) {
        const auto label = of.labels.find(jump.label);
        if (label == of.labels.end()) throw Unknown("no label " + std::string(jump.label));
        program.code[jump.instruction].target = label->second;
    }
    for (const size_t i : of.returns) program.code[i].target = s32(program.code.size());
}

// call (results), NAME, (parameters): the body of the function stands where it is called.
void Translator::call() {
    if (guard.place >= 0) throw Unknown("a call with a predicate");
    const bool has_result = operands.count > 0 && operands[0].starts_with('(');
    const string_view name = operands[has_result];
    const auto function = module.functions.find(name);
    if (function == module.functions.end())
        throw Unknown("a call of " + std::string(name) + ", which the module does not define");
    for (const Frame* f : frames)
        if (&f->function == &function->second) throw Unknown("a call of a function by itself");

    std::vector<Passed*> given;
    std::vector<ParameterDeclaration> declared;
    const auto add = [&](string_view words, string_view declarations) {
        for (const string_view word : split_commas(words.substr(1, words.size() - 2)))
            given.push_back(scopes.find_passed(word));
        for (const ParameterDeclaration& p : declared_parameters(declarations))
            declared.push_back(p);
        if (given.size() != declared.size()) throw Unknown("a call with other parameters");
    };
    if (has_result) add(operands[0], function->second.returns);
    if (operands.count > has_result + 1) add(operands[has_result + 1], function->second.parameters);

    scopes.open();
    for (size_t i = 0; i < given.size(); i++) {
        if (!given[i]) throw Unknown("a call with what is no .param");
        scopes.bind_passed(declared[i].name, given[i]);
    }
    Frame frame{function->second, SourceLines(frames.back()->lines.now()), {}, {}, {}, {}};
    body(frame);
    scopes.close();
}

// bar.sync, barrier.sync, bar.red and bar.warp.sync. Of the block's barriers there is number 0, for
// all of its threads.
void Translator::block_barrier() {
    if (parts.has("warp")) {
        put("bar.warp.sync", {operand(operands[0], 'w')});
    } else if (parts.has("sync")) {
        if (operands.count != 1 || operands[0] != "0") throw Unknown("a barrier for some threads");
        put("bar.sync", {});
    } else if (parts.has("red")) {
        if (operands.count != 3 || operands[1] != "0") throw Unknown("a barrier for some threads");
        const string_view type = parts.last();
        const string_view what = parts[parts.count - 2];
        const bool is_negated = operands[2].starts_with('!');
        const s32 predicate = operand(operands[2].substr(is_negated), 'p');
        const s32 result = operand(operands[0], type == "pred" ? 'p' : 'w');
        put("bar.red." + std::string(what) + "." + std::string(type), {result, predicate}).number =
            is_negated;
    } else {
        throw Unknown("no instruction " + std::string(mnemonic));
    }
}

}  // namespace softgpu
